//! The parts of a payload in clear: bytes as base64url, and decimal numbers. Each value has one
//! text.

use super::Malformed;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

/// Characters of the longest value, which has 32 bytes.
const LONGEST: usize = 44;

/// Characters of `n` bytes, padding included.
const fn encoded_len(n: usize) -> usize {
    n.div_ceil(3) * 4
}

/// Reads `N` bytes, at most 32, from padded base64url.
pub(super) fn bytes<const N: usize>(text: &[u8]) -> Result<[u8; N], Malformed> {
    let mut decoded = [0; LONGEST / 4 * 3];
    match URL_SAFE.decode_slice(text, &mut decoded) {
        Ok(n) if n == N && text.len() == encoded_len(N) => {
            decoded.first_chunk().copied().ok_or(Malformed)
        }
        _ => Err(Malformed),
    }
}

/// Appends at most 32 bytes as padded base64url.
pub(super) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let mut text = [b'A'; LONGEST];
    let encoded = URL_SAFE.encode_slice(bytes, &mut text);
    debug_assert_eq!(encoded, Ok(encoded_len(bytes.len())));
    out.extend_from_slice(&text[..encoded_len(bytes.len()).min(LONGEST)]);
}

/// Reads a decimal number without leading zeros.
pub(super) fn number(text: &[u8]) -> Result<u64, Malformed> {
    let has_leading_zero = text.len() > 1 && text[0] == b'0';
    if has_leading_zero || !text.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    text.parse().map_err(|_| Malformed)
}

/// Appends a decimal number.
pub(super) fn put_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(number.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_round_trip(long in any::<[u8; 32]>(), short in any::<[u8; 16]>(), n in any::<u64>()) {
            let mut out = Vec::new();
            put_bytes(&long, &mut out);
            prop_assert_eq!((out.len(), bytes(&out)), (44, Ok(long)));
            prop_assert_eq!(bytes::<16>(&out), Err(Malformed));
            out.clear();
            put_bytes(&short, &mut out);
            prop_assert_eq!((out.len(), bytes(&out)), (24, Ok(short)));
            out.clear();
            put_number(n, &mut out);
            prop_assert_eq!(number(&out), Ok(n));
        }
    }

    #[test]
    fn a_number_has_one_text() {
        assert_eq!(number(b"0"), Ok(0));
        assert_eq!(number(b"18446744073709551615"), Ok(u64::MAX));
        for bad in [
            &b""[..],
            b"00",
            b"01",
            b"+1",
            b"-1",
            b"1a",
            b"18446744073709551616",
        ] {
            assert_eq!(number(bad), Err(Malformed), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn bytes_have_one_text() {
        let text = [b'A'; 43];
        let with = |last: &[u8]| [&text[..], last].concat();
        assert_eq!(bytes(&with(b"=")), Ok([0u8; 32]));
        for bad in [
            with(b""),
            with(b"A"),
            with(b"=="),
            [&[b'B'; 43][..], b"="].concat(),
        ] {
            assert_eq!(bytes::<32>(&bad), Err(Malformed), "{}", bad.escape_ascii());
        }
    }
}
