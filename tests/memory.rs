//! Memory is bounded by what the limits add up to, whatever passes and however long: engines and a
//! hub whose readers are steady but slow, and whole processes under `RLIMIT_DATA`.

#[path = "common/mod.rs"]
mod common;
#[path = "memory/crowd.rs"]
mod crowd;
#[path = "memory/heap.rs"]
mod heap;
#[allow(dead_code)] // the churn uses all of it
#[path = "memory/net.rs"]
mod net;
#[path = "memory/process.rs"]
mod process;
#[path = "memory/relayed.rs"]
mod relayed;
#[path = "memory/soak.rs"]
mod soak;
#[path = "memory/sums.rs"]
mod sums;

use heap::{MEASURED, OTHERS};
use net::{Net, Rng, name, secs, terms};
use peerbase::Limits;
use peerbase::engine::Ask;
use peerbase::error::Error;
use peerbase::name::CommandPath;
use peerbase::wire::record::Status;
use std::time::Duration;

/// Peers of the node that is measured.
const PEERS: usize = 6;
/// What passes: many times what may be kept.
const PASSED: usize = 96 * 1024 * 1024;
/// Bytes that a slow reader reads of a link in a millisecond: far less than is offered to it.
const SLOW: usize = 12_000;
/// What fits one record, and what does not.
const SHORT: usize = 40_000;
const LARGE: usize = 200_000;
/// Calls of one peer that are in flight.
const OPEN: usize = 16;

#[test]
fn the_allocator_counts_for_each_owner() {
    let (before, others) = (heap::live(MEASURED), heap::live(OTHERS));
    let mut bytes = heap::owned(MEASURED, || Vec::<u8>::with_capacity(1_000));
    assert_eq!(heap::live(MEASURED) - before, 1_000);
    // Whoever makes it grow, it is allocated anew by them.
    heap::owned(OTHERS, || bytes.reserve_exact(2_000));
    assert_eq!(heap::live(MEASURED), before);
    assert_eq!(heap::live(OTHERS) - others, 2_000);
    assert!(heap::peak(MEASURED) >= before + 1_000);
    drop(bytes);
    assert_eq!(heap::live(OTHERS), others);
}

/// The limits of a gateway, small enough that what passes is many times their sum.
fn limits() -> Limits {
    Limits {
        max_message: 256 * 1024,
        message_bytes: 1024 * 1024,
        call_bytes: 1024 * 1024,
        reply_bytes: 512 * 1024,
        stream_window: 64 * 1024,
        streams: 32,
        sessions: 16,
        half_open: 16,
        served_per_peer: OPEN,
        ..Limits::default()
    }
}

/// A node that is measured, and slow readers that know it.
fn star(slow: bool) -> (Net, usize, Vec<usize>) {
    let mut net = Net::new(1);
    let hub = net.host(MEASURED);
    let others = Limits {
        sessions: 64,
        ..Limits::default()
    };
    net.start_node(hub, "hub", &[], (secs(5), &limits()));
    let peers: Vec<usize> = (0..PEERS).map(|_| net.host(OTHERS)).collect();
    for (i, peer) in peers.iter().enumerate() {
        net.start_node(*peer, &format!("peer{i}"), &[], (secs(5), &others));
    }
    net.run(secs(5));
    for peer in &peers {
        // So many a link as sessions are there; only those from the node matter.
        net.hosts[*peer].reads = slow.then_some(SLOW);
    }
    (net, hub, peers)
}

fn call(net: &mut Net, from: usize, target: &str, asks: usize) -> Result<(), Error> {
    let number = net.engine(from, |engine, now| {
        let args = vec![b'1'; asks];
        let (path, kwargs) = (CommandPath::new("p").unwrap(), b"{}".to_vec());
        let ask = Ask::Command { path, args, kwargs };
        engine.call(now, &name(target), ask, terms(secs(30)))
    });
    net.begun(from, number.clone());
    number.map(drop)
}

/// Answers everything that a host was asked, with so much, now and then much more; how much that
/// was.
fn answer(net: &mut Net, host: usize, rng: &mut Rng, bytes: usize) -> usize {
    let mut sum = 0;
    while let Some(request) = net.hosts[host].requests.pop_front() {
        let id = request.id;
        heap::owned(MEASURED, || drop(request));
        let bytes = if bytes > 1_000 && rng.below(8) == 0 {
            LARGE
        } else {
            bytes
        };
        net.engine(host, |engine, now| {
            engine.reply(now, id, Status::Value, vec![b'2'; bytes]);
        });
        sum += bytes;
    }
    sum
}

/// Lets traffic pass until it is enough. `offer` begins more of it.
fn pass(net: &mut Net, mut offer: impl FnMut(&mut Net)) -> usize {
    let (mut passed, mut rounds) = (0, 0);
    while passed < PASSED {
        offer(net);
        passed += net.trickle();
        net.run(Duration::from_millis(1));
        net.hosts.iter_mut().for_each(|h| h.ended.clear());
        rounds += 1;
        assert!(rounds < 20_000, "only {passed} bytes have passed");
    }
    passed
}

fn check(what: &str, peak: usize, sum: usize, passed: usize) {
    eprintln!("{what}: at most {peak} bytes of {sum} allowed, while {passed} passed");
    assert!(
        passed > 4 * sum,
        "too little has passed to show anything: {passed} of {sum}"
    );
    assert!(
        peak <= sum,
        "{what}: {peak} bytes at the highest, and the limits add up to {sum}"
    );
}

#[test]
fn what_a_node_answers_to_slow_readers_stays_within_its_limits() {
    let (mut net, hub, peers) = star(true);
    let mut rng = Rng(7);
    let passed = pass(&mut net, |net| {
        for peer in &peers {
            while net.hosts[*peer].open.len() < OPEN {
                call(net, *peer, "hub", 10).unwrap();
            }
        }
        answer(net, hub, &mut rng, SHORT);
    });
    let sum = sums::of_a_node(&limits(), PEERS);
    check("answers", heap::peak(MEASURED), sum, passed);
}

#[test]
fn what_a_node_asks_of_slow_readers_stays_within_its_limits() {
    let (mut net, hub, peers) = star(true);
    let mut rng = Rng(7);
    let passed = pass(&mut net, |net| {
        // Until the node says that it is enough.
        for i in 0.. {
            let bytes = if i % 8 == 0 { LARGE } else { SHORT };
            if call(net, hub, &format!("peer{}", i % PEERS), bytes).is_err() {
                break;
            }
        }
        for peer in &peers {
            answer(net, *peer, &mut rng, 10);
        }
    });
    let sum = sums::of_a_node(&limits(), PEERS);
    check("calls", heap::peak(MEASURED), sum, passed);
}

#[test]
fn what_a_node_is_asked_stays_within_its_limits() {
    let (mut net, hub, peers) = star(false);
    net.hosts[hub].reads = Some(SLOW);
    let mut rng = Rng(7);
    let (mut round, mut handled) = (0, 0);
    let passed = pass(&mut net, |net| {
        for peer in &peers {
            for i in 0..4 {
                let bytes = if i == 0 { LARGE } else { SHORT };
                if net.hosts[*peer].open.len() < OPEN {
                    call(net, *peer, "hub", bytes).unwrap();
                }
            }
        }
        round += 1;
        if round % 2 == 0 {
            handled += answer(net, hub, &mut rng, 10);
        }
    });
    assert!(handled > 0);
    let sum = sums::of_a_node(&limits(), PEERS);
    check("requests", heap::peak(MEASURED), sum, passed);
}
