//! The short form of a public key, for people.

use crate::error::Error;
use sha2::{Digest, Sha256};
use std::fmt::{self, Write};
use std::str::FromStr;

/// What is hashed before the key, so that no other hash of a key is a fingerprint.
const LABEL: &[u8] = b"peerbase fingerprint";
/// The digits of base32 (RFC 4648), in lower case.
const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Bits of a fingerprint: 20 digits of 5 bits.
const BITS: u32 = 100;
/// Characters of the text form: 5 groups of 4 digits, and the hyphens between them.
const TEXT_LEN: usize = 24;

/// The fingerprint of a public key: the first 100 bits of SHA-256 of `peerbase fingerprint` and the
/// key. People compare it; it is what an event or a request says of who is there.
///
/// As a text it is lower-case base32 in five groups, such as `k7qp-2mzd-abcd-efgh-ijkl`. To find a
/// second key with the fingerprint of a given one takes some 2^100 attempts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    pub(super) fn of(public_key: &[u8; 32]) -> Fingerprint {
        let hash = Sha256::new_with_prefix(LABEL).chain_update(public_key);
        let mut first = [0; 16];
        first.copy_from_slice(&hash.finalize()[..16]);
        Fingerprint(u128::from_be_bytes(first) >> (u128::BITS - BITS))
    }

    /// Reads the text form, exactly as it is written.
    pub fn parse(text: &str) -> Result<Fingerprint, Error> {
        let wrong = Error::Argument(
            "a fingerprint is 5 groups of 4 characters of a-z and 2-7, with - between them",
        );
        if text.len() != TEXT_LEN {
            return Err(wrong);
        }
        let mut bits = 0;
        for (i, character) in text.bytes().enumerate() {
            let is_hyphen = i % 5 == 4;
            match DIGITS.iter().position(|digit| *digit == character) {
                Some(value) if !is_hyphen => bits = bits << 5 | value as u128,
                None if is_hyphen && character == b'-' => {}
                _ => return Err(wrong),
            }
        }
        Ok(Fingerprint(bits))
    }
}

impl FromStr for Fingerprint {
    type Err = Error;
    fn from_str(text: &str) -> Result<Fingerprint, Error> {
        Fingerprint::parse(text)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in 0..BITS / 5 {
            if place > 0 && place % 4 == 0 {
                f.write_char('-')?;
            }
            let value = self.0 >> (BITS - 5 * (place + 1)) & 31;
            f.write_char(DIGITS[value as usize].into())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_fingerprint_has_one_text_form() {
        let text = "k7qp-2mzd-abcd-efgh-ijkl";
        assert_eq!(Fingerprint::parse(text).unwrap().to_string(), text);
        assert_eq!(
            Fingerprint::parse("aaaa-aaaa-aaaa-aaaa-aaab"),
            Ok(Fingerprint(1))
        );
        for bad in [
            "",
            "k7qp-2mzd-abcd-efgh-ijk",
            "k7qp-2mzd-abcd-efgh-ijklm",
            "K7qp-2mzd-abcd-efgh-ijkl",
            "k7qp2mzd-abcd-efgh-ijkl-",
            "k7qp-2mzd-abcd-efgh-ijk1",
            "k7qpa2mzdaabcdaefghaijkl",
            "k7qp-2mzd-abcd-efgh-ijé",
        ] {
            assert!(
                matches!(Fingerprint::parse(bad), Err(Error::Argument(_))),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(bits in 0..1u128 << BITS) {
            let written = Fingerprint(bits).to_string();
            prop_assert_eq!(Fingerprint::parse(&written), Ok(Fingerprint(bits)));
        }

        #[test]
        fn what_is_read_is_written_alike(text in "[a-z2-7]{4}(-[a-z2-7]{4}){4}") {
            prop_assert_eq!(Fingerprint::parse(&text).unwrap().to_string(), text);
        }
    }
}
