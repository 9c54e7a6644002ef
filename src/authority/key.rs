//! The public key of an authority.

use super::PREFIX as SECRET_PREFIX;
use crate::base64url;
use crate::error::Error;
use crate::signature::{Signature, Verifier};
use std::fmt;
use std::str::FromStr;

/// The beginning of the text form, so that no other key can be mistaken for one of these.
const PREFIX: &str = "authority-";

/// The public key of an [`Authority`](crate::Authority), with which nodes check certificates and
/// revocation lists: an Ed25519 key of 32 bytes. It is no secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AuthorityKey(Verifier);

impl AuthorityKey {
    pub(super) fn of(verifier: Verifier) -> AuthorityKey {
        AuthorityKey(verifier)
    }

    /// Reads the text form, exactly as it is written. [`Error::Key`] if it is none.
    pub fn parse(text: &str) -> Result<AuthorityKey, Error> {
        if text.starts_with(SECRET_PREFIX) {
            return Err(Error::Key(
                "this is an authority's secret, which no node may have; give the public key",
            ));
        }
        let bytes = text.strip_prefix(PREFIX).and_then(base64url::bytes);
        let bytes = bytes.ok_or(Error::Key(
            "an authority's public key is authority- and 44 characters of base64url",
        ))?;
        let key = Verifier::from_bytes(&bytes).map(AuthorityKey);
        key.ok_or(Error::Key("these 32 bytes are no Ed25519 public key"))
    }

    /// The text form: `authority-` and 44 characters of base64url.
    pub fn to_text(&self) -> String {
        base64url::text(PREFIX, self.0.as_bytes())
    }

    /// Whether the authority has signed `message`.
    pub(super) fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        self.0.verify(message, signature)
    }
}

impl FromStr for AuthorityKey {
    type Err = Error;
    fn from_str(text: &str) -> Result<AuthorityKey, Error> {
        AuthorityKey::parse(text)
    }
}

impl fmt::Debug for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority;
    use crate::identity::Identity;

    #[test]
    fn a_key_has_one_text_form_and_no_other_key_is_taken_for_it() {
        let authority = Authority::from_seed([7; 32]);
        let text = authority.key().to_text();
        assert_eq!(AuthorityKey::parse(&text), Ok(authority.key()));
        let peer = Identity::from_seed([7; 32]).public_key().to_text();
        let no_point = base64url::text(PREFIX, &[2; 32]);
        for bad in [
            &text[10..],
            &text[..53],
            &format!("{text}="),
            &peer,
            &no_point,
        ] {
            assert!(
                matches!(AuthorityKey::parse(bad), Err(Error::Key(_))),
                "{bad}"
            );
        }
        let secret = authority.to_text();
        let told = AuthorityKey::parse(&secret).unwrap_err().to_string();
        assert!(
            told.contains("secret") && !told.contains(&secret[17..]),
            "{told}"
        );
    }
}
