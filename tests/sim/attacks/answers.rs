//! Answers: late ones, second ones, those that nobody asked for, and more than are kept.

use super::member::Member;
use crate::pairs::{met, met_with, unharmed};
use crate::world::{Behaviour, ms, secs};
use peerbase::error::Error;
use peerbase::wire::record;
use peerbase::wire::record::Status;

#[test]
fn an_answer_that_comes_while_its_call_waits_to_be_sent_again_ends_it() {
    let (mut w, a, _) = met_with(|w| {
        // A link that holds anything at all takes no more.
        w.limits.link_queue = 1;
    });
    let mut m = Member::join_as(&mut w, a, "m", 77);
    let first = w.call(a, "m", secs(20)).unwrap();
    let second = w.call(a, "m", secs(20)).unwrap();
    w.run(ms(20));
    assert_eq!(m.calls(&w), [(first.0, false), (second.0, false)]);
    // Another session takes the place of this one; it has room for the first call, and the second
    // waits.
    let mut again = Member::ask(&mut w, a, "m", 77);
    again.stall(&mut w);
    again.prove(&mut w);
    assert!(m.is_closed(&w) && again.unread(&w) > 0);
    let answer = |s, out: &mut Vec<u8>| record::encode_reply(s, second.0, Status::Value, b"2", out);
    again.send(&mut w, answer);
    w.run(ms(20));
    assert_eq!(w.result(a, second), Some(&Ok(b"2".to_vec())));
    w.unstall(again.wire);
    w.run(ms(100));
    assert_eq!(again.calls(&w), [(first.0, true)], "not the second again");
    assert_eq!(w.nodes[a].engine.stats().replies_unexpected, 0);
    w.check_closed();
}

#[test]
fn answers_nobody_asked_for_and_second_answers_are_counted_and_ignored() {
    let (mut w, a, b) = met();
    let mut m = Member::join(&mut w, a, "m");
    let n = w.call(a, "m", secs(5)).unwrap();
    let reply = |n: u64, body: &'static [u8]| {
        move |s: u64, out: &mut Vec<u8>| record::encode_reply(s, n, Status::Value, body, out)
    };
    m.send(&mut w, reply(4_711, b"never asked"));
    m.send(&mut w, reply(n.0, b"right"));
    m.send(&mut w, reply(n.0, b"wrong"));
    // Nor can it answer what another was asked.
    let other = w.call(a, "nobody", secs(2)).unwrap();
    m.send(&mut w, reply(other.0, b"stolen"));
    w.run(secs(3));
    assert_eq!(w.result(a, n), Some(&Ok(b"right".to_vec())));
    assert!(w.result(a, other).unwrap().is_err());
    assert_eq!(w.nodes[a].engine.stats().replies_unexpected, 3);
    m.send(&mut w, |s, out| {
        record::encode_close(s, record::CloseReason::Leaving, out)
    });
    w.run(secs(1));
    unharmed(&mut w, a, b);
}

#[test]
fn an_answer_too_late_or_given_twice_by_a_handler_is_counted_and_ignored() {
    let (mut w, a, b) = met();
    w.nodes[a].behaviour = Behaviour::Hold;
    let n = w.call(b, "a", ms(300)).unwrap();
    w.run(secs(1));
    assert_eq!(w.result(b, n), Some(&Err(Error::Timeout)));
    w.answer_all(a);
    assert_eq!(w.nodes[a].engine.stats().replies_late, 1);
    w.nodes[a].behaviour = Behaviour::Echo;
    unharmed(&mut w, a, b);
}

#[test]
fn an_answer_that_gives_way_while_it_is_delivered_is_lost_and_its_caller_is_told() {
    let (mut w, a, b) = met_with(|w| {
        w.limits.reply_bytes = 200_000;
        w.limits.stream_window = 40_000;
    });
    let mut other = Member::join_as(&mut w, a, "other", 9);
    // Three callers have nearly all that they may have, and confirm none of it.
    let args = vec![b'x'; 45_000];
    for i in 0..3 {
        let mut m = Member::join_as(&mut w, a, &format!("m{i}"), i + 1);
        for n in 0..4 {
            m.call_with(&mut w, n, 80_000_000, &args);
        }
        w.run(ms(50));
        assert_eq!(m.statuses(&w), [Status::Value; 4]);
    }
    // An answer to a fourth one, which has the most, is on a slow line, a window at a time.
    w.nodes[a].behaviour = Behaviour::Hold;
    let n = w
        .call_with(b, "a", secs(80_000), &vec![b'y'; 190_000])
        .unwrap();
    w.run_until(secs(5), |w| !w.nodes[a].held.is_empty());
    w.delay = (ms(200), ms(210));
    w.answer_all(a);
    w.run(secs(1));
    assert_eq!(w.result(b, n), None, "not all of it has come");
    // A fifth one needs room.
    w.nodes[a].behaviour = Behaviour::Echo;
    for number in 0..2 {
        other.call_with(&mut w, number, 80_000_000, &args);
    }
    w.run(secs(2));
    let result = w.result(b, n);
    assert!(
        matches!(result, Some(Err(Error::AnswerLost(_)))),
        "{result:?}"
    );
    w.delay = (ms(0), ms(1));
    w.check_closed();
}

#[test]
fn kept_answers_are_bounded_in_bytes() {
    let (mut w, a, b) = met_with(|w| w.limits.reply_bytes = 10_000);
    let mut m = Member::join(&mut w, a, "m");
    let args = vec![b'x'; 1_000];
    for n in 0..20 {
        m.call_with(&mut w, n, 5_000, &args);
    }
    w.run(ms(100));
    let statuses = m.statuses(&w);
    assert_eq!(statuses.iter().filter(|s| **s == Status::Value).count(), 10);
    assert_eq!(
        statuses
            .iter()
            .filter(|s| **s == Status::AnswerLost)
            .count(),
        10,
        "they ran, which a caller must not take for being turned away"
    );
    // Confirmed ones make room.
    let settled: Vec<u64> = (0..20).collect();
    m.send(&mut w, |s, out| record::encode_notice(s, &settled, out));
    m.call(&mut w, 21);
    w.run(ms(100));
    assert_eq!(m.statuses(&w), [Status::Value]);
    w.run(secs(30));
    unharmed(&mut w, a, b);
}
