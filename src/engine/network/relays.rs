//! Relays: they are dialled, told of us, and lost with all that went through them.

use crate::engine::relays::Lost;
use crate::engine::{Engine, LinkId, Now, Phase, RelayFault};
use crate::wire::relay::Route;

impl Engine {
    /// Whether a link is one that [`Output::DialRelay`](crate::engine::Output::DialRelay) asked
    /// for, and if so, whether the relay was learnt from others: then it must not be on this host.
    pub fn dials_relay(&self, link: LinkId) -> Option<bool> {
        self.relays.is_learnt(link)
    }

    /// Dials relays whose time it is, and tells those that are up what is new.
    pub(in crate::engine) fn tick_relays(&mut self, now: Now) {
        let ctx = &mut self.core.at(now);
        for address in self.relays.take_due(ctx) {
            let id = self.links.dial_relay(ctx, address.clone());
            self.relays.dials(&address, id);
        }
        self.relays.rename(now.at);
        let untold = self.links.untold_relays(self.relays.news());
        if !untold.is_empty() {
            self.tell_relays(now, untold, self.phase.advertised());
        }
    }

    pub(in crate::engine) fn unresolved(&mut self, now: Now, id: LinkId) {
        self.links.note_fault(id, RelayFault::Unresolved);
        self.ended(now, id);
    }

    /// Ends the link to a relay, and says why.
    pub(super) fn give_up_relay(&mut self, now: Now, id: LinkId, fault: RelayFault) {
        self.links.note_fault(id, fault);
        self.close_quietly(now, id, Vec::new());
    }

    pub(super) fn relay_joined(&mut self, now: Now, id: LinkId) {
        self.relays.up(&mut self.core.at(now), id);
        // How far it is.
        self.send_ping(now, id);
    }

    /// The link to a relay is over, and with it all that went through it.
    pub(super) fn relay_lost(&mut self, now: Now, id: LinkId, lost: Lost) {
        for link in self.links.links_over(id) {
            self.ended(now, link);
        }
        self.links.forget_routes(id);
        for instance in self.directory.forget_routes(id, None) {
            self.directory.route_lost(now.at, &instance);
        }
        if self.phase != Phase::Stopped {
            self.relays.lost(&mut self.core.at(now), id, lost);
        }
    }

    /// A relay has handed us our own advert: it is one that we are linked to already, under another
    /// name. If we only learnt that name, we can do without.
    pub(super) fn met_ourselves(&mut self, now: Now, id: LinkId) {
        if self.relays.is_learnt(id) != Some(true) {
            return;
        }
        let Some(address) = self.relays.address(id).cloned() else {
            return;
        };
        // The end of the link is an event of the relay's, as long as that is known.
        self.close_quietly(now, id, Vec::new());
        self.relays.drop_alias(&self.core.at(now), &address);
    }

    /// The relay says that a route leads nowhere.
    pub(super) fn route_gone(&mut self, now: Now, carrier: LinkId, route: Route) {
        let link = self.links.forget_route(carrier, route);
        let lost = self.directory.forget_routes(carrier, Some(route));
        if let Some(id) = link {
            self.ended(now, id);
        }
        for instance in lost {
            self.directory.route_lost(now.at, &instance);
        }
    }
}
