//! `peerbase_node`: a node that runs.

use super::config::peerbase_config;
use super::error::{guard, guard_value};
use super::event::{peerbase_event_handler, told_of_events};
use super::handle::{UserData, borrow, give, put, take, text};
use super::reply::{Holds, peerbase_reply};
use super::request::{command_handler, message_handler, peerbase_handler};
use crate::engine::{Path, PeerInfo};
use crate::error::Error;
use crate::json_object::Object;
use crate::node::{Builder, CommandTree, Node, RawAnswer};
use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

/// A running node. Any thread may call any function of a node, also while another thread is in one, unless
/// the comment of the function says otherwise; `peerbase_node_free` must be the last call. A child process of
/// a fork may only call `peerbase_node_free` and the functions that free objects of the node. Every other
/// function that takes a node or one of its streams, or answers a request, returns PEERBASE_ERR_FORKED there,
/// or, if it does not return a code, what it returns for NULL, with the reason in `peerbase_last_error`.
pub struct peerbase_node {
    node: Node,
}

/// The major version of this header.
pub const PEERBASE_VERSION_MAJOR: u32 = 0;
/// The minor version of this header.
pub const PEERBASE_VERSION_MINOR: u32 = 1;
/// The patch version of this header.
pub const PEERBASE_VERSION_PATCH: u32 = 0;

/// One line of a table of commands.
#[repr(C)]
pub struct peerbase_command {
    /// Below the table's path.
    pub path: *const c_char,
    /// What answers it.
    pub handler: peerbase_handler,
    /// Given to the handler.
    pub user: *mut c_void,
    /// Called with `user` when the command is not needed any more; may be NULL.
    pub drop_user: Option<unsafe extern "C" fn(user: *mut c_void)>,
}

/// A node of its own to work with: it lives on if a callback, or another thread, frees the handle.
pub(super) fn node(handle: *const peerbase_node) -> Result<Node, Error> {
    // SAFETY: the header asks for a node that was not freed before this call began.
    Ok(unsafe { borrow(handle) }?.node.clone())
}

/// As [`node`], but an error in a child of a fork: for functions that the node itself would not refuse there.
pub(super) fn here(handle: *const peerbase_node) -> Result<Node, Error> {
    let node = node(handle)?;
    node.check_process()?;
    Ok(node)
}

fn start_with(
    config: *const peerbase_config,
    out: *mut *mut peerbase_node,
    start: impl FnOnce(Builder) -> Result<Node, Error>,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for a live config and room for a pointer.
        let config = unsafe {
            put(out, std::ptr::null_mut())?;
            borrow(config)?
        };
        let node = start(config.builder.clone())?;
        // SAFETY: as above.
        unsafe { put(out, give(peerbase_node { node })) }
    })
}

/// Starts a node on a thread of its own, named "peerbase".
///
/// Takes the quarter of a second in which the network is asked whether the name is taken, and until the
/// relays that were added have been asked as well, or have failed: two seconds at most. `*out` is the node,
/// the caller's until `peerbase_node_free`, or NULL. Returns 0, or what is wrong: among others
/// PEERBASE_ERR_NAME_TAKEN, PEERBASE_ERR_PORT_IN_USE and PEERBASE_ERR_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_start(
    config: *const peerbase_config,
    out: *mut *mut peerbase_node,
) -> c_int {
    start_with(config, out, Builder::start)
}

/// Opens a node for the caller's own event loop: poll `peerbase_node_fd` for at most
/// `peerbase_node_timeout_ms`, then call `peerbase_node_process`. Every callback runs on the loop's thread: the
/// one that opened the node or last processed it; for a stop see `peerbase_node_stop`. A blocking function
/// drives the loop itself while it waits; on another thread than the loop's it handles network traffic only,
/// and leaves the callbacks to the loop's thread. Otherwise as `peerbase_node_start`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_open(
    config: *const peerbase_config,
    out: *mut *mut peerbase_node,
) -> c_int {
    start_with(config, out, Builder::open)
}

/// A descriptor that is readable whenever `peerbase_node_process` would do something, timers apart.
/// Level-triggered. It belongs to the node: poll it, and nothing else. -1 for NULL and in a child of a fork, with
/// the reason in `peerbase_last_error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_fd(handle: *const peerbase_node) -> c_int {
    guard_value(-1, || Ok(here(handle)?.fd()))
}

/// How many milliseconds to poll at most before `peerbase_node_process`; -1 is for ever. Ask again after
/// every use of the node. 0 for NULL and in a child of a fork, with the reason in `peerbase_last_error`, so that
/// a loop does not wait for what never comes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_timeout_ms(handle: *const peerbase_node) -> c_int {
    guard_value(0, || {
        let timeout = here(handle)?.timeout();
        // Rounded up: a little late is a turn, a little early would be one for nothing.
        Ok(timeout.map_or(-1, |t| {
            c_int::try_from(t.as_micros().div_ceil(1_000)).unwrap_or(c_int::MAX)
        }))
    })
}

/// Waits at most `timeout_ms` milliseconds (negative: as long as it takes) for something to do, does it,
/// and runs the callbacks. Returns 0, PEERBASE_ERR_STOPPED, PEERBASE_ERR_FORKED in a child of a fork, PEERBASE_ERR_WOULD_DEADLOCK in a callback,
/// PEERBASE_ERR_ARGUMENT for a node with a thread of its own, or PEERBASE_ERR_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_process(
    handle: *mut peerbase_node,
    timeout_ms: c_int,
) -> c_int {
    guard(|| {
        let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        node(handle)?.process(timeout)
    })
}

/// Runs an opened node on this thread until it is stopped. Returns 0, or as `peerbase_node_process`: among others
/// PEERBASE_ERR_ARGUMENT for a node that `peerbase_node_start` made, or that another thread runs already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_run(handle: *mut peerbase_node) -> c_int {
    guard(|| node(handle)?.run())
}

/// Sends what was answered, for two seconds at most, says goodbye to the network, and ends what is in flight, as
/// PEERBASE_ERR_STOPPED. The node is still to be freed. Safe in a callback, where it returns at once. For a node
/// that was opened in the program's own loop, and that no other thread drives just now, it returns when that is
/// over, and runs the callbacks of asynchronous calls on this thread. Returns 0, also if it was stopped before, PEERBASE_ERR_FORKED or
/// PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_stop(handle: *mut peerbase_node) -> c_int {
    guard(|| {
        here(handle)?.stop();
        Ok(())
    })
}

/// Stops a node and frees it. NULL is fine; freeing twice is not, which a debug build of the library
/// notices and ignores.
///
/// What was answered is sent first, for two seconds at most; then peers have half a second to close their
/// links. Functions that wait on other threads return PEERBASE_ERR_STOPPED. When this returns no callback runs
/// and every `drop_user` was called, except those of a configuration and of streams that are not freed yet. In
/// a callback it returns at once, and the node ends after that callback, within three seconds: let `drop_user`
/// free what `user` points to. In a child process of a fork it frees the handle only: descriptors stay open
/// until exec or exit, and no `drop_user` is called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_free(handle: *mut peerbase_node) {
    if !handle.is_null() {
        guard(|| {
            // SAFETY: the header asks for one that was not freed before.
            let handle = unsafe { take(handle) }?;
            handle.node.close();
            Ok(())
        });
    }
}

/// The TCP port the node listens on; 0 for NULL and in a child of a fork, with the reason in
/// `peerbase_last_error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_port(handle: *const peerbase_node) -> u16 {
    guard_value(0, || Ok(here(handle)?.port()))
}

/// Registers a command at a dotted path, such as "sensor.read". Paths that begin with "__" are the
/// library's.
///
/// `path` is copied. `drop_user` may be NULL; otherwise it is called once with `user`, from any thread, when
/// the command is not needed any more, also if this function fails. Returns 0, PEERBASE_ERR_PATH,
/// PEERBASE_ERR_COMMAND_EXISTS, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_STOPPED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_register(
    handle: *mut peerbase_node,
    path: *const c_char,
    handler: peerbase_handler,
    user: *mut c_void,
    drop_user: Option<unsafe extern "C" fn(user: *mut c_void)>,
) -> c_int {
    let user = UserData::new(user, drop_user);
    guard(|| {
        // SAFETY: the header asks for a NUL-terminated string.
        let path = unsafe { text(path, "path is NULL") }?;
        let tree = CommandTree::new().with(path, command_handler(handler, user)?)?;
        node(handle)?.register_tree(tree)
    })
}

/// Registers `count` commands below a path, or none of them; otherwise as `peerbase_node_register`. `table`
/// is copied, and may be NULL when `count` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_register_table(
    handle: *mut peerbase_node,
    path: *const c_char,
    table: *const peerbase_command,
    count: usize,
) -> c_int {
    guard(|| {
        if table.is_null() && count > 0 {
            return Err(Error::Argument("table is NULL"));
        }
        let lines = match count {
            0 => &[],
            // SAFETY: the header asks for `count` lines.
            _ => unsafe { std::slice::from_raw_parts(table, count) },
        };
        // All of them first, so that each is dropped whatever happens.
        let lines: Vec<_> = lines
            .iter()
            .map(|l| (l, UserData::new(l.user, l.drop_user)))
            .collect();
        let mut tree = CommandTree::new();
        for (line, user) in lines {
            // SAFETY: the header asks for NUL-terminated strings.
            let path = unsafe { text(line.path, "path is NULL") }?;
            tree = tree.with(path, command_handler(line.handler, user)?)?;
        }
        // SAFETY: the header asks for a NUL-terminated string.
        let path = unsafe { text(path, "path is NULL") }?;
        node(handle)?.register_tree(CommandTree::new().subtree(path, tree)?)
    })
}

/// Takes away the command at a path and all below it. One that runs is not disturbed. Returns how many that
/// were, or a negative code.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_unregister(
    handle: *mut peerbase_node,
    path: *const c_char,
) -> c_int {
    let mut count = 0;
    let code = guard(|| {
        // SAFETY: the header asks for a NUL-terminated string.
        count = node(handle)?.unregister(unsafe { text(path, "path is NULL") }?)?;
        Ok(())
    });
    if code < 0 {
        code
    } else {
        c_int::try_from(count).unwrap_or(c_int::MAX)
    }
}

/// Sets what answers messages of bytes, instead of what did before; otherwise as `peerbase_node_register`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_on_message(
    handle: *mut peerbase_node,
    handler: peerbase_handler,
    user: *mut c_void,
    drop_user: Option<unsafe extern "C" fn(user: *mut c_void)>,
) -> c_int {
    let user = UserData::new(user, drop_user);
    guard(|| node(handle)?.set_message_handler(Some(message_handler(handler, user)?)))
}

/// Sets what is told of events, instead of what was before; a NULL handler ends it. The first one is told of
/// everything since the start, 1 024 events at most. `drop_user` as for
/// `peerbase_node_register`. Returns 0, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_STOPPED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_on_event(
    handle: *mut peerbase_node,
    handler: peerbase_event_handler,
    user: *mut c_void,
    drop_user: Option<unsafe extern "C" fn(user: *mut c_void)>,
) -> c_int {
    let user = UserData::new(user, drop_user);
    guard(|| {
        let node = node(handle)?;
        let Some(handler) = handler else {
            return node.set_event_handler(None);
        };
        let own = node.name().clone();
        node.set_event_handler(Some(told_of_events(own, handler, user)))
    })
}

/// A peer's entry: how it is reached, or that it is only known.
fn peer_answer(peer: PeerInfo) -> RawAnswer {
    let compat = peer.path.as_ref().is_some_and(Path::is_compat);
    let relay = peer.path.as_ref().and_then(Path::relay);
    let mut how = Object::new();
    if compat && (relay.is_some() || peer.address.is_some()) {
        how.plain("compat", true);
    }
    match (relay, peer.address) {
        (Some(relay), _) => how.text("relay", relay.as_str()),
        (None, Some(address)) => how.text("address", &address.to_string()),
        (None, None) => {}
    }
    if let Some(ping) = peer.ping {
        how.plain("ping_us", ping.round_trip.as_micros());
        how.plain("ping_ago_ms", ping.ago.as_millis());
    }
    let outcome = match peer.reachable || compat {
        true => Ok(how.end()),
        false => Err(Error::Unreachable(peer.name.to_string())),
    };
    (peer.name, outcome)
}

/// The peers that are known now: `*out` has an entry for each, with its name; its code is 0 if a session with
/// it is open, and PEERBASE_ERR_UNREACHABLE if it is only known so far; its JSON, if any, is an object with
/// its address, "address", or the relay through which it is reached, "relay"; and of its last ping how long it
/// took, "ping_us", and how long ago that was, "ping_ago_ms". A peer that speaks the protocol of PeerBase 0.7.1
/// has code 0 while it is heard, and "compat" is true: nothing about it is proven. Free it with
/// `peerbase_reply_free`. Returns 0, PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_STOPPED or PEERBASE_ERR_FORKED; `*out`
/// is NULL then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_peers(
    handle: *const peerbase_node,
    out: *mut *mut peerbase_reply,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for room for a pointer.
        unsafe { put(out, std::ptr::null_mut()) }?;
        let node = node(handle)?;
        node.check()?;
        let answers = node.peers().into_iter().map(peer_answer).collect();
        // SAFETY: the header asks for room for a pointer.
        unsafe { put(out, peerbase_reply::new(answers, Holds::Json).give()) }
    })
}

/// What the node has counted since it started: `*out` has one entry, whose JSON is an object of numbers. Free
/// it with `peerbase_reply_free`. Returns 0, also when it was stopped; PEERBASE_ERR_ARGUMENT or
/// PEERBASE_ERR_FORKED, and then `*out` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_stats(
    handle: *const peerbase_node,
    out: *mut *mut peerbase_reply,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for room for a pointer.
        unsafe { put(out, std::ptr::null_mut()) }?;
        let node = here(handle)?;
        let mut counts = Object::new();
        for (name, value) in node.stats().entries() {
            counts.plain(name, value);
        }
        let answers = vec![(node.name().clone(), Ok(counts.end()))];
        // SAFETY: the header asks for room for a pointer.
        unsafe { put(out, peerbase_reply::new(answers, Holds::Json).give()) }
    })
}
