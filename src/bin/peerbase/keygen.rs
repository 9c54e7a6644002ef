//! `peerbase keygen`: a new network key, or the relay key that is derived from one.

use crate::options::KEY_VARIABLE;
use crate::{Failure, Outcome};
use lexopt::{Arg, ValueExt};
use peerbase::{Key, OsEntropy, RelayKey};

pub(crate) fn run(mut parser: lexopt::Parser) -> Outcome {
    let mut from = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("relay-from") => from = Some(parser.value()?.string()?),
            arg => return Err(arg.unexpected().into()),
        }
    }
    let Some(mut from) = from else {
        println!("{}", *Key::generate(&mut OsEntropy::new()?).to_text());
        return Ok(());
    };
    // Not seen in the list of processes.
    if from == "-" {
        from = std::env::var(KEY_VARIABLE)
            .map_err(|_| Failure::Usage(format!("{KEY_VARIABLE} is not set")))?;
    }
    println!("{}", *RelayKey::derive(&Key::parse(&from)?).to_text());
    Ok(())
}
