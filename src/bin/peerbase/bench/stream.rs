//! One stream between two processes on loopback, against what sealing and opening alone would allow; short
//! calls while it runs, and the memory it takes.

use super::process::{Process, resident_kib, setting};
use super::{Report, percentiles, throughput};
use crate::{Failure, Outcome, options::KEY_VARIABLE};
use peerbase::fernet::Sealer;
use peerbase::{Builder, Call, Key, Node, OsEntropy, StreamReader};
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

const NETWORK: &str = "bench";
const PORT_VARIABLE: &str = "PEERBASE_BENCH_PORT";
const CHUNK: usize = 16 * 1024;
/// What is written at once, where nothing else is done meanwhile.
const WRITE: usize = 64 * 1024;
const ROUND: usize = 256 << 20;
const ROUNDS: usize = 6;
const CALLS: usize = 3_000;

fn builder(name: &str, key: &Key, port: u16) -> Builder {
    Node::builder(name, NETWORK, key.clone())
        .loopback(true)
        .advertise_port(port)
}

/// The other process: takes whatever is streamed to it, on a thread for each stream or in its loop.
pub(super) fn peer() -> Outcome {
    let port = setting(PORT_VARIABLE)?.parse();
    let port = port.map_err(|_| Failure::Usage("bad port".into()))?;
    let key = Key::parse(&setting(KEY_VARIABLE)?)?;
    builder("sink", &key, port)
        .command("take", |call: Call| {
            std::thread::spawn(move || take(call));
        })
        .command("take-in-loop", take_in_loop)
        .command("memory", |call: Call| call.reply(resident_kib(None)))
        .run(|_| println!("ready"))?;
    Ok(())
}

fn take(call: Call) {
    let Ok((mut reader, writer)) = call.streams() else {
        return;
    };
    writer.finish();
    let (mut buf, mut sum) = (vec![0; 64 * 1024], 0u64);
    loop {
        match reader.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => sum += n as u64,
            Err(e) => return drop(call.fail(&e.to_string())),
        }
    }
    let _ = call.reply(sum);
}

/// What is left to do for a stream that is taken in the loop.
struct Taking {
    call: Option<Call>,
    /// Gone once all was read: it keeps what is told, which keeps this.
    reader: Option<StreamReader>,
    buf: Vec<u8>,
    sum: u64,
}

impl Taking {
    fn go_on(&mut self) {
        let Some(reader) = &mut self.reader else {
            return;
        };
        let outcome = loop {
            match reader.read_timeout(&mut self.buf, Duration::ZERO) {
                Ok(0) => break Ok(()),
                Ok(n) => self.sum += n as u64,
                Err(peerbase::Error::WouldBlock) => return,
                Err(e) => break Err(e),
            }
        };
        self.reader = None;
        if let Some(call) = self.call.take() {
            let _ = match outcome {
                Ok(()) => call.reply(self.sum),
                Err(e) => call.fail(&e.to_string()),
            };
        }
    }
}

fn take_in_loop(call: Call) {
    let Ok((reader, writer)) = call.streams() else {
        return;
    };
    writer.finish();
    let taking = Arc::new(Mutex::new(Taking {
        call: Some(call),
        reader: Some(reader),
        buf: vec![0; 64 * 1024],
        sum: 0,
    }));
    let go_on = {
        let taking = taking.clone();
        move || {
            if let Ok(mut taking) = taking.lock() {
                taking.go_on();
            }
        }
    };
    if let Ok(taking) = taking.lock()
        && let Some(reader) = &taking.reader
    {
        reader.on_ready(go_on.clone());
    }
    go_on();
}

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
    let key = Key::generate(&mut OsEntropy::new()?);
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let (key_text, port_text) = (key.to_text(), port.to_string());
    let settings = [
        (KEY_VARIABLE, key_text.as_str()),
        (PORT_VARIABLE, port_text.as_str()),
    ];
    let (_sink, _) = Process::start("stream-peer", &settings)?;
    let node = builder("source", &key, port).start()?;
    stream(&node, ROUND / 8)?;

    let looped = builder("looped", &key, port).open()?;
    stream_in_loop(&looped, ROUND / 8)?;
    let sealer = Sealer::new(&key);
    let (plain, mut token, mut buf) = (vec![7; CHUNK], Vec::new(), Vec::new());
    let mut ratios = [Vec::new(), Vec::new()];
    let (mut rates, mut seals, mut opens) = ([0f64; 2], 0f64, 0f64);
    for _ in 0..ROUNDS {
        let seal = throughput(CHUNK, || {
            token.clear();
            sealer.seal(black_box(&plain), 1, &[9; 16], &mut token);
        });
        let open = throughput(CHUNK, || {
            let _ = black_box(sealer.open(black_box(&token), &mut buf));
        });
        (seals, opens) = (seals.max(seal), opens.max(open));
        for (i, took) in [stream_in_loop(&looped, ROUND)?, stream(&node, ROUND)?]
            .into_iter()
            .enumerate()
        {
            let rate = ROUND as f64 / took.as_secs_f64() / 1e6;
            rates[i] = rates[i].max(rate);
            ratios[i].push(rate / seal.min(open));
        }
    }
    report.add("fernet 16 KiB seal", seals, "MB/s");
    report.add("fernet 16 KiB open", opens, "MB/s");
    for (i, how) in ["in the caller's loop", "on its own thread"]
        .iter()
        .enumerate()
    {
        ratios[i].sort_unstable_by(f64::total_cmp);
        let median = (ratios[i][ROUNDS / 2 - 1] + ratios[i][ROUNDS / 2]) / 2.0;
        report.add(&format!("stream {how}, best"), rates[i], "MB/s");
        report.add(
            &format!("stream {how} / slower of both, median"),
            median,
            "ratio",
        );
    }

    let idle = calls(&looped, |done| done < CALLS)?;
    let mut busy = Vec::new();
    for _ in 0..ROUNDS {
        busy.extend(calls_in_loop(&looped, ROUND)?);
    }
    during(report, "in the caller's loop", idle, busy);
    let idle = calls(&node, |done| done < CALLS)?;
    let done = AtomicBool::new(false);
    let busy = std::thread::scope(|scope| {
        let streaming = scope.spawn(|| {
            let outcome = (0..ROUNDS).try_for_each(|_| stream(&node, ROUND).map(|_| ()));
            done.store(true, Ordering::Relaxed);
            outcome
        });
        let times = calls(&node, |_| !done.load(Ordering::Relaxed))?;
        match streaming.join() {
            Ok(outcome) => outcome.map(|()| times),
            Err(_) => Err(Failure::Failed("the stream panicked".into())),
        }
    })?;
    during(report, "on its own thread", idle, busy);

    let before = memory(&node)?;
    stream(&node, 1 << 30)?;
    let after = memory(&node)?;
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
