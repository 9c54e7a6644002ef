//! The answers that this node gives: each is kept until its caller confirms it, and sent when there
//! is a path that takes it.

use super::{CallNumber, Commands, Ctx, Network, RequestId, mark_used};
use crate::engine::calls::compat;
use crate::engine::calls::incoming::{Need, Waiting, Worth};
use crate::engine::calls::outgoing::reason;
use crate::engine::links::Outlet;
use crate::limits::BODY_MAX;
use crate::wire::Instance;
use crate::wire::record::{Channel, Status};

/// Bytes of unused room that an answer gives back before it is kept.
const SLACK: usize = 1_024;

impl Commands {
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
        let streams = self.serving.may_stream(id);
        if status == Status::Value && streams && !self.can_end_stream(id) {
            (status, body) = (Status::AnswerLost, Vec::new());
        }
        let is_large = body.len() > BODY_MAX;
        if !is_large && body.capacity() - body.len() > SLACK {
            body.shrink_to_fit();
        }
        let mut kept = if is_large {
            body.len()
        } else {
            body.capacity()
        };
        if !self.make_room(ctx, network, id.caller, Need::Answer { bytes: kept }) {
            ctx.stats.overloaded += 1;
            // Not the status for a call that is turned away: this one ran.
            (status, body, kept) = (Status::AnswerLost, Vec::new(), 0);
        } else if is_large {
            let length = (body.len() as u64).to_be_bytes().to_vec();
            let (stream, limits) = (id.stream(Channel::Value), &ctx.config.limits);
            self.streams.send_whole(stream, id.caller, body, limits);
            (status, body) = (Status::Large, length);
        }
        if streams {
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

    /// Whether a caller can still be told how the stream of the command's response ends. It cannot
    /// if the caller was taken for gone and has come back: it would wait for the end together with
    /// the value.
    pub(super) fn can_end_stream(&self, id: RequestId) -> bool {
        self.streams.is_open(id.stream(Channel::Response))
    }

    /// Sends an answer from memory, now or when the link has drained. Without a link the caller
    /// will ask again.
    pub(super) fn send_reply(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, id: RequestId) {
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
}
