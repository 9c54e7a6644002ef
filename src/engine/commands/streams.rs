//! The streams of calls: what programs write is sent, and what comes is handed to its call.

use super::{Commands, Ctx, LinkId, Network, Time};
use crate::engine::StreamId;
use crate::engine::ids::CallOver;
use crate::engine::streams::{Feedback, Next, Speaker, Violation};
use crate::error::Error;
use crate::limits::{FRAME_MAX, STREAM_QUEUE};
use crate::wire::record::{Body, Channel};

/// What programs do with their streams.
impl Commands {
    /// Writes to a stream of this node, and says how much of `bytes` was taken. If that is 0,
    /// `Output::Stream` tells when to try again.
    pub(crate) fn stream_write(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        id: StreamId,
        bytes: &[u8],
    ) -> Result<usize, Error> {
        let limits = &ctx.config.limits;
        let n = self.streams.write(id, bytes, limits)?;
        if n > 0 {
            self.pump_streams(ctx, network);
        }
        Ok(n)
    }

    /// Says that all of a stream was written.
    pub(crate) fn stream_finish(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, id: StreamId) {
        self.streams.finish(id);
        self.pump_streams(ctx, network);
    }

    /// Breaks a stream of this node off, and says why.
    pub(crate) fn stream_abort(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        id: StreamId,
        why: &str,
    ) {
        self.streams.abort(id, why);
        self.pump_streams(ctx, network);
    }

    /// The program lets go of a stream of this node that it has not finished, which breaks the
    /// stream off. A command that has streamed nothing may still succeed: its answer decides.
    pub(crate) fn stream_let_go(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, id: StreamId) {
        self.streams.let_go(id, ctx.instance);
        self.pump_streams(ctx, network);
    }

    /// Reads what has come of a stream into `buf`: 0 at its end. If `None` is returned,
    /// `Output::Stream` tells when to try again.
    pub(crate) fn stream_read(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        id: StreamId,
        buf: &mut [u8],
    ) -> Result<Option<usize>, Error> {
        let read = self.streams.read(id, buf)?;
        self.give_feedback(ctx, network, read.feedback);
        Ok(read.bytes)
    }

    /// The program reads no more of a stream, whatever may come.
    pub(crate) fn stream_close(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, id: StreamId) {
        if let Some(closed) = self.streams.close(ctx.outputs, id) {
            self.give_feedback(ctx, network, closed.feedback);
            self.end_if_complete(ctx, network, id.call);
        }
    }
}

/// What streams send.
impl Commands {
    /// Tells the sender of a stream what its receiver says. That is sent without waiting for room,
    /// and is small. A peer that makes this node say it over and over and reads none of it loses
    /// its link.
    pub(super) fn give_feedback(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        feedback: Option<Feedback>,
    ) {
        let Some(feedback) = feedback else {
            return;
        };
        if !is_reading(ctx, network, feedback.link) {
            ctx.stats.timed_out_silent += 1;
            return self.cut(ctx, network, feedback.link);
        }
        network.send_record(ctx, feedback.link, |sequence, out| {
            feedback.encode(sequence, out);
        });
    }

    /// A stream to this node goes on over a link, if it is open: its sender is told how far it may
    /// go.
    pub(super) fn go_on_over(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        stream: StreamId,
        link: LinkId,
    ) {
        let feedback = self.streams.go_on_over(stream, link);
        self.give_feedback(ctx, network, feedback);
    }

    /// A link takes more: what streams have goes on with the next tick.
    pub(crate) fn streams_go_on(&mut self, now: Time) {
        self.streams.go_on_at(now);
    }

    pub(crate) fn tick_streams(&mut self, ctx: &mut Ctx<'_>, network: &mut Network) {
        self.streams.clear_due();
        self.pump_streams(ctx, network);
    }

    /// Sends what streams have, a piece of each in turn, as far as their links take it.
    fn pump_streams(&mut self, ctx: &mut Ctx<'_>, network: &mut Network) {
        let mut idle = 0;
        while idle < self.streams.in_line() {
            let Some((id, link)) = self.streams.next_in_line() else {
                return;
            };
            idle += 1;
            if takes_stream(ctx, network, link) {
                self.send_piece(ctx, network, link, id);
                idle = 0;
            }
            self.streams.back_in_line(id);
        }
    }

    fn send_piece(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, link: LinkId, id: StreamId) {
        let Some((sequence, kind)) = self.begin_record(network, link) else {
            return;
        };
        let Some(piece) = self.streams.encode_next(id, sequence, &mut self.plain) else {
            return;
        };
        network.send_plain_record(ctx, link, kind, &self.plain);
        self.streams.sent(id);
        ctx.stats.stream_bytes_out += piece.bytes as u64;
        if piece.is_end {
            self.await_echo(ctx, network, link);
        }
    }
}

/// What comes of streams.
impl Commands {
    /// A record about a stream came.
    pub(super) fn stream_record(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        record: Body<'_>,
    ) -> Result<(), Violation> {
        let next_own = self.calls.next_number();
        let Some(session) = network.session(link) else {
            return Ok(());
        };
        session.mark_used(ctx.now.at);
        let speaker = Speaker {
            link,
            peer: session.peer,
            last_call: session.last_call(),
            next_own,
        };
        let Some(step) = self.streams.take_in(ctx, &speaker, record)? else {
            return Ok(());
        };
        let call = step.id.call;
        if call.caller != ctx.instance {
            self.serving.streamed(ctx.now.at, call.caller);
        }
        if step.id.channel == Channel::Ask && !self.goes_on(ctx, network, link, call) {
            return Ok(());
        }
        if step.moved && call.caller == ctx.instance {
            self.calls.moved(ctx.now.at, call.number);
        } else if step.moved {
            self.serving.moved(ctx.now.at, call);
        }
        match step.next {
            Next::Nothing => {}
            Next::Tell(feedback) => self.give_feedback(ctx, network, Some(feedback)),
            Next::Send => self.pump_streams(ctx, network),
            Next::Ended => self.stream_ended(ctx, network, step.id),
        }
        Ok(())
    }

    /// No more will come on a stream.
    fn stream_ended(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, id: StreamId) {
        match id.channel {
            Channel::Ask => self.ask_came(ctx, network, id.call),
            Channel::Value => {
                if let Some(whole) = self.streams.take_whole(id) {
                    let number = id.call.number;
                    let value = whole.map(|value| self.calls.streamed_value(number, value));
                    self.value_came(ctx, network, number, value);
                }
            }
            Channel::Request | Channel::Response => self.end_if_complete(ctx, network, id.call),
        }
    }

    /// A call is over, and so is what it streams.
    pub(super) fn end_streams(&mut self, ctx: &mut Ctx<'_>, over: CallOver<'_>) {
        if self.streams.len() > 0 {
            self.streams.end(ctx.outputs, over);
        }
    }
}

/// Whether a link's peer reads what it is sent, as far as what waits for the link tells.
fn is_reading(ctx: &Ctx<'_>, network: &Network, link: LinkId) -> bool {
    let most = 2 * (ctx.config.limits.link_queue + FRAME_MAX);
    // What is left of the window is for the words that end the link.
    network.waits_on(link) < most && network.has_window(link, FRAME_MAX / 4)
}

/// Whether a link takes more of streams, and leaves room for a short call.
fn takes_stream(ctx: &Ctx<'_>, network: &Network, link: LinkId) -> bool {
    network.takes_more(ctx.config, link) && network.waits_on(link) < STREAM_QUEUE
}
