//! Calls between two processes on loopback, against a raw mio TCP ping-pong of as many bytes.

mod peer;
mod raw;

use super::process::{Network, resident_kib};
use super::{Report, percentiles};
use crate::{Failure, Outcome};
pub(super) use peer::peer;
use peerbase::Node;
use raw::Raw;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The name of the process that echoes without a node.
const RAW: &str = "raw";
const BODY: usize = 64;
const ROUNDS: usize = 40;
const CALLS: usize = 500;
const IN_FLIGHT: usize = 64;

fn measure(mut once: impl FnMut() -> Outcome) -> Outcome<Vec<Duration>> {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let start = Instant::now();
        once()?;
        times.push(start.elapsed());
    }
    Ok(times)
}

fn echo(node: &Node, text: &str) -> Outcome {
    let peer = format!("echo-{}", node.name());
    node.call("__echo__").arg(text).to(&peer).send()?;
    Ok(())
}

/// Calls a second with `IN_FLIGHT` of them under way at any time.
fn pipelined(node: &Node, text: &str, count: usize) -> Outcome<f64> {
    let (done, wait) = mpsc::channel();
    let start = Instant::now();
    for i in 0..IN_FLIGHT {
        let share = count / IN_FLIGHT + usize::from(i < count % IN_FLIGHT);
        again(node.clone(), text.to_owned(), share, done.clone());
    }
    drop(done);
    let mut ended = 0;
    while let Ok(result) = wait.recv() {
        result?;
        ended += 1;
    }
    Ok(ended as f64 / start.elapsed().as_secs_f64())
}

fn again(node: Node, text: String, left: usize, done: mpsc::Sender<Result<(), peerbase::Error>>) {
    if left == 0 {
        return;
    }
    let (next, then, report) = (node.clone(), text.clone(), done.clone());
    let begun = node
        .call("__echo__")
        .arg(text)
        .to("echo-threaded")
        .send_async(move |result| {
            let _ = report.send(result.map(|_| ()));
            again(next, then, left - 1, report);
        });
    if let Err(e) = begun {
        let _ = done.send(Err(e));
    }
}

pub(super) fn run(report: &mut Report) -> Outcome {
    let network = Network::new()?;
    let (_raw_peer, line) = network.start("rpc-peer", RAW, &[])?;
    let (_looped_peer, _) = network.start("rpc-peer", "echo-looped", &[])?;
    let (_threaded_peer, _) = network.start("rpc-peer", "echo-threaded", &[])?;
    let address: SocketAddr = line
        .trim()
        .parse()
        .map_err(|_| Failure::Failed("the other process did not start".into()))?;
    let mut raw = Raw::new(TcpStream::connect(address)?)?;
    let threaded = network.builder("threaded").start()?;
    let looped = network.builder("looped").open()?;
    let sequential = round_trips(report, &mut raw, &looped, &threaded)?;
    many_at_once(report, &threaded, sequential)
}

/// One call after another, in turns with the raw stream; calls a second on the node's own thread.
fn round_trips(report: &mut Report, raw: &mut Raw, looped: &Node, threaded: &Node) -> Outcome<f64> {
    let text = "x".repeat(BODY);
    let mut buf = [0; BODY];
    echo(threaded, &text)?;
    echo(looped, &text)?;
    let (mut raws, mut loops, mut threads) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        raws.extend(measure(|| {
            raw.write(text.as_bytes())?;
            raw.read(&mut buf).map(|_| ())
        })?);
        loops.extend(measure(|| echo(looped, &text))?);
        threads.extend(measure(|| echo(threaded, &text))?);
    }
    let sequential = threads.len() as f64 / threads.iter().sum::<Duration>().as_secs_f64();
    let ((raw50, raw99), (loop50, loop99), (thread50, thread99)) =
        (percentiles(raws), percentiles(loops), percentiles(threads));
    report.add("rpc 64 B raw mio ping-pong, p50", raw50, "us");
    report.add("rpc 64 B raw mio ping-pong, p99", raw99, "us");
    report.add("rpc 64 B in the caller's loop, p50", loop50, "us");
    report.add("rpc 64 B in the caller's loop, p99", loop99, "us");
    report.add("rpc 64 B on its own thread, p50", thread50, "us");
    report.add("rpc 64 B on its own thread, p99", thread99, "us");
    report.add("rpc 64 B caller's loop / raw, p50", loop50 / raw50, "ratio");
    report.add("rpc 64 B own thread / raw, p50", thread50 / raw50, "ratio");
    Ok(sequential)
}

/// Many calls in flight, against `sequential` of them a second; and what they leave in memory.
fn many_at_once(report: &mut Report, threaded: &Node, sequential: f64) -> Outcome {
    let text = "x".repeat(BODY);
    pipelined(threaded, &text, 20_000)?;
    let before = resident_kib(None);
    let rate = pipelined(threaded, &text, 200_000)?;
    report.add(
        "rpc 64 B own thread, one after another",
        sequential,
        "calls/s",
    );
    report.add("rpc 64 B own thread, 64 in flight", rate, "calls/s");
    report.add(
        "rpc 64 B 64 in flight / one after another",
        rate / sequential,
        "ratio",
    );
    report.add(
        "rpc resident memory growth over 200 000 calls",
        resident_kib(None) - before,
        "KiB",
    );
    Ok(())
}
