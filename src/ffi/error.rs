//! The codes, their names, and the reason of the last failure of a thread.

use crate::error::{Code, Error};
use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// The code of an outcome. The text of a failure is kept for `peerbase_last_error`. This is a
/// function apart from [`guard`], because the compiler makes a copy of `guard` for each C function.
#[inline(never)]
fn code_of(outcome: Result<(), Error>) -> c_int {
    let Err(error) = outcome else { return 0 };
    explain(&error.to_string());
    error.code() as c_int
}

/// Keeps a text for `peerbase_last_error`.
pub(super) fn explain(text: &str) {
    let text = super::handle::c_string(text);
    // A thread that is ending no longer has a last error.
    let _ = LAST.try_with(|last| last.replace(text));
}

/// Runs the body of a C function. A panic does not get out of it, and a failure becomes its code.
pub(super) fn guard(f: impl FnOnce() -> Result<(), Error>) -> c_int {
    let stopped = Error::Internal("a panic was stopped at the C boundary");
    code_of(catch_unwind(AssertUnwindSafe(f)).unwrap_or(Err(stopped)))
}

/// As [`guard`], for functions that return a value: they return `fallback` if they fail.
pub(super) fn guard_value<T>(fallback: T, f: impl FnOnce() -> Result<T, Error>) -> T {
    let mut value = fallback;
    guard(|| {
        value = f()?;
        Ok(())
    });
    value
}

/// The name of a code, such as "command not found"; "unknown code" for a number that is none. The
/// string is static and never NULL. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn peerbase_strerror(code: c_int) -> *const c_char {
    let known = Code::ALL.into_iter().find(|c| *c as c_int == code);
    known.map_or(c"unknown code", Code::c_name).as_ptr()
}

/// Says in English why the last function that failed on this thread has failed: the text that
/// `peerbase_strerror` gives for the code, and most often a colon and details, such as which
/// argument was wrong, the system's words, or what the other node said. "" if none has failed.
/// Never NULL.
///
/// A function that succeeds leaves the text as it is, so read it only after a failure. Do not read
/// it among the arguments of one statement with the function that may fail, because C evaluates
/// arguments in any order. Each thread has its own text: a failure in a callback sets it on the
/// thread that ran the callback, which may be this thread, in a function that waits. Before an
/// event of a relay that is down or has refused this node, the library sets the text to the reason.
///
/// What another node said may be long and hold any character but NUL: do not use it as a format of
/// printf, and do not write it to a terminal unchecked. Compare codes, not texts, because texts may
/// change. The string belongs to the library, and is valid until another function of the library
/// fails on this thread.
#[unsafe(no_mangle)]
pub extern "C" fn peerbase_last_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr())
        .unwrap_or(c"".as_ptr())
}

/// The version of the library that is linked, such as "0.1.0". The PEERBASE_VERSION_ macros are the
/// version of the header. The string is static and never NULL. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn peerbase_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}
