//! Readers that are slow, and senders that share a reader.

use crate::hub::{Heard, Relay, Sender, hear, ms, secs, v4};
use peerbase::frame::FrameType;
use peerbase::limits::RelayLimits;
use peerbase::protocol::{LinkId, Time};
use peerbase::wire::relay::{FromRelay, Route};
use std::collections::HashMap;
use std::time::Duration;

#[test]
fn who_takes_a_byte_every_29_seconds_is_gone_and_who_takes_a_kibibyte_a_second_stays() {
    let mut relay = Relay::new(RelayLimits::default());
    let from = relay.join(v4(1)).0;
    for (bytes, pause, stays) in [(1, secs(29), false), (1_024, secs(1), true)] {
        let (reader, to) = relay.join(v4(2));
        for _ in 0..20 {
            relay.forward(from, to, &[b'A'; 10_000]);
        }
        let began = relay.now.at;
        while relay.now.at - began < secs(120) {
            relay.run(pause);
            let _ = relay.take(reader, bytes);
            // Nobody is idle.
            for id in [from, reader] {
                relay.send(id, FrameType::PING, b"AA");
            }
            let _ = relay.take_all(from);
        }
        assert_eq!(relay.is_open(reader), stays, "{bytes} bytes in {pause:?}");
    }
    assert_eq!(relay.hub.stats().refused_slow, 1);
}

#[test]
fn flows_with_nothing_under_way_take_no_place_and_their_credit_is_given_back() {
    let limits = RelayLimits {
        flows: 3,
        ..RelayLimits::default()
    };
    let mut relay = Relay::new(limits);
    let from = relay.join(v4(1)).0;
    let others: Vec<(LinkId, Route)> = (2..50).map(|n| relay.join(v4(n))).collect();
    let _ = relay.take_all(from);
    let mut owed: HashMap<Route, u64> = HashMap::new();
    for (other, to) in &others {
        relay.forward(from, *to, b"gAAA");
        *owed.entry(*to).or_default() += 38;
        let heard = relay.take_all(*other);
        assert!(heard.iter().any(|h| matches!(h, Heard::From(..))));
        for heard in relay.take_all(from) {
            match heard {
                Heard::Word(FromRelay::Settled(route, total)) => {
                    *owed.get_mut(&route).unwrap() -= total;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let open = owed.values().filter(|n| **n > 0).count();
    assert!(open <= 3, "credit of {open} is held");
    // Those to which something waits do take a place.
    for (_, to) in &others[..4] {
        relay.forward(from, *to, b"gAAA");
    }
    let busy = relay.take_all(from).into_iter();
    let busy = busy.filter(|h| matches!(h, Heard::Word(FromRelay::Busy(..))));
    assert_eq!(busy.count(), 1);
}

#[test]
fn who_sends_little_to_a_member_that_many_flood_is_not_turned_away_and_does_not_wait_long() {
    let mut relay = Relay::new(RelayLimits::default());
    let (victim, to) = relay.join(v4(1));
    let mut flooders: Vec<Sender> = (2..42).map(|n| Sender::new(relay.join(v4(n)).0)).collect();
    let (honest, own) = relay.join(v4(60));
    let _ = relay.take_all(victim);
    let (mut next, mut turned_away) = (0u64, 0);
    let mut read = Vec::new();
    let mut arrived: Vec<(u64, Duration)> = Vec::new();
    // A line of 200 KB/s, of which a fair share is 4.9, and the honest one wants 2.7.
    for step in 0..3_000 {
        for flooder in &mut flooders {
            flooder.step(&mut relay, to, 8_000);
        }
        if step % 20 == 0 {
            let text = format!("{next:06}{}", "A".repeat(500));
            relay.forward(honest, to, text.as_bytes());
            next += 1;
        }
        let heard = relay.take_all(honest).into_iter();
        turned_away += heard
            .filter(|h| matches!(h, Heard::Word(FromRelay::Busy(..))))
            .count();
        read.extend(relay.take(victim, 2_000));
        hear(&mut read, |heard| {
            if let Heard::From(route, _, payload) = heard
                && route == own
            {
                let n: u64 = std::str::from_utf8(&payload[..6]).unwrap().parse().unwrap();
                let sent = ms(10) * 20 * n as u32;
                arrived.push((n, (relay.now.at - Time::default()) - sent));
            }
        });
        relay.run(ms(10));
    }
    assert_eq!(turned_away, 0);
    assert!(flooders.iter().any(|f| f.busy > 0), "they do flood it");
    let order: Vec<u64> = arrived.iter().map(|(n, _)| *n).collect();
    assert_eq!(order, (0..order.len() as u64).collect::<Vec<_>>());
    // What is just being sent, and a turn of each of forty.
    let longest = arrived.iter().map(|(_, late)| *late).max().unwrap();
    assert!(order.len() > 100 && longest < secs(3), "{longest:?}");
}

/// A relay with a member that has not read yet, and the route of one that is gone: its last frame
/// to that member waits behind those of another.
fn one_has_left_behind_others() -> (Relay, LinkId, Route) {
    let mut relay = Relay::new(RelayLimits::default());
    let (slow, to) = relay.join(v4(1));
    let mut other = Sender::new(relay.join(v4(2)).0);
    let (leaves, own) = relay.join(v4(3));
    let _ = relay.take_all(slow);
    for _ in 0..10 {
        other.step(&mut relay, to, 10_000);
    }
    relay.forward(leaves, to, b"gLast");
    relay.hub.closed(relay.now, leaves);
    (relay, slow, own)
}

#[test]
fn what_one_has_sent_arrives_before_the_word_that_it_is_gone() {
    let (mut relay, slow, own) = one_has_left_behind_others();
    let heard = relay.take_all(slow);
    let at = |wanted: &dyn Fn(&Heard) -> bool| heard.iter().position(wanted).unwrap();
    let last = at(&|h| matches!(h, Heard::From(_, _, payload) if payload == b"gLast"));
    let gone = at(&|h| matches!(h, Heard::Word(FromRelay::Gone(route)) if *route == own));
    assert!(last < gone, "{last} {gone}");
}

#[test]
fn who_sends_to_one_that_is_gone_first_hears_all_that_it_had_sent() {
    let (mut relay, slow, own) = one_has_left_behind_others();
    relay.forward(slow, own, b"gQuestion");
    relay.forward(slow, own, b"gAnother");
    let is_gone = |h: &&Heard| matches!(h, Heard::Word(FromRelay::Gone(route)) if *route == own);
    let heard = relay.take_all(slow);
    let last = heard
        .iter()
        .position(|h| matches!(h, Heard::From(_, _, payload) if payload == b"gLast"));
    let gone = heard.iter().position(|h| is_gone(&h));
    assert!(last.is_some() && last < gone, "{last:?} {gone:?}");
    assert_eq!(heard.iter().filter(is_gone).count(), 1);
    // When it has heard that, each frame has its reply again.
    relay.forward(slow, own, b"gQuestion");
    assert_eq!(relay.take_all(slow).iter().filter(is_gone).count(), 1);
}
