//! What is larger than a call: streams, files, and a message for everyone.

use super::{PATIENCE, expect};
use crate::Outcome;
use peerbase::Node;
use serde_json::json;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Instant;

/// More than fits one message, both ways at once; and something for everyone.
pub(super) fn streams(node: &Node) -> Outcome {
    eprintln!("streams and messages");
    let text = b"what is said is heard ".repeat(1 << 20);
    let call = node.call("sensor.shout").to("sensor-1").timeout(PATIENCE);
    let (mut reader, mut writer, value) = call.stream()?.split();
    let said = text.clone();
    let began = Instant::now();
    let sender = std::thread::spawn(move || {
        let outcome = writer.write_all(&said);
        writer.finish();
        outcome
    });
    let mut heard = Vec::with_capacity(text.len());
    reader.read_to_end(&mut heard)?;
    let sent = sender.join().is_ok_and(|sent| sent.is_ok());
    let right = heard == text.to_ascii_uppercase();
    let what = format!(
        "{} MB there and back at once, in {} ms",
        text.len() / 1_000_000,
        began.elapsed().as_millis()
    );
    expect(&what, sent && right, &true)?;
    expect("and the command's value", value.wait()?, &json!(text.len()))?;
    let large = "x".repeat(1_000_000);
    let echo = node
        .call("__echo__")
        .arg(large.as_str())
        .to("sensor-2")
        .send()?;
    expect(
        "a large argument is just an argument",
        echo["args"][0] == large,
        &true,
    )?;
    let report = node.broadcast(b"hello", PATIENCE)?;
    expect(
        "a message for everyone reaches both, once",
        report.delivered,
        &2,
    )?;
    expect("and nobody is missing", report.is_complete(), &true)
}

/// Where the files of the demo are; gone with it.
pub(super) fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("peerbase-demo-{}", std::process::id()))
}

/// A file that both sensors have.
pub(super) fn files(node: &Node) -> Outcome {
    eprintln!("files");
    let folder = folder();
    std::fs::create_dir_all(&folder)?;
    let outcome = fetch(node, &folder);
    std::fs::remove_dir_all(&folder)?;
    outcome
}

fn fetch(node: &Node, folder: &std::path::Path) -> Outcome {
    let (offered, data) = (folder.join("readings.bin"), vec![7; 12_000_000]);
    std::fs::write(&offered, &data)?;
    let mut hash = json!(null);
    for name in ["sensor-1", "sensor-2"] {
        let offer = node
            .call("demo.offer")
            .arg(offered.to_string_lossy().as_ref());
        hash = offer.to(name).timeout(PATIENCE).send()?;
    }
    node.set_file_dir(folder.join("fetched"))?;
    let mut holders = 0;
    let hash = hash.as_str().unwrap_or_default().to_owned();
    let got = node.request_file(&hash, PATIENCE, |p| holders = holders.max(p.holders))?;
    expect(
        "fetched by its hash",
        std::fs::read(&got.path)? == data,
        &true,
    )?;
    expect("from two at once", holders, &2)
}
