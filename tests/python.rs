//! Tokens against Python's `cryptography`, both ways, and one captured from the wire.

mod common;

use common::python::interpreter;
use common::{Lan, Tool, have};
use peerbase::fernet::Sealer;
use peerbase::frame::{FrameType, Parsed, parse};
use peerbase::limits::DATAGRAM_MAX;
use peerbase::wire::advert::{Advert, MARK};
use peerbase::{Entropy, Key, OsEntropy};
use serde_json::{Value, json};
use std::process::Command;

struct Python(Tool);

impl Python {
    fn start() -> Option<Python> {
        let args = ["-c", "import cryptography.fernet"];
        if !have(
            &interpreter(),
            &args,
            "comparing tokens with Python's cryptography",
        ) {
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/fernet.py");
        let mut python = Command::new(interpreter());
        python.arg(script);
        Some(Python(Tool::spawn(python)))
    }

    fn ask(&mut self, question: &Value) -> Value {
        self.0.say(&question.to_string());
        serde_json::from_str(&self.0.hear()).unwrap()
    }

    fn open(&mut self, key: &Key, token: &[u8]) -> Option<Vec<u8>> {
        let token = std::str::from_utf8(token).unwrap();
        let answer = self.ask(&json!({"key": &*key.to_text(), "token": token}));
        answer.as_str().map(unhex)
    }

    fn seal(&mut self, key: &Key, plain: &[u8]) -> Vec<u8> {
        let answer = self.ask(&json!({"key": &*key.to_text(), "plain": hex(plain)}));
        answer.as_str().unwrap().as_bytes().to_vec()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).unwrap() as u8;
    text.as_bytes()
        .chunks(2)
        .map(|c| digit(c[0]) << 4 | digit(c[1]))
        .collect()
}

#[test]
fn tokens_interchange_with_python_over_all_sizes() {
    let Some(mut python) = Python::start() else {
        return;
    };
    let mut entropy = OsEntropy::new().unwrap();
    let key = Key::generate(&mut entropy);
    let sealer = Sealer::new(&key);
    let edges = [
        1_000,
        2_303,
        2_304,
        2_305,
        4_608,
        16_384,
        65_535,
        100_000,
        1 << 20,
    ];
    for size in (0..=66).chain(edges) {
        let mut plain = vec![0; size];
        entropy.fill(&mut plain);
        let (mut token, mut buf) = (Vec::new(), Vec::new());
        sealer.seal(&plain, 1_700_000_000, &entropy.array(), &mut token);
        assert_eq!(
            python.open(&key, &token),
            Some(plain.clone()),
            "{size} bytes to Python"
        );
        let theirs = python.seal(&key, &plain);
        assert_eq!(
            sealer.open(&theirs, &mut buf),
            Ok(&plain[..]),
            "{size} bytes from Python"
        );
    }
    assert_eq!(
        python.open(&Key::generate(&mut entropy), &python_token(&sealer)),
        None
    );
}

fn python_token(sealer: &Sealer) -> Vec<u8> {
    let mut token = Vec::new();
    sealer.seal(b"for another key", 1, &[1; 16], &mut token);
    token
}

#[test]
fn python_opens_an_advert_captured_from_the_wire_with_what_follows_from_the_network_key() {
    let Some(mut python) = Python::start() else {
        return;
    };
    let lan = Lan::new();
    let (wire, _) = common::shared_port([127, 255, 255, 255], lan.port);
    let _node = lan.builder("captured").start().unwrap();
    let mut datagram = [0; DATAGRAM_MAX];
    let n = wire.recv(&mut datagram).unwrap();
    let Ok(Parsed::Complete(frame, _)) = parse(&datagram[..n], DATAGRAM_MAX) else {
        panic!()
    };
    assert_eq!((frame.net, frame.kind), ("test", FrameType::ADVERT));
    let token = frame.payload.strip_prefix(&[MARK]).unwrap();
    assert_eq!(python.open(&lan.key, token), None, "not the key itself");
    let info = hex(b"peerbase advert 2\x04test");
    let key = &*lan.key.to_text();
    let token = std::str::from_utf8(token).unwrap();
    let answer = python.ask(&json!({"key": key, "info": info, "token": token}));
    let plain = unhex(answer.as_str().unwrap());
    assert_eq!(Advert::decode(&plain).unwrap().name.as_str(), "captured");
}
