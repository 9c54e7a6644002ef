//! Files of a `peerbase_node`.

use super::call::milliseconds;
use super::error::guard;
use super::handle::{empty, put, text};
use super::mesh::one_json;
use super::node::{node, peerbase_node};
use super::reply::peerbase_reply;
use crate::error::Error;
use crate::json_object::Object;
use std::ffi::{c_char, c_int, c_void};

/// Bytes of a file's hash as text: 64 digits of hexadecimal and a NUL.
pub const PEERBASE_HASH_LEN: usize = 65;

/// What is told how far a file has come: the bytes that are there, those of the whole, and the `user` it was
/// given with. Runs on the thread that called `peerbase_node_request_file`.
pub type peerbase_progress =
    Option<unsafe extern "C" fn(received: u64, size: u64, user: *mut c_void)>;

/// Offers a file to the network. This function reads the whole file before it returns, so do not call it in a
/// callback, because no other handler of the node runs meanwhile. If the file is later changed or removed,
/// the node no longer offers it. `hash` must have room for PEERBASE_HASH_LEN bytes, and receives the hash by
/// which other nodes ask for the file, or "" after a failure. Returns 0, PEERBASE_ERR_IO if it cannot be
/// read, PEERBASE_ERR_DAMAGED if it changed meanwhile, PEERBASE_ERR_OVERLOADED, PEERBASE_ERR_STOPPED or
/// PEERBASE_ERR_ARGUMENT.
///
/// The functions of files are in the library if it was built with the feature `files`, which it is unless that
/// was switched off.
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

/// Where fetched files are put, and whose files `peerbase_node_refresh` offers; made if it is not there. Returns
/// 0, PEERBASE_ERR_IO, PEERBASE_ERR_STOPPED or PEERBASE_ERR_ARGUMENT.
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

/// Looks at the offered files again: those that have changed are offered as what they are now, those that are
/// gone not any more, and new regular files of the folder, hidden ones apart, from now on. What is new is read
/// before this returns, so not in a callback of a node that is to answer meanwhile. `*out`, if `out` is
/// not NULL, has one entry, whose JSON is an object with "added", "changed" and "removed". Returns 0,
/// PEERBASE_ERR_IO, PEERBASE_ERR_OVERLOADED, PEERBASE_ERR_STOPPED or PEERBASE_ERR_ARGUMENT.
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

/// Fetches a file by its hash, from whoever of the peers has it, several at once, into the folder of
/// `peerbase_node_set_file_dir`. `timeout_ms` is how long nothing may come, 0 to INT_MAX; more than a day counts
/// as a day. If a transfer is interrupted, the pieces that arrived are kept in the subfolder
/// ".peerbase-parts", and the next request for the file resumes with them. The file gets its final name after
/// it was verified.
///
/// `progress` may be NULL, and must not throw or longjmp. `*out`, if `out` is not NULL, has one entry, whose JSON is an object with "path" and
/// "size". Returns 0, PEERBASE_ERR_FILE_UNKNOWN if nobody has it, PEERBASE_ERR_DAMAGED if nobody has what the
/// hash says, PEERBASE_ERR_TOO_LARGE, PEERBASE_ERR_BROKEN if it was interrupted, PEERBASE_ERR_IO if it cannot
/// be written, which leaves nothing behind, PEERBASE_ERR_WOULD_DEADLOCK in a callback,
/// PEERBASE_ERR_STOPPED, or PEERBASE_ERR_ARGUMENT, also if no folder is set.
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
