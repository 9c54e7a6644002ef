//! Nodes that speak the protocol of PeerBase 0.7.1, and a relay of it, joined without sockets.

use crate::world::{Rng, key, ms, name, secs};
use peerbase::compat::engine::{Config, Engine, Output, Place};
use peerbase::compat::http;
use peerbase::engine::{CallNumber, RelayFault};
use peerbase::fernet::Keyring;
use peerbase::limits::{Limits, RelayLimits};
use peerbase::protocol::{LinkId, Now, Time};
use peerbase::relay::hub;
use peerbase::wire::record::Status;
use peerbase::{CommandPath, Entropy, Error, NetworkName, NodeName, RelayAddress, RelayKey, Rules};
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) struct Seeded(pub(crate) Rng);

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            *byte = self.0.next() as u8;
        }
    }
}

pub(crate) const RELAY: &str = "10.0.0.100:7000";

/// A request that was asked of a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) ticket: u64,
    pub(crate) caller: String,
    pub(crate) path: String,
    pub(crate) args: String,
}

pub(crate) struct Node {
    pub(crate) engine: Engine,
    pub(crate) up: bool,
    pub(crate) asked: Vec<Asked>,
    pub(crate) withdrawn: Vec<u64>,
    pub(crate) answered: Vec<(CallNumber, Result<Vec<u8>, Error>)>,
    pub(crate) peers: Vec<(NodeName, Option<Place>)>,
    pub(crate) relays: Vec<(RelayAddress, Result<(), RelayFault>)>,
    pub(crate) dials: Vec<(LinkId, String)>,
    /// Which of a relay's addresses was asked for.
    pub(crate) nth: Vec<usize>,
}

/// One end of a connection; the test itself is the one that is nobody's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Node(usize, LinkId),
    Hub(LinkId),
    Test,
}

pub(crate) struct Wire {
    pub(crate) ends: [End; 2],
    /// What has come for the test.
    pub(crate) heard: Vec<u8>,
    pub(crate) finished: bool,
    pub(crate) open: bool,
}

pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) rng: Rng,
    pub(crate) nodes: Vec<Node>,
    pub(crate) hub: hub::Hub,
    pub(crate) wires: Vec<Wire>,
    /// Whether nodes' dials are left to the test.
    pub(crate) by_hand: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        World::with(seed, RelayLimits::default(), Vec::new())
    }

    pub(crate) fn with(
        seed: u64,
        limits: RelayLimits,
        networks: Vec<(NetworkName, Option<RelayKey>)>,
    ) -> World {
        let config = hub::Config {
            networks,
            limits,
            compat: true,
        };
        World {
            now: Now {
                at: Time(secs(1)),
                unix: 1_700_000_000,
            },
            rng: Rng(seed),
            nodes: Vec::new(),
            hub: hub::Hub::new(config, Box::new(Seeded(Rng(seed ^ 0x5555)))),
            wires: Vec::new(),
            by_hand: false,
        }
    }

    pub(crate) fn address(node: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, node as u8 + 1], 5000))
    }

    pub(crate) fn add(&mut self, node_name: &str, relays: &[&str]) -> usize {
        self.add_with(node_name, relays, |_| {})
    }

    pub(crate) fn add_with(
        &mut self,
        node_name: &str,
        relays: &[&str],
        change: impl FnOnce(&mut Config),
    ) -> usize {
        let id = self.nodes.len();
        let SocketAddr::V4(address) = World::address(id) else {
            unreachable!()
        };
        let mut config = Config {
            network: NetworkName::new("plant").unwrap(),
            name: name(node_name),
            keys: Keyring::from(key()),
            port: address.port(),
            address: Some(*address.ip()),
            loopback: false,
            relays: relays
                .iter()
                .map(|r| RelayAddress::new(r).unwrap())
                .collect(),
            max_remotes: 3,
            tick: ms(250),
            limits: Limits::default(),
            rules: Rules::default(),
        };
        change(&mut config);
        let seed = self.rng.next();
        self.nodes.push(Node {
            engine: Engine::new(config, Box::new(Seeded(Rng(seed)))),
            up: true,
            asked: Vec::new(),
            withdrawn: Vec::new(),
            answered: Vec::new(),
            peers: Vec::new(),
            relays: Vec::new(),
            dials: Vec::new(),
            nth: Vec::new(),
        });
        self.nodes[id].engine.start(self.now);
        self.settle();
        id
    }

    /// Does everything that can be done without time.
    pub(crate) fn settle(&mut self) {
        for turn in 0.. {
            assert!(turn < 1_000_000, "it never settles");
            let mut moved = false;
            for node in 0..self.nodes.len() {
                while let Some(output) = self.nodes[node].engine.poll() {
                    moved = true;
                    self.output(node, output);
                }
            }
            while let Some(output) = self.hub.poll() {
                moved = true;
                match output {
                    hub::Output::Writable(link) => self.carry(End::Hub(link)),
                    hub::Output::Close(link, last) => {
                        let last: Vec<u8> = last;
                        self.deliver(End::Hub(link), &last);
                        self.close(End::Hub(link));
                    }
                    hub::Output::Finish(link) => self.finish(End::Hub(link)),
                    hub::Output::Hold(_) | hub::Output::Resume(_) => {}
                }
            }
            if !moved {
                return;
            }
        }
    }

    pub(crate) fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Advertise => {
                let advert = self.nodes[node].engine.advert([10, 0, 0, 1].into());
                let (now, from) = (self.now, World::address(node).ip());
                for (at, other) in self.nodes.iter_mut().enumerate() {
                    if at != node && other.up {
                        other.engine.datagram(now, from, false, &advert);
                    }
                }
            }
            Output::Dial(link, to) => {
                self.nodes[node].dials.push((link, to.to_string()));
                let up = |at: &usize| self.nodes[*at].up && World::address(*at) == to;
                let target = (0..self.nodes.len()).find(up);
                if !self.by_hand {
                    let from = World::address(node);
                    let end = target.and_then(|at| {
                        let link = self.nodes[at].engine.accept(self.now, from)?;
                        Some(End::Node(at, link))
                    });
                    self.join(node, link, end);
                }
            }
            Output::DialRelay {
                link, relay, nth, ..
            } => {
                self.nodes[node].nth.push(nth);
                self.nodes[node].dials.push((link, relay.to_string()));
                if !self.by_hand {
                    let end = (relay.as_str() == RELAY).then(|| {
                        let link = self.hub.accept(self.now, World::address(node));
                        End::Hub(link.unwrap())
                    });
                    self.join(node, link, end);
                }
            }
            Output::Writable(link) => self.carry(End::Node(node, link)),
            Output::Finish(link) => self.finish(End::Node(node, link)),
            Output::Close(link) => self.close(End::Node(node, link)),
            Output::Peer(name, place) => self.nodes[node].peers.push((name, place)),
            Output::Relay(relay, state) => self.nodes[node].relays.push((relay, state)),
            Output::Request {
                ticket,
                caller,
                path,
                args,
                ..
            } => self.nodes[node].asked.push(Asked {
                ticket,
                caller: caller.to_string(),
                path: path.to_string(),
                args: String::from_utf8(args).unwrap(),
            }),
            Output::Withdrawn(ticket) => self.nodes[node].withdrawn.push(ticket),
            Output::Answered(number, result) => self.nodes[node].answered.push((number, result)),
        }
    }

    /// Answers a node's dial: with a connection to there, or with none.
    pub(crate) fn join(&mut self, node: usize, link: LinkId, end: Option<End>) -> usize {
        let Some(end) = end else {
            self.nodes[node].engine.closed(self.now, link);
            return usize::MAX;
        };
        self.wires.push(Wire {
            ends: [End::Node(node, link), end],
            heard: Vec::new(),
            finished: false,
            open: true,
        });
        self.nodes[node].engine.connected(self.now, link);
        self.wires.len() - 1
    }

    pub(crate) fn wire_of(&self, end: End) -> Option<(usize, End)> {
        let found = self
            .wires
            .iter()
            .position(|w| w.open && w.ends.contains(&end))?;
        let [a, b] = self.wires[found].ends;
        Some((found, if a == end { b } else { a }))
    }

    /// Takes what a link has to send to its other end, cut anywhere.
    pub(crate) fn carry(&mut self, from: End) {
        let (bytes, now) = match from {
            End::Node(node, link) => (self.nodes[node].engine.pending(link).to_vec(), self.now),
            End::Hub(link) => (self.hub.pending(link).to_vec(), self.now),
            End::Test => return,
        };
        self.deliver(from, &bytes);
        match from {
            End::Node(node, link) => self.nodes[node].engine.sent(now, link, bytes.len()),
            End::Hub(link) => self.hub.sent(now, link, bytes.len()),
            End::Test => {}
        }
    }

    pub(crate) fn deliver(&mut self, from: End, bytes: &[u8]) {
        let Some((wire, to)) = self.wire_of(from) else {
            return;
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = (1 + self.rng.below(5_000) as usize).min(rest.len());
            let (part, later) = rest.split_at(n);
            rest = later;
            match to {
                End::Node(node, link) => self.nodes[node].engine.received(self.now, link, part),
                End::Hub(link) => self.hub.received(self.now, link, part),
                End::Test => self.wires[wire].heard.extend_from_slice(part),
            }
        }
    }

    /// One side says that it sends no more. The other has read it all, and closes.
    pub(crate) fn finish(&mut self, from: End) {
        let Some((wire, to)) = self.wire_of(from) else {
            return;
        };
        self.wires[wire].finished = true;
        if let End::Node(node, link) = to {
            self.wires[wire].open = false;
            self.nodes[node].engine.closed(self.now, link);
            match from {
                End::Node(node, link) => self.nodes[node].engine.closed(self.now, link),
                End::Hub(link) => self.hub.closed(self.now, link),
                End::Test => {}
            }
        }
    }

    pub(crate) fn close(&mut self, from: End) {
        let Some((wire, to)) = self.wire_of(from) else {
            return;
        };
        self.wires[wire].open = false;
        match to {
            End::Node(node, link) => self.nodes[node].engine.closed(self.now, link),
            End::Hub(link) => self.hub.closed(self.now, link),
            End::Test => {}
        }
    }

    /// Lets time pass, and does what is due when it is due.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now.at + duration;
        loop {
            self.settle();
            let nodes = self.nodes.iter().filter(|n| n.up);
            let due = nodes
                .filter_map(|n| n.engine.deadline())
                .chain(self.hub.deadline());
            let next = due.min().unwrap_or(end).max(self.now.at).min(end);
            let past = next == self.now.at;
            self.now.at = next;
            for node in self.nodes.iter_mut().filter(|n| n.up) {
                node.engine.tick(self.now);
            }
            self.hub.tick(self.now);
            if next == end {
                return self.settle();
            }
            assert!(!past || self.has_work(), "it spins");
        }
    }

    pub(crate) fn has_work(&self) -> bool {
        let due = |at: Option<Time>| at.is_none_or(|at| at > self.now.at);
        self.nodes
            .iter()
            .filter(|n| n.up)
            .all(|n| due(n.engine.deadline()))
            && due(self.hub.deadline())
    }

    pub(crate) fn call(&mut self, from: usize, to: &str, path: &str, args: &str) -> CallNumber {
        let number = CallNumber(self.rng.next() >> 1);
        let (to, path) = (name(to), CommandPath::new(path).unwrap());
        let engine = &mut self.nodes[from].engine;
        engine.call(self.now, number, &to, &path, (args.as_bytes(), b"{}"));
        self.settle();
        number
    }

    pub(crate) fn reply(&mut self, node: usize, ticket: u64, status: Status, body: &str) {
        self.nodes[node]
            .engine
            .reply(self.now, ticket, status, body.as_bytes());
        self.settle();
    }

    pub(crate) fn result(&self, node: usize, number: CallNumber) -> Option<Result<String, Error>> {
        let mut all = self.nodes[node]
            .answered
            .iter()
            .filter(|(n, _)| *n == number);
        let (_, result) = all.next()?;
        assert!(all.next().is_none(), "a call ends once");
        Some(result.clone().map(|text| String::from_utf8(text).unwrap()))
    }

    /// A connection of the test's own to a node, or to the relay.
    pub(crate) fn connect(&mut self, to: Option<usize>, from: [u8; 4]) -> Option<usize> {
        let from = SocketAddr::from((from, 9));
        let end = match to {
            Some(node) => End::Node(node, self.nodes[node].engine.accept(self.now, from)?),
            None => End::Hub(self.hub.accept(self.now, from)?),
        };
        self.wires.push(Wire {
            ends: [End::Test, end],
            heard: Vec::new(),
            finished: false,
            open: true,
        });
        Some(self.wires.len() - 1)
    }

    pub(crate) fn say(&mut self, wire: usize, bytes: &[u8]) {
        if self.wires[wire].open {
            match self.wires[wire].ends[1] {
                End::Node(node, link) => self.nodes[node].engine.received(self.now, link, bytes),
                End::Hub(link) => self.hub.received(self.now, link, bytes),
                End::Test => {}
            }
            self.settle();
        }
    }

    /// The status and body of the answer that the test got, once it was told that there is no more.
    pub(crate) fn heard(&self, wire: usize) -> Option<(u16, String)> {
        let wire = &self.wires[wire];
        if !wire.finished && wire.open {
            return None;
        }
        let head = http::answer(&wire.heard, 1 << 30).ok()??;
        let body = String::from_utf8(wire.heard[head.size..].to_vec()).unwrap();
        Some((head.status, body))
    }

    pub(crate) fn ask(&mut self, to: Option<usize>, path: &str, body: &[u8]) -> (u16, String) {
        self.ask_from([10, 0, 0, 200], to, path, body)
    }

    pub(crate) fn ask_from(
        &mut self,
        from: [u8; 4],
        to: Option<usize>,
        path: &str,
        body: &[u8],
    ) -> (u16, String) {
        let mut request = Vec::new();
        http::write_post("relay", path, body, None, &mut request);
        let wire = self.connect(to, from).unwrap();
        self.say(wire, &request);
        if self.heard(wire).is_none() {
            // Kept, because there is nothing new.
            self.run(secs(1));
        }
        let answer = self.heard(wire).expect("an answer");
        self.hang_up(wire);
        answer
    }

    pub(crate) fn hang_up(&mut self, wire: usize) {
        self.wires[wire].open = false;
        match self.wires[wire].ends[1] {
            End::Node(node, link) => self.nodes[node].engine.closed(self.now, link),
            End::Hub(link) => self.hub.closed(self.now, link),
            End::Test => {}
        }
        self.settle();
    }

    pub(crate) fn mailboxes(&self) -> u64 {
        self.hub.stats().mailboxes
    }
}

pub(crate) fn ping(node: &str, network: &str) -> Vec<u8> {
    format!(r#"{{"node_name":"{node}","node_network":"{network}","known_servers":[]}}"#)
        .into_bytes()
}

pub(crate) fn packet(target: &str, originator: &str, id: &str, data: &str) -> Vec<u8> {
    format!(
        r#"{{"target":"{target}","data":"{data}","packet_id":"{id}","originator":"{originator}","r_type":"request","remote_addr":"r:1"}}"#
    )
    .into_bytes()
}
