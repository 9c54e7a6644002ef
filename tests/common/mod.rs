//! What the tests over real sockets share. All traffic stays on 127.0.0.0/8.
#![allow(dead_code, unreachable_pub, missing_docs)] // each test program uses a part of it

use peerbase::{Builder, Key, Node, OsEntropy};
use std::net::UdpSocket;
use std::process::Command;
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

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
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
