//! Which way is taken: through which relay, or directly; and when it changes.

use super::{path, through};
use crate::hubs::relay;
use crate::pairs::both_unharmed;
use crate::seeds;
use crate::world::{Behaviour, World, ms, name, secs};
use peerbase::engine::{Event, Path};
use peerbase::relay::hub::Config;

#[test]
fn nodes_that_cannot_see_each_other_call_through_a_relay() {
    seeds(20, |seed| {
        let mut w = World::new(seed);
        let (a, b) = w.two_lans(1);
        w.run_until(secs(3), |w| w.reaches(a, "b") && w.reaches(b, "a"));
        assert_eq!(path(&w, a, "b"), through(0));
        let n = w.call(a, "b", secs(1)).unwrap();
        let m = w.call(b, "a", secs(1)).unwrap();
        w.run(ms(100));
        assert_eq!(w.result(a, n), Some(&Ok(b"b".to_vec())));
        assert_eq!(w.result(b, m), Some(&Ok(b"a".to_vec())));
        let (up, unproven) = (Event::RelayUp(relay(0)), Event::RelayUnproven(relay(0)));
        let joined = Event::PeerJoined(name("b"));
        assert_eq!(w.nodes[a].events, [up, unproven, joined]);
        // Pushed at once: four hops there, four back, and nothing that waits for a clock.
        let n = w.call(a, "b", secs(1)).unwrap();
        let took = w.run_until(secs(1), |w| w.result(a, n).is_some());
        assert!(took <= w.delay.1 * 4 + ms(1), "{took:?}");
        w.check_closed();
    });
}

#[test]
fn of_two_relays_the_nearer_is_taken() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let (a, b) = w.two_lans(2);
        let near = (seed % 2) as usize;
        w.hubs[near].far = ms(5);
        w.hubs[1 - near].far = ms(60);
        w.run(secs(5));
        assert_eq!(path(&w, a, "b"), through(near));
        assert_eq!(path(&w, b, "a"), through(near));
        w.check_closed();
    });
}

#[test]
fn a_relay_that_becomes_the_longer_way_is_left_while_it_is_used() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let (a, b) = w.two_lans(2);
        w.hubs[1].far = ms(20);
        w.run(secs(3));
        let call = |w: &mut World, from, to: &str| {
            let n = w.call(from, to, secs(5)).unwrap();
            w.run(secs(2));
            assert!(w.result(from, n).unwrap().is_ok());
        };
        let changes = |w: &World| w.nodes[a].engine.stats().paths_changed;
        for _ in 0..60 {
            call(&mut w, a, "b");
        }
        assert_eq!(
            (path(&w, a, "b"), changes(&w)),
            (through(0), 0),
            "the nearer is kept"
        );
        w.hubs[0].far = ms(100);
        for _ in 0..60 {
            call(&mut w, b, "a");
        }
        assert_eq!((path(&w, a, "b"), changes(&w)), (through(1), 1));
        assert_eq!(path(&w, b, "a"), through(1));
        // Nobody uses it: nothing is measured, and nothing changes.
        w.hubs[0].far = ms(0);
        w.run(secs(60));
        let dials = w.nodes[a].engine.stats().dials + w.nodes[b].engine.stats().dials;
        w.run(secs(300));
        let more = w.nodes[a].engine.stats().dials + w.nodes[b].engine.stats().dials - dials;
        assert_eq!(more, 0);
        both_unharmed(&mut w, a, b);
    });
}

#[test]
fn nodes_that_meet_on_a_lan_leave_the_relay_for_it_and_come_back() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let (a, b) = w.two_lans(1);
        w.run_until(secs(3), |w| w.reaches(a, "b"));
        w.run(secs(3));
        w.nodes[b].behaviour = Behaviour::Hold;
        let over = w.call(a, "b", secs(60)).unwrap();
        w.settle();
        w.nodes[b].group = 1;
        w.run_until(secs(5), |w| path(w, a, "b") == Some(Path::Direct));
        w.run(secs(1));
        assert_eq!(path(&w, b, "a"), Some(Path::Direct));
        let direct = Event::PathChanged {
            peer: name("b"),
            path: Path::Direct,
        };
        assert!(w.nodes[a].events.contains(&direct));
        w.answer_all(b);
        w.settle();
        assert!(w.result(a, over).unwrap().is_ok(), "the call moved, too");
        // And apart again: the direct path falls silent.
        w.nodes[b].group = 2;
        w.nodes[b].behaviour = Behaviour::Echo;
        let n = w.call(a, "b", secs(40)).unwrap();
        w.run(secs(40));
        assert_eq!(w.result(a, n), Some(&Ok(b"b".to_vec())));
        assert_eq!(path(&w, a, "b"), through(0));
        w.check_closed();
    });
}

#[test]
fn on_one_lan_the_relay_is_not_used() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        w.add_hub(Config::default());
        w.relays = vec![relay(0)];
        let (a, b) = (w.add("a"), w.add("b"));
        w.run(secs(10));
        assert_eq!(path(&w, a, "b"), Some(Path::Direct));
        assert_eq!(path(&w, b, "a"), Some(Path::Direct));
        let changes = |n: usize| w.nodes[n].engine.stats().paths_changed;
        assert_eq!((changes(a), changes(b)), (0, 0), "direct from the start");
        w.check_closed();
    });
}

#[test]
fn without_the_lan_nothing_is_broadcast() {
    let mut w = World::new(crate::first_seed());
    w.lan = false;
    let (a, b) = w.two_lans(1);
    w.nodes[b].group = 1;
    w.run(secs(10));
    assert_eq!((w.nodes[a].broadcasts, w.nodes[b].broadcasts), (0, 0));
    assert_eq!(path(&w, a, "b"), through(0));
    w.check_closed();
}

#[test]
fn a_relay_that_alters_what_it_carries_is_left_for_an_honest_one_further_off() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let (a, b) = w.two_lans(2);
        w.hubs[1].far = ms(20);
        w.run(secs(3));
        assert_eq!(path(&w, a, "b"), through(0));
        // Handshakes pass, so that it would win the race each time.
        w.hubs[0].malice.spares_hellos = true;
        w.hubs[0].malice.alters = 100;
        for _ in 0..20 {
            let n = w.call(a, "b", secs(5)).unwrap();
            w.run_until(secs(6), |w| w.result(a, n).is_some());
            assert_eq!(w.result(a, n), Some(&Ok(b"b".to_vec())));
            assert_eq!(path(&w, a, "b"), through(1));
        }
        w.hubs[0].malice.alters = 0;
        both_unharmed(&mut w, a, b);
    });
}

#[test]
fn a_relay_that_swallows_what_it_carries_is_left_within_one_call() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let (a, b) = w.two_lans(2);
        w.hubs[1].far = ms(20);
        w.run(secs(3));
        assert_eq!(path(&w, a, "b"), through(0));
        // It keeps its own word to its members, and lets handshakes pass.
        w.hubs[0].malice.spares_hellos = true;
        w.hubs[0].malice.drops = 100;
        for _ in 0..3 {
            let n = w.call(a, "b", secs(5)).unwrap();
            w.run_until(secs(6), |w| w.result(a, n).is_some());
            assert_eq!(w.result(a, n), Some(&Ok(b"b".to_vec())));
            assert_eq!(path(&w, a, "b"), through(1));
        }
        w.hubs[0].malice.drops = 0;
        both_unharmed(&mut w, a, b);
    });
}

#[test]
fn a_relay_that_swallows_is_left_also_if_another_one_is_joined_only_later() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = w.two_lans(2);
    w.hubs[1].far = ms(20);
    w.kill_hub(1, false);
    w.run(secs(5));
    assert_eq!(path(&w, a, "b"), through(0));
    w.hubs[0].malice.spares_hellos = true;
    w.hubs[0].malice.drops = 100;
    // Over before the two relays are compared, and before the session is dead.
    let n = w.call(a, "b", secs(15)).unwrap();
    // It is doubted by then, and there is nowhere else to go.
    w.run(secs(4));
    assert_eq!(path(&w, a, "b"), through(0));
    w.restart_hub(1);
    w.run_until(secs(12), |w| w.result(a, n).is_some());
    assert_eq!(w.result(a, n), Some(&Ok(b"b".to_vec())));
    assert_eq!(path(&w, a, "b"), through(1));
    w.hubs[0].malice.drops = 0;
    both_unharmed(&mut w, a, b);
}
