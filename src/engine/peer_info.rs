//! One peer as a program sees it: where it is, how it is reached, and how far away it is.

use crate::address::RelayAddress;
use crate::identity::PublicKey;
use crate::name::NodeName;
use std::net::SocketAddr;
use std::time::Duration;

/// How a peer is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Path {
    /// Straight.
    Direct,
    /// Through this relay.
    Relay(RelayAddress),
    /// In the protocol of PeerBase 0.7.1, straight or through this relay of it. Nothing about it is
    /// proven.
    Compat(Option<RelayAddress>),
}

/// One peer, for a program to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its name.
    pub name: NodeName,
    /// Where it was last found.
    pub address: Option<SocketAddr>,
    /// Whether a session with it is open; otherwise it is only known from its adverts.
    pub reachable: bool,
    /// How calls to it go, if there is a way.
    pub path: Option<Path>,
    /// Its last sign of life that was asked for, if it is reachable.
    pub ping: Option<Ping>,
    /// Its public key, once a session with it was open. Its
    /// [fingerprint](PublicKey::fingerprint) is for people to compare.
    pub key: Option<PublicKey>,
}

/// An answered ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// From asking to the answer; of the last ones, smoothed.
    pub round_trip: Duration,
    /// How long ago the answer came.
    pub ago: Duration,
}
