//! What a request of ours is for, and how it ended.

use crate::address::RelayAddress;
use crate::compat::http::AnswerHead;
use crate::name::NodeName;
use crate::protocol::Time;

/// What a packet for a relay carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cargo {
    /// A call of ours, of this number.
    Call(u64),
    /// The answer to a call of `to`, whose packet has this id.
    Answer { id: String, to: NodeName },
    /// What stands for an answer that a relay did not take. Nothing stands for this one.
    Notice,
}

impl Cargo {
    /// The call of ours that it is.
    pub(super) fn call(&self) -> Option<u64> {
        match self {
            Cargo::Call(number) => Some(*number),
            Cargo::Answer { .. } | Cargo::Notice => None,
        }
    }
}

/// Bytes of answers that wait for relays, or are on their way there: of all relays, and of one of
/// them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) all: usize,
    pub(super) own: usize,
}

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// A call, straight to its peer.
    Call(u64),
    /// What has come, at a relay.
    Ping(RelayAddress),
    /// A packet, for a relay.
    Post(RelayAddress, Cargo),
}

impl Errand {
    /// The relay that is asked.
    pub(super) fn relay(&self) -> Option<&RelayAddress> {
        match self {
            Errand::Call(_) => None,
            Errand::Ping(relay) | Errand::Post(relay, _) => Some(relay),
        }
    }

    /// The relay to which it takes an answer, if it does.
    pub(super) fn answers(&self) -> Option<&RelayAddress> {
        match self {
            Errand::Post(relay, cargo) if cargo.call().is_none() => Some(relay),
            _ => None,
        }
    }

    /// The call that it is for.
    pub(super) fn call(&self) -> Option<u64> {
        match self {
            Errand::Call(number) => Some(*number),
            Errand::Post(_, cargo) => cargo.call(),
            Errand::Ping(_) => None,
        }
    }
}

/// A request of ours, for which a link is to be made.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) errand: Errand,
    /// The whole HTTP request.
    pub(super) request: Vec<u8>,
    pub(super) deadline: Time,
}

/// How a request ended.
#[derive(Debug)]
pub(super) enum Answer<'a> {
    /// With an answer.
    Came(&'a AnswerHead, &'a [u8]),
    /// With what is no answer.
    Malformed(&'static str),
    /// With none; whether the request may have been read.
    None { sent: bool },
}
