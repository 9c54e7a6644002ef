//! The keys of a session, and how they are renewed.

use super::Refused;
use crate::fernet::{Key, Sealer};
use crate::hkdf::hkdf;
use crate::noise::Handshake;
use std::fmt;
use zeroize::Zeroizing;

/// What the keys of a direction are derived with.
const INFO: &[u8] = b"peerbase records 2";

/// 32 bytes that are wiped when they are dropped.
type Secret = Zeroizing<[u8; 32]>;

/// The keys of both directions of a session.
#[derive(Debug)]
pub struct SessionKeys {
    /// For the records of this side.
    pub outbound: RecordKeys,
    /// For the records of the other side.
    pub inbound: RecordKeys,
}

impl SessionKeys {
    /// Those of a handshake that is finished.
    pub(super) fn of(noise: Handshake, is_initiator: bool) -> Result<SessionKeys, Refused> {
        let split = noise.split().map_err(|_| Refused::Unopened)?;
        let (outbound, inbound) = match is_initiator {
            true => (split.initiator, split.responder),
            false => (split.responder, split.initiator),
        };
        Ok(SessionKeys {
            outbound: RecordKeys::new(&outbound),
            inbound: RecordKeys::new(&inbound),
        })
    }
}

/// The keys of one direction: the one that seals records now, and the one from which the next is
/// derived. Each pair is HKDF-SHA256 of the chain key before, so that no key leads back to an
/// earlier one.
pub struct RecordKeys {
    chain: Secret,
    sealer: Sealer,
}

impl RecordKeys {
    /// The first keys of this chain key.
    pub(crate) fn new(chain: &[u8; 32]) -> RecordKeys {
        let (chain, key) = RecordKeys::derive(chain);
        RecordKeys {
            chain,
            sealer: Sealer::new(&Key::from_bytes(*key)),
        }
    }

    /// The next chain key, and the record key.
    pub(super) fn derive(chain: &[u8; 32]) -> (Secret, Secret) {
        let mut derived = Zeroizing::new([0; 64]);
        hkdf(&[], chain, INFO, derived.as_mut_slice());
        let (mut next, mut key) = (Secret::default(), Secret::default());
        next.copy_from_slice(&derived[..32]);
        key.copy_from_slice(&derived[32..]);
        (next, key)
    }

    /// What seals and opens records.
    #[inline]
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Replaces the keys by the next ones. The old ones are wiped.
    pub fn renew(&mut self) {
        *self = RecordKeys::new(&self.chain);
    }
}

impl fmt::Debug for RecordKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordKeys(..)")
    }
}
