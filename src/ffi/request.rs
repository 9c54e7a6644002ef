//! `peerbase_request`: a call or message of another node, to be answered.

use super::error::{guard, guard_value};
use super::handle::{UserData, borrow, bytes, c_string, empty, give, put, take, text};
use crate::error::Error;
use crate::json;
use crate::node::{Call, Ends, Handler, Message, MessageHandler};
use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::{Arc, OnceLock};

/// A handler of commands or messages. It is given a request, which belongs to the program from then
/// on. The program must answer the request with one of the `peerbase_request_` functions that
/// consume it, now or later, from any thread. `user` is what the handler was registered with. The
/// handler runs on the node's own thread, or on the thread that calls `peerbase_node_process`, and
/// may call any function of the node, except that a function that waits returns
/// PEERBASE_ERR_WOULD_DEADLOCK there. It must not be NULL where it is registered.
///
/// At most 1 024 requests of each peer may be unanswered at a time
/// (PEERBASE_LIMIT_SERVED_PER_PEER); the node answers further ones with PEERBASE_ERR_OVERLOADED,
/// and no handler gets them. So a handler that keeps requests must answer each at some time.
/// Messages to all nodes count together, in bytes, until they are consumed
/// (PEERBASE_LIMIT_WAITING_BYTES); further ones are dropped, and `peerbase_node_stats` counts them
/// as "messages_dropped".
///
/// In a node with a thread of its own a handler may take its time: a second thread, "peerbase-io",
/// answers pings and goes on with calls meanwhile, and further requests wait. In a node that runs
/// in the program's own loop the program is the loop: if a handler, or anything else, keeps it from
/// `peerbase_node_process` for longer than a few seconds, peers believe that the node is dead
/// (after 15 seconds, unless `peerbase_config_set_ping` says otherwise).
pub type peerbase_handler =
    Option<unsafe extern "C" fn(request: *mut peerbase_request, user: *mut c_void)>;

/// A call or message of another node. It belongs to the program, from any thread but one at a time,
/// until one of the functions that consume it; after that it must not be used. It may outlive its
/// node.
pub struct peerbase_request {
    asked: Asked,
    caller: CString,
    /// Once the program has asked for it.
    fingerprint: OnceLock<CString>,
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
        // The texts are moved, because they can be large: C reads them, and the call does not.
        let (args, kwargs) = call.take_texts();
        let request = peerbase_request {
            caller: c_string(call.caller().as_str()),
            fingerprint: OnceLock::new(),
            path: c_string(call.path().as_str()),
            args: c_string(args),
            kwargs: c_string(kwargs),
            asked: Asked::Command(call),
        };
        // SAFETY: the program registered the handler to be called like this; it owns the request
        // now.
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
            fingerprint: OnceLock::new(),
            path: CString::default(),
            args: c"[]".to_owned(),
            kwargs: c"{}".to_owned(),
            asked: Asked::Message(message),
        };
        // SAFETY: the program registered the handler to be called like this; it owns the request
        // now.
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

/// Answers with a failure or a refusal, and words; NULL stands for none.
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
        // Words that are not UTF-8 are left out, and the caller gets its answer all the same.
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

/// The name of the node that asks. One thread at a time may use the request. The string is valid
/// until the request is consumed. Returns NULL for a NULL request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_caller(
    request: *const peerbase_request,
) -> *const c_char {
    look(request, |r| r.caller.as_ptr())
}

/// The fingerprint of the public key by which the node that asks has proved who it is, such as
/// "k7qp-2mzd-abcd-efgh-ijkl"; of a message to all nodes, that of the node which has signed it.
/// Another node that goes by the same name has another one. "" for a node of PeerBase 0.7.1, which
/// proves nothing. One thread at a time may use the request. The string is valid until the request
/// is consumed. Returns NULL for a NULL request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_fingerprint(
    request: *const peerbase_request,
) -> *const c_char {
    look(request, |r| {
        let fingerprint = r.fingerprint.get_or_init(|| {
            let key = match &r.asked {
                Asked::Command(call) => call.caller_key(),
                Asked::Message(message) => message.sender_key(),
            };
            let text = key.map(|key| key.fingerprint().to_string());
            c_string(text.unwrap_or_default().as_str())
        });
        fingerprint.as_ptr()
    })
}

/// The path that is called; "" for a message. One thread at a time may use the request. The string
/// is valid until the request is consumed. Returns NULL for a NULL request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_path(request: *const peerbase_request) -> *const c_char {
    look(request, |r| r.path.as_ptr())
}

/// The positional arguments, a JSON array. It is well-formed, has no repeated keys, and its lists
/// and objects, this one included, are nested at most 127 deep. One thread at a time may use the
/// request. The string is valid until the request is consumed. Returns NULL for a NULL request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_args(request: *const peerbase_request) -> *const c_char {
    look(request, |r| r.args.as_ptr())
}

/// The named arguments, a JSON object. Otherwise as `peerbase_request_args`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_kwargs(
    request: *const peerbase_request,
) -> *const c_char {
    look(request, |r| r.kwargs.as_ptr())
}

/// The bytes of a message, or those that a command was called with; `*len` is their number. `len`
/// must not be NULL. One thread at a time may use the request. The bytes are valid until the
/// request is consumed. Returns NULL, and 0 bytes, for a command that was called with JSON; the
/// arguments of one that was called with bytes are "[]" and "{}". The pointer to no bytes is not
/// NULL.
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
            Asked::Command(call) => {
                let json = Error::Argument("the command was called with JSON");
                call.data().ok_or(json)?
            }
        };
        // SAFETY: as above.
        unsafe { put(len, data.len()) }?;
        Ok(data.as_ptr())
    })
}

/// Whether the caller still waits: it has not cancelled the call, its timeout is not over, and the
/// node was not stopped. Any thread, one at a time for a request. Returns false for NULL.
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

/// Whether a message is for this node alone. It is false if the message was sent to all nodes by
/// `peerbase_node_broadcast`: then no node waits for an answer, but the program must consume the
/// request all the same. One thread at a time may use the request. Returns true for a command, and
/// false for NULL.
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

/// Whether the caller of a command streams, and accepts a stream: see `peerbase_request_stream`.
/// One thread at a time may use the request. Returns false for a message and for NULL.
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
/// `json` is copied and must not be NULL. Any thread. Returns 0; PEERBASE_ERR_JSON or
/// PEERBASE_ERR_UTF8 if `json` is not that, and PEERBASE_ERR_TOO_LARGE if it does not fit into a
/// message, in which cases the caller is told that the command failed; PEERBASE_ERR_ARGUMENT if
/// `json` or `request` is NULL, or for a message; PEERBASE_ERR_STOPPED if the node was stopped.
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

/// Answers a message or a command with bytes, and consumes the request whatever it returns. The
/// caller of a command is told that its value is bytes, and not JSON.
///
/// `data` is copied, and may be NULL when `len` is 0. Any thread. Returns 0, PEERBASE_ERR_ARGUMENT,
/// PEERBASE_ERR_TOO_LARGE or PEERBASE_ERR_STOPPED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_reply_data(
    request: *mut peerbase_request,
    data: *const u8,
    len: usize,
) -> c_int {
    const UNREADABLE: &str = "the handler answered with no bytes that can be read";
    consume(request, |asked| {
        // SAFETY: the header asks for `len` readable bytes.
        match (asked, unsafe { bytes(data, len) }) {
            (Asked::Message(message), Ok(data)) => message.reply(data),
            (Asked::Command(call), Ok(data)) => call.reply_data(data),
            (Asked::Message(message), Err(e)) => message.fail(UNREADABLE).and(Err(e)),
            (Asked::Command(call), Err(e)) => call.fail(UNREADABLE).and(Err(e)),
        }
    })
}

/// Answers that the command failed, and why; consumes the request whatever it returns.
///
/// `message` is copied; NULL stands for "". Any thread. Returns 0, PEERBASE_ERR_UTF8,
/// PEERBASE_ERR_TOO_LARGE, PEERBASE_ERR_STOPPED or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_fail(
    request: *mut peerbase_request,
    message: *const c_char,
) -> c_int {
    // SAFETY: this function's promises are that one's.
    unsafe { end(request, message, false) }
}

/// Answers that the caller may not have what it asks for, and why; otherwise as
/// `peerbase_request_fail`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_request_refuse(
    request: *mut peerbase_request,
    reason: *const c_char,
) -> c_int {
    // SAFETY: this function's promises are that one's.
    unsafe { end(request, reason, true) }
}
