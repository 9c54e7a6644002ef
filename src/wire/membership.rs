//! The right to join a network at a relay: a key that is derived from the network's key, and the
//! proof of it.
//!
//! A relay can check a proof with its key, and nothing else: the key is derived one way, and opens
//! no token.

use crate::error::Error;
use crate::fernet::Key;
use crate::hkdf::{hkdf, mac, mac_is};
use crate::name::NetworkName;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// 32 fresh random bytes of each side, which make a proof valid for one join only.
pub type Challenge = [u8; 32];

/// The MAC that proves that a node holds the key.
pub type Proof = [u8; 32];

/// The beginning of the text form, so that a relay key and a network key cannot be mistaken for
/// each other.
const PREFIX: &str = "relay-";

/// A relay's key for one network, as in `peerbase relay --relay-key`. It is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayKey([u8; 32]);

impl RelayKey {
    /// Derives the key of a network from the network's key and name: HKDF-SHA256 (RFC 5869) without
    /// salt, with the info `peerbase relay 2`, the length of the name in one byte, and the name.
    pub fn derive(key: &Key, network: &NetworkName) -> RelayKey {
        let info = [
            b"peerbase relay 2",
            &length(network)[..],
            network.as_str().as_bytes(),
        ];
        let mut derived = RelayKey([0; 32]);
        hkdf(&[], key.as_bytes(), &info.concat(), &mut derived.0);
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

    /// Proves that this key is held, for one join to one network.
    pub fn prove(&self, network: &NetworkName, member: &Challenge, relay: &Challenge) -> Proof {
        mac(&self.0, &said(network, &length(network), member, relay))
    }

    /// Whether `proof` proves that, in constant time.
    pub fn verify(
        &self,
        network: &NetworkName,
        member: &Challenge,
        relay: &Challenge,
        proof: &[u8],
    ) -> bool {
        mac_is(
            &self.0,
            &said(network, &length(network), member, relay),
            proof,
        )
    }
}

fn length(network: &NetworkName) -> [u8; 1] {
    [network.as_str().len() as u8]
}

/// The parts over which a proof is a MAC. The length in front of the name keeps two names from
/// being mistaken for each other.
fn said<'a>(
    network: &'a NetworkName,
    length: &'a [u8; 1],
    member: &'a Challenge,
    relay: &'a Challenge,
) -> [&'a [u8]; 5] {
    [
        b"peerbase join 1",
        length,
        network.as_str().as_bytes(),
        member,
        relay,
    ]
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

    #[test]
    fn a_proof_is_good_for_one_key_one_network_and_one_joining() {
        let net = |s| NetworkName::new(s).unwrap();
        let key = RelayKey::derive(&Key::from_bytes([1; 32]), &net("a"));
        let proof = key.prove(&net("a"), &[2; 32], &[3; 32]);
        assert!(key.verify(&net("a"), &[2; 32], &[3; 32], &proof));
        assert!(!key.verify(&net("b"), &[2; 32], &[3; 32], &proof));
        assert!(!key.verify(&net("a"), &[9; 32], &[3; 32], &proof));
        assert!(!key.verify(&net("a"), &[2; 32], &[9; 32], &proof));
        assert!(!key.verify(&net("a"), &[3; 32], &[2; 32], &proof));
        assert!(!key.verify(&net("a"), &[2; 32], &[3; 32], &proof[..31]));
        for (byte, network) in [(2, "a"), (1, "b")] {
            let other = RelayKey::derive(&Key::from_bytes([byte; 32]), &net(network));
            assert!(other != key && !other.verify(&net("a"), &[2; 32], &[3; 32], &proof));
        }
    }

    #[test]
    fn the_text_form_cannot_be_taken_for_a_network_key() {
        let network = Key::from_bytes([1; 32]);
        let key = RelayKey::derive(&network, &NetworkName::new("a").unwrap());
        let text = key.to_text();
        assert!(RelayKey::parse(&text) == Ok(key));
        assert!(Key::parse(&text).is_err());
        let refused = RelayKey::parse(&network.to_text()).unwrap_err();
        assert!(refused.to_string().contains("never give a relay"));
        assert!(RelayKey::parse("relay-short").is_err());
    }
}
