//! A revoked node is out within a second, and stays out.

use super::{add, answers, certificate, distrusted_by, distrusts, identity, list, mode};
use crate::hubs::relay;
use crate::pairs::with_hub;
use crate::seeds;
use crate::world::{World, ms, secs};
use peerbase::engine::{Keep, Mode};
use peerbase::limits::{REVOCATIONS_MAX, RelayLimits};
use peerbase::name::NodeName;
use peerbase::{CertificateHash, Distrust, Event, RevocationList};

/// The newest list that a node has to keep.
fn kept(w: &World, node: usize) -> Option<RevocationList> {
    let kept = w.nodes[node].kept.iter().rev();
    let mut lists = kept.filter_map(|keep| match keep {
        Keep::List(list) => Some(list.clone()),
        Keep::Pin(..) => None,
    });
    lists.next()
}

/// A world in which `a`, `b`, `c` and `bad`, the 4th, have met: on a LAN, through a relay, or in a
/// chain of seeds.
fn four(seed: u64, how: &str) -> (World, [usize; 4]) {
    let mut w = World::new(seed);
    if how == "relay" {
        let (world, hub) = with_hub(RelayLimits::default());
        w = world;
        w.relays = vec![relay(hub)];
    }
    w.lan = how == "lan";
    let names = ["a", "b", "c", "bad"];
    let mut n = 0;
    let nodes = names.map(|of| {
        n += 1;
        add(&mut w, of, n, None)
    });
    w.run(secs(3));
    if how == "mesh" {
        for pair in nodes.windows(2) {
            w.connect(pair[0], pair[1]);
        }
        w.run(secs(10));
    }
    for other in ["a", "b", "c"] {
        assert!(answers(&mut w, nodes[3], other), "{how}: {other}");
    }
    (w, nodes)
}

/// The list of this version that revokes `bad`.
fn without_bad(version: u64) -> RevocationList {
    list(version, &[certificate("bad", 4, 0).hash()])
}

#[test]
fn sessions_of_a_revoked_node_end_within_a_second_and_it_stays_out() {
    for how in ["lan", "relay", "mesh"] {
        seeds(3, |seed| {
            let (mut w, [a, b, c, bad]) = four(seed, how);
            let waits = w.call(bad, "a", secs(30)).unwrap();
            w.run(secs(1));
            assert!(w.result(bad, waits).unwrap().is_ok());
            let taken = w.with(a, |e, now| e.take_list(now, without_bad(1)));
            assert_eq!(taken, Ok(true));
            w.run(secs(1));
            for node in [a, b, c] {
                assert!(!w.reaches(node, "bad"), "{how} {node}");
                assert_eq!(kept(&w, node).map(|list| list.version()), Some(1));
            }
            let events = &w.nodes[bad].events;
            let by: Vec<_> = ["a", "b", "c"]
                .into_iter()
                .flat_map(|other| distrusted_by(&w, bad, other))
                .collect();
            // One of them tells it, since events of one kind come once a minute.
            assert_eq!(by, [Distrust::Revoked], "{how} {events:?}");
            let served = |w: &World| [a, b, c].map(|n| w.nodes[n].engine.stats().served);
            let before = served(&w);
            for other in ["a", "b", "c"] {
                assert!(!answers(&mut w, bad, other), "{how}: {other}");
            }
            // Either side starts anew.
            let known = kept(&w, a);
            w.kill(a, true);
            let shows = mode(certificate("a", 1, 0), known);
            w.kept.insert("a".into(), (identity(1), shows));
            w.restart(a);
            w.kill(bad, false);
            w.restart(bad);
            w.run(secs(10));
            if how == "mesh" {
                w.connect(bad, b);
                w.connect(a, b);
                w.run(secs(5));
            }
            for other in ["a", "b", "c"] {
                assert!(!answers(&mut w, bad, other), "{how}: {other}");
            }
            assert_eq!(served(&w)[1..], before[1..], "{how}");
            assert_eq!(served(&w)[0], 0, "{how}");
            assert!(answers(&mut w, a, "b") && answers(&mut w, b, "c"), "{how}");
            w.check_closed();
        });
    }
}

#[test]
fn calls_of_a_revoked_node_end_and_so_do_those_to_it() {
    let (mut w, [a, _, _, bad]) = four(crate::first_seed(), "lan");
    w.nodes[a].behaviour = crate::world::Behaviour::Hold;
    w.nodes[bad].behaviour = crate::world::Behaviour::Hold;
    let (of_bad, to_bad) = (w.call(bad, "a", secs(600)), w.call(a, "bad", secs(600)));
    w.run(secs(1));
    assert_eq!(w.nodes[a].held.len(), 1);
    w.with(a, |e, now| e.take_list(now, without_bad(1)))
        .unwrap();
    w.run(secs(1));
    assert!(w.result(a, to_bad.unwrap()).unwrap().is_err());
    let (id, _) = w.nodes[a].held.remove(0);
    assert!(!w.nodes[a].engine.is_wanted(id), "its answer goes nowhere");
    w.run(secs(600));
    assert!(w.result(bad, of_bad.unwrap()).unwrap().is_err());
    w.check_closed();
}

#[test]
fn a_node_that_comes_later_is_handed_the_list_before_it_serves_anything() {
    let (mut w, [a, b, c, bad]) = four(crate::first_seed(), "lan");
    w.with(a, |e, now| e.take_list(now, without_bad(1)))
        .unwrap();
    w.run(secs(2));
    // It was flashed anew: its certificate names the list, which it does not have.
    w.kill(b, true);
    let shows = mode(certificate("b", 2, 1), None);
    w.kept.insert("b".into(), (identity(2), shows));
    w.nodes[b].events.clear();
    w.restart(b);
    // For now only the revoked node is there, which says that it has no list.
    for node in [a, c] {
        w.nodes[node].group = 1;
    }
    w.run(secs(10));
    assert!(w.nodes[b].running && !w.reaches(b, "bad"));
    assert!(!answers(&mut w, bad, "b"));
    assert_eq!(distrusts(&w, b, "bad"), [Distrust::OldList]);
    for node in [a, c] {
        w.nodes[node].group = 0;
    }
    w.run(secs(10));
    assert!(answers(&mut w, a, "b") && answers(&mut w, b, "c"));
    assert_eq!(kept(&w, b).map(|list| list.version()), Some(1));
    assert!(!answers(&mut w, bad, "b"));
    assert_eq!(w.nodes[b].engine.stats().served, 1, "that of a");
    w.check_closed();
}

#[test]
fn the_longest_list_gets_through_the_window_of_a_relay_before_calls_do() {
    // The relay holds credit back until half of a window is used, so that it matters how much was
    // sent before.
    for calls in [0, 1, 2, 3, 20] {
        let (mut w, hub) = with_hub(RelayLimits::default());
        w.relays = vec![relay(hub)];
        w.lan = false;
        let hash = |n: usize| {
            let of = NodeName::new(&format!("n{n}")).unwrap();
            let key = identity(3).public_key();
            let signed = super::authority().sign(&super::network(), &of, &key, &[], 0);
            signed.unwrap().hash()
        };
        let hashes: Vec<CertificateHash> = (0..REVOCATIONS_MAX).map(hash).collect();
        let longest = list(7, &hashes);
        let a = add(&mut w, "a", 1, Some(longest));
        let b = add(&mut w, "b", 2, None);
        w.run(secs(5));
        let args = vec![b'x'; 40_000];
        let calls: Vec<_> = (0..calls)
            .map(|_| w.call_with(b, "a", secs(20), &args).unwrap())
            .collect();
        let back = w.call_with(a, "b", secs(20), &args).unwrap();
        w.run(secs(20));
        for call in calls {
            assert!(w.result(b, call).unwrap().is_ok());
        }
        assert!(w.result(a, back).unwrap().is_ok());
        assert_eq!(kept(&w, b).unwrap().len(), REVOCATIONS_MAX);
        // The next one goes over the same route.
        let next = list(8, &hashes[1..]);
        w.with(a, |e, now| e.take_list(now, next)).unwrap();
        w.run(secs(2));
        assert_eq!(kept(&w, b).unwrap().version(), 8);
        assert!(answers(&mut w, b, "a"));
        w.check_closed();
    }
}

#[test]
fn an_older_list_replaces_no_newer_one() {
    let (mut w, [a, b, ..]) = four(crate::first_seed(), "lan");
    w.with(a, |e, now| e.take_list(now, without_bad(3)))
        .unwrap();
    w.run(secs(1));
    assert_eq!(
        w.with(b, |e, now| e.take_list(now, list(2, &[]))),
        Ok(false)
    );
    w.run(secs(1));
    for node in [a, b] {
        assert_eq!(kept(&w, node), Some(without_bad(3)));
    }
    w.check_closed();
}

#[test]
fn whoever_says_that_it_has_a_newer_list_is_not_served_before_it_hands_it_on() {
    let mut w = World::new(crate::first_seed());
    let a = add(&mut w, "a", 1, None);
    w.run(secs(1));
    for calls in [false, true] {
        let mut liar = crate::attacks::member::Member::ask(&mut w, a, "liar", 5);
        liar.shows(&certificate_of_liar("liar"), 5);
        liar.prove(&mut w);
        if calls {
            liar.call(&mut w, 1);
        }
        w.run(if calls { ms(100) } else { secs(60) });
        assert!(w.closed_raw.contains(&liar.wire), "calls: {calls}");
        assert_eq!(w.nodes[a].engine.stats().served, 0);
        assert!(!is_told_of(&w, a, "liar"), "calls: {calls}");
    }
    w.check_closed();
}

/// Whether the program of a node was told that a peer is there.
fn is_told_of(w: &World, node: usize, peer: &str) -> bool {
    let joined = Event::PeerJoined(crate::world::name(peer));
    w.nodes[node].events.contains(&joined)
}

#[test]
fn a_peer_that_is_revoked_by_the_list_that_it_brings_was_never_there() {
    seeds(5, |seed| {
        let mut w = World::new(seed);
        let a = add(&mut w, "a", 1, None);
        // It has the list that revokes it, hands it on, and is out.
        let shows = mode(certificate("bad", 4, 0), Some(without_bad(1)));
        w.kept.insert("bad".into(), (identity(4), shows));
        let bad = w.add("bad");
        w.run(secs(10));
        assert_eq!(kept(&w, a).map(|list| list.version()), Some(1));
        assert!(!w.reaches(a, "bad") && !is_told_of(&w, a, "bad"));
        // One that brings it and is not in it is there, once.
        let c = add(&mut w, "c", 3, Some(without_bad(2)));
        w.run(secs(10));
        assert_eq!(kept(&w, a).map(|list| list.version()), Some(2));
        let joined = Event::PeerJoined(crate::world::name("c"));
        let told = w.nodes[a].events.iter().filter(|event| **event == joined);
        assert_eq!(told.count(), 1);
        assert!(answers(&mut w, c, "a") && !answers(&mut w, bad, "a"));
        w.check_closed();
    });
}

#[test]
fn a_revoked_node_that_lies_about_its_list_does_not_keep_its_replacement_from_its_name() {
    for list in [0, 1, 2, u64::MAX] {
        let mut w = World::new(crate::first_seed());
        // Flashed anew: its certificate names the list, which it has not got.
        let shows = mode(certificate("b", 2, 1), None);
        w.kept.insert("b".into(), (identity(2), shows));
        let b = w.add("b");
        w.run(ms(50));
        assert!(!w.nodes[b].running, "it asks whether its name is taken");
        let mut revoked = crate::attacks::member::Member::ask(&mut w, b, "b", 5);
        revoked.shows(&certificate_of_liar("b"), list);
        revoked.prove(&mut w);
        w.run(secs(3));
        assert!(w.closed_raw.contains(&revoked.wire), "list {list}");
        let failed = &w.nodes[b].failed;
        assert!(w.nodes[b].running, "list {list}: {failed:?}");
        w.check_closed();
    }
}

fn certificate_of_liar(name: &str) -> peerbase::Certificate {
    let key = *crate::forged::credentials(5).key();
    let name = crate::world::name(name);
    super::authority()
        .sign(&super::network(), &name, &key, &[], 0)
        .unwrap()
}

#[test]
fn a_node_is_told_that_its_own_certificate_was_revoked() {
    let (mut w, [a, _, _, bad]) = four(crate::first_seed(), "lan");
    let own = Event::ListTaken {
        version: 1,
        is_own: true,
    };
    w.with(bad, |e, now| e.take_list(now, without_bad(1)))
        .unwrap();
    assert!(w.nodes[bad].events.contains(&own));
    w.run(secs(1));
    assert!(!w.reaches(a, "bad"), "it hands the list on all the same");
    let again: Mode = mode(certificate("bad", 4, 1), Some(without_bad(1)));
    w.kill(bad, false);
    w.kept.insert("bad".into(), (identity(4), again));
    w.restart(bad);
    w.run(secs(5));
    assert!(
        answers(&mut w, bad, "a"),
        "with a new certificate it is in again"
    );
    w.check_closed();
}
