//! `peerbase_request`: a call or message of somebody, to be answered.

use super::error::{guard, guard_value};
use super::handle::{UserData, borrow, bytes, c_string, empty, give, put, take, text};
use crate::error::Error;
use crate::json;
use crate::node::{Call, Ends, Handler, Message, MessageHandler};
use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::Arc;

/// What answers commands or messages. It is given a request, which it owns from then on and must answer
/// with one of the `peerbase_request_` functions that consume it, now or later, from any thread; and the
/// `user` it was registered with. It runs on the loop's thread, or the one that calls
/// `peerbase_node_process`, and may call any function of the node, except that waiting there is
/// PEERBASE_ERR_WOULD_DEADLOCK. It must not be NULL where it is registered.
///
/// Of each peer at most 1 024 requests may be unanswered at a time (PEERBASE_LIMIT_SERVED_PER_PEER); further ones are
/// answered with PEERBASE_ERR_OVERLOADED and come to no handler. A handler that keeps requests must answer each some
/// time. Messages to everyone count together, in bytes, until they are consumed (PEERBASE_LIMIT_WAITING_BYTES);
/// further ones are dropped, and counted as "messages_dropped" by `peerbase_node_stats`.
///
/// A handler may take its time in a node with a thread of its own: a second thread, "peerbase-io", answers
/// pings and goes on with calls meanwhile, and further requests wait. In a node that was opened in the
/// program's own loop the program is the loop: a handler, or anything else, that keeps it from
/// `peerbase_node_process` for longer than a few seconds makes peers believe that the node is dead (after 15
/// seconds, unless `peerbase_config_set_ping` says otherwise).
pub type peerbase_handler =
    Option<unsafe extern "C" fn(request: *mut peerbase_request, user: *mut c_void)>;

/// A call or message of another node. The handler's, from any thread but one at a time, until one of the
/// functions that consume it; after that it must not be used. It may outlive its node.
pub struct peerbase_request {
    asked: Asked,
    caller: CString,
    path: CString,
    args: CString,
    kwargs: CString,
}

enum Asked {
    Command(Call),
    Message(Message),
}

pub(super) fn command_handler(handler: peerbase_handler, user: UserData) -> Result<Handler, Error> {
    let handler = handler.ok_or(Error::Argument("handler is NULL"))?;
    Ok(Arc::new(move |mut call: Call| {
        let user = &user;
        // Moved, since they can be large: C reads them, and the call does not.
        let (args, kwargs) = call.take_texts();
        let request = peerbase_request {
            caller: c_string(call.caller().as_str()),
            path: c_string(call.path().as_str()),
            args: c_string(args),
            kwargs: c_string(kwargs),
            asked: Asked::Command(call),
        };
        // SAFETY: registered for being called like this; it owns the request now.
        unsafe { handler(give(request), user.user) };
    }))
}

pub(super) fn message_handler(
    handler: peerbase_handler,
    user: UserData,
) -> Result<MessageHandler, Error> {
    let handler = handler.ok_or(Error::Argument("handler is NULL"))?;
    Ok(Arc::new(move |message: Message| {
        let user = &user;
        let request = peerbase_request {
            caller: c_string(message.sender().as_str()),
            path: CString::default(),
            args: c"[]".to_owned(),
            kwargs: c"{}".to_owned(),
            asked: Asked::Message(message),
        };
        // SAFETY: registered for being called like this; it owns the request now.
        unsafe { handler(give(request), user.user) };
    }))
}

/// The streams of a command whose caller streams.
///
/// # Safety
///
/// `request` is NULL or was not consumed.
pub(super) unsafe fn request_ends(request: *const peerbase_request) -> Result<Arc<Ends>, Error> {
    // SAFETY: by the function's contract.
    match &unsafe { borrow(request) }?.asked {
        Asked::Command(call) => call.ends(),
        Asked::Message(_) => Err(Error::Argument("a message has no streams")),
    }
}

fn look(
    request: *const peerbase_request,
    f: impl FnOnce(&peerbase_request) -> *const c_char,
) -> *const c_char {
    guard_value(std::ptr::null(), || {
        // SAFETY: the header asks for a request that was not consumed.
        Ok(f(unsafe { borrow(request) }?))
    })
}

/// Answers with words; NULL is none.
///
/// # Safety
///
/// `request` is NULL or was not consumed; `words` is NULL or NUL-terminated.
unsafe fn end(request: *mut peerbase_request, words: *const c_char, refuse: bool) -> c_int {
    consume(request, |asked| {
        let words = match words.is_null() {
            true => Ok(""),
            // SAFETY: by the function's contract.
            false => unsafe { text(words, "words is NULL") },
        };
        // Words that cannot be read are left out; the caller is answered all the same.
        let said = words.as_ref().copied().unwrap_or("");
        match (asked, refuse) {
            (Asked::Command(call), false) => call.fail(said),
            (Asked::Command(call), true) => call.refuse(said),
            (Asked::Message(message), false) => message.fail(said),
            (Asked::Message(message), true) => message.refuse(said),
        }?;
        words.map(|_| ())
    })
}

fn consume(request: *mut peerbase_request, f: impl FnOnce(Asked) -> Result<(), Error>) -> c_int {
    guard(|| {
        // SAFETY: the header asks for a request that was not consumed.
        let request = unsafe { take(request) }?;
        f(request.asked)
    })
}

/// The name of the node that asks. Good until the request is consumed; NULL for a NULL request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_caller(
    request: *const peerbase_request,
) -> *const c_char {
    look(request, |r| r.caller.as_ptr())
}

/// The path that is called; "" for a message. Good until the request is consumed; NULL for a NULL
/// request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_path(request: *const peerbase_request) -> *const c_char {
    look(request, |r| r.path.as_ptr())
}

/// The positional arguments, a JSON array: well-formed, without repeated keys, lists and objects nested at
/// most 127 deep, this one included. Good until the request is consumed; NULL for a NULL request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_args(request: *const peerbase_request) -> *const c_char {
    look(request, |r| r.args.as_ptr())
}

/// The named arguments, a JSON object, as `peerbase_request_args`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_kwargs(
    request: *const peerbase_request,
) -> *const c_char {
    look(request, |r| r.kwargs.as_ptr())
}

/// The bytes of a message, and how many in `*len`; NULL, and 0 bytes, for a command. Good until the request is
/// consumed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_data(
    request: *const peerbase_request,
    len: *mut usize,
) -> *const u8 {
    guard_value(std::ptr::null(), || {
        // SAFETY: the header asks for a request that was not consumed, and room for a length.
        let request = unsafe {
            empty(len, 0);
            borrow(request)?
        };
        let data = match &request.asked {
            Asked::Message(message) => message.data(),
            Asked::Command(_) => return Err(Error::Argument("a command has no data")),
        };
        // SAFETY: as above.
        unsafe { put(len, data.len()) }?;
        Ok(data.as_ptr())
    })
}

/// Whether the caller still waits: it has not cancelled, its time is not over, and the node was not
/// stopped. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_is_wanted(request: *const peerbase_request) -> bool {
    guard_value(false, || {
        // SAFETY: the header asks for a request that was not consumed.
        let request = unsafe { borrow(request) }?;
        Ok(match &request.asked {
            Asked::Command(call) => call.is_wanted(),
            Asked::Message(message) => message.is_wanted(),
        })
    })
}

/// Whether a message is for this node alone; false if it was sent to everyone, by
/// `peerbase_node_broadcast`: then nobody waits for an answer, but the request is to be consumed all the same.
/// True for a command, false for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_is_private(request: *const peerbase_request) -> bool {
    guard_value(false, || {
        // SAFETY: the header asks for a request that was not consumed.
        Ok(match &unsafe { borrow(request) }?.asked {
            Asked::Command(_) => true,
            Asked::Message(message) => message.is_private(),
        })
    })
}

/// Whether the caller of a command streams, and takes a stream: see `peerbase_request_stream`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_has_streams(request: *const peerbase_request) -> bool {
    guard_value(false, || {
        // SAFETY: the header asks for a request that was not consumed.
        Ok(match &unsafe { borrow(request) }?.asked {
            Asked::Command(call) => call.has_streams(),
            Asked::Message(_) => false,
        })
    })
}

/// Answers a command with a JSON value, and consumes the request whatever it returns.
///
/// `json` is copied. Any thread. Returns 0; PEERBASE_ERR_JSON or PEERBASE_ERR_UTF8 if it is none, and
/// PEERBASE_ERR_TOO_LARGE if it does not fit a message, in which cases the caller is told that the
/// command failed; PEERBASE_ERR_STOPPED if the node was stopped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_reply(
    request: *mut peerbase_request,
    json: *const c_char,
) -> c_int {
    consume(request, |asked| {
        // SAFETY: the header asks for a NUL-terminated string.
        let checked = unsafe { text(json, "json is NULL") }
            .and_then(|t| json::check(t.as_bytes()).map(|_| t));
        match (asked, checked) {
            (Asked::Command(call), Ok(text)) => call.reply_text(text.as_bytes().to_vec()),
            (Asked::Command(call), Err(e)) => {
                call.fail(&format!("the command answered with {e}"))?;
                Err(e)
            }
            (Asked::Message(message), _) => {
                message.fail("the handler answered with JSON")?;
                Err(Error::Argument(
                    "a message is answered with peerbase_request_reply_data",
                ))
            }
        }
    })
}

/// Answers a message with bytes, and consumes the request whatever it returns.
///
/// `data` is copied, and may be NULL when `len` is 0. Any thread. Returns 0, PEERBASE_ERR_ARGUMENT for a
/// command, PEERBASE_ERR_TOO_LARGE or PEERBASE_ERR_STOPPED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_reply_data(
    request: *mut peerbase_request,
    data: *const u8,
    len: usize,
) -> c_int {
    consume(request, |asked| match asked {
        // SAFETY: the header asks for `len` readable bytes.
        Asked::Message(message) => match unsafe { bytes(data, len) } {
            Ok(data) => message.reply(data),
            Err(e) => {
                message.fail("the handler answered with no bytes that can be read")?;
                Err(e)
            }
        },
        Asked::Command(call) => {
            call.fail("the handler answered with bytes")?;
            Err(Error::Argument(
                "a command is answered with peerbase_request_reply",
            ))
        }
    })
}

/// Answers that the command failed, and why; consumes the request.
///
/// `message` is copied; NULL is "". Any thread. Returns 0, PEERBASE_ERR_UTF8, PEERBASE_ERR_TOO_LARGE or
/// PEERBASE_ERR_STOPPED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_fail(
    request: *mut peerbase_request,
    message: *const c_char,
) -> c_int {
    // SAFETY: this function's promises are that one's.
    unsafe { end(request, message, false) }
}

/// Answers that this caller may not have it, and why; otherwise as `peerbase_request_fail`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_refuse(
    request: *mut peerbase_request,
    reason: *const c_char,
) -> c_int {
    // SAFETY: this function's promises are that one's.
    unsafe { end(request, reason, true) }
}
