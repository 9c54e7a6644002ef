//! The line of the streams that have something to send: a piece of each in turn.

use super::ends::{Piece, SendingEnd};
use super::{LinkId, StreamId, Streams, Time};
use crate::wire::record::{Outcome, encode_data, encode_end};

/// One piece of a stream, as it stands in the record that was put together.
pub(crate) struct Encoded {
    /// Bytes of the stream.
    pub(crate) bytes: usize,
    /// Whether the record says how the stream ends.
    pub(crate) is_end: bool,
}

impl Streams {
    /// When to go on with the line.
    pub(crate) fn due(&self) -> Time {
        self.due
    }

    /// A link takes more: the line goes on with the next tick, so that one input leads to no more
    /// than a queue of work, and other threads have the engine in between.
    pub(crate) fn go_on_at(&mut self, now: Time) {
        if !self.line.is_empty() {
            self.due = now;
        }
    }

    /// The line goes on now, so it is not due any more.
    pub(crate) fn clear_due(&mut self) {
        self.due = Time::NEVER;
    }

    pub(super) fn line_up(&mut self, id: StreamId) {
        if self.sending(id).is_some_and(SendingEnd::line_up) {
            self.line.push_back(id);
        }
    }

    pub(crate) fn in_line(&self) -> usize {
        self.line.len()
    }

    /// Takes the first stream that can send out of the line, with the link that it goes over. Those
    /// before it that cannot have left the line.
    pub(crate) fn next_in_line(&mut self) -> Option<(StreamId, LinkId)> {
        while let Some(id) = self.line.pop_front() {
            let Some(out) = self.sending(id) else {
                continue;
            };
            match out.link().filter(|_| out.has_next()) {
                Some(link) => return Some((id, link)),
                None => out.leave_line(),
            }
        }
        None
    }

    /// A stream that was taken out of the line has had its turn.
    pub(crate) fn back_in_line(&mut self, id: StreamId) {
        self.line.push_back(id);
    }

    /// Appends the record that carries the next piece of a stream.
    pub(crate) fn encode_next(
        &mut self,
        id: StreamId,
        sequence: u64,
        out: &mut Vec<u8>,
    ) -> Option<Encoded> {
        let of = id.of();
        let (mut bytes, mut is_end) = (0, true);
        match self.sending(id)?.next()? {
            Piece::Data {
                offset,
                bytes: piece,
            } => {
                encode_data(sequence, of, offset, piece, out);
                (bytes, is_end) = (piece.len(), false);
            }
            Piece::Whole { length } => {
                encode_end(sequence, of, length, &Outcome::Whole, out);
            }
            Piece::Broken { length, why } => {
                let broken = Outcome::Broken(why.as_bytes());
                encode_end(sequence, of, length, &broken, out);
            }
        }
        Some(Encoded { bytes, is_end })
    }

    /// The piece was sealed.
    pub(crate) fn sent(&mut self, id: StreamId) {
        if let Some(out) = self.sending(id) {
            out.sent();
        }
    }
}
