//! A sealed text opens to itself, and a token that was not sealed with the key does not open.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerbase::fernet::{Key, Sealer, token_len};

fuzz_target!(|data: &[u8]| {
    let sealer = Sealer::new(&Key::from_bytes([7; 32]));
    let mut buf = Vec::new();
    assert!(sealer.open(data, &mut buf).is_err(), "forged");
    let mut token = Vec::new();
    sealer.seal(data, 1, &[9; 16], &mut token);
    assert_eq!(token.len(), token_len(data.len()));
    assert_eq!(sealer.open(&token, &mut buf), Ok(data));
    // A token with one byte changed, anywhere and to any other, is refused.
    if let [at, to, ..] = data {
        let at = usize::from(*at) % token.len();
        if token[at] != *to {
            token[at] = *to;
            assert!(sealer.open(&token, &mut buf).is_err(), "tampered");
        }
    }
});
