//! Files by their SHA-256: offered to the network, and fetched from the nodes that have them.
//!
//! `share` is what this node offers and how it is read for other nodes; `fetch` fetches a file;
//! `part` is a file of which some pieces are missing; `hash` is what a file is called, and how a
//! whole file is checked; `name` says which offered names are accepted; `folder` is a folder that
//! is used by its handle. Folders and files to which other users of this host may write are opened
//! once and used by that handle, so that the file that was checked is the file that is used.
//! `ordered` orders what is to be tried.
//!
//! All of it is streams of two reserved commands. The engine knows nothing of files.

mod fetch;
mod folder;
mod hash;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod interrupted_tests;
mod name;
mod ordered;
mod part;
mod share;
#[cfg(test)]
mod slow_tests;

pub use fetch::{Fetched, Progress};
pub use share::Refreshed;

use hash::{FileHash, Stamp, failed_to_read, hash, open};

/// The command that says whether a node has a file: `[hash]` → `{"size", "name"}` or null.
const INFO: &str = "__file_info__";
/// The command that streams a part of a file: `[hash, offset, length]`.
const READ: &str = "__file__";
/// Bytes that are read at once.
const BUFFER: usize = 64 * 1024;
