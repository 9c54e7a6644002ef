//! Peers behind a relay: names that are taken, goodbyes, restarts, and more peers than sessions.

use crate::hubs::relay;
use crate::seeds;
use crate::world::{Behaviour, World, secs};
use peerbase::engine::Event;
use peerbase::error::Error;
use peerbase::relay::hub::Config;

#[test]
fn a_name_taken_at_a_relay_is_taken() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let (a, _) = w.two_lans(1);
        w.run(secs(3));
        let twin = w.add("a");
        w.nodes[twin].group = 3;
        w.run(secs(3));
        assert_eq!(w.nodes[twin].failed, Some(Error::NameTaken("a".into())));
        assert!(w.nodes[a].failed.is_none());
        // Of two that ask at the same time, one.
        let (x, y) = (w.add("new"), w.add("new"));
        w.nodes[x].group = 4;
        w.nodes[y].group = 5;
        w.run(secs(5));
        let failed = [x, y].map(|n| w.nodes[n].failed.is_some());
        assert_ne!(failed[0], failed[1], "{failed:?}");
    });
}

#[test]
fn two_of_one_name_that_a_relay_brings_together_are_told_and_all_choose_alike() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let (a, _) = w.two_lans(1);
        w.kill_hub(0, false);
        w.run(secs(3));
        let twin = w.add("a");
        w.nodes[twin].group = 3;
        w.run(secs(5));
        assert!(w.nodes[twin].failed.is_none(), "nobody could tell");
        w.restart_hub(0);
        w.run(secs(60));
        let told = |w: &World, n: usize| {
            let events = w.nodes[n].events.iter();
            events.clone().find_map(|e| match e {
                Event::NameConflict { wins } => Some(*wins),
                _ => None,
            })
        };
        let (one, other) = (told(&w, a), told(&w, twin));
        assert!(
            one.is_some() && other.is_some() && one != other,
            "{one:?} {other:?}"
        );
    });
}

#[test]
fn a_node_that_leaves_or_dies_is_missed_through_the_relay() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = w.two_lans(1);
    let c = w.add("c");
    w.nodes[c].group = 3;
    w.run(secs(5));
    assert!(w.reaches(a, "b") && w.reaches(a, "c"));
    w.stop(b);
    w.settle();
    assert!(!w.knows(a, "b"), "a goodbye is heard at once");
    w.kill(c, false);
    w.run(secs(5));
    assert!(!w.knows(a, "c"), "the relay tells who is gone");
    w.check_closed();
}

#[test]
fn a_restart_behind_a_relay_is_a_restart() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let (a, b) = w.two_lans(1);
        w.nodes[b].behaviour = Behaviour::Hold;
        w.run(secs(3));
        let lost = w.call(a, "b", secs(20)).unwrap();
        w.settle();
        w.kill(b, seed % 2 == 0);
        w.restart(b);
        w.nodes[b].behaviour = Behaviour::Echo;
        w.run(secs(8));
        assert!(
            matches!(w.result(a, lost), Some(Err(Error::PeerRestarted))),
            "{:?}",
            w.result(a, lost)
        );
        let n = w.call(a, "b", secs(1)).unwrap();
        w.settle();
        assert!(w.result(a, n).unwrap().is_ok());
        w.check_closed();
    });
}

#[test]
fn more_peers_than_sessions_at_a_relay_do_not_close_each_others_sessions_for_ever() {
    seeds(3, |seed| {
        let mut w = World::new(seed);
        w.limits.sessions = 4;
        let hub = w.add_hub(Config::default());
        w.relays = vec![relay(hub)];
        for i in 0..10 {
            let node = w.add(&format!("n{i}"));
            w.nodes[node].group = i;
        }
        w.run(secs(60));
        let made = |w: &World| {
            w.nodes
                .iter()
                .map(|n| n.engine.stats().sessions)
                .sum::<u64>()
        };
        let before = made(&w);
        w.run(secs(120));
        assert_eq!(made(&w), before, "nothing calls for another session");
        for i in 1..10 {
            w.assert_answered(0, &format!("n{i}"));
        }
        w.check_closed();
    });
}
