//! Keys, certificates and identities are replaced while nodes run.

use super::{add, answers, certificate, distrusts, identity, list};
use crate::hubs::relay;
use crate::pairs::with_hub;
use crate::seeds;
use crate::world::{World, key, name, secs};
use peerbase::fernet::{Key, Keyring};
use peerbase::limits::RelayLimits;
use peerbase::wire::record::Status;
use peerbase::{Distrust, Error, Event};

/// What a node has that is given these keys.
fn give_keys(w: &mut World, node: usize, keys: &[&Key]) {
    let keys = Keyring::new(keys.iter().map(|key| (*key).clone()).collect()).unwrap();
    w.with(node, |e, now| e.set_keys(now, keys));
}

#[test]
fn the_keys_of_a_network_are_replaced_without_an_interruption() {
    for relayed in [false, true] {
        seeds(3, |seed| {
            let mut w = World::new(seed);
            if relayed {
                let (world, hub) = with_hub(RelayLimits::default());
                w = world;
                w.relays = vec![relay(hub)];
                w.lan = false;
            }
            let (a, b) = (w.add("a"), w.add("b"));
            w.run(secs(4));
            let (old, new) = (key(), Key::from_bytes([7; 32]));
            for keys in [&[&old, &new][..], &[&new, &old], &[&new]] {
                for node in [a, b] {
                    give_keys(&mut w, node, keys);
                    assert!(answers(&mut w, a, "b") && answers(&mut w, b, "a"));
                }
            }
            assert_eq!(w.nodes[a].events.len(), w.nodes[b].events.len());
            let left = |event: &Event| matches!(event, Event::PeerLeft(_));
            assert!(!w.nodes[a].events.iter().any(left));
            // Whoever comes with the new key is met, and whoever comes with the old one is not.
            let with_new = w.add_with_keys("c", Keyring::from(new));
            let with_old = w.add_with_keys("d", Keyring::from(old));
            w.run(secs(4));
            assert!(answers(&mut w, with_new, "a"));
            assert!(!answers(&mut w, with_old, "a"));
            w.check_closed();
        });
    }
}

#[test]
fn a_node_with_a_new_certificate_goes_on_when_the_old_one_is_revoked() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = (add(&mut w, "a", 1, None), add(&mut w, "b", 2, None));
    w.run(secs(3));
    let (old, new) = (certificate("b", 2, 0), certificate("b", 2, 1));
    for not_its_own in [certificate("a", 2, 0), certificate("b", 1, 0)] {
        let set = w.with(b, |e, now| e.set_certificate(now, not_its_own));
        assert!(matches!(set, Err(Error::Refused(_))), "{set:?}");
    }
    w.with(b, |e, now| e.set_certificate(now, new)).unwrap();
    assert!(answers(&mut w, a, "b"));
    let without_old = list(1, &[old.hash()]);
    w.with(a, |e, now| e.take_list(now, without_old)).unwrap();
    w.run(secs(10));
    assert!(answers(&mut w, a, "b") && answers(&mut w, b, "a"));
    w.check_closed();
}

#[test]
fn a_node_with_a_new_identity_joins_again_and_its_calls_end() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = (add(&mut w, "a", 1, None), add(&mut w, "b", 2, None));
    w.run(secs(3));
    w.nodes[a].behaviour = crate::world::Behaviour::Hold;
    let of_b = w.call(b, "a", secs(60)).unwrap();
    w.run(secs(1));
    let before = w.nodes[b].engine.instance();
    let set = w.with(b, |e, now| {
        e.set_identity(now, identity(3), Some(certificate("b", 2, 0)))
    });
    assert!(
        matches!(set, Err(Error::Refused(_))),
        "of the old key: {set:?}"
    );
    assert_eq!(w.nodes[b].engine.instance(), before);
    let set = w.with(b, |e, now| {
        e.set_identity(now, identity(3), Some(certificate("b", 3, 0)))
    });
    assert_eq!(set, Ok(()));
    let ended = w
        .ends
        .get(&(before, of_b))
        .or(w.ends.get(&(w.nodes[b].engine.instance(), of_b)));
    assert_eq!(ended, Some(&Err(Error::Cancelled)));
    // What is answered too late harms nobody.
    let (id, _) = w.nodes[a].held.remove(0);
    w.with(a, |e, now| e.reply(now, id, Status::Value, b"1".to_vec()));
    w.begun.clear();
    w.run(secs(5));
    w.nodes[a].behaviour = crate::world::Behaviour::Echo;
    let peers = w.nodes[a].engine.peers(w.clock_of(a));
    let b_now = peers.iter().find(|peer| peer.name == name("b")).unwrap();
    assert_eq!(b_now.key, Some(identity(3).public_key()));
    assert!(answers(&mut w, a, "b") && answers(&mut w, b, "a"));
    w.begun.clear();
    w.check_closed();
}

#[test]
fn in_an_open_network_others_accept_a_new_identity_first() {
    let mut w = World::new(crate::first_seed());
    w.kept.insert("b".into(), (identity(2), Default::default()));
    let (a, b) = (w.add("a"), w.add("b"));
    w.run(secs(3));
    w.with(b, |e, now| e.set_identity(now, identity(3), None))
        .unwrap();
    w.run(secs(5));
    assert!(!answers(&mut w, a, "b"));
    assert_eq!(distrusts(&w, a, "b"), [Distrust::OtherKey]);
    let new = identity(3).public_key();
    w.with(a, |e, now| e.accept_key(now, &name("b"), &new))
        .unwrap();
    w.run(secs(3));
    assert!(answers(&mut w, a, "b"));
    w.check_closed();
}
