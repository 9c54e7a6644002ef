//! Whatever happens in whatever order, an engine stays within its limits, ends each call once, and
//! holds nothing when it is stopped. The input is a script. It seals under the right key, so that
//! the engine opens its tokens.
#![no_main]

mod counter;

use counter::Counter;
use libfuzzer_sys::fuzz_target;
use peerbase::engine::{Ask, Config, Engine, Input, LinkId, Now, Output, Terms, Time};
use peerbase::fernet::{Key, Keyring, Sealer};
use peerbase::frame::{Frame, FrameType, encode};
use peerbase::name::{CommandPath, NetworkName, NodeName};
use peerbase::wire::record::Status;
use std::collections::HashSet;
use std::time::Duration;

fn key() -> Key {
    Key::from_bytes([7; 32])
}

fn frame(kind: [u8; 3], plain: &[u8]) -> Vec<u8> {
    let (mut token, mut out) = (Vec::new(), Vec::new());
    Sealer::new(&key()).seal(plain, 1, &[1; 16], &mut token);
    let kind = FrameType::new(kind).expect("lower-case letters");
    encode(&Frame { net: "fuzz", kind, payload: &token }, &mut out);
    out
}

fn forwarded(kind: [u8; 3], plain: &[u8]) -> Vec<u8> {
    let mut out = b"fuzz|fwd|BBBBBBBBBBBBBBBB.".to_vec();
    out.extend_from_slice(&kind);
    out.push(b'.');
    Sealer::new(&key()).seal(plain, 1, &[1; 16], &mut out);
    out.extend_from_slice(b"|END\n");
    out
}

fuzz_target!(|data: &[u8]| {
    let config = Config {
        network: NetworkName::new("fuzz").expect("a name"),
        name: NodeName::new("n").expect("a name"),
        keys: Keyring::from(key()),
        identity: peerbase::Identity::from_seed([1; 32]),
        keeps_identity: false,
        mode: Default::default(),
        port: 1,
        address: None,
        interval: Duration::from_secs(1),
        lan: true,
        relays: vec!["r:1".parse().expect("an address")],
        max_remotes: 2,
        relay_keepalive: Duration::from_secs(10),
        limits: Default::default(),
        rules: Default::default(),
    };
    let mut now = Now::default();
    let mut engine = Engine::new(config, Box::new(Counter(0)), now);
    let (mut links, mut begun, mut ended, mut requests) =
        (Vec::new(), HashSet::new(), HashSet::new(), Vec::new());
    let mut rest = data;
    while let Some((&op, tail)) = rest.split_first() {
        let n = usize::from(tail.first().copied().unwrap_or(0)).min(tail.len());
        let (bytes, tail) = tail.split_at(n);
        rest = tail;
        let pick = |links: &[LinkId]| {
            let at = usize::from(op >> 4) % links.len().max(1);
            links.get(at).copied().unwrap_or(LinkId(0))
        };
        let from = "10.0.0.1:1".parse().expect("an address");
        match op & 15 {
            0 => engine.handle(now, Input::Datagram { from, bytes }),
            1 => engine.handle(now, Input::Datagram { from, bytes: &frame(*b"adv", bytes) }),
            2 => links.extend(engine.accept(now, from)),
            3 => engine.handle(now, Input::Received(pick(&links), bytes)),
            4 => engine.handle(now, Input::Received(pick(&links), &frame(*b"hel", bytes))),
            5 => engine.handle(now, Input::Received(pick(&links), &frame(*b"msg", bytes))),
            6 => engine.handle(now, Input::Connected(pick(&links))),
            7 => engine.handle(now, Input::Closed(pick(&links))),
            8 => engine.handle(now, Input::Sent(pick(&links), n)),
            9 => engine.handle(now, Input::InterfacesChanged),
            10 => {
                let text = std::str::from_utf8(bytes).unwrap_or("n");
                let target = NodeName::new(text).unwrap_or(NodeName::new("n").expect("a name"));
                let path = CommandPath::new("p").expect("a path");
                let ask = Ask::Command { path, args: bytes.to_vec(), kwargs: Vec::new() };
                let timeout = Duration::from_millis(n as u64 * 10);
                if let Ok(number) = engine.call(now, &target, ask, Terms { timeout, wait: op & 16 == 0, streams: op & 32 == 0 }) {
                    begun.insert(number);
                }
            }
            11 => {
                if let Some(id) = requests.pop() {
                    engine.reply(now, id, Status::Value, bytes.to_vec());
                }
            }
            12 => {
                if let Some(number) = begun.iter().min() {
                    engine.cancel(now, *number);
                }
            }
            // What a relay says, and what arrives through a relay.
            13 => {
                let word: &[u8] = match n % 6 {
                    0 => b"fuzz|reg|joined.AAAAAAAAAAAAAAAA|END\n",
                    1 => b"fuzz|reg|gone.BBBBBBBBBBBBBBBB|END\n",
                    2 => b"fuzz|reg|busy.BBBBBBBBBBBBBBBB.9|END\n",
                    3 => b"fuzz|reg|settled.BBBBBBBBBBBBBBBB.9|END\n",
                    4 => b"fuzz|reg|prove.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=|END\n",
                    _ => b"fuzz|reg|credit.BBBBBBBBBBBBBBBB.99999|END\n",
                };
                engine.handle(now, Input::Received(pick(&links), word));
            }
            14 => {
                let inner = [*b"adv", *b"hel", *b"msg", *b"rsp"][n % 4];
                engine.handle(now, Input::Received(pick(&links), &forwarded(inner, bytes)));
            }
            _ => {
                now.at = Time(now.at.0 + Duration::from_millis(1 << (n % 14)));
                engine.handle(now, Input::Tick);
            }
        }
        while let Some(output) = engine.poll() {
            match output {
                Output::Dial(link, _) | Output::DialRelay(link, _) => links.push(link),
                Output::Request(incoming) => requests.push(incoming.id),
                Output::Ended(number, _) => assert!(ended.insert(number), "ended twice"),
                _ => {}
            }
        }
        let stats = engine.stats();
        let limits = engine.limits();
        assert!(stats.peers <= limits.peers as u64);
        let relays = 2;
        let most = limits.half_open + limits.dials + limits.sessions + relays;
        assert!(stats.links <= most as u64 + 1);
    }
    engine.stop(now);
    while let Some(output) = engine.poll() {
        if let Output::Ended(number, _) = output {
            assert!(ended.insert(number), "ended twice");
        }
    }
    assert_eq!(begun, ended);
    let s = engine.stats();
    assert_eq!((s.peers, s.links, s.calls_open, s.serving), (0, 0, 0, 0));
});
