//! What a node and a relay say to each other: nothing panics, and what decodes encodes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerbase::frame::{Parsed, parse};
use peerbase::limits::FRAME_MAX;
use peerbase::wire::relay::{Forward, FromRelay, ToRelay, encode_forward};

fuzz_target!(|data: &[u8]| {
    let mut again = Vec::new();
    if let Ok(word) = ToRelay::decode(data) {
        word.encode(&mut again);
        assert_eq!(again, data);
    }
    again.clear();
    if let Ok(word) = FromRelay::decode(data) {
        word.encode(&mut again);
        assert_eq!(again, data);
    }
    if let Ok(Parsed::Complete(frame, used)) = parse(data, FRAME_MAX)
        && let Ok(f) = Forward::decode(frame.payload)
        && frame.kind == peerbase::frame::FrameType::FORWARD
    {
        again.clear();
        encode_forward(frame.net, &f.route, f.kind, &mut again, |out| {
            out.extend_from_slice(f.payload)
        });
        assert_eq!(again, &data[..used]);
    }
});
