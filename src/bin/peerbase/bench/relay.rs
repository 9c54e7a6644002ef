//! Through a relay, against straight: round trips, failover, forwarding, and what members cost.

use super::forwarding;
use super::process::{Network, Process, own_name, resident_kib, setting};
use super::{Report, percentiles};
use crate::{Failure, Outcome};
use peerbase::{Builder, Node, Path, RelayLimits, RelayServer};
use serde_json::{Map, Value};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const RELAYS_VARIABLE: &str = "PEERBASE_BENCH_RELAYS";
const ADDRESS_VARIABLE: &str = "PEERBASE_BENCH_ADDRESS";
const BODY: usize = 64;
const ROUNDS: usize = 40;
const CALLS: usize = 250;
const IN_FLIGHT: usize = 64;
const FAILOVERS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(20);

/// A relay in a process of its own, with room for the whole benchmark.
pub(super) fn server() -> Outcome {
    let limits = RelayLimits {
        bytes_per_second: u32::MAX,
        burst: u32::MAX,
        links_per_address: 20_000,
        links: 20_000,
        ..RelayLimits::default()
    };
    let address: SocketAddr = setting(ADDRESS_VARIABLE)?
        .parse()
        .map_err(|_| Failure::Usage("bad address".into()))?;
    let relay = RelayServer::builder().limits(limits).start(address)?;
    println!("{}", relay.address());
    relay.wait()?;
    Ok(())
}

fn start_relay(address: &str) -> Outcome<(Process, String)> {
    Process::start("relay-server", &[(ADDRESS_VARIABLE, address)])
}

/// A node that echoes, straight or through relays, and counts what it runs.
pub(super) fn peer() -> Outcome {
    let network = Network::of_parent()?;
    let relays = setting(RELAYS_VARIABLE)?;
    let runs = Arc::new(AtomicU64::new(0));
    let counted = runs.clone();
    let builder = builder(&network, &own_name()?, &relays)
        .command("count", move |call| {
            counted.fetch_add(1, Ordering::Relaxed);
            let arg = call.args().first().cloned();
            call.reply(arg)
        })
        .command("runs", move |call| call.reply(runs.load(Ordering::Relaxed)));
    let mut registered = Ok(());
    builder.run(|node| {
        let of_node = node.clone();
        registered = node.register("relays", move |call| call.reply(of_node.stats().relays_up));
        println!("ready");
    })?;
    Ok(registered?)
}

/// A node of the benchmark: on the LAN of this host, or with relays and without it.
fn builder(network: &Network, name: &str, relays: &str) -> Builder {
    let mut builder = network.builder(name).lan(relays.is_empty());
    for relay in relays.split(',').filter(|r| !r.is_empty()) {
        builder = builder.relay(relay);
    }
    builder
}

fn start_peer(network: &Network, name: &str, relays: &str) -> Outcome<Process> {
    let relays = [(RELAYS_VARIABLE, relays)];
    Ok(network.start("relay-peer", name, &relays)?.0)
}

fn echo(node: &Node, peer: &str, text: &str) -> Outcome {
    node.call("__echo__")
        .arg(text)
        .to(peer)
        .timeout(PATIENCE)
        .send()?;
    Ok(())
}

pub(super) fn run(report: &mut Report) -> Outcome {
    round_trips_on_one_core(report)?;
    round_trips(report)?;
    failover(report)?;
    forwarding::run(report, || start_relay("127.0.0.1:0"))?;
    members(report)
}

/// The same with every process on one core, if there is `taskset`. On two or more the scheduler
/// keeps a pair that talks straight together, and spreads three: what is measured then is how long
/// a halted core takes to wake.
fn round_trips_on_one_core(report: &mut Report) -> Outcome {
    let program = std::env::current_exe()?;
    let mut command = Command::new("taskset");
    command
        .args(["-c", "0"])
        .arg(program)
        .args(["bench", "relay-round-trips", "--json"]);
    let output = match command.output() {
        Ok(output) if output.status.success() => output,
        _ => return Ok(()),
    };
    let lines: Map<String, Value> = serde_json::from_slice(&output.stdout)
        .map_err(|e| Failure::Failed(format!("the benchmark on one core: {e}")))?;
    for (name, value) in lines {
        let (name, unit) = name
            .trim_end_matches(')')
            .rsplit_once(" (")
            .unwrap_or((&name, ""));
        let value = value.as_f64().unwrap_or(0.0);
        report.add(&format!("{name}, on one core"), value, unit);
    }
    Ok(())
}

pub(super) fn round_trips(report: &mut Report) -> Outcome {
    let network = Network::new()?;
    let (_relay, at) = start_relay("127.0.0.1:0")?;
    let _straight = start_peer(&network, "straight", "")?;
    let _relayed = start_peer(&network, "relayed", &at)?;
    let near = builder(&network, "near", "").open()?;
    let far = builder(&network, "far", &at).open()?;
    let text = "x".repeat(BODY);
    let (mut direct, mut relayed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (node, peer, times) in [
            (&near, "straight", &mut direct),
            (&far, "relayed", &mut relayed),
        ] {
            echo(node, peer, &text)?;
            for _ in 0..CALLS {
                let start = Instant::now();
                echo(node, peer, &text)?;
                times.push(start.elapsed());
            }
        }
    }
    let ((direct50, direct99), (relay50, relay99)) = (percentiles(direct), percentiles(relayed));
    report.add("relay 64 B straight, p50", direct50, "us");
    report.add("relay 64 B straight, p99", direct99, "us");
    report.add("relay 64 B through a relay, p50", relay50, "us");
    report.add("relay 64 B through a relay, p99", relay99, "us");
    report.add(
        "relay 64 B through a relay / straight, p50",
        relay50 / direct50,
        "ratio",
    );
    Ok(())
}

/// Two relays in processes of their own, and where they listen, also when they come back.
struct Relays {
    running: [Option<Process>; 2],
    places: [String; 2],
}

impl Relays {
    fn start() -> Outcome<Relays> {
        let place = || TcpListener::bind("127.0.0.1:0")?.local_addr();
        let places = [place()?.to_string(), place()?.to_string()];
        let [one, other] = &places;
        let running = [Some(start_relay(one)?.0), Some(start_relay(other)?.0)];
        Ok(Relays { running, places })
    }

    /// The one on the path to the first of a node's peers.
    fn used_by(&self, node: &Node) -> Outcome<usize> {
        let peers = node.peers();
        match peers.first().and_then(|p| p.path.clone()) {
            Some(Path::Relay(used)) => Ok(usize::from(used.as_str() == self.places[1])),
            Some(_) => Err(Failure::Failed("the path is no relay".into())),
            None => Err(Failure::Failed("the peer is gone".into())),
        }
    }

    fn kill(&mut self, relay: usize) {
        self.running[relay] = None;
    }

    fn restart(&mut self, relay: usize) -> Outcome {
        self.running[relay] = Some(start_relay(&self.places[relay])?.0);
        Ok(())
    }
}

/// Calls that were under way when a relay was killed.
struct Failover {
    /// From the kill to the next answer over the other relay.
    took: Duration,
    lost: u64,
}

/// A relay is killed with calls under way, again and again; each time the other one takes over.
fn failover(report: &mut Report) -> Outcome {
    let network = Network::new()?;
    let mut relays = Relays::start()?;
    let both = relays.places.join(",");
    let _peer = start_peer(&network, "peer", &both)?;
    let node = builder(&network, "node", &both).start()?;
    echo(&node, "peer", "x")?;
    let (mut longest, mut lost) = (Duration::ZERO, 0);
    for _ in 0..FAILOVERS {
        let killed = kill_under_calls(&node, &mut relays)?;
        longest = longest.max(killed.took);
        lost += killed.lost;
    }
    let runs = node.call("runs").to("peer").timeout(PATIENCE).send()?;
    report.add(
        "relay failovers with 64 calls in flight",
        FAILOVERS as f64,
        "times",
    );
    report.add("relay failover, calls lost", lost as f64, "calls");
    let begun = (FAILOVERS * IN_FLIGHT) as f64;
    let repeated = runs.as_u64().unwrap_or(0) as f64 - begun;
    report.add("relay failover, runs more than calls", repeated, "runs");
    report.add(
        "relay killed to next answer over the other, longest",
        longest.as_secs_f64() * 1e3,
        "ms",
    );
    Ok(())
}

/// Kills the relay that is used while calls are under way, and starts it again.
fn kill_under_calls(node: &Node, relays: &mut Relays) -> Outcome<Failover> {
    let used = relays.used_by(node)?;
    let (done, wait) = mpsc::channel();
    for i in 0..IN_FLIGHT {
        let done = done.clone();
        let call = node.call("count").arg(i).to("peer").timeout(PATIENCE);
        call.send_async(move |result| {
            let _ = done.send(result.is_ok_and(|value| value == i));
        })?;
    }
    relays.kill(used);
    let killed = Instant::now();
    echo(node, "peer", "x")?;
    let took = killed.elapsed();
    let answers = (0..IN_FLIGHT).map(|_| wait.recv_timeout(PATIENCE).unwrap_or(false));
    let lost = answers.filter(|answered| !answered).count() as u64;
    relays.restart(used)?;
    wait_for_both(node)?;
    Ok(Failover { took, lost })
}

/// Waits until both nodes are at both relays, so that either may be killed.
fn wait_for_both(node: &Node) -> Outcome {
    let up = Instant::now();
    loop {
        let at_peer = node.call("relays").to("peer").timeout(PATIENCE).send()?;
        if node.stats().relays_up == 2 && at_peer == 2 {
            return Ok(());
        }
        if up.elapsed() > PATIENCE {
            return Err(Failure::Failed("the nodes did not come back".into()));
        }
    }
}

/// What idle members cost.
fn members(report: &mut Report) -> Outcome {
    let (relay, at) = start_relay("127.0.0.1:0")?;
    let empty = resident_kib(Some(relay.id()));
    let members = forwarding::idle_members(&at, 10_000)?;
    let full = resident_kib(Some(relay.id()));
    let count = members.len() as f64;
    report.add("relay idle members joined", count, "members");
    report.add(
        "relay memory for each of them",
        (full - empty) / count,
        "KiB",
    );
    Ok(())
}
