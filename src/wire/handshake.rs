//! The messages of the handshake, by which two nodes make a session.
//!
//! A `hel` frame carries the base64url of an envelope, in which a message of the Noise protocol
//! stands. Its payload is a [`First`], a [`Second`] or a [`Third`].
//!
//! ```text
//! envelope  version u8 | step u8: 1, 2 or 3 | id [8] | Noise message, the rest
//! first     least version u8 | most u8 | instance [16] | extensions
//! second    version u8 | card
//! third     meant text | card
//! card      flags u8: 1 still asks for its name, 2 keeps its identity | port u16 | name text
//!           | start [16] | public key [32] | signature [64] | certificate: u16 length, bytes
//!           | version of its revocation list u64 | extensions
//! ```
//!
//! The initiator draws the id; both sides repeat it, so that an answer is told apart from a
//! question that crosses it on the same route.

use super::extensions::Extensions;
use super::{Instance, Malformed, Reader, VERSION, put_text};
use crate::name::NodeName;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

/// Random bytes that name one handshake.
pub type HandshakeId = [u8; 8];

const PROBING: u8 = 1;
const KEPT: u8 = 2;

/// Which message of a handshake it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The initiator asks for a session.
    First,
    /// The responder answers, and shows who it is.
    Second,
    /// The initiator shows who it is.
    Third,
}

/// Whether the payload of a `hel` frame begins a handshake of this version, as far as its first
/// bytes say.
pub fn is_first(payload: &[u8]) -> bool {
    let mut start = [0; 3];
    let head = payload.first_chunk::<4>();
    let read = head.is_some_and(|head| URL_SAFE.decode_slice(head, &mut start) == Ok(3));
    read && start[..2] == [VERSION, 1]
}

/// What stands around a message of the Noise protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The version of the protocol.
    pub version: u8,
    /// Which message it is.
    pub step: Step,
    /// Which handshake it belongs to.
    pub id: HandshakeId,
    /// The message.
    pub message: Vec<u8>,
}

impl Envelope {
    /// Reads the payload of a `hel` frame. Only the first field of another version is read, and the
    /// rest is left empty.
    pub fn decode(payload: &[u8]) -> Result<Envelope, Malformed> {
        let mut bytes = URL_SAFE.decode(payload).map_err(|_| Malformed)?;
        let mut r = Reader(&bytes);
        let version = r.u8()?;
        if version != VERSION {
            return Ok(Envelope {
                version,
                step: Step::First,
                id: [0; 8],
                message: Vec::new(),
            });
        }
        let step = match r.u8()? {
            1 => Step::First,
            2 => Step::Second,
            3 => Step::Third,
            _ => return Err(Malformed),
        };
        let id = r.array()?;
        let before = bytes.len() - r.rest().len();
        bytes.drain(..before);
        Ok(Envelope {
            version,
            step,
            id,
            message: bytes,
        })
    }

    /// Appends the payload of a `hel` frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let step = match self.step {
            Step::First => 1,
            Step::Second => 2,
            Step::Third => 3,
        };
        let head = [&[self.version, step], &self.id[..]].concat();
        let blob = [head, self.message.clone()].concat();
        let at = out.len();
        // Three bytes become four characters, with padding.
        out.resize(at + blob.len().div_ceil(3) * 4, 0);
        let written = URL_SAFE.encode_slice(blob, &mut out[at..]);
        debug_assert_eq!(written, Ok(out.len() - at));
    }
}

/// What the initiator says first: nothing that a recording and a stolen network key may not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    /// The lowest version that the initiator speaks.
    pub least: u8,
    /// The highest one.
    pub most: u8,
    /// The start of the initiator, which [`Third`] proves.
    pub instance: Instance,
    /// What later versions have added.
    pub extensions: Extensions,
}

impl First {
    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.least, self.most]);
        out.extend_from_slice(&self.instance.0);
        self.extensions.encode(out);
    }

    /// Reads one that takes all of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<First, Malformed> {
        let mut r = Reader(bytes);
        let (least, most) = (r.u8()?, r.u8()?);
        if least > most {
            return Err(Malformed);
        }
        Ok(First {
            least,
            most,
            instance: Instance(r.array()?),
            extensions: Extensions::decode(r.rest())?,
        })
    }
}

/// Who a node is, as it shows in a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Whether the node still asks whether its name is taken.
    pub probing: bool,
    /// Whether the node keeps its identity over its starts.
    pub kept: bool,
    /// The TCP port on which it listens.
    pub port: u16,
    /// Its name.
    pub name: NodeName,
    /// Random bytes of this start. The instance follows from them and the public key.
    pub start: [u8; 16],
    /// Its public key.
    pub key: [u8; 32],
    /// By that key, over the static key of the handshake.
    pub signature: [u8; 64],
    /// Its certificate, a text; empty if it has none.
    pub certificate: Vec<u8>,
    /// The version of the revocation list that it has; 0 for none.
    pub list: u64,
    /// What later versions have added.
    pub extensions: Extensions,
}

impl Card {
    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flag = |on, bit| if on { bit } else { 0 };
        out.push(flag(self.probing, PROBING) | flag(self.kept, KEPT));
        out.extend_from_slice(&self.port.to_be_bytes());
        put_text(self.name.as_str(), out);
        out.extend_from_slice(&self.start);
        out.extend_from_slice(&self.key);
        out.extend_from_slice(&self.signature);
        debug_assert!(self.certificate.len() <= usize::from(u16::MAX));
        out.extend_from_slice(&(self.certificate.len() as u16).to_be_bytes());
        out.extend_from_slice(&self.certificate);
        out.extend_from_slice(&self.list.to_be_bytes());
        self.extensions.encode(out);
    }

    fn read(mut r: Reader<'_>) -> Result<Card, Malformed> {
        let flags = r.u8()?;
        if flags > PROBING | KEPT {
            return Err(Malformed);
        }
        let port = r.u16()?;
        let name = NodeName::new(r.text()?).map_err(|_| Malformed)?;
        let (start, key, signature) = (r.array()?, r.array()?, r.array()?);
        let length = r.u16()?;
        Ok(Card {
            probing: flags & PROBING != 0,
            kept: flags & KEPT != 0,
            port,
            name,
            start,
            key,
            signature,
            certificate: r.bytes(usize::from(length))?.to_vec(),
            list: r.u64()?,
            extensions: Extensions::decode(r.rest())?,
        })
    }
}

/// What the responder answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Second {
    /// The version that both sides speak from here on.
    pub version: u8,
    /// Who the responder is.
    pub card: Card,
}

impl Second {
    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.version);
        self.card.encode(out);
    }

    /// Reads one that takes all of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Second, Malformed> {
        let mut r = Reader(bytes);
        Ok(Second {
            version: r.u8()?,
            card: Card::read(r)?,
        })
    }
}

/// What the initiator says last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Third {
    /// The name of the node that it means to speak to.
    pub meant: NodeName,
    /// Who the initiator is.
    pub card: Card,
}

impl Third {
    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_text(self.meant.as_str(), out);
        self.card.encode(out);
    }

    /// Reads one that takes all of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Third, Malformed> {
        let mut r = Reader(bytes);
        Ok(Third {
            meant: NodeName::new(r.text()?).map_err(|_| Malformed)?,
            card: Card::read(r)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn card(certificate: &[u8]) -> Card {
        Card {
            probing: true,
            kept: false,
            port: 7,
            name: NodeName::new("sensor").unwrap(),
            start: [1; 16],
            key: [2; 32],
            signature: [3; 64],
            certificate: certificate.to_vec(),
            list: 4,
            extensions: Extensions::default(),
        }
    }

    #[test]
    fn messages_come_back_as_they_were() {
        let first = First {
            least: 2,
            most: 3,
            instance: Instance([5; 16]),
            extensions: Extensions::default(),
        };
        let second = Second {
            version: 2,
            card: card(b""),
        };
        let third = Third {
            meant: NodeName::new("reader").unwrap(),
            card: card(b"certificate"),
        };
        let encoded = |encode: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            encode(&mut out);
            out
        };
        let bytes = encoded(&|out| first.encode(out));
        assert_eq!(First::decode(&bytes), Ok(first));
        let bytes = encoded(&|out| second.encode(out));
        assert_eq!(Second::decode(&bytes), Ok(second));
        let bytes = encoded(&|out| third.encode(out));
        assert_eq!(Third::decode(&bytes), Ok(third));
        for n in 0..bytes.len() {
            assert_eq!(Third::decode(&bytes[..n]), Err(Malformed), "{n} bytes");
        }
    }

    #[test]
    fn an_envelope_of_another_version_shows_nothing_but_its_version() {
        let payload = URL_SAFE.encode([7, 9, 9]);
        let envelope = Envelope::decode(payload.as_bytes()).unwrap();
        assert_eq!((envelope.version, envelope.message.len()), (7, 0));
    }

    #[test]
    fn an_envelope_has_one_encoding() {
        let envelope = Envelope {
            version: VERSION,
            step: Step::Second,
            id: [7; 8],
            message: b"message".to_vec(),
        };
        let mut payload = b"before".to_vec();
        envelope.encode(&mut payload);
        assert!(!is_first(&payload[6..]));
        assert_eq!(Envelope::decode(&payload[6..]).as_ref(), Ok(&envelope));
        let unpadded = payload[6..].strip_suffix(b"=").unwrap();
        assert_eq!(Envelope::decode(unpadded), Err(Malformed));
        let mut first = Vec::new();
        let step = Step::First;
        Envelope {
            step,
            ..envelope.clone()
        }
        .encode(&mut first);
        assert!(is_first(&first) && !is_first(&first[..3]));
        let of_no_step = URL_SAFE.encode([VERSION, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Envelope::decode(of_no_step.as_bytes()), Err(Malformed));
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(
            start in proptest::collection::vec(0_u8..3, 0..40),
            rest in proptest::collection::vec(any::<u8>(), 0..160),
        ) {
            let bytes = [start, rest].concat();
            let mut again = Vec::new();
            if let Ok(first) = First::decode(&bytes) {
                first.encode(&mut again);
                prop_assert_eq!(&again, &bytes);
            }
            again.clear();
            if let Ok(second) = Second::decode(&bytes) {
                second.encode(&mut again);
                prop_assert_eq!(&again, &bytes);
            }
            again.clear();
            if let Ok(third) = Third::decode(&bytes) {
                third.encode(&mut again);
                prop_assert_eq!(&again, &bytes);
            }
        }
    }
}
