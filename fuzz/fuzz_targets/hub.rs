//! Whatever members send in whatever order, a hub stays within its limits, hands a frame to its
//! receiver only, and holds nothing when all members are gone. The input is a script.
#![no_main]

mod counter;

use counter::Counter;
use libfuzzer_sys::fuzz_target;
use peerbase::frame::{FrameType, Parsed, parse};
use peerbase::limits::{FRAME_MAX, RelayLimits};
use peerbase::protocol::{LinkId, Now, Time};
use peerbase::relay::hub::{Config, Hub, Output};
use peerbase::wire::relay::{Forward, FromRelay};
use std::time::Duration;

fuzz_target!(|data: &[u8]| {
    let limits = RelayLimits {
        links: 12,
        members: 6,
        networks: 2,
        queue: 4_096,
        flows: 4,
        bytes_per_second: 10_000,
        burst: 20_000,
        ..RelayLimits::default()
    };
    let mut hub = Hub::new(Config { limits, ..Config::default() }, Box::new(Counter(0)));
    let mut now = Now::default();
    let mut links: Vec<LinkId> = Vec::new();
    let mut routes: Vec<Vec<u8>> = Vec::new();
    let mut rest = data;
    while let Some((&op, tail)) = rest.split_first() {
        let n = usize::from(tail.first().copied().unwrap_or(0)).min(tail.len());
        let (bytes, tail) = tail.split_at(n);
        rest = tail;
        let at = usize::from(op >> 4);
        let link = links.get(at % links.len().max(1)).copied().unwrap_or(LinkId(0));
        let net = ["a", "b", "c"][n % 3];
        match op & 7 {
            0 => links.extend(hub.accept(now, ([10, 0, 0, op & 64], 1).into())),
            1 => hub.received(now, link, bytes),
            2 => {
                let join = format!("{net}|reg|join.2.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=|END\n");
                hub.received(now, link, join.as_bytes());
            }
            3 => hub.received(now, link, format!("{net}|adv|gAAA|END\n").as_bytes()),
            4 => {
                let route = routes.get(n % routes.len().max(1)).map_or(&b"x"[..], Vec::as_slice);
                let head = format!("{net}|fwd|{}.msg.", String::from_utf8_lossy(route));
                let frame = [head.as_bytes(), &b"A".repeat(n * 64 + 1), b"|END\n"].concat();
                hub.received(now, link, &frame);
            }
            5 => hub.sent(now, link, n * 40),
            6 => hub.closed(now, link),
            _ => {
                now.at = Time(now.at.0 + Duration::from_millis(1 << (n % 18)));
                hub.tick(now);
            }
        }
        while let Some(output) = hub.poll() {
            let Output::Writable(to) = output else {
                continue;
            };
            let mut pending = hub.pending(to);
            while let Ok(Parsed::Complete(frame, used)) = parse(pending, FRAME_MAX) {
                pending = &pending[used..];
                match frame.kind {
                    FrameType::FORWARD => drop(Forward::decode(frame.payload).expect("well-formed")),
                    FrameType::REGISTER => match FromRelay::decode(frame.payload).expect("well-formed").word {
                        FromRelay::Joined(route) if routes.len() < 64 => {
                            routes.push(route.as_bytes().to_vec())
                        }
                        _ => {}
                    },
                    _ => {}
                }
            }
        }
        let s = hub.stats();
        assert!(s.links <= 12 && s.members <= 12 && s.networks <= 2);
        for link in &links {
            assert!(hub.pending(*link).len() <= 2 * 4_096 + 3 * FRAME_MAX);
        }
    }
    for link in links {
        hub.closed(now, link);
    }
    let s = hub.stats();
    assert_eq!((s.links, s.members, s.networks), (0, 0, 0));
});
