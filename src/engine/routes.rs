//! Links to peers that go through a relay: which there are, and how much may be under way on each.

use super::dialling::YIELD;
use super::links::{CLOSED, Link, State, Target, Via};
use super::{Engine, LinkId, Now};
use crate::frame::FrameType;
use crate::limits::FRAME_MAX;
use crate::rate::Rate;
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::relay::{Forward, ROUTE_WINDOW, Route, ToRelay, encode_forward};
use std::time::Duration;

/// Words a second to those who send to links that are no more.
const TURNED_AWAY_PER_SECOND: u32 = 100;
/// Places at one relay where a peer is looked for.
const ROUTES_PER_RELAY: usize = 4;
/// How long another relay is preferred for a peer to one that has altered what it carried.
const SPOILT: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct Way {
    /// The link over it, if there is one.
    link: Option<LinkId>,
    /// Bytes under way: sent, and not given back by the relay.
    used: u32,
    /// Frames that made no sense.
    faults: u32,
    /// Whether a session was made over it: somebody of the network is there.
    proved: bool,
}

impl Way {
    fn is_forgettable(&self) -> bool {
        self.link.is_none() && self.used == 0 && self.faults == 0 && !self.proved
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

    /// Every link that goes over `carrier`.
    pub(super) fn links_over(&self, carrier: LinkId) -> Vec<LinkId> {
        self.ways
            .iter()
            .filter(|((over, _), _)| *over == carrier)
            .filter_map(|(_, way)| way.link)
            .collect()
    }

    fn count_over(&self, carrier: LinkId) -> usize {
        self.ways
            .keys()
            .filter(|(over, _)| *over == carrier)
            .count()
    }

    pub(super) fn unlink(&mut self, carrier: LinkId, route: Route) {
        if let Some(way) = self.ways.get_mut(&(carrier, route)) {
            way.link = None;
            if way.is_forgettable() {
                self.ways.remove(&(carrier, route));
            }
        }
    }

    /// Counts a frame that made no sense; how many there were. From somebody of the network it is the
    /// relay that altered it.
    fn fault(&mut self, carrier: LinkId, route: Route) -> u32 {
        let way = self.ways.or_insert_with((carrier, route), Way::default);
        way.faults += u32::from(!way.proved);
        way.faults
    }

    /// A session has been made over it.
    pub(super) fn proved(&mut self, carrier: LinkId, route: Route) {
        if let Some(way) = self.ways.get_mut(&(carrier, route)) {
            way.proved = true;
            way.faults = 0;
        }
    }

    fn is_proved(&self, carrier: LinkId, route: Route) -> bool {
        self.ways.get(&(carrier, route)).is_some_and(|w| w.proved)
    }

    pub(super) fn spend(&mut self, carrier: LinkId, route: Route, bytes: usize) {
        if let Some(way) = self.ways.get_mut(&(carrier, route)) {
            way.used = way.used.saturating_add(bytes as u32);
        }
    }

    /// Whether the largest frame may still be sent, and what streams say of themselves besides.
    pub(super) fn is_free(&self, carrier: LinkId, route: Route) -> bool {
        self.has_room(carrier, route, FRAME_MAX + FRAME_MAX / 2)
    }

    /// Whether so many bytes may still be sent.
    pub(super) fn has_room(&self, carrier: LinkId, route: Route, bytes: usize) -> bool {
        let used = self.ways.get(&(carrier, route)).map_or(0, |way| way.used);
        used as usize + bytes <= ROUTE_WINDOW as usize
    }

    /// The relay gave bytes back; the link that may go on.
    pub(super) fn credit(&mut self, carrier: LinkId, route: Route, bytes: u32) -> Option<LinkId> {
        let way = self.ways.get_mut(&(carrier, route))?;
        way.used = way.used.saturating_sub(bytes);
        if way.is_forgettable() {
            self.ways.remove(&(carrier, route));
            return None;
        }
        way.link
    }

    /// The route, or all of a relay's, lead nowhere any more.
    pub(super) fn forget(&mut self, carrier: LinkId, route: Option<Route>) {
        self.ways
            .retain(|(over, r), _| *over != carrier || route.is_some_and(|gone| *r != gone));
    }
}

impl Engine {
    /// Makes a link to a peer through a relay, unless there is one that way.
    pub(super) fn dial_route(
        &mut self,
        now: Now,
        target: Target,
        carrier: LinkId,
        route: Route,
    ) -> Option<LinkId> {
        if self.routes.link(carrier, route).is_some() {
            return None;
        }
        let state = State::Dialing(Some(target));
        let via = Via::Relay(carrier, route);
        let id = self.add_link(now, Link::new(state, true, via, now.at));
        self.routes
            .ways
            .or_insert_with((carrier, route), Way::default)
            .link = Some(id);
        self.core.stats.dials += 1;
        // The relay is connected already.
        self.connected(now, id);
        Some(id)
    }

    /// Room for a link that somebody else makes, in place of the one that was there.
    pub(super) fn accept_route(
        &mut self,
        now: Now,
        carrier: LinkId,
        route: Route,
    ) -> Option<LinkId> {
        if let Some(before) = self.routes.link(carrier, route) {
            self.ended(now, before);
        }
        // Who does not take the answers need not ask.
        if !self.has_room_at(carrier, route) || !self.routes.is_free(carrier, route) {
            self.core.stats.forwards_stray += 1;
            return None;
        }
        let id = self.add_listening(now, Via::Relay(carrier, route));
        self.routes
            .ways
            .or_insert_with((carrier, route), Way::default)
            .link = Some(id);
        Some(id)
    }

    /// A relay that invents routes runs into this, and no other relay does.
    fn has_room_at(&self, carrier: LinkId, route: Route) -> bool {
        self.routes.ways.contains_key(&(carrier, route))
            || self.routes.count_over(carrier) < self.core.config.limits.peers
    }

    /// A frame from a route made no sense. Who goes on like that is not listened to any more.
    pub(super) fn route_fault(&mut self, now: Now, carrier: LinkId, route: Route) {
        if !self.has_room_at(carrier, route)
            || self.routes.fault(carrier, route) < self.core.config.limits.route_faults
        {
            return;
        }
        self.core.stats.routes_blocked += 1;
        self.register(now, carrier, &|_| ToRelay::Block(route));
        self.route_gone(now, carrier, route);
    }

    /// A frame of a peer came through a relay.
    pub(super) fn forwarded(&mut self, now: Now, carrier: LinkId, inner: Forward<'_>) {
        let link = self.routes.link(carrier, inner.route);
        let link = match (link, inner.kind) {
            (None, FrameType::HELLO) => self.accept_route(now, carrier, inner.route),
            (None, FrameType::ERROR) => None,
            (None, _) => {
                // Whoever sends it takes a link for open that is not; a word of this size is no more
                // than was sent.
                self.core.stats.forwards_stray += 1;
                return self.turn_away(now, carrier, inner.route);
            }
            (link, _) => link,
        };
        let Some(id) = link else {
            return;
        };
        if let Some(link) = self.links.get_mut(&id) {
            link.heard = now.at;
        }
        match inner.kind {
            // The other side has ended it: because it was to end, or because of what came there.
            FrameType::ERROR => {
                if inner.payload != CLOSED {
                    self.spoil(now, id);
                }
                self.ended(now, id);
            }
            kind => self.peer_frame(now, id, kind, inner.payload),
        }
    }

    /// What came over a link was not what was sent: whoever alters it does so again.
    pub(super) fn spoil(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let Via::Relay(carrier, _) = link.via else {
            return;
        };
        let instance = match &link.state {
            State::Open(session) | State::Answered(session) => session.peer,
            State::Dialing(Some(target)) | State::Asked(Some(target), _) => target.instance,
            State::Dialing(None) | State::Asked(None, _) | State::Listening | State::Relay(_) => {
                return;
            }
        };
        if let Some(peer) = self.directory.get_mut(&instance) {
            peer.spoilt.retain(|_, until| *until > now.at);
            peer.spoilt.insert(carrier, now.at + SPOILT);
        }
    }

    /// Says that there is no link, unless that was said often enough: there may be a whole window of
    /// frames on their way to it.
    fn turn_away(&mut self, now: Now, carrier: LinkId, route: Route) {
        if !self.has_room_at(carrier, route)
            || !self.routes.is_free(carrier, route)
            || !self.routes.turned_away.take(now.at, TURNED_AWAY_PER_SECOND)
        {
            return;
        }
        let Some(link) = self.links.get_mut(&carrier) else {
            return;
        };
        let was_empty = link.output.is_empty();
        let net = self.core.config.network.as_str();
        let bytes = link.output.append(|out| {
            encode_forward(net, &route, FrameType::ERROR, out, |out| {
                out.extend_from_slice(CLOSED);
            });
        });
        self.routes
            .ways
            .or_insert_with((carrier, route), Way::default);
        self.routes.spend(carrier, route, bytes);
        self.queued(now, carrier, was_empty);
    }

    /// Remembers where a peer is at a relay, and plans to dial it there if it is nowhere else. Whoever is at
    /// a relay can show the sealed advert of another there as its own: a few places are tried, and one where
    /// the peer has proved to be is kept.
    pub(super) fn learn_route(
        &mut self,
        now: Now,
        instance: Instance,
        carrier: LinkId,
        route: Route,
    ) {
        let yields = self.core.instance > instance;
        let limits = &self.core.config.limits;
        let direct_first = limits.direct_first;
        let Some(peer) = self.directory.get_mut(&instance) else {
            return;
        };
        if peer.routes.contains(&(carrier, route)) {
            return;
        }
        let here = peer.routes.iter().filter(|(over, _)| *over == carrier);
        if here.count() >= ROUTES_PER_RELAY {
            let routes = &self.routes;
            let unproved =
                |(over, r): &(LinkId, Route)| *over == carrier && !routes.is_proved(*over, *r);
            match peer.routes.iter().position(unproved) {
                Some(at) => drop(peer.routes.remove(at)),
                None => return,
            }
        }
        peer.routes.push((carrier, route));
        if !peer.wants_route() {
            return;
        }
        let mut wait = Duration::ZERO;
        if !peer.addresses.is_empty() {
            wait += direct_first;
        }
        if yields {
            wait += YIELD;
        }
        // What failed before was another way.
        let at = peer
            .route_dial
            .at
            .map_or(now.at + wait, |at| at.min(now.at + wait));
        peer.route_dial.at = Some(at);
        peer.route_dial.failures = 0;
        let name = peer.name.clone();
        self.directory.wake_at(at);
        if self.calls.waits_for(&name) {
            self.want_dial(now, instance);
        }
    }

    /// The relay says that a route leads nowhere.
    pub(super) fn route_gone(&mut self, now: Now, carrier: LinkId, route: Route) {
        let link = self.routes.link(carrier, route);
        self.routes.forget(carrier, Some(route));
        let mut lost = None;
        for (instance, peer) in self.directory.iter_mut() {
            let before = peer.routes.len();
            peer.routes.retain(|r| *r != (carrier, route));
            if peer.routes.len() < before {
                lost = Some(*instance);
            }
        }
        if let Some(id) = link {
            self.ended(now, id);
        }
        if let Some(instance) = lost {
            self.route_lost(now, instance);
        }
    }

    /// A peer is not at some relay any more. If it is nowhere else, it has a while to come back.
    pub(super) fn route_lost(&mut self, now: Now, instance: Instance) {
        let Some(peer) = self.directory.get(&instance) else {
            return;
        };
        if peer.sessions.is_empty() && peer.routes.is_empty() {
            let interval = peer.interval;
            let expires = self.expiry(now, interval);
            if let Some(peer) = self.directory.get_mut(&instance) {
                peer.expires = peer.expires.max(expires);
                self.directory.wake_at(expires);
            }
        }
    }
}
