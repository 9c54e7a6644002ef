//! Files that hold one secret: a line of a prefix and 32 bytes in base64url. Other lines are empty
//! or comments, which begin with `#`.
//!
//! Only the owner may read and write such a file (mode 0600). It is there as a whole or not at all,
//! whenever the power fails.

use crate::base64url;
use crate::entropy::Entropy;
use crate::error::Error;
use crate::limits::SECRET_FILE_MAX;
use nix::fcntl::OFlag;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The secret in the text of a file; none if it has another line, or several such lines.
pub(crate) fn secret(text: &str, prefix: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let secret = base64url::bytes(lines.next()?.strip_prefix(prefix)?)?;
    lines.next().is_none().then_some(secret)
}

/// Reads a file; none if there is none. A file that others may read or write is refused.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, Error> {
    let failed = |e: &io::Error| failure("reading a secret file", path, e);
    let mut options = OpenOptions::new();
    // A named pipe is opened without waiting for its other end, and refused below.
    options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let file = match options.open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(&e)),
    };
    let metadata = file.metadata().map_err(|e| failed(&e))?;
    let at = path.display();
    if !metadata.is_file() {
        return Err(Error::Damaged(format!("{at}: this is not a regular file")));
    }
    if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o7777;
        return Err(Error::Refused(format!(
            "{at}: its mode is {mode:03o}, so others may use the secret in it; only its owner may: \
             chmod 600"
        )));
    }
    // All the room that it may take, because a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_FILE_MAX + 1));
    file.take(SECRET_FILE_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| failed(&e))?;
    if bytes.len() > SECRET_FILE_MAX {
        return Err(Error::Damaged(format!(
            "{at}: a file with a secret has at most {SECRET_FILE_MAX} bytes"
        )));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Some(Zeroizing::new(text.to_owned()))),
        Err(_) => Err(Error::Damaged(format!("{at}: this is not UTF-8"))),
    }
}

/// Makes a file. Nothing is changed if a file has that name already; the result says whether the
/// file was made.
///
/// The text is written to a file beside it, which gets the name when it is on the disk. Of several
/// processes that make the file at once, one does.
pub(crate) fn create(path: &Path, text: &str, entropy: &mut impl Entropy) -> Result<bool, Error> {
    let failed = |e: io::Error| failure("making a secret file", path, &e);
    let fresh = beside(path, u64::from_be_bytes(entropy.array()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&fresh).map_err(failed)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    let named = written.and_then(|()| fs::hard_link(&fresh, path));
    fs::remove_file(&fresh).map_err(failed)?;
    match named {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(e) => return Err(failed(e)),
    }
    // The new name is on the disk when the folder is.
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new(".")));
    folder.and_then(|f| f.sync_all()).map_err(failed)?;
    Ok(true)
}

/// The error of a file that is to be made, and is there already.
pub(crate) fn exists(path: &Path) -> Error {
    failure(
        "making a secret file",
        path,
        &ErrorKind::AlreadyExists.into(),
    )
}

/// The error of a file that is to be read, and is not there.
pub(crate) fn missing(path: &Path) -> Error {
    failure("reading a secret file", path, &ErrorKind::NotFound.into())
}

/// The error of a file that holds something else than it should.
pub(crate) fn wrong(path: &Path, error: &Error) -> Error {
    Error::Damaged(format!("{}: {error}", path.display()))
}

fn failure(doing: &'static str, path: &Path, error: &io::Error) -> Error {
    Error::Io {
        doing,
        kind: error.kind(),
        text: format!("{}: {error}", path.display()),
    }
}

fn beside(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number:016x}.new"));
    name.into()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::entropy::Counting;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const TEXT: &str = "# kept\nkey-CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n";

    /// A folder of a test's own, gone with it.
    pub(crate) struct Folder(pub(crate) PathBuf);

    impl Folder {
        pub(crate) fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("peerbase-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        pub(crate) fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
            names.collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_one_line_that_is_no_comment_holds_the_secret() {
        let line = TEXT.lines().nth(1).unwrap();
        assert_eq!(secret(TEXT, "key-").as_deref(), Some(&[9; 32]));
        for good in [
            line.to_owned(),
            format!("{line}\n\n# end"),
            format!("\n{line}\r\n"),
        ] {
            assert!(secret(&good, "key-").is_some(), "{good:?}");
        }
        let bad = [
            String::new(),
            "# nothing\n".to_owned(),
            format!("{line}\n{line}\n"),
            format!(" {line}\n"),
            format!("{line} # kept\n"),
            line.replace("key-", "lock-"),
            line[..line.len() - 1].to_owned(),
        ];
        for bad in bad {
            assert!(secret(&bad, "key-").is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_file_is_made_once_for_its_owner_only() {
        let folder = Folder::new("secret-made");
        let path = folder.0.join("secret");
        assert_eq!(read(&path), Ok(None));
        assert_eq!(create(&path, TEXT, &mut Counting(0)), Ok(true));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(create(&path, "other", &mut Counting(0)), Ok(false));
        assert_eq!(read(&path).unwrap().unwrap().as_str(), TEXT);
        assert_eq!(folder.names(), ["secret"], "nothing is left beside it");
        let nowhere = folder.0.join("no/such/folder");
        let failed = create(&nowhere, TEXT, &mut Counting(0)).unwrap_err();
        assert!(failed.to_string().contains("no/such/folder"), "{failed}");
    }

    #[test]
    fn a_file_that_was_not_finished_has_not_got_its_name() {
        let folder = Folder::new("secret-cut");
        let path = folder.0.join("secret");
        // What is left of a process that was killed while it wrote.
        fs::write(beside(&path, 7), &TEXT[..9]).unwrap();
        assert_eq!(read(&path), Ok(None));
        assert_eq!(create(&path, TEXT, &mut Counting(0)), Ok(true));
        assert_eq!(read(&path).unwrap().unwrap().as_str(), TEXT);
    }

    #[test]
    fn what_others_may_read_or_write_is_refused() {
        let folder = Folder::new("secret-mode");
        let path = folder.0.join("secret");
        create(&path, TEXT, &mut Counting(0)).unwrap();
        for mode in [0o640, 0o620, 0o604, 0o602, 0o610, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = read(&path).unwrap_err();
            let words = refused.to_string();
            assert!(matches!(refused, Error::Refused(_)), "{words}");
            assert!(words.contains(&format!("{mode:03o}")) && words.contains("chmod 600"));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(
            read(&path).unwrap().is_some(),
            "its owner need not write it"
        );
    }

    #[test]
    fn what_is_no_small_text_file_is_damaged() {
        let folder = Folder::new("secret-odd");
        let path = folder.0.join("secret");
        let put = |bytes: &[u8]| {
            let _ = fs::remove_file(&path);
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        };
        put(&vec![b'#'; SECRET_FILE_MAX]);
        assert!(read(&path).unwrap().is_some());
        for bad in [&vec![b'#'; SECRET_FILE_MAX + 1], b"\xff".as_slice()] {
            put(bad);
            assert!(matches!(read(&path), Err(Error::Damaged(_))));
        }
        assert!(
            matches!(read(&folder.0), Err(Error::Damaged(_))),
            "a folder"
        );
        let link = folder.0.join("link");
        symlink("nowhere", &link).unwrap();
        assert_eq!(read(&link), Ok(None));
        assert_eq!(create(&link, TEXT, &mut Counting(0)), Ok(false));
    }
}
