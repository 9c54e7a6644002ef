//! What a program hands to a hub, and what the hub asks of it.

use crate::limits::RelayLimits;
use crate::name::NetworkName;
use crate::protocol::LinkId;
use crate::wire::relay_key::RelayKey;

/// Which networks a relay serves, and how much.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The networks; an empty list means any. Where a key is given, members prove that they have
    /// it.
    pub networks: Vec<(NetworkName, Option<RelayKey>)>,
    /// Bounds.
    pub limits: RelayLimits,
    /// Whether Python nodes are served, by HTTP on the same links; in networks without a relay key
    /// only.
    #[cfg(feature = "compat")]
    pub compat: bool,
}

/// What to do.
#[derive(Debug)]
pub enum Output {
    /// A link has [`Hub::pending`](super::Hub::pending) bytes, where it had none.
    Writable(LinkId),
    /// Write what is pending if it can be done at once, then close.
    Close(LinkId, Vec<u8>),
    /// Do not read this link for now.
    Hold(LinkId),
    /// Read it again.
    Resume(LinkId),
    /// Say on this link that no more comes; go on reading it.
    #[cfg(feature = "compat")]
    Finish(LinkId),
}
