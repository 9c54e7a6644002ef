//! Calls between two processes on loopback, against a raw mio TCP ping-pong of as many bytes.

use super::process::{Process, resident_kib, setting};
use super::{Report, percentiles};
use crate::{Failure, Outcome, options::KEY_VARIABLE};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use peerbase::{Builder, Key, Node, OsEntropy};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const NETWORK: &str = "bench";
const PORT_VARIABLE: &str = "PEERBASE_BENCH_PORT";
const NAME_VARIABLE: &str = "PEERBASE_BENCH_PEER";
const RAW: &str = "raw";
const BODY: usize = 64;
const ROUNDS: usize = 40;
const CALLS: usize = 500;
const IN_FLIGHT: usize = 64;

/// The other process: a node that echoes, or a raw echo. One for each thing that is measured, since
/// the scheduler remembers who talked to whom.
pub(super) fn peer() -> Outcome {
    let name = setting(NAME_VARIABLE)?;
    if name != RAW {
        let port = setting(PORT_VARIABLE)?.parse();
        let port = port.map_err(|_| Failure::Usage("bad port".into()))?;
        let key = Key::parse(&setting(KEY_VARIABLE)?)?;
        builder(&name, &key, port).run(|_| println!("ready"))?;
        return Ok(());
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    let mut raw = Raw::new(TcpStream::from_std(stream))?;
    let mut buf = [0; BODY];
    while raw.read(&mut buf)? {
        raw.write(&buf)?;
    }
    Ok(())
}

fn builder(name: &str, key: &Key, port: u16) -> Builder {
    Node::builder(name, NETWORK, key.clone())
        .loopback(true)
        .advertise_port(port)
}

/// A stream in an event loop of its own, with nothing around it.
struct Raw {
    stream: TcpStream,
    poll: Poll,
    events: Events,
}

impl Raw {
    fn new(mut stream: TcpStream) -> Outcome<Raw> {
        stream.set_nodelay(true)?;
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut stream, Token(0), Interest::READABLE)?;
        Ok(Raw {
            stream,
            poll,
            events: Events::with_capacity(16),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome {
        // 64 bytes always fit an empty socket.
        self.stream.write_all(bytes)?;
        Ok(())
    }

    /// Fills the buffer; false when the other side is gone.
    fn read(&mut self, buf: &mut [u8]) -> Outcome<bool> {
        let mut got = 0;
        while got < buf.len() {
            self.poll.poll(&mut self.events, None)?;
            match self.stream.read(&mut buf[got..]) {
                Ok(0) => return Ok(false),
                Ok(n) => got += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(true)
    }
}

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
    let key = Key::generate(&mut OsEntropy::new()?);
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let start = |name: &str| {
        let (key, port) = (key.to_text(), port.to_string());
        let settings = [
            (NAME_VARIABLE, name),
            (KEY_VARIABLE, key.as_str()),
            (PORT_VARIABLE, port.as_str()),
        ];
        Process::start("rpc-peer", &settings)
    };
    let (_raw_peer, line) = start(RAW)?;
    let (_looped_peer, _) = start("echo-looped")?;
    let (_threaded_peer, _) = start("echo-threaded")?;
    let address: SocketAddr = line
        .trim()
        .parse()
        .map_err(|_| Failure::Failed("the other process did not start".into()))?;

    let stream = std::net::TcpStream::connect(address)?;
    stream.set_nonblocking(true)?;
    let mut raw = Raw::new(TcpStream::from_std(stream))?;
    let threaded = builder("threaded", &key, port).start()?;
    let looped = builder("looped", &key, port).open()?;
    let text = "x".repeat(BODY);
    let mut buf = [0; BODY];
    echo(&threaded, &text)?;
    echo(&looped, &text)?;

    let (mut raws, mut loops, mut threads) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        raws.extend(measure(|| {
            raw.write(text.as_bytes())?;
            raw.read(&mut buf).map(|_| ())
        })?);
        loops.extend(measure(|| echo(&looped, &text))?);
        threads.extend(measure(|| echo(&threaded, &text))?);
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

    pipelined(&threaded, &text, 20_000)?;
    let before = resident_kib(None);
    let rate = pipelined(&threaded, &text, 200_000)?;
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
