//! What the tests that drive engines and hubs under a virtual clock share.

use peerbase::Entropy;
use peerbase::engine::{Ask, Terms};
use peerbase::name::{CommandPath, NodeName};

/// SplitMix64: small, and the same everywhere.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl Entropy for Rng {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

pub fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

/// What is asked with a call that streams both ways, and its terms, which are otherwise these.
pub fn streaming(terms: Terms) -> (Ask, Terms) {
    let ask = Ask::Command {
        path: CommandPath::new("stream").unwrap(),
        args: b"[]".to_vec(),
        kwargs: b"{}".to_vec(),
    };
    let streams = true;
    (ask, Terms { streams, ..terms })
}
