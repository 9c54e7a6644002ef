//! The right to join a network at a relay: a key that is derived from the network's key, the proofs
//! of it, and the [`WordMacs`] of what is said after them.
//!
//! A relay can check a proof with its key, and nothing else: the key is derived one way, and opens
//! no token. A relay proves the key as well, before the node does. Both proofs are MACs over what
//! was said so far, each with a label of its own, so none is good for another joining, another
//! network, or the other side. What is proven is that somebody has the relay key: any relay of the
//! network, or any member.

mod word_mac;

pub use word_mac::WordMacs;

use super::put_text;
use crate::error::Error;
use crate::fernet::Key;
use crate::hkdf::{hkdf, mac, mac_is};
use crate::name::NetworkName;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use std::fmt;
use word_mac::WordMac;
use zeroize::{Zeroize, Zeroizing};

/// 32 fresh random bytes of each side, which make a proof valid for one join only.
pub type Challenge = [u8; 32];

/// The MAC that proves that a side holds the key.
pub type Proof = [u8; 32];

/// The beginning of the text form, so that a relay key and a network key cannot be mistaken for
/// each other.
const PREFIX: &str = "relay-";

/// One of the two sides of a link to a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The node that joins.
    Member,
    /// The relay.
    Relay,
}

impl Side {
    fn proof_label(self) -> &'static [u8] {
        match self {
            Side::Member => b"peerbase member proof 2",
            Side::Relay => b"peerbase relay proof 2",
        }
    }

    fn words_label(self) -> &'static [u8] {
        match self {
            Side::Member => b"peerbase member words 2",
            Side::Relay => b"peerbase relay words 2",
        }
    }
}

/// What both sides have said when they prove the key: the network's name as a text, the two
/// challenges, and the fields of `join` and `prove` as they were on the wire, each with its length
/// in two bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining(Box<[u8]>);

impl Joining {
    /// The joining of a member that has said `member`, with the fields `asked` behind it, and was
    /// answered with `relay`, with the fields `answered` behind it.
    pub fn new(
        network: &NetworkName,
        (member, asked): (&Challenge, &[u8]),
        (relay, answered): (&Challenge, &[u8]),
    ) -> Joining {
        let mut said = Vec::new();
        put_text(network.as_str(), &mut said);
        said.extend_from_slice(member);
        said.extend_from_slice(relay);
        for fields in [asked, answered] {
            // A word and all its fields are shorter than that.
            said.extend_from_slice(&(fields.len() as u16).to_be_bytes());
            said.extend_from_slice(fields);
        }
        Joining(said.into())
    }
}

/// A relay's key for one network, as in `peerbase relay --relay-key`. It is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayKey([u8; 32]);

impl RelayKey {
    /// Derives the key from the network's key and name: HKDF-SHA256 (RFC 5869) without salt, with
    /// `peerbase relay 2` and the name, its length before it in one byte, as the info.
    pub fn derive(key: &Key, network: &NetworkName) -> RelayKey {
        let mut info = b"peerbase relay 2".to_vec();
        put_text(network.as_str(), &mut info);
        let mut derived = RelayKey([0; 32]);
        hkdf(&[], key.as_bytes(), &info, &mut derived.0);
        derived
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<RelayKey, Error> {
        let Some(text) = text.strip_prefix(PREFIX) else {
            return Err(Error::Key(
                "a relay key begins with relay-; never give a relay the network's key",
            ));
        };
        let mut bytes = Zeroizing::new([0u8; 33]);
        match URL_SAFE.decode_slice(text, bytes.as_mut_slice()) {
            Ok(32) => {
                let mut key = RelayKey([0; 32]);
                key.0.copy_from_slice(&bytes[..32]);
                Ok(key)
            }
            _ => Err(Error::Key(
                "a relay key is relay- and 44 characters of base64url",
            )),
        }
    }

    /// The text form: `relay-` and 44 characters of base64url. It is the secret itself: never write
    /// it to logs.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", URL_SAFE.encode(self.0)))
    }

    /// Proves for a side of a joining that it holds this key.
    pub fn prove(&self, side: Side, joining: &Joining) -> Proof {
        mac(&self.0, &[side.proof_label(), &joining.0])
    }

    /// Whether `proof` proves that, in constant time.
    pub fn verify(&self, side: Side, joining: &Joining, proof: &Proof) -> bool {
        mac_is(&self.0, &[side.proof_label(), &joining.0], proof)
    }

    /// What authenticates the words of a side after the proofs, and checks those of the other.
    pub fn macs(&self, side: Side, joining: &Joining) -> WordMacs {
        let other = match side {
            Side::Member => Side::Relay,
            Side::Relay => Side::Member,
        };
        WordMacs::new(self.word_mac(side, joining), self.word_mac(other, joining))
    }

    fn word_mac(&self, side: Side, joining: &Joining) -> WordMac {
        let info = [side.words_label(), &joining.0].concat();
        WordMac::new(|key| hkdf(&[], &self.0, &info, key))
    }
}

impl Drop for RelayKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for RelayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(name: &str) -> NetworkName {
        NetworkName::new(name).unwrap()
    }

    fn key(fill: u8) -> RelayKey {
        RelayKey::derive(&Key::from_bytes([fill; 32]), &net("a"))
    }

    fn joining(name: &str, member: u8, relay: u8) -> Joining {
        Joining::new(&net(name), (&[member; 32], b""), (&[relay; 32], b""))
    }

    #[test]
    fn a_proof_is_good_for_one_key_one_network_one_joining_and_one_side() {
        let (key, own) = (key(1), joining("a", 2, 3));
        for side in [Side::Member, Side::Relay] {
            let proof = key.prove(side, &own);
            assert!(key.verify(side, &own, &proof));
            for other in [
                joining("b", 2, 3),
                joining("a", 9, 3),
                joining("a", 2, 9),
                joining("a", 3, 2),
                Joining::new(&net("a"), (&[2; 32], b".a=1"), (&[3; 32], b"")),
                Joining::new(&net("a"), (&[2; 32], b""), (&[3; 32], b".a=1")),
            ] {
                assert!(!key.verify(side, &other, &proof), "{other:?}");
            }
            assert!(!super::tests::key(2).verify(side, &own, &proof));
        }
        let reflected = key.prove(Side::Relay, &own);
        assert!(!key.verify(Side::Member, &own, &reflected));
    }

    #[test]
    fn a_field_of_one_side_is_not_taken_for_one_of_the_other() {
        let with =
            |asked, answered| Joining::new(&net("a"), (&[2; 32], asked), (&[3; 32], answered));
        assert_ne!(with(b".a=1", b""), with(b"", b".a=1"));
    }

    #[test]
    fn each_network_has_a_relay_key_of_its_own() {
        let network = Key::from_bytes([1; 32]);
        let of = |name| RelayKey::derive(&network, &net(name));
        assert!(of("a") == of("a") && of("a") != of("b"));
        assert!(of("a") != key(2));
    }

    #[test]
    fn the_text_form_cannot_be_taken_for_a_network_key() {
        let network = Key::from_bytes([1; 32]);
        let key = key(1);
        let text = key.to_text();
        assert!(RelayKey::parse(&text) == Ok(key));
        assert!(Key::parse(&text).is_err());
        let refused = RelayKey::parse(&network.to_text()).unwrap_err();
        assert!(refused.to_string().contains("never give a relay"));
        assert!(RelayKey::parse("relay-short").is_err());
    }

    /// The values there were computed by another implementation.
    #[test]
    fn proofs_and_macs_are_those_at_the_end_of_the_documentation_of_the_protocol() {
        const DOCUMENT: &str = include_str!("../../../docs/PROTOCOL.md");
        let says = |what: &str, value: &str| {
            let line = format!("    {what:<30}{value}\n");
            assert!(DOCUMENT.contains(&line), "{line}");
        };
        let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
        let network = net("plant");
        let key = RelayKey::derive(&Key::from_bytes(std::array::from_fn(|n| n as u8)), &network);
        let joining = Joining::new(&network, (&[1; 32], b""), (&[2; 32], b""));
        for (side, who, word) in [
            (Side::Relay, "relay", "joined.abcdefgh-_012345"),
            (Side::Member, "node", "block.abcdefgh-_012345"),
        ] {
            let proof = key.prove(side, &joining);
            says(&format!("proof of the {who}"), &hex(&proof));
            let mut payload = word.as_bytes().to_vec();
            key.word_mac(side, &joining).append(0, &mut payload);
            let payload = String::from_utf8(payload).unwrap();
            says(&format!("first word of the {who}"), &payload);
        }
    }
}
