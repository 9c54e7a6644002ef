//! The routing of the calls that peers make.

use crate::engine::calls::ask::{Ask, Unreadable};
use crate::engine::calls::broadcast::{Heard, Parent};
use crate::engine::calls::compat;
use crate::engine::calls::incoming::{
    Again, Need, Order, Refusal, Room, Served, Stage, Waiting, Worth,
};
use crate::engine::calls::outgoing::reason;
use crate::engine::ids::CallOver;
use crate::engine::links::Outlet;
use crate::engine::{CallNumber, Engine, LinkId, Now, RequestId, Source};
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
pub(in crate::engine) struct CallRecord<'a> {
    pub(in crate::engine) number: u64,
    pub(in crate::engine) form: Form,
    pub(in crate::engine) timeout_ms: u32,
    pub(in crate::engine) ask: AskRef<'a>,
}

impl Engine {
    /// A call came.
    pub(in crate::engine) fn serve(&mut self, now: Now, link: LinkId, call: CallRecord<'_>) {
        let Some(source) = self.links.source(link) else {
            return;
        };
        let Some(session) = self.session(link) else {
            return;
        };
        session.used = now.at;
        session.last_call = session.last_call.max(Some(call.number));
        let id = RequestId {
            caller: session.peer,
            number: call.number,
        };
        let caller = session.name.clone();
        if self.serve_again(now, link, id) || self.stopping.is_some() {
            return;
        }
        let asked = match self.admit(now, id, source, call.form, call.ask.size()) {
            Ok(asked) => asked,
            Err(refusal) => return self.refuse_call(now, id, refusal),
        };
        let limits = &self.core.config.limits;
        let order = Order {
            now: now.at,
            timeout: Duration::from_millis(call.timeout_ms.into()).min(limits.call_timeout),
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
        self.serving.add(&mut self.core.at(now), id, source, served);
        if order.streams {
            self.streams.open_for_request(id);
            let up = id.stream(Channel::Request);
            let feedback = self.streams.go_on_over(up, link);
            self.give_feedback(now, feedback);
        }
        match collecting {
            None => self.run(now, id, caller, Ask::copied(call.ask)),
            Some((_, length)) => {
                let (stream, limits) = (id.stream(Channel::Ask), &self.core.config.limits);
                self.streams.expect(stream, id.caller, length, limits);
                let feedback = self.streams.go_on_over(stream, link);
                self.give_feedback(now, feedback);
            }
        }
    }

    /// If a call that came is remembered, it does not run again. Its streams go on over this
    /// session, and an answer that is kept is sent again; one that is still to come finds the
    /// newest path by itself.
    fn serve_again(&mut self, now: Now, link: LinkId, id: RequestId) -> bool {
        let Some(came) = self.serving.came_again(&mut self.core.at(now), id) else {
            return false;
        };
        if came.again == Again::Expired {
            self.refuse_call(now, id, Refusal::MayHaveRun);
            return true;
        }
        let feedback = self.streams.go_on_over(id.stream(Channel::Ask), link);
        self.give_feedback(now, feedback);
        let up = id.stream(Channel::Request);
        let feedback = self.streams.resume(up, link, came.reads);
        self.give_feedback(now, feedback);
        if came.again == Again::Answered {
            self.send_reply(now, id);
        }
        true
    }

    /// Whether a call may run that asks for something of `size` bytes. Gives the bytes that it
    /// takes until it is answered.
    fn admit(
        &mut self,
        now: Now,
        id: RequestId,
        source: Source,
        form: Form,
        size: u64,
    ) -> Result<usize, Refusal> {
        let limits = &self.core.config.limits;
        let asked = self.serving.admit(id, form.again, size, limits)?;
        let source = self.serving.source_of(id.caller, source);
        let shares = |caller| self.serving.is_of_source(caller, source);
        let may_stream = !form.streams || self.streams.has_room_for(2, id.caller, shares, limits);
        if may_stream && self.find_room(now, id.caller, Need::Call { source, asked }) {
            return Ok(asked);
        }
        self.core.stats.overloaded += 1;
        Err(Refusal::Overloaded)
    }

    /// Whether there is room for what a caller needs, where need be in that of others' answers.
    fn find_room(&mut self, now: Now, caller: Instance, need: Need) -> bool {
        loop {
            match self.serving.room(caller, need, &self.core.config.limits) {
                Room::Free => return true,
                Room::None => return false,
                Room::IfOthersGiveWay => {}
            }
            let mut holders = self.serving.holders(&self.core.at(now), caller, need);
            for holder in &mut holders {
                holder.is_away = matches!(self.path_to(holder.caller), Outlet::None);
            }
            let ctx = &mut self.core.at(now);
            let evicted = self.serving.evict(ctx, caller, need, holders);
            if evicted.is_empty() {
                return false;
            }
            for over in evicted {
                self.end_streams(over);
            }
        }
    }

    /// Tells a caller that a call does not run, now or when the link has drained. A caller that
    /// makes this node say more of that than it reads loses its link.
    fn refuse_call(&mut self, now: Now, id: RequestId, refusal: Refusal) {
        let link = match self.path_to(id.caller) {
            Outlet::Ready(link) => return self.send_refusal(now, link, id.number, refusal),
            Outlet::Full => self.best_session(id.caller),
            Outlet::None => None,
        };
        let Some(link) = link else { return };
        let limits = &self.core.config.limits;
        if !self.serving.queue_refusal(id, refusal, limits) {
            self.core.stats.timed_out_silent += 1;
            self.cut(now, link);
        }
    }

    fn send_refusal(&mut self, now: Now, link: LinkId, number: u64, refusal: Refusal) {
        if let Some((sequence, kind)) = self.begin_record(link) {
            let limits = &self.core.config.limits;
            refusal.encode(number, sequence, limits, &mut self.plain);
            self.send_plain_record(now, link, kind, None);
        }
    }

    /// All of what a call asks is there, or it will not come.
    pub(super) fn ask_came(&mut self, now: Now, id: RequestId) {
        let Some(whole) = self.streams.take_whole(id.stream(Channel::Ask)) else {
            return;
        };
        let Some(call) = self.serving.collected(id) else {
            return;
        };
        match whole {
            Ok(bytes) => self.run(now, id, call.caller, Ask::read(call.kind, bytes)),
            // Not as a failure of the command, which did not run.
            Err(why) => self.reply(now, id, Status::Refused, why.to_string().into_bytes()),
        }
    }

    /// Has a call answered: by the program, or by the broadcasts.
    fn run(&mut self, now: Now, id: RequestId, caller: NodeName, ask: Result<Ask, Unreadable>) {
        match ask {
            Ok(Ask::Broadcast(broadcast)) => {
                let ctx = &mut self.core.at(now);
                match self.broadcasts.hear(ctx, id.caller, &broadcast) {
                    Heard::Before(report) => self.reply(now, id, Status::Value, report),
                    Heard::TurnedAway => self.reply(now, id, Status::Overloaded, Vec::new()),
                    Heard::Now => {
                        let left = self.serving.time_left(now.at, id);
                        self.hand_on(now, Parent::Peer(id), broadcast, left);
                    }
                }
            }
            Ok(ask) => self
                .serving
                .hand_over(&mut self.core.at(now), id, caller, ask),
            Err(Unreadable::Path) => self.reply(now, id, Status::NotFound, Vec::new()),
            Err(Unreadable::Malformed) => {
                let why = b"what was asked is malformed".to_vec();
                self.reply(now, id, Status::Refused, why);
            }
        }
    }

    /// Takes what the caller streams from now on, and may stream to it.
    pub fn accept_streams(&mut self, now: Now, call: RequestId) -> Result<(), Error> {
        self.serving.read(call)?;
        let feedback = self.streams.accept(call, &self.core.config.limits);
        self.give_feedback(now, feedback);
        Ok(())
    }

    /// Whether the caller still waits for the answer to a request.
    pub fn is_wanted(&self, id: RequestId) -> bool {
        if compat::is_request(id, self.core.instance) {
            self.compat.is_wanted(id)
        } else if id.caller == self.core.instance {
            self.calls.is_open(id.number)
        } else {
            self.serving.is_wanted(id)
        }
    }

    /// Answers a request. An answer that is late, or a second one, is counted and dropped. What the
    /// command streams is finished by it, or broken off if it failed.
    pub fn reply(&mut self, now: Now, id: RequestId, status: Status, body: Vec<u8>) {
        let most = match status {
            Status::Value => self.core.config.limits.max_message,
            _ => BODY_MAX,
        };
        let (status, body) = if body.len() > most {
            let text = format!("the answer has {} bytes, the limit is {most}", body.len());
            (Status::Failed, text.into_bytes())
        } else {
            (status, body)
        };
        if compat::is_request(id, self.core.instance) {
            self.compat.reply(&mut self.core.at(now), id, status, body);
        } else if id.caller == self.core.instance {
            match self.calls.answer_local(id.number, status, &body) {
                Some(result) => self.end_call(now, CallNumber(id.number), result),
                None => self.core.stats.replies_late += 1,
            }
        } else {
            self.reply_to_peer(now, id, status, body);
        }
    }

    fn reply_to_peer(&mut self, now: Now, id: RequestId, status: Status, body: Vec<u8>) {
        let worth = self.serving.worth_of_answer(id);
        match worth {
            Worth::Wanted => return self.keep_answer(now, id, status, body),
            Worth::Withdrawn | Worth::Expired => {
                let over = self.serving.forget(id, None);
                self.end_streams(over);
            }
            Worth::Late => {}
        }
        self.core.stats.replies_late += u64::from(worth != Worth::Withdrawn);
    }

    /// Remembers an answer, and sends it.
    fn keep_answer(&mut self, now: Now, id: RequestId, mut status: Status, mut body: Vec<u8>) {
        let is_large = body.len() > BODY_MAX;
        if !is_large && body.capacity() - body.len() > SLACK {
            body.shrink_to_fit();
        }
        let mut kept = if is_large {
            body.len()
        } else {
            body.capacity()
        };
        if !self.find_room(now, id.caller, Need::Answer { bytes: kept }) {
            self.core.stats.overloaded += 1;
            // Not the status for a call that is turned away: this one ran.
            (status, body, kept) = (Status::AnswerLost, Vec::new(), 0);
        } else if is_large {
            let length = (body.len() as u64).to_be_bytes().to_vec();
            let (stream, limits) = (id.stream(Channel::Value), &self.core.config.limits);
            self.streams.send_whole(stream, id.caller, body, limits);
            (status, body) = (Status::Large, length);
        }
        if self.serving.streams(id) {
            let down = id.stream(Channel::Response);
            match status {
                Status::Value | Status::Large => self.stream_finish(now, down),
                Status::AnswerLost => self.stream_abort(now, down, "the answer could not be kept"),
                _ => self.stream_abort(now, down, &reason(status, &body)),
            }
        }
        self.serving.keep_answer(id, status, body, kept);
        self.send_reply(now, id);
    }

    /// Sends an answer from memory, now or when the link has drained. Without a link the caller
    /// will ask again.
    fn send_reply(&mut self, now: Now, id: RequestId) {
        let link = match self.path_to(id.caller) {
            Outlet::Ready(link) => link,
            Outlet::Full => {
                let limits = &self.core.config.limits;
                return self.serving.queue_answer(id, limits);
            }
            Outlet::None => return,
        };
        if let Some((sequence, kind)) = self.begin_record(link)
            && self.serving.encode_answer(id, sequence, &mut self.plain)
        {
            self.send_plain_record(now, link, kind, None);
            self.mark_used(now, link);
            self.await_echo(now, link);
        }
    }

    /// Sends answers and refusals that waited for the link to drain.
    pub(in crate::engine) fn pump_replies(&mut self, now: Now, caller: Instance) {
        while let Outlet::Ready(link) = self.path_to(caller) {
            match self.serving.next_in_backlog(caller) {
                Some(Waiting::Answer(number)) => self.send_reply(now, RequestId { caller, number }),
                Some(Waiting::Refusal(number, refusal)) => {
                    self.send_refusal(now, link, number, refusal);
                }
                None => return,
            }
        }
    }

    /// The caller has the answers to these calls.
    pub(in crate::engine) fn settle(&mut self, caller: Instance, settled: Settled<'_>) {
        for number in settled.iter() {
            if let Some(over) = self.serving.confirmed(RequestId { caller, number }) {
                self.end_streams(over);
            }
        }
    }

    /// The caller no longer waits.
    pub(in crate::engine) fn withdraw(&mut self, caller: Instance, number: u64) {
        if let Some(over) = self.serving.withdraw(RequestId { caller, number }) {
            self.end_streams(over);
        }
    }

    /// A caller has said goodbye, so that it waits for none of its calls.
    pub(in crate::engine) fn withdraw_all(&mut self, now: Now, caller: Instance) {
        for id in self.serving.calls_of(caller) {
            match self.serving.caller_left(id) {
                Some(over) => self.end_streams(over),
                None => self.stop_collecting(now, id),
            }
        }
    }

    /// What a call asks will not come any more, if some of it was still to come: that takes no room
    /// from now on. Should the caller be there after all, it is told.
    pub(super) fn stop_collecting(&mut self, now: Now, id: RequestId) {
        if self.serving.collected(id).is_some() {
            self.end_streams(CallOver {
                call: id,
                why: Some("the caller is gone"),
                reads: false,
            });
            let why = b"it did not run, because the connection was lost for too long".to_vec();
            self.reply(now, id, Status::Refused, why);
        }
    }

    pub(in crate::engine) fn tick_serving(&mut self, now: Now) {
        while let Some(over) = self.serving.next_expired(&mut self.core.at(now)) {
            self.end_streams(over);
        }
    }
}
