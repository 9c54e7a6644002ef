//! What parses encodes back to the same bytes. A prefix is incomplete or has the answer of the
//! whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerbase::frame::{Parsed, encode, parse};

fuzz_target!(|data: &[u8]| {
    let Some((&cut, input)) = data.split_first() else { return };
    // The limits are small, so that inputs reach them soon.
    let max = 1 + usize::from(cut) * 2;
    let whole = parse(input, max);
    if let Ok(Parsed::Complete(frame, used)) = whole {
        let mut again = Vec::new();
        encode(&frame, &mut again);
        assert_eq!(again, input[..used]);
    }
    let part = parse(&input[..usize::from(cut).min(input.len())], max);
    assert!(part == Ok(Parsed::Incomplete) || part == whole, "{part:?} / {whole:?}");
});
