//! What decodes encodes back to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerbase::wire::hello::Hello;

fuzz_target!(|data: &[u8]| {
    if let Ok(decoded) = Hello::decode(data) {
        let mut again = Vec::new();
        decoded.encode(&mut again);
        assert_eq!(again, data);
    }
});
