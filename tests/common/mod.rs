//! What the tests over real sockets share. All traffic stays on 127.0.0.0/8.
#![allow(dead_code, unreachable_pub, missing_docs)] // each test program uses a part of it

pub mod cc;
pub mod python;

use peerbase::{Builder, Event, Key, Node, OsEntropy};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::UdpSocket;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// A network of its own: a fresh key, and an advertise port that is kept for it.
pub struct Lan {
    pub key: Key,
    pub port: u16,
    /// Keeps the port from being given to anybody else; nodes share it.
    _held: UdpSocket,
}

impl Lan {
    pub fn new() -> Lan {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket
            .bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        let held: UdpSocket = socket.into();
        let port = held.local_addr().unwrap().port();
        Lan {
            key: Key::generate(&mut OsEntropy::new().unwrap()),
            port,
            _held: held,
        }
    }

    pub fn builder(&self, name: &str) -> Builder {
        Node::builder(name, "test", self.key.clone())
            .loopback(true)
            .advertise_port(self.port)
    }

    /// The tool's arguments for a node or call on this network.
    pub fn args(&self) -> Vec<String> {
        let port = self.port.to_string();
        [
            "--network",
            "test",
            "--key",
            &self.key.to_text(),
            "--loopback",
            "--advertise-port",
            &port,
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

/// Waits for an event that fits.
pub fn wait_for_event(
    events: &peerbase::Events,
    what: &str,
    fits: impl Fn(&Event) -> bool,
) -> Event {
    let start = Instant::now();
    while start.elapsed() < secs(60) {
        if let Some(event) = events.next_timeout(secs(60))
            && fits(&event)
        {
            return event;
        }
    }
    panic!("waited too long for {what}");
}

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// None of these is in the bytes, as it is or as base64 of whatever alignment.
pub fn shows_nothing(what: &str, bytes: &[u8], secrets: &[&str]) {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let holds = |needle: &[u8]| memchr::memmem::find(bytes, needle).is_some();
    for secret in secrets {
        assert!(!holds(secret.as_bytes()), "{secret} is in the {what}");
        for shift in 0..3 {
            let shifted = [&b"\0\0"[..shift], secret.as_bytes()].concat();
            for encoded in [
                URL_SAFE_NO_PAD.encode(&shifted),
                STANDARD_NO_PAD.encode(&shifted),
            ] {
                // What depends on its neighbours is left out.
                let inner = &encoded.as_bytes()[(shift * 8).div_ceil(6)..shifted.len() * 8 / 6];
                assert!(!holds(inner), "{secret} is in the {what} as base64");
            }
        }
    }
}

/// Waits for a condition that other threads bring about; for where no event tells of it.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < secs(30), "waited too long for {what}");
        std::thread::yield_now();
    }
}

/// Whether `program` can be used. When it cannot, the test says that it is skipped; with
/// `PEERBASE_REQUIRE` set, as in CI, that is a failure.
pub fn have(program: &str, args: &[&str], for_what: &str) -> bool {
    let works = Command::new(program)
        .args(args)
        .output()
        .is_ok_and(|o| o.status.success());
    if !works {
        assert!(
            std::env::var_os("PEERBASE_REQUIRE").is_none(),
            "{program} is required for {for_what}"
        );
        eprintln!("skipped: {for_what} needs {program} {}", args.join(" "));
    }
    works
}

/// Runs `ip` with these words, which must work.
pub fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {line}: {error}");
}

/// A `peerbase node` in a process of its own, with its console. Ended, by its own id, when dropped.
pub struct Tool {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
    port: u16,
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (give, take) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if give.send(line).is_err() {
                return;
            }
        }
    });
    take
}

impl Tool {
    /// Starts one, by `program` with `before` in front of the tool's own arguments, and waits until it
    /// takes part.
    pub fn node(program: &str, before: &[&str], name: &str, lan: &Lan) -> Tool {
        Tool::with_args(program, before, name, &lan.args())
    }

    pub fn with_args(program: &str, before: &[&str], name: &str, args: &[String]) -> Tool {
        let mut command = Command::new(program);
        command.args(before).args(["node", name]).args(args);
        let (mut tool, ready) = Tool::start(command);
        tool.port = ready.rsplit(' ').next().unwrap().parse().unwrap();
        tool
    }

    /// A `peerbase relay`, and where it listens.
    pub fn relay(program: &str, before: &[&str], args: &[&str]) -> (Tool, String) {
        let mut command = Command::new(program);
        command.args(before).arg("relay").args(args);
        let (tool, ready) = Tool::start(command);
        (tool, ready.rsplit(' ').next().unwrap().to_owned())
    }

    /// Starts one and waits until it is ready, which it says in the line that is given.
    pub fn start(command: Command) -> (Tool, String) {
        let tool = Tool::spawn(command);
        let ready = tool.wait_for("is ready");
        (tool, ready)
    }

    /// Starts another program that says on its standard output when it is ready.
    pub fn start_saying(command: Command) -> Tool {
        let tool = Tool::spawn(command);
        assert!(tool.hear().contains("is ready"));
        tool
    }

    fn spawn(mut command: Command) -> Tool {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Tool {
            child,
            out,
            err,
            port: 0,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has said nothing more, in either way, until it ended.
    pub fn said_no_more(&self) -> bool {
        self.out.recv().is_err() && self.err.recv().is_err()
    }

    /// As a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn send_signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    pub fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// The next result.
    pub fn hear(&self) -> String {
        self.out.recv_timeout(secs(60)).unwrap()
    }

    /// The next result, if one comes in that time.
    pub fn hear_within(&self, time: Duration) -> Option<String> {
        self.out.recv_timeout(time).ok()
    }

    /// Waits for words that hold `text`.
    pub fn wait_for(&self, text: &str) -> String {
        loop {
            let line = self.err.recv_timeout(secs(60));
            let line = line.unwrap_or_else(|_| panic!("never heard {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn signal(&mut self, signal: &str) -> ExitStatus {
        self.send_signal(signal);
        self.wait()
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
