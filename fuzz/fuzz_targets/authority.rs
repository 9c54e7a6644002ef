//! Certificates and revocation lists: what is read is written alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerbase::{Certificate, RevocationList};

fuzz_target!(|text: &str| {
    if let Ok(certificate) = Certificate::parse(text) {
        assert_eq!(certificate.to_text(), text);
    }
    if let Ok(list) = RevocationList::parse(text) {
        assert_eq!(list.to_text(), text);
    }
});
