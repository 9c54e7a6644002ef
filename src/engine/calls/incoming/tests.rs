//! Tests of the calls of peers, with a [`Ctx`] and nothing else.

use super::*;
use crate::engine::context::Core;
use crate::engine::fixture::core;
use crate::engine::{LinkId, Now};
use crate::identity::Identity;
use crate::wire::ask::AskKind;
use crate::wire::record::{Body, Record};

fn id(caller: u8, number: u64) -> RequestId {
    RequestId {
        caller: Instance([caller; 16]),
        number,
    }
}

fn source() -> Source {
    Source::Relay(LinkId(1))
}

fn sender() -> Sender {
    Sender {
        source: source(),
        key: Identity::from_seed([1; 32]).public_key(),
        roles: Arc::default(),
    }
}

fn at(ms: u64) -> Now {
    Now {
        at: Time(Duration::from_millis(ms)),
        unix: 0,
    }
}

fn add(core: &mut Core, serving: &mut Serving, id: RequestId) {
    let order = Order {
        now: Time::default(),
        timeout: Duration::from_secs(1),
        streams: true,
        asked: 10,
    };
    let served = Served::new(Stage::Running { caller_left: false }, order);
    serving.add(&mut core.at(at(0)), id, sender(), served);
}

fn add_answered(core: &mut Core, serving: &mut Serving, id: RequestId) {
    add(core, serving, id);
    serving.keep_answer(id, Status::Value, b"7".to_vec(), 1);
}

#[test]
fn a_call_that_comes_again_is_recognised_until_its_answer_is_confirmed() {
    let (mut core, mut serving, call) = (core(), Serving::default(), id(1, 5));
    assert!(serving.came_again(&mut core.at(at(0)), call).is_none());
    add(&mut core, &mut serving, call);
    assert_eq!(serving.confirmed(call), None, "it still runs");
    let came = serving.came_again(&mut core.at(at(0)), call).unwrap();
    assert_eq!(came.again, Again::UnderWay);
    serving.keep_answer(call, Status::Value, b"7".to_vec(), 1);
    let came = serving.came_again(&mut core.at(at(0)), call).unwrap();
    assert_eq!(came.again, Again::Answered);
    assert_eq!(serving.unconfirmed(), [call.caller]);

    let mut plain = Vec::new();
    assert!(serving.encode_answer(call, 3, &mut plain));
    let record = Record::decode(&plain).unwrap();
    assert!(matches!(
        record.body,
        Body::Reply {
            number: 5,
            body: b"7",
            ..
        }
    ));
    assert!(serving.confirmed(call).is_some());
    assert!(serving.came_again(&mut core.at(at(0)), call).is_none());
    assert_eq!((serving.len(), core.stats.served_again), (0, 2));
    let limits = &core.config.limits;
    assert!(
        serving.admit(call, true, 1, limits).is_ok(),
        "confirmed: it may come anew"
    );
}

#[test]
fn what_was_forgotten_at_its_deadline_does_not_run_again() {
    let (mut core, mut serving, call) = (core(), Serving::default(), id(1, 5));
    add_answered(&mut core, &mut serving, call);
    assert_eq!(serving.due(), at(1_000).at);
    assert_eq!(serving.next_expired(&mut core.at(at(999))), None);
    let over = serving.next_expired(&mut core.at(at(1_000)));
    assert!(matches!(over, Some(Expired::Over(over)) if over.call == call));
    assert_eq!(serving.next_expired(&mut core.at(at(1_000))), None);
    assert_eq!((serving.len(), serving.due()), (0, Time::NEVER));
    let limits = &core.config.limits;
    let again = serving.admit(call, true, 1, limits);
    assert_eq!(again, Err(Refusal::MayHaveRun));
    assert!(
        serving.admit(call, false, 1, limits).is_ok(),
        "a first time"
    );
    let most = limits.max_message as u64 + PATH_ROOM;
    let larger = serving.admit(id(1, 6), false, most + 1, limits);
    assert_eq!(larger, Err(Refusal::TooLarge));
}

#[test]
fn a_call_that_the_program_works_on_counts_after_its_time_until_it_is_answered() {
    let (mut core, mut serving, call) = (core(), Serving::default(), id(1, 5));
    add(&mut core, &mut serving, call);
    serving.moved(at(500).at, call);
    assert_eq!(serving.next_expired(&mut core.at(at(1_000))), None);
    assert_eq!(serving.due(), at(1_500).at, "its streams have moved");
    assert!(serving.next_expired(&mut core.at(at(1_500))).is_some());
    assert_eq!(serving.len(), 1);
    assert!(!serving.is_wanted(call));
    assert_eq!(serving.worth_of_answer(call), Worth::Expired);
    serving.forget(call, None);
    assert_eq!(serving.worth_of_answer(call), Worth::Late);
    assert_eq!(serving.len(), 0);
}

#[test]
fn a_call_of_which_no_more_comes_is_given_up_before_its_time_and_may_come_again() {
    let (mut core, mut serving, call) = (core(), Serving::default(), id(1, 5));
    let (limits, a_minute) = (core.config.limits.clone(), core.config.limits.frame);
    let order = Order {
        now: Time::default(),
        timeout: a_minute * 9,
        streams: false,
        asked: 10,
    };
    let stage = Stage::Collecting {
        awaits_path: false,
        kind: AskKind::Command,
        caller: NodeName::new("c").unwrap(),
    };
    let served = Served::new(stage, order);
    serving.add(&mut core.at(at(0)), call, sender(), served);
    let half_minutes = |n: u32| Now {
        at: Time(a_minute * n / 2),
        unix: 0,
    };
    assert_eq!(serving.due(), half_minutes(2).at);
    serving.streamed(half_minutes(1).at, call.caller);
    assert_eq!(serving.next_expired(&mut core.at(half_minutes(2))), None);
    assert_eq!(serving.due(), half_minutes(3).at, "a piece came");
    let stalled = serving.next_expired(&mut core.at(half_minutes(3)));
    assert_eq!(stalled, Some(Expired::Stalled(call)));
    assert_eq!(serving.next_expired(&mut core.at(half_minutes(3))), None);
    assert_eq!(serving.due(), half_minutes(18).at);
    assert!(serving.collected(call).is_some());
    assert_eq!(serving.next_expired(&mut core.at(half_minutes(17))), None);
    assert!(
        serving.admit(call, true, 1, &limits).is_ok(),
        "it never ran"
    );
}

#[test]
fn streams_are_taken_once_and_only_where_the_caller_streams() {
    let (mut core, mut serving, call) = (core(), Serving::default(), id(1, 5));
    assert!(matches!(serving.read(call), Err(Error::Broken { .. })));
    add(&mut core, &mut serving, call);
    assert_eq!(serving.read(call), Ok(()));
    assert!(matches!(serving.read(call), Err(Error::Argument(_))));
    let over = serving.withdraw(call).unwrap();
    assert!(over.reads && over.why.is_some());
    assert_eq!(serving.withdraw(call), None, "its streams have ended");
}

#[test]
fn what_a_link_does_not_take_waits_and_what_was_forgotten_meanwhile_does_not_come() {
    let (mut core, mut serving) = (core(), Serving::default());
    let limits = core.config.limits.clone();
    for number in 1..=2 {
        add_answered(&mut core, &mut serving, id(1, number));
        serving.queue_answer(id(1, number), &limits);
        serving.queue_answer(id(1, number), &limits);
    }
    assert!(serving.queue_refusal(id(1, 3), Refusal::Overloaded, &limits));
    serving.confirmed(id(1, 1));
    let caller = id(1, 0).caller;
    assert_eq!(serving.next_in_backlog(caller), Some(Waiting::Answer(2)));
    assert!(serving.has_backlog());
    let refusal = Waiting::Refusal(3, Refusal::Overloaded);
    assert_eq!(serving.next_in_backlog(caller), Some(refusal));
    assert_eq!(serving.next_in_backlog(caller), None);
    assert!(!serving.has_backlog());
    for number in 0..2 * limits.served_per_peer as u64 {
        assert!(serving.queue_refusal(id(2, number), Refusal::Overloaded, &limits));
    }
    assert!(!serving.queue_refusal(id(2, 0), Refusal::Overloaded, &limits));
    serving.drop_refusals(id(2, 0).caller);
    assert!(!serving.has_backlog() && serving.callers.len() == 1);
}

#[test]
fn answers_of_callers_that_are_away_give_way_first_and_then_those_of_callers_that_have_more() {
    let (mut core, mut serving) = (core(), Serving::default());
    for number in 0..3 {
        add_answered(&mut core, &mut serving, id(1, number));
    }
    add_answered(&mut core, &mut serving, id(2, 0));
    add(&mut core, &mut serving, id(3, 0));
    add(&mut core, &mut serving, id(4, 0));
    let room_for = id(4, 0).caller;
    let need = Need::Call {
        source: source(),
        asked: 1,
    };
    let mut evict = |serving: &mut Serving, away: Option<RequestId>| -> Vec<RequestId> {
        let mut ctx = core.at(at(0));
        let mut holders = serving.holders(&ctx, room_for, need);
        for holder in &mut holders {
            holder.is_away = away.is_some_and(|away| away.caller == holder.caller);
        }
        let evicted = serving.evict(&mut ctx, room_for, need, holders);
        evicted.iter().map(|over| over.call).collect()
    };
    let evicted = evict(&mut serving, Some(id(2, 0)));
    let expected = [id(2, 0), id(1, 0), id(1, 1), id(1, 2)];
    assert_eq!(evicted, expected, "an answer, and never what still runs");
    assert!(evict(&mut serving, None).is_empty());
    add_answered(&mut core_of_its_own(), &mut serving, id(5, 0));
    add_answered(&mut core_of_its_own(), &mut serving, id(5, 1));
    assert!(
        evict(&mut serving, None).is_empty(),
        "it is not searched again so soon"
    );
    let may_have_run = serving.forgotten.may_have_run(id(1, 2));
    assert!(may_have_run, "and does not run again");
}

fn core_of_its_own() -> Core {
    core()
}
