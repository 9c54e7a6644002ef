//! The settings of a `peerbase_config` with which a node also speaks to Python nodes.

use super::config::{address, change, peerbase_config};
use super::handle::text;
use crate::error::Error;
use crate::node::{Builder, Compat};
use std::ffi::{c_char, c_int};
use std::net::SocketAddr;
use std::time::Duration;

fn with_compat(builder: Builder, set: impl FnOnce(Compat) -> Compat) -> Result<Builder, Error> {
    let builder = builder.change_compat(set);
    builder.check().map(|()| builder)
}

/// Switches compat on or off: with it, the node also speaks to Python nodes of PeerBase 0.7.1, in
/// their protocol. It is off by default, because that protocol proves nothing and hides no names:
/// anyone on the LAN can take any name, or have a recorded call run again, but cannot read
/// anything. The other functions of compat switch it on, too.
///
/// One thread at a time may use `config`, which must not be NULL. Returns 0 or
/// PEERBASE_ERR_ARGUMENT.
///
/// The library has the functions of compat if it was built with the feature of that name, which is
/// a default feature.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_compat(
    config: *mut peerbase_config,
    enabled: bool,
) -> c_int {
    change(config, |b| match enabled {
        true => with_compat(b, |compat| compat),
        false => Ok(b.without_compat()),
    })
}

/// Sets where the node takes calls from Python nodes, as "IPV4:PORT": the first of their `ports`.
/// By default it takes them on every IPv4 address, at any free port. The node also advertises this
/// address, unless it is 0.0.0.0. `addr` is copied and must not be NULL.
///
/// One thread at a time may use `config`, which must not be NULL. Returns 0, PEERBASE_ERR_ARGUMENT,
/// PEERBASE_ERR_UTF8 or PEERBASE_ERR_ADDRESS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_compat_listen(
    config: *mut peerbase_config,
    addr: *const c_char,
) -> c_int {
    change(config, |b| {
        // SAFETY: the header asks for a NUL-terminated string.
        let addr = unsafe { text(addr, "addr is NULL") }?;
        match address(addr)? {
            SocketAddr::V4(v4) => with_compat(b, |compat| compat.listen(v4)),
            SocketAddr::V6(_) => Err(Error::Address(addr.to_owned())),
        }
    })
}

/// Sets the UDP port on which Python nodes advertise: the second of their `ports`; 1001 by default.
/// One thread at a time may use `config`, which must not be NULL. Returns 0 or
/// PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_compat_port(
    config: *mut peerbase_config,
    port: u16,
) -> c_int {
    change(config, |b| {
        with_compat(b, |compat| compat.advertise_port(port))
    })
}

/// Adds a relay of Python nodes, as "HOST:PORT": their `relay.py`, or a `peerbase relay`. A node
/// uses at most 16. The relay learns this node's name. `addr` is copied and must not be NULL.
///
/// One thread at a time may use `config`, which must not be NULL. Returns 0, PEERBASE_ERR_ARGUMENT,
/// PEERBASE_ERR_UTF8 or PEERBASE_ERR_ADDRESS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_add_compat_relay(
    config: *mut peerbase_config,
    addr: *const c_char,
) -> c_int {
    change(config, |b| {
        // SAFETY: the header asks for a NUL-terminated string.
        let addr = unsafe { text(addr, "addr is NULL") }?;
        with_compat(b, |compat| compat.relay(addr))
    })
}

/// Sets how often the node polls a relay of Python nodes that does not answer as soon as something
/// arrives, in milliseconds, 10 to 60000; 250 by default. It corresponds to their `keepalive_tick`.
/// One thread at a time may use `config`, which must not be NULL. Returns 0 or
/// PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_compat_tick(
    config: *mut peerbase_config,
    interval_ms: u32,
) -> c_int {
    let tick = Duration::from_millis(interval_ms.into());
    change(config, |b| with_compat(b, |compat| compat.tick(tick)))
}
