//! The streams of calls: what programs stream to each other, and what is too large for one record.
//!
//! A stream belongs to a call and is named after it, so that it outlives a session: when the call
//! is sent again over another path, each receiving end says over that path how much it has, and its
//! sender goes on from there. Nothing is sent that the receiver has not granted. A record that
//! brings more than was granted, or something out of place, is a [`Violation`] and ends the
//! session.
//!
//! This part knows no links and no calls. It says what is to be told to the other side
//! ([`Feedback`]), which stream is the next to send ([`Streams::next_in_line`]), and what a record
//! about a stream means for its call ([`records::Step`]).

mod ends;
mod line;
mod records;
#[cfg(test)]
mod tests;

pub(super) use ends::Violation;
pub(super) use records::{Next, Speaker};

use super::context::Ctx;
use super::fair_share::Taken;
use super::ids::{CallOver, RequestId, StreamId, call_is_over};
use super::{LinkId, Output, Time};
use crate::error::Error;
use crate::limits::Limits;
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::record::{Channel, encode_credit, encode_stop};
use ends::{Credit, ReceivingEnd, SendingEnd};
use std::collections::VecDeque;

#[derive(Debug)]
enum End {
    Sending(SendingEnd),
    Receiving(ReceivingEnd),
}

#[derive(Debug)]
struct Stream {
    /// The instance at the other end. For a call of this node it is the node itself until the call
    /// is sent.
    peer: Instance,
    end: End,
}

impl Stream {
    /// Whether it counts for [`Limits::streams`]: whether programs stream along it. The other ends
    /// carry what is too large for one record. Each of these may stay for as long as its call does,
    /// and its bytes count for [`Limits::call_bytes`], [`Limits::message_bytes`] or
    /// [`Limits::reply_bytes`]. If they counted here as well, tiny calls that claim to be large
    /// could keep every program from streaming.
    fn counts(id: &StreamId) -> bool {
        id.is_of_programs()
    }
}

/// What a receiving end says to the sender of its stream, over one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Feedback {
    pub(super) link: LinkId,
    id: StreamId,
    says: Says,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// How far the sender may go.
    Credit(Credit),
    /// The program takes no more.
    Stop,
}

impl Feedback {
    /// Appends the record that says it.
    pub(super) fn encode(&self, sequence: u64, out: &mut Vec<u8>) {
        let of = self.id.of();
        match self.says {
            Says::Credit(Credit { received, limit }) => {
                encode_credit(sequence, of, received, limit, out);
            }
            Says::Stop => encode_stop(sequence, of, b"the receiver takes no more", out),
        }
    }
}

/// All ends of streams of this node.
#[derive(Debug)]
pub(super) struct Streams {
    open: Table<StreamId, Box<Stream>>,
    /// How many of them count for [`Limits::streams`].
    counted: usize,
    /// Those that have something to send; one that has ended meanwhile may still stand here.
    line: VecDeque<StreamId>,
    /// When to go on with the line.
    due: Time,
}

impl Default for Streams {
    fn default() -> Streams {
        Streams {
            open: Table::default(),
            counted: 0,
            line: VecDeque::new(),
            due: Time::NEVER,
        }
    }
}

/// The streams that there are, and those that there is room for.
impl Streams {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether an end of a stream is open.
    pub(super) fn is_open(&self, id: StreamId) -> bool {
        self.open.contains_key(&id)
    }

    fn sending(&mut self, id: StreamId) -> Option<&mut SendingEnd> {
        match &mut self.open.get_mut(&id)?.end {
            End::Sending(out) => Some(out),
            End::Receiving(_) => None,
        }
    }

    fn receiving(&mut self, id: StreamId) -> Option<&mut ReceivingEnd> {
        match &mut self.open.get_mut(&id)?.end {
            End::Receiving(into) => Some(into),
            End::Sending(_) => None,
        }
    }

    fn add(&mut self, id: StreamId, peer: Instance, end: End) {
        self.remove(id);
        let stream = Box::new(Stream { peer, end });
        self.counted += usize::from(Stream::counts(&id));
        self.open.insert(id, stream);
    }

    fn remove(&mut self, id: StreamId) {
        if self.open.remove(&id).is_some() {
            self.counted -= usize::from(Stream::counts(&id));
        }
    }

    /// The ends that count for [`Limits::streams`].
    fn ends_that_count(&self) -> impl Iterator<Item = (&StreamId, &Stream)> {
        let open = self.open.iter().map(|(id, stream)| (id, &**stream));
        open.filter(|(id, _)| Stream::counts(id))
    }

    /// Whether `count` more ends may be opened for a call of this node.
    pub(super) fn has_room(&self, count: usize, limits: &Limits) -> bool {
        self.counted + count <= limits.streams
    }

    /// Whether `count` more ends may be opened for a call of `caller`. The callers that `shares`
    /// says yes to come from the same source.
    pub(super) fn has_room_for(
        &self,
        count: usize,
        caller: Instance,
        shares: impl Fn(Instance) -> bool,
        limits: &Limits,
    ) -> bool {
        let callers = self.ends_that_count().map(|(id, _)| id.call.caller);
        let taken = Taken {
            all: self.counted,
            source: callers.filter(|caller| shares(*caller)).count(),
            caller: self
                .ends_that_count()
                .filter(|(_, s)| s.peer == caller)
                .count(),
        };
        taken.leaves_room(count, limits.streams)
    }

    /// Opens the two streams of a call that a program of this node makes.
    pub(super) fn open_for_own(&mut self, call: RequestId, limits: &Limits) {
        let up = End::Sending(SendingEnd::default());
        let down = End::Receiving(ReceivingEnd::open(limits.stream_window as u64));
        self.add(call.stream(Channel::Request), call.caller, up);
        self.add(call.stream(Channel::Response), call.caller, down);
    }

    /// Opens the two streams of a call that came. Nothing may be streamed to it before its program
    /// takes the stream.
    pub(super) fn open_for_request(&mut self, call: RequestId) {
        let up = End::Receiving(ReceivingEnd::default());
        let down = End::Sending(SendingEnd::default());
        self.add(call.stream(Channel::Request), call.caller, up);
        self.add(call.stream(Channel::Response), call.caller, down);
    }

    /// The program of a call that came takes what is streamed to it from now on.
    pub(super) fn accept(&mut self, call: RequestId, limits: &Limits) -> Option<Feedback> {
        let id = call.stream(Channel::Request);
        let into = self.receiving(id)?;
        into.accept(limits.stream_window as u64);
        let link = into.link()?;
        self.go_on_over(id, link)
    }

    /// Sends `bytes`, which are too large for one record, on a stream of their own.
    pub(super) fn send_whole(
        &mut self,
        id: StreamId,
        peer: Instance,
        bytes: Vec<u8>,
        limits: &Limits,
    ) {
        let out = SendingEnd::whole(bytes, limits.chunk_size);
        self.add(id, peer, End::Sending(out));
    }

    /// Takes `length` bytes, which are too large for one record, on a stream of their own.
    pub(super) fn expect(&mut self, id: StreamId, peer: Instance, length: u64, limits: &Limits) {
        let into = ReceivingEnd::expecting(length, limits.stream_window as u64);
        self.add(id, peer, End::Receiving(into));
    }

    /// The value of a call of this node comes on a stream of its own, unless it does so already.
    /// The error says why there is no room for it: all values that are coming share
    /// [`Limits::message_bytes`], and those of one peer half of that.
    pub(super) fn expect_value(
        &mut self,
        ctx: &mut Ctx<'_>,
        call: RequestId,
        peer: Instance,
        length: u64,
    ) -> Result<(), Error> {
        let (id, limits) = (call.stream(Channel::Value), &ctx.config.limits);
        if self.receiving(id).is_some() {
            return Ok(());
        }
        if length > limits.max_message as u64 {
            // Not the error for what is asked, since the command ran.
            return Err(Error::AnswerLost("it is larger than max_message"));
        }
        let (mut all, mut its) = (0, 0);
        for (other, stream) in self.open.iter() {
            if let (Channel::Value, End::Receiving(into)) = (other.channel, &stream.end) {
                let bytes = into.expected().unwrap_or(0);
                all += bytes;
                its += if stream.peer == peer { bytes } else { 0 };
            }
        }
        let limit = limits.message_bytes as u64;
        if all + length > limit || its + length > limit / 2 {
            ctx.stats.overloaded += 1;
            return Err(Error::AnswerLost("too many large answers are coming"));
        }
        self.expect(id, peer, length, limits);
        Ok(())
    }

    /// What has come so far on a stream which carries something too large for one record.
    pub(super) fn begun(&mut self, id: StreamId) -> &[u8] {
        self.receiving(id).map_or(&[], |into| into.begun())
    }

    /// Takes all that came on a stream which carried something too large for one record, or why it
    /// broke off. The stream is removed.
    pub(super) fn take_whole(&mut self, id: StreamId) -> Option<Result<Vec<u8>, Error>> {
        let into = self.receiving(id)?;
        let whole = match into.failure() {
            None => Ok(into.take_all()),
            Some(why) => Err(why.clone()),
        };
        self.remove(id);
        Some(whole)
    }

    /// How a stream to this node ended; `None` while more is to come. One that is not open has
    /// nothing to add.
    pub(super) fn ended(&mut self, id: StreamId) -> Option<Result<(), Error>> {
        match self.receiving(id) {
            None => Some(Ok(())),
            Some(into) if !into.is_ended() => None,
            Some(into) => Some(into.failure().cloned().map_or(Ok(()), Err)),
        }
    }

    /// The peers that a call of theirs still owes the end of its answer to.
    pub(super) fn unfinished_answers(&self, own: Instance) -> impl Iterator<Item = Instance> {
        self.open.iter().filter_map(move |(id, stream)| {
            let is_answer = matches!(id.channel, Channel::Response | Channel::Value);
            let owes = matches!(&stream.end, End::Sending(out) if out.owes_end());
            (is_answer && owes && id.call.caller != own).then_some(stream.peer)
        })
    }

    /// The calls of one caller that have streams here.
    pub(super) fn calls_of(&self, caller: Instance) -> Vec<RequestId> {
        let first = RequestId { caller, number: 0 }.stream(Channel::Request);
        let calls = self.open.from(&first).map(|(id, _)| id.call);
        let mut calls: Vec<RequestId> = calls.take_while(|call| call.caller == caller).collect();
        calls.dedup();
        calls
    }

    /// A call is over, and so are its streams. What has come can still be read by a program that
    /// reads it.
    pub(super) fn end(&mut self, outputs: &mut VecDeque<Output>, over: CallOver<'_>) {
        for channel in [
            Channel::Request,
            Channel::Response,
            Channel::Ask,
            Channel::Value,
        ] {
            let id = over.call.stream(channel);
            if over.reads
                && id.is_of_programs()
                && let Some(into) = self.receiving(id)
            {
                into.cut_off(over.why.unwrap_or("the call is over"));
                self.wake(outputs, id);
            } else {
                self.wake(outputs, id);
                self.remove(id);
            }
        }
    }

    /// Tells the program of a stream that it waits for, if it does.
    fn wake(&mut self, outputs: &mut VecDeque<Output>, id: StreamId) {
        let waits = match self.open.get_mut(&id).map(|stream| &mut stream.end) {
            Some(End::Sending(out)) => out.take_waits(),
            Some(End::Receiving(into)) => into.take_waits(),
            None => false,
        };
        if waits {
            outputs.push_back(Output::Stream(id));
        }
    }
}

/// What programs do with their streams.
impl Streams {
    /// Takes as much of `bytes` as there is room for, and says how much that was.
    pub(super) fn write(
        &mut self,
        id: StreamId,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<usize, Error> {
        let (window, chunk) = (limits.stream_window as u64, limits.chunk_size);
        let n = self
            .sending(id)
            .ok_or_else(call_is_over)?
            .write(bytes, window, chunk)?;
        if n > 0 {
            self.line_up(id);
        }
        Ok(n)
    }

    /// All of a stream was written.
    pub(super) fn finish(&mut self, id: StreamId) {
        if let Some(out) = self.sending(id) {
            out.finish();
            self.line_up(id);
        }
    }

    /// A stream breaks off.
    pub(super) fn abort(&mut self, id: StreamId, why: &str) {
        if let Some(out) = self.sending(id) {
            out.abort(why);
            self.line_up(id);
        }
    }

    /// The program lets go of a stream that it has not finished, which breaks the stream off. A
    /// command that has streamed nothing may still succeed: its answer decides.
    pub(super) fn let_go(&mut self, id: StreamId, own: Instance) {
        if let Some(out) = self.sending(id)
            && (id.call.caller == own || !out.is_unused())
        {
            self.abort(id, "the sender gave it up");
        }
    }

    /// Reads what has come of a stream into `buf`.
    pub(super) fn read(&mut self, id: StreamId, buf: &mut [u8]) -> Result<Read, Error> {
        let into = self.receiving(id).ok_or_else(call_is_over)?;
        let bytes = into.read(buf)?;
        let link = into.link();
        let feedback = link.and_then(|link| {
            let says = Says::Credit(into.credit_due()?);
            Some(Feedback { link, id, says })
        });
        Ok(Read { bytes, feedback })
    }

    /// The program reads no more of a stream. `None` if the stream is not open.
    pub(super) fn close(&mut self, outputs: &mut VecDeque<Output>, id: StreamId) -> Option<Closed> {
        let into = self.receiving(id)?;
        let link = into.link().filter(|_| !into.is_ended());
        // A thread that waits for something to read learns that nothing will come.
        self.wake(outputs, id);
        self.remove(id);
        let says = Says::Stop;
        Some(Closed {
            feedback: link.map(|link| Feedback { link, id, says }),
        })
    }
}

/// What a program has read of a stream.
pub(super) struct Read {
    /// How many bytes; 0 at the end of the stream, `None` if the program has to wait.
    pub(super) bytes: Option<usize>,
    /// What the sender is told, if it is to be told anything.
    pub(super) feedback: Option<Feedback>,
}

/// A stream was open and is not read any more.
pub(super) struct Closed {
    /// What its sender is told, if it is to be told anything.
    pub(super) feedback: Option<Feedback>,
}

/// The sessions that streams go over.
impl Streams {
    /// A call of this node is sent to `peer`, which is where its streams lead.
    pub(super) fn bind(&mut self, call: RequestId, peer: Instance) {
        for channel in [
            Channel::Request,
            Channel::Ask,
            Channel::Response,
            Channel::Value,
        ] {
            if let Some(stream) = self.open.get_mut(&call.stream(channel)) {
                stream.peer = peer;
            }
        }
    }

    /// A session has ended: what went over it waits for another one.
    pub(super) fn unlink(&mut self, link: LinkId) {
        for (_, stream) in self.open.iter_mut() {
            match &mut stream.end {
                End::Sending(out) => out.unlink(link),
                End::Receiving(into) => into.unlink(link),
            }
        }
    }

    /// A stream to this node goes on over `link`, if it is open.
    pub(super) fn go_on_over(&mut self, id: StreamId, link: LinkId) -> Option<Feedback> {
        let into = self.receiving(id)?;
        into.set_link(link);
        if into.is_ended() {
            return None;
        }
        let says = Says::Credit(into.credit()?);
        Some(Feedback { link, id, says })
    }

    /// The same for a stream that a program reads, if `reads` says so. If the stream is not open
    /// any more, the program has stopped reading while there was no session to say so.
    pub(super) fn resume(&mut self, id: StreamId, link: LinkId, reads: bool) -> Option<Feedback> {
        if reads && self.receiving(id).is_none() {
            let says = Says::Stop;
            return Some(Feedback { link, id, says });
        }
        self.go_on_over(id, link)
    }
}
