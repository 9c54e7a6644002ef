//! The randomness of targets that need some. It is the same in every run, so that a script replays.

use peerbase::entropy::Entropy;

/// A linear congruential generator, which begins with this number.
pub struct Counter(pub u64);

impl Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (self.0 >> 56) as u8;
        }
    }
}
