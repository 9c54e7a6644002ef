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

/// An answer, as it is to be kept.
struct Answer {
    status: Status,
    body: Vec<u8>,
    /// Bytes that it takes until its caller confirms it.
    kept: usize,
}

impl Answer {
    fn new(status: Status, mut body: Vec<u8>) -> Answer {
        if body.len() > BODY_MAX {
            let kept = body.len();
            return Answer { status, body, kept };
        }
        if body.capacity() - body.len() > SLACK {
            body.shrink_to_fit();
        }
        let kept = body.capacity();
        Answer { status, body, kept }
    }

    /// What a caller is told whose answer cannot be kept.
    fn lost() -> Answer {
        Answer {
            status: Status::AnswerLost,
            body: Vec::new(),
            kept: 0,
        }
    }

    /// If the value is too large for a record, takes it out, to go on a stream of its own. The
    /// answer says how long it is then.
    fn set_apart(&mut self) -> Option<Vec<u8>> {
        if self.body.len() <= BODY_MAX {
            return None;
        }
        let length = (self.body.len() as u64).to_be_bytes().to_vec();
        self.status = self.status.set_apart();
        Some(std::mem::replace(&mut self.body, length))
    }
}

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
            status if status.is_value() => ctx.config.limits.max_message,
            _ => BODY_MAX,
        };
        let (status, body) = if body.len() > most {
            let text = format!("the answer has {} bytes, the limit is {most}", body.len());
            (Status::Failed, text.into_bytes())
        } else {
            (status, body)
        };
        if compat::is_request(id) {
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

    /// Keeps an answer until its caller confirms it, and sends it.
    fn keep_answer(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        id: RequestId,
        status: Status,
        body: Vec<u8>,
    ) {
        let may_stream = self.serving.may_stream(id);
        let mut answer = match status.is_value() && may_stream && !self.can_end_stream(id) {
            true => Answer::lost(),
            false => Answer::new(status, body),
        };
        let bytes = answer.kept;
        if !self.make_room(ctx, network, id.caller, Need::Answer { bytes }) {
            ctx.stats.overloaded += 1;
            // Not the status for a call that is turned away: this one ran.
            answer = Answer::lost();
        }
        if let Some(large) = answer.set_apart() {
            let (stream, limits) = (id.stream(Channel::Value), &ctx.config.limits);
            self.streams.send_whole(stream, id.caller, large, limits);
        }
        if may_stream {
            self.end_response(ctx, network, id, &answer);
        }
        self.serving
            .keep_answer(id, answer.status, answer.body, answer.kept);
        self.send_reply(ctx, network, id);
    }

    /// Ends the stream of a command's response as the answer says.
    fn end_response(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        id: RequestId,
        answer: &Answer,
    ) {
        let response = id.stream(Channel::Response);
        match answer.status {
            status if status.is_value() => self.stream_finish(ctx, network, response),
            Status::AnswerLost => {
                self.stream_abort(ctx, network, response, "the answer could not be kept");
            }
            status => {
                let why = reason(status, &answer.body);
                self.stream_abort(ctx, network, response, &why);
            }
        }
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
            network.send_plain_record(ctx, link, kind, &self.plain);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_too_large_for_a_record_is_set_apart_and_counts_as_long_as_it_is_kept() {
        let mut small = Answer::new(Status::Value, vec![1; BODY_MAX]);
        assert_eq!((small.set_apart(), small.kept), (None, BODY_MAX));
        let mut large = Answer::new(Status::Value, vec![1; BODY_MAX + 1]);
        assert_eq!(large.kept, BODY_MAX + 1);
        assert_eq!(large.set_apart(), Some(vec![1; BODY_MAX + 1]));
        assert_eq!(large.status, Status::Large);
        assert_eq!(large.body, (BODY_MAX as u64 + 1).to_be_bytes());
        assert_eq!(large.kept, BODY_MAX + 1, "the stream keeps it");
        assert_eq!(large.set_apart(), None, "it is apart already");
        let mut bytes = Answer::new(Status::Data, vec![1; BODY_MAX + 1]);
        assert!(bytes.set_apart().is_some());
        assert_eq!(bytes.status, Status::LargeData, "the mark is kept");
    }

    #[test]
    fn an_answer_gives_unused_room_back_before_it_is_kept() {
        let mut body = Vec::with_capacity(10 * SLACK);
        body.push(b'1');
        assert!(Answer::new(Status::Value, body).kept < SLACK);
        let lost = Answer::lost();
        assert_eq!((lost.status, lost.kept), (Status::AnswerLost, 0));
    }
}
