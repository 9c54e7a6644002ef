//! The calls that this node makes: they wait, are sent, and end once.

use super::{CallNumber, Commands, Ctx, LinkId, Network, Output, Phase, RequestId, own_call};
use crate::engine::calls::ask::{Ask, Terms};
use crate::engine::calls::outgoing::{Gone, NewCall, Owner, SETTLED_WITH_CALL};
use crate::engine::ids::CallOver;
use crate::engine::links::Outlet;
use crate::engine::payload::Payload;
use crate::error::Error;
use crate::name::NodeName;
use crate::wire::Instance;
use crate::wire::record::{Channel, encode_cancel};
use std::net::SocketAddr;
use std::time::Duration;

/// What became of an attempt to send a call.
enum Attempt {
    Done,
    NoPath,
    Full,
}

impl Commands {
    /// Begins a call of a program.
    pub(crate) fn call(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        target: &NodeName,
        ask: Ask,
        terms: Terms,
    ) -> Result<CallNumber, Error> {
        self.begin_call(ctx, network, Owner::Program, target, ask, terms)
    }

    pub(super) fn begin_call(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        owner: Owner,
        target: &NodeName,
        ask: Ask,
        terms: Terms,
    ) -> Result<CallNumber, Error> {
        self.check_call(ctx, network, owner, target, ask.size(), terms)?;
        let is_local = ctx.is_own_name(target);
        let new = NewCall {
            owner,
            target: target.clone(),
            ask,
            terms: Terms {
                timeout: terms.timeout.min(ctx.config.limits.call_timeout),
                ..terms
            },
        };
        if is_local {
            return Ok(CallNumber(self.calls.begin_local(ctx, new)));
        }
        let number = self.calls.begin(ctx, new);
        if terms.streams {
            let limits = &ctx.config.limits;
            self.streams.open_for_own(own_call(ctx, number), limits);
        }
        // It waits behind those that wait already, if any.
        if self.calls.waits_for(target)
            || !matches!(self.try_send(ctx, network, number), Attempt::Done)
        {
            self.calls.wait_in_line(number);
            match network.resolve(target) {
                Some(instance) => network.want_dial(ctx, instance),
                None => network.seek(ctx, target),
            }
        }
        Ok(CallNumber(number))
    }

    /// An error if a call may not begin.
    fn check_call(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &Network,
        owner: Owner,
        target: &NodeName,
        size: usize,
        terms: Terms,
    ) -> Result<(), Error> {
        let limit = ctx.config.limits.max_message;
        if ctx.phase == Phase::Stopped {
            return Err(Error::Stopped);
        }
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        self.check_room(ctx, network, size)?;
        if let Owner::Forward(_) = owner {
            self.calls.check_forward(&ctx.config.limits, size)?;
        }
        let is_local = ctx.is_own_name(target);
        if is_local && terms.streams {
            return Err(Error::Argument("a node does not stream to itself"));
        }
        if terms.streams && !self.streams.has_room(2, &ctx.config.limits) {
            ctx.stats.overloaded += 1;
            return Err(Error::Overloaded("too many streams of this node are open"));
        }
        let is_known = || network.resolve(target).is_some() || self.compat.has(target);
        if !is_local && !terms.wait && !is_known() {
            return Err(Error::Unreachable(target.to_string()));
        }
        Ok(())
    }

    /// An error if too much that this node has begun has not ended.
    fn check_room(&self, ctx: &mut Ctx<'_>, network: &Network, size: usize) -> Result<(), Error> {
        let room = self
            .calls
            .check_room(&ctx.config.limits, size, network.connects());
        ctx.stats.overloaded += u64::from(room.is_err());
        room
    }

    /// Begins to wait for an address to be linked to. The end comes as that of a call does.
    pub(crate) fn connect(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        address: SocketAddr,
        timeout: Duration,
    ) -> Result<CallNumber, Error> {
        self.check_room(ctx, network, 0)?;
        let seed = network.seed(ctx, address)?;
        let number = self.calls.take_number();
        network.connect(ctx, seed, number, timeout);
        Ok(number)
    }

    /// Gives up on a call; it ends as cancelled, unless it has ended.
    pub(crate) fn cancel(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, number: CallNumber) {
        // Where too much waits already the callee learns of it from the deadline.
        if let Some(link) = self.calls.link_of(number.0)
            && network.takes_more(ctx.config, link)
        {
            network.send_record(ctx, link, |sequence, out| {
                encode_cancel(sequence, number.0, out)
            });
        }
        self.end_call(ctx, network, number, Err(Error::Cancelled));
    }

    /// Ends a call, unless it has ended.
    pub(crate) fn end_call(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        number: CallNumber,
        result: Result<Payload, Error>,
    ) {
        let link = self.calls.link_of(number.0);
        let Some(call) = self.calls.end(ctx, number) else {
            return;
        };
        if let Some(link) = link {
            network.call_ended(link);
        }
        let why = result.as_ref().err().map(Error::to_string);
        match call.owner {
            Owner::Program => ctx.outputs.push_back(Output::Ended(number, result)),
            Owner::Round(round) | Owner::Forward(round) => {
                let over = self.broadcasts.ended(round, call.target, &result);
                self.round_over(ctx, network, over);
                if let Some(unasked) = self.broadcasts.take_unasked(round) {
                    self.ask_peers(ctx, network, round, unasked);
                }
            }
        }
        let over = CallOver {
            call: own_call(ctx, number.0),
            why: why.as_deref(),
            reads: call.terms.streams,
        };
        self.end_streams(ctx, over);
    }

    /// Ends every call of this node.
    pub(crate) fn end_own_calls(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, why: &Error) {
        self.give_up_unasked(ctx, network, why);
        for number in self.calls.numbers() {
            self.end_call(ctx, network, number, Err(why.clone()));
        }
        network.end_connects(ctx, why);
    }

    pub(crate) fn tick_calls(&mut self, ctx: &mut Ctx<'_>, network: &mut Network) {
        while let Some(late) = self.calls.next_late(ctx.now.at) {
            self.end_call(ctx, network, late.number, Err(late.why));
        }
    }

    /// Sends a call if it waits and there is a path. Which line it stands in is left to the caller.
    fn try_send(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, number: u64) -> Attempt {
        let Some(waiting) = self.calls.waiting(number) else {
            return Attempt::Done;
        };
        let streams = waiting.streams;
        let resolved = || network.resolve(waiting.target);
        let Some(instance) = waiting.bound.or_else(resolved) else {
            if !self.compat.is_usable(ctx.now.at, waiting.target) {
                return Attempt::NoPath;
            }
            self.hand_out(ctx, network, CallNumber(number));
            return Attempt::Done;
        };
        let link = match network.path_to(ctx.config, instance) {
            Outlet::Ready(link) => link,
            Outlet::Full => return Attempt::Full,
            Outlet::None => return Attempt::NoPath,
        };
        let id = own_call(ctx, number);
        if let Some(bytes) = self.calls.set_apart(number) {
            let (stream, limits) = (id.stream(Channel::Ask), &ctx.config.limits);
            self.streams.send_whole(stream, id.caller, bytes, limits);
        }
        self.send_call(ctx, network, number, link);
        self.calls.sent(ctx, number, instance, link);
        network.call_sent(ctx.now.at, link);
        if self.streams.len() > 0 {
            self.streams.bind(id, instance);
            self.streams_go_over(ctx, network, id, link, streams);
        }
        Attempt::Done
    }

    /// What the callee of a call streams comes over this link from now on. `reads` says whether a
    /// program reads it.
    fn streams_go_over(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        call: RequestId,
        link: LinkId,
        reads: bool,
    ) {
        let feedback = self
            .streams
            .resume(call.stream(Channel::Response), link, reads);
        self.give_feedback(ctx, network, feedback);
        self.go_on_over(ctx, network, call.stream(Channel::Value), link);
    }

    /// Sends the record of a call, and along with it which calls the callee may forget.
    fn send_call(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, number: u64, link: LinkId) {
        let Some((sequence, kind)) = self.begin_record(network, link) else {
            return;
        };
        if let Some(session) = network.session(link) {
            session.mark_used(ctx.now.at);
            let (calls, plain, now) = (&self.calls, &mut self.plain, ctx.now.at);
            session.tell_confirmations(SETTLED_WITH_CALL, |settled| {
                calls.encode(now, number, sequence, settled, plain);
            });
        }
        network.send_plain_record(ctx, link, kind, &self.plain);
    }

    /// Hands a call out, to a peer that speaks the protocol of PeerBase 0.7.1.
    fn hand_out(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, number: CallNumber) {
        if let Err(why) = self.calls.hand_out(ctx, number) {
            self.end_call(ctx, network, number, Err(why));
        }
    }

    /// Sends what waits for `name`, as far as the path takes it.
    pub(super) fn pump_calls(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, name: &NodeName) {
        let mut from = 0;
        while let Some(number) = self.calls.next_waiting(name, from) {
            from = number + 1;
            match self.try_send(ctx, network, number) {
                Attempt::Done => self.calls.leave_line_if_sent(number, name),
                // Others may be bound to an instance that there is a path to.
                Attempt::NoPath => {}
                Attempt::Full => return,
            }
        }
    }

    /// A link has ended: what it carried waits for another one to the same instance.
    pub(super) fn requeue_calls(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        instance: Instance,
    ) {
        if matches!(network.path_to(ctx.config, instance), Outlet::None) {
            self.serving.drop_refusals(instance);
        }
        self.calls.link_ended(link);
        let Some(name) = network.name_of(&instance).cloned() else {
            return;
        };
        if self.calls.waits_for(&name) {
            self.pump_calls(ctx, network, &name);
        }
        if self.calls.waits_for(&name) {
            network.want_dial(ctx, instance);
        }
    }

    /// An instance is gone for good. Calls that it may have are over; others wait for the name, if
    /// they may.
    pub(super) fn fail_bound_calls(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        instance: Instance,
        name: &NodeName,
        restarted: bool,
    ) {
        self.serving.drop_refusals(instance);
        let was_last = network.resolve(name).is_none();
        let gone = Gone {
            instance,
            name,
            restarted,
            was_last,
        };
        for failed in self.calls.failed_by(gone) {
            self.end_call(ctx, network, failed.number, Err(failed.why));
        }
    }
}
