//! How answers to calls come.

use super::{Calls, State};
use crate::engine::LinkId;
use crate::engine::payload::Payload;
use crate::error::Error;
use crate::wire::Instance;
use crate::wire::record::Status;

/// A reply, as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) peer: Instance,
    pub(crate) link: LinkId,
    pub(crate) number: u64,
    pub(crate) status: Status,
    pub(crate) body: &'a [u8],
}

/// What a reply means for its call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The call has ended, so the callee may forget it.
    Over,
    /// The call is open, and waits for no answer from there. The callee must not be told that it
    /// may forget the call.
    Unexpected,
    /// The value comes on a stream of its own.
    ValueComes,
    /// So did the value before the call was sent again, and it need not come again.
    ValueIsKept,
    /// The value of a call along which programs stream; what was streamed may still be coming.
    Value(Payload),
    /// The call ends so.
    Ends(Result<Payload, Error>),
}

impl Calls {
    /// Judges a reply.
    pub(crate) fn answer(&mut self, reply: Reply<'_>) -> Verdict {
        let number = reply.number;
        let Some(call) = self.open.get_mut(&number) else {
            return Verdict::Over;
        };
        let is_all = !reply.status.is_large() && !call.terms.streams;
        let (was_waiting, has_value);
        match &mut call.state {
            State::Bound {
                instance,
                link,
                value,
            } if *instance == reply.peer && (link.is_some() || is_all) => {
                // A call that waited to be sent again need not be, now that it is answered.
                was_waiting = link.is_none();
                has_value = value.is_some();
                *link = link.or(Some(reply.link));
            }
            _ => return Verdict::Unexpected,
        }
        call.is_data = reply.status.is_data();
        let verdict = match reply.status {
            status if status.is_large() && has_value => Verdict::ValueIsKept,
            status if status.is_large() => Verdict::ValueComes,
            status if status.is_value() && call.terms.streams => {
                Verdict::Value(call.payload(reply.body.to_vec()))
            }
            status => Verdict::Ends(call.outcome(status, reply.body)),
        };
        if was_waiting {
            let target = call.target.clone();
            self.leave_line(number, &target);
        }
        verdict
    }

    /// Keeps the value of a call until nothing else of it is still to come, also while the call
    /// waits to be sent again: the callee may have dropped those pieces of a large value that this
    /// node has acknowledged, and could not send the value from its beginning.
    pub(crate) fn keep_value(&mut self, number: u64, value: Payload) {
        if let Some(State::Bound { value: kept, .. }) =
            self.open.get_mut(&number).map(|call| &mut call.state)
        {
            *kept = Some(value);
        }
    }

    /// The value of a call that came on a stream of its own, marked as its announcement said.
    pub(crate) fn streamed_value(&self, number: u64, value: Vec<u8>) -> Payload {
        match self.open.get(&number) {
            Some(call) => call.payload(value),
            None => Payload::Data(value),
        }
    }

    /// Takes the value of a call that was kept, with the link that the call was sent over. While
    /// the call waits to be sent again there is no link over which the answer could be confirmed.
    pub(crate) fn take_value(&mut self, number: u64) -> Option<KeptValue> {
        match &mut self.open.get_mut(&number)?.state {
            State::Bound {
                link: Some(link),
                value,
                ..
            } => Some(KeptValue {
                link: *link,
                value: value.take()?,
            }),
            _ => None,
        }
    }

    /// How a call of this node to itself ends with this answer; `None` if it has ended.
    pub(crate) fn answer_local(
        &mut self,
        number: u64,
        status: Status,
        body: &[u8],
    ) -> Option<Result<Payload, Error>> {
        let call = self.open.get_mut(&number)?;
        call.is_data = status.is_data();
        matches!(call.state, State::Local).then(|| call.outcome(status, body))
    }
}

/// The value of a call of which nothing else is still to come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeptValue {
    pub(crate) link: LinkId,
    pub(crate) value: Payload,
}
