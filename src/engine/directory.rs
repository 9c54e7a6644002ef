//! Who is there: the peers, by instance and by name. A table and its rules of choice; what fills
//! it is `discovery` and `links`.

use super::{LinkId, Time};
use crate::address::RelayAddress;
use crate::name::NodeName;
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::relay::Route;
use std::net::SocketAddr;
use std::time::Duration;

/// How a peer is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Path {
    /// Straight.
    Direct,
    /// Through this relay.
    Relay(RelayAddress),
    /// In the protocol of PeerBase 0.7.1, straight or through this relay of it. Nothing about it is proven.
    Compat(Option<RelayAddress>),
}

/// One peer, for a program to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its name.
    pub name: NodeName,
    /// Where it was last found.
    pub address: Option<SocketAddr>,
    /// Whether a session with it is open; otherwise it is only known from its adverts.
    pub reachable: bool,
    /// How calls to it go, if there is a way.
    pub path: Option<Path>,
    /// Its last sign of life that was asked for, if it is reachable.
    pub ping: Option<Ping>,
}

/// An answered ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// From asking to the answer; of the last ones, smoothed.
    pub round_trip: Duration,
    /// How long ago the answer came.
    pub ago: Duration,
}

/// When and where to dial a peer next.
#[derive(Debug, Default)]
pub(super) struct DialPlan {
    pub(super) at: Option<Time>,
    /// Under way.
    pub(super) link: Option<LinkId>,
    /// Which of the addresses comes next.
    pub(super) next: usize,
    /// Failed attempts since the last success.
    pub(super) failures: u32,
}

/// When to dial a peer next through the relays where it is.
#[derive(Debug, Default)]
pub(super) struct RoutePlan {
    pub(super) at: Option<Time>,
    /// Under way, one through each relay; the first to be answered is kept.
    pub(super) links: Vec<LinkId>,
    /// Times that none was answered, since the last success.
    pub(super) failures: u32,
    /// When to look whether another relay has become the shorter way.
    pub(super) compare: Option<Time>,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: NodeName,
    /// Where it may be, the likeliest first.
    pub(super) addresses: Vec<SocketAddr>,
    /// Where it says to be, in an advert that came through a relay: good for as long as that is.
    pub(super) advertised: Option<SocketAddr>,
    /// Where it is at relays: the link to each, and its route there.
    pub(super) routes: Vec<(LinkId, Route)>,
    /// Relays, by the link to each, that have spoilt a link to it, and until when others are preferred.
    pub(super) spoilt: Table<LinkId, Time>,
    /// The sequence of the last advert heard; `None` when only a hello told of it.
    pub(super) sequence: Option<u64>,
    /// Between two of its adverts, as it says.
    pub(super) interval: Duration,
    /// Gone, unless heard before this or in a session.
    pub(super) expires: Time,
    /// Open sessions; two for a moment when both sides dialled.
    pub(super) sessions: Vec<LinkId>,
    /// Whether the program was told that it is there.
    pub(super) joined: bool,
    /// Whose word it is known from, if from nobody else's.
    pub(super) told_by: Option<Instance>,
    /// It has said goodbye: nothing that was said before is news any more.
    pub(super) left: bool,
    /// Another instance has proved to go by the name, and this one has not been heard since.
    pub(super) suspect: bool,
    pub(super) dial: DialPlan,
    pub(super) route_dial: RoutePlan,
    /// How it is reached now, and how the program was last told that it is.
    pub(super) path: Option<Path>,
    pub(super) told: Option<Path>,
}

impl Peer {
    pub(super) fn new(name: NodeName, interval: Duration, expires: Time) -> Peer {
        Peer {
            name,
            addresses: Vec::new(),
            advertised: None,
            routes: Vec::new(),
            spoilt: Table::default(),
            sequence: None,
            interval,
            expires,
            sessions: Vec::new(),
            joined: false,
            told_by: None,
            left: false,
            suspect: false,
            dial: DialPlan::default(),
            route_dial: RoutePlan::default(),
            path: None,
            told: None,
        }
    }

    /// Whether it should be dialled straight, now or later.
    pub(super) fn wants_direct(&self) -> bool {
        self.path != Some(Path::Direct) && self.dial.link.is_none() && !self.addresses.is_empty()
    }

    /// Whether it should be dialled through relays, now or later.
    pub(super) fn wants_route(&self) -> bool {
        self.sessions.is_empty() && self.route_dial.links.len() < self.routes.len()
    }

    /// Whether somebody else's word is all that is known of it.
    pub(super) fn is_hearsay(&self) -> bool {
        self.sequence.is_none() && !self.joined
    }

    /// Whether it is one of those who are there: it is in a session, or was heard itself and has not left.
    fn is_listed(&self) -> bool {
        !self.sessions.is_empty() || !self.left && !self.is_hearsay()
    }

    /// Remembers where it may be, at most `max` places that may be dialled. A loopback address is the
    /// shortest way; otherwise those that are known stay first, so that a replayed advert displaces nothing.
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

    /// Moves the address that worked to the front.
    pub(super) fn prefer_address(&mut self, address: SocketAddr, max: usize) {
        self.addresses.retain(|a| *a != address);
        self.addresses.insert(0, address);
        self.addresses.truncate(max);
    }
}

#[derive(Debug)]
pub(super) struct Directory {
    peers: Table<Instance, Box<Peer>>,
    names: Table<NodeName, Vec<Instance>>,
    due: Time,
}

impl Default for Directory {
    fn default() -> Directory {
        Directory {
            peers: Table::default(),
            names: Table::default(),
            due: Time::NEVER,
        }
    }
}

impl Directory {
    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    /// No peer can need attention before this.
    pub(super) fn due(&self) -> Time {
        self.due
    }

    /// Asks for attention at `at`.
    pub(super) fn wake_at(&mut self, at: Time) {
        self.due = self.due.min(at);
    }

    /// Takes the wake-up off; who looks at every peer sets the next one.
    pub(super) fn woken(&mut self) {
        self.due = Time::NEVER;
    }

    pub(super) fn get(&self, instance: &Instance) -> Option<&Peer> {
        self.peers.get(instance).map(|p| &**p)
    }

    pub(super) fn get_mut(&mut self, instance: &Instance) -> Option<&mut Peer> {
        self.peers.get_mut(instance).map(|p| &mut **p)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Instance, &Peer)> {
        self.peers.iter().map(|(i, p)| (i, &**p))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Instance, &mut Peer)> {
        self.peers.iter_mut().map(|(i, p)| (i, &mut **p))
    }

    pub(super) fn insert(&mut self, instance: Instance, peer: Peer) -> &mut Peer {
        self.wake_at(peer.expires);
        self.names
            .or_insert_with(peer.name.clone(), Vec::new)
            .push(instance);
        self.peers.or_insert_with(instance, || Box::new(peer))
    }

    pub(super) fn remove(&mut self, instance: &Instance) -> Option<Box<Peer>> {
        let peer = self.peers.remove(instance)?;
        if let Some(list) = self.names.get_mut(&peer.name) {
            list.retain(|i| i != instance);
            if list.is_empty() {
                self.names.remove(&peer.name);
            }
        }
        Some(peer)
    }

    /// Every instance that goes by `name`.
    pub(super) fn instances(&self, name: &NodeName) -> &[Instance] {
        self.names.get(name).map_or(&[], Vec::as_slice)
    }

    /// The one instance that `name` means, if any is there. Who is in a session comes before who is only
    /// known, who was heard before who was only told of, who is not doubted before who is; of two that are
    /// equally there, the lower instance, so that all nodes choose alike.
    pub(super) fn resolve(&self, name: &NodeName) -> Option<Instance> {
        self.instances(name)
            .iter()
            .filter_map(|i| Some((i, self.peers.get(i)?)))
            .filter(|(_, p)| !p.left || !p.sessions.is_empty())
            .min_by_key(|(i, p)| (p.sessions.is_empty(), p.is_hearsay(), p.suspect, **i))
            .map(|(i, _)| *i)
    }

    /// One that nobody would miss: never in a session, and the one not heard for the longest.
    pub(super) fn most_dispensable(&self) -> Option<Instance> {
        self.peers
            .iter()
            .filter(|(_, p)| {
                p.sessions.is_empty()
                    && !p.joined
                    && p.dial.link.is_none()
                    && p.route_dial.links.is_empty()
            })
            .min_by_key(|(_, p)| p.expires)
            .map(|(i, _)| *i)
    }

    /// How many are there, or may be.
    pub(super) fn count(&self) -> usize {
        self.peers.values().filter(|p| !p.left).count()
    }

    /// Whether somebody of this name is listed.
    pub(super) fn lists(&self, name: &NodeName) -> bool {
        let peer = self.resolve(name).and_then(|i| self.peers.get(&i));
        peer.is_some_and(|p| p.is_listed())
    }

    pub(super) fn infos(&self) -> Vec<(Instance, PeerInfo)> {
        self.names
            .keys()
            .filter_map(|name| {
                let instance = self.resolve(name)?;
                let peer = self.peers.get(&instance).filter(|p| p.is_listed())?;
                let info = PeerInfo {
                    name: name.clone(),
                    address: peer.addresses.first().copied(),
                    reachable: !peer.sessions.is_empty(),
                    path: peer.path.clone(),
                    ping: None,
                };
                Some((instance, info))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(directory: &mut Directory, id: u8, session: bool, suspect: bool) {
        let mut peer = Peer::new(
            NodeName::new("n").unwrap(),
            Duration::from_secs(1),
            Time::default(),
        );
        peer.suspect = suspect;
        if session {
            peer.sessions.push(LinkId(id.into()));
        }
        directory.insert(Instance([id; 16]), peer);
    }

    #[test]
    fn a_name_means_who_is_provably_there_and_then_the_lower_instance() {
        let name = NodeName::new("n").unwrap();
        let mut d = Directory::default();
        assert_eq!(d.resolve(&name), None);
        add(&mut d, 1, false, false);
        add(&mut d, 3, true, false);
        assert_eq!(
            d.resolve(&name),
            Some(Instance([3; 16])),
            "a session beats a claim"
        );
        add(&mut d, 2, true, true);
        assert_eq!(
            d.resolve(&name),
            Some(Instance([3; 16])),
            "a doubted one comes last"
        );
        d.get_mut(&Instance([2; 16])).unwrap().suspect = false;
        assert_eq!(
            d.resolve(&name),
            Some(Instance([2; 16])),
            "of two alike, the lower"
        );
        for i in 1..=3 {
            d.remove(&Instance([i; 16]));
        }
        assert_eq!((d.len(), d.names.len()), (0, 0));
    }

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
