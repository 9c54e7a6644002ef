//! What the payload of a frame holds.
//!
//! Once its token is open, the payload is an [`advert`] or a [`record`], and in a record travel
//! [`ask`], [`peers`] and [`report`]. The messages of the [`handshake`] are sealed by the Noise
//! protocol. Adverts and handshakes can carry [`extensions`] of later versions. Between a node and
//! a relay the payload is in clear: [`relay`], with the proofs and seals of [`relay_key`].
//!
//! Each file is a pure codec over bytes. Integers are big-endian; a text is its length in one byte
//! and then its bytes. What decodes encodes back to the same bytes, and nothing may follow the last
//! field. These files know names, public keys and limits, and nothing of sessions, sockets or time.

pub mod advert;
pub mod ask;
pub mod broadcast;
mod close_reason;
pub mod extensions;
pub mod handshake;
mod header;
pub mod peers;
pub mod record;
pub mod relay;
pub mod relay_key;
pub mod report;
pub mod revocations;
mod settled;
mod status;
mod text;

use crate::identity::PublicKey;
use sha2::{Digest, Sha256};
use std::fmt;

/// The version of the protocol that these codecs speak. Any other version is refused.
pub const VERSION: u8 = 2;

/// One start of one node: 16 bytes of a hash over its public key and random bytes, which are drawn
/// anew at each start. So only the holder of that key can prove to be it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(pub [u8; 16]);

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Four bytes are enough to tell two instances apart in a log.
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

/// The instance of a node's start: the first 16 bytes of SHA-256 of `peerbase instance 2`, the
/// node's public key, and 16 random bytes that were drawn at the start. So an instance belongs to
/// one key, and nobody can show another key for it.
pub(crate) fn instance(public_key: &PublicKey, start: &[u8; 16]) -> Instance {
    let hash = Sha256::new_with_prefix(b"peerbase instance 2")
        .chain_update(public_key.as_bytes())
        .chain_update(start);
    let mut instance = Instance([0; 16]);
    instance.0.copy_from_slice(&hash.finalize()[..16]);
    instance
}

/// The error of bytes that are well authenticated but not what they should be: a holder of the key
/// has a bug, or is malicious.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed contents of a token")
    }
}

impl std::error::Error for Malformed {}

/// Takes fields from the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take().copied()
    }

    /// As `array`, without a copy.
    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        let n = self.u8()?;
        std::str::from_utf8(self.bytes(usize::from(n))?).map_err(|_| Malformed)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }
}

/// Appends a text, which its type bounds to 255 bytes.
fn put_text(text: &str, out: &mut Vec<u8>) {
    debug_assert!(text.len() <= 255);
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unhex::array;
    use serde_json::Value;

    #[test]
    fn instances_are_those_of_the_vectors() {
        let file = include_str!("../../tests/vectors/identity.json");
        let vectors: Value = serde_json::from_str(file).unwrap();
        for wanted in vectors["identities"].as_array().unwrap() {
            let key = PublicKey::parse(wanted["public_key"].as_str().unwrap()).unwrap();
            let started = instance(&key, &array(&wanted["start"]));
            assert_eq!(started, Instance(array(&wanted["instance"])));
        }
    }
}
