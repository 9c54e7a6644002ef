//! A world of engines and hubs under a virtual clock: one thread, no sockets, every choice from one
//! seed.

mod calls;
mod clock;
mod node;
mod outputs;
mod wires;

pub(crate) use crate::common::engines::{Rng, name};
pub(crate) use crate::common::secs;
use crate::hubs::SimHub;
use clock::Due;
pub(crate) use clock::Happening;
pub(crate) use node::{Behaviour, Node};
use peerbase::engine::{CallNumber, Mode, Now, RequestId, Terms, Time};
use peerbase::error::Error;
use peerbase::fernet::Key;
use peerbase::limits::Limits;
use peerbase::wire::Instance;
use peerbase::{Identity, RelayAddress, Rules};
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::Duration;
pub(crate) use wires::End;
use wires::Wire;

pub(crate) const PORT: u16 = 7;

pub(crate) fn key() -> Key {
    Key::from_bytes([42; 32])
}

/// A call that waits for its target.
pub(crate) fn terms(timeout: Duration) -> Terms {
    Terms {
        timeout,
        wait: true,
        streams: false,
    }
}

pub(crate) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) struct World {
    pub now: Duration,
    pub unix: i64,
    pub rng: Rng,
    pub nodes: Vec<Node>,
    pub hubs: Vec<SimHub>,
    /// What nodes that are added are given.
    pub relays: Vec<RelayAddress>,
    pub max_remotes: Option<usize>,
    pub lan: bool,
    pub wires: Vec<Wire>,
    queue: BinaryHeap<Due>,
    order: u64,
    pub limits: Limits,
    pub rules: Rules,
    pub interval: Duration,
    /// The identities that nodes of these names keep, and what makes a name belong to a key.
    pub kept: HashMap<String, (Identity, Mode)>,
    /// One way, at least and at most.
    pub delay: (Duration, Duration),
    /// Percent of datagrams lost.
    pub loss: u64,
    /// Calls begun and how often each ended.
    pub begun: HashSet<(Instance, CallNumber)>,
    pub ends: HashMap<(Instance, CallNumber), Result<Vec<u8>, Error>>,
    /// Those of them whose values are marked as bytes.
    pub data_ends: HashSet<(Instance, CallNumber)>,
    /// Requests that a handler was given.
    ran: HashSet<RequestId>,
    /// Every datagram sent, for replaying.
    pub recorded: Option<Vec<Vec<u8>>>,
    /// Bytes that raw ends received.
    pub raw: HashMap<usize, Vec<u8>>,
    /// Bytes sent over links in either direction, for replaying.
    pub tapped: Option<Vec<(usize, usize, Vec<u8>)>>,
    pub closed_raw: HashSet<usize>,
    /// Where raw ends connect from.
    pub raw_address: [u8; 4],
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        World {
            now: Duration::ZERO,
            unix: 1_000_000_000,
            rng: Rng(seed),
            nodes: Vec::new(),
            hubs: Vec::new(),
            relays: Vec::new(),
            max_remotes: None,
            lan: true,
            wires: Vec::new(),
            queue: BinaryHeap::new(),
            order: 0,
            limits: Limits::default(),
            rules: Rules::default(),
            interval: secs(1),
            kept: HashMap::new(),
            delay: (Duration::from_micros(50), ms(2)),
            loss: 0,
            begun: HashSet::new(),
            ends: HashMap::new(),
            data_ends: HashSet::new(),
            ran: HashSet::new(),
            recorded: None,
            raw: HashMap::new(),
            tapped: None,
            closed_raw: HashSet::new(),
            raw_address: [10, 9, 9, 9],
        }
    }

    pub(crate) fn clock_of(&self, node: usize) -> Now {
        let at = Time(self.now - self.nodes.get(node).map_or(Duration::ZERO, |n| n.lag));
        Now {
            at,
            unix: (self.unix + self.now.as_secs() as i64).max(0) as u64,
        }
    }

    /// What must hold when everything has been closed and every deadline has passed.
    pub(crate) fn check_closed(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].up {
                self.stop(node);
            }
        }
        self.run(secs(60));
        for node in self.nodes.iter().filter(|n| n.up) {
            let s = node.engine.stats();
            assert_eq!(
                (s.peers, s.links, s.calls_open, s.serving, s.streams),
                (0, 0, 0, 0, 0),
                "{:?}",
                node.engine
            );
        }
        for call in &self.begun {
            assert!(self.ends.contains_key(call), "{call:?} never ended");
        }
    }
}
