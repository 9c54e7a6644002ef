//! Links and what they go through: dialling, the handshake, records, keepalive, the end.
//!
//! A link is an ordered stream of bytes to somewhere. This file knows no socket; it knows frames,
//! and which of them may come when.

use super::session::{Refusal, Session};
use super::{Engine, LinkId, Now, Output, Phase, Time};
use crate::frame::{self, FrameType, Parsed};
use crate::limits::FRAME_MAX;
use crate::name::NodeName;
use crate::wire::Instance;
use crate::wire::hello::Hello;
use crate::wire::record::{Body, CloseReason, encode_close};
use std::net::SocketAddr;

/// Bytes of a keepalive's nonce, as text; longer ones are nobody's.
pub(super) const PING_TEXT: usize = 16;
/// Room an idle link keeps for an unfinished frame or for output.
const KEPT_CAPACITY: usize = 4 * 1024;

#[derive(Debug)]
pub(super) enum State {
    /// We are connecting.
    Dialing(Target),
    /// Our hello is on its way.
    Asked(Target, Box<Hello>),
    /// They connected and have said nothing.
    Listening,
    /// We answered their hello; they have proved nothing yet.
    Answered(Box<Session>),
    /// Both have proved that they hold the keys.
    Open(Box<Session>),
}

/// Whom we dial.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) instance: Instance,
    pub(super) name: NodeName,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) state: State,
    pub(super) dialled: bool,
    pub(super) address: SocketAddr,
    /// An unfinished frame, and since when.
    pub(super) input: Vec<u8>,
    pub(super) unfinished: Option<Time>,
    pub(super) output: Vec<u8>,
    pub(super) written: usize,
    pub(super) opened: Time,
    pub(super) heard: Time,
    /// When the output last moved, or began to wait.
    pub(super) progress: Time,
    pub(super) ping: Option<[u8; PING_TEXT]>,
    /// Closed unless the keepalive is echoed before this.
    pub(super) challenge: Option<Time>,
}

impl Link {
    fn new(state: State, dialled: bool, address: SocketAddr, now: Time) -> Link {
        Link {
            state,
            dialled,
            address,
            input: Vec::new(),
            unfinished: None,
            output: Vec::new(),
            written: 0,
            opened: now,
            heard: now,
            progress: now,
            ping: None,
            challenge: None,
        }
    }

    /// Whom the link is to, while that is not proved.
    pub(super) fn dialling_name(&self) -> Option<&NodeName> {
        match &self.state {
            State::Dialing(target) | State::Asked(target, _) => Some(&target.name),
            _ => None,
        }
    }

    pub(super) fn pending(&self) -> &[u8] {
        &self.output[self.written..]
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
    /// A link that somebody else opened, or `None` if there is no room for one.
    pub fn accept(&mut self, now: Now, from: SocketAddr) -> Option<LinkId> {
        if self.phase == Phase::Stopped {
            return None;
        }
        let half_open = || self.links.iter().filter(|(_, l)| l.half_open());
        if half_open().count() >= self.config.limits.half_open {
            // The oldest gives way: an honest handshake would be over.
            let oldest = half_open().min_by_key(|(_, l)| l.opened).map(|(id, _)| *id);
            if let Some(oldest) = oldest {
                self.stats.half_open_evicted += 1;
                self.cut(now, oldest);
            }
        }
        Some(self.add_link(now, Link::new(State::Listening, false, from, now.at)))
    }

    fn add_link(&mut self, now: Now, link: Link) -> LinkId {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        self.links.insert(id, link);
        self.links_due = self.links_due.min(now.at + self.config.limits.handshake);
        id
    }

    /// Bytes that wait to be written to a link.
    pub fn pending(&self, link: LinkId) -> &[u8] {
        self.links.get(&link).map_or(&[], Link::pending)
    }

    /// Whether a dial may begin now, within the bounds on how many and how fast.
    pub(super) fn may_dial(&mut self, now: Now) -> bool {
        let limits = &self.config.limits;
        let under_way = self
            .links
            .values()
            .filter(|l| l.dialling_name().is_some())
            .count();
        under_way < limits.dials && self.dial_rate.take(now.at, limits.dials_per_second)
    }

    pub(super) fn dial(
        &mut self,
        now: Now,
        instance: Instance,
        name: NodeName,
        to: SocketAddr,
    ) -> LinkId {
        let state = State::Dialing(Target { instance, name });
        let id = self.add_link(now, Link::new(state, true, to, now.at));
        self.stats.dials += 1;
        self.outputs.push_back(Output::Dial(id, to));
        id
    }

    /// Dials a known peer, at the next of its addresses.
    pub(super) fn dial_peer(&mut self, now: Now, instance: Instance) {
        let Some(peer) = self.directory.get(&instance) else {
            return;
        };
        let wanted = self.calls.waits_for(&peer.name);
        let (name, next) = (peer.name.clone(), peer.dial.next);
        let address = peer
            .addresses
            .get(next % peer.addresses.len().max(1))
            .copied();
        // A full house dials only for those who wait.
        let full = self.open_sessions() >= self.config.limits.sessions;
        let link = match address {
            Some(address) if wanted || !full => Some(self.dial(now, instance, name, address)),
            _ => None,
        };
        if let Some(peer) = self.directory.get_mut(&instance) {
            peer.dial.at = None;
            peer.dial.link = link;
        }
    }

    /// After a frame was appended to a link's output.
    pub(super) fn queued(&mut self, now: Now, id: LinkId, was_empty: bool) {
        self.stats.frames_out += 1;
        if was_empty {
            if let Some(link) = self.links.get_mut(&id) {
                link.progress = now.at;
            }
            self.links_due = self.links_due.min(now.at + self.config.limits.dead);
            self.outputs.push_back(Output::Writable(id));
        }
    }

    /// Sends one record on an open session; `encode` is given its sequence number.
    pub(super) fn send_record(
        &mut self,
        now: Now,
        id: LinkId,
        encode: impl FnOnce(u64, &mut Vec<u8>),
    ) {
        if let Some(session) = self.session(id) {
            let sequence = session.next_sequence();
            self.plain.clear();
            encode(sequence, &mut self.plain);
            self.send_plain_record(now, id);
        }
    }

    /// Seals and sends the record that was put together.
    fn send_plain_record(&mut self, now: Now, id: LinkId) {
        let mut iv = [0; 16];
        self.entropy.fill(&mut iv);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let was_empty = link.written == link.output.len();
        let State::Open(session) = &mut link.state else {
            return;
        };
        session.seal(
            self.config.network.as_str(),
            &self.plain,
            now.unix,
            &iv,
            &mut link.output,
        );
        self.queued(now, id, was_empty);
    }

    pub(super) fn received(&mut self, now: Now, id: LinkId, bytes: &[u8]) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.heard = now.at;
        let mut held = std::mem::take(&mut link.input);
        let data: &[u8] = if held.is_empty() {
            bytes
        } else {
            held.extend_from_slice(bytes);
            &held
        };
        let mut at = 0;
        while at < data.len() {
            match frame::parse(&data[at..], FRAME_MAX) {
                Ok(Parsed::Complete(frame, used)) => {
                    at += used;
                    self.stats.frames_in += 1;
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
                self.links_due = self.links_due.min(now.at + self.config.limits.frame);
            }
            if held.is_empty() {
                held.extend_from_slice(&bytes[at..]);
            } else {
                held.drain(..at);
            }
        }
        if rest == 0 {
            held.clear();
            held.shrink_to(KEPT_CAPACITY);
        }
        link.input = held;
    }

    fn frame(&mut self, now: Now, id: LinkId, frame: frame::Frame<'_>) {
        if frame.net != self.config.network.as_str() {
            self.stats.foreign += 1;
            return;
        }
        match frame.kind {
            FrameType::MESSAGE | FrameType::RESPONSE => {
                self.record(now, id, frame.kind, frame.payload)
            }
            FrameType::HELLO => self.hello(now, id, frame.payload),
            FrameType::PING => self.ping(now, id, frame.payload),
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
                        settled,
                        ask,
                    } => {
                        self.settle(peer, settled);
                        self.serve(now, id, (number, again), timeout_ms, ask);
                    }
                    Body::Reply {
                        number,
                        status,
                        body,
                    } => self.answered(now, id, number, status, body),
                    Body::Cancel { number } => self.withdraw(peer, number),
                    Body::Notice(settled) => self.settle(peer, settled),
                    Body::Close(reason) => self.closed_by_peer(now, id, reason),
                }
            }
            Err(Refusal::Token) => self.refuse(now, id, Refuse::Token),
            Err(Refusal::Record) => self.refuse(now, id, Refuse::Record),
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
            self.drop_peer(now, peer);
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
        if self.links.contains_key(&id) {
            self.outputs.push_back(Output::Close(id, last));
            self.ended(now, id);
        }
    }

    pub(super) fn refuse(&mut self, now: Now, id: LinkId, why: Refuse) {
        match why {
            Refuse::Frame => self.stats.refused_frame += 1,
            Refuse::Token => self.stats.refused_token += 1,
            Refuse::Hello => self.stats.refused_hello += 1,
            Refuse::Record => self.stats.refused_record += 1,
        }
        // One word for every reason: which it was would be an oracle.
        let mut last = self.pending(id).to_vec();
        frame::encode_with(
            self.config.network.as_str(),
            FrameType::ERROR,
            &mut last,
            |out| {
                out.extend_from_slice(b"refused");
            },
        );
        self.close_quietly(now, id, last);
    }

    /// A link is over, whoever ended it.
    pub(super) fn ended(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        match link.state {
            State::Dialing(target) | State::Asked(target, _) => {
                self.stats.dials_failed += 1;
                self.directory.wake_at(now.at);
                self.dial_failed(now, target);
            }
            State::Open(session) => self.session_down(now, id, session.peer),
            State::Listening | State::Answered(_) => {}
        }
    }

    fn dial_failed(&mut self, now: Now, target: Target) {
        if self.is_own_name(&target.name) {
            return self.claim_unresolved(&target.instance);
        }
        let Some(peer) = self.directory.get_mut(&target.instance) else {
            return;
        };
        peer.dial.link = None;
        peer.dial.next += 1;
        if !peer.sessions.is_empty() {
            return;
        }
        // Every address once, then a pause.
        let round = peer.dial.next.is_multiple_of(peer.addresses.len().max(1));
        let at = if round {
            peer.dial.failures += 1;
            let failures = peer.dial.failures;
            now.at + self.redial_pause(failures, target.instance)
        } else {
            now.at
        };
        if let Some(peer) = self.directory.get_mut(&target.instance) {
            peer.dial.at = Some(at);
        }
        self.directory.wake_at(at);
    }

    fn session_down(&mut self, now: Now, id: LinkId, instance: Instance) {
        if self.phase == Phase::Stopped {
            return;
        }
        if let Some(peer) = self.directory.get_mut(&instance) {
            peer.sessions.retain(|l| *l != id);
            if peer.sessions.is_empty() {
                if peer.suspect {
                    self.drop_replaced(instance);
                    return;
                }
                let interval = peer.interval;
                let expires = self.expiry(now, interval);
                let at = now.at + self.redial_pause(0, instance);
                if let Some(peer) = self.directory.get_mut(&instance) {
                    peer.expires = peer.expires.max(expires);
                    peer.dial.at = Some(at);
                }
                self.directory.wake_at(at.min(expires));
            }
        }
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

    pub(super) fn sent(&mut self, now: Now, id: LinkId, n: usize) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.written = (link.written + n).min(link.output.len());
        link.progress = now.at;
        if link.written == link.output.len() {
            link.output.clear();
            link.output
                .shrink_to(KEPT_CAPACITY.max(self.config.limits.link_queue / 4));
            link.written = 0;
        }
        if link.pending().len() <= self.config.limits.link_queue / 2
            && let Some(session) = link.open_session()
        {
            let (peer, name) = (session.peer, session.name.clone());
            self.pump_replies(now, peer);
            if self.calls.waits_for(&name) {
                self.pump_calls(now, &name);
            }
        }
    }

    /// An open session with `peer` that takes more, or whether there is one at all.
    pub(super) fn path_to(&self, peer: Instance) -> Path {
        let Some(entry) = self.directory.get(&peer) else {
            return Path::None;
        };
        for id in entry.sessions.iter().rev() {
            match self.links.get(id) {
                Some(l) if l.pending().len() < self.config.limits.link_queue => {
                    return Path::Ready(*id);
                }
                Some(_) => return Path::Full,
                None => {}
            }
        }
        Path::None
    }

    /// The session on a link, if it is open.
    pub(super) fn session(&mut self, id: LinkId) -> Option<&mut Session> {
        self.links.get_mut(&id)?.open_session()
    }
}

/// A way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// This link takes more.
    Ready(LinkId),
    /// There is one, but it must drain first.
    Full,
    /// There is none.
    None,
}
