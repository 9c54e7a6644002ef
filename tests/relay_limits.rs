//! A relay's bounds on memory, and that members who keep within theirs do not suffer from those who do not.
//! The hub is driven by hand under a virtual clock, and every byte that it allocates is counted.
#![allow(unsafe_code)] // an allocator that counts can be written in no other way

use peerbase::NetworkName;
use peerbase::entropy::Entropy;
use peerbase::frame::{Frame, FrameType, Parsed, encode, parse};
use peerbase::limits::{FRAME_MAX, RelayLimits};
use peerbase::protocol::{LinkId, Now, Time};
use peerbase::relay::hub::{Config, Hub, Output};
use peerbase::wire::relay::{Forward, FromRelay, ROUTE_WINDOW, Route, ToRelay, encode_forward};
use peerbase::{RelayKey, fernet::Key};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

struct Counting;

thread_local! {
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: i64) {
    // A thread that is ending has no count any more.
    let live = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        live.get()
    });
    let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.unwrap_or(0))));
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory that this thread has held since `PEAK` was reset, beyond what it holds now.
fn reset_peak() -> i64 {
    let live = LIVE.get();
    PEAK.set(live);
    live
}

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;
/// Buffers that a hub keeps for later, and what tables and the test itself take.
const BESIDES: usize = 6 * MIB;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn v4(n: usize) -> IpAddr {
    let [a, b] = (n as u16).to_be_bytes();
    [10, 5, a, b].into()
}

/// A /64 of one /48.
fn v6(n: usize) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, n as u16, 0, 0, 0, 1).into()
}

struct Random(u64);

impl Entropy for Random {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

/// A hub, and links to it with nothing behind them.
struct Relay {
    hub: Hub,
    now: Now,
    closed: HashSet<LinkId>,
}

/// What a member has heard.
#[derive(Debug)]
enum Heard {
    Word(FromRelay),
    From(Route, FrameType, Vec<u8>),
    Other,
}

impl Relay {
    fn with(config: Config) -> Relay {
        Relay {
            hub: Hub::new(config, Box::new(Random(1))),
            now: Now::default(),
            closed: HashSet::new(),
        }
    }

    fn new(limits: RelayLimits) -> Relay {
        Relay::with(Config {
            limits,
            ..Config::default()
        })
    }

    fn drain(&mut self) {
        while let Some(output) = self.hub.poll() {
            if let Output::Close(id, _) = output {
                self.closed.insert(id);
            }
        }
    }

    fn link(&mut self, from: IpAddr) -> LinkId {
        let id = self.hub.accept(self.now, (from, 1).into()).unwrap();
        self.drain();
        id
    }

    fn say(&mut self, id: LinkId, bytes: &[u8]) {
        self.hub.received(self.now, id, bytes);
        self.drain();
    }

    fn send(&mut self, id: LinkId, kind: FrameType, payload: &[u8]) {
        let mut bytes = Vec::new();
        let net = "sim";
        encode(&Frame { net, kind, payload }, &mut bytes);
        self.say(id, &bytes);
    }

    fn ask_to_join(&mut self, id: LinkId) {
        let mut word = Vec::new();
        ToRelay::Join([7; 32]).encode(&mut word);
        self.send(id, FrameType::REGISTER, &word);
    }

    /// A member, whose route is what it is told when it has taken everything; none if it was not let in.
    fn try_join(&mut self, from: IpAddr) -> Option<(LinkId, Route)> {
        let id = self.link(from);
        self.ask_to_join(id);
        let heard = self.take_all(id);
        let route = heard.into_iter().find_map(|heard| match heard {
            Heard::Word(FromRelay::Joined(route)) => Some(route),
            _ => None,
        });
        Some((id, route?))
    }

    fn join(&mut self, from: IpAddr) -> (LinkId, Route) {
        self.try_join(from).unwrap()
    }

    fn forward(&mut self, id: LinkId, to: Route, payload: &[u8]) {
        let mut bytes = Vec::new();
        encode_forward("sim", &to, FrameType::MESSAGE, &mut bytes, |out| {
            out.extend_from_slice(payload);
        });
        self.say(id, &bytes);
    }

    /// The link takes so many bytes; those that it did.
    fn take(&mut self, id: LinkId, most: usize) -> Vec<u8> {
        let pending = self.hub.pending(id);
        let bytes = pending[..most.min(pending.len())].to_vec();
        if !bytes.is_empty() {
            self.hub.sent(self.now, id, bytes.len());
            self.drain();
        }
        bytes
    }

    fn take_all(&mut self, id: LinkId) -> Vec<Heard> {
        let mut bytes = Vec::new();
        while !self.hub.pending(id).is_empty() {
            bytes.extend(self.take(id, usize::MAX));
        }
        let mut heard = Vec::new();
        hear(&mut bytes, |what| heard.push(what));
        heard
    }

    fn run(&mut self, time: Duration) {
        let until = self.now.at + time;
        while let Some(at) = self.hub.deadline().filter(|at| *at <= until) {
            self.now.at = at.max(self.now.at);
            self.hub.tick(self.now);
            self.drain();
        }
        self.now.at = until;
    }

    fn is_open(&self, id: LinkId) -> bool {
        !self.closed.contains(&id)
    }
}

/// Takes whole frames off the front of what has been read.
fn hear(read: &mut Vec<u8>, mut told: impl FnMut(Heard)) {
    let mut at = 0;
    while let Ok(Parsed::Complete(frame, used)) = parse(&read[at..], FRAME_MAX) {
        told(match frame.kind {
            FrameType::REGISTER => Heard::Word(FromRelay::decode(frame.payload).unwrap()),
            FrameType::FORWARD => {
                let inner = Forward::decode(frame.payload).unwrap();
                Heard::From(inner.route, inner.kind, inner.payload.to_vec())
            }
            _ => Heard::Other,
        });
        at += used;
    }
    read.drain(..at);
}

/// One that sends as much as its window lets it.
struct Sender {
    id: LinkId,
    under_way: u32,
    sent: u64,
    busy: u64,
}

impl Sender {
    fn new(id: LinkId) -> Sender {
        Sender {
            id,
            under_way: 0,
            sent: 0,
            busy: 0,
        }
    }

    fn step(&mut self, relay: &mut Relay, to: Route, size: usize) {
        for heard in relay.take_all(self.id) {
            match heard {
                Heard::Word(FromRelay::Credit(_, n)) => self.under_way -= n,
                Heard::Word(FromRelay::Busy(_, n)) => {
                    self.under_way -= n;
                    self.busy += 1;
                }
                _ => {}
            }
        }
        let payload = vec![b'A'; size];
        let mut frame = Vec::new();
        encode_forward("sim", &to, FrameType::MESSAGE, &mut frame, |out| {
            out.extend_from_slice(&payload);
        });
        // As many as a read of the event loop's takes.
        let room = (ROUTE_WINDOW - self.under_way) as usize / frame.len();
        let bytes = frame.repeat(room.min(64 * KIB / frame.len()));
        self.under_way += bytes.len() as u32;
        self.sent += bytes.len() as u64;
        relay.say(self.id, &bytes);
    }
}

// ---- memory

#[test]
fn a_steady_reader_that_is_slower_than_twenty_senders_costs_what_waits_and_not_what_has_passed() {
    let limits = RelayLimits {
        queues_bytes: 12 * MIB,
        links_bytes: 4 * MIB,
        ..RelayLimits::default()
    };
    let most = limits.queues_bytes + limits.links_bytes + BESIDES;
    let before = reset_peak();
    let mut relay = Relay::new(limits);
    let (reader, to) = relay.join(v4(1));
    let mut senders: Vec<Sender> = (2..22).map(|n| Sender::new(relay.join(v4(n)).0)).collect();
    let mut passed = 0;
    while passed < 400 * MIB {
        for (n, sender) in senders.iter_mut().enumerate() {
            sender.step(&mut relay, to, 500 + 900 * n);
        }
        // 60 MB/s, in pieces that are not frames.
        passed += relay.take(reader, 60_007).len();
        relay.run(ms(1));
        assert!(!relay.hub.pending(reader).is_empty(), "it is never done");
    }
    assert!(relay.is_open(reader));
    let peak = (PEAK.get() - before) as usize;
    assert!(peak < most, "{peak} bytes at most, {most} allowed");
}

#[test]
fn hundreds_of_readers_that_stall_leave_memory_for_others() {
    let limits = RelayLimits {
        queues_bytes: 8 * MIB,
        links_bytes: 40 * MIB,
        ..RelayLimits::default()
    };
    let most = limits.queues_bytes + limits.links_bytes + BESIDES;
    let before = reset_peak();
    let mut relay = Relay::new(limits);
    let flooder = relay.join(v4(1)).0;
    let stalled: Vec<(LinkId, Route)> = (0..200).map(|n| relay.join(v4(2 + n % 2))).collect();
    for (_, route) in &stalled {
        for _ in 0..24 {
            relay.forward(flooder, *route, &[b'A'; 10_000]);
        }
        let _ = relay.take_all(flooder);
    }
    assert!(relay.hub.stats().forwards_busy > 0, "there is no more");
    // One from elsewhere is behind, too, by more than is just being sent.
    let (slow, to) = relay.join(v4(4));
    let (from, _) = relay.join(v4(5));
    let _ = relay.take_all(from);
    for _ in 0..24 {
        relay.forward(from, to, &[b'A'; 10_000]);
    }
    let heard = relay.take_all(from);
    assert!(heard.is_empty(), "nothing is turned away: {heard:?}");
    let heard = relay.take_all(slow);
    assert_eq!(
        heard
            .iter()
            .filter(|h| matches!(h, Heard::From(..)))
            .count(),
        24
    );
    let peak = (PEAK.get() - before) as usize;
    assert!(peak < most, "{peak} bytes at most, {most} allowed");
}

#[test]
fn links_that_read_no_answer_or_finish_no_frame_are_bounded_together_and_cost_nobody_else() {
    let limits = RelayLimits {
        links_bytes: 8 * MIB,
        ..RelayLimits::default()
    };
    let most = limits.links_bytes + BESIDES;
    let before = reset_peak();
    let mut relay = Relay::new(limits);
    let honest: Vec<LinkId> = (1..10).map(|n| relay.join(v4(n)).0).collect();
    let echo = b"sim|png|AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA|END\n".repeat(1_000);
    let begun = [b"sim|fwd|".as_slice(), &[b'A'; 65_000]].concat();
    for n in 0..240 {
        for id in &honest {
            let _ = relay.take_all(*id);
        }
        let Some((id, _)) = relay.try_join(v4(20 + n % 3)) else {
            continue;
        };
        // It takes in all that it is told no more.
        for _ in 0..8 {
            relay.say(id, &echo);
        }
        relay.say(id, &begun);
        relay.run(ms(100));
    }
    let s = relay.hub.stats();
    assert!(s.refused_memory > 100, "the largest are closed: {s:?}");
    assert_eq!(s.refused_slow, 0, "and are not counted among the slow");
    assert!(honest.iter().all(|id| relay.is_open(*id)));
    let peak = (PEAK.get() - before) as usize;
    assert!(peak < most, "{peak} bytes at most, {most} allowed");
}

// ---- slow readers

#[test]
fn who_takes_a_byte_every_29_seconds_is_gone_and_who_takes_a_kibibyte_a_second_stays() {
    let mut relay = Relay::new(RelayLimits::default());
    let from = relay.join(v4(1)).0;
    for (bytes, pause, stays) in [(1, secs(29), false), (1_024, secs(1), true)] {
        let (reader, to) = relay.join(v4(2));
        for _ in 0..20 {
            relay.forward(from, to, &[b'A'; 10_000]);
        }
        let began = relay.now.at;
        while relay.now.at - began < secs(120) {
            relay.run(pause);
            let _ = relay.take(reader, bytes);
            // Nobody is idle.
            for id in [from, reader] {
                relay.send(id, FrameType::PING, b"AA");
            }
            let _ = relay.take_all(from);
        }
        assert_eq!(relay.is_open(reader), stays, "{bytes} bytes in {pause:?}");
    }
    assert_eq!(relay.hub.stats().refused_slow, 1);
}

// ---- links that have not joined

#[test]
fn links_that_say_nothing_give_way_to_members_whoever_opens_how_many() {
    let network = NetworkName::new("sim").unwrap();
    let key = RelayKey::derive(&Key::from_bytes([1; 32]));
    let limits = RelayLimits {
        links: 600,
        newcomers: 100,
        ..RelayLimits::default()
    };
    let mut relay = Relay::with(Config {
        networks: vec![(network.clone(), Some(key.clone()))],
        limits,
        ..Config::default()
    });
    let mut opened = Vec::new();
    for round in 0..40 {
        // One in the middle of its handshake, which takes a tenth of a second.
        let honest = relay.link(v4(1_000 + round));
        relay.ask_to_join(honest);
        let mut read = Vec::new();
        while !relay.hub.pending(honest).is_empty() {
            read.extend(relay.take(honest, usize::MAX));
        }
        for n in 0..100 {
            opened.push(relay.link(v4(n % 4)));
            opened.push(relay.link(v6(n + 100 * round)));
            relay.run(ms(1));
        }
        let mut asked = None;
        hear(&mut read, |heard| {
            if let Heard::Word(FromRelay::Prove(challenge)) = heard {
                asked = Some(challenge);
            }
        });
        let proof = key.prove(&network, &[7; 32], &asked.unwrap());
        let mut word = Vec::new();
        ToRelay::Prove(vec![proof]).encode(&mut word);
        relay.send(honest, FrameType::REGISTER, &word);
        assert!(relay.is_open(honest), "round {round}");
        let s = relay.hub.stats();
        assert_eq!(s.members, round as u64 + 1);
        assert!(s.links <= 100 + s.members, "{s:?}");
    }
    let s = relay.hub.stats();
    // The last one was among a hundred.
    assert_eq!(s.gave_way, 8_000 - 99);
    let open = opened.iter().filter(|id| relay.is_open(**id)).count();
    assert_eq!(open, 99);
}

#[test]
fn joinings_are_counted_by_the_network_that_one_is_given() {
    let limits = RelayLimits {
        links_per_address: 10,
        joins_per_second: 1,
        ..RelayLimits::default()
    };
    let mut relay = Relay::new(limits);
    let joined = (0..100)
        .filter(|n| relay.try_join(v6(*n)).is_some())
        .count();
    assert_eq!(joined, 10);
    assert!(relay.try_join(v4(1)).is_some());
}

#[test]
fn one_ipv6_site_leaves_links_and_networks_for_others() {
    let limits = RelayLimits {
        links: 40,
        networks: 8,
        ..RelayLimits::default()
    };
    let mut relay = Relay::new(limits);
    let joined = (0..100).filter(|n| relay.try_join(v6(*n)).is_some());
    assert_eq!(joined.count(), 20, "half, as long as it is alone");
    for n in 1..10 {
        assert!(relay.try_join(v4(n)).is_some(), "{n}");
    }
    let limits = RelayLimits {
        networks: 8,
        ..RelayLimits::default()
    };
    let mut relay = Relay::new(limits);
    let begin = |relay: &mut Relay, from: IpAddr, net: &str| {
        let id = relay.link(from);
        let (mut word, mut bytes) = (Vec::new(), Vec::new());
        ToRelay::Join([7; 32]).encode(&mut word);
        let (kind, payload) = (FrameType::REGISTER, &word[..]);
        encode(&Frame { net, kind, payload }, &mut bytes);
        relay.say(id, &bytes);
        relay.is_open(id)
    };
    let begun = (0..20).filter(|n| begin(&mut relay, v6(*n), &format!("n{n}")));
    assert_eq!(begun.count(), 4);
    assert!(begin(&mut relay, v6(20), "n0"), "one that is there");
    assert!(begin(&mut relay, v4(1), "other"));
}

// ---- flows

#[test]
fn flows_with_nothing_under_way_take_no_place_and_their_credit_is_given_back() {
    let limits = RelayLimits {
        flows: 3,
        ..RelayLimits::default()
    };
    let mut relay = Relay::new(limits);
    let from = relay.join(v4(1)).0;
    let others: Vec<(LinkId, Route)> = (2..50).map(|n| relay.join(v4(n))).collect();
    let _ = relay.take_all(from);
    let mut owed: HashMap<Route, u32> = HashMap::new();
    for (other, to) in &others {
        relay.forward(from, *to, b"gAAA");
        *owed.entry(*to).or_default() += 38;
        let heard = relay.take_all(*other);
        assert!(heard.iter().any(|h| matches!(h, Heard::From(..))));
        for heard in relay.take_all(from) {
            match heard {
                Heard::Word(FromRelay::Credit(route, n)) => *owed.get_mut(&route).unwrap() -= n,
                other => panic!("{other:?}"),
            }
        }
    }
    let open = owed.values().filter(|n| **n > 0).count();
    assert!(open <= 3, "credit of {open} is held");
    // Those to which something waits do take a place.
    for (_, to) in &others[..4] {
        relay.forward(from, *to, b"gAAA");
    }
    let busy = relay.take_all(from).into_iter();
    let busy = busy.filter(|h| matches!(h, Heard::Word(FromRelay::Busy(..))));
    assert_eq!(busy.count(), 1);
}

// ---- one member's line, and many who send to it

#[test]
fn who_sends_little_to_a_member_that_many_flood_is_not_turned_away_and_does_not_wait_long() {
    let mut relay = Relay::new(RelayLimits::default());
    let (victim, to) = relay.join(v4(1));
    let mut flooders: Vec<Sender> = (2..42).map(|n| Sender::new(relay.join(v4(n)).0)).collect();
    let (honest, own) = relay.join(v4(60));
    let _ = relay.take_all(victim);
    let (mut next, mut turned_away) = (0u64, 0);
    let mut read = Vec::new();
    let mut arrived: Vec<(u64, Duration)> = Vec::new();
    // A line of 200 KB/s, of which a fair share is 4.9, and the honest one wants 2.7.
    for step in 0..3_000 {
        for flooder in &mut flooders {
            flooder.step(&mut relay, to, 8_000);
        }
        if step % 20 == 0 {
            let text = format!("{next:06}{}", "A".repeat(500));
            relay.forward(honest, to, text.as_bytes());
            next += 1;
        }
        let heard = relay.take_all(honest).into_iter();
        turned_away += heard
            .filter(|h| matches!(h, Heard::Word(FromRelay::Busy(..))))
            .count();
        read.extend(relay.take(victim, 2_000));
        hear(&mut read, |heard| {
            if let Heard::From(route, _, payload) = heard
                && route == own
            {
                let n: u64 = std::str::from_utf8(&payload[..6]).unwrap().parse().unwrap();
                let sent = ms(10) * 20 * n as u32;
                arrived.push((n, (relay.now.at - Time::default()) - sent));
            }
        });
        relay.run(ms(10));
    }
    assert_eq!(turned_away, 0);
    assert!(flooders.iter().any(|f| f.busy > 0), "they do flood it");
    let order: Vec<u64> = arrived.iter().map(|(n, _)| *n).collect();
    assert_eq!(order, (0..order.len() as u64).collect::<Vec<_>>());
    // What is just being sent, and a turn of each of forty.
    let longest = arrived.iter().map(|(_, late)| *late).max().unwrap();
    assert!(order.len() > 100 && longest < secs(3), "{longest:?}");
}

/// A relay with a member that has not read yet, and the route of one that is gone: its last frame to that member
/// waits behind those of another.
fn one_has_left_behind_others() -> (Relay, LinkId, Route) {
    let mut relay = Relay::new(RelayLimits::default());
    let (slow, to) = relay.join(v4(1));
    let mut other = Sender::new(relay.join(v4(2)).0);
    let (leaves, own) = relay.join(v4(3));
    let _ = relay.take_all(slow);
    for _ in 0..10 {
        other.step(&mut relay, to, 10_000);
    }
    relay.forward(leaves, to, b"gLast");
    relay.hub.closed(relay.now, leaves);
    (relay, slow, own)
}

#[test]
fn what_one_has_sent_arrives_before_the_word_that_it_is_gone() {
    let (mut relay, slow, own) = one_has_left_behind_others();
    let heard = relay.take_all(slow);
    let at = |wanted: &dyn Fn(&Heard) -> bool| heard.iter().position(wanted).unwrap();
    let last = at(&|h| matches!(h, Heard::From(_, _, payload) if payload == b"gLast"));
    let gone = at(&|h| matches!(h, Heard::Word(FromRelay::Gone(route)) if *route == own));
    assert!(last < gone, "{last} {gone}");
}

#[test]
fn who_sends_to_one_that_is_gone_first_hears_all_that_it_had_sent() {
    let (mut relay, slow, own) = one_has_left_behind_others();
    relay.forward(slow, own, b"gQuestion");
    relay.forward(slow, own, b"gAnother");
    let is_gone = |h: &&Heard| matches!(h, Heard::Word(FromRelay::Gone(route)) if *route == own);
    let heard = relay.take_all(slow);
    let last = heard
        .iter()
        .position(|h| matches!(h, Heard::From(_, _, payload) if payload == b"gLast"));
    let gone = heard.iter().position(|h| is_gone(&h));
    assert!(last.is_some() && last < gone, "{last:?} {gone:?}");
    assert_eq!(heard.iter().filter(is_gone).count(), 1);
    // When it has heard that, each frame has its reply again.
    relay.forward(slow, own, b"gQuestion");
    assert_eq!(relay.take_all(slow).iter().filter(is_gone).count(), 1);
}

// ---- adverts

#[test]
fn adverts_are_bounded_for_each_network_and_drive_no_slow_member_away() {
    let limits = RelayLimits {
        advert_bytes_per_second: 200_000,
        links_per_address: 400,
        ..RelayLimits::default()
    };
    let (rate, burst) = (200_000, 400_000);
    let mut relay = Relay::new(limits);
    let slow: Vec<LinkId> = (1..4).map(|n| relay.join(v4(n)).0).collect();
    let (hears, _) = relay.join(v4(10));
    let (tells, own) = relay.join(v4(11));
    // All of one /48, each from another address.
    let crowd: Vec<LinkId> = (0..300).map(|n| relay.join(v6(n)).0).collect();
    let _ = relay.take_all(hears);
    let handed = relay.hub.stats().adverts_handed;
    let (mut heard_of, mut said) = (0, 0);
    for second in 0..120u64 {
        for (n, id) in crowd.iter().enumerate() {
            let text = format!("gA{n}-{second}-{}", "A".repeat(1_000));
            relay.send(*id, FrameType::ADVERT, text.as_bytes());
        }
        if second % 20 == 10 {
            relay.send(tells, FrameType::ADVERT, format!("gNew{second}").as_bytes());
            said += 1;
        }
        for _ in 0..10 {
            relay.run(ms(100));
            for id in &crowd {
                let _ = relay.take(*id, usize::MAX);
            }
            // Less than the adverts alone would be.
            for id in &slow {
                let _ = relay.take(*id, 50);
            }
            let _ = relay.take_all(tells);
            let heard = relay.take_all(hears).into_iter();
            heard_of += heard
                .filter(|h| matches!(h, Heard::From(route, FrameType::ADVERT, _) if *route == own))
                .count();
        }
        for id in slow.iter().chain([&hears, &tells]) {
            relay.send(*id, FrameType::PING, b"AA");
            assert!(relay.is_open(*id), "after {second} s");
        }
    }
    let handed = relay.hub.stats().adverts_handed - handed;
    // And the short ones, which are of no weight.
    let most = (burst + 120 * rate) / 1_000 + 2 * 305 + 305 * said as u64;
    assert!(
        handed < most,
        "{handed} adverts of a kilobyte, {most} allowed"
    );
    assert!(handed > most / 2, "{handed}");
    assert_eq!(
        heard_of, said,
        "the adverts of others are not kept from anybody"
    );
}

#[test]
fn a_member_that_was_too_slow_for_adverts_has_the_latest_of_each_in_the_end() {
    let limits = RelayLimits {
        advert_bytes_per_second: 400_000_000,
        ..RelayLimits::default()
    };
    let mut relay = Relay::new(limits);
    let (slow, _) = relay.join(v4(1));
    let crowd: Vec<(LinkId, Route)> = (2..200).map(|n| relay.join(v4(n))).collect();
    let _ = relay.take_all(slow);
    let mut read = Vec::new();
    for second in 0..20 {
        for (id, _) in &crowd {
            let text = format!("gA{second}-{}", "A".repeat(1_000));
            relay.send(*id, FrameType::ADVERT, text.as_bytes());
            let _ = relay.take(*id, usize::MAX);
        }
        relay.run(secs(1));
        read.extend(relay.take(slow, 10_000));
    }
    while !relay.hub.pending(slow).is_empty() {
        read.extend(relay.take(slow, 10_000));
    }
    let mut latest = HashMap::new();
    hear(&mut read, |heard| {
        if let Heard::From(route, FrameType::ADVERT, payload) = heard {
            latest.insert(route, payload);
        }
    });
    assert!(relay.is_open(slow));
    assert_eq!(latest.len(), crowd.len());
    assert!(latest.values().all(|advert| advert.starts_with(b"gA19-")));
}

#[test]
fn the_last_advert_of_one_that_leaves_is_handed_on_before_the_word_that_it_is_gone() {
    let mut relay = Relay::new(RelayLimits::default());
    let (hears, hears_at) = relay.join(v4(1));
    let (slow, slow_at) = relay.join(v4(2));
    let (leaves, own) = relay.join(v4(3));
    let mut busy = Sender::new(relay.join(v4(4)).0);
    let _ = (relay.take_all(hears), relay.take_all(slow), hears_at);
    relay.send(leaves, FrameType::ADVERT, b"gPresent");
    // One of the two has no room for more just now.
    for _ in 0..20 {
        busy.step(&mut relay, slow_at, 10_000);
    }
    // Too soon after the one before to be handed on at once.
    relay.send(leaves, FrameType::ADVERT, b"gLeaving");
    relay.hub.closed(relay.now, leaves);
    relay.drain();
    for (who, id) in [("reads", hears), ("is behind", slow)] {
        let heard = relay.take_all(id);
        let at = |wanted: &dyn Fn(&Heard) -> bool| heard.iter().position(wanted);
        let last = at(&|h| matches!(h, Heard::From(_, _, payload) if payload == b"gLeaving"));
        let gone = at(&|h| matches!(h, Heard::Word(FromRelay::Gone(route)) if *route == own));
        assert!(
            last.is_some() && last < gone,
            "who {who}: {last:?} {gone:?}"
        );
    }
}
