//! Two nodes that are on no LAN, two relays between them, and one of these dies.

use super::process::Process;
use super::{Network, PATIENCE, expect};
use crate::{Failure, Outcome};
use peerbase::{Error, NetworkName, Node, Path, RelayKey};
use std::sync::mpsc;
use std::time::Instant;

/// Calls that are under way when the relay is killed.
const IN_FLIGHT: usize = 64;

/// A relay in a process of its own, and where it listens.
struct Relay {
    process: Process,
    address: String,
}

impl Relay {
    fn start(network: &Network) -> Outcome<Relay> {
        let name = NetworkName::new(&network.name)?;
        let key = RelayKey::derive(&network.key, &name);
        let (process, address) = Process::relay(&network.name, &key)?;
        Ok(Relay { process, address })
    }
}

/// The sensor that is far away, and the node that calls it.
struct Pair {
    far: Process,
    node: Node,
}

impl Pair {
    fn start(network: &Network, relays: [&str; 2]) -> Outcome<Pair> {
        let args = [
            "--network",
            &network.name,
            "--no-lan",
            "--relay",
            relays[0],
            "--relay",
            relays[1],
        ];
        let far = Process::start("sensor-far", &network.key.to_text(), &args)?;
        let node = Node::builder("outside", &network.name, network.key.clone())
            .loopback(true)
            .lan(false)
            .relay(relays[0])
            .relay(relays[1])
            .start()?;
        Ok(Pair { far, node })
    }

    /// Calls the sensor, and expects the answer of its process.
    fn expect_answer(&self, what: &str) -> Outcome {
        let call = self.node.call("sensor.read").to("sensor-far");
        let value = call.timeout(PATIENCE).send()?;
        expect(what, value["pid"].as_u64(), &self.far.id())
    }

    /// Waits until each of the two nodes has joined both relays.
    fn wait_for_relays(&self) -> Outcome {
        let began = Instant::now();
        let both_up = || -> Result<bool, Error> {
            let call = self.node.call("demo.relays").to("sensor-far");
            let there = call.timeout(PATIENCE).send()?;
            Ok(self.node.stats().relays_up == 2 && there == 2)
        };
        while !both_up()? {
            if began.elapsed() > PATIENCE {
                return Err(Failure::Failed("the relays were not joined".into()));
            }
        }
        Ok(())
    }

    /// The address of the relay on the path to the sensor.
    fn used_relay(&self) -> Outcome<String> {
        let path = self.node.peers().into_iter().next().and_then(|p| p.path);
        match path {
            Some(Path::Relay(used)) => Ok(used.as_str().to_owned()),
            path => Err(Failure::Failed(format!("the path is {path:?}"))),
        }
    }
}

pub(super) fn run(network: &Network) -> Outcome {
    eprintln!("relays, for nodes that cannot see each other");
    let relays = [Relay::start(network)?, Relay::start(network)?];
    let pair = Pair::start(network, [&relays[0].address, &relays[1].address])?;
    pair.expect_answer("a call through a relay is answered")?;
    pair.wait_for_relays()?;
    let used = pair.used_relay()?;
    eprintln!("  ok  its path is relay {used}");
    let used = &relays[usize::from(used == relays[1].address)];
    failover(&pair, used)?;
    pair.node.stop();
    Ok(())
}

/// Kills the relay that is used while calls are under way.
fn failover(pair: &Pair, used: &Relay) -> Outcome {
    eprintln!("that relay is killed with calls under way");
    let (done, wait) = mpsc::channel();
    for i in 0..IN_FLIGHT {
        let done = done.clone();
        let call = pair.node.call("__echo__").arg(i).to("sensor-far");
        call.timeout(PATIENCE).send_async(move |result| {
            let _ = done.send(result.is_ok_and(|v| v["args"][0] == i));
        })?;
    }
    used.process.kill()?;
    let killed = Instant::now();
    pair.expect_answer("the next call goes over the other one")?;
    eprintln!(
        "  ok  {:.1} ms after the kill",
        killed.elapsed().as_secs_f64() * 1e3
    );
    let answers = (0..IN_FLIGHT).filter(|_| wait.recv_timeout(PATIENCE) == Ok(true));
    expect(
        "every call that was under way is answered",
        answers.count(),
        &IN_FLIGHT,
    )
}
