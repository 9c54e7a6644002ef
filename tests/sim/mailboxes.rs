//! The relay's mailboxes for Python nodes.

use crate::compat_world::{Seeded, World, packet, ping};
use crate::first_seed;
use crate::world::{Rng, key, ms, secs};
use peerbase::compat::http;
use peerbase::limits::RelayLimits;
use peerbase::protocol::Now;
use peerbase::relay::hub;
use peerbase::{NetworkName, RelayKey};
use std::time::Duration;

#[test]
fn a_mailbox_is_bounded_its_sender_is_told_and_it_goes_with_its_owner() {
    let limits = RelayLimits {
        mailbox_bytes: 10_000,
        mailbox_packets: 5,
        mailboxes_bytes: 16_000,
        ..RelayLimits::default()
    };
    let mut w = World::with(first_seed(), limits, Vec::new());
    for node in ["a", "b", "c"] {
        assert_eq!(w.ask(None, "/ping/", &ping(node, "plant")).0, 200);
    }
    let send = |w: &mut World, to: &str, id: &str, size: usize| {
        w.ask(None, "/send/", &packet(to, "a", id, &"x".repeat(size)))
            .0
    };
    assert_eq!(send(&mut w, "b", "p0", 9_000), 200);
    assert_eq!(send(&mut w, "b", "p1", 3_000), 503, "one mailbox");
    assert_eq!(send(&mut w, "c", "p2", 9_000), 503, "all of them");
    assert_eq!(
        send(&mut w, "b", "p0", 100),
        200,
        "the same again takes its place"
    );
    for i in 1..5 {
        assert_eq!(send(&mut w, "b", &format!("p{i}"), 10), 200);
    }
    assert_eq!(send(&mut w, "b", "p9", 10), 503, "so many packets");
    assert_eq!(send(&mut w, "nobody", "p", 1), 404);
    let (_, pong) = w.ask(None, "/ping/", &ping("b", "plant"));
    assert_eq!(pong.matches("\"originator\":\"a\"").count(), 5);
    assert_eq!(w.hub.stats().mailbox_bytes, 0, "handed over");
    assert!(
        !w.ask(None, "/ping", &ping("b", "plant"))
            .1
            .contains("originator"),
        "once"
    );
    assert_eq!(send(&mut w, "b", "p", 10), 200);
    w.run(secs(4));
    let s = w.hub.stats();
    assert_eq!(
        (s.mailboxes, s.mailbox_bytes, s.networks, s.links),
        (0, 0, 0, 0)
    );
}

#[test]
fn what_was_read_is_over_and_counts_no_more() {
    let limits = RelayLimits {
        requests_bytes: 8_000,
        mailbox_wait: Duration::ZERO,
        ..RelayLimits::default()
    };
    let mut w = World::with(first_seed(), limits, Vec::new());
    for i in 0..100 {
        // Whole, faulty, and broken off; from one address, and from several.
        let from = [10, 0, 0, 1 + i % 3];
        assert_eq!(
            w.ask_from(from, None, "/ping/", &ping("a", "plant")).0,
            200,
            "{i}"
        );
        assert_eq!(w.ask_from(from, None, "/ping/", b"x").0, 422, "{i}");
        let wire = w.connect(None, from).unwrap();
        w.say(
            wire,
            b"POST /ping/ HTTP/1.0\r\nContent-Length: 500\r\n\r\n{",
        );
        w.hang_up(wire);
    }
}

#[test]
fn networks_are_apart_also_where_names_are_the_same() {
    let mut w = World::new(first_seed());
    let from =
        |w: &mut World, address, path: &str, body: &[u8]| w.ask_from(address, None, path, body);
    let (here, there) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    for node in ["a", "b"] {
        from(&mut w, here, "/ping/", &ping(node, "one"));
        from(&mut w, there, "/ping/", &ping(node, "two"));
    }
    from(&mut w, here, "/ping/", &ping("only", "one"));
    assert_eq!(
        from(&mut w, here, "/send/", &packet("b", "a", "mine", "x")).0,
        200
    );
    let (_, pong) = from(&mut w, there, "/ping/", &ping("b", "two"));
    assert!(!pong.contains("mine") && !pong.contains("only"), "{pong}");
    let (_, pong) = from(&mut w, here, "/ping/", &ping("b", "one"));
    assert!(pong.contains("mine") && pong.contains("only"), "{pong}");
    assert_eq!(
        from(&mut w, [10, 0, 0, 3], "/send/", &packet("b", "a", "p", "x")).0,
        409
    );
    assert_eq!(
        from(&mut w, there, "/send/", &packet("only", "a", "p", "x")).0,
        200,
        "there is but one"
    );
    assert_eq!(
        from(&mut w, there, "/send/", &packet("only", "nobody", "p", "x")).0,
        404
    );
}

#[test]
fn who_waits_is_answered_when_something_comes_or_its_time_is_over() {
    let mut w = World::new(first_seed());
    for node in ["b", "a", "b"] {
        w.ask(None, "/ping/", &ping(node, "plant"));
    }
    let wait = |w: &mut World| {
        let mut request = Vec::new();
        http::write_post(
            "relay",
            "/ping/",
            &ping("b", "plant"),
            Some(1),
            &mut request,
        );
        let wire = w.connect(None, [10, 0, 0, 7]).unwrap();
        w.say(wire, &request);
        wire
    };
    let first = wait(&mut w);
    assert_eq!(w.heard(first), None);
    assert_eq!(w.ask(None, "/send/", &packet("b", "a", "p1", "x")).0, 200);
    assert!(
        w.heard(first).unwrap().1.contains("p1"),
        "no time has passed"
    );
    let second = wait(&mut w);
    w.run(ms(999));
    assert_eq!(w.heard(second), None);
    w.run(ms(2));
    assert_eq!(w.heard(second).unwrap().0, 200);
    // Under several names of the relay: each is kept, and what comes is for the first.
    let several: Vec<usize> = (0..4).map(|_| wait(&mut w)).collect();
    assert!(several.iter().all(|wire| w.heard(*wire).is_none()));
    w.ask(None, "/send/", &packet("b", "a", "p2", "x"));
    assert!(w.heard(several[0]).unwrap().1.contains("p2"));
    assert!(several[1..].iter().all(|wire| w.heard(*wire).is_none()));
    // No more than so many.
    let more = [wait(&mut w), wait(&mut w)];
    assert!(w.heard(several[1]).unwrap().1.contains("\"buffer\":{}"));
    let rest = [several[2], several[3], more[0], more[1]];
    assert!(rest.iter().all(|wire| w.heard(*wire).is_none()));
    for wire in rest {
        w.hang_up(wire);
    }
    // Gone while it waited: what comes then waits for the next.
    let fifth = wait(&mut w);
    w.hang_up(fifth);
    w.ask(None, "/send/", &packet("b", "a", "p3", "x"));
    let sixth = wait(&mut w);
    assert!(w.heard(sixth).unwrap().1.contains("p3"));
}

#[test]
fn a_python_node_is_kept_waiting_only_while_there_is_nothing_new() {
    let mut w = World::new(first_seed());
    let ask = |w: &mut World, node: &str| {
        let mut request = Vec::new();
        http::write_post("relay", "/ping/", &ping(node, "plant"), None, &mut request);
        let wire = w.connect(None, [10, 0, 0, 7]).unwrap();
        w.say(wire, &request);
        wire
    };
    let first = ask(&mut w, "a");
    assert_eq!(
        w.heard(first).unwrap().0,
        200,
        "who is new is told who is there"
    );
    let kept = ask(&mut w, "a");
    assert_eq!(w.heard(kept), None);
    // Somebody comes.
    let other = ask(&mut w, "b");
    assert!(w.heard(other).is_some());
    assert!(w.heard(kept).unwrap().1.contains(r#""peers":["a","b"]"#));
    // Something comes.
    let kept = ask(&mut w, "a");
    assert_eq!(w.heard(kept), None);
    assert_eq!(w.ask(None, "/send/", &packet("a", "b", "p1", "x")).0, 200);
    let (status, pong) = w.heard(kept).unwrap();
    assert!(status == 200 && pong.contains("p1"));
    // Nothing does; but somebody is gone by then, which is told at once.
    let kept = ask(&mut w, "a");
    w.run(ms(999));
    assert_eq!(w.heard(kept), None);
    w.run(ms(1));
    assert!(w.heard(kept).is_some());
    w.run(ms(2_100));
    let after = ask(&mut w, "a");
    assert!(
        w.heard(after).unwrap().1.contains(r#""peers":["a"]"#),
        "b is missed"
    );
}

#[test]
fn members_are_bounded_and_networks_with_a_key_are_not_for_those_who_cannot_prove_it() {
    let limits = RelayLimits {
        mailboxes: 3,
        mailboxes_per_network: 2,
        networks: 2,
        joins_per_second: 1,
        links_per_address: 8,
        ..RelayLimits::default()
    };
    let mut w = World::with(first_seed(), limits.clone(), Vec::new());
    let join =
        |w: &mut World, node: &str, network: &str| w.ask(None, "/ping/", &ping(node, network));
    assert_eq!(join(&mut w, "a", "one").0, 200);
    assert_eq!(join(&mut w, "b", "one").0, 200);
    let (status, body) = join(&mut w, "c", "one");
    assert_eq!(status, 503, "the network is full");
    // Python nodes look for these fields whatever the status is, and would end without them.
    assert!(
        body.contains("\"peers\":[]")
            && body.contains("\"servers\":[]")
            && body.contains("\"buffer\":{}")
    );
    assert_eq!(join(&mut w, "a", "two").0, 200);
    assert_eq!(join(&mut w, "b", "two").0, 503, "the relay is full");
    assert_eq!(join(&mut w, "a", "three").0, 503, "so many networks");
    assert_eq!(join(&mut w, "a", "one").0, 200, "who is there stays");

    let mut w = World::with(
        first_seed(),
        RelayLimits {
            mailboxes: 100,
            mailboxes_per_network: 100,
            ..limits
        },
        Vec::new(),
    );
    let refused = (0..20)
        .filter(|i| join(&mut w, &format!("n{i}"), "one").0 == 429)
        .count();
    assert_eq!(refused, 12, "eight at once from one address");

    let relay_key = RelayKey::derive(&key());
    let networks = vec![
        (NetworkName::new("open").unwrap(), None),
        (NetworkName::new("shut").unwrap(), Some(relay_key)),
    ];
    let mut w = World::with(first_seed(), RelayLimits::default(), networks);
    assert_eq!(join(&mut w, "a", "open").0, 200);
    assert_eq!(join(&mut w, "a", "shut").0, 403);
    assert_eq!(join(&mut w, "a", "unknown").0, 403);
}

#[test]
fn a_relay_without_compat_knows_no_http() {
    let mut hub = hub::Hub::new(hub::Config::default(), Box::new(Seeded(Rng(1))));
    let now = Now::default();
    let link = hub.accept(now, "10.0.0.1:1".parse().unwrap()).unwrap();
    let host = "a".repeat(64);
    let request = format!("POST /ping/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
    hub.received(now, link, request.as_bytes());
    assert_eq!(hub.stats().refused_frame, 1);
    assert_eq!(hub.stats().links, 0);
}
