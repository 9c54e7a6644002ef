//! The decoders of what Python nodes and relays may send: HTTP, adverts, and the JSON inside. The
//! result does not depend on how a request is cut. What decodes encodes to what decodes to the same
//! value. Nothing is kept beyond its limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerbase::NetworkName;
use peerbase::compat::advert::Advert;
use peerbase::compat::http::{self, Reader};
use peerbase::compat::message::{Call, read_answer, read_relayed_answer};
use peerbase::compat::post::{Packet, Ping, Pong};

const BODY_MAX: usize = 1_000;

fuzz_target!(|data: &[u8]| {
    if let Some(advert) = Advert::decode(data) {
        assert_eq!(Advert::decode(&advert.encode()), Some(advert));
    }
    if let Some(ping) = Ping::decode(data) {
        assert_eq!(Ping::decode(&ping.encode()), Some(ping));
    }
    if let Some((target, packet)) = Packet::decode(data) {
        assert_eq!(Packet::decode(&packet.encode(&target)), Some((target, packet)));
    }
    let _ = Pong::decode(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let network = NetworkName::new("fuzz").expect("a name");
        let _ = (Call::decode(text, &network), read_answer(text), read_relayed_answer(text));
    }
    if let Ok(Some(head)) = http::answer(data, BODY_MAX) {
        assert!(head.size <= data.len() && head.length.is_none_or(|n| n <= BODY_MAX));
    }

    let _ = http::is_request(data);
    let at_once = Reader::default().take(data, BODY_MAX);
    let step = 1 + usize::from(data.first().copied().unwrap_or(0)) % 50;
    let mut reader = Reader::default();
    let mut result = Ok(false);
    for part in data.chunks(step) {
        result = reader.take(part, BODY_MAX);
        // A connection ends after a fault, and bytes after a whole request are a fault.
        if result.is_err() {
            break;
        }
    }
    match at_once {
        Ok(whole) if !data.is_empty() => assert_eq!(result, Ok(whole)),
        Ok(_) => {}
        // If the input is cut, another of its faults may be found first, and a fault behind a whole
        // request later.
        Err(_) => assert!(result.is_err(), "{result:?}"),
    }
    if let (Ok(true), Some(head)) = (result, reader.head()) {
        assert_eq!(head.size + head.length, data.len());
        assert_eq!(reader.body().len(), head.length);
        assert!(head.length <= BODY_MAX);
    }
});
