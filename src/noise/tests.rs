//! Handshakes against the vectors of `tests/vectors/noise.json`, against each other, and against
//! whoever alters them.

use super::pattern::{NNPSK0, XX, XXPSK0_PSK1, XXPSK3};
use super::state::CipherState;
use super::*;
use crate::unhex::unhex;
use pattern::XXPSK0;
use proptest::prelude::*;
use serde_json::Value;

/// The points of low order: 0, 1, two of order 8, and p-1, p and p+1.
pub(super) const LOW_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

const PSKS: [[u8; 32]; 2] = [[1; 32], [2; 32]];
/// The private ephemeral keys of the initiator and the responder.
const EPHEMERAL: [[u8; 32]; 2] = [[3; 32], [4; 32]];
/// Their private static keys.
const STATIC: [[u8; 32]; 2] = [[5; 32], [6; 32]];
const PATTERNS: [&Pattern; 5] = [&XX, &NNPSK0, &XXPSK3, &XXPSK0_PSK1, &XXPSK0];
const SIDES: [Side; 2] = [Side::Initiator, Side::Responder];

pub(super) fn key(hex: &str) -> [u8; 32] {
    unhex(hex).try_into().unwrap()
}

fn pair(private: &[u8; 32]) -> Arc<KeyPair> {
    Arc::new(KeyPair::new(private))
}

/// One side of a handshake with the keys above.
fn new(pattern: &'static Pattern, side: Side) -> Handshake {
    let own = Some(pair(&STATIC[side as usize]));
    Handshake::new(pattern, side, b"plant", &PSKS.each_ref(), own)
}

/// Appends the next message to a buffer, which is as it was after an error.
fn write(side: &mut Handshake, ephemeral: &[u8; 32], payload: &[u8]) -> Result<Vec<u8>, Invalid> {
    let mut out = b"before".to_vec();
    let written = side.write(ephemeral, payload, &mut out);
    assert!(out.starts_with(b"before") && (written.is_ok() || out.len() == 6));
    written.map(|()| out.split_off(6))
}

/// Appends what a message carries to a buffer, which is as it was after an error.
fn read(side: &mut Handshake, message: &[u8]) -> Result<Vec<u8>, Invalid> {
    let mut payload = b"before".to_vec();
    let read = side.read(message, &mut payload);
    assert!(payload.starts_with(b"before") && (read.is_ok() || payload.len() == 6));
    read.map(|()| payload.split_off(6))
}

/// Both sides after the messages before the one of this index, each with the same payload.
fn sides_before(pattern: &'static Pattern, index: usize) -> [Handshake; 2] {
    let mut sides = SIDES.map(|side| new(pattern, side));
    for index in 0..index {
        let message = next(&mut sides, index);
        let reader = &mut sides[(index + 1) % 2];
        assert_eq!(read(reader, &message), Ok(b"payload".to_vec()));
    }
    sides
}

/// The message of this index, which is the next one.
fn next(sides: &mut [Handshake; 2], index: usize) -> Vec<u8> {
    write(&mut sides[index % 2], &EPHEMERAL[index % 2], b"payload").unwrap()
}

/// What both sides end with, which is the same.
fn split(sides: [Handshake; 2]) -> Split {
    let [ours, theirs] = sides.map(|side| side.split().ok().unwrap());
    assert!(ours.initiator == theirs.initiator && ours.responder == theirs.responder);
    assert!(ours.initiator != ours.responder);
    ours
}

/// The bytes of a field of a vector; none if there is no such field.
fn bytes(value: &Value, field: &str) -> Vec<u8> {
    unhex(value[field].as_str().unwrap_or(""))
}

/// A side of a vector, and its private ephemeral key.
fn side_of(vector: &Value, pattern: &'static Pattern, side: Side) -> (Handshake, [u8; 32]) {
    let field = |name| format!("{}_{name}", ["init", "resp"][side as usize]);
    let psks = vector[field("psks")].as_array();
    let psks = psks
        .into_iter()
        .flatten()
        .map(|psk| key(psk.as_str().unwrap()));
    let psks: Vec<[u8; 32]> = psks.collect();
    let own = vector[field("static")].as_str().map(|own| pair(&key(own)));
    let prologue = bytes(vector, &field("prologue"));
    let psks: Vec<&[u8; 32]> = psks.iter().collect();
    let handshake = Handshake::new(pattern, side, &prologue, &psks, own);
    (
        handshake,
        bytes(vector, &field("ephemeral")).try_into().unwrap(),
    )
}

/// Checks all messages of a vector, those after the handshake too.
fn check(vector: &Value, pattern: &'static Pattern) {
    let [(initiator, first), (responder, second)] =
        SIDES.map(|side| side_of(vector, pattern, side));
    let (mut sides, ephemeral) = ([initiator, responder], [first, second]);
    let messages = vector["messages"].as_array().unwrap().iter();
    let messages = messages.map(|m| (bytes(m, "payload"), bytes(m, "ciphertext")));
    let mut messages = messages.enumerate();
    for (index, (payload, message)) in messages.by_ref().take(pattern.messages.len()) {
        let sender = index % 2;
        let written = write(&mut sides[sender], &ephemeral[sender], &payload);
        assert_eq!(written.as_ref(), Ok(&message), "message {index}");
        assert_eq!(read(&mut sides[1 - sender], &message), Ok(payload));
    }
    for side in &sides {
        let hash = side.0.as_ref().unwrap().symmetric.hash();
        assert!([&hash[..], &[]].contains(&&bytes(vector, "handshake_hash")[..]));
    }
    let keys = split(sides);
    let mut ciphers = [keys.initiator, keys.responder].map(|key| {
        let mut cipher = CipherState::default();
        cipher.set_key(&key);
        cipher
    });
    let mut carried = 0;
    for (index, (payload, message)) in messages {
        let mut out = Vec::new();
        assert_eq!(ciphers[index % 2].encrypt(&[], &payload, &mut out), Ok(()));
        assert_eq!(out, message, "message {index}");
        carried += 1;
    }
    assert!(carried >= 2);
}

#[test]
fn every_message_of_the_vectors_is_written_and_read() {
    let file: Value = serde_json::from_str(include_str!("../../tests/vectors/noise.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    let names = vectors.iter().map(|v| v["protocol_name"].as_str().unwrap());
    assert!(names.eq(PATTERNS.map(|pattern| pattern.name)));
    for (vector, pattern) in vectors.iter().zip(PATTERNS) {
        check(vector, pattern);
    }
}

#[test]
fn both_sides_of_every_pattern_end_with_the_same_secrets_and_know_each_other() {
    for pattern in PATTERNS {
        let sides = sides_before(pattern, pattern.messages.len());
        assert!(sides.iter().all(Handshake::is_finished));
        let remote = sides.each_ref().map(|side| side.remote_static().copied());
        let has_statics = pattern.name != NNPSK0.name;
        let others = [&STATIC[1], &STATIC[0]].map(|own| has_statics.then(|| *pair(own).public()));
        assert_eq!(remote, others, "{}", pattern.name);
        split(sides);
    }
}

#[test]
fn a_message_that_is_altered_cut_or_lengthened_is_refused_and_ends_the_handshake() {
    for index in 0..3 {
        let message = next(&mut sides_before(&XXPSK0, index), index);
        let mut forgeries = vec![[&message[..], b"x"].concat()];
        for byte in 0..message.len() {
            forgeries.push(message[..byte].to_vec());
            for bit in [1, 0x80] {
                let mut altered = message.clone();
                altered[byte] ^= bit;
                forgeries.push(altered);
            }
        }
        for forgery in forgeries {
            let reader = &mut sides_before(&XXPSK0, index)[(index + 1) % 2];
            assert_eq!(read(reader, &forgery), Err(Invalid), "{forgery:02x?}");
            assert_eq!(read(reader, &message), Err(Invalid));
        }
    }
}

#[test]
fn another_psk_prologue_or_protocol_is_refused() {
    let message = next(&mut sides_before(&XXPSK0, 0), 0);
    let opens = |pattern, prologue, psk| {
        let mut side = Handshake::new(pattern, Side::Responder, prologue, &[psk], None);
        read(&mut side, &message).is_ok()
    };
    assert!(opens(&XXPSK0, b"plant", &PSKS[0]));
    assert!(!opens(&XXPSK0, b"plant", &PSKS[1]));
    assert!(!opens(&XXPSK0, b"plank", &PSKS[0]));
    assert!(!opens(&XXPSK0, b"", &PSKS[0]));
    assert!(!opens(&NNPSK0, b"plant", &PSKS[0]));
}

#[test]
fn the_psk_that_opens_a_first_message_is_found_among_several() {
    let mut initiator = new(&XXPSK0, Side::Initiator);
    let message = write(&mut initiator, &EPHEMERAL[0], b"payload").unwrap();
    let own = pair(&STATIC[1]);
    let first = |psks: &[[u8; 32]]| {
        let mut payload = b"before ".to_vec();
        let own = Some(&own);
        let read = Handshake::read_first(&XXPSK0, b"plant", psks, own, &message, &mut payload);
        read.map(|(responder, index)| (responder, index, payload))
    };
    assert!(first(&[]).is_err());
    assert!(first(&[[7; 32], PSKS[1]]).is_err());
    let psks = [[7; 32], PSKS[1], PSKS[0], PSKS[0]];
    let (mut responder, index, payload) = first(&psks).ok().unwrap();
    assert_eq!((index, &payload[..]), (2, &b"before payload"[..]));
    let answer = write(&mut responder, &EPHEMERAL[1], b"answer").unwrap();
    assert_eq!(read(&mut initiator, &answer), Ok(b"answer".to_vec()));
}

/// The state of one who has the pre-shared key, after this ephemeral key in the first message.
fn state_after(ephemeral: &[u8; 32]) -> SymmetricState {
    let mut state = SymmetricState::new(XXPSK0.name);
    state.mix_hash(b"plant");
    state.mix_key_and_hash(&PSKS[0]);
    state.mix_hash(ephemeral);
    state.mix_key(ephemeral);
    state
}

/// A first message with any ephemeral key, which need not have a private key.
fn forged_first(ephemeral: &[u8; 32], payload: &[u8]) -> Vec<u8> {
    let mut message = ephemeral.to_vec();
    let sealed = state_after(ephemeral).encrypt_and_hash(payload, &mut message);
    assert_eq!(sealed, Ok(()));
    message
}

/// An answer to a first message. A key that is none stands for a point of low order, with which
/// every secret is zero.
fn forged_answer(first: &[u8], keys: [Option<&[u8; 32]>; 2]) -> Vec<u8> {
    let (theirs, sealed) = first.split_first_chunk().unwrap();
    let pairs = keys.map(|private| private.map(KeyPair::new));
    let [ephemeral, own] = pairs.each_ref().map(|pair| match pair {
        Some(pair) => (*pair.public(), *pair.agree(theirs).unwrap()),
        None => ([0; 32], [0; 32]),
    });
    let mut state = state_after(theirs);
    let opened = state.decrypt_and_hash(sealed, &mut Vec::new());
    assert_eq!(opened, Ok(()));
    let mut message = ephemeral.0.to_vec();
    state.mix_hash(&ephemeral.0);
    state.mix_key(&ephemeral.0);
    state.mix_key(&ephemeral.1);
    assert_eq!(state.encrypt_and_hash(&own.0, &mut message), Ok(()));
    state.mix_key(&own.1);
    assert_eq!(state.encrypt_and_hash(b"payload", &mut message), Ok(()));
    message
}

#[test]
fn a_first_message_with_a_point_of_low_order_is_not_answered() {
    for point in LOW_ORDER.map(key) {
        let mut responder = new(&XXPSK0, Side::Responder);
        // Reading it uses no curve, so that nothing is noticed yet.
        let message = forged_first(&point, b"payload");
        assert_eq!(read(&mut responder, &message), Ok(b"payload".to_vec()));
        assert_eq!(write(&mut responder, &EPHEMERAL[1], b""), Err(Invalid));
    }
}

#[test]
fn an_answer_with_a_point_of_low_order_is_refused() {
    let [ephemeral, own] = [Some(&EPHEMERAL[1]), Some(&STATIC[1])];
    let answered = |keys| {
        let mut initiator = new(&XXPSK0, Side::Initiator);
        let first = write(&mut initiator, &EPHEMERAL[0], b"").unwrap();
        read(&mut initiator, &forged_answer(&first, keys))
    };
    assert_eq!(answered([ephemeral, own]), Ok(b"payload".to_vec()));
    assert_eq!(answered([None, own]), Err(Invalid));
    assert_eq!(answered([ephemeral, None]), Err(Invalid));
}

#[test]
fn a_message_has_65_535_bytes_at_most() {
    let most = vec![7; 65_535 - 32 - 16];
    let more = [&most[..], b"x"].concat();
    let public = *KeyPair::new(&EPHEMERAL[0]).public();
    let [initiator, responder] = SIDES.map(|side| move || new(&XXPSK0, side));
    let written = |payload: &[u8]| write(&mut initiator(), &EPHEMERAL[0], payload);
    let opened = |message: &[u8]| read(&mut responder(), message);

    let message = forged_first(&public, &most);
    assert_eq!(written(&most).as_ref(), Ok(&message));
    assert_eq!(opened(&message), Ok(most.clone()));
    assert_eq!(written(&more), Err(Invalid));
    assert_eq!(opened(&forged_first(&public, &more)), Err(Invalid));
}

#[test]
fn a_message_out_of_turn_is_an_error_and_so_is_an_end_too_early() {
    for index in 0..3 {
        let sides = sides_before(&XXPSK0, index);
        assert!(!sides.iter().any(Handshake::is_finished));
        assert!(sides.into_iter().all(|side| side.split().is_err()));

        let mut sides = sides_before(&XXPSK0, index);
        let message = next(&mut sides_before(&XXPSK0, index), index);
        assert_eq!(read(&mut sides[index % 2], &message), Err(Invalid));
        let out_of_turn = (index + 1) % 2;
        let written = write(&mut sides[out_of_turn], &EPHEMERAL[out_of_turn], b"");
        assert_eq!(written, Err(Invalid));
    }
    for mut side in sides_before(&XXPSK0, 3) {
        assert_eq!(write(&mut side, &EPHEMERAL[0], b""), Err(Invalid));
        assert!(!side.is_finished() && side.remote_static().is_none());
        assert!(side.split().is_err());
    }
}

#[test]
fn a_key_that_is_missing_is_an_error_when_its_turn_comes() {
    let mut initiator = Handshake::new(&XXPSK0, Side::Initiator, b"plant", &[], None);
    assert_eq!(write(&mut initiator, &EPHEMERAL[0], b""), Err(Invalid));

    let psks = &[&PSKS[0]];
    let mut responder = Handshake::new(&XXPSK0, Side::Responder, b"plant", psks, None);
    let message = next(&mut sides_before(&XXPSK0, 0), 0);
    assert_eq!(read(&mut responder, &message), Ok(b"payload".to_vec()));
    assert_eq!(write(&mut responder, &EPHEMERAL[1], b""), Err(Invalid));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_at_every_step(
        index in 0..3usize,
        message in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let reader = &mut sides_before(&XXPSK0, index)[(index + 1) % 2];
        prop_assert_eq!(read(reader, &message), Err(Invalid));
    }
}
