//! Engines and hubs on a network without delay, under a virtual clock; what they allocate is
//! counted as theirs.
//!
//! Unlike the world of `sim` it forgets what is over, so that what is left after years is what they
//! keep.

pub(crate) use crate::common::engines::{Rng, name};
pub(crate) use crate::common::secs;
use crate::heap;
use peerbase::Identity;
use peerbase::RelayAddress;
use peerbase::engine::{
    CallNumber, Config, Engine, Input, LinkId, Now, Output, Payload, Request, Terms, Time,
};
use peerbase::error::Error;
use peerbase::fernet::{Key, Keyring};
use peerbase::limits::Limits;
use peerbase::name::NetworkName;
use peerbase::relay::hub::{self, Hub};
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const PORT: u16 = 7;
/// As much as a loop reads at once.
const READ: usize = 64 * 1024;
/// Ticks without time passing that are more than any work takes.
const SPIN: usize = 100_000;
/// Steps of carrying without time passing that are more than any work takes.
const BUSY: usize = 1_000_000;

pub(crate) fn relay(host: usize) -> RelayAddress {
    RelayAddress::new(&format!("relay{host}:7700")).unwrap()
}

pub(crate) enum Machine {
    Node(Box<Engine>),
    Relay(Box<Hub>),
}

impl Machine {
    fn accept(&mut self, now: Now, from: SocketAddr) -> Option<LinkId> {
        match self {
            Machine::Node(engine) => engine.accept(now, from),
            Machine::Relay(hub) => hub.accept(now, from),
        }
    }

    fn pending(&self, link: LinkId) -> &[u8] {
        match self {
            Machine::Node(engine) => engine.pending(link),
            Machine::Relay(hub) => hub.pending(link),
        }
    }

    fn feed(&mut self, now: Now, input: Input<'_>) {
        match (self, input) {
            (Machine::Node(engine), input) => engine.handle(now, input),
            (Machine::Relay(hub), Input::Received(link, bytes)) => hub.received(now, link, bytes),
            (Machine::Relay(hub), Input::Sent(link, n)) => hub.sent(now, link, n),
            (Machine::Relay(hub), Input::Closed(link)) => hub.closed(now, link),
            (Machine::Relay(hub), Input::Tick) => hub.tick(now),
            (Machine::Relay(_), _) => {}
        }
    }

    fn deadline(&self) -> Option<Time> {
        match self {
            Machine::Node(engine) => engine.deadline(),
            Machine::Relay(hub) => hub.deadline(),
        }
    }
}

/// A process, or the place of one.
pub(crate) struct Host {
    machine: Option<Machine>,
    owner: usize,
    pub address: IpAddr,
    pub group: u32,
    /// Bytes that it reads of each link in a [`Net::trickle`]; all there is, at once, if not set.
    pub reads: Option<usize>,
    links: HashMap<LinkId, u64>,
    pub requests: VecDeque<Request>,
    pub open: HashSet<CallNumber>,
    pub ended: Vec<(CallNumber, Result<Vec<u8>, Error>)>,
}

/// A connection, which ends as one; its first end dialled.
struct Wire {
    hosts: [usize; 2],
    links: [LinkId; 2],
    /// An end that does not read, as it was asked.
    held: [bool; 2],
    /// Bytes vanish.
    silent: bool,
}

pub(crate) struct Net {
    pub now: Duration,
    /// Where the clock that never goes back began, and what the wall clock says beyond `now`.
    pub began: Duration,
    pub unix: i64,
    pub rng: Rng,
    pub hosts: Vec<Host>,
    wires: HashMap<u64, Wire>,
    next_wire: u64,
    writable: VecDeque<(usize, LinkId)>,
    dirty: VecDeque<usize>,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Net {
        Net {
            now: Duration::ZERO,
            began: Duration::ZERO,
            unix: 1_000_000_000,
            rng: Rng(seed),
            hosts: Vec::new(),
            wires: HashMap::new(),
            next_wire: 0,
            writable: VecDeque::new(),
            dirty: VecDeque::new(),
        }
    }

    fn clock(&self) -> Now {
        Now {
            at: Time(self.began + self.now),
            unix: (self.unix + self.now.as_secs() as i64).max(0) as u64,
        }
    }

    /// A place for a process.
    pub(crate) fn host(&mut self, owner: usize) -> usize {
        let index = self.hosts.len();
        self.hosts.push(Host {
            machine: None,
            owner,
            address: Ipv4Addr::new(10, 0, 0, index as u8 + 1).into(),
            group: 0,
            reads: None,
            links: HashMap::new(),
            requests: VecDeque::new(),
            open: HashSet::new(),
            ended: Vec::new(),
        });
        index
    }

    pub(crate) fn start_node(
        &mut self,
        host: usize,
        node_name: &str,
        relays: &[usize],
        (interval, limits): (Duration, &Limits),
    ) {
        let (mut seed, now) = (Rng(self.rng.next()), self.clock());
        let machine = heap::owned(self.hosts[host].owner, || {
            let config = Config {
                network: NetworkName::new("net").unwrap(),
                name: name(node_name),
                keys: Keyring::from(Key::from_bytes([42; 32])),
                identity: Identity::generate(&mut seed),
                keeps_identity: false,
                mode: Default::default(),
                port: PORT,
                address: None,
                interval,
                lan: true,
                relays: relays.iter().map(|r| relay(*r)).collect(),
                max_remotes: relays.len(),
                relay_keepalive: interval,
                limits: limits.clone(),
                rules: Default::default(),
            };
            Machine::Node(Box::new(Engine::new(config, Box::new(seed), now)))
        });
        self.started(host, machine);
    }

    pub(crate) fn start_relay(&mut self, host: usize, config: &hub::Config) {
        let seed = Rng(self.rng.next());
        let machine = heap::owned(self.hosts[host].owner, || {
            Machine::Relay(Box::new(Hub::new(config.clone(), Box::new(seed))))
        });
        self.started(host, machine);
    }

    fn started(&mut self, host: usize, machine: Machine) {
        assert!(self.hosts[host].machine.is_none(), "it is up");
        self.hosts[host].machine = Some(machine);
        self.dirty.push_back(host);
        self.flow();
    }

    pub(crate) fn is_up(&self, host: usize) -> bool {
        self.hosts[host].machine.is_some()
    }

    /// The process says goodbye, and ends.
    pub(crate) fn stop(&mut self, host: usize) {
        self.with(host, |machine, now| match machine {
            Machine::Node(engine) => engine.stop(now),
            Machine::Relay(hub) => hub.stop(now),
        });
        assert!(self.hosts[host].open.is_empty(), "calls that never ended");
        if let Some(Machine::Node(engine)) = &self.hosts[host].machine {
            let s = engine.stats();
            let left = [s.peers, s.links, s.calls_open, s.serving, s.streams];
            assert_eq!(left, [0; 5], "of a node that has stopped");
        }
        self.kill(host, false);
    }

    /// The process ends without a word; its kernel closes its connections, unless the power went.
    pub(crate) fn kill(&mut self, host: usize, power_cut: bool) {
        let machine = self.hosts[host].machine.take();
        drop(machine);
        let h = &mut self.hosts[host];
        h.requests.clear();
        h.open.clear();
        h.ended.clear();
        for (link, wire) in std::mem::take(&mut h.links) {
            match self.wires.get_mut(&wire) {
                Some(wire) if power_cut => wire.silent = true,
                _ => self.hang_up(host, link, wire),
            }
        }
        self.flow();
    }

    /// Does something with a process, and then whatever that leads to.
    pub(crate) fn with<R>(&mut self, host: usize, f: impl FnOnce(&mut Machine, Now) -> R) -> R {
        let now = self.clock();
        let h = &mut self.hosts[host];
        let machine = h.machine.as_mut().unwrap();
        let result = heap::owned(h.owner, || f(machine, now));
        self.dirty.push_back(host);
        self.flow();
        result
    }

    pub(crate) fn engine<R>(&mut self, host: usize, f: impl FnOnce(&mut Engine, Now) -> R) -> R {
        self.with(host, |machine, now| match machine {
            Machine::Node(engine) => f(engine, now),
            Machine::Relay(_) => panic!("a relay"),
        })
    }

    /// Notes a call that has begun.
    pub(crate) fn begun(&mut self, host: usize, number: Result<CallNumber, Error>) {
        if let Ok(number) = number {
            let h = &mut self.hosts[host];
            // It may have ended at once.
            if !h.ended.iter().any(|(n, _)| *n == number) {
                h.open.insert(number);
            }
        }
    }

    fn feed(&mut self, host: usize, input: Input<'_>) {
        let now = self.clock();
        let h = &mut self.hosts[host];
        if let Some(machine) = &mut h.machine {
            heap::owned(h.owner, || machine.feed(now, input));
            self.dirty.push_back(host);
        }
    }

    /// Carries what can be carried without time passing.
    pub(crate) fn flow(&mut self) {
        for _ in 0..BUSY {
            if let Some(host) = self.dirty.pop_front() {
                while let Some(output) = self.poll(host) {
                    self.output(host, output);
                }
                let Some(relay) = self.poll_relay(host) else {
                    continue;
                };
                self.relay_output(host, relay);
                self.dirty.push_front(host);
            } else if let Some((host, link)) = self.writable.pop_front() {
                self.carry(host, link, None);
            } else {
                return;
            }
        }
        panic!("something is said again and again");
    }

    fn poll(&mut self, host: usize) -> Option<Output> {
        match &mut self.hosts[host].machine {
            Some(Machine::Node(engine)) => engine.poll(),
            _ => None,
        }
    }

    fn poll_relay(&mut self, host: usize) -> Option<hub::Output> {
        match &mut self.hosts[host].machine {
            Some(Machine::Relay(hub)) => hub.poll(),
            _ => None,
        }
    }

    fn relay_output(&mut self, host: usize, output: hub::Output) {
        match output {
            hub::Output::Writable(link) => self.writable.push_back((host, link)),
            hub::Output::Close(link, last) => self.close(host, link, &last),
            hub::Output::Hold(link) => self.hold(host, link, true),
            hub::Output::Resume(link) => self.hold(host, link, false),
            _ => {}
        }
    }

    fn output(&mut self, host: usize, output: Output) {
        match output {
            Output::Broadcast(bytes) => {
                let h = &self.hosts[host];
                let (group, from) = (h.group, SocketAddr::new(h.address, 3334));
                for other in 0..self.hosts.len() {
                    if other != host && self.hosts[other].group == group {
                        let bytes = &bytes;
                        self.feed(other, Input::Datagram { from, bytes });
                    }
                }
            }
            Output::Dial(link, to) => {
                let group = self.hosts[host].group;
                let there = self.hosts.iter().position(|h| {
                    h.address == to.ip()
                        && to.port() == PORT
                        && h.group == group
                        && matches!(h.machine, Some(Machine::Node(_)))
                });
                self.dial(host, link, there);
            }
            Output::DialRelay(link, address) => {
                let there = (0..self.hosts.len()).find(|h| {
                    relay(*h) == address
                        && matches!(self.hosts[*h].machine, Some(Machine::Relay(_)))
                });
                self.dial(host, link, there);
            }
            Output::Writable(link) => self.writable.push_back((host, link)),
            Output::Close(link, last) => self.close(host, link, &last),
            Output::Request(request) => self.hosts[host].requests.push_back(request),
            Output::Ended(number, result) => {
                let h = &mut self.hosts[host];
                h.open.remove(&number);
                h.ended.push((number, result.map(Payload::into_bytes)));
            }
            _ => {}
        }
    }

    fn dial(&mut self, host: usize, link: LinkId, to: Option<usize>) {
        let (from, now) = (
            SocketAddr::new(self.hosts[host].address, 40_000),
            self.clock(),
        );
        let accepted = to.and_then(|to| {
            let there = &mut self.hosts[to];
            let machine = there.machine.as_mut()?;
            let link = heap::owned(there.owner, || machine.accept(now, from));
            self.dirty.push_back(to);
            Some((to, link?))
        });
        let Some((to, there)) = accepted else {
            return self.feed(host, Input::Closed(link));
        };
        let wire = self.next_wire;
        self.next_wire += 1;
        self.hosts[host].links.insert(link, wire);
        self.hosts[to].links.insert(there, wire);
        let wires = Wire {
            hosts: [host, to],
            links: [link, there],
            held: [false; 2],
            silent: false,
        };
        self.wires.insert(wire, wires);
        self.feed(host, Input::Connected(link));
    }

    fn end_of(&self, wire: &Wire, host: usize, link: LinkId) -> usize {
        usize::from(wire.hosts[0] != host || wire.links[0] != link)
    }

    fn close(&mut self, host: usize, link: LinkId, last: &[u8]) {
        let Some(wire) = self.hosts[host].links.remove(&link) else {
            return;
        };
        self.deliver(host, link, wire, last);
        self.hang_up(host, link, wire);
    }

    fn deliver(&mut self, host: usize, link: LinkId, wire: u64, bytes: &[u8]) {
        let Some(wire) = self.wires.get(&wire).filter(|w| !w.silent) else {
            return;
        };
        let to = 1 - self.end_of(wire, host, link);
        let (other, there) = (wire.hosts[to], wire.links[to]);
        for part in bytes.chunks(READ) {
            self.feed(other, Input::Received(there, part));
        }
    }

    fn hang_up(&mut self, host: usize, link: LinkId, wire: u64) {
        let Some(wire) = self.wires.remove(&wire) else {
            return;
        };
        let to = 1 - self.end_of(&wire, host, link);
        let (other, there) = (wire.hosts[to], wire.links[to]);
        if self.hosts[other].links.contains_key(&there) && !wire.silent {
            self.hosts[other].links.remove(&there);
            self.feed(other, Input::Closed(there));
        }
    }

    fn hold(&mut self, host: usize, link: LinkId, held: bool) {
        let Some(id) = self.hosts[host].links.get(&link).copied() else {
            return;
        };
        let Some(end) = self.wires.get(&id).map(|w| self.end_of(w, host, link)) else {
            return;
        };
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.held[end] = held;
            let other = (wire.hosts[1 - end], wire.links[1 - end]);
            self.writable.push_back(other);
        }
    }

    /// Carries what waits to be written to a link: at most so much, or, to who reads all, all of
    /// it.
    fn carry(&mut self, host: usize, link: LinkId, most: Option<usize>) {
        let h = &self.hosts[host];
        let (Some(id), Some(machine)) = (h.links.get(&link).copied(), &h.machine) else {
            return;
        };
        let Some(wire) = self.wires.get(&id) else {
            return;
        };
        let to = 1 - self.end_of(wire, host, link);
        let pending = machine.pending(link);
        let slow = self.hosts[wire.hosts[to]].reads.is_some();
        if wire.held[to] || pending.is_empty() || (slow && most.is_none()) {
            return;
        }
        let n = pending.len().min(most.unwrap_or(READ)).min(READ);
        let bytes = pending[..n].to_vec();
        self.feed(host, Input::Sent(link, n));
        self.deliver(host, link, id, &bytes);
        if most.is_none() {
            self.writable.push_back((host, link));
        }
    }

    /// Who reads slowly reads a little of each of its links; how much that was.
    pub(crate) fn trickle(&mut self) -> usize {
        let mut wires: Vec<u64> = self.wires.keys().copied().collect();
        wires.sort_unstable();
        let mut moved = 0;
        for wire in wires {
            for end in 0..2 {
                let Some(w) = self.wires.get(&wire) else {
                    continue;
                };
                let (host, link, reader) = (w.hosts[end], w.links[end], w.hosts[1 - end]);
                if let Some(reads) = self.hosts[reader].reads {
                    let waits = self.pending(host, link);
                    moved += waits.min(reads);
                    self.carry(host, link, Some(reads));
                    self.flow();
                }
            }
        }
        moved
    }

    fn pending(&self, host: usize, link: LinkId) -> usize {
        let machine = self.hosts[host].machine.as_ref();
        machine.map_or(0, |m| m.pending(link).len())
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut spins = 0;
        self.flow();
        loop {
            let deadline = |h: &Host| h.machine.as_ref().and_then(Machine::deadline);
            let next = self.hosts.iter().filter_map(deadline).min();
            let next = next.map(|at| at.0.saturating_sub(self.began).max(self.now));
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            spins = if next == self.now { spins + 1 } else { 0 };
            assert!(spins < SPIN, "something is due for ever");
            self.now = next;
            let now = self.clock();
            for host in 0..self.hosts.len() {
                if deadline(&self.hosts[host]).is_some_and(|at| at <= now.at) {
                    self.feed(host, Input::Tick);
                }
            }
            self.flow();
        }
    }
}

/// A call that waits for nobody.
pub(crate) fn terms(timeout: Duration) -> Terms {
    Terms {
        timeout,
        wait: false,
        streams: false,
    }
}
