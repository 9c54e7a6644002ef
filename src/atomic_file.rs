//! Files that are replaced atomically: after a power failure, a file has either its old or its new
//! content.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The name of a file with an ending added.
pub(crate) fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Replaces a file, or makes it. Only its owner may read and write it. What is left of an attempt
/// that failed is removed.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = beside(file, ".new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&fresh).and_then(|mut out| {
        out.write_all(bytes)?;
        out.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&fresh, file));
    if let Err(e) = replaced {
        let _ = fs::remove_file(&fresh);
        return Err(e);
    }
    // The new name is on the disk when the folder is.
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new(".")));
    folder.and_then(|f| f.sync_all())
}

/// The first `most` bytes of a file; `None` if there is no file.
pub(crate) fn read(file: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match File::open(file) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
        Ok(open) => open.take(most).read_to_end(&mut bytes)?,
    };
    Ok(Some(bytes))
}

/// Gives a damaged file another name, so that it can be looked at and is not read again. Returns
/// that name.
pub(crate) fn set_aside(file: &Path) -> io::Result<PathBuf> {
    let aside = beside(file, ".damaged");
    fs::rename(file, &aside)?;
    Ok(aside)
}
