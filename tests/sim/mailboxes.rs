//! The relay's mailboxes for Python nodes.

use crate::compat_world::{Seeded, World, packet, ping};
use crate::first_seed;
use crate::world::{Rng, key, ms, secs};
use peerbase::compat::http;
use peerbase::frame::{self, Frame, FrameType};
use peerbase::limits::RelayLimits;
use peerbase::protocol::{LinkId, Now};
use peerbase::relay::hub;
use peerbase::wire::relay::ToRelay;
use peerbase::{NetworkName, RelayKey};
use std::time::Duration;

#[test]
fn a_mailbox_is_bounded_its_sender_is_told_and_it_goes_with_its_owner() {
    let limits = RelayLimits {
        // Half of each, for the one address that sends.
        mailbox_bytes: 20_000,
        mailbox_packets: 10,
        mailboxes_bytes: 32_000,
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
    let join = |w: &mut World, site: u8, node: &str, network: &str| {
        w.ask_from([10, 0, 1, site], None, "/ping/", &ping(node, network))
    };
    assert_eq!(join(&mut w, 1, "a", "one").0, 200);
    assert_eq!(join(&mut w, 2, "b", "one").0, 200);
    let (status, body) = join(&mut w, 3, "c", "one");
    assert_eq!(status, 503, "the network is full");
    // Python nodes look for these fields whatever the status is, and would end without them.
    assert!(
        body.contains("\"peers\":[]")
            && body.contains("\"servers\":[]")
            && body.contains("\"buffer\":{}")
    );
    assert_eq!(join(&mut w, 4, "a", "two").0, 200);
    assert_eq!(join(&mut w, 5, "b", "two").0, 503, "the relay is full");
    assert_eq!(join(&mut w, 6, "a", "three").0, 503, "so many networks");
    assert_eq!(join(&mut w, 1, "a", "one").0, 200, "who is there stays");

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
        .filter(|i| join(&mut w, 1, &format!("n{i}"), "one").0 == 429)
        .count();
    assert_eq!(refused, 12, "eight at once from one address");

    let shut = NetworkName::new("shut").unwrap();
    let relay_key = RelayKey::derive(&key(), &shut);
    let networks = vec![
        (NetworkName::new("open").unwrap(), None),
        (shut, Some(relay_key)),
    ];
    let mut w = World::with(first_seed(), RelayLimits::default(), networks);
    assert_eq!(join(&mut w, 1, "a", "open").0, 200);
    assert_eq!(join(&mut w, 1, "a", "shut").0, 403);
    assert_eq!(join(&mut w, 1, "a", "unknown").0, 403);
}

/// A hub whose links take no more than the test lets them.
struct ByHand {
    hub: hub::Hub,
    now: Now,
}

impl ByHand {
    fn new(limits: RelayLimits) -> ByHand {
        let config = hub::Config {
            limits,
            compat: true,
            ..hub::Config::default()
        };
        ByHand {
            hub: hub::Hub::new(config, Box::new(Seeded(Rng(1)))),
            now: Now::default(),
        }
    }

    fn ask(&mut self, path: &str, body: &[u8]) -> LinkId {
        let from = "10.0.0.1:1".parse().unwrap();
        let link = self.hub.accept(self.now, from).unwrap();
        let mut request = Vec::new();
        http::write_post("relay", path, body, None, &mut request);
        self.hub.received(self.now, link, &request);
        link
    }

    fn take(&mut self, link: LinkId, most: usize) -> String {
        let pending = self.hub.pending(link);
        let bytes = pending[..most.min(pending.len())].to_vec();
        self.hub.sent(self.now, link, bytes.len());
        String::from_utf8(bytes).unwrap()
    }

    fn lose(&mut self, link: LinkId) {
        self.hub.closed(self.now, link);
    }

    /// The whole answer; empty if the question is kept.
    fn answer(&mut self, path: &str, body: &[u8]) -> String {
        let link = self.ask(path, body);
        let text = self.take(link, usize::MAX);
        self.lose(link);
        text
    }

    fn send(&mut self, id: &str, data: &str) -> bool {
        let answer = self.answer("/send/", &packet("b", "a", id, data));
        answer.starts_with("HTTP/1.0 200")
    }

    /// Both nodes ask for the first time, and b is told of a.
    fn meet(&mut self) {
        for node in ["b", "a", "b"] {
            assert!(!self.answer("/ping/", &ping(node, "plant")).is_empty());
        }
    }

    /// A question of b's whose answer has begun to be written, and no more.
    fn begin(&mut self) -> LinkId {
        let link = self.ask("/ping/", &ping("b", "plant"));
        assert_eq!(self.take(link, 150).len(), 150);
        link
    }

    fn pass(&mut self, time: Duration) {
        self.now.at = self.now.at + time;
        self.hub.tick(self.now);
    }

    fn bytes(&self) -> u64 {
        self.hub.stats().mailbox_bytes
    }
}

#[test]
fn what_an_answer_did_not_deliver_whole_is_back_in_front_within_the_bounds() {
    let mut w = ByHand::new(RelayLimits {
        // Half of them, for the one address that sends.
        mailbox_packets: 6,
        ..RelayLimits::default()
    });
    w.meet();
    assert!(w.send("p1", "x") && w.send("p2", "x"));
    let first = w.begin();
    assert!(w.bytes() > 0, "it counts until it is written");
    assert!(w.send("p3", "x"));
    assert!(!w.send("p4", "x"), "with what is being written");
    w.lose(first);
    let text = w.answer("/ping/", &ping("b", "plant"));
    let at = |id| text.find(id).unwrap();
    assert!(at("p1") < at("p2") && at("p2") < at("p3"), "{text}");
    assert_eq!(w.bytes(), 0);
    // Whoever waits has it at once.
    assert!(w.send("p5", "x"));
    let first = w.begin();
    let second = w.ask("/ping/", &ping("b", "plant"));
    assert!(w.hub.pending(second).is_empty());
    w.lose(first);
    assert!(w.take(second, usize::MAX).contains("p5"));
    w.lose(second);
    assert_eq!(w.answer("/ping/", &ping("b", "plant")), "", "once");
    // What was sent again meanwhile is there once.
    assert!(w.send("p6", "old"));
    let first = w.begin();
    assert!(w.send("p6", "new"));
    w.lose(first);
    let text = w.answer("/ping/", &ping("b", "plant"));
    assert_eq!(text.matches("p6").count(), 1, "{text}");
    assert!(text.contains("new") && !text.contains("old"), "{text}");
    assert_eq!(w.bytes(), 0);
}

#[test]
fn a_mailbox_whose_owner_takes_an_answer_slowly_stays_with_what_is_in_it() {
    for whole in [false, true] {
        let mut w = ByHand::new(RelayLimits::default());
        w.meet();
        assert!(w.send("p1", "x"));
        let slow = w.begin();
        let held = w.bytes();
        // Far longer than a mailbox stays whose owner does not ask; a's goes.
        for _ in 0..5 {
            w.pass(secs(4));
            assert_eq!(w.take(slow, 1).len(), 1, "it goes on reading");
        }
        let s = w.hub.stats();
        assert_eq!((s.mailboxes, s.mailbox_bytes), (1, held));
        w.pass(secs(2));
        if whole {
            w.take(slow, usize::MAX);
        }
        w.lose(slow);
        w.pass(secs(2));
        assert_eq!(w.hub.stats().mailboxes, 1, "it has as long again to ask");
        let text = w.answer("/ping/", &ping("b", "plant"));
        assert_eq!(text.contains("p1"), !whole, "{text}");
        w.pass(secs(4));
        let s = w.hub.stats();
        assert_eq!((s.mailboxes, s.mailbox_bytes), (0, 0));
    }
    // Of one that takes nothing any more, the link is closed, and then the mailbox goes.
    let mut w = ByHand::new(RelayLimits::default());
    w.meet();
    assert!(w.send("p1", "x"));
    w.begin();
    for _ in 0..20 {
        w.pass(secs(4));
    }
    let s = w.hub.stats();
    assert_eq!((s.links, s.mailboxes, s.mailbox_bytes), (0, 0, 0));
}

#[test]
fn an_answer_that_there_is_no_memory_for_is_not_sent_and_stays() {
    let mut w = ByHand::new(RelayLimits {
        links_bytes: 16_000,
        ..RelayLimits::default()
    });
    w.meet();
    for id in ["p1", "p2", "p3"] {
        assert!(w.send(id, &"x".repeat(5_000)));
    }
    let held = w.bytes();
    while w.hub.poll().is_some() {}
    let link = w.ask("/ping/", &ping("b", "plant"));
    let mut closed = None;
    while let Some(output) = w.hub.poll() {
        if let hub::Output::Close(id, last) = output {
            closed = Some((id, last));
        }
    }
    assert_eq!(closed, Some((link, Vec::new())), "not the whole answer");
    let s = w.hub.stats();
    assert_eq!(
        (s.mailbox_bytes, s.refused_memory, s.refused_slow),
        (held, 1, 0)
    );
}

#[test]
fn one_site_has_no_more_mailboxes_and_bytes_than_it_leaves_and_others_find_room() {
    let (one, other) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let many = RelayLimits::default();
    let of_network = RelayLimits {
        mailboxes_per_network: 8,
        ..many.clone()
    };
    let of_all = RelayLimits {
        mailboxes: 8,
        ..many.clone()
    };
    let networks = RelayLimits {
        networks: 8,
        ..many.clone()
    };
    for (what, limits, apart) in [
        ("of a network", of_network, false),
        ("of all", of_all, true),
        ("networks", networks, true),
    ] {
        let mut w = World::with(first_seed(), limits, Vec::new());
        let join = |w: &mut World, from, i: usize| {
            let network = if apart {
                format!("n{i}")
            } else {
                "plant".into()
            };
            w.ask_from(from, None, "/ping/", &ping(&format!("a{i}"), &network))
                .0
        };
        for _ in 0..2 {
            let statuses: Vec<u16> = (0..20).map(|i| join(&mut w, one, i)).collect();
            let joined = statuses.iter().filter(|s| **s == 200).count();
            assert_eq!(joined, 4, "{what}: {statuses:?}");
            assert!(statuses[4..].iter().all(|s| *s == 429), "{statuses:?}");
            assert_eq!(join(&mut w, other, 20), 200, "{what}");
            // When they are gone there is room again.
            w.run(secs(4));
            assert_eq!(w.mailboxes(), 0);
        }
    }
    let bytes = RelayLimits {
        mailboxes_bytes: 40_000,
        ..many
    };
    let mut w = World::with(first_seed(), bytes, Vec::new());
    for node in ["a", "b", "c"] {
        w.ask(None, "/ping/", &ping(node, "plant"));
    }
    let send = |w: &mut World, from, to: &str, id: &str| {
        let body = packet(to, "a", id, &"x".repeat(3_000));
        w.ask_from(from, None, "/send/", &body).0
    };
    let taken = (0..20).filter(|i| send(&mut w, one, "b", &format!("p{i}")) == 200);
    assert_eq!(taken.count(), 6);
    assert_eq!(send(&mut w, one, "c", "q"), 503, "in whatever mailbox");
    assert_eq!(send(&mut w, other, "c", "q"), 200);
    assert_eq!(send(&mut w, other, "b", "p0"), 200, "another's is replaced");
    w.ask(None, "/ping/", &ping("b", "plant"));
    assert_eq!(send(&mut w, one, "b", "p0"), 200, "what was read is over");
}

#[test]
fn one_site_does_not_fill_a_mailbox_and_others_find_room_in_it() {
    let bytes = RelayLimits {
        mailbox_bytes: 40_000,
        ..RelayLimits::default()
    };
    let packets = RelayLimits {
        mailbox_packets: 8,
        ..RelayLimits::default()
    };
    for (limits, size, own) in [(bytes, 3_000, 6), (packets, 10, 4)] {
        let mut w = World::with(first_seed(), limits, Vec::new());
        for node in ["a", "b"] {
            w.ask(None, "/ping/", &ping(node, "plant"));
        }
        let send = |w: &mut World, from: u8, id: usize| {
            let body = packet("b", "a", &format!("p{id}"), &"x".repeat(size));
            w.ask_from([10, 0, 0, from], None, "/send/", &body).0
        };
        let taken = (0..20).filter(|id| send(&mut w, 1, *id) == 200);
        assert_eq!(taken.count(), own, "half, as long as it is alone");
        assert_eq!(send(&mut w, 1, 0), 200, "its own takes the same place");
        assert_eq!((send(&mut w, 2, 50), send(&mut w, 3, 51)), (200, 200));
        assert_eq!(send(&mut w, 1, 60), 503);
        // What was read is over.
        w.ask(None, "/ping/", &ping("b", "plant"));
        assert_eq!(send(&mut w, 1, 60), 200);
    }
}

#[test]
fn requests_that_four_sites_never_finish_leave_room_for_others() {
    let mut w = World::with(
        first_seed(),
        RelayLimits {
            requests_bytes: 64_000,
            ..RelayLimits::default()
        },
        Vec::new(),
    );
    for n in 0..40 {
        let wire = w.connect(None, [10, 0, 0, 1 + n % 4]).unwrap();
        let mut begun = b"POST /send/ HTTP/1.0\r\nContent-Length: 60000\r\n\r\n".to_vec();
        begun.resize(4_000, b' ');
        w.say(wire, &begun);
    }
    assert!(w.hub.stats().http_refused > 0, "they take what they may");
    let status = w
        .ask_from([10, 0, 0, 9], None, "/ping/", &ping("a", "plant"))
        .0;
    assert_eq!(status, 200);
}

#[test]
fn a_network_with_members_of_both_kinds_is_one_network() {
    let mut w = World::new(first_seed());
    let wire = w.connect(None, [10, 0, 0, 1]).unwrap();
    let (mut word, mut join) = (Vec::new(), Vec::new());
    ToRelay::Join([7; 32]).encode(&mut word);
    let join_frame = Frame {
        net: "plant",
        kind: FrameType::REGISTER,
        payload: &word,
    };
    frame::encode(&join_frame, &mut join);
    w.say(wire, &join);
    assert_eq!(w.hub.stats().networks, 1);
    w.ask(None, "/ping/", &ping("a", "plant"));
    assert_eq!(w.hub.stats().networks, 1);
    w.ask(None, "/ping/", &ping("a", "other"));
    assert_eq!(w.hub.stats().networks, 2);
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
