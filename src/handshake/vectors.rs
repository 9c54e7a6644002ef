//! The whole handshakes of `tests/vectors/handshake.json`, which another implementation has made.

use super::*;
use crate::authority::Certificate;
use crate::entropy::Entropy;
use crate::fernet::{Key, Keyring, Sealer};
use crate::identity::Identity;
use crate::name::NodeName;
use crate::unhex::{self, array};
use crate::wire::handshake::{Envelope, First, Second, Third};
use crate::wire::record::{self, Record};
use serde_json::Value;

/// What a node is in one of the handshakes.
struct Side {
    network: NetworkName,
    keys: NetworkKeys,
    credentials: Credentials,
    name: NodeName,
    port: u16,
    probing: bool,
    list: u64,
    /// The id of the handshake, and the ephemeral key.
    drawn: ([u8; 8], [u8; 32]),
}

impl Side {
    fn read(handshake: &Value, side: &Value) -> Side {
        let network = NetworkName::new(handshake["network"].as_str().unwrap()).unwrap();
        let key = Key::from_bytes(array(&handshake["network_key"]));
        let identity = Identity::from_seed(array(&side["seed"]));
        let kept = side["kept"].as_bool().unwrap();
        let mut credentials = Credentials::new(&identity, kept, array(&side["start"]));
        let text = side["certificate"].as_str().unwrap();
        if !text.is_empty() {
            credentials.set_certificate(&Certificate::parse(text).unwrap());
        }
        Side {
            keys: NetworkKeys::new(&Keyring::from(key), &network),
            network,
            credentials,
            name: NodeName::new(side["name"].as_str().unwrap()).unwrap(),
            port: side["port"].as_u64().unwrap().try_into().unwrap(),
            probing: side["probing"].as_bool().unwrap(),
            list: side["list"].as_u64().unwrap(),
            drawn: (array(&handshake["id"]), array(&side["ephemeral"])),
        }
    }

    fn own(&self) -> Own<'_> {
        Own {
            network: &self.network,
            keys: &self.keys,
            credentials: &self.credentials,
            name: &self.name,
            port: self.port,
            probing: self.probing,
            list: self.list,
        }
    }
}

/// Draws what the vector says.
struct Drawn<'a>(&'a Side);

impl Entropy for Drawn<'_> {
    fn fill(&mut self, out: &mut [u8]) {
        match out.len() {
            8 => out.copy_from_slice(&self.0.drawn.0),
            _ => out.copy_from_slice(&self.0.drawn.1),
        }
    }
}

fn payload(envelope: &Envelope) -> String {
    let mut out = Vec::new();
    envelope.encode(&mut out);
    String::from_utf8(out).unwrap()
}

/// What was encrypted decodes, and encodes back to the same bytes.
fn check_payloads(payloads: &Value) {
    let all = [0, 1, 2].map(|n| unhex::of(&payloads[n]));
    let mut again = [const { Vec::new() }; 3];
    First::decode(&all[0]).unwrap().encode(&mut again[0]);
    Second::decode(&all[1]).unwrap().encode(&mut again[1]);
    Third::decode(&all[2]).unwrap().encode(&mut again[2]);
    assert_eq!(again, all);
    for whole in &all {
        let cut = &whole[..whole.len() - 1];
        assert!(First::decode(cut).is_err() || whole != &all[0]);
        assert!(Second::decode(cut).is_err() || whole != &all[1]);
        assert!(Third::decode(cut).is_err() || whole != &all[2]);
    }
}

/// The records of a vector are what the keys of its session seal, and are well-formed.
fn check_records(handshake: &Value, mut keys: [RecordKeys; 2]) {
    let (unix, iv) = (handshake["time"].as_u64().unwrap(), array(&handshake["iv"]));
    for (way, from) in ["initiator", "responder"].into_iter().enumerate() {
        let chain = array(&handshake["chain_keys"][way]);
        let (next, key) = RecordKeys::derive(&chain);
        assert_eq!(key[..], unhex::of(&handshake["record_keys"][way]));
        let (_, renewed) = RecordKeys::derive(&next);
        assert_eq!(
            renewed[..],
            unhex::of(&handshake["renewed_record_keys"][way])
        );
        for renewed in [false, true] {
            if renewed {
                keys[way].renew();
            }
            let records = handshake["records"].as_array().unwrap().iter();
            let ours = records.filter(|r| r["from"] == from && r["renewed"] == renewed);
            for one in ours {
                let plain = unhex::of(&one["plain"]);
                let mut token = Vec::new();
                let sealer: &Sealer = keys[way].sealer();
                sealer.seal(&plain, unix, &iv, &mut token);
                assert_eq!(one["token"].as_str().unwrap().as_bytes(), token);
                let mut again = Vec::new();
                record::encode(&Record::decode(&plain).unwrap(), &mut again);
                assert_eq!(again, plain);
            }
        }
    }
}

#[test]
fn whole_handshakes_are_those_that_another_implementation_has_made() {
    let file = include_str!("../../tests/vectors/handshake.json");
    let file: Value = serde_json::from_str(file).unwrap();
    let handshakes = file["handshakes"].as_array().unwrap();
    assert!(!handshakes.is_empty());
    for handshake in handshakes {
        let one = Side::read(handshake, &handshake["initiator"]);
        let other = Side::read(handshake, &handshake["responder"]);
        let hel = |n: usize| handshake["hel"][n].as_str().unwrap();
        let (mut initiator, first) = Initiator::begin(one.own(), &mut Drawn(&one));
        assert_eq!(payload(&first), hel(0));
        let question = Question::read(other.own(), &first).unwrap();
        let (responder, second) = question.answer(other.own(), &mut Drawn(&other)).unwrap();
        assert_eq!(payload(&second), hel(1));
        let party = initiator.read(&second.message).unwrap();
        assert_eq!(party.name, other.name);
        let finished = initiator.finish(one.own(), &party.name, &mut Drawn(&one));
        let (third, keys) = finished.unwrap();
        assert_eq!(payload(&third), hel(2));
        let (party, theirs) = responder.read(other.own(), &third.message).unwrap();
        assert_eq!(party.name, one.name);
        check_payloads(&handshake["payloads"]);
        check_records(handshake, [keys.outbound, theirs.outbound]);
    }
}
