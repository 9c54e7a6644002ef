//! The handshake, and what a finished one means: who is reachable, which of two sessions is kept,
//! and who gives way to a new instance of a name.

use super::directory::Peer;
use super::links::{Refuse, State, Via};
use super::session::{Party, Session};
use super::{Engine, Event, LinkId, Now, Phase};
use crate::fernet::Sealer;
use crate::name::NodeName;
use crate::reach::{self, Word};
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

    fn fresh_hello(&mut self, role: Role, meant: Option<NodeName>) -> Hello {
        let mut nonce = [0; 32];
        self.core.entropy.fill(&mut nonce);
        Hello {
            role,
            probing: matches!(self.phase, Phase::Probing { .. }),
            instance: self.core.instance,
            nonce,
            port: self.core.config.port,
            name: self.core.config.name.clone(),
            meant,
        }
    }

    pub(super) fn connected(&mut self, now: Now, id: LinkId) {
        let target = match self.links.get(&id).map(|l| &l.state) {
            Some(State::Dialing(target)) => target.clone(),
            Some(State::Relay(_)) => return self.relay_connected(now, id),
            _ => return,
        };
        let meant = target.as_ref().map(|t| t.name.clone());
        let hello = self.fresh_hello(Role::Ask, meant);
        self.send_hello(now, id, &hello, self.core.config.keys.first());
        if let Some(link) = self.links.get_mut(&id) {
            link.state = State::Asked(target, Box::new(hello));
        }
    }

    pub(super) fn hello(&mut self, now: Now, id: LinkId, token: &[u8]) {
        let mut buf = std::mem::take(&mut self.opened);
        let opened = self
            .core
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
        let meant = hello.meant.as_ref();
        if meant.is_some_and(|m| *m != self.core.config.name)
            || hello.instance == self.core.instance
        {
            return self.refuse(now, id, Refuse::Hello);
        }
        let id = match hello.role {
            Role::Ask => match self.make_way(now, id, hello.instance) {
                Some(id) => id,
                None => return,
            },
            Role::Answer(_) => id,
        };
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
                let answer = self.fresh_hello(Role::Answer(hello.nonce), Some(hello.name.clone()));
                self.send_hello(now, id, &answer, key);
                let (asker, answerer) =
                    session_keys(self.core.config.keys.key(key), &hello, &answer);
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
                if nonce == ask.nonce && target.as_ref().is_none_or(|t| t.name == hello.name) =>
            {
                let (asker, answerer) = session_keys(self.core.config.keys.key(key), ask, &hello);
                let dialled = target.as_ref().map_or(hello.instance, |t| t.instance);
                let took = now.at - link.opened;
                if matches!(link.via, Via::Relay(..)) && self.is_detour(now, dialled, took) {
                    return self.close_quietly(now, id, Vec::new());
                }
                let session = Session::new(
                    party,
                    true,
                    Sealer::new(&asker),
                    Sealer::new(&answerer),
                    now.at,
                );
                if let Some(link) = self.links.get_mut(&id) {
                    link.state = State::Open(Box::new(session));
                    link.measured(now.at, took);
                }
                // Proves our keys to the other side, which says nothing until then.
                self.send_record(now, id, |sequence, out| encode_notice(sequence, &[], out));
                if let Some(peer) = self.directory.get_mut(&dialled) {
                    // Whoever answered: if it is another instance, it takes this one's place.
                    peer.dial.link = peer.dial.link.filter(|l| *l != id);
                    peer.route_dial.links.retain(|l| *l != id);
                }
                self.directory.wake_at(now.at);
                self.session_up(now, id);
            }
            _ => self.refuse(now, id, Refuse::Hello),
        }
    }

    /// There is one link to a peer on a route through a relay, where over sockets there would be two when
    /// both ask at once, or when one asks anew. The link that is to answer, if this side is to.
    fn make_way(&mut self, now: Now, id: LinkId, asker: Instance) -> Option<LinkId> {
        let link = self.links.get_mut(&id)?;
        let Via::Relay(carrier, route) = link.via else {
            return Some(id);
        };
        match &link.state {
            // Both asked: the lower instance's question stands.
            State::Asked(Some(target), _) if self.core.instance > asker => {
                let target = target.instance;
                link.state = State::Listening;
                link.dialled = false;
                if let Some(peer) = self.directory.get_mut(&target) {
                    peer.route_dial.links.retain(|l| *l != id);
                }
                Some(id)
            }
            State::Asked(..) => None,
            State::Open(_) | State::Answered(_) => self.accept_route(now, carrier, route),
            _ => Some(id),
        }
    }

    /// An instance whose place another of its name has taken; whether a program knew it.
    pub(super) fn drop_replaced(&mut self, now: Now, instance: Instance) -> bool {
        let Some(peer) = self.directory.remove(&instance) else {
            return false;
        };
        self.fail_bound_calls(now, instance, &peer.name, true);
        self.fail_streams_of(now, instance);
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
        let address = match link.via {
            Via::Socket(address) if dialled => Some(address),
            Via::Socket(address) => Some(SocketAddr::new(address.ip(), session.port)),
            Via::Relay(..) | Via::Name => None,
        };
        let direct = address.is_some();
        if let Some(address) = address {
            self.advertiser.heard.know(now.at, address.ip());
        }
        if let Via::Relay(carrier, route) = link.via {
            self.routes.proved(carrier, route);
        }
        self.core.stats.sessions += 1;
        if self.is_own_name(&name) {
            self.same_name(now, instance, probing);
            self.seed_failed(now, id);
            return self.close_session(now, id, CloseReason::NameConflict);
        }
        let known = self.directory.get(&instance);
        let other_name = known.is_some_and(|p| p.name != name);
        let has_left = known.is_some_and(|p| p.left);
        if other_name || has_left {
            // A seed whose session is closed at once is dialled again.
            self.seed_failed(now, id);
        }
        if other_name {
            return self.refuse(now, id, Refuse::Hello);
        }
        if has_left {
            // It has left while this handshake was under way.
            return self.cut(now, id);
        }
        if self.directory.get(&instance).is_none() {
            if self.directory.len() >= self.core.config.limits.peers {
                self.make_room();
            }
            let interval = self.core.config.interval;
            self.directory.insert(
                instance,
                Peer::new(name.clone(), interval, self.expiry(now, interval)),
            );
        }
        self.evict_sessions(now, id);

        let max = self.core.config.limits.addresses_per_peer;
        let Some(peer) = self.directory.get_mut(&instance) else {
            return;
        };
        if let Some(address) = address {
            if dialled {
                peer.prefer_address(address, max);
            } else if peer.addresses.is_empty()
                && reach::may_dial(address, Word::From(address.ip()))
            {
                peer.learn_address(address, max);
            }
            peer.dial.at = None;
            peer.dial.next = 0;
            peer.dial.failures = 0;
        }
        peer.suspect = false;
        // The first of those that were tried at once was the shortest way.
        let others = std::mem::take(&mut peer.route_dial).links;
        peer.sessions.push(id);
        let other = peer.sessions.iter().copied().find(|l| *l != id);
        let news = !std::mem::replace(&mut peer.joined, true);

        for other in others {
            self.cut(now, other);
        }
        let restarted = self.supersede(now, instance, &name);
        let told = self.met_natively(&name);
        if restarted {
            self.event(Event::PeerRestarted(name.clone()));
        } else if news && !told {
            self.event(Event::PeerJoined(name.clone()));
        }
        if let Some(other) = other {
            let loser = if self.prefer_new(now, other, (dialled, direct), instance) {
                other
            } else {
                id
            };
            self.close_session(now, loser, CloseReason::Duplicate);
        }
        self.update_path(instance);
        self.plan_direct(now, instance);
        self.plan_comparison(now, instance);
        self.mesh_session_up(now, id, instance);
        self.answers_go_on(now, instance);
        self.pump_calls(now, &name);
    }

    /// Of two sessions with one peer, whether the new one is kept. Both sides come to the same
    /// answer: the direct one; else the one that the lower instance dialled; of two dialled by one side,
    /// the newer. A session that was silent for a while may be dead on the other side, and gives way.
    fn prefer_new(
        &self,
        now: Now,
        old: LinkId,
        (new_dialled, new_direct): (bool, bool),
        peer: Instance,
    ) -> bool {
        let Some(old) = self.links.get(&old) else {
            return true;
        };
        if now.at - old.heard > FRESH {
            return true;
        }
        if old.is_relayed() == new_direct {
            return new_direct;
        }
        if old.dialled == new_dialled {
            return true;
        }
        let we_are_lower = self.core.instance < peer;
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
                known |= self.drop_replaced(now, other);
                continue;
            }
            known |= std::mem::take(&mut peer.joined);
            peer.suspect = true;
            self.challenge(now, other);
        }
        known
    }

    /// Has a peer show that it lives, or else its sessions are closed.
    pub(super) fn challenge(&mut self, now: Now, instance: Instance) {
        let sessions = self.directory.get(&instance).map(|p| p.sessions.clone());
        for link in sessions.into_iter().flatten() {
            self.send_ping(now, link);
            if let Some(link) = self.links.get_mut(&link) {
                link.challenge = Some(now.at + CHALLENGE);
            }
        }
        self.links_due = self.links_due.min(now.at + CHALLENGE);
    }

    /// Closes the session unused for the longest while there are more than the limit.
    fn evict_sessions(&mut self, now: Now, newest: LinkId) {
        if self.open_sessions() <= self.core.config.limits.sessions {
            return;
        }
        let idle = self.links.iter().filter_map(|(id, l)| match &l.state {
            State::Open(s) if *id != newest => Some((s.used, *id)),
            _ => None,
        });
        if let Some((_, id)) = idle.min() {
            self.core.stats.sessions_evicted += 1;
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
            self.links_due = self
                .links_due
                .min(now.at + self.core.config.limits.keepalive);
        }
        self.session_up(now, id);
        if self.session(id).is_some() {
            // The side that asked has measured the way by now.
            self.send_ping(now, id);
        }
    }
}
