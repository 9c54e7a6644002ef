//! The other processes of this benchmark.

use super::RAW;
use super::raw::Raw;
use crate::Outcome;
use crate::bench::process::{Network, own_name};
use std::net::TcpListener;

/// A node that echoes, or a raw echo. One process for each thing that is measured, since the
/// scheduler remembers who talked to whom.
pub(in crate::bench) fn peer() -> Outcome {
    let name = own_name()?;
    if name == RAW {
        return raw_echo();
    }
    let node = Network::of_parent()?.builder(&name);
    node.run(|_| println!("ready"))?;
    Ok(())
}

fn raw_echo() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (stream, _) = listener.accept()?;
    let mut raw = Raw::new(stream)?;
    let mut buf = [0; super::BODY];
    while raw.read(&mut buf)? {
        raw.write(&buf)?;
    }
    Ok(())
}
