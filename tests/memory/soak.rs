//! A node and a relay in processes of their own, under steady load for long: what they hold once
//! their tables are full is what they hold at the end.

use crate::common::{Lan, Tool, have, number, secs};
use crate::process::{MIB, RELAY, program, start};
use peerbase::{Error, Node};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

/// Seconds unless `PEERBASE_SOAK_SECONDS` says how many.
const SECONDS: u64 = 600;
/// Those that call the node all the while.
const MEMBERS: usize = 3;
/// Between two rounds of calls of a member: all members together send fewer broadcasts than the
/// rate limit allows, also where each comes over every link.
const PAUSE: Duration = Duration::from_millis(30);
const SAMPLES_EACH: Duration = Duration::from_millis(100);
/// Bytes that are streamed in each round.
const STREAMED: usize = 100_000;
/// Bytes by which the most of the last quarter may be above that of the third: a few buffers more
/// at one moment than at another, and what the allocator has split.
const ALLOWANCE: usize = 384 * 1024;

/// One call of each kind.
fn round(node: &Node) -> Result<(), Error> {
    let call = |path| node.call(path).to("small").timeout(secs(60)).wait(true);
    assert_eq!(call("take").arg("y".repeat(10_000)).send()?, 1);
    assert_eq!(call("fill").send()?.as_str().unwrap().len(), 24_000);
    assert!(matches!(
        call("none").send(),
        Err(Error::CommandNotFound(_))
    ));
    let mut stream = call("sum").stream()?;
    let written = stream.write_all(&vec![b's'; STREAMED]);
    // Where the call has ended early, this is why.
    assert_eq!(stream.value()?, STREAMED);
    written.map_err(|e| Error::io("streaming", &e))?;
    let report = node.broadcast(b"still here", secs(60))?;
    assert!(report.delivered > 0, "{report:?}");
    Ok(())
}

/// Calls until it is over; how many rounds. The node is so small that it may turn a call away, as
/// those of all members come over one relay.
fn call_steadily(node: &Node, over: &AtomicBool) -> Result<u64, Error> {
    let mut rounds = 0;
    while !over.load(Relaxed) {
        match round(node) {
            Err(Error::Overloaded(_)) => {}
            done => {
                done?;
                rounds += 1;
            }
        }
        std::thread::sleep(PAUSE);
    }
    Ok(rounds)
}

/// Nodes that come under new names, call once and leave, until it is over; how many.
fn come_and_go(lan: &Lan, relay: &str, over: &AtomicBool) -> Result<u64, Error> {
    let mut visitors = 0;
    while !over.load(Relaxed) {
        let name = format!("visitor{visitors}");
        let node = lan.builder(&name).lan(false).relay(relay).start()?;
        let call = node.call("take").to("small").timeout(secs(60)).wait(true);
        call.send()?;
        visitors += 1;
    }
    Ok(visitors)
}

/// Bytes of memory of its own that a process has.
fn memory_of(tool: &Tool) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", tool.pid())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<usize>().unwrap() * 1024
}

/// The most that each of them has at any moment of so long a time, which ends early if a thread of
/// these does.
fn most_of<T>(time: Duration, of: &[Tool; 2], threads: &[ScopedJoinHandle<'_, T>]) -> [usize; 2] {
    let end = Instant::now() + time;
    let mut most = [0; 2];
    while Instant::now() < end && !threads.iter().any(ScopedJoinHandle::is_finished) {
        for (most, tool) in most.iter_mut().zip(of) {
            *most = memory_of(tool).max(*most);
        }
        std::thread::sleep(SAMPLES_EACH);
    }
    most
}

#[test]
#[ignore = "soak"]
fn a_node_and_a_relay_under_steady_load_hold_no_more_as_time_passes() {
    if !have("prlimit", &["--version"], "bounding a process") {
        return;
    }
    let quarter = secs(number("PEERBASE_SOAK_SECONDS", SECONDS)) / 4;
    let lan = Lan::new();
    let (relay, ready) = start("relay", 64 * MIB, &lan);
    let address = ready.rsplit(' ').next().unwrap();
    let mut command = program("node", 16 * MIB, &lan);
    command.env(RELAY, address);
    let (small, _) = Tool::start(command);
    let processes = [small, relay];
    let member = |i| lan.builder(&format!("member{i}")).lan(false).relay(address);
    let members: Vec<Node> = (0..MEMBERS).map(|i| member(i).start().unwrap()).collect();
    let over = AtomicBool::new(false);
    let (most, rounds) = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for node in &members {
            threads.push(scope.spawn(|| call_steadily(node, &over)));
        }
        threads.push(scope.spawn(|| come_and_go(&lan, address, &over)));
        let most = [0; 4].map(|_| {
            let most = most_of(quarter, &processes, &threads);
            eprintln!(
                "a quarter: at most {} bytes in the node and {} in the relay",
                most[0], most[1]
            );
            most
        });
        over.store(true, Relaxed);
        let rounds = threads.into_iter().map(|t| t.join().unwrap().unwrap());
        (most, rounds.collect::<Vec<u64>>())
    });
    eprintln!("rounds of each member, and visitors: {rounds:?}");
    assert!(
        rounds.iter().all(|n| *n > 0),
        "nothing was called: {rounds:?}"
    );
    for (i, who) in ["node", "relay"].iter().enumerate() {
        let of = most.map(|m| m[i]);
        assert!(of[3] <= of[2] + ALLOWANCE, "the {who} grows: {of:?}");
    }
    drop(members);
    for mut process in processes {
        process.close_input();
        assert!(process.wait("to end when its input does").success());
    }
}
