//! What a file is called in the network, the SHA-256 of its contents, and how it is computed and
//! checked: a file is read through a handle, and must not change meanwhile.

use super::BUFFER;
use crate::error::Error;
use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

/// A file's name in the network: the SHA-256 of its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileHash(pub(super) [u8; 32]);

impl FileHash {
    /// Reads 64 hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Result<FileHash, Error> {
        let bad = Error::Argument("a file's hash is 64 digits of hexadecimal");
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad);
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).unwrap_or_default();
            *byte = u8::from_str_radix(digits, 16).map_err(|_| bad.clone())?;
        }
        Ok(FileHash(bytes))
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// What shows that a file is still the one that was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            size: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }
}

pub(super) fn failed_to_read(e: std::io::Error) -> Error {
    Error::io("reading a file", &e)
}

/// Opens a regular file to read, through symbolic links only if `links` is true. It never waits, as
/// it would for the writer of a named pipe.
pub(super) fn open(path: &Path, links: bool) -> Result<File, Error> {
    let mut flags = OFlag::O_NONBLOCK;
    flags.set(OFlag::O_NOFOLLOW, !links);
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits());
    let file = options.open(path).map_err(failed_to_read)?;
    match file.metadata().map_err(failed_to_read)?.is_file() {
        true => Ok(file),
        false => Err(Error::Argument("not a regular file")),
    }
}

/// Reads and hashes a whole file; an error if the file changes meanwhile.
pub(super) fn hash(file: &File) -> Result<(FileHash, Stamp), Error> {
    let failed = failed_to_read;
    let metadata = file.metadata().map_err(failed)?;
    let (mut digest, mut buf, mut at) = (Sha256::new(), vec![0; BUFFER], 0);
    loop {
        match file.read_at(&mut buf, at).map_err(failed)? {
            0 => break,
            n => {
                digest.update(&buf[..n]);
                at += n as u64;
            }
        }
    }
    let stamp = Stamp::of(&file.metadata().map_err(failed)?);
    if stamp != Stamp::of(&metadata) {
        return Err(Error::Damaged("the file changed while it was read".into()));
    }
    Ok((FileHash(digest.finalize().into()), stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_digits_and_nothing_else() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(FileHash::parse(text).unwrap().to_string(), text);
        for bad in ["", &text[1..], &text.replace('b', "g"), &"+1".repeat(32)] {
            assert!(FileHash::parse(bad).is_err(), "{bad}");
        }
    }
}
