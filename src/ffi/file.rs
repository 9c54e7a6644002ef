//! Files of a `peerbase_node`: offered, and fetched.

use super::call::milliseconds;
use super::error::guard;
use super::handle::{empty, put, text};
use super::mesh::one_json;
use super::node::{node, peerbase_node};
use super::reply::peerbase_reply;
use crate::error::Error;
use crate::json_object::Object;
use std::ffi::{c_char, c_int, c_void};

/// Room in bytes for a file's hash as text: 64 hexadecimal digits and a NUL.
pub const PEERBASE_HASH_LEN: usize = 65;

/// A function that the library calls while a file is being fetched: how many bytes have been
/// received, the size of the whole file in bytes, and the `user` that it was given with. It runs on
/// the thread that called `peerbase_node_request_file`.
pub type peerbase_progress =
    Option<unsafe extern "C" fn(received: u64, size: u64, user: *mut c_void)>;

/// Offers a file to the network. This function reads the whole file before it returns, so do not
/// call it in a callback, because no other handler of the node runs meanwhile. If the file is later
/// changed or removed, the node no longer offers it. `path` is copied. `hash` must have room for
/// PEERBASE_HASH_LEN bytes, and receives the hash by which other nodes ask for the file, or ""
/// after a failure. Neither may be NULL.
///
/// Any thread. Returns 0, PEERBASE_ERR_IO if the file cannot be read, PEERBASE_ERR_DAMAGED if it
/// changed meanwhile, PEERBASE_ERR_OVERLOADED if the node offers as many files as it may,
/// PEERBASE_ERR_STOPPED, PEERBASE_ERR_UTF8 or PEERBASE_ERR_ARGUMENT.
///
/// The functions of files are in the library if it was built with the feature `files`, which it is
/// unless that was switched off.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_add_file(
    handle: *mut peerbase_node,
    path: *const c_char,
    hash: *mut c_char,
) -> c_int {
    guard(|| {
        if hash.is_null() {
            return Err(Error::Argument("hash is NULL"));
        }
        // SAFETY: the header asks for this much room and more.
        unsafe { empty(hash, 0) };
        // SAFETY: the header asks for a NUL-terminated string.
        let path = unsafe { text(path, "path is NULL") }?;
        let found = node(handle)?.add_file(path)?;
        let mut bytes = [0; PEERBASE_HASH_LEN];
        for (to, from) in bytes.iter_mut().zip(found.bytes()) {
            *to = from as c_char;
        }
        // SAFETY: the header asks for this much room.
        unsafe { put(hash.cast::<[c_char; PEERBASE_HASH_LEN]>(), bytes) }
    })
}

/// Sets the folder into which files are fetched, and whose files `peerbase_node_refresh` offers.
/// The folder is made if it does not exist. `folder` is copied and must not be NULL. Any thread.
/// Returns 0, PEERBASE_ERR_IO, PEERBASE_ERR_STOPPED, PEERBASE_ERR_UTF8 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_set_file_dir(
    handle: *mut peerbase_node,
    folder: *const c_char,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for a NUL-terminated string.
        let folder = unsafe { text(folder, "folder is NULL") }?;
        node(handle)?.set_file_dir(folder)
    })
}

/// Looks at the offered files again. A file that has changed is offered with its new contents; a
/// file that is gone is no longer offered; and a new regular file in the folder is offered from now
/// on, unless its name begins with a dot. New contents are read before the function returns, so do
/// not call it in a callback of a node that has to answer meanwhile.
///
/// `*out`, if `out` is not NULL, is a reply of one entry, whose JSON is an object with the numbers
/// "added", "changed" and "removed"; the program frees it with `peerbase_reply_free`. Any thread.
/// Returns 0, PEERBASE_ERR_IO, PEERBASE_ERR_OVERLOADED, PEERBASE_ERR_STOPPED or
/// PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_refresh(
    handle: *mut peerbase_node,
    out: *mut *mut peerbase_reply,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for NULL or room for a pointer.
        unsafe { empty(out, std::ptr::null_mut()) };
        let node = node(handle)?;
        let found = node.refresh()?;
        let mut counts = Object::new();
        counts.plain("added", found.added);
        counts.plain("changed", found.changed);
        counts.plain("removed", found.removed);
        one_json(&node, counts.end(), out)
    })
}

/// Fetches a file by its hash into the folder of `peerbase_node_set_file_dir`, from the peers that
/// have it, several at once. `timeout_ms` is how long the transfer may make no progress, also
/// before any peer has said that it has the file, 0 to INT_MAX milliseconds; more than a day
/// (86 400 000) counts as a day. If a transfer is interrupted, also by an error of this node such
/// as a full disk, the pieces that have arrived whole are kept in the subfolder ".peerbase-parts",
/// and the next request for the file resumes with them. The file gets its final name after it was
/// verified.
///
/// `hash` is copied and must not be NULL. `progress` may be NULL, and must not throw or longjmp.
/// `*out`, if `out` is not NULL, is a reply of one entry, whose JSON is an object with "path" and
/// "size" (in bytes); the program frees it with `peerbase_reply_free`.
///
/// Any thread, but not in a callback: there it returns PEERBASE_ERR_WOULD_DEADLOCK. Returns 0,
/// PEERBASE_ERR_FILE_UNKNOWN if no peer has the file, PEERBASE_ERR_DAMAGED if no peer sent what the
/// hash says, PEERBASE_ERR_TOO_LARGE, PEERBASE_ERR_BROKEN if the transfer was interrupted,
/// PEERBASE_ERR_IO if the file cannot be written, PEERBASE_ERR_STOPPED, PEERBASE_ERR_UTF8, or
/// PEERBASE_ERR_ARGUMENT, also if no folder is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_request_file(
    handle: *mut peerbase_node,
    hash: *const c_char,
    timeout_ms: c_int,
    progress: peerbase_progress,
    user: *mut c_void,
    out: *mut *mut peerbase_reply,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for NULL or room for a pointer.
        unsafe { empty(out, std::ptr::null_mut()) };
        // SAFETY: the header asks for a NUL-terminated string.
        let hash = unsafe { text(hash, "hash is NULL") }?;
        let told = |p: crate::files::Progress| {
            if let Some(progress) = progress {
                // SAFETY: given for being called like this, on this thread.
                unsafe { progress(p.received, p.size, user) };
            }
        };
        let node = node(handle)?;
        let got = node.request_file(hash, milliseconds(timeout_ms)?, told)?;
        let mut file = Object::new();
        file.text("path", &got.path.to_string_lossy());
        file.plain("size", got.size);
        one_json(&node, file.end(), out)
    })
}
