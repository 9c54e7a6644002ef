//! Pointers from C, and pointers for C.
//!
//! An object is a box. In debug builds every box that C holds is also in a list, so that a box that
//! is freed twice, or that the library never made, is an error instead of a corrupted heap.

use crate::error::Error;
use std::ffi::{CStr, CString, c_char, c_void};

#[cfg(debug_assertions)]
mod live {
    use std::collections::BTreeSet;
    use std::sync::{Mutex, PoisonError};

    static LIVE: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

    pub(super) fn add(address: usize) {
        LIVE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(address);
    }

    pub(super) fn has(address: usize) -> bool {
        LIVE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&address)
    }

    pub(super) fn remove(address: usize) -> bool {
        LIVE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&address)
    }
}

#[cfg(not(debug_assertions))]
mod live {
    pub(super) fn add(_: usize) {}

    pub(super) fn has(_: usize) -> bool {
        true
    }

    pub(super) fn remove(_: usize) -> bool {
        true
    }
}

/// Gives an object to C.
pub(super) fn give<T>(object: T) -> *mut T {
    let pointer = Box::into_raw(Box::new(object));
    live::add(pointer as usize);
    pointer
}

/// Takes an object back from C, which has promised not to use it again.
///
/// # Safety
///
/// `pointer` is NULL, or came from [`give`] and was not taken back before.
pub(super) unsafe fn take<T>(pointer: *mut T) -> Result<Box<T>, Error> {
    if pointer.is_null() {
        return Err(Error::Argument("the object is NULL"));
    }
    if !live::remove(pointer as usize) {
        return Err(Error::Argument(
            "freed twice, or never made by this library",
        ));
    }
    // SAFETY: by the function's contract it is one of our boxes, and C no longer uses it.
    Ok(unsafe { Box::from_raw(pointer) })
}

/// Looks at an object that C owns.
///
/// # Safety
///
/// `pointer` is NULL or came from [`give`]; while the reference lives, the object is neither taken
/// back nor changed.
pub(super) unsafe fn borrow<'a, T>(pointer: *const T) -> Result<&'a T, Error> {
    if !pointer.is_null() && !live::has(pointer as usize) {
        return Err(Error::Argument("used after it was freed"));
    }
    // SAFETY: by the function's contract it is NULL or one of our boxes, alive and unchanged.
    unsafe { pointer.as_ref() }.ok_or(Error::Argument("the object is NULL"))
}

/// Changes an object that C owns.
///
/// # Safety
///
/// As for [`borrow`], and no other thread uses the object meanwhile.
pub(super) unsafe fn borrow_mut<'a, T>(pointer: *mut T) -> Result<&'a mut T, Error> {
    if !pointer.is_null() && !live::has(pointer as usize) {
        return Err(Error::Argument("used after it was freed"));
    }
    // SAFETY: by the function's contract it is NULL or one of our boxes, and ours alone for now.
    unsafe { pointer.as_mut() }.ok_or(Error::Argument("the object is NULL"))
}

/// Reads a text from C. `is_null` is the error if it is NULL, as in "path is NULL".
///
/// # Safety
///
/// `text` is NULL or NUL-terminated, and does not change while the reference lives.
pub(super) unsafe fn text<'a>(
    text: *const c_char,
    is_null: &'static str,
) -> Result<&'a str, Error> {
    if text.is_null() {
        return Err(Error::Argument(is_null));
    }
    // SAFETY: by the function's contract it is NUL-terminated.
    let text = unsafe { CStr::from_ptr(text) };
    let what = is_null.strip_suffix(" is NULL").unwrap_or(is_null);
    text.to_str().map_err(|_| Error::Utf8(what))
}

/// Reads bytes from C. `data` may be NULL if `len` is 0.
///
/// # Safety
///
/// `data` is readable for `len` bytes, which do not change while the reference lives.
pub(super) unsafe fn bytes<'a>(data: *const u8, len: usize) -> Result<&'a [u8], Error> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() || len > isize::MAX as usize {
        return Err(Error::Argument(
            "data is NULL or its length is out of range",
        ));
    }
    // SAFETY: by the function's contract there are `len` bytes.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// Writes a result to where C wants it.
///
/// # Safety
///
/// `out` is NULL or writable.
pub(super) unsafe fn put<T>(out: *mut T, value: T) -> Result<(), Error> {
    if out.is_null() {
        return Err(Error::Argument("out is NULL"));
    }
    // SAFETY: by the function's contract it is writable.
    unsafe { out.write(value) };
    Ok(())
}

/// Empties the place where C may want a result, before anything else can fail, so that after a
/// failure C does not read what was there before.
///
/// # Safety
///
/// `out` is NULL or writable.
pub(super) unsafe fn empty<T>(out: *mut T, nothing: T) {
    if !out.is_null() {
        // SAFETY: by the function's contract it is writable.
        unsafe { out.write(nothing) };
    }
}

/// A text for C to look at. A text that holds a NUL ends there, as C would read it.
pub(super) fn c_string(text: impl Into<Vec<u8>>) -> CString {
    match CString::new(text) {
        Ok(text) => text,
        Err(e) => {
            let at = e.nul_position();
            let mut bytes = e.into_vec();
            bytes.truncate(at);
            CString::new(bytes).unwrap_or_default()
        }
    }
}

/// The pointer that a callback gets back as its last argument, and the function that tells C that
/// the library no longer needs it.
pub(super) struct UserData {
    pub(super) user: *mut c_void,
    drop_user: Option<unsafe extern "C" fn(user: *mut c_void)>,
}

impl UserData {
    pub(super) fn new(
        user: *mut c_void,
        drop_user: Option<unsafe extern "C" fn(user: *mut c_void)>,
    ) -> UserData {
        UserData { user, drop_user }
    }
}

impl Drop for UserData {
    fn drop(&mut self) {
        if let Some(drop_user) = self.drop_user {
            // SAFETY: the program that registered it promised that it may be called once with this
            // pointer, from any thread.
            unsafe { drop_user(self.user) };
        }
    }
}

// SAFETY: the header says that a callback and its user data are used on the loop's thread and
// dropped on any thread.
unsafe impl Send for UserData {}
// SAFETY: as above; the library hands the pointer on and never dereferences it.
unsafe impl Sync for UserData {}
