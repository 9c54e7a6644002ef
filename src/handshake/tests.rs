//! Two sides, and what somebody between them can change.

use super::*;
use crate::entropy::Counting;
use crate::fernet::{Key, Keyring};
use crate::identity::Identity;
use crate::name::NodeName;
use crate::wire::handshake::{Envelope, Step};

/// What a node has that takes part.
pub(super) struct Node {
    pub(super) network: NetworkName,
    pub(super) keys: NetworkKeys,
    pub(super) credentials: Credentials,
    pub(super) name: NodeName,
}

impl Node {
    pub(super) fn new(n: u8, name: &str) -> Node {
        let network = NetworkName::new("net").unwrap();
        Node {
            keys: NetworkKeys::new(&Keyring::from(Key::from_bytes([1; 32])), &network),
            network,
            credentials: Credentials::new(&Identity::from_seed([n; 32]), n == 1, [n; 16]),
            name: NodeName::new(name).unwrap(),
        }
    }

    pub(super) fn own(&self) -> Own<'_> {
        Own {
            network: &self.network,
            keys: &self.keys,
            credentials: &self.credentials,
            name: &self.name,
            port: 7,
            probing: false,
            list: 0,
        }
    }

    pub(super) fn begin(&self) -> (Initiator, Envelope) {
        Initiator::begin(self.own(), &mut Counting(9))
    }

    pub(super) fn answer(&self, first: &Envelope) -> Result<(Responder, Envelope), Refused> {
        let question = Question::read(self.own(), first)?;
        question.answer(self.own(), &mut Counting(99))
    }
}

pub(super) fn two() -> (Node, Node) {
    (Node::new(1, "reader"), Node::new(2, "sensor"))
}

/// What the two learn of each other, and whether what one seals the other opens.
fn meet(asker: &Node, answerer: &Node) -> Result<(Party, Party), Refused> {
    let (mut initiator, first) = asker.begin();
    let (responder, second) = answerer.answer(&first)?;
    let of_answerer = initiator.read(&second.message)?;
    let meant = of_answerer.name.clone();
    let (third, ours) = initiator.finish(asker.own(), &meant, &mut Counting(50))?;
    let (of_asker, theirs) = responder.read(answerer.own(), &third.message)?;
    for (from, to) in [(&ours, &theirs), (&theirs, &ours)] {
        let (mut token, mut buf) = (Vec::new(), Vec::new());
        let sealer = from.outbound.sealer();
        sealer.seal(b"record", 1, &[3; 16], &mut token);
        let opened = to.inbound.sealer().open(&token, &mut buf);
        assert_eq!(opened.ok(), Some(&b"record"[..]));
        assert!(from.inbound.sealer().open(&token, &mut Vec::new()).is_err());
    }
    Ok((of_answerer, of_asker))
}

#[test]
fn two_that_hold_the_key_learn_who_the_other_is() {
    let (asker, answerer) = two();
    let (of_answerer, of_asker) = meet(&asker, &answerer).unwrap();
    for (party, node) in [(&of_answerer, &answerer), (&of_asker, &asker)] {
        assert_eq!(party.instance, node.credentials.instance());
        assert_eq!(party.key, *node.credentials.key());
        assert_eq!((party.name.clone(), party.port), (node.name.clone(), 7));
    }
    assert!(of_asker.shown.kept && !of_answerer.shown.kept);
}

#[test]
fn any_key_of_the_ring_that_the_other_side_seals_with_opens() {
    let (asker, mut answerer) = two();
    let (old, new) = (Key::from_bytes([1; 32]), Key::from_bytes([2; 32]));
    let keys = Keyring::new(vec![new.clone(), old]).unwrap();
    answerer.keys = NetworkKeys::new(&keys, &answerer.network);
    assert!(meet(&asker, &answerer).is_ok());
    answerer.keys = NetworkKeys::new(&Keyring::from(new), &answerer.network);
    assert_eq!(meet(&asker, &answerer), Err(Refused::Unopened));
}

#[test]
fn the_same_key_in_another_network_opens_nothing() {
    let (asker, mut answerer) = two();
    answerer.network = NetworkName::new("other").unwrap();
    assert_eq!(meet(&asker, &answerer), Err(Refused::Unopened));
    answerer.keys = NetworkKeys::new(&Keyring::from(Key::from_bytes([1; 32])), &answerer.network);
    assert_eq!(meet(&asker, &answerer), Err(Refused::Unopened));
}

#[test]
fn a_message_that_is_altered_at_any_byte_is_refused() {
    let (asker, answerer) = two();
    let (mut initiator, first) = asker.begin();
    let altered = |envelope: &Envelope, at: usize| {
        let mut altered = envelope.clone();
        altered.message[at] ^= 1;
        altered
    };
    for at in 0..first.message.len() {
        let answer = answerer.answer(&altered(&first, at));
        assert_eq!(
            answer.err(),
            Some(Refused::Unopened),
            "byte {at} of the first"
        );
    }
    let (_, second) = answerer.answer(&first).unwrap();
    for at in 0..second.message.len() {
        let (mut initiator, _) = asker.begin();
        let read = initiator.read(&altered(&second, at).message);
        assert!(read.is_err(), "byte {at} of the second");
    }
    let party = initiator.read(&second.message).unwrap();
    let (third, _) = initiator
        .finish(asker.own(), &party.name, &mut Counting(50))
        .unwrap();
    for at in 0..third.message.len() {
        let (responder, _) = answerer.answer(&first).unwrap();
        let read = responder.read(answerer.own(), &altered(&third, at).message);
        assert!(read.is_err(), "byte {at} of the third");
    }
    let (responder, _) = answerer.answer(&first).unwrap();
    assert!(responder.read(answerer.own(), &third.message).is_ok());
}

#[test]
fn messages_of_another_handshake_are_refused() {
    let (asker, answerer) = two();
    let (mut initiator, first) = asker.begin();
    let (_, of_another) = Node::new(3, "other").answer(&first).unwrap();
    let (_, mut another) = asker.begin();
    another.id[0] ^= 1;
    assert_eq!(answerer.answer(&another).err(), Some(Refused::Unopened));
    // An answer of another node is an answer; but each is of one handshake.
    let party = initiator.read(&of_another.message).unwrap();
    let (third, _) = initiator
        .finish(asker.own(), &party.name, &mut Counting(50))
        .unwrap();
    let (responder, _) = answerer.answer(&first).unwrap();
    let read = responder.read(answerer.own(), &third.message);
    assert_eq!(read.err(), Some(Refused::Unopened));
}

#[test]
fn who_shows_the_key_of_another_is_refused() {
    let (mut asker, answerer) = two();
    // A card of another identity, whose private key it does not have.
    let victim = Node::new(3, "victim");
    let (mut initiator, first) = asker.begin();
    let (responder, second) = answerer.answer(&first).unwrap();
    let party = initiator.read(&second.message).unwrap();
    asker.credentials = victim.credentials.clone();
    let (third, _) = initiator
        .finish(asker.own(), &party.name, &mut Counting(50))
        .unwrap();
    let read = responder.read(answerer.own(), &third.message);
    assert_eq!(read.err(), Some(Refused::Malformed));
}

#[test]
fn a_node_that_is_not_meant_refuses() {
    let (asker, answerer) = two();
    let (mut initiator, first) = asker.begin();
    let (responder, second) = answerer.answer(&first).unwrap();
    initiator.read(&second.message).unwrap();
    let meant = NodeName::new("another").unwrap();
    let (third, _) = initiator
        .finish(asker.own(), &meant, &mut Counting(50))
        .unwrap();
    assert_eq!(third.step, Step::Third);
    let read = responder.read(answerer.own(), &third.message);
    assert_eq!(read.err(), Some(Refused::Malformed));
}

#[test]
fn keys_are_renewed_alike_on_both_sides_and_each_is_another() {
    let (mut ours, mut theirs) = (RecordKeys::new(&[1; 32]), RecordKeys::new(&[1; 32]));
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let mut token = Vec::new();
        ours.sealer().seal(b"record", 1, &[3; 16], &mut token);
        assert!(theirs.sealer().open(&token, &mut Vec::new()).is_ok());
        assert!(!tokens.contains(&token));
        tokens.push(token);
        ours.renew();
        theirs.renew();
    }
    for old in &tokens {
        assert!(theirs.sealer().open(old, &mut Vec::new()).is_err());
    }
}
