//! Our own adverts: when they go out, what is in them, and which askers are answered.

use super::{Ctx, Output, Phase, Time};
use crate::address::RelayAddress;
use crate::fernet::token_len;
use crate::frame::{self, FrameType};
use crate::limits::DATAGRAM_MAX;
use crate::rate::Rate;
use crate::wire::Instance;
use crate::wire::advert::{Advert, MARK, Phase as AdvertPhase};
use crate::wire::extensions::Extensions;
use std::time::Duration;

/// Adverts sent in quick succession when the node starts or an interface comes up: one lost
/// datagram must not cost an interval.
const BURST: u32 = 3;
/// The time between two adverts of a burst.
pub(crate) const BURST_GAP: Duration = Duration::from_millis(40);
/// Strangers heard within this time are answered together.
const ANSWER_GAP: Duration = Duration::from_millis(10);
/// Times a second that our name is defended against nodes that ask for it.
const DEFENCES_PER_SECOND: u32 = 5;
/// Probers remembered as answered.
const ANSWERED_MAX: usize = 16;

impl Phase {
    /// What our adverts say of it.
    pub(crate) fn advertised(self) -> AdvertPhase {
        match self {
            Phase::Probing { .. } => AdvertPhase::Probing,
            Phase::Running => AdvertPhase::Present,
            Phase::Stopped => AdvertPhase::Leaving,
        }
    }
}

/// When our adverts go out.
#[derive(Debug)]
pub(crate) struct Advertiser {
    sequence: u64,
    /// When the next regular one goes out.
    next: Time,
    /// When one goes out that answers strangers, if any does.
    answer: Option<Time>,
    burst_left: u32,
    last: Option<Time>,
    /// Adverts sent since `window`.
    sent: u32,
    window: Time,
    /// Times the name was defended.
    defences: Rate,
    /// Instances that asked for a name and were answered, the latest first.
    answered: Vec<Instance>,
}

impl Advertiser {
    pub(crate) fn new(now: Time) -> Advertiser {
        Advertiser {
            sequence: 0,
            next: now,
            answer: None,
            burst_left: BURST,
            last: None,
            sent: 0,
            window: now,
            defences: Rate::default(),
            answered: Vec::new(),
        }
    }

    pub(crate) fn due(&self) -> Time {
        self.answer
            .map_or(self.next, |answer| answer.min(self.next))
    }

    /// Tells everyone in quick succession, as after a start.
    pub(crate) fn burst(&mut self, now: Time) {
        self.burst_left = BURST;
        self.next = now;
    }

    /// Tells the LAN. `relays` are those that the advert names, and how many of them we vouch for;
    /// `plain` is where it is put together.
    pub(crate) fn advertise(
        &mut self,
        ctx: &mut Ctx<'_>,
        phase: AdvertPhase,
        relays: &(Vec<RelayAddress>, u8),
        plain: &mut Vec<u8>,
    ) {
        if !ctx.config.lan {
            // Relays are told what is new when it is, and nobody else is there to be told. An
            // answer that stayed due would have the node's thread look at the time without a pause.
            (self.next, self.answer) = (Time::NEVER, None);
            return;
        }
        let (now, interval) = (ctx.now.at, ctx.config.interval);
        if now - self.window >= interval {
            self.window = now;
            self.sent = 0;
        }
        self.sent += 1;
        self.answer = None;
        self.last = Some(now);
        if now >= self.next {
            let pause = if self.burst_left > 1 {
                self.burst_left -= 1;
                BURST_GAP
            } else {
                ctx.entropy.jitter(interval)
            };
            self.next = now + pause;
        }
        let datagram = self.frame(ctx, phase, relays, plain);
        ctx.stats.adverts_sent += 1;
        ctx.outputs.push_back(Output::Broadcast(datagram));
    }

    /// What we say of ourselves, as the frame that goes out.
    pub(crate) fn frame(
        &mut self,
        ctx: &mut Ctx<'_>,
        phase: AdvertPhase,
        (relays, vouched): &(Vec<RelayAddress>, u8),
        plain: &mut Vec<u8>,
    ) -> Vec<u8> {
        self.sequence += 1;
        let config = ctx.config;
        let mut advert = Advert {
            phase,
            instance: ctx.instance,
            sequence: self.sequence,
            interval_ms: u32::try_from(config.interval.as_millis()).unwrap_or(u32::MAX),
            port: config.port,
            name: config.name.clone(),
            address: config.address,
            relays: relays.clone(),
            vouched: *vouched,
            extensions: Extensions::default(),
        };
        let net = config.network.as_str();
        let around = net.len() + "|adv|2|END\n".len();
        loop {
            plain.clear();
            advert.encode(plain);
            // Names of relays may be long; the last ones stay behind.
            if around + token_len(plain.len()) <= DATAGRAM_MAX || advert.relays.pop().is_none() {
                break;
            }
            advert.vouched = advert.vouched.min(advert.relays.len() as u8);
        }
        let mut iv = [0; 16];
        ctx.entropy.fill(&mut iv);
        let keys = ctx.secrets.keys.adverts();
        let sealer = keys.sealer(keys.first());
        let mut bytes = Vec::with_capacity(512);
        frame::encode_with(net, FrameType::ADVERT, &mut bytes, |out| {
            out.push(MARK);
            sealer.seal(plain, ctx.now.unix, &iv, out);
        });
        debug_assert!(bytes.len() <= DATAGRAM_MAX);
        bytes
    }

    /// Lets a stranger know of us, at once but within the interval's budget; over it, the next
    /// regular advert does. Whether it is at once.
    pub(crate) fn answer_stranger(&mut self, ctx: &Ctx<'_>) -> bool {
        if ctx.phase != Phase::Running || !ctx.config.lan {
            return false;
        }
        if self.answer.is_some() {
            return true;
        }
        let now = ctx.now.at;
        let fresh_window = now - self.window >= ctx.config.interval;
        if fresh_window || self.sent < ctx.config.limits.adverts_per_interval {
            let at = self.last.map_or(now, |last| (last + ANSWER_GAP).max(now));
            self.answer = Some(at);
        }
        self.answer.is_some()
    }

    /// Says that the name is ours to a node that asks for it. Not within the interval's budget,
    /// which may be used up when it matters, but once for each that asks, and a few times a second.
    pub(crate) fn defend_name(&mut self, now: Time, prober: Instance) {
        if !self.answered.contains(&prober) && self.defences.take(now, DEFENCES_PER_SECOND) {
            self.remember_answered(prober);
            self.answer = Some(now);
        }
    }

    /// Answers a node that asks for a name, once: it asks three times.
    pub(crate) fn answer_prober(&mut self, ctx: &Ctx<'_>, prober: Instance) {
        if !self.answered.contains(&prober) && self.answer_stranger(ctx) {
            self.remember_answered(prober);
        }
    }

    fn remember_answered(&mut self, prober: Instance) {
        self.answered.truncate(ANSWERED_MAX - 1);
        self.answered.insert(0, prober);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{Fixture, at};
    use crate::limits::ADVERT_RELAYS_MAX;

    const NONE: (Vec<RelayAddress>, u8) = (Vec::new(), 0);

    fn advertise(advertiser: &mut Advertiser, fixture: &mut Fixture) {
        advertiser.advertise(
            &mut fixture.ctx(),
            AdvertPhase::Present,
            &NONE,
            &mut Vec::new(),
        );
    }

    #[test]
    fn a_burst_is_three_adverts_and_then_an_interval_passes() {
        let mut fixture = Fixture::default();
        let mut advertiser = Advertiser::new(at(0));
        for due in [0, 40, 80] {
            assert_eq!(advertiser.due(), at(due));
            fixture.now = at(due);
            advertise(&mut advertiser, &mut fixture);
        }
        assert!(advertiser.due() >= at(80 + 900));
        assert_eq!(fixture.core.stats.adverts_sent, 3);
        assert_eq!(fixture.core.outputs.len(), 3);
    }

    #[test]
    fn a_node_that_asks_is_answered_once_and_strangers_within_the_budget() {
        let mut fixture = Fixture::default();
        let per_interval = fixture.core.config.limits.adverts_per_interval;
        let mut advertiser = Advertiser::new(at(0));
        let prober = Instance([7; 16]);
        advertiser.answer_prober(&fixture.ctx(), prober);
        assert_eq!(advertiser.answer, Some(at(0)));
        advertise(&mut advertiser, &mut fixture);
        advertiser.answer_prober(&fixture.ctx(), prober);
        assert_eq!(advertiser.answer, None, "it was answered");
        for _ in 1..per_interval {
            assert!(advertiser.answer_stranger(&fixture.ctx()));
            advertise(&mut advertiser, &mut fixture);
        }
        assert!(!advertiser.answer_stranger(&fixture.ctx()));
        advertiser.defend_name(at(0), Instance([8; 16]));
        assert_eq!(
            advertiser.answer,
            Some(at(0)),
            "our name is defended anyway"
        );
    }

    #[test]
    fn a_node_without_a_lan_tells_nobody() {
        let mut fixture = Fixture::default();
        fixture.core.config.lan = false;
        let mut advertiser = Advertiser::new(at(0));
        advertise(&mut advertiser, &mut fixture);
        assert_eq!(advertiser.due(), Time::NEVER);
        assert!(fixture.core.outputs.is_empty());
        assert!(!advertiser.answer_stranger(&fixture.ctx()));
        // A relay has handed us the advert of a node that asks for our name.
        advertiser.defend_name(at(0), Instance([7; 16]));
        advertise(&mut advertiser, &mut fixture);
        assert_eq!(advertiser.due(), Time::NEVER, "the answer is not due still");
        assert!(fixture.core.outputs.is_empty());
    }

    #[test]
    fn names_of_relays_that_do_not_fit_into_a_datagram_stay_behind() {
        let mut fixture = Fixture::default();
        let label = "a".repeat(60);
        let long = |n: usize| RelayAddress::new(&format!("{n}.{label}.{label}.{label}.example:1"));
        let relays: Vec<_> = (0..ADVERT_RELAYS_MAX).map(|n| long(n).unwrap()).collect();
        let count = relays.len() as u8;
        let mut plain = Vec::new();
        let mut advertiser = Advertiser::new(at(0));
        let ctx = &mut fixture.ctx();
        let frame = advertiser.frame(ctx, AdvertPhase::Present, &(relays, count), &mut plain);
        assert!(frame.len() <= DATAGRAM_MAX);
        let advert = Advert::decode(&plain).unwrap();
        assert!(!advert.relays.is_empty() && advert.relays.len() < usize::from(count));
        assert_eq!(usize::from(advert.vouched), advert.relays.len());
    }
}
