//! Messages for everyone, over chains and rings and whatever else: once each, and reported.

use crate::attacks::Member;
use crate::attacks::member::FIRST;
use crate::forged::said;
use crate::pairs::{met, met_with, unharmed};
use crate::seeds;
use crate::world::{World, ms, name, secs};
use peerbase::engine::CallNumber;
use peerbase::wire::ask::{AskRef, BroadcastRef};
use peerbase::wire::record::{self, Body, Status};
use peerbase::wire::report::{self, Report};

/// Nodes that do not advertise, and who dials whom.
fn graph(w: &mut World, count: usize, edges: &[(usize, usize)]) {
    w.lan = false;
    w.limits.max_peers = 0;
    for i in 0..count {
        w.add(&format!("n{i}"));
    }
    w.run(secs(1));
    for (a, b) in edges {
        w.connect(*a, *b);
    }
    w.run(secs(2));
}

fn report(w: &World, node: usize, n: CallNumber) -> Report {
    let body = w.result(node, n).expect("reported").as_ref().unwrap();
    report::decode(body).unwrap()
}

fn heard(w: &World, data: &[u8]) -> Vec<usize> {
    let of = |n: &crate::world::Node| n.told.iter().filter(|(_, d)| d == data).count();
    w.nodes.iter().map(of).collect()
}

#[test]
fn everyone_on_a_chain_a_ring_and_a_tree_is_told_once() {
    let chain: Vec<_> = (0..19).map(|i| (i, i + 1)).collect();
    let ring: Vec<_> = (0..20).map(|i| (i, (i + 1) % 20)).collect();
    let tree: Vec<_> = (1..20).map(|i| (i, i / 2)).collect();
    for edges in [chain, ring, tree] {
        let mut w = World::new(crate::first_seed());
        graph(&mut w, 20, &edges);
        for from in [0, 7] {
            let data = format!("from {from}").into_bytes();
            let n = w.broadcast(from, &data);
            w.run(secs(3));
            let mut expected = vec![1; 20];
            expected[from] = 0;
            assert_eq!(heard(&w, &data), expected);
            let sum = Report {
                delivered: 19,
                ..Report::default()
            };
            assert_eq!(report(&w, from, n), sum);
        }
        w.check_closed();
    }
}

#[test]
fn while_links_break_nobody_is_told_twice_and_who_was_not_is_reported() {
    seeds(20, |seed| {
        let mut w = World::new(seed);
        let count = 16;
        let mut edges: Vec<_> = (1..count)
            .map(|i| (i, w.rng.below(i as u64) as usize))
            .collect();
        for _ in 0..8 {
            let (a, b) = (w.rng.below(16) as usize, w.rng.below(16) as usize);
            if a != b {
                edges.push((a, b));
            }
        }
        graph(&mut w, count, &edges);
        let mut said = Vec::new();
        for i in 0..10 {
            let from = w.rng.below(16) as usize;
            let data = format!("{i}").into_bytes();
            said.push((from, w.broadcast(from, &data), data));
            w.pause(10);
            let broken = w.rng.below(16) as usize;
            w.break_links(broken);
            w.pause(200);
        }
        w.run(secs(30));
        for (from, n, data) in said {
            let counts = heard(&w, &data);
            assert!(counts.iter().all(|c| *c <= 1), "{counts:?}");
            assert_eq!(counts[from], 0);
            let told = counts.iter().filter(|c| **c == 1).count();
            let report = report(&w, from, n);
            assert!(report.delivered as usize <= told);
            if report.failed == 0 {
                assert_eq!(told, count - 1, "all, or it is reported");
                assert_eq!(report.delivered as usize, told);
            }
        }
        w.check_closed();
    });
}

#[test]
fn who_has_died_is_reported_by_name_and_the_others_are_told() {
    let mut w = World::new(crate::first_seed());
    graph(&mut w, 4, &[(0, 1), (1, 2), (1, 3)]);
    w.kill(2, true);
    let n = w.broadcast(0, b"hello");
    w.run(secs(25));
    let report = report(&w, 0, n);
    assert_eq!((report.delivered, report.failed), (2, 1));
    assert_eq!(report.names, [crate::world::name("n2")]);
    assert_eq!(heard(&w, b"hello"), [0, 1, 0, 1]);
    w.check_closed();
}

#[test]
fn a_chain_longer_than_any_network_is_cut_and_that_is_reported() {
    let mut w = World::new(crate::first_seed());
    let edges: Vec<_> = (0..39).map(|i| (i, i + 1)).collect();
    graph(&mut w, 40, &edges);
    let n = w.broadcast(0, b"far");
    w.run(secs(5));
    let report = report(&w, 0, n);
    let told = heard(&w, b"far").iter().sum::<usize>();
    assert_eq!(told, usize::from(peerbase::limits::BROADCAST_HOPS));
    assert!(report.cut && report.delivered as usize == told);
    w.check_closed();
}

#[test]
fn on_one_lan_and_through_relays_too() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = w.two_lans(1);
    let c = w.add("c");
    w.run_until(secs(5), |w| w.reaches(a, "b") && w.reaches(c, "b"));
    w.run(secs(2));
    let large: Vec<u8> = (0..300_000).map(|i| i as u8).collect();
    let n = w.broadcast(a, &large);
    w.run(secs(5));
    assert_eq!(report(&w, a, n).delivered, 2);
    assert!(w.nodes[b].told[0].1 == large && w.nodes[c].told[0].1 == large);
    w.check_closed();
}

#[test]
fn a_member_that_repeats_invents_and_floods_is_bounded() {
    let (mut w, a, b) = met();
    let mut m = Member::join(&mut w, a, "m");
    let say = |w: &mut World, m: &mut Member, call: u64, origin: u64, number: u64, sender: &str| {
        m.hand_on(w, call, (origin, sender), (number, 200, 5_000), b"x");
    };
    for call in 0..50 {
        say(&mut w, &mut m, call, 1, 7, "x");
    }
    w.run(secs(2));
    assert_eq!(heard(&w, b"x"), [1, 1], "fifty times the same is once");
    say(&mut w, &mut m, 60, 1, 8, "a.bad|name");
    w.run(secs(2));
    assert_eq!(heard(&w, b"x"), [1, 1]);
    for call in 100..1_000 {
        say(&mut w, &mut m, call, 2, call, "x");
    }
    w.run(ms(900));
    let told = heard(&w, b"x")[1];
    let per_second = w.limits.broadcasts_per_second as usize;
    assert!(told <= 1 + 2 * per_second, "{told}");
    w.run(secs(10));
    unharmed(&mut w, a, b);
    w.run(secs(20));
    w.check_closed();
}

/// A member hands on what one of many others has said.
fn say_as(w: &mut World, m: &mut Member, call: u64, (origin, number): (u64, u64)) {
    m.hand_on(w, call, (origin, "x"), (number, 9, 5_000), b"x");
}

#[test]
fn what_its_origin_has_not_said_ends_the_session_and_is_heard_by_nobody() {
    let forge: [&dyn Fn(&mut BroadcastRef<'_>); 5] = [
        &|b| b.data = b"forged",
        &|b| b.sender = "b",
        &|b| b.number = 1,
        &|b| b.start = &[8; 16],
        &|b| b.signature = &[8; 64],
    ];
    for forge in forge {
        let (mut w, a, b) = met();
        let mut m = Member::join(&mut w, a, "m");
        let broadcast = |data: &'static [u8],
                         forge: &dyn Fn(&mut BroadcastRef<'_>),
                         m: &mut Member,
                         w: &mut World| {
            said((5, "x"), (0, 9), data, |mut broadcast| {
                forge(&mut broadcast);
                let ask = AskRef::Broadcast(broadcast);
                m.send(w, |s, out| {
                    record::encode_call(s, (1, FIRST), 5_000, &[], &ask, out)
                });
            });
        };
        broadcast(b"said", forge, &mut m, &mut w);
        w.run(secs(1));
        assert!(m.is_closed(&w));
        let told = |w: &World| [a, b].map(|n| w.nodes[n].told.len());
        assert_eq!(told(&w), [0, 0]);
        // The origin's own word with that number still comes through.
        let mut honest = Member::join(&mut w, a, "n");
        broadcast(b"said", &|_| {}, &mut honest, &mut w);
        w.run(secs(1));
        assert_eq!(told(&w), [1, 1]);
        assert_eq!(w.nodes[b].told[0], (name("x"), b"said".to_vec()));
        unharmed(&mut w, a, b);
    }
}

#[test]
fn what_was_turned_away_over_the_rate_is_heard_when_it_comes_again() {
    let (mut w, a, b) = met_with(|w| w.limits.broadcasts_per_second = 13);
    let mut m = Member::join(&mut w, a, "m");
    for number in 0..20 {
        say_as(&mut w, &mut m, number, (1, number));
    }
    w.run(ms(500));
    assert_eq!(
        heard(&w, b"x"),
        [10, 10],
        "as many as one may have in a second"
    );
    w.run(secs(1));
    for number in 0..20 {
        say_as(&mut w, &mut m, 100 + number, (1, number));
    }
    w.run(ms(500));
    assert_eq!(heard(&w, b"x"), [20, 20], "each once");
    w.run(secs(10));
    unharmed(&mut w, a, b);
}

#[test]
fn origins_that_a_member_invents_silence_nobody() {
    let (mut w, a, b) = met();
    let mut m = Member::join(&mut w, a, "m");
    for i in 0..1_500 {
        say_as(&mut w, &mut m, i, (i, 0));
        w.run(ms(7));
    }
    assert_eq!(heard(&w, b"x"), [1_500, 1_500]);
    let n = w.broadcast(b, b"honest");
    w.run(secs(1));
    assert_eq!(heard(&w, b"honest"), [1, 0]);
    let late = w.add("late");
    w.run(secs(1));
    w.broadcast(late, b"new");
    w.run(secs(1));
    assert_eq!(heard(&w, b"new"), [1, 1, 0]);
    // The member itself answers nothing.
    w.run(secs(25));
    assert_eq!(report(&w, b, n).delivered, 1);
    w.stop(late);
    unharmed(&mut w, a, b);
}

#[test]
fn a_large_message_reaches_more_peers_than_there_is_room_to_ask_at_a_time() {
    let mut w = World::new(crate::first_seed());
    w.limits.call_bytes = 100_000;
    let star: Vec<_> = (1..13).map(|i| (i, 0)).collect();
    graph(&mut w, 13, &star);
    let data = vec![b'x'; 30_000];
    for from in [0, 5] {
        let n = w.broadcast(from, &data);
        w.run(secs(3));
        let sum = Report {
            delivered: 12,
            ..Report::default()
        };
        assert_eq!(report(&w, from, n), sum);
    }
    assert!(heard(&w, &data).iter().all(|times| *times >= 1));
    // A program that stops does not go on asking.
    let n = w
        .with(0, |e, now| e.broadcast(now, &data, secs(20)))
        .unwrap();
    w.with(0, |e, now| e.begin_stop(now));
    assert_eq!(report(&w, 0, n).failed, 12);
    assert_eq!(w.nodes[0].engine.stats().calls_open, 0);
    w.check_closed();
}

#[test]
fn a_peers_report_that_cannot_be_counts_as_no_answer() {
    let (mut w, a, b) = met();
    let mut m = Member::join(&mut w, a, "m");
    let n = w.broadcast(a, b"hello");
    w.run(ms(100));
    let mut asked = None;
    m.hear(&w, |body| {
        if let Body::Call { number, .. } = body {
            asked = Some(*number);
        }
    });
    let lie = Report {
        delivered: u32::MAX,
        failed: 0,
        names: vec![crate::world::name("nobody")],
        cut: true,
    };
    let mut body = Vec::new();
    lie.encode(&mut body);
    m.send(&mut w, |s, out| {
        record::encode_reply(s, asked.unwrap(), Status::Value, &body, out)
    });
    w.run(ms(100));
    let sum = report(&w, a, n);
    assert_eq!((sum.delivered, sum.failed, sum.cut), (1, 1, false));
    assert_eq!(sum.names, [crate::world::name("m")]);
    w.run(secs(20));
    unharmed(&mut w, a, b);
}
