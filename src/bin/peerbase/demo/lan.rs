//! Nodes that find each other on a LAN: calls, names that are taken, and a restart.

use super::process::Process;
use super::{Network, PATIENCE, expect};
use crate::{Failure, Outcome};
use peerbase::{Error, Event, Events, Node, NodeName};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Waits until both sensors are there.
pub(super) fn discovery(node: &Node, events: &Events) -> Outcome {
    eprintln!("discovery");
    let began = Instant::now();
    while node.peers().iter().filter(|p| p.reachable).count() < 2 {
        if began.elapsed() > PATIENCE {
            return Err(Failure::Failed("the sensors were not found".into()));
        }
        events.next_timeout(Duration::from_millis(100));
    }
    eprintln!(
        "  ok  both sensors found {} ms after the name was ours",
        began.elapsed().as_millis()
    );
    Ok(())
}

/// Calls of one sensor, whose process this is, of both, and of everyone.
pub(super) fn calls(node: &Node, sensor_1: &Process) -> Outcome {
    eprintln!("calls");
    let value = read(node, "sensor-1")?;
    let what = "one: the answer came from the other process";
    expect(what, pid(&value), &sensor_1.id())?;
    let echo = node.call("__echo__").arg(1).kwarg("unit", "K");
    let echoed = json!({"args": [1], "kwargs": {"unit": "K"}});
    let what = "args and kwargs arrive";
    expect(what, echo.to("sensor-2").send()?, &echoed)?;
    let list = node.call("sensor.read").to_each(["sensor-1", "sensor-2"]);
    let answered = list.send_all()?.iter().filter(|r| r.result.is_ok()).count();
    expect("a list: both answered", answered, &2)?;
    let all = node.call("sensor.read").to_all();
    let answered = all.send_all()?.iter().filter(|r| r.result.is_ok()).count();
    expect("everyone: both answered", answered, &2)?;
    failures(node)?;
    let commands = node.get_commands("sensor-1", PATIENCE)?;
    expect(
        "its commands are listed",
        commands.contains(&"sensor.read".to_owned()),
        &true,
    )?;
    expect(
        "bytes come back as bytes",
        node.send_message("sensor-2", b"\0abc", PATIENCE)?,
        &b"cba\0".to_vec(),
    )
}

fn failures(node: &Node) -> Outcome {
    let failed = node.call("sensor.calibrate").to("sensor-1").send();
    expect(
        "a failure says why",
        failed,
        &Err(Error::CommandFailed("no reference attached".into())),
    )?;
    let missing = node.call("sensor.fly").to("sensor-1").send();
    expect(
        "an unknown command is named",
        missing,
        &Err(Error::CommandNotFound("sensor.fly".into())),
    )
}

fn read(node: &Node, sensor: &str) -> Result<Value, Error> {
    let call = node.call("sensor.read").to(sensor);
    call.timeout(PATIENCE).send()
}

/// The process that a reading comes from.
fn pid(value: &Value) -> Option<u64> {
    value["pid"].as_u64()
}

pub(super) fn taken_name(network: &Network) -> Outcome {
    eprintln!("a name is taken");
    let twin = network.builder("sensor-1").start();
    expect(
        "a second sensor-1 does not start",
        twin.err(),
        &Some(Error::NameTaken("sensor-1".into())),
    )
}

/// Kills the second sensor, and starts it again.
pub(super) fn restart(
    network: &Network,
    node: &Node,
    events: &Events,
    sensor_2: &Process,
) -> Outcome<Process> {
    eprintln!("a process is killed and started again");
    sensor_2.kill()?;
    let started = network.sensor("sensor-2")?;
    let restarted = Event::PeerRestarted(NodeName::new("sensor-2")?);
    wait_for(events, &restarted)?;
    let what = "the new process answers under the old name";
    expect(what, pid(&read(node, "sensor-2")?), &started.id())?;
    Ok(started)
}

fn wait_for(events: &Events, wanted: &Event) -> Outcome {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if events.next_timeout(PATIENCE).as_ref() == Some(wanted) {
            return Ok(());
        }
    }
    Err(Failure::Failed(format!("{wanted:?} did not happen")))
}
