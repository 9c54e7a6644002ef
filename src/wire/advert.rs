//! The advert: what a node announces about itself, sealed under a key that is derived from the
//! network's key. Before the token stands one character, the version of the protocol.
//!
//! ```text
//! phase u8 | instance [16] | sequence u64 | interval u32 ms | port u16
//! | name text | address: u8 of 0, 4 or 16, that many bytes
//! | relays: u8 count, u8 how many of them the sender vouches for, that many texts | extensions
//! ```
//!
//! A sender vouches for the relays that it was given or is linked to; of the rest it has only
//! heard. Nodes do not pass on hearsay, so that a relay that no longer exists is forgotten.

use super::extensions::Extensions;
use super::{Instance, Malformed, Reader, put_text};
use crate::address::RelayAddress;
use crate::limits::ADVERT_RELAYS_MAX;
use crate::name::NodeName;
use std::net::IpAddr;

/// Bytes of the shortest advert: a name of one byte, no address, no relays.
pub(crate) const LEN_MIN: usize = 1 + 16 + 8 + 4 + 2 + (1 + 1) + 1 + (1 + 1);

/// What stands before the token of an advert of this version.
pub const MARK: u8 = b'2';

/// What the sender is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The sender takes part.
    Present,
    /// The sender asks whether its name is taken, and does not take part yet.
    Probing,
    /// The sender is leaving.
    Leaving,
}

/// One advert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// What the sender is about to do.
    pub phase: Phase,
    /// The start of the sender that this advert is about.
    pub instance: Instance,
    /// The number of the advert, counted by the instance. An older advert is void.
    pub sequence: u64,
    /// Milliseconds between two adverts of the sender, at least 1. From these, other nodes judge
    /// its absence.
    pub interval_ms: u32,
    /// The TCP port on which the sender listens.
    pub port: u16,
    /// The sender's name.
    pub name: NodeName,
    /// Where to find the sender, if not at the address from which the datagram came.
    pub address: Option<IpAddr>,
    /// Relays that the sender knows, at most [`ADVERT_RELAYS_MAX`].
    pub relays: Vec<RelayAddress>,
    /// The sender vouches for so many of them, the first ones.
    pub vouched: u8,
    /// What later versions have added.
    pub extensions: Extensions,
}

impl Advert {
    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self.phase {
            Phase::Present => 0,
            Phase::Leaving => 1,
            Phase::Probing => 2,
        });
        out.extend_from_slice(&self.instance.0);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.interval_ms.to_be_bytes());
        out.extend_from_slice(&self.port.to_be_bytes());
        put_text(self.name.as_str(), out);
        match self.address {
            None => out.push(0),
            Some(IpAddr::V4(a)) => {
                out.push(4);
                out.extend_from_slice(&a.octets());
            }
            Some(IpAddr::V6(a)) => {
                out.push(16);
                out.extend_from_slice(&a.octets());
            }
        }
        out.push(self.relays.len() as u8);
        out.push(self.vouched);
        for relay in &self.relays {
            put_text(relay.as_str(), out);
        }
        self.extensions.encode(out);
    }

    /// Reads an advert that takes all of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Advert, Malformed> {
        let mut r = Reader(bytes);
        let phase = match r.u8()? {
            0 => Phase::Present,
            1 => Phase::Leaving,
            2 => Phase::Probing,
            _ => return Err(Malformed),
        };
        let instance = Instance(r.array()?);
        let sequence = r.u64()?;
        // A sender that is gone at once would come and go with each of its adverts.
        let interval_ms = match r.u32()? {
            0 => return Err(Malformed),
            interval_ms => interval_ms,
        };
        let port = r.u16()?;
        let name = NodeName::new(r.text()?).map_err(|_| Malformed)?;
        let address = match r.u8()? {
            0 => None,
            4 => Some(IpAddr::from(r.array::<4>()?)),
            16 => Some(IpAddr::from(r.array::<16>()?)),
            _ => return Err(Malformed),
        };
        let count = usize::from(r.u8()?);
        let vouched = r.u8()?;
        if count > ADVERT_RELAYS_MAX || usize::from(vouched) > count {
            return Err(Malformed);
        }
        let mut relays = Vec::with_capacity(count);
        for _ in 0..count {
            let text = r.text()?;
            let relay = RelayAddress::new(text).map_err(|_| Malformed)?;
            if relay.as_str() != text {
                return Err(Malformed);
            }
            relays.push(relay);
        }
        let extensions = Extensions::decode(r.rest())?;
        Ok(Advert {
            phase,
            instance,
            sequence,
            interval_ms,
            port,
            name,
            address,
            relays,
            vouched,
            extensions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::some_name;
    use proptest::prelude::*;

    fn adverts() -> impl Strategy<Value = Advert> {
        (
            prop::sample::select(vec![Phase::Present, Phase::Probing, Phase::Leaving]),
            (any::<[u8; 16]>(), any::<u64>(), 1u32.., any::<u16>()),
            some_name(),
            any::<Option<IpAddr>>(),
            prop::collection::vec("[a-z0-9.]{1,40}:[1-9][0-9]{0,3}", 0..=ADVERT_RELAYS_MAX),
        )
            .prop_map(
                |(phase, (instance, sequence, interval_ms, port), name, address, relays)| Advert {
                    vouched: relays.len() as u8 / 2,
                    phase,
                    instance: Instance(instance),
                    sequence,
                    interval_ms,
                    port,
                    name,
                    address,
                    relays: relays.iter().map(|r| r.parse().unwrap()).collect(),
                    extensions: Extensions::default(),
                },
            )
    }

    proptest! {
        #[test]
        fn round_trip_and_every_cut_is_malformed(advert in adverts()) {
            let mut bytes = Vec::new();
            advert.encode(&mut bytes);
            for cut in 0..bytes.len() {
                prop_assert_eq!(Advert::decode(&bytes[..cut]), Err(Malformed));
            }
            prop_assert_eq!(Advert::decode(&bytes), Ok(advert));
            bytes.push(0);
            prop_assert_eq!(Advert::decode(&bytes), Err(Malformed));
            bytes.extend_from_slice(&[1, 0, 1, 9]);
            let later = Advert::decode(&bytes).unwrap();
            let mut again = Vec::new();
            later.encode(&mut again);
            prop_assert_eq!(again, bytes, "what a later version has added is kept");
        }

        #[test]
        fn what_decodes_encodes_back(mut bytes in prop::collection::vec(any::<u8>(), 40..80)) {
            bytes[0] %= 3;
            if let Ok(advert) = Advert::decode(&bytes) {
                let mut again = Vec::new();
                advert.encode(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }

    #[test]
    fn none_is_shorter_than_the_shortest() {
        let mut bytes = Vec::new();
        let advert = Advert {
            phase: Phase::Present,
            instance: Instance([0; 16]),
            sequence: 0,
            interval_ms: 1,
            port: 0,
            name: NodeName::new("n").unwrap(),
            address: None,
            relays: Vec::new(),
            vouched: 0,
            extensions: Extensions::default(),
        };
        advert.encode(&mut bytes);
        assert_eq!(bytes.len(), LEN_MIN);
    }

    #[test]
    fn a_thousand_relays_are_refused() {
        let with = |count: u8, vouched: u8| {
            let mut bytes = vec![0];
            bytes.extend_from_slice(&[1; 16 + 8 + 4 + 2]);
            bytes.extend_from_slice(&[1, b'n', 0, count, vouched]);
            bytes.extend_from_slice(&b"\x03r:1".repeat(count.into()));
            Advert::decode(&bytes).map(|a| a.relays.len())
        };
        assert_eq!(with(255, 0), Err(Malformed));
        assert_eq!(with(9, 9), Err(Malformed));
        assert_eq!(with(8, 9), Err(Malformed));
        assert_eq!(with(8, 8), Ok(8));
    }
}
