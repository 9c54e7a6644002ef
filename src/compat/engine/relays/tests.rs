//! The relays of a node, without the engine.

use super::super::context::Core;
use super::super::context::tests::{at, core, name};
use super::*;
use crate::compat::http::AnswerHead;
use crate::compat::post::Kind;
use crate::limits::Limits;

fn relay(text: &str) -> RelayAddress {
    RelayAddress::new(text).unwrap()
}

fn world() -> (Core, Relays) {
    let limits = Limits {
        compat_posts: 1,
        relay_attempts: 2,
        ..Limits::default()
    };
    let mut relays = Relays::new(&[relay("a:1")]);
    relays.start(at(0).at);
    (core(limits), relays)
}

/// An answer that says whether the relay keeps questions.
fn head(status: u16, waits: bool) -> AnswerHead {
    AnswerHead {
        status,
        location: None,
        waits,
        size: 0,
        length: None,
    }
}

fn pong(peers: &str, servers: &str) -> String {
    format!("{{\"peers\":[{peers}],\"servers\":[{servers}],\"buffer\":{{}}}}")
}

fn answer(core: &mut Core, relays: &mut Relays, ms: u64, waits: bool, text: &str) -> Pinged {
    let head = head(200, waits);
    let answer = Answer::Came(&head, text.as_bytes());
    relays.pinged(&mut core.at(at(ms)), &relay("a:1"), &answer)
}

fn changed(pinged: Pinged) -> Vec<NodeName> {
    match pinged {
        Pinged::Answered { changed, .. } => changed,
        other => panic!("{other:?}"),
    }
}

fn packet() -> Packet {
    Packet {
        id: "p1".into(),
        originator: name("alpha"),
        kind: Kind::Request,
        data: "sealed".into(),
        remote: "a:1".into(),
    }
}

#[test]
fn a_relay_that_keeps_questions_is_asked_again_at_once_and_any_other_after_the_tick() {
    let (mut core, mut relays) = world();
    assert_eq!(relays.ask_due(&core.at(at(0))).len(), 1);
    assert_eq!(relays.due(), Time::NEVER, "one question at a time");
    answer(&mut core, &mut relays, 100, false, &pong("", ""));
    assert_eq!(relays.due(), at(250).at);
    assert!(relays.ask_due(&core.at(at(249))).is_empty());
    relays.ask_due(&core.at(at(300)));
    answer(&mut core, &mut relays, 301, true, &pong("", ""));
    assert_eq!(relays.due(), at(305).at, "it must not make us spin");
}

#[test]
fn a_relay_that_was_learnt_is_asked_after_the_tick_even_if_it_keeps_questions() {
    let (mut core, mut relays) = world();
    answer(&mut core, &mut relays, 0, true, &pong("", "\"b:1\""));
    relays.ask_due(&core.at(at(1_000)));
    let (head, text) = (head(200, true), pong("", ""));
    let empty = Answer::Came(&head, text.as_bytes());
    relays.pinged(&mut core.at(at(1_001)), &relay("b:1"), &empty);
    relays.pinged(&mut core.at(at(9_000)), &relay("a:1"), &empty);
    assert_eq!(relays.due(), at(1_250).at);
}

#[test]
fn the_more_peers_come_and_go_at_a_relay_the_longer_it_is_left_alone() {
    let (mut core, mut relays) = world();
    for (ms, count, next) in [
        (0, 64, 5),
        (1_000, 164, 1_041),
        (10_000, 0, 10_105),
        (20_000, 4_000, 22_005),
    ] {
        relays.ask_due(&core.at(at(ms)));
        let names: Vec<String> = (0..count).map(|i| format!("\"n{i}\"")).collect();
        let text = pong(&names.join(","), "");
        answer(&mut core, &mut relays, ms, true, &text);
        assert_eq!(relays.due(), at(next).at, "{count} peers");
    }
}

#[test]
fn a_relay_is_asked_no_more_once_the_node_is_being_stopped() {
    let (mut core, mut relays) = world();
    relays.ask_no_more();
    assert_eq!(relays.due(), Time::NEVER);
    // The answer to the last question comes.
    answer(&mut core, &mut relays, 100, true, &pong("", ""));
    assert_eq!(relays.due(), Time::NEVER);
}

#[test]
fn peers_that_come_and_go_are_told_and_found() {
    let (mut core, mut relays) = world();
    let come = answer(&mut core, &mut relays, 1, true, &pong("\"b\",\"c\"", ""));
    assert_eq!(changed(come), [name("b"), name("c")]);
    assert_eq!(relays.first_of(&name("c")), Some(&relay("a:1")));
    assert_eq!(relays.untried(&name("c"), &[relay("a:1")]), None);
    let gone = answer(&mut core, &mut relays, 2, true, &pong("\"c\",\"d\"", ""));
    assert_eq!(changed(gone), [name("b"), name("d")]);
    assert_eq!(relays.first_of(&name("b")), None);
    let told: Vec<_> = core.outputs.drain(..).collect();
    assert!(
        matches!(&told[..], [Output::Relay(_, Ok(()))]),
        "it is news once: {told:?}"
    );
}

#[test]
fn a_relay_that_does_not_answer_is_asked_after_ever_longer_pauses() {
    let (mut core, mut relays) = world();
    let none = Answer::None { sent: false };
    let mut pauses = Vec::new();
    for _ in 0..12 {
        relays.pinged(&mut core.at(at(0)), &relay("a:1"), &none);
        pauses.push(relays.due().0.as_millis());
    }
    let (first, last) = Limits::default().relay_redial;
    assert_eq!(pauses[0], 2 * first.as_millis());
    assert_eq!(pauses[1], 4 * first.as_millis());
    assert_eq!(pauses[11], last.as_millis());
    assert_eq!(core.outputs.len(), 1, "the reason is told once");
}

#[test]
fn a_relay_that_was_learnt_and_fails_is_forgotten_and_shunned_for_a_while() {
    let (mut core, mut relays) = world();
    let text = pong("", "\"b:1\",\"c:1\",\"d:1\"");
    answer(&mut core, &mut relays, 0, true, &text);
    assert_eq!(relays.list.len(), 3, "no more than may be asked");
    assert!(relays.target(&relay("b:1")).unwrap().learnt);
    relays.post(&relay("b:1"), &name("beta"), &packet(), Cargo::Call(7));
    let none = Answer::None { sent: false };
    for attempt in 0..2 {
        match relays.pinged(&mut core.at(at(0)), &relay("b:1"), &none) {
            Pinged::Failed { unsent, .. } if attempt == 1 => assert_eq!(unsent, [7]),
            Pinged::Failed { unsent, .. } => assert!(unsent.is_empty()),
            other => panic!("{other:?}"),
        }
    }
    assert!(relays.target(&relay("b:1")).is_none());
    answer(&mut core, &mut relays, 0, true, &pong("", "\"b:1\""));
    assert!(relays.target(&relay("b:1")).is_none(), "it is shunned");
    let later = Limits::default().relay_shunned.as_millis() as u64;
    relays.ask_due(&core.at(at(later)));
    answer(&mut core, &mut relays, later, true, &pong("", "\"b:1\""));
    assert!(relays.target(&relay("b:1")).is_some());
}

#[test]
fn a_relay_may_point_to_its_other_paths_once() {
    let (mut core, mut relays) = world();
    let head = AnswerHead {
        location: Some("http://a:1/ping".into()),
        ..head(307, false)
    };
    let answer = Answer::Came(&head, b"");
    let mut ping = |relays: &mut Relays| relays.pinged(&mut core.at(at(0)), &relay("a:1"), &answer);
    assert!(matches!(ping(&mut relays), Pinged::Nothing));
    assert_eq!(relays.list[0].path("ping"), "/ping");
    assert!(
        matches!(ping(&mut relays), Pinged::Failed { .. }),
        "it points to itself"
    );
    let elsewhere = AnswerHead {
        location: Some("http://a:1/other".into()),
        ..head
    };
    assert_eq!(other_slash(&elsewhere), None);
}

#[test]
fn packets_wait_for_those_before_them_and_those_of_a_call_that_is_over_are_dropped() {
    let (mut core, mut relays) = world();
    let a = relay("a:1");
    for cargo in [Cargo::Call(1), Cargo::Call(2), Cargo::Notice] {
        relays.post(&a, &name("beta"), &packet(), cargo);
    }
    let ctx = &core.at(at(0));
    let first = relays.next_post(ctx, &a).unwrap();
    assert_eq!(first.errand, Errand::Post(a.clone(), Cargo::Call(1)));
    assert!(relays.next_post(ctx, &a).is_none(), "one is on its way");
    assert_eq!(relays.list[0].outbox.len(), 2);
    let bytes = first.request.len();
    let held = Held {
        all: bytes,
        own: bytes,
    };
    assert_eq!(relays.answers(&a), held, "calls of ours are no answers");
    relays.forget(2);
    relays.post_over(&a);
    let next = relays.next_post(ctx, &a).unwrap();
    assert_eq!(next.errand, Errand::Post(a.clone(), Cargo::Notice));
    assert!(relays.are_outboxes_empty());
    assert_eq!(relays.answers(&a), Held::default());
}

#[test]
fn so_many_answers_wait_for_a_relay_and_no_more() {
    let (mut core, mut relays) = world();
    core.config.limits.served_per_peer = 2;
    let (ctx, a) = (&core.at(at(0)), relay("a:1"));
    for _ in 0..2 {
        assert!(relays.has_place_for_answer(ctx, &a));
        relays.post(&a, &name("beta"), &packet(), Cargo::Notice);
        // Calls of ours are not counted.
        relays.post(&a, &name("beta"), &packet(), Cargo::Call(1));
    }
    assert!(!relays.has_place_for_answer(ctx, &a));
    relays.next_post(ctx, &a);
    assert!(relays.has_place_for_answer(ctx, &a));
    assert!(!relays.has_place_for_answer(ctx, &relay("unknown:1")));
}

#[test]
fn the_next_of_a_relays_addresses_is_tried_while_it_is_known() {
    let (_, mut relays) = world();
    assert!(relays.try_next_address(&relay("a:1")));
    assert_eq!(relays.target(&relay("a:1")).unwrap().nth, 1);
    assert!(!relays.try_next_address(&relay("z:1")));
}
