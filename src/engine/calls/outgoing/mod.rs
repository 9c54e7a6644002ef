//! The calls of this node: each ends exactly once.
//!
//! A call waits until its target can be reached, is sent, and is sent again only to the very
//! instance that may have it already. What it asks is kept until it ends.
//!
//! ```text
//! Waiting --(sent)--> Bound, over a link --(the link ends)----> Bound, over none
//!                             ^                                         |
//!                             `--------------(sent again)--------------'
//! any of them --(answered, given up, or out of time)--> ended
//! ```
//!
//! This part knows no links and no peers. It says which call waits for which target
//! ([`Calls::next_waiting`]), puts the record of a call together ([`Calls::encode`]), and judges
//! what comes back ([`Calls::answer`]).

mod answers;
mod outcome;
mod sending;
#[cfg(test)]
mod tests;

pub(crate) use answers::{Reply, Verdict};
pub(crate) use outcome::reason;
pub(crate) use sending::Gone;

use super::ask::{Ask, Carried, Request, Terms};
use crate::due::Due;
use crate::engine::context::Ctx;
use crate::engine::payload::Payload;
use crate::engine::{CallNumber, LinkId, Output, RequestId, Time};
use crate::error::Error;
use crate::limits::Limits;
use crate::name::NodeName;
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::record::Status;
use outcome::outcome;
use std::collections::{BTreeMap, BTreeSet};

/// The most confirmations of answers that go along with a new call. More of them wait for the next
/// call, or go by themselves.
pub const SETTLED_WITH_CALL: usize = 32;

/// Why a call finds no room.
const IN_FLIGHT: &str = "too many calls of this node are in flight";

/// The part of the engine that a call was made for, which is told how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Program,
    /// The round of a broadcast of this node, by its number.
    Round(u64),
    /// The round of a broadcast that a peer said or handed on, by its number. Such calls have half
    /// of the room at most, so that the program always finds some.
    Forward(u64),
}

#[derive(Debug)]
enum State {
    /// No instance has it: any that goes by the target's name may be sent it.
    Waiting,
    /// One instance has it, or may have it.
    Bound {
        instance: Instance,
        /// The link that it was sent over; `None` while it waits to be sent again.
        link: Option<LinkId>,
        /// Its value, while what belongs to it is still coming.
        value: Option<Payload>,
    },
    /// This node is its target.
    Local,
    /// It was handed out, to a peer that speaks the protocol of PeerBase 0.7.1.
    Compat,
}

/// One call of this node.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) owner: Owner,
    pub(crate) target: NodeName,
    pub(crate) terms: Terms,
    carried: Carried,
    /// Bytes of what it asks.
    size: usize,
    deadline: Time,
    /// The time by which it stands in the list of what is due; never after the deadline.
    listed: Time,
    state: State,
    /// Whether its value is marked as bytes, as far as it is answered.
    is_data: bool,
}

impl Call {
    /// Whether it has to be sent, for the first time or again.
    fn is_waiting(&self) -> bool {
        match self.state {
            State::Waiting => true,
            State::Bound { link, .. } => link.is_none(),
            State::Local | State::Compat => false,
        }
    }

    fn is_sent_over(&self, over: LinkId) -> bool {
        matches!(self.state, State::Bound { link: Some(link), .. } if link == over)
    }

    fn outcome(&self, status: Status, body: &[u8]) -> Result<Payload, Error> {
        let value = outcome(status, body, self.carried.path(), self.size)?;
        Ok(self.payload(value))
    }

    /// Its value. What answers a message is bytes, however it is marked.
    fn payload(&self, value: Vec<u8>) -> Payload {
        Payload::new(self.is_data || !self.carried.is_command(), value)
    }
}

/// A new call, as [`Calls::begin`] takes it.
#[derive(Debug)]
pub(crate) struct NewCall {
    pub(crate) owner: Owner,
    pub(crate) target: NodeName,
    pub(crate) ask: Ask,
    pub(crate) terms: Terms,
}

/// A call that has to end, and how.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) number: CallNumber,
    pub(crate) why: Error,
}

/// What calls take of [`Limits::calls`] and of [`Limits::call_bytes`].
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    calls: usize,
    bytes: usize,
}

/// All calls of this node that have not ended.
#[derive(Debug)]
pub(crate) struct Calls {
    /// The number of the next call.
    next: u64,
    /// Trees, here and below: tens of thousands of calls may end one by one, the oldest first.
    open: BTreeMap<u64, Box<Call>>,
    /// The numbers of those that wait, by target, the oldest first.
    waiting: Table<NodeName, BTreeSet<u64>>,
    /// Bytes of what all of them ask.
    bytes: usize,
    /// What those of them take that hand on messages of others.
    forwards: Load,
    due: Due<u64>,
}

impl Default for Calls {
    fn default() -> Calls {
        Calls {
            next: 1,
            open: BTreeMap::new(),
            waiting: Table::default(),
            bytes: 0,
            forwards: Load::default(),
            due: Due::default(),
        }
    }
}

impl Calls {
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// The number that the next call will have.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// A number for something else that ends as calls do.
    pub(crate) fn take_number(&mut self) -> CallNumber {
        let number = self.next;
        self.next += 1;
        CallNumber(number)
    }

    pub(crate) fn numbers(&self) -> Vec<CallNumber> {
        self.open.keys().map(|n| CallNumber(*n)).collect()
    }

    /// Whether a call has not ended.
    pub(crate) fn is_open(&self, number: u64) -> bool {
        self.open.contains_key(&number)
    }

    /// Whether one more call that asks `size` bytes finds room. `others` counts what else this node
    /// has begun and not ended.
    pub(crate) fn check_room(
        &self,
        limits: &Limits,
        size: usize,
        others: usize,
    ) -> Result<(), Error> {
        let is_full = self.open.len() + others >= limits.calls;
        if is_full || self.bytes + size > limits.call_bytes {
            return Err(Error::Overloaded(IN_FLIGHT));
        }
        Ok(())
    }

    /// Whether one more call finds room that hands on `size` bytes of a message of another node. A
    /// single one does whatever its size, as far as there is room for any call.
    pub(crate) fn check_forward(&self, limits: &Limits, size: usize) -> Result<(), Error> {
        let Load { calls, bytes } = self.forwards;
        let is_full = calls >= limits.calls / 2 || bytes + size > limits.call_bytes / 2;
        if calls > 0 && is_full {
            return Err(Error::Overloaded(IN_FLIGHT));
        }
        Ok(())
    }

    /// Begins a call to another node. It waits, but not in the line of its target: see
    /// [`Calls::wait_in_line`].
    pub(crate) fn begin(&mut self, ctx: &mut Ctx<'_>, new: NewCall) -> u64 {
        self.insert(ctx, new, State::Waiting)
    }

    /// Begins a call of this node to itself, which its program is handed at once.
    pub(crate) fn begin_local(&mut self, ctx: &mut Ctx<'_>, new: NewCall) -> u64 {
        let (ask, timeout) = (new.ask.clone(), new.terms.timeout);
        let number = self.insert(ctx, new, State::Local);
        ctx.outputs.push_back(Output::Request(Request {
            id: RequestId {
                caller: ctx.instance,
                number,
            },
            caller: ctx.config.name.clone(),
            key: Some(*ctx.secrets.credentials.key()),
            roles: ctx.secrets.credentials.roles().clone(),
            ask,
            streams: false,
            deadline: ctx.now.at + timeout,
        }));
        number
    }

    fn insert(&mut self, ctx: &mut Ctx<'_>, new: NewCall, state: State) -> u64 {
        let CallNumber(number) = self.take_number();
        let (deadline, size) = (ctx.now.at + new.terms.timeout, new.ask.size());
        self.bytes += size;
        if let Owner::Forward(_) = new.owner {
            self.forwards.calls += 1;
            self.forwards.bytes += size;
        }
        self.due.insert(deadline, number);
        ctx.stats.calls += 1;
        let call = Call {
            owner: new.owner,
            target: new.target,
            terms: new.terms,
            carried: Carried::Whole(new.ask),
            size,
            deadline,
            listed: deadline,
            state,
            is_data: false,
        };
        self.open.insert(number, Box::new(call));
        number
    }

    /// Ends a call: nothing of it is left here. A peer of the protocol of PeerBase 0.7.1 that has
    /// the call is given up on.
    pub(crate) fn end(&mut self, ctx: &mut Ctx<'_>, number: CallNumber) -> Option<Box<Call>> {
        let call = self.open.remove(&number.0)?;
        self.bytes -= call.size;
        if let Owner::Forward(_) = call.owner {
            self.forwards.calls -= 1;
            self.forwards.bytes -= call.size;
        }
        let open = &self.open;
        self.due.ended(open.len(), |at, n| {
            open.get(&n).is_some_and(|c| c.listed == at)
        });
        if call.is_waiting() {
            self.leave_line(number.0, &call.target);
        }
        if matches!(call.state, State::Compat) {
            ctx.outputs.push_back(Output::CompatForget(number));
        }
        Some(call)
    }

    /// No call can run out of time before this.
    pub(crate) fn due(&self) -> Time {
        self.due.first()
    }

    /// The next call that is out of time by now. Of one whose streams have moved meanwhile the
    /// deadline is listed anew.
    pub(crate) fn next_late(&mut self, now: Time) -> Option<Failed> {
        loop {
            let open = &self.open;
            let number = self
                .due
                .next(now, |at, n| open.get(&n).is_some_and(|c| c.listed == at))?;
            let Some(call) = self.open.get_mut(&number) else {
                continue;
            };
            if call.deadline > now {
                call.listed = call.deadline;
                self.due.insert(call.listed, number);
                continue;
            }
            let why = match call.state {
                State::Waiting => Error::Unreachable(call.target.to_string()),
                _ => Error::Timeout,
            };
            let number = CallNumber(number);
            return Some(Failed { number, why });
        }
    }

    /// Something of a call's streams has moved: it has as long again.
    pub(crate) fn moved(&mut self, now: Time, number: u64) {
        if let Some(call) = self.open.get_mut(&number) {
            call.deadline = now + call.terms.timeout;
        }
    }
}
