//! The events of a node as a C program gets them.

use super::error::explain;
use super::handle::{UserData, c_string};
use crate::engine::{Event, Path, RelayFault};
use crate::name::NodeName;
use crate::node::EventHandler;
use std::borrow::Cow;
use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

/// A node has proved that it is there and holds the key. Or a node of PeerBase 0.7.1 was heard,
/// which proves nothing.
pub const PEERBASE_EVENT_PEER_JOINED: c_int = 1;
/// A node said goodbye, or was not heard for too long.
pub const PEERBASE_EVENT_PEER_LEFT: c_int = 2;
/// A node that was there is there again, as a new process.
pub const PEERBASE_EVENT_PEER_RESTARTED: c_int = 3;
/// Another node has the name of this node. All nodes resolve the name to this node.
pub const PEERBASE_EVENT_NAME_CONFLICT_WON: c_int = 4;
/// Another node has the name of this node. All nodes resolve the name to the other node.
pub const PEERBASE_EVENT_NAME_CONFLICT_LOST: c_int = 5;

/// This node has joined its network at a relay.
pub const PEERBASE_EVENT_RELAY_UP: c_int = 6;
/// A relay cannot be reached, or the link to it was lost. The node tries it again. There is one
/// such event for each reason.
pub const PEERBASE_EVENT_RELAY_DOWN: c_int = 7;
/// A relay has refused this node, or this node a relay, for example because of a wrong key. The
/// node tries it again now and then.
pub const PEERBASE_EVENT_RELAY_REFUSED: c_int = 8;
/// Calls to a node that went through a relay go directly from now on.
pub const PEERBASE_EVENT_PATH_DIRECT: c_int = 9;
/// Calls to a node go through a relay from now on, or through another relay than before.
pub const PEERBASE_EVENT_PATH_RELAY: c_int = 10;

/// Too much happened while the event handler was busy, and it did not get all events. Ask for the
/// peers.
pub const PEERBASE_EVENT_MISSED: c_int = 11;

/// A node at an address advertises under our network's name and another key: its key is wrong, or
/// ours, or there are two networks of one name. Each address is told once, at most one in a minute.
pub const PEERBASE_EVENT_OTHER_KEY: c_int = 12;
/// A node at an address advertises under our network's name in a version of the protocol that this
/// node does not speak. Each address is told once, at most one in a minute.
pub const PEERBASE_EVENT_OTHER_VERSION: c_int = 13;
/// The relay that this node has just joined has no relay key, so neither has proved anything to the
/// other. There is one such event for each relay.
pub const PEERBASE_EVENT_RELAY_UNPROVEN: c_int = 14;

/// A node holds the network key and may not go by its name: `peerbase_last_error` says why, and
/// with which key. There is one such event for each name and reason, at most one in a minute.
pub const PEERBASE_EVENT_DISTRUSTED: c_int = 15;
/// A node has closed the session because it does not trust this node: `peerbase_last_error` says
/// why. The same bounds hold as for PEERBASE_EVENT_DISTRUSTED.
pub const PEERBASE_EVENT_DISTRUSTED_BY: c_int = 16;
/// So many names are pinned to keys (4096) that further names are not.
pub const PEERBASE_EVENT_PINS_FULL: c_int = 17;
/// This node has a newer revocation list: `peerbase_last_error` says which version.
pub const PEERBASE_EVENT_LIST_TAKEN: c_int = 18;
/// This node has a newer revocation list, and this node's own certificate is in it.
pub const PEERBASE_EVENT_REVOKED: c_int = 19;

/// Somebody at an address has closed two links on which this node had asked for a session: it has
/// another network key, or is no PeerBase node. The same bounds hold as for
/// PEERBASE_EVENT_OTHER_KEY.
pub const PEERBASE_EVENT_HANDSHAKE_CLOSED: c_int = 20;

/// A handler of events. `event` is one of the PEERBASE_EVENT_ constants; `node` is the name of the
/// node that the event is about, or the address of the relay or the stranger, and is valid until
/// the handler returns; `user` is what the handler was set with. If a relay is down or has refused
/// this node, `peerbase_last_error` says why, and for missed events it says how many they are. It
/// runs where handlers run: see `peerbase_handler`.
pub type peerbase_event_handler =
    Option<unsafe extern "C" fn(event: c_int, node: *const c_char, user: *mut c_void)>;

/// The handler that gives the events of the node named `own` to a C program's `handler`.
pub(super) fn told_of_events(
    own: NodeName,
    handler: unsafe extern "C" fn(event: c_int, node: *const c_char, user: *mut c_void),
    user: UserData,
) -> EventHandler {
    Arc::new(move |event| {
        let user = &user;
        let Some((kind, about)) = kind_and_subject(event, &own) else {
            return;
        };
        let about = c_string(&*about);
        // SAFETY: set for being called like this.
        unsafe { handler(kind, about.as_ptr(), user.user) };
    })
}

fn kind_and_subject<'a>(event: &'a Event, own: &'a NodeName) -> Option<(c_int, Cow<'a, str>)> {
    let (kind, about) = match event {
        Event::OtherKey(from) => {
            return Some((PEERBASE_EVENT_OTHER_KEY, from.to_string().into()));
        }
        Event::OtherVersion(from) => {
            return Some((PEERBASE_EVENT_OTHER_VERSION, from.to_string().into()));
        }
        Event::HandshakeClosed(from) => {
            return Some((PEERBASE_EVENT_HANDSHAKE_CLOSED, from.to_string().into()));
        }
        Event::PeerJoined(name) => (PEERBASE_EVENT_PEER_JOINED, name.as_str()),
        Event::PeerLeft(name) => (PEERBASE_EVENT_PEER_LEFT, name.as_str()),
        Event::PeerRestarted(name) => (PEERBASE_EVENT_PEER_RESTARTED, name.as_str()),
        Event::NameConflict { wins: true } => (PEERBASE_EVENT_NAME_CONFLICT_WON, own.as_str()),
        Event::NameConflict { wins: false } => (PEERBASE_EVENT_NAME_CONFLICT_LOST, own.as_str()),
        Event::RelayUp(relay) => (PEERBASE_EVENT_RELAY_UP, relay.as_str()),
        Event::RelayUnproven(relay) => (PEERBASE_EVENT_RELAY_UNPROVEN, relay.as_str()),
        Event::RelayDown { relay, why } => {
            explain(&format!("{relay}: {why}"));
            let kind = match why {
                RelayFault::Refused(_) | RelayFault::WrongKey | RelayFault::Version => {
                    PEERBASE_EVENT_RELAY_REFUSED
                }
                _ => PEERBASE_EVENT_RELAY_DOWN,
            };
            (kind, relay.as_str())
        }
        Event::PathChanged { peer, path } => match path {
            Path::Direct => (PEERBASE_EVENT_PATH_DIRECT, peer.as_str()),
            Path::Relay(_) => (PEERBASE_EVENT_PATH_RELAY, peer.as_str()),
            // A compat peer joins and leaves; it has no other path.
            Path::Compat(_) => return None,
        },
        Event::Distrusted { peer, key, why } => {
            explain(&format!("{peer} with the key {}: {why}", key.to_text()));
            (PEERBASE_EVENT_DISTRUSTED, peer.as_str())
        }
        Event::DistrustedBy { peer, why } => {
            explain(&format!("{peer} says of this node: {why}"));
            (PEERBASE_EVENT_DISTRUSTED_BY, peer.as_str())
        }
        Event::PinsFull => (PEERBASE_EVENT_PINS_FULL, own.as_str()),
        Event::ListTaken { version, is_own } => {
            explain(&format!("revocation list {version}"));
            let kind = match is_own {
                true => PEERBASE_EVENT_REVOKED,
                false => PEERBASE_EVENT_LIST_TAKEN,
            };
            (kind, own.as_str())
        }
        Event::Missed(count) => {
            explain(&format!("{count} events were missed"));
            (PEERBASE_EVENT_MISSED, own.as_str())
        }
    };
    Some((kind, about.into()))
}
