//! In an open network a name belongs to the first kept identity that was met under it.

use super::{answers, distrusted_by, distrusts, identity};
use crate::hubs::relay;
use crate::pairs::with_hub;
use crate::seeds;
use crate::world::{World, name, secs};
use peerbase::engine::{Keep, Mode};
use peerbase::limits::RelayLimits;
use peerbase::{Distrust, Event};

/// Gives the node of this name the `n`th identity at its next start, and what it has kept.
fn give(w: &mut World, of: &str, n: u8, kept: &[Keep]) {
    let pin = |keep: &Keep| match keep {
        Keep::Pin(name, key) => Some((name.clone(), *key)),
        Keep::List(_) => None,
    };
    let pins = kept.iter().filter_map(pin).collect();
    w.kept.insert(of.into(), (identity(n), Mode::Open { pins }));
}

/// A world in which `a`, which keeps its identity, and `b` have met: on a LAN or through a relay.
fn met(seed: u64, relayed: bool) -> (World, usize, usize) {
    let mut w = World::new(seed);
    if relayed {
        let (world, hub) = with_hub(RelayLimits::default());
        w = world;
        w.relays = vec![relay(hub)];
        w.lan = false;
    }
    give(&mut w, "a", 1, &[]);
    let (a, b) = (w.add("a"), w.add("b"));
    w.run(secs(4));
    assert!(answers(&mut w, b, "a"));
    (w, a, b)
}

#[test]
fn a_squatter_of_a_pinned_name_is_told_of_and_never_called() {
    for relayed in [false, true] {
        seeds(5, |seed| {
            let (mut w, a, b) = met(seed, relayed);
            w.kill(a, true);
            w.run(secs(60));
            give(&mut w, "a", 2, &[]);
            let squatter = w.add("a");
            w.run(secs(10));
            assert!(w.nodes[squatter].running, "nobody else has the name now");
            assert!(!answers(&mut w, b, "a"));
            assert_eq!(w.nodes[squatter].engine.stats().served, 0);
            assert_eq!(distrusts(&w, b, "a"), [Distrust::OtherKey]);
            // The one that has the name comes back, and is called whatever the squatter does.
            let kept = w.nodes[a].kept.clone();
            give(&mut w, "a", 1, &kept);
            w.restart(a);
            w.run(secs(10));
            assert!(w.nodes[a].running, "{:?}", w.nodes[a].failed);
            for _ in 0..5 {
                assert!(answers(&mut w, b, "a"));
            }
            assert_eq!(w.nodes[squatter].engine.stats().served, 0);
            assert_eq!(distrusts(&w, b, "a").len(), 1, "told once");
            w.check_closed();
        });
    }
}

#[test]
fn a_new_key_is_taken_once_the_program_accepts_it() {
    let (mut w, a, b) = met(crate::first_seed(), false);
    w.kill(a, true);
    w.run(secs(60));
    give(&mut w, "a", 2, &[]);
    w.restart(a);
    w.run(secs(5));
    assert!(!answers(&mut w, b, "a"));
    assert_eq!(distrusted_by(&w, a, "b"), [Distrust::OtherKey]);
    let told = w.nodes[b].events.iter().find_map(|event| match event {
        Event::Distrusted { key, .. } => Some(*key),
        _ => None,
    });
    let new = identity(2).public_key();
    assert_eq!(told, Some(new));
    w.with(b, |e, now| e.accept_key(now, &name("a"), &new))
        .unwrap();
    w.run(secs(2));
    assert!(answers(&mut w, b, "a"));
    // Back to the old one, which ends the session.
    let old = identity(1).public_key();
    w.with(b, |e, now| e.accept_key(now, &name("a"), &old))
        .unwrap();
    w.run(secs(1));
    assert!(!w.reaches(b, "a") && !answers(&mut w, b, "a"));
    assert_eq!(w.with(b, |e, _| e.pins()), [(name("a"), old)]);
    w.check_closed();
}

#[test]
fn pins_last_over_a_restart_of_the_node_that_has_made_them() {
    let (mut w, a, b) = met(crate::first_seed(), false);
    let kept = w.nodes[b].kept.clone();
    assert_eq!(kept.len(), 1, "{kept:?}");
    w.kill(a, true);
    w.kill(b, true);
    give(&mut w, "a", 2, &[]);
    give(&mut w, "b", 3, &kept);
    w.restart(a);
    w.restart(b);
    w.run(secs(5));
    assert!(!answers(&mut w, b, "a"));
    assert_eq!(distrusts(&w, b, "a"), [Distrust::OtherKey]);
    w.check_closed();
}

#[test]
fn a_name_without_a_kept_identity_is_first_come_first_served() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = (w.add("a"), w.add("b"));
    w.run(secs(2));
    w.kill(a, true);
    w.restart(a);
    w.run(secs(5));
    assert!(answers(&mut w, b, "a"));
    assert!(w.nodes[b].kept.is_empty() && distrusts(&w, b, "a").is_empty());
    w.check_closed();
}
