//! What a C program is told of events.

use super::error::explain;
use super::handle::{UserData, c_string};
use crate::engine::{Event, Path, RelayFault};
use crate::name::NodeName;
use crate::node::EventHandler;
use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

/// A node has proved that it is there and holds the key; or one of PeerBase 0.7.1 is heard, which proves nothing.
pub const PEERBASE_EVENT_PEER_JOINED: c_int = 1;
/// A node said goodbye, or was not heard for too long.
pub const PEERBASE_EVENT_PEER_LEFT: c_int = 2;
/// A node that was there is there again, as a new process.
pub const PEERBASE_EVENT_PEER_RESTARTED: c_int = 3;
/// Another node has our name; everyone resolves it to this one.
pub const PEERBASE_EVENT_NAME_CONFLICT_WON: c_int = 4;
/// Another node has our name; everyone resolves it to the other one.
pub const PEERBASE_EVENT_NAME_CONFLICT_LOST: c_int = 5;

/// This node has joined its network at a relay.
pub const PEERBASE_EVENT_RELAY_UP: c_int = 6;
/// A relay cannot be reached, or was lost; it is tried again. Told once for each reason.
pub const PEERBASE_EVENT_RELAY_DOWN: c_int = 7;
/// A relay has refused this node, for a wrong key say; it is tried again now and then.
pub const PEERBASE_EVENT_RELAY_REFUSED: c_int = 8;
/// Calls to a node that went through a relay go straight from now on.
pub const PEERBASE_EVENT_PATH_DIRECT: c_int = 9;
/// Calls to a node go through a relay from now on, or through another one.
pub const PEERBASE_EVENT_PATH_RELAY: c_int = 10;

/// Too much happened while the event handler was busy, and it was not told of all of it. Ask for the peers.
pub const PEERBASE_EVENT_MISSED: c_int = 11;

/// What is told of events: one of PEERBASE_EVENT_…, the name of the node it is about, or the address of the
/// relay, good during the call, and the `user` it was set with. For a relay that is down or has refused,
/// `peerbase_last_error` says why, and for missed events how many they are. Runs where handlers run.
pub type peerbase_event_handler =
    Option<unsafe extern "C" fn(event: c_int, node: *const c_char, user: *mut c_void)>;

/// What tells `handler` of the events of the node named `own`.
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
        let about = c_string(about);
        // SAFETY: set for being called like this.
        unsafe { handler(kind, about.as_ptr(), user.user) };
    })
}

fn kind_and_subject<'a>(event: &'a Event, own: &'a NodeName) -> Option<(c_int, &'a str)> {
    Some(match event {
        Event::PeerJoined(name) => (PEERBASE_EVENT_PEER_JOINED, name.as_str()),
        Event::PeerLeft(name) => (PEERBASE_EVENT_PEER_LEFT, name.as_str()),
        Event::PeerRestarted(name) => (PEERBASE_EVENT_PEER_RESTARTED, name.as_str()),
        Event::NameConflict { wins: true } => (PEERBASE_EVENT_NAME_CONFLICT_WON, own.as_str()),
        Event::NameConflict { wins: false } => (PEERBASE_EVENT_NAME_CONFLICT_LOST, own.as_str()),
        Event::RelayUp(relay) => (PEERBASE_EVENT_RELAY_UP, relay.as_str()),
        Event::RelayDown { relay, why } => {
            explain(&format!("{relay}: {why}"));
            let kind = match why {
                RelayFault::Refused(_) => PEERBASE_EVENT_RELAY_REFUSED,
                _ => PEERBASE_EVENT_RELAY_DOWN,
            };
            (kind, relay.as_str())
        }
        Event::PathChanged { peer, path } => match path {
            Path::Direct => (PEERBASE_EVENT_PATH_DIRECT, peer.as_str()),
            Path::Relay(_) => (PEERBASE_EVENT_PATH_RELAY, peer.as_str()),
            // Such a peer comes and goes; it has no other path.
            Path::Compat(_) => return None,
        },
        Event::Missed(count) => {
            explain(&format!("{count} events were missed"));
            (PEERBASE_EVENT_MISSED, own.as_str())
        }
    })
}
