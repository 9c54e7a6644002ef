//! More calls than are allowed: of one peer, of one address, and of the node itself.

use super::member::Member;
use crate::pairs::{met, met_with, unharmed};
use crate::world::{Behaviour, World, ms, name, secs, terms};
use peerbase::engine;
use peerbase::error::Error;
use peerbase::wire::record;
use peerbase::wire::record::Status;

#[test]
fn too_many_calls_of_one_peer_are_turned_away_and_the_others_run() {
    let (mut w, a, b) = met();
    w.nodes[a].behaviour = Behaviour::Hold;
    let mut m = Member::join(&mut w, a, "m");
    for n in 0..100_000 {
        m.call(&mut w, n);
        if n % 1_000 == 0 {
            w.run(ms(1));
        }
    }
    w.run(secs(1));
    let most = w.limits.served_per_peer;
    assert_eq!(w.nodes[a].held.len(), most);
    assert_eq!(m.statuses(&w), vec![Status::Overloaded; 100_000 - most]);
    w.answer_all(a);
    w.run(ms(100));
    assert_eq!(m.statuses(&w), vec![Status::Value; most]);
    w.nodes[a].behaviour = Behaviour::Echo;
    w.run(secs(61));
    unharmed(&mut w, a, b);
}

#[test]
fn a_caller_that_is_refused_and_does_not_read_it_is_closed() {
    let (mut w, a, b) = met_with(|w| {
        w.limits.link_queue = 10_000;
        w.limits.served_per_peer = 100;
    });
    w.nodes[a].behaviour = Behaviour::Hold;
    let mut m = Member::join(&mut w, a, "m");
    m.stall(&mut w);
    for n in 0..20_000 {
        m.call(&mut w, n);
        if n % 100 == 0 {
            w.run(ms(1));
            assert!(m.unread(&w) <= 11_000, "{}", m.unread(&w));
        }
    }
    assert!(m.is_closed(&w), "long before it could be taken for silent");
    assert_eq!(w.nodes[a].engine.stats().timed_out_silent, 1);
    w.answer_all(a);
    w.nodes[a].behaviour = Behaviour::Echo;
    w.run(secs(61));
    unharmed(&mut w, a, b);
}

#[test]
fn answers_left_behind_by_invented_callers_give_way_to_those_of_others() {
    let (mut w, a, b) = met_with(|w| {
        w.limits.served = 1_600;
        w.limits.served_per_peer = 100;
    });
    let day = 24 * 3_600_000;
    let served = |w: &World| w.nodes[a].engine.stats().serving;
    for i in 0..30 {
        let mut m = Member::join_as(&mut w, a, &format!("m{i}"), i + 1);
        for n in 0..100 {
            m.call_for(&mut w, n, day);
        }
        w.run(ms(20));
        assert_eq!(m.statuses(&w), [Status::Value; 100], "the {i}th");
        assert!(served(&w) <= w.limits.served as u64);
        m.part(&mut w);
    }
    assert!(served(&w) > 500, "nobody else was there");
    // Somebody who needs no more than a share finds it, and an answer that was not confirmed stays.
    let mut calls = Vec::new();
    for _ in 0..50 {
        calls.push(w.call(b, "a", secs(5)).unwrap());
    }
    w.run(secs(1));
    assert!(calls.iter().all(|n| w.result(b, *n).unwrap().is_ok()));
    w.check_closed();
}

#[test]
fn what_handlers_have_not_answered_is_bounded_for_all_callers_and_late_answers_free_it() {
    let (mut w, a, b) = met_with(|w| w.limits.message_bytes = 1_000_000);
    w.nodes[a].behaviour = Behaviour::Hold;
    let held = |w: &World| w.nodes[a].held.iter().map(|(_, v)| v.len()).sum::<usize>();
    let args = vec![b'x'; 10_000];
    for i in 0..20 {
        w.raw_address = [10, 9, 9, i / 2];
        let mut m = Member::join_as(&mut w, a, &format!("m{i}"), u64::from(i + 1));
        // Nobody waits for long, but the handler has not let go of what was asked.
        for n in 0..100 {
            m.call_with(&mut w, n, 50, &args);
        }
        w.run(ms(100));
        let refused = m.statuses(&w);
        assert!(refused.iter().all(|s| *s == Status::Overloaded));
        assert!(
            i > 0 || refused.len() < 60,
            "one alone may have nearly half"
        );
        assert!(i > 1 || refused.len() < 100, "its neighbour finds room");
        assert!(held(&w) <= w.limits.message_bytes);
        m.part(&mut w);
    }
    assert!(held(&w) > w.limits.message_bytes * 9 / 10);
    let late = w.nodes[a].held.len() as u64;
    w.answer_all(a);
    let stats = w.nodes[a].engine.stats();
    assert_eq!((stats.serving, stats.replies_late), (0, late));
    w.nodes[a].behaviour = Behaviour::Echo;
    w.run(secs(1));
    w.assert_answered(b, "a");
    w.check_closed();
}

#[test]
fn invented_callers_of_one_address_leave_room_for_the_calls_of_others() {
    for args in [&b"[]"[..], &[b'x'; 10_000]] {
        let (mut w, a, b) = met_with(|w| {
            w.limits.message_bytes = 1_000_000;
            w.limits.served = 1_600;
        });
        w.nodes[a].behaviour = Behaviour::Hold;
        for i in 0..100 {
            let mut m = Member::join_as(&mut w, a, &format!("m{i}"), i + 1);
            for n in 0..50 {
                m.call_with(&mut w, n, 60_000, args);
            }
            w.run(ms(20));
            m.part(&mut w);
        }
        assert!(w.nodes[a].engine.stats().overloaded > 1_000);
        let before = w.nodes[a].held.len();
        assert!(before <= 800, "half of what there is: {before}");
        let calls: Vec<_> = (0..20)
            .map(|_| w.call_with(b, "a", secs(30), args).unwrap())
            .collect();
        w.run(ms(100));
        assert_eq!(w.nodes[a].held.len(), before + calls.len());
        w.answer_all(a);
        w.run(secs(1));
        assert!(calls.iter().all(|n| w.result(b, *n).unwrap().is_ok()));
        w.check_closed();
    }
}

#[test]
fn a_caller_with_as_much_as_it_may_have_leaves_room_for_others_from_the_same_address() {
    let (mut w, a, _) = met_with(|w| w.limits.message_bytes = 1_000_000);
    w.nodes[a].behaviour = Behaviour::Hold;
    for (i, size) in [(0, 1_000), (2, 13_000), (4, 47_000)] {
        let mut busy = Member::join_as(&mut w, a, "busy", i + 1);
        let mut other = Member::join_as(&mut w, a, "other", i + 2);
        let args = vec![b'x'; size];
        for n in 0..1_000 {
            busy.call_with(&mut w, n, 5_000, &args);
        }
        w.run(ms(100));
        let held = w.nodes[a].held.len();
        assert!(busy.statuses(&w).len() == 1_000 - held && held < 1_000);
        assert!(held * size > 250_000, "{held} calls of {size}");
        for n in 0..10 {
            other.call_for(&mut w, n, 5_000);
        }
        w.run(ms(100));
        assert_eq!(other.statuses(&w), [], "nothing is turned away");
        w.answer_all(a);
        w.run(ms(100));
        assert_eq!(other.statuses(&w), [Status::Value; 10]);
        busy.part(&mut w);
        other.part(&mut w);
        w.run(secs(6));
    }
    w.check_closed();
}

#[test]
fn broadcasts_that_are_handed_on_leave_half_of_the_room_to_our_own_calls_and_end_soon() {
    let (mut w, a, _) = met_with(|w| w.limits.call_bytes = 100_000);
    let join = |w: &mut World, i: u8| Member::join_as(w, a, &format!("m{i}"), u64::from(i + 1));
    let mut members: Vec<_> = (0..4).map(|i| join(&mut w, i)).collect();
    let (data, day) = (vec![b'x'; 1_000], 86_400_000);
    for number in 0..100 {
        members[0].hand_on(&mut w, number, (1, "m0"), (number, 5, day), &data);
    }
    w.run(ms(100));
    let open = |w: &World| w.nodes[a].engine.stats().calls_open;
    // Twelve messages for four peers of 1 028 bytes each fill half; one of the four has answered.
    assert!((30..38).contains(&open(&w)), "{} wait", open(&w));
    let own = w.call_with(a, "b", secs(5), &[b'x'; 40_000]);
    w.run(secs(1));
    assert!(matches!(w.result(a, own.unwrap()), Some(Ok(_))));
    // Three of the peers that are asked are there and never answer.
    for _ in 0..13 {
        for member in &mut members {
            member.send(&mut w, |s, out| record::encode_notice(s, &[], out));
        }
        w.run(secs(5));
    }
    assert_eq!(open(&w), 0);
    assert!(members.iter().all(|member| !member.is_closed(&w)));
    w.check_closed();
}

#[test]
fn our_own_calls_are_bounded_too() {
    let (mut w, a, b) = met_with(|w| w.limits.calls = 100);
    // Those who wait for an address count as well.
    let nobody = "10.77.0.1:7".parse().unwrap();
    let connect = |w: &mut World| w.with(a, |e, now| e.connect(now, nobody, secs(3)));
    for _ in 0..100 {
        connect(&mut w).unwrap();
    }
    let full = Error::Overloaded("too many calls of this node are in flight");
    assert_eq!(connect(&mut w), Err(full));
    assert!(w.call(a, "nobody", secs(1)).is_none());
    w.run(secs(4));
    for _ in 0..100 {
        w.call(a, "nobody", secs(1)).unwrap();
    }
    assert_eq!(w.call(a, "nobody", secs(1)), None, "overloaded");
    w.run(secs(2));
    let large = engine::Ask::Message(vec![0; 100_000_000]);
    let now = w.clock_of(a);
    let e = w.nodes[a]
        .engine
        .call(now, &name("b"), large, terms(secs(1)));
    assert!(matches!(e, Err(Error::TooLarge { .. })));
    unharmed(&mut w, a, b);
}
