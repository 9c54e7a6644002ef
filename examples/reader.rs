//! Calls a sensor by its name, and then every node that is known.
//!
//!     cargo run --example reader -- SENSOR NETWORK KEY [PORT]
//!
//! With a PORT all traffic stays on this host, on that advertise port.

use peerbase::{Error as CallError, Key, Node};
use std::error::Error;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [sensor, network, key, port @ ..] = args.as_slice() else {
        return Err("usage: reader SENSOR NETWORK KEY [PORT]".into());
    };
    let mut builder = Node::builder("reader", network, Key::parse(key)?);
    if let Some(port) = port.first() {
        builder = builder.loopback(true).advertise_port(port.parse()?);
    }
    let node = builder.start()?;

    // One node. The call waits until that node is there, up to its timeout.
    let hello = node.call("sensor.hello").arg(1).arg("two").to(sensor);
    println!("{sensor}: {}", hello.timeout(TIMEOUT).send()?);

    // Every node that is known now; each has a result of its own. A node whose call fails does not
    // end the others.
    let all = node.call("sensor.read").to_all().timeout(TIMEOUT);
    for answer in all.send_all()? {
        println!("{}: {}", answer.node.as_str(), answer.result?);
    }

    // A command that fails says why.
    let calibrate = node.call("sensor.calibrate").to(sensor).timeout(TIMEOUT);
    match calibrate.send() {
        Err(CallError::CommandFailed(why)) => println!("{sensor} failed: {why}"),
        other => return Err(format!("not the failure that was wanted: {other:?}").into()),
    }
    Ok(())
}
