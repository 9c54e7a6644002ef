//! Dials: the directory says which peers are to be dialled, the dialler how many, and the links do
//! it.

use super::{Ctx, Network, Wanted};
use crate::engine::links::Target;
use crate::engine::peers::{COMPARE, Due, Peer, SLOT_WAIT};
use crate::engine::{LinkId, Time};
use crate::name::NodeName;
use crate::wire::Instance;
use crate::wire::relay::Route;

impl Network {
    /// Takes a slot for a dial that begins now, within the bounds on how many and how fast. Says
    /// whether there was one.
    pub(super) fn take_dial_slot(&mut self, ctx: &Ctx<'_>) -> bool {
        self.dialler.take_slot(ctx, self.links.dialling())
    }

    /// Looks at every peer: which are gone, and which are to be dialled. Once those that are gone
    /// are dropped, [`Network::dial_peers`] is to follow.
    pub(crate) fn take_due_peers(&mut self, now: Time) -> Due {
        self.directory.take_due(now)
    }

    /// Dials the peers that are to be dialled.
    pub(crate) fn dial_peers(&mut self, ctx: &mut Ctx<'_>, due: Due, wanted: Wanted<'_>) {
        // Those without a slot wait for one to be free, or for the next second's allowance.
        let mut again = ctx.now.at;
        for instance in due.straight {
            if !self.take_dial_slot(ctx) {
                again = ctx.now.at + SLOT_WAIT;
                break;
            }
            self.dial_peer(ctx, instance, wanted);
        }
        for instance in due.routed {
            if !self.take_dial_slot(ctx) {
                again = ctx.now.at + SLOT_WAIT;
                break;
            }
            self.dial_routes(ctx, instance, wanted);
        }
        for instance in due.compared {
            self.compare_routes(ctx, instance);
        }
        self.directory.plan_next(ctx.now.at, again);
    }

    /// Dials a known peer, at the next of its addresses.
    fn dial_peer(&mut self, ctx: &mut Ctx<'_>, instance: Instance, wanted: Wanted<'_>) {
        let peer = self.directory.get(&instance);
        let peer = peer.filter(|peer| self.has_room_for(ctx, peer, wanted));
        let link = peer
            .zip(self.directory.next_address(&instance))
            .map(|(peer, address)| {
                let name = peer.name().clone();
                let target = Some(Target { instance, name });
                self.links.dial(ctx, target, address)
            });
        self.directory.note_dial(&instance, link);
    }

    /// Dials a known peer at every relay where it is.
    fn dial_routes(&mut self, ctx: &mut Ctx<'_>, instance: Instance, wanted: Wanted<'_>) {
        let routes = self.directory.take_routes(ctx.now.at, &instance);
        let peer = self.directory.get(&instance);
        if peer.is_some_and(|peer| self.has_room_for(ctx, peer, wanted)) {
            // The first was allowed already.
            self.dial_over(ctx, instance, routes, true);
        }
    }

    /// Dials a peer over each of these routes, as far as the bounds on dials allow; one more is, if
    /// `allowed`.
    fn dial_over(
        &mut self,
        ctx: &mut Ctx<'_>,
        instance: Instance,
        routes: Vec<(LinkId, Route)>,
        mut allowed: bool,
    ) {
        let Some(name) = self.directory.get(&instance).map(|p| p.name().clone()) else {
            return;
        };
        for place in routes {
            let name = name.clone();
            if (std::mem::take(&mut allowed) || self.take_dial_slot(ctx))
                && let Some(id) = self.dial_route(ctx, Target { instance, name }, place)
            {
                self.directory.note_route_dial(&instance, id);
            }
        }
    }

    pub(super) fn dial_route(
        &mut self,
        ctx: &mut Ctx<'_>,
        target: Target,
        place: (LinkId, Route),
    ) -> Option<LinkId> {
        self.links.dial_route(ctx, target, place)
    }

    /// A session through a relay is compared with the other relays while it is used.
    pub(super) fn plan_comparison(&mut self, ctx: &mut Ctx<'_>, instance: Instance) {
        let best = self.best_session(instance);
        let compares = best.is_some_and(|id| self.links.is_dialled_through_relay(id));
        self.directory.plan_comparison(ctx, &instance, compares);
    }

    /// Measures the relay that is used, and dials through the others.
    fn compare_routes(&mut self, ctx: &mut Ctx<'_>, instance: Instance) {
        self.plan_comparison(ctx, instance);
        let Some(id) = self.best_session(instance) else {
            return;
        };
        let used = self.session(id).map_or(Time::default(), |s| s.used_at());
        if ctx.now.at - used > COMPARE {
            return;
        }
        let others = self.directory.other_routes(&instance, self.links.way(id));
        if others.is_empty() {
            return;
        }
        if !self.links.awaits_echo(id) {
            self.send_ping(ctx, id);
        }
        self.dial_over(ctx, instance, others, false);
    }

    /// Whether there is room for one more session with this peer. At the limit of sessions only a
    /// peer that a call waits for is dialled. For a peer that is known only by hearsay the limit is
    /// lower, and dials under way count, since many such peers are learnt at once.
    fn has_room_for(&self, ctx: &Ctx<'_>, peer: &Peer, wanted: Wanted<'_>) -> bool {
        let limits = &ctx.config.limits;
        let sessions = self.links.open_sessions();
        let has_room = match peer.is_hearsay() {
            false => sessions < limits.sessions,
            true => sessions + self.links.dialling() < limits.max_peers.min(limits.sessions),
        };
        has_room || wanted(peer.name())
    }

    /// A dial was in vain.
    pub(super) fn dial_failed(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        target: &Target,
        relayed: bool,
    ) {
        let instance = target.instance;
        if ctx.is_own_name(&target.name) {
            return self.name_claims.unresolved(&instance);
        }
        match relayed {
            true => self.directory.route_dial_failed(ctx, instance, id),
            false => self.directory.dial_failed(ctx, instance),
        }
    }

    /// A call wants this peer: dials it without waiting for the other side to do it.
    pub(crate) fn want_dial(&mut self, ctx: &Ctx<'_>, instance: Instance) {
        self.directory.want_dial(ctx, &instance);
    }

    /// A call waits for a peer of this name, which is not known.
    pub(crate) fn seek(&mut self, ctx: &Ctx<'_>, name: &NodeName) {
        self.mesh.seek(ctx.now.at, name);
    }
}
