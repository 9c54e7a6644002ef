//! What a stranger at a relay, a member of it gone bad, and a relay itself can try.

use crate::hubs::{relay, relay_key};
use crate::seeds;
use crate::world::{Behaviour, PORT, Rng, World, key, ms, name, secs};
use peerbase::engine::{Event, RelayFault};
use peerbase::entropy::Entropy;
use peerbase::error::Error;
use peerbase::fernet::{Key, Keyring, Sealer};
use peerbase::frame::{Frame, FrameType, Parsed, encode, parse};
use peerbase::limits::{FRAME_MAX, RelayLimits};
use peerbase::relay::hub::Config;
use peerbase::wire::Instance;
use peerbase::wire::advert::{Advert, Phase};
use peerbase::wire::hello::{Hello, Role};
use peerbase::wire::relay::{Forward, FromRelay, ROUTE_WINDOW, Route, ToRelay, encode_forward};
use peerbase::{NetworkName, Refusal, RelayKey};

const CHALLENGE: [u8; 32] = [7; 32];

/// A link to a hub with nobody's engine behind it.
struct Raw {
    wire: usize,
    net: &'static str,
    read: usize,
}

impl Raw {
    fn connect(w: &mut World, hub: usize, from: [u8; 4]) -> Raw {
        let wire = w.raw_to_hub(hub, from);
        Raw {
            wire,
            net: "sim",
            read: 0,
        }
    }

    /// Connects and joins; the route, if the hub lets it in.
    fn join(w: &mut World, hub: usize, from: [u8; 4]) -> (Raw, Option<Route>) {
        let mut raw = Raw::connect(w, hub, from);
        raw.say(w, &ToRelay::Join(CHALLENGE));
        w.settle();
        let route = raw.words(w).into_iter().find_map(|word| match word {
            FromRelay::Joined(route) => Some(route),
            _ => None,
        });
        (raw, route)
    }

    fn send(&self, w: &mut World, kind: FrameType, payload: &[u8]) {
        let mut bytes = Vec::new();
        let net = self.net;
        encode(&Frame { net, kind, payload }, &mut bytes);
        w.raw_send(self.wire, &bytes);
    }

    fn say(&self, w: &mut World, word: &ToRelay) {
        let mut payload = Vec::new();
        word.encode(&mut payload);
        self.send(w, FrameType::REGISTER, &payload);
    }

    fn forward(&self, w: &mut World, to: Route, kind: FrameType, token: &[u8]) {
        let mut bytes = Vec::new();
        encode_forward(self.net, &to, kind, &mut bytes, |out| {
            out.extend_from_slice(token)
        });
        w.raw_send(self.wire, &bytes);
    }

    /// What has come since the last time.
    fn frames(&mut self, w: &World) -> Vec<(FrameType, Vec<u8>)> {
        let all = &w.raw[&self.wire];
        let mut list = Vec::new();
        while let Ok(Parsed::Complete(frame, used)) = parse(&all[self.read..], FRAME_MAX) {
            list.push((frame.kind, frame.payload.to_vec()));
            self.read += used;
        }
        list
    }

    fn words(&mut self, w: &World) -> Vec<FromRelay> {
        let words = self.frames(w).into_iter();
        words
            .filter(|(kind, _)| *kind == FrameType::REGISTER)
            .map(|(_, payload)| FromRelay::decode(&payload).unwrap())
            .collect()
    }

    /// Where the others are, as the hub has told so far.
    fn routes(&mut self, w: &World) -> Vec<Route> {
        self.read = 0;
        let frames = self.frames(w).into_iter();
        frames
            .filter_map(|(_, p)| Some(Forward::decode(&p).ok()?.route))
            .collect()
    }

    /// Why the hub has ended the link, if it has.
    fn refused(&mut self, w: &World) -> Option<Refusal> {
        let err = self
            .frames(w)
            .into_iter()
            .find(|(kind, _)| *kind == FrameType::ERROR);
        let why = err.map(|(_, word)| Refusal::parse(&word).unwrap());
        assert_eq!(
            why.is_some(),
            w.closed_raw.contains(&self.wire),
            "told, and closed"
        );
        why
    }
}

fn hub_with(w: &mut World, limits: RelayLimits) -> usize {
    w.add_hub(Config {
        limits,
        ..Config::default()
    })
}

fn address(n: usize) -> [u8; 4] {
    let [a, b] = (n as u16).to_be_bytes();
    [10, 5, a, b]
}

/// Two nodes far apart, that reach each other through the hub.
fn pair(w: &mut World, hub: usize) -> (usize, usize) {
    w.relays = vec![relay(hub)];
    let (a, b) = (w.add("a"), w.add("b"));
    w.nodes[a].group = 1;
    w.nodes[b].group = 2;
    w.run(secs(4));
    assert!(w.reaches(a, "b") && w.reaches(b, "a"));
    (a, b)
}

/// The nodes serve each other as if nothing had happened.
fn unharmed(w: &mut World, a: usize, b: usize) {
    let (n, m) = (
        w.call(a, "b", secs(5)).unwrap(),
        w.call(b, "a", secs(5)).unwrap(),
    );
    w.run(secs(1));
    assert!(w.result(a, n).unwrap().is_ok() && w.result(b, m).unwrap().is_ok());
    w.check_closed();
}

// ---- what one may have: each limit is reached, told, and closed

#[test]
fn a_network_takes_so_many_members_and_a_relay_so_many_networks_and_links() {
    let mut w = World::new(crate::first_seed());
    let hub = hub_with(
        &mut w,
        RelayLimits {
            members: 3,
            networks: 2,
            links: 6,
            ..RelayLimits::default()
        },
    );
    let mut keep = Vec::new();
    for i in 0..3 {
        let (raw, route) = Raw::join(&mut w, hub, address(i));
        assert!(route.is_some());
        keep.push(raw);
    }
    let (mut fourth, route) = Raw::join(&mut w, hub, address(3));
    assert_eq!(route, None);
    fourth.read = 0;
    assert_eq!(fourth.refused(&w), Some(Refusal::Full));
    for (net, refused) in [("second", None), ("third", Some(Refusal::Networks))] {
        let mut raw = Raw::connect(&mut w, hub, address(9));
        raw.net = net;
        raw.say(&mut w, &ToRelay::Join(CHALLENGE));
        w.settle();
        assert_eq!(raw.refused(&w), refused, "{net}");
        keep.push(raw);
    }
    let oldest = Raw::connect(&mut w, hub, address(10));
    keep.push(Raw::connect(&mut w, hub, address(11)));
    let mut seventh = Raw::connect(&mut w, hub, address(12));
    w.settle();
    // Who has not joined gives way, and nobody else.
    assert_eq!(seventh.refused(&w), None);
    assert!(w.closed_raw.contains(&oldest.wire));
    for raw in keep.iter_mut().rev().take(1).chain([&mut seventh]) {
        raw.net = "second";
        raw.say(&mut w, &ToRelay::Join(CHALLENGE));
    }
    w.settle();
    let mut last = Raw::connect(&mut w, hub, address(13));
    w.settle();
    assert_eq!(last.refused(&w), Some(Refusal::Full));
    let s = w.hubs[hub].hub.stats();
    assert_eq!((s.refused_full, s.refused_networks, s.links), (2, 1, 6));
}

#[test]
fn a_relay_for_named_networks_serves_no_other() {
    let mut w = World::new(crate::first_seed());
    let networks = vec![(NetworkName::new("plant").unwrap(), None)];
    let hub = w.add_hub(Config {
        networks,
        ..Config::default()
    });
    let (mut raw, route) = Raw::join(&mut w, hub, address(1));
    raw.read = 0;
    assert_eq!((route, raw.refused(&w)), (None, Some(Refusal::Network)));
}

#[test]
fn one_address_has_so_many_links_and_joins_so_often() {
    let mut w = World::new(crate::first_seed());
    let limits = RelayLimits {
        links_per_address: 4,
        joins_per_second: 2,
        ..RelayLimits::default()
    };
    let hub = hub_with(&mut w, limits);
    let (a, b) = pair(&mut w, hub);
    let links: Vec<_> = (0..4)
        .map(|_| Raw::connect(&mut w, hub, address(1)))
        .collect();
    let mut fifth = Raw::connect(&mut w, hub, address(1));
    w.settle();
    assert_eq!(fifth.refused(&w), Some(Refusal::Address));
    drop(links);
    w.run(secs(20));
    // Ten thousand times, as fast as it goes: two a second get in, and members are told of no more.
    let told = w.nodes[a].engine.stats().frames_in;
    let (mut joined, began) = (0, w.now);
    for _ in 0..10_000 {
        let raw = w.raw_to_hub(hub, address(2));
        let mut payload = Vec::new();
        ToRelay::Join(CHALLENGE).encode(&mut payload);
        let mut bytes = Vec::new();
        encode(
            &Frame {
                net: "sim",
                kind: FrameType::REGISTER,
                payload: &payload,
            },
            &mut bytes,
        );
        w.raw_send(raw, &bytes);
        w.run(ms(5));
        joined += u64::from(!w.closed_raw.contains(&raw));
        w.close_other(raw, 0);
    }
    let seconds = (w.now - began).as_secs();
    assert!(
        joined <= 4 + 2 * (seconds + 1),
        "{joined} joined in {seconds} s"
    );
    let told = w.nodes[a].engine.stats().frames_in - told;
    assert!(told < joined + 2 * seconds, "{told} frames in {seconds} s");
    w.run(secs(5));
    assert_eq!(w.hubs[hub].hub.stats().members, 2);
    unharmed(&mut w, a, b);
}

#[test]
fn who_does_not_join_in_time_or_falls_silent_or_sends_no_frame_is_told_to_go() {
    let mut w = World::new(crate::first_seed());
    let hub = hub_with(&mut w, RelayLimits::default());
    let mut late = Raw::connect(&mut w, hub, address(1));
    // A byte a second is no frame either.
    let mut slow = Raw::connect(&mut w, hub, address(2));
    let (mut idle, _) = Raw::join(&mut w, hub, address(3));
    for _ in 0..9 {
        w.raw_send(slow.wire, b"s");
        w.run(secs(1));
    }
    assert_eq!((late.refused(&w), slow.refused(&w)), (None, None));
    w.run(secs(2));
    assert_eq!(
        (late.refused(&w), slow.refused(&w)),
        (Some(Refusal::Late), Some(Refusal::Late))
    );
    w.run(secs(75));
    assert_eq!(idle.refused(&w), None);
    w.run(secs(10));
    assert_eq!(idle.refused(&w), Some(Refusal::Idle));
    let endless = [b'x'; 70];
    let long = [b"sim|fwd|".as_slice(), &vec![b'A'; FRAME_MAX]].concat();
    let unsaid: [&[u8]; 7] = [
        &endless,
        &long,
        b"sim|fwd|short|END\n",
        b"sim|msg|gAAA|END\n",
        b"other|png|A|END\n",
        b"sim|reg|joined.AAAAAAAAAAAAAAAA|END\n",
        b"\x16\x03\x01|",
    ];
    for bytes in unsaid {
        let (mut raw, _) = Raw::join(&mut w, hub, address(4));
        w.raw_send(raw.wire, bytes);
        w.settle();
        assert_eq!(
            raw.refused(&w),
            Some(Refusal::Frame),
            "{}",
            bytes[..7].escape_ascii()
        );
        w.run(secs(1));
    }
    let mut stranger = Raw::connect(&mut w, hub, address(5));
    stranger.forward(&mut w, Route::default(), FrameType::HELLO, b"gAAA");
    w.settle();
    assert_eq!(
        stranger.refused(&w),
        Some(Refusal::Frame),
        "nothing before it has joined"
    );
    assert_eq!(w.hubs[hub].hub.stats().links, 0);
}

#[test]
fn frames_cut_at_every_byte_are_the_same_frames() {
    let mut w = World::new(crate::first_seed());
    let hub = hub_with(&mut w, RelayLimits::default());
    let (mut to, route) = Raw::join(&mut w, hub, address(1));
    let (from, _) = Raw::join(&mut w, hub, address(2));
    let mut bytes = Vec::new();
    for token in [&b"ENDENDEND"[..], b"gAAAA-_=="] {
        encode_forward(
            "sim",
            &route.unwrap(),
            FrameType::MESSAGE,
            &mut bytes,
            |out| {
                out.extend_from_slice(token);
            },
        );
    }
    let _ = to.frames(&w);
    for at in 0..bytes.len() {
        w.raw_send(from.wire, &bytes[..at]);
        w.raw_send(from.wire, &bytes[at..]);
    }
    bytes.chunks(1).for_each(|b| w.raw_send(from.wire, b));
    w.run(secs(1));
    let got = to.frames(&w);
    assert_eq!(got.len(), 2 * (bytes.len() + 1));
    for (i, (_, payload)) in got.iter().enumerate() {
        let wanted: &[u8] = if i % 2 == 0 {
            b"ENDENDEND"
        } else {
            b"gAAAA-_=="
        };
        assert_eq!(Forward::decode(payload).unwrap().payload, wanted);
    }
}

// ---- one member against another

#[test]
fn who_sends_too_fast_waits_and_nothing_is_dropped() {
    let mut w = World::new(crate::first_seed());
    let limits = RelayLimits {
        bytes_per_second: 50_000,
        burst: 20_000,
        ..RelayLimits::default()
    };
    let hub = hub_with(&mut w, limits);
    let (a, b) = pair(&mut w, hub);
    let (raw, own) = Raw::join(&mut w, hub, address(1));
    // To itself, so that it hears what came through.
    for _ in 0..200 {
        raw.forward(&mut w, own.unwrap(), FrameType::MESSAGE, &[b'A'; 1_000]);
    }
    w.run(secs(1));
    assert!(w.hubs[hub].hub.stats().held > 0);
    let so_far = w.raw[&raw.wire].len();
    assert!(so_far < 150_000, "{so_far} bytes in a second");
    let n = w.call(a, "b", secs(1)).unwrap();
    w.settle();
    assert!(w.result(a, n).unwrap().is_ok(), "others do not wait");
    w.run(secs(10));
    let through = w.raw[&raw.wire]
        .windows(5)
        .filter(|f| f == b".msg.")
        .count();
    assert_eq!(through, 200);
    unharmed(&mut w, a, b);
}

#[test]
fn a_flood_costs_the_one_who_sends_it() {
    let mut w = World::new(crate::first_seed());
    let hub = hub_with(&mut w, RelayLimits::default());
    let (a, b) = pair(&mut w, hub);
    // The victim is on a line that takes nothing just now.
    let wire = w.wire_to_hub(b, hub);
    let victim = w.hubs[hub].hub.pending(w.wires[wire].ends[1].link).len();
    assert_eq!(victim, 0);
    w.stall(wire);
    let (mut flooder, _) = Raw::join(&mut w, hub, address(1));
    let routes = flooder.routes(&w);
    assert_eq!(routes.len(), 2);
    for route in routes {
        for _ in 0..60 {
            flooder.forward(&mut w, route, FrameType::MESSAGE, &[b'A'; 10_000]);
        }
    }
    w.settle();
    assert_eq!(flooder.refused(&w), Some(Refusal::Flood));
    let waits = w.hubs[hub].hub.pending(w.wires[wire].ends[1].link).len();
    assert!(
        waits < ROUTE_WINDOW as usize * 2,
        "{waits} bytes wait for the victim"
    );
    w.unstall(wire);
    w.run(secs(2));
    unharmed(&mut w, a, b);
}

#[test]
fn a_full_queue_turns_frames_away_and_says_so_and_who_never_reads_is_lost() {
    let mut w = World::new(crate::first_seed());
    let limits = RelayLimits {
        queue: 100_000,
        stalled: secs(5),
        ..RelayLimits::default()
    };
    let hub = hub_with(&mut w, limits);
    let (a, b) = pair(&mut w, hub);
    let (victim, route) = Raw::join(&mut w, hub, address(1));
    w.stall(victim.wire);
    let mut senders: Vec<Raw> = (2..6)
        .map(|i| Raw::join(&mut w, hub, address(i)).0)
        .collect();
    for sender in &mut senders {
        let _ = sender.words(&w);
        for _ in 0..5 {
            sender.forward(&mut w, route.unwrap(), FrameType::MESSAGE, &[b'A'; 10_000]);
        }
    }
    w.settle();
    let mut busy = 0;
    for sender in &mut senders {
        busy += sender
            .words(&w)
            .iter()
            .filter(
                |word| matches!(word, FromRelay::Busy(to, n) if Some(*to) == route && *n > 10_000),
            )
            .count();
    }
    let s = w.hubs[hub].hub.stats();
    assert_eq!(
        (busy as u64, s.forwarded_bytes / 10_000),
        (s.forwards_busy, 20 - s.forwards_busy)
    );
    assert!(busy >= 9, "{busy}");
    w.run(secs(6));
    assert_eq!(w.hubs[hub].hub.stats().refused_slow, 1);
    let gone = |raw: &mut Raw, w: &World| raw.words(w).contains(&FromRelay::Gone(route.unwrap()));
    assert!(
        senders.iter_mut().all(|s| gone(s, &w)),
        "everyone is told that it is gone"
    );
    senders[0].forward(&mut w, route.unwrap(), FrameType::MESSAGE, b"gAAA");
    w.settle();
    assert!(gone(&mut senders[0], &w), "and told again when they ask");
    unharmed(&mut w, a, b);
}

#[test]
fn a_member_has_bytes_under_way_to_so_many_others() {
    let mut w = World::new(crate::first_seed());
    let hub = hub_with(
        &mut w,
        RelayLimits {
            flows: 3,
            ..RelayLimits::default()
        },
    );
    let others: Vec<_> = (1..6).map(|i| Raw::join(&mut w, hub, address(i))).collect();
    for (other, _) in &others {
        w.stall(other.wire);
    }
    let (mut raw, _) = Raw::join(&mut w, hub, address(9));
    let _ = raw.words(&w);
    for (_, route) in &others {
        raw.forward(&mut w, route.unwrap(), FrameType::HELLO, b"gAAA");
    }
    w.settle();
    let busy = raw.words(&w);
    assert!(
        busy.len() == 2 && busy.iter().all(|b| matches!(b, FromRelay::Busy(..))),
        "{busy:?}"
    );
}

#[test]
fn nobody_can_send_from_a_route_that_is_not_its_own_nor_across_networks() {
    let mut w = World::new(crate::first_seed());
    let hub = hub_with(&mut w, RelayLimits::default());
    let (mut victim, route) = Raw::join(&mut w, hub, address(1));
    let (other, own) = Raw::join(&mut w, hub, address(2));
    let mut outside = Raw::connect(&mut w, hub, address(3));
    outside.net = "elsewhere";
    outside.say(&mut w, &ToRelay::Join(CHALLENGE));
    w.settle();
    let _ = (victim.frames(&w), outside.frames(&w));
    other.forward(&mut w, route.unwrap(), FrameType::MESSAGE, b"gAAA");
    outside.forward(&mut w, route.unwrap(), FrameType::MESSAGE, b"gAAA");
    w.settle();
    let got = victim.frames(&w);
    assert_eq!(
        got.len(),
        1,
        "the right route of another network is no route"
    );
    assert_eq!(
        Forward::decode(&got[0].1).unwrap().route,
        own.unwrap(),
        "the relay says from whom"
    );
    assert_eq!(outside.words(&w), [FromRelay::Gone(route.unwrap())]);
    // Presence is the relay's to tell: an advert cannot be sent to one alone.
    other.forward(&mut w, route.unwrap(), FrameType::ADVERT, b"gAAA");
    w.settle();
    assert!(
        victim
            .frames(&w)
            .iter()
            .all(|(kind, _)| *kind != FrameType::FORWARD)
    );
}

#[test]
fn adverts_of_one_member_are_handed_on_once_a_second_and_the_last_one_is_not_lost() {
    let mut w = World::new(crate::first_seed());
    let hub = hub_with(&mut w, RelayLimits::default());
    let (mut hears, _) = Raw::join(&mut w, hub, address(1));
    let (tells, _) = Raw::join(&mut w, hub, address(2));
    let _ = hears.frames(&w);
    for i in 0..500 {
        tells.send(&mut w, FrameType::ADVERT, format!("gAAA{i}").as_bytes());
        w.run(ms(10));
    }
    w.run(secs(2));
    let got = hears.frames(&w);
    assert!(
        (5..=8).contains(&got.len()),
        "{} adverts in five seconds",
        got.len()
    );
    assert_eq!(
        Forward::decode(&got.last().unwrap().1).unwrap().payload,
        b"gAAA499"
    );
}

// ---- the relay key

#[test]
fn a_proof_is_good_once_for_its_network_and_its_key() {
    let mut w = World::new(crate::first_seed());
    let net = |s| NetworkName::new(s).unwrap();
    let key = relay_key();
    let networks = vec![
        (net("sim"), Some(key.clone())),
        (net("other"), Some(key.clone())),
    ];
    let hub = w.add_hub(Config {
        networks,
        ..Config::default()
    });
    let challenged = |w: &mut World, n: usize| {
        let mut raw = Raw::connect(w, hub, address(n));
        raw.say(w, &ToRelay::Join(CHALLENGE));
        w.settle();
        let [FromRelay::Prove(relay)] = raw.words(w)[..] else {
            panic!("no challenge")
        };
        (raw, relay)
    };
    let (mut good, relay) = challenged(&mut w, 1);
    let proof = key.prove(&net("sim"), &CHALLENGE, &relay);
    // One of several keys, as while a key is being rotated.
    good.say(&mut w, &ToRelay::Prove(vec![[0; 32], proof]));
    w.settle();
    assert!(matches!(good.words(&w)[..], [FromRelay::Joined(_)]));
    let wrong_key = RelayKey::derive(&Key::from_bytes([1; 32]));
    let (mut a, _) = challenged(&mut w, 2);
    a.say(&mut w, &ToRelay::Prove(vec![proof]));
    let (mut b, relay) = challenged(&mut w, 3);
    b.say(
        &mut w,
        &ToRelay::Prove(vec![key.prove(&net("other"), &CHALLENGE, &relay)]),
    );
    let (mut c, relay) = challenged(&mut w, 4);
    c.say(
        &mut w,
        &ToRelay::Prove(vec![wrong_key.prove(&net("sim"), &CHALLENGE, &relay)]),
    );
    // The challenge of one network answered for another.
    let (mut d, relay) = challenged(&mut w, 5);
    d.net = "other";
    d.say(
        &mut w,
        &ToRelay::Prove(vec![key.prove(&net("other"), &CHALLENGE, &relay)]),
    );
    w.settle();
    for (raw, why) in [
        (&mut a, Refusal::Key),
        (&mut b, Refusal::Key),
        (&mut c, Refusal::Key),
        (&mut d, Refusal::Frame),
    ] {
        assert_eq!(raw.refused(&w), Some(why));
    }
    let mut unproved = Raw::connect(&mut w, hub, address(6));
    unproved.say(&mut w, &ToRelay::Prove(vec![proof]));
    w.settle();
    assert_eq!(unproved.refused(&w), Some(Refusal::Frame));
    assert_eq!(w.hubs[hub].hub.stats().joined, 1);
}

// ---- members of a network against its nodes

fn sealed(plain: &[u8]) -> Vec<u8> {
    let mut token = Vec::new();
    Sealer::new(&key()).seal(plain, 1, &[3; 16], &mut token);
    token
}

fn advert_of(own: &str, instance: Instance, relays: &[String]) -> Vec<u8> {
    let advert = Advert {
        phase: Phase::Present,
        instance,
        sequence: u64::from(instance.0[0]) + 1,
        interval_ms: 1_000,
        port: PORT,
        name: name(own),
        address: None,
        relays: relays.iter().map(|r| r.parse().unwrap()).collect(),
        vouched: relays.len() as u8,
    };
    let mut plain = Vec::new();
    advert.encode(&mut plain);
    sealed(&plain)
}

#[test]
fn invented_relays_cost_a_few_dials_a_second_and_no_more_links_than_are_allowed() {
    let mut w = World::new(crate::first_seed());
    let hub = hub_with(&mut w, RelayLimits::default());
    w.max_remotes = Some(3);
    let (a, b) = pair(&mut w, hub);
    let mut rng = Rng(3);
    let before = w.nodes[a].engine.stats();
    for i in 0..3_000 {
        let relays: Vec<String> = (0..8).map(|k| format!("invented-{i}-{k}:9")).collect();
        let token = advert_of(&format!("x{}", i % 50), Instance(rng.array()), &relays);
        let mut bytes = Vec::new();
        encode(
            &Frame {
                net: "sim",
                kind: FrameType::ADVERT,
                payload: &token,
            },
            &mut bytes,
        );
        w.raw_datagram(a, "10.8.8.8:1".parse().unwrap(), &bytes);
        w.run(ms(10));
        assert!(
            w.nodes[a].engine.stats().links <= 1 + 2 + 40,
            "{:?}",
            w.nodes[a].engine.stats()
        );
    }
    let after = w.nodes[a].engine.stats();
    let dials = after.relay_dials - before.relay_dials;
    assert!(
        (10..=2 * 31).contains(&dials),
        "{dials} relays dialled in 30 s"
    );
    assert_eq!(w.joined_hub(a), 1, "the one that was given is kept");
    w.run(secs(60));
    unharmed(&mut w, a, b);
}

#[test]
fn invented_members_and_routes_fill_bounded_tables() {
    let mut w = World::new(crate::first_seed());
    w.limits.peers = 200;
    let hub = hub_with(&mut w, RelayLimits::default());
    let (a, b) = pair(&mut w, hub);
    // A relay gone bad says that thousands are there, and shows adverts sealed under the right key.
    w.hubs[hub].malice.deaf = true;
    let wire = w.wire_to_hub(a, hub);
    let mut rng = Rng(9);
    for i in 0..2_000 {
        let token = advert_of(&format!("x{i}"), Instance(rng.array()), &[]);
        let mut bytes = Vec::new();
        encode_forward(
            "sim",
            &Route::draw(&mut rng),
            FrameType::ADVERT,
            &mut bytes,
            |out| out.extend_from_slice(&token),
        );
        // And hellos from as many places.
        let hello = Hello {
            role: Role::Ask,
            probing: false,
            instance: Instance(rng.array()),
            nonce: rng.array(),
            port: PORT,
            name: name(&format!("y{i}")),
            meant: Some(name("a")),
        };
        let mut plain = Vec::new();
        hello.encode(&mut plain);
        encode_forward(
            "sim",
            &Route::draw(&mut rng),
            FrameType::HELLO,
            &mut bytes,
            |out| out.extend_from_slice(&sealed(&plain)),
        );
        w.transmit(wire, 1, bytes);
        w.run(ms(1));
        let s = w.nodes[a].engine.stats();
        let most = (w.limits.half_open + w.limits.dials + 4) as u64;
        assert!(
            s.peers <= 200 && s.links <= most && s.routes <= 200 + most,
            "{s:?}"
        );
    }
    w.hubs[hub].malice.deaf = false;
    assert!(w.nodes[a].engine.stats().half_open_evicted > 50);
    assert!(w.reaches(a, "b"), "the living are not displaced");
    assert!(
        w.nodes[a]
            .events
            .iter()
            .all(|e| !matches!(e, Event::PeerJoined(n) if n.as_str() != "b"))
    );
    w.run(secs(90));
    unharmed(&mut w, a, b);
}

#[test]
fn a_node_with_another_key_or_of_another_network_is_nobody_at_the_relay() {
    let mut w = World::new(crate::first_seed());
    let hub = hub_with(&mut w, RelayLimits::default());
    let (a, b) = pair(&mut w, hub);
    let stranger = w.add_with_keys("stranger", Keyring::from(Key::from_bytes([1; 32])));
    w.nodes[stranger].group = 3;
    w.run(secs(10));
    assert!(!w.knows(a, "stranger") && !w.knows(stranger, "a"));
    assert_eq!(w.joined_hub(stranger), 1, "an open relay lets it in");
    assert!(w.nodes[a].engine.stats().adverts_refused > 0);
    assert_eq!(
        w.nodes[a].engine.stats().refused_token,
        0,
        "nobody dials whom it cannot read"
    );
    w.stop(stranger);
    // A key is rotated while they are apart.
    let both = Keyring::new(vec![key(), Key::from_bytes([7; 32])]).unwrap();
    let rotated = w.add_with_keys("rotated", both);
    w.nodes[rotated].group = 4;
    w.run(secs(10));
    let n = w.call(rotated, "a", secs(2)).unwrap();
    w.run(secs(1));
    assert!(w.result(rotated, n).unwrap().is_ok());
    unharmed(&mut w, a, b);
}

#[test]
fn hellos_replayed_reflected_and_misdirected_make_no_session() {
    let mut w = World::new(crate::first_seed());
    let hub = hub_with(&mut w, RelayLimits::default());
    w.hubs[hub].tapped = Some(Default::default());
    let (a, b) = pair(&mut w, hub);
    let [_, tapped] = w.hubs[hub].tapped.take().unwrap();
    let mut hellos = Vec::new();
    let mut at = 0;
    while let Ok(Parsed::Complete(frame, used)) = parse(&tapped[at..], FRAME_MAX) {
        if let Some(f) = Forward::decode(frame.payload)
            .ok()
            .filter(|f| f.kind == FrameType::HELLO)
        {
            hellos.push(f.payload.to_vec());
        }
        at += used;
    }
    assert!(hellos.len() >= 2, "both ways");
    let sessions = [a, b].map(|n| w.nodes[n].engine.stats().sessions);
    let (raw, _) = Raw::join(&mut w, hub, address(1));
    let mut others = raw;
    let routes = others.routes(&w);
    for route in &routes {
        for token in &hellos {
            others.forward(&mut w, *route, FrameType::HELLO, token);
            w.settle();
        }
    }
    w.run(secs(20));
    assert_eq!(sessions, [a, b].map(|n| w.nodes[n].engine.stats().sessions));
    assert!(w.nodes[a].engine.stats().links <= 2 && w.nodes[b].engine.stats().links <= 2);
    unharmed(&mut w, a, b);
}

#[test]
fn both_asking_at_once_through_a_relay_leaves_one_session_and_loses_no_call() {
    let crossed = std::cell::Cell::new(0);
    seeds(300, |seed| {
        let mut w = World::new(seed);
        let (a, b) = w.two_lans(1);
        // Each dials as soon as it knows the other, whoever would have yielded.
        let (x, y) = (
            w.call(a, "b", secs(9)).unwrap(),
            w.call(b, "a", secs(9)).unwrap(),
        );
        w.run(secs(3));
        assert_eq!(w.result(a, x), Some(&Ok(b"b".to_vec())));
        assert_eq!(w.result(b, y), Some(&Ok(b"a".to_vec())));
        let [a, b] = [a, b].map(|n| w.nodes[n].engine.stats());
        assert_eq!(
            [a.links, b.links],
            [2, 2],
            "one to the relay, one through it"
        );
        assert_eq!([a.calls_retried, b.calls_retried], [0, 0]);
        assert_eq!([a.refused_hello, b.refused_hello], [0, 0]);
        crossed.set(crossed.get() + (a.dials.min(b.dials)));
    });
    assert!(crossed.get() > 30, "both dialled {} times", crossed.get());
}

#[test]
fn a_relay_that_says_who_is_gone_when_nobody_is_does_no_lasting_harm() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let hub = hub_with(&mut w, RelayLimits::default());
        let (a, b) = pair(&mut w, hub);
        w.nodes[b].behaviour = Behaviour::Hold;
        let n = w.call(a, "b", secs(60)).unwrap();
        w.settle();
        // Its own words, and words it has no right to.
        w.hubs[hub].tapped = Some(Default::default());
        let m = w.call(a, "b", secs(60)).unwrap();
        w.settle();
        let [tapped, _] = w.hubs[hub].tapped.take().unwrap();
        let Ok(Parsed::Complete(frame, _)) = parse(&tapped, FRAME_MAX) else {
            panic!("nothing was sent")
        };
        let route = Forward::decode(frame.payload).unwrap().route;
        let wire = w.wire_to_hub(a, hub);
        for word in [
            FromRelay::Credit(route, u32::MAX),
            FromRelay::Busy(route, 7),
            FromRelay::Gone(route),
        ] {
            let mut payload = Vec::new();
            word.encode(&mut payload);
            let mut bytes = Vec::new();
            encode(
                &Frame {
                    net: "sim",
                    kind: FrameType::REGISTER,
                    payload: &payload,
                },
                &mut bytes,
            );
            w.transmit(wire, 1, bytes);
            w.run(secs(2));
        }
        w.answer_all(b);
        w.nodes[b].behaviour = Behaviour::Echo;
        w.run(secs(60));
        for n in [n, m] {
            assert!(
                matches!(
                    w.result(a, n),
                    Some(Ok(_) | Err(Error::Unreachable(_) | Error::Timeout))
                ),
                "{:?}",
                w.result(a, n)
            );
        }
        // Nonsense ends the link, which is made anew.
        let wire = w.wire_to_hub(a, hub);
        w.transmit(wire, 1, b"sim|reg|hello.there|END\n".to_vec());
        w.run(secs(5));
        let protocol = Event::RelayDown {
            relay: relay(hub),
            why: RelayFault::Protocol,
        };
        assert!(w.nodes[a].events.contains(&protocol));
        w.run(secs(5));
        unharmed(&mut w, a, b);
    });
}

#[test]
fn a_node_that_restarts_every_second_behind_a_relay_makes_no_table_grow() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = w.two_lans(1);
    w.run(secs(1));
    for round in 0..1_800 {
        w.call(a, "b", secs(2));
        w.run(ms(900));
        w.kill(b, round % 2 == 0);
        w.run(ms(100));
        w.restart(b);
    }
    w.run(secs(5));
    let s = w.nodes[a].engine.stats();
    assert!(
        s.peers <= 200 && s.links <= 3 && s.routes <= 200 && s.calls_open == 0,
        "{s:?}"
    );
    w.run(secs(120));
    let s = w.nodes[a].engine.stats();
    assert!(
        s.peers <= 1 && s.links <= 2 && s.routes <= 1 && s.serving == 0,
        "{s:?}"
    );
    assert!(w.hubs[0].hub.stats().members <= 2);
    w.check_closed();
}

#[test]
fn a_hundred_nodes_start_at_one_relay_in_the_same_second_and_all_find_all() {
    let mut w = World::new(crate::first_seed());
    w.limits.dials = 0;
    w.add_hub(Config::default());
    w.relays = vec![relay(0)];
    for i in 0..100 {
        let n = w.add(&format!("n{i}"));
        w.nodes[n].group = n as u32 + 1;
        w.run(ms(10));
    }
    w.run_until(secs(5), |w| {
        w.nodes.iter().all(|n| n.engine.stats().peers == 99)
    });
    w.run(secs(30));
    // Presence is told when it is new, and not again and again.
    let handed = w.hubs[0].hub.stats().adverts_handed;
    assert!(handed <= 3 * 100 * 99, "{handed}");
    w.check_closed();
}

#[test]
fn more_calls_than_one_may_have_in_flight_are_overloaded_through_a_relay_too() {
    let mut w = World::new(crate::first_seed());
    w.limits.served_per_peer = 100;
    let hub = hub_with(&mut w, RelayLimits::default());
    let (a, b) = pair(&mut w, hub);
    w.nodes[b].behaviour = Behaviour::Hold;
    let calls: Vec<_> = (0..5_000)
        .map(|_| w.call(a, "b", secs(30)).unwrap())
        .collect();
    w.run(secs(2));
    let over = calls
        .iter()
        .filter(|n| matches!(w.result(a, **n), Some(Err(Error::Overloaded(_)))));
    assert_eq!(over.count(), 4_900);
    w.answer_all(b);
    w.run(secs(1));
    assert_eq!(
        calls
            .iter()
            .filter(|n| matches!(w.result(a, **n), Some(Ok(_))))
            .count(),
        100
    );
    w.nodes[b].behaviour = Behaviour::Echo;
    unharmed(&mut w, a, b);
}

#[test]
fn nothing_of_names_paths_or_payloads_is_seen_at_a_relay() {
    let mut w = World::new(crate::first_seed());
    let hub = hub_with(&mut w, RelayLimits::default());
    w.hubs[hub].tapped = Some(Default::default());
    w.relays = vec![relay(hub)];
    let a = w.add("secret-caller");
    let b = w.add("secret-callee");
    (w.nodes[a].group, w.nodes[b].group) = (1, 2);
    w.run(secs(4));
    for round in 0..20 {
        let said = "payload ".repeat(round * 40 + 1);
        let n = w
            .call_with(a, "secret-callee", secs(2), said.as_bytes())
            .unwrap();
        w.settle();
        assert_eq!(w.result(a, n), Some(&Ok(said.into_bytes())));
    }
    let tapped = w.hubs[hub].tapped.take().unwrap().concat();
    let secrets = ["secret-caller", "secret-callee", "payload ", "relay0:7700"];
    crate::common::shows_nothing("capture", &tapped, &secrets);
    assert!(tapped.windows(5).any(|w| w == b"|fwd|"));
    let dumped = format!("{:?} {:?}", w.hubs[hub].hub, w.hubs[hub].hub.stats());
    assert!(!dumped.contains("secret"));
    w.check_closed();
}

#[test]
fn a_member_that_floods_with_nonsense_is_blocked_where_it_does() {
    let mut w = World::new(crate::first_seed());
    let hub = hub_with(&mut w, RelayLimits::default());
    let (a, b) = pair(&mut w, hub);
    let (mut flooder, _) = Raw::join(&mut w, hub, address(1));
    let routes = flooder.routes(&w);
    // Not sealed under the key; and then sealed under it, but of nobody.
    for round in 0..2_000 {
        for route in &routes {
            let token = if round % 2 == 0 {
                b"gAAAAnonsense".to_vec()
            } else {
                sealed(b"nonsense")
            };
            flooder.forward(&mut w, *route, FrameType::HELLO, &token);
        }
        w.run(ms(2));
    }
    for node in [a, b] {
        let s = w.nodes[node].engine.stats();
        assert_eq!(s.routes_blocked, 1);
        assert!(s.refused_token + s.refused_hello < 40, "{s:?}");
    }
    assert!(w.hubs[hub].hub.stats().forwards_blocked > 3_000);
    let told = flooder.words(&w);
    assert!(told.iter().any(|word| matches!(word, FromRelay::Gone(_))));
    unharmed(&mut w, a, b);
}

#[test]
fn a_frame_that_never_ends_and_adverts_from_a_crowd_are_bounded() {
    let mut w = World::new(crate::first_seed());
    let limits = RelayLimits {
        joins_per_second: 4,
        links_per_address: 20,
        ..RelayLimits::default()
    };
    let hub = hub_with(&mut w, limits);
    let (mut slow, _) = Raw::join(&mut w, hub, address(1));
    w.raw_send(slow.wire, b"sim|fwd|");
    for _ in 0..59 {
        w.raw_send(slow.wire, b"A");
        w.run(secs(1));
    }
    assert_eq!(slow.refused(&w), None);
    w.run(secs(2));
    assert_eq!(slow.refused(&w), Some(Refusal::Late));
    // Twenty members of one address each tell something new all the time.
    let (mut hears, _) = Raw::join(&mut w, hub, address(2));
    let crowd: Vec<Raw> = (0..20)
        .map(|_| Raw::join(&mut w, hub, address(3)).0)
        .collect();
    let _ = hears.frames(&w);
    for i in 0..300 {
        for (k, member) in crowd.iter().enumerate() {
            member.send(&mut w, FrameType::ADVERT, format!("gA{k}-{i}").as_bytes());
        }
        w.run(ms(100));
    }
    let during = hears.frames(&w).len();
    assert!(during <= 40 + 4 * 31, "{during} adverts handed on in 30 s");
    w.run(secs(20));
    let last = hears.frames(&w);
    let latest = |k: usize| {
        let wanted = format!("gA{k}-299");
        last.iter()
            .any(|(_, p)| Forward::decode(p).unwrap().payload == wanted.as_bytes())
    };
    assert!((0..20).all(latest), "the latest of each is told in the end");
}

// ---- what nobody means

#[test]
fn a_power_cut_behind_a_relay_is_noticed_within_the_dead_time() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let hub = hub_with(&mut w, RelayLimits::default());
        let (a, b) = pair(&mut w, hub);
        w.nodes[b].behaviour = Behaviour::Hold;
        let lost = w.call(a, "b", secs(600)).unwrap();
        w.settle();
        w.kill(b, true);
        // Three keepalives of ten seconds, and then the relay's ninety until it is forgotten.
        w.run(secs(31));
        assert!(!w.reaches(a, "b"));
        w.run(secs(70));
        assert!(!w.knows(a, "b"));
        assert_eq!(
            w.result(a, lost),
            Some(&Err(Error::Unreachable("b".into())))
        );
        assert_eq!(w.hubs[hub].hub.stats().members, 1);
        w.check_closed();
    });
}

#[test]
fn a_suspended_machine_and_a_jumping_clock_behind_a_relay_do_no_harm() {
    seeds(5, |seed| {
        let mut w = World::new(seed);
        let hub = hub_with(&mut w, RelayLimits::default());
        let (a, b) = pair(&mut w, hub);
        for unix in [0, 4_000_000_000, 60] {
            w.unix = unix;
            w.run(secs(20));
            let n = w.call(a, "b", secs(1)).unwrap();
            w.settle();
            assert!(w.result(a, n).unwrap().is_ok());
        }
        assert_eq!(w.nodes[a].engine.stats().sessions, 1, "no session was lost");
        w.sleep_node(b, secs(3_600));
        w.run_until(secs(60), |w| w.reaches(a, "b") && w.reaches(b, "a"));
        w.freeze_node(a, secs(3_600));
        w.run_until(secs(60), |w| w.reaches(a, "b") && w.reaches(b, "a"));
        unharmed(&mut w, a, b);
    });
}

#[test]
fn who_asks_and_asks_and_never_reads_does_not_make_a_node_overrun_its_window() {
    let mut w = World::new(crate::first_seed());
    let hub = hub_with(&mut w, RelayLimits::default());
    let (a, b) = pair(&mut w, hub);
    let (mut evil, _) = Raw::join(&mut w, hub, address(1));
    let routes = evil.routes(&w);
    w.stall(evil.wire);
    let mut rng = Rng(4);
    for i in 0..4_000u32 {
        // A member's hello, to be answered; and a record of no session, to be turned away.
        let hello = Hello {
            role: Role::Ask,
            probing: false,
            instance: Instance(rng.array()),
            nonce: rng.array(),
            port: PORT,
            name: name("evil"),
            meant: Some(name(if i % 2 == 0 { "a" } else { "b" })),
        };
        let mut plain = Vec::new();
        hello.encode(&mut plain);
        for route in &routes {
            evil.forward(&mut w, *route, FrameType::MESSAGE, b"gAAA");
            evil.forward(&mut w, *route, FrameType::HELLO, &sealed(&plain));
        }
        w.run(ms(5));
    }
    let s = w.hubs[hub].hub.stats();
    assert_eq!((s.refused_flood, s.refused_slow), (0, 0));
    assert_eq!((w.joined_hub(a), w.joined_hub(b)), (1, 1));

    // Many calls given up while the callee takes nothing.
    w.nodes[b].behaviour = Behaviour::Hold;
    let calls: Vec<_> = (0..1_000)
        .map(|_| w.call(a, "b", secs(60)).unwrap())
        .collect();
    w.run(secs(1));
    let wire = w.wire_to_hub(b, hub);
    w.stall(wire);
    let more: Vec<_> = (0..3_000)
        .map(|_| w.call(a, "b", secs(60)).unwrap())
        .collect();
    w.settle();
    for n in calls.into_iter().chain(more) {
        w.cancel(a, n);
    }
    w.settle();
    assert_eq!(w.hubs[hub].hub.stats().refused_flood, 0);
    w.unstall(wire);
    w.nodes[b].behaviour = Behaviour::Echo;
    w.run(secs(90));
    unharmed(&mut w, a, b);
}

#[test]
fn who_shows_the_advert_of_another_at_a_relay_does_not_take_its_place() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let hub = hub_with(&mut w, RelayLimits::default());
        let (a, b) = pair(&mut w, hub);
        // Anybody at an open relay is handed the sealed adverts of all, and can say them again.
        let thieves: Vec<Raw> = (1..3)
            .map(|i| {
                let (mut thief, _) = Raw::join(&mut w, hub, address(i));
                thief.read = 0;
                let adverts: Vec<Vec<u8>> = thief
                    .frames(&w)
                    .iter()
                    .filter_map(|(_, p)| Some(Forward::decode(p).ok()?.payload.to_vec()))
                    .collect();
                for advert in adverts {
                    thief.send(&mut w, FrameType::ADVERT, &advert);
                    w.run(secs(2));
                }
                thief
            })
            .collect();
        let n = w.call(a, "b", secs(5)).unwrap();
        w.settle();
        assert!(
            w.result(a, n).unwrap().is_ok(),
            "a session is not disturbed"
        );
        // Nor is the way back to one that has ended.
        for round in 0..5 {
            let carriers = [w.wire_to_hub(a, hub), w.wire_to_hub(b, hub)];
            w.close_other(carriers[round % 2], 0);
            w.close_other(carriers[round % 2], 1);
            w.run(ms(400));
            let n = w.call(a, "b", ms(300)).unwrap();
            w.run(secs(12));
            assert!(w.result(a, n).unwrap().is_ok(), "round {round}");
        }
        drop(thieves);
        unharmed(&mut w, a, b);
    });
}
