//! The real PeerBase 0.7.1 with its own kind and with ours: `cargo bench --bench legacy`, as root,
//! with PEERBASE_PYTHON naming an interpreter that has the package. Ratios of one run; the client
//! is Python's each time.

#[path = "../tests/common/mod.rs"]
mod common;

use common::Lan;
use common::python::{Hosts, Python};
use serde_json::json;
use std::time::Duration;

/// Calls of one measurement; they are taken in turns.
const CALLS: usize = 100;
const TURNS: usize = 5;
/// Calls through a relay, and seconds between them at most.
const RELAYED: usize = 40;
const PAUSE: f64 = 0.8;
/// Python processes that ask a relay at a time.
const CLIENTS: usize = 4;
const SECONDS: usize = 3;

/// Milliseconds of a Python node's call, the median of so many.
fn round_trip(python: &mut Python, target: &str, count: usize, pause: f64) -> f64 {
    let question = json!({"ask": "bench", "count": count, "pause": pause, "command_path": "__echo__", "args": [1], "target": target});
    let (took, _) = python.ask(&question);
    took[1].as_f64().expect("seconds") * 1e3
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// A Python node calls its own kind and ours, on the LAN.
fn calls(hosts: &Hosts) {
    let lan = Lan::new();
    let mut caller = hosts.python(0, "caller", &lan, json!({}));
    let _theirs = hosts.python(1, "theirs", &lan, json!({}));
    let _ours = hosts.node(1, "ours", &lan, &[]);
    caller.wait_for_peer("theirs");
    caller.wait_for_peer("ours");
    let mut took: [Vec<f64>; 2] = Default::default();
    for _ in 0..TURNS {
        for (took, target) in took.iter_mut().zip(["theirs", "ours"]) {
            took.push(round_trip(&mut caller, target, CALLS, 0.0));
        }
    }
    let [theirs, ours] = took.map(median);
    println!(
        "call on the LAN: Python to Python {theirs:.2} ms, to ours {ours:.2} ms; {:.2} times as fast",
        theirs / ours
    );
}

/// Python clients ask both relays.
fn requests(hosts: &Hosts, theirs: &str, ours: &str) {
    let lan = Lan::new();
    let client = |i: usize| {
        hosts.python(
            0,
            &format!("c{i}"),
            &lan,
            json!({"local": false, "servers": []}),
        )
    };
    let mut clients: Vec<Python> = (0..CLIENTS).map(client).collect();
    let mut rates: [Vec<f64>; 2] = Default::default();
    for _ in 0..TURNS {
        for (rates, relay) in rates.iter_mut().zip([theirs, ours]) {
            let question = json!({"ask": "requests", "seconds": SECONDS, "relay": relay});
            let total = std::thread::scope(|scope| {
                let ask = |c| scope.spawn(|| Python::ask(c, &question).0.as_f64().expect("a rate"));
                let asked: Vec<_> = clients.iter_mut().map(ask).collect();
                asked
                    .into_iter()
                    .map(|t| t.join().expect("an answer"))
                    .sum()
            });
            rates.push(total);
        }
    }
    let [theirs, ours] = rates.map(median);
    println!(
        "requests of {CLIENTS} Python clients: relay.py {theirs:.0}/s, ours {ours:.0}/s; {:.1} times as many",
        ours / theirs
    );
}

/// Calls through both relays, with Python or ours at the other end.
fn relayed(hosts: &Hosts, relays: [(&str, &str); 2]) {
    for (what, at) in relays {
        let lan = Lan::new();
        let settings = json!({"local": false, "servers": [at]});
        let mut caller = hosts.python(0, "caller", &lan, settings.clone());
        let _theirs = hosts.python(1, "theirs", &lan, settings);
        let _ours = hosts.node(1, "ours", &lan, &["--no-lan", "--compat-relay", at]);
        for target in ["theirs", "ours"] {
            caller.wait_for_peer(target);
            let took = round_trip(&mut caller, target, RELAYED, PAUSE);
            println!("call through {what}: Python to {target} {took:.0} ms");
        }
        // The other way: the median of calls of ours.
        let mut ours = hosts.node(0, "asks", &lan, &["--no-lan", "--compat-relay", at]);
        for target in ["theirs", "ours"] {
            let ask = |ours: &mut common::Tool, i: u32| {
                // Anywhere between two of the other's questions.
                std::thread::sleep(Duration::from_secs_f64(
                    PAUSE * f64::from(i * 7 % 11) / 11.0,
                ));
                let begun = std::time::Instant::now();
                ours.say(&format!("call {target} __echo__ 1"));
                // Longer than the console waits for a call.
                let answer = ours.hear_within(Duration::from_secs(15));
                answer.map(|_| begun.elapsed().as_secs_f64() * 1e3)
            };
            ask(&mut ours, 0);
            let all = (0..RELAYED).map(|i| ask(&mut ours, i as u32));
            let took: Vec<f64> = all.flatten().collect();
            let lost = RELAYED - took.len();
            let took = median(took);
            println!(
                "call through {what}: ours to {target} {took:.1} ms, {lost} of {RELAYED} lost"
            );
        }
    }
}

fn main() {
    let Some(hosts) = Hosts::new("b") else {
        return;
    };
    calls(&hosts);
    let (_python, theirs) = hosts.python_relay();
    let (_relay, ours) = hosts.relay();
    requests(&hosts, &theirs, &ours);
    relayed(&hosts, [("relay.py", &theirs), ("our relay", &ours)]);
}
