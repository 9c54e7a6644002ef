//! A file of which some pieces are missing: where it is kept, and which of its pieces are there.
//!
//! A piece counts once it is on the disk, so that no piece is thought to be there after a power cut
//! that is not. The file gets its final name when all of it was checked.
//!
//! `list` is the list of the pieces that are there, and `kept` is what interrupted requests leave.

mod kept;
mod list;

pub(super) use kept::KeptParts;

use super::folder::Folder;
use super::{FileHash, Stamp, hash, name};
use crate::error::Error;
use crate::logging::record;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, renameat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes of one piece, which is fetched from one node at a time.
pub(super) const PIECE: u64 = 4 * 1024 * 1024;
/// Pieces of one file, whatever size is allowed: each takes a byte in memory, and one in the list.
const PIECES: u64 = 1024 * 1024;
/// Bytes of the largest file that can be fetched.
pub(super) const LARGEST: u64 = PIECE * PIECES;
/// The folder for parts, inside the folder for files.
const PARTS: &str = ".peerbase-parts";

fn failed(e: io::Error) -> Error {
    Error::io("writing a file", &e)
}

/// The names of a part and its list in the folder for parts. The size belongs to them, because
/// nodes may lie about it: what was kept of a file is not touched by an attempt to fetch it in
/// another size.
#[derive(Debug)]
struct Names {
    part: String,
    list: String,
    /// A list that is being written.
    new_list: String,
}

impl Names {
    fn of(hash: FileHash, size: u64) -> Names {
        Names {
            part: format!("{hash}-{size}.part"),
            list: format!("{hash}-{size}.pieces"),
            new_list: format!("{hash}-{size}.new"),
        }
    }
}

#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    folder: Folder,
    parts: Folder,
    names: Names,
    file: File,
    size: u64,
    there: Vec<bool>,
}

impl Part {
    /// Goes on with a part that was kept, or begins one.
    pub(super) fn open(path: &Path, hash: FileHash, size: u64) -> Result<Part, Error> {
        match Part::try_open(path, hash, size) {
            // The end of another fetch has just removed the empty folder for parts.
            Err(Error::Io {
                kind: ErrorKind::NotFound,
                ..
            }) => Part::try_open(path, hash, size),
            opened => opened,
        }
    }

    fn try_open(path: &Path, hash: FileHash, size: u64) -> Result<Part, Error> {
        if size > LARGEST {
            let fits = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
            let (size, limit) = (fits(size), fits(LARGEST));
            return Err(Error::TooLarge { size, limit });
        }
        let folder = Folder::open(path).map_err(failed)?;
        let parts = folder.below(PARTS).map_err(failed)?;
        let names = Names::of(hash, size);
        let kept = Pieces::kept(&parts, &names, size).map_err(failed)?;
        let was_kept = kept.is_some();
        match Pieces::open(&parts, &names, size, kept) {
            Ok(Pieces { file, there }) => Ok(Part {
                path: path.to_owned(),
                folder,
                parts,
                names,
                file,
                size,
                there,
            }),
            Err(e) => {
                // What was kept is still there when the error has passed.
                if !was_kept {
                    discard(&folder, &parts, &names);
                }
                Err(e)
            }
        }
    }

    /// Bytes of the whole file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The pieces that are missing: the offset and the length of each.
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

    /// Another handle of the file, to write pieces with.
    pub(super) fn file(&self) -> Result<File, Error> {
        self.file.try_clone().map_err(failed)
    }

    /// Notes that a piece was written.
    pub(super) fn mark(&mut self, offset: u64) -> Result<(), Error> {
        self.file.sync_data().map_err(failed)?;
        let at = (offset / PIECE) as usize;
        self.note(at, true);
        let listed = list::write(&self.parts, &self.names, self.size, &self.there);
        if listed.is_err() {
            self.note(at, false);
        }
        listed.map(drop).map_err(failed)
    }

    fn note(&mut self, piece: usize, is_there: bool) {
        if let Some(there) = self.there.get_mut(piece) {
            *there = is_there;
        }
    }

    /// Removes the part and its list.
    pub(super) fn discard(self) {
        discard(&self.folder, &self.parts, &self.names);
    }

    /// Checks the whole file, and gives it its name: the name that was offered, if it is plain and
    /// no file has it, or else a name with the hash. Returns `None` if the file is not what the
    /// hash says.
    pub(super) fn finish(
        self,
        expected: FileHash,
        offered: Option<&str>,
    ) -> Result<Option<(PathBuf, Stamp)>, Error> {
        self.file.sync_all().map_err(failed)?;
        let (found, stamp) = hash(&self.file)?;
        if found != expected {
            self.discard();
            return Ok(None);
        }
        let long = expected.to_string();
        let offered = offered.filter(|n| name::is_plain(n));
        let mut names: Vec<String> = offered.map(str::to_owned).into_iter().collect();
        names.extend(offered.map(|n| format!("{}-{n}", &long[..16])));
        names.push(long);
        for name in names {
            if self.give_name(&name)? {
                self.folder.0.sync_all().map_err(failed)?;
                let path = self.path.join(name);
                self.discard();
                return Ok(Some((path, stamp)));
            }
        }
        Err(Error::Argument("every name for the file is taken"))
    }

    /// Gives the checked file a name in the folder, unless something has that name.
    fn give_name(&self, name: &str) -> Result<bool, Error> {
        // The file that is open gets the name, whatever file has its name among the parts now. It
        // is a hard link, because a rename would replace a file of that name.
        let open = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let follow = AtFlags::AT_SYMLINK_FOLLOW;
        match linkat(AT_FDCWD, open.as_str(), &self.folder.0, name, follow) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(_) => self.rename(name),
        }
    }

    /// As [`Part::give_name`], for file systems without links and systems without /proc.
    fn rename(&self, name: &str) -> Result<bool, Error> {
        let swapped = || Error::Damaged("the part was replaced while it was fetched".into());
        match self.folder.get(name, OFlag::O_PATH) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            _ => return Ok(false),
        }
        let (part, file) = (self.names.part.as_str(), &self.file);
        if !self.parts.names(part, file).map_err(failed)? {
            return Err(swapped());
        }
        renameat(&self.parts.0, part, &self.folder.0, name).map_err(|e| failed(e.into()))?;
        if self.folder.names(name, file).map_err(failed)? {
            return Ok(true);
        }
        self.folder.remove(name).map_err(failed)?;
        Err(swapped())
    }
}

/// A part's file, and which pieces of it are there.
struct Pieces {
    file: File,
    there: Vec<bool>,
}

impl Pieces {
    /// What was kept of a part, if anything was. An error may pass, and then it is still there.
    fn kept(parts: &Folder, names: &Names, size: u64) -> io::Result<Option<Pieces>> {
        let Some(there) = list::read(parts, names, size, count(size))? else {
            return Ok(None);
        };
        match parts.find(&names.part, OFlag::O_RDWR)? {
            Some(file) if file.metadata()?.len() == size => Ok(Some(Pieces { file, there })),
            _ => Ok(None),
        }
    }

    /// Goes on with what was kept, or begins with no pieces.
    fn open(
        parts: &Folder,
        names: &Names,
        size: u64,
        kept: Option<Pieces>,
    ) -> Result<Pieces, Error> {
        // The list is written anew in any case. Its owner is then the owner of what this process
        // makes here. That is not always the user of the process, because file systems map users.
        let nothing = vec![false; count(size)];
        let there = kept.as_ref().map_or(&nothing, |kept| &kept.there);
        let list = list::write(parts, names, size, there).map_err(failed)?;
        let owner = |file: &File| file.metadata().map(|m| m.uid()).map_err(failed);
        let us = owner(&list)?;
        // The owner of the folder could swap the files in it, and the owner of the part could have
        // it open and write to it.
        if owner(&parts.0)? != us {
            return Err(Error::Argument(
                "the folder for parts is somebody else's: .peerbase-parts",
            ));
        }
        if let Some(kept) = kept
            && owner(&kept.file)? == us
        {
            return Ok(kept);
        }
        let file = parts.make(&names.part).map_err(failed)?;
        file.set_len(size).map_err(failed)?;
        list::write(parts, names, size, &nothing).map_err(failed)?;
        Ok(Pieces {
            file,
            there: nothing,
        })
    }
}

/// The number of pieces of a file.
fn count(size: u64) -> usize {
    size.div_ceil(PIECE) as usize
}

fn discard(folder: &Folder, parts: &Folder, names: &Names) {
    for name in [&names.part, &names.list, &names.new_list] {
        if let Err(e) = parts.remove(name) {
            record!(Warn, "removing a part: {e}");
        }
    }
    // This fails if the folder holds parts of other files, which are being fetched.
    let _ = unlinkat(&folder.0, PARTS, UnlinkatFlags::RemoveDir);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::FileHash;
    use std::fs;
    use std::os::unix::fs::{FileExt, symlink};

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
        let trap = format!("{}-a", &of(&data).to_string()[..16]);
        symlink("/etc/passwd", folder.join(trap)).unwrap();
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
        // A list that was damaged, or is of another size, counts as no list.
        for list in ["", "5 ", "6 1", "5 11", "x"] {
            let mut part = Part::open(&folder, of(b"right"), 5).unwrap();
            write(&mut part, b"wrong");
            fs::write(folder.join(PARTS).join(&part.names.list), list).unwrap();
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

    /// A part with all pieces, of a file that is to be `right`.
    fn whole(folder: &Path) -> Part {
        let mut part = Part::open(folder, of(b"right"), 5).unwrap();
        write(&mut part, b"right");
        part
    }

    #[test]
    fn what_was_checked_is_what_gets_the_name_whatever_is_put_in_its_place() {
        let (folder, outside) = (folder("swapped"), self::folder("swapped-for"));
        let parts = folder.join(PARTS);
        // The part is swapped for another file, or for a link.
        for by_link in [false, true] {
            let part = whole(&folder);
            let name = parts.join(&part.names.part);
            fs::remove_file(&name).unwrap();
            match by_link {
                false => fs::write(&name, b"wrong").unwrap(),
                true => symlink("/etc/passwd", &name).unwrap(),
            }
            let done = part.finish(of(b"right"), Some("a"));
            // No name leads to the checked file any more, so it cannot be renamed or linked.
            assert!(matches!(done, Err(Error::Damaged(_))), "{done:?}");
            assert_eq!(names(&folder), [PARTS]);
            fs::remove_dir_all(&parts).unwrap();
        }
        // The whole folder is swapped for a link, or for a folder with another file of the part's
        // name.
        for by_link in [false, true] {
            let part = whole(&folder);
            fs::rename(&parts, outside.join("away")).unwrap();
            fs::write(outside.join(&part.names.part), b"wrong").unwrap();
            match by_link {
                true => symlink(&outside, &parts).unwrap(),
                false => {
                    fs::create_dir(&parts).unwrap();
                    fs::write(parts.join(&part.names.part), b"wrong").unwrap();
                }
            }
            let (path, _) = part.finish(of(b"right"), Some("a")).unwrap().unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"right");
            fs::remove_file(path).unwrap();
            assert_eq!(
                fs::read(outside.join(Names::of(of(b"right"), 5).part)).unwrap(),
                b"wrong"
            );
            let _ = fs::remove_file(&parts);
            let _ = fs::remove_dir_all(&parts);
            fs::remove_dir_all(outside.join("away")).unwrap();
        }
        fs::remove_dir_all(folder).unwrap();
        fs::remove_dir_all(outside).unwrap();
    }

    #[test]
    fn a_link_in_place_of_the_folder_for_parts_is_an_error_and_nothing_is_written_there() {
        let (folder, outside) = (folder("linked"), self::folder("linked-to"));
        symlink(&outside, folder.join(PARTS)).unwrap();
        assert!(Part::open(&folder, of(b"right"), 5).is_err());
        assert!(names(&outside).is_empty());
        fs::remove_file(folder.join(PARTS)).unwrap();
        // A link in place of the folder for files, of the part, or of the list is not followed
        // either.
        let link = outside.join("link");
        symlink(&folder, &link).unwrap();
        assert!(Part::open(&link, of(b"right"), 5).is_err());
        let victim = outside.join("victim");
        fs::write(&victim, b"right").unwrap();
        drop(whole(&folder));
        for ending in ["part", "pieces"] {
            let name = folder
                .join(PARTS)
                .join(format!("{}-5.{ending}", of(b"right")));
            fs::remove_file(&name).unwrap();
            symlink(&victim, &name).unwrap();
            let part = Part::open(&folder, of(b"right"), 5).unwrap();
            assert_eq!(part.received(), 0, "{ending}");
            drop(part);
            assert_eq!(fs::read(&victim).unwrap(), b"right");
            drop(whole(&folder));
        }
        fs::remove_dir_all(folder).unwrap();
        fs::remove_dir_all(outside).unwrap();
    }

    #[test]
    fn a_folder_for_parts_that_is_somebody_elses_is_an_error() {
        let folder = folder("foreign");
        let parts = folder.join(PARTS);
        fs::create_dir(&parts).unwrap();
        if std::os::unix::fs::chown(&parts, Some(12_345), None).is_err() {
            eprintln!("skipped: giving a folder away takes a privilege");
            return;
        }
        let e = Part::open(&folder, of(b"right"), 5);
        assert!(matches!(e, Err(Error::Argument(_))), "{e:?}");
        assert!(!parts.exists() || names(&parts).is_empty());
        // A part that another user owns is begun anew: its owner may have it open.
        let _ = fs::remove_dir(&parts);
        let part = whole(&folder);
        let name = parts.join(&part.names.part);
        drop(part);
        std::os::unix::fs::chown(&name, Some(12_345), None).unwrap();
        assert_eq!(Part::open(&folder, of(b"right"), 5).unwrap().received(), 0);
        drop(whole(&folder));
        assert_eq!(Part::open(&folder, of(b"right"), 5).unwrap().received(), 5);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_attempt_in_another_size_leaves_what_was_kept() {
        let folder = folder("sizes");
        drop(whole(&folder));
        let other = Part::open(&folder, of(b"right"), 9).unwrap();
        assert_eq!(other.received(), 0);
        assert_eq!(Part::open(&folder, of(b"right"), 5).unwrap().received(), 5);
        drop(other);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_error_that_passes_leaves_the_pieces_that_were_kept() {
        let folder = folder("passing");
        drop(whole(&folder));
        // The list cannot be written, as on a full disk.
        let in_the_way = folder.join(PARTS).join(Names::of(of(b"right"), 5).new_list);
        fs::create_dir(&in_the_way).unwrap();
        let e = Part::open(&folder, of(b"right"), 5);
        assert!(matches!(e, Err(Error::Io { .. })), "{e:?}");
        fs::remove_dir(&in_the_way).unwrap();
        let mut part = Part::open(&folder, of(b"right"), 5).unwrap();
        assert_eq!(part.received(), 5);
        // A piece whose arrival cannot be noted is not there.
        part.note(0, false);
        fs::create_dir(&in_the_way).unwrap();
        assert!(part.mark(0).is_err());
        assert_eq!(part.received(), 0);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_size_that_nobody_could_keep_a_list_of_is_too_large_and_leaves_nothing() {
        let folder = folder("huge");
        for size in [LARGEST + 1, u64::MAX] {
            let e = Part::open(&folder, of(b"x"), size);
            assert!(matches!(e, Err(Error::TooLarge { .. })), "{e:?}");
        }
        assert!(names(&folder).is_empty());
        fs::remove_dir_all(folder).unwrap();
    }
}
