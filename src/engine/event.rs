//! What a program is told of what happens.

use super::distrust::Distrust;
use super::peer_info::Path;
use super::relay_fault::RelayFault;
use crate::address::RelayAddress;
use crate::identity::PublicKey;
#[cfg(doc)]
use crate::limits::Limits;
use crate::name::NodeName;
use std::net::IpAddr;

/// Something a program may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A node has proved that it is there and holds the key; or one of PeerBase 0.7.1 is heard,
    /// which proves nothing.
    PeerJoined(NodeName),
    /// A node said goodbye, or was not heard for too long. There is no event for the loss of a path
    /// alone: a node that is killed, or cut off, leaves when its session has ended (after
    /// [`Limits::dead`] of silence, if the system does not close it) and it was not heard for three
    /// and a half of its advert intervals more. If it is back before that, neither this event nor a
    /// second [`Event::PeerJoined`] is told; if it has restarted, [`Event::PeerRestarted`] is.
    PeerLeft(NodeName),
    /// A node that was there is there again, as a new instance.
    PeerRestarted(NodeName),
    /// Another node has proved that it goes by our name. Every node resolves the name to the same
    /// one of the two; `wins` says whether that is this one. Told once for each node that does, at
    /// most one in a minute; the 16 that were told last are remembered.
    NameConflict {
        /// Whether others resolve the name to this node.
        wins: bool,
    },
    /// This node has joined its network at a relay.
    RelayUp(RelayAddress),
    /// The relay that this node has just joined has no relay key of the network, so neither has
    /// proved anything to the other: whoever knows the network's name may join there, and whoever
    /// is on the way may change what the relay says. Told once for each relay. Calls are as safe as
    /// at any other relay.
    RelayUnproven(RelayAddress),
    /// A relay cannot be joined, or was lost; it is tried again. Told once for each reason, not at
    /// each attempt.
    RelayDown {
        /// The relay.
        relay: RelayAddress,
        /// What is wrong with it.
        why: RelayFault,
    },
    /// Calls to a peer take another path than before. It is told when the new path is there, not
    /// when the old one is lost, and not if the same path comes back.
    PathChanged {
        /// The peer.
        peer: NodeName,
        /// The path that calls take now.
        path: Path,
    },
    /// A node at this address advertises under our network's name and another key: its key is
    /// wrong, or ours, or there are two networks of one name. The source of a datagram can be
    /// forged. Each address is told once, at most one in a minute.
    OtherKey(IpAddr),
    /// A node at this address advertises under our network's name in another version of the
    /// protocol, which this node does not speak. The same bounds hold as for
    /// [`Event::OtherKey`].
    OtherVersion(IpAddr),
    /// Somebody at this address has closed two links, one after the other, on which this node had
    /// asked for a session: it has another network key, or is no PeerBase node. The same bounds
    /// hold as for [`Event::OtherKey`].
    HandshakeClosed(IpAddr),
    /// A node holds the network key and may not go by its name, so that there is no session with
    /// it. Each name is told once for each reason, at most one in a minute; the 16 names that were
    /// told last are remembered.
    Distrusted {
        /// The name that it says.
        peer: NodeName,
        /// Its public key, which it has proved. [`Node::accept_key`](crate::Node::accept_key) takes
        /// it.
        key: PublicKey,
        /// The reason.
        why: Distrust,
    },
    /// A peer has closed the session because it does not trust this node. The same bounds hold as
    /// for [`Event::Distrusted`].
    DistrustedBy {
        /// The peer.
        peer: NodeName,
        /// Its reason: [`Distrust::OtherKey`], [`Distrust::Revoked`] or [`Distrust::Certificate`].
        why: Distrust,
    },
    /// As many names are pinned to keys as this node pins (4 096): further names are not. Told
    /// once.
    PinsFull,
    /// This node has a newer revocation list, from a peer or its program.
    ListTaken {
        /// The version of the list.
        version: u64,
        /// Whether this node's own certificate is in it.
        is_own: bool,
    },
    /// The subscriber was too slow for this many events.
    Missed(u64),
}
