//! Base64url with padding, as keys, hashes and signatures are written. Bytes have one text form,
//! and only this form is read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use zeroize::Zeroizing;

/// Bytes of the largest value that is read, a signature, and two to which the decoder rounds up.
const ROOM: usize = 66;

/// `prefix`, and then `bytes` in base64url. The text is written into one piece of memory, so that a
/// caller who wipes it has wiped all of a secret.
pub(crate) fn text(prefix: &str, bytes: &[u8]) -> String {
    let mut text = String::with_capacity(prefix.len() + bytes.len().div_ceil(3) * 4);
    text.push_str(prefix);
    URL_SAFE.encode_string(bytes, &mut text);
    text
}

/// The `N` bytes that `text` holds; none if it is not their text form.
pub(crate) fn bytes<const N: usize>(text: &str) -> Option<Zeroizing<[u8; N]>> {
    let mut room = Zeroizing::new([0; ROOM]);
    let length = URL_SAFE.decode_slice(text, room.as_mut_slice()).ok()?;
    let bytes: &[u8; N] = room.get(..length)?.try_into().ok()?;
    Some(Zeroizing::new(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_have_one_text_form() {
        let key = text("", &[9; 32]);
        assert_eq!(key.len(), 44);
        for bad in [
            &key[..43],
            &format!("{key}="),
            &format!(" {key}"),
            &key.replace('=', "A"),
            &key.replace("CQk=", "CQl="),
            &key.replace('C', "+"),
        ] {
            assert!(bytes::<32>(bad).is_none(), "{bad}");
        }
        assert!(bytes::<64>(&key).is_none() && bytes::<32>(&text("", &[9; 64])).is_none());
        assert!(bytes::<64>(&"A".repeat(1_000)).is_none());
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(key: [u8; 32], halves: [[u8; 32]; 2]) {
            let signature: [u8; 64] = halves.concat().try_into().unwrap();
            let written = text("key-", &key);
            let read = bytes::<32>(written.strip_prefix("key-").unwrap());
            prop_assert_eq!(read.map(|k| *k), Some(key));
            prop_assert_eq!(bytes::<64>(&text("", &signature)).map(|s| *s), Some(signature));
        }

        #[test]
        fn what_is_read_is_written_alike(written in "[A-Za-z0-9_=-]{40,48}") {
            if let Some(key) = bytes::<32>(&written) {
                prop_assert_eq!(text("", key.as_slice()), written);
            }
        }
    }
}
