//! HTTP from hostile clients: smuggled lengths, chunks, huge heads, pipelining, slow bodies, huge
//! JSON. Each is answered with 4xx, closed, and bounded, at a node as at a relay.

use crate::compat_world::{Seeded, World, ping};
use crate::first_seed;
use crate::world::{Rng, key, secs};
use peerbase::compat::{http, message};
use peerbase::fernet::Keyring;
use peerbase::wire::record::Status;

/// A node, and the relay.
const SIDES: [Option<usize>; 2] = [Some(0), None];

fn attacked() -> World {
    let mut w = World::new(first_seed());
    w.add("a", &[]);
    w
}

#[test]
fn smuggled_lengths_chunks_and_pipelining_are_refused_and_closed() {
    for side in SIDES {
        let mut w = attacked();
        let path = if side.is_some() { "/" } else { "/ping/" };
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n");
        let second = format!("{head}Content-Length: 2\r\n\r\n{{}}");
        for (request, expected) in [
            (
                format!(
                    "{head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{second}"
                ),
                400,
            ),
            (
                format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"),
                411,
            ),
            (
                format!("{head}Transfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\n{{}}"),
                400,
            ),
            (
                format!("{head}Content-Length: 2\r\nContent-Length: 40\r\n\r\n{{}}{second}"),
                400,
            ),
            (format!("{head}Content-Length: 2, 40\r\n\r\n{{}}"), 400),
            (format!("{head}Content-Length: 2\n\r\n{{}}"), 400),
            (
                format!("{head}Content-Length: 0\r\nX: \rContent-Length: 2\r\n\r\n{{}}"),
                400,
            ),
            (format!("{second}{second}"), 400),
            (format!("{head}\r\n"), 411),
            (format!("{head}Content-Length: 99999999\r\n\r\n"), 413),
            (format!("{head}X: {}\r\n\r\n", "x".repeat(1 << 20)), 431),
            (format!("{head}{}\r\n", "X: x\r\n".repeat(1_000)), 431),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".into(),
                400,
            ),
            ("POST / HTTP/1.1\r\n\r\n".into(), 400),
            (
                "POST /../etc/passwd HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".into(),
                404,
            ),
            ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 405),
        ] {
            let wire = w.connect(side, [10, 0, 0, 200]).unwrap();
            // As a network would bring it: not all at once.
            for part in request.as_bytes().chunks(1_400) {
                w.say(wire, part);
            }
            let (status, body) = w.heard(wire).unwrap_or_else(|| panic!("{request:.200}"));
            assert_eq!(status, expected, "{side:?} {request:.200}");
            // In words; a Python node ends if an answer of a relay has not got its fields.
            assert!(body.contains("detail") && (side.is_some() || body.contains("\"buffer\":{}")));
            // Whatever comes then is not looked at, and the link does not stay.
            w.say(wire, second.as_bytes());
            assert_eq!(w.heard(wire).unwrap().0, expected);
            w.run(secs(3));
            assert!(!w.wires[wire].open, "{request:.200}");
        }
        assert!(w.nodes[0].asked.is_empty() && w.mailboxes() == 0);
    }
}

#[test]
fn whoever_is_slow_is_told_and_closed() {
    for side in SIDES {
        let mut w = attacked();
        let silent = w.connect(side, [10, 0, 0, 200]).unwrap();
        let head = w.connect(side, [10, 0, 0, 200]).unwrap();
        w.say(head, b"POST / HTTP/1.1\r\nHost: a\r\n");
        let body = w.connect(side, [10, 0, 0, 200]).unwrap();
        w.say(
            body,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n",
        );
        let mut ended = None;
        for second in 0..100 {
            w.say(body, b"x");
            w.say(head, b"X");
            w.run(secs(1));
            if w.heard(body).is_some() && ended.is_none() {
                ended = Some(second);
            }
        }
        assert!(!w.wires[silent].open && !w.wires[head].open && !w.wires[body].open);
        assert_eq!(w.heard(body).unwrap().0, 408);
        assert_eq!(w.heard(head).unwrap().0, 408);
        assert!(
            (30..70).contains(&ended.unwrap()),
            "a byte a second is not enough, but it has a minute"
        );
    }
}

#[test]
fn what_is_no_token_is_not_looked_into() {
    let mut w = attacked();
    for body in [
        &b""[..],
        b"{}",
        b"Z0FBQUFB",
        &b"A".repeat(1 << 20),
        b"\xff\xff",
    ] {
        assert_eq!(w.ask(Some(0), "/", body).0, 400);
    }
    // With the key, but not a call.
    let keys = Keyring::from(key());
    let deep = format!("{{\"command\":{}", "[".repeat(100_000));
    for text in [
        "",
        "[]",
        "{}",
        r#"{"command":"x","initiator":"other.b"}"#,
        &deep,
    ] {
        let body = message::seal(text.as_bytes(), &keys, 0, &mut Seeded(Rng(1)));
        // Whoever has the key is told what is wrong.
        assert_eq!(w.ask(Some(0), "/", &body).0, 500, "{text:.40}");
    }
    let call = r#"{"command":"bad..path","initiator":"plant.b"}"#;
    let body = message::seal(call.as_bytes(), &keys, 0, &mut Seeded(Rng(1)));
    assert_eq!(w.ask(Some(0), "/", &body).0, 404);
    assert!(w.nodes[0].asked.is_empty());
    let call = r#"{"command":"ok","initiator":"plant.b"}"#;
    let body = message::seal(call.as_bytes(), &keys, 0, &mut Seeded(Rng(1)));
    let wire = w.connect(Some(0), [10, 0, 0, 200]).unwrap();
    let mut request = Vec::new();
    http::write_post("a", "/", &body, None, &mut request);
    w.say(wire, &request);
    assert_eq!(w.nodes[0].asked.len(), 1);
    // More on the same link while it runs: that caller is not served.
    w.say(wire, b"POST");
    assert_eq!(w.heard(wire).unwrap().0, 400);
    assert_eq!(w.nodes[0].withdrawn.len(), 1);
}

#[test]
fn many_large_requests_at_once_are_bounded_and_others_are_served() {
    for side in SIDES {
        let mut w = attacked();
        let request = "POST /send/ HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n";
        let part = vec![b'x'; 1_000_000];
        let mut refused = 0;
        let mut wires = Vec::new();
        for i in 0..60 {
            let Some(wire) = w.connect(side, [10, 0, 0, 150 + i / 30]) else {
                refused += 1;
                continue;
            };
            w.say(wire, request.as_bytes());
            for _ in 0..3 {
                w.say(wire, &part);
            }
            refused += u32::from(w.heard(wire).is_some_and(|(status, _)| status == 503));
            wires.push(wire);
        }
        assert!(refused >= 30, "{refused}");
        // Somebody else, meanwhile, if only small.
        let (path, body) = match side {
            Some(_) => ("/", &b"no token"[..]),
            None => ("/ping/", &ping("x", "plant")[..]),
        };
        let expected = if side.is_some() { 400 } else { 200 };
        assert_eq!(w.ask(side, path, body).0, expected);
        w.run(secs(100));
        assert!(wires.iter().all(|wire| !w.wires[*wire].open));
        assert_eq!(w.ask(side, path, body).0, expected);
    }
}

/// A sealed call with a text of so many bytes, as it is posted.
fn sealed_call(text: usize) -> Vec<u8> {
    let text = "x".repeat(text);
    let call = format!(r#"{{"command":"slow","args":["{text}"],"initiator":"plant.b"}}"#);
    let keys = Keyring::from(key());
    let body = message::seal(call.as_bytes(), &keys, 0, &mut Seeded(Rng(1)));
    let mut request = Vec::new();
    http::write_post("a", "/", &body, None, &mut request);
    request
}

#[test]
fn calls_whose_callers_hang_up_count_until_the_program_answers_them() {
    for (calls, text, room) in [(4, 0, 4), (1_000, 40_000, 2)] {
        let mut w = World::new(first_seed());
        w.add_with("a", &[], |c| {
            c.limits.served_per_peer = calls;
            c.limits.message_bytes = 200_000;
        });
        let request = sealed_call(text);
        // One call that was recorded is enough: compat cannot tell that it comes again.
        let post = |w: &mut World| {
            let wire = w.connect(Some(0), [10, 0, 0, 66]).unwrap();
            w.say(wire, &request);
            wire
        };
        for _ in 0..20 {
            let wire = post(&mut w);
            w.hang_up(wire);
        }
        let asked = w.nodes[0].asked.clone();
        assert!((room..20).contains(&asked.len()), "{}", asked.len());
        assert_eq!(w.nodes[0].withdrawn.len(), asked.len());
        let wire = post(&mut w);
        assert_eq!(w.heard(wire).unwrap().0, 503, "all places are taken");
        // The program answers one of them, which nobody hears; then there is room for another.
        w.reply(0, asked[0].ticket, Status::Value, "1");
        let wire = post(&mut w);
        assert_eq!(w.nodes[0].asked.len(), asked.len() + 1);
        w.reply(0, w.nodes[0].asked[asked.len()].ticket, Status::Value, "1");
        assert_eq!(w.heard(wire).unwrap().0, 200);
    }
}

#[test]
fn one_address_does_not_take_all_the_links_of_a_node() {
    let mut w = attacked();
    // One that is being served, before all others.
    let call = br#"{"command":"ok","initiator":"plant.b"}"#;
    let body = message::seal(call, &Keyring::from(key()), 0, &mut Seeded(Rng(1)));
    let mut request = Vec::new();
    http::write_post("a", "/", &body, None, &mut request);
    let served = w.connect(Some(0), [10, 0, 0, 201]).unwrap();
    w.say(served, &request);
    assert_eq!(w.nodes[0].asked.len(), 1);
    let wires: Vec<_> = (0..300)
        .filter_map(|_| w.connect(Some(0), [10, 0, 0, 66]))
        .collect();
    assert!(wires.len() < 100);
    assert_eq!(w.ask(Some(0), "/", b"x").0, 400, "another is served");
    // From everywhere: who says nothing gives way.
    for i in 0..=250 {
        w.connect(Some(0), [10, 0, 1, i]);
    }
    assert_eq!(w.ask(Some(0), "/", b"x").0, 400);
    assert!(w.wires[served].open && w.nodes[0].withdrawn.is_empty());
}
