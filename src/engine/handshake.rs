//! The handshake, and what a finished one means: who is reachable, which of two sessions is kept,
//! and who gives way to a new instance of a name.

use super::directory::Peer;
use super::links::{Refuse, State, Target};
use super::session::{Party, Session};
use super::{Engine, Event, LinkId, Now, Phase};
use crate::fernet::{KeyIndex, Sealer};
use crate::frame::{self, FrameType};
use crate::name::NodeName;
use crate::wire::Instance;
use crate::wire::hello::{Hello, Role, session_keys};
use crate::wire::record::{CloseReason, encode_notice};
use std::net::SocketAddr;
use std::time::Duration;

/// How long an instance has to show that it lives when another has proved to go by its name.
const CHALLENGE: Duration = Duration::from_secs(1);
/// A session heard this recently is not stale: of two, the rule of instances decides.
const FRESH: Duration = Duration::from_secs(2);

impl Engine {
    pub(super) fn open_sessions(&self) -> usize {
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

    fn send_hello(&mut self, now: Now, id: LinkId, hello: &Hello, key: KeyIndex) {
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

    pub(super) fn hello(&mut self, now: Now, id: LinkId, token: &[u8]) {
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
    pub(super) fn drop_replaced(&mut self, instance: Instance) -> bool {
        let Some(peer) = self.directory.remove(&instance) else {
            return false;
        };
        self.fail_bound_calls(instance, &peer.name, true);
        peer.joined
    }

    /// A session is proved from both sides.
    pub(super) fn session_up(&mut self, now: Now, id: LinkId) {
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

    /// The first record under the session's keys: the asker holds them.
    pub(super) fn prove(&mut self, now: Now, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.state = match std::mem::replace(&mut link.state, State::Listening) {
                State::Answered(session) => State::Open(session),
                other => other,
            };
            self.links_due = self.links_due.min(now.at + self.config.limits.keepalive);
        }
        self.session_up(now, id);
    }
}
