//! A command that streams: what is streamed to it comes back in capitals, while more is on its way.
//!
//!     cargo run --example stream -- NAME NETWORK KEY PORT         serves "shout"
//!     cargo run --example stream -- NAME NETWORK KEY PORT PEER    calls "shout" at PEER
//!
//! The first serves until its standard input ends. The second streams its standard input to PEER
//! and prints what comes back. All traffic stays on this host; leave out `loopback` for the LAN.

use peerbase::{Call, Key, Node};
use std::error::Error;
use std::io::{self, Read, Write};
use std::thread;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, network, key, port, peer @ ..] = args.as_slice() else {
        return Err("usage: stream NAME NETWORK KEY PORT [PEER]".into());
    };
    let node = Node::builder(name, network, Key::parse(key)?)
        .loopback(true)
        .advertise_port(port.parse()?)
        .command("shout", |call: Call| {
            // A handler must not wait, so a thread serves the stream.
            thread::spawn(move || shout(call));
        })
        .start()?;
    if let Some(peer) = peer.first() {
        return stream_to(&node, peer);
    }
    println!("{name} is ready");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    node.stop();
    Ok(())
}

/// Serves one call.
fn shout(call: Call) {
    let outcome = match capitals(&call) {
        Ok(bytes) => call.reply(bytes),
        Err(e) => call.fail(&e.to_string()),
    };
    if let Err(e) = outcome {
        eprintln!("the answer was not taken: {e}");
    }
}

/// Streams back in capitals what comes, until no more does; how many bytes that were.
fn capitals(call: &Call) -> io::Result<usize> {
    let (mut reader, mut writer) = call.streams().map_err(io::Error::other)?;
    let (mut buf, mut bytes) = ([0; 16 * 1024], 0);
    loop {
        let n = reader.read(&mut buf)?;
        if n == 0 {
            writer.finish();
            return Ok(bytes);
        }
        writer.write_all(&buf[..n].to_ascii_uppercase())?;
        bytes += n;
    }
}

/// Streams the standard input to a peer, and what comes back to the standard output.
fn stream_to(node: &Node, peer: &str) -> Result<(), Box<dyn Error>> {
    let call = node.call("shout").to(peer);
    let (mut reader, mut writer, value) = call.stream()?.split();
    // Both directions at once: each holds only so much that the other side has not read.
    let printing = thread::spawn(move || io::copy(&mut reader, &mut io::stdout()));
    io::copy(&mut io::stdin(), &mut writer)?;
    writer.finish();
    printing
        .join()
        .map_err(|_| "the thread that prints panicked")??;
    eprintln!("{} bytes", value.wait()?);
    Ok(())
}
