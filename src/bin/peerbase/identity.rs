//! `peerbase identity`: makes a node's identity, or shows the public half of one.

use crate::options::word;
use crate::{Failure, Outcome, identity_file};
use lexopt::Arg;
use peerbase::{Identity, OsEntropy};
use serde_json::json;
use std::ffi::OsString;

pub(crate) fn run(mut parser: lexopt::Parser) -> Outcome {
    let what = word(&mut parser, "identity new or identity show?")?;
    let (mut file, mut strict) = (None, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Value(value) if file.is_none() => file = Some(value),
            Arg::Long("strict") => strict = true,
            arg => return Err(arg.unexpected().into()),
        }
    }
    match what.as_str() {
        "new" => new(file),
        "show" => {
            let file = file.ok_or(Failure::Usage("which file?".into()))?;
            show(&identity_file::load(&file, strict)?);
            Ok(())
        }
        other => Err(Failure::Usage(format!("no such command: identity {other}"))),
    }
}

fn new(file: Option<OsString>) -> Outcome {
    let mut entropy = OsEntropy::new()?;
    if let Some(file) = file {
        show(&Identity::create(file, &mut entropy)?);
        return Ok(());
    }
    let identity = Identity::generate(&mut entropy);
    println!("{}", *identity.to_text());
    let key = identity.public_key();
    eprintln!(
        "its public key is {}, its fingerprint {}",
        key.to_text(),
        key.fingerprint()
    );
    Ok(())
}

fn show(identity: &Identity) {
    let key = identity.public_key();
    let fingerprint = key.fingerprint().to_string();
    println!(
        "{}",
        json!({"key": key.to_text(), "fingerprint": fingerprint})
    );
}
