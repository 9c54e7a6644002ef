//! What the unit tests of parts stand on: a core of its own for each test, and chance that repeats.

use super::context::{Core, Ctx};
use super::{Config, Event, Now, Output, Stats, Time};
use crate::entropy::Counting;
use crate::fernet::{Key, Keyring};
use crate::limits::Limits;
use crate::name::{NetworkName, NodeName};
use crate::wire::Instance;
use crate::wire::peers::Acquaintance;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// A moment, in milliseconds.
pub(crate) fn at(ms: u64) -> Time {
    Time(Duration::from_millis(ms))
}

pub(crate) fn name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

/// A node called "us" of instance `[5; 16]`, on a LAN of the network "net".
pub(crate) fn config() -> Config {
    Config {
        network: NetworkName::new("net").unwrap(),
        name: name("us"),
        keys: Keyring::from(Key::from_bytes([1; 32])),
        port: 7,
        address: None,
        interval: Duration::from_secs(1),
        lan: true,
        relays: Vec::new(),
        max_remotes: 3,
        relay_keepalive: Duration::from_secs(10),
        limits: Limits::default(),
    }
}

/// The address of the `n`th peer.
pub(crate) fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 7))
}

/// The `n`th peer, as another peer tells of it.
pub(crate) fn acquaintance(n: u8) -> Acquaintance {
    Acquaintance {
        instance: Instance([n; 16]),
        name: name(&format!("p{n}")),
        address: address(n),
    }
}

/// The core of that node.
pub(crate) fn core() -> Core {
    Core {
        config: config(),
        instance: Instance([5; 16]),
        entropy: Box::new(Counting(0)),
        outputs: VecDeque::new(),
        stats: Stats::default(),
    }
}

/// A core, and the time.
pub(crate) struct Fixture {
    pub(crate) core: Core,
    pub(crate) now: Time,
}

impl Default for Fixture {
    fn default() -> Fixture {
        Fixture {
            core: core(),
            now: Time::default(),
        }
    }
}

impl Fixture {
    pub(crate) fn ctx(&mut self) -> Ctx<'_> {
        self.core.at(Now {
            at: self.now,
            unix: 1,
        })
    }

    /// The events that were told since the last time.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        let outputs = self.core.outputs.drain(..);
        let events = outputs.filter_map(|output| match output {
            Output::Event(event) => Some(event),
            _ => None,
        });
        events.collect()
    }
}
