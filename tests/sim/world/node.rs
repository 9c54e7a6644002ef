//! The nodes of a world: how they come, go and sleep, and what they know.

use super::clock::Happening;
use super::{PORT, Rng, World, key, ms, name, secs};
use peerbase::Identity;
use peerbase::engine::{Config, Engine, Event, Input, Keep, LinkId, Mode, Now, Output, RequestId};
use peerbase::error::Error;
use peerbase::fernet::Keyring;
use peerbase::name::{NetworkName, NodeName};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What a node's handler does with a request.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Behaviour {
    /// Answers at once with the args.
    Echo,
    /// Answers after a while, or never.
    Erratic,
    /// Keeps it until [`World::answer_all`].
    Hold,
}

pub(crate) struct Node {
    pub engine: Engine,
    pub up: bool,
    pub address: IpAddr,
    pub group: u32,
    pub behaviour: Behaviour,
    pub running: bool,
    pub failed: Option<Error>,
    pub events: Vec<Event>,
    /// What it has to keep for its next start.
    pub kept: Vec<Keep>,
    pub held: Vec<(RequestId, Vec<u8>)>,
    /// Calls with streams that came, for the test to serve.
    pub streamed: Vec<RequestId>,
    /// What was asked of compat peers, and answered to them.
    pub compat: Vec<Output>,
    /// What everyone was told, as it was delivered here.
    pub told: Vec<(NodeName, Vec<u8>)>,
    /// The other end of each link.
    pub links: HashMap<LinkId, usize>,
    /// Every address that it has dialled.
    pub dialled: Vec<SocketAddr>,
    pub(super) wake: Option<Duration>,
    /// How far its clock is behind the world's.
    pub(super) lag: Duration,
    pub broadcasts: u64,
}

impl World {
    fn engine(&mut self, node_name: &str, keys: Keyring) -> Engine {
        let kept = self.kept.get(node_name).cloned();
        let keeps_identity = kept.is_some();
        let (identity, mode) = kept.unwrap_or_else(|| {
            let made = Identity::generate(&mut Rng(self.rng.next()));
            (made, Mode::default())
        });
        let config = Config {
            network: NetworkName::new("sim").unwrap(),
            name: name(node_name),
            keys,
            identity,
            keeps_identity,
            mode,
            port: PORT,
            address: None,
            interval: self.interval,
            lan: self.lan,
            relays: self.relays.clone(),
            max_remotes: self.max_remotes.unwrap_or(self.relays.len()),
            relay_keepalive: secs(10),
            limits: self.limits.clone(),
            rules: self.rules.clone(),
        };
        let seed = Rng(self.rng.next());
        Engine::new(config, Box::new(seed), self.clock_of(usize::MAX))
    }

    pub(crate) fn add(&mut self, node_name: &str) -> usize {
        self.add_with_keys(node_name, Keyring::from(key()))
    }

    pub(crate) fn add_with_keys(&mut self, node_name: &str, keys: Keyring) -> usize {
        let engine = self.engine(node_name, keys);
        let index = self.nodes.len();
        let [a, b] = (index as u16 + 1).to_be_bytes();
        self.nodes.push(Node {
            engine,
            up: true,
            address: Ipv4Addr::new(10, 0, a, b).into(),
            group: 0,
            behaviour: Behaviour::Echo,
            running: false,
            failed: None,
            events: Vec::new(),
            kept: Vec::new(),
            held: Vec::new(),
            streamed: Vec::new(),
            compat: Vec::new(),
            told: Vec::new(),
            links: HashMap::new(),
            dialled: Vec::new(),
            wake: None,
            lag: Duration::ZERO,
            broadcasts: 0,
        });
        self.drain(index);
        index
    }

    /// The node's process dies; its kernel closes its connections, unless the power went.
    pub(crate) fn kill(&mut self, node: usize, power_cut: bool) {
        self.nodes[node].up = false;
        let instance = self.nodes[node].engine.instance();
        // Nobody is left to be told how these end.
        self.begun.retain(|(i, _)| *i != instance);
        for (_, wire) in std::mem::take(&mut self.nodes[node].links) {
            let end = usize::from(self.wires[wire].ends[1].node == Some(node));
            self.wires[wire].ends[end].open = false;
            if power_cut {
                self.wires[wire].silent = true;
            } else {
                self.close_other(wire, end);
            }
        }
    }

    /// A new process under the same name and address.
    pub(crate) fn restart(&mut self, node: usize) {
        assert!(!self.nodes[node].up);
        self.nodes[node].lag = Duration::ZERO;
        let node_name = self.nodes[node].engine.name().to_string();
        self.nodes[node].engine = self.engine(&node_name, Keyring::from(key()));
        let n = &mut self.nodes[node];
        (n.up, n.running, n.failed) = (true, false, None);
        n.held.clear();
        n.wake = None;
        self.drain(node);
    }

    /// Kills and restarts a node every second, so many times, while another one calls it.
    pub(crate) fn restart_every_second(&mut self, node: usize, caller: usize, times: u32) {
        let node_name = self.nodes[node].engine.name().to_string();
        for round in 0..times {
            self.call(caller, &node_name, secs(2));
            self.run(ms(900));
            self.kill(node, round % 2 == 0);
            self.run(ms(100));
            self.restart(node);
        }
    }

    pub(crate) fn stop(&mut self, node: usize) {
        let now = self.clock_of(node);
        self.nodes[node].engine.stop(now);
        self.drain(node);
    }

    /// Does something with a node's engine.
    pub(crate) fn with<R>(&mut self, node: usize, f: impl FnOnce(&mut Engine, Now) -> R) -> R {
        let now = self.clock_of(node);
        let result = f(&mut self.nodes[node].engine, now);
        self.drain(node);
        result
    }

    pub(crate) fn feed(&mut self, node: usize, input: Input<'_>) {
        let now = self.clock_of(node);
        self.nodes[node].engine.handle(now, input);
    }

    /// The node saw nothing for a while, but its clock went on.
    pub(crate) fn sleep_node(&mut self, node: usize, duration: Duration) {
        self.nodes[node].up = false;
        self.run(duration);
        self.wake_node(node);
    }

    /// The machine was suspended, and the node's clock with it.
    pub(crate) fn freeze_node(&mut self, node: usize, duration: Duration) {
        self.freeze_node_while(node, |w| w.run(duration));
    }

    /// The same, while something happens to others.
    pub(crate) fn freeze_node_while(&mut self, node: usize, meanwhile: impl FnOnce(&mut World)) {
        self.nodes[node].up = false;
        let before = self.now;
        meanwhile(self);
        self.nodes[node].lag += self.now - before;
        self.wake_node(node);
    }

    fn wake_node(&mut self, node: usize) {
        self.nodes[node].up = true;
        self.nodes[node].wake = None;
        self.after(Duration::ZERO, Happening::Wake { node });
    }

    pub(crate) fn knows(&self, node: usize, other: &str) -> bool {
        self.nodes[node]
            .engine
            .peers(self.clock_of(node))
            .iter()
            .any(|p| p.name.as_str() == other)
    }

    pub(crate) fn reaches(&self, node: usize, other: &str) -> bool {
        self.nodes[node]
            .engine
            .peers(self.clock_of(node))
            .iter()
            .any(|p| p.name.as_str() == other && p.reachable)
    }
}
