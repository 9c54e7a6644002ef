//! HKDF-SHA256 (RFC 5869). Every key but the network's own is derived with it from the network's
//! key.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

/// Extracts a key, and expands it to the length of `out`: at most 255 blocks of 32 bytes.
pub(crate) fn hkdf(salt: &[u8], ikm: &[u8], info: &[u8], out: &mut [u8]) {
    let mut prk = mac(salt, &[ikm]);
    let mut block = [0u8; 32];
    for (i, chunk) in out.chunks_mut(32).enumerate() {
        let before: &[u8] = if i == 0 { &[] } else { &block };
        block = mac(&prk, &[before, info, &[i as u8 + 1]]);
        chunk.copy_from_slice(&block[..chunk.len()]);
    }
    prk.zeroize();
    block.zeroize();
}

/// HMAC-SHA256 over `parts`, one after another.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    keyed(key, parts).finalize().into_bytes().into()
}

/// Whether `tag` is the MAC of `parts`, in constant time.
pub(crate) fn mac_is(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
    keyed(key, parts).verify_slice(tag).is_ok()
}

/// Whether the MAC of `parts` begins with `tag`, which is not empty, in constant time.
pub(crate) fn mac_begins_with(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
    keyed(key, parts).verify_truncated_left(tag).is_ok()
}

#[inline(never)] // it runs a few times a session, and is large
fn keyed(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    // HMAC takes a key of any length, so there is no error to hand on.
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(key) else {
        unreachable!("HMAC takes a key of any length")
    };
    for part in parts {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unhex::unhex;

    #[test]
    fn rfc5869_case_1() {
        let mut okm = [0; 42];
        hkdf(
            &unhex("000102030405060708090a0b0c"),
            &[0x0b; 22],
            &unhex("f0f1f2f3f4f5f6f7f8f9"),
            &mut okm,
        );
        assert_eq!(
            okm[..],
            unhex(
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
            )
        );
    }
}
