//! `peerbase relay`: carries between networks what it cannot read.

use crate::signals::{Ending, on_request};
use crate::{Failure, Outcome, logging};
use lexopt::{Arg, ValueExt};
use peerbase::{RelayKey, RelayLimits, RelayServer};
use serde_json::{Map, Value};
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Where a relay listens unless told otherwise.
const PORT: u16 = 7700;

pub(crate) fn run(mut parser: lexopt::Parser) -> Outcome {
    let mut listen = SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT));
    let mut networks: Vec<(String, Option<RelayKey>)> = Vec::new();
    let mut limits = RelayLimits::default();
    let mut compat = true;
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("listen") => listen = parser.value()?.parse()?,
            Arg::Long("network") => networks.push((parser.value()?.string()?, None)),
            Arg::Long("relay-key") => {
                let key = RelayKey::parse(&parser.value()?.string()?)?;
                set_key(&mut networks, key)?;
            }
            Arg::Long("relay-key-file") => {
                let path = parser.value()?;
                let text = std::fs::read_to_string(&path)
                    .map_err(|e| Failure::Failed(format!("{}: {e}", path.to_string_lossy())))?;
                set_key(&mut networks, RelayKey::parse(text.trim())?)?;
            }
            Arg::Long("no-compat") => compat = false,
            Arg::Long("members") => limits.members = parser.value()?.parse()?,
            Arg::Long("links") => limits.links = parser.value()?.parse()?,
            Arg::Long("links-per-address") => limits.links_per_address = parser.value()?.parse()?,
            Arg::Long("bytes-per-second") => limits.bytes_per_second = parser.value()?.parse()?,
            arg => return Err(arg.unexpected().into()),
        }
    }
    let serves: Vec<String> = networks
        .iter()
        .map(|(name, key)| match key {
            Some(_) => format!("{name} (with a relay key)"),
            None => format!("{name} (open)"),
        })
        .collect();
    let serves = match serves.as_slice() {
        [] => "any network (open)".to_owned(),
        list => list.join(", "),
    };
    let mut builder = RelayServer::builder().limits(limits).compat(compat);
    for (name, key) in networks {
        builder = builder.network(&name, key);
    }
    logging::start();
    let ending = Ending::watch()?;
    let relay = Arc::new(builder.start(listen)?);
    let (ends, tells) = (relay.clone(), relay.clone());
    ending.with(0, move || ends.stop());
    on_request(move || {
        let entries = tells.stats().entries().into_iter();
        let object: Map<String, Value> = entries.map(|(k, v)| (k.into(), v.into())).collect();
        println!("{}", Value::Object(object));
    })?;
    eprintln!(
        "relay for {serves} is ready, listening on {}",
        relay.address()
    );
    relay.wait()?;
    Ok(())
}

/// A key belongs to the network that was named before it.
fn set_key(networks: &mut [(String, Option<RelayKey>)], key: RelayKey) -> Outcome {
    match networks.last_mut() {
        Some((_, slot @ None)) => {
            *slot = Some(key);
            Ok(())
        }
        Some(_) => Err(Failure::Usage("two relay keys for one network".into())),
        None => Err(Failure::Usage(
            "a relay key without a network before it".into(),
        )),
    }
}
