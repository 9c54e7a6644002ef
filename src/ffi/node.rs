//! `peerbase_node`: a running node.

use super::config::peerbase_config;
use super::error::{guard, guard_value};
use super::event::{peerbase_event_handler, told_of_events};
use super::handle::{UserData, borrow, give, put, take, text};
use super::reply::peerbase_reply;
use super::request::{command_handler, message_handler, peerbase_handler};
use crate::engine::{Path, Payload, PeerInfo};
use crate::error::Error;
use crate::json_object::Object;
use crate::node::{Builder, CommandTree, Node, RawAnswer};
use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

/// A running node. Any thread may call any function of a node, also while another thread is in one,
/// unless the comment of the function says otherwise; `peerbase_node_free` must be the last call. A
/// child process of a fork may only call `peerbase_node_free` and the functions that free objects
/// of the node. Every other function that takes a node or one of its streams, or answers a request,
/// returns PEERBASE_ERR_FORKED there, or, if it does not return a code, what it returns for NULL,
/// with the reason in `peerbase_last_error`.
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
    /// The path of the command, below that of the table.
    pub path: *const c_char,
    /// The handler that answers it.
    pub handler: peerbase_handler,
    /// The pointer that the handler is given.
    pub user: *mut c_void,
    /// Called once with `user` when the command is no longer needed; may be NULL.
    pub drop_user: Option<unsafe extern "C" fn(user: *mut c_void)>,
}

/// The node of a handle, as a reference of its own: it stays valid if a callback, or another
/// thread, frees the handle meanwhile.
pub(super) fn node(handle: *const peerbase_node) -> Result<Node, Error> {
    // SAFETY: the header asks for a node that was not freed before this call began.
    Ok(unsafe { borrow(handle) }?.node.clone())
}

/// As [`node`], but an error in a child of a fork: for functions that the node itself would not
/// refuse there.
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
/// It takes a quarter of a second, in which the node asks the network whether its name is taken. It
/// takes longer until the relays that were added have been asked as well, or have failed: two
/// seconds at most. Starting copies `config`. Neither argument may be NULL. `*out` is the node,
/// which belongs to the program until `peerbase_node_free`, or NULL. Any thread. Returns 0, or what
/// is wrong, for example PEERBASE_ERR_NAME_TAKEN, PEERBASE_ERR_PORT_IN_USE, PEERBASE_ERR_IO or
/// PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_start(
    config: *const peerbase_config,
    out: *mut *mut peerbase_node,
) -> c_int {
    start_with(config, out, Builder::start)
}

/// Opens a node that the program drives from its own event loop: poll `peerbase_node_fd` for at
/// most `peerbase_node_timeout_ms`, then call `peerbase_node_process`. Every callback runs on the
/// loop's thread, which is the thread that opened the node or last processed it; for a stop see
/// `peerbase_node_stop`. A blocking function drives the loop itself while it waits. On another
/// thread than the loop's it handles network traffic only, and leaves the callbacks to the loop's
/// thread. Otherwise as `peerbase_node_start`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_open(
    config: *const peerbase_config,
    out: *mut *mut peerbase_node,
) -> c_int {
    start_with(config, out, Builder::open)
}

/// A descriptor that is readable whenever `peerbase_node_process` would do something, timers apart.
/// It is level-triggered. It belongs to the node: poll it, and do nothing else with it. Any thread.
/// Returns -1 for NULL and in a child of a fork, with the reason in `peerbase_last_error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_fd(handle: *const peerbase_node) -> c_int {
    guard_value(-1, || Ok(here(handle)?.fd()))
}

/// How many milliseconds to poll at most before `peerbase_node_process`; -1 means without limit.
/// Ask again after every use of the node. Any thread. Returns 0 for NULL and in a child of a fork,
/// with the reason in `peerbase_last_error`, so that a loop does not wait for what never comes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_timeout_ms(handle: *const peerbase_node) -> c_int {
    guard_value(0, || {
        let timeout = here(handle)?.timeout();
        // Rounded up, because a turn that comes too early has nothing to do.
        Ok(timeout.map_or(-1, |t| {
            c_int::try_from(t.as_micros().div_ceil(1_000)).unwrap_or(c_int::MAX)
        }))
    })
}

/// Waits at most `timeout_ms` milliseconds (a negative number: as long as it takes) for something
/// to do, does it, and runs the callbacks. Any thread; the thread that calls it is the loop's
/// thread from then on. Returns 0, PEERBASE_ERR_STOPPED, PEERBASE_ERR_FORKED in a child of a fork,
/// PEERBASE_ERR_WOULD_DEADLOCK in a callback, PEERBASE_ERR_ARGUMENT for NULL and for a node with a
/// thread of its own, or PEERBASE_ERR_IO.
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

/// Runs a node that `peerbase_node_open` made on this thread until it is stopped. Any thread.
/// Returns 0, or a code as `peerbase_node_process` does: for example PEERBASE_ERR_ARGUMENT for a
/// node that `peerbase_node_start` made, or that another thread already runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_run(handle: *mut peerbase_node) -> c_int {
    guard(|| node(handle)?.run())
}

/// Stops a node: sends the answers that wait, for two seconds at most, says goodbye to the network,
/// and ends what is in flight, as PEERBASE_ERR_STOPPED. The program still has to free the node. Any
/// thread, also in a callback, where it returns at once. If the node runs in the program's own loop
/// and no other thread drives it just now, it returns when all of this is done, and runs the
/// callbacks of asynchronous calls on this thread. Returns 0, also if the node was stopped before,
/// PEERBASE_ERR_FORKED or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_stop(handle: *mut peerbase_node) -> c_int {
    guard(|| {
        here(handle)?.stop();
        Ok(())
    })
}

/// Stops a node and frees it. NULL is allowed. Freeing it twice is not; a debug build of the
/// library notices that and does nothing.
///
/// It first sends the answers that wait, for two seconds at most; then peers have half a second to
/// close their links. Functions that wait on other threads return PEERBASE_ERR_STOPPED. When it
/// returns, no callback runs and every `drop_user` was called, except those of a configuration and
/// of streams that are not freed yet. Any thread, also in a callback: there it returns at once, and
/// the node ends after that callback, within three seconds, so let `drop_user` free what `user`
/// points to. In a child process of a fork it frees the handle only: descriptors stay open until
/// exec or exit, and no `drop_user` is called.
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

/// The TCP port on which the node listens. Any thread. Returns 0 for NULL and in a child of a fork,
/// with the reason in `peerbase_last_error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_port(handle: *const peerbase_node) -> u16 {
    guard_value(0, || Ok(here(handle)?.port()))
}

/// Registers a command at a dotted path, such as "sensor.read". Paths that begin with "__" are the
/// library's.
///
/// `path` is copied; neither it nor `handler` may be NULL. `drop_user` may be NULL; otherwise it is
/// called once with `user`, from any thread, when the command is no longer needed, also if this
/// function fails. Any thread. Returns 0, PEERBASE_ERR_PATH, PEERBASE_ERR_COMMAND_EXISTS,
/// PEERBASE_ERR_UTF8, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_STOPPED.
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

/// Registers `count` commands below a path, or none of them; otherwise as `peerbase_node_register`.
/// `table` is copied, and may be NULL when `count` is 0.
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
        // The user data of all lines first, so that each is dropped whatever fails below.
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

/// Removes the command at a path and all below it. A call of it that runs is not disturbed. `path`
/// must not be NULL. Any thread. Returns how many commands were removed, or PEERBASE_ERR_PATH,
/// PEERBASE_ERR_UTF8, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_STOPPED.
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

/// Sets the handler of messages, in place of the one before; otherwise as `peerbase_node_register`.
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

/// Sets the handler of events, in place of the one before; NULL removes it. The first handler also
/// gets the events since the start, 1 024 at most. `drop_user` as for `peerbase_node_register`. Any
/// thread. Returns 0, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_STOPPED.
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
    if let Some(key) = peer.key {
        how.text("fingerprint", &key.fingerprint().to_string());
    }
    let outcome = match peer.reachable || compat {
        true => Ok(Payload::Json(how.end())),
        false => Err(Error::Unreachable(peer.name.to_string())),
    };
    (peer.name, outcome)
}

/// Lists the peers that are known now. `*out` has an entry for each, with its name. The code of an
/// entry is 0 if a session with the peer is open, and PEERBASE_ERR_UNREACHABLE if it is only known
/// so far. The JSON of an entry, if any, is an object: "address" is the peer's address, or "relay"
/// the relay through which it is reached; "ping_us" is how long its last ping took, in
/// microseconds, and "ping_ago_ms" how long ago that was, in milliseconds; "fingerprint" is that of
/// the peer's public key, once a session with it was open, for people to compare. A peer that
/// speaks the protocol of PeerBase 0.7.1 has code 0 while it is heard, and "compat" is true:
/// nothing about it is proven.
///
/// `out` must not be NULL; the program frees the reply with `peerbase_reply_free`. Any thread.
/// Returns 0, PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_STOPPED or PEERBASE_ERR_FORKED; after a failure
/// `*out` is NULL.
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
        unsafe { put(out, peerbase_reply::new(answers).give()) }
    })
}

/// Gives the counters of a node since its start. `*out` has one entry, whose JSON is an object of
/// numbers. `out` must not be NULL; the program frees the reply with `peerbase_reply_free`. Any
/// thread. Returns 0, also for a node that was stopped; or PEERBASE_ERR_ARGUMENT or
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
        let answers = vec![(node.name().clone(), Ok(Payload::Json(counts.end())))];
        // SAFETY: the header asks for room for a pointer.
        unsafe { put(out, peerbase_reply::new(answers).give()) }
    })
}
