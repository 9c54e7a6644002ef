//! `peerbase demo`: relays and nodes in processes of their own on this host, and every path between
//! them shown working. All traffic stays on 127.0.0.0/8.

mod certified;
mod data;
mod lan;
mod mesh;
mod process;
mod recorder;
mod relays;
mod sensor;

use crate::{Failure, Outcome, options};
use lexopt::{Arg, ValueExt};
use peerbase::{Builder, Entropy, Key, Node, OsEntropy};
use process::Process;
use serde_json::json;
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;
use std::time::Duration;

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
        Some(name) => sensor::run(&name, options),
        None => demo(),
    }
}

fn demo() -> Outcome {
    process::end_all_on_signal()?;
    let network = Network::new()?;
    eprintln!("a network of three processes on this host, with a key of its own");
    let first = network.sensor("sensor-1")?;
    let second = network.sensor("sensor-2")?;
    let node = network.builder("console").start()?;
    let events = node.events();

    lan::discovery(&node, &events)?;
    lan::calls(&node, &first)?;
    data::streams(&node)?;
    data::files(&node)?;
    lan::taken_name(&network)?;
    let _second = lan::restart(&network, &node, &events, &second)?;
    node.stop();
    relays::run(&network)?;
    mesh::run(&network)?;
    certified::run(&network)?;
    eprintln!("done");
    println!("{}", json!({"demo": "ok"}));
    Ok(())
}

/// The network of the demo, with a key and an advertise port of its own.
struct Network {
    name: String,
    key: Key,
    port: u16,
    /// Keeps the port from everybody else; the nodes share it.
    _held: Socket,
}

impl Network {
    fn new() -> Outcome<Network> {
        let mut entropy = OsEntropy::new()?;
        let key = Key::generate(&mut entropy);
        let name = format!("demo-{:08x}", u32::from_be_bytes(entropy.array()));
        let (_held, port) = shared_port()?;
        Ok(Network {
            name,
            key,
            port,
            _held,
        })
    }

    /// A node of this process.
    fn builder(&self, name: &str) -> Builder {
        Node::builder(name, &self.name, self.key.clone())
            .loopback(true)
            .advertise_port(self.port)
    }

    /// A sensor in a process of its own.
    fn sensor(&self, name: &str) -> Outcome<Process> {
        let port = self.port.to_string();
        let args = ["--network", &self.name, "--advertise-port", &port];
        Process::start(name, &self.key.to_text(), &args)
    }
}

/// An advertise port of the kernel's choice, kept from everybody else; the nodes share it.
fn shared_port() -> Outcome<(Socket, u16)> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    let address = socket.local_addr()?.as_socket();
    Ok((socket, address.map_or(0, |a| a.port())))
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
