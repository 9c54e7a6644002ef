//! What decodes encodes back to the same bytes: the messages of the handshake, and what stands
//! around them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerbase::wire::handshake::{Envelope, First, Second, Third};

/// Compares what was decoded and encoded with what it was made of.
fn same(data: &[u8], encode: impl FnOnce(&mut Vec<u8>)) {
    let mut again = Vec::new();
    encode(&mut again);
    assert_eq!(again, data);
}

fuzz_target!(|data: &[u8]| {
    if let Ok(first) = First::decode(data) {
        same(data, |out| first.encode(out));
    }
    if let Ok(second) = Second::decode(data) {
        same(data, |out| second.encode(out));
    }
    if let Ok(third) = Third::decode(data) {
        same(data, |out| third.encode(out));
    }
    // Of another version nothing but the version is read.
    if let Ok(envelope) = Envelope::decode(data)
        && envelope.version == peerbase::wire::VERSION
    {
        same(data, |out| envelope.encode(out));
    }
});
