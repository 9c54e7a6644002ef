//! Relays: they are dialled, told of us, and lost with all that went through them.

use super::{AdvertOutcome, Ctx, LinkId, Network, Phase, Time};
use crate::address::RelayAddress;
use crate::engine::relays::Lost;
use crate::wire::Instance;
use crate::wire::relay::Route;

/// A route through a relay that leads nowhere any more.
#[derive(Debug)]
pub(crate) struct RouteGone {
    /// The link that went over it, which is to end. [`Network::routes_lost`] is to follow.
    pub(crate) link: Option<LinkId>,
    /// The peers that are not to be found there any more.
    pub(crate) lost: Vec<Instance>,
}

impl Network {
    /// Whether the relay that a link goes to was learnt from others, if it goes to one.
    pub(crate) fn dials_relay(&self, link: LinkId) -> Option<bool> {
        self.relays.is_learnt(link)
    }

    /// Dials relays whose time it is, and tells those that are up what is new.
    pub(crate) fn tick_relays(&mut self, ctx: &mut Ctx<'_>) {
        for address in self.relays.take_due(ctx) {
            let must_prove = self.relays.has_proved(&address);
            let id = self.links.dial_relay(ctx, address.clone(), must_prove);
            self.relays.note_dial(&address, id);
        }
        self.relays.rename(ctx.now.at);
        let untold = self.links.untold_relays(self.relays.news());
        if !untold.is_empty() {
            self.tell_relays(ctx, untold, ctx.phase.advertised());
        }
    }

    /// The network's keys are others from now on: everyone is told, and relays that were left for
    /// a wrong key are tried.
    pub(crate) fn keys_changed(&mut self, now: Time) {
        self.advertiser.burst(now);
        self.relays.note_news(now);
        self.relays.try_all(now);
    }

    /// A relay has taken us in; it has proved that it has the relay key, or nothing is proven.
    pub(crate) fn relay_joined(&mut self, ctx: &mut Ctx<'_>, id: LinkId, is_proven: bool) {
        self.relays.up(ctx, id, is_proven);
        // How far it is.
        self.send_ping(ctx, id);
    }

    /// The link to a relay has ended, and so has all that went through it.
    pub(crate) fn relay_lost(&mut self, ctx: &mut Ctx<'_>, id: LinkId, lost: Lost) {
        self.links.forget_routes(id);
        let peers = self.directory.forget_routes(id, None);
        self.routes_lost(ctx.now.at, &peers);
        if ctx.phase != Phase::Stopped {
            self.relays.lost(ctx, id, lost);
        }
    }

    /// A relay has handed us our own advert, from this route. If that is where we are ourselves,
    /// the relay is one that we are linked to already, under another name; and if we only learnt
    /// that name, we can do without. Otherwise a stranger has shown our advert as its own.
    pub(super) fn alias(&self, link: LinkId, route: Route) -> Option<AdvertOutcome> {
        if self.relays.is_learnt(link) != Some(true)
            || !self.links.is_own_route_elsewhere(link, route)
        {
            return None;
        }
        let address = self.relays.address(link).cloned()?;
        Some(AdvertOutcome::Alias { link, address })
    }

    /// The link to a relay under a needless name has ended. That end is an event of the relay's, as
    /// long as the name is known.
    pub(crate) fn drop_alias(&mut self, ctx: &Ctx<'_>, address: &RelayAddress) {
        self.relays.drop_alias(ctx, address);
    }

    /// The relay says that a route leads nowhere.
    pub(crate) fn forget_route(&mut self, carrier: LinkId, route: Route) -> RouteGone {
        RouteGone {
            link: self.links.forget_route(carrier, route),
            lost: self.directory.forget_routes(carrier, Some(route)),
        }
    }

    /// Some peers are not at some relay any more.
    pub(crate) fn routes_lost(&mut self, now: Time, peers: &[Instance]) {
        for instance in peers {
            self.directory.route_lost(now, instance);
        }
    }
}
