//! Sessions: records out of place, links that are slow or do not read, keepalives, and more
//! sessions than there is room for.

use super::member::{FIRST, Member};
use crate::forged::{advert, advert_frame, frame, frames, instance, question_frame};
use crate::pairs::{met, met_with, unharmed};
use crate::seeds;
use crate::world::{World, ms, secs};
use peerbase::frame::FrameType;
use peerbase::wire::advert::Advert;
use peerbase::wire::ask::AskRef;
use peerbase::wire::record;
use peerbase::wire::record::Body;

#[test]
fn records_replayed_skipped_or_of_another_session_close_the_session() {
    let (mut w, a, b) = met();
    for attack in 0..5 {
        let mut other = Member::join(&mut w, a, "other");
        let mut m = Member::join(&mut w, a, "m");
        let call = |s, out: &mut Vec<u8>| {
            let ask = AskRef::Command {
                path: "echo",
                args: b"[]",
                kwargs: b"{}",
            };
            record::encode_call(s, (s, FIRST), 1_000, &[], &ask, out);
        };
        let first = m.frame(call);
        let second = m.frame(call);
        let before = w.nodes[a].engine.stats();
        match attack {
            0 => {
                w.raw_send(m.wire, &first);
                w.raw_send(m.wire, &first);
            }
            1 => w.raw_send(m.wire, &second),
            2 => {
                let foreign = other.frame(call);
                w.raw_send(m.wire, &foreign);
            }
            3 => {
                // Its own direction's records, reflected under the other type.
                let text = String::from_utf8(first.clone())
                    .unwrap()
                    .replace("|msg|", "|rsp|");
                w.raw_send(m.wire, text.as_bytes());
            }
            _ => {
                let malformed = m.frame(|s, out| {
                    out.extend_from_slice(&s.to_be_bytes());
                    out.extend_from_slice(&[77; 30]);
                });
                w.raw_send(m.wire, &malformed);
            }
        }
        w.run(ms(50));
        assert!(m.is_closed(&w), "attack {attack}");
        let after = w.nodes[a].engine.stats();
        let refused = (after.refused_record + after.refused_token)
            - (before.refused_record + before.refused_token);
        assert_eq!(refused, 1, "attack {attack}");
        assert!(!other.is_closed(&w), "others are not disturbed");
        other.send(&mut w, |s, out| {
            record::encode_close(s, record::CloseReason::Leaving, out)
        });
        w.run(secs(5));
    }
    unharmed(&mut w, a, b);
}

#[test]
fn slow_links_are_timed_out_whichever_way_they_are_slow() {
    let (mut w, a, b) = met();
    // A byte a second, before and after the handshake.
    let mut m = Member::join(&mut w, a, "slow");
    let stranger = w.raw_connect(a);
    let (hello, call) = (
        question_frame(9),
        m.frame(|s, out| record::encode_cancel(s, 1, out)),
    );
    for i in 0..90 {
        w.raw_send(stranger, &hello[i..=i]);
        w.raw_send(m.wire, &call[i..=i]);
        w.run(secs(1));
        if i == 6 {
            assert!(w.closed_raw.contains(&stranger), "no handshake in time");
        }
    }
    assert!(m.is_closed(&w), "no whole frame in time");
    // One that never says anything again.
    let silent = Member::join(&mut w, a, "silent");
    w.run(secs(20));
    assert!(silent.is_closed(&w));
    assert!(w.nodes[a].engine.stats().timed_out_silent >= 2);
    unharmed(&mut w, a, b);
}

#[test]
fn a_link_that_does_not_read_holds_a_bounded_queue_and_is_closed() {
    let (mut w, a, b) = met_with(|w| w.limits.link_queue = 10_000);
    let mut m = Member::join(&mut w, a, "m");
    w.stall(m.wire);
    for n in 0..900 {
        m.call(&mut w, n);
    }
    w.run(secs(2));
    // The queue, and one more record.
    assert!(w.pending_on(m.wire) <= 11_000, "{}", w.pending_on(m.wire));
    w.run(secs(20));
    assert!(m.is_closed(&w));
    w.run(secs(60));
    unharmed(&mut w, a, b);
}

#[test]
fn a_ping_in_clear_is_no_sign_of_life_and_ends_the_session() {
    let (mut w, a, b) = met();
    w.tapped = Some(Vec::new());
    w.run(secs(60));
    // Nothing that either side has sent meanwhile is in clear.
    let tapped = w.tapped.take().unwrap();
    let between = tapped.iter().flat_map(|(_, _, bytes)| frames(bytes));
    let kinds: Vec<FrameType> = between.map(|(kind, _)| kind).collect();
    assert!(kinds.len() >= 8, "they ping each other");
    let are_records = |k: &FrameType| matches!(*k, FrameType::MESSAGE | FrameType::RESPONSE);
    assert!(kinds.iter().all(are_records), "{kinds:?}");

    let (wire, end, _) = tapped[0];
    let before = w.nodes[a].engine.stats();
    let to_a = usize::from(w.wires[wire].ends[0].node == Some(a));
    assert!(end < 2);
    w.transmit(wire, to_a, frame(FrameType::PING, b"0123456789012345"));
    w.run(ms(50));
    let after = w.nodes[a].engine.stats();
    assert_eq!(after.refused_frame, before.refused_frame + 1);
    unharmed(&mut w, a, b);
}

#[test]
fn of_a_ping_flood_the_newest_are_answered_now_and_then() {
    let (mut w, a, b) = met();
    let mut m = Member::join(&mut w, a, "m");
    let nonce = |i: u32| {
        let mut nonce = [0; 16];
        nonce[..4].copy_from_slice(&i.to_be_bytes());
        nonce
    };
    for i in 0..500 {
        m.send(&mut w, |s, out| record::encode_ping(s, &nonce(i), out));
    }
    w.run(secs(1));
    let mut echoes = Vec::new();
    m.hear(&w, |body| {
        if let Body::Pong(nonce) = body {
            echoes.push(**nonce);
        }
    });
    assert!((2..10).contains(&echoes.len()), "{}", echoes.len());
    assert_eq!(echoes.last(), Some(&nonce(499)));
    let stranger = w.raw_connect(a);
    w.raw_send(stranger, b"sim|png|0123456789012345|END\n");
    w.run(ms(50));
    assert!(w.closed_raw.contains(&stranger));
    unharmed(&mut w, a, b);
}

#[test]
fn a_full_house_closes_its_idlest_session_for_a_new_one() {
    seeds(3, |seed| {
        let mut w = World::new(seed);
        w.limits.sessions = 4;
        let nodes: Vec<_> = (0..12).map(|i| w.add(&format!("n{i}"))).collect();
        w.run(secs(5));
        for from in &nodes {
            for to in 0..12 {
                let n = w.call(*from, &format!("n{to}"), secs(5)).unwrap();
                w.run(ms(300));
                assert!(w.result(*from, n).unwrap().is_ok(), "{from} to {to}");
                assert!(w.nodes[*from].engine.stats().links <= 4 + w.limits.half_open as u64);
            }
        }
        w.check_closed();
    });
}

#[test]
fn a_member_that_comes_again_and_again_as_a_new_instance_fills_no_directory() {
    let (mut w, a, b) = met_with(|w| w.limits.peers = 20);
    for i in 0..100 {
        let own = format!("m{i}");
        let m = Member::join_as(&mut w, a, &own, i);
        // So it is not missed for many minutes.
        let seldom = advert_frame(&Advert {
            interval_ms: 300_000,
            ..advert(&own, instance(i))
        });
        w.raw_datagram(a, "10.9.9.9:7".parse().unwrap(), &seldom);
        w.run(ms(5));
        m.part(&mut w);
        let peers = w.nodes[a].engine.stats().peers;
        assert!(peers <= 20, "{peers} after {i}");
    }
    assert!(
        w.knows(a, "m99") && !w.knows(a, "m0"),
        "the latest are known"
    );
    w.assert_answered(a, "b");
    w.assert_answered(b, "a");
    w.check_closed();
}

#[test]
fn a_member_that_makes_sessions_as_one_instance_after_the_other_displaces_its_own() {
    let (mut w, a, _) = met_with(|w| w.limits.sessions = 4);
    w.add("c");
    w.add("d");
    w.run(secs(2));
    for i in 0..20 {
        Member::join_as(&mut w, a, &format!("m{i}"), i + 1);
        w.run(ms(20));
        for honest in ["b", "c", "d"] {
            assert!(w.reaches(a, honest), "{honest} gave way to the {i}th");
        }
    }
    assert_eq!(w.nodes[a].engine.stats().sessions_evicted, 19);
    w.check_closed();
}
