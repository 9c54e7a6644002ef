//! A relay for one network: nodes that cannot see each other reach each other through it. It cannot
//! read what it carries.
//!
//!     cargo run --example relay -- NETWORK LISTEN [RELAY_KEY]
//!
//! LISTEN is an IP address and a port, such as 0.0.0.0:7700. With a RELAY_KEY only nodes that have
//! the network's key may join; `peerbase keygen --relay-from KEY --network NETWORK` derives it.
//! Nodes join with `Builder::relay`. The relay ends with its standard input.

use peerbase::{RelayKey, RelayServer};
use std::error::Error;
use std::io;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [network, listen, key @ ..] = args.as_slice() else {
        return Err("usage: relay NETWORK LISTEN [RELAY_KEY]".into());
    };
    let key = key.first().map(|text| RelayKey::parse(text)).transpose()?;
    let relay = RelayServer::builder()
        .network(network, key)
        .start(listen.parse()?)?;
    println!("the relay is ready at {}", relay.address());
    io::copy(&mut io::stdin(), &mut io::sink())?;
    // This tells the members, so that they turn to another relay at once.
    relay.stop();
    relay.wait()?;
    let stats = relay.stats();
    eprintln!(
        "{} joined, {} bytes carried",
        stats.joined, stats.forwarded_bytes
    );
    Ok(())
}
