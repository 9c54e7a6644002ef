//! The key of a network, as bytes and as text.

use crate::entropy::Entropy;
use crate::error::Error;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// Characters of a key as text, padding included.
pub const KEY_TEXT_LEN: usize = 44;

/// A Fernet key: 16 bytes to sign with, and 16 to encrypt with. It is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// A new key.
    pub fn generate(entropy: &mut impl Entropy) -> Key {
        Key(entropy.array())
    }

    /// The key of these bytes, of which the first half signs.
    pub fn from_bytes(bytes: [u8; 32]) -> Key {
        Key(bytes)
    }

    /// Reads the canonical text form: 44 characters of padded base64url.
    pub fn parse(text: &str) -> Result<Key, Error> {
        if text.len() != KEY_TEXT_LEN {
            return Err(Error::Key("must be 44 characters"));
        }
        let mut bytes = Zeroizing::new([0u8; 33]);
        match URL_SAFE.decode_slice(text, bytes.as_mut_slice()) {
            Ok(32) => {
                let mut key = Key([0; 32]);
                key.0.copy_from_slice(&bytes[..32]);
                Ok(key)
            }
            _ => Err(Error::Key(
                "must be base64url of 32 bytes, padded with one =",
            )),
        }
    }

    /// The text form, which is the secret itself: write it to key files, and never to logs.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE.encode(self.0))
    }

    /// The bytes, from which further keys are derived.
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    fn key(fill: u8) -> Key {
        Key::from_bytes([fill; 32])
    }

    #[test]
    fn a_key_has_one_text_form_and_never_shows_in_debug() {
        let text = key(9).to_text();
        assert_eq!(Key::parse(&text).unwrap(), key(9));
        for bad in [
            &text[..43],
            &format!("{}=", &*text),
            &text.replace('=', "A"),
            &text.replace("CQk=", "CQl="),
        ] {
            assert!(matches!(Key::parse(bad), Err(Error::Key(_))), "{bad}");
        }
        assert_eq!(format!("{:?}", key(9)), "Key(..)");
    }
}
