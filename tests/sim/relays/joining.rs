//! How relays are joined, learnt, refused, lost and dropped.

use crate::hubs::{network, relay, relay_key};
use crate::relay_attacks::raw::{Raw, address};
use crate::seeds;
use crate::world::{World, secs};
use peerbase::engine::{Event, RelayFault};
use peerbase::frame::FrameType;
use peerbase::relay::hub::Config;
use peerbase::{Refusal, RelayKey};

#[test]
fn a_relay_that_asks_for_a_key_lets_in_who_proves_it_and_nobody_else() {
    let mut w = World::new(crate::first_seed());
    let hub = w.add_hub(Config {
        networks: vec![(network(), Some(relay_key()))],
        ..Config::default()
    });
    let wrong = w.add_hub(Config {
        networks: vec![(
            network(),
            Some(RelayKey::derive(
                &peerbase::Key::from_bytes([1; 32]),
                &network(),
            )),
        )],
        ..Config::default()
    });
    w.relays = vec![relay(hub), relay(wrong)];
    let a = w.add("a");
    let b = w.add("b");
    w.nodes[b].group = 1;
    w.run(secs(300));
    let n = w.call(a, "b", secs(1)).unwrap();
    w.settle();
    assert!(w.result(a, n).unwrap().is_ok());
    // One event, not one for each attempt; and attempts a minute apart.
    let refused = Event::RelayDown {
        relay: relay(wrong),
        why: RelayFault::WrongKey,
    };
    assert_eq!(
        w.nodes[a].events.iter().filter(|e| **e == refused).count(),
        1
    );
    let asked = w.hubs[wrong].hub.stats().accepted;
    assert!(
        (2..=2 * 7).contains(&asked),
        "{asked} attempts of two nodes in five minutes"
    );
    assert_eq!(w.hubs[wrong].hub.stats().joined, 0);
    w.check_closed();
}

#[test]
fn a_relay_that_had_the_key_is_not_joined_without_it_and_others_are_with_a_word() {
    let mut w = World::new(crate::first_seed());
    let keyed = vec![(network(), Some(relay_key()))];
    let hub = w.add_hub(Config {
        networks: keyed.clone(),
        ..Config::default()
    });
    let open = w.add_hub(Config::default());
    w.relays = vec![relay(hub), relay(open)];
    let a = w.add("a");
    w.run(secs(5));
    assert_eq!(w.joined_hub(a), 2);
    let unproven = |w: &World| {
        let events = w.nodes[a].events.iter();
        let told = events.filter_map(|event| match event {
            Event::RelayUnproven(relay) => Some(relay.clone()),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(unproven(&w), [relay(open)]);
    // Somebody without the key is at the addresses of both.
    for hub in [hub, open] {
        w.kill_hub(hub, false);
        w.hubs[hub].config.networks.clear();
        w.restart_hub(hub);
    }
    w.run(secs(100));
    assert_eq!(w.joined_hub(a), 1);
    assert_eq!(w.hubs[hub].hub.stats().members, 0);
    let down = Event::RelayDown {
        relay: relay(hub),
        why: RelayFault::WrongKey,
    };
    assert!(w.nodes[a].events.contains(&down));
    assert_eq!(unproven(&w), [relay(open)], "once");
    w.kill_hub(hub, false);
    w.hubs[hub].config.networks = keyed;
    w.restart_hub(hub);
    w.run(secs(100));
    assert_eq!(w.joined_hub(a), 2);
    w.check_closed();
}

#[test]
fn a_relay_that_cannot_be_had_is_an_event_and_is_tried_for_ever() {
    seeds(5, |seed| {
        let mut w = World::new(seed);
        let hub = w.add_hub(Config::default());
        w.kill_hub(hub, false);
        w.relays = vec![relay(hub), relay(77)];
        let a = w.add("a");
        w.nodes[a].group = 1;
        let b = w.add("b");
        w.run_until(secs(3), |w| w.nodes[a].running && w.nodes[b].running);
        w.run(secs(600));
        let down = |hub, why| Event::RelayDown {
            relay: relay(hub),
            why,
        };
        let events = &w.nodes[a].events;
        assert_eq!(events.len(), 2, "each once: {events:?}");
        assert!(events.contains(&down(hub, RelayFault::Unreachable)));
        assert!(events.contains(&down(77, RelayFault::Unresolved)));
        let dials = w.nodes[a].engine.stats().relay_dials;
        assert!(
            (2 * 600 / 40..2 * 600 / 20).contains(&(dials - 16)),
            "{dials} dials"
        );
        w.restart_hub(hub);
        w.run_until(secs(40), |w| w.reaches(a, "b"));
        assert!(w.nodes[a].events.contains(&Event::RelayUp(relay(hub))));
        w.check_closed();
    });
}

#[test]
fn relays_are_learnt_used_and_dropped_when_they_stay_dead() {
    seeds(5, |seed| {
        let mut w = World::new(seed);
        for _ in 0..3 {
            w.add_hub(Config::default());
        }
        // One node knows two relays, another on its LAN none, but may use one.
        w.relays = vec![relay(0), relay(1)];
        let a = w.add("a");
        w.relays = Vec::new();
        let lan_only = w.add("lan-only");
        w.max_remotes = Some(1);
        let learner = w.add("learner");
        w.run(secs(3));
        assert_eq!(w.joined_hub(a), 2);
        assert_eq!(w.joined_hub(lan_only), 0);
        assert_eq!(w.joined_hub(learner), 1, "and never more than it may");
        // Who is on the LAN only tells others still.
        w.kill(a, false);
        w.run(secs(20));
        let late = w.add("late");
        w.run(secs(5));
        assert_eq!(w.joined_hub(late), 1);
        // Its relay dies: it is dropped, and the other one taken in its place.
        let used = usize::from(w.nodes[late].events.contains(&Event::RelayUp(relay(1))));
        w.kill_hub(used, false);
        w.run_until(secs(60), |w| {
            w.joined_hub(late) == 1 && w.nodes[late].engine.stats().relays_dropped == 1
        });
        // With all of them dead nobody dials for ever.
        w.kill_hub(1 - used, false);
        w.run(secs(120));
        let before = w.nodes[late].engine.stats().relay_dials;
        w.run(secs(300));
        let more = w.nodes[late].engine.stats().relay_dials - before;
        assert!(more < 20, "{more} dials of dead relays in five minutes");
        w.check_closed();
    });
}

#[test]
fn a_relay_that_stops_tells_its_members_and_they_come_back() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = w.two_lans(1);
    w.run(secs(5));
    w.stop_hub(0);
    w.settle();
    let down = Event::RelayDown {
        relay: relay(0),
        why: RelayFault::Refused(Refusal::Stopping),
    };
    assert!(w.nodes[a].events.contains(&down) && w.nodes[b].events.contains(&down));
    w.hubs[0].up = false;
    w.restart_hub(0);
    w.run_until(secs(5), |w| w.reaches(a, "b") && w.reaches(b, "a"));
    w.check_closed();
}

#[test]
fn a_relay_with_many_members_is_joined_over_a_slow_line_and_a_dead_one_is_given_up() {
    let mut w = World::new(crate::first_seed());
    let hub = w.add_hub(Config::default());
    // About 120 KB of adverts.
    for n in 0..100 {
        let (member, _) = Raw::join(&mut w, hub, address(n));
        member.send(&mut w, FrameType::ADVERT, &[b'A'; 1_100]);
    }
    w.settle();
    w.hubs[hub].bytes_per_second = Some(1_000);
    w.relays = vec![relay(hub)];
    let a = w.add("a");
    // The members fall silent meanwhile, and the relay must not take the node for one that has.
    w.run(secs(100));
    let s = w.nodes[a].engine.stats();
    assert_eq!((s.relays_up, s.relay_dials), (0, 1), "it is being joined");
    w.run(secs(60));
    let s = w.nodes[a].engine.stats();
    assert_eq!((s.relays_up, s.relay_dials), (1, 1), "{s:?}");
    // A relay that says nothing has as long as any handshake.
    w.hubs[hub].malice.deaf = true;
    let b = w.add("b");
    w.nodes[b].group = 1;
    w.run(secs(6));
    let unreachable = Event::RelayDown {
        relay: relay(hub),
        why: RelayFault::Unreachable,
    };
    assert_eq!(w.nodes[b].events, [unreachable]);
}
