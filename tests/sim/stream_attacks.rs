//! A member gone bad, and streams: whatever was not granted or is out of place ends the session,
//! with a reason, and nothing is kept.

use crate::attacks::{FIRST, Member};
use crate::pairs::{met, met_with, unharmed};
use crate::streams::{Pipe, Streaming};
use crate::world::{Behaviour, World, ms, name, secs, terms};
use peerbase::engine::{self, RequestId, StreamId};
use peerbase::error::Error;
use peerbase::wire::ask::{AskKind, AskRef};
use peerbase::wire::record::{self, Body, Channel, CloseReason, Form, Of, Outcome, Status};

const STREAMS: Form = Form {
    again: false,
    streams: true,
};
const CALL: u64 = 5;

fn ask<'a>() -> AskRef<'a> {
    AskRef::Command {
        path: "stream",
        args: b"[]",
        kwargs: b"{}",
    }
}

/// A member whose call streams to `node`, which takes it.
fn caller(w: &mut World, node: usize) -> (Member, RequestId) {
    let mut m = Member::join(w, node, "m");
    m.send(w, |s, out| {
        record::encode_call(s, (CALL, STREAMS), 60_000, &[], &ask(), out)
    });
    w.run(ms(20));
    let call = w.nodes[node].streamed.remove(0);
    w.with(node, |e, now| e.accept_streams(now, call)).unwrap();
    w.run(ms(20));
    (m, call)
}

fn was_told_why(w: &World, m: &mut Member) -> bool {
    let mut told = false;
    m.hear(w, |body| {
        told |= *body == Body::Close(CloseReason::Violation)
    });
    told && m.is_closed(w)
}

type Attack = (&'static str, fn(u64, &mut Vec<u8>));

fn up() -> Of {
    (Channel::Request, CALL)
}

fn down() -> Of {
    (Channel::Response, CALL)
}

#[test]
fn a_sender_and_a_receiver_that_break_a_rule_are_told_and_cut_off() {
    let attacks: [Attack; 16] = [
        ("a gap", |s, out| record::encode_data(s, up(), 1, b"x", out)),
        ("an empty piece", |s, out| {
            record::encode_data(s, up(), 0, b"", out)
        }),
        ("at the end of all offsets", |s, out| {
            record::encode_data(s, up(), u64::MAX, b"x", out);
        }),
        ("an end before all came", |s, out| {
            record::encode_end(s, up(), 1, &Outcome::Whole, out);
        }),
        ("a call that never was", |s, out| {
            record::encode_data(s, (Channel::Request, CALL + 1), 0, b"x", out);
        }),
        ("a call of ours that never was", |s, out| {
            record::encode_data(s, (Channel::Response, 99), 0, b"x", out);
        }),
        ("data on a channel that is ours to send on", |s, out| {
            record::encode_data(s, (Channel::Response, CALL), 0, b"x", out);
        }),
        ("credit for its own stream", |s, out| {
            record::encode_credit(s, (Channel::Request, 99), 0, 5, out);
        }),
        ("credit for more than was sent", |s, out| {
            record::encode_credit(s, down(), 1, 100, out);
        }),
        ("huge credit", |s, out| {
            record::encode_credit(s, down(), 0, u64::MAX, out);
        }),
        ("credit below what was received", |s, out| {
            record::encode_credit(s, down(), 5, 4, out);
        }),
        ("credit for a call that never was", |s, out| {
            record::encode_credit(s, (Channel::Response, CALL + 1), 0, 4, out);
        }),
        ("no more of a stream that never was", |s, out| {
            record::encode_stop(s, (Channel::Response, CALL + 1), b"", out);
        }),
        ("an ask that was not announced", |s, out| {
            record::encode_data(s, (Channel::Ask, CALL + 1), 0, b"x", out);
        }),
        ("a value that nobody asked for", |s, out| {
            record::encode_data(s, (Channel::Value, 77), 0, b"x", out);
        }),
        ("peers that are none", |s, out| {
            record::encode_peers(s, b"\x01", out)
        }),
    ];
    for (what, attack) in attacks {
        let (mut w, a, b) = met();
        let (mut m, call) = caller(&mut w, a);
        m.send(&mut w, attack);
        w.run(ms(20));
        assert!(was_told_why(&w, &mut m), "{what}");
        assert_eq!(w.nodes[a].engine.stats().refused_stream, 1, "{what}");
        unharmed(&mut w, a, b);
        w.run(secs(70));
        let id = StreamId {
            call,
            channel: Channel::Request,
        };
        w.with(a, |e, now| e.stream_close(now, id));
        assert_eq!(w.nodes[a].engine.stats().streams, 0, "{what}");
        w.check_closed();
    }
}

#[test]
fn more_than_was_granted_and_pieces_after_the_end_end_the_session() {
    let (mut w, a, b) = met();
    let window = w.limits.stream_window as u64;
    let piece = vec![1; 32 * 1024];
    let (mut m, call) = caller(&mut w, a);
    let id = StreamId {
        call,
        channel: Channel::Request,
    };
    for i in 0..window / piece.len() as u64 {
        let offset = i * piece.len() as u64;
        m.send(&mut w, |s, out| {
            record::encode_data(s, up(), offset, &piece, out)
        });
    }
    w.run(ms(50));
    assert!(!m.is_closed(&w), "all of that was granted");
    m.send(&mut w, |s, out| {
        record::encode_data(s, up(), window, b"x", out)
    });
    w.run(ms(50));
    assert!(was_told_why(&w, &mut m));
    assert_eq!(w.nodes[a].engine.stats().stream_bytes_in, window);
    w.with(a, |e, now| e.stream_close(now, id));
    w.run(secs(70));

    for again in [
        |s: u64, out: &mut Vec<u8>| record::encode_data(s, up(), 1, b"x", out),
        |s: u64, out: &mut Vec<u8>| record::encode_end(s, up(), 1, &Outcome::Broken(b""), out),
    ] {
        let (mut m, call) = caller(&mut w, a);
        let id = StreamId { call, ..id };
        m.send(&mut w, |s, out| record::encode_data(s, up(), 0, b"x", out));
        let whole = Outcome::Whole;
        m.send(&mut w, |s, out| record::encode_end(s, up(), 1, &whole, out));
        w.run(ms(20));
        let mut buf = [0; 9];
        let mut read = |w: &mut World| w.with(a, |e, now| e.stream_read(now, id, &mut buf));
        assert_eq!(read(&mut w), Ok(Some(1)));
        assert_eq!(read(&mut w), Ok(Some(0)), "it is whole");
        assert!(!m.is_closed(&w));
        m.send(&mut w, again);
        w.run(ms(20));
        assert!(was_told_why(&w, &mut m));
        w.with(a, |e, now| e.stream_close(now, id));
        w.run(secs(70));
    }
    unharmed(&mut w, a, b);
    w.check_closed();
}

#[test]
fn what_is_still_on_its_way_to_a_stream_that_is_over_harms_nobody() {
    let (mut w, a, b) = met();
    let mut s = Streaming::begin(&mut w, a, b, (vec![1; 3_000_000], Vec::new()));
    for _ in 0..20 {
        s.up.write(&mut w);
        w.run(ms(1));
        s.up.read(&mut w);
        s.up.write(&mut w);
    }
    let up = StreamId {
        call: s.call,
        channel: Channel::Request,
    };
    w.with(b, |e, now| e.stream_close(now, up));
    w.run(ms(50));
    let stats = w.nodes[b].engine.stats();
    assert_eq!(stats.refused_stream, 0, "honest and late");
    w.cancel(a, s.number);
    let down = StreamId {
        call: s.call,
        channel: Channel::Response,
    };
    w.with(a, |e, now| e.stream_close(now, down));
    w.run(secs(1));
    let Pipe { .. } = s.down;
    w.check_closed();
}

#[test]
fn invented_callers_of_one_address_leave_streams_for_others() {
    let (mut w, a, b) = met();
    for i in 0..20 {
        let mut m = Member::join_as(&mut w, a, &format!("m{i}"), i + 1);
        for n in 0..100 {
            m.send(&mut w, |s, out| {
                record::encode_call(s, (n, STREAMS), 600_000, &[], &ask(), out)
            });
        }
        w.run(ms(50));
        assert!(m.statuses(&w).len() > 60, "turned away");
    }
    let taken = w.nodes[a].engine.stats().streams as usize;
    assert!(taken <= w.limits.streams / 2, "{taken}");
    let calls: Vec<_> = (0..10)
        .map(|_| w.call_streaming(b, "a", secs(600)).unwrap())
        .collect();
    w.run(ms(100));
    assert!(calls.iter().all(|n| w.result(b, *n).is_none()));
    let streams = w.nodes[a].engine.stats().streams as usize;
    assert_eq!(streams, taken + 2 * calls.len());
}

#[test]
fn large_messages_that_never_come_are_bounded_and_forgotten() {
    let (mut w, a, b) = met();
    let mut m = Member::join(&mut w, a, "m");
    let max = w.limits.max_message as u64;
    let large = |length| AskRef::Large {
        kind: AskKind::Command,
        length,
    };
    let form = Form {
        again: false,
        streams: false,
    };
    for (number, length) in [(1, max + 10_000), (2, u64::MAX), (3, 100_000_000)] {
        m.send(&mut w, |s, out| {
            record::encode_call(s, (number, form), 5_000, &[], &large(length), out)
        });
    }
    w.run(ms(20));
    assert_eq!(m.statuses(&w), [Status::TooLarge; 3]);
    for number in 10..14 {
        m.send(&mut w, |s, out| {
            record::encode_call(s, (number, form), 5_000, &[], &large(max), out)
        });
    }
    w.run(ms(20));
    assert_eq!(m.statuses(&w), [Status::Overloaded; 2], "two at a time");
    // Nested as deep as it likes: it is not read before it is all there, and then refused.
    let deep = b"[".repeat(1_000_000);
    let mut whole = Vec::new();
    AskRef::Command {
        path: "echo",
        args: &deep,
        kwargs: b"{}",
    }
    .encode(&mut whole);
    w.run(secs(6));
    assert_eq!(w.nodes[a].engine.stats().serving, 0, "forgotten");
    let length = whole.len() as u64;
    m.send(&mut w, |s, out| {
        record::encode_call(s, (20, form), 5_000, &[], &large(length), out)
    });
    m.send(&mut w, |s, out| {
        record::encode_data(s, (Channel::Ask, 20), 0, &whole[..40_000], out)
    });
    // Shorter than was said.
    m.send(&mut w, |s, out| {
        record::encode_end(s, (Channel::Ask, 20), 40_000, &Outcome::Whole, out)
    });
    w.run(ms(50));
    assert!(was_told_why(&w, &mut m));
    unharmed(&mut w, a, b);
    w.run(secs(70));
    w.check_closed();
}

#[test]
fn tiny_calls_that_claim_to_be_large_keep_nobody_from_streaming_and_are_given_up() {
    let (mut w, a, b) = met();
    let mut m = Member::join(&mut w, a, "m");
    let tiny = AskRef::Large {
        kind: AskKind::Command,
        length: 1,
    };
    let (most, day) = (w.limits.streams, 86_400_000);
    for number in 0..most as u64 {
        m.send(&mut w, |s, out| {
            record::encode_call(s, (number, FIRST), day, &[], &tiny, out)
        });
    }
    w.run(ms(50));
    let open = |w: &World| w.nodes[a].engine.stats().streams as usize;
    assert_eq!((open(&w), m.statuses(&w).len()), (most, 0));
    assert!(w.call_streaming(a, "b", secs(600)).is_ok());
    let of_other = w.call_streaming(b, "a", secs(600)).unwrap();
    w.run(ms(50));
    assert_eq!((w.result(b, of_other), open(&w)), (None, most + 4));
    // Its session lives, but nothing of what it asks comes.
    for _ in 0..15 {
        m.send(&mut w, |s, out| record::encode_notice(s, &[], out));
        w.run(secs(5));
    }
    assert_eq!(m.statuses(&w), vec![Status::Refused; most]);
    assert_eq!(open(&w), 4);
    w.check_closed();
}

#[test]
fn a_caller_that_makes_us_speak_of_its_streams_and_reads_nothing_is_closed() {
    let (mut w, a, b) = met_with(|w| w.limits.link_queue = 10_000);
    let (mut m, call) = caller(&mut w, a);
    m.stall(&mut w);
    let again = Form {
        again: true,
        streams: true,
    };
    for n in 0..5_000 {
        if m.is_closed(&w) {
            break;
        }
        m.send(&mut w, |s, out| {
            record::encode_call(s, (CALL, again), 60_000, &[], &ask(), out)
        });
        if n % 100 == 0 {
            w.run(ms(5));
            assert!(m.unread(&w) < 200_000, "{}", m.unread(&w));
        }
    }
    assert!(m.is_closed(&w));
    w.with(a, |e, now| e.reply(now, call, Status::Value, b"1".to_vec()));
    w.run(secs(61));
    unharmed(&mut w, a, b);
}

#[test]
fn a_large_answer_that_is_not_taken_in_is_lost_and_not_overloaded_nor_too_large() {
    let mut w = World::new(crate::first_seed());
    w.limits.message_bytes = 1_000_000;
    let b = w.add("b");
    w.limits.max_message = 200_000;
    let a = w.add("a");
    w.nodes[b].behaviour = Behaviour::Hold;
    w.run(secs(2));
    let begin = |w: &mut World| w.call(a, "b", secs(5)).unwrap();
    let calls: Vec<_> = (0..6).map(|_| begin(&mut w)).collect();
    w.run(ms(50));
    // The first is more than a takes of one, and the last more than it takes of one peer at a time.
    for (i, (id, _)) in std::mem::take(&mut w.nodes[b].held).into_iter().enumerate() {
        let value = vec![b'7'; if i == 0 { 300_000 } else { 150_000 }];
        w.with(b, |e, now| e.reply(now, id, Status::Value, value));
    }
    w.run(secs(2));
    let lost: Vec<bool> = calls
        .iter()
        .map(|n| match w.result(a, *n).unwrap() {
            Ok(value) => value.len() != 150_000,
            Err(e) => matches!(e, Error::AnswerLost(_)),
        })
        .collect();
    assert!(lost[0]);
    assert!(lost[1..].iter().filter(|lost| **lost).count() <= 2);
    // What is asked and too large has not run, and says so otherwise.
    let large = engine::Ask::Message(vec![0; 200_001]);
    let e = w.with(a, |e, now| e.call(now, &name("b"), large, terms(secs(1))));
    assert!(matches!(e, Err(Error::TooLarge { .. })));
    w.check_closed();
}

/// A record with its sequence number, of a stream, in a round.
type Word = fn(u64, Of, u64, &mut Vec<u8>);

#[test]
fn a_callee_that_repeats_what_changes_nothing_does_not_make_a_call_last() {
    let words: [(&str, Word); 3] = [
        ("the same credit", |s, of, _, out| {
            record::encode_credit(s, of, 0, 1_000, out);
        }),
        ("credit that nobody needs", |s, of, round, out| {
            record::encode_credit(s, of, 0, 1_000 + round, out);
        }),
        ("no more is taken", |s, of, _, out| {
            record::encode_stop(s, of, b"", out);
        }),
    ];
    for (what, word) in words {
        let (mut w, a, b) = met();
        let mut m = Member::join(&mut w, a, "m");
        let call = w.call_streaming(a, "m", secs(10)).unwrap();
        w.run(ms(20));
        let down = (Channel::Response, call.0);
        m.send(&mut w, |s, out| {
            record::encode_end(s, down, 0, &Outcome::Whole, out)
        });
        for round in 0..15 {
            let up = (Channel::Request, call.0);
            m.send(&mut w, |s, out| word(s, up, round, out));
            w.run(secs(1));
        }
        assert!(!m.is_closed(&w), "{what}");
        assert_eq!(w.result(a, call), Some(&Err(Error::Timeout)), "{what}");
        unharmed(&mut w, a, b);
        w.check_closed();
    }
}
