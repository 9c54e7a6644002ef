//! What we ask of others: each call ends exactly once.
//!
//! A call waits until its target can be reached, is sent, and is sent again only to the very
//! instance it may have reached. Its arguments are kept until it ends.

use super::ask::{Ask, Carried, Terms};
use super::due::Due;
use super::links::Outlet;
use super::stream::{Incoming, Outgoing};
use super::{CallNumber, Engine, LinkId, Now, Output, Phase, RequestId, StreamId, Time, outcome};
use crate::error::Error;
use crate::limits::BODY_MAX;
use crate::name::{CommandPath, NodeName};
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::ask;
use crate::wire::record::{Channel, Form, Status, encode_call, encode_cancel, encode_notice};
use std::collections::{BTreeMap, BTreeSet};

/// Settled calls told along with a new one. More wait for the next, or go by themselves.
pub const SETTLED_WITH_CALL: usize = 32;

#[derive(Debug)]
enum State {
    /// No path yet, or again; bound to the instance that may have it already.
    Waiting { bound: Option<Instance> },
    /// On its way, or there.
    Sent { instance: Instance, link: LinkId },
    /// Asked of ourselves.
    Local,
    /// Handed out, for a peer of another kind.
    Foreign,
}

#[derive(Debug)]
struct Call {
    target: NodeName,
    carried: Carried,
    size: usize,
    deadline: Time,
    /// The time by which it stands in the list of what is due; never after the deadline.
    listed: Time,
    terms: Terms,
    state: State,
    /// Its value, while what belongs to it is still coming.
    reply: Option<Vec<u8>>,
}

#[derive(Debug)]
pub(super) struct Calls {
    next: u64,
    /// A tree, as the others below: tens of thousands may end one by one, the oldest first.
    open: BTreeMap<u64, Box<Call>>,
    /// The waiting ones, by target, oldest first.
    waiting: Table<NodeName, BTreeSet<u64>>,
    bytes: usize,
    due: Due<u64>,
}

impl Default for Calls {
    fn default() -> Calls {
        Calls {
            next: 1,
            open: BTreeMap::new(),
            waiting: Table::default(),
            bytes: 0,
            due: Due::default(),
        }
    }
}

impl Call {
    /// Whether an answer of this status is all that is to come.
    fn is_answered_by(&self, status: Status) -> bool {
        status != Status::Large && !self.terms.streams
    }
}

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// No call can run out of time before this.
    pub(super) fn due(&self) -> Time {
        self.due.first()
    }

    /// The next call that may be out of time by now.
    fn next_due(&mut self, now: Time) -> Option<u64> {
        let open = &self.open;
        self.due
            .next(now, |at, n| open.get(&n).is_some_and(|c| c.listed == at))
    }

    /// A number for something else that ends as calls do.
    pub(super) fn take_number(&mut self) -> CallNumber {
        let number = self.next;
        self.next += 1;
        CallNumber(number)
    }

    /// The number that the next call will have.
    pub(super) fn next_number(&self) -> u64 {
        self.next
    }

    /// Something of a call's streams passed: it has as long again.
    pub(super) fn moved(&mut self, now: Time, number: u64) {
        if let Some(call) = self.open.get_mut(&number) {
            call.deadline = now + call.terms.timeout;
        }
    }

    pub(super) fn numbers(&self) -> Vec<CallNumber> {
        self.open.keys().map(|n| CallNumber(*n)).collect()
    }

    pub(super) fn waits_for(&self, name: &NodeName) -> bool {
        self.waiting.contains_key(name)
    }

    fn set_waiting(&mut self, number: u64, bound: Option<Instance>) {
        if let Some(call) = self.open.get_mut(&number) {
            call.state = State::Waiting { bound };
            self.waiting
                .or_insert_with(call.target.clone(), BTreeSet::new)
                .insert(number);
        }
    }

    /// The first from a number on that waits for a target.
    fn next_waiting(&self, target: &NodeName, from: u64) -> Option<u64> {
        self.waiting.get(target)?.range(from..).next().copied()
    }

    fn is_waiting(&self, number: u64) -> bool {
        let call = self.open.get(&number);
        call.is_some_and(|c| matches!(c.state, State::Waiting { .. }))
    }

    fn unset_waiting(&mut self, number: u64, target: &NodeName) {
        if let Some(set) = self.waiting.get_mut(target) {
            set.remove(&number);
            if set.is_empty() {
                self.waiting.remove(target);
            }
        }
    }

    fn remove(&mut self, number: u64) -> Option<Box<Call>> {
        let call = self.open.remove(&number)?;
        self.bytes -= call.size;
        let open = &self.open;
        self.due.ended(open.len(), |at, n| {
            open.get(&n).is_some_and(|c| c.listed == at)
        });
        if matches!(call.state, State::Waiting { .. }) {
            self.unset_waiting(number, &call.target);
        }
        Some(call)
    }
}

/// What became of an attempt to send.
enum Attempt {
    Done,
    NoPath,
    Full,
}

impl Engine {
    /// Begins a call. Its end comes as [`Output::Ended`].
    pub fn call(
        &mut self,
        now: Now,
        target: &NodeName,
        ask: Ask,
        terms: Terms,
    ) -> Result<CallNumber, Error> {
        let (size, limit) = (ask.size(), self.core.config.limits.max_message);
        if self.phase == Phase::Stopped {
            return Err(Error::Stopped);
        }
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        self.check_room_for_call(size)?;
        let limits = &self.core.config.limits;
        let local = self.is_own_name(target);
        if local && terms.streams {
            return Err(Error::Argument("a node does not stream to itself"));
        }
        if terms.streams && !self.has_room_for_streams(2) {
            self.core.stats.overloaded += 1;
            return Err(Error::Overloaded("too many streams of this node are open"));
        }
        let known = || self.directory.resolve(target).is_some();
        let foreign = !local && !known() && self.foreign.has(target);
        if !local && !terms.wait && !known() && !foreign {
            return Err(Error::Unreachable(target.to_string()));
        }
        let terms = Terms {
            timeout: terms.timeout.min(limits.call_timeout),
            ..terms
        };
        let deadline = now.at + terms.timeout;
        let number = self.calls.next;
        self.calls.next += 1;
        self.calls.bytes += size;
        self.calls.due.insert(deadline, number);
        self.core.stats.calls += 1;
        if local {
            self.serve_locally(number, ask.clone(), deadline);
        } else if terms.streams {
            let us = self.core.instance;
            let (up, down) = (Channel::Request, Channel::Response);
            let (up, down) = (self.own_stream(number, up), self.own_stream(number, down));
            let window = self.stream_window();
            self.streams.add_outgoing(up, us, Outgoing::default());
            self.streams.add_incoming(down, us, Incoming::open(window));
        }
        let call = Call {
            target: target.clone(),
            carried: match local {
                true => Carried::Whole(ask),
                // One that is handed out stays whole.
                false if foreign => Carried::Whole(ask),
                false => self.carry(number, ask),
            },
            size,
            deadline,
            listed: deadline,
            terms,
            state: if local {
                State::Local
            } else {
                State::Waiting { bound: None }
            },
            reply: None,
        };
        self.calls.open.insert(number, Box::new(call));
        if local {
            return Ok(CallNumber(number));
        }
        // Behind those that wait already, if any.
        if self.calls.waits_for(target) || !matches!(self.try_send(now, number), Attempt::Done) {
            self.calls.set_waiting(number, None);
            if let Some(instance) = self.directory.resolve(target) {
                self.want_dial(now, instance);
            }
        }
        Ok(CallNumber(number))
    }

    /// An error if too much that this node has begun has not ended.
    pub(super) fn check_room_for_call(&mut self, size: usize) -> Result<(), Error> {
        let limits = &self.core.config.limits;
        let begun = self.calls.open.len() + self.mesh.waiting();
        if begun >= limits.calls || self.calls.bytes + size > limits.call_bytes {
            self.core.stats.overloaded += 1;
            return Err(Error::Overloaded(
                "too many calls of this node are in flight",
            ));
        }
        Ok(())
    }

    /// What goes into a call's record; what is too large for it becomes a stream.
    fn carry(&mut self, number: u64, ask: Ask) -> Carried {
        if ask.size() <= BODY_MAX {
            return Carried::Whole(ask);
        }
        let mut bytes = Vec::with_capacity(ask.size() + 64);
        ask.as_wire().encode(&mut bytes);
        let carried = Carried::Apart {
            kind: ask.as_wire().kind(),
            length: bytes.len() as u64,
            path: ask.path().to_owned(),
        };
        // Before it is cut into pieces: it is not held three times.
        drop(ask);
        let out = Outgoing::whole(bytes, self.core.config.limits.chunk_size);
        let id = self.own_stream(number, Channel::Ask);
        self.streams.add_outgoing(id, self.core.instance, out);
        carried
    }

    /// Gives up on a call; it ends as cancelled, unless it has ended.
    pub fn cancel(&mut self, now: Now, number: CallNumber) {
        match self.calls.open.get(&number.0).map(|c| &c.state) {
            Some(State::Sent { link, .. }) => {
                let link = *link;
                // Where too much waits already the callee learns of it from the deadline.
                if self.takes_more(link) {
                    self.send_record(now, link, |sequence, out| {
                        encode_cancel(sequence, number.0, out)
                    });
                }
            }
            Some(State::Local | State::Foreign | State::Waiting { .. }) => {}
            None => return,
        }
        self.end_call(now, number, Err(Error::Cancelled));
    }

    pub(super) fn end_call(
        &mut self,
        now: Now,
        number: CallNumber,
        result: Result<Vec<u8>, Error>,
    ) {
        let Some(call) = self.calls.remove(number.0) else {
            return;
        };
        if matches!(call.state, State::Foreign) {
            self.core.outputs.push_back(Output::ForeignForget(number));
        }
        let why = result.as_ref().err().map(Error::to_string);
        if !self.handed_on(now, number.0, &result) {
            self.core.outputs.push_back(Output::Ended(number, result));
        }
        let caller = self.core.instance;
        let of = RequestId {
            caller,
            number: number.0,
        };
        self.end_streams(of, why.as_deref(), call.terms.streams);
    }

    /// Sends a waiting call if there is a path; the caller keeps the waiting lists.
    fn try_send(&mut self, now: Now, number: u64) -> Attempt {
        let Some(call) = self.calls.open.get(&number) else {
            return Attempt::Done;
        };
        let State::Waiting { bound } = call.state else {
            return Attempt::Done;
        };
        let Some(instance) = bound.or_else(|| self.directory.resolve(&call.target)) else {
            if !self.foreign.is_usable(now.at, &call.target) {
                return Attempt::NoPath;
            }
            self.hand_out(now, number);
            return Attempt::Done;
        };
        let link = match self.path_to(instance) {
            Outlet::Ready(link) => link,
            Outlet::Full => return Attempt::Full,
            Outlet::None => return Attempt::NoPath,
        };
        // Rounded up: the callee must not forget the call before we give it up.
        let timeout_ms =
            u32::try_from((call.deadline - now.at).as_millis() + 1).unwrap_or(u32::MAX);
        let mut settled = [0; SETTLED_WITH_CALL];
        let mut count = 0;
        if let Some(session) = self.session(link) {
            session.used = now.at;
            count = session.settled.len().min(SETTLED_WITH_CALL);
            for (slot, n) in settled.iter_mut().zip(session.settled.drain(..count)) {
                *slot = n;
            }
        }
        // Lent out while the record is made; calls are only looked up by number meanwhile.
        let Some(call) = self.calls.open.get_mut(&number) else {
            return Attempt::Done;
        };
        let nothing = Carried::Whole(Ask::Message(Vec::new()));
        let mut carried = std::mem::replace(&mut call.carried, nothing);
        let streams = call.terms.streams;
        if let Carried::Whole(ask) = carried {
            // One that was kept whole for a peer of the old protocol, which is met natively after all, may
            // be too large for a record.
            carried = self.carry(number, ask);
        }
        let form = Form {
            again: bound.is_some(),
            streams,
        };
        self.send_record(now, link, |sequence, out| {
            encode_call(
                sequence,
                (number, form),
                timeout_ms,
                &settled[..count],
                &carried.as_wire(),
                out,
            );
        });
        if let Some(call) = self.calls.open.get_mut(&number) {
            call.carried = carried;
            call.state = State::Sent { instance, link };
        }
        if self.streams.len() > 0 {
            for channel in [Channel::Request, Channel::Ask] {
                let id = self.own_stream(number, channel);
                self.streams.bind(id, instance);
            }
            let (down, value) = (Channel::Response, Channel::Value);
            let (down, value) = (
                self.own_stream(number, down),
                self.own_stream(number, value),
            );
            self.streams.bind(down, instance);
            self.resume_incoming(now, link, down, form.streams);
            self.sync_incoming(now, link, value);
        }
        if bound.is_some() {
            self.core.stats.calls_retried += 1;
        }
        Attempt::Done
    }

    /// Hands a waiting call out, for a peer of another kind.
    fn hand_out(&mut self, now: Now, number: u64) {
        let ask_stream = self.own_stream(number, Channel::Ask);
        let Some(call) = self.calls.open.get_mut(&number) else {
            return;
        };
        call.state = State::Foreign;
        let (target, streams) = (call.target.clone(), call.terms.streams);
        let mut bytes = Vec::new();
        let ask = match &call.carried {
            Carried::Whole(ask) => ask.as_wire(),
            Carried::Apart { kind, .. } => {
                // It was to go natively, and has not begun to.
                bytes = self
                    .streams
                    .outgoing(ask_stream)
                    .map_or(bytes, |out| out.held());
                ask::Ask::decode(*kind, &bytes).unwrap_or(ask::Ask::Message(&[]))
            }
        };
        let command = match ask {
            ask::Ask::Command { path, args, kwargs } if !streams => CommandPath::new(path)
                .ok()
                .map(|path| (path, args.to_vec(), kwargs.to_vec())),
            _ => None,
        };
        self.call_foreign(now, CallNumber(number), target, command);
    }

    /// Sends what waits for `name`, as far as the path takes it.
    pub(super) fn pump_calls(&mut self, now: Now, name: &NodeName) {
        let mut from = 0;
        while let Some(number) = self.calls.next_waiting(name, from) {
            from = number + 1;
            match self.try_send(now, number) {
                // A session that ends meanwhile has it wait for the next.
                Attempt::Done if self.calls.is_waiting(number) => {}
                Attempt::Done => self.calls.unset_waiting(number, name),
                // Others may be bound to an instance that there is one to.
                Attempt::NoPath => {}
                Attempt::Full => return,
            }
        }
    }

    /// A link is gone: what it carried waits for another to the same instance.
    pub(super) fn requeue_calls(&mut self, now: Now, link: LinkId, instance: Instance) {
        if matches!(self.path_to(instance), Outlet::None) {
            self.serving.drop_refusals(instance);
        }
        let lost: Vec<u64> = self
            .calls
            .open
            .iter()
            .filter(|(_, c)| matches!(c.state, State::Sent { link: l, .. } if l == link))
            .map(|(n, _)| *n)
            .collect();
        for number in lost {
            self.calls.set_waiting(number, Some(instance));
        }
        let Some(name) = self.directory.get(&instance).map(|p| p.name().clone()) else {
            return;
        };
        if self.calls.waits_for(&name) {
            self.pump_calls(now, &name);
        }
        if self.calls.waits_for(&name) {
            self.want_dial(now, instance);
        }
    }

    /// An instance is gone for good. Calls it may have are over; others wait for the name, if they
    /// may.
    pub(super) fn fail_bound_calls(
        &mut self,
        now: Now,
        instance: Instance,
        name: &NodeName,
        restarted: bool,
    ) {
        self.serving.drop_refusals(instance);
        let nobody = self.directory.resolve(name).is_none();
        let mut over = Vec::new();
        for (number, call) in self.calls.open.iter() {
            match call.state {
                State::Waiting { bound: Some(i) } | State::Sent { instance: i, .. }
                    if i == instance =>
                {
                    let why = if restarted {
                        Error::PeerRestarted
                    } else {
                        Error::Unreachable(name.to_string())
                    };
                    over.push((*number, why));
                }
                State::Waiting { bound: None }
                    if nobody && !call.terms.wait && call.target == *name =>
                {
                    over.push((*number, Error::Unreachable(name.to_string())));
                }
                _ => {}
            }
        }
        for (number, why) in over {
            self.end_call(now, CallNumber(number), Err(why));
        }
    }

    /// An answer came.
    pub(super) fn answered(
        &mut self,
        now: Now,
        link: LinkId,
        number: u64,
        status: Status,
        body: &[u8],
    ) {
        let Some(session) = self.session(link) else {
            return;
        };
        session.used = now.at;
        let peer = session.peer;
        let Some(call) = self.calls.open.get_mut(&number) else {
            self.core.stats.replies_unexpected += 1;
            return self.settled(now, link, number);
        };
        match call.state {
            State::Sent { instance, .. } if instance == peer => {}
            // It was sent before, and waits to be sent again: it need not be, now that it is answered.
            State::Waiting { bound } if bound == Some(peer) && call.is_answered_by(status) => {
                let target = call.target.clone();
                call.state = State::Sent {
                    instance: peer,
                    link,
                };
                self.calls.unset_waiting(number, &target);
            }
            // As long as the call is open, the callee must not be told that it may forget it.
            _ => {
                self.core.stats.replies_unexpected += 1;
                return;
            }
        }
        let Some(call) = self.calls.open.get_mut(&number) else {
            return;
        };
        match status {
            Status::Large => self.value_announced(now, link, number, body),
            Status::Value if call.terms.streams => {
                self.value_complete(now, number, Ok(body.to_vec()));
            }
            _ => {
                let result = outcome(status, body, call.carried.path(), call.size);
                self.settled(now, link, number);
                self.end_call(now, CallNumber(number), result);
            }
        }
    }

    /// The value of a call that may stream is there, or a large one, or it will not come.
    pub(super) fn value_complete(&mut self, now: Now, number: u64, value: Result<Vec<u8>, Error>) {
        let Some(call) = self.calls.open.get_mut(&number) else {
            return;
        };
        let link = match call.state {
            State::Sent { link, .. } => link,
            _ => return,
        };
        match value {
            Ok(value) => {
                call.reply = Some(value);
                self.end_if_complete(now, self.own_stream(number, Channel::Response));
            }
            Err(e) => {
                self.settled(now, link, number);
                self.end_call(now, CallNumber(number), Err(e));
            }
        }
    }

    /// Ends a call of ours if nothing of it is still to come: it has its value, and what was streamed to
    /// it.
    pub(super) fn end_if_complete(&mut self, now: Now, id: StreamId) {
        let number = id.call.number;
        let Some(call) = self.calls.open.get_mut(&number) else {
            return;
        };
        if id.call.caller != self.core.instance || call.reply.is_none() {
            return;
        }
        let State::Sent { link, .. } = call.state else {
            return;
        };
        let mut failure = None;
        if let Some(into) = self
            .streams
            .incoming(self.own_stream(number, Channel::Response))
        {
            if !into.is_ended() {
                return;
            }
            failure = into.failure().cloned();
        }
        self.settled(now, link, number);
        let value = self
            .calls
            .open
            .get_mut(&number)
            .and_then(|c| c.reply.take());
        let value = value.unwrap_or_default();
        self.end_call(now, CallNumber(number), failure.map_or(Ok(value), Err));
    }

    /// The callee may forget a call; it is told along with the next one, or when there are many.
    pub(super) fn settled(&mut self, now: Now, link: LinkId, number: u64) {
        let Some(session) = self.session(link) else {
            return;
        };
        session.settled.push(number);
        if session.settled.len() >= SETTLED_WITH_CALL * 2 {
            // No new call takes them along. Those that cannot be told are forgotten at their deadline.
            let settled = std::mem::take(&mut session.settled);
            if self.takes_more(link) {
                self.send_record(now, link, |sequence, out| {
                    encode_notice(sequence, &settled, out)
                });
            }
        }
    }

    /// Whether a call of ours has not ended.
    pub(super) fn is_open(&self, number: u64) -> bool {
        self.calls.open.contains_key(&number)
    }

    /// Our own answer to our own call.
    pub(super) fn answered_locally(&mut self, now: Now, number: u64, status: Status, body: &[u8]) {
        match self.calls.open.get(&number) {
            Some(call) if matches!(call.state, State::Local) => {
                let result = outcome(status, body, call.carried.path(), call.size);
                self.end_call(now, CallNumber(number), result);
            }
            _ => self.core.stats.replies_late += 1,
        }
    }

    pub(super) fn tick_calls(&mut self, now: Now) {
        while let Some(number) = self.calls.next_due(now.at) {
            let Some(call) = self.calls.open.get_mut(&number) else {
                continue;
            };
            if call.deadline > now.at {
                // Its streams have moved meanwhile.
                call.listed = call.deadline;
                self.calls.due.insert(call.listed, number);
                continue;
            }
            let why = match call.state {
                State::Waiting { bound: None } => Error::Unreachable(call.target.to_string()),
                _ => Error::Timeout,
            };
            self.end_call(now, CallNumber(number), Err(why));
        }
    }
}
