//! Streams of calls: what programs stream to each other, and what is too large for one record.
//!
//! A stream belongs to a call and is known by it, so that it outlives a session: when the call is sent
//! again over another path, each receiving end says over that path how much it has, and its sender goes
//! on from there. Nothing is sent that was not granted; whatever comes that was not granted, or out of
//! place, ends the session it came in.

use super::links::{Source, Taken};
use super::stream::{Incoming, Outgoing, Piece, Violation};
use super::{Engine, LinkId, Now, Output, RequestId, Time};
use crate::error::Error;
use crate::limits::{FRAME_MAX, STREAM_QUEUE};
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::record::{
    Body, Channel, CloseReason, Of, Outcome, encode_credit, encode_data, encode_end, encode_stop,
};
use std::collections::VecDeque;

/// One stream of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Whose call, and which.
    pub call: RequestId,
    /// Which of its streams.
    pub channel: Channel,
}

impl StreamId {
    fn of(&self) -> Of {
        (self.channel, self.call.number)
    }
}

#[derive(Debug)]
enum End {
    Out(Outgoing),
    In(Incoming),
}

#[derive(Debug)]
struct Stream {
    peer: Instance,
    end: End,
}

#[derive(Debug)]
pub(super) struct Streams {
    open: Table<StreamId, Box<Stream>>,
    /// Those that have something to send.
    ready: VecDeque<StreamId>,
    /// When to go on with them.
    due: Time,
}

impl Default for Streams {
    fn default() -> Streams {
        Streams {
            open: Table::default(),
            ready: VecDeque::new(),
            due: Time::NEVER,
        }
    }
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// When to go on with what waits to be sent.
    pub(super) fn due(&self) -> Time {
        self.due
    }

    fn count_of(&self, peer: Instance) -> usize {
        self.open.values().filter(|s| s.peer == peer).count()
    }

    /// Those of calls whose callers `counts` says yes to.
    fn count_of_callers(&self, counts: impl Fn(Instance) -> bool) -> usize {
        let callers = self.open.keys().map(|id| id.call.caller);
        callers.filter(|caller| counts(*caller)).count()
    }

    /// Bytes of large answers that are coming, from all and from one.
    pub(super) fn expected(&self, peer: Instance) -> (u64, u64) {
        let (mut all, mut its) = (0, 0);
        for (id, stream) in self.open.iter() {
            if let (Channel::Value, End::In(into)) = (id.channel, &stream.end) {
                let bytes = into.expected().unwrap_or(0);
                all += bytes;
                its += if stream.peer == peer { bytes } else { 0 };
            }
        }
        (all, its)
    }

    pub(super) fn outgoing(&mut self, id: StreamId) -> Option<&mut Outgoing> {
        match &mut self.open.get_mut(&id)?.end {
            End::Out(out) => Some(out),
            End::In(_) => None,
        }
    }

    pub(super) fn incoming(&mut self, id: StreamId) -> Option<&mut Incoming> {
        match &mut self.open.get_mut(&id)?.end {
            End::In(into) => Some(into),
            End::Out(_) => None,
        }
    }

    pub(super) fn add_outgoing(&mut self, id: StreamId, peer: Instance, out: Outgoing) {
        let end = End::Out(out);
        self.open.insert(id, Box::new(Stream { peer, end }));
    }

    pub(super) fn add_incoming(&mut self, id: StreamId, peer: Instance, into: Incoming) {
        let end = End::In(into);
        self.open.insert(id, Box::new(Stream { peer, end }));
    }

    pub(super) fn remove(&mut self, id: StreamId) {
        self.open.remove(&id);
    }

    /// The peers that wait for the end of what answers a call of theirs.
    pub(super) fn unfinished_answers(&self, own: Instance) -> impl Iterator<Item = Instance> {
        let answers = move |(id, stream): (&StreamId, &Stream)| {
            let answer = matches!(id.channel, Channel::Response | Channel::Value);
            let unsent = matches!(&stream.end, End::Out(out) if out.owes_end());
            (answer && unsent && id.call.caller != own).then_some(stream.peer)
        };
        let open = self.open.iter().map(|(id, stream)| (id, &**stream));
        open.filter_map(answers)
    }

    /// A session is over: what went over it waits for another.
    pub(super) fn unlink(&mut self, link: LinkId) {
        for (_, stream) in self.open.iter_mut() {
            let over = match &mut stream.end {
                End::Out(out) => &mut out.link,
                End::In(into) => &mut into.link,
            };
            *over = over.filter(|l| *l != link);
        }
    }

    /// Whom a call's stream is with turns out once the call is sent.
    pub(super) fn bind(&mut self, id: StreamId, peer: Instance) {
        if let Some(stream) = self.open.get_mut(&id) {
            stream.peer = peer;
        }
    }
}

impl Engine {
    /// A stream of a call of ours.
    pub(super) fn own_stream(&self, number: u64, channel: Channel) -> StreamId {
        let caller = self.core.instance;
        let call = RequestId { caller, number };
        StreamId { call, channel }
    }

    /// Whether that many more ends may be opened for a call of this node's own.
    pub(super) fn has_room_for_streams(&self, count: usize) -> bool {
        self.streams.len() + count <= self.core.config.limits.streams
    }

    /// Whether they may for a call of `caller`, which came from `source`.
    pub(super) fn has_room_for_streams_of(
        &self,
        count: usize,
        caller: Instance,
        source: Source,
    ) -> bool {
        let is_of_source = |c| self.serving.is_of_source(c, source);
        let taken = Taken {
            all: self.streams.len(),
            source: self.streams.count_of_callers(is_of_source),
            caller: self.streams.count_of(caller),
        };
        taken.leaves_room(count, self.core.config.limits.streams)
    }

    pub(super) fn stream_window(&self) -> u64 {
        self.core.config.limits.stream_window as u64
    }

    /// Writes to a stream of ours; how much of `bytes` was taken. With 0, [`Output::Stream`] tells when to
    /// try again.
    pub fn stream_write(&mut self, now: Now, id: StreamId, bytes: &[u8]) -> Result<usize, Error> {
        let (window, chunk) = (self.stream_window(), self.core.config.limits.chunk_size);
        let out = self.streams.outgoing(id).ok_or_else(call_is_over)?;
        let n = out.write(bytes, window, chunk)?;
        if n > 0 {
            self.send_stream(now, id);
        }
        Ok(n)
    }

    /// Says that all of a stream was written.
    pub fn stream_finish(&mut self, now: Now, id: StreamId) {
        if let Some(out) = self.streams.outgoing(id) {
            out.finish();
            self.send_stream(now, id);
        }
    }

    /// Breaks a stream of ours off, and says why.
    pub fn stream_abort(&mut self, now: Now, id: StreamId, why: &str) {
        if let Some(out) = self.streams.outgoing(id) {
            out.abort(why);
            self.send_stream(now, id);
        }
    }

    /// The program lets go of a stream of ours that it has not finished: that breaks it off. A command that
    /// has streamed nothing may still succeed: its answer decides.
    pub fn stream_let_go(&mut self, now: Now, id: StreamId) {
        let own = id.call.caller == self.core.instance;
        if let Some(out) = self.streams.outgoing(id)
            && (own || !out.is_unused())
        {
            self.stream_abort(now, id, "the sender gave it up");
        }
    }

    /// Reads what has come of a stream into `buf`; 0 at its end. With `None`, [`Output::Stream`] tells when
    /// to try again.
    pub fn stream_read(
        &mut self,
        now: Now,
        id: StreamId,
        buf: &mut [u8],
    ) -> Result<Option<usize>, Error> {
        let into = self.streams.incoming(id).ok_or_else(call_is_over)?;
        let got = into.read(buf)?;
        let credit = into.link.zip(into.credit_due());
        if let Some((link, credit)) = credit {
            self.send_credit(now, link, id, credit);
        }
        Ok(got)
    }

    /// The program reads no more of a stream, whatever may come.
    pub fn stream_close(&mut self, now: Now, id: StreamId) {
        let Some(into) = self.streams.incoming(id) else {
            return;
        };
        let (link, ended) = (into.link, into.is_ended());
        // Whoever waits for something to read is told that nothing will come.
        self.wake_stream(id);
        self.streams.remove(id);
        if let Some(link) = link.filter(|_| !ended) {
            self.send_stop(now, link, id);
        }
        self.end_if_complete(now, id);
    }

    fn send_stop(&mut self, now: Now, link: LinkId, id: StreamId) {
        if !self.is_read(now, link) {
            return;
        }
        self.send_record(now, link, |sequence, out| {
            encode_stop(sequence, id.of(), b"the receiver takes no more", out);
        });
    }

    /// As [`Engine::sync_incoming`], for a stream that a program reads, if it does; it may have stopped
    /// while there was no session to say so.
    pub(super) fn resume_incoming(&mut self, now: Now, link: LinkId, id: StreamId, reads: bool) {
        if reads && self.streams.incoming(id).is_none() {
            self.send_stop(now, link, id);
        } else {
            self.sync_incoming(now, link, id);
        }
    }

    /// The session a stream's records go over.
    pub(super) fn sync_incoming(&mut self, now: Now, link: LinkId, id: StreamId) {
        let Some(into) = self.streams.incoming(id) else {
            return;
        };
        into.link = Some(link);
        if into.is_ended() {
            return;
        }
        if let Some(credit) = into.credit() {
            self.send_credit(now, link, id, credit);
        }
    }

    fn send_credit(&mut self, now: Now, link: LinkId, id: StreamId, (received, limit): (u64, u64)) {
        if !self.is_read(now, link) {
            return;
        }
        self.send_record(now, link, |sequence, out| {
            encode_credit(sequence, id.of(), received, limit, out);
        });
    }

    /// Whether a link's peer reads what it is sent. What streams say of themselves is sent without waiting for
    /// room, and is small; a peer that makes us say it over and over and reads none of it is closed.
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

    /// Puts a stream in line to be sent, and sends what can be.
    pub(super) fn send_stream(&mut self, now: Now, id: StreamId) {
        if let Some(out) = self.streams.outgoing(id)
            && !out.queued
            && out.has_next()
        {
            out.queued = true;
            self.streams.ready.push_back(id);
        }
        self.pump_streams(now);
    }

    /// A link takes more: what streams have goes on with the next tick, so that one input leads to no more
    /// than a queue of work, and whoever else wants the engine has it in between.
    pub(super) fn streams_go_on(&mut self, now: Now) {
        if !self.streams.ready.is_empty() {
            self.streams.due = now.at;
        }
    }

    pub(super) fn tick_streams(&mut self, now: Now) {
        self.streams.due = Time::NEVER;
        self.pump_streams(now);
    }

    /// Sends what streams have, a piece of each in turn, as far as their links take it.
    pub(super) fn pump_streams(&mut self, now: Now) {
        let mut idle = 0;
        while idle < self.streams.ready.len() {
            let Some(id) = self.streams.ready.pop_front() else {
                return;
            };
            let Some(out) = self.streams.outgoing(id) else {
                continue;
            };
            let Some(link) = out.link.filter(|_| out.has_next()) else {
                out.queued = false;
                continue;
            };
            idle += 1;
            if self.takes_stream(link) {
                self.send_piece(now, link, id);
                idle = 0;
            }
            self.streams.ready.push_back(id);
        }
    }

    /// Whether a link takes more of streams, and leaves room for a short call.
    fn takes_stream(&self, link: LinkId) -> bool {
        self.takes_more(link) && self.waits_on(link) < STREAM_QUEUE
    }

    fn send_piece(&mut self, now: Now, link: LinkId, id: StreamId) {
        let Some((sequence, kind)) = self.session(link).map(|s| (s.next_sequence(), s.kind()))
        else {
            return;
        };
        let of = id.of();
        let mut is_end = true;
        // Lent out while the record is made.
        let mut streams = std::mem::take(&mut self.streams);
        self.plain.clear();
        if let Some(out) = streams.outgoing(id) {
            let mut digest = None;
            match out.next() {
                Some(Piece::Data(offset, bytes, hash)) => {
                    encode_data(sequence, of, offset, bytes, &mut self.plain);
                    digest = hash.map(|hash| (self.plain.len() - bytes.len(), hash));
                    self.core.stats.stream_bytes_out += bytes.len() as u64;
                    is_end = false;
                }
                Some(Piece::Whole(length, digest)) => {
                    let whole = Outcome::Whole(&digest);
                    encode_end(sequence, of, length, &whole, &mut self.plain);
                }
                Some(Piece::Broken(length, why)) => {
                    let broken = Outcome::Broken(why.as_bytes());
                    encode_end(sequence, of, length, &broken, &mut self.plain);
                }
                None => {}
            }
            if !self.plain.is_empty() {
                self.send_plain_record(now, link, kind, digest);
                out.sent();
            }
        }
        self.streams = streams;
        if is_end {
            self.await_echo(now, link);
        }
    }

    /// The stream that a record of `link`'s peer is about, as its sender or as its receiver. One that is
    /// over is counted; of one that never was, nobody honest speaks.
    fn find_stream(
        &mut self,
        now: Time,
        link: LinkId,
        (channel, number): Of,
        by_sender: bool,
    ) -> Result<Option<StreamId>, Violation> {
        let next = self.calls.next_number();
        let Some(session) = self.session(link) else {
            return Ok(None);
        };
        session.used = now;
        let (peer, heard) = (session.peer, session.last_call);
        let (caller, was) = if channel.is_callers() == by_sender {
            (peer, heard.is_some_and(|heard| number <= heard))
        } else {
            (self.core.instance, number < next)
        };
        let call = RequestId { caller, number };
        let id = StreamId { call, channel };
        match self.streams.open.get(&id) {
            Some(stream) if stream.peer == peer => Ok(Some(id)),
            Some(_) => Err(Violation),
            None if was => {
                self.core.stats.stream_stray += 1;
                Ok(None)
            }
            None => Err(Violation),
        }
    }

    /// The peer broke a rule: nothing it says from here on could be told from a lie.
    pub(super) fn violation(&mut self, now: Now, link: LinkId) {
        self.core.stats.refused_stream += 1;
        self.close_session(now, link, CloseReason::Violation);
    }

    /// A record about a stream came.
    pub(super) fn stream_record(
        &mut self,
        now: Now,
        link: LinkId,
        record: Body<'_>,
    ) -> Result<(), Violation> {
        match record {
            Body::Data { of, offset, bytes } => self.stream_data(now, link, of, offset, bytes),
            Body::End {
                of,
                length,
                outcome,
            } => self.stream_end(now, link, of, length, outcome),
            Body::Credit {
                of,
                received,
                limit,
            } => self.stream_credit(now, link, of, received, limit),
            Body::Stop { of, why } => self.stream_stop(now, link, of, why),
            _ => Ok(()),
        }
    }

    /// A piece of a stream came.
    fn stream_data(
        &mut self,
        now: Now,
        link: LinkId,
        of: Of,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let Some(id) = self.find_stream(now.at, link, of, true)? else {
            return Ok(());
        };
        let into = self.streams.incoming(id).ok_or(Violation)?;
        if into.link != Some(link) {
            self.core.stats.stream_stray += 1;
            return Ok(());
        }
        into.data(offset, bytes)?;
        let mut credit = None;
        if matches!(id.channel, Channel::Ask | Channel::Value) {
            into.keep();
            credit = into.credit_due();
        }
        self.core.stats.stream_bytes_in += bytes.len() as u64;
        if let Some(credit) = credit {
            self.send_credit(now, link, id, credit);
        }
        self.stream_moved(now, id);
        Ok(())
    }

    /// A stream's sender says that it is over.
    fn stream_end(
        &mut self,
        now: Now,
        link: LinkId,
        of: Of,
        length: u64,
        outcome: Outcome<'_>,
    ) -> Result<(), Violation> {
        let Some(id) = self.find_stream(now.at, link, of, true)? else {
            return Ok(());
        };
        let into = self.streams.incoming(id).ok_or(Violation)?;
        if into.link != Some(link) {
            self.core.stats.stream_stray += 1;
            return Ok(());
        }
        match outcome {
            Outcome::Whole(digest) => into.whole(length, digest)?,
            Outcome::Broken(_) if into.is_ended() => return Err(Violation),
            Outcome::Broken(why) => into.fail(&said(why, "the sender broke it off")),
        }
        self.stream_moved(now, id);
        match id.channel {
            Channel::Ask => self.ask_came(now, id),
            Channel::Value => self.value_came(now, id),
            Channel::Request | Channel::Response => self.end_if_complete(now, id),
        }
        Ok(())
    }

    /// A stream's receiver says how far it may be sent.
    fn stream_credit(
        &mut self,
        now: Now,
        link: LinkId,
        of: Of,
        received: u64,
        limit: u64,
    ) -> Result<(), Violation> {
        let Some(id) = self.find_stream(now.at, link, of, false)? else {
            return Ok(());
        };
        let out = self.streams.outgoing(id).ok_or(Violation)?;
        if out.credit(link, received, limit)? {
            self.stream_moved(now, id);
        }
        self.send_stream(now, id);
        Ok(())
    }

    /// A stream's receiver takes no more.
    fn stream_stop(&mut self, now: Now, link: LinkId, of: Of, why: &[u8]) -> Result<(), Violation> {
        let Some(id) = self.find_stream(now.at, link, of, false)? else {
            return Ok(());
        };
        let out = self.streams.outgoing(id).ok_or(Violation)?;
        if out.stop(said(why, "the receiver takes no more")) {
            self.stream_moved(now, id);
        }
        Ok(())
    }

    /// Something passed: the program is told if it waits for that, and the call has longer.
    fn stream_moved(&mut self, now: Now, id: StreamId) {
        self.wake_stream(id);
        if matches!(id.channel, Channel::Request | Channel::Response) {
            if id.call.caller == self.core.instance {
                self.calls.moved(now.at, id.call.number);
            } else {
                self.serving.moved(now.at, id.call);
            }
        }
    }

    /// Tells the program of a stream that it waits for.
    pub(super) fn wake_stream(&mut self, id: StreamId) {
        let Some(stream) = self.streams.open.get_mut(&id) else {
            return;
        };
        let waits = match &mut stream.end {
            End::Out(out) => &mut out.waits,
            End::In(into) => &mut into.waits,
        };
        if std::mem::take(waits) {
            self.core.outputs.push_back(Output::Stream(id));
        }
    }

    /// A call is over, and so is what it streams. What has come can still be read by a program that does.
    pub(super) fn end_streams(&mut self, call: RequestId, why: Option<&str>, read: bool) {
        for channel in [
            Channel::Request,
            Channel::Response,
            Channel::Ask,
            Channel::Value,
        ] {
            let id = StreamId { call, channel };
            let Some(stream) = self.streams.open.get_mut(&id) else {
                continue;
            };
            match &mut stream.end {
                End::In(into) if read && !matches!(channel, Channel::Ask | Channel::Value) => {
                    into.link = None;
                    into.fail(why.unwrap_or("the call is over"));
                    self.wake_stream(id);
                }
                _ => {
                    let waits = match &stream.end {
                        End::Out(out) => out.waits,
                        End::In(into) => into.waits,
                    };
                    self.streams.remove(id);
                    if waits {
                        self.core.outputs.push_back(Output::Stream(id));
                    }
                }
            }
        }
    }

    /// The streams of a peer's calls, which is gone, go no further.
    pub(super) fn fail_streams_of(&mut self, now: Now, peer: Instance) {
        let calls: Vec<RequestId> = self
            .streams
            .open
            .keys()
            .filter(|id| id.call.caller == peer)
            .map(|id| id.call)
            .collect();
        for call in calls {
            let reads = self.serving.reads(call);
            self.end_streams(call, Some("the caller is gone"), reads);
            self.stop_collecting(now, call);
        }
    }
}

/// Why a stream ended as the peer says, or in words of our own if it says nothing.
fn said(why: &[u8], nothing: &str) -> String {
    match why {
        [] => nothing.to_owned(),
        why => String::from_utf8_lossy(why).into_owned(),
    }
}

pub(super) fn call_is_over() -> Error {
    Error::Broken {
        arrived: 0,
        why: "the call is over, and how it ended says why".into(),
    }
}
