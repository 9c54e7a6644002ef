//! Serves commands until its standard input ends.
//!
//!     cargo run --example sensor -- NAME NETWORK KEY [PORT]
//!
//! With a PORT all traffic stays on this host, on that advertise port.

use peerbase::{Call, Key, Node};
use serde_json::json;
use std::error::Error;
use std::io;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, network, key, port @ ..] = args.as_slice() else {
        return Err("usage: sensor NAME NETWORK KEY [PORT]".into());
    };
    let mut builder = Node::builder(name, network, Key::parse(key)?)
        .command("sensor.read", read)
        .command("sensor.hello", hello)
        .command("sensor.calibrate", calibrate);
    if let Some(port) = port.first() {
        builder = builder.loopback(true).advertise_port(port.parse()?);
    }
    // The node serves on a thread of its own from here on.
    let node = builder.start()?;
    println!("{name} is ready");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    // This says goodbye, so that the others need not wait for the node to fall silent. The drop of
    // the node at the end of this function waits until that is done.
    node.stop();
    Ok(())
}

/// Answers with a value, whoever asks. The node drops what a handler returns: only the answer is
/// sent.
fn read(call: Call) -> Result<(), peerbase::Error> {
    call.reply(json!({"celsius": 21.5}))
}

/// Says which node asked, and with what.
fn hello(call: Call) -> Result<(), peerbase::Error> {
    let answer = json!({"you": call.caller().as_str(), "args": call.args()});
    call.reply(answer)
}

/// Fails: the caller gets an error with this message.
fn calibrate(call: Call) -> Result<(), peerbase::Error> {
    call.fail("no reference attached")
}
