//! Adverts: ours go out, and those of others fill the directory or say goodbye. One that claims our
//! name is for the name probe (`name_probe`).

use super::{Ctx, Network, Phase, Wanted};
use crate::address::RelayAddress;
use crate::engine::peers::{Goodbye, Leaver, News, Origin, place_of};
use crate::engine::{LinkId, Time};
use crate::wire::Instance;
use crate::wire::advert::{Advert, Phase as AdvertPhase};
use crate::wire::relay::Route;
use std::net::{IpAddr, SocketAddr};

/// What an advert leads to beyond the network.
#[derive(Debug)]
pub(crate) enum AdvertOutcome {
    /// A node that is in no session has said goodbye.
    Left { instance: Instance, leaver: Leaver },
    /// The relay at the end of this link, which was learnt from others, is one that this node is
    /// linked to already, under another name. The link is to end, and then
    /// [`Network::drop_alias`] is to follow.
    Alias { link: LinkId, address: RelayAddress },
}

impl Network {
    /// Tells the LAN what phase this node is in.
    pub(crate) fn advertise(&mut self, ctx: &mut Ctx<'_>, phase: AdvertPhase) {
        let relays = self.relays.named();
        self.advertiser
            .advertise(ctx, phase, relays, &mut self.plain);
    }

    /// Tells the LAN and every relay that this node leaves.
    pub(crate) fn say_goodbye(&mut self, ctx: &mut Ctx<'_>) {
        self.advertise(ctx, AdvertPhase::Leaving);
        self.tell_relays(ctx, self.links.joined_relays(), AdvertPhase::Leaving);
    }

    pub(super) fn tell_relays(
        &mut self,
        ctx: &mut Ctx<'_>,
        relays: Vec<LinkId>,
        phase: AdvertPhase,
    ) {
        let named = self.relays.named();
        let frame = self.advertiser.frame(ctx, phase, named, &mut self.plain);
        for id in relays {
            self.links.tell_relay(ctx, id, &frame, self.relays.news());
        }
    }

    /// Interfaces have changed: everyone is told that this node is there.
    pub(crate) fn interfaces_changed(&mut self, now: Time) {
        self.advertiser.burst(now);
    }

    /// Takes in a datagram. `opened` is where its token is opened.
    pub(crate) fn datagram(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: SocketAddr,
        bytes: &[u8],
        opened: &mut Vec<u8>,
        wanted: Wanted<'_>,
    ) -> Option<AdvertOutcome> {
        if ctx.phase == Phase::Stopped {
            return None;
        }
        let payload = self.presence.datagram(ctx, from, bytes)?;
        let Some(plain) = ctx.open_advert(payload, opened) else {
            self.strangers.heard(ctx, from.ip(), payload);
            return None;
        };
        let advert = ctx.decode_advert(plain)?;
        self.advert(ctx, Origin::Lan(from), &advert, wanted)
    }

    /// Takes in an advert.
    pub(crate) fn advert(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Origin,
        advert: &Advert,
        wanted: Wanted<'_>,
    ) -> Option<AdvertOutcome> {
        if advert.instance == ctx.instance {
            return match from {
                Origin::Relay(carrier, route) => self.alias(carrier, route),
                Origin::Lan(_) => None,
            };
        }
        if ctx.phase == Phase::Stopped {
            return None;
        }
        ctx.stats.adverts_heard += 1;
        if ctx.is_own_name(&advert.name) {
            self.name_claimed(ctx, from, advert);
            return None;
        }
        match (advert.phase, from) {
            // The relay has told it of us already.
            (AdvertPhase::Probing, Origin::Relay(..)) => {}
            (AdvertPhase::Probing, Origin::Lan(_)) => {
                self.advertiser.answer_prober(ctx, advert.instance);
            }
            (AdvertPhase::Leaving, _) => return self.goodbye(ctx, advert),
            (AdvertPhase::Present, _) => self.present(ctx, from, advert, wanted),
        }
        None
    }

    /// Where an advert says that its sender is, if that may be dialled on its word.
    pub(super) fn place_of(
        &self,
        ctx: &mut Ctx<'_>,
        from: Origin,
        advert: &Advert,
    ) -> Option<SocketAddr> {
        let relay: Option<IpAddr> = match from {
            Origin::Lan(_) => None,
            Origin::Relay(carrier, _) => self.relays.address(carrier).and_then(|r| r.ip()),
        };
        place_of(ctx, from, relay, advert)
    }

    fn present(&mut self, ctx: &mut Ctx<'_>, from: Origin, advert: &Advert, wanted: Wanted<'_>) {
        let place = self.place_of(ctx, from, advert);
        let is_news = match self.directory.heard_again(ctx, from, advert, place) {
            Some(News::Stale) => return,
            Some(News::Again) => false,
            Some(News::Later { reachable }) => {
                // A replay cannot be newer than the peer's last advert, and its session is open: so
                // the peer has sent this, and its address is genuine.
                if let (Origin::Lan(from), true) = (from, reachable) {
                    self.presence.know(ctx.now.at, from.ip());
                }
                true
            }
            None if self.first_heard(ctx, from, advert, place, wanted) => true,
            None => return,
        };
        if let Origin::Relay(carrier, route) = from {
            self.learn_route(ctx, advert, (carrier, route), wanted);
        }
        if is_news {
            self.relays.learn(ctx.now.at, advert);
        }
    }

    /// Makes a peer known, if there is room for it.
    fn first_heard(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Origin,
        advert: &Advert,
        place: Option<SocketAddr>,
        wanted: Wanted<'_>,
    ) -> bool {
        if !self.directory.make_room(ctx.config.limits.peers) {
            ctx.stats.adverts_throttled += 1;
            return false;
        }
        // A node that was not told of us cannot dial us.
        let told = match from {
            Origin::Lan(_) => self.advertiser.answer_stranger(ctx),
            Origin::Relay(..) => true,
        };
        self.directory.first_heard(ctx, from, advert, place, told);
        if wanted(&advert.name) {
            self.want_dial(ctx, advert.instance);
        }
        true
    }

    fn learn_route(
        &mut self,
        ctx: &Ctx<'_>,
        advert: &Advert,
        place: (LinkId, Route),
        wanted: Wanted<'_>,
    ) {
        let (instance, links) = (advert.instance, &self.links);
        let is_proved = |carrier, route| links.is_proved(carrier, route);
        let is_planned =
            self.directory
                .learn_route(ctx, &instance, place, advert.sequence, is_proved);
        if is_planned && wanted(&advert.name) {
            self.want_dial(ctx, instance);
        }
    }

    fn goodbye(&mut self, ctx: &mut Ctx<'_>, advert: &Advert) -> Option<AdvertOutcome> {
        match self.directory.goodbye(ctx, advert) {
            Goodbye::Stale => None,
            // What it said last in its sessions may still be on its way. Their end comes after
            // that.
            Goodbye::InSession => {
                self.challenge(ctx, advert.instance);
                None
            }
            Goodbye::Gone => Some(AdvertOutcome::Left {
                instance: advert.instance,
                leaver: Leaver::of(advert),
            }),
        }
    }

    /// What is to be remembered of a peer that leaves, as it said in a session or before that
    /// ended.
    pub(crate) fn leaver(&self, instance: &Instance) -> Option<Leaver> {
        self.directory.leaver(instance)
    }

    /// A node has left, and nothing of it is left here: remembers that for a while.
    pub(crate) fn remember_left(&mut self, ctx: &Ctx<'_>, instance: Instance, leaver: Leaver) {
        self.directory.remember_left(ctx, instance, leaver);
    }
}
