//! Relays over real sockets, in processes of their own where it matters. All traffic stays on
//! 127.0.0.0/8.

mod common;

use common::{Lan, PATIENCE, Tool, join, last_events, next, secs, until, wait_for_event};
use peerbase::{
    Builder, Error, Event, Key, NetworkName, Node, Path, Refusal, RelayFault, RelayKey, RelayServer,
};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

const TOOL: &str = env!("CARGO_BIN_EXE_peerbase");

/// A node that reaches others through relays only.
fn far(lan: &Lan, name: &str) -> Builder {
    lan.builder(name).lan(false)
}

fn relay() -> RelayServer {
    let local = "127.0.0.1:0".parse().unwrap();
    RelayServer::builder().start(local).unwrap()
}

fn up(events: &peerbase::Events) {
    wait_for_event(events, "the relay", |e| matches!(e, Event::RelayUp(_)));
}

#[test]
fn nodes_without_a_lan_call_through_a_relay_and_see_how() {
    let relay = relay();
    let at = relay.address().to_string();
    let lan = Lan::new();
    let sensor = far(&lan, "sensor")
        .relay(&at)
        .command("read", |c| c.reply(21.5))
        .start()
        .unwrap();
    let reader = far(&lan, "reader").relay(&at).open().unwrap();
    assert_eq!(sensor.port(), 0, "nobody could learn of a port");
    let value = reader
        .call("read")
        .to("sensor")
        .timeout(secs(20))
        .send()
        .unwrap();
    assert_eq!(value, 21.5);
    let peers = reader.call("__peers__").to("sensor").send().unwrap();
    assert_eq!(peers["reader"], format!("relay {at}"));
    let path = Path::Relay(at.parse().unwrap());
    assert_eq!(reader.peers()[0].path, Some(path));
    let s = relay.stats();
    assert!(
        s.members == 2 && s.networks == 1 && s.forwarded > 4,
        "{s:?}"
    );
    sensor.stop();
    until("the relay to notice", || relay.stats().members == 1);
}

#[test]
fn what_cannot_work_is_said_before_anything_is_opened() {
    let lan = Lan::new();
    let refused = |b: Builder| match b.start() {
        Err(e) => e,
        Ok(_) => panic!("started"),
    };
    let three = || lan.builder("a").relay("r1:1").relay("r2:1").relay("r3:1");
    let fewer = refused(three().max_remotes(2));
    assert!(matches!(fewer, Error::Argument(why) if why.contains("max_remotes")));
    assert!(matches!(
        refused(three().max_remotes(17)),
        Error::Argument(_)
    ));
    assert!(matches!(
        refused(lan.builder("a").relay("no port")),
        Error::Address(_)
    ));
    assert!(matches!(
        refused(three().relay_keepalive(secs(31))),
        Error::Argument(_)
    ));
    let twice = RelayServer::builder().network("n", None).network("n", None);
    assert!(matches!(
        twice.start("127.0.0.1:0".parse().unwrap()),
        Err(Error::Network(_))
    ));
    let first = relay();
    let second = RelayServer::builder().start(first.address());
    assert_eq!(second.err(), Some(Error::PortInUse(first.address())));
}

#[test]
fn a_relay_that_cannot_be_had_is_an_event_and_no_reason_not_to_start() {
    let lan = Lan::new();
    // Nobody listens there, and nobody else can have the port.
    let held = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    held.bind(&any.into()).unwrap();
    let gone = held.local_addr().unwrap().as_socket().unwrap().to_string();
    // No such label can exist, so that nothing is asked of any server.
    let unnamed = format!("{}.example:1", "x".repeat(64));
    // Somebody else's by now: it says what no relay says.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let others = other.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in other.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400");
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read(&mut [0; 512]);
        }
    });
    let node = lan
        .builder("node")
        .relay(&gone)
        .relay(&unnamed)
        .relay(&others)
        .open()
        .unwrap();
    let events = node.events();
    let mut missing = vec![
        (gone, RelayFault::Unreachable),
        (unnamed, RelayFault::Unresolved),
        (others, RelayFault::Protocol),
    ];
    let running = node.clone();
    let thread = thread::spawn(move || running.run());
    let twin = lan.builder("twin").start().unwrap();
    let echo = twin.call("__echo__").to("node").timeout(secs(20)).send();
    assert!(echo.is_ok(), "{echo:?}");
    twin.stop();
    until("all to have been tried", || {
        node.stats().relay_dials_failed >= 3
    });
    assert_eq!(node.stats().relays_up, 0);
    node.stop();
    assert_eq!(join(thread, "the node to end"), Ok(()));
    for event in last_events(&events) {
        if let Event::RelayDown { relay, why } = event {
            missing.retain(|m| *m != (relay.to_string(), why));
        }
    }
    assert_eq!(missing, [], "also those that happened while it started");
}

/// The network of [`Lan`].
fn test_network() -> NetworkName {
    NetworkName::new("test").unwrap()
}

#[test]
fn a_wrong_relay_key_is_an_event_and_the_right_one_lets_in() {
    let lan = Lan::new();
    let with = |key: &Key| {
        RelayServer::builder()
            .network("test", Some(RelayKey::derive(key, &test_network())))
            .start("127.0.0.1:0".parse().unwrap())
            .unwrap()
    };
    let (right, wrong) = (with(&lan.key), with(&Key::from_bytes([9; 32])));
    let at = [&right, &wrong].map(|r| r.address().to_string());
    // The LAN is on, so that the node need not wait for both.
    let node = lan
        .builder("node")
        .relay(&at[0])
        .relay(&at[1])
        .start()
        .unwrap();
    until("both to have answered", || {
        right.stats().joined == 1 && wrong.stats().accepted > 0
    });
    until("the node to know", || {
        node.stats().relays_up == 1 && node.stats().relay_dials_failed == 1
    });
    assert_eq!(wrong.stats().joined, 0);
    // Not again for a minute: nothing else is dialled meanwhile.
    assert_eq!(node.stats().relay_dials, 2);
}

/// A relay's doorway that keeps a copy of everything.
struct Tap {
    address: String,
    copy: Arc<Mutex<Vec<u8>>>,
}

fn tap(to: SocketAddr) -> Tap {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let copy = Arc::new(Mutex::new(Vec::new()));
    let kept = copy.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let near = stream.unwrap();
            let far = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
            let ways = [
                (near.try_clone().unwrap(), far.try_clone().unwrap()),
                (far, near),
            ];
            for (mut from, mut to) in ways {
                let kept = kept.clone();
                thread::spawn(move || {
                    let mut buf = [0; 4096];
                    while let Ok(n @ 1..) = from.read(&mut buf) {
                        kept.lock().unwrap().extend_from_slice(&buf[..n]);
                        if to.write_all(&buf[..n]).is_err() {
                            break;
                        }
                    }
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    Tap { address, copy }
}

/// Everything that a process has in memory that it may write, if this machine lets us look.
fn memory_of(process: u32) -> Option<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let maps = format!("/proc/{process}/maps");
    if !common::have("cat", &[&maps], "looking into a relay's memory") {
        return None;
    }
    let maps = std::fs::read_to_string(maps).unwrap();
    let memory = std::fs::File::open(format!("/proc/{process}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|l| l.contains(" rw")) {
        let (range, _) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|n| u64::from_str_radix(n, 16).unwrap());
        let mut region = vec![0; (to - from) as usize];
        if memory.read_exact_at(&mut region, from).is_ok() {
            all.extend_from_slice(&region);
        }
    }
    Some(all)
}

#[test]
fn what_looks_for_secrets_finds_them_however_they_are_written() {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    for before in ["", "x", "xy", "xyz"] {
        let text = format!("{before}the secret~~and more");
        for shown in [text.clone(), URL_SAFE.encode(&text), STANDARD.encode(&text)] {
            let look = || common::shows_nothing("text", shown.as_bytes(), &["the secret~~"]);
            assert!(std::panic::catch_unwind(look).is_err(), "{shown}");
        }
    }
}

#[test]
fn neither_a_capture_nor_the_memory_of_a_relay_shows_names_paths_or_payloads() {
    let lan = Lan::new();
    let key = RelayKey::derive(&lan.key, &test_network());
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--network",
        "test",
        "--relay-key",
        &key.to_text(),
    ];
    let (process, at) = Tool::relay(TOOL, &[], &args);
    let tap = tap(at.parse().unwrap());
    let secrets = [
        "confidential-sensor",
        "confidential-reader",
        "cellar.temperature",
        "the payload of it",
    ];
    let _sensor = far(&lan, secrets[0])
        .relay(&tap.address)
        .command(secrets[2], |call| {
            let arg = call.args().first().cloned();
            call.reply(arg)
        })
        .start()
        .unwrap();
    let reader = far(&lan, secrets[1]).relay(&tap.address).start().unwrap();
    for round in 1..40 {
        let said = secrets[3].repeat(round);
        let call = reader.call(secrets[2]).arg(said.as_str()).to(secrets[0]);
        assert_eq!(call.timeout(secs(20)).send().unwrap(), said.as_str());
    }
    let capture = tap.copy.lock().unwrap().clone();
    assert!(capture.len() > 20_000);
    common::shows_nothing("capture", &capture, &secrets);
    if let Some(memory) = memory_of(process.id()) {
        assert!(memory.len() > 100_000);
        let key = lan.key.to_text();
        common::shows_nothing("memory", &memory, &secrets);
        common::shows_nothing("memory", &memory, &[key.as_str()]);
    }
}

#[test]
fn a_relay_says_how_it_was_started_its_counters_when_asked_and_nothing_else() {
    let lan = Lan::new();
    // So few links that every process may have them.
    let few = ["--links", "10"];
    let (mut process, at) = Tool::relay(
        TOOL,
        &[],
        &[&["--listen", "127.0.0.1:0", "--network", "test"], &few[..]].concat(),
    );
    let node = far(&lan, "node").relay(&at).start().unwrap();
    let events = node.events();
    until("having joined", || node.stats().relays_up == 1);
    process.send_signal("USR1");
    let counters: serde_json::Value = serde_json::from_str(&process.hear()).unwrap();
    assert_eq!(
        (&counters["members"], &counters["networks"]),
        (&1.into(), &1.into())
    );
    assert!(process.signal("TERM").success());
    let down = wait_for_event(&events, "the goodbye", |e| {
        matches!(e, Event::RelayDown { .. })
    });
    assert!(
        matches!(
            down,
            Event::RelayDown {
                why: RelayFault::Refused(Refusal::Stopping),
                ..
            }
        ),
        "{down:?}"
    );
    assert!(process.says_no_more());
    // And back at the same place, members come by themselves.
    let (_again, again_at) = Tool::relay(TOOL, &[], &["--listen", &at, "--network", "test"]);
    assert_eq!(at, again_at);
    up(&events);
}

/// Links from an address of this host, which say nothing.
fn silent(from: u8, to: &str, count: usize) -> Vec<TcpStream> {
    let open = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let source: SocketAddr = ([127, 0, 0, from], 0).into();
        socket.bind(&source.into()).unwrap();
        let to: SocketAddr = to.parse().unwrap();
        socket.connect(&to.into()).unwrap();
        socket.into()
    };
    (0..count).map(open).collect()
}

#[test]
fn a_relay_has_descriptors_for_members_however_many_links_say_nothing() {
    let lan = Lan::new();
    let limited = |limits: &str| {
        let command = format!("ulimit {limits} && exec \"$0\" \"$@\"");
        let args = ["--listen", "127.0.0.1:0", "--links", "300"];
        Tool::relay("sh", &["-c", &command, TOOL], &args)
    };
    // As many as it needs, if it may; else so many that some are left.
    for (limits, least, most) in [("-S -n 64", 200, 300), ("-n 100", 40, 90)] {
        let (mut process, at) = limited(limits);
        let links: Vec<TcpStream> = (2..6).flat_map(|n| silent(n, &at, 50)).collect();
        let node = far(&lan, "node").relay(&at).start().unwrap();
        until("having joined", || node.stats().relays_up == 1);
        process.send_signal("USR1");
        let counters: serde_json::Value = serde_json::from_str(&process.hear()).unwrap();
        let open = counters["links"].as_u64().unwrap();
        assert!((least..=most).contains(&open), "{open} links with {limits}");
        assert_eq!(counters["accepted"], 201);
        drop(links);
        node.stop();
    }
}

#[test]
fn calls_in_flight_go_on_over_another_relay_when_theirs_is_killed() {
    let lan = Lan::new();
    let start = || Tool::relay(TOOL, &[], &["--listen", "127.0.0.1:0"]);
    let mut relays = [start(), start()];
    let at = [relays[0].1.clone(), relays[1].1.clone()];
    let runs = Arc::new(AtomicU64::new(0));
    let counted = runs.clone();
    let (give, take) = mpsc::channel();
    let both = |b: Builder| b.relay(&at[0]).relay(&at[1]);
    let callee = both(far(&lan, "callee"))
        .command("held", move |call: peerbase::Call| {
            counted.fetch_add(1, Ordering::Relaxed);
            give.send(call).unwrap();
        })
        .start()
        .unwrap();
    let caller = both(far(&lan, "caller")).start().unwrap();
    until("both relays", || {
        callee.stats().relays_up == 2 && caller.stats().relays_up == 2
    });
    assert!(
        caller
            .call("__echo__")
            .to("callee")
            .timeout(secs(20))
            .send()
            .is_ok()
    );
    let events = caller.events();
    let (done, wait) = mpsc::channel();
    for i in 0..64 {
        let done = done.clone();
        let call = caller.call("held").arg(i).to("callee").timeout(secs(60));
        call.send_async(move |result| done.send((i, result)).unwrap())
            .unwrap();
    }
    let held: Vec<_> = (0..64).map(|_| next(&take, "a call")).collect();
    let Some(Path::Relay(used)) = caller.peers()[0].path.clone() else {
        panic!("no relay")
    };
    let used = usize::from(used.as_str() == at[1]);
    relays[used].0.kill();
    let other = Path::Relay(at[1 - used].parse().unwrap());
    wait_for_event(
        &events,
        "the other path",
        |e| matches!(e, Event::PathChanged { path, .. } if *path == other),
    );
    for call in held {
        let arg = call.args().first().cloned();
        call.reply(arg).unwrap();
    }
    for _ in 0..64 {
        let (i, result) = next(&wait, "an answer");
        assert_eq!(result, Ok(i.into()));
    }
    assert_eq!(runs.load(Ordering::Relaxed), 64, "each ran once");
}

#[test]
fn nodes_that_find_each_other_on_the_lan_leave_the_relay() {
    let relay = relay();
    let at = relay.address().to_string();
    let lan = Lan::new();
    let a = lan.builder("a").relay(&at).start().unwrap();
    // This one is not on the LAN, but says where it can be found.
    let place = "127.0.0.1:0".parse().unwrap();
    let b = far(&lan, "b")
        .relay(&at)
        .listen(place)
        .advertise_address(place)
        .start()
        .unwrap();
    let direct = |n: &Node| n.peers().first().and_then(|p| p.path.clone()) == Some(Path::Direct);
    until("the direct path", || direct(&a) && direct(&b));
    assert!(a.call("__echo__").to("b").send().is_ok());
}

#[test]
fn a_learnt_relay_is_used_where_it_may_be_and_told_on_where_not() {
    let relay = relay();
    let at = relay.address().to_string();
    let lan = Lan::new();
    let _knows = lan.builder("knows").relay(&at).start().unwrap();
    let lan_only = lan.builder("lan-only").start().unwrap();
    let learns = lan.builder("learns").max_remotes(1).start().unwrap();
    until("it to be learnt", || learns.stats().relays_up == 1);
    assert_eq!(
        lan_only.stats().relay_dials,
        0,
        "who was given none uses none"
    );
    drop(_knows);
    until("it to be gone", || lan_only.peers().len() == 1);
    learns.stop();
    until("the other, too", || lan_only.peers().is_empty());
    let late = lan.builder("late").max_remotes(1).start().unwrap();
    until("being told of it", || late.stats().relays_up == 1);
}
