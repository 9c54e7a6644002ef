//! `peerbase_config`: what a node is to be.

use super::error::{guard, guard_value};
use super::event::{peerbase_event_handler, told_of_events};
use super::handle::{UserData, borrow_mut, give, take, text};
use super::request::{command_handler, message_handler, peerbase_handler};
use crate::error::Error;
use crate::fernet::Key;
use crate::limits::Limit;
use crate::node::{Builder, Node};
use std::ffi::{c_char, c_int, c_void};
use std::net::SocketAddr;
use std::time::Duration;

/// What a node is to be. Made by `peerbase_config_new`, and the caller's until `peerbase_config_free`.
/// Starting a node copies it: it may be used again, and freed at once. One thread at a time.
pub struct peerbase_config {
    pub(super) builder: Builder,
}

pub(super) fn address(text: &str) -> Result<SocketAddr, Error> {
    text.parse().map_err(|_| Error::Address(text.to_owned()))
}

pub(super) fn change(
    config: *mut peerbase_config,
    f: impl FnOnce(Builder) -> Result<Builder, Error>,
) -> c_int {
    let mut f = Some(f);
    change_dyn(config, &mut |builder| {
        f.take().map_or(Ok(builder.clone()), |f| f(builder))
    })
}

/// What every setter does around its own line.
fn change_dyn(
    config: *mut peerbase_config,
    f: &mut dyn FnMut(Builder) -> Result<Builder, Error>,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for a live config that no other thread uses.
        let config = unsafe { borrow_mut(config) }?;
        config.builder = f(config.builder.clone())?;
        Ok(())
    })
}

/// Sets one of the addresses.
///
/// # Safety
///
/// As for the setters: `addr` is NULL or NUL-terminated.
unsafe fn change_address(
    config: *mut peerbase_config,
    addr: *const c_char,
    set: fn(Builder, SocketAddr) -> Builder,
) -> c_int {
    change(config, |b| {
        // SAFETY: by the function's contract.
        let addr = unsafe { text(addr, "addr is NULL") }?;
        Ok(set(b, address(addr)?))
    })
}

/// A new configuration with every default.
///
/// `name` and `network` are 1 to 64 bytes of UTF-8 without control characters, without characters that nobody
/// sees (zero-width and bidirectional controls, variation selectors, spaces other than U+0020), and without any
/// of `| . : @`; a name is not "*". `key` is the network's key as `peerbase_key_generate` writes it. None may be
/// NULL; all are copied. Any thread. Returns NULL, with the reason in `peerbase_last_error`, if
/// one of them breaks a rule. Free it with `peerbase_config_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_new(
    name: *const c_char,
    network: *const c_char,
    key: *const c_char,
) -> *mut peerbase_config {
    guard_value(std::ptr::null_mut(), || {
        // SAFETY: the header asks for NUL-terminated strings.
        let (name, network, key) = unsafe {
            (
                text(name, "name is NULL")?,
                text(network, "network is NULL")?,
                text(key, "key is NULL")?,
            )
        };
        let builder = Node::builder(name, network, Key::parse(key)?);
        builder.check()?;
        Ok(give(peerbase_config { builder }))
    })
}

/// Where to listen for links, as "IP:PORT" or `[IPV6]:PORT`; port 0 is any free one. Every address and
/// any port unless set. Returns 0, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_ADDRESS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_listen(
    config: *mut peerbase_config,
    addr: *const c_char,
) -> c_int {
    // SAFETY: this function's promises are that one's.
    unsafe { change_address(config, addr, Builder::listen) }
}

/// The UDP port that all nodes of the network advertise on, and that all nodes of one host share; 3334
/// unless set. Returns 0 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_advertise_port(
    config: *mut peerbase_config,
    port: u16,
) -> c_int {
    change(config, |b| {
        if port == 0 {
            Err(Error::Argument("port 0"))
        } else {
            Ok(b.advertise_port(port))
        }
    })
}

/// Where others are to dial this node, as "IP:PORT", if not where its adverts come from; port 0 is the
/// one it listens on. Returns 0, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_ADDRESS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_advertise_address(
    config: *mut peerbase_config,
    addr: *const c_char,
) -> c_int {
    // SAFETY: this function's promises are that one's.
    unsafe { change_address(config, addr, Builder::advertise_address) }
}

/// Milliseconds between two adverts, 50 to 300000; 1000 unless set. A peer is missed after three and a
/// half of its intervals. Returns 0 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_advertise_interval(
    config: *mut peerbase_config,
    interval_ms: u32,
) -> c_int {
    change(config, |b| {
        let b = b.advertise_interval(Duration::from_millis(interval_ms.into()));
        b.check().map(|()| b)
    })
}

/// Whether to look for peers on the networks this host is on; yes unless switched off. Without, a node needs
/// a relay, or `peerbase_node_connect`. Returns 0 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_lan(
    config: *mut peerbase_config,
    enabled: bool,
) -> c_int {
    change(config, |b| Ok(b.lan(enabled)))
}

/// A relay to be linked to, as "HOST:PORT" or `[IPV6]:PORT`, besides those added before; at most 16. One that
/// cannot be reached, or whose name cannot be resolved, is an event, and is tried again. Returns 0,
/// PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_ADDRESS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_add_relay(
    config: *mut peerbase_config,
    addr: *const c_char,
) -> c_int {
    change(config, |b| {
        // SAFETY: the header asks for a NUL-terminated string.
        let b = b.relay(unsafe { text(addr, "addr is NULL") }?);
        b.check().map(|()| b)
    })
}

/// Relays to be linked to at most, 0 to 16: those added, and for the rest those that other nodes tell of. A
/// node with more relays added than this does not start (PEERBASE_ERR_ARGUMENT). 3 unless set, or as many as
/// were added; none, if none was. Returns 0 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_max_remotes(
    config: *mut peerbase_config,
    count: u32,
) -> c_int {
    change(config, |b| {
        let b = b.max_remotes(count as usize);
        b.check().map(|()| b)
    })
}

/// Milliseconds that a path through a relay may be silent before a sign of life is asked for, 100 to 30000;
/// after three times that it is dead. 10000 unless set. Returns 0 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_relay_keepalive(
    config: *mut peerbase_config,
    interval_ms: u32,
) -> c_int {
    change(config, |b| {
        let b = b.relay_keepalive(Duration::from_millis(interval_ms.into()));
        b.check().map(|()| b)
    })
}

/// Bytes of what is asked in one call, and of its value, at most, 1024 to 2^30; 4 MiB unless set. What does not
/// fit one frame goes in pieces, unseen. Returns 0 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_max_message(
    config: *mut peerbase_config,
    bytes: usize,
) -> c_int {
    change(config, |b| {
        let b = b.max_message(bytes);
        b.check().map(|()| b)
    })
}

/// Bytes of one piece of a stream, 1024 to 48640; 16384 unless set. Returns 0 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_chunk_size(
    config: *mut peerbase_config,
    bytes: usize,
) -> c_int {
    change(config, |b| {
        let b = b.chunk_size(bytes);
        b.check().map(|()| b)
    })
}

/// Milliseconds that a peer may be silent before it is pinged, 100 to 3600000, and in all before it is taken for
/// dead, at least twice that; 5000 and 15000 unless set. Returns 0 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_ping(
    config: *mut peerbase_config,
    interval_ms: u32,
    dead_ms: u32,
) -> c_int {
    change(config, |b| {
        let ms = |ms: u32| Duration::from_millis(ms.into());
        let b = b.ping(ms(interval_ms), ms(dead_ms));
        b.check().map(|()| b)
    })
}

/// Links beyond which nobody is dialled only because another peer told of it; 64 unless set, and 0 for not at
/// all. Returns 0 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_max_peers(
    config: *mut peerbase_config,
    count: u32,
) -> c_int {
    change(config, |b| Ok(b.max_peers(count as usize)))
}

/// What files may cost: bytes of the largest that is fetched, 4 GiB unless set; how many are read for others at a
/// time, 8 unless set; and bytes per second that are read for others, all together, 0 for as fast as it goes,
/// which it is unless set. Returns 0 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_file_limits(
    config: *mut peerbase_config,
    max_bytes: u64,
    uploads: u32,
    bytes_per_second: u64,
) -> c_int {
    change(config, |b| {
        Ok(b.file_limits(max_bytes, uploads as usize, bytes_per_second))
    })
}

/// Sets one of the bounds on what others can make this node hold or do: `limit` is a PEERBASE_LIMIT_, where each says
/// what it counts and what it is unless set. A number of things is 1 to 1 048 576, bytes of memory are 1024 to 2^30,
/// and milliseconds 1 to 86 400 000, unless something else is said there. Returns 0, or PEERBASE_ERR_ARGUMENT, also
/// for a limit that this library does not know.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_limit(
    config: *mut peerbase_config,
    limit: c_int,
    value: u64,
) -> c_int {
    change(config, |b| {
        let known = Limit::ALL
            .into_iter()
            .find(|known| *known as c_int == limit);
        b.limit(
            known.ok_or(Error::Argument("there is no such limit"))?,
            value,
        )
    })
}

/// Whether to keep all traffic on this host, on 127.0.0.0/8; not unless set. Returns 0 or
/// PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_loopback(
    config: *mut peerbase_config,
    only: bool,
) -> c_int {
    change(config, |b| Ok(b.loopback(only)))
}

/// Another key that is understood while the network's key is being rotated, at most three. Only the
/// first one seals. Returns 0, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_KEY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_add_key(
    config: *mut peerbase_config,
    key: *const c_char,
) -> c_int {
    change(config, |b| {
        // SAFETY: the header asks for a NUL-terminated string.
        let key = unsafe { text(key, "key is NULL") }?;
        let b = b.also_key(Key::parse(key)?);
        b.check().map(|()| b)
    })
}

/// Registers a command before the node starts; otherwise as `peerbase_node_register`.
///
/// `drop_user` may be NULL; otherwise it is called once with `user` when this configuration and every
/// node started from it are gone, also if this function fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_register(
    config: *mut peerbase_config,
    path: *const c_char,
    handler: peerbase_handler,
    user: *mut c_void,
    drop_user: Option<unsafe extern "C" fn(user: *mut c_void)>,
) -> c_int {
    let user = UserData::new(user, drop_user);
    change(config, |b| {
        // SAFETY: the header asks for a NUL-terminated string.
        let path = unsafe { text(path, "path is NULL") }?;
        b.handler(path, command_handler(handler, user)?)
    })
}

/// Sets what answers messages of bytes; otherwise as `peerbase_config_register`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_on_message(
    config: *mut peerbase_config,
    handler: peerbase_handler,
    user: *mut c_void,
    drop_user: Option<unsafe extern "C" fn(user: *mut c_void)>,
) -> c_int {
    let user = UserData::new(user, drop_user);
    change(config, |b| {
        Ok(b.message_handler(message_handler(handler, user)?))
    })
}

/// Sets what is told of events, from the start of the node on; a NULL handler takes it away. It misses none,
/// as one set by `peerbase_node_on_event` may after 1 024 events, and runs where handlers run, on the thread
/// that processes the node: for `peerbase_node_open` not before the first `peerbase_node_process`.
/// `drop_user` as for `peerbase_config_register`. Returns 0 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_on_event(
    config: *mut peerbase_config,
    handler: peerbase_event_handler,
    user: *mut c_void,
    drop_user: Option<unsafe extern "C" fn(user: *mut c_void)>,
) -> c_int {
    let user = UserData::new(user, drop_user);
    change(config, |b| match handler {
        Some(handler) => {
            let own = b.name()?;
            Ok(b.event_handler(Some(told_of_events(own, handler, user))))
        }
        None => Ok(b.event_handler(None)),
    })
}

/// Frees a configuration. NULL is fine; freeing twice is not, which a debug build of the library
/// notices and ignores.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_free(config: *mut peerbase_config) {
    if !config.is_null() {
        guard(|| {
            // SAFETY: the header asks for one that was not freed before.
            drop(unsafe { take(config) }?);
            Ok(())
        });
    }
}
