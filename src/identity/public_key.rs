//! The public half of an identity.

use super::Fingerprint;
use crate::base64url;
use crate::error::Error;
use crate::signature::Verifier;
use std::fmt;
use std::str::FromStr;

/// The beginning of the text form, so that no other key can be mistaken for one of these.
const PREFIX: &str = "peer-";

/// The public key of a node's [`Identity`](crate::Identity): an Ed25519 key of 32 bytes. It is no
/// secret, and no two nodes have the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(Verifier);

impl PublicKey {
    pub(super) fn of(verifier: Verifier) -> PublicKey {
        PublicKey(verifier)
    }

    /// The key of these bytes. [`Error::Key`] if they are none: not every 32 bytes are a point of
    /// the curve, and there are points under which anybody could sign.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<PublicKey, Error> {
        let key = Verifier::from_bytes(bytes).map(PublicKey);
        key.ok_or(Error::Key("these 32 bytes are no Ed25519 public key"))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Reads the text form, exactly as it is written. [`Error::Key`] if it is none.
    pub fn parse(text: &str) -> Result<PublicKey, Error> {
        if text.starts_with(super::PREFIX) {
            return Err(Error::Key(
                "this is a node's identity, which is secret; its public key begins with peer-",
            ));
        }
        let bytes = text.strip_prefix(PREFIX).and_then(base64url::bytes);
        let bytes = bytes.ok_or(Error::Key(
            "a node's public key is peer- and 44 characters of base64url",
        ))?;
        PublicKey::from_bytes(&bytes)
    }

    /// The text form: `peer-` and 44 characters of base64url.
    pub fn to_text(&self) -> String {
        base64url::text(PREFIX, self.as_bytes())
    }

    /// The short form, for people.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.as_bytes())
    }

    /// Whether the owner of this key has signed `message`.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify(message, signature)
    }
}

impl FromStr for PublicKey {
    type Err = Error;
    fn from_str(text: &str) -> Result<PublicKey, Error> {
        PublicKey::parse(text)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    #[test]
    fn a_public_key_has_one_text_form() {
        let key = Identity::from_seed([7; 32]).public_key();
        let text = key.to_text();
        assert_eq!(PublicKey::parse(&text), Ok(key));
        assert_eq!(format!("{key:?}"), text);
        let no_point = base64url::text(PREFIX, &[2; 32]);
        let neutral = format!("{PREFIX}AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        for bad in [
            &text[5..],
            &text[..48],
            &format!("{text}="),
            &text.to_uppercase(),
            &no_point,
            &neutral,
        ] {
            assert!(matches!(PublicKey::parse(bad), Err(Error::Key(_))), "{bad}");
        }
    }

    #[test]
    fn an_identity_in_place_of_a_public_key_is_told_and_not_repeated() {
        let secret = Identity::from_seed([7; 32]).to_text();
        let told = PublicKey::parse(&secret).unwrap_err().to_string();
        assert!(
            told.contains("secret") && !told.contains(&secret[9..]),
            "{told}"
        );
    }
}
