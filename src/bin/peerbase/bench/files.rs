//! A file from one holder and from three, each of which reads only so fast.

use super::Report;
use super::process::{Network, own_name};
use crate::Outcome;
use peerbase::{Builder, Call};
use std::path::Path;
use std::time::{Duration, Instant};

const SIZE: usize = 256 << 20;
/// What each holder reads for others.
const PER_SECOND: u64 = 32 << 20;
const PATIENCE: Duration = Duration::from_secs(30);
const HOLDERS: [&str; 3] = ["one", "two", "three"];

fn builder(network: &Network, name: &str) -> Builder {
    network.builder(name).file_limits(1 << 32, 8, PER_SECOND)
}

/// One holder.
pub(super) fn peer() -> Outcome {
    let node = builder(&Network::of_parent()?, &own_name()?).open()?;
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
    let network = Network::new()?;
    let offered = folder.join("offered");
    let data: Vec<u8> = (0..SIZE).map(|i| (i ^ (i >> 11)) as u8).collect();
    std::fs::write(&offered, data)?;
    let node = builder(&network, "fetches").start()?;
    let (mut holders, mut rates) = (Vec::new(), Vec::new());
    for name in HOLDERS {
        holders.push(network.start("files-peer", name, &[])?);
        let offer = node.call("offer").arg(offered.to_string_lossy().as_ref());
        let hash = offer.to(name).timeout(PATIENCE).send()?;
        if holders.len() == 2 {
            continue;
        }
        // A folder of its own, or the file would be there already; and so would its offer.
        let fetching = builder(&network, &format!("fetches-{name}")).start()?;
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
