//! A hub that is driven by hand under a virtual clock, and links to it with nothing behind them.

use peerbase::entropy::Entropy;
use peerbase::frame::{Frame, FrameType, Parsed, encode, parse};
use peerbase::limits::{FRAME_MAX, RelayLimits};
use peerbase::protocol::{LinkId, Now};
use peerbase::relay::hub::{Config, Hub, Output};
use peerbase::wire::relay::{Forward, FromRelay, ROUTE_WINDOW, Route, ToRelay, encode_forward};
use peerbase::wire::relay_key::{Joining, Side};
use peerbase::{NetworkName, RelayKey};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) fn v4(n: usize) -> IpAddr {
    let [a, b] = (n as u16).to_be_bytes();
    [10, 5, a, b].into()
}

/// A /64 of one /48.
pub(crate) fn v6(n: usize) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, n as u16, 0, 0, 0, 1).into()
}

struct Random(u64);

impl Entropy for Random {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

/// A hub, and links to it with nothing behind them.
pub(crate) struct Relay {
    pub(crate) hub: Hub,
    pub(crate) now: Now,
    pub(crate) closed: HashSet<LinkId>,
}

/// What a member has heard.
#[derive(Debug)]
pub(crate) enum Heard {
    Word(FromRelay),
    From(Route, FrameType, Vec<u8>),
    Other,
}

impl Relay {
    pub(crate) fn with(config: Config) -> Relay {
        Relay {
            hub: Hub::new(config, Box::new(Random(1))),
            now: Now::default(),
            closed: HashSet::new(),
        }
    }

    pub(crate) fn new(limits: RelayLimits) -> Relay {
        Relay::with(Config {
            limits,
            ..Config::default()
        })
    }

    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.hub.poll() {
            if let Output::Close(id, _) = output {
                self.closed.insert(id);
            }
        }
    }

    pub(crate) fn link(&mut self, from: IpAddr) -> LinkId {
        let id = self.hub.accept(self.now, (from, 1).into()).unwrap();
        self.drain();
        id
    }

    pub(crate) fn say(&mut self, id: LinkId, bytes: &[u8]) {
        self.hub.received(self.now, id, bytes);
        self.drain();
    }

    pub(crate) fn send(&mut self, id: LinkId, kind: FrameType, payload: &[u8]) {
        let mut bytes = Vec::new();
        let net = "sim";
        encode(&Frame { net, kind, payload }, &mut bytes);
        self.say(id, &bytes);
    }

    pub(crate) fn ask_to_join(&mut self, id: LinkId) {
        let mut word = Vec::new();
        ToRelay::Join([7; 32]).encode(&mut word);
        self.send(id, FrameType::REGISTER, &word);
    }

    /// A member, whose route is what it is told when it has taken everything; none if it was not
    /// let in.
    pub(crate) fn try_join(&mut self, from: IpAddr) -> Option<(LinkId, Route)> {
        let id = self.link(from);
        self.ask_to_join(id);
        let heard = self.take_all(id);
        let route = heard.into_iter().find_map(|heard| match heard {
            Heard::Word(FromRelay::Joined(route)) => Some(route),
            _ => None,
        });
        Some((id, route?))
    }

    pub(crate) fn join(&mut self, from: IpAddr) -> (LinkId, Route) {
        self.try_join(from).unwrap()
    }

    /// A member of a relay with this key, or without one. What it is told waits.
    pub(crate) fn join_with(&mut self, from: IpAddr, key: Option<&RelayKey>) -> LinkId {
        let id = self.link(from);
        self.ask_to_join(id);
        let Some(key) = key else {
            return id;
        };
        let [Heard::Word(FromRelay::Prove(challenge, Some(_)))] = self.take_all(id)[..] else {
            panic!("it is not asked for a proof");
        };
        let network = NetworkName::new("sim").unwrap();
        let joining = Joining::new(&network, (&[7; 32], b""), (&challenge, b""));
        let mut word = Vec::new();
        ToRelay::Proof(key.prove(Side::Member, &joining)).encode(&mut word);
        self.send(id, FrameType::REGISTER, &word);
        id
    }

    pub(crate) fn forward(&mut self, id: LinkId, to: Route, payload: &[u8]) {
        let mut bytes = Vec::new();
        encode_forward("sim", &to, FrameType::MESSAGE, &mut bytes, |out| {
            out.extend_from_slice(payload);
        });
        self.say(id, &bytes);
    }

    /// The link takes so many bytes; those that it did.
    pub(crate) fn take(&mut self, id: LinkId, most: usize) -> Vec<u8> {
        let pending = self.hub.pending(id);
        let bytes = pending[..most.min(pending.len())].to_vec();
        if !bytes.is_empty() {
            self.hub.sent(self.now, id, bytes.len());
            self.drain();
        }
        bytes
    }

    pub(crate) fn take_all(&mut self, id: LinkId) -> Vec<Heard> {
        let mut bytes = Vec::new();
        while !self.hub.pending(id).is_empty() {
            bytes.extend(self.take(id, usize::MAX));
        }
        let mut heard = Vec::new();
        hear(&mut bytes, |what| heard.push(what));
        heard
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now.at + time;
        while let Some(at) = self.hub.deadline().filter(|at| *at <= until) {
            self.now.at = at.max(self.now.at);
            self.hub.tick(self.now);
            self.drain();
        }
        self.now.at = until;
    }

    pub(crate) fn is_open(&self, id: LinkId) -> bool {
        !self.closed.contains(&id)
    }
}

/// Takes whole frames off the front of what has been read.
pub(crate) fn hear(read: &mut Vec<u8>, mut told: impl FnMut(Heard)) {
    let mut at = 0;
    while let Ok(Parsed::Complete(frame, used)) = parse(&read[at..], FRAME_MAX) {
        told(match frame.kind {
            FrameType::REGISTER => Heard::Word(FromRelay::decode(frame.payload).unwrap().word),
            FrameType::FORWARD => {
                let inner = Forward::decode(frame.payload).unwrap();
                Heard::From(inner.route, inner.kind, inner.payload.to_vec())
            }
            _ => Heard::Other,
        });
        at += used;
    }
    read.drain(..at);
}

/// One that sends as much as its window lets it.
pub(crate) struct Sender {
    pub(crate) id: LinkId,
    sent: u64,
    /// Bytes that are not under way any more.
    gone: u64,
    pub(crate) busy: u64,
}

impl Sender {
    pub(crate) fn new(id: LinkId) -> Sender {
        Sender {
            id,
            sent: 0,
            gone: 0,
            busy: 0,
        }
    }

    pub(crate) fn step(&mut self, relay: &mut Relay, to: Route, size: usize) {
        for heard in relay.take_all(self.id) {
            match heard {
                Heard::Word(FromRelay::Credit(_, total)) => self.gone = total,
                Heard::Word(FromRelay::Busy(_, total)) => {
                    self.gone = total;
                    self.busy += 1;
                }
                _ => {}
            }
        }
        let payload = vec![b'A'; size];
        let mut frame = Vec::new();
        encode_forward("sim", &to, FrameType::MESSAGE, &mut frame, |out| {
            out.extend_from_slice(&payload);
        });
        // As many as a read of the event loop's takes.
        let under_way = self.sent - self.gone;
        let room = (u64::from(ROUTE_WINDOW) - under_way) as usize / frame.len();
        let bytes = frame.repeat(room.min(64 * 1024 / frame.len()));
        self.sent += bytes.len() as u64;
        relay.say(self.id, &bytes);
    }
}
