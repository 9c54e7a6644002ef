//! The list of the pieces of a part that are there. It is a file beside the part: the size of the
//! whole file in decimal, a space, and for each piece a 1 if it is there or a 0 if it is missing.

use super::Names;
use crate::files::folder::Folder;
use nix::fcntl::{OFlag, renameat};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Reads which pieces are there. A list of another size is a list of another file. An error says
/// that there may be a list, but that it cannot be read now.
pub(super) fn read(
    parts: &Folder,
    names: &Names,
    size: u64,
    count: usize,
) -> io::Result<Option<Vec<bool>>> {
    let Some(file) = parts.find(&names.list, OFlag::O_RDONLY)? else {
        return Ok(None);
    };
    let begins = format!("{size} ");
    let mut text = Vec::new();
    let most = begins.len() + count + 1;
    file.take(most as u64).read_to_end(&mut text)?;
    let bits = text.strip_prefix(begins.as_bytes());
    let bits = bits.filter(|bits| bits.len() == count);
    Ok(bits.map(|bits| bits.iter().map(|bit| *bit == b'1').collect()))
}

/// Writes the list aside, and then puts it in place of the old one, so that a power cut or a full
/// disk leaves one of the two.
pub(super) fn write(parts: &Folder, names: &Names, size: u64, there: &[bool]) -> io::Result<File> {
    let bits = there.iter().map(|there| if *there { '1' } else { '0' });
    let text = format!("{size} {}", bits.collect::<String>());
    let list = parts.make(&names.new_list)?;
    let put = || -> io::Result<()> {
        list.write_all_at(text.as_bytes(), 0)?;
        list.sync_data()?;
        let (new, name) = (names.new_list.as_str(), names.list.as_str());
        Ok(renameat(&parts.0, new, &parts.0, name)?)
    };
    if let Err(e) = put() {
        let _ = parts.remove(&names.new_list);
        return Err(e);
    }
    Ok(list)
}
