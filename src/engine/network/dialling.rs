//! Dials: the directory says which peers are to be dialled, the dialler how many, and the links do
//! it.

use crate::engine::links::Target;
use crate::engine::peers::{COMPARE, Peer, SLOT_WAIT};
use crate::engine::{Engine, LinkId, Now, Phase, Time};
use crate::wire::Instance;
use crate::wire::relay::Route;

impl Engine {
    /// Whether a dial may begin now, within the bounds on how many and how fast.
    pub(super) fn may_dial(&mut self, now: Now) -> bool {
        let ctx = &self.core.at(now);
        self.dialler.may_dial(ctx, self.links.dialling())
    }

    /// Looks at every peer: which are gone, and which are to be dialled.
    pub(in crate::engine) fn tick_directory(&mut self, now: Now) {
        let due = self.directory.take_due(now.at);
        for instance in due.gone {
            self.drop_peer(now, instance);
        }
        if self.phase != Phase::Running {
            return;
        }
        // Those without a slot wait for one to be free, or for the next second's allowance.
        let mut again = now.at;
        for instance in due.straight {
            if !self.may_dial(now) {
                again = now.at + SLOT_WAIT;
                break;
            }
            self.dial_peer(now, instance);
        }
        for instance in due.routed {
            if !self.may_dial(now) {
                again = now.at + SLOT_WAIT;
                break;
            }
            self.dial_routes(now, instance);
        }
        for instance in due.compared {
            self.compare_routes(now, instance);
        }
        self.directory.plan_next(now.at, again);
    }

    /// Dials a known peer, at the next of its addresses.
    fn dial_peer(&mut self, now: Now, instance: Instance) {
        let peer = self.directory.get(&instance);
        let peer = peer.filter(|peer| self.has_room_for(peer));
        let link = peer
            .zip(self.directory.next_address(&instance))
            .map(|(peer, address)| {
                let name = peer.name().clone();
                let target = Some(Target { instance, name });
                self.links.dial(&mut self.core.at(now), target, address)
            });
        self.directory.dials(&instance, link);
    }

    /// Dials a known peer at every relay where it is.
    fn dial_routes(&mut self, now: Now, instance: Instance) {
        let routes = self.directory.take_routes(now.at, &instance);
        let peer = self.directory.get(&instance);
        if peer.is_some_and(|peer| self.has_room_for(peer)) {
            // The first was allowed already.
            self.dial_over(now, instance, routes, true);
        }
    }

    /// Dials a peer over each of these routes, as far as the bounds on dials allow; one more is, if
    /// `allowed`.
    fn dial_over(
        &mut self,
        now: Now,
        instance: Instance,
        routes: Vec<(LinkId, Route)>,
        mut allowed: bool,
    ) {
        let Some(name) = self.directory.get(&instance).map(|p| p.name().clone()) else {
            return;
        };
        for place in routes {
            let name = name.clone();
            if (std::mem::take(&mut allowed) || self.may_dial(now))
                && let Some(id) = self.dial_route(now, Target { instance, name }, place)
            {
                self.directory.dials_route(&instance, id);
            }
        }
    }

    pub(super) fn dial_route(
        &mut self,
        now: Now,
        target: Target,
        place: (LinkId, Route),
    ) -> Option<LinkId> {
        let probing = self.is_probing();
        let ctx = &mut self.core.at(now);
        self.links
            .dial_route(ctx, &mut self.plain, probing, target, place)
    }

    /// A session through a relay is compared with the other relays while it is used.
    pub(super) fn plan_comparison(&mut self, now: Now, instance: Instance) {
        let best = self.best_session(instance);
        let compares = best.is_some_and(|id| self.links.is_dialled_through_relay(id));
        let ctx = &mut self.core.at(now);
        self.directory.plan_comparison(ctx, &instance, compares);
    }

    /// Measures the relay that is used, and dials through the others.
    fn compare_routes(&mut self, now: Now, instance: Instance) {
        self.plan_comparison(now, instance);
        let Some(id) = self.best_session(instance) else {
            return;
        };
        let used = self.session(id).map_or(Time::default(), |s| s.used);
        if now.at - used > COMPARE {
            return;
        }
        let others = self.directory.other_routes(&instance, self.links.way(id));
        if others.is_empty() {
            return;
        }
        if !self.links.awaits_echo(id) {
            self.send_ping(now, id);
        }
        self.dial_over(now, instance, others, false);
    }

    /// A full house dials only for calls that wait; for a peer that is known from another's word
    /// alone it is full sooner, and what is under way counts, since many are told of at once.
    fn has_room_for(&self, peer: &Peer) -> bool {
        let limits = &self.core.config.limits;
        let sessions = self.links.open_sessions();
        let has_room = match peer.is_hearsay() {
            false => sessions < limits.sessions,
            true => sessions + self.links.dialling() < limits.max_peers.min(limits.sessions),
        };
        has_room || self.calls.waits_for(peer.name())
    }

    /// A dial was in vain.
    pub(super) fn dial_failed(&mut self, now: Now, id: LinkId, target: &Target, relayed: bool) {
        let instance = target.instance;
        if self.is_own_name(&target.name) {
            return self.presence.claim_unresolved(&instance);
        }
        let ctx = &mut self.core.at(now);
        match relayed {
            true => self.directory.route_dial_failed(ctx, instance, id),
            false => self.directory.dial_failed(ctx, instance),
        }
    }

    /// A call wants this peer: dials it without waiting for the other side to do it.
    pub(in crate::engine) fn want_dial(&mut self, now: Now, instance: Instance) {
        self.directory.want_dial(&self.core.at(now), &instance);
    }

    /// A call may wait for this peer, which has no session.
    pub(super) fn calls_want_dial(&mut self, now: Now, instance: Instance) {
        let peer = self.directory.get(&instance);
        if peer.is_some_and(|p| self.calls.waits_for(p.name())) {
            self.want_dial(now, instance);
        }
    }
}
