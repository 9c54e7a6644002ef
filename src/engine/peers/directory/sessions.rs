//! What the sessions with a peer change in the directory.

use super::dialling::redial_pause;
use super::heard::expiry;
use super::peer::Peer;
use super::{Ctx, Directory, Event, LinkId, Path, Time};
use crate::identity::PublicKey;
use crate::name::NodeName;
use crate::reach::{self, Word};
use crate::wire::Instance;
use std::net::SocketAddr;

/// Whether a peer that has proved itself may be in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Welcome,
    /// The instance is known under another name.
    OtherName,
    /// It has left while the handshake was under way.
    HasLeft,
}

/// A session that was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    pub(crate) link: LinkId,
    /// The peer's public key.
    pub(crate) key: PublicKey,
    /// Whether this side dialled.
    pub(crate) dialled: bool,
    /// Where the peer is, if it is reached straight.
    pub(crate) address: Option<SocketAddr>,
}

/// What a new session with a peer leads to.
#[derive(Debug)]
pub(crate) struct NewSession {
    /// Dials through relays that are not needed any more.
    pub(crate) needless: Vec<LinkId>,
    /// The session that there was before, if there was one.
    pub(crate) other: Option<LinkId>,
}

/// What becomes of a peer when a session with it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It stays, in another session or to be dialled again.
    Stays,
    /// It has said goodbye, and this was its last session.
    Left,
    /// Another instance goes by its name, and this was its last session.
    Replaced,
}

impl Directory {
    pub(crate) fn admits(&self, instance: &Instance, name: &NodeName) -> Admission {
        match self.get(instance) {
            Some(peer) if peer.name != *name => Admission::OtherName,
            Some(peer) if peer.left => Admission::HasLeft,
            _ => Admission::Welcome,
        }
    }

    /// A peer has proved itself: makes it known if it is not. It is there, whether there is room or
    /// not. If there is none, gives another one that is to be dropped in its place: without that, a
    /// member that comes again and again as a new instance would fill the directory with peers that
    /// stay for many minutes after their sessions. If all others are in sessions, the bound on
    /// these bounds the directory as well.
    pub(crate) fn meet(
        &mut self,
        ctx: &Ctx<'_>,
        instance: Instance,
        name: &NodeName,
    ) -> Option<Instance> {
        if self.get(&instance).is_some() {
            return None;
        }
        let has_room = self.make_room(ctx.config.limits.peers);
        let dropped = if has_room {
            None
        } else {
            self.longest_unheard()
        };
        let interval = ctx.config.interval;
        let peer = Peer::new(name.clone(), interval, expiry(ctx.now.at, interval));
        self.insert(instance, peer);
        dropped
    }

    /// Of the peers that no link leads to, the one that was not heard for the longest, or that was
    /// lost then. Those that a relay leads to come last: they say nothing as long as nothing about
    /// them is new.
    fn longest_unheard(&self) -> Option<Instance> {
        let heard = |peer: &Peer| peer.expires - expiry(Time::default(), peer.interval);
        let idle = self.iter().filter(|(_, p)| p.links().next().is_none());
        let first = idle.min_by_key(|(_, p)| (!p.routes.is_empty(), heard(p)));
        first.map(|(instance, _)| *instance)
    }

    /// A session with a known peer is proved from both sides.
    pub(crate) fn session_up(
        &mut self,
        ctx: &Ctx<'_>,
        instance: &Instance,
        made: Made,
    ) -> Option<NewSession> {
        let max = ctx.config.limits.addresses_per_peer;
        let peer = self.get_mut(instance)?;
        if let Some(address) = made.address {
            if made.dialled {
                peer.prefer_address(address, max);
            } else if peer.addresses.is_empty()
                && reach::may_dial(address, Word::From(address.ip()))
            {
                peer.learn_address(address, max);
            }
            peer.dial.at = None;
            peer.dial.next = 0;
            peer.dial.failures = 0;
        }
        peer.suspect = false;
        peer.key = Some(made.key);
        // The first of those that were tried at once was the shortest way.
        let needless = std::mem::take(&mut peer.route_dial).links;
        peer.sessions.push(made.link);
        Some(NewSession {
            needless,
            other: peer.sessions.iter().copied().find(|l| *l != made.link),
        })
    }

    /// The program is told of a peer, unless it was already. Says whether it was not.
    pub(crate) fn announce(&mut self, instance: &Instance) -> bool {
        let peer = self.get_mut(instance);
        peer.is_some_and(|peer| !std::mem::replace(&mut peer.announced, true))
    }

    /// A dial was answered; a handshake goes on.
    pub(crate) fn dial_answered(&mut self, ctx: &Ctx<'_>, instance: &Instance, link: LinkId) {
        // Whichever instance answered: if it is another one, it takes this one's place.
        if let Some(peer) = self.get_mut(instance) {
            peer.dial.link = peer.dial.link.filter(|l| *l != link);
            peer.route_dial.links.retain(|l| *l != link);
        }
        self.wake_at(ctx.now.at);
    }

    /// A dial through a relay is over without having failed.
    pub(crate) fn route_dial_over(&mut self, instance: &Instance, link: LinkId) {
        if let Some(peer) = self.get_mut(instance) {
            peer.route_dial.links.retain(|l| *l != link);
        }
    }

    /// Another instance has proved to go by the name of this one. Whether the program knew it.
    pub(crate) fn doubt(&mut self, instance: &Instance) -> bool {
        self.get_mut(instance).is_some_and(|peer| {
            peer.suspect = true;
            std::mem::take(&mut peer.announced)
        })
    }

    /// A peer that was challenged has shown that it lives. Of one name there are two then, and
    /// [`Directory::resolve`] decides; or a goodbye was not its own.
    pub(crate) fn note_alive(&mut self, instance: &Instance) {
        if let Some(peer) = self.get_mut(instance) {
            (peer.suspect, peer.left) = (false, false);
            peer.announced = true;
        }
    }

    /// A session has ended; whether its peer is known.
    pub(crate) fn session_down(&mut self, instance: &Instance, link: LinkId) -> bool {
        let Some(peer) = self.get_mut(instance) else {
            return false;
        };
        peer.sessions.retain(|l| *l != link);
        true
    }

    /// What becomes of a peer after a session with it has ended, if it is known.
    pub(crate) fn standing(&self, instance: &Instance) -> Option<Standing> {
        let peer = self.get(instance)?;
        Some(match peer.sessions.is_empty() {
            true if peer.suspect => Standing::Replaced,
            true if peer.left => Standing::Left,
            _ => Standing::Stays,
        })
    }

    /// A session with a peer has ended, or a path to it is new: plans what is to be dialled now.
    pub(crate) fn plan_redial(&mut self, ctx: &mut Ctx<'_>, instance: Instance) {
        let Some(peer) = self.get_mut(&instance) else {
            return;
        };
        peer.rests = false;
        let reachable = !peer.sessions.is_empty();
        let expires = expiry(ctx.now.at, peer.interval);
        let at = ctx.now.at + redial_pause(ctx, 0, instance, reachable);
        if peer.path != Some(Path::Direct) || !reachable {
            peer.dial.at = Some(at);
        }
        if !reachable {
            peer.expires = peer.expires.max(expires);
            peer.route_dial.at = Some(at);
        }
        self.wake_at(at.min(expires));
    }

    /// The other side has closed a session because it has no use for it. Nothing is wrong with the
    /// peer; it is dialled when a call wants it. If it were dialled at once, straight or through a
    /// relay, a node with more peers than sessions would close another session for this one, and
    /// that would go on without end.
    pub(crate) fn rest(&mut self, instance: &Instance) {
        if let Some(peer) = self.get_mut(instance) {
            peer.rests = true;
            (peer.dial.at, peer.route_dial.at) = (None, None);
        }
    }

    /// Peers that were left alone may be worth a session now: plans to dial those that have none.
    pub(crate) fn wake_rested(&mut self, ctx: &mut Ctx<'_>) {
        let rested = self
            .iter()
            .filter(|(_, peer)| peer.rests && peer.sessions.is_empty());
        let rested: Vec<Instance> = rested.map(|(instance, _)| *instance).collect();
        for instance in rested {
            self.plan_redial(ctx, instance);
        }
    }

    /// Notes how a peer is reached now, and tells if that has changed.
    pub(crate) fn set_path(&mut self, ctx: &mut Ctx<'_>, instance: &Instance, path: Option<Path>) {
        let Some(peer) = self.get_mut(instance) else {
            return;
        };
        peer.path.clone_from(&path);
        let Some(path) = path else {
            return;
        };
        let before = peer.told.replace(path.clone());
        if before.is_some_and(|before| before != path) {
            let peer = peer.name.clone();
            ctx.stats.paths_changed += 1;
            ctx.event(Event::PathChanged { peer, path });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::RelayAddress;
    use crate::engine::fixture::{Fixture, at, name};
    use crate::engine::peers::directory::peer::RoutePlace;
    use crate::identity::Identity;
    use crate::wire::relay::Route;
    use std::time::Duration;

    const PEER: Instance = Instance([9; 16]);

    fn made(link: u64, dialled: bool) -> Made {
        Made {
            link: LinkId(link),
            key: Identity::from_seed([9; 32]).public_key(),
            dialled,
            address: "10.0.0.1:9".parse().ok(),
        }
    }

    fn met() -> (Fixture, Directory) {
        let (mut fixture, mut directory) = (Fixture::default(), Directory::default());
        assert_eq!(directory.admits(&PEER, &name("p")), Admission::Welcome);
        directory.meet(&fixture.ctx(), PEER, &name("p"));
        (fixture, directory)
    }

    #[test]
    fn a_peer_is_announced_once_and_its_second_session_meets_the_first() {
        let (mut fixture, mut directory) = met();
        let first = directory.session_up(&fixture.ctx(), &PEER, made(1, true));
        let first = first.unwrap();
        assert!(first.other.is_none());
        assert!(directory.announce(&PEER) && !directory.announce(&PEER));
        let second = directory.session_up(&fixture.ctx(), &PEER, made(2, false));
        let second = second.unwrap();
        assert_eq!(second.other, Some(LinkId(1)));
        assert_eq!(directory.reached(&PEER), Some(&name("p")));
        assert_eq!(directory.admits(&PEER, &name("q")), Admission::OtherName);
    }

    #[test]
    fn a_new_peer_takes_the_place_of_the_one_without_a_link_that_was_not_heard_for_the_longest() {
        let (mut fixture, mut directory) = (Fixture::default(), Directory::default());
        fixture.core.config.limits.peers = 4;
        let peer = |n: u8| Instance([n; 16]);
        for n in 1..=4 {
            fixture.now = at(n.into());
            let dropped = directory.meet(&fixture.ctx(), peer(n), &name(&format!("p{n}")));
            assert_eq!(dropped, None);
            directory.session_up(&fixture.ctx(), &peer(n), made(n.into(), false));
            directory.announce(&peer(n));
        }
        let mut meet = |directory: &mut Directory, n| {
            fixture.now = at(10);
            directory.meet(&fixture.ctx(), peer(n), &name(&format!("p{n}")))
        };
        assert_eq!(meet(&mut directory, 5), None, "all are in sessions");
        directory.remove(&peer(5));
        for n in 2..=4 {
            directory.session_down(&peer(n), LinkId(n.into()));
        }
        // The second is at a relay; the third says that it is seldom heard.
        let place = RoutePlace {
            carrier: LinkId(9),
            route: Route::default(),
            sequence: 1,
        };
        directory.get_mut(&peer(2)).unwrap().routes.push(place);
        let third = directory.get_mut(&peer(3)).unwrap();
        third.interval = Duration::from_secs(300);
        third.expires = expiry(at(3), third.interval);
        assert_eq!(meet(&mut directory, 3), None, "it is known");
        assert_eq!(meet(&mut directory, 6), Some(peer(3)));
    }

    #[test]
    fn a_peer_that_left_or_was_replaced_is_gone_with_its_last_session() {
        let (mut fixture, mut directory) = met();
        for link in [1, 2] {
            directory.session_up(&fixture.ctx(), &PEER, made(link, true));
        }
        directory.announce(&PEER);
        directory.note_goodbye(&PEER);
        assert_eq!(directory.admits(&PEER, &name("p")), Admission::HasLeft);
        assert!(directory.session_down(&PEER, LinkId(1)));
        assert_eq!(directory.standing(&PEER), Some(Standing::Stays));
        assert!(directory.session_down(&PEER, LinkId(2)));
        assert_eq!(directory.standing(&PEER), Some(Standing::Left));
        assert!(directory.doubt(&PEER));
        assert_eq!(directory.standing(&PEER), Some(Standing::Replaced));
        directory.note_alive(&PEER);
        assert_eq!(directory.standing(&PEER), Some(Standing::Stays));
    }

    #[test]
    fn a_peer_that_is_lost_is_dialled_again_and_has_a_while_to_come_back() {
        let (mut fixture, mut directory) = met();
        directory.session_up(&fixture.ctx(), &PEER, made(1, true));
        directory.session_down(&PEER, LinkId(1));
        fixture.now = at(60_000);
        directory.plan_redial(&mut fixture.ctx(), PEER);
        let peer = directory.get(&PEER).unwrap();
        assert!(peer.dial.at.unwrap() < at(61_000));
        assert_eq!(peer.dial.at, peer.route_dial.at);
        assert_eq!(peer.expires, at(63_500));
    }

    #[test]
    fn a_peer_that_has_no_use_for_a_session_is_not_dialled_again_in_any_way() {
        let (mut fixture, mut directory) = met();
        directory.session_up(&fixture.ctx(), &PEER, made(1, true));
        directory.session_down(&PEER, LinkId(1));
        directory.plan_redial(&mut fixture.ctx(), PEER);
        directory.rest(&PEER);
        let peer = directory.get(&PEER).unwrap();
        assert_eq!((peer.dial.at, peer.route_dial.at), (None, None));
    }

    #[test]
    fn a_path_is_told_when_it_is_another() {
        let (mut fixture, mut directory) = met();
        let relay = Path::Relay(RelayAddress::new("relay.example:1").unwrap());
        for path in [Some(relay.clone()), None, Some(relay), Some(Path::Direct)] {
            directory.set_path(&mut fixture.ctx(), &PEER, path);
        }
        let changed = Event::PathChanged {
            peer: name("p"),
            path: Path::Direct,
        };
        assert_eq!(fixture.events(), [changed]);
        assert_eq!(fixture.core.stats.paths_changed, 1);
    }
}
