//! The codecs of peers, of what a call asks and of reports: what decodes encodes back to the same
//! bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerbase::wire::ask::{AskKind, AskRef};
use peerbase::wire::{peers, report};

fuzz_target!(|data: &[u8]| {
    if let Ok(told) = peers::decode(data) {
        let mut again = Vec::new();
        peers::encode(&told, &mut again);
        assert_eq!(again, data);
    }
    if let Ok(report) = report::decode(data) {
        let mut again = Vec::new();
        report.encode(&mut again);
        assert_eq!(again, data);
    }
    for kind in [AskKind::Command, AskKind::Message, AskKind::Broadcast] {
        if let Ok(ask) = AskRef::decode(kind, data) {
            let mut again = Vec::new();
            ask.encode(&mut again);
            assert_eq!((ask.kind(), again.as_slice()), (kind, data));
        }
    }
});
