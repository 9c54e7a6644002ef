//! `peerbase_config`: the settings of a node that is to be started.

use super::error::{guard, guard_value};
use super::event::{peerbase_event_handler, told_of_events};
use super::handle::{UserData, borrow_mut, give, take, text};
use super::request::{command_handler, message_handler, peerbase_handler};
use crate::entropy::OsEntropy;
use crate::error::Error;
use crate::fernet::Key;
use crate::identity::Identity;
use crate::limits::Limit;
use crate::node::{Builder, Node};
use std::ffi::{c_char, c_int, c_void};
use std::net::SocketAddr;
use std::time::Duration;

/// The settings of a node. `peerbase_config_new` makes it, and it belongs to the program until
/// `peerbase_config_free`. Starting a node copies it, so it may be used again, or freed at once.
/// One thread at a time may use a configuration.
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

/// What every setter does around its own line. It is a function apart, because the compiler makes a
/// copy of `change` for each setter.
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

/// Makes a new configuration with every default.
///
/// `name` and `network` are 1 to 64 bytes of UTF-8 without control characters, without invisible
/// characters (zero-width and bidirectional controls, variation selectors, spaces other than
/// U+0020), and without any of `| . : @`; a name is not "*". `key` is the network's key as
/// `peerbase_key_generate` writes it. None may be NULL; all are copied.
///
/// Any thread. Returns the configuration, which the program frees with `peerbase_config_free`; or
/// NULL, with the reason in `peerbase_last_error`, if an argument breaks a rule.
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

/// Sets where the node listens for links, as "IP:PORT" or `[IPV6]:PORT`; port 0 is any free one. By
/// default it listens on every address, at any free port. `addr` is copied and must not be NULL.
/// One thread at a time may use `config`, which must not be NULL. Returns 0, PEERBASE_ERR_ARGUMENT,
/// PEERBASE_ERR_UTF8 or PEERBASE_ERR_ADDRESS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_listen(
    config: *mut peerbase_config,
    addr: *const c_char,
) -> c_int {
    // SAFETY: this function's promises are that one's.
    unsafe { change_address(config, addr, Builder::listen) }
}

/// Sets the UDP port on which the nodes advertise; 3334 by default. All nodes of a network use the
/// same port, and all nodes of one host share it. One thread at a time may use `config`, which must
/// not be NULL. Returns 0, or PEERBASE_ERR_ARGUMENT, also for port 0.
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

/// Sets where other nodes dial this node, as "IP:PORT", if not at the address from which its
/// adverts come; port 0 is the port on which it listens. `addr` is copied and must not be NULL. One
/// thread at a time may use `config`, which must not be NULL. Returns 0, PEERBASE_ERR_ARGUMENT,
/// PEERBASE_ERR_UTF8 or PEERBASE_ERR_ADDRESS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_advertise_address(
    config: *mut peerbase_config,
    addr: *const c_char,
) -> c_int {
    // SAFETY: this function's promises are that one's.
    unsafe { change_address(config, addr, Builder::advertise_address) }
}

/// Sets the time between two adverts in milliseconds, 50 to 300000; 1000 by default. Other nodes
/// consider a peer gone after three and a half of its intervals without an advert. One thread at a
/// time may use `config`, which must not be NULL. Returns 0 or PEERBASE_ERR_ARGUMENT.
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

/// Switches discovery on the networks of this host on or off; it is on by default. Without it a
/// node needs a relay, or `peerbase_node_connect`. One thread at a time may use `config`, which
/// must not be NULL. Returns 0 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_lan(
    config: *mut peerbase_config,
    enabled: bool,
) -> c_int {
    change(config, |b| Ok(b.lan(enabled)))
}

/// Adds a relay to which the node connects, as "HOST:PORT" or `[IPV6]:PORT`; at most 16. If a relay
/// cannot be reached, or its name cannot be resolved, the node reports an event and tries again.
/// `addr` is copied and must not be NULL. One thread at a time may use `config`, which must not be
/// NULL. Returns 0, PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_UTF8 or PEERBASE_ERR_ADDRESS.
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

/// Sets to how many relays the node connects at most, 0 to 16: first to those that were added, then
/// to those that other nodes announce. By default it is 3, or the number of relays that were added
/// if that is more; and 0 if none was added. A node with more relays added than this does not start
/// (PEERBASE_ERR_ARGUMENT). One thread at a time may use `config`, which must not be NULL. Returns
/// 0 or PEERBASE_ERR_ARGUMENT.
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

/// Sets how long a path through a relay may be silent before the node pings the peer, in
/// milliseconds, 100 to 30000; 10000 by default. After three times as long without a sign of life
/// the path is dead. One thread at a time may use `config`, which must not be NULL. Returns 0 or
/// PEERBASE_ERR_ARGUMENT.
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

/// Sets the largest size of what is asked in one call, and of its value, in bytes, 1024 to 2^30; 4
/// MiB by default. What does not fit into one frame is sent in pieces, which the program does not
/// notice. PEERBASE_LIMIT_CALL_BYTES, PEERBASE_LIMIT_REPLY_BYTES and PEERBASE_LIMIT_MESSAGE_BYTES
/// are raised where one such message would not fit into them; set them afterwards to have them
/// otherwise. One thread at a time may use `config`, which must not be NULL. Returns 0 or
/// PEERBASE_ERR_ARGUMENT.
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

/// Sets the size of one piece of a stream in bytes, 1024 to 48640; 16384 by default. One thread at
/// a time may use `config`, which must not be NULL. Returns 0 or PEERBASE_ERR_ARGUMENT.
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

/// Sets how long a peer may be silent before the node pings it, in milliseconds, 100 to 3600000,
/// and after how long in all it counts as dead, at least twice as much; 5000 and 15000 by default.
/// One thread at a time may use `config`, which must not be NULL. Returns 0 or
/// PEERBASE_ERR_ARGUMENT.
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

/// Sets the number of links beyond which the node dials no peer only because another peer told of
/// it; 64 by default, and 0 means that it never does. One thread at a time may use `config`, which
/// must not be NULL. Returns 0 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_max_peers(
    config: *mut peerbase_config,
    count: u32,
) -> c_int {
    change(config, |b| Ok(b.max_peers(count as usize)))
}

/// Sets what files may cost: `max_bytes` is the size of the largest file that is fetched, 4 GiB by
/// default; `uploads` is how many files are read for other nodes at a time, 8 by default;
/// `bytes_per_second` is how fast files are read for other nodes, all together, where 0, the
/// default, means no limit. One thread at a time may use `config`, which must not be NULL. Returns
/// 0 or PEERBASE_ERR_ARGUMENT.
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

/// Sets one of the bounds on what other nodes can make this node hold or do. `limit` is a
/// PEERBASE_LIMIT_ constant; its comment says what it counts, and its default. A number of things
/// is 1 to 1 048 576, bytes of memory are 1024 to 2^30, and milliseconds 1 to 86 400 000, unless
/// the comment says otherwise. One thread at a time may use `config`, which must not be NULL.
/// Returns 0, or PEERBASE_ERR_ARGUMENT, also for a limit that this library does not know.
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

/// Keeps all traffic on this host, on 127.0.0.0/8, if `only` is true; it is false by default. One
/// thread at a time may use `config`, which must not be NULL. Returns 0 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_loopback(
    config: *mut peerbase_config,
    only: bool,
) -> c_int {
    change(config, |b| Ok(b.loopback(only)))
}

/// Adds a key that the node accepts besides the network's key, while that is being rotated; at most
/// three. The node seals only with the first key. `key` is copied and must not be NULL. One thread
/// at a time may use `config`, which must not be NULL. Returns 0, PEERBASE_ERR_ARGUMENT,
/// PEERBASE_ERR_UTF8, or PEERBASE_ERR_KEY, also for a fourth key.
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

/// Sets who the node is, also after its next start. `identity` is the secret text of an identity
/// file, "identity-" and 44 characters; it is copied and must not be NULL. Without an identity the
/// node makes one at its start, and forgets it at its end. Two nodes must not have one identity.
/// One thread at a time may use `config`, which must not be NULL. Returns 0,
/// PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_UTF8 or PEERBASE_ERR_KEY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_identity(
    config: *mut peerbase_config,
    identity: *const c_char,
) -> c_int {
    change(config, |b| {
        // SAFETY: the header asks for a NUL-terminated string.
        let identity = unsafe { text(identity, "identity is NULL") }?;
        Ok(b.identity(Identity::parse(identity)?))
    })
}

/// Sets who the node is, by a file that keeps its identity. If there is no such file, it is made,
/// with an identity of its own and with mode 0600; a file that is there is never changed. `path` is
/// copied and must not be NULL. One thread at a time may use `config`, which must not be NULL.
/// Returns 0, PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_UTF8, PEERBASE_ERR_REFUSED if others than the
/// owner may read or write the file, PEERBASE_ERR_DAMAGED if the file is no identity file, or
/// PEERBASE_ERR_IO if it cannot be read or made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_identity_file(
    config: *mut peerbase_config,
    path: *const c_char,
) -> c_int {
    change(config, |b| {
        // SAFETY: the header asks for a NUL-terminated string.
        let path = unsafe { text(path, "path is NULL") }?;
        let identity = Identity::load_or_create(path, &mut OsEntropy::new()?)?;
        Ok(b.identity(identity))
    })
}

/// Lets callers call the paths of a pattern, besides those that other rules for the same paths let,
/// and nobody else; at most 256 rules. A path that no rule covers is open to every member of the
/// network.
///
/// `pattern` is a path whose parts may be "*", which stands for any one part; a last part "**"
/// stands for all further parts, also none. "__message__" stands for messages to this node,
/// "__file_info__" and "__file__" for its files, and "**" for everything. Rules do not cover
/// messages to every node, nor calls of the node to itself.
///
/// `callers` is "name:PATTERN" for nodes of this name, where "*" stands for any characters;
/// "key:FINGERPRINT" or "key:PUBLIC-KEY" for the node that has proved this key; or "role:NAME" for
/// nodes whose certificate gives them this role. In an open network whoever has the network's key
/// can take a name that is free, and nobody has a role: prefer keys there. No rule names the nodes
/// of PeerBase 0.7.1.
///
/// A call that is not allowed does not run, and ends as PEERBASE_ERR_NOT_ALLOWED for its caller.
/// Both strings are copied, and neither may be NULL. One thread at a time may use `config`, which
/// must not be NULL. Returns 0, PEERBASE_ERR_PATH for a bad pattern, PEERBASE_ERR_NAME or
/// PEERBASE_ERR_KEY for a bad name or key, PEERBASE_ERR_UTF8, or PEERBASE_ERR_ARGUMENT, also for
/// other callers and for one rule too many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_allow(
    config: *mut peerbase_config,
    pattern: *const c_char,
    callers: *const c_char,
) -> c_int {
    change(config, |b| {
        // SAFETY: the header asks for NUL-terminated strings.
        let (pattern, callers) = unsafe {
            (
                text(pattern, "pattern is NULL")?,
                text(callers, "callers is NULL")?,
            )
        };
        let b = b.allow(pattern, callers);
        b.check().map(|()| b)
    })
}

/// Registers a command before the node starts; otherwise as `peerbase_node_register`.
///
/// `drop_user` may be NULL; otherwise it is called once with `user` when this configuration and
/// every node that was started from it are gone, also if this function fails. One thread at a time
/// may use `config`, which must not be NULL.
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

/// Sets the handler of messages before the node starts; otherwise as `peerbase_config_register`.
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

/// Sets the handler of events before the node starts; NULL removes it. Unlike a handler that
/// `peerbase_node_on_event` sets, which may miss events after the first 1 024, it gets every event
/// since the start. It runs where handlers run, on the thread that processes the node: for
/// `peerbase_node_open` that is not before the first `peerbase_node_process`. `drop_user` as for
/// `peerbase_config_register`. One thread at a time may use `config`, which must not be NULL.
/// Returns 0 or PEERBASE_ERR_ARGUMENT.
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

/// Frees a configuration. NULL is allowed. Freeing it twice is not; a debug build of the library
/// notices that and does nothing. One thread at a time may use `config`.
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
