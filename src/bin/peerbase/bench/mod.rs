//! `peerbase bench`: how fast, in ratios of one run. What the library is compared with runs beside
//! it, in turns, because machines are noisy.

mod connect;
mod fernet;
mod files;
mod forwarding;
mod frame;
mod handshake;
mod process;
mod relay;
mod rpc;
mod stream;

use crate::{Failure, Outcome};
use lexopt::{Arg, ValueExt};
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

pub(crate) fn run(mut parser: lexopt::Parser) -> Outcome {
    let (mut what, mut json) = (None, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Value(value) if what.is_none() => what = Some(value.string()?),
            Arg::Long("json") => json = true,
            arg => return Err(arg.unexpected().into()),
        }
    }
    let mut report = Report {
        json,
        lines: Map::new(),
    };
    match what.as_deref() {
        Some("rpc") => rpc::run(&mut report)?,
        Some("relay") => relay::run(&mut report)?,
        // How it measures a part of itself on one core.
        Some("relay-round-trips") => relay::round_trips(&mut report)?,
        Some("files") => files::run(&mut report)?,
        Some("stream") => stream::run(&mut report)?,
        Some("fernet") => fernet::run(&mut report),
        Some("frame") => frame::run(&mut report),
        Some("handshake") => handshake::run(&mut report)?,
        Some("connect") => connect::run(&mut report)?,
        // How they start their other processes.
        Some("rpc-peer") => return rpc::peer(),
        Some("connect-peer") => return connect::peer(),
        Some("files-peer") => return files::peer(),
        Some("stream-peer") => return stream::peer(),
        Some("relay-peer") => return relay::peer(),
        Some("relay-server") => return relay::server(),
        Some("plain-forwarder") => return forwarding::plain(),
        _ => {
            return Err(Failure::Usage(
                "bench rpc, relay, stream, files, fernet, frame, handshake or connect".into(),
            ));
        }
    }
    report.print();
    Ok(())
}

/// Named figures, as lines for people or as one JSON object.
pub(crate) struct Report {
    json: bool,
    lines: Map<String, Value>,
}

impl Report {
    fn add(&mut self, name: &str, value: f64, unit: &str) {
        if !self.json {
            eprintln!("{name:<58} {value:>12.3} {unit}");
        }
        let rounded = (value * 1e3).round() / 1e3;
        self.lines
            .insert(format!("{name} ({unit})"), rounded.into());
    }

    fn print(self) {
        if self.json {
            println!("{}", Value::Object(self.lines));
        }
    }
}

/// Bytes a second, in MB/s: the best of several rounds of `f`, each of which handles `bytes`.
fn throughput(bytes: usize, mut f: impl FnMut()) -> f64 {
    let round = Duration::from_millis(60);
    let mut best = 0f64;
    for _ in 0..5 {
        let start = Instant::now();
        let mut count = 0u64;
        while start.elapsed() < round {
            for _ in 0..(16_384 / bytes).max(1) {
                f();
                count += 1;
            }
        }
        best = best.max(count as f64 * bytes as f64 / start.elapsed().as_secs_f64() / 1e6);
    }
    best
}

/// Half and nearly all of the round trips are below these, in microseconds.
fn percentiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e6;
    (at(50), at(99))
}
