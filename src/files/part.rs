//! A file that is not whole yet: where it is kept, and which pieces of it are there.
//!
//! A piece counts once it is on the disk, so that after a power cut no piece is taken for there that is not.
//! The final name appears when all of it was checked.

use super::{FileHash, Stamp, hash, name};
use crate::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of one piece: fetched from one node at a time.
pub(super) const PIECE: u64 = 4 * 1024 * 1024;
/// The folder in the folder.
const PARTS: &str = ".peerbase-parts";

#[derive(Debug)]
pub(super) struct Part {
    folder: PathBuf,
    path: PathBuf,
    list: PathBuf,
    file: File,
    size: u64,
    there: Vec<bool>,
}

fn failed(e: std::io::Error) -> Error {
    Error::io("writing a file", &e)
}

/// Opens a regular file to write; nothing that a link might lead to.
fn open(path: &Path, fresh: bool) -> Result<File, Error> {
    if fresh {
        match fs::remove_file(path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(fresh).mode(0o600);
    options.open(path).map_err(failed)
}

impl Part {
    /// Goes on with a part, or begins one.
    pub(super) fn open(folder: &Path, hash: FileHash, size: u64) -> Result<Part, Error> {
        let parts = folder.join(PARTS);
        match fs::DirBuilder::new().mode(0o700).create(&parts) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(failed(e)),
            _ => {}
        }
        if !fs::symlink_metadata(&parts).map_err(failed)?.is_dir() {
            return Err(Error::Argument("the folder for parts is none"));
        }
        let path = parts.join(format!("{hash}.part"));
        let list = parts.join(format!("{hash}.pieces"));
        let count = usize::try_from(size.div_ceil(PIECE)).unwrap_or(usize::MAX);
        let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|m| m.is_file());
        let known = match is_file(&path) && is_file(&list) {
            true => fs::read_to_string(&list).unwrap_or_default(),
            false => String::new(),
        };
        // Of another size it would be of another file.
        let there: Option<Vec<bool>> = known
            .strip_prefix(&format!("{size} "))
            .filter(|bits| bits.len() == count)
            .map(|bits| bits.bytes().map(|b| b == b'1').collect());
        let file = open(&path, there.is_none())?;
        if there.is_none() {
            file.set_len(size).map_err(failed)?;
        }
        Ok(Part {
            folder: folder.to_owned(),
            path,
            list,
            file,
            size,
            there: there.unwrap_or_else(|| vec![false; count]),
        })
    }

    /// The pieces that are missing: where each begins, and its length.
    pub(super) fn missing(&self) -> Vec<(u64, u64)> {
        let piece = |i: usize| {
            let offset = i as u64 * PIECE;
            (offset, PIECE.min(self.size - offset))
        };
        let missing = self.there.iter().enumerate().filter(|(_, there)| !**there);
        missing.map(|(i, _)| piece(i)).collect()
    }

    /// Bytes that are there.
    pub(super) fn received(&self) -> u64 {
        let missing: u64 = self.missing().iter().map(|(_, length)| length).sum();
        self.size - missing
    }

    /// Another handle to write pieces with.
    pub(super) fn file(&self) -> Result<File, Error> {
        self.file.try_clone().map_err(failed)
    }

    /// A piece was written.
    pub(super) fn mark(&mut self, offset: u64) -> Result<(), Error> {
        self.file.sync_data().map_err(failed)?;
        if let Some(there) = self.there.get_mut((offset / PIECE) as usize) {
            *there = true;
        }
        let bits = |there: &bool| if *there { '1' } else { '0' };
        let bits: String = self.there.iter().map(bits).collect();
        let list = open(&self.list, true)?;
        let text = format!("{} {bits}", self.size);
        list.write_all_at(text.as_bytes(), 0).map_err(failed)
    }

    /// Nothing of it is worth keeping.
    pub(super) fn discard(self) {
        for path in [&self.path, &self.list] {
            if let Err(e) = fs::remove_file(path)
                && e.kind() != ErrorKind::NotFound
            {
                log::warn!("removing a part: {e}");
            }
        }
        // Not there when others are being fetched.
        let _ = fs::remove_dir(self.folder.join(PARTS));
    }

    /// Checks the whole, and gives it its name: the one that was offered, if that is a plain one that nothing
    /// has, or else one with the hash. `None` if it is not what the hash says.
    pub(super) fn finish(
        self,
        expected: FileHash,
        offered: Option<&str>,
    ) -> Result<Option<(PathBuf, Stamp)>, Error> {
        self.file.sync_all().map_err(failed)?;
        if hash(&self.path)?.0 != expected {
            self.discard();
            return Ok(None);
        }
        let long = expected.to_string();
        let offered = offered.filter(|n| name::is_plain(n));
        let mut names: Vec<String> = offered.map(str::to_owned).into_iter().collect();
        names.extend(offered.map(|n| format!("{}-{n}", &long[..16])));
        names.push(long);
        for name in names {
            let path = self.folder.join(name);
            // A link, because a rename would take the place of what is there.
            match fs::hard_link(&self.path, &path) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                // Where the file system has none.
                Err(_) if fs::symlink_metadata(&path).is_err() => {
                    fs::rename(&self.path, &path).map_err(failed)?;
                }
                Err(e) => return Err(failed(e)),
            }
            let stamp = Stamp::of(&fs::metadata(&path).map_err(failed)?);
            let folder = File::open(&self.folder).map_err(failed)?;
            folder.sync_all().map_err(failed)?;
            self.discard();
            return Ok(Some((path, stamp)));
        }
        Err(Error::Argument("every name for the file is taken"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::FileHash;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("peerbase-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn of(data: &[u8]) -> FileHash {
        use sha2::{Digest, Sha256};
        FileHash(Sha256::digest(data).into())
    }

    fn write(part: &mut Part, data: &[u8]) {
        for (offset, length) in part.missing() {
            let piece = &data[offset as usize..(offset + length) as usize];
            part.file().unwrap().write_all_at(piece, offset).unwrap();
            part.mark(offset).unwrap();
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut list: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        list.sort();
        list
    }

    #[test]
    fn a_part_goes_on_after_an_interruption_and_never_takes_anothers_name() {
        let folder = folder("resume");
        let data: Vec<u8> = (0..PIECE * 2 + 5).map(|i| (i % 251) as u8).collect();
        let size = data.len() as u64;
        let mut part = Part::open(&folder, of(&data), size).unwrap();
        assert_eq!(part.missing().len(), 3);
        part.file()
            .unwrap()
            .write_all_at(&data[..PIECE as usize], 0)
            .unwrap();
        part.mark(0).unwrap();
        drop(part);
        let mut part = Part::open(&folder, of(&data), size).unwrap();
        assert_eq!(part.missing(), [(PIECE, PIECE), (PIECE * 2, 5)]);
        assert_eq!(part.received(), PIECE);
        write(&mut part, &data);
        fs::write(folder.join("a"), b"mine").unwrap();
        std::os::unix::fs::symlink(
            "/etc/passwd",
            folder.join(format!("{}-a", &of(&data).to_string()[..16])),
        )
        .unwrap();
        let (path, _) = part.finish(of(&data), Some("a")).unwrap().unwrap();
        assert_eq!(path, folder.join(of(&data).to_string()));
        assert!(fs::read(&path).unwrap() == data);
        assert_eq!(fs::read(folder.join("a")).unwrap(), b"mine");
        assert_eq!(names(&folder).len(), 3, "nothing else is left");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_not_what_the_hash_says_leaves_nothing() {
        let folder = folder("wrong");
        let mut part = Part::open(&folder, of(b"right"), 5).unwrap();
        write(&mut part, b"wrong");
        assert!(part.finish(of(b"right"), Some("a")).unwrap().is_none());
        assert!(names(&folder).is_empty());
        // A list that was damaged, or of another size, is no list.
        for list in ["", "5 ", "6 1", "5 11", "x"] {
            let mut part = Part::open(&folder, of(b"right"), 5).unwrap();
            write(&mut part, b"wrong");
            fs::write(&part.list, list).unwrap();
            drop(part);
            let part = Part::open(&folder, of(b"right"), 5).unwrap();
            assert_eq!(part.received(), 0, "{list:?}");
            part.discard();
        }
        let mut part = Part::open(&folder, of(b"right"), 5).unwrap();
        write(&mut part, b"right");
        let (path, _) = part.finish(of(b"right"), Some("../../x")).unwrap().unwrap();
        assert_eq!(path, folder.join(of(b"right").to_string()));
        let empty = Part::open(&folder, of(b""), 0).unwrap();
        assert!(empty.missing().is_empty());
        let (path, _) = empty.finish(of(b""), Some("e")).unwrap().unwrap();
        assert_eq!(path, folder.join("e"));
        fs::remove_dir_all(folder).unwrap();
    }
}
