//! A set of instances that never denies a member and seldom takes another instance for one.
//!
//! It is two Bloom filters of fixed size: one that is being filled, and the one before it. When the
//! first is full and a month old it takes the place of the second, so that a node that runs for
//! years does not come to take every instance for a member. They are keyed, so that no peer can
//! choose which instances they take for which.

use crate::engine::Time;
use crate::entropy::Entropy;
use crate::wire::Instance;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Bits of one filter, which are 256 KiB. With 80 000 members, one in 2 500 other instances is
/// taken for a member; with 400 000, one in twelve.
const BITS: u32 = 1 << 21;

/// Members of a filter that is full.
const FULL: u32 = 80_000;

/// How long a member is kept at least: longer than a machine is suspended whose program then goes
/// on with a call.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// How many bits one member sets.
const EACH: usize = 4;

#[derive(Debug)]
pub(crate) struct Evicted {
    secret: [u8; 16],
    bits: Vec<u64>,
    /// The filter before it, if there was one.
    before: Vec<u64>,
    members: u32,
    /// When the filter was begun.
    since: Time,
}

impl Evicted {
    pub(crate) fn new(now: Time, entropy: &mut dyn Entropy) -> Evicted {
        let mut secret = [0; 16];
        entropy.fill(&mut secret);
        Evicted {
            secret,
            bits: empty(),
            before: Vec::new(),
            members: 0,
            since: now,
        }
    }

    pub(crate) fn insert(&mut self, now: Time, instance: Instance) {
        if self.members >= FULL && now - self.since >= KEPT {
            self.before = std::mem::replace(&mut self.bits, empty());
            self.members = 0;
            self.since = now;
        }
        self.members = self.members.saturating_add(1);
        for (word, bit) in self.places(instance) {
            self.bits[word] |= bit;
        }
    }

    /// False only if the instance was not inserted, or more than [`KEPT`] ago.
    pub(crate) fn may_hold(&self, instance: Instance) -> bool {
        let places = self.places(instance);
        let all = |bits: &[u64]| {
            let mut places = places.iter();
            places.all(|(word, bit)| bits.get(*word).is_some_and(|b| b & bit != 0))
        };
        all(&self.bits) || all(&self.before)
    }

    fn places(&self, instance: Instance) -> [(usize, u64); EACH] {
        let hash = Sha256::new()
            .chain_update(self.secret)
            .chain_update(instance.0)
            .finalize();
        std::array::from_fn(|i| {
            let [a, b, c, d] = [0, 1, 2, 3].map(|at| hash[4 * i + at]);
            let place = u32::from_be_bytes([a, b, c, d]) % BITS;
            (place as usize / 64, 1 << (place % 64))
        })
    }
}

fn empty() -> Vec<u64> {
    vec![0; BITS as usize / 64]
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time(Duration::from_secs(1));

    struct Fixed;

    impl Entropy for Fixed {
        fn fill(&mut self, out: &mut [u8]) {
            out.fill(7);
        }
    }

    fn instance(i: u64) -> Instance {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&i.to_be_bytes());
        Instance(id)
    }

    #[test]
    fn a_member_is_always_known_and_another_instance_seldom_taken_for_one() {
        let mut evicted = Evicted::new(START, &mut Fixed);
        assert!(!evicted.may_hold(instance(0)));
        for i in 0..80_000 {
            evicted.insert(START, instance(i));
        }
        assert!((0..80_000).all(|i| evicted.may_hold(instance(i))));
        let wrong = (80_000..180_000).filter(|i| evicted.may_hold(instance(*i)));
        assert!(wrong.count() < 100);
    }

    /// Another instance is seldom taken for a member, though there were so many in a year.
    #[test]
    fn after_years_of_callers_that_vanish_another_instance_is_seldom_taken_for_one() {
        let mut evicted = Evicted::new(START, &mut Fixed);
        let every_minute = |i: u64| START + Duration::from_secs(60 * i);
        let year = 365 * 24 * 60;
        for i in 0..year {
            evicted.insert(every_minute(i), instance(i));
        }
        assert!(
            (year - 40_000..year).all(|i| evicted.may_hold(instance(i))),
            "those of the last month are kept"
        );
        let wrong = (year..year + 100_000).filter(|i| evicted.may_hold(instance(*i)));
        assert!(wrong.count() < 200);
    }

    #[test]
    fn a_member_is_kept_for_a_month_however_many_come() {
        let mut evicted = Evicted::new(START, &mut Fixed);
        for i in 0..3 * u64::from(FULL) {
            evicted.insert(START, instance(i));
        }
        assert!(evicted.may_hold(instance(0)));
        assert!(evicted.before.is_empty());
    }
}
