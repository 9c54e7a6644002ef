//! The routing of the calls that this node makes.

use crate::engine::calls::ask::{Ask, Terms};
use crate::engine::calls::outgoing::{Gone, NewCall, Owner, Reply, SETTLED_WITH_CALL, Verdict};
use crate::engine::ids::CallOver;
use crate::engine::links::Outlet;
use crate::engine::{CallNumber, Engine, LinkId, Now, Output, Phase, RequestId};
use crate::error::Error;
use crate::name::NodeName;
use crate::wire::Instance;
use crate::wire::record::{Channel, Status, encode_cancel, encode_notice};

/// What became of an attempt to send a call.
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
        self.begin_call(now, Owner::Program, target, ask, terms)
    }

    pub(super) fn begin_call(
        &mut self,
        now: Now,
        owner: Owner,
        target: &NodeName,
        ask: Ask,
        terms: Terms,
    ) -> Result<CallNumber, Error> {
        self.check_call(owner, target, ask.size(), terms)?;
        let is_local = self.is_own_name(target);
        let new = NewCall {
            owner,
            target: target.clone(),
            ask,
            terms: Terms {
                timeout: terms.timeout.min(self.core.config.limits.call_timeout),
                ..terms
            },
        };
        let ctx = &mut self.core.at(now);
        if is_local {
            return Ok(CallNumber(self.calls.begin_local(ctx, new)));
        }
        let number = self.calls.begin(ctx, new);
        if terms.streams {
            let limits = &self.core.config.limits;
            self.streams.open_for_own(self.own_call(number), limits);
        }
        // It waits behind those that wait already, if any.
        if self.calls.waits_for(target) || !matches!(self.try_send(now, number), Attempt::Done) {
            self.calls.wait_in_line(number);
            if let Some(instance) = self.directory.resolve(target) {
                self.want_dial(now, instance);
            }
        }
        Ok(CallNumber(number))
    }

    /// An error if a call may not begin.
    fn check_call(
        &mut self,
        owner: Owner,
        target: &NodeName,
        size: usize,
        terms: Terms,
    ) -> Result<(), Error> {
        let limit = self.core.config.limits.max_message;
        if self.phase == Phase::Stopped {
            return Err(Error::Stopped);
        }
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        self.check_room_for_call(size)?;
        if let Owner::Forward(_) = owner {
            self.calls.check_forward(&self.core.config.limits, size)?;
        }
        let is_local = self.is_own_name(target);
        if is_local && terms.streams {
            return Err(Error::Argument("a node does not stream to itself"));
        }
        if terms.streams && !self.streams.has_room(2, &self.core.config.limits) {
            self.core.stats.overloaded += 1;
            return Err(Error::Overloaded("too many streams of this node are open"));
        }
        let is_known = || self.directory.resolve(target).is_some() || self.compat.has(target);
        if !is_local && !terms.wait && !is_known() {
            return Err(Error::Unreachable(target.to_string()));
        }
        Ok(())
    }

    /// An error if too much that this node has begun has not ended.
    pub(in crate::engine) fn check_room_for_call(&mut self, size: usize) -> Result<(), Error> {
        let (limits, connects) = (&self.core.config.limits, self.mesh.waiting());
        let room = self.calls.check_room(limits, size, connects);
        self.core.stats.overloaded += u64::from(room.is_err());
        room
    }

    /// A call of this node.
    pub(super) fn own_call(&self, number: u64) -> RequestId {
        RequestId {
            caller: self.core.instance,
            number,
        }
    }

    /// Gives up on a call; it ends as cancelled, unless it has ended.
    pub fn cancel(&mut self, now: Now, number: CallNumber) {
        // Where too much waits already the callee learns of it from the deadline.
        if let Some(link) = self.calls.link_of(number.0)
            && self.takes_more(link)
        {
            self.send_record(now, link, |sequence, out| {
                encode_cancel(sequence, number.0, out)
            });
        }
        self.end_call(now, number, Err(Error::Cancelled));
    }

    /// Ends a call, unless it has ended.
    pub(super) fn end_call(
        &mut self,
        now: Now,
        number: CallNumber,
        result: Result<Vec<u8>, Error>,
    ) {
        let Some(call) = self.calls.end(&mut self.core.at(now), number) else {
            return;
        };
        let why = result.as_ref().err().map(Error::to_string);
        match call.owner {
            Owner::Program => self.core.outputs.push_back(Output::Ended(number, result)),
            Owner::Round(round) | Owner::Forward(round) => {
                let over = self.broadcasts.ended(round, call.target, &result);
                self.round_over(now, over);
                if let Some(unasked) = self.broadcasts.take_unasked(round) {
                    self.ask_peers(now, round, unasked);
                }
            }
        }
        self.end_streams(CallOver {
            call: self.own_call(number.0),
            why: why.as_deref(),
            reads: call.terms.streams,
        });
    }

    /// Ends every call of this node.
    pub(in crate::engine) fn end_own_calls(&mut self, now: Now, why: &Error) {
        for number in self.calls.numbers() {
            self.end_call(now, number, Err(why.clone()));
        }
        self.end_connects(why);
    }

    pub(in crate::engine) fn tick_calls(&mut self, now: Now) {
        while let Some(late) = self.calls.next_late(now.at) {
            self.end_call(now, late.number, Err(late.why));
        }
    }

    /// Sends a call if it waits and there is a path. Which line it stands in is left to the caller.
    fn try_send(&mut self, now: Now, number: u64) -> Attempt {
        let Some(waiting) = self.calls.waiting(number) else {
            return Attempt::Done;
        };
        let streams = waiting.streams;
        let resolved = || self.directory.resolve(waiting.target);
        let Some(instance) = waiting.bound.or_else(resolved) else {
            if !self.compat.is_usable(now.at, waiting.target) {
                return Attempt::NoPath;
            }
            self.hand_out(now, CallNumber(number));
            return Attempt::Done;
        };
        let link = match self.path_to(instance) {
            Outlet::Ready(link) => link,
            Outlet::Full => return Attempt::Full,
            Outlet::None => return Attempt::NoPath,
        };
        let id = self.own_call(number);
        if let Some(bytes) = self.calls.set_apart(number) {
            let (stream, limits) = (id.stream(Channel::Ask), &self.core.config.limits);
            self.streams.send_whole(stream, id.caller, bytes, limits);
        }
        self.send_call(now, number, link);
        self.calls
            .sent(&mut self.core.at(now), number, instance, link);
        if self.streams.len() > 0 {
            self.streams.bind(id, instance);
            let (down, value) = (id.stream(Channel::Response), id.stream(Channel::Value));
            let feedback = self.streams.resume(down, link, streams);
            self.give_feedback(now, feedback);
            let feedback = self.streams.go_on_over(value, link);
            self.give_feedback(now, feedback);
        }
        Attempt::Done
    }

    /// Sends the record of a call, and along with it which calls the callee may forget.
    fn send_call(&mut self, now: Now, number: u64, link: LinkId) {
        let Some((sequence, kind)) = self.begin_record(link) else {
            return;
        };
        if let Some(session) = self.links.session(link) {
            session.used = now.at;
            let count = session.settled.len().min(SETTLED_WITH_CALL);
            let settled = &session.settled[..count];
            self.calls
                .encode(now.at, number, sequence, settled, &mut self.plain);
            session.settled.drain(..count);
        }
        self.send_plain_record(now, link, kind, None);
    }

    /// Hands a call out, to a peer that speaks the protocol of PeerBase 0.7.1.
    fn hand_out(&mut self, now: Now, number: CallNumber) {
        if let Err(why) = self.calls.hand_out(&mut self.core.at(now), number) {
            self.end_call(now, number, Err(why));
        }
    }

    /// Sends what waits for `name`, as far as the path takes it.
    pub(in crate::engine) fn pump_calls(&mut self, now: Now, name: &NodeName) {
        let mut from = 0;
        while let Some(number) = self.calls.next_waiting(name, from) {
            from = number + 1;
            match self.try_send(now, number) {
                Attempt::Done => self.calls.leave_line_if_sent(number, name),
                // Others may be bound to an instance that there is a path to.
                Attempt::NoPath => {}
                Attempt::Full => return,
            }
        }
    }

    /// A link is gone: what it carried waits for another one to the same instance.
    pub(in crate::engine) fn requeue_calls(&mut self, now: Now, link: LinkId, instance: Instance) {
        if matches!(self.path_to(instance), Outlet::None) {
            self.serving.drop_refusals(instance);
        }
        self.calls.lose_link(link);
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

    /// An instance is gone for good. Calls that it may have are over; others wait for the name, if
    /// they may.
    pub(in crate::engine) fn fail_bound_calls(
        &mut self,
        now: Now,
        instance: Instance,
        name: &NodeName,
        restarted: bool,
    ) {
        self.serving.drop_refusals(instance);
        let was_last = self.directory.resolve(name).is_none();
        let gone = Gone {
            instance,
            name,
            restarted,
            was_last,
        };
        for failed in self.calls.failed_by(gone) {
            self.end_call(now, failed.number, Err(failed.why));
        }
    }

    /// An answer came.
    pub(in crate::engine) fn answered(
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
        let verdict = self.calls.answer(Reply {
            peer,
            link,
            number,
            status,
            body,
        });
        match verdict {
            Verdict::Over => {
                self.core.stats.replies_unexpected += 1;
                self.confirm_answer(now, link, number);
            }
            Verdict::Unexpected => self.core.stats.replies_unexpected += 1,
            Verdict::ValueComes => self.value_announced(now, link, number, body),
            Verdict::ValueIsKept => self.end_if_complete(now, self.own_call(number)),
            Verdict::Value(value) => self.value_came(now, number, Ok(value)),
            Verdict::Ends(result) => {
                self.confirm_answer(now, link, number);
                self.end_call(now, CallNumber(number), result);
            }
        }
    }

    /// The value of a call comes on a stream of its own, of `length` bytes. Announced again over
    /// another path, it goes on where it was.
    fn value_announced(&mut self, now: Now, link: LinkId, number: u64, length: &[u8]) {
        let Ok(length) = length.try_into().map(u64::from_be_bytes) else {
            return self.violation(now, link);
        };
        let Some(peer) = self.session(link).map(|s| s.peer) else {
            return;
        };
        let (id, ctx) = (self.own_call(number), &mut self.core.at(now));
        if let Err(lost) = self.streams.expect_value(ctx, id, peer, length) {
            return self.value_came(now, number, Err(lost));
        }
        let feedback = self.streams.go_on_over(id.stream(Channel::Value), link);
        self.give_feedback(now, feedback);
    }

    /// The value of a call that may stream is there, or a large one, or it will not come.
    pub(super) fn value_came(&mut self, now: Now, number: u64, value: Result<Vec<u8>, Error>) {
        match value {
            Ok(value) => {
                self.calls.keep_value(number, value);
                self.end_if_complete(now, self.own_call(number));
            }
            Err(why) => {
                if let Some(link) = self.calls.link_of(number) {
                    self.confirm_answer(now, link, number);
                }
                self.end_call(now, CallNumber(number), Err(why));
            }
        }
    }

    /// Ends a call of this node if nothing of it is still to come: it has its value, and what was
    /// streamed to it.
    pub(super) fn end_if_complete(&mut self, now: Now, id: RequestId) {
        if id.caller != self.core.instance {
            return;
        }
        let Some(streamed) = self.streams.ended(id.stream(Channel::Response)) else {
            return;
        };
        if let Some(kept) = self.calls.take_value(id.number) {
            self.confirm_answer(now, kept.link, id.number);
            let result = streamed.map(|()| kept.value);
            self.end_call(now, CallNumber(id.number), result);
        }
    }

    /// The callee may forget a call. It is told along with the next call, or once there are many.
    fn confirm_answer(&mut self, now: Now, link: LinkId, number: u64) {
        let Some(session) = self.session(link) else {
            return;
        };
        session.settled.push(number);
        if session.settled.len() >= SETTLED_WITH_CALL * 2 {
            // No new call takes them along. Those that cannot be told are forgotten at their
            // deadline.
            let settled = std::mem::take(&mut session.settled);
            if self.takes_more(link) {
                self.send_record(now, link, |sequence, out| {
                    encode_notice(sequence, &settled, out)
                });
            }
        }
    }
}
