//! Keys of networks.

use super::error::guard;
use crate::entropy::OsEntropy;
use crate::error::Error;
use crate::fernet::Key;
use std::ffi::{c_char, c_int};

/// Room in bytes for a key as text: 44 characters and a NUL.
pub const PEERBASE_KEY_LEN: usize = 45;

/// Makes a new network key, as text.
///
/// `out` must not be NULL and must have room for PEERBASE_KEY_LEN bytes; it belongs to the program.
/// After success it holds a secret, after a failure "". Any thread. Returns 0,
/// PEERBASE_ERR_ARGUMENT, or PEERBASE_ERR_IO if the kernel has no random source.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_key_generate(out: *mut c_char) -> c_int {
    guard(|| {
        if out.is_null() {
            return Err(Error::Argument("out is NULL"));
        }
        // SAFETY: the caller promises room for 45 characters. A failure must leave nothing that
        // looks like a key.
        unsafe { out.write(0) };
        let text = Key::generate(&mut OsEntropy::new()?).to_text();
        // SAFETY: the caller promises room for 45 characters; the text has 44.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr().cast(), out, text.len());
            out.add(text.len()).write(0);
        }
        Ok(())
    })
}
