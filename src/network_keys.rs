//! What is derived from the keys of a network.
//!
//! Each use has a key of its own: HKDF-SHA256 (RFC 5869) of the network key without salt, with the
//! name of the use and the network's name as the info. So a token for one use, or of one network,
//! is worth nothing for another. The network key itself seals nothing.

use crate::fernet::{Key, Keyring};
use crate::hkdf::hkdf;
use crate::name::NetworkName;
use std::fmt;
use zeroize::Zeroizing;

const ADVERT: &[u8] = b"peerbase advert 2";
const HANDSHAKE: &[u8] = b"peerbase handshake 2";

/// The keys that a node uses for adverts and handshakes.
#[derive(Clone)]
pub struct NetworkKeys {
    adverts: Keyring,
    psks: Vec<Zeroizing<[u8; 32]>>,
}

impl NetworkKeys {
    /// Derives them from the keys of this network: as many of each as the ring has, in its order.
    pub fn new(keys: &Keyring, network: &NetworkName) -> NetworkKeys {
        let all = keys.all();
        let adverts = all.iter().map(|key| {
            let key = derive(key, ADVERT, network);
            Key::from_bytes(*key)
        });
        NetworkKeys {
            adverts: Keyring::derived(adverts.collect()),
            psks: all.iter().map(|k| derive(k, HANDSHAKE, network)).collect(),
        }
    }

    /// The keys that seal adverts.
    pub fn adverts(&self) -> &Keyring {
        &self.adverts
    }

    /// The keys that the handshake mixes in, at least one. The first is that of our own questions.
    pub(crate) fn psks(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.psks.iter().map(|psk| &**psk)
    }
}

impl fmt::Debug for NetworkKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NetworkKeys(..)")
    }
}

/// The key of a network for one use.
pub(crate) fn derive(key: &Key, label: &[u8], network: &NetworkName) -> Zeroizing<[u8; 32]> {
    let name = network.as_str().as_bytes();
    let info = [label, &[name.len() as u8], name].concat();
    let mut derived = Zeroizing::new([0; 32]);
    hkdf(&[], key.as_bytes(), &info, derived.as_mut_slice());
    derived
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_use_and_each_network_has_a_key_of_its_own() {
        let key = Key::from_bytes([1; 32]);
        let plant = NetworkName::new("plant").unwrap();
        let other = NetworkName::new("plants").unwrap();
        let all = [
            derive(&key, ADVERT, &plant),
            derive(&key, HANDSHAKE, &plant),
            derive(&key, ADVERT, &other),
            derive(&Key::from_bytes([2; 32]), ADVERT, &plant),
            Zeroizing::new(*key.as_bytes()),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|other| other != one), "{i}");
        }
    }
}
