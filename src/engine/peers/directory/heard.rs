//! What the adverts of others do to the directory: they make peers known, keep them there, and say
//! goodbye.
//!
//! An advert makes a peer known, never reachable: the dial it leads to is bounded, and the
//! handshake decides.

use super::peer::Peer;
use super::{Ctx, Directory, LinkId, Time};
use crate::backoff::YIELD;
use crate::name::NodeName;
use crate::reach::{self, Word};
use crate::wire::Instance;
use crate::wire::advert::Advert;
use crate::wire::relay::Route;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A peer is gone after this many halves of its interval: 3.5 intervals.
const EXPIRY_HALVES: u32 = 7;
/// Longest interval a peer may claim, so that an entry cannot be made to stay for weeks.
const INTERVAL_MAX: Duration = Duration::from_secs(300);

/// Where an advert came from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// A datagram that says it is from here.
    Lan(SocketAddr),
    /// A relay, which says that its sender is at this route.
    Relay(LinkId, Route),
}

/// What an advert of a peer that is known already tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing: it may be a replay.
    Stale,
    /// What was heard before, over another way.
    Again,
    /// Something that is later than all that was heard of a peer; whether a session with it is
    /// open.
    Later { reachable: bool },
}

/// What a goodbye means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// Nothing: it may be a replay.
    Stale,
    /// The peer is in a session, whose end comes after what it said last there.
    InSession,
    /// The peer is gone, or was never known.
    Gone,
}

/// A node that has left.
#[derive(Clone, Debug)]
pub(crate) struct Leaver {
    name: NodeName,
    interval: Duration,
    /// That of its last advert.
    sequence: Option<u64>,
}

impl Leaver {
    /// The sender of a goodbye.
    pub(crate) fn of(advert: &Advert) -> Leaver {
        Leaver {
            name: advert.name.clone(),
            interval: advert_interval(advert),
            sequence: Some(advert.sequence),
        }
    }
}

/// The time by which a peer that was just heard must be heard again.
pub(super) fn expiry(now: Time, interval: Duration) -> Time {
    now + interval * EXPIRY_HALVES / 2
}

/// The interval that an advert claims, as far as it is believed.
fn advert_interval(advert: &Advert) -> Duration {
    Duration::from_millis(advert.interval_ms.into()).min(INTERVAL_MAX)
}

/// Where an advert says that its sender is, if that may be dialled on its word. `relay` is where
/// the relay is that it came through, if that is known.
pub(crate) fn place_of(
    ctx: &mut Ctx<'_>,
    from: Origin,
    relay: Option<IpAddr>,
    advert: &Advert,
) -> Option<SocketAddr> {
    let (source, word) = match from {
        Origin::Lan(from) => (Some(from.ip()), Word::From(from.ip())),
        // Where the relay is says nothing of where its member is, unless it is on this host.
        Origin::Relay(..) => (None, relay.map_or(Word::Anyone, Word::From)),
    };
    let place = SocketAddr::new(advert.address.or(source)?, advert.port);
    let allowed = reach::may_dial(place, word);
    ctx.stats.addresses_refused += u64::from(!allowed);
    allowed.then_some(place)
}

impl Directory {
    /// Takes in an advert of a peer, at `place` if that may be dialled. `None` if it is not known
    /// yet.
    pub(crate) fn heard_again(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Origin,
        advert: &Advert,
        place: Option<SocketAddr>,
    ) -> Option<News> {
        let peer = self.get_mut(&advert.instance)?;
        let older = peer.sequence.is_some_and(|s| advert.sequence < s);
        // A relay holds the advert it was given when something was new, and it leads there still.
        if peer.left || peer.name != advert.name || older && matches!(from, Origin::Lan(_)) {
            ctx.stats.adverts_stale += 1;
            return Some(News::Stale);
        }
        // The same advert comes once over each interface, each time from another address.
        let known = peer.addresses.len();
        if let Some(place) = place {
            peer.learn_address(place, ctx.config.limits.addresses_per_peer);
        }
        if let Origin::Relay(..) = from {
            peer.advertised = place;
        }
        let mut news = News::Again;
        if peer.sequence.is_none_or(|s| advert.sequence > s) {
            peer.sequence = Some(advert.sequence);
            peer.interval = advert_interval(advert);
            peer.expires = expiry(ctx.now.at, peer.interval);
            let reachable = !peer.sessions.is_empty();
            news = News::Later { reachable };
        }
        // Met on a LAN after having met at a relay.
        if peer.addresses.len() > known && peer.wants_direct() && peer.dial.at.is_none() {
            let yields = ctx.instance > advert.instance;
            let wait = if yields { YIELD } else { Duration::ZERO };
            peer.dial.at = Some(ctx.now.at + wait);
            self.wake_at(ctx.now.at);
        }
        Some(news)
    }

    /// Takes in the first advert of a peer. `told` is whether it was told of us, and can dial us.
    pub(crate) fn first_heard(
        &mut self,
        ctx: &Ctx<'_>,
        from: Origin,
        advert: &Advert,
        place: Option<SocketAddr>,
        told: bool,
    ) {
        let (now, interval) = (ctx.now.at, advert_interval(advert));
        let mut peer = Peer::new(advert.name.clone(), interval, expiry(now, interval));
        peer.sequence = Some(advert.sequence);
        if let Some(place) = place {
            let yields = told && ctx.instance > advert.instance;
            let wait = if yields { YIELD } else { Duration::ZERO };
            peer.learn_address(place, ctx.config.limits.addresses_per_peer);
            peer.dial.at = Some(now + wait);
            self.wake_at(now + wait);
        }
        if let Origin::Relay(..) = from {
            peer.advertised = place;
        }
        self.insert(advert.instance, peer);
    }

    /// Takes in the goodbye of a peer.
    pub(crate) fn goodbye(&mut self, ctx: &mut Ctx<'_>, advert: &Advert) -> Goodbye {
        let Some(peer) = self.get_mut(&advert.instance) else {
            return Goodbye::Gone;
        };
        let older = peer.sequence.is_some_and(|s| advert.sequence <= s);
        if peer.left || peer.name != advert.name || older {
            ctx.stats.adverts_stale += 1;
            return Goodbye::Stale;
        }
        if peer.sessions.is_empty() {
            return Goodbye::Gone;
        }
        peer.left = true;
        peer.sequence = Some(advert.sequence);
        Goodbye::InSession
    }

    /// What is to be remembered of a peer when it has left.
    pub(crate) fn leaver(&self, instance: &Instance) -> Option<Leaver> {
        let peer = self.get(instance)?;
        Some(Leaver {
            name: peer.name.clone(),
            interval: peer.interval,
            sequence: peer.sequence,
        })
    }

    /// Remembers until it would have expired that a node has left: what it said before may still
    /// come, or be replayed, and must neither make it known nor begin dials anew.
    pub(crate) fn remember_left(&mut self, ctx: &Ctx<'_>, instance: Instance, leaver: Leaver) {
        if !self.make_room(ctx.config.limits.peers) {
            return;
        }
        let expires = expiry(ctx.now.at, leaver.interval);
        let mut peer = Peer::new(leaver.name, leaver.interval, expires);
        peer.sequence = leaver.sequence;
        peer.left = true;
        self.insert(instance, peer);
    }

    /// A peer has said goodbye in a session.
    pub(crate) fn note_goodbye(&mut self, instance: &Instance) {
        if let Some(peer) = self.get_mut(instance) {
            peer.left = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{Fixture, at, name};
    use crate::wire::advert::Phase;

    fn advert(instance: u8, sequence: u64) -> Advert {
        Advert {
            phase: Phase::Present,
            instance: Instance([instance; 16]),
            sequence,
            interval_ms: 2_000,
            port: 9,
            name: name("peer"),
            address: None,
            relays: Vec::new(),
            vouched: 0,
            extensions: crate::wire::extensions::Extensions::default(),
        }
    }

    const LAN: &str = "10.0.0.1:5";

    fn hear(directory: &mut Directory, fixture: &mut Fixture, advert: &Advert) -> Option<News> {
        let (from, ctx) = (Origin::Lan(LAN.parse().unwrap()), &mut fixture.ctx());
        let place = place_of(ctx, from, None, advert);
        directory.heard_again(ctx, from, advert, place)
    }

    #[test]
    fn an_advert_makes_a_peer_known_and_the_higher_instance_waits_before_it_dials() {
        for (instance, wait) in [(9, 0), (1, 1_000)] {
            let (mut fixture, mut directory) = (Fixture::default(), Directory::default());
            let heard = advert(instance, 1);
            assert_eq!(hear(&mut directory, &mut fixture, &heard), None);
            let from = Origin::Lan(LAN.parse().unwrap());
            let place = "10.0.0.1:9".parse().ok();
            directory.first_heard(&fixture.ctx(), from, &heard, place, true);
            let peer = directory.get(&heard.instance).unwrap();
            assert_eq!(peer.dial.at, Some(at(wait)));
            assert_eq!(peer.addresses, [place.unwrap()]);
            assert_eq!(peer.expires, at(7_000), "3.5 intervals");
            assert_eq!(directory.due(), at(wait));
        }
    }

    #[test]
    fn a_replayed_advert_is_no_news_and_a_later_one_keeps_the_peer() {
        let (mut fixture, mut directory) = (Fixture::default(), Directory::default());
        let from = Origin::Lan(LAN.parse().unwrap());
        directory.first_heard(&fixture.ctx(), from, &advert(9, 5), None, true);
        fixture.now = at(1_000);
        let mut news = |sequence| hear(&mut directory, &mut fixture, &advert(9, sequence)).unwrap();
        assert_eq!(news(4), News::Stale);
        assert_eq!(news(5), News::Again);
        assert_eq!(news(6), News::Later { reachable: false });
        assert_eq!(fixture.core.stats.adverts_stale, 1);
        let peer = directory.get(&Instance([9; 16])).unwrap();
        assert_eq!(peer.expires, at(8_000));
    }

    #[test]
    fn a_node_that_said_goodbye_is_not_known_again_by_what_it_said_before() {
        let (mut fixture, mut directory) = (Fixture::default(), Directory::default());
        let goodbye = advert(9, 5);
        assert_eq!(
            directory.goodbye(&mut fixture.ctx(), &goodbye),
            Goodbye::Gone
        );
        directory.remember_left(&fixture.ctx(), goodbye.instance, Leaver::of(&goodbye));
        assert_eq!(
            hear(&mut directory, &mut fixture, &advert(9, 6)),
            Some(News::Stale)
        );
        assert_eq!(
            directory.goodbye(&mut fixture.ctx(), &goodbye),
            Goodbye::Stale
        );
        assert_eq!(directory.count(), 0);
    }

    #[test]
    fn an_address_is_believed_as_far_as_the_word_of_its_sender() {
        let mut fixture = Fixture::default();
        let mut says = advert(9, 1);
        says.address = "127.0.0.1".parse().ok();
        let mut place = |from, relay| place_of(&mut fixture.ctx(), from, relay, &says);
        let carrier = Origin::Relay(LinkId(1), Route::default());
        assert_eq!(place(Origin::Lan(LAN.parse().unwrap()), None), None);
        assert_eq!(place(carrier, None), None);
        let here = "127.0.0.1".parse().ok();
        assert!(place(carrier, here).is_some(), "the relay is on this host");
        assert_eq!(fixture.core.stats.addresses_refused, 2);
    }
}
