//! Adverts: bounded for each network, and the latest of each member in the end.

use crate::hub::{Heard, Relay, Sender, hear, ms, secs, v4, v6};
use peerbase::frame::FrameType;
use peerbase::limits::RelayLimits;
use peerbase::protocol::LinkId;
use peerbase::wire::relay::{FromRelay, Route};
use std::collections::HashMap;

#[test]
fn adverts_are_bounded_for_each_network_and_drive_no_slow_member_away() {
    let limits = RelayLimits {
        advert_bytes_per_second: 200_000,
        links_per_address: 400,
        ..RelayLimits::default()
    };
    let (rate, burst) = (200_000, 400_000);
    let mut relay = Relay::new(limits);
    let slow: Vec<LinkId> = (1..4).map(|n| relay.join(v4(n)).0).collect();
    let (hears, _) = relay.join(v4(10));
    let (tells, own) = relay.join(v4(11));
    // All of one /48, each from another address.
    let crowd: Vec<LinkId> = (0..300).map(|n| relay.join(v6(n)).0).collect();
    let _ = relay.take_all(hears);
    let handed = relay.hub.stats().adverts_handed;
    let (mut heard_of, mut said) = (0, 0);
    for second in 0..120u64 {
        for (n, id) in crowd.iter().enumerate() {
            let text = format!("gA{n}-{second}-{}", "A".repeat(1_000));
            relay.send(*id, FrameType::ADVERT, text.as_bytes());
        }
        if second % 20 == 10 {
            relay.send(tells, FrameType::ADVERT, format!("gNew{second}").as_bytes());
            said += 1;
        }
        for _ in 0..10 {
            relay.run(ms(100));
            for id in &crowd {
                let _ = relay.take(*id, usize::MAX);
            }
            // Less than the adverts alone would be.
            for id in &slow {
                let _ = relay.take(*id, 50);
            }
            let _ = relay.take_all(tells);
            let heard = relay.take_all(hears).into_iter();
            heard_of += heard
                .filter(|h| matches!(h, Heard::From(route, FrameType::ADVERT, _) if *route == own))
                .count();
        }
        for id in slow.iter().chain([&hears, &tells]) {
            relay.send(*id, FrameType::PING, b"AA");
            assert!(relay.is_open(*id), "after {second} s");
        }
    }
    let handed = relay.hub.stats().adverts_handed - handed;
    // And the short ones, which are of no weight.
    let most = (burst + 120 * rate) / 1_000 + 2 * 305 + 305 * said as u64;
    assert!(
        handed < most,
        "{handed} adverts of a kilobyte, {most} allowed"
    );
    assert!(handed > most / 2, "{handed}");
    assert_eq!(
        heard_of, said,
        "the adverts of others are not kept from anybody"
    );
}

#[test]
fn a_member_that_was_too_slow_for_adverts_has_the_latest_of_each_in_the_end() {
    let limits = RelayLimits {
        advert_bytes_per_second: 400_000_000,
        ..RelayLimits::default()
    };
    let mut relay = Relay::new(limits);
    let (slow, _) = relay.join(v4(1));
    let crowd: Vec<(LinkId, Route)> = (2..200).map(|n| relay.join(v4(n))).collect();
    let _ = relay.take_all(slow);
    let mut read = Vec::new();
    for second in 0..20 {
        for (id, _) in &crowd {
            let text = format!("gA{second}-{}", "A".repeat(1_000));
            relay.send(*id, FrameType::ADVERT, text.as_bytes());
            let _ = relay.take(*id, usize::MAX);
        }
        relay.run(secs(1));
        read.extend(relay.take(slow, 10_000));
    }
    while !relay.hub.pending(slow).is_empty() {
        read.extend(relay.take(slow, 10_000));
    }
    let mut latest = HashMap::new();
    hear(&mut read, |heard| {
        if let Heard::From(route, FrameType::ADVERT, payload) = heard {
            latest.insert(route, payload);
        }
    });
    assert!(relay.is_open(slow));
    assert_eq!(latest.len(), crowd.len());
    assert!(latest.values().all(|advert| advert.starts_with(b"gA19-")));
}

#[test]
fn the_last_advert_of_one_that_leaves_is_handed_on_before_the_word_that_it_is_gone() {
    let mut relay = Relay::new(RelayLimits::default());
    let (hears, hears_at) = relay.join(v4(1));
    let (slow, slow_at) = relay.join(v4(2));
    let (leaves, own) = relay.join(v4(3));
    let mut busy = Sender::new(relay.join(v4(4)).0);
    let _ = (relay.take_all(hears), relay.take_all(slow), hears_at);
    relay.send(leaves, FrameType::ADVERT, b"gPresent");
    // One of the two has no room for more just now.
    for _ in 0..20 {
        busy.step(&mut relay, slow_at, 10_000);
    }
    // Too soon after the one before to be handed on at once.
    relay.send(leaves, FrameType::ADVERT, b"gLeaving");
    relay.hub.closed(relay.now, leaves);
    relay.drain();
    for (who, id) in [("reads", hears), ("is behind", slow)] {
        let heard = relay.take_all(id);
        let at = |wanted: &dyn Fn(&Heard) -> bool| heard.iter().position(wanted);
        let last = at(&|h| matches!(h, Heard::From(_, _, payload) if payload == b"gLeaving"));
        let gone = at(&|h| matches!(h, Heard::Word(FromRelay::Gone(route)) if *route == own));
        assert!(
            last.is_some() && last < gone,
            "who {who}: {last:?} {gone:?}"
        );
    }
}
