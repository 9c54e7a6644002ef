//! Tests of all streams of a node, with a [`Ctx`] and nothing else.

use super::records::Step;
use super::*;
use crate::engine::Now;
use crate::engine::context::Core;
use crate::engine::fixture::core;
use crate::wire::record::{Body, Record};

/// The node that calls, and the one that is called.
const CALLER: Instance = Instance([5; 16]);
const CALLEE: Instance = Instance([2; 16]);
const LINK: LinkId = LinkId(1);

const CALL: RequestId = RequestId {
    caller: CALLER,
    number: 1,
};

fn core_of(instance: Instance) -> Core {
    Core { instance, ..core() }
}

fn speaker(peer: Instance) -> Speaker {
    Speaker {
        link: LINK,
        peer,
        last_call: Some(1),
        next_own: 2,
    }
}

/// Both ends of the streams of one call, which was just sent and has just come.
struct Pair {
    caller: Streams,
    callee: Streams,
    caller_core: Core,
    callee_core: Core,
}

impl Pair {
    fn new() -> Pair {
        let mut pair = Pair {
            caller: Streams::default(),
            callee: Streams::default(),
            caller_core: core_of(CALLER),
            callee_core: core_of(CALLEE),
        };
        let limits = &pair.caller_core.config.limits;
        pair.caller.open_for_own(CALL, limits);
        pair.caller.bind(CALL, CALLEE);
        pair.callee.open_for_request(CALL);
        let up = CALL.stream(Channel::Request);
        assert_eq!(
            pair.callee.go_on_over(up, LINK),
            None,
            "nothing may come yet"
        );
        let feedback = pair.callee.accept(CALL, limits).unwrap();
        pair.tell_caller(feedback);
        pair
    }

    /// The caller is told what a receiving end of the callee says.
    fn tell_caller(&mut self, feedback: Feedback) -> Step {
        let mut plain = Vec::new();
        feedback.encode(0, &mut plain);
        let body = Record::decode(&plain).unwrap().body;
        let ctx = &mut self.caller_core.at(Now::default());
        let step = self.caller.take_in(ctx, &speaker(CALLEE), body);
        step.unwrap().unwrap()
    }

    /// Moves the next piece from the caller to the callee, and says what that led to.
    fn carry(&mut self) -> Option<Step> {
        let (id, link) = self.caller.next_in_line()?;
        let mut plain = Vec::new();
        self.caller.encode_next(id, 0, &mut plain).unwrap();
        self.caller.sent(id);
        self.caller.back_in_line(id);
        assert_eq!(link, LINK);
        let body = Record::decode(&plain).unwrap().body;
        let ctx = &mut self.callee_core.at(Now::default());
        self.callee.take_in(ctx, &speaker(CALLER), body).unwrap()
    }
}

#[test]
fn what_is_written_at_one_node_is_read_at_the_other_and_ends_there() {
    let mut pair = Pair::new();
    let up = CALL.stream(Channel::Request);
    let limits = pair.caller_core.config.limits.clone();
    let whole = vec![7; limits.chunk_size + 1];
    assert_eq!(pair.caller.write(up, &whole, &limits), Ok(whole.len()));
    pair.caller.finish(up);
    let mut buf = vec![0; whole.len() + 1];
    assert_eq!(pair.callee.read(up, &mut buf).unwrap().bytes, None);
    assert!(pair.carry().is_some_and(|step| step.moved));
    let told = pair.callee_core.outputs.pop_front();
    assert!(
        matches!(told, Some(Output::Stream(id)) if id == up),
        "it waited"
    );
    assert!(pair.carry().is_some_and(|step| step.next == Next::Nothing));
    assert!(pair.carry().is_some_and(|step| step.next == Next::Ended));
    assert!(pair.carry().is_none());
    let read = pair.callee.read(up, &mut buf).unwrap().bytes;
    assert_eq!((read, &buf[..whole.len()]), (Some(whole.len()), &whole[..]));
    assert_eq!(pair.callee.read(up, &mut buf).unwrap().bytes, Some(0));
    assert_eq!(pair.callee_core.stats.stream_bytes_in, whole.len() as u64);
}

#[test]
fn a_reader_that_closes_tells_the_sender_which_may_write_no_more() {
    let mut pair = Pair::new();
    let up = CALL.stream(Channel::Request);
    let closed = pair.callee.close(&mut pair.callee_core.outputs, up);
    let step = pair.tell_caller(closed.unwrap().feedback.unwrap());
    assert!(step.moved);
    let limits = &pair.caller_core.config.limits;
    let written = pair.caller.write(up, b"x", limits);
    assert!(matches!(written, Err(Error::Broken { .. })));
    // While there was no session to say so, it is said over the next.
    let told = pair.callee.resume(up, LinkId(2), true).unwrap();
    assert_eq!((told.link, told.says), (LinkId(2), Says::Stop));
    assert_eq!(pair.callee.resume(up, LinkId(2), false), None);
}

#[test]
fn a_peer_that_speaks_of_a_stream_that_never_was_breaks_the_rules_and_of_one_that_is_over_does_not()
{
    let (mut core, mut streams) = (core_of(CALLEE), Streams::default());
    let data = |number| Body::Data {
        of: (Channel::Request, number),
        offset: 0,
        bytes: b"x",
    };
    let mut ctx = core.at(Now::default());
    let over = streams.take_in(&mut ctx, &speaker(CALLER), data(1));
    assert_eq!(over, Ok(None));
    assert_eq!(ctx.stats.stream_stray, 1);
    let never = streams.take_in(&mut ctx, &speaker(CALLER), data(2));
    assert_eq!(never, Err(Violation));
    streams.open_for_request(CALL);
    let ungranted = streams.take_in(&mut ctx, &speaker(CALLER), data(1));
    assert_eq!(ungranted, Ok(None), "it does not go over this session yet");
    streams.go_on_over(CALL.stream(Channel::Request), LINK);
    let ungranted = streams.take_in(&mut ctx, &speaker(CALLER), data(1));
    assert_eq!(ungranted, Err(Violation));
    let of_another = Body::Credit {
        of: (Channel::Request, 1),
        received: 0,
        limit: 9,
    };
    let not_its_own = streams.take_in(&mut ctx, &speaker(CALLEE), of_another);
    assert_eq!(
        not_its_own,
        Ok(None),
        "it means a call of this node that is over"
    );
}

#[test]
fn streams_that_have_something_to_send_take_turns() {
    let (mut streams, limits) = (Streams::default(), Limits::default());
    let ids = [1, 2].map(|number| {
        let call = RequestId { number, ..CALL };
        streams.open_for_own(call, &limits);
        call.stream(Channel::Request)
    });
    let credit = Credit {
        received: 0,
        limit: 1 << 20,
    };
    for id in ids {
        streams.sending(id).unwrap().credit(LINK, credit).unwrap();
        streams
            .write(id, &vec![0; 3 * limits.chunk_size], &limits)
            .unwrap();
        streams.write(id, b"again", &limits).unwrap();
    }
    assert_eq!(streams.in_line(), 2, "each stands in line once");
    let mut turns = Vec::new();
    while let Some((id, _)) = streams.next_in_line() {
        assert!(streams.encode_next(id, 0, &mut Vec::new()).is_some());
        streams.sent(id);
        streams.back_in_line(id);
        turns.push(id.call.number);
    }
    assert_eq!(turns, [1, 2, 1, 2, 1, 2, 1, 2]);
    assert_eq!(streams.due(), Time::NEVER);
    streams.go_on_at(Time::default());
    assert_eq!(streams.due(), Time::NEVER, "there is nothing to go on with");
}

#[test]
fn what_has_come_of_a_call_that_is_over_can_still_be_read_by_a_program_that_reads() {
    let mut pair = Pair::new();
    let (up, down) = (
        CALL.stream(Channel::Request),
        CALL.stream(Channel::Response),
    );
    let limits = pair.caller_core.config.limits.clone();
    pair.caller.write(up, b"abc", &limits).unwrap();
    pair.carry();
    let over = |reads| CallOver {
        call: CALL,
        why: Some("enough"),
        reads,
    };
    pair.callee.end(&mut pair.callee_core.outputs, over(true));
    assert_eq!(pair.callee.len(), 1, "the one that is read");
    let mut buf = [0; 9];
    assert_eq!(pair.callee.read(up, &mut buf).unwrap().bytes, Some(3));
    assert!(matches!(
        pair.callee.read(up, &mut buf),
        Err(Error::Broken { arrived: 3, .. })
    ));
    assert!(pair.callee.write(down, b"x", &limits).is_err());
    // A program that waits learns that nothing will come.
    assert_eq!(pair.caller.read(down, &mut buf).unwrap().bytes, None);
    pair.caller.end(&mut pair.caller_core.outputs, over(false));
    assert_eq!(pair.caller.len(), 0);
    let told = pair.caller_core.outputs.pop_back();
    assert!(matches!(told, Some(Output::Stream(id)) if id == down));
}

#[test]
fn large_values_that_are_coming_are_bounded_for_all_and_for_each_peer() {
    let (mut core, mut streams) = (core_of(CALLER), Streams::default());
    core.config.limits.max_message = 50;
    core.config.limits.message_bytes = 100;
    let mut ctx = core.at(Now::default());
    let mut expect = |number, peer: u8, length| {
        let call = RequestId { number, ..CALL };
        let peer = Instance([peer; 16]);
        streams.expect_value(&mut ctx, call, peer, length).is_ok()
    };
    assert!(!expect(1, 2, 51), "larger than any message");
    assert!(expect(1, 2, 50));
    assert!(expect(1, 2, 50), "the same again, over another path");
    assert!(!expect(2, 2, 1), "half is for one peer");
    assert!(expect(3, 3, 50));
    assert!(!expect(4, 4, 1), "all of it is taken");
}

#[test]
fn a_large_value_is_taken_whole_once_it_is_there() {
    let (mut core, mut streams) = (core_of(CALLER), Streams::default());
    let id = CALL.stream(Channel::Value);
    let mut ctx = core.at(Now::default());
    streams.expect_value(&mut ctx, CALL, CALLEE, 5).unwrap();
    assert!(streams.go_on_over(id, LINK).is_some());
    let data = Body::Data {
        of: (Channel::Value, 1),
        offset: 0,
        bytes: b"hello",
    };
    let step = streams
        .take_in(&mut ctx, &speaker(CALLEE), data)
        .unwrap()
        .unwrap();
    assert!(
        !step.moved,
        "a call has no longer for what is not of programs"
    );
    let end = Body::End {
        of: (Channel::Value, 1),
        length: 5,
        outcome: crate::wire::record::Outcome::Whole,
    };
    let step = streams
        .take_in(&mut ctx, &speaker(CALLEE), end)
        .unwrap()
        .unwrap();
    assert_eq!(step.next, Next::Ended);
    assert_eq!(streams.take_whole(id), Some(Ok(b"hello".to_vec())));
    assert_eq!(streams.take_whole(id), None);
    assert_eq!(streams.ended(id), Some(Ok(())), "it has nothing to add");
}

#[test]
fn the_streams_of_a_caller_are_found_and_those_of_a_lost_link_wait() {
    let (mut streams, limits) = (Streams::default(), Limits::default());
    let other = RequestId {
        caller: Instance([3; 16]),
        number: 0,
    };
    streams.open_for_request(CALL);
    streams.open_for_request(other);
    assert_eq!(streams.calls_of(CALLER), [CALL]);
    assert!(streams.calls_of(CALLEE).is_empty());
    let down = CALL.stream(Channel::Response);
    let credit = Credit {
        received: 0,
        limit: 9,
    };
    streams.sending(down).unwrap().credit(LINK, credit).unwrap();
    streams.write(down, b"x", &limits).unwrap();
    streams.finish(down);
    assert!(streams.unfinished_answers(CALLEE).eq([CALLER]));
    streams.unlink(LINK);
    assert_eq!(streams.next_in_line(), None, "it goes over no session");
    assert!(streams.has_room_for(1, CALLER, |_| false, &limits));
    assert!(!streams.has_room(limits.streams, &limits));
}

#[test]
fn what_is_too_large_for_a_record_takes_no_place_of_streams() {
    let limits = Limits {
        streams: 4,
        ..Limits::default()
    };
    let mut streams = Streams::default();
    for number in 0..10 {
        let call = RequestId { number, ..CALL };
        streams.send_whole(call.stream(Channel::Value), CALLER, vec![7; 9], &limits);
    }
    assert_eq!(streams.len(), 10);
    assert!(streams.has_room(4, &limits) && !streams.has_room(5, &limits));
    assert!(streams.has_room_for(1, CALLER, |_| true, &limits));
    // Nor does what is to come: a caller could claim as much with one tiny call each.
    streams.expect(CALL.stream(Channel::Ask), Instance([4; 16]), 9, &limits);
    assert!(streams.has_room(4, &limits));
    streams.open_for_own(CALL, &limits);
    assert!(streams.has_room(2, &limits) && !streams.has_room(3, &limits));
}

#[test]
fn as_many_ends_may_be_open_as_the_limit_says_and_what_is_too_large_for_a_record_is_none() {
    let (mut core, mut streams) = (core_of(CALLER), Streams::default());
    core.config.limits.streams = 6;
    let limits = core.config.limits.clone();
    let call = |number| RequestId { number, ..CALL };
    let value = |number| call(number).stream(Channel::Value);
    let assert_room = |streams: &Streams, room: usize| {
        assert!(streams.has_room(room, &limits) && !streams.has_room(room + 1, &limits));
        assert_eq!(streams.counted, streams.ends_that_count().count());
    };
    for number in [1, 2] {
        streams.open_for_own(call(number), &limits);
    }
    streams.send_whole(value(3), CALLEE, vec![0; 10], &limits);
    assert_room(&streams, 2);
    // One that comes counts as little. Opened again, the ends of a call are still two.
    streams.expect(value(4), CALLEE, 10, &limits);
    streams.open_for_own(call(2), &limits);
    assert_room(&streams, 2);
    assert!(streams.take_whole(value(4)).is_some());
    let mut outputs = VecDeque::new();
    streams.close(&mut outputs, call(2).stream(Channel::Response));
    assert_room(&streams, 3);
    for call in [call(1), call(2), call(3)] {
        let (why, reads) = (None, false);
        streams.end(&mut outputs, CallOver { call, why, reads });
    }
    assert_room(&streams, 6);
    assert_eq!(streams.len(), 0);
}
