//! Files that hold a node's identity.
//!
//! If others may read such a file, that is an error with `--strict`, and otherwise a warning: some
//! file systems of gateways keep no modes.

use crate::{Outcome, text_file};
use peerbase::{Error, Identity, OsEntropy};
use std::ffi::OsStr;

/// The identity in a file.
pub(crate) fn load(file: &OsStr, strict: bool) -> Outcome<Identity> {
    accept(Identity::load(file), file, strict)
}

/// The identity in a file, which is made if it is not there.
pub(crate) fn load_or_create(file: &OsStr, strict: bool) -> Outcome<Identity> {
    let loaded = Identity::load_or_create(file, &mut OsEntropy::new()?);
    accept(loaded, file, strict)
}

fn accept(loaded: Result<Identity, Error>, file: &OsStr, strict: bool) -> Outcome<Identity> {
    match loaded {
        Err(warning @ Error::Refused(_)) if !strict => {
            eprintln!("peerbase: warning: {warning}");
            text_file::read(file, Identity::parse)
        }
        loaded => Ok(loaded?),
    }
}
