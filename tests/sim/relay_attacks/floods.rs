//! Members that send too much, or do not read.

use super::forgeries::a_question;
use super::raw::{Raw, address};
use crate::forged::{Actor, payload};
use crate::pairs::{both_unharmed, pair, relayed, with_hub};
use crate::world::{Behaviour, Rng, World, ms, secs};
use peerbase::Refusal;
use peerbase::frame::FrameType;
use peerbase::limits::RelayLimits;
use peerbase::wire::handshake::{Envelope, Step};
use peerbase::wire::relay::{Forward, FromRelay, ROUTE_WINDOW};

#[test]
fn who_sends_too_fast_waits_and_nothing_is_dropped() {
    let limits = RelayLimits {
        bytes_per_second: 50_000,
        burst: 20_000,
        ..RelayLimits::default()
    };
    let (mut w, hub) = with_hub(limits);
    let (a, b) = pair(&mut w, hub);
    let (raw, own) = Raw::join(&mut w, hub, address(1));
    // To itself, so that it hears what came through.
    for _ in 0..200 {
        raw.forward(&mut w, own.unwrap(), FrameType::MESSAGE, &[b'A'; 1_000]);
    }
    w.run(secs(1));
    assert!(w.hubs[hub].hub.stats().held > 0);
    let so_far = w.raw[&raw.wire].len();
    assert!(so_far < 150_000, "{so_far} bytes in a second");
    let n = w.call(a, "b", secs(1)).unwrap();
    w.settle();
    assert!(w.result(a, n).unwrap().is_ok(), "others do not wait");
    w.run(secs(10));
    let through = w.raw[&raw.wire]
        .windows(5)
        .filter(|f| f == b".msg.")
        .count();
    assert_eq!(through, 200);
    both_unharmed(&mut w, a, b);
}

#[test]
fn a_flood_costs_the_one_who_sends_it() {
    let (mut w, hub, a, b) = relayed(crate::first_seed());
    // The victim is on a line that takes nothing just now.
    let wire = w.wire_to_hub(b, hub);
    let victim = w.hubs[hub].hub.pending(w.wires[wire].ends[1].link).len();
    assert_eq!(victim, 0);
    w.stall(wire);
    let (mut flooder, _) = Raw::join(&mut w, hub, address(1));
    let routes = flooder.routes(&w);
    assert_eq!(routes.len(), 2);
    for route in routes {
        for _ in 0..60 {
            flooder.forward(&mut w, route, FrameType::MESSAGE, &[b'A'; 10_000]);
        }
    }
    w.settle();
    assert_eq!(flooder.refused(&w), Some(Refusal::Flood));
    let waits = w.hubs[hub].hub.pending(w.wires[wire].ends[1].link).len();
    assert!(
        waits < ROUTE_WINDOW as usize * 2,
        "{waits} bytes wait for the victim"
    );
    w.unstall(wire);
    w.run(secs(2));
    both_unharmed(&mut w, a, b);
}

#[test]
fn a_full_queue_turns_frames_away_and_says_so_and_who_never_reads_is_lost() {
    let limits = RelayLimits {
        queue: 100_000,
        stalled: secs(5),
        ..RelayLimits::default()
    };
    let (mut w, hub) = with_hub(limits);
    let (a, b) = pair(&mut w, hub);
    let (victim, route) = Raw::join(&mut w, hub, address(1));
    w.stall(victim.wire);
    let mut senders: Vec<Raw> = (2..6)
        .map(|i| Raw::join(&mut w, hub, address(i)).0)
        .collect();
    for sender in &mut senders {
        let _ = sender.words(&w);
        for _ in 0..5 {
            sender.forward(&mut w, route.unwrap(), FrameType::MESSAGE, &[b'A'; 10_000]);
        }
    }
    w.settle();
    let mut busy = 0;
    for sender in &mut senders {
        busy += sender
            .words(&w)
            .iter()
            .filter(
                |word| matches!(word, FromRelay::Busy(to, n) if Some(*to) == route && *n > 10_000),
            )
            .count();
    }
    let s = w.hubs[hub].hub.stats();
    assert_eq!(
        (busy as u64, s.forwarded_bytes / 10_000),
        (s.forwards_busy, 20 - s.forwards_busy)
    );
    assert!(busy >= 9, "{busy}");
    w.run(secs(6));
    assert_eq!(w.hubs[hub].hub.stats().refused_slow, 1);
    let gone = |raw: &mut Raw, w: &World| raw.words(w).contains(&FromRelay::Gone(route.unwrap()));
    assert!(
        senders.iter_mut().all(|s| gone(s, &w)),
        "everyone is told that it is gone"
    );
    senders[0].forward(&mut w, route.unwrap(), FrameType::MESSAGE, b"gAAA");
    w.settle();
    assert!(gone(&mut senders[0], &w), "and told again when they ask");
    both_unharmed(&mut w, a, b);
}

#[test]
fn adverts_of_one_member_are_handed_on_once_a_second_and_the_last_one_is_not_lost() {
    let (mut w, hub) = with_hub(RelayLimits::default());
    let (mut hears, _) = Raw::join(&mut w, hub, address(1));
    let (tells, _) = Raw::join(&mut w, hub, address(2));
    let _ = hears.frames(&w);
    for i in 0..500 {
        tells.send(&mut w, FrameType::ADVERT, format!("gAAA{i}").as_bytes());
        w.run(ms(10));
    }
    w.run(secs(2));
    let got = hears.frames(&w);
    assert!(
        (5..=8).contains(&got.len()),
        "{} adverts in five seconds",
        got.len()
    );
    assert_eq!(
        Forward::decode(&got.last().unwrap().1).unwrap().payload,
        b"gAAA499"
    );
}

#[test]
fn a_member_that_floods_with_nonsense_is_blocked_where_it_does() {
    let (mut w, hub, a, b) = relayed(crate::first_seed());
    let (mut flooder, _) = Raw::join(&mut w, hub, address(1));
    let routes = flooder.routes(&w);
    // No message of a handshake; and then one that nobody has asked for.
    for round in 0..2_000 {
        for route in &routes {
            let token = if round % 2 == 0 {
                vec![b'A'; 1_000]
            } else {
                let (_, question) = Actor::new(round, "x").ask();
                let mut answer = Envelope::decode(&question).unwrap();
                answer.step = Step::Second;
                payload(&answer)
            };
            flooder.forward(&mut w, *route, FrameType::HELLO, &token);
        }
        w.run(ms(2));
    }
    for node in [a, b] {
        let s = w.nodes[node].engine.stats();
        assert_eq!(s.routes_blocked, 1);
        assert!(s.refused_token + s.refused_hello < 40, "{s:?}");
    }
    assert!(w.hubs[hub].hub.stats().forwards_blocked > 2_500);
    let told = flooder.words(&w);
    assert!(told.iter().any(|word| matches!(word, FromRelay::Gone(_))));
    both_unharmed(&mut w, a, b);
}

#[test]
fn a_frame_that_never_ends_and_adverts_from_a_crowd_are_bounded() {
    let limits = RelayLimits {
        joins_per_second: 4,
        links_per_address: 20,
        ..RelayLimits::default()
    };
    let (mut w, hub) = with_hub(limits);
    let (mut slow, _) = Raw::join(&mut w, hub, address(1));
    w.raw_send(slow.wire, b"sim|fwd|");
    for _ in 0..59 {
        w.raw_send(slow.wire, b"A");
        w.run(secs(1));
    }
    assert_eq!(slow.refused(&w), None);
    w.run(secs(2));
    assert_eq!(slow.refused(&w), Some(Refusal::Late));
    // Twenty members of one address each tell something new all the time.
    let (mut hears, _) = Raw::join(&mut w, hub, address(2));
    let crowd: Vec<Raw> = (0..20)
        .map(|_| Raw::join(&mut w, hub, address(3)).0)
        .collect();
    let _ = hears.frames(&w);
    for i in 0..300 {
        for (k, member) in crowd.iter().enumerate() {
            member.send(&mut w, FrameType::ADVERT, format!("gA{k}-{i}").as_bytes());
        }
        w.run(ms(100));
    }
    let during = hears.frames(&w).len();
    assert!(during <= 40 + 4 * 31, "{during} adverts handed on in 30 s");
    w.run(secs(20));
    let last = hears.frames(&w);
    let latest = |k: usize| {
        let wanted = format!("gA{k}-299");
        last.iter()
            .any(|(_, p)| Forward::decode(p).unwrap().payload == wanted.as_bytes())
    };
    assert!((0..20).all(latest), "the latest of each is told in the end");
}

#[test]
fn who_asks_and_asks_and_never_reads_does_not_make_a_node_overrun_its_window() {
    let (mut w, hub, a, b) = relayed(crate::first_seed());
    let (mut evil, _) = Raw::join(&mut w, hub, address(1));
    let routes = evil.routes(&w);
    w.stall(evil.wire);
    let mut rng = Rng(4);
    for _ in 0..4_000 {
        // A member's question, to be answered; and a record of no session, to be turned away.
        let hello = a_question(&mut rng);
        for route in &routes {
            evil.forward(&mut w, *route, FrameType::MESSAGE, b"gAAA");
            evil.forward(&mut w, *route, FrameType::HELLO, &hello);
        }
        w.run(ms(5));
    }
    let s = w.hubs[hub].hub.stats();
    assert_eq!((s.refused_flood, s.refused_slow), (0, 0));
    assert_eq!((w.joined_hub(a), w.joined_hub(b)), (1, 1));

    // Many calls given up while the callee takes nothing.
    w.nodes[b].behaviour = Behaviour::Hold;
    let calls: Vec<_> = (0..1_000)
        .map(|_| w.call(a, "b", secs(60)).unwrap())
        .collect();
    w.run(secs(1));
    let wire = w.wire_to_hub(b, hub);
    w.stall(wire);
    let more: Vec<_> = (0..3_000)
        .map(|_| w.call(a, "b", secs(60)).unwrap())
        .collect();
    w.settle();
    for n in calls.into_iter().chain(more) {
        w.cancel(a, n);
    }
    w.settle();
    assert_eq!(w.hubs[hub].hub.stats().refused_flood, 0);
    w.unstall(wire);
    w.nodes[b].behaviour = Behaviour::Echo;
    w.run(secs(90));
    both_unharmed(&mut w, a, b);
}

#[test]
fn more_members_than_adverts_a_second_do_not_make_a_node_leave_a_relay() {
    let (mut w, hub) = with_hub(RelayLimits::default());
    w.limits.adverts_per_second = 100;
    let crowd: Vec<Raw> = (0..150)
        .map(|n| Raw::join(&mut w, hub, address(n)).0)
        .collect();
    let tell = |w: &mut World, round| {
        for (n, member) in crowd.iter().enumerate() {
            let token = format!("gA{n}-{round}");
            member.send(w, FrameType::ADVERT, token.as_bytes());
        }
        w.run(secs(2));
    };
    tell(&mut w, 0);
    let (a, b) = pair(&mut w, hub);
    tell(&mut w, 1);
    let s = w.nodes[a].engine.stats();
    assert_eq!((s.relays_up, s.relay_dials), (1, 1), "{s:?}");
    both_unharmed(&mut w, a, b);
}
