//! The routing of the streams of calls.

use super::incoming::LOST;
use crate::engine::ids::CallOver;
use crate::engine::streams::{Feedback, Next, Speaker, Violation};
use crate::engine::{Engine, LinkId, Now, StreamId};
use crate::error::Error;
use crate::limits::{FRAME_MAX, STREAM_QUEUE};
use crate::wire::Instance;
use crate::wire::record::{Body, Channel, CloseReason};

/// What programs do with their streams.
impl Engine {
    /// Writes to a stream of this node, and says how much of `bytes` was taken. If that is 0,
    /// [`Output::Stream`](crate::engine::Output::Stream) tells when to try again.
    pub fn stream_write(&mut self, now: Now, id: StreamId, bytes: &[u8]) -> Result<usize, Error> {
        let limits = &self.core.config.limits;
        let n = self.streams.write(id, bytes, limits)?;
        if n > 0 {
            self.pump_streams(now);
        }
        Ok(n)
    }

    /// Says that all of a stream was written.
    pub fn stream_finish(&mut self, now: Now, id: StreamId) {
        self.streams.finish(id);
        self.pump_streams(now);
    }

    /// Breaks a stream of this node off, and says why.
    pub fn stream_abort(&mut self, now: Now, id: StreamId, why: &str) {
        self.streams.abort(id, why);
        self.pump_streams(now);
    }

    /// The program lets go of a stream of this node that it has not finished, which breaks the
    /// stream off. A command that has streamed nothing may still succeed: its answer decides.
    pub fn stream_let_go(&mut self, now: Now, id: StreamId) {
        self.streams.let_go(id, self.core.instance);
        self.pump_streams(now);
    }

    /// Reads what has come of a stream into `buf`: 0 at its end. If `None` is returned,
    /// [`Output::Stream`](crate::engine::Output::Stream) tells when to try again.
    pub fn stream_read(
        &mut self,
        now: Now,
        id: StreamId,
        buf: &mut [u8],
    ) -> Result<Option<usize>, Error> {
        let read = self.streams.read(id, buf)?;
        self.give_feedback(now, read.feedback);
        Ok(read.bytes)
    }

    /// The program reads no more of a stream, whatever may come.
    pub fn stream_close(&mut self, now: Now, id: StreamId) {
        if let Some(closed) = self.streams.close(&mut self.core.outputs, id) {
            self.give_feedback(now, closed.feedback);
            self.end_if_complete(now, id.call);
        }
    }
}

/// What streams send.
impl Engine {
    /// Tells the sender of a stream what its receiver says.
    pub(super) fn give_feedback(&mut self, now: Now, feedback: Option<Feedback>) {
        if let Some(feedback) = feedback
            && self.is_read(now, feedback.link)
        {
            self.send_record(now, feedback.link, |sequence, out| {
                feedback.encode(sequence, out);
            });
        }
    }

    /// Whether a link's peer reads what it is sent. What streams say of themselves is sent without
    /// waiting for room, and is small; a peer that makes this node say it over and over and reads
    /// none of it loses its link.
    fn is_read(&mut self, now: Now, link: LinkId) -> bool {
        // What is left is for the words that end the link.
        let window_is_used_up = !self.links.has_window(link, FRAME_MAX / 4);
        let most = 2 * (self.core.config.limits.link_queue + FRAME_MAX);
        if self.waits_on(link) < most && !window_is_used_up {
            return true;
        }
        self.core.stats.timed_out_silent += 1;
        self.cut(now, link);
        false
    }

    /// A link takes more: what streams have goes on with the next tick.
    pub(in crate::engine) fn streams_go_on(&mut self, now: Now) {
        self.streams.go_on_at(now.at);
    }

    pub(in crate::engine) fn tick_streams(&mut self, now: Now) {
        self.streams.goes_on();
        self.pump_streams(now);
    }

    /// Sends what streams have, a piece of each in turn, as far as their links take it.
    fn pump_streams(&mut self, now: Now) {
        let mut idle = 0;
        while idle < self.streams.in_line() {
            let Some((id, link)) = self.streams.next_in_line() else {
                return;
            };
            idle += 1;
            if self.takes_stream(link) {
                self.send_piece(now, link, id);
                idle = 0;
            }
            self.streams.back_in_line(id);
        }
    }

    /// Whether a link takes more of streams, and leaves room for a short call.
    fn takes_stream(&self, link: LinkId) -> bool {
        self.takes_more(link) && self.waits_on(link) < STREAM_QUEUE
    }

    fn send_piece(&mut self, now: Now, link: LinkId, id: StreamId) {
        let Some((sequence, kind)) = self.begin_record(link) else {
            return;
        };
        let Some(piece) = self.streams.encode_next(id, sequence, &mut self.plain) else {
            return;
        };
        let (at, mut hash) = (self.plain.len() - piece.bytes, piece.digest);
        let digest = hash.as_mut().map(|hash| (at, hash));
        self.send_plain_record(now, link, kind, digest);
        self.streams.sent(id, hash);
        self.core.stats.stream_bytes_out += piece.bytes as u64;
        if piece.is_end {
            self.await_echo(now, link);
        }
    }
}

/// What comes of streams.
impl Engine {
    /// A record about a stream came.
    pub(in crate::engine) fn stream_record(
        &mut self,
        now: Now,
        link: LinkId,
        record: Body<'_>,
    ) -> Result<(), Violation> {
        let next_own = self.calls.next_number();
        let Some(session) = self.session(link) else {
            return Ok(());
        };
        session.used = now.at;
        let speaker = Speaker {
            link,
            peer: session.peer,
            last_call: session.last_call,
            next_own,
        };
        let ctx = &mut self.core.at(now);
        let Some(step) = self.streams.take_in(ctx, &speaker, record)? else {
            return Ok(());
        };
        let call = step.id.call;
        if call.caller != self.core.instance {
            self.serving.streamed(now.at, call.caller);
        }
        if step.moved && call.caller == self.core.instance {
            self.calls.moved(now.at, call.number);
        } else if step.moved {
            self.serving.moved(now.at, call);
        }
        match step.next {
            Next::Nothing => {}
            Next::Tell(feedback) => self.give_feedback(now, Some(feedback)),
            Next::Send => self.pump_streams(now),
            Next::Ended => self.stream_ended(now, step.id),
        }
        Ok(())
    }

    /// No more will come on a stream.
    fn stream_ended(&mut self, now: Now, id: StreamId) {
        match id.channel {
            Channel::Ask => self.ask_came(now, id.call),
            Channel::Value => {
                if let Some(value) = self.streams.take_whole(id) {
                    self.value_came(now, id.call.number, value);
                }
            }
            Channel::Request | Channel::Response => self.end_if_complete(now, id.call),
        }
    }

    /// The peer broke a rule: nothing that it says from here on could be told from a lie.
    pub(in crate::engine) fn violation(&mut self, now: Now, link: LinkId) {
        self.core.stats.refused_stream += 1;
        self.close_session(now, link, CloseReason::Violation);
    }

    /// A call is over, and so is what it streams.
    pub(super) fn end_streams(&mut self, over: CallOver<'_>) {
        if self.streams.len() > 0 {
            self.streams.end(&mut self.core.outputs, over);
        }
    }

    /// The streams of the calls of a peer that is gone go no further. A large answer stays for as
    /// long as it is kept: the peer asks for it if it comes back, since the goodbye may be forged.
    pub(in crate::engine) fn fail_streams_of(&mut self, now: Now, peer: Instance) {
        for call in self.streams.calls_of(peer) {
            if self.serving.owes_answer_only(call) {
                continue;
            }
            self.end_streams(CallOver {
                call,
                why: Some("the caller is gone"),
                reads: self.serving.reads(call),
            });
            self.stop_collecting(now, call, LOST);
        }
    }
}
