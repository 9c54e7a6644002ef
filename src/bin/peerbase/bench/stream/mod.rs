//! One stream between two processes on loopback, against what sealing and opening alone would
//! allow; short calls while it runs, and the memory it takes.

mod peer;

use super::process::{Network, resident_kib};
use super::{Report, percentiles, throughput};
use crate::{Failure, Outcome};
pub(super) use peer::peer;
use peerbase::fernet::Sealer;
use peerbase::{Key, Node};
use std::hint::black_box;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How the two nodes that are measured are driven.
const IN_LOOP: &str = "in the caller's loop";
const THREADED: &str = "on its own thread";
const CHUNK: usize = 16 * 1024;
/// What is written at once, where nothing else is done meanwhile.
const WRITE: usize = 64 * 1024;
const ROUND: usize = 256 << 20;
const ROUNDS: usize = 6;
const CALLS: usize = 3_000;

/// Streams so many bytes; how long it took.
fn stream(node: &Node, bytes: usize) -> Outcome<Duration> {
    let chunk = vec![7; WRITE];
    let start = Instant::now();
    let mut stream = node.call("take").to("sink").stream()?;
    for _ in 0..bytes / WRITE {
        stream.write_all(&chunk)?;
    }
    let took = stream.value()?;
    if took != bytes {
        return Err(Failure::Failed(format!("{took} of {bytes} arrived")));
    }
    Ok(start.elapsed())
}

/// The same in the caller's own loop.
fn stream_in_loop(node: &Node, bytes: usize) -> Outcome<Duration> {
    let chunk = vec![7; WRITE];
    let start = Instant::now();
    let mut stream = node.call("take-in-loop").to("sink").stream()?;
    for _ in 0..bytes / WRITE {
        stream.write_all(&chunk)?;
        node.process(Some(Duration::ZERO))?;
    }
    let took = stream.value()?;
    if took != bytes {
        return Err(Failure::Failed(format!("{took} of {bytes} arrived")));
    }
    Ok(start.elapsed())
}

/// The same, with one short call after the other meanwhile; how long those took.
fn calls_in_loop(node: &Node, bytes: usize) -> Outcome<Vec<Duration>> {
    let (chunk, text) = (vec![7; CHUNK], "x".repeat(64));
    let mut stream = node.call("take-in-loop").to("sink").stream()?;
    let (done, ended) = mpsc::channel();
    let begin = || {
        let (began, done) = (Instant::now(), done.clone());
        let call = node.call("__echo__").arg(text.as_str()).to("sink");
        call.send_async(move |result| {
            let _ = done.send(result.map(|_| began.elapsed()));
        })
    };
    begin()?;
    let mut times = Vec::new();
    for _ in 0..bytes / CHUNK {
        stream.write_all(&chunk)?;
        node.process(Some(Duration::ZERO))?;
        if let Ok(result) = ended.try_recv() {
            times.push(result?);
            begin()?;
        }
    }
    stream.value()?;
    Ok(times)
}

/// Round trips of short calls, as long as `more` says.
fn calls(node: &Node, mut more: impl FnMut(usize) -> bool) -> Outcome<Vec<Duration>> {
    let text = "x".repeat(64);
    let mut times = Vec::new();
    while more(times.len()) {
        let start = Instant::now();
        node.call("__echo__").arg(text.as_str()).to("sink").send()?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// What both processes take.
fn memory(node: &Node) -> Outcome<[f64; 2]> {
    let sink = node.call("memory").to("sink").send()?;
    Ok([resident_kib(None), sink.as_f64().unwrap_or(0.0)])
}

pub(super) fn run(report: &mut Report) -> Outcome {
    let network = Network::new()?;
    let (_sink, _) = network.start("stream-peer", "sink", &[])?;
    let node = network.builder("source").start()?;
    stream(&node, ROUND / 8)?;
    let looped = network.builder("looped").open()?;
    stream_in_loop(&looped, ROUND / 8)?;

    rates(report, &network.key, &looped, &node)?;
    calls_beside_a_stream(report, &looped, &node)?;
    growth(report, &node)
}

/// The best rates of both ways to stream, and how they compare with the cipher's in the same round.
fn rates(report: &mut Report, key: &Key, looped: &Node, threaded: &Node) -> Outcome {
    let mut cipher = Cipher::new(key);
    let mut ratios = [Vec::new(), Vec::new()];
    let (mut rates, mut seals, mut opens) = ([0f64; 2], 0f64, 0f64);
    for _ in 0..ROUNDS {
        let (seal, open) = cipher.rates();
        (seals, opens) = (seals.max(seal), opens.max(open));
        let took = [stream_in_loop(looped, ROUND)?, stream(threaded, ROUND)?];
        for (i, took) in took.into_iter().enumerate() {
            let rate = ROUND as f64 / took.as_secs_f64() / 1e6;
            rates[i] = rates[i].max(rate);
            ratios[i].push(rate / seal.min(open));
        }
    }
    report.add("fernet 16 KiB seal", seals, "MB/s");
    report.add("fernet 16 KiB open", opens, "MB/s");
    for (i, how) in [IN_LOOP, THREADED].iter().enumerate() {
        ratios[i].sort_unstable_by(f64::total_cmp);
        let median = (ratios[i][ROUNDS / 2 - 1] + ratios[i][ROUNDS / 2]) / 2.0;
        report.add(&format!("stream {how}, best"), rates[i], "MB/s");
        report.add(
            &format!("stream {how} / slower of both, median"),
            median,
            "ratio",
        );
    }
    Ok(())
}

/// Sealing and opening a chunk, with nothing around it.
struct Cipher {
    sealer: Sealer,
    plain: Vec<u8>,
    token: Vec<u8>,
    opened: Vec<u8>,
}

impl Cipher {
    fn new(key: &Key) -> Cipher {
        Cipher {
            sealer: Sealer::new(key),
            plain: vec![7; CHUNK],
            token: Vec::new(),
            opened: Vec::new(),
        }
    }

    /// MB/s of sealing, and of opening.
    fn rates(&mut self) -> (f64, f64) {
        let seal = throughput(CHUNK, || {
            self.token.clear();
            let plain = black_box(&self.plain);
            self.sealer.seal(plain, 1, &[9; 16], &mut self.token);
        });
        let open = throughput(CHUNK, || {
            let token = black_box(&self.token);
            let _ = black_box(self.sealer.open(token, &mut self.opened));
        });
        (seal, open)
    }
}

/// Short calls of both kinds of node, alone and during a stream.
fn calls_beside_a_stream(report: &mut Report, looped: &Node, threaded: &Node) -> Outcome {
    let idle = calls(looped, |done| done < CALLS)?;
    let mut busy = Vec::new();
    for _ in 0..ROUNDS {
        busy.extend(calls_in_loop(looped, ROUND)?);
    }
    during(report, IN_LOOP, idle, busy);
    let idle = calls(threaded, |done| done < CALLS)?;
    let done = AtomicBool::new(false);
    let busy = std::thread::scope(|scope| {
        let streaming = scope.spawn(|| {
            let outcome = (0..ROUNDS).try_for_each(|_| stream(threaded, ROUND).map(|_| ()));
            done.store(true, Ordering::Relaxed);
            outcome
        });
        let times = calls(threaded, |_| !done.load(Ordering::Relaxed))?;
        match streaming.join() {
            Ok(outcome) => outcome.map(|()| times),
            Err(_) => Err(Failure::Failed("the stream panicked".into())),
        }
    })?;
    during(report, THREADED, idle, busy);
    Ok(())
}

/// What both processes take more after a long stream than before it.
fn growth(report: &mut Report, node: &Node) -> Outcome {
    let before = memory(node)?;
    stream(node, 1 << 30)?;
    let after = memory(node)?;
    for (i, whose) in ["the sender's", "the receiver's"].iter().enumerate() {
        let line = format!("{whose} resident memory, growth over 1 GiB");
        report.add(&line, after[i] - before[i], "KiB");
    }
    Ok(())
}

/// Short calls alone, and during a stream.
fn during(report: &mut Report, how: &str, idle: Vec<Duration>, busy: Vec<Duration>) {
    let ((_, idle), (busy50, busy99)) = (percentiles(idle), percentiles(busy));
    report.add(&format!("rpc 64 B {how}, alone, p99"), idle, "us");
    report.add(
        &format!("rpc 64 B {how}, during a stream, p50"),
        busy50,
        "us",
    );
    report.add(
        &format!("rpc 64 B {how}, during a stream, p99"),
        busy99,
        "us",
    );
    report.add(
        &format!("rpc 64 B {how}, during / alone, p99"),
        busy99 / idle,
        "ratio",
    );
}
