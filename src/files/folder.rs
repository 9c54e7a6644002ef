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

    /// Opens the regular file of a name in this folder; `None` if no such file has that name, or
    /// this process may not open it. An error may pass: too many files may be open, or the disk may
    /// not answer.
    pub(super) fn find(&self, name: &str, flags: OFlag) -> io::Result<Option<File>> {
        match self.get(name, flags) {
            Ok(file) => Ok(file.metadata()?.is_file().then_some(file)),
            Err(e) if is_no_file_of_ours(&e) => Ok(None),
            Err(e) => Err(e),
        }
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

/// Whether a file could not be opened because of what has its name: nothing, a symbolic link, a
/// file of somebody else, a socket, or a folder.
fn is_no_file_of_ours(e: &io::Error) -> bool {
    use Errno::{EACCES, EISDIR, ELOOP, ENOENT, ENXIO};
    let errno = e.raw_os_error().map(Errno::from_raw);
    errno.is_some_and(|e| [ENOENT, ELOOP, EACCES, ENXIO, EISDIR].contains(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::hostile_tests::Folder as Temporary;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_is_no_regular_file_is_not_found() {
        let at = Temporary::new("finds");
        let folder = Folder::open(&at.0).unwrap();
        fs::write(at.0.join("file"), b"data").unwrap();
        fs::create_dir(at.0.join("folder")).unwrap();
        symlink(at.0.join("file"), at.0.join("link")).unwrap();
        let _socket = UnixListener::bind(at.0.join("socket")).unwrap();
        let find = |name: &str| folder.find(name, OFlag::O_RDWR).map(|f| f.is_some());
        assert!(find("file").unwrap());
        for other in ["nothing", "folder", "link", "socket"] {
            assert!(!find(other).unwrap(), "{other}");
        }
    }

    #[test]
    fn an_error_that_may_pass_does_not_say_that_there_is_no_file() {
        let at = Temporary::new("passes");
        let folder = Folder::open(&at.0).unwrap();
        // No file system takes a name of this length, which stands for a disk that fails.
        assert!(folder.find(&"x".repeat(300), OFlag::O_RDONLY).is_err());
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::EIO, Errno::ENOMEM] {
            assert!(!is_no_file_of_ours(&errno.into()), "{errno}");
        }
    }
}
