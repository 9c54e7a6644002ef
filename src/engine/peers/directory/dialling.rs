//! When to dial which peer, and how: straight first, then through relays, never more or faster than
//! the bounds on dials allow.
//!
//! Each peer has a plan for its addresses and one for its routes. Through relays all routes are
//! tried at once and the first to be answered is kept: that is the shortest round trip, measured.
//! While a peer is reached through a relay the direct path is still tried, now and then.

use super::heard::expiry;
use super::peer::{Peer, RoutePlace};
use super::{Ctx, Directory, LinkId, Path, Time};
use crate::backoff::{Backoff, YIELD};
use crate::wire::Instance;
use crate::wire::relay::Route;
use std::net::SocketAddr;
use std::time::Duration;

/// How soon to look again for a slot to dial in; a dial that ends makes it sooner.
pub(crate) const SLOT_WAIT: Duration = Duration::from_millis(100);
/// How often the relay that is used is compared with the others, while it is used.
pub(crate) const COMPARE: Duration = Duration::from_secs(30);
/// How long another relay is preferred for a peer to one that has altered what it carried.
const SPOILT: Duration = Duration::from_secs(30);

/// When to dial a peer again that could not be dialled `failures` times. `reachable` is whether a
/// path through a relay works meanwhile, so that only the direct one is missing.
pub(super) fn redial_pause(
    ctx: &mut Ctx<'_>,
    failures: u32,
    peer: Instance,
    reachable: bool,
) -> Duration {
    let limits = &ctx.config.limits;
    let (first, longest) = limits.redial;
    if reachable {
        let backoff = Backoff::new((first, limits.redial_direct));
        return ctx.entropy.jitter(backoff.after(failures));
    }
    let backoff = Backoff::new((first, longest));
    let pause = ctx.entropy.jitter(backoff.after(failures));
    let yields = ctx.instance >= peer;
    pause + if yields { YIELD } else { Duration::ZERO }
}

/// The peers that need attention.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// They were not heard for too long.
    pub(crate) gone: Vec<Instance>,
    /// They are to be dialled at an address,
    pub(crate) straight: Vec<Instance>,
    /// through relays,
    pub(crate) routed: Vec<Instance>,
    /// and through the relays that are not used, to compare.
    pub(crate) compared: Vec<Instance>,
}

impl Directory {
    /// Looks at every peer. [`Directory::plan_next`] is to follow.
    pub(crate) fn take_due(&mut self, now: Time) -> Due {
        self.woken();
        let mut found = Due::default();
        let due = |at: Option<Time>| at.is_some_and(|at| now >= at);
        for (instance, peer) in self.iter_mut() {
            if now >= peer.expires && peer.path != Some(Path::Direct) {
                // Not heard on the LAN any more. At a relay it may still be.
                if peer.routes.is_empty() && peer.sessions.is_empty() {
                    found.gone.push(*instance);
                    continue;
                }
                if peer.dial.link.is_none() {
                    peer.addresses = peer.advertised.into_iter().collect();
                }
            }
            if peer.wants_direct() && due(peer.dial.at) {
                found.straight.push(*instance);
            }
            if peer.wants_route() && due(peer.route_dial.at) {
                found.routed.push(*instance);
            }
            if due(peer.route_dial.compare) {
                found.compared.push(*instance);
            }
        }
        found
    }

    /// Sets the next wake-up: not before `again` for peers that are to be dialled, which is later
    /// than `now` if they wait for a slot.
    pub(crate) fn plan_next(&mut self, now: Time, again: Time) {
        let next = |(_, peer): (&Instance, &Peer)| {
            let mut next = peer.route_dial.compare.unwrap_or(Time::NEVER);
            if peer.sessions.is_empty() && peer.routes.is_empty()
                || now < peer.expires && peer.path != Some(Path::Direct)
            {
                next = next.min(peer.expires);
            }
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
            next
        };
        let next = self.iter().map(next).min().unwrap_or(Time::NEVER);
        self.wake_at(next);
    }

    /// The address at which a peer is to be dialled now.
    pub(crate) fn next_address(&self, instance: &Instance) -> Option<SocketAddr> {
        let peer = self.get(instance)?;
        let at = peer.dial.next % peer.addresses.len().max(1);
        peer.addresses.get(at).copied()
    }

    /// A peer is being dialled at an address, or cannot be.
    pub(crate) fn note_dial(&mut self, instance: &Instance, link: Option<LinkId>) {
        if let Some(peer) = self.get_mut(instance) {
            peer.dial.at = None;
            peer.dial.link = link;
        }
    }

    /// A peer is being dialled through a relay.
    pub(crate) fn note_route_dial(&mut self, instance: &Instance, link: LinkId) {
        if let Some(peer) = self.get_mut(instance) {
            peer.route_dial.links.push(link);
        }
    }

    /// The routes through which a peer is to be dialled now: at every relay where it is, but not
    /// through one that alters what it carries as long as there is another.
    pub(crate) fn take_routes(&mut self, now: Time, instance: &Instance) -> Vec<(LinkId, Route)> {
        let Some(peer) = self.get_mut(instance) else {
            return Vec::new();
        };
        peer.route_dial.at = None;
        peer.spoilt.retain(|_, until| *until > now);
        let mut routes: Vec<_> = peer.routes.iter().map(RoutePlace::way).collect();
        let is_good = |(over, _): &(LinkId, Route)| !peer.spoilt.contains_key(over);
        if routes.iter().any(is_good) {
            routes.retain(is_good);
        }
        routes
    }

    /// The routes to compare with the one that is `used`, unless such a comparison is under way.
    pub(crate) fn other_routes(
        &self,
        instance: &Instance,
        used: Option<(LinkId, Route)>,
    ) -> Vec<(LinkId, Route)> {
        let Some(peer) = self.get(instance) else {
            return Vec::new();
        };
        if !peer.route_dial.links.is_empty() {
            return Vec::new();
        }
        let ways = peer.routes.iter().map(RoutePlace::way);
        let others = ways.filter(|way| used != Some(*way) && !peer.spoilt.contains_key(&way.0));
        others.collect()
    }

    /// A session through a relay is compared with the other relays while it is used, if `compares`:
    /// by the side that dialled it, since of two of its sessions the newer is kept.
    pub(crate) fn plan_comparison(
        &mut self,
        ctx: &mut Ctx<'_>,
        instance: &Instance,
        compares: bool,
    ) {
        let at = compares.then(|| ctx.now.at + ctx.entropy.jitter(COMPARE));
        if let Some(peer) = self.get_mut(instance) {
            peer.route_dial.compare = at;
            self.wake_at(at.unwrap_or(Time::NEVER));
        }
    }

    /// A dial of an address was in vain.
    pub(crate) fn dial_failed(&mut self, ctx: &mut Ctx<'_>, instance: Instance) {
        let Some(peer) = self.get_mut(&instance) else {
            return;
        };
        peer.dial.link = None;
        peer.dial.next += 1;
        if peer.path == Some(Path::Direct) {
            return;
        }
        let mut at = ctx.now.at;
        // Every address once, then a pause.
        if peer.dial.next.is_multiple_of(peer.addresses.len().max(1)) {
            peer.dial.failures += 1;
            let reachable = !peer.sessions.is_empty();
            at = at + redial_pause(ctx, peer.dial.failures, instance, reachable);
        }
        peer.dial.at = Some(at);
        self.wake_at(at);
    }

    /// A dial through a relay was in vain.
    pub(crate) fn route_dial_failed(
        &mut self,
        ctx: &mut Ctx<'_>,
        instance: Instance,
        link: LinkId,
    ) {
        let Some(peer) = self.get_mut(&instance) else {
            return;
        };
        peer.route_dial.links.retain(|l| *l != link);
        if !peer.wants_route() || !peer.route_dial.links.is_empty() {
            return;
        }
        peer.route_dial.failures += 1;
        let at = ctx.now.at + redial_pause(ctx, peer.route_dial.failures, instance, false);
        peer.route_dial.at = Some(at);
        self.wake_at(at);
    }

    /// A session with a peer is there: if it goes through a relay, the direct path is still looked
    /// for.
    pub(crate) fn plan_direct(&mut self, ctx: &mut Ctx<'_>, instance: Instance) {
        let at = ctx.now.at + redial_pause(ctx, 0, instance, true);
        if let Some(peer) = self.get_mut(&instance)
            && peer.wants_direct()
            && peer.dial.at.is_none()
        {
            peer.dial.at = Some(at);
            self.wake_at(at);
        }
    }

    /// A call wants this peer: dials it without waiting for the other side to do it.
    pub(crate) fn want_dial(&mut self, ctx: &Ctx<'_>, instance: &Instance) {
        let now = ctx.now.at;
        let Some(peer) = self.get_mut(instance) else {
            return;
        };
        if !peer.sessions.is_empty() {
            return;
        }
        let mut due = Time::NEVER;
        if peer.wants_direct() {
            // After failures the pause that is running is kept.
            if peer.dial.failures == 0 || peer.dial.at.is_none() {
                peer.dial.at = Some(now);
            }
            due = peer.dial.at.unwrap_or(now);
        }
        if peer.wants_route() {
            if peer.route_dial.failures == 0 || peer.route_dial.at.is_none() {
                let tries_direct = !peer.addresses.is_empty() && peer.dial.failures == 0;
                let head_start = match tries_direct {
                    true => ctx.config.limits.direct_first,
                    false => Duration::ZERO,
                };
                peer.route_dial.at = Some(now + head_start);
            }
            due = due.min(peer.route_dial.at.unwrap_or(now));
        }
        self.wake_at(due);
    }

    /// Remembers where a peer is at a relay, as the advert of this sequence says, and plans to dial
    /// it there if it is nowhere else. Whether it is planned to be dialled.
    ///
    /// Any member of a relay can show the sealed advert of another there as its own: a few places
    /// are tried. One where the peer has proved to be, as `is_proved` tells, is kept. Of the
    /// others only a later advert displaces one: the peer's own comes before all copies of it.
    pub(crate) fn learn_route(
        &mut self,
        ctx: &Ctx<'_>,
        instance: &Instance,
        (carrier, route): (LinkId, Route),
        sequence: u64,
        is_proved: impl Fn(LinkId, Route) -> bool,
    ) -> bool {
        let Some(peer) = self.get_mut(instance) else {
            return false;
        };
        let place = RoutePlace {
            carrier,
            route,
            sequence,
        };
        if !peer.learn_route(place, is_proved) || !peer.wants_route() {
            return false;
        }
        let mut wait = Duration::ZERO;
        if !peer.addresses.is_empty() {
            wait += ctx.config.limits.direct_first;
        }
        if ctx.instance > *instance {
            wait += YIELD;
        }
        // What failed before was another way.
        let at = ctx.now.at + wait;
        let at = peer.route_dial.at.map_or(at, |before| before.min(at));
        peer.route_dial.at = Some(at);
        peer.route_dial.failures = 0;
        self.wake_at(at);
        true
    }

    /// A peer is not at some relay any more. If it is nowhere else, it has a while to come back.
    pub(crate) fn route_lost(&mut self, now: Time, instance: &Instance) {
        if let Some(peer) = self.get_mut(instance)
            && peer.sessions.is_empty()
            && peer.routes.is_empty()
        {
            let expires = expiry(now, peer.interval);
            peer.expires = peer.expires.max(expires);
            self.wake_at(expires);
        }
    }

    /// What came through a relay from a peer was not what the peer had sent: a relay that alters
    /// what it carries does so again.
    pub(crate) fn spoil(&mut self, now: Time, instance: &Instance, carrier: LinkId) {
        if let Some(peer) = self.get_mut(instance) {
            peer.spoilt.retain(|_, until| *until > now);
            peer.spoilt.insert(carrier, now + SPOILT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::peer::ROUTES_PER_RELAY;
    use super::*;
    use crate::engine::fixture::{Fixture, at, name};

    const LOWER: Instance = Instance([1; 16]);
    const HIGHER: Instance = Instance([9; 16]);

    fn directory(instance: Instance) -> Directory {
        let mut directory = Directory::default();
        let peer = Peer::new(name("p"), Duration::from_secs(1), at(100_000));
        directory.insert(instance, peer);
        directory
    }

    fn peer(directory: &mut Directory, instance: Instance) -> &mut Peer {
        directory.get_mut(&instance).unwrap()
    }

    /// Where a peer is at a relay, by the link to that.
    fn place(link: u64, n: u8) -> RoutePlace {
        RoutePlace {
            carrier: LinkId(link),
            route: route(n),
            sequence: 1,
        }
    }

    fn route(n: u8) -> Route {
        struct Same(u8);
        impl crate::entropy::Entropy for Same {
            fn fill(&mut self, out: &mut [u8]) {
                out.fill(self.0);
            }
        }
        Route::draw(&mut Same(n))
    }

    #[test]
    fn every_address_is_tried_before_a_pause_that_grows() {
        let mut fixture = Fixture::default();
        let mut directory = directory(HIGHER);
        let addresses = ["10.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap()];
        peer(&mut directory, HIGHER).addresses = addresses.to_vec();
        let mut pauses = Vec::new();
        for round in 0..6 {
            let next = directory.next_address(&HIGHER).unwrap();
            assert_eq!(next, addresses[round % 2]);
            directory.note_dial(&HIGHER, Some(LinkId(1)));
            directory.dial_failed(&mut fixture.ctx(), HIGHER);
            pauses.push(peer(&mut directory, HIGHER).dial.at.unwrap());
        }
        assert_eq!((pauses[0], pauses[2], pauses[4]), (at(0), at(0), at(0)));
        assert!(at(0) < pauses[1] && pauses[1] < pauses[3] && pauses[3] < pauses[5]);
    }

    #[test]
    fn the_higher_instance_waits_for_the_lower_one_to_dial() {
        let mut fixture = Fixture::default();
        let mut ctx = fixture.ctx();
        let pause = |ctx: &mut Ctx<'_>, peer| redial_pause(ctx, 0, peer, false);
        assert!(pause(&mut ctx, HIGHER) < YIELD);
        assert!(pause(&mut ctx, LOWER) > YIELD);
    }

    #[test]
    fn a_silent_peer_is_gone_unless_it_is_at_a_relay() {
        let mut directory = directory(HIGHER);
        let mut other = Peer::new(name("q"), Duration::from_secs(1), at(100_000));
        other.routes.push(place(1, 1));
        other.addresses.push("10.0.0.1:1".parse().unwrap());
        directory.insert(LOWER, other);
        assert!(directory.take_due(at(99_999)).gone.is_empty());
        assert_eq!(directory.take_due(at(100_000)).gone, [HIGHER]);
        assert!(peer(&mut directory, LOWER).addresses.is_empty());
    }

    #[test]
    fn a_relay_that_alters_what_it_carries_comes_last() {
        let mut directory = directory(HIGHER);
        let places = [place(1, 1), place(2, 2)];
        let [bad, good] = places.map(|place| place.way());
        peer(&mut directory, HIGHER).routes = places.to_vec();
        directory.spoil(at(0), &HIGHER, LinkId(1));
        assert_eq!(directory.take_routes(at(1), &HIGHER), [good]);
        assert_eq!(directory.other_routes(&HIGHER, Some(good)), []);
        peer(&mut directory, HIGHER).routes = vec![places[0]];
        let only = directory.take_routes(at(1), &HIGHER);
        assert_eq!(only, [bad], "there is no other");
        peer(&mut directory, HIGHER).routes = places.to_vec();
        assert_eq!(directory.take_routes(at(30_001), &HIGHER), [bad, good]);
    }

    /// Where a peer is looked for at one relay after adverts of these sequences, each from another
    /// route there; `proved` is the route that is proved, if one is.
    fn looked_for(sequences: &[u64], proved: Option<u8>) -> Vec<Route> {
        let mut fixture = Fixture::default();
        let mut directory = directory(HIGHER);
        let is_proved = |_, way| proved.is_some_and(|n| way == route(n));
        for (n, sequence) in (0..).zip(sequences) {
            let way = (LinkId(1), route(n));
            directory.learn_route(&fixture.ctx(), &HIGHER, way, *sequence, is_proved);
        }
        let routes = &peer(&mut directory, HIGHER).routes;
        routes.iter().map(|place| place.route).collect()
    }

    #[test]
    fn of_many_places_at_one_relay_the_proved_one_is_kept() {
        let later: Vec<u64> = (1..=20).collect();
        let routes = looked_for(&later, Some(0));
        assert_eq!(routes.len(), ROUTES_PER_RELAY);
        assert!(routes.contains(&route(0)) && routes.contains(&route(19)));
    }

    #[test]
    fn a_copy_of_an_advert_displaces_no_place_and_a_later_advert_the_oldest() {
        assert_eq!(looked_for(&[5; 20], None), [0, 1, 2, 3].map(route));
        assert_eq!(looked_for(&[5, 4, 6, 6, 4], None), [0, 1, 2, 3].map(route));
        assert_eq!(looked_for(&[5, 4, 6, 6, 6], None), [0, 2, 3, 4].map(route));
    }

    #[test]
    fn a_place_is_as_late_as_the_latest_advert_from_there() {
        let mut fixture = Fixture::default();
        let mut directory = directory(HIGHER);
        for (n, sequence) in [(0, 1), (1, 1), (2, 1), (3, 1), (0, 2), (4, 2)] {
            let way = (LinkId(1), route(n));
            directory.learn_route(&fixture.ctx(), &HIGHER, way, sequence, |_, _| false);
        }
        let routes = directory.take_routes(at(0), &HIGHER);
        assert_eq!(routes, [0, 1, 2, 4].map(|n| (LinkId(1), route(n))));
    }

    #[test]
    fn a_call_has_a_peer_dialled_at_once_and_through_relays_a_little_later() {
        let mut fixture = Fixture::default();
        let mut directory = directory(HIGHER);
        let known = peer(&mut directory, HIGHER);
        known.addresses = vec!["10.0.0.1:1".parse().unwrap()];
        known.routes = vec![place(1, 1)];
        fixture.now = at(500);
        directory.want_dial(&fixture.ctx(), &HIGHER);
        let head_start = fixture.core.config.limits.direct_first;
        let known = peer(&mut directory, HIGHER);
        assert_eq!(known.dial.at, Some(at(500)));
        assert_eq!(known.route_dial.at, Some(at(500) + head_start));
        let due = directory.take_due(at(500));
        assert_eq!((due.straight.len(), due.routed.len()), (1, 0));
    }
}
