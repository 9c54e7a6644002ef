//! What a stranger on the LAN, somebody who recorded everything, and a member gone bad can try.

use crate::seeds;
use crate::world::{Behaviour, PORT, Rng, World, key, ms, name, secs, terms};
use peerbase::engine::{self, Event};
use peerbase::entropy::Entropy;
use peerbase::error::Error;
use peerbase::fernet::{Key, Keyring, Sealer};
use peerbase::frame::{Frame, FrameType, Parsed, encode, parse};
use peerbase::limits::FRAME_MAX;
use peerbase::wire::Instance;
use peerbase::wire::advert::{Advert, Phase};
use peerbase::wire::ask::{AskKind, AskRef};
use peerbase::wire::hello::{Hello, Role, session_keys};
use peerbase::wire::record::{self, Body, Form, Record, Status};
use std::net::SocketAddr;
use std::time::Duration;

/// A call that was not sent before, without streams.
pub(crate) const FIRST: Form = Form {
    again: false,
    streams: false,
};

/// A member gone bad: it holds the network key, speaks the protocol, and says what it likes.
pub(crate) struct Member {
    wire: usize,
    hello: Hello,
    /// For what it sends and for what it is sent.
    keys: Option<(Sealer, Sealer)>,
    sequence: u64,
    read: usize,
}

fn sealed(kind: FrameType, sealer: &Sealer, plain: &[u8]) -> Vec<u8> {
    sealed_for("sim", kind, sealer, plain)
}

fn sealed_for(net: &str, kind: FrameType, sealer: &Sealer, plain: &[u8]) -> Vec<u8> {
    let (mut token, mut out) = (Vec::new(), Vec::new());
    sealer.seal(plain, 1, &[3; 16], &mut token);
    encode(
        &Frame {
            net,
            kind,
            payload: &token,
        },
        &mut out,
    );
    out
}

fn ask(instance: u8, own: &str, meant: &str) -> Hello {
    Hello {
        role: Role::Ask,
        probing: false,
        instance: Instance([instance; 16]),
        nonce: [instance; 32],
        port: PORT,
        name: name(own),
        meant: Some(name(meant)),
    }
}

fn hello_frame(hello: &Hello) -> Vec<u8> {
    let mut plain = Vec::new();
    hello.encode(&mut plain);
    sealed(FrameType::HELLO, &Sealer::new(&key()), &plain)
}

/// The frames that came on a wire.
fn frames(mut bytes: &[u8]) -> Vec<(FrameType, Vec<u8>)> {
    let mut list = Vec::new();
    while let Ok(Parsed::Complete(frame, used)) = parse(bytes, FRAME_MAX) {
        list.push((frame.kind, frame.payload.to_vec()));
        bytes = &bytes[used..];
    }
    list
}

impl Member {
    /// Connects to a node and makes a session with it.
    pub(crate) fn join(w: &mut World, node: usize, own: &str) -> Member {
        let byte = w.rng.below(200) as u8 + 1;
        Member::join_as(w, node, own, Instance([byte; 16]))
    }

    /// The same as an instance of its choice.
    pub(crate) fn join_as(w: &mut World, node: usize, own: &str, instance: Instance) -> Member {
        let mut member = Member::ask(w, node, own, instance);
        member.prove(w);
        member
    }

    /// Connects to a node and has its answer, but has not proved itself yet.
    fn ask(w: &mut World, node: usize, own: &str, instance: Instance) -> Member {
        let meant = w.nodes[node].engine.name().to_string();
        let wire = w.raw_connect(node);
        let hello = Hello {
            instance,
            nonce: [instance.0[0]; 32],
            ..ask(0, own, &meant)
        };
        w.raw_send(wire, &hello_frame(&hello));
        w.run(ms(20));
        let mut member = Member {
            wire,
            hello,
            keys: None,
            sequence: 0,
            read: 0,
        };
        let (kind, token) = member.next(w).remove(0);
        assert_eq!(kind, FrameType::HELLO);
        let answer =
            Hello::decode(Sealer::new(&key()).open(&token, &mut Vec::new()).unwrap()).unwrap();
        let (asker, answerer) = session_keys(&key(), &member.hello, &answer);
        member.keys = Some((Sealer::new(&asker), Sealer::new(&answerer)));
        member
    }

    /// Its first record proves that it has the keys.
    fn prove(&mut self, w: &mut World) {
        self.send(w, |s, out| record::encode_notice(s, &[], out));
        w.run(ms(20));
    }

    fn frame(&mut self, encode: impl FnOnce(u64, &mut Vec<u8>)) -> Vec<u8> {
        let mut plain = Vec::new();
        encode(self.sequence, &mut plain);
        self.sequence += 1;
        sealed(FrameType::MESSAGE, &self.keys.as_ref().unwrap().0, &plain)
    }

    pub(crate) fn send(&mut self, w: &mut World, encode: impl FnOnce(u64, &mut Vec<u8>)) {
        let frame = self.frame(encode);
        w.raw_send(self.wire, &frame);
    }

    pub(crate) fn call(&mut self, w: &mut World, number: u64) {
        self.call_for(w, number, 60_000);
    }

    /// A call that it waits so many milliseconds for.
    pub(crate) fn call_for(&mut self, w: &mut World, number: u64, timeout_ms: u32) {
        self.call_with(w, number, timeout_ms, b"[]");
    }

    /// The same with these args.
    fn call_with(&mut self, w: &mut World, number: u64, timeout_ms: u32, args: &[u8]) {
        let ask = AskRef::Command {
            path: "echo",
            args,
            kwargs: b"{}",
        };
        self.send(w, |s, out| {
            record::encode_call(s, (number, FIRST), timeout_ms, &[], &ask, out)
        });
    }

    /// Ends its session, and stays a peer.
    pub(crate) fn part(mut self, w: &mut World) {
        self.send(w, |s, out| {
            record::encode_close(s, record::CloseReason::Idle, out)
        });
        w.run(ms(5));
    }

    /// What waits to be written to it.
    pub(crate) fn unread(&self, w: &World) -> usize {
        w.pending_on(self.wire)
    }

    /// It reads no more.
    pub(crate) fn stall(&self, w: &mut World) {
        w.stall(self.wire);
    }

    /// The numbers of the calls that came since the last time, and whether they were sent before.
    fn calls(&mut self, w: &World) -> Vec<(u64, bool)> {
        let mut list = Vec::new();
        self.hear(w, |body| {
            if let Body::Call { number, again, .. } = body {
                list.push((*number, *again));
            }
        });
        list
    }

    pub(crate) fn next(&mut self, w: &World) -> Vec<(FrameType, Vec<u8>)> {
        let mut new = Vec::new();
        while let Ok(Parsed::Complete(frame, used)) =
            parse(&w.raw[&self.wire][self.read..], FRAME_MAX)
        {
            new.push((frame.kind, frame.payload.to_vec()));
            self.read += used;
        }
        new
    }

    /// What the records say that came since the last time; `f` is given each.
    pub(crate) fn hear(&mut self, w: &World, mut f: impl FnMut(&Body<'_>)) {
        for (_, token) in self.next(w) {
            let mut buf = Vec::new();
            let (_, theirs) = self.keys.as_ref().unwrap();
            if let Ok(plain) = theirs.open(&token, &mut buf) {
                f(&Record::decode(plain).unwrap().body);
            }
        }
    }

    /// How the calls whose answers came since the last time have ended.
    pub(crate) fn statuses(&mut self, w: &World) -> Vec<Status> {
        let mut list = Vec::new();
        self.hear(w, |body| {
            if let Body::Reply { status, .. } = body {
                list.push(*status);
            }
        });
        list
    }

    pub(crate) fn is_closed(&self, w: &World) -> bool {
        w.closed_raw.contains(&self.wire)
    }
}

pub(crate) fn two(w: &mut World) -> (usize, usize) {
    let pair = (w.add("a"), w.add("b"));
    w.run(secs(2));
    pair
}

/// The node serves others as if nothing had happened, and keeps nothing of the attack.
pub(crate) fn unharmed(w: &mut World, a: usize, b: usize) {
    let n = w.call(b, "a", secs(5)).unwrap();
    w.run(secs(1));
    assert!(w.result(b, n).unwrap().is_ok());
    assert!(w.nodes[a].engine.stats().links <= 2);
    w.check_closed();
}

#[test]
fn a_handshake_over_a_thousand_reads_is_a_handshake() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = two(&mut w);
    let wire = w.raw_connect(a);
    for byte in hello_frame(&ask(9, "slow", "a")) {
        w.raw_send(wire, &[byte]);
        w.run(ms(5));
    }
    assert_eq!(frames(&w.raw[&wire])[0].0, FrameType::HELLO);
    w.run(secs(10));
    assert!(w.closed_raw.contains(&wire), "nothing was proved in time");
    unharmed(&mut w, a, b);
}

#[test]
fn bytes_that_are_no_frame_close_their_link_at_the_bound() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = two(&mut w);
    let endless = [b'x'; 100];
    let long = [b"sim|hel|".as_slice(), &vec![b'A'; FRAME_MAX]].concat();
    for bytes in [
        &endless[..],
        b"sim|hel||END\n",
        b"sim|hel|\0|END\n",
        b"sim|HEL|A|END\n",
        &long,
        b"\x16\x03\x01\x02\x00|",
    ] {
        let before = w.nodes[a].engine.stats().refused_frame;
        let wire = w.raw_connect(a);
        w.raw_send(wire, bytes);
        w.run(ms(50));
        assert!(
            w.closed_raw.contains(&wire),
            "{}",
            bytes[..20.min(bytes.len())].escape_ascii()
        );
        assert_eq!(w.nodes[a].engine.stats().refused_frame, before + 1);
    }
    unharmed(&mut w, a, b);
}

#[test]
fn another_key_another_network_and_a_rotated_out_key_stay_outside() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = two(&mut w);
    let stranger = w.add_with_keys("stranger", Keyring::from(Key::from_bytes([1; 32])));
    w.run(secs(5));
    assert!(!w.knows(a, "stranger") && !w.knows(stranger, "a"));
    assert!(w.nodes[a].engine.stats().adverts_refused > 0);
    // On a link: a hello under another key, and one of another network under the right key.
    let mut plain = Vec::new();
    ask(9, "x", "a").encode(&mut plain);
    let wrong = sealed(
        FrameType::HELLO,
        &Sealer::new(&Key::from_bytes([1; 32])),
        &plain,
    );
    let wire = w.raw_connect(a);
    w.raw_send(wire, &wrong);
    w.run(ms(50));
    assert!(w.closed_raw.contains(&wire));
    assert_eq!(w.nodes[a].engine.stats().refused_token, 1);
    let wire = w.raw_connect(a);
    w.raw_send(
        wire,
        &sealed_for("other", FrameType::HELLO, &Sealer::new(&key()), &plain),
    );
    w.run(ms(50));
    assert!(w.raw[&wire].is_empty(), "ignored, without a word");
    w.run(secs(6));
    assert!(w.closed_raw.contains(&wire), "and timed out");
    w.stop(stranger);
    // A key is rotated: each step reaches the one before, and rotated out is out.
    let new = Key::from_bytes([7; 32]);
    let steps = [
        vec![key(), new.clone()],
        vec![new.clone(), key()],
        vec![new],
    ];
    let names = ["c", "d", "e"];
    let nodes: Vec<_> = steps
        .into_iter()
        .zip(names)
        .map(|(keys, name)| w.add_with_keys(name, Keyring::new(keys).unwrap()))
        .collect();
    w.run(secs(4));
    assert!(w.reaches(a, "c") && w.reaches(nodes[0], "d") && w.reaches(nodes[1], "e"));
    assert!(!w.knows(a, "e") && !w.knows(nodes[2], "a"));
    nodes.into_iter().for_each(|n| w.stop(n));
    unharmed(&mut w, a, b);
}

#[test]
fn replayed_adverts_cost_bounded_dials_and_nothing_else() {
    let mut w = World::new(crate::first_seed());
    w.recorded = Some(Vec::new());
    let (a, b) = two(&mut w);
    let gone = w.add("gone");
    w.run(secs(5));
    w.stop(gone);
    w.kill(gone, false);
    let recorded = w.recorded.take().unwrap();
    w.run(secs(3 * 24 * 3600));
    let before = w.nodes[a].engine.stats();
    let events = w.nodes[a].events.len();
    let sent = w.nodes[a].broadcasts;
    for (i, bytes) in recorded.iter().cycle().take(3_000).enumerate() {
        // From everywhere, loopback services included.
        let from = format!(
            "{}:{}",
            ["10.7.7.7", "127.0.0.1", "10.0.0.2"][i % 3],
            1 + i % 9
        )
        .parse()
        .unwrap();
        w.raw_datagram(a, from, bytes);
        w.run(ms(1));
    }
    let after = w.nodes[a].engine.stats();
    assert!(
        w.nodes[a].events.len() == events,
        "nobody has joined: {:?}",
        &w.nodes[a].events[events..]
    );
    assert!(w.reaches(a, "b"), "the living are not displaced");
    assert!(
        after.dials - before.dials < 40,
        "{} dials",
        after.dials - before.dials
    );
    // Nothing is sent to whoever the datagrams say they are from, and no more to everyone.
    let budget = u64::from(w.limits.adverts_per_interval) * 5;
    assert!(w.nodes[a].broadcasts - sent <= budget);
    w.run(secs(30));
    assert_eq!(w.nodes[a].engine.stats().peers, 1, "forgotten again");
    unharmed(&mut w, a, b);
}

fn invented(rng: &mut Rng, i: usize) -> Vec<u8> {
    let advert = Advert {
        phase: Phase::Present,
        instance: Instance(rng.array()),
        sequence: 1,
        interval_ms: u32::MAX,
        port: 9,
        name: name(&format!("invented{i}")),
        address: Some("10.8.8.8".parse().unwrap()),
        relays: Vec::new(),
        vouched: 0,
    };
    let mut plain = Vec::new();
    advert.encode(&mut plain);
    sealed(FrameType::ADVERT, &Sealer::new(&key()), &plain)
}

#[test]
fn ten_thousand_invented_instances_fill_a_bounded_table() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = two(&mut w);
    let mut rng = Rng(5);
    for i in 0..10_000 {
        let bytes = invented(&mut rng, i);
        w.raw_datagram(a, "10.8.8.8:1".parse().unwrap(), &bytes);
        if i % 100 == 0 {
            w.run(ms(20));
            let s = w.nodes[a].engine.stats();
            assert!(s.peers <= w.limits.peers as u64 && s.links <= w.limits.dials as u64 + 2);
        }
    }
    assert!(w.reaches(a, "b"));
    let s = w.nodes[a].engine.stats();
    let seconds = w.now.as_secs() + 1;
    assert!(s.dials <= u64::from(w.limits.dials_per_second) * seconds);
    // Whatever interval they claim, they are gone within minutes.
    w.run(secs(1_200));
    assert_eq!(w.nodes[a].engine.stats().peers, 1);
    unharmed(&mut w, a, b);
}

#[test]
fn a_flood_of_datagrams_is_counted_and_dropped_unread_over_the_rate() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = two(&mut w);
    let mut junk = invented(&mut Rng(1), 1);
    let at = junk.len() - 20;
    junk[at] = if junk[at] == b'A' { b'B' } else { b'A' };
    for _ in 0..100_000 {
        w.raw_datagram(a, "10.8.8.8:1".parse().unwrap(), &junk);
    }
    w.run(ms(500));
    let s = w.nodes[a].engine.stats();
    let rate = u64::from(w.limits.adverts_per_second);
    assert!(
        s.adverts_refused <= rate * 2 && s.adverts_throttled >= 100_000 - rate * 2 - 10,
        "{s:?}"
    );
    for bytes in [
        &b"junk"[..],
        b"",
        b"sim|adv|AAAA|END\nmore",
        b"sim|msg|AAAA|END\n",
    ] {
        let before = w.nodes[a].engine.stats().adverts_malformed;
        w.run(secs(2));
        w.raw_datagram(a, "10.8.8.8:1".parse().unwrap(), bytes);
        w.run(ms(5));
        assert_eq!(
            w.nodes[a].engine.stats().adverts_malformed,
            before + 1,
            "{}",
            bytes.escape_ascii()
        );
    }
    unharmed(&mut w, a, b);
}

#[test]
fn a_flood_of_what_is_too_short_for_an_advert_takes_nobodys_turn() {
    let mut w = World::new(crate::first_seed());
    w.limits.adverts_per_second = 100;
    let (a, b) = two(&mut w);
    let before = w.nodes[a].engine.stats();
    for i in 0..4_000 {
        for _ in 0..100 {
            w.raw_datagram(a, "10.8.8.8:1".parse().unwrap(), b"sim|adv|x|END\n");
        }
        if i == 2_000 {
            w.add("late");
        }
        w.run(ms(1));
    }
    let after = w.nodes[a].engine.stats();
    assert!(after.adverts_heard - before.adverts_heard >= 3);
    assert_eq!(after.adverts_throttled, before.adverts_throttled);
    assert!(after.adverts_malformed - before.adverts_malformed >= 399_000);
    assert!(w.reaches(a, "late"), "strangers have their turn as well");
    w.stop(2);
    unharmed(&mut w, a, b);
}

#[test]
fn strangers_do_not_take_the_turns_of_those_who_are_known() {
    let mut w = World::new(crate::first_seed());
    w.limits.adverts_per_second = 200;
    let (a, b) = two(&mut w);
    let mut junk = invented(&mut Rng(1), 1);
    let at = junk.len() - 20;
    junk[at] = if junk[at] == b'A' { b'B' } else { b'A' };
    let before = w.nodes[a].engine.stats();
    for i in 0..20_000u32 {
        for j in 0..4u32 {
            let [c, d] = ((i * 4 + j) as u16).to_be_bytes();
            w.raw_datagram(a, SocketAddr::from(([10, 8, c, d], 3334)), &junk);
        }
        w.run(ms(1));
    }
    let after = w.nodes[a].engine.stats();
    let heard = after.adverts_heard - before.adverts_heard;
    assert!(heard >= 17, "{heard} in 20 intervals");
    let refused = after.adverts_refused - before.adverts_refused;
    assert!(refused <= 200 * 21, "{refused}");
    unharmed(&mut w, a, b);
}

#[test]
fn nobody_is_dialled_on_an_adverts_word_where_nobody_may_be() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = two(&mut w);
    let mut rng = Rng(5);
    let mut say = |w: &mut World, from: &str, own: &str, address: Option<&str>, port| {
        let advert = Advert {
            phase: Phase::Present,
            instance: Instance(rng.array()),
            sequence: 1,
            interval_ms: 1_000,
            port,
            name: name(own),
            address: address.map(|ip| ip.parse().unwrap()),
            relays: Vec::new(),
            vouched: 0,
        };
        let mut plain = Vec::new();
        advert.encode(&mut plain);
        let bytes = sealed(FrameType::ADVERT, &Sealer::new(&key()), &plain);
        w.raw_datagram(a, from.parse().unwrap(), &bytes);
        w.run(secs(5));
    };
    let known = w.nodes[a].dialled.clone();
    for own in ["x", "a"] {
        for address in [
            "127.0.0.1",
            "127.0.1.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "169.254.169.254",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "ff02::1",
        ] {
            say(&mut w, "10.9.9.9:3334", own, Some(address), 22);
        }
        say(&mut w, "10.9.9.9:3334", own, Some("10.9.9.9"), 0);
        say(&mut w, "10.9.9.9:3334", own, None, 0);
        // And sources that nobody sends from.
        for from in ["0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1"] {
            say(&mut w, from, own, None, 22);
        }
    }
    assert_eq!(w.nodes[a].dialled, known);
    assert_eq!(w.nodes[a].engine.stats().addresses_refused, 30);
    // On this host, and of a neighbour, they may be.
    for (from, address) in [
        ("127.0.0.1:3334", "127.0.0.1"),
        ("127.0.0.1:3334", "::1"),
        ("169.254.1.1:3334", "169.254.1.2"),
        ("10.9.9.9:3334", "10.9.9.8"),
    ] {
        say(&mut w, from, "x", Some(address), 22);
        let place = SocketAddr::new(address.parse().unwrap(), 22);
        assert!(w.nodes[a].dialled.contains(&place), "{place}");
    }
    w.run(secs(10));
    unharmed(&mut w, a, b);
}

#[test]
fn hellos_replayed_reflected_or_meant_for_others_are_refused() {
    let mut w = World::new(crate::first_seed());
    w.tapped = Some(Vec::new());
    let (a, b) = two(&mut w);
    let tapped = w.tapped.take().unwrap();
    // Everything either side has ever said, replayed on a link of its own.
    for (_, _, bytes) in &tapped {
        let sessions = w.nodes[a].engine.stats().sessions;
        let wire = w.raw_connect(a);
        w.raw_send(wire, bytes);
        w.run(secs(10));
        assert!(w.closed_raw.contains(&wire));
        assert_eq!(w.nodes[a].engine.stats().sessions, sessions);
    }
    let mut old = Vec::new();
    ask(9, "x", "a").encode(&mut old);
    old[0] = 0;
    let own = w.nodes[a].engine.instance();
    let mut reflected = ask(9, "x", "a");
    reflected.instance = own;
    let mut answer = ask(9, "b", "a");
    answer.role = Role::Answer([0; 32]);
    for (what, frame) in [
        ("for another node", hello_frame(&ask(9, "x", "b"))),
        (
            "of an old version",
            sealed(FrameType::HELLO, &Sealer::new(&key()), &old),
        ),
        ("reflected to its sender", hello_frame(&reflected)),
        ("an answer nobody asked for", hello_frame(&answer)),
    ] {
        let before = w.nodes[a].engine.stats().refused_hello;
        let wire = w.raw_connect(a);
        w.raw_send(wire, &frame);
        w.run(ms(50));
        assert!(w.closed_raw.contains(&wire), "{what}");
        assert_eq!(
            w.nodes[a].engine.stats().refused_hello,
            before + 1,
            "{what}"
        );
        // What it is told does not say which it was.
        assert_eq!(
            frames(&w.raw[&wire]),
            [(FrameType::ERROR, b"refused".to_vec())]
        );
    }
    unharmed(&mut w, a, b);
}

#[test]
fn ten_thousand_half_open_links_are_bounded_and_an_honest_peer_still_gets_in() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = two(&mut w);
    for i in 0..10_000 {
        w.raw_connect(a);
        if i % 50 == 0 {
            w.run(ms(1));
            // And the sessions with b and, later, with the honest one.
            assert!(w.nodes[a].engine.stats().links <= w.limits.half_open as u64 + 2);
        }
        if i == 5_000 {
            let mut member = Member::join(&mut w, a, "honest");
            member.call(&mut w, 1);
            w.run(ms(20));
            assert_eq!(member.statuses(&w), [Status::Value]);
        }
    }
    w.run(secs(30));
    assert!(w.nodes[a].engine.stats().timed_out_handshake > 0);
    unharmed(&mut w, a, b);
}

/// Has an attacker connect to a node's port 640 times a second, for so long.
fn connect_again_and_again(
    w: &mut World,
    to: usize,
    seconds: u64,
    done: impl Fn(&World) -> bool,
) -> bool {
    for _ in 0..seconds * 640 {
        if done(w) {
            return true;
        }
        w.raw_connect(to);
        w.run(Duration::from_micros(1_000_000 / 640));
    }
    false
}

#[test]
fn connects_at_a_port_do_not_displace_the_slow_handshake_of_somebody_else() {
    seeds(3, |seed| {
        let mut w = World::new(seed);
        // Connected, the hello, the answer, and the proof: half open for three times this.
        w.delay = (ms(50), ms(50));
        // This one dials nobody, so that it can only be met at its port.
        let dials = std::mem::take(&mut w.limits.dials);
        let a = w.add("a");
        w.limits.dials = dials;
        w.run(secs(2));
        connect_again_and_again(&mut w, a, 1, |_| false);
        w.add("b");
        let met = connect_again_and_again(&mut w, a, 5, |w| w.reaches(a, "b"));
        assert!(met, "an honest one gets in");
        assert!(w.nodes[a].engine.stats().half_open_evicted > 600);
        w.run(secs(10));
        w.check_closed();
    });
}

#[test]
fn connects_at_a_port_do_not_displace_a_handshake_through_a_relay() {
    seeds(3, |seed| {
        let mut w = World::new(seed);
        // From the asker to the relay and on, and back, and again.
        w.delay = (ms(25), ms(25));
        let (a, b) = w.two_lans(1);
        w.run_until(secs(3), |w| w.joined_hub(a) == 1);
        connect_again_and_again(&mut w, a, 1, |_| false);
        let met = connect_again_and_again(&mut w, a, 5, |w| w.reaches(a, "b") && w.reaches(b, "a"));
        assert!(met, "they meet through the relay");
        let n = w.call(b, "a", secs(5)).unwrap();
        connect_again_and_again(&mut w, a, 1, |_| false);
        assert!(w.result(b, n).unwrap().is_ok());
        w.run(secs(10));
        w.check_closed();
    });
}

#[test]
fn records_replayed_skipped_or_of_another_session_close_the_session() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = two(&mut w);
    for attack in 0..5 {
        let mut other = Member::join(&mut w, a, "other");
        let mut m = Member::join(&mut w, a, "m");
        let call = |s, out: &mut Vec<u8>| {
            let ask = AskRef::Command {
                path: "echo",
                args: b"[]",
                kwargs: b"{}",
            };
            record::encode_call(s, (s, FIRST), 1_000, &[], &ask, out);
        };
        let first = m.frame(call);
        let second = m.frame(call);
        let before = w.nodes[a].engine.stats();
        match attack {
            0 => {
                w.raw_send(m.wire, &first);
                w.raw_send(m.wire, &first);
            }
            1 => w.raw_send(m.wire, &second),
            2 => {
                let foreign = other.frame(call);
                w.raw_send(m.wire, &foreign);
            }
            3 => {
                // Its own direction's records, reflected under the other type.
                let text = String::from_utf8(first.clone())
                    .unwrap()
                    .replace("|msg|", "|rsp|");
                w.raw_send(m.wire, text.as_bytes());
            }
            _ => {
                let malformed = m.frame(|s, out| {
                    out.extend_from_slice(&s.to_be_bytes());
                    out.extend_from_slice(&[77; 30]);
                });
                w.raw_send(m.wire, &malformed);
            }
        }
        w.run(ms(50));
        assert!(m.is_closed(&w), "attack {attack}");
        let after = w.nodes[a].engine.stats();
        let refused = (after.refused_record + after.refused_token)
            - (before.refused_record + before.refused_token);
        assert_eq!(refused, 1, "attack {attack}");
        assert!(!other.is_closed(&w), "others are not disturbed");
        other.send(&mut w, |s, out| {
            record::encode_close(s, record::CloseReason::Leaving, out)
        });
        w.run(secs(5));
    }
    unharmed(&mut w, a, b);
}

#[test]
fn the_answering_side_says_nothing_before_the_asker_has_proved_its_keys() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = two(&mut w);
    let wire = w.raw_connect(a);
    w.raw_send(wire, &hello_frame(&ask(9, "x", "a")));
    w.run(ms(50));
    // A call of a's to x waits: x is not there before it has proved it.
    let n = w.call(a, "x", secs(2)).unwrap();
    w.run(secs(3));
    assert_eq!(
        frames(&w.raw[&wire])
            .iter()
            .filter(|(k, _)| *k == FrameType::RESPONSE)
            .count(),
        0
    );
    assert_eq!(w.result(a, n), Some(&Err(Error::Unreachable("x".into()))));
    w.run(secs(10));
    unharmed(&mut w, a, b);
}

#[test]
fn a_member_that_goes_by_anothers_name_is_a_conflict_and_takes_no_session_over() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = two(&mut w);
    let _impostor = Member::join(&mut w, b, "a");
    w.run(ms(50));
    // b asks the old one to show that it lives, which it does; calls go to one of the two only.
    w.run(secs(2));
    assert!(w.nodes[b].engine.stats().peers == 2);
    assert!(
        !w.nodes[b]
            .events
            .iter()
            .any(|e| matches!(e, Event::PeerLeft(_)))
    );
    // To a itself it is a conflict, told as one.
    let twin = Member::join(&mut w, a, "a");
    w.run(ms(50));
    assert!(twin.is_closed(&w));
    assert!(
        w.nodes[a]
            .events
            .iter()
            .any(|e| matches!(e, Event::NameConflict { .. }))
    );
    w.run(secs(30));
    let n = w.call(a, "b", secs(5)).unwrap();
    w.run(secs(1));
    assert!(w.result(a, n).unwrap().is_ok());
    w.check_closed();
}

#[test]
fn slow_links_are_timed_out_whichever_way_they_are_slow() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = two(&mut w);
    // A byte a second, before and after the handshake.
    let mut m = Member::join(&mut w, a, "slow");
    let stranger = w.raw_connect(a);
    let (hello, call) = (
        hello_frame(&ask(9, "x", "a")),
        m.frame(|s, out| record::encode_cancel(s, 1, out)),
    );
    for i in 0..90 {
        w.raw_send(stranger, &hello[i..=i]);
        w.raw_send(m.wire, &call[i..=i]);
        w.run(secs(1));
        if i == 6 {
            assert!(w.closed_raw.contains(&stranger), "no handshake in time");
        }
    }
    assert!(m.is_closed(&w), "no whole frame in time");
    // One that never says anything again.
    let silent = Member::join(&mut w, a, "silent");
    w.run(secs(20));
    assert!(silent.is_closed(&w));
    assert!(w.nodes[a].engine.stats().timed_out_silent >= 2);
    unharmed(&mut w, a, b);
}

#[test]
fn a_link_that_does_not_read_holds_a_bounded_queue_and_is_closed() {
    let mut w = World::new(crate::first_seed());
    w.limits.link_queue = 10_000;
    let (a, b) = two(&mut w);
    let mut m = Member::join(&mut w, a, "m");
    w.stall(m.wire);
    for n in 0..900 {
        m.call(&mut w, n);
    }
    w.run(secs(2));
    // The queue, and one more record.
    assert!(w.pending_on(m.wire) <= 11_000, "{}", w.pending_on(m.wire));
    w.run(secs(20));
    assert!(m.is_closed(&w));
    w.run(secs(60));
    unharmed(&mut w, a, b);
}

#[test]
fn too_many_calls_of_one_peer_are_turned_away_and_the_others_run() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = two(&mut w);
    w.nodes[a].behaviour = Behaviour::Hold;
    let mut m = Member::join(&mut w, a, "m");
    for n in 0..100_000 {
        m.call(&mut w, n);
        if n % 1_000 == 0 {
            w.run(ms(1));
        }
    }
    w.run(secs(1));
    let most = w.limits.served_per_peer;
    assert_eq!(w.nodes[a].held.len(), most);
    assert_eq!(m.statuses(&w), vec![Status::Overloaded; 100_000 - most]);
    w.answer_all(a);
    w.run(ms(100));
    assert_eq!(m.statuses(&w), vec![Status::Value; most]);
    w.nodes[a].behaviour = Behaviour::Echo;
    w.run(secs(61));
    unharmed(&mut w, a, b);
}

#[test]
fn a_caller_that_is_refused_and_does_not_read_it_is_closed() {
    let mut w = World::new(crate::first_seed());
    w.limits.link_queue = 10_000;
    w.limits.served_per_peer = 100;
    let (a, b) = two(&mut w);
    w.nodes[a].behaviour = Behaviour::Hold;
    let mut m = Member::join(&mut w, a, "m");
    m.stall(&mut w);
    for n in 0..20_000 {
        m.call(&mut w, n);
        if n % 100 == 0 {
            w.run(ms(1));
            assert!(m.unread(&w) <= 11_000, "{}", m.unread(&w));
        }
    }
    assert!(m.is_closed(&w), "long before it could be taken for silent");
    assert_eq!(w.nodes[a].engine.stats().timed_out_silent, 1);
    w.answer_all(a);
    w.nodes[a].behaviour = Behaviour::Echo;
    w.run(secs(61));
    unharmed(&mut w, a, b);
}

#[test]
fn answers_left_behind_by_invented_callers_give_way_to_those_of_others() {
    let mut w = World::new(crate::first_seed());
    w.limits.served = 1_600;
    w.limits.served_per_peer = 100;
    let (a, b) = two(&mut w);
    let day = 24 * 3_600_000;
    let served = |w: &World| w.nodes[a].engine.stats().serving;
    for i in 0..30 {
        let mut m = Member::join_as(&mut w, a, &format!("m{i}"), Instance([i + 1; 16]));
        for n in 0..100 {
            m.call_for(&mut w, n, day);
        }
        w.run(ms(20));
        assert_eq!(m.statuses(&w), [Status::Value; 100], "the {i}th");
        assert!(served(&w) <= w.limits.served as u64);
        m.part(&mut w);
    }
    assert!(served(&w) > 500, "nobody else was there");
    // Somebody who needs no more than a share finds it, and an answer that was not confirmed stays.
    let mut calls = Vec::new();
    for _ in 0..50 {
        calls.push(w.call(b, "a", secs(5)).unwrap());
    }
    w.run(secs(1));
    assert!(calls.iter().all(|n| w.result(b, *n).unwrap().is_ok()));
    w.check_closed();
}

#[test]
fn what_handlers_have_not_answered_is_bounded_for_all_callers_and_late_answers_free_it() {
    let mut w = World::new(crate::first_seed());
    w.limits.message_bytes = 1_000_000;
    let (a, b) = two(&mut w);
    w.nodes[a].behaviour = Behaviour::Hold;
    let held = |w: &World| w.nodes[a].held.iter().map(|(_, v)| v.len()).sum::<usize>();
    let args = vec![b'x'; 10_000];
    for i in 0..20 {
        w.raw_address = [10, 9, 9, i / 2];
        let mut m = Member::join_as(&mut w, a, &format!("m{i}"), Instance([i + 1; 16]));
        // Nobody waits for long, but the handler has not let go of what was asked.
        for n in 0..100 {
            m.call_with(&mut w, n, 50, &args);
        }
        w.run(ms(100));
        let refused = m.statuses(&w);
        assert!(refused.iter().all(|s| *s == Status::Overloaded));
        assert!(
            i > 0 || refused.len() < 60,
            "one alone may have nearly half"
        );
        assert!(i > 1 || refused.len() < 100, "its neighbour finds room");
        assert!(held(&w) <= w.limits.message_bytes);
        m.part(&mut w);
    }
    assert!(held(&w) > w.limits.message_bytes * 9 / 10);
    let late = w.nodes[a].held.len() as u64;
    w.answer_all(a);
    let stats = w.nodes[a].engine.stats();
    assert_eq!((stats.serving, stats.replies_late), (0, late));
    w.nodes[a].behaviour = Behaviour::Echo;
    w.run(secs(1));
    let n = w.call(b, "a", secs(5)).unwrap();
    w.run(secs(1));
    assert!(w.result(b, n).unwrap().is_ok());
    w.check_closed();
}

#[test]
fn invented_callers_of_one_address_leave_room_for_the_calls_of_others() {
    for args in [&b"[]"[..], &[b'x'; 10_000]] {
        let mut w = World::new(crate::first_seed());
        w.limits.message_bytes = 1_000_000;
        w.limits.served = 1_600;
        let (a, b) = two(&mut w);
        w.nodes[a].behaviour = Behaviour::Hold;
        for i in 0..100 {
            let mut m = Member::join_as(&mut w, a, &format!("m{i}"), Instance([i + 1; 16]));
            for n in 0..50 {
                m.call_with(&mut w, n, 60_000, args);
            }
            w.run(ms(20));
            m.part(&mut w);
        }
        assert!(w.nodes[a].engine.stats().overloaded > 1_000);
        let before = w.nodes[a].held.len();
        assert!(before <= 800, "half of what there is: {before}");
        let calls: Vec<_> = (0..20)
            .map(|_| w.call_with(b, "a", secs(30), args).unwrap())
            .collect();
        w.run(ms(100));
        assert_eq!(w.nodes[a].held.len(), before + calls.len());
        w.answer_all(a);
        w.run(secs(1));
        assert!(calls.iter().all(|n| w.result(b, *n).unwrap().is_ok()));
        w.check_closed();
    }
}

#[test]
fn a_caller_with_as_much_as_it_may_have_leaves_room_for_others_from_the_same_address() {
    let mut w = World::new(crate::first_seed());
    w.limits.message_bytes = 1_000_000;
    let (a, _) = two(&mut w);
    w.nodes[a].behaviour = Behaviour::Hold;
    for (i, size) in [(0, 1_000), (2, 13_000), (4, 47_000)] {
        let mut busy = Member::join_as(&mut w, a, "busy", Instance([i + 1; 16]));
        let mut other = Member::join_as(&mut w, a, "other", Instance([i + 2; 16]));
        let args = vec![b'x'; size];
        for n in 0..1_000 {
            busy.call_with(&mut w, n, 5_000, &args);
        }
        w.run(ms(100));
        let held = w.nodes[a].held.len();
        assert!(busy.statuses(&w).len() == 1_000 - held && held < 1_000);
        assert!(held * size > 250_000, "{held} calls of {size}");
        for n in 0..10 {
            other.call_for(&mut w, n, 5_000);
        }
        w.run(ms(100));
        assert_eq!(other.statuses(&w), [], "nothing is turned away");
        w.answer_all(a);
        w.run(ms(100));
        assert_eq!(other.statuses(&w), [Status::Value; 10]);
        busy.part(&mut w);
        other.part(&mut w);
        w.run(secs(6));
    }
    w.check_closed();
}

/// What an instance says of itself when it leaves, or somebody who has the key in its place.
fn goodbye(own: &str, instance: Instance) -> Vec<u8> {
    let advert = Advert {
        phase: Phase::Leaving,
        instance,
        sequence: 1_000_000,
        interval_ms: 1_000,
        port: 9,
        name: name(own),
        address: None,
        relays: Vec::new(),
        vouched: 0,
    };
    let mut plain = Vec::new();
    advert.encode(&mut plain);
    sealed(FrameType::ADVERT, &Sealer::new(&key()), &plain)
}

#[test]
fn a_call_runs_once_and_is_answered_though_somebody_said_goodbye_in_its_callers_name() {
    for answered_while_away in [true, false] {
        let mut w = World::new(crate::first_seed());
        let (a, b) = two(&mut w);
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
fn large_calls_of_one_that_left_before_all_of_them_came_take_no_room() {
    let mut w = World::new(crate::first_seed());
    w.limits.message_bytes = 1_000_000;
    let (a, _) = two(&mut w);
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
    let leaving = Instance([1; 16]);
    let mut m = Member::join_as(&mut w, a, "m", leaving);
    assert_eq!(begin(&mut w, &mut m, false, 900_000), []);
    m.part(&mut w);
    w.raw_address = [10, 9, 9, 10];
    let mut other = Member::join_as(&mut w, a, "other", Instance([2; 16]));
    let refused = begin(&mut w, &mut other, false, 900_000);
    assert_eq!(refused, [Status::Overloaded], "the one may come again");
    let bye = goodbye("m", leaving);
    w.raw_datagram(a, SocketAddr::from(([10, 9, 9, 9], PORT)), &bye);
    w.run(ms(50));
    assert_eq!(begin(&mut w, &mut other, false, 900_000), []);
    // Had somebody else said goodbye in its name, it would be told that the call did not run, once it gets in.
    w.run(secs(10));
    let mut m = Member::join_as(&mut w, a, "m", leaving);
    let told = begin(&mut w, &mut m, true, 900_000);
    assert_eq!(told, [Status::Refused]);
    assert_eq!(w.nodes[a].engine.stats().streams, 1, "that of the other");
    m.part(&mut w);
    other.part(&mut w);
    w.run(secs(601));
    w.check_closed();
}

#[test]
fn an_answer_that_comes_while_its_call_waits_to_be_sent_again_ends_it() {
    let mut w = World::new(crate::first_seed());
    // A link that holds anything at all takes no more.
    w.limits.link_queue = 1;
    let (a, _) = two(&mut w);
    let instance = Instance([77; 16]);
    let mut m = Member::join_as(&mut w, a, "m", instance);
    let first = w.call(a, "m", secs(20)).unwrap();
    let second = w.call(a, "m", secs(20)).unwrap();
    w.run(ms(20));
    assert_eq!(m.calls(&w), [(first.0, false), (second.0, false)]);
    // Another session takes the place of this one; it has room for the first call, and the second waits.
    let mut again = Member::ask(&mut w, a, "m", instance);
    again.stall(&mut w);
    again.prove(&mut w);
    assert!(m.is_closed(&w) && again.unread(&w) > 0);
    let answer = |s, out: &mut Vec<u8>| record::encode_reply(s, second.0, Status::Value, b"2", out);
    again.send(&mut w, answer);
    w.run(ms(20));
    assert_eq!(w.result(a, second), Some(&Ok(b"2".to_vec())));
    w.unstall(again.wire);
    w.run(ms(100));
    assert_eq!(again.calls(&w), [(first.0, true)], "not the second again");
    assert_eq!(w.nodes[a].engine.stats().replies_unexpected, 0);
    w.check_closed();
}

#[test]
fn nobody_waits_for_the_calls_of_one_that_said_goodbye() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = two(&mut w);
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

#[test]
fn keepalives_that_nobody_waits_for_are_not_echoed_for_ever() {
    let mut w = World::new(crate::first_seed());
    let (a, _) = two(&mut w);
    w.tapped = Some(Vec::new());
    w.run(secs(600));
    let mut seen = Vec::new();
    let mut own = Vec::new();
    let mut between = None;
    for (wire, end, bytes) in w.tapped.take().unwrap() {
        for (kind, nonce) in frames(&bytes) {
            if kind == FrameType::PING && !seen.contains(&nonce) {
                seen.push(nonce.clone());
                if w.wires[wire].ends[end].node == Some(a) {
                    own.push(nonce);
                }
                between = Some(wire);
            }
        }
    }
    assert!(own.len() >= 8);
    let wire = between.unwrap();
    let to_a = usize::from(w.wires[wire].ends[0].node == Some(a));
    let mut echoes = |nonces: &[Vec<u8>]| {
        let before = w.nodes[a].engine.stats().frames_out;
        for nonce in nonces {
            let mut frame = b"sim|png|".to_vec();
            frame.extend_from_slice(nonce);
            frame.extend_from_slice(b"|END\n");
            w.transmit(wire, to_a, frame);
        }
        w.run(secs(2));
        w.nodes[a].engine.stats().frames_out - before
    };
    // Its own, which later ones have replaced; and some that neither has made.
    let most = 2; // a keepalive that falls due meanwhile, and an echo
    assert!(echoes(&own) <= most, "echoes of its own");
    let invented: Vec<_> = (0..10).map(|i| format!("{i:016}").into_bytes()).collect();
    let echoed = echoes(&invented[..2]);
    assert!(echoed <= most + 2, "{echoed} echoes of two");
    let echoed = echoes(&invented[..4]);
    assert!(echoed <= most + 4, "{echoed} echoes of four");
    // More than a link remembers: only so many are echoed, the newest of them.
    let echoed = echoes(&invented[4..]);
    assert!(echoed <= most + 4, "{echoed} echoes of six");
    w.check_closed();
}

#[test]
fn our_own_calls_are_bounded_too() {
    let mut w = World::new(crate::first_seed());
    w.limits.calls = 100;
    let (a, b) = two(&mut w);
    // Those who wait for an address count as well.
    let nobody = "10.77.0.1:7".parse().unwrap();
    let connect = |w: &mut World| w.with(a, |e, now| e.connect(now, nobody, secs(3)));
    for _ in 0..100 {
        connect(&mut w).unwrap();
    }
    let full = Error::Overloaded("too many calls of this node are in flight");
    assert_eq!(connect(&mut w), Err(full));
    assert!(w.call(a, "nobody", secs(1)).is_none());
    w.run(secs(4));
    for _ in 0..100 {
        w.call(a, "nobody", secs(1)).unwrap();
    }
    assert_eq!(w.call(a, "nobody", secs(1)), None, "overloaded");
    w.run(secs(2));
    let large = engine::Ask::Message(vec![0; 100_000_000]);
    let now = w.clock_of(a);
    let e = w.nodes[a]
        .engine
        .call(now, &name("b"), large, terms(secs(1)));
    assert!(matches!(e, Err(Error::TooLarge { .. })));
    unharmed(&mut w, a, b);
}

#[test]
fn answers_nobody_asked_for_and_second_answers_are_counted_and_ignored() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = two(&mut w);
    let mut m = Member::join(&mut w, a, "m");
    let n = w.call(a, "m", secs(5)).unwrap();
    let reply = |n: u64, body: &'static [u8]| {
        move |s: u64, out: &mut Vec<u8>| record::encode_reply(s, n, Status::Value, body, out)
    };
    m.send(&mut w, reply(4_711, b"never asked"));
    m.send(&mut w, reply(n.0, b"right"));
    m.send(&mut w, reply(n.0, b"wrong"));
    // Nor can it answer what another was asked.
    let other = w.call(a, "nobody", secs(2)).unwrap();
    m.send(&mut w, reply(other.0, b"stolen"));
    w.run(secs(3));
    assert_eq!(w.result(a, n), Some(&Ok(b"right".to_vec())));
    assert!(w.result(a, other).unwrap().is_err());
    assert_eq!(w.nodes[a].engine.stats().replies_unexpected, 3);
    m.send(&mut w, |s, out| {
        record::encode_close(s, record::CloseReason::Leaving, out)
    });
    w.run(secs(1));
    unharmed(&mut w, a, b);
}

#[test]
fn an_answer_too_late_or_given_twice_by_a_handler_is_counted_and_ignored() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = two(&mut w);
    w.nodes[a].behaviour = Behaviour::Hold;
    let n = w.call(b, "a", ms(300)).unwrap();
    w.run(secs(1));
    assert_eq!(w.result(b, n), Some(&Err(Error::Timeout)));
    w.answer_all(a);
    assert_eq!(w.nodes[a].engine.stats().replies_late, 1);
    w.nodes[a].behaviour = Behaviour::Echo;
    unharmed(&mut w, a, b);
}

#[test]
fn kept_answers_are_bounded_in_bytes() {
    let mut w = World::new(crate::first_seed());
    w.limits.reply_bytes = 10_000;
    let (a, b) = two(&mut w);
    let mut m = Member::join(&mut w, a, "m");
    let args = vec![b'x'; 1_000];
    for n in 0..20 {
        m.call_with(&mut w, n, 5_000, &args);
    }
    w.run(ms(100));
    let statuses = m.statuses(&w);
    assert_eq!(statuses.iter().filter(|s| **s == Status::Value).count(), 10);
    assert_eq!(
        statuses
            .iter()
            .filter(|s| **s == Status::AnswerLost)
            .count(),
        10,
        "they ran, which a caller must not take for being turned away"
    );
    // Confirmed ones make room.
    let settled: Vec<u64> = (0..20).collect();
    m.send(&mut w, |s, out| record::encode_notice(s, &settled, out));
    m.call(&mut w, 21);
    w.run(ms(100));
    assert_eq!(m.statuses(&w), [Status::Value]);
    w.run(secs(30));
    unharmed(&mut w, a, b);
}

#[test]
fn of_a_ping_flood_the_newest_are_answered_now_and_then_and_odd_ones_close_the_session() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = two(&mut w);
    let mut m = Member::join(&mut w, a, "m");
    m.next(&w);
    for i in 0..500 {
        w.raw_send(m.wire, format!("sim|png|{i:016}|END\n").as_bytes());
    }
    w.run(secs(1));
    let mut echoes = m.next(&w);
    echoes.retain(|(kind, _)| *kind == FrameType::PING);
    assert!((2..10).contains(&echoes.len()), "{}", echoes.len());
    assert_eq!(echoes.pop().unwrap().1, format!("{:016}", 499).as_bytes());
    w.raw_send(m.wire, b"sim|png|short|END\n");
    w.run(ms(50));
    assert!(m.is_closed(&w));
    let stranger = w.raw_connect(a);
    w.raw_send(stranger, b"sim|png|0123456789012345|END\n");
    w.run(ms(50));
    assert!(w.closed_raw.contains(&stranger));
    unharmed(&mut w, a, b);
}

#[test]
fn a_full_house_closes_its_idlest_session_for_a_new_one() {
    seeds(3, |seed| {
        let mut w = World::new(seed);
        w.limits.sessions = 4;
        let nodes: Vec<_> = (0..12).map(|i| w.add(&format!("n{i}"))).collect();
        w.run(secs(5));
        for from in &nodes {
            for to in 0..12 {
                let n = w.call(*from, &format!("n{to}"), secs(5)).unwrap();
                w.run(ms(300));
                assert!(w.result(*from, n).unwrap().is_ok(), "{from} to {to}");
                assert!(w.nodes[*from].engine.stats().links <= 4 + w.limits.half_open as u64);
            }
        }
        w.check_closed();
    });
}

#[test]
fn random_bytes_at_every_stage_never_break_a_node() {
    seeds(20, |seed| {
        let mut w = World::new(seed);
        let (a, b) = two(&mut w);
        let mut m = Member::join(&mut w, a, "m");
        let mut bytes = vec![0; 400];
        w.rng.fill(&mut bytes);
        // Mutated but well-formed records, then noise.
        let mut frame = m.frame(|s, out| record::encode_notice(s, &[1, 2], out));
        let at = w.rng.below(frame.len() as u64) as usize;
        frame[at] = bytes[0];
        w.raw_send(m.wire, &frame);
        let wire = w.raw_connect(a);
        w.raw_send(wire, &bytes);
        w.raw_datagram(a, "10.9.9.9:9".parse().unwrap(), &bytes);
        w.run(secs(70));
        unharmed(&mut w, a, b);
    });
}
