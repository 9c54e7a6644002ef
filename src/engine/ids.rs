//! The names of calls and streams, which programs, the driver and several parts of the engine use,
//! and the words for a call that is over.

use crate::error::Error;
use crate::wire::Instance;
use crate::wire::record::{Channel, Of};

/// The number of one call of this node: the engine never uses one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallNumber(pub u64);

/// A call that some node has made: the instance of the caller, and the number that it gave the
/// call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// The instance that made the call.
    pub caller: Instance,
    /// The caller's number for it.
    pub number: u64,
}

impl RequestId {
    /// One of the streams of this call.
    pub(super) fn stream(self, channel: Channel) -> StreamId {
        StreamId {
            call: self,
            channel,
        }
    }
}

/// One stream of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The call that it belongs to.
    pub call: RequestId,
    /// Which of the call's streams it is.
    pub channel: Channel,
}

impl StreamId {
    /// How a record says which stream it is about.
    pub(super) fn of(&self) -> Of {
        (self.channel, self.call.number)
    }

    /// Whether programs stream along it. The other channels carry what is too large for one record.
    pub(super) fn is_of_programs(&self) -> bool {
        matches!(self.channel, Channel::Request | Channel::Response)
    }
}

/// A call whose streams go no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CallOver<'a> {
    pub(super) call: RequestId,
    /// Why it is over, for a program that still reads; `None` if the call has simply ended.
    pub(super) why: Option<&'a str>,
    /// Whether a program of this node reads what was streamed to it: what has come it can still
    /// read.
    pub(super) reads: bool,
}

/// The error for a stream whose call is not known any more.
pub(super) fn call_is_over() -> Error {
    Error::Broken {
        arrived: 0,
        why: "the call is over, and how it ended says why".into(),
    }
}
