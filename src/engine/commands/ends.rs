//! Links are ended, and what they carried with them.
//!
//! Every end of a link is acted on here at once, whichever side ended it and for whatever reason.

use super::{Commands, Ctx, LinkId, Network};
use crate::engine::RelayFault;
use crate::engine::links::Refuse;
use crate::engine::network::LinkEnd;
use crate::wire::record::CloseReason;
use crate::wire::relay::Route;

impl Commands {
    /// A link has ended, whichever side ended it.
    pub(crate) fn link_ended(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, link: LinkId) {
        let end = network.remove(ctx, link);
        self.act_on_end(ctx, network, end);
    }

    /// Ends a session and says why; another link is just ended.
    pub(crate) fn close_session(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        reason: CloseReason,
    ) {
        let end = network.close_session(ctx, link, reason);
        self.act_on_end(ctx, network, end);
    }

    /// Ends a link without a word, after what is already pending.
    pub(crate) fn cut(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, link: LinkId) {
        let end = network.cut(ctx, link);
        self.act_on_end(ctx, network, end);
    }

    /// Ends a link without a word, and without what is pending.
    pub(crate) fn close_at_once(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, link: LinkId) {
        let end = network.close_at_once(ctx, link);
        self.act_on_end(ctx, network, end);
    }

    /// The peer broke a rule: nothing that it says from here on could be told from a lie.
    pub(crate) fn violation(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, link: LinkId) {
        ctx.stats.refused_stream += 1;
        self.close_session(ctx, network, link, CloseReason::Violation);
    }

    /// Ends a link on which a frame or a token came that must not come there.
    pub(crate) fn refuse(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        why: Refuse,
    ) {
        let Some(way) = network.say_refused(ctx, link, why) else {
            return self.cut(ctx, network, link);
        };
        self.link_ended(ctx, network, link);
        if network.route_fault(ctx, way) {
            let (carrier, route) = way;
            self.route_gone(ctx, network, carrier, route);
        }
    }

    /// Ends the link to a relay, and notes why; any other link is just ended.
    pub(crate) fn give_up(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        fault: RelayFault,
    ) {
        network.note_fault(link, fault);
        self.close_at_once(ctx, network, link);
    }

    /// A route through a relay leads nowhere any more.
    pub(crate) fn route_gone(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        carrier: LinkId,
        route: Route,
    ) {
        let gone = network.forget_route(carrier, route);
        if let Some(link) = gone.link {
            self.link_ended(ctx, network, link);
        }
        network.routes_lost(ctx.now.at, &gone.lost);
    }

    /// Ends links that are late or silent, and gives the others signs of life.
    pub(crate) fn tick_links(&mut self, ctx: &mut Ctx<'_>, network: &mut Network) {
        let overdue = network.take_due_links(ctx.config, ctx.now.at);
        for link in &overdue.late {
            ctx.stats.timed_out_handshake += 1;
            self.close_at_once(ctx, network, *link);
        }
        for link in &overdue.silent {
            ctx.stats.timed_out_silent += 1;
            self.give_up(ctx, network, *link, RelayFault::Silent);
        }
        for link in &overdue.held {
            ctx.stats.timed_out_handshake += 1;
            self.close_session(ctx, network, *link, CloseReason::Certificate);
        }
        for link in &overdue.doubtful {
            // Without another way nothing is gained by leaving this one.
            if network.has_another_way(*link) {
                ctx.stats.timed_out_silent += 1;
                network.spoil(ctx.now.at, *link);
                self.close_at_once(ctx, network, *link);
            }
        }
        network.beat(ctx, &overdue);
    }

    fn act_on_end(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, end: Option<LinkEnd>) {
        match end {
            None => {}
            Some(LinkEnd::Session { link, peer }) => self.session_ended(ctx, network, link, peer),
            Some(LinkEnd::Relay { link, lost }) => {
                for over in network.links_over(link) {
                    self.link_ended(ctx, network, over);
                }
                network.relay_lost(ctx, link, lost);
            }
        }
    }
}
