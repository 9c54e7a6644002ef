//! Joining a relay, which the tests play.

use super::*;
use crate::engine::fixture::Fixture;
use crate::fernet::{Key, Keyring};
use crate::frame::{Parsed, encode_with, parse};
use crate::limits::{FRAME_MAX, ROUTE_WINDOW};
use crate::name::NetworkName;
use crate::wire::relay::encode_forward;
use crate::wire::relay_key::WordMacs;

const RELAYS: Challenge = [9; 32];

/// A node that joins a relay.
struct Node {
    fixture: Fixture,
    links: Links,
    link: LinkId,
    challenge: Challenge,
}

fn key_of(fill: u8) -> RelayKey {
    RelayKey::derive(
        &Key::from_bytes([fill; 32]),
        &NetworkName::new("net").unwrap(),
    )
}

/// The frame of a word of the relay's.
fn frame_of(word: &FromRelay, macs: Option<&mut WordMacs>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_with("net", FrameType::REGISTER, &mut bytes, |out| {
        let from = out.len();
        word.encode(out);
        if let Some(macs) = macs {
            macs.append(from, out);
        }
    });
    bytes
}

fn route(fill: u8) -> Route {
    Route::draw(&mut crate::entropy::Counting(fill))
}

impl Node {
    /// One that has asked to join.
    fn asking(must_prove: bool) -> Node {
        let (mut fixture, mut links) = (Fixture::default(), Links::default());
        let (link, challenge) = dial(&mut fixture, &mut links, must_prove);
        Node {
            fixture,
            links,
            link,
            challenge,
        }
    }

    /// What comes of these bytes.
    fn take(&mut self, bytes: &[u8]) -> String {
        let (mut rest, mut opened) = (bytes, Vec::new());
        let ctx = &mut self.fixture.ctx();
        let came = self.links.next(ctx, self.link, &mut rest, &mut opened);
        came.map_or("no frame".into(), |(_, came)| format!("{came:?}"))
    }

    fn joining(&self) -> Joining {
        let network = NetworkName::new("net").unwrap();
        Joining::new(&network, (&self.challenge, b""), (&RELAYS, b""))
    }

    /// What comes of the relay's answer with this proof.
    fn answer(&mut self, proof: Option<Proof>) -> String {
        self.take(&frame_of(&FromRelay::Prove(RELAYS, proof), None))
    }

    /// What comes of the answer of a relay with this key; and how that relay authenticates its
    /// words.
    fn prove(&mut self, key: &RelayKey) -> (String, WordMacs) {
        let joining = self.joining();
        let came = self.answer(Some(key.prove(Side::Relay, &joining)));
        (came, key.macs(Side::Relay, &joining))
    }

    /// The payloads of what waits to be written.
    fn said(&mut self) -> Vec<Vec<u8>> {
        said(&mut self.fixture, &mut self.links, self.link)
    }

    /// One that is a member, and how the relay authenticates its words.
    fn joined() -> (Node, WordMacs) {
        let mut node = Node::asking(false);
        let (_, mut macs) = node.prove(&key_of(1));
        let came = node.take(&frame_of(&FromRelay::Joined(route(1)), Some(&mut macs)));
        assert_eq!(came, "Joined { is_proven: true }");
        node.said();
        (node, macs)
    }
}

/// Dials a relay and asks it to join; with which challenge.
fn dial(fixture: &mut Fixture, links: &mut Links, must_prove: bool) -> (LinkId, Challenge) {
    let address = RelayAddress::new("relay.example:1").unwrap();
    let ctx = &mut fixture.ctx();
    let link = links.dial_relay(ctx, address, must_prove);
    links.connected(ctx, link);
    let asked = said(fixture, links, link);
    let word = ToRelay::decode(&asked[0]).unwrap().word;
    let ToRelay::Join(challenge) = word else {
        panic!("{word:?}");
    };
    (link, challenge)
}

fn said(fixture: &mut Fixture, links: &mut Links, link: LinkId) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    links.transmit(&mut fixture.ctx(), link, &mut |pending| {
        bytes.extend_from_slice(pending);
        pending.len()
    });
    let (mut rest, mut payloads) = (&bytes[..], Vec::new());
    while let Ok(Parsed::Complete(frame, used)) = parse(rest, FRAME_MAX) {
        payloads.push(frame.payload.to_vec());
        rest = &rest[used..];
    }
    payloads
}

const WRONG_KEY: &str = "GiveUp(WrongKey)";
const PROTOCOL: &str = "GiveUp(Protocol)";
const NOTHING: &str = "Nothing";

#[test]
fn a_relay_that_proves_our_key_is_shown_ours_and_from_then_on_words_are_authenticated() {
    let mut node = Node::asking(false);
    let (came, mut macs) = node.prove(&key_of(1));
    assert_eq!(came, NOTHING);
    let said = node.said();
    let Ok(ToRelay::Proof(proof)) = ToRelay::decode(&said[0]).map(|said| said.word) else {
        panic!("{said:?}");
    };
    assert!(key_of(1).verify(Side::Member, &node.joining(), &proof));
    let joined = frame_of(&FromRelay::Joined(route(1)), Some(&mut macs));
    assert_eq!(node.take(&joined), "Joined { is_proven: true }");
    let (link, gone) = (node.link, route(2));
    let block = ToRelay::Block(gone);
    for _ in 0..2 {
        let ctx = &mut node.fixture.ctx();
        node.links.say_to_relay(ctx, link, &block);
    }
    for payload in node.said() {
        let word = ToRelay::decode(macs.check(&payload).unwrap()).unwrap().word;
        assert_eq!(word, block);
    }
    let gone = frame_of(&FromRelay::Gone(gone), Some(&mut macs));
    assert!(node.take(&gone).starts_with("Gone("));
}

#[test]
fn a_relay_without_a_key_is_joined_and_nothing_is_proven_unless_it_had_a_key_before() {
    let mut node = Node::asking(false);
    assert_eq!(node.answer(None), NOTHING);
    assert!(node.said().is_empty(), "no proof for nobody");
    let joined = frame_of(&FromRelay::Joined(route(1)), None);
    assert_eq!(node.take(&joined), "Joined { is_proven: false }");
    assert_eq!(Node::asking(true).answer(None), WRONG_KEY);
    let (came, _) = Node::asking(true).prove(&key_of(1));
    assert_eq!(came, NOTHING);
}

#[test]
fn a_relay_with_another_key_learns_no_proof_of_ours() {
    for must_prove in [false, true] {
        let mut node = Node::asking(must_prove);
        let (came, _) = node.prove(&key_of(2));
        assert_eq!(came, WRONG_KEY);
        assert!(node.said().is_empty());
    }
}

#[test]
fn any_of_our_keys_may_be_the_relays_and_that_one_is_proved() {
    let mut node = Node::asking(false);
    let keys = [1, 2, 3, 4].map(|fill| Key::from_bytes([fill; 32]));
    node.fixture.core.config.keys = Keyring::new(keys.to_vec()).unwrap();
    let (came, _) = node.prove(&key_of(4));
    assert_eq!(came, NOTHING);
    let word = ToRelay::decode(&node.said()[0]).unwrap().word;
    let proof = key_of(4).prove(Side::Member, &node.joining());
    assert_eq!(word, ToRelay::Proof(proof));
}

#[test]
fn a_proof_that_is_reflected_replayed_or_for_another_network_is_wrong() {
    let key = key_of(1);
    let recorded = key.prove(Side::Relay, &Node::asking(false).joining());
    let mut node = Node::asking(false);
    // Chance repeats in these tests, but not within one.
    (node.link, node.challenge) = dial(&mut node.fixture, &mut node.links, false);
    let reflected = key.prove(Side::Member, &node.joining());
    let hall = NetworkName::new("hall").unwrap();
    let elsewhere = Joining::new(&hall, (&node.challenge, b""), (&RELAYS, b""));
    let elsewhere = key.prove(Side::Relay, &elsewhere);
    for proof in [recorded, reflected, elsewhere] {
        assert_eq!(node.answer(Some(proof)), WRONG_KEY);
    }
}

#[test]
fn a_word_that_is_altered_replayed_skipped_reordered_or_not_sealed_ends_the_link() {
    type Change = fn(&mut Vec<Vec<u8>>);
    let changes: [Change; 5] = [
        |frames| frames[0][12] ^= 1,
        |frames| frames[1] = frames[0].clone(),
        |frames| drop(frames.remove(0)),
        |frames| frames.swap(0, 1),
        |frames| frames[0] = frame_of(&FromRelay::Gone(route(1)), None),
    ];
    for change in changes {
        let (mut node, mut macs) = Node::joined();
        let word = |fill, macs: &mut WordMacs| frame_of(&FromRelay::Gone(route(fill)), Some(macs));
        let mut frames = vec![word(1, &mut macs), word(2, &mut macs)];
        change(&mut frames);
        let came: Vec<String> = frames.iter().map(|frame| node.take(frame)).collect();
        assert!(came.contains(&PROTOCOL.to_owned()), "{came:?}");
    }
}

#[test]
fn of_two_joinings_at_once_neither_takes_what_is_of_the_other() {
    let mut node = Node::asking(false);
    let first = (node.link, node.challenge, node.joining());
    let key = key_of(1);
    (node.link, node.challenge) = dial(&mut node.fixture, &mut node.links, false);
    assert_ne!(node.challenge, first.1);
    let others = key.prove(Side::Relay, &first.2);
    assert_eq!(node.answer(Some(others)), WRONG_KEY);
    (node.link, node.challenge) = dial(&mut node.fixture, &mut node.links, false);
    let (came, _) = node.prove(&key);
    assert_eq!(came, NOTHING);
    let mut macs = key.macs(Side::Relay, &first.2);
    let word = frame_of(&FromRelay::Joined(route(1)), Some(&mut macs));
    assert_eq!(node.take(&word), PROTOCOL);
    node.link = first.0;
    assert_eq!(node.answer(Some(others)), NOTHING);
    assert_eq!(node.take(&word), "Joined { is_proven: true }");
}

#[test]
fn words_out_of_place_are_no_relays() {
    let advert = {
        let mut bytes = Vec::new();
        let write = |out: &mut Vec<u8>| out.extend_from_slice(b"gAAA");
        encode_forward("net", &route(1), FrameType::ADVERT, &mut bytes, write);
        bytes
    };
    let joined = frame_of(&FromRelay::Joined(route(1)), None);
    let early = [
        joined.clone(),
        advert,
        frame_of(&FromRelay::Gone(route(1)), None),
    ];
    for early in &early {
        assert_eq!(Node::asking(false).take(early), PROTOCOL);
    }
    for late in [&joined, &frame_of(&FromRelay::Prove(RELAYS, None), None)] {
        let mut node = Node::asking(false);
        node.answer(None);
        node.take(&joined);
        assert_eq!(node.take(late), PROTOCOL);
    }
    let mut node = Node::asking(false);
    node.answer(None);
    let credit = frame_of(&FromRelay::Credit(route(1), 7), None);
    assert_eq!(node.take(&credit), PROTOCOL, "we are not joined");
}

#[test]
fn words_of_a_newer_relay_are_ignored_unless_we_must_know_them() {
    let (mut node, mut macs) = Node::joined();
    let mut say = |text: &[u8]| {
        let mut bytes = Vec::new();
        encode_with("net", FrameType::REGISTER, &mut bytes, |out| {
            let from = out.len();
            out.extend_from_slice(text);
            macs.append(from, out);
        });
        node.take(&bytes)
    };
    for text in [
        &b"later.7"[..],
        b"form.full.9.a=1",
        b"unknown.block",
        b"found.AAAAAAAAAAAAAAAAAAAAAA==.0",
    ] {
        assert_eq!(say(text), NOTHING);
    }
    assert_eq!(say(b"!later.7"), "GiveUp(Version)");
    assert_eq!(say(b"form.full.9.!a=1"), "GiveUp(Version)");
    assert_eq!(say(b"window.abcdefgh-_012345.1"), PROTOCOL);
}

#[test]
fn what_a_relay_says_of_a_window_is_heeded() {
    let (mut node, mut macs) = Node::joined();
    let (carrier, to) = (node.link, route(7));
    let ctx = &mut node.fixture.ctx();
    let link = node.links.accept_route(ctx, carrier, to).unwrap();
    let whole = ROUTE_WINDOW as usize;
    node.links.routes.spend(carrier, to, whole);
    assert!(!node.links.has_window(link, 1));
    let total = u64::from(ROUTE_WINDOW);
    for (word, came, room) in [
        (FromRelay::Credit(to, 1_000), "Credit", 1_000),
        (FromRelay::Credit(to, 1_000), "Credit", 1_000),
        (FromRelay::Credit(to, 900), "Credit", 1_000),
        (FromRelay::Busy(to, 5_000), "Busy", 5_000),
        (FromRelay::Window(to, 2 * total), "Credit", whole + 5_000),
        (FromRelay::Window(to, total), "Credit", 5_000),
        (FromRelay::Settled(to, total), "Credit", whole),
        (FromRelay::Credit(to, 0), "Credit", whole),
    ] {
        assert_eq!(node.take(&frame_of(&word, Some(&mut macs))), came);
        let links = &node.links;
        assert!(
            links.has_window(link, room) && !links.has_window(link, room + 1),
            "{word:?}"
        );
    }
}
