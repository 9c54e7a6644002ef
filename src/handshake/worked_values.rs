//! The worked values at the end of docs/PROTOCOL.md are what this implementation computes.

use super::*;
use crate::entropy::Entropy;
use crate::fernet::{Key, Keyring};
use crate::identity::Identity;
use crate::name::NodeName;
use crate::wire::relay_key::RelayKey;

const DOCUMENT: &str = include_str!("../../docs/PROTOCOL.md");

/// The document without its line breaks and indentation, since long values go over several lines.
fn has(value: &str) -> bool {
    let joined: String = DOCUMENT.split_whitespace().collect();
    joined.contains(value)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The id of a handshake, of 8 bytes 9, and then ephemeral keys of bytes 5.
struct Fixed;

impl Entropy for Fixed {
    fn fill(&mut self, out: &mut [u8]) {
        let byte = if out.len() == 8 { 9 } else { 5 };
        out.fill(byte);
    }
}

#[test]
fn keys_are_derived_as_the_document_says() {
    let network = NetworkName::new("plant").unwrap();
    let key = Key::from_bytes(std::array::from_fn(|i| i as u8));
    assert!(has(&key.to_text()));
    let label = |label: &str| crate::network_keys::derive(&key, label.as_bytes(), &network);
    for use_of in ["peerbase advert 2", "peerbase handshake 2"] {
        let line = format!("derive({use_of}){}", hex(&*label(use_of)));
        assert!(has(&line.replace(' ', "")), "{line}");
    }
    let relay = RelayKey::derive(&key, &network).to_text();
    let relay = Key::parse(relay.trim_start_matches("relay-")).unwrap();
    let line = format!("derive(peerbaserelay2){}", hex(relay.as_bytes()));
    assert!(has(&line), "{line}");
    let (next, record) = RecordKeys::derive(&[3; 32]);
    assert!(
        has(&format!("nextchainkey{}", hex(&*next))),
        "{}",
        hex(&*next)
    );
    assert!(
        has(&format!("recordkey{}", hex(&*record))),
        "{}",
        hex(&*record)
    );
}

#[test]
fn an_identity_and_its_first_message_are_those_of_the_document() {
    let network = NetworkName::new("plant").unwrap();
    let keys = Keyring::from(Key::from_bytes(std::array::from_fn(|i| i as u8)));
    let keys = NetworkKeys::new(&keys, &network);
    let identity = Identity::from_seed([1; 32]);
    let credentials = Credentials::new(&identity, true, [2; 16]);
    let own = Own {
        network: &network,
        keys: &keys,
        credentials: &credentials,
        name: &NodeName::new("sensor").unwrap(),
        port: 7,
        probing: false,
        list: 0,
    };
    let card = own.card();
    assert!(has(&hex(&card.key)) && has(&credentials.key().to_text()));
    assert!(has(&credentials.key().fingerprint().to_string()));
    assert!(has(&hex(&credentials.instance().0)));
    assert!(has(&hex(&card.signature)), "{}", hex(&card.signature));
    let (_, first) = Initiator::begin(own, &mut Fixed);
    let mut payload = Vec::new();
    first.encode(&mut payload);
    let payload = String::from_utf8(payload).unwrap();
    assert!(has(&payload), "{payload}");
}
