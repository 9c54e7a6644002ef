//! `peerbase keygen`: a new network key.

use crate::Outcome;
use peerbase::{Key, OsEntropy};

pub(crate) fn run(mut parser: lexopt::Parser) -> Outcome {
    if let Some(arg) = parser.next()? {
        return Err(arg.unexpected().into());
    }
    println!("{}", *Key::generate(&mut OsEntropy::new()?).to_text());
    Ok(())
}
