//! What adverts do: finding peers, asking for our name, defending it, losing who is silent.
//!
//! An advert makes a peer known, never reachable: the dial it leads to is bounded, and the
//! handshake decides.

use super::dialling::YIELD;
use super::directory::Peer;
use super::links::Target;
use super::{Engine, Event, LinkId, Now, Output, Phase, Time};
use crate::error::Error;
use crate::fernet::token_len;
use crate::frame::{self, FrameType, Parsed};
use crate::limits::DATAGRAM_MAX;
use crate::name::NodeName;
use crate::rate::{Rate, Shares};
use crate::reach::{self, Word};
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::advert::{self, Advert, Phase as AdvertPhase};
use crate::wire::relay::Route;
use std::net::SocketAddr;
use std::time::Duration;

/// Adverts sent in quick succession when the node starts or an interface comes up: one lost
/// datagram must not cost an interval.
const BURST: u32 = 3;
const BURST_GAP: Duration = Duration::from_millis(40);
/// Strangers heard within this time are answered together.
const ANSWER_GAP: Duration = Duration::from_millis(10);
/// Times a second that our name is defended against who asks for it.
const DEFENCES_PER_SECOND: u32 = 5;
/// Probers remembered as answered.
const ANSWERED_MAX: usize = 16;
/// Claims to our own name that are looked into at a time, and how long one is left alone afterwards.
const CLAIMS_MAX: usize = 8;
const CLAIM_REST: Duration = Duration::from_secs(30);
/// A peer is gone after this many halves of its interval: 3.5 intervals.
const EXPIRY_HALVES: u32 = 7;
/// Longest interval a peer may claim, so that an entry cannot be made to stay for weeks.
const INTERVAL_MAX: Duration = Duration::from_secs(300);

/// The interval that an advert claims, as far as it is believed.
fn advert_interval(advert: &Advert) -> Duration {
    Duration::from_millis(advert.interval_ms.into()).min(INTERVAL_MAX)
}

/// Where an advert came from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// A datagram that says it is from here.
    Lan(SocketAddr),
    /// A relay, which says that its sender is at this route.
    Relay(LinkId, Route),
}

impl Phase {
    /// What our adverts say of it.
    pub(super) fn advertised(self) -> AdvertPhase {
        match self {
            Phase::Probing { .. } => AdvertPhase::Probing,
            Phase::Running => AdvertPhase::Present,
            Phase::Stopped => AdvertPhase::Leaving,
        }
    }
}

/// When adverts go out.
#[derive(Debug)]
pub(super) struct Advertiser {
    sequence: u64,
    /// The next regular one.
    next: Time,
    /// One that answers strangers, if any.
    answer: Option<Time>,
    burst_left: u32,
    last: Option<Time>,
    /// Adverts sent since `window`.
    sent: u32,
    window: Time,
    /// Datagrams opened, by where they say they are from.
    pub(super) heard: Shares,
    /// Times the name was defended.
    defences: Rate,
    /// Who asked for a name and was answered, the latest first.
    answered: Vec<Instance>,
    /// Who claims our name, whether through a relay, and until when they are left alone.
    claims: Table<(Instance, bool), Time>,
}

impl Advertiser {
    pub(super) fn new(now: Time) -> Advertiser {
        Advertiser {
            sequence: 0,
            next: now,
            answer: None,
            burst_left: 0,
            last: None,
            sent: 0,
            window: now,
            heard: Shares::default(),
            defences: Rate::default(),
            answered: Vec::new(),
            claims: Table::default(),
        }
    }

    pub(super) fn due(&self) -> Time {
        self.answer
            .map_or(self.next, |answer| answer.min(self.next))
    }
}

impl Engine {
    pub(super) fn start_probing(&mut self, now: Now) {
        self.advertiser.burst_left = BURST;
        self.advertise(now, AdvertPhase::Probing);
    }

    /// Tells everyone in quick succession, as after a start.
    pub(super) fn advertise_burst(&mut self, now: Now) {
        self.advertiser.burst_left = BURST;
        self.advertiser.next = now.at;
    }

    pub(super) fn say_goodbye(&mut self, now: Now) {
        self.advertise(now, AdvertPhase::Leaving);
        let frame = self.advert_frame(now, AdvertPhase::Leaving);
        self.leave_relays(now, &frame);
    }

    pub(super) fn tick_discovery(&mut self, now: Now) {
        if let Phase::Probing { until, last } = self.phase
            && now.at >= until
        {
            // A claim that is being looked into, or a relay where there may be one, decides first,
            // within reason.
            let undecided = self.relays.are_untried()
                || self
                    .links
                    .values()
                    .any(|l| l.dialling_name() == Some(&self.core.config.name));
            if undecided && now.at < last {
                let again = (now.at + BURST_GAP).min(last);
                self.phase = Phase::Probing { until: again, last };
            } else {
                self.phase = Phase::Running;
                self.core.outputs.push_back(Output::Running);
                self.advertise_burst(now);
                self.relays.has_news(now.at);
                self.directory.wake_at(now.at);
            }
        }
        if now.at >= self.advertiser.due() {
            self.advertise(now, self.phase.advertised());
        }
    }

    fn advertise(&mut self, now: Now, phase: AdvertPhase) {
        if !self.core.config.lan {
            // Relays are told what is new when it is, and nobody else is there to be told.
            self.advertiser.next = Time::NEVER;
            return;
        }
        let interval = self.core.config.interval;
        if now.at - self.advertiser.window >= interval {
            self.advertiser.window = now.at;
            self.advertiser.sent = 0;
        }
        self.advertiser.sent += 1;
        self.advertiser.answer = None;
        self.advertiser.last = Some(now.at);
        if now.at >= self.advertiser.next {
            let pause = if self.advertiser.burst_left > 1 {
                self.advertiser.burst_left -= 1;
                BURST_GAP
            } else {
                self.core.entropy.jitter(interval)
            };
            self.advertiser.next = now.at + pause;
        }

        let datagram = self.advert_frame(now, phase);
        self.core.stats.adverts_sent += 1;
        self.core.outputs.push_back(Output::Broadcast(datagram));
    }

    /// What we say of ourselves, as the frame that goes out.
    pub(super) fn advert_frame(&mut self, now: Now, phase: AdvertPhase) -> Vec<u8> {
        self.advertiser.sequence += 1;
        let (relays, vouched) = self.relays.named.clone();
        let mut advert = Advert {
            phase,
            instance: self.core.instance,
            sequence: self.advertiser.sequence,
            interval_ms: u32::try_from(self.core.config.interval.as_millis()).unwrap_or(u32::MAX),
            port: self.core.config.port,
            name: self.core.config.name.clone(),
            address: self.core.config.address,
            relays,
            vouched,
        };
        let net = self.core.config.network.as_str();
        let around = net.len() + "|adv||END\n".len();
        loop {
            self.plain.clear();
            advert.encode(&mut self.plain);
            // Names of relays may be long; the last ones stay behind.
            if around + token_len(self.plain.len()) <= DATAGRAM_MAX || advert.relays.pop().is_none()
            {
                break;
            }
            advert.vouched = advert.vouched.min(advert.relays.len() as u8);
        }
        let mut iv = [0; 16];
        self.core.entropy.fill(&mut iv);
        let sealer = self.core.config.keys.sealer(self.core.config.keys.first());
        let mut bytes = Vec::with_capacity(512);
        frame::encode_with(net, FrameType::ADVERT, &mut bytes, |out| {
            sealer.seal(&self.plain, now.unix, &iv, out);
        });
        debug_assert!(bytes.len() <= DATAGRAM_MAX);
        bytes
    }

    /// Lets a stranger know of us, at once but within the interval's budget; over it, the next
    /// regular advert does. Whether it is at once.
    fn answer_stranger(&mut self, now: Now) -> bool {
        if self.phase != Phase::Running || !self.core.config.lan {
            return false;
        }
        if self.advertiser.answer.is_some() {
            return true;
        }
        let fresh_window = now.at - self.advertiser.window >= self.core.config.interval;
        if fresh_window || self.advertiser.sent < self.core.config.limits.adverts_per_interval {
            let at = self
                .advertiser
                .last
                .map_or(now.at, |last| (last + ANSWER_GAP).max(now.at));
            self.advertiser.answer = Some(at);
        }
        self.advertiser.answer.is_some()
    }

    /// Says that the name is ours to who asks for it. Not within the interval's budget, which may be
    /// used up when it matters, but once for each who asks, and a few times a second.
    fn defend_name(&mut self, now: Now, prober: Instance) {
        if !self.advertiser.answered.contains(&prober)
            && self.advertiser.defences.take(now.at, DEFENCES_PER_SECOND)
        {
            self.remember_answered(prober);
            self.advertiser.answer = Some(now.at);
        }
    }

    fn remember_answered(&mut self, prober: Instance) {
        self.advertiser.answered.truncate(ANSWERED_MAX - 1);
        self.advertiser.answered.insert(0, prober);
    }

    /// Answers who asks for a name, once: it asks three times.
    fn answer_prober(&mut self, now: Now, prober: Instance) {
        if !self.advertiser.answered.contains(&prober) && self.answer_stranger(now) {
            self.remember_answered(prober);
        }
    }

    pub(super) fn datagram(&mut self, now: Now, from: SocketAddr, bytes: &[u8]) {
        if self.phase == Phase::Stopped {
            return;
        }
        let frame = match frame::parse(bytes, DATAGRAM_MAX) {
            Ok(Parsed::Complete(frame, used))
                if used == bytes.len() && frame.kind == FrameType::ADVERT =>
            {
                frame
            }
            _ => {
                self.core.stats.adverts_malformed += 1;
                return;
            }
        };
        if frame.net != self.core.config.network.as_str() {
            self.core.stats.foreign += 1;
            return;
        }
        // What cannot be an advert costs nothing more, and takes nobody else's turn.
        if frame.payload.len() < token_len(advert::LEN_MIN) {
            self.core.stats.adverts_malformed += 1;
            return;
        }
        let per_second = self.core.config.limits.adverts_per_second;
        let heard = &mut self.advertiser.heard;
        if !heard.take(now.at, from.ip(), per_second) {
            self.core.stats.adverts_throttled += 1;
            return;
        }
        self.sealed_advert(now, Origin::Lan(from), frame.payload);
    }

    /// Takes in an advert from wherever, if it opens.
    pub(super) fn sealed_advert(&mut self, now: Now, from: Origin, token: &[u8]) {
        let mut buf = std::mem::take(&mut self.opened);
        let opened = self
            .core
            .config
            .keys
            .open(token, &mut buf)
            .map(|(plain, _)| Advert::decode(plain));
        self.opened = buf;
        match opened {
            Err(_) => self.core.stats.adverts_refused += 1,
            Ok(Err(_)) => self.core.stats.adverts_malformed += 1,
            Ok(Ok(advert)) => self.advert(now, from, advert),
        }
    }

    fn advert(&mut self, now: Now, from: Origin, advert: Advert) {
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
        if advert.name == self.core.config.name {
            self.claim(now, from, &advert);
            return;
        }
        match advert.phase {
            // The relay has told it of us already.
            AdvertPhase::Probing if matches!(from, Origin::Relay(..)) => {}
            AdvertPhase::Probing => self.answer_prober(now, advert.instance),
            AdvertPhase::Leaving => self.goodbye(now, &advert),
            AdvertPhase::Present => self.presence(now, from, &advert),
        }
    }

    /// A node leaves. That is remembered until it would have expired: what it said before may still come, or
    /// be replayed, and must neither make it known nor begin dials anew.
    fn goodbye(&mut self, now: Now, advert: &Advert) {
        let stale = |p: &Peer| {
            p.left || p.name != advert.name || p.sequence.is_some_and(|s| advert.sequence <= s)
        };
        if self.directory.get(&advert.instance).is_some_and(stale) {
            self.core.stats.adverts_stale += 1;
            return;
        }
        let known = self.directory.get_mut(&advert.instance);
        if let Some(peer) = known.filter(|p| !p.sessions.is_empty()) {
            // What it said last in its sessions may still be on its way. Their end comes after that.
            peer.left = true;
            peer.sequence = Some(advert.sequence);
            return self.challenge(now, advert.instance);
        }
        let interval = advert_interval(advert);
        self.drop_peer(now, advert.instance);
        self.remember_left(
            now,
            advert.instance,
            &advert.name,
            interval,
            Some(advert.sequence),
        );
    }

    /// A peer has left, as it said in a session or before that ended.
    pub(super) fn depart(&mut self, now: Now, instance: Instance) {
        let Some(peer) = self.directory.get(&instance) else {
            return;
        };
        let (name, interval, sequence) = (peer.name.clone(), peer.interval, peer.sequence);
        self.drop_peer(now, instance);
        self.remember_left(now, instance, &name, interval, sequence);
    }

    fn remember_left(
        &mut self,
        now: Now,
        instance: Instance,
        name: &NodeName,
        interval: Duration,
        sequence: Option<u64>,
    ) {
        self.withdraw_all(now, instance);
        if self.directory.len() >= self.core.config.limits.peers && !self.make_room() {
            return;
        }
        let expires = self.expiry(now, interval);
        let mut peer = Peer::new(name.clone(), interval, expires);
        peer.sequence = sequence;
        peer.left = true;
        self.directory.insert(instance, peer);
    }

    /// Where an advert says that its sender is, if that may be dialled on its word.
    fn place_of(&mut self, from: Origin, advert: &Advert) -> Option<SocketAddr> {
        let (source, word) = match from {
            Origin::Lan(from) => (Some(from.ip()), Word::From(from.ip())),
            // Where the relay is says nothing of where its member is, unless it is on this host.
            Origin::Relay(carrier, _) => {
                let relay = self.relays.address(carrier).and_then(|relay| relay.ip());
                (None, relay.map_or(Word::Anyone, Word::From))
            }
        };
        let place = SocketAddr::new(advert.address.or(source)?, advert.port);
        let allowed = reach::may_dial(place, word);
        self.core.stats.addresses_refused += u64::from(!allowed);
        allowed.then_some(place)
    }

    fn presence(&mut self, now: Now, from: Origin, advert: &Advert) {
        let max = self.core.config.limits.addresses_per_peer;
        let interval = advert_interval(advert);
        let expires = self.expiry(now, interval);
        let address = self.place_of(from, advert);
        let mut fresh = true;
        if let Some(peer) = self.directory.get_mut(&advert.instance) {
            let older = peer.sequence.is_some_and(|s| advert.sequence < s);
            // A relay holds the advert it was given when something was new, and it leads there still.
            if peer.left || peer.name != advert.name || older && matches!(from, Origin::Lan(_)) {
                self.core.stats.adverts_stale += 1;
                return;
            }
            // The same advert comes once over each interface, each time from another address.
            let known = peer.addresses.len();
            if let Some(address) = address {
                peer.learn_address(address, max);
            }
            if let Origin::Relay(..) = from {
                peer.advertised = address;
            }
            fresh = peer.sequence.is_none_or(|s| advert.sequence > s);
            if fresh {
                peer.sequence = Some(advert.sequence);
                peer.interval = interval;
                peer.expires = expires;
                // Nobody else can have said what is newer than all that was heard of one that is there.
                if let (Origin::Lan(from), false) = (from, peer.sessions.is_empty()) {
                    self.advertiser.heard.know(now.at, from.ip());
                }
            }
            // Met on a LAN after having met at a relay.
            if peer.addresses.len() > known && peer.wants_direct() && peer.dial.at.is_none() {
                let yields = self.core.instance > advert.instance;
                peer.dial.at = Some(now.at + if yields { YIELD } else { Duration::ZERO });
                self.directory.wake_at(now.at);
            }
        } else {
            if self.directory.len() >= self.core.config.limits.peers && !self.make_room() {
                self.core.stats.adverts_throttled += 1;
                return;
            }
            let mut peer = Peer::new(advert.name.clone(), interval, expires);
            peer.sequence = Some(advert.sequence);
            // Who was not told of us cannot dial us.
            let told = match from {
                Origin::Lan(_) => self.answer_stranger(now),
                Origin::Relay(..) => true,
            };
            if let Some(address) = address {
                let yields = told && self.core.instance > advert.instance;
                let wait = if yields { YIELD } else { Duration::ZERO };
                peer.learn_address(address, max);
                peer.dial.at = Some(now.at + wait);
                self.directory.wake_at(now.at + wait);
            }
            if let Origin::Relay(..) = from {
                peer.advertised = address;
            }
            self.directory.insert(advert.instance, peer);
            if self.calls.waits_for(&advert.name) {
                self.want_dial(now, advert.instance);
            }
        }
        if let Origin::Relay(carrier, route) = from {
            self.learn_route(now, advert.instance, carrier, route);
        }
        if fresh {
            self.learn_relays(now, advert);
        }
    }

    /// Forgets the peer nobody would miss; false when every one would be.
    pub(super) fn make_room(&mut self) -> bool {
        match self.directory.most_dispensable() {
            Some(instance) => self.directory.remove(&instance).is_some(),
            None => false,
        }
    }

    /// Somebody goes by our name. Whether that is so, and not a replay, a handshake tells.
    fn claim(&mut self, now: Now, from: Origin, advert: &Advert) {
        let lower = advert.instance < self.core.instance;
        let look = match (self.phase, advert.phase) {
            (_, AdvertPhase::Leaving) | (Phase::Stopped, _) => false,
            // Who takes part has the name; of two that ask, the lower instance gets it.
            (Phase::Probing { .. }, AdvertPhase::Present) => true,
            (Phase::Probing { .. }, AdvertPhase::Probing) => lower,
            (Phase::Running, AdvertPhase::Probing) => {
                self.defend_name(now, advert.instance);
                false
            }
            (Phase::Running, AdvertPhase::Present) => true,
        };
        self.advertiser.claims.retain(|_, until| *until > now.at);
        let claim = (advert.instance, matches!(from, Origin::Relay(..)));
        let place = self.place_of(from, advert);
        if !look
            || place.is_none() && matches!(from, Origin::Lan(_))
            || self.advertiser.claims.contains_key(&claim)
            || self.advertiser.claims.len() >= CLAIMS_MAX
            || !self.may_dial(now)
        {
            return;
        }
        self.advertiser.claims.insert(claim, now.at + CLAIM_REST);
        let (instance, name) = (advert.instance, self.core.config.name.clone());
        match from {
            Origin::Lan(_) => {
                if let Some(place) = place {
                    self.dial(now, instance, name, place);
                }
            }
            Origin::Relay(carrier, route) => {
                self.dial_route(now, Target { instance, name }, carrier, route);
            }
        }
    }

    /// A claim could not be looked into; the next advert may try again.
    pub(super) fn claim_unresolved(&mut self, instance: &Instance) {
        self.advertiser.claims.retain(|(i, _), _| i != instance);
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

    /// A peer is gone: it said so, was not heard for too long, or another instance took its place.
    pub(super) fn drop_peer(&mut self, now: Now, instance: Instance) {
        let Some(peer) = self.directory.remove(&instance) else {
            return;
        };
        let dials = peer.dial.link.iter().chain(&peer.route_dial.links);
        for link in peer.sessions.iter().chain(dials) {
            self.cut(now, *link);
        }
        let restarted = self.directory.resolve(&peer.name).is_some();
        self.fail_bound_calls(now, instance, &peer.name, restarted);
        self.fail_streams_of(now, instance);
        if self.foreign.has(&peer.name) {
            // It was only heard natively, and never met: calls need not wait for that any longer.
            self.pump_calls(now, &peer.name);
        }
        if peer.joined {
            self.event(Event::PeerLeft(peer.name));
        }
    }

    /// The time by which a peer that was just heard must be heard again.
    pub(super) fn expiry(&self, now: Now, interval: Duration) -> Time {
        now.at + interval * EXPIRY_HALVES / 2
    }

    /// The name this engine is asking others for, for a call to it.
    pub(super) fn is_own_name(&self, name: &NodeName) -> bool {
        *name == self.core.config.name
    }
}
