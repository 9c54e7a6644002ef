//! Networks without advertising: one address is enough, and what others tell is only hearsay.

use crate::attacks::Member;
use crate::seeds;
use crate::world::{World, ms, name, secs};
use peerbase::engine::Event;
use peerbase::error::Error;
use peerbase::wire::Instance;
use peerbase::wire::peers::{self, Acquaintance};
use peerbase::wire::record;
use std::net::SocketAddr;
use std::time::Duration;

fn all_reach_all(w: &World, count: usize) -> bool {
    (0..count).all(|a| (0..count).all(|b| a == b || w.reaches(a, &format!("n{b}"))))
}

/// Nodes that do not advertise, of these numbers.
fn quiet(w: &mut World, first: usize, end: usize) {
    w.lan = false;
    for i in first..end {
        w.add(&format!("n{i}"));
    }
    w.run(secs(1));
}

#[test]
fn from_one_address_a_node_finds_everyone() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        quiet(&mut w, 0, 12);
        let first = w.connect(1, 0);
        w.run(secs(1));
        assert_eq!(w.result(1, first), Some(&Ok(b"n0".to_vec())));
        for i in 2..12 {
            let to = w.rng.below(i as u64) as usize;
            w.connect(i, to);
        }
        w.run_until(secs(60), |w| all_reach_all(w, 12));
        let n = w.call(3, "n9", secs(1)).unwrap();
        w.run(ms(50));
        assert!(w.result(3, n).unwrap().is_ok());
        w.check_closed();
    });
}

#[test]
fn nodes_that_dial_one_hub_learn_of_each_other_though_the_hub_dials_nobody() {
    seeds(10, |seed| {
        for hub_advertises in [false, true] {
            let mut w = World::new(seed);
            w.lan = hub_advertises;
            w.add("n0");
            quiet(&mut w, 1, 6);
            for i in 1..6 {
                w.connect(i, 0);
            }
            w.run_until(secs(10), |w| all_reach_all(w, 6));
            let late = w.add("n6");
            w.run(secs(1));
            w.connect(late, 0);
            w.run_until(secs(10), |w| all_reach_all(w, 7));
            assert_eq!(w.nodes[0].dialled, [], "the hub has only accepted");
            w.check_closed();
        }
    });
}

#[test]
fn only_so_many_are_dialled_on_others_word() {
    let mut w = World::new(crate::first_seed());
    w.limits.max_peers = 4;
    quiet(&mut w, 0, 12);
    for i in 1..12 {
        w.connect(i, 0);
    }
    w.run(secs(120));
    let reached = |w: &World, node: usize| {
        let peers = w.nodes[node].engine.peers(w.clock_of(node));
        peers.iter().filter(|p| p.reachable).count()
    };
    assert_eq!(reached(&w, 0), 11, "who dials is let in");
    // Others may have been let in as well, but nobody went out for more.
    let links: usize = (1..12).map(|n| reached(&w, n)).sum();
    assert!(links <= 11 + 11 * 8, "{links}");
    w.check_closed();
}

#[test]
fn an_address_where_nobody_is_is_an_error_and_one_that_comes_back_is_found_again() {
    let mut w = World::new(crate::first_seed());
    quiet(&mut w, 0, 2);
    let nobody: SocketAddr = "10.77.0.1:7".parse().unwrap();
    let n = w.with(0, |e, now| e.connect(now, nobody, secs(3))).unwrap();
    w.run(secs(4));
    let unreachable = Error::Unreachable(nobody.to_string());
    assert_eq!(w.result(0, n), Some(&Err(unreachable)));
    let dials = w.nodes[0].engine.stats().dials;
    assert!(dials <= 10, "ever longer pauses: {dials}");
    w.run(secs(60));
    assert_eq!(w.nodes[0].engine.stats().dials, dials, "given up");
    for bad in ["0.0.0.0:7", "10.0.0.1:0", "224.0.0.1:7"] {
        let e = w.with(0, |e, now| e.connect(now, bad.parse().unwrap(), secs(3)));
        assert_eq!(e, Err(Error::Address(bad.into())));
    }
    w.connect(0, 1);
    w.run(secs(1));
    assert!(w.reaches(0, "n1"));
    let ping = w.nodes[0].engine.peers(w.clock_of(0))[0].ping.unwrap();
    assert!(ping.ago <= secs(1) && ping.round_trip <= ms(20));
    w.kill(1, true);
    w.run(secs(22));
    assert!(!w.knows(0, "n1"), "dead after the dead time");
    assert!(w.nodes[0].events.contains(&Event::PeerLeft(name("n1"))));
    w.restart(1);
    w.run_until(secs(30), |w| w.reaches(0, "n1") && w.reaches(1, "n0"));
    w.check_closed();
}

#[test]
fn a_node_that_dials_itself_or_is_stopped_while_it_dials_hears_of_it() {
    let mut w = World::new(crate::first_seed());
    quiet(&mut w, 0, 2);
    let own = w.connect(0, 0);
    w.run(secs(21));
    assert!(matches!(w.result(0, own), Some(Err(Error::Unreachable(_)))));
    w.nodes[1].group = 1;
    let waiting = w.connect(0, 1);
    w.run(secs(1));
    w.stop(0);
    assert_eq!(w.result(0, waiting), Some(&Err(Error::Stopped)));
    w.check_closed();
}

#[test]
fn a_member_that_invents_peers_costs_a_few_dials() {
    let mut w = World::new(crate::first_seed());
    quiet(&mut w, 0, 2);
    w.connect(1, 0);
    w.run(secs(1));
    let mut m = Member::join(&mut w, 0, "m");
    let invent = |from: u32, address: &dyn Fn(u32) -> String| {
        let list: Vec<Acquaintance> = (from..from + 64)
            .map(|i| {
                let mut id = [9; 16];
                id[..4].copy_from_slice(&i.to_be_bytes());
                Acquaintance {
                    instance: Instance(id),
                    name: name(&format!("x{i}")),
                    address: address(i).parse().unwrap(),
                }
            })
            .collect();
        let mut body = Vec::new();
        peers::encode(&list, &mut body);
        body
    };
    let before = w.nodes[0].engine.stats();
    for i in 0..100 {
        let body = invent(i * 64, &|i| format!("10.88.{}.{}:9", i >> 8 & 255, i & 255));
        m.send(&mut w, |s, out| record::encode_peers(s, &body, out));
    }
    w.run(secs(5));
    let stats = w.nodes[0].engine.stats();
    assert!(stats.peers <= before.peers + 1 + 32, "{}", stats.peers);
    assert!(stats.dials - before.dials <= 32 * 8, "{}", stats.dials);
    assert!(stats.hearsay_dropped >= 6_000);
    assert!(
        !w.knows(0, "x0"),
        "a list of peers holds nobody's inventions"
    );
    // Not at this host, for somebody who is not on it.
    let dials = w.nodes[1].engine.stats().dials;
    let mut m = Member::join(&mut w, 1, "m2");
    let bad = [
        "127.0.0.1:22",
        "0.0.0.0:9",
        "10.0.0.1:0",
        "239.1.1.1:9",
        "255.255.255.255:9",
        "169.254.169.254:80",
        "[::1]:22",
        "[::ffff:127.0.0.1]:22",
        "[ff02::1]:9",
    ];
    for address in bad {
        let body = invent(0, &|_| address.to_owned());
        m.send(&mut w, |s, out| record::encode_peers(s, &body, out));
    }
    w.run(secs(5));
    let stats = w.nodes[1].engine.stats();
    assert!(stats.dials - dials <= 2, "m and n0, if at all");
    let dialled = &w.nodes[1].dialled;
    assert!(bad.iter().all(|a| !dialled.contains(&a.parse().unwrap())));
    assert_eq!(stats.addresses_refused, 64 * bad.len() as u64);
    w.run(secs(60));
    assert!(w.nodes[0].engine.stats().peers <= 3, "hearsay is forgotten");
    w.check_closed();
}

#[test]
fn an_address_where_a_session_is_refused_at_once_is_dialled_again() {
    let mut w = World::new(crate::first_seed());
    quiet(&mut w, 0, 1);
    // Somebody of its own name is there.
    let there = w.add("n0");
    w.run(secs(1));
    let n = w.connect(0, there);
    w.run(secs(10));
    let dials = w.nodes[0].dialled.len();
    assert!((2..=12).contains(&dials), "ever longer pauses: {dials}");
    // Then somebody else.
    w.kill(there, false);
    let other = w.add("n1");
    w.nodes[other].address = w.nodes[there].address;
    w.run(secs(9));
    assert_eq!(w.result(0, n), Some(&Ok(b"n1".to_vec())));
    w.check_closed();
}

/// How many sessions a node makes in this time.
fn sessions_made_in(w: &mut World, node: usize, time: Duration) -> u64 {
    let sessions = |w: &World| w.nodes[node].engine.stats().sessions;
    let before = sessions(w);
    w.run(time);
    sessions(w) - before
}

#[test]
fn a_node_with_more_addresses_than_sessions_does_not_dial_them_in_turns() {
    let mut w = World::new(crate::first_seed());
    w.limits.sessions = 8;
    quiet(&mut w, 0, 1);
    w.limits = Default::default();
    quiet(&mut w, 1, 13);
    for i in 1..13 {
        w.connect(0, i);
    }
    w.run(secs(30));
    let made = sessions_made_in(&mut w, 0, secs(300));
    assert!(made <= 20, "{made} sessions in five minutes");
    // Whatever is wanted is reached, and what is free is used.
    for _ in 0..3 {
        for i in 1..13 {
            w.assert_answered(0, &format!("n{i}"));
        }
    }
    for i in 1..8 {
        w.kill(i, false);
    }
    w.run(secs(20));
    for i in 8..13 {
        assert!(w.reaches(0, &format!("n{i}")));
    }
    w.check_closed();
}

#[test]
fn a_node_that_more_dial_than_it_has_sessions_is_left_alone_for_ever_longer() {
    let mut w = World::new(crate::first_seed());
    w.limits.sessions = 4;
    quiet(&mut w, 0, 1);
    w.limits = Default::default();
    quiet(&mut w, 1, 10);
    for i in 1..10 {
        w.connect(i, 0);
    }
    w.run(secs(600));
    let made = sessions_made_in(&mut w, 0, secs(600));
    assert!(made <= 100, "{made} sessions in ten minutes");
    for i in 1..10 {
        w.assert_answered(i, "n0");
    }
    w.check_closed();
}
