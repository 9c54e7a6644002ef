//! Adverts: ours go out, and those of others fill the directory, claim our name or say goodbye.

use crate::engine::links::Target;
use crate::engine::peers::{BURST_GAP, Farewell, Leaver, News, Origin, place_of};
use crate::engine::{Engine, Event, LinkId, Now, Output, Phase};
use crate::error::Error;
use crate::name::NodeName;
use crate::wire::Instance;
use crate::wire::advert::{Advert, Phase as AdvertPhase};
use crate::wire::relay::Route;
use std::net::{IpAddr, SocketAddr};

impl Engine {
    pub(in crate::engine) fn advertise(&mut self, now: Now, phase: AdvertPhase) {
        let (ctx, relays) = (&mut self.core.at(now), self.relays.named());
        self.advertiser
            .advertise(ctx, phase, relays, &mut self.plain);
    }

    pub(in crate::engine) fn say_goodbye(&mut self, now: Now) {
        self.advertise(now, AdvertPhase::Leaving);
        self.tell_relays(now, self.links.joined_relays(), AdvertPhase::Leaving);
    }

    pub(super) fn tell_relays(&mut self, now: Now, relays: Vec<LinkId>, phase: AdvertPhase) {
        let (ctx, named) = (&mut self.core.at(now), self.relays.named());
        let frame = self.advertiser.frame(ctx, phase, named, &mut self.plain);
        for id in relays {
            self.links.tell_relay(ctx, id, &frame, self.relays.news());
        }
    }

    /// The time in which others could have said that they have our name is over.
    pub(in crate::engine) fn tick_probe(&mut self, now: Now) {
        let Phase::Probing { last, .. } = self.phase else {
            return;
        };
        // A claim that is being looked into, or a relay where there may be one, decides first,
        // within reason.
        let undecided = self.relays.are_untried() || self.links.is_dialling(&self.core.config.name);
        if undecided && now.at < last {
            let until = (now.at + BURST_GAP).min(last);
            self.phase = Phase::Probing { until, last };
            return;
        }
        self.phase = Phase::Running;
        self.core.outputs.push_back(Output::Running);
        self.advertiser.burst(now.at);
        self.relays.has_news(now.at);
        self.directory.wake_at(now.at);
    }

    pub(in crate::engine) fn datagram(&mut self, now: Now, from: SocketAddr, bytes: &[u8]) {
        if self.phase == Phase::Stopped {
            return;
        }
        let ctx = &mut self.core.at(now);
        let token = self.presence.datagram(ctx, from, bytes);
        let advert = token.and_then(|token| ctx.open_advert(token, &mut self.opened));
        if let Some(advert) = advert {
            self.advert(now, Origin::Lan(from), &advert);
        }
    }

    pub(super) fn advert(&mut self, now: Now, from: Origin, advert: &Advert) {
        if advert.instance == self.core.instance {
            if let Origin::Relay(carrier, _) = from {
                self.met_ourselves(now, carrier);
            }
            return;
        }
        if self.phase == Phase::Stopped {
            return;
        }
        self.core.stats.adverts_heard += 1;
        if self.is_own_name(&advert.name) {
            return self.claim(now, from, advert);
        }
        match (advert.phase, from) {
            // The relay has told it of us already.
            (AdvertPhase::Probing, Origin::Relay(..)) => {}
            (AdvertPhase::Probing, Origin::Lan(_)) => {
                let ctx = &self.core.at(now);
                self.advertiser
                    .answer_prober(ctx, self.phase, advert.instance);
            }
            (AdvertPhase::Leaving, _) => self.goodbye(now, advert),
            (AdvertPhase::Present, _) => self.present(now, from, advert),
        }
    }

    /// Where an advert says that its sender is, if that may be dialled on its word.
    fn place_of(&mut self, now: Now, from: Origin, advert: &Advert) -> Option<SocketAddr> {
        let relay: Option<IpAddr> = match from {
            Origin::Lan(_) => None,
            Origin::Relay(carrier, _) => self.relays.address(carrier).and_then(|r| r.ip()),
        };
        place_of(&mut self.core.at(now), from, relay, advert)
    }

    fn present(&mut self, now: Now, from: Origin, advert: &Advert) {
        let place = self.place_of(now, from, advert);
        let ctx = &mut self.core.at(now);
        let is_news = match self.directory.heard_again(ctx, from, advert, place) {
            Some(News::Stale) => return,
            Some(News::Again) => false,
            Some(News::Later { reachable }) => {
                // Nobody else can have said what is newer than all that was heard of one that is
                // there.
                if let (Origin::Lan(from), true) = (from, reachable) {
                    self.presence.know(now.at, from.ip());
                }
                true
            }
            None if self.first_heard(now, from, advert, place) => true,
            None => return,
        };
        if let Origin::Relay(carrier, route) = from {
            self.learn_route(now, advert.instance, carrier, route);
        }
        if is_news {
            self.relays.learn(now.at, advert);
        }
    }

    /// Makes a peer known, if there is room for it.
    fn first_heard(
        &mut self,
        now: Now,
        from: Origin,
        advert: &Advert,
        place: Option<SocketAddr>,
    ) -> bool {
        if !self.directory.makes_room(self.core.config.limits.peers) {
            self.core.stats.adverts_throttled += 1;
            return false;
        }
        let ctx = &self.core.at(now);
        // A node that was not told of us cannot dial us.
        let told = match from {
            Origin::Lan(_) => self.advertiser.answer_stranger(ctx, self.phase),
            Origin::Relay(..) => true,
        };
        self.directory.first_heard(ctx, from, advert, place, told);
        self.calls_want_dial(now, advert.instance);
        true
    }

    fn learn_route(&mut self, now: Now, instance: Instance, carrier: LinkId, route: Route) {
        let (ctx, links) = (&self.core.at(now), &self.links);
        let is_proved = |carrier, route| links.is_proved(carrier, route);
        let place = (carrier, route);
        if self.directory.learn_route(ctx, &instance, place, is_proved) {
            self.calls_want_dial(now, instance);
        }
    }

    fn goodbye(&mut self, now: Now, advert: &Advert) {
        let ctx = &mut self.core.at(now);
        match self.directory.goodbye(ctx, advert) {
            Farewell::Stale => {}
            // What it said last in its sessions may still be on its way. Their end comes after
            // that.
            Farewell::InSession => self.challenge(now, advert.instance),
            Farewell::Gone => {
                self.drop_peer(now, advert.instance);
                self.remember_left(now, advert.instance, Leaver::of(advert));
            }
        }
    }

    /// A peer has left, as it said in a session or before that ended.
    pub(super) fn depart(&mut self, now: Now, instance: Instance) {
        if let Some(leaver) = self.directory.leaver(&instance) {
            self.drop_peer(now, instance);
            self.remember_left(now, instance, leaver);
        }
    }

    fn remember_left(&mut self, now: Now, instance: Instance, leaver: Leaver) {
        self.withdraw_all(now, instance);
        let ctx = &self.core.at(now);
        self.directory.remember_left(ctx, instance, leaver);
    }

    /// A node goes by our name. Whether that is so, and not a replay, a handshake tells.
    fn claim(&mut self, now: Now, from: Origin, advert: &Advert) {
        let claimant = advert.instance;
        let look = match (self.phase, advert.phase) {
            (_, AdvertPhase::Leaving) | (Phase::Stopped, _) => false,
            // A node that takes part has the name; of two that ask, the lower instance gets it.
            (Phase::Probing { .. }, AdvertPhase::Present) => true,
            (Phase::Probing { .. }, AdvertPhase::Probing) => claimant < self.core.instance,
            (Phase::Running, AdvertPhase::Probing) => {
                self.advertiser.defend_name(now.at, claimant);
                false
            }
            (Phase::Running, AdvertPhase::Present) => true,
        };
        let place = self.place_of(now, from, advert);
        let relayed = matches!(from, Origin::Relay(..));
        if !look
            || place.is_none() && !relayed
            || !self.presence.may_look_into(now.at, claimant, relayed)
            || !self.may_dial(now)
        {
            return;
        }
        self.presence.looks_into(now.at, claimant, relayed);
        let target = Target {
            instance: claimant,
            name: advert.name.clone(),
        };
        match (from, place) {
            (Origin::Relay(carrier, route), _) => {
                self.dial_route(now, target, (carrier, route));
            }
            (Origin::Lan(_), Some(place)) => {
                let ctx = &mut self.core.at(now);
                self.links.dial(ctx, Some(target), place);
            }
            (Origin::Lan(_), None) => {}
        }
    }

    /// Another instance has proved to go by our name.
    pub(super) fn same_name(&mut self, now: Now, other: Instance, probing: bool) {
        match self.phase {
            Phase::Probing { .. } if !probing || other < self.core.instance => {
                let name = self.core.config.name.as_str().to_owned();
                self.shut(now, Error::Stopped);
                self.core
                    .outputs
                    .push_back(Output::Failed(Error::NameTaken(name)));
            }
            Phase::Running if !probing => self.event(Event::NameConflict {
                wins: self.core.instance < other,
            }),
            _ => {}
        }
    }

    /// The name this engine is asking others for, for a call to it.
    pub(in crate::engine) fn is_own_name(&self, name: &NodeName) -> bool {
        *name == self.core.config.name
    }
}
