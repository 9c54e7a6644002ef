//! Connections to given addresses, messages to one node or to all, and saved peers of a
//! `peerbase_node`.

use super::call::milliseconds;
use super::error::guard;
use super::handle::{bytes, empty, text};
use super::node::{node, peerbase_node};
use super::reply::peerbase_reply;
use crate::engine::Payload;
use crate::error::Error;
use crate::node::Node;
use crate::wire::report::Report;
use std::ffi::{c_char, c_int};

/// Connects to the node at an address, "IP:PORT" or `[IPV6]:PORT`, whatever its name. After that
/// this node dials the address again whenever the link is lost, exchanges peers with the other
/// node, and connects to those peers as well.
///
/// `addr` is copied and must not be NULL. `timeout_ms` is 0 to INT_MAX milliseconds; more than a
/// day (86 400 000) counts as a day. `*out`, if `out` is not NULL, is a reply of one entry with the
/// name of the node that answered, which the program frees with `peerbase_reply_free`; after a
/// failure it is NULL.
///
/// Any thread, but not in a callback: there it returns PEERBASE_ERR_WOULD_DEADLOCK. Returns 0,
/// PEERBASE_ERR_UNREACHABLE if no node of this network answered in time, PEERBASE_ERR_ADDRESS,
/// PEERBASE_ERR_OVERLOADED, PEERBASE_ERR_STOPPED, PEERBASE_ERR_UTF8 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_connect(
    handle: *mut peerbase_node,
    addr: *const c_char,
    timeout_ms: c_int,
    out: *mut *mut peerbase_reply,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for NULL or room for a pointer.
        unsafe { empty(out, std::ptr::null_mut()) };
        // SAFETY: the header asks for a NUL-terminated string.
        let addr = unsafe { text(addr, "addr is NULL") }?;
        let address = addr.parse().map_err(|_| Error::Address(addr.to_owned()))?;
        let name = node(handle)?.connect(address, milliseconds(timeout_ms)?)?;
        let reply = peerbase_reply::new(vec![(name, Ok(Payload::Json(b"true".to_vec())))]);
        // SAFETY: as above.
        unsafe { reply.give_if_wanted(out) }
    })
}

/// Sends bytes to every node that can be reached through any chain of nodes, once to each, and
/// waits for the report. `data` is copied, and may be NULL when `len` is 0.
///
/// `timeout_ms` is as for `peerbase_node_connect`. `*out`, if `out` is not NULL, is a reply of one
/// entry, which the program frees with `peerbase_reply_free`. Its JSON is an object: "delivered" is
/// how many nodes have the bytes; "failed" is how many did not answer, and "names" are some of
/// those; "cut" says whether a chain was too long. The reply is there also when some nodes were
/// missed; otherwise a failure leaves NULL.
///
/// Any thread, but not in a callback: there it returns PEERBASE_ERR_WOULD_DEADLOCK. Returns 0 if
/// the bytes were delivered to all nodes, PEERBASE_ERR_UNREACHABLE if not, PEERBASE_ERR_TOO_LARGE,
/// PEERBASE_ERR_STOPPED or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_broadcast(
    handle: *mut peerbase_node,
    data: *const u8,
    len: usize,
    timeout_ms: c_int,
    out: *mut *mut peerbase_reply,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for NULL or room for a pointer.
        unsafe { empty(out, std::ptr::null_mut()) };
        // SAFETY: the header asks for `len` readable bytes.
        let data = unsafe { bytes(data, len) }?;
        let node = node(handle)?;
        let report = node.broadcast(data, milliseconds(timeout_ms)?)?;
        one_json(&node, report.to_json(), out)?;
        missed(&report).map_or(Ok(()), |whom| Err(Error::Unreachable(whom)))
    })
}

/// The nodes that a broadcast did not reach, in words. The numbers come from other nodes, so none
/// of them is relied upon.
fn missed(report: &Report) -> Option<String> {
    if report.is_complete() {
        return None;
    }
    Some(match (report.names.first(), report.failed) {
        (_, 0) => "nodes that are too far away".into(),
        (Some(name), 1) => name.to_string(),
        (Some(name), failed) => format!("{name}, and {} more", failed - 1),
        (None, failed) => format!("{failed} nodes"),
    })
}

/// Sends bytes to one node's message handler, and waits until the handler has answered; the answer
/// is discarded. `data` is copied, and may be NULL when `len` is 0. Otherwise as
/// `peerbase_node_send`, without a reply.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_send_to(
    handle: *mut peerbase_node,
    target: *const c_char,
    data: *const u8,
    len: usize,
    timeout_ms: c_int,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for a NUL-terminated string and `len` readable bytes.
        let (target, data) = unsafe { (text(target, "target is NULL")?, bytes(data, len)?) };
        node(handle)?.send_to(target, data, milliseconds(timeout_ms)?)
    })
}

/// Writes the addresses of the peers to which this node has a direct link, for
/// `peerbase_node_load_state` after the next start. The file is replaced as a whole: after a power
/// cut it is the old one or the new one. `file` is copied and must not be NULL. Any thread. Returns
/// 0, PEERBASE_ERR_IO, PEERBASE_ERR_STOPPED, PEERBASE_ERR_UTF8 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_save_state(
    handle: *mut peerbase_node,
    file: *const c_char,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for a NUL-terminated string.
        let file = unsafe { text(file, "file is NULL") }?;
        node(handle)?.save_state(file)
    })
}

/// Reads a file that `peerbase_node_save_state` wrote. The node dials its addresses for as long as
/// it runs. `file` is copied and must not be NULL. Any thread.
///
/// Returns how many addresses there are, 0 if there is no such file; PEERBASE_ERR_DAMAGED if it is
/// not such a file: then it is kept under its name with ".damaged" added, and the node runs on
/// without the addresses; PEERBASE_ERR_IO, PEERBASE_ERR_STOPPED, PEERBASE_ERR_UTF8 or
/// PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_load_state(
    handle: *mut peerbase_node,
    file: *const c_char,
) -> c_int {
    let mut count = 0;
    let code = guard(|| {
        // SAFETY: the header asks for a NUL-terminated string.
        let file = unsafe { text(file, "file is NULL") }?;
        count = node(handle)?.load_state(file)?;
        Ok(())
    });
    if code < 0 {
        code
    } else {
        c_int::try_from(count).unwrap_or(c_int::MAX)
    }
}

/// Gives C a reply of one entry in JSON, if C wants it.
pub(super) fn one_json(
    node: &Node,
    json: Vec<u8>,
    out: *mut *mut peerbase_reply,
) -> Result<(), Error> {
    let reply = peerbase_reply::new(vec![(node.name().clone(), Ok(Payload::Json(json)))]);
    // SAFETY: the header asks for NULL or room for a pointer.
    unsafe { reply.give_if_wanted(out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::NodeName;

    #[test]
    fn a_report_whose_numbers_make_no_sense_is_put_into_words_all_the_same() {
        let names = vec![NodeName::new("roof").unwrap()];
        for (failed, named, cut, words) in [
            (0, false, false, None),
            (0, true, false, None),
            (0, true, true, Some("nodes that are too far away")),
            (1, true, false, Some("roof")),
            (3, true, true, Some("roof, and 2 more")),
            (2, false, false, Some("2 nodes")),
        ] {
            let report = Report {
                delivered: 0,
                failed,
                names: if named { names.clone() } else { Vec::new() },
                cut,
            };
            assert_eq!(missed(&report).as_deref(), words);
        }
    }
}
