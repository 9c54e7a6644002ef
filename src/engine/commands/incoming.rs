//! The calls that peers make: they come, run at most once, and are answered.

use super::authorization::is_allowed;
use super::{Commands, Ctx, LinkId, Network, RequestId};
use crate::engine::Source;
use crate::engine::calls::ask::{Ask, MALFORMED, Unreadable};
use crate::engine::calls::compat;
use crate::engine::calls::incoming::{
    Again, Expired, Need, Order, Refusal, Room, Sender, Served, Stage,
};
use crate::engine::ids::CallOver;
use crate::engine::links::Outlet;
use crate::error::Error;
use crate::name::NodeName;
use crate::wire::Instance;
use crate::wire::ask::AskRef;
use crate::wire::record::{Channel, Form, Settled, Status};
use std::time::Duration;

/// What a caller is told of a call that did not run because the rest of it cannot come.
pub(super) const LOST: &str = "it did not run, because the connection was lost for too long";
/// What a caller is told of a call that did not run because the rest of it does not come.
const STALLED: &str = "it did not run, because no more of it came for too long";

/// A call that came, as its record says.
pub(super) struct CallRecord<'a> {
    pub(super) number: u64,
    pub(super) form: Form,
    pub(super) timeout_ms: u32,
    pub(super) ask: AskRef<'a>,
}

/// A call that may run.
struct Runnable {
    id: RequestId,
    caller: NodeName,
    sender: Sender,
    /// Bytes that the call takes until it is answered.
    asked: usize,
}

impl Commands {
    /// A call came.
    pub(super) fn serve(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        call: CallRecord<'_>,
    ) {
        let Some(source) = network.source(link) else {
            return;
        };
        let Some(session) = network.session(link) else {
            return;
        };
        session.mark_used(ctx.now.at);
        session.note_call(call.number);
        let id = RequestId {
            caller: session.peer,
            number: call.number,
        };
        let (caller, key) = (session.name.clone(), session.key);
        let roles = network.roles(link);
        if self.serve_again(ctx, network, link, id) || self.stopping.is_some() {
            return;
        }
        match self.admit(ctx, network, link, id, source, &call) {
            Ok(asked) => {
                let runnable = Runnable {
                    id,
                    caller,
                    sender: Sender { source, key, roles },
                    asked,
                };
                self.take_on(ctx, network, link, runnable, call);
            }
            Err(refusal) => self.refuse_call(ctx, network, id, refusal),
        }
    }

    /// Remembers a call that may run, and runs it once all of what it asks is there.
    fn take_on(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        runnable: Runnable,
        call: CallRecord<'_>,
    ) {
        let Runnable {
            id,
            caller,
            sender,
            asked,
        } = runnable;
        let timeout = Duration::from_millis(call.timeout_ms.into());
        let order = Order {
            now: ctx.now.at,
            timeout: timeout.min(ctx.config.limits.call_timeout),
            streams: call.form.streams,
            asked,
        };
        let stage = match call.ask {
            AskRef::Large { kind, length } if length > 0 => Stage::Collecting {
                kind,
                caller: caller.clone(),
                awaits_path: kind.is_command(),
            },
            _ => Stage::Running { caller_left: false },
        };
        self.serving.add(ctx, id, sender, Served::new(stage, order));
        if order.streams {
            self.streams.open_for_request(id);
            self.go_on_over(ctx, network, id.stream(Channel::Request), link);
        }
        match call.ask {
            AskRef::Large { length, .. } if length > 0 => {
                let (stream, limits) = (id.stream(Channel::Ask), &ctx.config.limits);
                self.streams.expect(stream, id.caller, length, limits);
                self.go_on_over(ctx, network, stream, link);
            }
            ask => self.run(ctx, network, id, caller, Ask::copied(ask)),
        }
    }

    /// If a call that came is remembered, it does not run again. Its streams go on over this
    /// session, and an answer that is kept is sent again; one that is still to come finds the
    /// newest path by itself.
    fn serve_again(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        id: RequestId,
    ) -> bool {
        let Some(came) = self.serving.came_again(ctx, id) else {
            return false;
        };
        if came.again == Again::Expired {
            self.refuse_call(ctx, network, id, Refusal::MayHaveRun);
            return true;
        }
        self.go_on_over(ctx, network, id.stream(Channel::Ask), link);
        let up = id.stream(Channel::Request);
        let feedback = self.streams.resume(up, link, came.reads);
        self.give_feedback(ctx, network, feedback);
        if came.again == Again::Answered {
            if self.serving.may_stream(id) && !self.can_end_stream(id) {
                self.serving.lose_value(id);
            }
            self.send_reply(ctx, network, id);
        }
        true
    }

    /// Whether a call may run. Gives the bytes that it takes until it is answered.
    fn admit(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        id: RequestId,
        source: Source,
        call: &CallRecord<'_>,
    ) -> Result<usize, Refusal> {
        let (form, size, limits) = (call.form, call.ask.size(), &ctx.config.limits);
        let asked = self.serving.admit(id, form.again, size, limits)?;
        if !is_allowed(ctx, network, link, call.ask.path()) {
            return Err(Refusal::NotAllowed);
        }
        let source = self.serving.source_of(id.caller, source);
        let shares = |caller| self.serving.is_of_source(caller, source);
        let may_stream = !form.streams || self.streams.has_room_for(2, id.caller, shares, limits);
        if may_stream && self.make_room(ctx, network, id.caller, Need::Call { source, asked }) {
            return Ok(asked);
        }
        ctx.stats.overloaded += 1;
        Err(Refusal::Overloaded)
    }

    /// Makes room for what a caller needs, where need be in that of others' answers. Says whether
    /// there is room now.
    pub(super) fn make_room(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        caller: Instance,
        need: Need,
    ) -> bool {
        loop {
            match self.serving.room(caller, need, &ctx.config.limits) {
                Room::Free => return true,
                Room::None => return false,
                Room::IfOthersGiveWay => {}
            }
            let mut holders = self.serving.holders(ctx, caller, need);
            for holder in &mut holders {
                holder.is_away = matches!(network.path_to(ctx.config, holder.caller), Outlet::None);
            }
            let evicted = self.serving.evict(ctx, caller, need, holders);
            if evicted.is_empty() {
                return false;
            }
            for over in evicted {
                self.end_streams(ctx, over);
                // Its caller may still wait for the answer, or for the rest of it.
                self.refuse_call(ctx, network, over.call, Refusal::AnswerLost);
            }
        }
    }

    /// Tells a caller that a call has no answer, now or when the link has drained. A caller that
    /// makes this node say more of that than it reads loses its link.
    fn refuse_call(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        id: RequestId,
        refusal: Refusal,
    ) {
        let link = match network.path_to(ctx.config, id.caller) {
            Outlet::Ready(link) => {
                return self.send_refusal(ctx, network, link, id.number, refusal);
            }
            Outlet::Full => network.best_session(id.caller),
            Outlet::None => None,
        };
        let Some(link) = link else { return };
        let limits = &ctx.config.limits;
        if !self.serving.queue_refusal(id, refusal, limits) {
            ctx.stats.timed_out_silent += 1;
            self.cut(ctx, network, link);
        }
    }

    pub(super) fn send_refusal(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        number: u64,
        refusal: Refusal,
    ) {
        if let Some((sequence, kind)) = self.begin_record(network, link) {
            let limits = &ctx.config.limits;
            refusal.encode(number, sequence, limits, &mut self.plain);
            network.send_plain_record(ctx, link, kind, &self.plain);
        }
    }

    /// All of what a call asks is there, or it will not come.
    pub(super) fn ask_came(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, id: RequestId) {
        let Some(whole) = self.streams.take_whole(id.stream(Channel::Ask)) else {
            return;
        };
        let Some(call) = self.serving.collected(id) else {
            return;
        };
        match whole {
            Ok(bytes) => self.run(ctx, network, id, call.caller, Ask::read(call.kind, bytes)),
            // Not as a failure of the command, which did not run.
            Err(why) => self.reply(
                ctx,
                network,
                id,
                Status::Refused,
                why.to_string().into_bytes(),
            ),
        }
    }

    /// Has a call answered: by the program, or by the broadcasts.
    fn run(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        id: RequestId,
        caller: NodeName,
        ask: Result<Ask, Unreadable>,
    ) {
        match ask {
            Ok(Ask::Broadcast(broadcast)) => {
                self.hear_broadcast(ctx, network, id, broadcast);
            }
            Ok(ask) => self.serving.hand_over(ctx, id, caller, ask),
            Err(Unreadable::Path) => self.reply(ctx, network, id, Status::NotFound, Vec::new()),
            Err(Unreadable::Malformed) => {
                self.reply(ctx, network, id, Status::Refused, MALFORMED.into());
            }
        }
    }

    /// Takes what the caller streams from now on, and may stream to it.
    pub(crate) fn accept_streams(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        call: RequestId,
    ) -> Result<(), Error> {
        self.serving.read(call)?;
        let feedback = self.streams.accept(call, &ctx.config.limits);
        self.give_feedback(ctx, network, feedback);
        Ok(())
    }

    /// Whether the caller still waits for the answer to a request. `own` is this node.
    pub(crate) fn is_wanted(&self, own: Instance, id: RequestId) -> bool {
        if compat::is_request(id) {
            self.compat.is_wanted(id)
        } else if id.caller == own {
            self.calls.is_open(id.number)
        } else {
            self.serving.is_wanted(id)
        }
    }

    /// The caller confirms that it has the answers to these calls.
    pub(super) fn answers_confirmed(
        &mut self,
        ctx: &mut Ctx<'_>,
        caller: Instance,
        settled: Settled<'_>,
    ) {
        for number in settled.iter() {
            if let Some(over) = self.serving.confirmed(RequestId { caller, number }) {
                self.end_streams(ctx, over);
            }
        }
    }

    /// The caller no longer waits.
    pub(super) fn withdraw(&mut self, ctx: &mut Ctx<'_>, caller: Instance, number: u64) {
        if let Some(over) = self.serving.withdraw(RequestId { caller, number }) {
            self.end_streams(ctx, over);
        }
    }

    /// A caller has said goodbye, so that it waits for none of its calls.
    pub(super) fn withdraw_all(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        caller: Instance,
    ) {
        for id in self.serving.calls_of(caller) {
            match self.serving.caller_left(id) {
                Some(over) => self.end_streams(ctx, over),
                None => self.stop_collecting(ctx, network, id, Status::Refused, LOST),
            }
        }
    }

    /// What a call asks will not come any more, or is not wanted, if some of it was still to come:
    /// that takes no room from now on. The caller, if it is there, is told why.
    pub(super) fn stop_collecting(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        id: RequestId,
        status: Status,
        why: &str,
    ) {
        if self.serving.collected(id).is_some() {
            let over = CallOver {
                call: id,
                why: None,
                reads: false,
            };
            self.end_streams(ctx, over);
            self.reply(ctx, network, id, status, why.into());
        }
    }

    pub(crate) fn tick_serving(&mut self, ctx: &mut Ctx<'_>, network: &mut Network) {
        while let Some(expired) = self.serving.next_expired(ctx) {
            match expired {
                Expired::Over(over) => self.end_streams(ctx, over),
                Expired::Stalled(id) => {
                    self.stop_collecting(ctx, network, id, Status::Refused, STALLED);
                }
            }
        }
    }
}
