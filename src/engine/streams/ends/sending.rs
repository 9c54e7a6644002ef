//! The sending end of a stream.

use super::{Credit, PIECE_ROOM, Violation};
use crate::error::Error;
use crate::limits::{REASON_MAX, STREAM_WINDOW_MAX};
use crate::protocol::LinkId;
use std::collections::VecDeque;

/// Bytes of unused room that a whole message gives back while it is cut into pieces.
const SLACK: usize = 256 * 1024;

/// How a stream ends, at its sender.
#[derive(Clone, Debug)]
enum Ending {
    Whole,
    Broken(String),
}

/// What to send next.
pub(crate) enum Piece<'a> {
    Data {
        /// Where the piece begins.
        offset: u64,
        bytes: &'a [u8],
    },
    Whole {
        length: u64,
    },
    Broken {
        length: u64,
        why: &'a str,
    },
}

/// The sending end.
#[derive(Debug, Default)]
pub(crate) struct SendingEnd {
    /// What the receiver has not acknowledged; the first chunk begins at `base`.
    chunks: VecDeque<Vec<u8>>,
    base: u64,
    /// How many of the chunks were sent over `link`, and where the next one begins.
    sent: usize,
    at: u64,
    /// How far the stream was ever sent, over whatever link.
    top: u64,
    written: u64,
    limit: u64,
    link: Option<LinkId>,
    end: Option<Ending>,
    end_sent: bool,
    stopped: Option<String>,
    /// Whether the program waits for room.
    waits: bool,
    /// Whether the stream stands in line to be sent.
    queued: bool,
    /// The room of the last acknowledged chunk, for the next one.
    spare: Vec<u8>,
}

impl SendingEnd {
    /// A stream that consists of `bytes`. They are cut from the end, so that their room is given
    /// back on the way and they are never held twice.
    pub(crate) fn whole(mut bytes: Vec<u8>, chunk: usize) -> SendingEnd {
        let mut out = SendingEnd {
            written: bytes.len() as u64,
            ..SendingEnd::default()
        };
        while !bytes.is_empty() {
            let at = (bytes.len() - 1) / chunk * chunk;
            out.chunks.push_front(bytes[at..].to_vec());
            bytes.truncate(at);
            if bytes.capacity() - bytes.len() > SLACK {
                bytes.shrink_to_fit();
            }
        }
        out.finish();
        out
    }

    fn push(&mut self, mut bytes: &[u8], chunk: usize) {
        while !bytes.is_empty() {
            let begins = |last: &Vec<u8>| self.written - last.len() as u64;
            // A chunk that was sent must stay as it is: if it is sent again, the receiver expects
            // the same bytes.
            let open = |last: &Vec<u8>| last.len() < chunk && begins(last) >= self.top;
            if !self.chunks.back().is_some_and(open) {
                let mut fresh = std::mem::take(&mut self.spare);
                fresh.clear();
                self.chunks.push_back(fresh);
            }
            if let Some(last) = self.chunks.back_mut() {
                let (now, rest) = bytes.split_at(bytes.len().min(chunk - last.len()));
                last.extend_from_slice(now);
                self.written += now.len() as u64;
                bytes = rest;
            }
        }
    }

    /// Takes as much of `bytes` as there is room for, and says how much that was. What was written
    /// and sent in many small pieces counts for the room that the pieces take, since a program that
    /// writes single bytes would otherwise keep many times `window`.
    pub(crate) fn write(
        &mut self,
        bytes: &[u8],
        window: u64,
        chunk: usize,
    ) -> Result<usize, Error> {
        if let Some(why) = &self.stopped {
            return Err(self.broken(why));
        }
        if self.end.is_some() {
            return Err(Error::Argument("the stream was finished"));
        }
        let kept = self.written - self.base;
        let needed = kept.div_ceil(chunk as u64);
        let needless = (self.chunks.len() as u64).saturating_sub(needed);
        let room = window.saturating_sub(kept + needless * PIECE_ROOM);
        let n = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        self.push(&bytes[..n], chunk);
        self.waits = n == 0 && !bytes.is_empty();
        Ok(n)
    }

    fn broken(&self, why: &str) -> Error {
        Error::Broken {
            arrived: self.base,
            why: why.to_owned(),
        }
    }

    /// No more will be written.
    pub(crate) fn finish(&mut self) {
        if self.end.is_none() {
            self.end = Some(Ending::Whole);
        }
    }

    /// The program gives the stream up before its end. What waits to be sent is dropped.
    pub(crate) fn abort(&mut self, why: &str) {
        if self.end.is_none() {
            self.chunks.truncate(self.sent);
            let mut most = why.len().min(REASON_MAX);
            while !why.is_char_boundary(most) {
                most -= 1;
            }
            self.end = Some(Ending::Broken(why[..most].to_owned()));
            self.end_sent = false;
        }
    }

    /// The link over which the receiver has said how far the stream may go.
    pub(crate) fn link(&self) -> Option<LinkId> {
        self.link
    }

    /// A session has ended: the stream waits for another one if it went over that.
    pub(crate) fn unlink(&mut self, link: LinkId) {
        self.link = self.link.filter(|l| *l != link);
    }

    /// Whether the program waits for room, which it is told of now.
    pub(crate) fn take_waits(&mut self) -> bool {
        std::mem::take(&mut self.waits)
    }

    /// Takes a place in the line of those that have something to send; false if the stream stands
    /// there already or has nothing to send.
    pub(crate) fn line_up(&mut self) -> bool {
        self.has_next() && !std::mem::replace(&mut self.queued, true)
    }

    /// The stream has left the line.
    pub(crate) fn leave_line(&mut self) {
        self.queued = false;
    }

    /// Whether nothing was ever written.
    pub(crate) fn is_unused(&self) -> bool {
        self.written == 0
    }

    /// The receiver takes no more. Says whether that is new.
    pub(crate) fn stop(&mut self, why: String) -> bool {
        let new = self.stopped.is_none();
        self.stopped.get_or_insert(why);
        self.chunks.clear();
        (self.sent, self.base, self.at) = (0, self.written, self.written);
        self.end_sent = true;
        new
    }

    /// The receiver has `received` bytes and lets the sender go up to `limit`. Says whether the
    /// stream has moved by that: the receiver has more than before, takes a piece that had to wait,
    /// or speaks for the first time. Within one session no receiver can repeat any of these without
    /// end unless it takes what is written.
    pub(crate) fn credit(&mut self, link: LinkId, credit: Credit) -> Result<bool, Violation> {
        let Credit { received, limit } = credit;
        if self.stopped.is_some() {
            return Ok(false);
        }
        let (first, had_to_wait) = (self.link.is_none(), self.has_to_wait());
        let anew = self.link != Some(link);
        let least = if anew { 0 } else { self.limit };
        if received < self.base
            || received > self.top
            || limit < received.max(least)
            || limit - received > STREAM_WINDOW_MAX
        {
            return Err(Violation);
        }
        if anew {
            (self.sent, self.at, self.end_sent) = (0, self.base, false);
            self.link = Some(link);
        }
        self.limit = limit;
        let acknowledged = received > self.base;
        while self.base < received {
            let chunk = self.chunks.front().map_or(0, |c| c.len() as u64);
            if chunk == 0 || self.base + chunk > received {
                return Err(Violation);
            }
            self.base += chunk;
            self.spare = self.chunks.pop_front().unwrap_or_default();
            // A chunk that only an earlier session has carried was not counted as sent in this one.
            self.sent = self.sent.saturating_sub(1);
            self.at = self.at.max(self.base);
        }
        Ok(first || acknowledged || had_to_wait && !self.has_to_wait())
    }

    /// Whether the receiver does not take the next piece yet.
    fn has_to_wait(&self) -> bool {
        let next = self.chunks.get(self.sent);
        next.is_some_and(|chunk| self.at + chunk.len() as u64 > self.limit)
    }

    /// Whether the stream was finished or broken off and the receiver does not know it yet.
    pub(crate) fn owes_end(&self) -> bool {
        self.end.is_some() && !self.end_sent
    }

    /// Whether something can be sent now.
    pub(crate) fn has_next(&self) -> bool {
        let waits = match self.chunks.get(self.sent) {
            Some(_) => !self.has_to_wait(),
            None => self.end.is_some() && !self.end_sent,
        };
        waits && self.link.is_some()
    }

    /// What can be sent now, if anything.
    pub(crate) fn next(&self) -> Option<Piece<'_>> {
        if !self.has_next() {
            return None;
        }
        Some(match (self.chunks.get(self.sent), &self.end) {
            (Some(chunk), _) => Piece::Data {
                offset: self.at,
                bytes: chunk,
            },
            (None, Some(Ending::Broken(why))) => Piece::Broken {
                length: self.at,
                why,
            },
            (None, _) => Piece::Whole { length: self.at },
        })
    }

    /// The piece that [`SendingEnd::next`] gave was sent.
    pub(crate) fn sent(&mut self) {
        match self.chunks.get(self.sent) {
            Some(chunk) => {
                self.at += chunk.len() as u64;
                self.top = self.top.max(self.at);
                self.sent += 1;
            }
            None => self.end_sent = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::streams::ends::ReceivingEnd;
    use crate::limits::BODY_MAX;
    use proptest::prelude::*;

    const A: LinkId = LinkId(1);
    const WINDOW: u64 = 100;

    /// Moves what can be moved, but at most `most` pieces.
    fn carry(out: &mut SendingEnd, into: &mut ReceivingEnd, most: usize) {
        for _ in 0..most {
            match out.next() {
                Some(Piece::Data { offset, bytes }) => into.data(offset, bytes).unwrap(),
                Some(Piece::Whole { length }) => into.whole(length).unwrap(),
                Some(Piece::Broken { why, .. }) => into.fail(why),
                None => return,
            }
            out.sent();
        }
    }

    /// The receiver says over the link `A` that it has so much and takes so much.
    fn grant(out: &mut SendingEnd, received: u64, limit: u64) -> Result<bool, Violation> {
        out.credit(A, Credit { received, limit })
    }

    fn sync(out: &mut SendingEnd, into: &mut ReceivingEnd, link: LinkId) {
        let credit = into.credit().unwrap();
        out.credit(link, credit).unwrap();
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_however_often_the_session_is_lost(
            data in prop::collection::vec(any::<u8>(), 0..2_000),
            steps in prop::collection::vec(
                    (1usize..90, 1usize..90, 0usize..4, any::<bool>()),
                    40..60,
                ),
        ) {
            let (mut out, mut into) = (SendingEnd::default(), ReceivingEnd::open(WINDOW));
            let (mut written, mut read, mut link) = (0, Vec::new(), 1);
            sync(&mut out, &mut into, A);
            for (give, take, move_most, lose) in steps.into_iter().cycle().take(2_000) {
                let end = data.len().min(written + give);
                if out.end.is_none() {
                    written += out.write(&data[written..end], WINDOW, 16).unwrap();
                }
                if written == data.len() {
                    out.finish();
                }
                if lose {
                    // Some of what was sent does not arrive.
                    let mut lost = ReceivingEnd::that_has(out.at);
                    let some = usize::from(out.at < out.written);
                    carry(&mut out, &mut lost, some);
                    link += 1;
                    sync(&mut out, &mut into, LinkId(link));
                }
                if !into.is_ended() {
                    carry(&mut out, &mut into, move_most);
                }
                let mut buf = vec![0; take];
                if let Some(n) = into.read(&mut buf).unwrap() {
                    read.extend_from_slice(&buf[..n]);
                }
                if let Some(credit) = into.credit_due() {
                    out.credit(LinkId(link), credit).unwrap();
                }
                if into.is_ended() && read.len() == data.len() {
                    break;
                }
            }
            prop_assert_eq!(read, data);
            prop_assert!(into.is_ended() && into.failure().is_none());
        }
    }

    #[test]
    fn a_whole_message_is_cut_into_the_pieces_that_it_would_be_written_in() {
        for length in [0, 1, 15, 16, 17, 160, 100_000] {
            let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let mut written = SendingEnd::default();
            written.write(&bytes, u64::MAX, 16).unwrap();
            let whole = SendingEnd::whole(bytes, 16);
            assert_eq!(
                (whole.chunks, whole.written),
                (written.chunks, written.written)
            );
        }
    }

    #[test]
    fn credit_that_goes_back_or_too_far_is_a_violation() {
        let mut out = SendingEnd::default();
        out.write(&[7; 40], WINDOW, 16).unwrap();
        assert!(!out.has_next(), "the receiver takes nothing yet");
        assert_eq!(grant(&mut out, 1, 50), Err(Violation), "nothing was sent");
        assert_eq!(grant(&mut out, 0, STREAM_WINDOW_MAX + 1), Err(Violation));
        grant(&mut out, 0, 32).unwrap();
        assert!(out.has_next());
        out.sent();
        out.sent();
        assert!(!out.has_next(), "the last piece is beyond the credit");
        assert_eq!(grant(&mut out, 0, 31), Err(Violation), "taken back");
        assert_eq!(
            grant(&mut out, 33, 64),
            Err(Violation),
            "more than was sent"
        );
        assert_eq!(
            grant(&mut out, 40, 64),
            Err(Violation),
            "though a piece ends there"
        );
        assert_eq!(grant(&mut out, 8, 64), Err(Violation), "within a piece");
        let mut out = SendingEnd::default();
        out.write(&[7; 40], WINDOW, 16).unwrap();
        grant(&mut out, 0, 100).unwrap();
        out.sent();
        grant(&mut out, 16, 116).unwrap();
        assert_eq!(grant(&mut out, 0, 116), Err(Violation), "forgotten already");
        out.stop("enough".into());
        assert!(!out.has_next());
        assert!(matches!(
            out.write(b"x", WINDOW, 16),
            Err(Error::Broken { arrived: 40, .. })
        ));
    }

    #[test]
    fn a_stream_moves_when_its_receiver_has_more_or_lets_more_come() {
        let mut out = SendingEnd::default();
        out.write(&[7; 40], WINDOW, 16).unwrap();
        assert_eq!(grant(&mut out, 0, 8), Ok(true), "the first word");
        assert_eq!(grant(&mut out, 0, 8), Ok(false), "the same again");
        assert_eq!(grant(&mut out, 0, 15), Ok(false), "less than a piece");
        assert_eq!(grant(&mut out, 0, 16), Ok(true));
        out.sent();
        assert_eq!(grant(&mut out, 16, 17), Ok(true), "acknowledged");
        assert_eq!(grant(&mut out, 16, 48), Ok(true));
        out.sent();
        out.sent();
        assert_eq!(grant(&mut out, 16, 99), Ok(false), "nothing waits for it");
        assert!(out.stop("enough".into()));
        assert!(!out.stop("enough".into()));
    }

    #[test]
    fn a_sender_of_single_bytes_keeps_no_more_than_its_window_and_goes_on_as_they_are_read() {
        let (window, chunk) = (2 * BODY_MAX as u64, 16 * 1024);
        let (mut out, mut into) = (SendingEnd::default(), ReceivingEnd::open(window * 100));
        sync(&mut out, &mut into, A);
        let mut written = 0;
        for round in 0..10 {
            while out.write(b"x", window, chunk).unwrap() > 0 {
                carry(&mut out, &mut into, 1);
                written += 1;
                let room: usize = out.chunks.iter().map(|c| c.capacity() + 32).sum();
                assert!(room < 2 * window as usize, "{room}");
            }
            assert!(written > 1_000 * (round + 1));
            assert_eq!(into.read(&mut [0]), Ok(Some(1)));
            let credit = into.credit_due().expect("the sender can go on");
            out.credit(A, credit).unwrap();
        }
    }

    #[test]
    fn a_sender_keeps_no_more_than_its_window() {
        let mut out = SendingEnd::default();
        assert_eq!(out.write(&[0; 300], WINDOW, 16), Ok(100));
        assert_eq!(out.write(&[0; 300], WINDOW, 16), Ok(0));
        assert!(out.waits);
        grant(&mut out, 0, 100).unwrap();
        out.sent();
        grant(&mut out, 16, 116).unwrap();
        assert_eq!(out.write(&[0; 300], WINDOW, 16), Ok(16));
    }
}
