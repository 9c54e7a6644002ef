//! A folder that is used by its handle, so that the folder that was checked is the one that is
//! used.

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// An open folder. If another folder takes its name, its methods still work on this one. They
/// follow no symbolic link.
#[derive(Debug)]
pub(super) struct Folder(pub(super) File);

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Folder> {
        let mut options = OpenOptions::new();
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        options.read(true).custom_flags(flags.bits());
        options.open(path).map(Folder)
    }

    /// Opens a folder in this one, and makes it if it does not exist.
    pub(super) fn below(&self, name: &str) -> io::Result<Folder> {
        match mkdirat(&self.0, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(e.into()),
        }
        self.get(name, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
            .map(Folder)
    }

    /// Opens the file of a name in this folder. It does not wait, as it would for the other end of
    /// a named pipe.
    pub(super) fn get(&self, name: &str, flags: OFlag) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let handle = openat(&self.0, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        Ok(handle.into())
    }

    /// Makes a new file, in place of a file of that name.
    pub(super) fn make(&self, name: &str) -> io::Result<File> {
        self.remove(name)?;
        self.get(name, OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL)
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether a name in this folder is that of an open file.
    pub(super) fn names(&self, name: &str, file: &File) -> io::Result<bool> {
        let own = file.metadata()?;
        match self.get(name, OFlag::O_PATH) {
            Ok(found) => {
                let found = found.metadata()?;
                Ok((found.dev(), found.ino()) == (own.dev(), own.ino()))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
}
