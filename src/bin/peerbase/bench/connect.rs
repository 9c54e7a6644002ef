//! From nothing to the first answer: a node that starts on a LAN, and a node that dials an address;
//! and what a session takes of memory at the node that is dialled.

use super::process::{Network, Process, own_name, resident_kib};
use super::{Report, percentiles};
use crate::{Failure, Outcome};
use peerbase::Node;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const STARTS: usize = 20;
const DIALS: usize = 300;
/// Nodes that are connected at a time while memory is measured.
const SESSIONS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(10);
const PEER: &str = "peer";

pub(super) fn run(report: &mut Report) -> Outcome {
    let network = Network::new()?;
    let (peer, line) = network.start("connect-peer", PEER, &[])?;
    let address = line.parse();
    let address = address.map_err(|_| Failure::Failed("the peer did not start".into()))?;
    starts(report, &network)?;
    dials(report, &network, address)?;
    memory(report, &network, &peer, address)
}

/// The node that is found and dialled.
pub(super) fn peer() -> Outcome {
    let node = Network::of_parent()?.builder(&own_name()?);
    node.run(|node| println!("127.0.0.1:{}", node.port()))?;
    Ok(())
}

fn call(node: &Node) -> Outcome {
    let call = node.call("__echo__").to(PEER);
    call.timeout(PATIENCE).send()?;
    Ok(())
}

/// Nodes that start on the LAN, where the name is probed for first, and call the peer.
fn starts(report: &mut Report, network: &Network) -> Outcome {
    let (mut started, mut answered) = (Vec::new(), Vec::new());
    for i in 0..STARTS {
        let began = Instant::now();
        let node = network.builder(&format!("starter-{i}")).start()?;
        started.push(began.elapsed());
        call(&node)?;
        answered.push(began.elapsed());
        node.stop();
    }
    let (started, _) = percentiles(started);
    let (answered, most) = percentiles(answered);
    report.add(
        "start on a LAN, name probe included, p50",
        started / 1e3,
        "ms",
    );
    report.add("start to first answer, p50", answered / 1e3, "ms");
    report.add("start to first answer, p99", most / 1e3, "ms");
    Ok(())
}

/// A node that looks for nobody.
fn dialler(network: &Network, i: usize) -> Outcome<Node> {
    let builder = network.builder(&format!("dialler-{i}"));
    Ok(builder.lan(false).start()?)
}

/// Dials by address, in turns with plain TCP: connection, handshake, and one call.
fn dials(report: &mut Report, network: &Network, address: SocketAddr) -> Outcome {
    let plain = TcpListener::bind("127.0.0.1:0")?;
    let plain_address = plain.local_addr()?;
    std::thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let mut byte = [0];
            let _ = stream
                .read_exact(&mut byte)
                .and_then(|()| stream.write_all(&byte));
        }
    });
    let (mut raws, mut times) = (Vec::new(), Vec::new());
    for i in 0..DIALS {
        let began = Instant::now();
        let mut stream = TcpStream::connect(plain_address)?;
        stream.write_all(&[1])?;
        stream.read_exact(&mut [0])?;
        raws.push(began.elapsed());
        let node = dialler(network, i)?;
        let began = Instant::now();
        node.connect(address, PATIENCE)?;
        call(&node)?;
        times.push(began.elapsed());
        node.stop();
    }
    let (raw, _) = percentiles(raws);
    let (half, most) = percentiles(times);
    report.add("plain TCP, dial and first answer, p50", raw, "us");
    report.add("dial, handshake and first answer, p50", half, "us");
    report.add("dial, handshake and first answer, p99", most, "us");
    report.add("the same / plain TCP, p50", half / raw, "ratio");
    Ok(())
}

/// What the peer's process grows by with so many sessions.
fn memory(report: &mut Report, network: &Network, peer: &Process, address: SocketAddr) -> Outcome {
    let before = resident_kib(Some(peer.id()));
    let mut nodes = Vec::with_capacity(SESSIONS);
    for i in 0..SESSIONS {
        let node = dialler(network, DIALS + i)?;
        node.connect(address, PATIENCE)?;
        call(&node)?;
        nodes.push(node);
    }
    let grown = resident_kib(Some(peer.id())) - before;
    let what = format!("resident memory of a session, with {SESSIONS} of them");
    report.add(&what, grown / SESSIONS as f64, "KiB");
    Ok(())
}
