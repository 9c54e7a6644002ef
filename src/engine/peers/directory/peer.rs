//! One peer: where it may be, what is known of it, and when it is to be dialled next.

use super::{LinkId, Path, Time};
use crate::identity::PublicKey;
use crate::name::NodeName;
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::relay::Route;
use std::net::SocketAddr;
use std::time::Duration;

/// Places at one relay where a peer is looked for.
pub(super) const ROUTES_PER_RELAY: usize = 4;

/// When and where to dial a peer next.
#[derive(Debug, Default)]
pub(super) struct DialPlan {
    pub(super) at: Option<Time>,
    /// The dial that is under way.
    pub(super) link: Option<LinkId>,
    /// Which of the addresses comes next.
    pub(super) next: usize,
    /// Rounds of failed attempts since the last success.
    pub(super) failures: u32,
}

/// When to dial a peer next through the relays where it is.
#[derive(Debug, Default)]
pub(super) struct RoutePlan {
    pub(super) at: Option<Time>,
    /// The dials that are under way, one through each relay; the first to be answered is kept.
    pub(super) links: Vec<LinkId>,
    /// Times that none was answered, since the last success.
    pub(super) failures: u32,
    /// When to look whether another relay has become the shorter way.
    pub(super) compare: Option<Time>,
}

/// Where a peer is at a relay, as an advert says that came from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RoutePlace {
    /// The link to the relay.
    pub(super) carrier: LinkId,
    pub(super) route: Route,
    /// That of the latest advert that came from there.
    pub(super) sequence: u64,
}

impl RoutePlace {
    pub(super) fn way(&self) -> (LinkId, Route) {
        (self.carrier, self.route)
    }
}

#[derive(Debug)]
pub(crate) struct Peer {
    pub(super) name: NodeName,
    /// Its public key, once a session with it was open.
    pub(super) key: Option<PublicKey>,
    /// Where it may be, the likeliest first.
    pub(super) addresses: Vec<SocketAddr>,
    /// Where it says to be, in an advert that came through a relay: good for as long as that is.
    pub(super) advertised: Option<SocketAddr>,
    /// Where it is at relays.
    pub(super) routes: Vec<RoutePlace>,
    /// Relays, by the link to each, that have spoilt a link to it, and until when others are
    /// preferred.
    pub(super) spoilt: Table<LinkId, Time>,
    /// The sequence of the last advert heard; `None` when only a hello told of it.
    pub(super) sequence: Option<u64>,
    /// The time between two of its adverts, as it says.
    pub(super) interval: Duration,
    /// When it counts as gone, unless it is heard before this or is in a session.
    pub(super) expires: Time,
    /// Open sessions; two for a moment when both sides dialled.
    pub(super) sessions: Vec<LinkId>,
    /// Whether the program was told that it is there.
    pub(super) announced: bool,
    /// The peer from whose word it is known, if from nobody else's.
    pub(super) told_by: Option<Instance>,
    /// It has said goodbye: nothing that was said before is news any more.
    pub(super) left: bool,
    /// Another instance has proved to go by the name, and this one has not been heard since.
    pub(super) suspect: bool,
    /// It has closed the last session because it had no use for that.
    pub(super) rests: bool,
    pub(super) dial: DialPlan,
    pub(super) route_dial: RoutePlan,
    /// How it is reached now.
    pub(super) path: Option<Path>,
    /// How the program was last told that it is reached.
    pub(super) told: Option<Path>,
}

impl Peer {
    pub(super) fn new(name: NodeName, interval: Duration, expires: Time) -> Peer {
        Peer {
            name,
            key: None,
            addresses: Vec::new(),
            advertised: None,
            routes: Vec::new(),
            spoilt: Table::default(),
            sequence: None,
            interval,
            expires,
            sessions: Vec::new(),
            announced: false,
            told_by: None,
            left: false,
            suspect: false,
            rests: false,
            dial: DialPlan::default(),
            route_dial: RoutePlan::default(),
            path: None,
            told: None,
        }
    }

    pub(crate) fn name(&self) -> &NodeName {
        &self.name
    }

    /// The links on which sessions with it are open.
    pub(crate) fn sessions(&self) -> &[LinkId] {
        &self.sessions
    }

    /// Whether the program was told that it is there.
    pub(crate) fn is_announced(&self) -> bool {
        self.announced
    }

    /// Whether it has said goodbye.
    pub(crate) fn has_left(&self) -> bool {
        self.left
    }

    /// Every link to it: of its sessions, and of the dials that are under way.
    pub(crate) fn links(&self) -> impl Iterator<Item = LinkId> {
        let dials = self.dial.link.iter().chain(&self.route_dial.links);
        self.sessions.iter().chain(dials).copied()
    }

    /// Whether it was found by an advert, and so finds others itself.
    pub(crate) fn advertises(&self) -> bool {
        self.sequence.is_some()
    }

    /// Where it is the likeliest to be.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.addresses.first().copied()
    }

    /// Whether it should be dialled straight, now or later.
    pub(super) fn wants_direct(&self) -> bool {
        self.path != Some(Path::Direct) && self.dial.link.is_none() && !self.addresses.is_empty()
    }

    /// Whether it should be dialled through relays, now or later.
    pub(super) fn wants_route(&self) -> bool {
        self.sessions.is_empty() && self.route_dial.links.len() < self.routes.len()
    }

    /// Whether another peer's word is all that is known of it.
    pub(crate) fn is_hearsay(&self) -> bool {
        self.sequence.is_none() && !self.announced
    }

    /// Whether it counts as one that is there: it is in a session, or was heard itself and has not
    /// left.
    pub(super) fn is_listed(&self) -> bool {
        !self.sessions.is_empty() || !self.left && !self.is_hearsay()
    }

    /// Remembers where it may be, at most `max` places that may be dialled. A loopback address is
    /// the shortest way; otherwise those that are known stay first, so that a replayed advert
    /// displaces nothing.
    pub(super) fn learn_address(&mut self, address: SocketAddr, max: usize) {
        if self.addresses.contains(&address) {
            return;
        }
        if address.ip().is_loopback() {
            self.addresses.insert(0, address);
            self.addresses.truncate(max);
        } else {
            self.addresses.truncate(max - 1);
            self.addresses.push(address);
        }
    }

    /// Remembers where it is at a relay. With as many places there as are kept, the one with the
    /// oldest advert gives way to a later advert, unless it is proved; of those that are equally
    /// old it is the one that was learnt last. Whether the place is new.
    pub(super) fn learn_route(
        &mut self,
        place: RoutePlace,
        is_proved: impl Fn(LinkId, Route) -> bool,
    ) -> bool {
        if let Some(known) = self.routes.iter_mut().find(|p| p.way() == place.way()) {
            known.sequence = known.sequence.max(place.sequence);
            return false;
        }
        let is_here = |p: &RoutePlace| p.carrier == place.carrier;
        if self.routes.iter().filter(|p| is_here(p)).count() >= ROUTES_PER_RELAY {
            let places = self.routes.iter().enumerate().rev();
            let unproved = places.filter(|(_, p)| is_here(p) && !is_proved(p.carrier, p.route));
            let oldest = unproved.min_by_key(|(_, p)| p.sequence);
            match oldest.filter(|(_, p)| p.sequence < place.sequence) {
                Some((at, _)) => drop(self.routes.remove(at)),
                None => return false,
            }
        }
        self.routes.push(place);
        true
    }

    /// Moves the address that worked to the front.
    pub(super) fn prefer_address(&mut self, address: SocketAddr, max: usize) {
        self.addresses.retain(|a| *a != address);
        self.addresses.insert(0, address);
        self.addresses.truncate(max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_bounded_and_a_known_one_is_not_displaced() {
        let mut peer = Peer::new(
            NodeName::new("n").unwrap(),
            Duration::from_secs(1),
            Time::default(),
        );
        let address = |s: &str| s.parse::<SocketAddr>().unwrap();
        for i in 1..9 {
            peer.learn_address(address(&format!("10.0.0.{i}:1")), 4);
        }
        assert_eq!(peer.addresses.len(), 4);
        assert_eq!(peer.addresses[0], address("10.0.0.1:1"));
        peer.learn_address(address("127.0.0.1:1"), 4);
        assert_eq!(peer.addresses[0], address("127.0.0.1:1"));
        peer.prefer_address(address("10.0.0.9:1"), 4);
        assert_eq!(
            (peer.addresses.len(), peer.addresses[0]),
            (4, address("10.0.0.9:1"))
        );
    }
}
