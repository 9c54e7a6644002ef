//! Goodbyes, true and forged, and what becomes of the calls of the node that leaves.

use super::member::{FIRST, Member};
use crate::forged::{advert, advert_frame, instance};
use crate::pairs::{met, met_with};
use crate::world::{Behaviour, PORT, World, ms, secs};
use peerbase::error::Error;
use peerbase::wire::advert::{Advert, Phase};
use peerbase::wire::ask::{AskKind, AskRef};
use peerbase::wire::record::{Form, Status};
use peerbase::wire::{Instance, record};
use std::net::SocketAddr;

/// What an instance says of itself when it leaves, or somebody who has the key in its place.
fn goodbye(own: &str, instance: Instance) -> Vec<u8> {
    advert_frame(&Advert {
        phase: Phase::Leaving,
        sequence: 1_000_000,
        ..advert(own, instance)
    })
}

#[test]
fn a_call_runs_once_and_is_answered_though_somebody_said_goodbye_in_its_callers_name() {
    for answered_while_away in [true, false] {
        let (mut w, a, b) = met();
        w.nodes[a].behaviour = Behaviour::Hold;
        let n = w.call(b, "a", secs(600)).unwrap();
        w.run(ms(100));
        let id = w.nodes[a].held[0].0;
        w.nodes[b].group = 1;
        w.break_links(b);
        w.run(ms(100));
        assert!(w.nodes[a].engine.is_wanted(id), "it may come again");
        let forged = goodbye("b", w.nodes[b].engine.instance());
        w.raw_datagram(a, SocketAddr::from(([10, 9, 9, 9], PORT)), &forged);
        w.run(ms(100));
        assert!(!w.nodes[a].engine.is_wanted(id), "as far as one can tell");
        if answered_while_away {
            w.answer_all(a);
        }
        w.nodes[b].group = 0;
        w.run(secs(30));
        if !answered_while_away {
            assert!(w.nodes[a].engine.is_wanted(id), "it came again");
            w.answer_all(a);
            w.run(secs(1));
        }
        assert_eq!(w.nodes[a].engine.stats().served, 1, "it ran once");
        assert!(
            matches!(w.result(b, n), Some(Ok(_))),
            "{:?}",
            w.result(b, n)
        );
        w.check_closed();
    }
}

#[test]
fn a_large_answer_comes_though_somebody_said_goodbye_in_its_callers_name() {
    let (mut w, a, b) = met();
    w.nodes[a].behaviour = Behaviour::Hold;
    let value = vec![b'1'; 1_000_000];
    let n = w.call_with(b, "a", secs(600), &value).unwrap();
    w.run_until(secs(10), |w| !w.nodes[a].held.is_empty());
    // The link ends after a part of the answer has come.
    w.answer_all(a);
    let came = |w: &World| w.nodes[b].engine.stats().stream_bytes_in;
    w.run_until(secs(10), |w| came(w) > 400_000);
    w.nodes[b].group = 1;
    w.break_links(b);
    w.run(ms(100));
    assert!(came(&w) < 1_000_000);
    let forged = goodbye("b", w.nodes[b].engine.instance());
    w.raw_datagram(a, SocketAddr::from(([10, 9, 9, 9], PORT)), &forged);
    w.run(ms(100));
    assert_eq!(w.nodes[a].engine.stats().streams, 1, "it is kept");
    w.nodes[b].group = 0;
    w.run(secs(30));
    assert!(w.result(b, n) == Some(&Ok(value)));
    assert_eq!(w.nodes[a].engine.stats().served, 1, "it ran once");
    w.check_closed();
}

#[test]
fn a_streaming_call_ends_though_somebody_said_goodbye_in_its_callers_name() {
    for answered in ["before that", "while its caller is away", "later"] {
        let (mut w, a, b) = met();
        let n = w.call_streaming(b, "a", secs(600)).unwrap();
        w.run(ms(100));
        let call = w.nodes[a].streamed.remove(0);
        w.with(a, |e, now| e.accept_streams(now, call)).unwrap();
        let reply = |w: &mut World| {
            w.with(a, |e, now| e.reply(now, call, Status::Value, b"7".to_vec()));
        };
        w.nodes[b].group = 1;
        w.break_links(b);
        w.run(ms(100));
        if answered == "before that" {
            reply(&mut w);
        }
        let forged = goodbye("b", w.nodes[b].engine.instance());
        w.raw_datagram(a, SocketAddr::from(([10, 9, 9, 9], PORT)), &forged);
        w.run(ms(100));
        if answered == "while its caller is away" {
            reply(&mut w);
        }
        w.nodes[b].group = 0;
        w.run(secs(30));
        if answered == "later" {
            reply(&mut w);
            w.run(secs(1));
        }
        let result = w.result(b, n);
        assert!(
            matches!(result, Some(Err(Error::AnswerLost(_)))),
            "answered {answered}: {result:?}"
        );
        w.check_closed();
    }
}

#[test]
fn large_calls_of_one_that_left_before_all_of_them_came_take_no_room() {
    let (mut w, a, _) = met_with(|w| w.limits.message_bytes = 1_000_000);
    let large = |length| AskRef::Large {
        kind: AskKind::Command,
        length,
    };
    let begin = |w: &mut World, m: &mut Member, again, length| {
        let form = Form { again, ..FIRST };
        m.send(w, |s, out| {
            record::encode_call(s, (1, form), 600_000, &[], &large(length), out)
        });
        w.run(ms(50));
        m.statuses(w)
    };
    let mut m = Member::join_as(&mut w, a, "m", 1);
    assert_eq!(begin(&mut w, &mut m, false, 900_000), []);
    m.part(&mut w);
    w.raw_address = [10, 9, 9, 10];
    let mut other = Member::join_as(&mut w, a, "other", 2);
    let refused = begin(&mut w, &mut other, false, 900_000);
    assert_eq!(refused, [Status::Overloaded], "the one may come again");
    let bye = goodbye("m", instance(1));
    w.raw_datagram(a, SocketAddr::from(([10, 9, 9, 9], PORT)), &bye);
    w.run(ms(50));
    assert_eq!(begin(&mut w, &mut other, false, 900_000), []);
    // Had somebody else said goodbye in its name, it would be told that the call did not run, once
    // it gets in.
    w.run(secs(10));
    let mut m = Member::join_as(&mut w, a, "m", 1);
    let told = begin(&mut w, &mut m, true, 900_000);
    assert_eq!(told, [Status::Refused]);
    assert_eq!(w.nodes[a].engine.stats().streams, 1, "that of the other");
    m.part(&mut w);
    other.part(&mut w);
    w.run(secs(601));
    w.check_closed();
}

#[test]
fn a_caller_that_leaves_confirms_the_answers_that_it_has() {
    let (mut w, a, b) = met();
    let n = w.call(b, "a", secs(600)).unwrap();
    w.run(secs(1));
    assert!(matches!(w.result(b, n), Some(Ok(_))));
    assert_eq!(w.nodes[a].engine.stats().serving, 1, "it is not confirmed");
    w.stop(b);
    w.run(ms(100));
    assert_eq!(w.nodes[a].engine.stats().serving, 0);
    w.check_closed();
}

#[test]
fn nobody_waits_for_the_calls_of_one_that_said_goodbye() {
    let (mut w, a, b) = met();
    w.nodes[a].behaviour = Behaviour::Hold;
    let mut wanted = |leaves: &dyn Fn(&mut World)| {
        w.call(b, "a", secs(600)).unwrap();
        w.run(ms(100));
        let id = w.nodes[a].held.last().unwrap().0;
        assert!(w.nodes[a].engine.is_wanted(id));
        leaves(&mut w);
        w.run(secs(1));
        let still = w.nodes[a].engine.is_wanted(id);
        w.answer_all(a);
        if !w.nodes[b].up {
            w.restart(b);
        }
        w.run(secs(2));
        still
    };
    assert!(wanted(&|w: &mut World| w.break_links(b)), "it comes again");
    assert!(
        wanted(&|w: &mut World| w.kill(b, true)),
        "it may come again"
    );
    let goodbye = |w: &mut World| {
        w.stop(b);
        w.run(ms(100));
        w.nodes[b].up = false;
    };
    assert!(!wanted(&goodbye));
    w.check_closed();
}
