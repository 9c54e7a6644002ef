//! A hub between many senders and readers that are steady but slow.

use crate::heap::{self, MEASURED};
use crate::net::{Rng, secs};
use crate::sums;
use peerbase::RelayLimits;
use peerbase::engine::{LinkId, Now, Time};
use peerbase::frame::{Frame, FrameType, Parsed, encode, parse};
use peerbase::limits::{FRAME_MAX, ROUTE_WINDOW};
use peerbase::relay::hub::{Config, Hub, Output};
use peerbase::wire::relay::{FromRelay, Route, encode_forward};
use std::collections::HashSet;
use std::time::Duration;

const SENDERS: usize = 20;
const READERS: usize = 3;
/// As much as is carried: many times what may be kept.
const PASSED: usize = 192 * 1024 * 1024;
/// Bytes that a slow reader takes in a millisecond; the senders offer twenty times as much.
const SLOW: usize = 60_000;

/// An honest member: it knows its route, and keeps to the windows.
struct Member {
    link: LinkId,
    route: Option<Route>,
    /// Bytes under way to each reader.
    under_way: [usize; READERS],
    /// What the relay has said last of what is not any more.
    totals: [u64; READERS],
    /// What came and is not a whole frame yet.
    came: Vec<u8>,
}

struct Fan {
    hub: Hub,
    now: Now,
    members: Vec<Member>,
    held: HashSet<LinkId>,
    frame: Vec<u8>,
}

impl Fan {
    fn new(limits: RelayLimits) -> Fan {
        let config = Config {
            limits,
            ..Config::default()
        };
        let mut fan = Fan {
            hub: heap::owned(MEASURED, || Hub::new(config, Box::new(Rng(1)))),
            now: Now::default(),
            members: Vec::new(),
            held: HashSet::new(),
            frame: Vec::new(),
        };
        for i in 0..SENDERS + READERS {
            let from = ([10, 0, 0, i as u8 + 1], 1).into();
            let link = heap::owned(MEASURED, || fan.hub.accept(fan.now, from)).unwrap();
            fan.members.push(Member {
                link,
                route: None,
                under_way: [0; READERS],
                totals: [0; READERS],
                came: Vec::new(),
            });
            let join = b"net|reg|join.2.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=|END\n";
            fan.say(link, join);
            while fan.take(i, usize::MAX) > 0 {}
            assert!(fan.members[i].route.is_some(), "joined");
        }
        fan
    }

    fn say(&mut self, link: LinkId, bytes: &[u8]) {
        heap::owned(MEASURED, || self.hub.received(self.now, link, bytes));
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(output) = self.hub.poll() {
            match output {
                Output::Hold(link) => drop(self.held.insert(link)),
                Output::Resume(link) => drop(self.held.remove(&link)),
                Output::Close(link, last) => {
                    panic!("{link:?} was closed: {}", last.escape_ascii())
                }
                _ => {}
            }
        }
    }

    /// A member takes so much of what waits for it, and heeds it; how much that was.
    fn take(&mut self, member: usize, most: usize) -> usize {
        let link = self.members[member].link;
        let pending = self.hub.pending(link);
        let n = pending.len().min(most);
        self.members[member].came.extend_from_slice(&pending[..n]);
        if n > 0 {
            heap::owned(MEASURED, || self.hub.sent(self.now, link, n));
            self.perform();
        }
        let mut came = std::mem::take(&mut self.members[member].came);
        let mut at = 0;
        while let Ok(Parsed::Complete(frame, used)) = parse(&came[at..], FRAME_MAX) {
            if frame.kind == FrameType::REGISTER {
                let said = FromRelay::decode(frame.payload).unwrap();
                self.heed(member, said.word);
            }
            at += used;
        }
        came.drain(..at);
        self.members[member].came = came;
        n
    }

    fn heed(&mut self, member: usize, word: FromRelay) {
        let reader = |route: Route| {
            let readers = &self.members[SENDERS..];
            readers.iter().position(|m| m.route == Some(route))
        };
        match word {
            FromRelay::Joined(route) => self.members[member].route = Some(route),
            FromRelay::Credit(route, total) | FromRelay::Busy(route, total) => {
                if let Some(to) = reader(route) {
                    let member = &mut self.members[member];
                    member.under_way[to] -= (total - member.totals[to]) as usize;
                    member.totals[to] = total;
                }
            }
            _ => {}
        }
    }

    /// A member sends as much to each reader as the window lets it.
    fn send(&mut self, member: usize) {
        for to in 0..READERS {
            let route = self.members[SENDERS + to].route.unwrap();
            let link = self.members[member].link;
            let mut frame = std::mem::take(&mut self.frame);
            frame.clear();
            encode_forward("net", &route, FrameType::MESSAGE, &mut frame, |out| {
                out.extend_from_slice(&[b'A'; 20_000]);
            });
            while self.members[member].under_way[to] + frame.len() <= ROUTE_WINDOW as usize
                && !self.held.contains(&link)
            {
                self.members[member].under_way[to] += frame.len();
                self.say(link, &frame);
                // A word that it was turned away comes at once.
                self.take(member, usize::MAX);
                if self.members[member].under_way[to] == 0 {
                    break;
                }
            }
            self.frame = frame;
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.at = Time(self.now.at.0 + time);
        if self.hub.deadline().is_some_and(|at| at <= self.now.at) {
            heap::owned(MEASURED, || self.hub.tick(self.now));
            self.perform();
        }
    }

    /// So that nobody seems idle.
    fn ping(&mut self) {
        let mut bytes = Vec::new();
        let (kind, payload) = (FrameType::PING, &b"AAAA"[..]);
        encode(
            &Frame {
                net: "net",
                kind,
                payload,
            },
            &mut bytes,
        );
        for reader in SENDERS..SENDERS + READERS {
            self.say(self.members[reader].link, &bytes);
        }
    }
}

#[test]
fn what_a_relay_carries_to_slow_readers_stays_within_its_limits() {
    let limits = RelayLimits {
        queue: 1024 * 1024,
        ..RelayLimits::default()
    };
    let mut fan = Fan::new(limits.clone());
    let (mut passed, mut rounds, mut pinged) = (0, 0u64, Time::default());
    while passed < PASSED {
        for sender in 0..SENDERS {
            fan.send(sender);
            fan.take(sender, usize::MAX);
        }
        for reader in SENDERS..SENDERS + READERS {
            passed += fan.take(reader, SLOW);
        }
        fan.pass(Duration::from_millis(1));
        if fan.now.at - pinged >= secs(10) {
            fan.ping();
            pinged = fan.now.at;
        }
        rounds += 1;
        assert!(rounds < 100_000, "only {passed} bytes have passed");
    }
    let sum = sums::of_a_relay(&limits, SENDERS + READERS, READERS);
    crate::check("carried", heap::peak(MEASURED), sum, passed);
}
