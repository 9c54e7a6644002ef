//! Links to peers that go through a relay: which there are, and how much may be under way on each.

use super::window::Window;
use super::{CLOSED, Came, Ctx, LinkId, Links, State, Target, Via};
use crate::frame::FrameType;
use crate::limits::FRAME_MAX;
use crate::rate::Rate;
use crate::table::Table;
use crate::wire::handshake::is_first;
use crate::wire::relay::{Forward, ROUTE_WINDOW, Route, ToRelay, encode_forward};

/// Bytes for links that are not there after which a route that has proved nothing is blocked: as
/// many as may be on their way when a link ends.
const STRAY_MAX: usize = ROUTE_WINDOW as usize + FRAME_MAX;

/// Words a second to nodes that send to links that are no more.
const TURNED_AWAY_PER_SECOND: u32 = 100;

#[derive(Debug, Default)]
struct Way {
    /// The link over it, if there is one.
    link: Option<LinkId>,
    /// Bytes under way, and how many may be.
    window: Window,
    /// Frames that made no sense.
    faults: u32,
    /// Bytes for links that are not there.
    stray: usize,
    /// Whether a session was made over it: a node of the network is there.
    proved: bool,
    /// Whether the relay was asked to block it.
    blocked: bool,
}

impl Way {
    fn is_forgettable(&self) -> bool {
        let is_innocent = self.faults == 0 && self.stray == 0;
        self.link.is_none() && self.window.is_new() && is_innocent && !self.proved
    }
}

/// The ways through relays, by the link to the relay and the route there.
#[derive(Debug, Default)]
pub(super) struct Routes {
    ways: Table<(LinkId, Route), Way>,
    turned_away: Rate,
}

impl Routes {
    pub(super) fn len(&self) -> usize {
        self.ways.len()
    }

    fn link(&self, carrier: LinkId, route: Route) -> Option<LinkId> {
        self.ways.get(&(carrier, route))?.link
    }

    /// A link goes over it from now on.
    fn set_link(&mut self, carrier: LinkId, route: Route, link: LinkId) {
        let way = self.ways.or_insert_with((carrier, route), Way::default);
        way.link = Some(link);
    }

    /// Every link that goes over `carrier`.
    pub(super) fn links_over(&self, carrier: LinkId) -> Vec<LinkId> {
        self.ways
            .iter()
            .filter(|((over, _), _)| *over == carrier)
            .filter_map(|(_, way)| way.link)
            .collect()
    }

    /// Whether there is room for this one at a relay, of which at most `max` ways are kept. A relay
    /// that invents routes runs into this, and no other relay does.
    fn has_room_at(&self, max: usize, carrier: LinkId, route: Route) -> bool {
        let up_to_here = self.ways.count(|(over, _)| *over <= carrier);
        let here = up_to_here - self.ways.count(|(over, _)| *over < carrier);
        here < max || self.ways.contains_key(&(carrier, route))
    }

    pub(super) fn unlink(&mut self, carrier: LinkId, route: Route) {
        if let Some(way) = self.ways.get_mut(&(carrier, route)) {
            way.link = None;
            if way.is_forgettable() {
                self.ways.remove(&(carrier, route));
            }
        }
    }

    /// Counts a frame that made no sense; how many there were. If it is from a node of the network,
    /// the relay has altered it.
    fn fault(&mut self, carrier: LinkId, route: Route) -> u32 {
        let way = self.ways.or_insert_with((carrier, route), Way::default);
        way.faults += u32::from(!way.proved);
        way.faults
    }

    /// Counts a frame of so many bytes for a link that is not there. Returns whether they are too
    /// many: no node of the network is known to be there that could have had a link.
    fn stray(&mut self, carrier: LinkId, route: Route, bytes: usize) -> bool {
        let way = self.ways.or_insert_with((carrier, route), Way::default);
        if !way.proved {
            way.stray = way.stray.saturating_add(bytes);
        }
        way.stray > STRAY_MAX
    }

    /// A session has been made over it.
    pub(super) fn proved(&mut self, carrier: LinkId, route: Route) {
        if let Some(way) = self.ways.get_mut(&(carrier, route)) {
            way.proved = true;
            (way.faults, way.stray) = (0, 0);
        }
    }

    fn is_proved(&self, carrier: LinkId, route: Route) -> bool {
        self.ways.get(&(carrier, route)).is_some_and(|w| w.proved)
    }

    pub(super) fn spend(&mut self, carrier: LinkId, route: Route, bytes: usize) {
        if let Some(way) = self.ways.get_mut(&(carrier, route)) {
            way.window.spend(bytes);
        }
    }

    /// Whether the largest frame may still be sent, and what streams say of themselves besides.
    pub(super) fn is_free(&self, carrier: LinkId, route: Route) -> bool {
        self.has_room(carrier, route, FRAME_MAX + FRAME_MAX / 2)
    }

    /// Whether so many bytes may still be sent.
    pub(super) fn has_room(&self, carrier: LinkId, route: Route, bytes: usize) -> bool {
        let way = self.ways.get(&(carrier, route));
        way.map_or(Window::default(), |way| way.window)
            .has_room(bytes)
    }

    /// The relay told how many bytes are not under way any more, in all; the link that may go on.
    pub(super) fn credit(&mut self, carrier: LinkId, route: Route, total: u64) -> Option<LinkId> {
        self.change(carrier, route, |window| window.credit(total))
    }

    /// The relay told that for the last time, and closed the route; the link that may go on.
    pub(super) fn settle(&mut self, carrier: LinkId, route: Route, total: u64) -> Option<LinkId> {
        self.change(carrier, route, |window| window.settle(total))
    }

    /// The relay allows so many bytes to be under way; the link that may go on.
    pub(super) fn widen(&mut self, carrier: LinkId, route: Route, bytes: u64) -> Option<LinkId> {
        self.change(carrier, route, |window| window.set(bytes))
    }

    fn change(
        &mut self,
        carrier: LinkId,
        route: Route,
        change: impl FnOnce(&mut Window),
    ) -> Option<LinkId> {
        let way = self.ways.get_mut(&(carrier, route))?;
        change(&mut way.window);
        if way.is_forgettable() {
            self.ways.remove(&(carrier, route));
            return None;
        }
        way.link
    }

    /// The relay was asked to block a route.
    fn blocked(&mut self, carrier: LinkId, route: Route) {
        if let Some(way) = self.ways.get_mut(&(carrier, route)) {
            way.blocked = true;
        }
    }

    /// A route leads nowhere any more. One that was blocked is still there, though: the relay
    /// counts on what we have sent to it.
    fn forget(&mut self, carrier: LinkId, route: Route) {
        let Some(way) = self.ways.get_mut(&(carrier, route)) else {
            return;
        };
        let is_there = std::mem::take(&mut way.blocked);
        *way = Way {
            window: if is_there {
                way.window
            } else {
                Window::default()
            },
            ..Way::default()
        };
        if way.is_forgettable() {
            self.ways.remove(&(carrier, route));
        }
    }

    /// The routes of a relay lead nowhere any more.
    fn forget_all(&mut self, carrier: LinkId) {
        self.ways.retain(|(over, _), _| *over != carrier);
    }
}

impl Links {
    /// Makes a link to a peer through a relay, unless there is one that way.
    pub(crate) fn dial_route(
        &mut self,
        ctx: &mut Ctx<'_>,
        target: Target,
        (carrier, route): (LinkId, Route),
    ) -> Option<LinkId> {
        if self.routes.link(carrier, route).is_some() {
            return None;
        }
        let via = Via::Relay(carrier, route);
        let id = self.add(ctx, State::Dialing(Some(target)), via);
        self.routes.set_link(carrier, route, id);
        ctx.stats.dials += 1;
        // The relay is connected already.
        self.connected(ctx, id);
        Some(id)
    }

    /// Room for a link that another node makes through a relay, on a route where there is none.
    pub(crate) fn accept_route(
        &mut self,
        ctx: &mut Ctx<'_>,
        carrier: LinkId,
        route: Route,
    ) -> Option<LinkId> {
        let has_room = self
            .routes
            .has_room_at(ctx.config.limits.peers, carrier, route);
        // A node that does not take the answers need not ask.
        if !has_room || !self.routes.is_free(carrier, route) {
            ctx.stats.forwards_stray += 1;
            return None;
        }
        let id = self.add_listening(ctx, Via::Relay(carrier, route));
        self.routes.set_link(carrier, route, id);
        Some(id)
    }

    /// A frame from a route made no sense. A node that goes on like that is not listened to any
    /// more: whether the route is to be forgotten.
    pub(crate) fn route_fault(&mut self, ctx: &mut Ctx<'_>, carrier: LinkId, route: Route) -> bool {
        let limits = &ctx.config.limits;
        if !self.routes.has_room_at(limits.peers, carrier, route)
            || self.routes.fault(carrier, route) < limits.route_faults
        {
            return false;
        }
        self.block(ctx, carrier, route);
        true
    }

    fn block(&mut self, ctx: &mut Ctx<'_>, carrier: LinkId, route: Route) {
        ctx.stats.routes_blocked += 1;
        self.routes.blocked(carrier, route);
        self.say_to_relay(ctx, carrier, &ToRelay::Block(route));
    }

    /// A frame came for a link that is not there. Returns whether the route is to be forgotten,
    /// because too many came.
    fn strayed(&mut self, ctx: &mut Ctx<'_>, carrier: LinkId, inner: &Forward<'_>) -> bool {
        let (route, max) = (inner.route, ctx.config.limits.peers);
        ctx.stats.forwards_stray += 1;
        if !self.routes.has_room_at(max, carrier, route) {
            return false;
        }
        if self.routes.stray(carrier, route, inner.payload.len()) {
            self.block(ctx, carrier, route);
            return true;
        }
        if inner.kind != FrameType::ERROR {
            // The sender takes a link for open that is not; a word of this size is no more than was
            // sent.
            self.turn_away(ctx, carrier, route);
        }
        false
    }

    /// A frame of a peer came through a relay.
    pub(super) fn forwarded<'o>(
        &mut self,
        ctx: &mut Ctx<'_>,
        carrier: LinkId,
        inner: Forward<'_>,
        opened: &'o mut Vec<u8>,
    ) -> (LinkId, Came<'o>) {
        let link = match (self.routes.link(carrier, inner.route), inner.kind) {
            (None, FrameType::HELLO) if is_first(inner.payload) => {
                self.accept_route(ctx, carrier, inner.route)
            }
            (None, _) => {
                if self.strayed(ctx, carrier, &inner) {
                    return (carrier, Came::Gone(inner.route));
                }
                None
            }
            (link, _) => link,
        };
        let Some(id) = link else {
            return (carrier, Came::Nothing);
        };
        if let Some(link) = self.table.get_mut(&id).filter(|l| !l.is_open()) {
            link.heard = ctx.now.at;
        }
        let came = match inner.kind {
            // The other side has ended it: because it was to end, or because of what came there.
            FrameType::ERROR => Came::Ended {
                altered: inner.payload != CLOSED,
            },
            kind => self.peer_frame(ctx, id, kind, inner.payload, opened),
        };
        (id, came)
    }

    /// Says that there is no link, unless that was said often enough: there may be a whole window
    /// of frames on their way to it.
    fn turn_away(&mut self, ctx: &mut Ctx<'_>, carrier: LinkId, route: Route) {
        if !self.routes.is_free(carrier, route)
            || !self
                .routes
                .turned_away
                .take(ctx.now.at, TURNED_AWAY_PER_SECOND)
        {
            return;
        }
        let Some(link) = self.table.get_mut(&carrier) else {
            return;
        };
        let was_empty = link.output.is_empty();
        let net = ctx.config.network.as_str();
        let bytes = link.output.append(|out| {
            encode_forward(net, &route, FrameType::ERROR, out, |out| {
                out.extend_from_slice(CLOSED);
            });
        });
        self.routes
            .ways
            .or_insert_with((carrier, route), Way::default);
        self.routes.spend(carrier, route, bytes);
        self.queued(ctx, carrier, was_empty);
    }

    /// Whether a peer has proved to be at a route.
    pub(crate) fn is_proved(&self, carrier: LinkId, route: Route) -> bool {
        self.routes.is_proved(carrier, route)
    }

    /// A route leads nowhere any more; the link that went over it, if there was one.
    pub(crate) fn forget_route(&mut self, carrier: LinkId, route: Route) -> Option<LinkId> {
        let link = self.routes.link(carrier, route);
        self.routes.forget(carrier, route);
        link
    }

    /// Every link that goes through a relay, by the link to it.
    pub(crate) fn links_over(&self, carrier: LinkId) -> Vec<LinkId> {
        self.routes.links_over(carrier)
    }

    /// No route of a relay leads anywhere any more.
    pub(crate) fn forget_routes(&mut self, carrier: LinkId) {
        self.routes.forget_all(carrier);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Counting;

    const RELAY: LinkId = LinkId(1);

    #[test]
    fn what_is_under_way_on_a_route_is_bounded_by_what_the_relay_says_is_no_more() {
        let (mut routes, route) = (Routes::default(), Route::default());
        let whole = u64::from(ROUTE_WINDOW);
        routes.set_link(RELAY, route, LinkId(2));
        assert!(routes.is_free(RELAY, route));
        routes.spend(RELAY, route, ROUTE_WINDOW as usize);
        assert!(!routes.is_free(RELAY, route) && !routes.has_room(RELAY, route, 1));
        assert_eq!(routes.credit(RELAY, route, whole), Some(LinkId(2)));
        assert!(routes.is_free(RELAY, route));
        routes.spend(RELAY, route, ROUTE_WINDOW as usize);
        assert_eq!(routes.credit(RELAY, route, whole), Some(LinkId(2)));
        assert!(!routes.has_room(RELAY, route, 1), "it comes twice");
        assert_eq!(routes.widen(RELAY, route, 2 * whole), Some(LinkId(2)));
        assert!(routes.is_free(RELAY, route));
        let other = Route::draw(&mut Counting(7));
        assert_eq!(routes.widen(RELAY, other, 2 * whole), None, "not in use");
    }

    #[test]
    fn a_route_is_remembered_for_as_long_as_it_means_something() {
        let (mut routes, route) = (Routes::default(), Route::default());
        routes.set_link(RELAY, route, LinkId(2));
        routes.spend(RELAY, route, 10);
        routes.unlink(RELAY, route);
        assert_eq!(routes.len(), 1, "the relay holds some of its bytes");
        assert_eq!(routes.credit(RELAY, route, 10), None);
        assert_eq!(routes.len(), 1, "the relay counts on from there");
        assert_eq!(routes.settle(RELAY, route, 10), None);
        assert_eq!(routes.len(), 0);
        assert!(!routes.stray(RELAY, route, STRAY_MAX));
        assert!(
            routes.stray(RELAY, route, 1),
            "nobody has proved to be there"
        );
        routes.set_link(RELAY, route, LinkId(3));
        routes.proved(RELAY, route);
        routes.unlink(RELAY, route);
        assert!(routes.is_proved(RELAY, route));
        assert_eq!(routes.fault(RELAY, route), 0, "the relay has altered it");
        assert!(
            !routes.stray(RELAY, route, 2 * STRAY_MAX),
            "its link has ended"
        );
        routes.forget_all(RELAY);
        assert_eq!(routes.len(), 0);
    }

    #[test]
    fn what_is_under_way_to_a_route_is_forgotten_when_it_is_gone_and_not_when_it_is_blocked() {
        let (mut routes, route) = (Routes::default(), Route::default());
        for (is_blocked, kept) in [(true, 1), (false, 0)] {
            routes.set_link(RELAY, route, LinkId(2));
            routes.spend(RELAY, route, 10);
            if is_blocked {
                routes.blocked(RELAY, route);
            }
            routes.forget(RELAY, route);
            assert_eq!(routes.len(), kept);
            assert_eq!(routes.link(RELAY, route), None);
        }
        routes.set_link(RELAY, route, LinkId(2));
        routes.blocked(RELAY, route);
        routes.forget(RELAY, route);
        assert_eq!(routes.len(), 0, "nothing was sent to it");
    }
}
