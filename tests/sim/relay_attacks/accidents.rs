//! Accidents: nodes that start together, ask at once, restart all the time, lose power or sleep.

use crate::hubs::relay;
use crate::pairs::{both_unharmed, relayed};
use crate::seeds;
use crate::world::{Behaviour, World, ms, secs};
use peerbase::error::Error;
use peerbase::relay::hub::Config;

#[test]
fn both_asking_at_once_through_a_relay_leaves_one_session_and_loses_no_call() {
    let crossed = std::cell::Cell::new(0);
    seeds(300, |seed| {
        let mut w = World::new(seed);
        let (a, b) = w.two_lans(1);
        // Each dials as soon as it knows the other, whoever would have yielded.
        let (x, y) = (
            w.call(a, "b", secs(9)).unwrap(),
            w.call(b, "a", secs(9)).unwrap(),
        );
        w.run(secs(3));
        assert_eq!(w.result(a, x), Some(&Ok(b"b".to_vec())));
        assert_eq!(w.result(b, y), Some(&Ok(b"a".to_vec())));
        let [a, b] = [a, b].map(|n| w.nodes[n].engine.stats());
        assert_eq!(
            [a.links, b.links],
            [2, 2],
            "one to the relay, one through it"
        );
        assert_eq!([a.calls_retried, b.calls_retried], [0, 0]);
        assert_eq!([a.refused_hello, b.refused_hello], [0, 0]);
        crossed.set(crossed.get() + (a.dials.min(b.dials)));
    });
    assert!(crossed.get() > 30, "both dialled {} times", crossed.get());
}

#[test]
fn a_node_that_restarts_every_second_behind_a_relay_makes_no_table_grow() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = w.two_lans(1);
    w.run(secs(1));
    w.restart_every_second(b, a, 1_800);
    w.run(secs(5));
    let s = w.nodes[a].engine.stats();
    assert!(
        s.peers <= 200 && s.links <= 3 && s.routes <= 200 && s.calls_open == 0,
        "{s:?}"
    );
    w.run(secs(120));
    let s = w.nodes[a].engine.stats();
    assert!(
        s.peers <= 1 && s.links <= 2 && s.routes <= 1 && s.serving == 0,
        "{s:?}"
    );
    assert!(w.hubs[0].hub.stats().members <= 2);
    w.check_closed();
}

#[test]
fn a_hundred_nodes_start_at_one_relay_in_the_same_second_and_all_find_all() {
    let mut w = World::new(crate::first_seed());
    w.limits.dials = 0;
    w.add_hub(Config::default());
    w.relays = vec![relay(0)];
    for i in 0..100 {
        let n = w.add(&format!("n{i}"));
        w.nodes[n].group = n as u32 + 1;
        w.run(ms(10));
    }
    w.run_until(secs(5), |w| {
        w.nodes.iter().all(|n| n.engine.stats().peers == 99)
    });
    w.run(secs(30));
    // Presence is told when it is new, and not again and again.
    let handed = w.hubs[0].hub.stats().adverts_handed;
    assert!(handed <= 3 * 100 * 99, "{handed}");
    w.check_closed();
}

#[test]
fn a_power_cut_behind_a_relay_is_noticed_within_the_dead_time() {
    seeds(10, |seed| {
        let (mut w, hub, a, b) = relayed(seed);
        w.nodes[b].behaviour = Behaviour::Hold;
        let lost = w.call(a, "b", secs(600)).unwrap();
        w.settle();
        w.kill(b, true);
        // Three keepalives of ten seconds, and then the relay's ninety until it is forgotten.
        w.run(secs(31));
        assert!(!w.reaches(a, "b"));
        w.run(secs(70));
        assert!(!w.knows(a, "b"));
        assert_eq!(
            w.result(a, lost),
            Some(&Err(Error::Unreachable("b".into())))
        );
        assert_eq!(w.hubs[hub].hub.stats().members, 1);
        w.check_closed();
    });
}

#[test]
fn a_suspended_machine_and_a_jumping_clock_behind_a_relay_do_no_harm() {
    seeds(5, |seed| {
        let (mut w, _, a, b) = relayed(seed);
        for unix in [0, 4_000_000_000, 60] {
            w.unix = unix;
            w.run(secs(20));
            let n = w.call(a, "b", secs(1)).unwrap();
            w.settle();
            assert!(w.result(a, n).unwrap().is_ok());
        }
        assert_eq!(w.nodes[a].engine.stats().sessions, 1, "no session was lost");
        w.sleep_node(b, secs(3_600));
        w.run_until(secs(60), |w| w.reaches(a, "b") && w.reaches(b, "a"));
        w.freeze_node(a, secs(3_600));
        w.run_until(secs(60), |w| w.reaches(a, "b") && w.reaches(b, "a"));
        both_unharmed(&mut w, a, b);
    });
}
