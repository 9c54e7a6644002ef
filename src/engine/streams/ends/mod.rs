//! The two ends of one stream, with nothing around them: what each end keeps, how far the sender
//! may go, and what the receiver accepts.
//!
//! Offsets count from the beginning of the stream. The receiver says how many bytes it has and how
//! far it lets the sender go. The sender keeps what the receiver has not acknowledged, so that
//! after a lost session it goes on from there over another one. Each end knows a link only to tell
//! over which session the two agree at present.

mod receiving;
mod sending;

pub(crate) use receiving::ReceivingEnd;
pub(crate) use sending::{Piece, SendingEnd};

/// What a piece takes at its sender besides its bytes, until it is acknowledged: an allocation, and
/// a place in a queue.
const PIECE_ROOM: u64 = 64;

/// The other side has broken a rule of streams. Nothing that it says from then on can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation;

/// What a receiver tells its sender, in bytes from the beginning of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credit {
    /// How much the receiver has, which the sender may forget.
    pub(crate) received: u64,
    /// How far the sender may go.
    pub(crate) limit: u64,
}
