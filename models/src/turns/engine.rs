//! What takes the place of the library's `src/engine`: calls that are handed to the network, and
//! end when it answers.

use crate::driver::{Network, Notice};
use crate::error::Error;
use crate::limits::Limits;
use crate::name::NodeName;
pub use crate::protocol::{Now, Time};
use crate::wire::record::Status;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallNumber(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

#[derive(Clone, Copy, Debug)]
pub struct StreamId {
    pub call: RequestId,
}

#[derive(Clone, Debug)]
pub struct Ask;

impl Ask {
    pub fn size(&self) -> usize {
        1
    }

    pub fn path(&self) -> &str {
        "command"
    }
}

/// The value of a call, which nobody looks at here.
pub type Payload = Vec<u8>;

#[derive(Debug)]
pub struct Request {
    pub id: RequestId,
    pub caller: NodeName,
    pub ask: Ask,
}

/// A message to everyone.
#[derive(Debug)]
pub struct Said {
    pub data: Vec<u8>,
}

#[derive(Clone, Copy)]
pub struct Terms {
    /// How long the call may take; without it, for ever.
    pub timeout: Option<Duration>,
}

/// A call under way.
struct Open {
    number: CallNumber,
    until: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Missed(u64),
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    pub messages_dropped: u64,
}

pub struct Engine {
    network: Arc<Network>,
    limits: Limits,
    calls: u64,
    open: Vec<Open>,
    stopped: bool,
    pub(crate) outputs: VecDeque<Notice>,
    /// Bytes of the one stream that have come.
    pub(crate) streamed: u64,
    /// Requests that were answered.
    pub(crate) answered: u64,
}

impl Engine {
    pub(crate) fn new(network: Arc<Network>) -> Engine {
        Engine {
            network,
            limits: Limits {
                waiting_bytes: 1 << 20,
                events: 4,
            },
            calls: 0,
            open: Vec::new(),
            stopped: false,
            outputs: VecDeque::from([Notice::Running]),
            streamed: 0,
            answered: 0,
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn call(
        &mut self,
        now: Now,
        _: &NodeName,
        _: Ask,
        terms: Terms,
    ) -> Result<CallNumber, Error> {
        assert!(!self.stopped, "a call is begun after the goodbye");
        self.calls += 1;
        let number = CallNumber(self.calls);
        let until = terms.timeout.map(|timeout| now.at + timeout);
        self.open.push(Open { number, until });
        self.network.send(number);
        Ok(number)
    }

    /// An answer has come; not for a call that has ended.
    pub(crate) fn answered(&mut self, number: CallNumber) {
        if let Some(at) = self.open.iter().position(|o| o.number == number) {
            self.open.remove(at);
            self.outputs
                .push_back(Notice::Ended(number, Ok(Vec::new())));
        }
    }

    pub fn cancel(&mut self, _: Now, number: CallNumber) {
        self.open.retain(|o| o.number != number);
    }

    pub fn reply(&mut self, _: Now, _: RequestId, _: Status, _: Vec<u8>) {
        self.answered += 1;
    }

    pub fn hold_broadcasts(&mut self, _: bool) {}

    /// Ends our own calls.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        for Open { number, .. } in std::mem::take(&mut self.open) {
            self.outputs
                .push_back(Notice::Ended(number, Err(Error::Stopped)));
        }
    }

    /// When the first of the calls under way is over.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.open.iter().filter_map(|open| open.until).min()
    }

    /// Ends the calls whose time is over.
    pub(crate) fn tick(&mut self, now: Now) {
        let is_over = |open: &Open| open.until.is_some_and(|until| now.at >= until);
        while let Some(at) = self.open.iter().position(is_over) {
            let Open { number, .. } = self.open.remove(at);
            self.outputs
                .push_back(Notice::Ended(number, Err(Error::Timeout)));
        }
    }
}
