//! Memory: whatever members do, the relay takes no more than its bounds.

use crate::heap::{begin, held_since, peak_since};
use crate::hub::{Heard, Relay, Sender, ms, v4};
use peerbase::fernet::{Key, token_len};
use peerbase::frame::FrameType;
use peerbase::limits::{IDLE_MEMBER, RelayLimits};
use peerbase::protocol::LinkId;
use peerbase::relay::hub::Config;
use peerbase::wire::relay::Route;
use peerbase::{NetworkName, RelayKey};

const MIB: usize = 1024 * 1024;
/// Buffers that a hub keeps for later, and what tables and the test itself take.
const BESIDES: usize = 6 * MIB;

#[test]
fn a_steady_reader_that_is_slower_than_twenty_senders_costs_what_waits_and_not_what_has_passed() {
    let limits = RelayLimits {
        queues_bytes: 12 * MIB,
        links_bytes: 4 * MIB,
        ..RelayLimits::default()
    };
    let most = limits.queues_bytes + limits.links_bytes + BESIDES;
    let before = begin();
    let mut relay = Relay::new(limits);
    let (reader, to) = relay.join(v4(1));
    let mut senders: Vec<Sender> = (2..22).map(|n| Sender::new(relay.join(v4(n)).0)).collect();
    let mut passed = 0;
    while passed < 400 * MIB {
        for (n, sender) in senders.iter_mut().enumerate() {
            sender.step(&mut relay, to, 500 + 900 * n);
        }
        // 60 MB/s, in pieces that are not frames.
        passed += relay.take(reader, 60_007).len();
        relay.run(ms(1));
        assert!(!relay.hub.pending(reader).is_empty(), "it is never done");
    }
    assert!(relay.is_open(reader));
    let peak = peak_since(before);
    assert!(peak < most, "{peak} bytes at most, {most} allowed");
}

#[test]
fn hundreds_of_readers_that_stall_leave_memory_for_others() {
    let limits = RelayLimits {
        queues_bytes: 8 * MIB,
        links_bytes: 40 * MIB,
        ..RelayLimits::default()
    };
    let most = limits.queues_bytes + limits.links_bytes + BESIDES;
    let before = begin();
    let mut relay = Relay::new(limits);
    let flooder = relay.join(v4(1)).0;
    let stalled: Vec<(LinkId, Route)> = (0..200).map(|n| relay.join(v4(2 + n % 2))).collect();
    for (_, route) in &stalled {
        for _ in 0..24 {
            relay.forward(flooder, *route, &[b'A'; 10_000]);
        }
        let _ = relay.take_all(flooder);
    }
    assert!(relay.hub.stats().forwards_busy > 0, "there is no more");
    // One from elsewhere is behind, too, by more than is just being sent.
    let (slow, to) = relay.join(v4(4));
    let (from, _) = relay.join(v4(5));
    let _ = relay.take_all(from);
    for _ in 0..24 {
        relay.forward(from, to, &[b'A'; 10_000]);
    }
    let heard = relay.take_all(from);
    assert!(heard.is_empty(), "nothing is turned away: {heard:?}");
    let heard = relay.take_all(slow);
    assert_eq!(
        heard
            .iter()
            .filter(|h| matches!(h, Heard::From(..)))
            .count(),
        24
    );
    let peak = peak_since(before);
    assert!(peak < most, "{peak} bytes at most, {most} allowed");
}

#[test]
fn links_that_read_no_answer_or_finish_no_frame_are_bounded_together_and_cost_nobody_else() {
    let limits = RelayLimits {
        links_bytes: 8 * MIB,
        ..RelayLimits::default()
    };
    let most = limits.links_bytes + BESIDES;
    let before = begin();
    let mut relay = Relay::new(limits);
    let honest: Vec<LinkId> = (1..10).map(|n| relay.join(v4(n)).0).collect();
    let echo = b"sim|png|AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA|END\n".repeat(1_000);
    let begun = [b"sim|fwd|".as_slice(), &[b'A'; 65_000]].concat();
    for n in 0..240 {
        for id in &honest {
            let _ = relay.take_all(*id);
        }
        let Some((id, _)) = relay.try_join(v4(20 + n % 3)) else {
            continue;
        };
        // It takes in all that it is told no more.
        for _ in 0..8 {
            relay.say(id, &echo);
        }
        relay.say(id, &begun);
        relay.run(ms(100));
    }
    let s = relay.hub.stats();
    assert!(s.refused_memory > 100, "the largest are closed: {s:?}");
    assert_eq!(s.refused_slow, 0, "and are not counted among the slow");
    assert!(honest.iter().all(|id| relay.is_open(*id)));
    let peak = peak_since(before);
    assert!(peak < most, "{peak} bytes at most, {most} allowed");
}

#[test]
fn an_idle_member_takes_no_more_than_is_said_with_a_relay_key_or_without() {
    const MEMBERS: usize = 400;
    let network = NetworkName::new("sim").unwrap();
    let key = RelayKey::derive(&Key::from_bytes([1; 32]), &network);
    for key in [None, Some(key)] {
        let mut relay = Relay::with(Config {
            networks: vec![(network.clone(), key.clone())],
            ..Config::default()
        });
        let before = begin();
        let members: Vec<LinkId> = (0..MEMBERS)
            .map(|n| relay.join_with(v4(n), key.as_ref()))
            .collect();
        // One after the other, so that the buffers which the hub keeps for later are small.
        for id in &members {
            // A name of usual length and two relays.
            relay.send(*id, FrameType::ADVERT, &vec![b'A'; token_len(160)]);
            relay.run(ms(100));
            for id in &members {
                while !relay.take(*id, usize::MAX).is_empty() {}
            }
        }
        let s = relay.hub.stats();
        assert_eq!(s.members as usize, MEMBERS);
        assert_eq!(s.adverts_handed as usize, MEMBERS * (MEMBERS - 1));
        let each = held_since(before) / MEMBERS;
        assert!(each <= IDLE_MEMBER, "{each} bytes");
    }
}
