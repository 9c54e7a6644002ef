//! Tests of the calls of this node, with a [`Ctx`](crate::engine::context::Ctx) and nothing else.

use super::answers::KeptValue;
use super::*;
use crate::engine::Now;
use crate::engine::context::Core;
use crate::engine::fixture::core;
use crate::name::CommandPath;
use crate::wire::record::{Body, Record};
use std::time::Duration;

const PEER: Instance = Instance([9; 16]);
const LINK: LinkId = LinkId(3);

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn at(ms: u64) -> Now {
    Now {
        at: Time(Duration::from_millis(ms)),
        unix: 0,
    }
}

fn command() -> Ask {
    Ask::Command {
        path: CommandPath::new("do").unwrap(),
        args: b"[]".to_vec(),
        kwargs: b"{}".to_vec(),
    }
}

fn seven() -> Payload {
    Payload::Json(b"7".to_vec())
}

fn new_call(ask: Ask, wait: bool, streams: bool) -> NewCall {
    NewCall {
        owner: Owner::Program,
        target: name("b"),
        ask,
        terms: Terms {
            timeout: Duration::from_secs(1),
            wait,
            streams,
        },
    }
}

fn begin(core: &mut Core, calls: &mut Calls, streams: bool) -> u64 {
    let new = new_call(command(), true, streams);
    calls.begin(&mut core.at(at(0)), new)
}

/// Begins a call and sends it to the peer over the link.
fn sent(core: &mut Core, calls: &mut Calls, streams: bool) -> u64 {
    let number = begin(core, calls, streams);
    calls.sent(&mut core.at(at(0)), number, PEER, LINK);
    number
}

fn reply(number: u64, status: Status) -> Reply<'static> {
    Reply {
        peer: PEER,
        link: LINK,
        number,
        status,
        body: b"7",
    }
}

#[test]
fn the_calls_in_the_line_of_a_target_come_in_their_order_and_leave_it_when_they_are_sent() {
    let (mut core, mut calls) = (core(), Calls::default());
    for _ in 0..2 {
        let number = begin(&mut core, &mut calls, false);
        assert!(calls.waiting(number).is_some_and(|w| w.bound.is_none()));
        calls.wait_in_line(number);
    }
    assert_eq!(calls.next_waiting(&name("b"), 0), Some(1));
    calls.leave_line_if_sent(1, &name("b"));
    assert_eq!(
        calls.next_waiting(&name("b"), 0),
        Some(1),
        "it was not sent"
    );
    calls.sent(&mut core.at(at(0)), 1, PEER, LINK);
    calls.leave_line_if_sent(1, &name("b"));
    assert_eq!(calls.next_waiting(&name("b"), 0), Some(2));
    assert!(calls.end(&mut core.at(at(0)), CallNumber(2)).is_some());
    assert!(calls.end(&mut core.at(at(0)), CallNumber(2)).is_none());
    assert!(!calls.waits_for(&name("b")) && calls.len() == 1);
}

#[test]
fn a_call_whose_link_is_lost_goes_again_and_only_to_the_same_instance() {
    let (mut core, mut calls) = (core(), Calls::default());
    let number = sent(&mut core, &mut calls, false);
    let other = begin(&mut core, &mut calls, false);
    calls.sent(&mut core.at(at(0)), other, PEER, LinkId(4));
    calls.link_ended(LINK);
    assert_eq!(calls.next_waiting(&name("b"), 0), Some(number));
    assert_eq!(calls.next_waiting(&name("b"), number + 1), None);
    assert_eq!(calls.waiting(number).unwrap().bound, Some(PEER));
    assert_eq!(calls.link_of(number), None);

    let mut plain = Vec::new();
    calls.encode(at(400).at, number, 5, &[1, 2], &mut plain);
    let record = Record::decode(&plain).unwrap();
    let Body::Call {
        number: its,
        timeout_ms,
        again,
        settled,
        ..
    } = record.body
    else {
        panic!("{record:?}")
    };
    assert_eq!((record.sequence, its, timeout_ms), (5, number, 601));
    assert!(again && settled.iter().eq([1, 2]));
    calls.sent(&mut core.at(at(400)), number, PEER, LinkId(5));
    assert_eq!(core.stats.calls_retried, 1);
    assert_eq!(calls.link_of(number), Some(LinkId(5)));
}

#[test]
fn only_the_instance_that_has_a_call_can_answer_it() {
    let (mut core, mut calls) = (core(), Calls::default());
    let number = sent(&mut core, &mut calls, false);
    let from_another = Reply {
        peer: Instance([8; 16]),
        ..reply(number, Status::Value)
    };
    assert_eq!(calls.answer(from_another), Verdict::Unexpected);
    let over = calls.answer(reply(number + 1, Status::Value));
    assert_eq!(over, Verdict::Over);
    let waiting = begin(&mut core, &mut calls, false);
    let too_early = calls.answer(reply(waiting, Status::Value));
    assert_eq!(too_early, Verdict::Unexpected);
    let right = calls.answer(reply(number, Status::Value));
    assert_eq!(right, Verdict::Ends(Ok(seven())));
}

#[test]
fn a_call_that_is_answered_while_it_waits_to_be_sent_again_need_not_be_sent() {
    let (mut core, mut calls) = (core(), Calls::default());
    let number = sent(&mut core, &mut calls, false);
    calls.link_ended(LINK);
    let large = calls.answer(reply(number, Status::Large));
    assert_eq!(large, Verdict::Unexpected, "its stream needs the new path");
    let value = calls.answer(reply(number, Status::Value));
    assert_eq!(value, Verdict::Ends(Ok(seven())));
    assert!(!calls.waits_for(&name("b")));
}

#[test]
fn the_value_of_a_call_with_streams_is_kept_until_it_is_taken_and_given_once() {
    let (mut core, mut calls) = (core(), Calls::default());
    let number = sent(&mut core, &mut calls, true);
    let value = calls.answer(reply(number, Status::Value));
    assert_eq!(value, Verdict::Value(seven()));
    assert_eq!(calls.take_value(number), None);
    calls.keep_value(number, seven());
    let kept = KeptValue {
        link: LINK,
        value: seven(),
    };
    assert_eq!(calls.take_value(number), Some(kept));
    assert_eq!(calls.take_value(number), None);
}

#[test]
fn a_large_value_that_came_is_kept_while_its_call_waits_to_be_sent_again_and_not_sent_again() {
    let (mut core, mut calls) = (core(), Calls::default());
    for (streams, large) in [
        (false, Status::Large),
        (false, Status::LargeData),
        (true, Status::Large),
        (true, Status::LargeData),
    ] {
        let number = sent(&mut core, &mut calls, streams);
        let announced = calls.answer(reply(number, large));
        assert_eq!(announced, Verdict::ValueComes);
        // The value may come over another link than the one that the call was sent over.
        calls.link_ended(LINK);
        let value = calls.streamed_value(number, b"large".to_vec());
        assert_eq!(value, Payload::new(large.is_data(), b"large".to_vec()));
        calls.keep_value(number, value.clone());
        assert_eq!(calls.take_value(number), None, "nothing confirms it");
        calls.sent(&mut core.at(at(0)), number, PEER, LINK);
        let announced = calls.answer(reply(number, large));
        assert_eq!(announced, Verdict::ValueIsKept);
        let kept = calls.take_value(number).unwrap();
        assert_eq!((kept.link, kept.value), (LINK, value));
    }
}

#[test]
fn a_value_has_the_mark_of_its_reply_and_that_of_a_message_is_bytes() {
    let (mut core, mut calls) = (core(), Calls::default());
    let mut answered = |ask, status| {
        let number = calls.begin(&mut core.at(at(0)), new_call(ask, true, false));
        calls.sent(&mut core.at(at(0)), number, PEER, LINK);
        calls.answer(reply(number, status))
    };
    let data = || Payload::Data(b"7".to_vec());
    let called_with_data = Ask::Data {
        path: CommandPath::new("do").unwrap(),
        data: vec![0],
    };
    for ask in [command(), called_with_data] {
        let value = answered(ask.clone(), Status::Value);
        assert_eq!(value, Verdict::Ends(Ok(seven())));
        let value = answered(ask, Status::Data);
        assert_eq!(value, Verdict::Ends(Ok(data())));
    }
    for status in [Status::Value, Status::Data] {
        let value = answered(Ask::Message(vec![0]), status);
        assert_eq!(value, Verdict::Ends(Ok(data())));
    }
}

#[test]
fn a_late_call_says_whether_its_target_was_ever_reached_and_streams_that_move_prolong_it() {
    let (mut core, mut calls) = (core(), Calls::default());
    let waiting = begin(&mut core, &mut calls, false);
    let reached = sent(&mut core, &mut calls, true);
    calls.moved(at(500).at, reached);
    assert_eq!(calls.due(), at(1_000).at);
    assert_eq!(calls.next_late(at(999).at), None);
    let late = calls.next_late(at(1_000).at).unwrap();
    assert_eq!(late.number, CallNumber(waiting));
    assert_eq!(late.why, Error::Unreachable("b".into()));
    calls.end(&mut core.at(at(1_000)), late.number);
    assert_eq!(calls.next_late(at(1_000).at), None);
    assert_eq!(calls.due(), at(1_500).at);
    let late = calls.next_late(at(1_500).at).unwrap();
    assert_eq!(
        (late.number, late.why),
        (CallNumber(reached), Error::Timeout)
    );
}

#[test]
fn an_instance_that_is_gone_ends_the_calls_that_it_may_have_and_those_that_do_not_wait() {
    let (mut core, mut calls) = (core(), Calls::default());
    let bound = sent(&mut core, &mut calls, false);
    let patient = begin(&mut core, &mut calls, false);
    let hasty = calls.begin(&mut core.at(at(0)), new_call(command(), false, false));
    let b = name("b");
    let gone = |was_last, restarted| Gone {
        instance: PEER,
        name: &b,
        restarted,
        was_last,
    };
    let numbers = |failed: Vec<Failed>| failed.iter().map(|f| f.number.0).collect::<Vec<_>>();
    assert_eq!(numbers(calls.failed_by(gone(true, false))), [bound, hasty]);
    let failed = calls.failed_by(gone(false, true));
    assert_eq!(failed[0].why, Error::PeerRestarted);
    assert_eq!(numbers(failed), [bound]);
    assert!(calls.is_open(patient));
}

#[test]
fn a_command_is_handed_out_and_given_up_on_but_nothing_else_can_be() {
    let (mut core, mut calls) = (core(), Calls::default());
    let mut ctx = core.at(at(0));
    let number = calls.begin(&mut ctx, new_call(command(), true, false));
    assert_eq!(calls.hand_out(&mut ctx, CallNumber(number)), Ok(()));
    assert!(calls.waiting(number).is_none());
    calls.end(&mut ctx, CallNumber(number));
    let (a, b) = (ctx.outputs.pop_front(), ctx.outputs.pop_front());
    assert!(matches!(a, Some(Output::CompatCall { args, .. }) if args == b"[]"));
    assert!(matches!(b, Some(Output::CompatForget(CallNumber(n))) if n == number));

    let data = Ask::Data {
        path: CommandPath::new("do").unwrap(),
        data: vec![1],
    };
    let others = [
        (Ask::Message(vec![1]), false),
        (command(), true),
        (data, false),
    ];
    for (ask, streams) in others {
        let number = calls.begin(&mut ctx, new_call(ask, true, streams));
        let refused = calls.hand_out(&mut ctx, CallNumber(number));
        assert!(matches!(refused, Err(Error::Refused(_))));
    }
    assert!(ctx.outputs.is_empty());
}

#[test]
fn a_call_of_this_node_to_itself_is_handed_to_its_program_and_answered_once() {
    let (mut core, mut calls) = (core(), Calls::default());
    let mut ctx = core.at(at(0));
    let number = calls.begin_local(&mut ctx, new_call(command(), true, false));
    let request = ctx.outputs.pop_front();
    assert!(matches!(request, Some(Output::Request(r)) if r.id.number == number));
    let result = calls.answer_local(number, Status::NotFound, b"");
    assert_eq!(result, Some(Err(Error::CommandNotFound("do".into()))));
    calls.end(&mut ctx, CallNumber(number));
    assert_eq!(calls.answer_local(number, Status::Value, b""), None);
}

#[test]
fn calls_and_what_they_ask_are_bounded() {
    let (mut core, mut calls) = (core(), Calls::default());
    core.config.limits.calls = 3;
    core.config.limits.call_bytes = 100;
    let large = Ask::Message(vec![0; 60]);
    calls.begin(&mut core.at(at(0)), new_call(large, true, false));
    let limits = &core.config.limits;
    assert!(calls.check_room(limits, 40, 1).is_ok());
    assert!(calls.check_room(limits, 41, 1).is_err(), "too many bytes");
    assert!(calls.check_room(limits, 0, 2).is_err(), "too many begun");
    calls.end(&mut core.at(at(0)), CallNumber(1));
    assert!(calls.check_room(&core.config.limits, 100, 2).is_ok());
}

#[test]
fn what_is_handed_on_for_others_takes_at_most_half_of_the_room() {
    let (mut core, mut calls) = (core(), Calls::default());
    core.config.limits.calls = 4;
    core.config.limits.call_bytes = 100;
    let limits = core.config.limits.clone();
    let mut forward = |calls: &mut Calls, size| {
        let new = NewCall {
            owner: Owner::Forward(7),
            ..new_call(Ask::Message(vec![0; size]), true, false)
        };
        calls.begin(&mut core.at(at(0)), new)
    };
    assert!(calls.check_forward(&limits, 100).is_ok(), "a single one");
    let first = forward(&mut calls, 30);
    assert!(calls.check_forward(&limits, 20).is_ok());
    assert!(calls.check_forward(&limits, 21).is_err(), "too many bytes");
    forward(&mut calls, 0);
    assert!(calls.check_forward(&limits, 0).is_err(), "too many calls");
    assert!(calls.check_room(&limits, 70, 0).is_ok(), "for the program");
    calls.end(&mut core.at(at(0)), CallNumber(first));
    assert!(calls.check_forward(&limits, 50).is_ok());
}
