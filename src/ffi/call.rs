//! Calls of a `peerbase_node`.

use super::error::guard;
use super::handle::{UserData, bytes, empty, put, text};
use super::node::{here, node, peerbase_node};
use super::reply::{Holds, peerbase_reply};
use crate::engine::{Ask, CallNumber};
use crate::error::Error;
use crate::json;
use crate::name::{CommandPath, NodeName};
use crate::node::{CallId, Node, Options, RawAnswer, Targets, first_failure};
use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

/// For `flags`: the first failure ends a call of several, and is what it returns.
pub const PEERBASE_CALL_RAISE_ERRORS: u32 = 1;
/// For `flags`: a name that is not known is an error at once, and not waited for.
pub const PEERBASE_CALL_NO_WAIT: u32 = 2;

/// What is told how a call ended: the reply, which is the library's and good during the call, and the
/// `user` it was begun with. Runs where handlers run.
pub type peerbase_callback =
    Option<unsafe extern "C" fn(reply: *const peerbase_reply, user: *mut c_void)>;

pub(super) fn milliseconds(timeout_ms: c_int) -> Result<Duration, Error> {
    let ms =
        u64::try_from(timeout_ms).map_err(|_| Error::Argument("a timeout must not be negative"))?;
    Ok(Duration::from_millis(ms))
}

/// Reads a call's texts; NULL args are none, NULL kwargs likewise.
///
/// # Safety
///
/// Each is NULL or NUL-terminated.
pub(super) unsafe fn command(
    handle: *const peerbase_node,
    path: *const c_char,
    args: *const c_char,
    kwargs: *const c_char,
) -> Result<Ask, Error> {
    // SAFETY: by the function's contract.
    let (path, args, kwargs) = unsafe {
        let args = if args.is_null() {
            "[]"
        } else {
            text(args, "args is NULL")?
        };
        let kwargs = if kwargs.is_null() {
            "{}"
        } else {
            text(kwargs, "kwargs is NULL")?
        };
        (text(path, "path is NULL")?, args, kwargs)
    };
    // Before reading them: a hundred megabytes are not worth it.
    let (size, limit) = (args.len() + kwargs.len(), node(handle)?.max_message());
    if size > limit {
        return Err(Error::TooLarge { size, limit });
    }
    json::check_args(args.as_bytes())?;
    json::check_kwargs(kwargs.as_bytes())?;
    Ok(Ask::Command {
        path: CommandPath::new(path)?,
        args: args.as_bytes().to_vec(),
        kwargs: kwargs.as_bytes().to_vec(),
    })
}

/// Calls a command of another node and waits for its answer.
///
/// `target` is the node's name; if it is not known yet it is waited for. `args` is a JSON array and `kwargs`
/// a JSON object; NULL for none. `timeout_ms` is 0 to INT_MAX; more than a day (86 400 000) counts as a day.
/// All are copied. If the peer answered with a value, or that the command failed, is unknown or was refused,
/// `*out` is a reply of one entry, to be freed with `peerbase_reply_free`; otherwise it is NULL. After
/// PEERBASE_ERR_TIMEOUT the command may have run, even with a timeout of 0. Returns the outcome of the call:
/// 0, PEERBASE_ERR_COMMAND_NOT_FOUND, PEERBASE_ERR_COMMAND_FAILED, PEERBASE_ERR_TIMEOUT,
/// PEERBASE_ERR_UNREACHABLE, PEERBASE_ERR_PEER_RESTARTED, PEERBASE_ERR_OVERLOADED if the command did not run
/// because a limit was reached, PEERBASE_ERR_ANSWER_LOST if it ran and its answer could not be kept or
/// accepted, PEERBASE_ERR_REFUSED or PEERBASE_ERR_STOPPED. If an argument is invalid, returns the code for
/// that; PEERBASE_ERR_TOO_LARGE also means that the arguments exceed the limit of the peer. Returns
/// PEERBASE_ERR_WOULD_DEADLOCK in a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_call(
    handle: *mut peerbase_node,
    target: *const c_char,
    path: *const c_char,
    args: *const c_char,
    kwargs: *const c_char,
    timeout_ms: c_int,
    out: *mut *mut peerbase_reply,
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
        one(&node(handle)?, target, ask, options, Holds::Json, out)
    })
}

/// Calls one node. What somebody answered is handed to C, and its code is the result; what nobody
/// answered is only an error.
fn one(
    node: &Node,
    target: NodeName,
    ask: Ask,
    options: Options,
    holds: Holds,
    out: *mut *mut peerbase_reply,
) -> Result<(), Error> {
    use Error::{CommandFailed, CommandNotFound, Refused};
    let answer = match node.call_one(&target, ask, options) {
        Err(e) if !matches!(e, CommandFailed(_) | CommandNotFound(_) | Refused(_)) => {
            return Err(e);
        }
        answer => answer,
    };
    let (reply, failure) = peerbase_reply::of_one(target, answer, holds);
    // SAFETY: the header asks for room for a pointer.
    unsafe { put(out, reply.give()) }?;
    failure.map_or(Ok(()), Err)
}

/// Sends bytes to another node's message handler, and waits for the bytes it answers, which are read with
/// `peerbase_reply_data`. `data` may be NULL when `len` is 0. Otherwise as `peerbase_node_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_send(
    handle: *mut peerbase_node,
    target: *const c_char,
    data: *const u8,
    len: usize,
    timeout_ms: c_int,
    out: *mut *mut peerbase_reply,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for room for a pointer, a NUL-terminated string and `len` bytes.
        let (target, data) = unsafe {
            put(out, std::ptr::null_mut())?;
            (
                NodeName::new(text(target, "target is NULL")?)?,
                bytes(data, len)?,
            )
        };
        let options = Options {
            timeout: milliseconds(timeout_ms)?,
            ..Options::default()
        };
        one(
            &node(handle)?,
            target,
            Ask::Message(data.to_vec()),
            options,
            Holds::Data,
            out,
        )
    })
}

/// Calls a command of several nodes and waits for all of them.
///
/// `targets` are `count` names; NULL and 0 are every peer that is known now. At most `max_in_flight` are asked
/// at a time; 0 is 64. `flags` is a sum of PEERBASE_CALL_…. `*out` has an entry for each target. Returns 0
/// whatever the entries say, unless PEERBASE_CALL_RAISE_ERRORS is among the flags: then the first failure,
/// for which the other calls were cancelled. Otherwise as `peerbase_node_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_call_many(
    handle: *mut peerbase_node,
    targets: *const *const c_char,
    count: usize,
    path: *const c_char,
    args: *const c_char,
    kwargs: *const c_char,
    timeout_ms: c_int,
    max_in_flight: usize,
    flags: u32,
    out: *mut *mut peerbase_reply,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for room for a pointer, NUL-terminated strings and `count` names.
        let (targets, ask) = unsafe {
            put(out, std::ptr::null_mut())?;
            (names(targets, count)?, command(handle, path, args, kwargs)?)
        };
        if flags & !(PEERBASE_CALL_RAISE_ERRORS | PEERBASE_CALL_NO_WAIT) != 0 {
            return Err(Error::Argument("unknown flags"));
        }
        let defaults = Options::default();
        let options = Options {
            timeout: milliseconds(timeout_ms)?,
            wait: flags & PEERBASE_CALL_NO_WAIT == 0,
            max_in_flight: if max_in_flight == 0 {
                defaults.max_in_flight
            } else {
                max_in_flight
            },
            raise_errors: flags & PEERBASE_CALL_RAISE_ERRORS != 0,
        };
        let answers = node(handle)?.call_many(targets, ask, options)?;
        let raised = match options.raise_errors {
            true => first_failure(answers.iter().filter_map(|(_, r)| r.as_ref().err())),
            false => None,
        };
        // SAFETY: as above.
        unsafe { put(out, peerbase_reply::new(answers, Holds::Json).give()) }?;
        raised.map_or(Ok(()), Err)
    })
}

/// Calls a command of every peer that is known now and waits for all of them: `peerbase_node_call_many` with
/// no names, no flags and 64 at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_call_all(
    handle: *mut peerbase_node,
    path: *const c_char,
    args: *const c_char,
    kwargs: *const c_char,
    timeout_ms: c_int,
    out: *mut *mut peerbase_reply,
) -> c_int {
    // SAFETY: this function's promises are that one's.
    unsafe {
        peerbase_node_call_many(
            handle,
            std::ptr::null(),
            0,
            path,
            args,
            kwargs,
            timeout_ms,
            0,
            0,
            out,
        )
    }
}

/// # Safety
///
/// `targets` is NULL or `count` NUL-terminated strings.
pub(super) unsafe fn names(targets: *const *const c_char, count: usize) -> Result<Targets, Error> {
    if targets.is_null() {
        return match count {
            0 => Ok(Targets::All),
            _ => Err(Error::Argument("targets is NULL")),
        };
    }
    // SAFETY: by the function's contract.
    let list = unsafe { std::slice::from_raw_parts(targets, count) };
    // SAFETY: as above.
    let name = |t: &*const c_char| NodeName::new(unsafe { text(*t, "target is NULL") }?);
    Ok(Targets::List(
        list.iter().map(name).collect::<Result<_, _>>()?,
    ))
}

/// Begins a call of another node's command, or of every known peer's when `target` is "*", and returns at
/// once.
///
/// `callback` is called once, where handlers run, unless this returns a code other than 0; `drop_user` is
/// called once in any case, and may be NULL. `id` may be NULL; otherwise `*id` is what `peerbase_node_cancel`
/// takes, or 0 for "*" and after a failure. The call may end before this returns, and `*id` is written after
/// that: it must not be part of what `callback` or `drop_user` frees. Otherwise as `peerbase_node_call`, and safe
/// in a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_call_async(
    handle: *mut peerbase_node,
    target: *const c_char,
    path: *const c_char,
    args: *const c_char,
    kwargs: *const c_char,
    timeout_ms: c_int,
    callback: peerbase_callback,
    user: *mut c_void,
    drop_user: Option<unsafe extern "C" fn(user: *mut c_void)>,
    id: *mut u64,
) -> c_int {
    let user = UserData::new(user, drop_user);
    guard(|| {
        // SAFETY: the header asks for NULL or room for a number.
        unsafe { empty(id, 0) };
        let callback = callback.ok_or(Error::Argument("callback is NULL"))?;
        // SAFETY: the header asks for NUL-terminated strings.
        let (target, ask) = unsafe {
            (
                text(target, "target is NULL")?,
                command(handle, path, args, kwargs)?,
            )
        };
        let options = Options {
            timeout: milliseconds(timeout_ms)?,
            ..Options::default()
        };
        let done = move |answers: Vec<RawAnswer>| {
            let user = &user;
            let reply = peerbase_reply::new(answers, Holds::Json).give();
            // SAFETY: begun for being called like this; the reply is taken back right after.
            unsafe {
                callback(reply, user.user);
                super::reply::peerbase_reply_free(reply);
            }
        };
        let node = node(handle)?;
        let number = if target == "*" {
            node.begin_many(Targets::All, ask, options, Box::new(done))?;
            0
        } else {
            let name = NodeName::new(target)?;
            let of = name.clone();
            node.begin_one(
                &name,
                ask,
                options,
                Box::new(move |outcome| done(vec![(of, outcome)])),
            )?
            .0
        };
        if id.is_null() {
            return Ok(());
        }
        // SAFETY: the header asks for NULL or room for a number.
        unsafe { put(id, number) }
    })
}

/// Gives up on a call begun with `peerbase_node_call_async`: its callback is told PEERBASE_ERR_CANCELLED,
/// unless the call has ended. Returns 0, also for a call that has ended, or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_cancel(handle: *mut peerbase_node, id: u64) -> c_int {
    guard(|| {
        here(handle)?.cancel(CallId(CallNumber(id)));
        Ok(())
    })
}

/// The commands of another node: `peerbase_node_call` of "__list_commands__", which answers with a JSON array
/// of dotted paths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_get_commands(
    handle: *mut peerbase_node,
    target: *const c_char,
    timeout_ms: c_int,
    out: *mut *mut peerbase_reply,
) -> c_int {
    let (path, none) = (c"__list_commands__".as_ptr(), std::ptr::null());
    // SAFETY: this function's promises are that one's.
    unsafe { peerbase_node_call(handle, target, path, none, none, timeout_ms, out) }
}
