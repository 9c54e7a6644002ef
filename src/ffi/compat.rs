//! `peerbase_config`: how a node also speaks to Python nodes.

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

/// Whether to speak to Python nodes of PeerBase 0.7.1 as well, in their protocol; not unless asked for, because
/// that protocol proves nothing and hides no names: whoever is on the LAN can take any name or have a recorded
/// call run again, but read nothing. The other functions of compat switch it on, too. Returns 0 or
/// PEERBASE_ERR_ARGUMENT.
///
/// The functions of compat are in the library if it was built with the feature of that name, which it is unless
/// that was switched off.
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

/// Where calls of Python nodes come to, as "IPV4:PORT", the first of their `ports`; every IPv4 address and any
/// port unless set. An address other than 0.0.0.0 is also what is advertised. Returns 0, PEERBASE_ERR_ARGUMENT
/// or PEERBASE_ERR_ADDRESS.
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

/// The UDP port that Python nodes advertise on, the second of their `ports`; 1001 unless set. Returns 0 or
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

/// A relay of Python nodes as "HOST:PORT", their `relay.py` or a `peerbase relay`, besides those added before; at
/// most 16. It learns this node's name. Returns 0, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_ADDRESS.
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

/// Milliseconds between two questions to a relay of Python nodes that does not answer as soon as something comes,
/// 10 to 60000: their `keepalive_tick`; 250 unless set. Returns 0 or PEERBASE_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_compat_tick(
    config: *mut peerbase_config,
    interval_ms: u32,
) -> c_int {
    let tick = Duration::from_millis(interval_ms.into());
    change(config, |b| with_compat(b, |compat| compat.tick(tick)))
}
