//! The links of a node, without the engine.

use super::super::context::Core;
use super::super::context::tests::{at, core};
use super::*;
use crate::compat::engine::errand::Cargo;
use crate::compat::http::write_post;
use crate::limits::Limits;

fn world() -> (Core, Links) {
    let limits = Limits {
        compat_links: 3,
        compat_links_per_address: 2,
        message_bytes: 1_000,
        ..Limits::default()
    };
    (core(limits), Links::default())
}

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn request() -> Vec<u8> {
    let mut out = Vec::new();
    write_post("alpha", "/", b"body", None, &mut out);
    out
}

#[test]
fn a_link_that_has_said_nothing_gives_way_and_an_address_has_its_share() {
    let (mut core, mut links) = world();
    let ctx = &mut core.at(at(0));
    let first = links.accept(ctx, ip(1)).unwrap();
    assert!(links.accept(ctx, ip(1)).is_some());
    assert_eq!(links.accept(ctx, ip(1)), None, "a third from there");
    links.accept(ctx, ip(2)).unwrap();
    assert!(links.accept(ctx, ip(3)).is_some());
    assert!(links.state(first).is_none(), "the oldest");
    for id in links.late(Time::NEVER) {
        links.serve(ctx, id, 1);
    }
    assert_eq!(
        links.accept(ctx, ip(4)),
        None,
        "all have said what they want"
    );
    assert_eq!(core.refused, 2);
}

#[test]
fn a_request_is_read_served_answered_and_lingers() {
    let (mut core, mut links) = world();
    let ctx = &mut core.at(at(0));
    let id = links.accept(ctx, ip(1)).unwrap();
    let request = request();
    let (begun, rest) = request.split_at(request.len() - 1);
    assert!(matches!(links.read(ctx, id, begun), Read::Nothing));
    let frame = ctx.config.limits.frame.as_millis() as u64;
    assert_eq!(
        links.late(at(frame - 1).at),
        [],
        "the body has as long as a frame"
    );
    let Read::Request(reader) = links.read(ctx, id, rest) else {
        panic!("it is whole");
    };
    assert_eq!(reader.body(), b"body");
    links.serve(ctx, id, 7);
    assert!(matches!(links.read(ctx, id, b"more"), Read::Followed(7)));
    links.answer(ctx, id, b"answer".to_vec());
    links.sent(ctx, id, 2);
    assert_eq!(
        (links.pending(id), links.is_answering()),
        (&b"swer"[..], true)
    );
    links.sent(ctx, id, 4);
    assert!(!links.is_answering() && links.pending(id).is_empty());
    assert!(matches!(ctx.outputs.pop_back(), Some(Output::Finish(_))));
    assert_eq!(links.late(at(2_000).at), [id]);
    links.close(ctx, id);
    links.recount_due();
    assert_eq!(links.due(), Time::NEVER);
}

#[test]
fn an_address_may_have_half_of_what_is_coming_in() {
    let (mut core, mut links) = world();
    let ctx = &mut core.at(at(0));
    let id = links.accept(ctx, ip(1)).unwrap();
    let large = links.read(ctx, id, &[b'A'; 501]);
    assert!(matches!(large, Read::Fault(Fault { status: 503, .. })));
    let other = links.accept(ctx, ip(2)).unwrap();
    links.answer(ctx, other, vec![b'A'; 993]);
    let crowded = links.read(ctx, id, b"POST");
    assert!(matches!(crowded, Read::Fault(Fault { status: 503, .. })));
    links.answer(ctx, other, vec![b'A'; 992]);
    assert!(matches!(links.read(ctx, id, b"POST"), Read::Nothing));
}

#[test]
fn requests_that_two_addresses_never_finish_leave_room_for_others() {
    let (mut core, mut links) = world();
    let ctx = &mut core.at(at(0));
    let mut begun = b"POST / HTTP/1.0\r\nContent-Length: 5000\r\n\r\n".to_vec();
    begun.resize(100, b'A');
    let mut taken = |from: u8| {
        let id = links.accept(ctx, ip(from)).unwrap();
        let first = matches!(links.read(ctx, id, &begun), Read::Nothing);
        let mut more = || matches!(links.read(ctx, id, &[b'A'; 50]), Read::Nothing);
        first.then(|| 100 + 50 * (0..100).take_while(|_| more()).count())
    };
    let (one, other) = (taken(1).unwrap(), taken(2).unwrap());
    assert!(one <= 500 && other <= 1_000 - one, "{one} {other}");
    assert!(taken(3).is_some(), "{one} {other}");
}

#[test]
fn a_link_whose_answer_was_taken_gives_way_before_one_that_is_being_read() {
    let (mut core, mut links) = world();
    let ctx = &mut core.at(at(0));
    let reading = links.accept(ctx, ip(1)).unwrap();
    let answered = [2, 3].map(|from| links.accept(ctx, ip(from)).unwrap());
    for id in answered {
        links.answer(ctx, id, b"fault".to_vec());
        links.sent(ctx, id, 5);
    }
    for id in answered {
        assert!(links.accept(ctx, ip(4)).is_some());
        assert!(links.state(id).is_none(), "the oldest that was answered");
    }
    assert!(links.state(reading).is_some());
    assert!(links.accept(ctx, ip(5)).is_some());
    assert!(links.state(reading).is_none());
}

#[test]
fn what_this_node_asks_and_is_answered_is_in_no_callers_way() {
    let (mut core, mut links) = world();
    let ctx = &mut core.at(at(0));
    let relays = ["a:1", "b:1"].map(|text| RelayAddress::new(text).unwrap());
    let [a, b] = &relays;
    let exchange = |errand| Exchange::new(errand, vec![b'A'; 5_000], &ctx.config.limits);
    let asked = [
        Errand::Post(a.clone(), Cargo::Notice),
        Errand::Post(b.clone(), Cargo::Notice),
        Errand::Post(b.clone(), Cargo::Call(1)),
        Errand::Ping(a.clone()),
        Errand::Ping(b.clone()),
    ];
    let ids = asked.map(|errand| links.ask(exchange(errand), at(90).at));
    let held = Held {
        all: 10_000,
        own: 5_000,
    };
    assert_eq!(links.answers(b), held);
    let id = links.accept(ctx, ip(1)).unwrap();
    assert!(matches!(links.read(ctx, id, b"POST"), Read::Nothing));
    // Of what answers to this node may take a relay leaves some for others.
    let [.., ping_a, ping_b] = ids;
    assert!(links.has_room_for_answer(ctx, ping_a, 1_000));
    assert!(!links.has_room_for_answer(ctx, ping_a, 1_001));
    let exchange = links.exchange_mut(ping_a).unwrap();
    exchange.receive(&[b'A'; 1_000], false);
    assert!(links.has_room_for_answer(ctx, ping_b, 500));
    assert!(!links.has_room_for_answer(ctx, ping_b, 501));
}

#[test]
fn the_requests_of_a_call_are_found_and_its_time_counts_from_the_connection() {
    let (mut core, mut links) = world();
    let ctx = &mut core.at(at(0));
    let exchange = |number| {
        Exchange::new(
            Errand::Call(number),
            b"request".to_vec(),
            &ctx.config.limits,
        )
    };
    let (one, two) = (exchange(1), exchange(2));
    let id = links.ask(one, at(50).at);
    links.ask(two, at(90).at);
    assert_eq!((links.of_call(1), links.asking()), (vec![id], 2));
    assert_eq!((links.due(), links.held()), (at(50).at, 0));
    links.connected(ctx, id);
    assert_eq!(links.late(at(60).at), []);
    assert_eq!(links.clear().len(), 2);
}

#[test]
fn an_answer_on_its_way_to_a_relay_is_being_written_and_a_call_of_ours_is_no_answer() {
    let (mut core, mut links) = world();
    let ctx = &mut core.at(at(0));
    let relay = RelayAddress::new("relay:80").unwrap();
    let post = |cargo| {
        let errand = Errand::Post(relay.clone(), cargo);
        Exchange::new(errand, b"request".to_vec(), &ctx.config.limits)
    };
    let (call, answer) = (post(Cargo::Call(1)), post(Cargo::Notice));
    links.ask(call, at(90).at);
    assert!(!links.is_answering());
    let id = links.ask(answer, at(90).at);
    assert!(links.is_answering(), "it is still dialling");
    links.close(ctx, id);
    assert!(!links.is_answering());
}
