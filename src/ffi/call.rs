//! Calls of a `peerbase_node`.

use super::error::guard;
use super::handle::{UserData, bytes, empty, put, text};
use super::node::{here, node, peerbase_node};
use super::reply::peerbase_reply;
use crate::engine::{Ask, CallNumber};
use crate::error::Error;
use crate::json;
use crate::name::{CommandPath, NodeName};
use crate::node::{CallId, Node, Options, RawAnswer, Targets, first_failure};
use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

/// A flag of `peerbase_node_call_many`: the first failure ends the call, and the function returns
/// it.
pub const PEERBASE_CALL_RAISE_ERRORS: u32 = 1;
/// A flag of `peerbase_node_call_many`: a target that is not known is an error at once. Without the
/// flag the call waits for the target until its timeout.
pub const PEERBASE_CALL_NO_WAIT: u32 = 2;

/// A function that the library calls when an asynchronous call has ended. `reply` belongs to the
/// library and is valid until the function returns; `user` is what the call was begun with. It runs
/// where handlers run: see `peerbase_handler`.
pub type peerbase_callback =
    Option<unsafe extern "C" fn(reply: *const peerbase_reply, user: *mut c_void)>;

pub(super) fn milliseconds(timeout_ms: c_int) -> Result<Duration, Error> {
    let ms =
        u64::try_from(timeout_ms).map_err(|_| Error::Argument("a timeout must not be negative"))?;
    Ok(Duration::from_millis(ms))
}

/// Reads the texts of a call. NULL args are an empty array, and NULL kwargs an empty object.
///
/// # Safety
///
/// Each string is NULL or NUL-terminated.
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
    // Before the texts are parsed: parsing a hundred megabytes only to refuse them is a waste.
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

/// Calls a command of another node and waits for the answer.
///
/// `target` is the node's name. If no node of this name is known yet, the function waits for one
/// until the timeout. `args` is a JSON array and `kwargs` a JSON object; NULL stands for an empty
/// one. `timeout_ms` is 0 to INT_MAX milliseconds; more than a day (86 400 000) counts as a day.
/// All arguments are copied. `out` must not be NULL.
///
/// If the peer answered with a value, or that the command failed, is unknown or was refused, `*out`
/// is a reply of one entry, which the program frees with `peerbase_reply_free`; otherwise `*out` is
/// NULL.
///
/// Any thread, but not in a callback: there it returns PEERBASE_ERR_WOULD_DEADLOCK. Returns the
/// outcome of the call: 0, PEERBASE_ERR_COMMAND_NOT_FOUND, PEERBASE_ERR_COMMAND_FAILED,
/// PEERBASE_ERR_TIMEOUT, PEERBASE_ERR_UNREACHABLE, PEERBASE_ERR_PEER_RESTARTED,
/// PEERBASE_ERR_OVERLOADED if the command did not run because a limit was reached,
/// PEERBASE_ERR_ANSWER_LOST if it ran and its answer could not be kept or accepted,
/// PEERBASE_ERR_REFUSED or PEERBASE_ERR_STOPPED. After PEERBASE_ERR_TIMEOUT the command may have
/// run, even with a timeout of 0. If an argument is invalid, returns the code for that;
/// PEERBASE_ERR_TOO_LARGE also means that the arguments exceed the limit of the peer.
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
        one(&node(handle)?, target, ask, options, out)
    })
}

/// Calls one node. If the node has answered, C gets the answer as a reply and its code as the
/// result. If no answer came, C gets the error alone.
fn one(
    node: &Node,
    target: NodeName,
    ask: Ask,
    options: Options,
    out: *mut *mut peerbase_reply,
) -> Result<(), Error> {
    use Error::{CommandFailed, CommandNotFound, Refused};
    let answer = match node.call_one(&target, ask, options) {
        Err(e) if !matches!(e, CommandFailed(_) | CommandNotFound(_) | Refused(_)) => {
            return Err(e);
        }
        answer => answer,
    };
    let (reply, failure) = peerbase_reply::of_one(target, answer);
    // SAFETY: the header asks for room for a pointer.
    unsafe { put(out, reply.give()) }?;
    failure.map_or(Ok(()), Err)
}

/// Sends bytes to another node's message handler, and waits for the bytes that the handler answers.
/// Read them with `peerbase_reply_data`. `data` is copied, and may be NULL when `len` is 0.
/// Otherwise as `peerbase_node_call`.
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
            out,
        )
    })
}

/// Calls a command of several nodes and waits for all of them.
///
/// `targets` are `count` names; NULL and 0 stand for every peer that is known now. At most
/// `max_in_flight` nodes are asked at a time; 0 stands for 64. `flags` is a sum of PEERBASE_CALL_
/// constants, or 0. `*out` is a reply with an entry for each target, which the program frees with
/// `peerbase_reply_free`. Of every peer, those whose rules do not allow the call have no entry.
///
/// Returns 0 whatever the entries say, unless PEERBASE_CALL_RAISE_ERRORS is among the flags: then
/// it returns the first failure, after which the other calls were cancelled. Otherwise as
/// `peerbase_node_call`.
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
        unsafe { put(out, peerbase_reply::new(answers).give()) }?;
        raised.map_or(Ok(()), Err)
    })
}

/// Calls a command of every peer that is known now and waits for all of them. This is
/// `peerbase_node_call_many` with no names, no flags, and 64 nodes at a time.
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

/// Reads the targets of a call; NULL and 0 are every peer.
///
/// # Safety
///
/// `targets` is NULL, or points to `count` NUL-terminated strings.
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

/// Begins a call of another node's command, or of every known peer's if `target` is "*", and
/// returns at once.
///
/// If this function returns 0, `callback` is called once when the call has ended, where handlers
/// run; otherwise it is not called. `callback` must not be NULL. `drop_user` is called once with
/// `user` in any case, and may be NULL.
///
/// `id` may be NULL; otherwise `*id` is the number that `peerbase_node_cancel` takes, or 0 for "*"
/// and after a failure. The call may end before this function returns, and `*id` is written after
/// that, so `id` must not point into memory that `callback` or `drop_user` frees.
///
/// Any thread, also in a callback. Otherwise as `peerbase_node_call`.
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
            let reply = peerbase_reply::new(answers).give();
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

/// Cancels a call that was begun with `peerbase_node_call_async`. Unless the call has ended before,
/// its callback is told PEERBASE_ERR_CANCELLED. Any thread, also in a callback. Returns 0, also if
/// the call has ended, PEERBASE_ERR_FORKED, or PEERBASE_ERR_ARGUMENT if `handle` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_cancel(handle: *mut peerbase_node, id: u64) -> c_int {
    guard(|| {
        here(handle)?.cancel(CallId(CallNumber(id)));
        Ok(())
    })
}

/// Asks another node for its commands. This is `peerbase_node_call` of "__list_commands__", whose
/// answer is a JSON array of dotted paths.
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
