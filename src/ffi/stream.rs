//! `peerbase_stream`: the streams of a call, read and written.

use super::call::{command, milliseconds, names};
use super::error::guard;
use super::handle::{UserData, borrow, bytes, empty, give, put, take, text};
use super::node::{node, peerbase_node};
use super::reply::peerbase_reply;
use super::request::{peerbase_request, request_ends};
use crate::error::Error;
use crate::fork;
use crate::name::NodeName;
use crate::node::{CallStream, Ends, FanOut, Options, Targets};
use std::ffi::{c_char, c_int, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// One side of the two streams of a call: it reads one and writes the other; a stream to several
/// nodes only writes. It belongs to the program until `peerbase_stream_free`, which must be the
/// last use. One thread may read while another writes. The bytes that were read are verified only
/// when reading has reached the end: a stream that was cut off ends with PEERBASE_ERR_BROKEN, never
/// as if it were complete.
pub struct peerbase_stream {
    side: Side,
    /// The count of forks in the process that made the stream. A lock that another process held at
    /// a fork is of no use here.
    forks: u32,
}

/// What the stream belongs to. The calls that are to be waited for are taken out by that wait.
enum Side {
    One(Arc<Ends>, Mutex<Option<(NodeName, CallStream)>>),
    Several(Mutex<Option<FanOut>>),
    Served(Arc<Ends>),
}

/// A function that the library calls, where handlers run, when a stream can be read or written
/// again. It may still run once while, or after, another thread frees its stream: `user` must be
/// valid until `drop_user` was called.
pub type peerbase_ready = Option<unsafe extern "C" fn(user: *mut c_void)>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks the streams to several nodes. A thread that writes to them has them locked for as long as
/// that takes, and a callback must not wait for it.
fn lock_several(all: &Mutex<Option<FanOut>>) -> Result<MutexGuard<'_, Option<FanOut>>, Error> {
    match all.try_lock() {
        Ok(all) => Ok(all),
        Err(TryLockError::Poisoned(all)) => Ok(all.into_inner()),
        Err(TryLockError::WouldBlock) => Err(Error::WouldBlock),
    }
}

/// The error of waiting or writing after the call was waited for.
const AGAIN: Error = Error::Argument("the call was waited for already");

/// A stream that this process has made: for functions that the node would not refuse in a child of
/// a fork.
///
/// # Safety
///
/// As for [`borrow`].
unsafe fn here<'a>(stream: *const peerbase_stream) -> Result<&'a peerbase_stream, Error> {
    // SAFETY: by the function's contract.
    let stream = unsafe { borrow(stream) }?;
    match stream.forks == fork::count() {
        true => Ok(stream),
        false => Err(Error::Forked),
    }
}

impl peerbase_stream {
    fn new(side: Side) -> peerbase_stream {
        let forks = fork::count();
        peerbase_stream { side, forks }
    }

    fn ends(&self) -> Result<&Arc<Ends>, Error> {
        match &self.side {
            Side::One(ends, _) | Side::Served(ends) => Ok(ends),
            Side::Several(_) => Err(Error::Argument("a stream to several can only be written")),
        }
    }
}

/// How long to wait; none, which is without limit, for a negative number.
fn patience(timeout_ms: c_int) -> Option<Duration> {
    u64::try_from(timeout_ms).ok().map(Duration::from_millis)
}

/// Calls a command of another node, and streams to it and from it.
///
/// As `peerbase_node_call`, but it returns at once. `timeout_ms` is how long nothing may move in
/// either direction, 0 to INT_MAX milliseconds; more than a day (86 400 000) counts as a day. `out`
/// must not be NULL; `*out` is the stream, which the program frees with `peerbase_stream_free`, or
/// NULL. Any thread, also in a callback. Returns 0, what is wrong with the arguments,
/// PEERBASE_ERR_OVERLOADED or PEERBASE_ERR_STOPPED. `peerbase_stream_wait` says how the call ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_call_stream(
    handle: *mut peerbase_node,
    target: *const c_char,
    path: *const c_char,
    args: *const c_char,
    kwargs: *const c_char,
    timeout_ms: c_int,
    out: *mut *mut peerbase_stream,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for room for a pointer and NUL-terminated strings.
        let (target, ask) = unsafe {
            put(out, std::ptr::null_mut())?;
            (
                NodeName::new(text(target, "target is NULL")?)?,
                command(handle, path, args, kwargs)?,
            )
        };
        let options = Options {
            timeout: milliseconds(timeout_ms)?,
            ..Options::default()
        };
        let stream = node(handle)?.begin_stream(&target, ask, options)?;
        let ends = stream.ends().clone();
        let side = Side::One(ends, Mutex::new(Some((target, stream))));
        // SAFETY: as above.
        unsafe { put(out, give(peerbase_stream::new(side))) }
    })
}

/// Calls a command of several nodes and streams the same to each. `targets` are `count` names; NULL
/// and 0 stand for every peer that is known now, except those whose rules do not allow the call.
/// The slowest node sets the pace, and a node that fails is left out. The stream cannot be read.
/// Otherwise as `peerbase_node_call_stream`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_call_stream_many(
    handle: *mut peerbase_node,
    targets: *const *const c_char,
    count: usize,
    path: *const c_char,
    args: *const c_char,
    kwargs: *const c_char,
    timeout_ms: c_int,
    out: *mut *mut peerbase_stream,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for room for a pointer, NUL-terminated strings and `count` names.
        let (targets, ask): (Targets, _) = unsafe {
            put(out, std::ptr::null_mut())?;
            (names(targets, count)?, command(handle, path, args, kwargs)?)
        };
        let options = Options {
            timeout: milliseconds(timeout_ms)?,
            ..Options::default()
        };
        let fan_out = node(handle)?.begin_fan_out(targets, ask, options)?;
        let side = Side::Several(Mutex::new(Some(fan_out)));
        // SAFETY: as above.
        unsafe { put(out, give(peerbase_stream::new(side))) }
    })
}

/// Gives the streams of a command whose caller streams: one from the caller, and one to it. The
/// program still has to answer the request, with a function that consumes it, once all is written;
/// an answer with a value also finishes the stream that was written. `out` must not be NULL; `*out`
/// is the stream, which the program frees with `peerbase_stream_free`, or NULL.
///
/// One thread at a time may use the request. Handlers must not wait: read and write on another
/// thread, or with a timeout of 0. Returns 0, PEERBASE_ERR_ARGUMENT if the caller does not stream,
/// or its streams were already taken, PEERBASE_ERR_BROKEN if the caller has given up, or
/// PEERBASE_ERR_STOPPED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_stream(
    request: *const peerbase_request,
    out: *mut *mut peerbase_stream,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for a request that was not consumed, and room for a pointer.
        unsafe {
            put(out, std::ptr::null_mut())?;
            let side = Side::Served(request_ends(request)?);
            put(out, give(peerbase_stream::new(side)))
        }
    })
}

/// Reads at most `size` bytes into `data`; `*got` is how many. It is 0 at the end, when all bytes
/// have arrived and were verified. Waits at most `timeout_ms` milliseconds for bytes to arrive; a
/// negative number waits as long as the call lives, and 0 does not wait.
///
/// Neither `data` nor `got` may be NULL, and `size` must not be 0. `*got` is 0 unless the function
/// returns 0; the contents of `data` beyond `*got` are undefined. Any thread, but in a callback
/// only with a timeout of 0. Returns 0, PEERBASE_ERR_WOULD_BLOCK if nothing arrived in time,
/// PEERBASE_ERR_BROKEN if the stream ended before it was whole (`peerbase_last_error` says why, and
/// how much had arrived, if anything had), PEERBASE_ERR_WOULD_DEADLOCK in a callback,
/// PEERBASE_ERR_STOPPED or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_stream_read(
    stream: *mut peerbase_stream,
    data: *mut u8,
    size: usize,
    timeout_ms: c_int,
    got: *mut usize,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for room for a length.
        unsafe { put(got, 0) }?;
        if data.is_null() || size == 0 || size > isize::MAX as usize {
            return Err(Error::Argument("data is NULL or its size is out of range"));
        }
        // SAFETY: the header asks for a live stream and room for `size` bytes.
        let (stream, buf) = unsafe {
            // Nothing reads these zeros, but a slice must be of initialised memory.
            data.write_bytes(0, size);
            (borrow(stream)?, std::slice::from_raw_parts_mut(data, size))
        };
        let n = stream.ends()?.read(buf, patience(timeout_ms))?;
        // SAFETY: as above.
        unsafe { put(got, n) }
    })
}

/// Writes `len` bytes, or as many of them as there is room for within `timeout_ms` milliseconds in
/// all; `*wrote` is how many. They are copied. `data` may be NULL when `len` is 0. `wrote` may be
/// NULL if `timeout_ms` is negative: then all bytes are written, or the function fails. A stream to
/// several nodes takes all bytes and waits as long as it takes, so in a callback it returns
/// PEERBASE_ERR_WOULD_DEADLOCK; and PEERBASE_ERR_WOULD_BLOCK while another thread writes to it.
///
/// Otherwise as `peerbase_stream_read`, but `*wrote` also counts what was written before a failure.
/// PEERBASE_ERR_BROKEN also means that the reader accepts no more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_stream_write(
    stream: *mut peerbase_stream,
    data: *const u8,
    len: usize,
    timeout_ms: c_int,
    wrote: *mut usize,
) -> c_int {
    guard(|| {
        if wrote.is_null() && timeout_ms >= 0 {
            return Err(Error::Argument("wrote is NULL"));
        }
        // SAFETY: the header asks for NULL or room for a length, a live stream, and `len` bytes.
        let (stream, data) = unsafe {
            empty(wrote, 0);
            (borrow(stream)?, bytes(data, len)?)
        };
        let (count, outcome) = match &stream.side {
            Side::One(ends, _) | Side::Served(ends) => {
                write_in_time(ends, data, patience(timeout_ms))
            }
            Side::Several(all) => {
                // SAFETY: as above.
                unsafe { here(stream) }?;
                let outcome = lock_several(all)?.as_mut().ok_or(AGAIN)?.write_some(data);
                (outcome.as_ref().map_or(0, |n| *n), outcome.map(|_| ()))
            }
        };
        // SAFETY: as above.
        unsafe { empty(wrote, count) };
        outcome
    })
}

/// Writes as much as there is room for until the time is over. Returns how much that was, and what
/// ended it.
fn write_in_time(
    ends: &Ends,
    data: &[u8],
    patience: Option<Duration>,
) -> (usize, Result<(), Error>) {
    let until = patience.map(|patience| Instant::now() + patience);
    let mut count = 0;
    while count < data.len() {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match ends.write(&data[count..], left) {
            Ok(n) => count += n,
            // Some bytes were written; the program writes the rest later.
            Err(Error::WouldBlock) if count > 0 => break,
            Err(e) => return (count, Err(e)),
        }
    }
    (count, Ok(()))
}

/// Says that all was written. If a stream is freed before that, it is broken off, and its reader is
/// told so. Any thread, also in a callback. Returns 0, PEERBASE_ERR_FORKED, PEERBASE_ERR_ARGUMENT,
/// or PEERBASE_ERR_WOULD_BLOCK while another thread writes to a stream to several nodes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_stream_finish(stream: *mut peerbase_stream) -> c_int {
    guard(|| {
        // SAFETY: the header asks for a live stream.
        match &unsafe { here(stream) }?.side {
            Side::One(ends, _) | Side::Served(ends) => ends.finish(),
            Side::Several(all) => {
                if let Some(all) = lock_several(all)?.as_mut() {
                    all.finish();
                }
            }
        }
        Ok(())
    })
}

/// Breaks off the stream that is written, and tells the reader why. `why` is copied, up to 1 024
/// bytes, and may be NULL. Any thread, also in a callback. Returns 0, PEERBASE_ERR_UTF8,
/// PEERBASE_ERR_FORKED, or PEERBASE_ERR_ARGUMENT, also for a stream to several nodes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_stream_abort(
    stream: *mut peerbase_stream,
    why: *const c_char,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for a live stream and NULL or a NUL-terminated string.
        let (stream, why) = unsafe {
            let why = if why.is_null() {
                ""
            } else {
                text(why, "why is NULL")?
            };
            (here(stream)?, why)
        };
        stream.ends()?.abort(why);
        Ok(())
    })
}

/// Sets the handler that is called when a read or write that returned PEERBASE_ERR_WOULD_BLOCK can
/// be tried again; NULL removes it. It is called at least once after such returns, but only once if
/// both directions can go on at a time: so it tries all that it waits for. Set it before the first
/// read or write. It may read and write with a timeout of 0, and must not free the stream.
/// `drop_user` is called once with `user`, and may be NULL. Any thread. Returns 0,
/// PEERBASE_ERR_FORKED, or PEERBASE_ERR_ARGUMENT, also for a stream to several nodes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_stream_on_ready(
    stream: *mut peerbase_stream,
    handler: peerbase_ready,
    user: *mut c_void,
    drop_user: Option<unsafe extern "C" fn(user: *mut c_void)>,
) -> c_int {
    let user = UserData::new(user, drop_user);
    guard(|| {
        // SAFETY: the header asks for a live stream.
        let ends = unsafe { here(stream) }?.ends()?;
        let Some(handler) = handler else {
            ends.on_ready(None);
            return Ok(());
        };
        ends.on_ready(Some(Arc::new(move || {
            let user = &user;
            // SAFETY: set for being called like this.
            unsafe { handler(user.user) };
        })));
        Ok(())
    })
}

/// Says that all was written, discards what was not read, and waits for the value of the call that
/// this stream was made with. `out` must not be NULL; `*out` has an entry for each target, and the
/// program frees it with `peerbase_reply_free`.
///
/// Any thread, but not in a callback: there it returns PEERBASE_ERR_WOULD_DEADLOCK, and changes
/// nothing. Returns 0 for several targets; for one target as `peerbase_node_call`, and
/// PEERBASE_ERR_BROKEN if the stream of the command broke off; PEERBASE_ERR_WOULD_BLOCK while
/// another thread writes to a stream to several nodes; PEERBASE_ERR_ARGUMENT for a command's own
/// stream, or the second time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_stream_wait(
    stream: *mut peerbase_stream,
    out: *mut *mut peerbase_reply,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for a live stream and room for a pointer.
        let stream = unsafe {
            put(out, std::ptr::null_mut())?;
            here(stream)?
        };
        let (reply, failure) = match &stream.side {
            Side::Served(_) => return Err(Error::Argument("a command waits for no value")),
            Side::Several(all) => {
                let mut all = take_to_wait(lock_several(all)?, FanOut::check_may_wait)?;
                (peerbase_reply::new(all.payloads()?), None)
            }
            Side::One(_, call) => {
                let (target, mut call) =
                    take_to_wait(lock(call), |(_, call)| call.check_may_wait())?;
                peerbase_reply::of_one(target, call.payload())
            }
        };
        // SAFETY: as above.
        unsafe { put(out, reply.give()) }?;
        failure.map_or(Ok(()), Err)
    })
}

/// Takes out the calls that are to be waited for. If this thread may not wait, they stay for a
/// thread that may.
fn take_to_wait<T>(
    mut calls: MutexGuard<'_, Option<T>>,
    check: impl FnOnce(&T) -> Result<(), Error>,
) -> Result<T, Error> {
    check(calls.as_ref().ok_or(AGAIN)?)?;
    calls.take().ok_or(AGAIN)
}

/// Frees a stream: what was not read is discarded, what was not finished is broken off, and a call
/// that was not waited for is cancelled. NULL is allowed. Freeing it twice is not; a debug build of
/// the library notices that and does nothing. Any thread, also in a callback other than the
/// stream's own; it must be the last use of the stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_stream_free(stream: *mut peerbase_stream) {
    if !stream.is_null() {
        guard(|| {
            // SAFETY: the header asks for one that was not freed before.
            drop(unsafe { take(stream) }?);
            Ok(())
        });
    }
}
