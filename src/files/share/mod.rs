//! What this node offers. `info` tells other nodes about it, `line` is where their questions wait,
//! and `upload` reads it for them.

mod info;
mod line;
mod upload;

#[cfg(test)]
pub(super) use upload::{Place, upload_on};

use super::{FileHash, INFO, READ, Stamp, hash, open};
use crate::engine::Source;
use crate::error::Error;
use crate::limits::Limits;
use crate::name::NodeName;
use crate::node::Node;
use crate::table::Table;
use info::Questions;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A file that is offered.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
    /// Whether the path may be a symbolic link: only a path that the program named. A file in the
    /// folder is offered because it lies there, and a link that takes its place leads elsewhere.
    pub(super) links: bool,
}

impl Offer {
    fn of(path: &Path, links: bool) -> Result<(FileHash, Offer), Error> {
        let (hash, stamp) = hash(&open(path, links)?)?;
        let path = path.to_owned();
        Ok((hash, Offer { path, stamp, links }))
    }

    /// Whether the file has not changed since it was offered.
    fn is_current(&self) -> bool {
        #[cfg(test)]
        super::hostile_tests::the_disk_is_asked(&self.path);
        let metadata = match self.links {
            true => fs::metadata(&self.path),
            false => fs::symlink_metadata(&self.path),
        };
        metadata.is_ok_and(|m| m.is_file() && Stamp::of(&m) == self.stamp)
    }
}

/// What a look at the offered files has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Files of the folder that are offered now and were not before.
    pub added: usize,
    /// Files that now have other contents.
    pub changed: usize,
    /// Files that are gone, or can no longer be read.
    pub removed: usize,
}

#[derive(Debug, Default)]
struct Offers {
    by_hash: Table<FileHash, Offer>,
    folder: Option<PathBuf>,
    /// The files that are being fetched.
    fetching: Vec<FileHash>,
}

impl Offers {
    /// Whether a file may be offered among at most `most`.
    fn have_room(&self, hash: FileHash, most: usize) -> bool {
        self.by_hash.contains_key(&hash) || self.by_hash.len() < most
    }
}

/// The files of one node.
#[derive(Debug)]
pub(super) struct Share {
    offers: Mutex<Offers>,
    questions: Mutex<Questions>,
    /// The peers for which files are being read, and the source of each: one entry for each place
    /// that is taken.
    uploads: Mutex<Vec<(NodeName, Source)>>,
    /// When the next piece may be sent, if uploads are slowed down.
    next: Mutex<Instant>,
    pub(super) limits: Limits,
}

impl Share {
    pub(super) fn new(limits: Limits) -> Share {
        Share {
            offers: Mutex::default(),
            questions: Mutex::default(),
            uploads: Mutex::default(),
            next: Mutex::new(Instant::now()),
            limits,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Offers> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn folder(&self) -> Result<PathBuf, Error> {
        let folder = self.lock().folder.clone();
        folder.ok_or(Error::Argument("no folder is set for files"))
    }

    /// Offers a file that has been hashed. Returns whether it was not offered before.
    pub(super) fn offer(&self, hash: FileHash, offer: Offer) -> Result<bool, Error> {
        if !self.has_room(hash) {
            self.drop_gone();
        }
        let mut offers = self.lock();
        if !offers.have_room(hash, self.limits.files) {
            return Err(Error::Overloaded("as many files are offered as may be"));
        }
        let known = offers.by_hash.contains_key(&hash);
        offers.by_hash.insert(hash, offer);
        Ok(!known)
    }

    fn has_room(&self, hash: FileHash) -> bool {
        self.lock().have_room(hash, self.limits.files)
    }

    /// Drops the offers of files that have changed or are gone. Most files are not looked at again
    /// until a node asks for them.
    fn drop_gone(&self) {
        let offered: Vec<FileHash> = self.lock().by_hash.keys().copied().collect();
        for hash in offered {
            self.find(hash);
        }
    }

    /// An offered file that has not changed. One that has changed is no longer offered.
    pub(super) fn find(&self, hash: FileHash) -> Option<Offer> {
        let offer = self.lock().by_hash.get(&hash).cloned()?;
        if offer.is_current() {
            return Some(offer);
        }
        let mut offers = self.lock();
        // The file may have been offered again meanwhile, with its new contents.
        let still = |o: &Offer| o.path == offer.path && o.stamp == offer.stamp;
        if offers.by_hash.get(&hash).is_some_and(still) {
            offers.by_hash.remove(&hash);
        }
        None
    }

    /// Whether a file was offered, without a look at the disk.
    fn has_offered(&self, hash: FileHash) -> bool {
        self.lock().by_hash.contains_key(&hash)
    }

    /// Notes that a file is being fetched, until the result is dropped; `None` if it is being
    /// fetched already.
    pub(super) fn begin_fetch(&self, hash: FileHash) -> Option<Fetching<'_>> {
        let mut offers = self.lock();
        if offers.fetching.contains(&hash) {
            return None;
        }
        offers.fetching.push(hash);
        Some(Fetching { share: self, hash })
    }

    /// Looks at the files that are offered, and at the files in the folder.
    fn refresh(&self) -> Result<Refreshed, Error> {
        let mut found = Refreshed::default();
        let (known, folder) = {
            let offers = self.lock();
            let known: Vec<_> = offers
                .by_hash
                .iter()
                .map(|(h, o)| (*h, o.clone()))
                .collect();
            (known, offers.folder.clone())
        };
        for (old, offer) in &known {
            if self.find(*old).is_some() {
                continue;
            }
            match Offer::of(&offer.path, offer.links) {
                Ok((new, offer)) => {
                    self.offer(new, offer)?;
                    found.changed += 1;
                }
                Err(_) => found.removed += 1,
            }
        }
        let Some(folder) = folder else {
            return Ok(found);
        };
        let offered: BTreeSet<PathBuf> = {
            let offers = self.lock();
            offers.by_hash.values().map(|o| o.path.clone()).collect()
        };
        let failed = |e: io::Error| Error::io("reading the folder", &e);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Symbolic links and hidden files are not offered, only regular files that lie in the
            // folder.
            let plain = entry.file_type().is_ok_and(|t| t.is_file());
            let path = entry.path();
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !plain || hidden || offered.contains(&path) {
                continue;
            }
            if let Ok((hash, offer)) = Offer::of(&path, false)
                && self.offer(hash, offer)?
            {
                found.added += 1;
            }
        }
        Ok(found)
    }
}

/// The note that a file is being fetched.
pub(super) struct Fetching<'a> {
    share: &'a Share,
    hash: FileHash,
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.share.lock().fetching.retain(|h| *h != self.hash);
    }
}

impl Node {
    /// The files of this node.
    pub(super) fn share(&self) -> Result<Arc<Share>, Error> {
        self.extension(Share::new)
    }

    /// Offers a file to the network. Returns its SHA-256 in hexadecimal, by which other nodes ask
    /// for the file. The whole file is read here, on the calling thread. If it is later changed or
    /// removed, it is no longer offered; see [`Node::refresh`]. There is no other way to withdraw
    /// an offer, and no list of what is offered. [`Error::Overloaded`] says that as many files are
    /// offered as [`Limits::files`] allows; files that have changed or are gone do not count.
    pub fn add_file(&self, path: impl AsRef<Path>) -> Result<String, Error> {
        let share = self.share()?;
        let path = std::path::absolute(path).map_err(|e| Error::io("finding a file", &e))?;
        let (hash, offer) = Offer::of(&path, true)?;
        share.offer(hash, offer)?;
        self.serve_files(&share);
        Ok(hash.to_string())
    }

    /// Sets the folder into which files are fetched, and whose files [`Node::refresh`] offers. The
    /// folder is made if it does not exist. Call this before [`Node::request_file`], which has no
    /// folder otherwise.
    pub fn set_file_dir(&self, folder: impl AsRef<Path>) -> Result<(), Error> {
        let share = self.share()?;
        let failed = |e: std::io::Error| Error::io("making the folder", &e);
        fs::create_dir_all(&folder).map_err(failed)?;
        share.lock().folder = Some(fs::canonicalize(folder).map_err(failed)?);
        self.serve_files(&share);
        Ok(())
    }

    /// Looks at the offered files again. A file that has changed is offered with its new contents;
    /// a file that is gone is no longer offered; and a new regular file in the folder is offered
    /// from now on, unless its name begins with a dot.
    pub fn refresh(&self) -> Result<Refreshed, Error> {
        self.share()?.refresh()
    }

    fn serve_files(&self, share: &Arc<Share>) {
        let (info, read) = (share.clone(), share.clone());
        self.set_reserved(INFO, Arc::new(move |call| info::tell(&info, call)));
        self.set_reserved(READ, Arc::new(move |call| upload::upload(&read, call)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::hostile_tests::Folder;

    #[test]
    fn files_that_are_gone_or_have_changed_leave_their_places_to_others() {
        let folder = Folder::new("gone");
        let limits = Limits {
            files: 2,
            ..Limits::default()
        };
        let share = Share::new(limits);
        let write = |name: &str, data: &str| {
            let path = folder.0.join(name);
            fs::write(&path, data).unwrap();
            Offer::of(&path, true).unwrap()
        };
        let add = |(hash, offer)| share.offer(hash, offer);
        let log = write("log", "first");
        assert_eq!(add(log.clone()), Ok(true));
        assert_eq!(add(log), Ok(false), "it is offered already");
        assert_eq!(add(write("other", "other")), Ok(true));
        let third = write("third", "third");
        let full = add(third.clone());
        assert!(matches!(full, Err(Error::Overloaded(_))), "{full:?}");
        fs::remove_file(folder.0.join("other")).unwrap();
        assert_eq!(add(third), Ok(true), "one is gone");
        // Each time the file is offered under another hash.
        for contents in ["second one", "and a third"] {
            assert_eq!(add(write("log", contents)), Ok(true), "{contents}");
        }
        let full = add(write("fourth", "fourth"));
        assert!(matches!(full, Err(Error::Overloaded(_))), "{full:?}");
    }
}
