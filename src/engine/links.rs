//! Links and what they go through: the handshake, records, keepalive, the end.
//!
//! A link is an ordered stream of frames to somewhere: to a peer over a socket, to a peer through a
//! relay, or to a relay. This file knows no socket; it knows which frames may come when.

use super::relays::Carrier;
use super::session::{Rejection, Session};
use super::{Engine, LinkId, Now, Output, Phase, RelayFault, Time};
use crate::buffer::Buffer;
use crate::frame::{self, FrameType, Parsed};
use crate::limits::FRAME_MAX;
use crate::name::NodeName;
use crate::reach::site_of;
use crate::wire::Instance;
use crate::wire::hello::Hello;
use crate::wire::record::{Body, CloseReason, Form, encode_close};
use crate::wire::relay::Route;
use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Bytes of a keepalive's nonce, as text; longer ones are nobody's.
pub(super) const PING_TEXT: usize = 16;
/// Of those, the ones that all nonces which a node makes for one link have in common.
pub(super) const PING_OWN: usize = 8;
/// How many of the nonces that were echoed last a link remembers.
const ECHOED: usize = 4;
/// How many times as much as it leaves to others of its source one caller may take: it has most of the share while
/// it is alone.
const TIMES_WHAT_IS_LEFT: usize = 4;
/// Room an idle link keeps for an unfinished frame or for output.
const KEPT_CAPACITY: usize = 4 * 1024;
/// Room for input that a busy link keeps: the largest unfinished frame, and as much again.
const READ_CAPACITY: usize = 2 * FRAME_MAX;

/// The words to a peer whose link ends, through a relay, and to one whose link is refused.
pub(super) const CLOSED: &[u8] = b"closed";
const REFUSED: &[u8] = b"refused";

#[derive(Debug)]
pub(super) enum State {
    /// We are connecting.
    Dialing(Option<Target>),
    /// Our hello is on its way.
    Asked(Option<Target>, Box<Hello>),
    /// They connected and have said nothing.
    Listening,
    /// We answered their hello; they have proved nothing yet.
    Answered(Box<Session>),
    /// Both have proved that they hold the keys.
    Open(Box<Session>),
    /// To a relay.
    Relay(Box<Carrier>),
}

/// What a link goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// A socket to this address.
    Socket(SocketAddr),
    /// A socket to a relay, wherever that is.
    Name,
    /// Another link, to a relay, and a route there.
    Relay(LinkId, Route),
}

/// Whom we dial, if not whoever is there.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) instance: Instance,
    pub(super) name: NodeName,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) state: State,
    pub(super) dialled: bool,
    pub(super) via: Via,
    /// An unfinished frame, and since when.
    pub(super) input: Buffer,
    pub(super) unfinished: Option<Time>,
    pub(super) output: Buffer,
    pub(super) opened: Time,
    pub(super) heard: Time,
    /// When the output last moved, or began to wait.
    pub(super) progress: Time,
    /// A keepalive that was not echoed yet, and when it was sent.
    pub(super) ping: Option<([u8; PING_TEXT], Time)>,
    /// The round trip, as keepalives measure it, and when it was measured last.
    pub(super) round_trip: Option<Duration>,
    pub(super) measured_at: Time,
    /// A keepalive to be echoed once there is room, and not before `echo_after`.
    pub(super) owed: Option<[u8; PING_TEXT]>,
    pub(super) echo_after: Time,
    /// What all nonces of this node's own keepalives begin with, once there was one.
    pub(super) ping_own: Option<[u8; PING_OWN]>,
    /// Those that were echoed last, the newest first.
    pub(super) echoed: [Option<[u8; PING_TEXT]>; ECHOED],
    /// Closed unless the keepalive is echoed before this.
    pub(super) challenge: Option<Time>,
    /// Peers that the other side was told of.
    pub(super) told: Vec<Instance>,
}

impl Link {
    pub(super) fn new(state: State, dialled: bool, via: Via, now: Time) -> Link {
        Link {
            state,
            dialled,
            via,
            input: Buffer::default(),
            unfinished: None,
            output: Buffer::default(),
            opened: now,
            heard: now,
            progress: now,
            ping: None,
            round_trip: None,
            measured_at: now,
            owed: None,
            echo_after: now,
            ping_own: None,
            echoed: [None; ECHOED],
            challenge: None,
            told: Vec::new(),
        }
    }

    /// Whom the link is to, while that is not proved.
    pub(super) fn dialling_name(&self) -> Option<&NodeName> {
        match &self.state {
            State::Dialing(target) | State::Asked(target, _) => target.as_ref().map(|t| &t.name),
            _ => None,
        }
    }

    pub(super) fn is_dialling(&self) -> bool {
        matches!(self.state, State::Dialing(_) | State::Asked(..))
    }

    pub(super) fn pending(&self) -> &[u8] {
        self.output.as_slice()
    }

    /// Gives back the room that it needed while it was busy.
    pub(super) fn rest(&mut self) {
        self.output.consume(0, KEPT_CAPACITY);
    }

    pub(super) fn open_session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Open(session) => Some(session),
            _ => None,
        }
    }

    fn half_open(&self) -> bool {
        matches!(self.state, State::Listening | State::Answered(_))
    }

    /// Whether it goes to a relay, or through one.
    pub(super) fn is_relayed(&self) -> bool {
        !matches!(self.via, Via::Socket(_))
    }

    /// Takes a measured round trip in.
    pub(super) fn measured(&mut self, now: Time, round_trip: Duration) {
        self.measured_at = now;
        self.round_trip = Some(match self.round_trip {
            // There are few measurements, and one may be off.
            Some(before) => (before + round_trip) / 2,
            None => round_trip,
        });
    }
}

/// Where links come from, as far as one can tell before anything is proved: names and instances cost nothing,
/// while a host has few addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// An IPv4 address, or an IPv6 /48.
    Address(IpAddr),
    /// This link to a relay.
    Relay(LinkId),
}

impl Source {
    pub(super) fn of(via: &Via) -> Source {
        match via {
            Via::Relay(carrier, _) => Source::Relay(*carrier),
            Via::Socket(from) => Source::Address(site_of(from.ip())),
            Via::Name => Source::Address(IpAddr::from([0; 4])),
        }
    }

    fn is_relay(self) -> bool {
        matches!(self, Source::Relay(_))
    }
}

/// What is taken of something that callers share: by all of them, by those of one source, and by one of those.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) all: usize,
    pub(super) source: usize,
    pub(super) caller: usize,
}

impl Taken {
    /// Whether the caller may take so much more of `whole`. All callers of a source together have at most as much
    /// as they leave free. Of that, one that has something already must leave a part to others, so that the first
    /// small call of another always finds room.
    pub(super) fn leaves_room(self, more: usize, whole: usize) -> bool {
        let free = whole.saturating_sub(self.all).saturating_sub(self.source);
        // What is taken is free no more, and as much again must be left to other sources.
        let left = free.saturating_sub(more).saturating_sub(more);
        more <= free
            && (self.caller == 0 || (self.caller + more).div_ceil(TIMES_WHAT_IS_LEFT) <= left)
    }
}

/// Why a link is refused; each has its counter.
#[derive(Clone, Copy)]
pub(super) enum Refuse {
    Frame,
    Token,
    Hello,
    Record,
}

impl Engine {
    /// Where the session with a peer comes from, if there is one.
    #[cfg(feature = "files")]
    pub(crate) fn source_of_peer(&self, peer: Instance) -> Option<Source> {
        let link = self.links.get(&self.best_session(peer)?)?;
        Some(Source::of(&link.via))
    }

    /// A link that somebody else opened, or `None` if there is no room for one.
    pub fn accept(&mut self, now: Now, from: SocketAddr) -> Option<LinkId> {
        if self.phase == Phase::Stopped {
            return None;
        }
        Some(self.add_listening(now, Via::Socket(from)))
    }

    /// A link on which somebody is to say hello.
    pub(super) fn add_listening(&mut self, now: Now, via: Via) -> LinkId {
        if let Some(id) = self.half_open_to_evict(&via) {
            self.core.stats.half_open_evicted += 1;
            self.cut(now, id);
        }
        self.add_link(now, Link::new(State::Listening, false, via, now.at))
    }

    /// Which half-open link gives way to a new one, if one must. Those through relays have a quarter of the
    /// room to themselves, since anybody can connect to a port. Whoever has the most gives way: an address
    /// that connects again and again, or a relay that invents routes, displaces its own. Of those, who has
    /// said nothing comes first, then the oldest: an honest handshake would be over.
    fn half_open_to_evict(&self, via: &Via) -> Option<LinkId> {
        let relayed = self.core.config.limits.half_open / 4;
        let room = match via {
            Via::Relay(..) => relayed,
            Via::Socket(_) | Via::Name => self.core.config.limits.half_open - relayed,
        };
        let source = Source::of(via);
        let mut pool: Vec<(Source, bool, Time, LinkId)> = Vec::new();
        for (id, link) in self.links.iter().filter(|(_, l)| l.half_open()) {
            let from = Source::of(&link.via);
            if from.is_relay() == source.is_relay() {
                let said_hello = matches!(link.state, State::Answered(_));
                pool.push((from, said_hello, link.opened, *id));
            }
        }
        if pool.len() < room.max(1) {
            return None;
        }
        let links_of = |source: &Source| pool.iter().filter(|(s, ..)| s == source).count();
        let first = pool.iter().min_by_key(|(source, said_hello, opened, id)| {
            (Reverse(links_of(source)), *said_hello, *opened, *id)
        });
        first.map(|(.., id)| *id)
    }

    pub(super) fn add_link(&mut self, now: Now, link: Link) -> LinkId {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        self.links.insert(id, Box::new(link));
        self.links_due = self
            .links_due
            .min(now.at + self.core.config.limits.handshake);
        id
    }

    pub(super) fn received(&mut self, now: Now, id: LinkId, bytes: &[u8]) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.heard = now.at;
        let mut held = std::mem::take(&mut link.input);
        let fresh = held.is_empty();
        if !fresh {
            held.append(|held| held.extend_from_slice(bytes));
        }
        let data = if fresh { bytes } else { held.as_slice() };
        let mut at = 0;
        while at < data.len() {
            match frame::parse(&data[at..], FRAME_MAX) {
                Ok(Parsed::Complete(frame, used)) => {
                    at += used;
                    self.core.stats.frames_in += 1;
                    self.frame(now, id, frame);
                    if !self.links.contains_key(&id) {
                        return;
                    }
                }
                Ok(Parsed::Incomplete) => break,
                Err(_) => return self.refuse(now, id, Refuse::Frame),
            }
        }
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let rest = data.len() - at;
        if rest == 0 {
            link.unfinished = None;
        } else {
            if at > 0 || link.unfinished.is_none() {
                link.unfinished = Some(now.at);
                self.links_due = self.links_due.min(now.at + self.core.config.limits.frame);
            }
        }
        let keep = if rest == 0 {
            KEPT_CAPACITY
        } else {
            READ_CAPACITY
        };
        if fresh {
            held.append(|held| held.extend_from_slice(&bytes[at..]));
        } else {
            held.consume(at, keep);
        }
        link.input = held;
    }

    fn frame(&mut self, now: Now, id: LinkId, frame: frame::Frame<'_>) {
        if matches!(self.links.get(&id).map(|l| &l.state), Some(State::Relay(_))) {
            return self.relay_frame(now, id, frame);
        }
        if frame.net != self.core.config.network.as_str() {
            self.core.stats.foreign += 1;
            return;
        }
        self.peer_frame(now, id, frame.kind, frame.payload);
    }

    /// A frame of a peer, over whatever link.
    pub(super) fn peer_frame(&mut self, now: Now, id: LinkId, kind: FrameType, payload: &[u8]) {
        match kind {
            FrameType::MESSAGE | FrameType::RESPONSE => self.record(now, id, kind, payload),
            FrameType::HELLO => self.hello(now, id, payload),
            FrameType::PING => self.ping(now, id, payload),
            // Advisory: the other side closes the link itself.
            FrameType::ERROR => {}
            _ => self.refuse(now, id, Refuse::Frame),
        }
    }

    fn record(&mut self, now: Now, id: LinkId, kind: FrameType, token: &[u8]) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let proved = matches!(link.state, State::Open(_));
        let (State::Open(session) | State::Answered(session)) = &mut link.state else {
            return self.refuse(now, id, Refuse::Frame);
        };
        let mut buf = std::mem::take(&mut self.opened);
        let peer = session.peer;
        match session.open(kind, token, &mut buf) {
            Ok(record) => {
                if !proved {
                    self.prove(now, id);
                }
                match record.body {
                    Body::Call {
                        number,
                        timeout_ms,
                        again,
                        streams,
                        settled,
                        ask,
                    } => {
                        self.settle(peer, settled);
                        let form = Form { again, streams };
                        self.serve(now, id, (number, form), timeout_ms, ask);
                    }
                    Body::Reply {
                        number,
                        status,
                        body,
                    } => self.answered(now, id, number, status, body),
                    Body::Cancel { number } => self.withdraw(peer, number),
                    Body::Notice(settled) => self.settle(peer, settled),
                    Body::Peers(peers) => self.told_of_peers(now, id, peers),
                    Body::Close(reason) => self.closed_by_peer(now, id, reason),
                    of_stream => {
                        if self.stream_record(now, id, of_stream).is_err() {
                            self.violation(now, id);
                        }
                    }
                }
            }
            Err(Rejection::Token) => self.refuse(now, id, Refuse::Token),
            Err(Rejection::Record) => self.refuse(now, id, Refuse::Record),
        }
        self.opened = buf;
    }

    fn closed_by_peer(&mut self, now: Now, id: LinkId, reason: CloseReason) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let Some(session) = link.open_session() else {
            return;
        };
        let peer = session.peer;
        if reason == CloseReason::Leaving {
            if let Some(peer) = self.directory.get_mut(&peer) {
                peer.left = true;
            }
            // It has left when the last of its sessions has ended: another one may still hold an answer.
            self.close_quietly(now, id, Vec::new());
            self.challenge(now, peer);
        } else {
            self.close_quietly(now, id, Vec::new());
            if let Some(peer) = self.directory.get_mut(&peer) {
                // Nothing is wrong with the peer; it is dialled when a call wants it.
                peer.dial.at = None;
            }
        }
        self.calls_want_dial(now, peer);
    }

    /// Ends a session and says why.
    pub(super) fn close_session(&mut self, now: Now, id: LinkId, reason: CloseReason) {
        self.send_record(now, id, |sequence, out| encode_close(sequence, reason, out));
        self.cut(now, id);
    }

    /// Ends a link without a word, after what is already pending.
    pub(super) fn cut(&mut self, now: Now, id: LinkId) {
        let last = self.pending(id).to_vec();
        self.close_quietly(now, id, last);
    }

    pub(super) fn close_quietly(&mut self, now: Now, id: LinkId, last: Vec<u8>) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        if let Via::Relay(..) = link.via {
            // There is no socket whose end would tell the other side.
            self.emit(now, id, FrameType::ERROR, &mut |_, out| {
                out.extend_from_slice(CLOSED)
            });
        } else {
            self.core.outputs.push_back(Output::Close(id, last));
        }
        self.ended(now, id);
    }

    /// Ends every link: those to peers first, since they may go through those to relays.
    pub(super) fn close_all(&mut self, now: Now) {
        let all: Vec<LinkId> = self.links.keys().copied().collect();
        for relays in [false, true] {
            for id in &all {
                let Some(link) = self.links.get(id) else {
                    continue;
                };
                if matches!(link.state, State::Relay(_)) == relays {
                    self.close_session(now, *id, CloseReason::Leaving);
                }
            }
        }
    }

    pub(super) fn refuse(&mut self, now: Now, id: LinkId, why: Refuse) {
        match why {
            Refuse::Frame => self.core.stats.refused_frame += 1,
            Refuse::Token => self.core.stats.refused_token += 1,
            Refuse::Hello => self.core.stats.refused_hello += 1,
            Refuse::Record => self.core.stats.refused_record += 1,
        }
        self.spoil(now, id);
        self.relay_fault(id, RelayFault::Protocol);
        // One word for every reason: which it was would be an oracle.
        self.emit(now, id, FrameType::ERROR, &mut |_, out| {
            out.extend_from_slice(REFUSED);
        });
        match self.links.get(&id).map(|l| l.via) {
            Some(Via::Relay(carrier, route)) => {
                self.ended(now, id);
                self.route_fault(now, carrier, route);
            }
            _ => self.cut(now, id),
        }
    }

    /// A link is over, whoever ended it.
    pub(super) fn ended(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        if let Via::Relay(relay, route) = link.via {
            self.routes.unlink(relay, route);
        }
        match link.state {
            State::Dialing(target) | State::Asked(target, _) => {
                self.core.stats.dials_failed += 1;
                self.directory.wake_at(now.at);
                let Some(target) = target else {
                    return self.seed_failed(now, id);
                };
                if matches!(link.via, Via::Relay(..)) {
                    self.route_dial_failed(now, id, &target);
                } else {
                    self.dial_failed(now, &target);
                }
            }
            State::Open(session) => self.session_down(now, id, session.peer),
            State::Relay(carrier) => self.relay_lost(now, id, *carrier),
            State::Listening | State::Answered(_) => {}
        }
    }

    fn session_down(&mut self, now: Now, id: LinkId, instance: Instance) {
        if self.phase == Phase::Stopped {
            return;
        }
        self.streams.unlink(id);
        if let Some(peer) = self.directory.get_mut(&instance) {
            peer.sessions.retain(|l| *l != id);
            self.answers_cut_off(now, id, instance);
        }
        if let Some(peer) = self.directory.get_mut(&instance) {
            if peer.sessions.is_empty() && peer.suspect {
                self.drop_replaced(now, instance);
                return;
            }
            if peer.sessions.is_empty() && peer.left {
                self.depart(now, instance);
            } else {
                self.plan_redial(now, instance);
                self.update_path(instance);
            }
        }
        self.mesh_session_down(now, instance);
        self.requeue_calls(now, id, instance);
    }

    /// A call waits for this peer, which has no session.
    fn calls_want_dial(&mut self, now: Now, instance: Instance) {
        if self
            .directory
            .get(&instance)
            .is_some_and(|p| self.calls.waits_for(&p.name))
        {
            self.want_dial(now, instance);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_that_one_site_is_given_are_one_source() {
        let source = |address: &str| Source::of(&Via::Socket(address.parse().unwrap()));
        let one = source("[2001:db8:1:2::3]:4");
        assert_eq!(one, source("[2001:db8:1:ffff::5]:6"));
        assert_ne!(one, source("[2001:db8:2:2::3]:4"));
        assert_eq!(source("[::ffff:10.1.2.3]:4"), source("10.1.2.3:5"));
        assert_ne!(source("10.1.2.3:4"), source("10.1.2.4:4"));
    }

    #[test]
    fn whatever_one_caller_takes_another_of_its_source_finds_room_and_so_does_another_source() {
        let whole = 16_000;
        for size in [1, 7, 10, 100, 999, 1_000, 2_000, 3_000, 3_999, 4_000] {
            let mut taken = 0;
            let of = |caller, source| Taken {
                all: source,
                source,
                caller,
            };
            while of(taken, taken).leaves_room(size, whole) {
                taken += size;
            }
            let small = whole / 16;
            assert!(of(0, taken).leaves_room(small, whole), "{taken} by {size}");
            let elsewhere = Taken {
                source: 0,
                ..of(0, taken)
            };
            assert!(elsewhere.leaves_room(whole / 2, whole), "{taken} by {size}");
            assert!(taken >= whole / 5, "{taken} by {size}");
        }
    }
}
