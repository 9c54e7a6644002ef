//! `peerbase demo`: nodes in processes of their own on this host, and every path between them shown
//! working. All traffic stays on 127.0.0.0/8.

use crate::options::KEY_VARIABLE;
use crate::{Failure, Outcome, options, signals};
use lexopt::{Arg, ValueExt};
use peerbase::{Entropy, Error, Event, Events, Key, Node, OsEntropy};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn run(mut parser: lexopt::Parser) -> Outcome {
    let mut serve = None;
    let options = options::parse(&mut parser, |arg, parser| match arg {
        // How the demo starts its other processes.
        Arg::Long("serve") => {
            serve = Some(parser.value()?.string()?);
            Ok(())
        }
        arg => Err(arg.unexpected().into()),
    })?;
    match serve {
        Some(name) => sensor(&name, options),
        None => demo(),
    }
}

/// One of the other processes: serves until it is asked to end.
fn sensor(name: &str, options: options::Options) -> Outcome {
    let builder = options
        .builder(name)?
        .command("sensor.read", |call| {
            call.reply(json!({"celsius": 21.5, "pid": std::process::id()}))
        })
        .command("sensor.calibrate", |call| {
            call.fail("no reference attached")
        })
        .on_message(|message| {
            let mut data = message.data().to_vec();
            data.reverse();
            message.reply(&data)
        });
    builder.run(|node| {
        let node = node.clone();
        println!("ready");
        if signals::on_stop(move || node.stop()).is_err() {
            eprintln!("peerbase: cannot watch for signals");
        }
    })?;
    Ok(())
}

struct Process(Child);

impl Process {
    fn start(name: &str, network: &str, key: &str, port: &str) -> Outcome<Process> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "demo",
                "--serve",
                name,
                "--network",
                network,
                "--loopback",
                "--advertise-port",
                port,
            ])
            .env(KEY_VARIABLE, key)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.as_mut() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let process = Process(child);
        if line.trim() == "ready" {
            Ok(process)
        } else {
            Err(Failure::Failed(format!("{name} did not start")))
        }
    }

    /// As a power cut would.
    fn kill(&mut self) -> Outcome {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, got: T, want: &T) -> Outcome {
    if got != *want {
        return Err(Failure::Failed(format!(
            "{what}: {got:?} instead of {want:?}"
        )));
    }
    eprintln!("  ok  {what}");
    Ok(())
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

fn demo() -> Outcome {
    let mut entropy = OsEntropy::new()?;
    let key = Key::generate(&mut entropy).to_text();
    let network = format!("demo-{:08x}", u32::from_be_bytes(entropy.array()));
    // Any port does, since nodes share it; one that nobody has is the kernel's to choose.
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let text = port.to_string();

    eprintln!("a network of three processes on this host, with a key of its own");
    let first = Process::start("sensor-1", &network, &key, &text)?;
    let mut second = Process::start("sensor-2", &network, &key, &text)?;
    let node = Node::builder("console", &network, Key::parse(&key)?)
        .loopback(true)
        .advertise_port(port)
        .start()?;
    let events = node.events();

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

    eprintln!("calls");
    let pid = |value: serde_json::Value| value["pid"].as_u64();
    let value = node
        .call("sensor.read")
        .to("sensor-1")
        .timeout(PATIENCE)
        .send()?;
    expect(
        "one: the answer came from the other process",
        pid(value),
        &Some(u64::from(first.0.id())),
    )?;
    let echo = node
        .call("__echo__")
        .arg(1)
        .kwarg("unit", "K")
        .to("sensor-2")
        .send()?;
    expect(
        "args and kwargs arrive",
        echo,
        &json!({"args": [1], "kwargs": {"unit": "K"}}),
    )?;
    let list = node
        .call("sensor.read")
        .to_each(["sensor-1", "sensor-2"])
        .send_all()?;
    expect(
        "a list: both answered",
        list.iter().filter(|r| r.result.is_ok()).count(),
        &2,
    )?;
    let all = node.call("sensor.read").to_all().send_all()?;
    expect(
        "everyone: both answered",
        all.iter().filter(|r| r.result.is_ok()).count(),
        &2,
    )?;
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
    )?;
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
    )?;

    eprintln!("a name is taken");
    let twin = Node::builder("sensor-1", &network, Key::parse(&key)?)
        .loopback(true)
        .advertise_port(port)
        .start();
    expect(
        "a second sensor-1 does not start",
        twin.err(),
        &Some(Error::NameTaken("sensor-1".into())),
    )?;

    eprintln!("a process is killed and started again");
    let sensor_2 = list[1].node.clone();
    second.kill()?;
    let second = Process::start("sensor-2", &network, &key, &text)?;
    wait_for(&events, &Event::PeerRestarted(sensor_2))?;
    let value = node
        .call("sensor.read")
        .to("sensor-2")
        .timeout(PATIENCE)
        .send()?;
    expect(
        "the new process answers under the old name",
        pid(value),
        &Some(u64::from(second.0.id())),
    )?;

    node.stop();
    eprintln!("done");
    println!("{}", json!({"demo": "ok"}));
    Ok(())
}
