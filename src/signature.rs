//! Ed25519 signatures (RFC 8032), as identities and authorities make and check them.
//!
//! Checks are strict. A message has no second signature that somebody without the secret could
//! make of the first one, so the hash of a signed text stands for that text. A public key has one
//! form of 32 bytes, and none is a key under which anybody can sign.

use crate::entropy::Entropy;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use std::fmt;
use zeroize::Zeroizing;

/// The bytes of a signature.
pub(crate) type Signature = [u8; 64];

/// The secret that signs: a seed of 32 bytes, and what is derived from it. It is wiped when
/// dropped.
#[derive(Clone)]
pub(crate) struct Signer(SigningKey);

impl Signer {
    pub(crate) fn generate(entropy: &mut impl Entropy) -> Signer {
        Signer::from_seed(&Zeroizing::new(entropy.array()))
    }

    pub(crate) fn from_seed(seed: &[u8; 32]) -> Signer {
        Signer(SigningKey::from_bytes(seed))
    }

    pub(crate) fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    pub(crate) fn verifier(&self) -> Verifier {
        Verifier(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}

/// A public key, which checks signatures.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Verifier([u8; 32]);

impl Verifier {
    /// The key of these bytes; none if they are no point of the curve, a second form of a point, or
    /// one of the few points of low order, under which a signature fits nearly any message.
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Option<Verifier> {
        let key = VerifyingKey::from_bytes(bytes).ok()?;
        let is_canonical = key.to_edwards().compress().as_bytes() == bytes;
        (is_canonical && !key.is_weak()).then_some(Verifier(*bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether the owner of this key has signed `message`.
    pub(crate) fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_one_key_and_one_message() {
        let signer = Signer::from_seed(&[1; 32]);
        let signature = signer.sign(b"open");
        assert!(signer.verifier().verify(b"open", &signature));
        assert!(!signer.verifier().verify(b"shut", &signature));
        let other = Signer::from_seed(&[2; 32]).verifier();
        assert!(!other.verify(b"open", &signature));
        for bit in 0..signature.len() * 8 {
            let mut flipped = signature;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!signer.verifier().verify(b"open", &flipped), "{bit}");
        }
    }

    /// `number` and the order of the curve's group, both little-endian.
    fn plus_order(number: &mut [u8]) {
        let order: [u8; 16] = 0x14de_f9de_a2f7_9cd6_5812_631a_5cf5_d3ed_u128.to_le_bytes();
        let mut carry = 0;
        for (i, digit) in number.iter_mut().enumerate() {
            let more = order.get(i).copied().unwrap_or(u8::from(i == 31) << 4);
            let sum = u16::from(*digit) + u16::from(more) + carry;
            (*digit, carry) = (sum as u8, sum >> 8);
        }
    }

    #[test]
    fn a_signature_has_no_second_form() {
        let signer = Signer::from_seed(&[1; 32]);
        let mut second = signer.sign(b"open");
        plus_order(&mut second[32..]);
        assert!(!signer.verifier().verify(b"open", &second));
    }

    #[test]
    fn keys_under_which_anybody_can_sign_and_second_forms_are_none() {
        let mut one = [0; 32];
        one[0] = 1;
        // A point of order four; the neutral point, in both of its forms and with a wrong sign.
        let mut beyond = [0xff; 32];
        (beyond[0], beyond[31]) = (0xee, 0x7f);
        let mut signed = one;
        signed[31] = 0x80;
        // 2 is the height of no point.
        let mut none = [0; 32];
        none[0] = 2;
        for bad in [[0; 32], one, beyond, signed, none] {
            assert!(Verifier::from_bytes(&bad).is_none(), "{bad:02x?}");
        }
        // 4 is the height of a point, and so is 4 + p, its second form, of which nobody knows the
        // secret.
        let mut four = [0; 32];
        four[0] = 4;
        let mut second = [0xff; 32];
        (second[0], second[31]) = (0xf1, 0x7f);
        assert!(Verifier::from_bytes(&four).is_some());
        assert!(VerifyingKey::from_bytes(&second).is_ok());
        assert!(Verifier::from_bytes(&second).is_none());
    }

    #[test]
    fn the_secret_never_shows_in_debug() {
        assert_eq!(format!("{:?}", Signer::from_seed(&[1; 32])), "Signer(..)");
    }
}
