//! When to reach whom, and how: straight first, then through relays, never more or faster than the
//! bounds on dials allow.
//!
//! Each peer has a plan for its addresses and one for its routes. Through relays all routes are tried at
//! once and the first to be answered is kept: that is the shortest round trip, measured. While a peer is
//! reached through a relay the direct path is still tried, now and then.

use super::directory::{Path, Peer};
use super::links::{Link, State, Target, Via};
use super::{Engine, Event, LinkId, Now, Output, Phase, Time};
use crate::name::NodeName;
use crate::wire::Instance;
use crate::wire::relay::Route;
use std::net::SocketAddr;
use std::time::Duration;

/// How soon to look again for a slot to dial in; a dial that ends makes it sooner.
const SLOT_WAIT: Duration = Duration::from_millis(100);
/// How much longer than the lower instance the higher one waits before it dials, so that usually
/// only one of the two does, and each does where only one hears the other.
pub(super) const YIELD: Duration = Duration::from_secs(1);
/// How often the relay that is used is compared with the others, while it is used.
const COMPARE: Duration = Duration::from_secs(30);

impl Engine {
    /// Whether a dial may begin now, within the bounds on how many and how fast.
    pub(super) fn may_dial(&mut self, now: Now) -> bool {
        let limits = &self.core.config.limits;
        let under_way = self.links.values().filter(|l| l.is_dialling()).count();
        under_way < limits.dials && self.dial_rate.take(now.at, limits.dials_per_second)
    }

    pub(super) fn dial(
        &mut self,
        now: Now,
        instance: Instance,
        name: NodeName,
        to: SocketAddr,
    ) -> LinkId {
        let state = State::Dialing(Some(Target { instance, name }));
        let id = self.add_link(now, Link::new(state, true, Via::Socket(to), now.at));
        self.core.stats.dials += 1;
        self.core.outputs.push_back(Output::Dial(id, to));
        id
    }

    /// Dials whoever is at an address.
    pub(super) fn dial_address(&mut self, now: Now, to: SocketAddr) -> LinkId {
        let link = Link::new(State::Dialing(None), true, Via::Socket(to), now.at);
        let id = self.add_link(now, link);
        self.core.stats.dials += 1;
        self.core.outputs.push_back(Output::Dial(id, to));
        id
    }

    /// Dials a known peer, at the next of its addresses.
    fn dial_peer(&mut self, now: Now, instance: Instance) {
        let Some(peer) = self.directory.get(&instance) else {
            return;
        };
        let (name, next) = (peer.name.clone(), peer.dial.next);
        let address = peer
            .addresses
            .get(next % peer.addresses.len().max(1))
            .copied();
        let link = match address {
            Some(address) if self.has_room_for(peer) => {
                Some(self.dial(now, instance, name, address))
            }
            _ => None,
        };
        if let Some(peer) = self.directory.get_mut(&instance) {
            peer.dial.at = None;
            peer.dial.link = link;
        }
    }

    /// Dials a known peer at every relay where it is, but not through one that alters what it carries as
    /// long as there is another.
    fn dial_routes(&mut self, now: Now, instance: Instance) {
        let Some(peer) = self.directory.get_mut(&instance) else {
            return;
        };
        peer.route_dial.at = None;
        peer.spoilt.retain(|_, until| *until > now.at);
        let (name, mut routes) = (peer.name.clone(), peer.routes.clone());
        if routes
            .iter()
            .any(|(over, _)| !peer.spoilt.contains_key(over))
        {
            routes.retain(|(over, _)| !peer.spoilt.contains_key(over));
        }
        if self
            .directory
            .get(&instance)
            .is_none_or(|p| !self.has_room_for(p))
        {
            return;
        }
        // The first was allowed already.
        self.dial_over(now, instance, &name, routes, true);
    }

    /// Dials a peer over each of these routes, as far as the bounds on dials allow; one more is, if
    /// `allowed`.
    fn dial_over(
        &mut self,
        now: Now,
        instance: Instance,
        name: &NodeName,
        routes: Vec<(LinkId, Route)>,
        mut allowed: bool,
    ) {
        for (carrier, route) in routes {
            let target = Target {
                instance,
                name: name.clone(),
            };
            if (std::mem::take(&mut allowed) || self.may_dial(now))
                && let Some(id) = self.dial_route(now, target, carrier, route)
                && let Some(peer) = self.directory.get_mut(&instance)
            {
                peer.route_dial.links.push(id);
            }
        }
    }

    /// A session through a relay is there: it is compared with the other relays while it is used, by the
    /// side that dialled it, since of two of its sessions the newer is kept.
    pub(super) fn plan_comparison(&mut self, now: Now, instance: Instance) {
        let best = self.best_session(instance);
        let compares = best
            .and_then(|id| self.links.get(&id))
            .is_some_and(|l| l.is_relayed() && l.dialled);
        let at = compares.then(|| now.at + self.core.entropy.jitter(COMPARE));
        if let Some(peer) = self.directory.get_mut(&instance) {
            peer.route_dial.compare = at;
            self.directory.wake_at(at.unwrap_or(Time::NEVER));
        }
    }

    /// Measures the relay that is used, and dials through the others.
    fn compare_routes(&mut self, now: Now, instance: Instance) {
        self.plan_comparison(now, instance);
        let Some(id) = self.best_session(instance) else {
            return;
        };
        let used = self.session(id).map_or(Time::default(), |s| s.used);
        let over = self.links.get(&id).map(|l| l.via);
        if now.at - used > COMPARE {
            return;
        }
        let Some(peer) = self.directory.get_mut(&instance) else {
            return;
        };
        let name = peer.name.clone();
        let others: Vec<_> = peer
            .routes
            .iter()
            .filter(|(carrier, route)| {
                over != Some(Via::Relay(*carrier, *route)) && !peer.spoilt.contains_key(carrier)
            })
            .copied()
            .collect();
        if others.is_empty() || !peer.route_dial.links.is_empty() {
            return;
        }
        if self.links.get(&id).is_some_and(|l| l.ping.is_none()) {
            self.send_ping(now, id);
        }
        self.dial_over(now, instance, &name, others, false);
    }

    /// Whether a way that answered after `took` is no shorter than the one that is used.
    pub(super) fn is_detour(&self, now: Now, instance: Instance, took: Duration) -> bool {
        let used = self
            .best_session(instance)
            .and_then(|id| self.links.get(&id));
        used.is_some_and(|used| {
            // It may be longer by now than it was when it was last measured.
            let waited = used.ping.map_or(Duration::ZERO, |(_, sent)| now.at - sent);
            let round_trip = used.round_trip.unwrap_or_default().max(waited);
            // What is only a little shorter is not worth the change.
            used.is_relayed() && took * 5 / 4 >= round_trip
        })
    }

    /// A full house dials only for those who wait; for who is known from a peer's word alone it is full
    /// sooner, and what is under way counts, since many are told of at once.
    fn has_room_for(&self, peer: &Peer) -> bool {
        let limits = &self.core.config.limits;
        let has_room = match peer.is_hearsay() {
            false => self.open_sessions() < limits.sessions,
            true => {
                let under_way = self.links.values().filter(|l| l.is_dialling());
                let sessions = self.open_sessions() + under_way.count();
                sessions < limits.max_peers.min(limits.sessions)
            }
        };
        has_room || self.calls.waits_for(&peer.name)
    }

    /// A dial of an address was in vain.
    pub(super) fn dial_failed(&mut self, now: Now, target: &Target) {
        if self.is_own_name(&target.name) {
            return self.claim_unresolved(&target.instance);
        }
        let Some(peer) = self.directory.get_mut(&target.instance) else {
            return;
        };
        peer.dial.link = None;
        peer.dial.next += 1;
        if peer.path == Some(Path::Direct) {
            return;
        }
        // Every address once, then a pause.
        let round = peer.dial.next.is_multiple_of(peer.addresses.len().max(1));
        peer.dial.failures += u32::from(round);
        let (failures, relayed) = (peer.dial.failures, !peer.sessions.is_empty());
        let at = match (round, relayed) {
            (false, _) => now.at,
            (true, false) => now.at + self.redial_pause(failures, target.instance),
            (true, true) => now.at + self.redial_direct_pause(failures),
        };
        if let Some(peer) = self.directory.get_mut(&target.instance) {
            peer.dial.at = Some(at);
        }
        self.directory.wake_at(at);
    }

    /// A dial through a relay was in vain.
    pub(super) fn route_dial_failed(&mut self, now: Now, id: LinkId, target: &Target) {
        if self.is_own_name(&target.name) {
            return self.claim_unresolved(&target.instance);
        }
        let Some(peer) = self.directory.get_mut(&target.instance) else {
            return;
        };
        peer.route_dial.links.retain(|l| *l != id);
        if !peer.wants_route() || !peer.route_dial.links.is_empty() {
            return;
        }
        peer.route_dial.failures += 1;
        let failures = peer.route_dial.failures;
        let at = now.at + self.redial_pause(failures, target.instance);
        if let Some(peer) = self.directory.get_mut(&target.instance) {
            peer.route_dial.at = Some(at);
        }
        self.directory.wake_at(at);
    }

    /// A session with a peer is over, or a path to it is new: plans what is to be dialled now.
    pub(super) fn plan_redial(&mut self, now: Now, instance: Instance) {
        let Some(peer) = self.directory.get(&instance) else {
            return;
        };
        let (reachable, interval) = (!peer.sessions.is_empty(), peer.interval);
        let expires = self.expiry(now, interval);
        let pause = if reachable {
            self.redial_direct_pause(0)
        } else {
            self.redial_pause(0, instance)
        };
        let at = now.at + pause;
        let Some(peer) = self.directory.get_mut(&instance) else {
            return;
        };
        if peer.path != Some(Path::Direct) || !reachable {
            peer.dial.at = Some(at);
        }
        if !reachable {
            peer.expires = peer.expires.max(expires);
            peer.route_dial.at = Some(at);
        }
        self.directory.wake_at(at.min(expires));
    }

    /// A session with a peer is there: if it goes through a relay, the direct path is still looked for.
    pub(super) fn plan_direct(&mut self, now: Now, instance: Instance) {
        let at = now.at + self.redial_direct_pause(0);
        if let Some(peer) = self.directory.get_mut(&instance)
            && peer.wants_direct()
            && peer.dial.at.is_none()
        {
            peer.dial.at = Some(at);
            self.directory.wake_at(at);
        }
    }

    /// When to dial a peer again that could not be dialled `failures` times.
    fn redial_pause(&mut self, failures: u32, peer: Instance) -> Duration {
        let (first, longest) = self.core.config.limits.redial;
        let pause = first.saturating_mul(1 << failures.min(16)).min(longest);
        let pause = self.core.entropy.jitter(pause);
        if self.core.instance < peer {
            pause
        } else {
            pause + YIELD
        }
    }

    /// The same for the direct path, while one through a relay works.
    fn redial_direct_pause(&mut self, failures: u32) -> Duration {
        let limits = &self.core.config.limits;
        let pause = limits.redial.0.saturating_mul(1 << failures.min(16));
        self.core
            .entropy
            .jitter(pause.min(self.core.config.limits.redial_direct))
    }

    /// A call wants this peer: dial without waiting for the other side to do it.
    pub(super) fn want_dial(&mut self, now: Now, instance: Instance) {
        let direct_first = self.core.config.limits.direct_first;
        let Some(peer) = self.directory.get_mut(&instance) else {
            return;
        };
        if !peer.sessions.is_empty() {
            return;
        }
        let mut due = Time::NEVER;
        if peer.wants_direct() {
            // After failures the pause that is running is kept.
            if peer.dial.failures == 0 || peer.dial.at.is_none() {
                peer.dial.at = Some(now.at);
            }
            due = peer.dial.at.unwrap_or(now.at);
        }
        if peer.wants_route() {
            if peer.route_dial.failures == 0 || peer.route_dial.at.is_none() {
                let tries_direct = !peer.addresses.is_empty() && peer.dial.failures == 0;
                let head_start = if tries_direct {
                    direct_first
                } else {
                    Duration::ZERO
                };
                peer.route_dial.at = Some(now.at + head_start);
            }
            due = due.min(peer.route_dial.at.unwrap_or(now.at));
        }
        self.directory.wake_at(due);
    }

    /// Looks at every peer: who is gone, and who is to be dialled.
    pub(super) fn tick_directory(&mut self, now: Now) {
        self.directory.woken();
        let mut gone = Vec::new();
        let (mut straight, mut routed, mut compared) = (Vec::new(), Vec::new(), Vec::new());
        let due = |at: Option<Time>| at.is_some_and(|at| now.at >= at);
        for (instance, peer) in self.directory.iter_mut() {
            if now.at >= peer.expires && peer.path != Some(Path::Direct) {
                // Not heard on the LAN any more. At a relay it may still be.
                if peer.routes.is_empty() && peer.sessions.is_empty() {
                    gone.push(*instance);
                    continue;
                }
                if peer.dial.link.is_none() {
                    peer.addresses = peer.advertised.into_iter().collect();
                }
            }
            if peer.wants_direct() && due(peer.dial.at) {
                straight.push(*instance);
            }
            if peer.wants_route() && due(peer.route_dial.at) {
                routed.push(*instance);
            }
            if due(peer.route_dial.compare) {
                compared.push(*instance);
            }
        }
        for instance in gone {
            self.drop_peer(now, instance);
        }
        if self.phase != Phase::Running {
            return;
        }
        // Those without a slot wait for one to be free, or for the next second's allowance.
        let mut again = now.at;
        for instance in straight {
            if !self.may_dial(now) {
                again = now.at + SLOT_WAIT;
                break;
            }
            self.dial_peer(now, instance);
        }
        for instance in routed {
            if !self.may_dial(now) {
                again = now.at + SLOT_WAIT;
                break;
            }
            self.dial_routes(now, instance);
        }
        for instance in compared {
            self.compare_routes(now, instance);
        }
        let mut next = Time::NEVER;
        for (_, peer) in self.directory.iter() {
            if peer.sessions.is_empty() && peer.routes.is_empty()
                || now.at < peer.expires && peer.path != Some(Path::Direct)
            {
                next = next.min(peer.expires);
            }
            next = next.min(peer.route_dial.compare.unwrap_or(Time::NEVER));
            if peer.wants_direct()
                && let Some(at) = peer.dial.at
            {
                next = next.min(at.max(again));
            }
            if peer.wants_route()
                && let Some(at) = peer.route_dial.at
            {
                next = next.min(at.max(again));
            }
        }
        self.directory.wake_at(next);
    }

    /// Looks again how a peer is reached, and tells if that has changed.
    pub(super) fn update_path(&mut self, instance: Instance) {
        let best = self.best_session(instance);
        let via = best.and_then(|id| self.links.get(&id)).map(|l| l.via);
        let path = match via {
            Some(Via::Relay(carrier, _)) => self.relays.address(carrier).map(Path::Relay),
            Some(_) => Some(Path::Direct),
            None => None,
        };
        let Some(peer) = self.directory.get_mut(&instance) else {
            return;
        };
        peer.path.clone_from(&path);
        let Some(path) = path else {
            return;
        };
        let before = peer.told.replace(path.clone());
        if before.is_some_and(|before| before != path) {
            let peer = peer.name.clone();
            self.core.stats.paths_changed += 1;
            self.event(Event::PathChanged { peer, path });
        }
    }
}
