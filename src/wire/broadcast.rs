//! A message to all nodes, as one node hands it to another. Its origin has signed it.
//!
//! ```text
//! number u64 | hops u8 | sender text | public key [32] | start [16] | signature [64]
//! | certificate: u16 length, bytes | extensions: u16 length, bytes | data, the rest
//! ```
//!
//! The instance of the origin follows from its public key and its start. The signature (Ed25519) is
//! over what [`signed_bytes`] gives: all of it but the hops, which change on the way, and the
//! certificate, which an authority has signed.

use super::{Instance, Malformed, Reader, extensions, instance, put_text};
use crate::identity::PublicKey;
use crate::name::NetworkName;
use sha2::{Digest, Sha256};

/// What the signed bytes begin with.
const SIGNED: &[u8] = b"peerbase broadcast 2";

/// Bytes for all nodes, on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BroadcastRef<'a> {
    /// The number of the broadcast, counted by the origin from 0.
    pub number: u64,
    /// How many more nodes may forward it, one after the other.
    pub hops: u8,
    /// The origin's name; not checked here.
    pub sender: &'a str,
    /// The origin's public key; not checked here.
    pub key: &'a [u8; 32],
    /// Random bytes of the origin's start.
    pub start: &'a [u8; 16],
    /// The origin's signature; not checked here.
    pub signature: &'a [u8; 64],
    /// The origin's certificate; empty if it has none.
    pub certificate: &'a [u8],
    /// What later versions have added.
    pub extensions: &'a [u8],
    /// The bytes of the broadcast.
    pub data: &'a [u8],
}

impl<'a> BroadcastRef<'a> {
    /// Bytes of its encoding before the data.
    pub fn head(&self) -> usize {
        let fixed = 8 + 1 + 1 + 32 + 16 + 64 + 2 + 2;
        fixed + self.sender.len() + self.certificate.len() + self.extensions.len()
    }

    pub(super) fn decode(r: &mut Reader<'a>) -> Result<BroadcastRef<'a>, Malformed> {
        let broadcast = BroadcastRef {
            number: r.u64()?,
            hops: r.u8()?,
            sender: r.text()?,
            key: r.take()?,
            start: r.take()?,
            signature: r.take()?,
            certificate: {
                let length = r.u16()?;
                r.bytes(usize::from(length))?
            },
            extensions: {
                let length = r.u16()?;
                r.bytes(usize::from(length))?
            },
            data: r.rest(),
        };
        extensions::check(broadcast.extensions)?;
        Ok(broadcast)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.number.to_be_bytes());
        out.push(self.hops);
        put_text(self.sender, out);
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.start);
        out.extend_from_slice(self.signature);
        for part in [self.certificate, self.extensions] {
            out.extend_from_slice(&(part.len() as u16).to_be_bytes());
            out.extend_from_slice(part);
        }
        out.extend_from_slice(self.data);
    }

    /// The instance of the origin. `None` if the key is none.
    pub fn origin(&self) -> Option<(PublicKey, Instance)> {
        let key = PublicKey::from_bytes(self.key).ok()?;
        Some((key, instance(&key, self.start)))
    }
}

/// What the origin of a broadcast signs, in this network. The signature of `broadcast` is not
/// looked at.
pub fn signed_bytes(
    network: &NetworkName,
    origin: Instance,
    broadcast: &BroadcastRef<'_>,
) -> Vec<u8> {
    let mut bytes = SIGNED.to_vec();
    put_text(network.as_str(), &mut bytes);
    bytes.extend_from_slice(broadcast.key);
    bytes.extend_from_slice(&origin.0);
    bytes.extend_from_slice(&broadcast.number.to_be_bytes());
    put_text(broadcast.sender, &mut bytes);
    bytes.extend_from_slice(&(broadcast.extensions.len() as u16).to_be_bytes());
    bytes.extend_from_slice(broadcast.extensions);
    bytes.extend_from_slice(&Sha256::digest(broadcast.data));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ask::{AskKind, AskRef};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_decodes_alike(
            (number, hops) in (any::<u64>(), any::<u8>()),
            sender in "[a-z]{0,20}",
            (key, start) in (any::<[u8; 32]>(), any::<[u8; 16]>()),
            signature in prop::collection::vec(any::<u8>(), 64),
            certificate in prop::collection::vec(any::<u8>(), 0..50),
            data in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let broadcast = BroadcastRef {
                number,
                hops,
                sender: &sender,
                key: &key,
                start: &start,
                signature: signature[..].try_into().unwrap(),
                certificate: &certificate,
                extensions: &[0, 9, 0, 1, 7],
                data: &data,
            };
            let mut bytes = Vec::new();
            AskRef::Broadcast(broadcast).encode(&mut bytes);
            prop_assert_eq!(bytes.len(), broadcast.head() + data.len());
            let decoded = AskRef::decode(AskKind::Broadcast, &bytes);
            prop_assert_eq!(decoded, Ok(AskRef::Broadcast(broadcast)));
            // With the bit that says that the field must be known.
            let at = bytes.len() - data.len() - 5;
            bytes[at] |= 128;
            prop_assert_eq!(AskRef::decode(AskKind::Broadcast, &bytes), Err(Malformed));
        }
    }
}
