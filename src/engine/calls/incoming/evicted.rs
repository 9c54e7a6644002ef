//! A set of instances that never denies a member and seldom takes another instance for one.
//!
//! It is a Bloom filter of fixed size. It is keyed, so that no peer can choose which instances it
//! takes for which.

use crate::entropy::Entropy;
use crate::wire::Instance;
use sha2::{Digest, Sha256};

/// Bits of the filter, which are 256 KiB. With 80 000 members, one in 2 500 other instances is
/// taken for a member; with 400 000, one in twelve.
const BITS: u32 = 1 << 21;

/// How many bits one member sets.
const EACH: usize = 4;

#[derive(Debug)]
pub(crate) struct Evicted {
    secret: [u8; 16],
    bits: Vec<u64>,
}

impl Evicted {
    pub(crate) fn new(entropy: &mut dyn Entropy) -> Evicted {
        let mut secret = [0; 16];
        entropy.fill(&mut secret);
        Evicted {
            secret,
            bits: vec![0; BITS as usize / 64],
        }
    }

    pub(crate) fn insert(&mut self, instance: Instance) {
        for (word, bit) in self.places(instance) {
            self.bits[word] |= bit;
        }
    }

    /// False only if the instance was never inserted.
    pub(crate) fn may_hold(&self, instance: Instance) -> bool {
        let mut places = self.places(instance).into_iter();
        places.all(|(word, bit)| self.bits[word] & bit != 0)
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

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut evicted = Evicted::new(&mut Fixed);
        assert!(!evicted.may_hold(instance(0)));
        for i in 0..80_000 {
            evicted.insert(instance(i));
        }
        assert!((0..80_000).all(|i| evicted.may_hold(instance(i))));
        let wrong = (80_000..180_000).filter(|i| evicted.may_hold(instance(*i)));
        assert!(wrong.count() < 100);
    }
}
