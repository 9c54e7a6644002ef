//! A file from one holder and from three, each of which reads only so fast.

use super::Report;
use super::process::{Process, setting};
use crate::{Failure, Outcome, options::KEY_VARIABLE};
use peerbase::{Builder, Call, Key, Node, OsEntropy};
use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

const NETWORK: &str = "bench";
const PORT_VARIABLE: &str = "PEERBASE_BENCH_PORT";
const NAME_VARIABLE: &str = "PEERBASE_BENCH_PEER";
const SIZE: usize = 256 << 20;
/// What each holder reads for others.
const PER_SECOND: u64 = 32 << 20;
const PATIENCE: Duration = Duration::from_secs(30);
const HOLDERS: [&str; 3] = ["one", "two", "three"];

fn builder(name: &str, key: &Key, port: u16) -> Builder {
    Node::builder(name, NETWORK, key.clone())
        .loopback(true)
        .advertise_port(port)
        .file_limits(1 << 32, 8, PER_SECOND)
}

/// One holder.
pub(super) fn peer() -> Outcome {
    let port = setting(PORT_VARIABLE)?.parse();
    let port = port.map_err(|_| Failure::Usage("bad port".into()))?;
    let key = Key::parse(&setting(KEY_VARIABLE)?)?;
    let node = builder(&setting(NAME_VARIABLE)?, &key, port).open()?;
    let offers = node.clone();
    node.register("offer", move |call: Call| {
        let offered = offers.add_file(call.args()[0].as_str().unwrap_or_default());
        match offered {
            Ok(hash) => call.reply(hash),
            Err(e) => call.fail(&e.to_string()),
        }
    })?;
    println!("ready");
    Ok(node.run()?)
}

pub(super) fn run(report: &mut Report) -> Outcome {
    let folder = std::env::temp_dir().join(format!("peerbase-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = measure(report, &folder);
    std::fs::remove_dir_all(&folder)?;
    outcome
}

fn measure(report: &mut Report, folder: &Path) -> Outcome {
    let key = Key::generate(&mut OsEntropy::new()?);
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let (key_text, port_text) = (key.to_text(), port.to_string());
    let offered = folder.join("offered");
    let data: Vec<u8> = (0..SIZE).map(|i| (i ^ (i >> 11)) as u8).collect();
    std::fs::write(&offered, data)?;
    let node = builder("fetches", &key, port).start()?;
    let (mut holders, mut rates) = (Vec::new(), Vec::new());
    for name in HOLDERS {
        let settings = [
            (NAME_VARIABLE, name),
            (KEY_VARIABLE, key_text.as_str()),
            (PORT_VARIABLE, port_text.as_str()),
        ];
        holders.push(Process::start("files-peer", &settings)?);
        let offer = node.call("offer").arg(offered.to_string_lossy().as_ref());
        let hash = offer.to(name).timeout(PATIENCE).send()?;
        if holders.len() == 2 {
            continue;
        }
        // A folder of its own, or the file would be there already; and so would its offer.
        let fetching = builder(&format!("fetches-{name}"), &key, port).start()?;
        while fetching.peers().iter().filter(|p| p.reachable).count() <= holders.len() {
            std::thread::sleep(Duration::from_millis(10));
        }
        fetching.set_file_dir(folder.join(name))?;
        let began = Instant::now();
        let hash = hash.as_str().unwrap_or_default();
        fetching.request_file(hash, PATIENCE, |_| {})?;
        let rate = SIZE as f64 / began.elapsed().as_secs_f64() / 1e6;
        let count = holders.len();
        report.add(
            &format!("file of 256 MiB from {count} at 33.6 MB/s each"),
            rate,
            "MB/s",
        );
        rates.push(rate);
    }
    report.add("from three / from one", rates[1] / rates[0], "ratio");
    Ok(())
}
