//! Several keys at a time, so that a network's key can be rotated.

use super::{Invalid, Key, Sealer, open_with};
use crate::error::Error;
use crate::limits::KEYS_MAX;

/// The index of the key of a [`Keyring`] that opened a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyIndex(usize);

/// One to four keys: the ring opens with any of them, and seals with the first. A key is rotated in
/// three steps, each done on every node before the next: add the new key last, put it first, and
/// remove the old key.
#[derive(Clone, Debug)]
pub struct Keyring {
    keys: Vec<Key>,
    sealers: Vec<Sealer>,
}

impl Keyring {
    /// A ring of `keys`, of which the first seals.
    pub fn new(keys: Vec<Key>) -> Result<Keyring, Error> {
        if keys.is_empty() || keys.len() > KEYS_MAX {
            return Err(Error::Key("a keyring holds one to four keys"));
        }
        Ok(Keyring::derived(keys))
    }

    /// A ring of keys that were derived from those of another ring.
    pub(crate) fn derived(keys: Vec<Key>) -> Keyring {
        let sealers = keys.iter().map(Sealer::new).collect();
        Keyring { keys, sealers }
    }

    /// The key that seals.
    pub fn first(&self) -> KeyIndex {
        KeyIndex(0)
    }

    /// A key ready for use.
    pub fn sealer(&self, index: KeyIndex) -> &Sealer {
        &self.sealers[index.0]
    }

    /// Every key; further keys are derived from them.
    pub(crate) fn all(&self) -> &[Key] {
        &self.keys
    }

    /// Opens `token` with the key that fits.
    pub fn open<'b>(
        &self,
        token: &[u8],
        buf: &'b mut Vec<u8>,
    ) -> Result<(&'b [u8], KeyIndex), Invalid> {
        open_with(&self.sealers, token, buf, None).map(|(plain, i)| (plain, KeyIndex(i)))
    }
}

impl From<Key> for Keyring {
    fn from(key: Key) -> Keyring {
        Keyring {
            sealers: vec![Sealer::new(&key)],
            keys: vec![key],
        }
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    fn key(fill: u8) -> Key {
        Key::from_bytes([fill; 32])
    }

    fn seal(key: &Key, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Sealer::new(key).seal(plain, 1_000, &[7; 16], &mut out);
        out
    }

    #[test]
    fn a_ring_opens_with_any_key_and_seals_with_the_first() {
        let ring = Keyring::new(vec![key(1), key(2)]).unwrap();
        let (_, which) = ring
            .open(&seal(&key(2), b"old"), &mut Vec::new())
            .map(|(p, i)| (p.to_vec(), i))
            .unwrap();
        assert_eq!(which, KeyIndex(1));
        assert!(
            ring.open(&seal(&key(3), b"rotated out"), &mut Vec::new())
                .is_err()
        );
        assert!(Keyring::new(vec![]).is_err() && Keyring::new(vec![key(1); 5]).is_err());
    }
}
