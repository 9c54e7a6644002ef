//! `peerbase_reply`: the answers of one or several nodes.

use super::error::guard_value;
use super::handle::{borrow, c_string, give, put, take};
use crate::engine::Payload;
use crate::error::Error;
use crate::json;
use crate::name::NodeName;
use crate::node::RawAnswer;
use std::ffi::{CString, c_char, c_int};

/// The answers of one or several nodes: one entry for each, from 0. It never changes, so any thread
/// may read it. It belongs to the program until `peerbase_reply_free`, except for the reply that a
/// callback is given. The functions that read a reply accept NULL, which has no entries, and leave
/// `peerbase_last_error` as it is then.
pub struct peerbase_reply {
    entries: Vec<Entry>,
}

struct Entry {
    node: CString,
    outcome: Result<Body, (c_int, CString)>,
}

enum Body {
    Json(CString),
    Data(Vec<u8>),
}

impl peerbase_reply {
    pub(super) fn new(answers: Vec<RawAnswer>) -> peerbase_reply {
        let entries = answers
            .into_iter()
            .map(|(node, outcome)| Entry::new(&node, outcome));
        peerbase_reply {
            entries: entries.collect(),
        }
    }

    /// The reply of one node, and the failure if the answer is one.
    pub(super) fn of_one(
        node: NodeName,
        answer: Result<Payload, Error>,
    ) -> (peerbase_reply, Option<Error>) {
        let failure = answer.as_ref().err().cloned();
        let reply = peerbase_reply::new(vec![(node, answer)]);
        let bad_json = reply.entries[0]
            .outcome
            .as_ref()
            .err()
            .map(|_| Error::Json("the answer is not JSON".into()));
        (reply, failure.or(bad_json))
    }

    pub(super) fn give(self) -> *mut peerbase_reply {
        give(self)
    }

    /// Gives the reply to C, if C wants it.
    ///
    /// # Safety
    ///
    /// `out` is NULL or writable.
    pub(super) unsafe fn give_if_wanted(self, out: *mut *mut peerbase_reply) -> Result<(), Error> {
        if out.is_null() {
            return Ok(());
        }
        // SAFETY: by the function's contract.
        unsafe { put(out, self.give()) }
    }
}

impl Entry {
    fn new(node: &NodeName, outcome: Result<Payload, Error>) -> Entry {
        let outcome = outcome.and_then(|payload| match payload {
            // A peer's word for it is not enough.
            Payload::Json(text) => json::check(&text).map(|_| Body::Json(c_string(text))),
            Payload::Data(data) => Ok(Body::Data(data)),
        });
        Entry {
            node: c_string(node.as_str()),
            outcome: outcome.map_err(|e| (e.code() as c_int, c_string(e.to_string()))),
        }
    }
}

/// Reads an entry. NULL has no entries, which is no failure of its own: NULL is what a call that
/// has failed leaves, and `peerbase_last_error` has to say why that call failed.
fn look<T>(reply: *const peerbase_reply, i: usize, fallback: T, f: impl FnOnce(&Entry) -> T) -> T {
    if reply.is_null() {
        return fallback;
    }
    guard_value(fallback, || {
        // SAFETY: the header asks for a live reply.
        let reply = unsafe { borrow(reply) }?;
        let entry = reply
            .entries
            .get(i)
            .ok_or(Error::Argument("no such entry"))?;
        Ok(f(entry))
    })
}

/// The number of entries; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_reply_count(reply: *const peerbase_reply) -> usize {
    if reply.is_null() {
        return 0;
    }
    // SAFETY: the header asks for a live reply.
    guard_value(0, || Ok(unsafe { borrow(reply) }?.entries.len()))
}

/// The name of the node of entry `i`. The string is valid as long as the reply. Any thread. Returns
/// NULL if there is no such entry.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_reply_node(
    reply: *const peerbase_reply,
    i: usize,
) -> *const c_char {
    look(reply, i, std::ptr::null(), |e| e.node.as_ptr())
}

/// The outcome of entry `i`: 0 or a PEERBASE_ERR_ code; PEERBASE_ERR_ARGUMENT if there is no such
/// entry. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_reply_code(reply: *const peerbase_reply, i: usize) -> c_int {
    look(
        reply,
        i,
        crate::error::Code::Argument as c_int,
        |e| match &e.outcome {
            Ok(_) => 0,
            Err((code, _)) => *code,
        },
    )
}

/// The value of entry `i` as JSON. The string is valid as long as the reply. Any thread. Returns
/// NULL if the entry failed, holds bytes, or does not exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_reply_json(
    reply: *const peerbase_reply,
    i: usize,
) -> *const c_char {
    look(reply, i, std::ptr::null(), |e| match &e.outcome {
        Ok(Body::Json(text)) => text.as_ptr(),
        _ => std::ptr::null(),
    })
}

/// Says why entry `i` failed; "" if it did not. The string is valid as long as the reply. Any
/// thread. Returns NULL if there is no such entry.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_reply_message(
    reply: *const peerbase_reply,
    i: usize,
) -> *const c_char {
    look(reply, i, std::ptr::null(), |e| match &e.outcome {
        Ok(_) => c"".as_ptr(),
        Err((_, text)) => text.as_ptr(),
    })
}

/// The bytes with which a message was answered, or a command that answers with bytes; `*len` is
/// their number. `len` must not be NULL. The bytes are valid as long as the reply. Any thread.
/// Returns NULL, and 0 bytes, if the entry failed, holds JSON, or does not exist. The pointer to an
/// answer of no bytes is not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_reply_data(
    reply: *const peerbase_reply,
    i: usize,
    len: *mut usize,
) -> *const u8 {
    let (data, length) = look(reply, i, (std::ptr::null(), 0), |e| match &e.outcome {
        Ok(Body::Data(data)) => (data.as_ptr(), data.len()),
        _ => (std::ptr::null(), 0),
    });
    guard_value(std::ptr::null(), || {
        // SAFETY: the header asks for room for a length.
        unsafe { put(len, length) }?;
        Ok(data)
    })
}

/// Frees a reply. NULL is allowed. Freeing it twice is not; a debug build of the library notices
/// that and does nothing. Any thread, while no other thread uses the reply.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_reply_free(reply: *mut peerbase_reply) {
    if !reply.is_null() {
        guard_value((), || {
            // SAFETY: the header asks for one that was not freed before.
            drop(unsafe { take(reply) }?);
            Ok(())
        });
    }
}
