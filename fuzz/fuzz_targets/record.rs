//! What decodes encodes back to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerbase::wire::record::{Record, encode};

fuzz_target!(|data: &[u8]| {
    if let Ok(record) = Record::decode(data) {
        let mut again = Vec::new();
        encode(&record, &mut again);
        assert_eq!(again, data);
    }
});
