//! What interrupted requests have left in the folder for parts, and how much of it stays there.

use super::{LARGEST, Names, PARTS, count, discard, list};
use crate::files::FileHash;
use crate::files::folder::Folder;
use crate::files::ordered::ordered;
use crate::limits::FILE_PARTS_KEPT;
use crate::table::Table;
use nix::fcntl::OFlag;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// The file of which a part was kept, and its size, as far as it was believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct KeptPart {
    hash: FileHash,
    size: u64,
}

impl KeptPart {
    /// The part to which a name in the folder for parts belongs.
    fn of_name(name: &str) -> Option<KeptPart> {
        let (stem, ending) = name.rsplit_once('.')?;
        let (hash, size) = stem.split_once('-')?;
        let part = KeptPart {
            hash: FileHash::parse(hash).ok()?,
            size: size.parse().ok()?,
        };
        ["part", "pieces", "new"].contains(&ending).then_some(part)
    }

    fn names(self) -> Names {
        Names::of(self.hash, self.size)
    }
}

/// The parts that were kept in a folder for files.
pub(in crate::files) struct KeptParts {
    folder: Folder,
    parts: Folder,
    kept: Table<KeptPart, ()>,
}

impl KeptParts {
    /// Looks at a folder for files; `None` if it has no folder for parts, which is not made for
    /// this.
    pub(in crate::files) fn look(path: &Path) -> Option<KeptParts> {
        let folder = Folder::open(path).ok()?;
        let parts = folder.get(PARTS, OFlag::O_RDONLY | OFlag::O_DIRECTORY);
        let parts = Folder(parts.ok()?);
        let names = fs::read_dir(path.join(PARTS)).ok()?;
        let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        // Two names are about one part: its bytes, and the list of its pieces.
        let mut kept = Table::default();
        for part in names.filter_map(|name| KeptPart::of_name(&name)) {
            kept.insert(part, ());
        }
        Some(KeptParts {
            folder,
            parts,
            kept,
        })
    }

    /// Removes the parts that no request has gone on with for long, except those of one file, which
    /// is about to be requested.
    pub(in crate::files) fn remove_old(&self, except: FileHash) {
        let others = self.kept.keys().filter(|part| part.hash != except);
        for part in others {
            if self.age(*part).is_some_and(|age| age > FILE_PARTS_KEPT) {
                self.remove(*part);
            }
        }
    }

    /// Of the parts of one file, in the sizes that nodes have said, leaves the one with the most
    /// pieces. So however many sizes liars say, they fill no more of the disk than one file takes.
    pub(in crate::files) fn leave_best(&self, hash: FileHash) {
        let Ok(mut parts) = self.by_pieces(hash) else {
            // An error may pass, and then all of them are still there.
            return;
        };
        parts.pop();
        parts.into_iter().for_each(|part| self.remove(part));
    }

    /// Removes all parts of one file.
    pub(in crate::files) fn remove_all(&self, hash: FileHash) {
        self.of_file(hash).for_each(|part| self.remove(part));
    }

    fn of_file(&self, hash: FileHash) -> impl Iterator<Item = KeptPart> {
        self.kept.keys().copied().filter(move |p| p.hash == hash)
    }

    fn remove(&self, part: KeptPart) {
        discard(&self.folder, &self.parts, &part.names());
    }

    /// The parts of one file, the one with the most pieces last.
    fn by_pieces(&self, hash: FileHash) -> io::Result<Vec<KeptPart>> {
        let mut counted = Vec::new();
        for part in self.of_file(hash) {
            counted.push((self.pieces(part)?, part));
        }
        let counted = ordered(counted, |(pieces, part)| [*pieces as u64, part.size]);
        Ok(counted.into_iter().map(|(_, part)| part).collect())
    }

    /// How many pieces of a part are there.
    fn pieces(&self, part: KeptPart) -> io::Result<usize> {
        if part.size > LARGEST {
            return Ok(0);
        }
        let there = list::read(&self.parts, &part.names(), part.size, count(part.size))?;
        Ok(there.map_or(0, |there| there.iter().filter(|there| **there).count()))
    }

    /// How long ago a part or its list was written; `None` if that cannot be told.
    fn age(&self, part: KeptPart) -> Option<Duration> {
        let names = part.names();
        let age = |name: &String| {
            let found = self.parts.get(name, OFlag::O_PATH).ok()?;
            found.metadata().ok()?.modified().ok()?.elapsed().ok()
        };
        let files = [&names.part, &names.list, &names.new_list];
        files.into_iter().filter_map(age).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::hostile_tests::Folder as Temporary;
    use crate::files::part::{PIECE, Part};
    use std::time::SystemTime;

    const FILE: FileHash = FileHash([1; 32]);
    const OTHER: FileHash = FileHash([2; 32]);

    /// Keeps so many pieces of a file.
    fn keep(at: &Temporary, hash: FileHash, size: u64, pieces: u64) {
        let mut part = Part::open(&at.0, hash, size).unwrap();
        (0..pieces).for_each(|piece| part.mark(piece * PIECE).unwrap());
    }

    fn kept(at: &Temporary) -> Vec<KeptPart> {
        let kept = KeptParts::look(&at.0);
        let parts = kept.iter().flat_map(|kept| kept.kept.keys());
        parts.copied().collect()
    }

    fn part(hash: FileHash, size: u64) -> KeptPart {
        KeptPart { hash, size }
    }

    /// Makes a file look as if it had been written so long ago.
    fn age(at: &Temporary, name: &str, age: Duration) {
        let file = fs::File::open(at.0.join(PARTS).join(name)).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    #[test]
    fn of_one_file_the_part_with_the_most_pieces_is_left() {
        let at = Temporary::new("best");
        for (size, pieces) in [(PIECE, 0), (3 * PIECE, 2), (9 * PIECE, 1)] {
            keep(&at, FILE, size, pieces);
        }
        keep(&at, OTHER, 5, 0);
        KeptParts::look(&at.0).unwrap().leave_best(FILE);
        assert_eq!(kept(&at), [part(FILE, 3 * PIECE), part(OTHER, 5)]);
        let left = Part::open(&at.0, FILE, 3 * PIECE).unwrap();
        assert_eq!(left.received(), 2 * PIECE);
        KeptParts::look(&at.0).unwrap().remove_all(FILE);
        assert_eq!(kept(&at), [part(OTHER, 5)]);
        KeptParts::look(&at.0).unwrap().remove_all(OTHER);
        assert!(at.names().is_empty() && KeptParts::look(&at.0).is_none());
    }

    #[test]
    fn what_no_request_has_gone_on_with_for_a_week_is_removed() {
        let at = Temporary::new("aged");
        for hash in [FILE, OTHER] {
            [5, 6].iter().for_each(|size| keep(&at, hash, *size, 1));
        }
        let foreign = at.0.join(PARTS).join("notes.part");
        fs::write(&foreign, b"mine").unwrap();
        let old = FILE_PARTS_KEPT + Duration::from_secs(60);
        age(&at, "notes.part", old);
        for size in [5, 6] {
            age(&at, &Names::of(FILE, size).part, old);
        }
        // A request has written the list of one of them since.
        age(&at, &Names::of(FILE, 5).list, old);
        let young = FILE_PARTS_KEPT - Duration::from_secs(60);
        age(&at, &Names::of(FILE, 6).list, young);
        KeptParts::look(&at.0).unwrap().remove_old(FILE);
        assert_eq!(kept(&at).len(), 4, "it is about to be requested");
        KeptParts::look(&at.0).unwrap().remove_old(OTHER);
        let left = [part(FILE, 6), part(OTHER, 5), part(OTHER, 6)];
        assert_eq!(kept(&at), left);
        assert!(foreign.exists());
    }

    #[test]
    fn only_what_is_named_as_a_part_is_one() {
        let names = Names::of(FILE, 7);
        for name in [names.part, names.list, names.new_list] {
            assert_eq!(KeptPart::of_name(&name), Some(part(FILE, 7)), "{name}");
        }
        let long = FILE.to_string();
        for other in [
            "",
            "a.part",
            &long,
            &format!("{long}-x.part"),
            &format!("{long}-7.txt"),
        ] {
            assert_eq!(KeptPart::of_name(other), None, "{other}");
        }
    }
}
