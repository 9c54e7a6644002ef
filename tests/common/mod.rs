//! What the tests over real sockets share. All traffic stays on 127.0.0.0/8.
// Each test program uses a part of it.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]

pub mod cc;
pub mod engines;
pub mod folder;
pub mod process;
pub mod python;
pub mod wait;

pub use folder::Folder;
pub use process::{Tool, assert_shouted, check, have, ip, output, take_down};
pub use wait::{
    Deadline, PATIENCE, accept, connect, join, last_events, next, until, wait_for_event,
};

use peerbase::{Builder, Key, Node, OsEntropy};
use std::net::UdpSocket;
use std::time::Duration;

/// A network of its own: a fresh key, and an advertise port that is kept for it.
pub struct Lan {
    pub key: Key,
    pub port: u16,
    /// Keeps the port from being given to anybody else; the nodes share it.
    _held: UdpSocket,
}

/// A UDP socket that lets others have its port as well, but only who asks for it by its number.
pub fn shared_port(address: [u8; 4], port: u16) -> (UdpSocket, u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_broadcast(true).unwrap();
    let at = std::net::SocketAddr::from((address, port));
    socket.bind(&at.into()).unwrap();
    let socket: UdpSocket = socket.into();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

impl Lan {
    pub fn new() -> Lan {
        let (held, port) = shared_port([127, 0, 0, 1], 0);
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

pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A number from the environment, or else this one.
pub fn number(variable: &str, otherwise: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.and_then(|t| t.parse().ok()).unwrap_or(otherwise)
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
