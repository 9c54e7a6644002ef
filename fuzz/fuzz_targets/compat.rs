//! A node and a relay among malicious Python nodes. Whatever arrives by HTTP, in adverts and in
//! answers, both stay within their limits, a call ends at most once, and both hold nothing when all
//! others are gone. The input is a script.
#![no_main]

mod counter;

use counter::Counter;
use libfuzzer_sys::fuzz_target;
use peerbase::compat::engine::{Config, Engine, Output};
use peerbase::compat::{http, message};
use peerbase::engine::CallNumber;
use peerbase::fernet::{Key, Keyring};
use peerbase::limits::{Limits, RelayLimits};
use peerbase::name::{CommandPath, NetworkName, NodeName};
use peerbase::protocol::{LinkId, Now, Time};
use peerbase::relay::hub::{self, Hub};
use peerbase::wire::record::Status;
use std::collections::HashSet;
use std::time::Duration;

fn keys() -> Keyring {
    Keyring::from(Key::from_bytes([7; 32]))
}

fn engine() -> Engine {
    let limits = Limits {
        peers: 8,
        served_per_peer: 4,
        max_message: 2_000,
        message_bytes: 20_000,
        ..Limits::default()
    };
    let config = Config {
        network: NetworkName::new("fuzz").expect("a name"),
        name: NodeName::new("us").expect("a name"),
        keys: keys(),
        port: 5_000,
        address: None,
        loopback: false,
        relays: vec!["r:1".parse().expect("an address")],
        max_remotes: 3,
        tick: Duration::from_millis(250),
        limits,
        rules: Default::default(),
    };
    Engine::new(config, Box::new(Counter(0)))
}

fn hub() -> Hub {
    let limits = RelayLimits {
        links: 16,
        networks: 2,
        mailboxes: 4,
        mailboxes_per_network: 3,
        mailbox_packets: 4,
        mailbox_bytes: 4_000,
        mailboxes_bytes: 6_000,
        request_bytes: 3_000,
        requests_bytes: 10_000,
        ..RelayLimits::default()
    };
    Hub::new(hub::Config { limits, compat: true, ..hub::Config::default() }, Box::new(Counter(9)))
}

fn posted(path: &str, body: &[u8], wait: bool) -> Vec<u8> {
    let mut request = Vec::new();
    http::write_post("h", path, body, wait.then_some(1), &mut request);
    request
}

fn sealed(text: &[u8]) -> Vec<u8> {
    message::seal(text, &keys(), 1, &mut Counter(3))
}

/// The node, the relay, and what the script knows of them.
struct Run {
    engine: Engine,
    hub: Hub,
    now: Now,
    links: Vec<LinkId>,
    hub_links: Vec<LinkId>,
    tickets: Vec<u64>,
    calls: u64,
    ended: HashSet<CallNumber>,
}

impl Run {
    fn drain(&mut self) {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Dial(link, _) | Output::DialRelay { link, .. } => self.links.push(link),
                Output::Close(link) => self.links.retain(|l| *l != link),
                Output::Request { ticket, .. } => self.tickets.push(ticket),
                Output::Answered(number, _) => assert!(self.ended.insert(number), "a call ends once"),
                _ => {}
            }
        }
        while let Some(output) = self.hub.poll() {
            if let hub::Output::Close(link, _) = output {
                self.hub_links.retain(|l| *l != link);
            }
        }
        let s = self.hub.stats();
        assert!(s.mailboxes <= 4 && s.networks <= 2 && s.mailbox_bytes <= 6_000);
    }
}

fuzz_target!(|data: &[u8]| {
    let mut run = Run {
        engine: engine(),
        hub: hub(),
        now: Now::default(),
        links: Vec::new(),
        hub_links: Vec::new(),
        tickets: Vec::new(),
        calls: 0,
        ended: HashSet::new(),
    };
    run.engine.start(run.now);
    let from = |n: usize| ([10, 0, 0, (n % 4) as u8], 1).into();
    let mut rest = data;
    while let Some((&op, tail)) = rest.split_first() {
        let n = usize::from(tail.first().copied().unwrap_or(0)).min(tail.len());
        let (bytes, tail) = tail.split_at(n);
        rest = tail;
        let at = usize::from(op >> 4);
        let pick = |links: &[LinkId]| links.get(at % links.len().max(1)).copied().unwrap_or(LinkId(0));
        let (link, hub_link) = (pick(&run.links), pick(&run.hub_links));
        let now = run.now;
        let network = if n % 2 == 0 { "a" } else { "b" };
        match op & 15 {
            0 => run.links.extend(run.engine.accept(now, from(n))),
            1 => run.engine.received(now, link, bytes),
            2 => run.engine.received(now, link, &posted("/", &sealed(bytes), false)),
            3 => {
                let call = [&br#"{"initiator":"fuzz.x","command":""#[..], bytes, b"\"}"].concat();
                run.engine.received(now, link, &posted("/", &sealed(&call), false));
            }
            4 => {
                run.engine.connected(now, link);
                let most = run.engine.pending(link).len();
                run.engine.sent(now, link, most.min(n * 40));
            }
            5 => {
                let mut answer = Vec::new();
                let body = if n % 2 == 0 { sealed(bytes) } else { bytes.to_vec() };
                http::write_answer(200, "x", "Preference-Applied: wait\r\n", &body, &mut answer);
                run.engine.received(now, link, &answer);
            }
            6 => {
                run.engine.closed(now, link);
                run.links.retain(|l| *l != link);
            }
            7 => run.engine.datagram(now, [10, 0, 0, (n % 4) as u8].into(), n % 2 == 0, bytes),
            8 => {
                let advert = format!("fuzz.n{}|10.0.0.{}:{}", n % 16, n % 5, 1 + at);
                run.engine.datagram(now, [10, 0, 0, (n % 4) as u8].into(), n % 2 == 0, advert.as_bytes());
                let target = NodeName::new(&format!("n{}", n % 16)).expect("a name");
                let path = CommandPath::new("p").expect("a path");
                run.calls += 1;
                run.engine.call(now, CallNumber(run.calls), &target, &path, (b"[]", b"{}"));
                if op & 16 != 0 {
                    run.engine.forget(now, CallNumber(run.calls));
                }
            }
            9 => {
                if let Some(ticket) = run.tickets.pop() {
                    run.engine.reply(now, ticket, Status::Value, b"1");
                }
            }
            10 => run.hub_links.extend(run.hub.accept(now, from(n))),
            11 => run.hub.received(now, hub_link, bytes),
            12 => {
                let ping = format!(r#"{{"node_name":"n{}","node_network":"{network}","known_servers":[]}}"#, n % 4);
                run.hub.received(now, hub_link, &posted("/ping/", ping.as_bytes(), at % 2 == 0));
            }
            13 => {
                let packet = format!(
                    r#"{{"target":"n{}","data":"{}","packet_id":"p{at}","originator":"n{}","r_type":"request","remote_addr":"r"}}"#,
                    n % 4,
                    "x".repeat(n * 10),
                    at % 4
                );
                run.hub.received(now, hub_link, &posted("/send/", packet.as_bytes(), false));
            }
            14 => {
                let most = run.hub.pending(hub_link).len();
                run.hub.sent(now, hub_link, most.min(n * 40));
                if n % 3 == 0 {
                    run.hub.closed(now, hub_link);
                    run.hub_links.retain(|l| *l != hub_link);
                }
            }
            _ => {
                run.now.at = Time(now.at.0 + Duration::from_millis(1 << (n % 18)));
                run.engine.tick(run.now);
                run.hub.tick(run.now);
            }
        }
        run.drain();
    }
    for link in std::mem::take(&mut run.hub_links) {
        run.hub.closed(run.now, link);
    }
    run.now.at = Time(run.now.at.0 + Duration::from_secs(100));
    run.hub.tick(run.now);
    run.engine.stop();
    run.drain();
    assert_eq!(run.engine.deadline(), None);
    let s = run.hub.stats();
    assert_eq!((s.links, s.mailboxes, s.mailbox_bytes, s.networks), (0, 0, 0, 0));
});
