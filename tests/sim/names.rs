//! Names are unique: probing, conflicts, and who wins.

use crate::seeds;
use crate::world::{World, ms, secs};
use peerbase::engine::Event;
use peerbase::error::Error;

#[test]
fn a_taken_name_is_refused_at_start_and_the_holder_is_not_disturbed() {
    seeds(20, |seed| {
        let mut w = World::new(seed);
        let (a, b) = (w.add("a"), w.add("b"));
        w.run(secs(2));
        let twin = w.add("a");
        w.run(secs(2));
        assert_eq!(w.nodes[twin].failed, Some(Error::NameTaken("a".into())));
        assert!(!w.nodes[twin].running);
        assert!(w.reaches(b, "a") && w.nodes[a].events.len() == 1);
        let n = w.call(b, "a", secs(1)).unwrap();
        w.run(ms(100));
        assert!(w.result(b, n).unwrap().is_ok());
        w.check_closed();
    });
}

#[test]
fn of_two_that_ask_for_one_name_at_once_exactly_one_gets_it() {
    seeds(50, |seed| {
        let mut w = World::new(seed);
        let x = w.add("a");
        let pause = w.rng.below(240);
        w.run(ms(pause));
        let y = w.add("a");
        w.run(secs(3));
        assert!(
            w.nodes[x].running ^ w.nodes[y].running,
            "{:?} {:?}",
            w.nodes[x].failed,
            w.nodes[y].failed
        );
        w.check_closed();
    });
}

#[test]
fn a_replayed_advert_of_our_own_name_takes_nothing() {
    let mut w = World::new(crate::first_seed());
    w.recorded = Some(Vec::new());
    let a = w.add("a");
    w.run(secs(3));
    let old = w.recorded.take().unwrap();
    w.kill(a, true);
    w.restart(a);
    // Replayed while the name is asked for, from where nobody lives.
    for bytes in &old {
        w.raw_datagram(a, "10.9.9.9:7".parse().unwrap(), bytes);
    }
    w.run(secs(3));
    assert!(w.nodes[a].running && w.nodes[a].failed.is_none());
    assert!(w.nodes[a].events.is_empty());
    w.check_closed();
}

#[test]
fn halves_that_heal_with_one_name_twice_are_told_and_all_choose_alike() {
    seeds(20, |seed| {
        let mut w = World::new(seed);
        let (a1, a2) = (w.add("a"), w.add("a"));
        w.nodes[a2].group = 1;
        let others: Vec<_> = (0..6).map(|i| w.add(&format!("n{i}"))).collect();
        others
            .iter()
            .for_each(|n| w.nodes[*n].group = (*n % 2) as u32);
        w.run(secs(5));
        assert!(w.nodes[a1].running && w.nodes[a2].running);
        w.nodes.iter_mut().for_each(|n| n.group = 0);
        w.run(secs(30));
        let winner = if w.nodes[a1].engine.instance() < w.nodes[a2].engine.instance() {
            a1
        } else {
            a2
        };
        for (node, wins) in [(a1, winner == a1), (a2, winner == a2)] {
            assert!(w.nodes[node].events.contains(&Event::NameConflict { wins }));
        }
        let before = w.nodes[winner].engine.stats().served;
        for n in &others {
            let call = w.call(*n, "a", secs(2)).unwrap();
            w.run(ms(100));
            assert!(w.result(*n, call).unwrap().is_ok());
        }
        assert_eq!(
            w.nodes[winner].engine.stats().served,
            before + others.len() as u64
        );
        w.check_closed();
    });
}

#[test]
fn a_name_is_defended_however_busy_its_holder_is_greeting_others() {
    let mut w = World::new(crate::first_seed());
    let a = w.add("a");
    // Twenty strangers within the interval use its budget up.
    for i in 0..20 {
        w.add(&format!("n{i}"));
        w.run(ms(20));
    }
    let twin = w.add("a");
    w.run(secs(1));
    assert!(w.nodes[a].running && !w.nodes[twin].running);
    assert_eq!(w.nodes[twin].failed, Some(Error::NameTaken("a".into())));
    w.check_closed();
}
