//! Files of text that the tool reads and replaces.

use crate::{Failure, Outcome};
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Bytes of the largest file that is read, which is more than the largest revocation list.
const LARGEST: u64 = 1024 * 1024;

/// What is wrong with a file.
pub(crate) fn fault(file: &OsStr, why: impl Display) -> Failure {
    Failure::Failed(format!("{}: {why}", file.to_string_lossy()))
}

/// What a file says.
pub(crate) fn read<T>(
    file: &OsStr,
    parse: impl FnOnce(&str) -> Result<T, peerbase::Error>,
) -> Outcome<T> {
    find(file, parse)?.ok_or_else(|| fault(file, "there is no such file"))
}

/// What a file says; none if there is no file.
pub(crate) fn find<T>(
    file: &OsStr,
    parse: impl FnOnce(&str) -> Result<T, peerbase::Error>,
) -> Outcome<Option<T>> {
    let open = match File::open(file) {
        Ok(open) => open,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fault(file, e)),
    };
    let mut text = String::new();
    let read = open.take(LARGEST).read_to_string(&mut text);
    read.map_err(|e| fault(file, e))?;
    parse(&text).map(Some).map_err(|e| fault(file, e))
}

/// Replaces a file as a whole, or makes it. After a power cut there is the old text or the new.
pub(crate) fn replace(file: &OsStr, text: &str) -> Outcome {
    let mut fresh = file.to_owned();
    fresh.push(format!(".{}.new", std::process::id()));
    let fresh = PathBuf::from(fresh);
    let put = || -> std::io::Result<()> {
        let mut out = File::create(&fresh)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&fresh, file)
    };
    if let Err(e) = put() {
        let _ = fs::remove_file(&fresh);
        return Err(fault(file, e));
    }
    // The new name is on the disk when the folder is.
    let folder = Path::new(file).parent();
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new(".")));
    let synced = folder.and_then(|folder| folder.sync_all());
    synced.map_err(|e| fault(file, e))
}
