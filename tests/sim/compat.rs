//! Nodes that speak the protocol of PeerBase 0.7.1: who is there, calls, and relays that are not
//! ours.

use crate::compat_world::{End, RELAY, Seeded, World, ping};
use crate::world::{Rng, key, ms, name, secs};
use crate::{first_seed, seeds};
use peerbase::compat::engine::Place;
use peerbase::compat::post::{Kind, Packet, Pong};
use peerbase::compat::{http, message};
use peerbase::fernet::Keyring;
use peerbase::limits::Limits;
use peerbase::wire::record::Status;
use peerbase::{Error, RelayAddress};
use std::time::Duration;

/// The two ways a call can go.
fn pair(w: &mut World, relayed: bool) -> (usize, usize) {
    let relays: &[&str] = if relayed { &[RELAY] } else { &[] };
    let nodes = ["a", "b"].map(|n| w.add_with(n, relays, |c| c.port *= u16::from(!relayed)));
    // Not just when a question's time is over.
    w.run(ms(1_900));
    (nodes[0], nodes[1])
}

/// What a program answers to a call of a Python node, and how the call ends there.
fn answers() -> Vec<(Status, &'static str, Result<String, Error>)> {
    vec![
        (
            Status::Data,
            "\0",
            Err(Error::CommandFailed(
                "the command ran, and answered with bytes, which a Python node cannot take".into(),
            )),
        ),
        (Status::Value, "{\"x\":2.50}", Ok("{\"x\":2.50}".to_owned())),
        (
            Status::NotFound,
            "",
            Err(Error::CommandNotFound("s.read".into())),
        ),
        (
            Status::Failed,
            "it \"broke\"",
            Err(Error::CommandFailed("it \"broke\"".into())),
        ),
        (
            Status::Overloaded,
            "",
            Err(Error::Overloaded("at the peer")),
        ),
        (Status::Refused, "no", Err(Error::Refused("no".into()))),
    ]
}

#[test]
fn nodes_find_each_other_call_and_answer_straight_and_through_a_relay() {
    seeds(10, |seed| {
        for relayed in [false, true] {
            let mut w = World::new(seed);
            let (a, b) = pair(&mut w, relayed);
            let place = |w: &World, node: usize| w.nodes[node].peers.clone();
            let expected = match relayed {
                true => Place::Relay(RelayAddress::new(RELAY).unwrap()),
                false => Place::Lan("10.0.0.2:5000".parse().unwrap()),
            };
            assert_eq!(place(&w, a), [(name("b"), Some(expected))]);
            for (status, body, expected) in answers() {
                let n = w.call(a, "b", "s.read", "[1]");
                // What goes through our relay is pushed: no time passes.
                let asked = w.nodes[b].asked.pop().expect("at once");
                assert_eq!(
                    (
                        asked.caller.as_str(),
                        asked.path.as_str(),
                        asked.args.as_str()
                    ),
                    ("a", "s.read", "[1]")
                );
                assert_eq!(w.result(a, n), None);
                w.run(ms(10));
                w.reply(b, asked.ticket, status, body);
                w.run(ms(10));
                assert_eq!(w.result(a, n), Some(expected), "relayed: {relayed}");
            }
            // What the library of Python nodes answers itself.
            let n = w.call(b, "a", "__echo__", "[null]");
            w.run(ms(20));
            let echo = w.result(b, n).unwrap().unwrap();
            assert!(
                echo.starts_with(
                    "\"Echoed args [None] and kwargs {} at time [Tue Nov 14 22:13:20 2023]"
                ),
                "{echo}"
            );
            w.nodes[b].up = false;
            w.nodes[b].engine.stop();
            w.run(secs(10));
            assert_eq!(w.nodes[a].peers.last(), Some(&(name("b"), None)));
            w.nodes[a].engine.stop();
            w.run(secs(10));
            let s = w.hub.stats();
            assert_eq!(
                (s.mailboxes, s.mailbox_bytes, s.links, s.networks),
                (0, 0, 0, 0)
            );
        }
    });
}

#[test]
fn a_call_that_may_have_been_read_is_not_sent_again_and_one_that_was_not_is() {
    let mut w = World::new(first_seed());
    let (a, b) = (w.add("a", &[RELAY]), w.add("b", &[RELAY]));
    w.run(secs(2));
    // Read, and the connection is lost: it may have run.
    let n = w.call(a, "b", "x", "[]");
    let asked = w.nodes[b].asked.pop().unwrap();
    let (link, _) = w.nodes[a]
        .dials
        .iter()
        .rfind(|(_, to)| to == "10.0.0.2:5000")
        .unwrap()
        .clone();
    let (wire, _) = w.wire_of(End::Node(a, link)).unwrap();
    w.close(End::Node(a, link));
    w.nodes[a].engine.closed(w.now, link);
    assert!(!w.wires[wire].open);
    w.run(secs(1));
    assert!(matches!(w.result(a, n), Some(Err(Error::Damaged(_)))));
    assert_eq!(w.nodes[b].withdrawn, [asked.ticket]);
    assert!(w.nodes[b].asked.is_empty(), "only once");

    // Never connected: the relay is tried, and knows nothing of a second call.
    w.by_hand = true;
    let n = w.call(a, "b", "x", "[]");
    let (link, to) = w.nodes[a].dials.pop().unwrap();
    assert_eq!(to, "10.0.0.2:5000");
    w.by_hand = false;
    w.nodes[a].engine.closed(w.now, link);
    w.run(ms(50));
    let asked = w.nodes[b].asked.pop().expect("through the relay");
    w.reply(b, asked.ticket, Status::Value, "1");
    w.run(ms(50));
    assert_eq!(w.result(a, n), Some(Ok("1".into())));
    assert!(w.nodes[b].asked.is_empty());
}

#[test]
fn an_answer_that_anybody_could_have_made_is_none() {
    let mut w = World::new(first_seed());
    let (a, _) = pair(&mut w, false);
    let sealed = |status: u16, text: &str, other_key: bool| {
        let keys = match other_key {
            true => Keyring::from(peerbase::Key::from_bytes([1; 32])),
            false => Keyring::from(key()),
        };
        let body = message::seal(text.as_bytes(), &keys, 0, &mut Seeded(Rng(5)));
        let mut answer = Vec::new();
        http::write_answer(status, "text/plain", "", &body, &mut answer);
        answer
    };
    let ok = r#"{"timestamp":1,"response":7}"#;
    let truncated = sealed(200, ok, false)[..150].to_vec();
    for (answer, good) in [
        (sealed(200, ok, false), true),
        (sealed(200, ok, true), false),
        (sealed(200, "7", false), false),
        (truncated, false),
        (b"HTTP/1.0 404 Not Found\r\n\r\n".to_vec(), false),
        (
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
            false,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec(),
            false,
        ),
        (b"plant|err|frame|END\n".repeat(1_000), false),
        (Vec::new(), false),
    ] {
        w.by_hand = true;
        let n = w.call(a, "b", "x", "[]");
        let (link, _) = w.nodes[a].dials.pop().unwrap();
        let wire = w.join(a, link, Some(End::Test));
        w.settle();
        assert!(
            w.wires[wire]
                .heard
                .starts_with(b"POST / HTTP/1.0\r\nHost: 10.0.0.2:5000\r\n")
        );
        w.nodes[a].engine.received(w.now, link, &answer);
        w.nodes[a].engine.closed(w.now, link);
        w.settle();
        match w.result(a, n).expect("it has ended") {
            Ok(value) => assert!(good && value == "7"),
            Err(e) => assert!(!good && matches!(e, Error::Damaged(_)), "{e}"),
        }
    }
}

#[test]
fn adverts_prove_nothing_and_take_nothing_away() {
    let mut w = World::new(first_seed());
    let (a, _) = pair(&mut w, false);
    let told = w.nodes[a].peers.len();
    let refused = w.nodes[a].engine.refused();
    let hear = |w: &mut World, from: [u8; 4], advert: &str| {
        let now = w.now;
        let engine = &mut w.nodes[a].engine;
        engine.datagram(now, from.into(), false, advert.as_bytes());
    };
    for advert in [
        // This host's own services, everybody, nobody.
        "plant.c|127.0.0.1:22",
        "plant.c|255.255.255.255:5000",
        "plant.c|224.0.0.1:5000",
        "plant.c|0.0.0.0:5000",
        "plant.c.d|10.0.0.9:5000",
        "\u{7f}|",
        // What only another host's neighbours can reach.
        "plant.c|169.254.169.254:80",
    ] {
        hear(&mut w, [10, 0, 0, 9], advert);
    }
    assert_eq!(w.nodes[a].engine.refused(), refused + 7);
    // Another network's, our own name, and somebody else's, while its owner is heard.
    for advert in [
        "other.c|10.0.0.9:5000",
        "plant.a|10.0.0.9:5000",
        "plant.b|10.0.0.9:5000",
    ] {
        hear(&mut w, [10, 0, 0, 9], advert);
    }
    w.settle();
    assert_eq!(w.nodes[a].peers.len(), told);
    w.call(a, "b", "x", "[]");
    assert_eq!(w.nodes[a].dials.last().unwrap().1, "10.0.0.2:5000");
    // On this host a host's name may well mean 127.0.1.1.
    let (now, own) = (w.now, World::address(a).ip());
    let engine = &mut w.nodes[a].engine;
    engine.datagram(now, own, true, b"plant.near|127.0.1.1:5000");
    w.settle();
    let near = Place::Lan("127.0.1.1:5000".parse().unwrap());
    assert_eq!(w.nodes[a].peers.last(), Some(&(name("near"), Some(near))));
    let told = told + 1;
    // So many, and no more. One address that invents them has no more than it leaves for others.
    let all = Limits::default().peers;
    for i in 0..5_000 {
        hear(&mut w, [10, 0, 0, 9], &format!("plant.x{i}|10.0.0.9:5000"));
    }
    w.settle();
    let invented = w.nodes[a].peers.len() - told;
    assert!((all / 2 - 2..all / 2).contains(&invented), "{invented}");
    for i in 0..4_000u32 {
        let [.., c, d] = i.to_be_bytes();
        hear(&mut w, [10, 1, c, d], &format!("plant.y{i}|10.0.0.9:5000"));
    }
    w.settle();
    let room = all - 2;
    assert_eq!(w.nodes[a].peers.len(), told + room);
    w.run(secs(10));
    assert_eq!(
        w.nodes[a].peers.iter().filter(|(_, p)| p.is_none()).count(),
        room + 1
    );
}

/// Answers the next question of a node to its relay with this.
fn answer_relay(w: &mut World, node: usize, answer: &str) -> String {
    let (link, _) = w.nodes[node].dials.pop().expect("a question");
    let wire = w.join(node, link, Some(End::Test));
    w.settle();
    w.nodes[node]
        .engine
        .received(w.now, link, answer.as_bytes());
    w.nodes[node].engine.closed(w.now, link);
    w.settle();
    String::from_utf8(w.wires[wire].heard.clone()).unwrap()
}

fn json_answer(extra: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{extra}\r\n{body}")
}

#[test]
fn a_thousand_calls_and_answers_through_a_relay_open_few_connections_at_a_time() {
    let mut w = World::new(first_seed());
    let (a, b) = pair(&mut w, true);
    let calls: Vec<_> = (0..1_000).map(|_| w.call(a, "b", "x", "[]")).collect();
    let mut most = 0;
    for _ in 0..1_000 {
        for asked in std::mem::take(&mut w.nodes[b].asked) {
            w.nodes[b]
                .engine
                .reply(w.now, asked.ticket, Status::Value, b"1");
        }
        w.run(ms(1));
        most = most.max(w.hub.stats().links);
    }
    assert!(
        calls
            .iter()
            .all(|n| w.result(a, *n) == Some(Ok("1".into())))
    );
    assert!(most <= 50, "{most}");
    // Given up while they wait: the others go on.
    let calls: Vec<_> = (0..100).map(|_| w.call(a, "b", "x", "[]")).collect();
    for n in &calls[..99] {
        w.nodes[a].engine.forget(w.now, *n);
    }
    w.run(ms(50));
    for asked in std::mem::take(&mut w.nodes[b].asked) {
        w.reply(b, asked.ticket, Status::Value, "2");
    }
    w.run(ms(50));
    assert_eq!(w.result(a, calls[99]), Some(Ok("2".into())));
}

#[test]
fn so_many_calls_run_at_a_time_and_more_are_told() {
    let mut w = World::new(first_seed());
    let a = w.add("a", &[]);
    let b = w.add_with("b", &[], |c| c.limits.served_per_peer = 2);
    w.run(secs(2));
    let calls: Vec<_> = (0..3).map(|_| w.call(a, "b", "x", "[]")).collect();
    w.run(ms(10));
    assert_eq!(w.nodes[b].asked.len(), 2);
    assert_eq!(
        w.result(a, calls[2]),
        Some(Err(Error::Overloaded("at the peer")))
    );
    for asked in std::mem::take(&mut w.nodes[b].asked) {
        w.reply(b, asked.ticket, Status::Value, "1");
    }
    w.run(ms(10));
    assert!(
        calls[..2]
            .iter()
            .all(|n| w.result(a, *n) == Some(Ok("1".into())))
    );
    // Ours, too: the connections that they take are bounded.
    let most = Limits::default().compat_links;
    w.by_hand = true;
    let calls: Vec<_> = (0..=most).map(|_| w.call(a, "b", "x", "[]")).collect();
    assert!(matches!(
        w.result(a, calls[most]),
        Some(Err(Error::Overloaded(_)))
    ));
    assert_eq!(w.result(a, calls[most - 1]), None);
}

#[test]
fn an_answer_at_a_relay_that_anybody_made_up_does_not_end_a_call() {
    let mut w = World::new(first_seed());
    for node in ["py", "evil"] {
        w.ask(None, "/ping/", &ping(node, "plant"));
    }
    let a = w.add("a", &[RELAY]);
    w.run(ms(500));
    let n = w.call(a, "py", "x", "[]");
    w.run(ms(10));
    let (_, pong) = w.ask(None, "/ping/", &ping("py", "plant"));
    let packet = Pong::decode(pong.as_bytes()).unwrap().packets.remove(0);
    let mut answer = |from: &str, text: &[u8]| {
        let keys = Keyring::from(key());
        let sealed = match from {
            "evil" => text.to_vec(),
            _ => message::seal(text, &keys, 0, &mut Seeded(Rng(3))),
        };
        let answer = Packet {
            originator: name(from),
            kind: Kind::Response,
            data: String::from_utf8(sealed).unwrap(),
            ..packet.clone()
        };
        assert_eq!(w.ask(None, "/send/", &answer.encode(&name("a"))).0, 200);
        w.run(ms(20));
        w.result(a, n)
    };
    assert_eq!(answer("evil", b"Z0FBQUFB"), None);
    assert_eq!(answer("py", b"{}"), None);
    assert_eq!(
        answer("py", br#"{"status":200,"result":5}"#),
        Some(Ok("5".into()))
    );
    // Again, and nobody waits.
    assert_eq!(
        answer("py", br#"{"status":200,"result":6}"#),
        Some(Ok("5".into()))
    );
}

#[test]
fn a_call_that_a_relay_may_have_taken_goes_to_no_other() {
    let mut w = World::new(first_seed());
    w.by_hand = true;
    let a = w.add("a", &["r:1", "r:2"]);
    let pong = json_answer("", r#"{"peers":["a","py"],"servers":[],"buffer":{}}"#);
    answer_relay(&mut w, a, &pong);
    answer_relay(&mut w, a, &pong);
    w.call(a, "py", "x", "[]");
    let (link, first) = w.nodes[a].dials.pop().unwrap();
    let wire = w.join(a, link, Some(End::Test));
    w.settle();
    assert!(w.wires[wire].heard.starts_with(b"POST /send/ "));
    w.nodes[a].engine.closed(w.now, link);
    w.settle();
    assert!(w.nodes[a].dials.is_empty(), "its answer may still come");
    // One that says that it has not got it is no reason to wait.
    w.call(a, "py", "x", "[]");
    answer_relay(
        &mut w,
        a,
        "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}",
    );
    let (_, second) = w.nodes[a].dials.pop().unwrap();
    assert!(first == "r:1" && second == "r:2");
}

#[test]
fn calls_through_our_relay_wait_for_no_tick() {
    let mut w = World::new(first_seed());
    let (a, b) = pair(&mut w, true);
    let begun = w.now.at;
    for i in 0..20 {
        let n = w.call(a, "b", "x", "[]");
        while w.result(a, n).is_none() {
            assert!(w.now.at - begun < secs(1), "call {i} is still not answered");
            w.run(ms(1));
            if let Some(asked) = w.nodes[b].asked.pop() {
                w.reply(b, asked.ticket, Status::Value, "1");
            }
        }
    }
    // Only what keeps a relay from making us spin.
    assert!(w.now.at - begun <= ms(20 * 10), "{:?}", w.now.at - begun);
}

/// The answer of a relay with a call that has come from `py`.
fn pong_with_a_call(id: &str) -> String {
    let call = br#"{"command":"x","initiator":"plant.py"}"#;
    let sealed = message::seal(call, &Keyring::from(key()), 0, &mut Seeded(Rng(3)));
    let data = String::from_utf8(sealed).unwrap();
    let packet =
        format!(r#"{{"originator":"py","data":"{data}","type":"request","remote":"r:1"}}"#);
    let body = format!(r#"{{"peers":["py"],"servers":[],"buffer":{{"{id}":{packet}}}}}"#);
    json_answer("", &body)
}

#[test]
fn a_node_that_stops_has_flushed_when_its_relay_has_taken_what_was_answered() {
    let mut w = World::new(first_seed());
    w.by_hand = true;
    let b = w.add("b", &["r:1"]);
    answer_relay(&mut w, b, &pong_with_a_call("p1"));
    let asked = w.nodes[b].asked.pop().unwrap();
    w.nodes[b].engine.begin_stop();
    assert!(w.nodes[b].engine.is_flushed());
    w.reply(b, asked.ticket, Status::Value, "1");
    assert_eq!(w.nodes[b].dials.len(), 1);
    assert!(!w.nodes[b].engine.is_flushed(), "it is still dialling");
    let posted = answer_relay(&mut w, b, &json_answer("", r#"{"pid":"p1"}"#));
    assert!(posted.starts_with("POST /send/ "), "{posted}");
    assert!(w.nodes[b].engine.is_flushed());
    // What has come meanwhile stays in its mailbox, since it would not be served any more.
    w.run(secs(3));
    assert!(w.nodes[b].dials.is_empty(), "the relay is asked no more");
}

#[test]
fn the_largest_values_pass_our_relay() {
    let mut w = World::new(first_seed());
    let (a, b) = pair(&mut w, true);
    let most = Limits::default().max_message;
    let n = w.call(a, "b", "x", &format!("[\"{}\"]", "y".repeat(most - 100)));
    w.run(ms(50));
    let asked = w.nodes[b].asked.pop().expect("it came");
    assert_eq!(asked.args.len(), most - 96);
    let value = format!("\"{}\"", "z".repeat(most - 2));
    w.reply(b, asked.ticket, Status::Value, &value);
    w.run(ms(50));
    assert!(w.result(a, n) == Some(Ok(value)), "the whole value");
}

#[test]
fn a_caller_is_told_of_an_answer_that_its_relay_does_not_take() {
    for status in ["413 Content Too Large", "503 Service Unavailable"] {
        let mut w = World::new(first_seed());
        w.by_hand = true;
        let b = w.add("b", &["r:1"]);
        answer_relay(&mut w, b, &pong_with_a_call("p1"));
        let asked = w.nodes[b].asked.pop().unwrap();
        w.reply(b, asked.ticket, Status::Value, &"1".repeat(5_000));
        let refusal = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
        let large = answer_relay(&mut w, b, &refusal);
        assert!(large.len() > 5_000);
        // A small one with the same id, which says that the command ran.
        let small = answer_relay(&mut w, b, &refusal);
        let (_, body) = small.split_once("\r\n\r\n").unwrap();
        let (target, packet) = Packet::decode(body.as_bytes()).unwrap();
        assert_eq!((target, &packet.id[..]), (name("py"), "p1"));
        let (keys, mut opened) = (Keyring::from(key()), Vec::new());
        let text = message::open(packet.data.as_bytes(), &keys, &mut opened).unwrap();
        let (status, value) = message::read_relayed_answer(text).unwrap();
        let value = String::from_utf8(value).unwrap();
        assert!(
            status == 500 && value.contains("the command ran"),
            "{value}"
        );
        assert!(w.nodes[b].dials.is_empty(), "once");
    }
}

#[test]
fn a_relay_whose_first_address_is_dead_is_asked_at_the_next_and_stays_there() {
    let mut w = World::new(first_seed());
    w.by_hand = true;
    let a = w.add("a", &["r:1"]);
    let (link, _) = w.nodes[a].dials.pop().unwrap();
    w.nodes[a].engine.closed(w.now, link);
    w.settle();
    let empty = json_answer("", r#"{"peers":[],"servers":[],"buffer":{}}"#);
    answer_relay(&mut w, a, &empty);
    assert_eq!(
        w.nodes[a].relays,
        [(RelayAddress::new("r:1").unwrap(), Ok(()))]
    );
    w.run(ms(250));
    assert_eq!(w.nodes[a].nth, [0, 1, 1]);
    // All of them dead: that is a failure, and not asked for ever.
    for _ in 0..3 {
        let (link, _) = w.nodes[a].dials.pop().unwrap();
        w.nodes[a].engine.closed(w.now, link);
        w.settle();
    }
    assert!(w.nodes[a].dials.is_empty());
    assert!(matches!(w.nodes[a].relays.last(), Some((_, Err(_)))));
}

#[test]
fn a_relay_that_does_not_wait_is_asked_at_each_tick_and_where_it_points_to() {
    let mut w = World::new(first_seed());
    w.by_hand = true;
    let a = w.add("a", &["r:1"]);
    let pointed =
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://r:1/ping\r\ncontent-length: 0\r\n\r\n";
    assert!(answer_relay(&mut w, a, pointed).starts_with("POST /ping/ HTTP/1.0\r\nHost: r:1\r\n"));
    w.run(Duration::ZERO);
    let pong = json_answer(
        "",
        r#"{"peers":["a","b"],"servers":["s:2","127.0.0.1:3"],"buffer":{}}"#,
    );
    let asked = answer_relay(&mut w, a, &pong);
    assert!(asked.starts_with("POST /ping HTTP/1.0\r\n"), "{asked}");
    assert!(asked.ends_with(r#"{"node_name":"a","node_network":"plant","known_servers":["r:1"]}"#));
    assert_eq!(
        w.nodes[a].relays,
        [(RelayAddress::new("r:1").unwrap(), Ok(()))]
    );
    assert_eq!(w.nodes[a].peers.len(), 1, "not ourselves");
    // The others that it told of.
    w.run(Duration::ZERO);
    let others: Vec<String> = w.nodes[a].dials.drain(..).map(|(_, to)| to).collect();
    assert_eq!(others, ["s:2", "127.0.0.1:3"]);
    w.run(ms(249));
    assert!(w.nodes[a].dials.is_empty());
    w.run(ms(1));
    assert_eq!(w.nodes[a].dials.len(), 1);
}

#[test]
fn a_hostile_relay_makes_a_node_neither_spin_nor_ask_everywhere() {
    for answer in [
        json_answer(
            "Preference-Applied: wait\r\n",
            r#"{"peers":[],"servers":[],"buffer":{}}"#,
        ),
        "HTTP/1.1 307 X\r\nlocation: /ping\r\ncontent-length: 0\r\n\r\n".into(),
        "HTTP/1.1 307 X\r\nlocation: http://elsewhere:1/ping/\r\ncontent-length: 0\r\n\r\n".into(),
        "HTTP/1.1 500 X\r\n\r\n".into(),
        json_answer("", "[]"),
        json_answer("", &"[".repeat(100_000)),
        "nonsense".into(),
    ] {
        let mut w = World::new(first_seed());
        w.by_hand = true;
        let a = w.add("a", &["r:1"]);
        let mut questions = 0;
        for _ in 0..1_000 {
            while let Some((_, to)) = w.nodes[a].dials.last() {
                assert_eq!(to, "r:1", "nowhere else");
                answer_relay(&mut w, a, &answer);
                questions += 1;
            }
            w.run(ms(1));
        }
        assert!(questions <= 210, "{questions} a second for {answer:.60}");
        assert!(questions >= 2, "it is asked again");
    }
    // One that points from each of the two paths to the other.
    let mut w = World::new(first_seed());
    w.by_hand = true;
    let a = w.add("a", &["r:1"]);
    let (mut questions, mut to) = (0, "/ping");
    for _ in 0..1_000 {
        while !w.nodes[a].dials.is_empty() {
            let answer = format!("HTTP/1.1 307 X\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
            let asked = answer_relay(&mut w, a, &answer);
            to = if asked.starts_with("POST /ping/ ") {
                "/ping/"
            } else {
                "/ping"
            };
            questions += 1;
        }
        w.run(ms(1));
    }
    assert!(questions < 20, "{questions}");
    // Whatever it tells of, few are asked, and none of them that is dead for long.
    let mut w = World::new(first_seed());
    let a = w.add("a", &["r:1"]);
    w.by_hand = true;
    w.run(secs(1));
    let servers: Vec<String> = (0..2_000).map(|i| format!("\"s{i}:1\"")).collect();
    let body = format!(
        "{{\"peers\":[],\"servers\":[{}],\"buffer\":{{}}}}",
        servers.join(",")
    );
    answer_relay(&mut w, a, &json_answer("", &body));
    w.by_hand = false;
    w.run(ms(1));
    let others = |w: &World| {
        let all = w.nodes[a].dials.iter().map(|(_, to)| to.clone());
        all.filter(|to| to != "r:1").collect::<Vec<_>>()
    };
    let distinct: std::collections::BTreeSet<String> = others(&w).into_iter().collect();
    assert_eq!(distinct.len(), 2, "max_remotes is 3");
    w.nodes[a].dials.clear();
    w.run(secs(60));
    assert!(
        others(&w).len() <= 2 * 4 * 3,
        "four times each, three addresses at a time"
    );
}

#[test]
fn a_message_too_large_for_the_other_side_is_said_to_be() {
    let mut w = World::new(first_seed());
    let a = w.add("a", &[]);
    let b = w.add_with("b", &[], |c| c.limits.max_message = 2_000);
    w.run(secs(2));
    let n = w.call(a, "b", "x", &format!("[\"{}\"]", "y".repeat(10_000)));
    w.run(ms(10));
    assert!(matches!(w.result(a, n), Some(Err(Error::TooLarge { .. }))));
    // Its answer, too, has a bound, for everyone together.
    let n = w.call(a, "b", "x", "[]");
    let asked = w.nodes[b].asked.pop().unwrap();
    w.reply(
        b,
        asked.ticket,
        Status::Value,
        &format!("\"{}\"", "y".repeat(1 << 20)),
    );
    w.run(ms(10));
    assert!(w.result(a, n).unwrap().is_ok(), "a megabyte fits");
}
