//! The calls that peers make: they come, run at most once, and are answered.

use super::{CallNumber, Commands, Ctx, LinkId, Network, RequestId, mark_used};
use crate::engine::Source;
use crate::engine::calls::ask::{Ask, Unreadable};
use crate::engine::calls::broadcast::{Heard, Parent};
use crate::engine::calls::compat;
use crate::engine::calls::incoming::{
    Again, Need, Order, Refusal, Room, Served, Stage, Waiting, Worth,
};
use crate::engine::calls::outgoing::reason;
use crate::engine::ids::CallOver;
use crate::engine::links::Outlet;
use crate::error::Error;
use crate::limits::BODY_MAX;
use crate::name::NodeName;
use crate::wire::Instance;
use crate::wire::ask::AskRef;
use crate::wire::record::{Channel, Form, Settled, Status};
use std::time::Duration;

/// Bytes of unused room that an answer gives back before it is kept.
const SLACK: usize = 1_024;

/// A call that came, as its record says.
pub(super) struct CallRecord<'a> {
    pub(super) number: u64,
    pub(super) form: Form,
    pub(super) timeout_ms: u32,
    pub(super) ask: AskRef<'a>,
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
        session.used = ctx.now.at;
        session.last_call = session.last_call.max(Some(call.number));
        let id = RequestId {
            caller: session.peer,
            number: call.number,
        };
        let caller = session.name.clone();
        if self.serve_again(ctx, network, link, id) || self.stopping.is_some() {
            return;
        }
        let asked = match self.admit(ctx, network, id, source, call.form, call.ask.size()) {
            Ok(asked) => asked,
            Err(refusal) => return self.refuse_call(ctx, network, id, refusal),
        };
        let timeout = Duration::from_millis(call.timeout_ms.into());
        let order = Order {
            now: ctx.now.at,
            timeout: timeout.min(ctx.config.limits.call_timeout),
            streams: call.form.streams,
            asked,
        };
        let collecting = match call.ask {
            AskRef::Large { kind, length } if length > 0 => Some((kind, length)),
            _ => None,
        };
        let running = Stage::Running { caller_left: false };
        let stage = collecting.map_or(running, |(kind, _)| Stage::Collecting {
            kind,
            caller: caller.clone(),
        });
        let served = Served::new(stage, order);
        self.serving.add(ctx, id, source, served);
        if order.streams {
            self.streams.open_for_request(id);
            let up = id.stream(Channel::Request);
            let feedback = self.streams.go_on_over(up, link);
            self.give_feedback(ctx, network, feedback);
        }
        match collecting {
            None => self.run(ctx, network, id, caller, Ask::copied(call.ask)),
            Some((_, length)) => {
                let (stream, limits) = (id.stream(Channel::Ask), &ctx.config.limits);
                self.streams.expect(stream, id.caller, length, limits);
                let feedback = self.streams.go_on_over(stream, link);
                self.give_feedback(ctx, network, feedback);
            }
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
        let feedback = self.streams.go_on_over(id.stream(Channel::Ask), link);
        self.give_feedback(ctx, network, feedback);
        let up = id.stream(Channel::Request);
        let feedback = self.streams.resume(up, link, came.reads);
        self.give_feedback(ctx, network, feedback);
        if came.again == Again::Answered {
            self.send_reply(ctx, network, id);
        }
        true
    }

    /// Whether a call may run that asks for something of `size` bytes. Gives the bytes that it
    /// takes until it is answered.
    fn admit(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        id: RequestId,
        source: Source,
        form: Form,
        size: u64,
    ) -> Result<usize, Refusal> {
        let limits = &ctx.config.limits;
        let asked = self.serving.admit(id, form.again, size, limits)?;
        let source = self.serving.source_of(id.caller, source);
        let shares = |caller| self.serving.is_of_source(caller, source);
        let may_stream = !form.streams || self.streams.has_room_for(2, id.caller, shares, limits);
        if may_stream && self.find_room(ctx, network, id.caller, Need::Call { source, asked }) {
            return Ok(asked);
        }
        ctx.stats.overloaded += 1;
        Err(Refusal::Overloaded)
    }

    /// Whether there is room for what a caller needs, where need be in that of others' answers.
    fn find_room(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &Network,
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
            }
        }
    }

    /// Tells a caller that a call does not run, now or when the link has drained. A caller that
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

    fn send_refusal(
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
            network.send_plain_record(ctx, link, kind, &self.plain, None);
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
                match self.broadcasts.hear(ctx, id.caller, &broadcast) {
                    Heard::Before(report) => self.reply(ctx, network, id, Status::Value, report),
                    Heard::TurnedAway => {
                        self.reply(ctx, network, id, Status::Overloaded, Vec::new())
                    }
                    Heard::Now => {
                        let left = self.serving.time_left(ctx.now.at, id);
                        self.hand_on(ctx, network, Parent::Peer(id), broadcast, left);
                    }
                }
            }
            Ok(ask) => self.serving.hand_over(ctx, id, caller, ask),
            Err(Unreadable::Path) => self.reply(ctx, network, id, Status::NotFound, Vec::new()),
            Err(Unreadable::Malformed) => {
                let why = b"what was asked is malformed".to_vec();
                self.reply(ctx, network, id, Status::Refused, why);
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
        if compat::is_request(id, own) {
            self.compat.is_wanted(id)
        } else if id.caller == own {
            self.calls.is_open(id.number)
        } else {
            self.serving.is_wanted(id)
        }
    }

    /// Answers a request. An answer that is late, or a second one, is counted and dropped. What the
    /// command streams is finished by it, or broken off if it failed.
    pub(crate) fn reply(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        id: RequestId,
        status: Status,
        body: Vec<u8>,
    ) {
        let most = match status {
            Status::Value => ctx.config.limits.max_message,
            _ => BODY_MAX,
        };
        let (status, body) = if body.len() > most {
            let text = format!("the answer has {} bytes, the limit is {most}", body.len());
            (Status::Failed, text.into_bytes())
        } else {
            (status, body)
        };
        if compat::is_request(id, ctx.instance) {
            self.compat.reply(ctx, id, status, body);
        } else if id.caller == ctx.instance {
            match self.calls.answer_local(id.number, status, &body) {
                Some(result) => self.end_call(ctx, network, CallNumber(id.number), result),
                None => ctx.stats.replies_late += 1,
            }
        } else {
            self.reply_to_peer(ctx, network, id, status, body);
        }
    }

    fn reply_to_peer(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        id: RequestId,
        status: Status,
        body: Vec<u8>,
    ) {
        let worth = self.serving.worth_of_answer(id);
        match worth {
            Worth::Wanted => return self.keep_answer(ctx, network, id, status, body),
            Worth::Withdrawn | Worth::Expired => {
                let over = self.serving.forget(id, None);
                self.end_streams(ctx, over);
            }
            Worth::Late => {}
        }
        ctx.stats.replies_late += u64::from(worth != Worth::Withdrawn);
    }

    /// Remembers an answer, and sends it.
    fn keep_answer(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        id: RequestId,
        mut status: Status,
        mut body: Vec<u8>,
    ) {
        let is_large = body.len() > BODY_MAX;
        if !is_large && body.capacity() - body.len() > SLACK {
            body.shrink_to_fit();
        }
        let mut kept = if is_large {
            body.len()
        } else {
            body.capacity()
        };
        if !self.find_room(ctx, network, id.caller, Need::Answer { bytes: kept }) {
            ctx.stats.overloaded += 1;
            // Not the status for a call that is turned away: this one ran.
            (status, body, kept) = (Status::AnswerLost, Vec::new(), 0);
        } else if is_large {
            let length = (body.len() as u64).to_be_bytes().to_vec();
            let (stream, limits) = (id.stream(Channel::Value), &ctx.config.limits);
            self.streams.send_whole(stream, id.caller, body, limits);
            (status, body) = (Status::Large, length);
        }
        if self.serving.streams(id) {
            let down = id.stream(Channel::Response);
            match status {
                Status::Value | Status::Large => self.stream_finish(ctx, network, down),
                Status::AnswerLost => {
                    self.stream_abort(ctx, network, down, "the answer could not be kept")
                }
                _ => self.stream_abort(ctx, network, down, &reason(status, &body)),
            }
        }
        self.serving.keep_answer(id, status, body, kept);
        self.send_reply(ctx, network, id);
    }

    /// Sends an answer from memory, now or when the link has drained. Without a link the caller
    /// will ask again.
    fn send_reply(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, id: RequestId) {
        let link = match network.path_to(ctx.config, id.caller) {
            Outlet::Ready(link) => link,
            Outlet::Full => {
                let limits = &ctx.config.limits;
                return self.serving.queue_answer(id, limits);
            }
            Outlet::None => return,
        };
        if let Some((sequence, kind)) = self.begin_record(network, link)
            && self.serving.encode_answer(id, sequence, &mut self.plain)
        {
            network.send_plain_record(ctx, link, kind, &self.plain, None);
            mark_used(network, ctx.now.at, link);
            self.await_echo(ctx, network, link);
        }
    }

    /// Sends answers and refusals that waited for the link to drain.
    pub(super) fn pump_replies(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        caller: Instance,
    ) {
        while let Outlet::Ready(link) = network.path_to(ctx.config, caller) {
            match self.serving.next_in_backlog(caller) {
                Some(Waiting::Answer(number)) => {
                    self.send_reply(ctx, network, RequestId { caller, number })
                }
                Some(Waiting::Refusal(number, refusal)) => {
                    self.send_refusal(ctx, network, link, number, refusal);
                }
                None => return,
            }
        }
    }

    /// The caller has the answers to these calls.
    pub(super) fn settle(&mut self, ctx: &mut Ctx<'_>, caller: Instance, settled: Settled<'_>) {
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
                None => self.stop_collecting(ctx, network, id),
            }
        }
    }

    /// What a call asks will not come any more, if some of it was still to come: that takes no room
    /// from now on. Should the caller be there after all, it is told.
    pub(super) fn stop_collecting(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        id: RequestId,
    ) {
        if self.serving.collected(id).is_some() {
            self.end_streams(
                ctx,
                CallOver {
                    call: id,
                    why: Some("the caller is gone"),
                    reads: false,
                },
            );
            let why = b"it did not run, because the connection was lost for too long".to_vec();
            self.reply(ctx, network, id, Status::Refused, why);
        }
    }

    pub(crate) fn tick_serving(&mut self, ctx: &mut Ctx<'_>) {
        while let Some(over) = self.serving.next_expired(ctx) {
            self.end_streams(ctx, over);
        }
    }
}
