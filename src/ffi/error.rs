//! Codes, their names, and the reason of the last failure.

use crate::error::{Code, Error};
use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// The code of an outcome; a failure's text is kept for `peerbase_last_error`. Apart from [`guard`], of
/// which there is a copy for each function.
#[inline(never)]
fn code_of(outcome: Result<(), Error>) -> c_int {
    let Err(error) = outcome else { return 0 };
    explain(&error.to_string());
    error.code() as c_int
}

/// Keeps a text for `peerbase_last_error`.
pub(super) fn explain(text: &str) {
    let text = super::handle::c_string(text);
    // A thread that is ending has no last error any more.
    let _ = LAST.try_with(|last| last.replace(text));
}

/// Runs what a C function does: no panic gets out, and a failure becomes its code.
pub(super) fn guard(f: impl FnOnce() -> Result<(), Error>) -> c_int {
    let stopped = Error::Internal("a panic was stopped at the C boundary");
    code_of(catch_unwind(AssertUnwindSafe(f)).unwrap_or(Err(stopped)))
}

/// As [`guard`], for functions that give a value, and `fallback` when they fail.
pub(super) fn guard_value<T>(fallback: T, f: impl FnOnce() -> Result<T, Error>) -> T {
    let mut value = fallback;
    guard(|| {
        value = f()?;
        Ok(())
    });
    value
}

/// The name of a code, such as "command not found". A static string, never NULL; any thread.
#[unsafe(no_mangle)]
pub extern "C" fn peerbase_strerror(code: c_int) -> *const c_char {
    let known = Code::ALL.into_iter().find(|c| *c as c_int == code);
    known.map_or(c"unknown code", Code::c_name).as_ptr()
}

/// Why the last function that failed on this thread failed, in English: what `peerbase_strerror` gives for its
/// code, and most often a colon and the details, such as which argument it was, the system's words, or what the
/// other node said. "" if none has failed. Never NULL.
///
/// One that succeeds leaves it as it is, so look at it only after a failure, and not among the arguments of one
/// statement with the function that may fail: C evaluates those in any order. It is of this thread alone; what failed
/// in a callback is told on the thread that ran it, which may be this one in a function that waits. Before an event
/// of a relay that is down or has refused, it is set to the reason. What another node said may be long and hold any
/// characters but NUL: it is no format for printf, and nothing for a terminal unseen. Compare codes, not texts, which
/// may change. The string is the library's, and good until another of its functions fails on this thread.
#[unsafe(no_mangle)]
pub extern "C" fn peerbase_last_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr())
        .unwrap_or(c"".as_ptr())
}

/// The version of the library that is linked, such as "0.1.0"; the PEERBASE_VERSION_ macros are those of
/// the header. A static string; any thread.
#[unsafe(no_mangle)]
pub extern "C" fn peerbase_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}
