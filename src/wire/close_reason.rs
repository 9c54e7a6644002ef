//! Why a session is closed: one byte of its last record.

use super::Malformed;

/// The reason why the sender closes a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The sender is leaving the network.
    Leaving,
    /// The two nodes have a second session, which is kept.
    Duplicate,
    /// The session was not in use, and the sender needs the room.
    Idle,
    /// Both nodes have the same name.
    NameConflict,
    /// The other node broke a rule of streams, or of broadcasts.
    Violation,
    /// The other node's name belongs to another key.
    Identity,
    /// The other node's certificate was revoked.
    Revoked,
    /// The other node shows no good certificate, or does not have the revocation list that it needs
    /// or says that it has.
    Certificate,
}

impl CloseReason {
    pub(super) fn from_u8(byte: u8) -> Result<CloseReason, Malformed> {
        Ok(match byte {
            0 => CloseReason::Leaving,
            1 => CloseReason::Duplicate,
            2 => CloseReason::Idle,
            3 => CloseReason::NameConflict,
            4 => CloseReason::Violation,
            5 => CloseReason::Identity,
            6 => CloseReason::Revoked,
            7 => CloseReason::Certificate,
            _ => return Err(Malformed),
        })
    }

    pub(super) fn to_u8(self) -> u8 {
        match self {
            CloseReason::Leaving => 0,
            CloseReason::Duplicate => 1,
            CloseReason::Idle => 2,
            CloseReason::NameConflict => 3,
            CloseReason::Violation => 4,
            CloseReason::Identity => 5,
            CloseReason::Revoked => 6,
            CloseReason::Certificate => 7,
        }
    }
}
