//! The name probe: a node asks whether its name is taken before it takes part, and looks into what
//! others claim to that name.
//!
//! ```text
//! probing --(nobody claims the name, or no claim is true)--> the node takes part
//!    `-----(another node proves to have the name)----------> the node cannot take part
//! ```
//!
//! While a node probes, its adverts and its hellos say so. A node that has the name answers with an
//! advert, which may be a replay, so it is a claim only: a handshake with the claimant decides. A
//! node that takes part looks into claims as well, since both of two nodes of one name may have
//! taken part while they could not hear each other.

use super::{Ctx, Network, Phase, Proved};
use crate::engine::links::{Met, Target};
use crate::engine::peers::{BURST_GAP, Origin};
use crate::engine::{Event, Time};
use crate::wire::advert::{Advert, Phase as AdvertPhase};
use std::net::SocketAddr;

impl Network {
    /// Until when this node waits to learn whether its name is taken, if it has to. A claim that is
    /// being looked into, or a relay where there may be one, decides first; `last` is when it is
    /// too late for that.
    pub(crate) fn undecided_until(&self, ctx: &Ctx<'_>, last: Time) -> Option<Time> {
        let undecided = self.relays.are_untried() || self.links.is_dialling(&ctx.config.name);
        (undecided && ctx.now.at < last).then(|| (ctx.now.at + BURST_GAP).min(last))
    }

    /// The name is ours: everyone is told, and peers are dialled.
    pub(crate) fn take_part(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now.at;
        self.trust.pin_own(ctx);
        self.advertiser.burst(now);
        self.relays.note_news(now);
        self.directory.wake_at(now);
    }

    /// A node claims our name in an advert.
    pub(super) fn name_claimed(&mut self, ctx: &mut Ctx<'_>, from: Origin, advert: &Advert) {
        let claimant = advert.instance;
        let decides = match (ctx.phase, advert.phase) {
            (_, AdvertPhase::Leaving) | (Phase::Stopped, _) => false,
            // A node that takes part has the name; of two that ask, the lower instance gets it.
            (Phase::Probing { .. }, AdvertPhase::Present) => true,
            (Phase::Probing { .. }, AdvertPhase::Probing) => claimant < ctx.instance,
            (Phase::Running, AdvertPhase::Probing) => {
                self.advertiser.defend_name(ctx.now.at, claimant);
                false
            }
            (Phase::Running, AdvertPhase::Present) => true,
        };
        let place = self.place_of(ctx, from, advert);
        if decides {
            self.look_into(ctx, from, place, advert);
        }
    }

    /// Dials a node that claims our name: at `place`, or over the route that its advert came from.
    fn look_into(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Origin,
        place: Option<SocketAddr>,
        advert: &Advert,
    ) {
        let (now, claimant) = (ctx.now.at, advert.instance);
        let relayed = matches!(from, Origin::Relay(..));
        if place.is_none() && !relayed
            || !self.name_claims.may_look_into(now, claimant, relayed)
            || !self.take_dial_slot(ctx)
        {
            return;
        }
        self.name_claims.note_look(now, claimant, relayed);
        let target = Target {
            instance: claimant,
            name: advert.name.clone(),
        };
        match (from, place) {
            (Origin::Relay(carrier, route), _) => {
                self.dial_route(ctx, target, (carrier, route));
            }
            (Origin::Lan(_), Some(place)) => {
                self.links.dial(ctx, Some(target), place);
            }
            (Origin::Lan(_), None) => {}
        }
    }

    /// Another instance has proved to go by our name. Where both keep it, the program is told.
    pub(super) fn met_namesake(&mut self, ctx: &mut Ctx<'_>, other: &Met) -> Proved {
        let wins = ctx.instance < other.instance;
        match ctx.phase {
            Phase::Probing { .. } if !other.probing || !wins => return Proved::NameTaken,
            Phase::Running
                if !other.probing && self.name_claims.is_news(ctx.now.at, other.instance) =>
            {
                ctx.event(Event::NameConflict { wins });
            }
            Phase::Probing { .. } | Phase::Running | Phase::Stopped => {}
        }
        Proved::Namesake
    }
}
