//! The table of peers, by instance and by name, and its rules of choice.
//!
//! Each entry is a [`Peer`]. What changes the table stands in the files of this folder: `heard` is
//! what adverts do to it, `hearsay` what other peers tell, `sessions` what sessions do, and
//! `dialling` says when a peer is to be dialled, and how.

mod dialling;
mod heard;
mod hearsay;
mod peer;
mod sessions;

pub(crate) use dialling::{COMPARE, Due, SLOT_WAIT};
pub(crate) use heard::{Goodbye, Leaver, News, Origin, place_of};
pub(crate) use peer::Peer;
pub(crate) use sessions::{Admission, Made, NewSession, Standing};

use super::{Ctx, Event, LinkId, Path, PeerInfo, Time};
use crate::name::NodeName;
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::relay::Route;

#[derive(Debug)]
pub(crate) struct Directory {
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
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// No peer can need attention before this.
    pub(crate) fn due(&self) -> Time {
        self.due
    }

    /// Asks for attention at `at`.
    pub(crate) fn wake_at(&mut self, at: Time) {
        self.due = self.due.min(at);
    }

    /// Takes the wake-up off. The look at every peer that follows sets the next one.
    pub(super) fn woken(&mut self) {
        self.due = Time::NEVER;
    }

    pub(crate) fn get(&self, instance: &Instance) -> Option<&Peer> {
        self.peers.get(instance).map(|p| &**p)
    }

    pub(super) fn get_mut(&mut self, instance: &Instance) -> Option<&mut Peer> {
        self.peers.get_mut(instance).map(|p| &mut **p)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Instance, &Peer)> {
        self.peers.iter().map(|(i, p)| (i, &**p))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Instance, &mut Peer)> {
        self.peers.iter_mut().map(|(i, p)| (i, &mut **p))
    }

    /// The links on which sessions with a peer are open.
    pub(crate) fn sessions(&self, instance: &Instance) -> &[LinkId] {
        self.get(instance).map_or(&[], |p| &p.sessions)
    }

    /// The name of a peer with which a session is open.
    pub(crate) fn reached(&self, instance: &Instance) -> Option<&NodeName> {
        let peer = self.get(instance)?;
        (!peer.sessions.is_empty()).then_some(&peer.name)
    }

    pub(super) fn insert(&mut self, instance: Instance, peer: Peer) {
        self.wake_at(peer.expires);
        self.names
            .or_insert_with(peer.name.clone(), Vec::new)
            .push(instance);
        self.peers.or_insert_with(instance, || Box::new(peer));
    }

    pub(crate) fn remove(&mut self, instance: &Instance) -> Option<Box<Peer>> {
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
    pub(crate) fn instances(&self, name: &NodeName) -> &[Instance] {
        self.names.get(name).map_or(&[], Vec::as_slice)
    }

    /// The one instance that `name` means, if any is there. One in a session comes before one that
    /// is only known, one that was heard before one that was only told of, one that is not doubted
    /// before one that is; of two that are equally there, the lower instance, so that all nodes
    /// choose alike.
    pub(crate) fn resolve(&self, name: &NodeName) -> Option<Instance> {
        self.instances(name)
            .iter()
            .filter_map(|i| Some((i, self.peers.get(i)?)))
            .filter(|(_, p)| !p.left || !p.sessions.is_empty())
            .min_by_key(|(i, p)| (p.sessions.is_empty(), p.is_hearsay(), p.suspect, **i))
            .map(|(i, _)| *i)
    }

    /// Makes room for one more peer, if need be in place of one that nobody would miss. `max` is
    /// how many there may be. Says whether there is room now.
    pub(crate) fn make_room(&mut self, max: usize) -> bool {
        self.len() < max || self.forget_one()
    }

    /// Forgets a peer that nobody would miss; false if every one would be.
    fn forget_one(&mut self) -> bool {
        match self.most_dispensable() {
            Some(instance) => self.remove(&instance).is_some(),
            None => false,
        }
    }

    /// One that nobody would miss: never in a session, and the one not heard for the longest.
    fn most_dispensable(&self) -> Option<Instance> {
        self.peers
            .iter()
            .filter(|(_, p)| !p.announced && p.links().next().is_none())
            .min_by_key(|(_, p)| p.expires)
            .map(|(i, _)| *i)
    }

    /// How many are there, or may be.
    pub(crate) fn count(&self) -> usize {
        self.peers.values().filter(|p| !p.left).count()
    }

    /// Whether a peer of this name is listed.
    pub(crate) fn lists(&self, name: &NodeName) -> bool {
        let peer = self.resolve(name).and_then(|i| self.peers.get(&i));
        peer.is_some_and(|p| p.is_listed())
    }

    pub(crate) fn infos(&self) -> Vec<(Instance, PeerInfo)> {
        self.names
            .keys()
            .filter_map(|name| {
                let instance = self.resolve(name)?;
                let peer = self.peers.get(&instance).filter(|p| p.is_listed())?;
                let info = PeerInfo {
                    name: name.clone(),
                    address: peer.address(),
                    reachable: !peer.sessions.is_empty(),
                    path: peer.path.clone(),
                    ping: None,
                    key: peer.key,
                };
                Some((instance, info))
            })
            .collect()
    }

    /// A relay, by the link to it, leads to a peer no more, or to none if there is no route; the
    /// peers that have lost a route so.
    pub(crate) fn forget_routes(&mut self, carrier: LinkId, route: Option<Route>) -> Vec<Instance> {
        let mut lost = Vec::new();
        for (instance, peer) in self.iter_mut() {
            let before = peer.routes.len();
            peer.routes
                .retain(|p| p.carrier != carrier || route.is_some_and(|gone| p.route != gone));
            if peer.routes.len() < before {
                lost.push(*instance);
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::peer::RoutePlace;
    use super::*;
    use std::time::Duration;

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
    fn one_that_was_never_met_makes_room_and_one_in_a_session_does_not() {
        let mut d = Directory::default();
        add(&mut d, 1, true, false);
        assert!(d.make_room(2), "there is room");
        assert!(!d.make_room(1), "it is in a session");
        add(&mut d, 2, false, false);
        assert!(d.make_room(2));
        assert!(d.get(&Instance([2; 16])).is_none());
        assert_eq!(d.len(), 1);
    }

    #[test]
    fn a_relay_that_is_lost_takes_its_own_routes_only() {
        let mut d = Directory::default();
        add(&mut d, 1, false, false);
        add(&mut d, 2, false, false);
        let route = |n: u8| Route::draw(&mut Fixed(n));
        let place = |link, n| RoutePlace {
            carrier: LinkId(link),
            route: route(n),
            sequence: 1,
        };
        let peer = d.get_mut(&Instance([1; 16])).unwrap();
        peer.routes = vec![place(7, 1), place(8, 1)];
        let peer = d.get_mut(&Instance([2; 16])).unwrap();
        peer.routes = vec![place(7, 2), place(7, 3)];
        let lost = d.forget_routes(LinkId(7), Some(route(2)));
        assert_eq!(lost, [Instance([2; 16])]);
        let lost = d.forget_routes(LinkId(7), None);
        assert_eq!(lost, [Instance([1; 16]), Instance([2; 16])]);
        assert_eq!(d.get(&Instance([1; 16])).unwrap().routes.len(), 1);
        assert!(d.get(&Instance([2; 16])).unwrap().routes.is_empty());
    }

    struct Fixed(u8);

    impl crate::entropy::Entropy for Fixed {
        fn fill(&mut self, out: &mut [u8]) {
            out.fill(self.0);
        }
    }
}
