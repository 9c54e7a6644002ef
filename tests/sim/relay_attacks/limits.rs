//! A hub's limits: each is reached, and the link beyond it is told why and closed.

use super::raw::{CHALLENGE, Raw, address};
use crate::forged::frame;
use crate::pairs::{both_unharmed, pair, with_hub};
use crate::world::{Behaviour, World, ms, secs};
use peerbase::error::Error;
use peerbase::frame::FrameType;
use peerbase::limits::{FRAME_MAX, RelayLimits};
use peerbase::relay::hub::Config;
use peerbase::wire::relay::{Forward, FromRelay, Route, ToRelay, encode_forward};
use peerbase::{NetworkName, Refusal};

#[test]
fn a_network_takes_so_many_members_and_a_relay_so_many_networks_and_links() {
    let (mut w, hub) = with_hub(RelayLimits {
        members: 3,
        networks: 2,
        links: 6,
        ..RelayLimits::default()
    });
    let mut keep = Vec::new();
    for i in 0..3 {
        let (raw, route) = Raw::join(&mut w, hub, address(i));
        assert!(route.is_some());
        keep.push(raw);
    }
    let (mut fourth, route) = Raw::join(&mut w, hub, address(3));
    assert_eq!(route, None);
    fourth.read = 0;
    assert_eq!(fourth.refused(&w), Some(Refusal::Full));
    for (net, refused) in [("second", None), ("third", Some(Refusal::Networks))] {
        let mut raw = Raw::connect(&mut w, hub, address(9));
        raw.net = net;
        raw.say(&mut w, &ToRelay::Join(CHALLENGE));
        w.settle();
        assert_eq!(raw.refused(&w), refused, "{net}");
        keep.push(raw);
    }
    let oldest = Raw::connect(&mut w, hub, address(10));
    keep.push(Raw::connect(&mut w, hub, address(11)));
    let mut seventh = Raw::connect(&mut w, hub, address(12));
    w.settle();
    // Who has not joined gives way, and nobody else.
    assert_eq!(seventh.refused(&w), None);
    assert!(w.closed_raw.contains(&oldest.wire));
    for raw in keep.iter_mut().rev().take(1).chain([&mut seventh]) {
        raw.net = "second";
        raw.say(&mut w, &ToRelay::Join(CHALLENGE));
    }
    w.settle();
    let mut last = Raw::connect(&mut w, hub, address(13));
    w.settle();
    assert_eq!(last.refused(&w), Some(Refusal::Full));
    let s = w.hubs[hub].hub.stats();
    assert_eq!((s.refused_full, s.refused_networks, s.links), (2, 1, 6));
}

#[test]
fn a_relay_for_named_networks_serves_no_other() {
    let mut w = World::new(crate::first_seed());
    let networks = vec![(NetworkName::new("plant").unwrap(), None)];
    let hub = w.add_hub(Config {
        networks,
        ..Config::default()
    });
    let (mut raw, route) = Raw::join(&mut w, hub, address(1));
    raw.read = 0;
    assert_eq!((route, raw.refused(&w)), (None, Some(Refusal::Network)));
}

#[test]
fn one_address_has_so_many_links_and_joins_so_often() {
    let limits = RelayLimits {
        links_per_address: 4,
        joins_per_second: 2,
        ..RelayLimits::default()
    };
    let (mut w, hub) = with_hub(limits);
    let (a, b) = pair(&mut w, hub);
    let links: Vec<_> = (0..4)
        .map(|_| Raw::connect(&mut w, hub, address(1)))
        .collect();
    let mut fifth = Raw::connect(&mut w, hub, address(1));
    w.settle();
    assert_eq!(fifth.refused(&w), Some(Refusal::Address));
    drop(links);
    w.run(secs(20));
    // Ten thousand times, as fast as it goes: two a second get in, and members are told of no more.
    let told = w.nodes[a].engine.stats().frames_in;
    let (mut joined, began) = (0, w.now);
    for _ in 0..10_000 {
        let raw = w.raw_to_hub(hub, address(2));
        let mut payload = Vec::new();
        ToRelay::Join(CHALLENGE).encode(&mut payload);
        w.raw_send(raw, &frame(FrameType::REGISTER, &payload));
        w.run(ms(5));
        joined += u64::from(!w.closed_raw.contains(&raw));
        w.close_other(raw, 0);
    }
    let seconds = (w.now - began).as_secs();
    assert!(
        joined <= 4 + 2 * (seconds + 1),
        "{joined} joined in {seconds} s"
    );
    let told = w.nodes[a].engine.stats().frames_in - told;
    assert!(told < joined + 2 * seconds, "{told} frames in {seconds} s");
    w.run(secs(5));
    assert_eq!(w.hubs[hub].hub.stats().members, 2);
    both_unharmed(&mut w, a, b);
}

#[test]
fn who_does_not_join_in_time_or_falls_silent_or_sends_no_frame_is_told_to_go() {
    let (mut w, hub) = with_hub(RelayLimits::default());
    let mut late = Raw::connect(&mut w, hub, address(1));
    // A byte a second is no frame either.
    let mut slow = Raw::connect(&mut w, hub, address(2));
    let (mut idle, _) = Raw::join(&mut w, hub, address(3));
    for _ in 0..9 {
        w.raw_send(slow.wire, b"s");
        w.run(secs(1));
    }
    assert_eq!((late.refused(&w), slow.refused(&w)), (None, None));
    w.run(secs(2));
    assert_eq!(
        (late.refused(&w), slow.refused(&w)),
        (Some(Refusal::Late), Some(Refusal::Late))
    );
    w.run(secs(75));
    assert_eq!(idle.refused(&w), None);
    w.run(secs(10));
    assert_eq!(idle.refused(&w), Some(Refusal::Idle));
    let endless = [b'x'; 70];
    let long = [b"sim|fwd|".as_slice(), &vec![b'A'; FRAME_MAX]].concat();
    let unsaid: [&[u8]; 7] = [
        &endless,
        &long,
        b"sim|fwd|short|END\n",
        b"sim|msg|gAAA|END\n",
        b"other|png|A|END\n",
        b"sim|reg|block.here|END\n",
        b"\x16\x03\x01|",
    ];
    for bytes in unsaid {
        let (mut raw, _) = Raw::join(&mut w, hub, address(4));
        w.raw_send(raw.wire, bytes);
        w.settle();
        assert_eq!(
            raw.refused(&w),
            Some(Refusal::Frame),
            "{}",
            bytes[..7].escape_ascii()
        );
        w.run(secs(1));
    }
    let mut stranger = Raw::connect(&mut w, hub, address(5));
    stranger.forward(&mut w, Route::default(), FrameType::HELLO, b"gAAA");
    w.settle();
    assert_eq!(
        stranger.refused(&w),
        Some(Refusal::Frame),
        "nothing before it has joined"
    );
    assert_eq!(w.hubs[hub].hub.stats().links, 0);
}

#[test]
fn frames_cut_at_every_byte_are_the_same_frames() {
    let (mut w, hub) = with_hub(RelayLimits::default());
    let (mut to, route) = Raw::join(&mut w, hub, address(1));
    let (from, _) = Raw::join(&mut w, hub, address(2));
    let mut bytes = Vec::new();
    for token in [&b"ENDENDEND"[..], b"gAAAA-_=="] {
        encode_forward(
            "sim",
            &route.unwrap(),
            FrameType::MESSAGE,
            &mut bytes,
            |out| {
                out.extend_from_slice(token);
            },
        );
    }
    let _ = to.frames(&w);
    for at in 0..bytes.len() {
        w.raw_send(from.wire, &bytes[..at]);
        w.raw_send(from.wire, &bytes[at..]);
    }
    bytes.chunks(1).for_each(|b| w.raw_send(from.wire, b));
    w.run(secs(1));
    let got = to.frames(&w);
    assert_eq!(got.len(), 2 * (bytes.len() + 1));
    for (i, (_, payload)) in got.iter().enumerate() {
        let wanted: &[u8] = if i % 2 == 0 {
            b"ENDENDEND"
        } else {
            b"gAAAA-_=="
        };
        assert_eq!(Forward::decode(payload).unwrap().payload, wanted);
    }
}

#[test]
fn a_member_has_bytes_under_way_to_so_many_others() {
    let (mut w, hub) = with_hub(RelayLimits {
        flows: 3,
        ..RelayLimits::default()
    });
    let others: Vec<_> = (1..6).map(|i| Raw::join(&mut w, hub, address(i))).collect();
    for (other, _) in &others {
        w.stall(other.wire);
    }
    let (mut raw, _) = Raw::join(&mut w, hub, address(9));
    let _ = raw.words(&w);
    for (_, route) in &others {
        raw.forward(&mut w, route.unwrap(), FrameType::HELLO, b"gAAA");
    }
    w.settle();
    let words = raw.words(&w);
    // There is no room to count on, so each is settled as well.
    assert_eq!(words.len(), 4, "{words:?}");
    for pair in words.chunks(2) {
        let [FromRelay::Busy(to, total), FromRelay::Settled(settled, all)] = pair else {
            panic!("{pair:?}");
        };
        assert_eq!((to, total), (settled, all));
    }
}

#[test]
fn more_calls_than_one_may_have_in_flight_are_overloaded_through_a_relay_too() {
    let (mut w, hub) = with_hub(RelayLimits::default());
    w.limits.served_per_peer = 100;
    let (a, b) = pair(&mut w, hub);
    w.nodes[b].behaviour = Behaviour::Hold;
    let calls: Vec<_> = (0..5_000)
        .map(|_| w.call(a, "b", secs(30)).unwrap())
        .collect();
    w.run(secs(2));
    let over = calls
        .iter()
        .filter(|n| matches!(w.result(a, **n), Some(Err(Error::Overloaded(_)))));
    assert_eq!(over.count(), 4_900);
    w.answer_all(b);
    w.run(secs(1));
    assert_eq!(
        calls
            .iter()
            .filter(|n| matches!(w.result(a, **n), Some(Ok(_))))
            .count(),
        100
    );
    w.nodes[b].behaviour = Behaviour::Echo;
    both_unharmed(&mut w, a, b);
}
