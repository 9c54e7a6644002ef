//! `peerbase keygen`: a new network key, or the relay key that is derived from one.

use crate::options::KEY_VARIABLE;
use crate::{Failure, Outcome};
use lexopt::{Arg, ValueExt};
use peerbase::{Key, NetworkName, OsEntropy, RelayKey};

pub(crate) fn run(mut parser: lexopt::Parser) -> Outcome {
    let (mut from, mut network) = (None, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("relay-from") => from = Some(parser.value()?.string()?),
            Arg::Long("network") => network = Some(parser.value()?.string()?),
            arg => return Err(arg.unexpected().into()),
        }
    }
    let Some(mut from) = from else {
        if network.is_some() {
            return Err(Failure::Usage("--network goes with --relay-from".into()));
        }
        println!("{}", *Key::generate(&mut OsEntropy::new()?).to_text());
        return Ok(());
    };
    let network = network.ok_or(Failure::Usage("--network is missing".into()))?;
    let network = NetworkName::new(&network)?;
    // Not seen in the list of processes.
    if from == "-" {
        from = std::env::var(KEY_VARIABLE)
            .map_err(|_| Failure::Usage(format!("{KEY_VARIABLE} is not set")))?;
    }
    println!(
        "{}",
        *RelayKey::derive(&Key::parse(&from)?, &network).to_text()
    );
    Ok(())
}
