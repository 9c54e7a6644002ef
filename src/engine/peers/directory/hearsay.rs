//! What one peer tells of others makes them known, as an advert does, and never reachable.

use super::peer::Peer;
use super::{Ctx, Directory};
use crate::backoff::YIELD;
use crate::reach::{self, Word};
use crate::wire::Instance;
use crate::wire::peers::Acquaintance;
use std::time::Duration;

/// How long a peer that was told of has time to be reached.
const HEARSAY: Duration = Duration::from_secs(30);
/// Peers known from one peer's word alone: what a member can make us dial by inventing them.
const HEARSAY_MAX: usize = 32;

impl Directory {
    /// The peer `from` tells of another. `word` is how far an address is believed on its word, and
    /// `is_full` whether there are as many sessions as there may be.
    pub(crate) fn told_of(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Instance,
        word: Word,
        other: Acquaintance,
        is_full: bool,
    ) {
        if other.instance == ctx.instance || other.name == ctx.config.name {
            return;
        }
        if !reach::may_dial(other.address, word) {
            ctx.stats.addresses_refused += 1;
            return;
        }
        if self.get(&other.instance).is_some() {
            return self.told_again(ctx, &other);
        }
        let hearsay = self.iter();
        let hearsay = hearsay.filter(|(_, p)| p.told_by == Some(from) && !p.announced);
        let too_many = hearsay.count() >= HEARSAY_MAX || is_full;
        if too_many || !self.make_room(ctx.config.limits.peers) {
            ctx.stats.hearsay_dropped += 1;
            return;
        }
        let now = ctx.now.at;
        let mut fresh = Peer::new(other.name, ctx.config.interval, now + HEARSAY);
        fresh.told_by = Some(from);
        fresh.learn_address(other.address, ctx.config.limits.addresses_per_peer);
        // The other side is told of us as well.
        let yields = ctx.instance > other.instance;
        let wait = if yields { YIELD } else { Duration::ZERO };
        fresh.dial.at = Some(now + wait);
        self.wake_at(now + wait);
        self.insert(other.instance, fresh);
    }

    /// A peer tells of another that is known already.
    fn told_again(&mut self, ctx: &Ctx<'_>, other: &Acquaintance) {
        let now = ctx.now.at;
        let Some(known) = self.get_mut(&other.instance) else {
            return;
        };
        if known.name == other.name && known.sessions.is_empty() && !known.left {
            known.learn_address(other.address, ctx.config.limits.addresses_per_peer);
            known.expires = known.expires.max(now + HEARSAY);
            // One that has closed its session is no nearer for being told of.
            if !known.rests && known.dial.at.is_none() && known.dial.link.is_none() {
                known.dial.at = Some(now);
                self.wake_at(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{Fixture, acquaintance, address};

    #[test]
    fn what_one_peer_can_make_us_dial_by_inventing_others_is_bounded() {
        let (mut fixture, mut directory) = (Fixture::default(), Directory::default());
        let from = Instance([200; 16]);
        for n in 100..180 {
            let word = Word::From(address(200).ip());
            directory.told_of(&mut fixture.ctx(), from, word, acquaintance(n), false);
        }
        assert_eq!(directory.len(), HEARSAY_MAX);
        assert_eq!(fixture.core.stats.hearsay_dropped, 80 - HEARSAY_MAX as u64);
        let mut loopback = acquaintance(190);
        loopback.address = "127.0.0.1:5".parse().unwrap();
        let word = Word::From(address(200).ip());
        directory.told_of(
            &mut fixture.ctx(),
            Instance([201; 16]),
            word,
            loopback,
            false,
        );
        assert_eq!(fixture.core.stats.addresses_refused, 1);
    }

    #[test]
    fn a_peer_that_closed_its_session_is_not_dialled_for_being_told_of() {
        let (mut fixture, mut directory) = (Fixture::default(), Directory::default());
        let (from, peer) = (Instance([200; 16]), acquaintance(9).instance);
        let mut tells = |directory: &mut Directory| {
            let ctx = &mut fixture.ctx();
            directory.told_of(ctx, from, Word::Anyone, acquaintance(9), false);
            let known = directory.get_mut(&peer).unwrap();
            known.dial.at.take().is_some()
        };
        assert!(tells(&mut directory) && tells(&mut directory));
        directory.rest(&peer);
        assert!(!tells(&mut directory));
        directory.plan_redial(&mut Fixture::default().ctx(), peer);
        directory.get_mut(&peer).unwrap().dial.at = None;
        assert!(tells(&mut directory), "it has been lost since");
    }
}
