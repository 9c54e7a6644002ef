//! `peerbase demo`: relays and nodes in processes of their own on this host, and every path between
//! them shown working. All traffic stays on 127.0.0.0/8.

use crate::options::KEY_VARIABLE;
use crate::signals::Ending;
use crate::{Failure, Outcome, options};
use lexopt::{Arg, ValueExt};
use peerbase::{Call, Entropy, Error, Event, Events, Key, Node, OsEntropy, Path, RelayKey};
use serde_json::json;
use socket2::{Domain, Socket, Type};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
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
    let ending = Ending::watch()?;
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
        ending.with(0, move || ends.stop());
        println!("ready");
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

/// The other processes, as long as they run.
static STARTED: Mutex<Vec<Arc<Mutex<Child>>>> = Mutex::new(Vec::new());

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was started ends with the demo, also when a signal ends that.
fn end_all() -> Outcome {
    Ending::watch()?.with(1, || {
        // Kept locked, so that nothing is started any more.
        let started = lock(&STARTED);
        for child in started.iter() {
            let _ = lock(child).kill();
        }
        let _ = std::fs::remove_dir_all(folder());
        eprintln!("peerbase: ended by a signal");
        std::process::exit(1);
    });
    Ok(())
}

/// One of the other processes. Ended, by its own id, when dropped.
struct Process {
    child: Arc<Mutex<Child>>,
    /// What it writes goes somewhere as long as it runs.
    _output: Option<Box<dyn Read>>,
}

impl Process {
    fn spawn(command: &mut Command) -> Outcome<Process> {
        let mut started = lock(&STARTED);
        let child = Arc::new(Mutex::new(command.spawn()?));
        started.push(child.clone());
        Ok(Process {
            child,
            _output: None,
        })
    }

    fn first_line(&mut self, output: impl Read + 'static) -> Outcome<String> {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line)?;
        self._output = Some(Box::new(output));
        Ok(line)
    }

    /// Starts one, and waits until it is ready.
    fn start(name: &str, key: &str, args: &[&str]) -> Outcome<Process> {
        let mut process = Process::spawn(
            Command::new(std::env::current_exe()?)
                .args(["demo", "--serve", name, "--loopback"])
                .args(args)
                .env(KEY_VARIABLE, key)
                .stdout(Stdio::piped()),
        )?;
        let output = lock(&process.child).stdout.take();
        match output
            .map(|output| process.first_line(output))
            .transpose()?
        {
            Some(line) if line.trim() == "ready" => Ok(process),
            _ => Err(Failure::Failed(format!("{name} did not start"))),
        }
    }

    /// Starts a relay, and gives where it listens.
    fn relay(network: &str, key: &RelayKey) -> Outcome<(Process, String)> {
        let mut process = Process::spawn(
            Command::new(std::env::current_exe()?)
                .args(["relay", "--listen", "127.0.0.1:0", "--network", network])
                .args(["--relay-key", &key.to_text()])
                .stderr(Stdio::piped()),
        )?;
        let output = lock(&process.child).stderr.take();
        let line = output
            .map(|output| process.first_line(output))
            .transpose()?;
        let line = line.unwrap_or_default();
        match line.trim().rsplit_once("listening on ") {
            Some((_, address)) => Ok((process, address.to_owned())),
            None => Err(Failure::Failed("a relay did not start".into())),
        }
    }

    fn id(&self) -> Option<u64> {
        Some(u64::from(lock(&self.child).id()))
    }

    /// As a power cut would.
    fn kill(&self) -> Outcome {
        let mut child = lock(&self.child);
        child.kill()?;
        child.wait()?;
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

/// An advertise port of the kernel's choice, kept from everybody else; the nodes share it.
fn shared_port() -> Outcome<(Socket, u16)> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    let address = socket.local_addr()?.as_socket();
    Ok((socket, address.map_or(0, |a| a.port())))
}

fn demo() -> Outcome {
    end_all()?;
    let mut entropy = OsEntropy::new()?;
    let key = Key::generate(&mut entropy).to_text();
    let network = format!("demo-{:08x}", u32::from_be_bytes(entropy.array()));
    let (_held, port) = shared_port()?;
    let text = port.to_string();

    eprintln!("a network of three processes on this host, with a key of its own");
    let on_lan = ["--network", &network, "--advertise-port", &text];
    let first = Process::start("sensor-1", &key, &on_lan)?;
    let second = Process::start("sensor-2", &key, &on_lan)?;
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
        &first.id(),
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
        &second.id(),
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

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("peerbase-demo-{}", std::process::id()))
}

/// A file that both sensors have.
fn files(node: &Node) -> Outcome {
    eprintln!("files");
    let folder = folder();
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
    let running = [a.0, b.0];
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
    let far_id = far.id();
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
