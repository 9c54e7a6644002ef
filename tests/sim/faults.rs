//! Losing datagrams, links, nodes and halves of the network, and finding them again.

use crate::attacks::Member;
use crate::seeds;
use crate::world::{Behaviour, World, ms, name, secs, terms};
use peerbase::engine::{Ask, Event, Terms};
use peerbase::error::Error;

#[test]
fn two_nodes_find_each_other_within_50_ms_of_taking_part() {
    seeds(20, |seed| {
        let mut w = World::new(seed);
        let a = w.add("a");
        w.run(secs(3));
        let b = w.add("b");
        w.run_until(secs(1), |w| w.nodes[b].running);
        let took = w.run_until(secs(1), |w| w.reaches(a, "b") && w.reaches(b, "a"));
        assert!(took < ms(50), "{took:?}");
        let n = w.call(b, "a", secs(1)).unwrap();
        w.run(ms(20));
        assert_eq!(w.result(b, n), Some(&Ok(b"a".to_vec())));
        assert_eq!(w.nodes[a].events, [Event::PeerJoined(name("b"))]);
        w.check_closed();
    });
}

#[test]
fn a_call_waits_for_a_name_that_is_not_known_yet() {
    let mut w = World::new(crate::first_seed());
    let a = w.add("a");
    let early = w.call(a, "b", secs(5)).unwrap();
    let never = w.call(a, "c", secs(2)).unwrap();
    w.run(secs(1));
    w.add("b");
    w.run(secs(4));
    assert_eq!(w.result(a, early), Some(&Ok(b"b".to_vec())));
    assert_eq!(
        w.result(a, never),
        Some(&Err(Error::Unreachable("c".into())))
    );
    w.check_closed();
}

#[test]
fn a_dying_link_is_replaced_and_no_call_runs_twice_or_is_lost() {
    seeds(20, |seed| {
        let mut w = World::new(seed);
        let (a, b) = (w.add("a"), w.add("b"));
        w.nodes[b].behaviour = Behaviour::Hold;
        w.run(secs(1));
        let calls: Vec<_> = (0..64).map(|_| w.call(a, "b", secs(20)).unwrap()).collect();
        w.run(ms(1));
        for _ in 0..5 {
            w.break_links(a);
            let pause = w.rng.below(300);
            w.run(ms(pause));
            w.answer_all(b);
        }
        w.run(secs(3));
        w.answer_all(b);
        w.run(secs(3));
        for n in calls {
            assert_eq!(w.result(a, n), Some(&Ok(b"b".to_vec())));
        }
        w.check_closed();
    });
}

#[test]
fn peer_restarted_under_same_name_is_new_at_once() {
    seeds(20, |seed| {
        for power_cut in [false, true] {
            let mut w = World::new(seed);
            let (a, b) = (w.add("a"), w.add("b"));
            w.nodes[b].behaviour = Behaviour::Hold;
            w.run(secs(2));
            let lost = w.call(a, "b", secs(20)).unwrap();
            w.run(ms(20));
            assert_eq!(
                w.nodes[b].held.len(),
                1,
                "the call has reached the first instance"
            );
            w.kill(b, power_cut);
            w.restart(b);
            w.nodes[b].behaviour = Behaviour::Echo;
            w.run_until(secs(2), |w| w.nodes[b].running);
            w.run(ms(50));
            let next = w.call(a, "b", secs(1)).unwrap();
            w.run(ms(50));
            assert_eq!(w.result(a, next), Some(&Ok(b"b".to_vec())));
            // The old instance is given a second to prove that it lives.
            w.run(secs(2));
            assert_eq!(w.result(a, lost), Some(&Err(Error::PeerRestarted)));
            let joined = Event::PeerJoined(name("b"));
            assert_eq!(w.nodes[a].events, [joined, Event::PeerRestarted(name("b"))]);
            w.check_closed();
        }
    });
}

#[test]
fn a_killed_peer_is_noticed_and_a_leaving_one_at_once() {
    let mut w = World::new(crate::first_seed());
    let (a, b, c) = (w.add("a"), w.add("b"), w.add("c"));
    w.nodes[b].behaviour = Behaviour::Hold;
    w.run(secs(2));
    let lost = w.call(a, "b", secs(30)).unwrap();
    w.run(ms(20));
    w.kill(b, true);
    w.stop(c);
    w.run(ms(50));
    assert!(!w.knows(a, "c"));
    assert!(
        w.knows(a, "b"),
        "a session is not given up for a few missing adverts"
    );
    w.run(secs(21));
    assert!(!w.knows(a, "b"));
    assert_eq!(
        w.result(a, lost),
        Some(&Err(Error::Unreachable("b".into())))
    );
    assert_eq!(
        w.nodes[a]
            .events
            .iter()
            .filter(|e| matches!(e, Event::PeerLeft(_)))
            .count(),
        2
    );
    w.check_closed();
}

#[test]
fn a_node_that_ends_within_its_first_moments_is_in_nobodys_list() {
    seeds(5, |seed| {
        let mut w = World::new(seed);
        let (a, b) = (w.add("a"), w.add("b"));
        w.run(secs(2));
        // While it asks for its name, when it has just got it, and when it is met.
        for i in 0..60 {
            let brief = format!("brief{i}");
            let c = w.add(&brief);
            w.run(ms(i * 8));
            w.stop(c);
            w.run(ms(10));
            assert!(!w.knows(a, &brief) && !w.knows(b, &brief), "{i}");
            w.run(secs(1));
            assert!(!w.knows(a, &brief) && !w.knows(b, &brief), "{i}");
        }
        w.run(secs(5));
        assert_eq!(w.nodes[a].engine.stats().peers, 1);
        w.check_closed();
    });
}

#[test]
fn a_call_to_one_that_leaves_before_it_was_met_ends_at_once() {
    let mut w = World::new(crate::first_seed());
    // The other one dials, but only after a while.
    w.limits.dials = 0;
    let (a, b) = (w.add("a"), w.add("b"));
    w.run(secs(2));
    assert!(w.knows(a, "b") && !w.reaches(a, "b"));
    let terms = Terms {
        wait: false,
        ..terms(secs(20))
    };
    let ask = Ask::Message(b"hello".to_vec());
    let n = w.with(a, |e, now| e.call(now, &name("b"), ask, terms));
    w.stop(b);
    w.run(ms(10));
    let gone = Error::Unreachable("b".into());
    assert_eq!(w.result(a, n.unwrap()), Some(&Err(gone)));
    w.check_closed();
}

#[test]
fn what_was_said_before_a_goodbye_is_old_news_after_it() {
    let mut w = World::new(crate::first_seed());
    let a = w.add("a");
    w.run(secs(2));
    w.recorded = Some(Vec::new());
    let c = w.add("c");
    w.run(ms(340));
    w.stop(c);
    w.run(ms(10));
    let recorded = w.recorded.take().unwrap();
    let dialled = w.nodes[a].dialled.len();
    for _ in 0..10 {
        for bytes in &recorded {
            w.raw_datagram(a, "10.0.0.2:3334".parse().unwrap(), bytes);
            w.run(ms(20));
            assert!(!w.knows(a, "c"));
        }
    }
    assert_eq!(w.nodes[a].dialled.len(), dialled);
    w.run(secs(10));
    assert_eq!(w.nodes[a].engine.stats().peers, 0);
    w.check_closed();
}

#[test]
fn simultaneous_dialling_leaves_one_session_and_loses_no_call() {
    seeds(1_000, |seed| {
        let mut w = World::new(seed);
        let (a, b) = (w.add("a"), w.add("b"));
        w.run_until(secs(1), |w| w.knows(a, "b") && w.knows(b, "a"));
        // Both want it now, whoever would have yielded.
        let (x, y) = (
            w.call(a, "b", secs(5)).unwrap(),
            w.call(b, "a", secs(5)).unwrap(),
        );
        w.run(secs(2));
        assert_eq!(w.result(a, x), Some(&Ok(b"b".to_vec())));
        assert_eq!(w.result(b, y), Some(&Ok(b"a".to_vec())));
        assert_eq!(
            (
                w.nodes[a].engine.stats().links,
                w.nodes[b].engine.stats().links
            ),
            (1, 1)
        );
    });
}

#[test]
fn a_thousand_nodes_starting_together_find_each_other_within_their_budget() {
    let mut w = World::new(crate::first_seed());
    // Dialling half a million pairs is not the point here.
    w.limits.dials = 0;
    let count = 1_000;
    for i in 0..count {
        w.add(&format!("n{i}"));
        w.run(ms(1));
    }
    let everyone = |w: &World| w.nodes.iter().all(|n| n.engine.stats().peers == count - 1);
    let mut waited = 0;
    while !everyone(&w) {
        w.run(ms(100));
        waited += 1;
        assert!(waited < 30, "not all found all");
    }
    let budget = u64::from(w.limits.adverts_per_interval);
    for node in &w.nodes {
        // Each interval begun, and the three adverts of probing.
        assert!(
            node.broadcasts <= budget * (w.now.as_secs() + 1) + 3,
            "{} adverts",
            node.broadcasts
        );
    }
    w.check_closed();
}

#[test]
fn a_node_that_restarts_every_second_for_an_hour_makes_no_table_grow() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = (w.add("a"), w.add("b"));
    w.run(secs(1));
    w.restart_every_second(b, a, 3_600);
    w.run(secs(5));
    let s = w.nodes[a].engine.stats();
    assert!(
        s.peers <= 2 && s.links <= 2 && s.calls_open == 0 && s.serving == 0,
        "{s:?}"
    );
    w.check_closed();
}

#[test]
fn a_suspended_machine_finds_its_peers_again() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = (w.add("a"), w.add("b"));
    w.run(secs(2));
    w.sleep_node(b, secs(3_600));
    w.run(secs(20));
    let n = w.call(b, "a", secs(5)).unwrap();
    let m = w.call(a, "b", secs(5)).unwrap();
    w.run(secs(6));
    assert!(w.result(b, n).unwrap().is_ok() && w.result(a, m).unwrap().is_ok());
    w.check_closed();
}

#[test]
fn the_wall_clock_may_jump_by_years() {
    let mut w = World::new(crate::first_seed());
    let (a, _b) = (w.add("a"), w.add("b"));
    w.run(secs(2));
    let sessions = w.nodes[a].engine.stats().sessions;
    for unix in [0, 4_000_000_000, 60] {
        w.unix = unix;
        w.run(secs(5));
        let n = w.call(a, "b", secs(2)).unwrap();
        w.run(secs(1));
        assert!(w.result(a, n).unwrap().is_ok());
    }
    assert_eq!(
        w.nodes[a].engine.stats().sessions,
        sessions,
        "no session was lost"
    );
    let late = w.add("late");
    w.run(secs(2));
    assert!(w.reaches(late, "a") && w.reaches(late, "b"));
    w.check_closed();
}

#[test]
fn an_advertised_network_of_only_some_hearing_each_other_still_connects() {
    // b hears a, a does not hear b: the side that knows dials.
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let (a, b) = (w.add("a"), w.add("b"));
        w.nodes[b].group = 0;
        w.loss = 70;
        w.run(secs(20));
        let n = w.call(a, "b", secs(10)).unwrap();
        w.run(secs(10));
        assert!(w.result(a, n).unwrap().is_ok());
        w.check_closed();
    });
}

#[test]
fn two_hundred_nodes_under_every_fault_keep_the_promises() {
    seeds(2, |seed| {
        let mut w = World::new(seed);
        w.loss = 5;
        w.delay = (ms(0), ms(20));
        let count = 200;
        for i in 0..count {
            let n = w.add(&format!("n{i}"));
            w.nodes[n].behaviour = Behaviour::Erratic;
        }
        w.run(secs(3));
        for _ in 0..40 {
            for _ in 0..60 {
                let (from, to) = (w.rng.below(count) as usize, w.rng.below(count));
                let timeout = ms(w.rng.below(8_000));
                if w.nodes[from].up
                    && let Some(n) = w.call(from, &format!("n{to}"), timeout)
                    && w.rng.chance(5)
                {
                    w.cancel(from, n);
                }
            }
            let victim = w.rng.below(count) as usize;
            match w.rng.below(6) {
                0 => w.break_links(victim),
                1 if w.nodes[victim].up => {
                    let power_cut = w.rng.chance(50);
                    w.kill(victim, power_cut);
                }
                2 => (0..count as usize)
                    .filter(|i| i % 3 == 0)
                    .for_each(|i| w.nodes[i].group = 1),
                3 => w.nodes.iter_mut().for_each(|n| n.group = 0),
                4 => (0..count as usize).for_each(|i| {
                    if !w.nodes[i].up {
                        w.restart(i);
                    }
                }),
                _ => {}
            }
            let pause = w.rng.below(1_000);
            w.run(ms(pause));
        }
        w.nodes.iter_mut().for_each(|n| n.group = 0);
        w.run(secs(30));
        let ok = w.ends.values().filter(|r| r.is_ok()).count();
        assert!(ok > 500, "only {ok} calls came through");
        // Every value is the answer to what was asked.
        w.check_closed();
    });
}

#[test]
fn a_call_forgotten_while_its_caller_slept_is_not_run_again() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = (w.add("a"), w.add("b"));
    w.nodes[b].behaviour = Behaviour::Hold;
    w.run(secs(2));
    let n = w.call(a, "b", secs(10)).unwrap();
    w.run(ms(20));
    // The caller's clock stands still; the world would notice a second run.
    w.freeze_node(a, secs(60));
    w.run(secs(9));
    assert!(
        matches!(w.result(a, n), Some(Err(_))),
        "{:?}",
        w.result(a, n)
    );
    w.check_closed();
}

#[test]
fn nor_is_it_when_a_thousand_others_left_calls_meanwhile_and_others_calls_may_come_again() {
    let mut w = World::new(crate::first_seed());
    let (a, b, c) = (w.add("a"), w.add("b"), w.add("c"));
    w.nodes[b].behaviour = Behaviour::Hold;
    w.run(secs(2));
    let n = w.call(a, "b", secs(10)).unwrap();
    w.run(ms(20));
    w.freeze_node_while(a, |w| {
        w.run(secs(11));
        for i in 0..1_100 {
            let mut m = Member::join_as(w, b, &format!("m{i}"), i);
            m.call_for(w, 1, 10);
            w.run(ms(15));
            m.part(w);
        }
        w.run(secs(1));
    });
    // The world would notice a second run.
    w.run(secs(9));
    assert!(
        matches!(w.result(a, n), Some(Err(Error::Refused(_)))),
        "{:?}",
        w.result(a, n)
    );
    // One that never left a call behind loses its path with calls on it, which find another.
    w.answer_all(b);
    w.nodes[b].behaviour = Behaviour::Echo;
    let before = w.nodes[c].engine.stats().calls_retried;
    for _ in 0..10 {
        let n = w.call(c, "b", secs(5)).unwrap();
        w.break_links(c);
        w.run(secs(2));
        assert!(w.result(c, n).unwrap().is_ok(), "{:?}", w.result(c, n));
    }
    assert!(w.nodes[c].engine.stats().calls_retried > before);
    w.check_closed();
}

#[test]
fn every_one_of_65_536_calls_to_a_peer_that_dies_ends_and_others_are_answered() {
    let mut w = World::new(crate::first_seed());
    w.limits.served_per_peer = 100_000;
    w.limits.served = 1_000_000;
    w.limits.message_bytes = 1 << 30;
    let (a, b, c) = (w.add("a"), w.add("b"), w.add("c"));
    w.nodes[b].behaviour = Behaviour::Hold;
    w.run(secs(2));
    let calls: Vec<_> = (0..w.limits.calls - 1)
        .map(|_| w.call(a, "b", secs(600)).unwrap())
        .collect();
    w.run(secs(1));
    assert_eq!(w.nodes[b].held.len(), calls.len());
    w.kill(b, true);
    for _ in 0..20 {
        w.assert_answered(a, "c");
    }
    for n in calls {
        assert!(matches!(w.result(a, n), Some(Err(Error::Unreachable(_)))));
    }
    assert_eq!(w.nodes[a].engine.stats().calls_open, 0);
    w.assert_answered(c, "a");
    w.check_closed();
}
