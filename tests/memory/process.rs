//! A node and a relay in processes of their own that may have no more memory than a small gateway
//! gives them, under the worst that their limits allow.
//!
//! The processes are this program again, started through `prlimit` with a role in the environment.

use crate::common::{Lan, Tool, have, secs, until};
use crate::crowd::Member;
use peerbase::wire::relay::Route;
use peerbase::{Call, Key, Limits, Node, RelayLimits, RelayServer};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

pub(crate) const MIB: usize = 1024 * 1024;
const ROLE: &str = "PEERBASE_MEMORY_ROLE";
const KEY: &str = "PEERBASE_MEMORY_KEY";
const PORT: &str = "PEERBASE_MEMORY_PORT";
/// Answers of 24 000 bytes to each flooder, and bytes carried to slow readers, after which the
/// worst is over: what grows with what passes has then grown to more than what is allowed.
const FILLED: u64 = 400;
const CARRIED: u64 = 2 * 64 * MIB as u64;
/// The address of the relay through which a node is reached; it is on the LAN where this is not
/// set.
pub(crate) const RELAY: &str = "PEERBASE_MEMORY_RELAY";
const FLOODERS: usize = 4;
/// Members of the relay: enough that their windows are many times its queue for a reader.
const SENDERS: usize = 16;
const READERS: usize = 4;

/// A node for 16 MiB, of which two thread stacks take 4 and the rest of the process 2: the one of
/// the README. What a handler is given as a `Value` may take ninety times its text, so
/// `max_message` is what it is.
fn small_node() -> Limits {
    let mut limits = Limits::default();
    let readme = include_str!("../../README.md");
    for entry in readme.split("{PEERBASE_LIMIT_").skip(1) {
        let (name, rest) = entry.split_once(", ").unwrap();
        let factors = rest.split('}').next().unwrap().split(" * ");
        let value = factors.map(|n| n.parse::<u64>().unwrap()).product();
        let limit = name.to_lowercase().parse().unwrap();
        limits.set(limit, value).unwrap();
    }
    assert_eq!((limits.sessions, limits.max_message), (8, 32 * 1024));
    limits
}

/// A relay for 64 MiB: by default `queue` is 4 MiB for each of 16 384 links. It is larger here than
/// what a kernel takes at a time, some 1.3 MiB of a line that is full, so that what waits does not
/// go in one piece.
fn small_relay() -> RelayLimits {
    RelayLimits {
        networks: 4,
        // One address, which all members of the test share, has at most half of them.
        members: 64,
        links: 48,
        links_per_address: 48,
        queue: 2 * MIB,
        flows: 64,
        mailboxes: 16,
        mailbox_bytes: 512 * 1024,
        mailboxes_bytes: 2 * MIB,
        request_bytes: 512 * 1024,
        requests_bytes: 2 * MIB,
        ..RelayLimits::default()
    }
}

/// What the processes do; as a test of its own it does nothing.
#[test]
fn a_process_with_little_memory() {
    match std::env::var(ROLE).as_deref() {
        Ok("node") => be_a_node(),
        Ok("relay") => be_a_relay(),
        _ => {}
    }
}

/// Ends with its standard input, as whoever started it does.
fn wait_for_the_end() {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    std::process::exit(0);
}

fn be_a_node() {
    let key = Key::parse(&std::env::var(KEY).unwrap()).unwrap();
    let port = std::env::var(PORT).unwrap().parse().unwrap();
    let mut builder = Node::builder("small", "test", key).limits(small_node());
    if let Ok(relay) = std::env::var(RELAY) {
        // Few, so that tables are soon as full as they will be.
        let limits = Limits {
            peers: 32,
            ..small_node()
        };
        builder = builder.lan(false).relay(&relay).limits(limits);
    }
    let _node = builder
        .loopback(true)
        .advertise_port(port)
        .command("sum", sum)
        .command("fill", |call: Call| call.reply("x".repeat(24_000)))
        .command("take", |call: Call| {
            let count = call.args().len();
            call.reply(count)
        })
        .start()
        .unwrap();
    eprintln!("small is ready");
    wait_for_the_end();
}

/// Takes all that is streamed to it, and answers with how much it was.
fn sum(call: Call) {
    let (mut reader, _) = call.streams().unwrap();
    std::thread::spawn(move || {
        let _ = match std::io::copy(&mut reader, &mut std::io::sink()) {
            Ok(sum) => call.reply(sum),
            Err(e) => call.fail(&e.to_string()),
        };
    });
}

fn be_a_relay() {
    let relay = RelayServer::builder()
        .limits(small_relay())
        .start(SocketAddr::from(([127, 0, 0, 1], 0)))
        .unwrap();
    eprintln!("relay is ready at {}", relay.address());
    wait_for_the_end();
}

/// This program with a role and so much memory for its data.
pub(crate) fn program(role: &str, bytes: usize, lan: &Lan) -> Command {
    let mut command = Command::new("prlimit");
    command
        .arg(format!("--data={bytes}"))
        .arg("--")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "process::a_process_with_little_memory"])
        .args(["--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(KEY, lan.key.to_text())
        .env(PORT, lan.port.to_string());
    command
}

/// Starts it; what it says when it is ready.
pub(crate) fn start(role: &str, bytes: usize, lan: &Lan) -> (Tool, String) {
    Tool::start(program(role, bytes, lan))
}

/// A node whose program comes to it seldom: it reads steadily, but slowly.
fn read_slowly(node: &Node, until: &AtomicBool) {
    while !until.load(Relaxed) {
        node.process(Some(Duration::ZERO)).unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// As many calls as may be in flight, again and again, until it is over.
fn flood(node: &Node, target: &str, path: &str, args: &[serde_json::Value], done: &Arc<Flood>) {
    while !done.over.load(Relaxed) {
        if done.in_flight.load(Relaxed) >= 64 {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        let mut call = node.call(path).to(target).timeout(secs(20));
        for arg in args {
            call = call.arg(arg.clone());
        }
        let told = done.clone();
        done.in_flight.fetch_add(1, Relaxed);
        let begun = call.send_async(move |result| {
            told.in_flight.fetch_sub(1, Relaxed);
            let count = match result {
                Ok(_) => &told.answered,
                Err(_) => &told.failed,
            };
            count.fetch_add(1, Relaxed);
        });
        if begun.is_err() {
            done.in_flight.fetch_sub(1, Relaxed);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Runs when it is dropped, also when the test fails: threads that flood would keep it from ending.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[derive(Default)]
struct Flood {
    over: AtomicBool,
    in_flight: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Flood {
    fn report(&self, what: &str) {
        let (answered, failed) = (self.answered.load(Relaxed), self.failed.load(Relaxed));
        eprintln!("{what}: {answered} answered, {failed} turned away or failed");
    }
}

/// `[{"a":0},…]`, which as values takes the most for its length.
fn many_objects(bytes: usize) -> serde_json::Value {
    let one = serde_json::json!({"a": 0});
    vec![one; bytes / 8].into()
}

#[test]
fn a_node_lives_in_16_mib_under_the_worst_its_limits_allow() {
    if !have("prlimit", &["--version"], "bounding a process") {
        return;
    }
    let lan = Lan::new();
    let (mut small, _) = start("node", 16 * MIB, &lan);
    let over = AtomicBool::new(false);
    let floods: Vec<Arc<Flood>> = (0..FLOODERS).map(|_| Arc::default()).collect();
    let slow: Vec<Node> = (0..FLOODERS)
        .map(|i| lan.builder(&format!("slow{i}")).open().unwrap())
        .collect();
    std::thread::scope(|scope| {
        for node in &slow {
            scope.spawn(|| read_slowly(node, &over));
        }
        for (i, (node, done)) in slow.iter().zip(&floods).enumerate() {
            let args = match i {
                0 => vec![many_objects(30_000)],
                1 => vec!["y".repeat(30_000).into()],
                _ => Vec::new(),
            };
            let path = if i < 2 { "take" } else { "fill" };
            scope.spawn(move || flood(node, "small", path, &args, done));
        }
        let _end = Finally(|| {
            floods.iter().for_each(|f| f.over.store(true, Relaxed));
            over.store(true, Relaxed);
        });
        until("answers enough", || {
            let answered = |f: &Arc<Flood>| f.answered.load(Relaxed);
            floods.iter().all(|f| answered(f) > 0)
                && floods[2..].iter().all(|f| answered(f) >= FILLED)
        });
    });
    for (i, done) in floods.iter().enumerate() {
        done.report(&format!("flooder {i}"));
    }
    drop(slow);
    let after = lan.builder("after").start().unwrap();
    let text = after.call("fill").to("small").timeout(secs(30)).send();
    assert_eq!(text.unwrap().as_str().unwrap().len(), 24_000);
    drop(after);
    small.close_input();
    assert!(small.wait("to end when its input does").success());
}

#[test]
fn a_relay_lives_in_64_mib_under_the_worst_its_limits_allow() {
    if !have("prlimit", &["--version"], "bounding a process") {
        return;
    }
    let lan = Lan::new();
    let (mut small, ready) = start("relay", 64 * MIB, &lan);
    let address = ready.rsplit(' ').next().unwrap().to_owned();
    let at: SocketAddr = address.parse().unwrap();
    let member = |name: &str| lan.builder(name).lan(false).relay(&address);
    let fill = |call: Call| call.reply("x".repeat(45_000));
    let server = member("server").command("fill", fill).start().unwrap();
    let (over, passed) = (AtomicBool::new(false), AtomicU64::new(0));
    let readers: Vec<Member> = (0..READERS).map(|_| Member::join(at)).collect();
    let routes: Vec<Route> = readers.iter().map(|r| r.route.unwrap()).collect();
    std::thread::scope(|scope| {
        for reader in readers {
            scope.spawn(|| reader.read_slowly(&over, &passed));
        }
        for _ in 0..SENDERS {
            let sender = Member::join(at);
            scope.spawn(|| sender.send_to(&routes, &over));
        }
        let _end = Finally(|| over.store(true, Relaxed));
        until("bytes enough", || passed.load(Relaxed) >= CARRIED);
    });
    let after = member("after").start().unwrap();
    let call = after.call("fill").to("server").timeout(secs(30)).wait(true);
    assert_eq!(call.send().unwrap().as_str().unwrap().len(), 45_000);
    drop((after, server));
    small.close_input();
    assert!(small.wait("to end when its input does").success());
}
