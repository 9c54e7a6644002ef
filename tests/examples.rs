//! The examples in Rust, run as a reader of them would run them: programs that talk to each other.

mod common;

use common::{Lan, Tool, assert_shouted, check, secs};
use peerbase::{NetworkName, Node, RelayKey};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// An example with these arguments. The first time all of them are built, as this test was: cargo
/// does not build them for a single test.
fn example(name: &str, args: &[&str]) -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let deps = std::env::current_exe().unwrap();
        let profile = deps.ancestors().nth(2).unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo.args(["build", "--quiet", "--locked", "--examples", "--target-dir"]);
        cargo.arg(profile.parent().unwrap());
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        check(cargo);
        profile.join("examples")
    });
    let mut command = Command::new(Path::new(folder).join(name));
    command.args(args);
    command
}

/// Ends an example that serves, which must end well.
fn end(serving: Tool) {
    let output = serving.output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
}

#[test]
fn a_reader_calls_a_sensor_by_its_name_and_then_all() {
    let lan = Lan::new();
    let (key, port) = (lan.key.to_text().to_string(), lan.port.to_string());
    let args = ["roof", "plant", &key, &port];
    let (sensor, said) = Tool::start_saying(example("sensor", &args));
    assert_eq!(said, "roof is ready");
    let said = check(example("reader", &args));
    let lines = [
        r#"roof: {"args":[1,"two"],"you":"reader"}"#,
        r#"roof: {"celsius":21.5}"#,
        "roof failed: no reference attached",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), lines);
    end(sensor);
}

#[test]
fn what_is_streamed_comes_back_in_capitals() {
    let lan = Lan::new();
    let (key, port) = (lan.key.to_text().to_string(), lan.port.to_string());
    let (server, _) = Tool::start_saying(example("stream", &["roof", "plant", &key, &port]));
    assert_shouted(example("stream", &["desk", "plant", &key, &port, "roof"]));
    end(server);
}

#[test]
fn nodes_call_each_other_through_the_relay() {
    let key = Lan::new().key;
    let plant = NetworkName::new("plant").unwrap();
    let relay_key = RelayKey::derive(&key, &plant).to_text().to_string();
    let relay = example("relay", &["plant", "127.0.0.1:0", &relay_key]);
    let (relay, said) = Tool::start_saying(relay);
    let (_, address) = said.rsplit_once(' ').unwrap();
    let start = |name| {
        let builder = Node::builder(name, "plant", key.clone()).loopback(true);
        let builder = builder.lan(false).relay(address);
        builder.start().unwrap()
    };
    let (near, _far) = (start("near"), start("far"));
    let call = near.call("__echo__").arg(1).to("far").timeout(secs(30));
    assert_eq!(call.send().unwrap()["args"], json!([1]));
    let output = relay.output();
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("2 joined, "), "{said}");
}

#[test]
fn an_example_without_arguments_says_what_it_wants() {
    for name in ["sensor", "reader", "stream", "relay"] {
        let output = common::output(example(name, &[]));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&format!("usage: {name} ")), "{name}: {said}");
        assert!(!output.status.success());
    }
}
