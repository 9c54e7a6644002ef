//! `peerbase demo`: relays and nodes in processes of their own on this host, and every path between
//! them shown working. All traffic stays on 127.0.0.0/8.

use crate::options::KEY_VARIABLE;
use crate::{Failure, Outcome, options, signals};
use lexopt::{Arg, ValueExt};
use peerbase::{Call, Entropy, Error, Event, Events, Key, Node, OsEntropy, Path, RelayKey};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);
const IN_FLIGHT: usize = 64;

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
        .command("sensor.shout", |call: Call| {
            std::thread::spawn(move || shout(call));
        })
        .on_message(|message| {
            let mut data = message.data().to_vec();
            data.reverse();
            message.reply(&data)
        });
    let mut registered = Ok(());
    builder.run(|node| {
        let (ends, tells) = (node.clone(), node.clone());
        let relays = move |call: Call| call.reply(tells.stats().relays_up);
        let offers = node.clone();
        let offer = move |call: Call| {
            let path = call.args()[0].as_str().unwrap_or_default();
            match offers.add_file(path) {
                Ok(hash) => call.reply(hash),
                Err(e) => call.fail(&e.to_string()),
            }
        };
        registered = node
            .register("demo.relays", relays)
            .and_then(|()| node.register("demo.offer", offer));
        println!("ready");
        if signals::on_stop(move || ends.stop()).is_err() {
            eprintln!("peerbase: cannot watch for signals");
        }
    })?;
    Ok(registered?)
}

/// Streams back what is streamed to it, in capitals.
fn shout(call: Call) {
    let Ok((mut reader, mut writer)) = call.streams() else {
        return;
    };
    let (mut buf, mut sum) = ([0; 16 * 1024], 0);
    let outcome = loop {
        match reader.read(&mut buf) {
            Ok(0) => break Ok(()),
            Ok(n) => {
                sum += n;
                if let Err(e) = writer.write_all(&buf[..n].to_ascii_uppercase()) {
                    break Err(e);
                }
            }
            Err(e) => break Err(e),
        }
    };
    let _ = match outcome {
        Ok(()) => {
            writer.finish();
            call.reply(sum)
        }
        Err(e) => call.fail(&e.to_string()),
    };
}

struct Process(Child);

impl Process {
    /// Starts one, and waits until it is ready.
    fn start(name: &str, key: &str, args: &[&str]) -> Outcome<Process> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["demo", "--serve", name, "--loopback"])
            .args(args)
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

    /// Starts a relay, and gives where it listens.
    fn relay(network: &str, key: &RelayKey) -> Outcome<(Process, String)> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["relay", "--listen", "127.0.0.1:0", "--network", network])
            .args(["--relay-key", &key.to_text()])
            .stderr(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(err) = child.stderr.as_mut() {
            BufReader::new(err).read_line(&mut line)?;
        }
        let process = Process(child);
        match line.trim().rsplit_once("listening on ") {
            Some((_, address)) => Ok((process, address.to_owned())),
            None => Err(Failure::Failed("a relay did not start".into())),
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
    let on_lan = ["--network", &network, "--advertise-port", &text];
    let first = Process::start("sensor-1", &key, &on_lan)?;
    let mut second = Process::start("sensor-2", &key, &on_lan)?;
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

    streams(&node)?;
    files(&node)?;

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
    let second = Process::start("sensor-2", &key, &on_lan)?;
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
    relays(&network, &Key::parse(&key)?)?;
    mesh(&network, &Key::parse(&key)?)?;
    eprintln!("done");
    println!("{}", json!({"demo": "ok"}));
    Ok(())
}

/// More than fits one message, both ways at once; and something for everyone.
fn streams(node: &Node) -> Outcome {
    eprintln!("streams and messages");
    let text = b"what is said is heard ".repeat(1 << 20);
    let call = node.call("sensor.shout").to("sensor-1").timeout(PATIENCE);
    let (mut reader, mut writer, value) = call.stream()?.split();
    let said = text.clone();
    let began = Instant::now();
    let sender = std::thread::spawn(move || {
        let outcome = writer.write_all(&said);
        writer.finish();
        outcome
    });
    let mut heard = Vec::with_capacity(text.len());
    reader.read_to_end(&mut heard)?;
    let sent = sender.join().is_ok_and(|sent| sent.is_ok());
    let right = heard == text.to_ascii_uppercase();
    let what = format!(
        "{} MB there and back at once, in {} ms",
        text.len() / 1_000_000,
        began.elapsed().as_millis()
    );
    expect(&what, sent && right, &true)?;
    expect("and the command's value", value.wait()?, &json!(text.len()))?;
    let large = "x".repeat(1_000_000);
    let echo = node
        .call("__echo__")
        .arg(large.as_str())
        .to("sensor-2")
        .send()?;
    expect(
        "a large argument is just an argument",
        echo["args"][0] == large,
        &true,
    )?;
    let report = node.broadcast(b"hello", PATIENCE)?;
    expect(
        "a message for everyone reaches both, once",
        report.delivered,
        &2,
    )?;
    expect("and nobody is missing", report.is_complete(), &true)
}

/// A file that both sensors have.
fn files(node: &Node) -> Outcome {
    eprintln!("files");
    let folder = std::env::temp_dir().join(format!("peerbase-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = fetch(node, &folder);
    std::fs::remove_dir_all(&folder)?;
    outcome
}

fn fetch(node: &Node, folder: &std::path::Path) -> Outcome {
    let (offered, data) = (folder.join("readings.bin"), vec![7; 12_000_000]);
    std::fs::write(&offered, &data)?;
    let mut hash = json!(null);
    for name in ["sensor-1", "sensor-2"] {
        let offer = node
            .call("demo.offer")
            .arg(offered.to_string_lossy().as_ref());
        hash = offer.to(name).timeout(PATIENCE).send()?;
    }
    node.set_file_dir(folder.join("fetched"))?;
    let mut holders = 0;
    let hash = hash.as_str().unwrap_or_default().to_owned();
    let got = node.request_file(&hash, PATIENCE, |p| holders = holders.max(p.holders))?;
    expect(
        "fetched by its hash",
        std::fs::read(&got.path)? == data,
        &true,
    )?;
    expect("from two at once", holders, &2)
}

/// Three nodes that do not advertise.
fn mesh(network: &str, key: &Key) -> Outcome {
    eprintln!("an address is enough where there is no advertising");
    let start = |name: &str| {
        let builder = Node::builder(name, network, key.clone()).loopback(true);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        builder.lan(false).listen(any).start()
    };
    let (a, b, c) = (start("mesh-a")?, start("mesh-b")?, start("mesh-c")?);
    let address = |node: &Node| SocketAddr::from(([127, 0, 0, 1], node.port()));
    b.connect(address(&a), PATIENCE)?;
    let who = c.connect(address(&b), PATIENCE)?;
    expect("who answers says who it is", who.as_str(), &"mesh-b")?;
    let echo = c
        .call("__echo__")
        .arg(1)
        .to("mesh-a")
        .timeout(PATIENCE)
        .send()?;
    expect(
        "and tells of others, who are called",
        echo["args"][0].clone(),
        &json!(1),
    )
}

/// Two nodes that are on no LAN, two relays between them, and one of these dies.
fn relays(network: &str, key: &Key) -> Outcome {
    eprintln!("relays, for nodes that cannot see each other");
    let text = key.to_text();
    let relay_key = RelayKey::derive(key);
    let (a, b) = (
        Process::relay(network, &relay_key)?,
        Process::relay(network, &relay_key)?,
    );
    let at = [a.1, b.1];
    let mut running = [a.0, b.0];
    let args = [
        "--network",
        network,
        "--no-lan",
        "--relay",
        &at[0],
        "--relay",
        &at[1],
    ];
    let far = Process::start("sensor-far", &text, &args)?;
    let node = Node::builder("outside", network, key.clone())
        .loopback(true)
        .lan(false)
        .relay(&at[0])
        .relay(&at[1])
        .start()?;
    let read = || {
        node.call("sensor.read")
            .to("sensor-far")
            .timeout(PATIENCE)
            .send()
    };
    let far_id = Some(u64::from(far.0.id()));
    expect(
        "a call through a relay is answered",
        read()?["pid"].as_u64(),
        &far_id,
    )?;
    let began = Instant::now();
    let both_up = || -> Outcome<bool> {
        let there = node
            .call("demo.relays")
            .to("sensor-far")
            .timeout(PATIENCE)
            .send()?;
        Ok(node.stats().relays_up == 2 && there == 2)
    };
    while !both_up()? {
        if began.elapsed() > PATIENCE {
            return Err(Failure::Failed("the relays were not joined".into()));
        }
    }
    let path = node.peers().into_iter().next().and_then(|p| p.path);
    let Some(Path::Relay(used)) = path else {
        return Err(Failure::Failed(format!("the path is {path:?}")));
    };
    eprintln!("  ok  its path is relay {used}");

    eprintln!("that relay is killed with calls under way");
    let (done, wait) = mpsc::channel();
    for i in 0..IN_FLIGHT {
        let done = done.clone();
        let call = node
            .call("__echo__")
            .arg(i)
            .to("sensor-far")
            .timeout(PATIENCE);
        call.send_async(move |result| {
            let _ = done.send(result.is_ok_and(|v| v["args"][0] == i));
        })?;
    }
    running[usize::from(used.as_str() == at[1])].kill()?;
    let killed = Instant::now();
    expect(
        "the next call goes over the other one",
        read()?["pid"].as_u64(),
        &far_id,
    )?;
    eprintln!(
        "  ok  {:.1} ms after the kill",
        killed.elapsed().as_secs_f64() * 1e3
    );
    let answers = (0..IN_FLIGHT).filter(|_| wait.recv_timeout(PATIENCE) == Ok(true));
    expect(
        "every call that was under way is answered",
        answers.count(),
        &IN_FLIGHT,
    )?;
    node.stop();
    Ok(())
}
