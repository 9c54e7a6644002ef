//! The randomness of targets that need some. It is the same in every run, so that a script replays.

use peerbase::entropy::Entropy;

pub struct Counter(pub u8);

impl Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_add(41);
            *byte = self.0;
        }
    }
}
