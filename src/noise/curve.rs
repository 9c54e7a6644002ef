//! X25519 (RFC 7748): key pairs, and the secret that two of them share.

use super::Invalid;
use curve25519_dalek::MontgomeryPoint;
use zeroize::Zeroizing;

/// A private key and its public key. The private key is wiped when the pair is dropped.
pub(crate) struct KeyPair {
    private: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl KeyPair {
    /// The pair of a private key: any 32 bytes that nobody else can know. It takes a multiplication
    /// on the curve.
    pub(crate) fn new(private: &[u8; 32]) -> KeyPair {
        KeyPair {
            private: Zeroizing::new(*private),
            public: MontgomeryPoint::mul_base_clamped(*private).to_bytes(),
        }
    }

    /// The pair of somebody who shows a public key that is not its own.
    #[cfg(test)]
    pub(crate) fn claiming(public: [u8; 32], own: &KeyPair) -> KeyPair {
        KeyPair {
            private: own.private.clone(),
            public,
        }
    }

    /// The public key.
    pub(crate) fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The secret that this pair and that of the public key `theirs` share.
    ///
    /// It is an error if `theirs` is a point of low order. Every private key gives zero with such a
    /// point, so that the secret would be none (RFC 7748, section 6.1).
    pub(super) fn agree(&self, theirs: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, Invalid> {
        let point = MontgomeryPoint(*theirs).mul_clamped(*self.private);
        let secret = Zeroizing::new(point.to_bytes());
        // All bytes are looked at, so that the time tells nothing about a secret.
        match secret.iter().fold(0, |seen, byte| seen | byte) {
            0 => Err(Invalid),
            _ => Ok(secret),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{LOW_ORDER, key};
    use super::*;

    #[test]
    fn rfc7748_section_6_1() {
        let pairs = [
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        ]
        .map(|private| KeyPair::new(&key(private)));
        let publics = [
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        ]
        .map(key);
        let secret = key("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(pairs.each_ref().map(KeyPair::public), publics.each_ref());
        assert_eq!(*pairs[0].agree(&publics[1]).unwrap(), secret);
        assert_eq!(*pairs[1].agree(&publics[0]).unwrap(), secret);
    }

    #[test]
    fn a_point_of_low_order_is_refused_however_it_is_written() {
        let pair = KeyPair::new(&[7; 32]);
        for point in LOW_ORDER.map(key) {
            // The highest bit of a point is ignored.
            for bit in [0, 0x80] {
                let mut point = point;
                point[31] |= bit;
                assert!(pair.agree(&point) == Err(Invalid), "{point:02x?}");
            }
        }
        assert!(pair.agree(KeyPair::new(&[8; 32]).public()).is_ok());
    }
}
