//! What a member gone bad, and a thief of keys, can try in a handshake. The initiator here is put
//! together by hand, so that it can say what it likes.

use super::tests::{Node, two};
use super::*;
use crate::entropy::Counting;
use crate::identity::Identity;
use crate::noise::pattern::XXPSK0;
use crate::noise::{Handshake, KeyPair, Side};
use crate::wire::extensions::Extensions;
use crate::wire::handshake::{Card, Envelope, First, Second, Step, Third};
use crate::wire::{Instance, VERSION};
use std::sync::Arc;

const ID: HandshakeId = [4; 8];

/// An initiator that says what it is told to.
struct Forger {
    noise: Handshake,
}

impl Forger {
    /// With the network's key and this static key.
    fn new(of: &Node, static_key: Arc<KeyPair>) -> Forger {
        let psks: Vec<&[u8; 32]> = of.keys.psks().take(1).collect();
        let prologue = prologue(ID, &of.network);
        let noise = Handshake::new(&XXPSK0, Side::Initiator, &prologue, &psks, Some(static_key));
        Forger { noise }
    }

    fn say(&mut self, step: Step, ephemeral: u8, payload: &[u8]) -> Envelope {
        let mut message = Vec::new();
        self.noise
            .write(&[ephemeral; 32], payload, &mut message)
            .unwrap();
        Envelope {
            version: VERSION,
            step,
            id: ID,
            message,
        }
    }

    fn first(&mut self, first: &First) -> Envelope {
        let mut payload = Vec::new();
        first.encode(&mut payload);
        self.say(Step::First, 21, &payload)
    }

    fn read(&mut self, second: &Envelope) -> Second {
        let mut payload = Vec::new();
        self.noise.read(&second.message, &mut payload).unwrap();
        Second::decode(&payload).unwrap()
    }

    fn third(&mut self, meant: &str, card: Card) -> Envelope {
        let meant = crate::name::NodeName::new(meant).unwrap();
        let mut payload = Vec::new();
        Third { meant, card }.encode(&mut payload);
        self.say(Step::Third, 22, &payload)
    }
}

fn first(instance: Instance) -> First {
    First {
        least: VERSION,
        most: VERSION,
        instance,
        extensions: Extensions::default(),
    }
}

/// A field of a later version: of the type 9, which may be skipped.
fn field() -> Extensions {
    Extensions::decode(&[0, 9, 0, 1, 7]).unwrap()
}

/// What the answerer finds of a whole handshake in which the asker shows this card.
fn shows(instance: Instance, of: &Node, card: Card, meant: &str) -> Result<Party, Refused> {
    let (_, answerer) = two();
    let mut forger = Forger::new(of, of.credentials.static_key().clone());
    let (responder, second) = answerer.answer(&forger.first(&first(instance)))?;
    forger.read(&second);
    let third = forger.third(meant, card);
    let (party, _) = responder.read(answerer.own(), &third.message)?;
    Ok(party)
}

#[test]
fn an_instance_is_shown_with_the_key_that_it_belongs_to_or_not_at_all() {
    let (asker, answerer) = two();
    let own = asker.credentials.instance();
    let honest = shows(own, &asker, asker.own().card(), "sensor").unwrap();
    assert_eq!(honest.instance, own);
    // Those of others, which are no secret, as the asker's own.
    let victim = Node::new(3, "victim");
    for stolen in [
        victim.credentials.instance(),
        answerer.credentials.instance(),
    ] {
        let shown = shows(stolen, &asker, asker.own().card(), "sensor");
        assert_eq!(shown, Err(Refused::Malformed));
    }
    let mut card = asker.own().card();
    (card.key, card.start) = (*victim.credentials.key().as_bytes(), [3; 16]);
    let shown = shows(victim.credentials.instance(), &asker, card, "sensor");
    assert_eq!(shown, Err(Refused::Malformed));
}

#[test]
fn what_is_meant_for_one_name_opens_no_session_with_another() {
    let (asker, _) = two();
    let own = asker.credentials.instance();
    let shown = shows(own, &asker, asker.own().card(), "reader");
    assert_eq!(shown, Err(Refused::Malformed));
}

#[test]
fn whoever_has_the_key_of_a_node_is_to_that_node_still_nobody_else() {
    let (asker, answerer) = two();
    // The thief has the answerer's private keys, and goes by the asker's name and public keys.
    let stolen = Identity::from_seed([2; 32]);
    let stolen_static = Arc::new(KeyPair::new(&stolen.static_secret()));
    let own = asker.credentials.instance();
    let mut forger = Forger::new(&asker, stolen_static.clone());
    let (responder, second) = answerer.answer(&forger.first(&first(own))).unwrap();
    forger.read(&second);
    let third = forger.third("sensor", asker.own().card());
    let read = responder.read(answerer.own(), &third.message);
    assert_eq!(
        read.err(),
        Some(Refused::Malformed),
        "signed for another static key"
    );
    // It shows the asker's static key, for which it has no private one.
    let claimed = KeyPair::claiming(*asker.credentials.static_key().public(), &stolen_static);
    let mut forger = Forger::new(&asker, Arc::new(claimed));
    let (responder, second) = answerer.answer(&forger.first(&first(own))).unwrap();
    forger.read(&second);
    let third = forger.third("sensor", asker.own().card());
    let read = responder.read(answerer.own(), &third.message);
    assert_eq!(read.err(), Some(Refused::Unopened));
}

#[test]
fn the_versions_that_are_offered_include_this_one_and_nobody_changes_them() {
    let (asker, answerer) = two();
    let offer = |least, most| {
        let mut forger = Forger::new(&asker, asker.credentials.static_key().clone());
        let offered = First {
            least,
            most,
            ..first(asker.credentials.instance())
        };
        let envelope = forger.first(&offered);
        let answered = answerer.answer(&envelope).map(|(_, second)| second);
        answered.map(|second| forger.read(&second).version)
    };
    for (least, most) in [(VERSION, VERSION), (1, VERSION), (VERSION, 9), (0, 255)] {
        assert_eq!(offer(least, most), Ok(VERSION));
    }
    for (least, most) in [(0, 1), (3, 9)] {
        assert_eq!(offer(least, most), Err(Refused::Malformed));
    }
    // The version in clear is bound as well.
    let psks: Vec<&[u8; 32]> = asker.keys.psks().collect();
    let mut clear = prologue(ID, &asker.network);
    clear[0] = 1;
    let own = Some(asker.credentials.static_key().clone());
    let noise = Handshake::new(&XXPSK0, Side::Initiator, &clear, &psks, own);
    let envelope = Forger { noise }.first(&first(asker.credentials.instance()));
    assert_eq!(answerer.answer(&envelope).err(), Some(Refused::Unopened));
    // An answer in a version that was not offered.
    let (mut initiator, question) = asker.begin();
    let read = Handshake::read_first(
        &XXPSK0,
        &prologue(question.id, &answerer.network),
        answerer.keys.psks(),
        Some(answerer.credentials.static_key()),
        &question.message,
        &mut Vec::new(),
    );
    let (mut noise, _) = read.unwrap();
    let (mut payload, mut message) = (Vec::new(), Vec::new());
    let card = answerer.own().card();
    Second { version: 1, card }.encode(&mut payload);
    noise.write(&[23; 32], &payload, &mut message).unwrap();
    assert_eq!(initiator.read(&message), Err(Refused::Malformed));
}

#[test]
fn fields_of_later_versions_are_skipped_unless_they_must_be_known() {
    let (asker, answerer) = two();
    let own = asker.credentials.instance();
    let mut forger = Forger::new(&asker, asker.credentials.static_key().clone());
    let extended = First {
        extensions: field(),
        ..first(own)
    };
    assert!(answerer.answer(&forger.first(&extended)).is_ok());
    let mut card = asker.own().card();
    card.extensions = field();
    assert!(shows(own, &asker, card.clone(), "sensor").is_ok());
    // The same bytes with the bit that says so.
    let mut payload = Vec::new();
    extended.encode(&mut payload);
    let at = payload.len() - 5;
    payload[at] |= 128;
    let mut forger = Forger::new(&asker, asker.credentials.static_key().clone());
    let envelope = forger.say(Step::First, 21, &payload);
    assert_eq!(answerer.answer(&envelope).err(), Some(Refused::Malformed));
    let (responder, second) = answerer
        .answer(&{
            forger = Forger::new(&asker, asker.credentials.static_key().clone());
            forger.first(&first(own))
        })
        .unwrap();
    forger.read(&second);
    let mut payload = Vec::new();
    let meant = answerer.name.clone();
    Third { meant, card }.encode(&mut payload);
    let at = payload.len() - 5;
    payload[at] |= 128;
    let third = forger.say(Step::Third, 22, &payload);
    let read = responder.read(answerer.own(), &third.message);
    assert_eq!(read.err(), Some(Refused::Malformed));
}

#[test]
fn a_recording_stays_closed_to_whoever_takes_all_keys_that_are_left() {
    let (asker, answerer) = two();
    let (mut initiator, question) = asker.begin();
    let (responder, answer) = answerer.answer(&question).unwrap();
    let party = initiator.read(&answer.message).unwrap();
    let finished = initiator.finish(asker.own(), &party.name, &mut Counting(50));
    let (proof, mut ours) = finished.unwrap();
    let (_, mut theirs) = responder.read(answerer.own(), &proof.message).unwrap();
    let mut recorded = Vec::new();
    for keys in [&ours, &theirs] {
        let mut token = Vec::new();
        keys.outbound
            .sealer()
            .seal(b"record", 1, &[3; 16], &mut token);
        recorded.push(token);
    }
    // An hour later each side has renewed its keys, and then everything is stolen: the network key
    // and what is derived from it, both identities, and the keys of the session.
    for keys in [&mut ours, &mut theirs] {
        keys.outbound.renew();
        keys.inbound.renew();
    }
    let opens = |sealer: &crate::fernet::Sealer| {
        let mut opened = recorded
            .iter()
            .map(|t| sealer.open(t, &mut Vec::new()).is_ok());
        opened.any(|is_open| is_open)
    };
    for keys in [
        &ours.outbound,
        &ours.inbound,
        &theirs.outbound,
        &theirs.inbound,
    ] {
        assert!(!opens(keys.sealer()));
    }
    let network_key = crate::fernet::Sealer::new(&crate::fernet::Key::from_bytes([1; 32]));
    assert!(!opens(&network_key));
    let adverts = asker.keys.adverts();
    assert!(!opens(adverts.sealer(adverts.first())));
    // As the answerer: the first message opens, as it does to any member, and says which start
    // asked. The third does not, which would tell who that was.
    let anew = Question::read(answerer.own(), &question).unwrap();
    let (responder, _) = anew.answer(answerer.own(), &mut Counting(77)).unwrap();
    let read = responder.read(answerer.own(), &proof.message);
    assert_eq!(read.err(), Some(Refused::Unopened));
    // As the asker: what was answered opens to no ephemeral key but the one that is gone.
    let (mut again, _) = Initiator::begin(asker.own(), &mut Counting(88));
    assert_eq!(again.read(&answer.message), Err(Refused::Unopened));
    // In a session of the thief's own nothing is as it was.
    let (mut begun, first) = Initiator::begin(asker.own(), &mut Counting(88));
    let (_, second) = answerer.answer(&first).unwrap();
    let party = begun.read(&second.message).unwrap();
    let finished = begun.finish(asker.own(), &party.name, &mut Counting(99));
    let (_, fresh) = finished.unwrap();
    assert!(!opens(fresh.outbound.sealer()) && !opens(fresh.inbound.sealer()));
}
