//! What the unit tests of parts stand on: a core of its own for each test, and chance that repeats.

use super::context::{Core, Ctx};
use super::{Config, Event, Now, Output, Stats, Time};
use crate::entropy::Entropy;
use crate::fernet::{Key, Keyring};
use crate::limits::Limits;
use crate::name::{NetworkName, NodeName};
use crate::wire::Instance;
use std::collections::VecDeque;
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

/// Bytes that count up.
struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
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
