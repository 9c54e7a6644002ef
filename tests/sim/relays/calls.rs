//! Calls through relays that die, lie, or carry more than a reader takes.

use super::{path, through};
use crate::hubs::{Malice, relay};
use crate::seeds;
use crate::world::{Behaviour, World, ms, name, secs};
use peerbase::engine::Event;
use peerbase::error::Error;
use peerbase::relay::hub::Config;

#[test]
fn calls_in_flight_survive_their_relay_and_run_once() {
    seeds(20, |seed| {
        for power_cut in [false, true] {
            let mut w = World::new(seed);
            let (a, b) = w.two_lans(2);
            w.nodes[b].behaviour = Behaviour::Hold;
            w.run_until(secs(3), |w| w.reaches(a, "b"));
            w.run(secs(1));
            let calls: Vec<_> = (0..64).map(|_| w.call(a, "b", secs(60)).unwrap()).collect();
            w.run(ms(20));
            assert_eq!(w.nodes[b].held.len(), 64);
            let before = path(&w, a, "b");
            let (used, other) = if before == through(0) { (0, 1) } else { (1, 0) };
            w.kill_hub(used, power_cut);
            if !power_cut {
                // The next call goes over the other one at once.
                let next = w.call(a, "b", secs(5)).unwrap();
                w.run_until(secs(1), |w| w.nodes[b].held.len() > 64);
                w.answer_all(b);
                w.settle();
                assert!(w.result(a, next).unwrap().is_ok());
            } else {
                w.run(secs(35));
                w.answer_all(b);
                w.run(secs(10));
            }
            for n in calls {
                assert_eq!(w.result(a, n), Some(&Ok(b"b".to_vec())));
            }
            assert_eq!(path(&w, a, "b"), through(other));
            let changed = Event::PathChanged {
                peer: name("b"),
                path: through(other).unwrap(),
            };
            assert!(
                w.nodes[a].events.contains(&changed),
                "{:?}",
                w.nodes[a].events
            );
            w.check_closed();
        }
    });
}

#[test]
fn large_answers_to_one_member_do_not_hold_up_another() {
    let mut w = World::new(crate::first_seed());
    let (_a, b) = w.two_lans(1);
    let slow = w.add("slow");
    w.nodes[slow].group = 3;
    w.run(secs(5));
    // It asks for more than its window, and does not read.
    let wire = w.wire_to_hub(slow, 0);
    w.stall(wire);
    let asked: Vec<_> = (0..200)
        .map(|_| {
            w.call_with(slow, "a", secs(20), &vec![b'x'; 40_000])
                .unwrap()
        })
        .collect();
    w.settle();
    let waits = w.hubs[0].hub.pending(w.wires[wire].ends[1].link).len();
    assert!(
        (100_000..300_000).contains(&waits),
        "the window is used, and not more: {waits}"
    );
    for _ in 0..20 {
        let n = w.call(b, "a", secs(1)).unwrap();
        w.settle();
        assert!(
            w.result(b, n).unwrap().is_ok(),
            "others are served meanwhile"
        );
    }
    w.unstall(wire);
    w.run(secs(2));
    assert!(
        asked
            .iter()
            .all(|n| matches!(w.result(slow, *n), Some(Ok(_) | Err(Error::Overloaded(_)))))
    );
    let ok = asked
        .iter()
        .filter(|n| w.result(slow, **n).unwrap().is_ok())
        .count();
    assert!(ok >= 100, "{ok}");
    w.check_closed();
}

/// One of the ways in which a relay can lie, or all of them.
fn a_lie(seed: u64) -> Malice {
    let none = Malice::default();
    match seed % 8 {
        0 => Malice { drops: 20, ..none },
        1 => Malice { delays: 20, ..none },
        2 => Malice {
            duplicates: 20,
            ..none
        },
        3 => Malice {
            replays: 30,
            ..none
        },
        4 => Malice { swaps: 20, ..none },
        5 => Malice {
            truncates: 20,
            ..none
        },
        6 => Malice { alters: 20, ..none },
        _ => Malice::everything(4),
    }
}

#[test]
fn a_relay_that_lies_in_every_way_gives_a_right_value_or_an_error() {
    seeds(30, |seed| {
        let mut w = World::new(seed);
        let (a, b) = w.two_lans(2);
        w.run(secs(3));
        w.hubs[0].malice = a_lie(seed);
        w.hubs[1].malice = if seed % 3 == 0 {
            Malice::everything(4)
        } else {
            Malice::default()
        };
        let mut calls = Vec::new();
        for round in 0..200 {
            let (from, to) = if round % 2 == 0 { (a, "b") } else { (b, "a") };
            let said = format!("{to} {round}");
            let n = w.call_with(from, to, secs(5), said.as_bytes()).unwrap();
            calls.push((from, n, said));
            let pause = w.rng.below(60);
            w.run(ms(pause));
        }
        w.run(secs(10));
        let mut right = 0;
        for (from, n, said) in calls {
            match w.result(from, n).unwrap() {
                Ok(value) => {
                    assert_eq!(*value, said.into_bytes(), "never a wrong value");
                    right += 1;
                }
                Err(e) => assert!(
                    matches!(
                        e,
                        Error::Timeout
                            | Error::Unreachable(_)
                            | Error::Refused(_)
                            | Error::PeerRestarted
                    ),
                    "{e}"
                ),
            }
        }
        // With one honest relay most come through; with none, those that do are right.
        assert!(right > 100 || seed % 3 == 0, "{right} came through");
        w.hubs[0].malice = Malice::default();
        w.hubs[1].malice = Malice::default();
        w.run(secs(60));
        let n = w.call(a, "b", secs(5)).unwrap();
        w.run(secs(5));
        assert!(w.result(a, n).unwrap().is_ok(), "and no harm stays");
        w.check_closed();
    });
}

#[test]
fn many_nodes_and_relays_under_every_fault_keep_the_promises() {
    seeds(3, |seed| {
        let mut w = World::new(seed);
        w.delay = (ms(0), ms(20));
        for hub in 0..4 {
            w.add_hub(Config::default());
            w.hubs[hub].far = ms(hub as u64 * 7);
        }
        w.hubs[3].malice = Malice::everything(2);
        let count = 40;
        for i in 0..count {
            w.relays = vec![relay(i % 4), relay((i + 1) % 4), relay((i + 2) % 4)];
            let n = w.add(&format!("n{i}"));
            w.nodes[n].group = (i % 7) as u32;
            w.nodes[n].behaviour = Behaviour::Erratic;
        }
        w.run(secs(5));
        for _ in 0..60 {
            for _ in 0..30 {
                let (from, to) = (
                    w.rng.below(count as u64) as usize,
                    w.rng.below(count as u64),
                );
                let timeout = ms(w.rng.below(10_000));
                if w.nodes[from].up
                    && let Some(n) = w.call(from, &format!("n{to}"), timeout)
                    && w.rng.chance(5)
                {
                    w.cancel(from, n);
                }
            }
            let victim = w.rng.below(count as u64) as usize;
            let hub = w.rng.below(4) as usize;
            match w.rng.below(8) {
                0 => w.break_links(victim),
                1 if w.nodes[victim].up => {
                    let power_cut = w.rng.chance(50);
                    w.kill(victim, power_cut);
                }
                2 if w.hubs[hub].up => {
                    let power_cut = w.rng.chance(50);
                    w.kill_hub(hub, power_cut);
                }
                3 => (0..4).for_each(|h| {
                    if !w.hubs[h].up {
                        w.restart_hub(h);
                    }
                }),
                4 => {
                    w.hubs[hub].cut_off = (0..count).filter(|i| i % 3 == 0).collect();
                }
                5 => w.hubs.iter_mut().for_each(|h| h.cut_off.clear()),
                6 => (0..count).for_each(|i| {
                    if !w.nodes[i].up {
                        w.restart(i);
                    }
                }),
                _ => w.nodes[victim].group = (victim % 5) as u32,
            }
            let pause = w.rng.below(1_000);
            w.run(ms(pause));
        }
        w.run(secs(30));
        let ok = w.ends.values().filter(|r| r.is_ok()).count();
        assert!(ok > 250, "only {ok} calls came through");
        w.check_closed();
        for hub in w.hubs.iter().filter(|h| h.up) {
            assert_eq!(hub.hub.stats().members, 0);
        }
    });
}
