//! Links and what they go through: dialling, the handshake, records, keepalive, the end.
//!
//! A link is an ordered stream of bytes to somewhere. This file knows no socket; it knows frames,
//! and which of them may come when.

use super::directory::Peer;
use super::session::{Party, Refusal, Session};
use super::{Engine, Event, LinkId, Now, Output, Phase, Time};
use crate::fernet::Sealer;
use crate::frame::{self, FrameType, Parsed};
use crate::limits::FRAME_MAX;
use crate::name::NodeName;
use crate::wire::Instance;
use crate::wire::hello::{Hello, Role, session_keys};
use crate::wire::record::{Body, CloseReason, encode_close, encode_notice};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use std::net::SocketAddr;
use std::time::Duration;

/// How long an instance has to show that it lives when another has proved to go by its name.
const CHALLENGE: Duration = Duration::from_secs(1);
/// A session heard this recently is not stale: of two, the rule of instances decides.
const FRESH: Duration = Duration::from_secs(2);
/// Bytes of a keepalive's nonce, as text; longer ones are nobody's.
const PING_TEXT: usize = 16;
/// Room an idle link keeps for an unfinished frame or for output.
const KEPT_CAPACITY: usize = 4 * 1024;

#[derive(Debug)]
enum State {
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
struct Target {
    instance: Instance,
    name: NodeName,
}

#[derive(Debug)]
pub(super) struct Link {
    state: State,
    dialled: bool,
    address: SocketAddr,
    /// An unfinished frame, and since when.
    input: Vec<u8>,
    unfinished: Option<Time>,
    output: Vec<u8>,
    written: usize,
    opened: Time,
    heard: Time,
    /// When the output last moved, or began to wait.
    progress: Time,
    ping: Option<[u8; PING_TEXT]>,
    /// Closed unless the keepalive is echoed before this.
    challenge: Option<Time>,
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

    fn pending(&self) -> &[u8] {
        &self.output[self.written..]
    }

    fn open_session(&mut self) -> Option<&mut Session> {
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
enum Refuse {
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

    fn open_sessions(&self) -> usize {
        self.links
            .values()
            .filter(|l| matches!(l.state, State::Open(_)))
            .count()
    }

    fn fresh_hello(&mut self, role: Role, meant: NodeName) -> Hello {
        let mut nonce = [0; 32];
        self.entropy.fill(&mut nonce);
        Hello {
            role,
            probing: matches!(self.phase, Phase::Probing { .. }),
            instance: self.instance,
            nonce,
            port: self.config.port,
            name: self.config.name.clone(),
            meant,
        }
    }

    pub(super) fn connected(&mut self, now: Now, id: LinkId) {
        let target = match self.links.get(&id).map(|l| &l.state) {
            Some(State::Dialing(t)) => Target {
                instance: t.instance,
                name: t.name.clone(),
            },
            _ => return,
        };
        let hello = self.fresh_hello(Role::Ask, target.name.clone());
        self.send_hello(now, id, &hello, self.config.keys.first());
        if let Some(link) = self.links.get_mut(&id) {
            link.state = State::Asked(target, Box::new(hello));
        }
    }

    fn send_hello(&mut self, now: Now, id: LinkId, hello: &Hello, key: crate::fernet::KeyIndex) {
        self.plain.clear();
        hello.encode(&mut self.plain);
        let mut iv = [0; 16];
        self.entropy.fill(&mut iv);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let was_empty = link.pending().is_empty();
        let sealer = self.config.keys.sealer(key);
        frame::encode_with(
            self.config.network.as_str(),
            FrameType::HELLO,
            &mut link.output,
            |out| {
                sealer.seal(&self.plain, now.unix, &iv, out);
            },
        );
        self.queued(now, id, was_empty);
    }

    /// After a frame was appended to a link's output.
    fn queued(&mut self, now: Now, id: LinkId, was_empty: bool) {
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

    fn hello(&mut self, now: Now, id: LinkId, token: &[u8]) {
        let mut buf = std::mem::take(&mut self.opened);
        let opened = self
            .config
            .keys
            .open(token, &mut buf)
            .map(|(plain, key)| (Hello::decode(plain), key));
        self.opened = buf;
        let (hello, key) = match opened {
            Ok((Ok(hello), key)) => (hello, key),
            Ok((Err(_), _)) => return self.refuse(now, id, Refuse::Hello),
            Err(_) => return self.refuse(now, id, Refuse::Token),
        };
        if hello.meant != self.config.name || hello.instance == self.instance {
            return self.refuse(now, id, Refuse::Hello);
        }
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let party = Party {
            peer: hello.instance,
            name: hello.name.clone(),
            port: hello.port,
            probing: hello.probing,
        };
        match (&link.state, hello.role) {
            (State::Listening, Role::Ask) => {
                // Under the key that opened theirs: they may not have our first one yet.
                let answer = self.fresh_hello(Role::Answer(hello.nonce), hello.name.clone());
                self.send_hello(now, id, &answer, key);
                let (asker, answerer) = session_keys(self.config.keys.key(key), &hello, &answer);
                let session = Session::new(
                    party,
                    false,
                    Sealer::new(&asker),
                    Sealer::new(&answerer),
                    now.at,
                );
                if let Some(link) = self.links.get_mut(&id) {
                    link.state = State::Answered(Box::new(session));
                }
            }
            (State::Asked(target, ask), Role::Answer(nonce))
                if nonce == ask.nonce && hello.name == target.name =>
            {
                let (asker, answerer) = session_keys(self.config.keys.key(key), ask, &hello);
                let dialled = target.instance;
                let session = Session::new(
                    party,
                    true,
                    Sealer::new(&asker),
                    Sealer::new(&answerer),
                    now.at,
                );
                if let Some(link) = self.links.get_mut(&id) {
                    link.state = State::Open(Box::new(session));
                }
                // Proves our keys to the other side, which says nothing until then.
                self.send_record(now, id, |sequence, out| encode_notice(sequence, &[], out));
                if let Some(peer) = self.directory.get_mut(&dialled) {
                    // Whoever answered: if it is another instance, it takes this one's place.
                    peer.dial.link = None;
                }
                self.directory.wake_at(now.at);
                self.session_up(now, id);
            }
            _ => self.refuse(now, id, Refuse::Hello),
        }
    }

    /// An instance whose place another of its name has taken; whether a program knew it.
    fn drop_replaced(&mut self, instance: Instance) -> bool {
        let Some(peer) = self.directory.remove(&instance) else {
            return false;
        };
        self.fail_bound_calls(instance, &peer.name, true);
        peer.joined
    }

    /// A session is proved from both sides.
    fn session_up(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let State::Open(session) = &link.state else {
            return;
        };
        let (instance, name, probing, dialled) = (
            session.peer,
            session.name.clone(),
            session.probing,
            link.dialled,
        );
        let address = if dialled {
            link.address
        } else {
            SocketAddr::new(link.address.ip(), session.port)
        };
        self.stats.sessions += 1;
        if self.is_own_name(&name) {
            self.same_name(now, instance, probing);
            return self.close_session(now, id, CloseReason::NameConflict);
        }
        if self
            .directory
            .get(&instance)
            .is_some_and(|p| p.name != name)
        {
            return self.refuse(now, id, Refuse::Hello);
        }
        if self.directory.get(&instance).is_none() {
            if self.directory.len() >= self.config.limits.peers {
                self.make_room();
            }
            let interval = self.config.interval;
            self.directory.insert(
                instance,
                Peer::new(name.clone(), interval, self.expiry(now, interval)),
            );
        }
        self.evict_sessions(now, id);

        let max = self.config.limits.addresses_per_peer;
        let Some(peer) = self.directory.get_mut(&instance) else {
            return;
        };
        if dialled {
            peer.prefer_address(address, max);
        } else if peer.addresses.is_empty() {
            peer.learn_address(address, max);
        }
        peer.suspect = false;
        peer.dial.at = None;
        peer.dial.next = 0;
        peer.dial.failures = 0;
        peer.sessions.push(id);
        let other = peer.sessions.iter().copied().find(|l| *l != id);
        let news = !std::mem::replace(&mut peer.joined, true);

        let restarted = self.supersede(now, instance, &name);
        if restarted {
            self.event(Event::PeerRestarted(name.clone()));
        } else if news {
            self.event(Event::PeerJoined(name.clone()));
        }
        if let Some(other) = other {
            let loser = if self.prefer_new(now, other, dialled, instance) {
                other
            } else {
                id
            };
            self.close_session(now, loser, CloseReason::Duplicate);
        }
        self.pump_calls(now, &name);
    }

    /// Of two sessions with one peer, whether the new one is kept. Both sides come to the same
    /// answer: the one that the lower instance dialled; of two dialled by one side, the newer. A
    /// session that was silent for a while may be dead on the other side, and gives way.
    fn prefer_new(&self, now: Now, old: LinkId, new_dialled: bool, peer: Instance) -> bool {
        let Some(old) = self.links.get(&old) else {
            return true;
        };
        if old.dialled == new_dialled || now.at - old.heard > FRESH {
            return true;
        }
        let we_are_lower = self.instance < peer;
        new_dialled == we_are_lower
    }

    /// Other instances of the name give way, or are asked to show that they live. Whether a program
    /// knew one of them.
    fn supersede(&mut self, now: Now, instance: Instance, name: &NodeName) -> bool {
        let mut known = false;
        for other in self.directory.instances(name).to_vec() {
            if other == instance {
                continue;
            }
            let Some(peer) = self.directory.get_mut(&other) else {
                continue;
            };
            if peer.sessions.is_empty() {
                known |= self.drop_replaced(other);
                continue;
            }
            known |= std::mem::take(&mut peer.joined);
            peer.suspect = true;
            for link in peer.sessions.clone() {
                self.send_ping(now, link);
                if let Some(link) = self.links.get_mut(&link) {
                    link.challenge = Some(now.at + CHALLENGE);
                }
            }
            self.links_due = self.links_due.min(now.at + CHALLENGE);
        }
        known
    }

    /// Closes the session unused for the longest while there are more than the limit.
    fn evict_sessions(&mut self, now: Now, newest: LinkId) {
        if self.open_sessions() <= self.config.limits.sessions {
            return;
        }
        let idle = self.links.iter().filter_map(|(id, l)| match &l.state {
            State::Open(s) if *id != newest => Some((s.used, *id)),
            _ => None,
        });
        if let Some((_, id)) = idle.min() {
            self.stats.sessions_evicted += 1;
            self.close_session(now, id, CloseReason::Idle);
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

    /// The first record under the session's keys: the asker holds them.
    fn prove(&mut self, now: Now, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.state = match std::mem::replace(&mut link.state, State::Listening) {
                State::Answered(session) => State::Open(session),
                other => other,
            };
            self.links_due = self.links_due.min(now.at + self.config.limits.keepalive);
        }
        self.session_up(now, id);
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
        let last = self
            .links
            .get(&id)
            .map(|l| l.pending().to_vec())
            .unwrap_or_default();
        self.close_quietly(now, id, last);
    }

    fn close_quietly(&mut self, now: Now, id: LinkId, last: Vec<u8>) {
        if self.links.contains_key(&id) {
            self.outputs.push_back(Output::Close(id, last));
            self.ended(now, id);
        }
    }

    fn refuse(&mut self, now: Now, id: LinkId, why: Refuse) {
        match why {
            Refuse::Frame => self.stats.refused_frame += 1,
            Refuse::Token => self.stats.refused_token += 1,
            Refuse::Hello => self.stats.refused_hello += 1,
            Refuse::Record => self.stats.refused_record += 1,
        }
        // One word for every reason: which it was would be an oracle.
        let mut last = self
            .links
            .get(&id)
            .map(|l| l.pending().to_vec())
            .unwrap_or_default();
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

    fn send_ping(&mut self, now: Now, id: LinkId) {
        let mut nonce = [0; PING_TEXT / 4 * 3];
        self.entropy.fill(&mut nonce);
        let mut text = [0; PING_TEXT];
        if URL_SAFE.encode_slice(nonce, &mut text) != Ok(PING_TEXT) {
            return;
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.ping = Some(text);
            self.send_plain(now, id, &text);
        }
    }

    fn send_plain(&mut self, now: Now, id: LinkId, payload: &[u8]) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let was_empty = link.pending().is_empty();
        frame::encode_with(
            self.config.network.as_str(),
            FrameType::PING,
            &mut link.output,
            |out| {
                out.extend_from_slice(payload);
            },
        );
        self.queued(now, id, was_empty);
    }

    fn ping(&mut self, now: Now, id: LinkId, payload: &[u8]) {
        let queue = self.config.limits.link_queue;
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let full = link.pending().len() >= queue;
        let echo = link.ping.as_ref().is_some_and(|p| p == payload);
        let Some(session) = link.open_session() else {
            return self.refuse(now, id, Refuse::Frame);
        };
        if echo {
            let peer = session.peer;
            link.ping = None;
            if link.challenge.take().is_some()
                && let Some(peer) = self.directory.get_mut(&peer)
            {
                // Both instances live: a conflict of names, which `resolve` decides.
                peer.suspect = false;
                peer.joined = true;
            }
        } else if payload.len() != PING_TEXT || full {
            self.refuse(now, id, Refuse::Frame);
        } else {
            self.send_plain(now, id, payload);
        }
    }

    /// Looks at every link: who is late, silent, or does not read.
    pub(super) fn tick_links(&mut self, now: Now) {
        self.links_due = Time::NEVER;
        let limits = &self.config.limits;
        let (handshake, keepalive, dead, frame) = (
            limits.handshake,
            limits.keepalive,
            limits.dead,
            limits.frame,
        );
        let (mut late, mut silent, mut ask) = (Vec::new(), Vec::new(), Vec::new());
        let mut due = Time::NEVER;
        for (id, link) in self.links.iter() {
            if !matches!(link.state, State::Open(_)) {
                let limit = link.opened + handshake;
                if now.at >= limit {
                    late.push(*id);
                } else {
                    due = due.min(limit);
                }
                continue;
            }
            let mut limit = link.heard + dead;
            if !link.pending().is_empty() {
                limit = limit.min(link.progress + dead);
            }
            if let Some(since) = link.unfinished {
                limit = limit.min(since + frame);
            }
            if let Some(challenge) = link.challenge {
                limit = limit.min(challenge);
            }
            if now.at >= limit {
                silent.push(*id);
                continue;
            }
            due = due.min(limit);
            if link.ping.is_none() {
                let when = link.heard + keepalive;
                if now.at >= when {
                    ask.push(*id);
                } else {
                    due = due.min(when);
                }
            }
        }
        self.links_due = due;
        for id in late {
            self.stats.timed_out_handshake += 1;
            self.close_quietly(now, id, Vec::new());
        }
        for id in silent {
            self.stats.timed_out_silent += 1;
            self.close_quietly(now, id, Vec::new());
        }
        for id in ask {
            self.send_ping(now, id);
        }
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
