//! Identities: what a node sees of others, and what stays after a restart.

use crate::common::{Lan, PATIENCE, secs, until, wait_for_event};
use peerbase::{Error, Event, Identity, Key, Node, OsEntropy, PublicKey};
use std::net::SocketAddr;
use std::sync::mpsc;

/// A node of this name that answers with the fingerprint of its caller.
fn start(lan: &Lan, name: &str, identity: Option<Identity>) -> Node {
    let builder = lan.builder(name).command("who", |call| {
        let key = call.caller_key().map(|key| key.fingerprint().to_string());
        call.reply(key)
    });
    match identity {
        Some(identity) => builder.identity(identity).start().unwrap(),
        None => builder.start().unwrap(),
    }
}

/// The public key of a peer, once a session with it is open.
fn key_of(node: &Node, name: &str) -> PublicKey {
    let mut key = None;
    until("a session with the peer", || {
        let peers = node.peers();
        let peer = peers
            .iter()
            .find(|p| p.name.as_str() == name && p.reachable);
        key = peer.and_then(|p| p.key);
        key.is_some()
    });
    key.unwrap()
}

#[test]
fn a_kept_identity_is_shown_with_each_call_and_is_the_same_after_a_restart() {
    let lan = Lan::new();
    let mut entropy = OsEntropy::new().unwrap();
    let identity = Identity::generate(&mut entropy);
    let fingerprint = identity.public_key().fingerprint().to_string();
    let server = start(&lan, "server", None);
    for _ in 0..2 {
        let caller = start(&lan, "caller", Some(identity.clone()));
        let said = caller.call("who").to("server").timeout(secs(20)).send();
        assert_eq!(said.unwrap(), fingerprint);
        assert_eq!(key_of(&server, "caller"), identity.public_key());
        caller.stop();
    }
    // Without one a node is another each time.
    let first = key_of(&start(&lan, "fresh", None), "server");
    assert_eq!(first, key_of(&start(&lan, "other", None), "server"));
    let own = start(&lan, "third", None);
    let said = own.call("who").to("server").timeout(secs(20)).send();
    assert_ne!(said.unwrap(), fingerprint);
}

#[test]
fn a_message_shows_who_has_sent_it() {
    let lan = Lan::new();
    let identity = Identity::generate(&mut OsEntropy::new().unwrap());
    let (sender, receiver) = mpsc::channel();
    let builder = lan.builder("b").on_message(move |message| {
        let _ = sender.send(message.sender_key());
    });
    let b = builder.start().unwrap();
    let a = start(&lan, "a", Some(identity.clone()));
    a.send_to("b", b"hello", secs(20)).unwrap();
    let told = receiver.recv_timeout(PATIENCE).unwrap();
    assert_eq!(told, Some(identity.public_key()));
    drop(b);
}

#[test]
fn a_wrong_key_is_told() {
    let lan = Lan::new();
    let a = start(&lan, "a", None);
    let events = a.events();
    let wrong = Node::builder("b", "test", Key::from_bytes([8; 32]));
    let b = wrong.loopback(true).advertise_port(lan.port).start();
    let b = b.unwrap();
    let is_told = |event: &Event| matches!(event, Event::OtherKey(from) if from.is_loopback());
    wait_for_event(&events, "the wrong key to be told", is_told);
    until("the other one to refuse it as well", || {
        b.stats().adverts_refused > 0
    });
}

#[test]
fn a_link_that_is_closed_in_the_handshake_is_told() {
    let lan = Lan::new();
    let a = start(&lan, "a", None);
    let wrong = Node::builder("b", "test", Key::from_bytes([8; 32]));
    let b = wrong.loopback(true).lan(false).start().unwrap();
    let events = b.events();
    let address = SocketAddr::from(([127, 0, 0, 1], a.port()));
    let failed = b.connect(address, secs(2)).unwrap_err();
    assert!(matches!(failed, Error::Unreachable(_)), "{failed}");
    let is_told = |event: &Event| *event == Event::HandshakeClosed(address.ip());
    wait_for_event(&events, "the closed handshake to be told", is_told);
}
