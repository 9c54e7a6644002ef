//! A world of engines and hubs under a virtual clock: one thread, no sockets, every choice from one seed.

use crate::common::engines::streaming;
pub(crate) use crate::common::engines::{Rng, name};
pub(crate) use crate::common::secs;
use crate::hubs::SimHub;
use peerbase::RelayAddress;
use peerbase::engine::{
    Ask, CallNumber, Config, Engine, Event, Input, LinkId, Now, Output, RequestId, Terms, Time,
};
use peerbase::error::Error;
use peerbase::fernet::{Key, Keyring};
use peerbase::limits::Limits;
use peerbase::name::{CommandPath, NetworkName, NodeName};
use peerbase::wire::Instance;
use peerbase::wire::record::Status;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

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
    pub held: Vec<(RequestId, Vec<u8>)>,
    /// Calls with streams that came, for the test to serve.
    pub streamed: Vec<RequestId>,
    /// What was asked of peers of another kind, and answered to them.
    pub foreign: Vec<Output>,
    /// What everyone was told, as it was delivered here.
    pub told: Vec<(NodeName, Vec<u8>)>,
    /// The other end of each link.
    pub links: HashMap<LinkId, usize>,
    /// Every address that it has dialled.
    pub dialled: Vec<SocketAddr>,
    wake: Option<Duration>,
    /// How far its clock is behind the world's.
    lag: Duration,
    pub broadcasts: u64,
}

/// A TCP connection: two ends, bytes in order each way.
pub(crate) struct Wire {
    pub ends: [End; 2],
    /// Bytes vanish: a cable was pulled, or a power cut.
    pub silent: bool,
    /// The first end does not read: nothing can be written towards it.
    pub stalled: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct End {
    pub node: Option<usize>,
    pub hub: Option<usize>,
    pub link: LinkId,
    pub open: bool,
    /// When the last bytes towards this end arrive: none overtake.
    pub arrives: Duration,
}

impl End {
    pub(crate) fn new(node: Option<usize>, hub: Option<usize>, link: LinkId, open: bool) -> End {
        End {
            node,
            hub,
            link,
            open,
            arrives: Duration::ZERO,
        }
    }
}

pub(crate) enum Happening {
    Connected {
        wire: usize,
    },
    Refused {
        node: usize,
        link: LinkId,
    },
    Bytes {
        wire: usize,
        end: usize,
        bytes: Vec<u8>,
    },
    Closed {
        wire: usize,
        end: usize,
    },
    Datagram {
        node: usize,
        from: SocketAddr,
        bytes: Rc<[u8]>,
    },
    Answer {
        node: usize,
        id: RequestId,
        value: Vec<u8>,
    },
    Wake {
        node: usize,
    },
    HubWake {
        hub: usize,
    },
}

/// What happens when; of two at one time, what was begun first.
struct Due {
    at: Duration,
    order: u64,
    what: Happening,
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.order == other.order
    }
}

impl Eq for Due {}

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
    pub interval: Duration,
    /// One way, at least and at most.
    pub delay: (Duration, Duration),
    /// Percent of datagrams lost.
    pub loss: u64,
    /// Calls begun and how often each ended.
    pub begun: HashSet<(Instance, CallNumber)>,
    pub ends: HashMap<(Instance, CallNumber), Result<Vec<u8>, Error>>,
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
            interval: secs(1),
            delay: (Duration::from_micros(50), ms(2)),
            loss: 0,
            begun: HashSet::new(),
            ends: HashMap::new(),
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

    fn engine(&mut self, node_name: &str, keys: Keyring) -> Engine {
        let config = Config {
            network: NetworkName::new("sim").unwrap(),
            name: name(node_name),
            keys,
            port: PORT,
            address: None,
            interval: self.interval,
            lan: self.lan,
            relays: self.relays.clone(),
            max_remotes: self.max_remotes.unwrap_or(self.relays.len()),
            relay_keepalive: secs(10),
            limits: self.limits.clone(),
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
            held: Vec::new(),
            streamed: Vec::new(),
            foreign: Vec::new(),
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

    pub(crate) fn stop(&mut self, node: usize) {
        let now = self.clock_of(node);
        self.nodes[node].engine.stop(now);
        self.drain(node);
    }

    pub(crate) fn call(
        &mut self,
        node: usize,
        target: &str,
        timeout: Duration,
    ) -> Option<CallNumber> {
        self.call_with(node, target, timeout, target.as_bytes())
    }

    /// A call with these args, which an echo gives back.
    pub(crate) fn call_with(
        &mut self,
        node: usize,
        target: &str,
        timeout: Duration,
        args: &[u8],
    ) -> Option<CallNumber> {
        let ask = Ask::Command {
            path: CommandPath::new("echo").unwrap(),
            args: args.to_vec(),
            kwargs: b"{}".to_vec(),
        };
        let now = self.clock_of(node);
        let number = self.nodes[node]
            .engine
            .call(now, &name(target), ask, terms(timeout))
            .ok()?;
        self.begun
            .insert((self.nodes[node].engine.instance(), number));
        self.drain(node);
        Some(number)
    }

    /// A call that streams.
    pub(crate) fn call_streaming(
        &mut self,
        node: usize,
        target: &str,
        timeout: Duration,
    ) -> Result<CallNumber, Error> {
        let (ask, terms) = streaming(terms(timeout));
        let now = self.clock_of(node);
        let engine = &mut self.nodes[node].engine;
        let number = engine.call(now, &name(target), ask, terms)?;
        self.begun.insert((engine.instance(), number));
        self.drain(node);
        Ok(number)
    }

    /// Does something with a node's engine.
    pub(crate) fn with<R>(&mut self, node: usize, f: impl FnOnce(&mut Engine, Now) -> R) -> R {
        let now = self.clock_of(node);
        let result = f(&mut self.nodes[node].engine, now);
        self.drain(node);
        result
    }

    /// Has a node dial another's address.
    pub(crate) fn connect(&mut self, node: usize, to: usize) -> CallNumber {
        let address = SocketAddr::new(self.nodes[to].address, PORT);
        let number = self.with(node, |e, now| e.connect(now, address, secs(20)));
        let number = number.unwrap();
        let id = (self.nodes[node].engine.instance(), number);
        self.begun.insert(id);
        number
    }

    /// Has a node say something to everyone.
    pub(crate) fn broadcast(&mut self, node: usize, data: &[u8]) -> CallNumber {
        let number = self.with(node, |e, now| e.broadcast(now, data, secs(20)));
        let number = number.unwrap();
        let id = (self.nodes[node].engine.instance(), number);
        self.begun.insert(id);
        number
    }

    pub(crate) fn cancel(&mut self, node: usize, number: CallNumber) {
        let now = self.clock_of(node);
        self.nodes[node].engine.cancel(now, number);
        self.drain(node);
    }

    pub(crate) fn result(
        &self,
        node: usize,
        number: CallNumber,
    ) -> Option<&Result<Vec<u8>, Error>> {
        self.ends.get(&(self.nodes[node].engine.instance(), number))
    }

    pub(crate) fn answer_all(&mut self, node: usize) {
        for (id, value) in std::mem::take(&mut self.nodes[node].held) {
            let now = self.clock_of(node);
            self.nodes[node].engine.reply(now, id, Status::Value, value);
        }
        self.drain(node);
    }

    /// A connection from nobody's engine to a node, as an attacker opens it; gives the wire.
    pub(crate) fn raw_connect(&mut self, to: usize) -> usize {
        let from = SocketAddr::from((self.raw_address, 999));
        let now = self.clock_of(to);
        let link = self.nodes[to].engine.accept(now, from).unwrap();
        let wire = self.wires.len();
        self.wires.push(Wire {
            ends: [
                End::new(None, None, LinkId(0), true),
                End::new(Some(to), None, link, true),
            ],
            silent: false,
            stalled: false,
        });
        self.nodes[to].links.insert(link, wire);
        self.raw.insert(wire, Vec::new());
        self.drain(to);
        wire
    }

    pub(crate) fn raw_send(&mut self, wire: usize, bytes: &[u8]) {
        self.transmit(wire, 0, bytes.to_vec());
    }

    /// From now on the raw end does not read.
    pub(crate) fn stall(&mut self, wire: usize) {
        self.wires[wire].stalled = true;
    }

    /// What waits in the node to be written to a raw end.
    pub(crate) fn pending_on(&self, wire: usize) -> usize {
        let end = self.wires[wire].ends[1];
        end.node
            .map_or(0, |n| self.nodes[n].engine.pending(end.link).len())
    }

    pub(crate) fn raw_datagram(&mut self, to: usize, from: SocketAddr, bytes: &[u8]) {
        self.after(
            Duration::ZERO,
            Happening::Datagram {
                node: to,
                from,
                bytes: bytes.into(),
            },
        );
    }

    pub(crate) fn after(&mut self, delay: Duration, what: Happening) {
        self.at(self.now + delay, what);
    }

    pub(crate) fn at(&mut self, at: Duration, what: Happening) {
        self.order += 1;
        self.queue.push(Due {
            at,
            order: self.order,
            what,
        });
    }

    pub(crate) fn some_delay(&mut self) -> Duration {
        let (least, most) = self.delay;
        least + Duration::from_nanos(self.rng.below((most - least).as_nanos() as u64 + 1))
    }

    fn connected_groups(&self, a: usize, b: usize) -> bool {
        self.nodes[a].group == self.nodes[b].group
    }

    pub(crate) fn transmit(&mut self, wire: usize, from_end: usize, bytes: Vec<u8>) {
        let delay = self.some_delay() + self.hub_delay(wire);
        let to = 1 - from_end;
        let w = &mut self.wires[wire];
        if w.silent || !w.ends[to].open {
            return;
        }
        if let (Some(a), Some(b)) = (w.ends[0].node, w.ends[1].node)
            && self.nodes[a].group != self.nodes[b].group
        {
            // TCP would try again for a while; keepalive gives up first.
            w.silent = true;
            return;
        }
        if let (Some(node), Some(hub)) = (w.ends[0].node, w.ends[1].hub)
            && !self.hubs[hub].reaches(node)
        {
            w.silent = true;
            return;
        }
        let at = (self.now + delay).max(w.ends[to].arrives);
        w.ends[to].arrives = at;
        self.at(
            at,
            Happening::Bytes {
                wire,
                end: to,
                bytes,
            },
        );
    }

    pub(crate) fn close_other(&mut self, wire: usize, end: usize) {
        let delay = self.some_delay();
        let w = &mut self.wires[wire];
        if w.silent {
            return;
        }
        let at = (self.now + delay).max(w.ends[1 - end].arrives);
        w.ends[1 - end].arrives = at;
        self.at(at, Happening::Closed { wire, end: 1 - end });
    }

    /// Breaks a connection of a node; both sides are told.
    pub(crate) fn break_links(&mut self, node: usize) {
        let mut wires: Vec<usize> = self.nodes[node].links.values().copied().collect();
        wires.sort_unstable();
        for wire in wires {
            self.close_other(wire, 0);
            self.close_other(wire, 1);
        }
    }

    pub(crate) fn drain(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].engine.poll() {
            self.output(node, output);
        }
        if let Some(at) = self.nodes[node].engine.deadline() {
            let at = (at.0 + self.nodes[node].lag).max(self.now);
            // One wake-up is enough, unless an earlier one is wanted.
            if self.nodes[node]
                .wake
                .is_none_or(|wake| at < wake || wake <= self.now)
            {
                self.nodes[node].wake = Some(at);
                self.at(at, Happening::Wake { node });
            }
        }
    }

    pub(crate) fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Broadcast(bytes) => {
                self.nodes[node].broadcasts += 1;
                if let Some(recorded) = &mut self.recorded {
                    recorded.push(bytes.clone());
                }
                let bytes: Rc<[u8]> = bytes.into();
                let from = SocketAddr::new(self.nodes[node].address, 3334);
                for to in 0..self.nodes.len() {
                    if self.connected_groups(node, to) && !self.rng.chance(self.loss) {
                        let delay = self.some_delay();
                        self.after(
                            delay,
                            Happening::Datagram {
                                node: to,
                                from,
                                bytes: bytes.clone(),
                            },
                        );
                    }
                }
            }
            Output::Dial(link, to) => {
                self.nodes[node].dialled.push(to);
                let delay = self.some_delay() * 2;
                let target = self
                    .nodes
                    .iter()
                    .position(|n| n.up && n.address == to.ip() && to.port() == PORT);
                match target {
                    Some(target) if self.connected_groups(node, target) => {
                        let wire = self.wires.len();
                        let ends = [
                            End::new(Some(node), None, link, true),
                            End::new(Some(target), None, LinkId(u64::MAX), false),
                        ];
                        self.wires.push(Wire {
                            ends,
                            silent: false,
                            stalled: false,
                        });
                        self.nodes[node].links.insert(link, wire);
                        self.after(delay, Happening::Connected { wire });
                    }
                    Some(_) => {}
                    None => self.after(delay, Happening::Refused { node, link }),
                }
            }
            Output::CompatCall { .. } | Output::CompatForget(_) | Output::CompatReply(..) => {
                self.nodes[node].foreign.push(output);
            }
            Output::DialRelay(link, relay) => self.dial_hub(node, link, &relay),
            Output::Writable(link) => {
                let bytes = self.nodes[node].engine.pending(link).to_vec();
                let stalled = self.nodes[node].links.get(&link).is_some_and(|w| {
                    self.wires[*w].stalled && self.wires[*w].ends[0].node != Some(node)
                });
                if bytes.is_empty() || stalled {
                    return;
                }
                self.feed(node, Input::Sent(link, bytes.len()));
                self.send_cut(node, link, bytes);
            }
            Output::Close(link, last) => {
                let Some(wire) = self.nodes[node].links.get(&link).copied() else {
                    return;
                };
                if !last.is_empty() {
                    self.send_cut(node, link, last);
                }
                self.nodes[node].links.remove(&link);
                let end = self.end_of(wire, node, link);
                self.wires[wire].ends[end].open = false;
                self.close_other(wire, end);
            }
            Output::Request(incoming) => {
                if incoming.streams {
                    self.nodes[node].streamed.push(incoming.id);
                }
                assert!(
                    self.ran.insert(incoming.id),
                    "a handler ran twice for {:?}",
                    incoming.id
                );
                let Ask::Command { args, .. } = incoming.ask else {
                    return;
                };
                if incoming.streams {
                    return;
                }
                let delay = match self.nodes[node].behaviour {
                    Behaviour::Echo => ms(0),
                    Behaviour::Erratic if self.rng.chance(15) => return,
                    Behaviour::Erratic => ms(self.rng.below(3_000)),
                    Behaviour::Hold => return self.nodes[node].held.push((incoming.id, args)),
                };
                self.after(
                    delay,
                    Happening::Answer {
                        node,
                        id: incoming.id,
                        value: args,
                    },
                );
            }
            Output::Ended(number, result) => {
                let id = (self.nodes[node].engine.instance(), number);
                assert!(self.ends.insert(id, result).is_none(), "{id:?} ended twice");
            }
            Output::Message(sender, data) => self.nodes[node].told.push((sender, data)),
            Output::Stream(_) => {}
            Output::Running => self.nodes[node].running = true,
            Output::Failed(error) => self.nodes[node].failed = Some(error),
            Output::Event(event) => self.nodes[node].events.push(event),
        }
    }

    fn end_of(&self, wire: usize, node: usize, link: LinkId) -> usize {
        let end = self.wires[wire].ends[1];
        usize::from(end.node == Some(node) && end.link == link)
    }

    /// Sends, now and then in pieces, as networks do.
    fn send_cut(&mut self, node: usize, link: LinkId, bytes: Vec<u8>) {
        let Some(wire) = self.nodes[node].links.get(&link).copied() else {
            return;
        };
        let end = self.end_of(wire, node, link);
        if let Some(tapped) = &mut self.tapped {
            tapped.push((wire, end, bytes.clone()));
        }
        if self.rng.chance(10) {
            let cut = self.rng.below(bytes.len() as u64) as usize;
            self.transmit(wire, end, bytes[..cut].to_vec());
            self.transmit(wire, end, bytes[cut..].to_vec());
        } else {
            self.transmit(wire, end, bytes);
        }
    }

    pub(crate) fn feed(&mut self, node: usize, input: Input<'_>) {
        let now = self.clock_of(node);
        self.nodes[node].engine.handle(now, input);
    }

    fn happen(&mut self, what: Happening) {
        let node = match what {
            Happening::Wake { node } => {
                self.feed(node, Input::Tick);
                node
            }
            Happening::Datagram { node, from, bytes } => {
                self.feed(
                    node,
                    Input::Datagram {
                        from,
                        bytes: &bytes,
                    },
                );
                node
            }
            Happening::Refused { node, link } => {
                self.feed(node, Input::Closed(link));
                node
            }
            Happening::HubWake { hub } => return self.wake_hub(hub),
            Happening::Connected { wire } => {
                let [a, b] = self.wires[wire].ends;
                if b.hub.is_some() {
                    return self.hub_connected(wire);
                }
                let (Some(from), Some(to)) = (a.node, b.node) else {
                    return;
                };
                if !a.open || self.nodes[from].links.get(&a.link) != Some(&wire) {
                    return;
                }
                let address = SocketAddr::new(self.nodes[from].address, 40_000);
                let now = self.clock_of(to);
                let accepted = if self.nodes[to].up {
                    self.nodes[to].engine.accept(now, address)
                } else {
                    None
                };
                match accepted {
                    Some(link) => {
                        self.wires[wire].ends[1].link = link;
                        self.wires[wire].ends[1].open = true;
                        self.nodes[to].links.insert(link, wire);
                        self.feed(from, Input::Connected(a.link));
                        self.drain(to);
                    }
                    None => {
                        self.nodes[from].links.remove(&a.link);
                        self.feed(from, Input::Closed(a.link));
                    }
                }
                from
            }
            Happening::Bytes { wire, end, bytes } => {
                let e = self.wires[wire].ends[end];
                if let Some(hub) = e.hub {
                    return self.hub_received(hub, wire, &bytes);
                }
                let Some(node) = e.node else {
                    self.raw.entry(wire).or_default().extend_from_slice(&bytes);
                    return;
                };
                if !e.open || self.wires[wire].silent || !self.nodes[node].up {
                    return;
                }
                self.feed(node, Input::Received(e.link, &bytes));
                node
            }
            Happening::Closed { wire, end } => {
                let e = self.wires[wire].ends[end];
                if let Some(hub) = e.hub {
                    return self.hub_closed(hub, wire);
                }
                let Some(node) = e.node else {
                    self.closed_raw.insert(wire);
                    return;
                };
                // A machine that sleeps hears of it when it wakes.
                if e.open && !self.nodes[node].up {
                    return self.after(secs(1), Happening::Closed { wire, end });
                }
                if !e.open {
                    return;
                }
                self.wires[wire].ends[end].open = false;
                self.nodes[node].links.remove(&e.link);
                self.feed(node, Input::Closed(e.link));
                node
            }
            Happening::Answer { node, id, value } => {
                let now = self.clock_of(node);
                self.nodes[node].engine.reply(now, id, Status::Value, value);
                node
            }
        };
        self.drain(node);
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut at_once = 0;
        while self.queue.peek().is_some_and(|due| due.at <= end) {
            let Due { at, what, .. } = self.queue.pop().unwrap();
            at_once = if at == self.now { at_once + 1 } else { 0 };
            assert!(at_once < 20_000_000, "time stands still at {at:?}");
            self.now = at;
            let dead = match &what {
                Happening::Wake { node }
                | Happening::Datagram { node, .. }
                | Happening::Refused { node, .. }
                | Happening::Answer { node, .. } => !self.nodes[*node].up,
                _ => false,
            };
            if !dead {
                self.happen(what);
            }
        }
        self.now = end;
    }

    /// Lets less than so many milliseconds pass.
    pub(crate) fn pause(&mut self, most: u64) {
        let pause = self.rng.below(most);
        self.run(ms(pause));
    }

    /// Lets time pass until `done`, at most `limit`; how long it took.
    pub(crate) fn run_until(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&World) -> bool,
    ) -> Duration {
        let start = self.now;
        while !done(self) {
            assert!(self.now - start < limit, "not within {limit:?}");
            self.run(Duration::from_micros(500));
        }
        self.now - start
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
