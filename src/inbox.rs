//! Bytes in, whole frames out: what came on a link and is not a whole frame yet.
//!
//! Bytes come in pieces that end anywhere. A frame that lies in one piece is read where it lies. Of
//! one that does not, the beginning is kept here, and no more of the next piece is copied than
//! finishes it: a frame has one line feed, at its end.
//!
//! ```text
//! while let Some(whole) = inbox.next(now, &mut bytes)? { use whole.frame, then drop it }
//! ```
//!
//! The engine's links and the links of a relay each have one.

use crate::frame::{self, Frame, FrameError, Parsed};
use crate::limits::FRAME_MAX;
use crate::protocol::Time;
use memchr::memchr;

/// A frame that came whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole<'a> {
    pub(crate) frame: Frame<'a>,
    /// The bytes that it was read from, its line feed among them.
    pub(crate) raw: &'a [u8],
}

/// The beginning of a frame, if one has begun, and since when.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    begun: Vec<u8>,
    /// Whether `begun` is a whole frame that was handed out: the next step drops it.
    handed_out: bool,
    /// When the frame that `begun` holds had begun.
    since: Option<Time>,
}

impl Inbox {
    /// The next whole frame of what was kept and `bytes`, which loses what is taken of it. `None`
    /// when more bytes are needed; then nothing is left of `bytes`. After an error the link is of
    /// no use any more.
    #[inline]
    pub(crate) fn next<'a, 'b: 'a>(
        &'a mut self,
        now: Time,
        bytes: &mut &'b [u8],
    ) -> Result<Option<Whole<'a>>, FrameError> {
        if self.handed_out {
            self.begun.clear();
            self.handed_out = false;
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        if !self.begun.is_empty() {
            return self.finish(bytes);
        }
        let all = *bytes;
        match frame::parse(all, FRAME_MAX)? {
            Parsed::Complete(frame, used) => {
                let (raw, rest) = all.split_at(used);
                *bytes = rest;
                Ok(Some(Whole { frame, raw }))
            }
            Parsed::Incomplete => {
                self.begun.extend_from_slice(all);
                self.since = Some(now);
                *bytes = &[];
                Ok(None)
            }
        }
    }

    /// Goes on with the frame that has begun.
    fn finish<'a>(&'a mut self, bytes: &mut &[u8]) -> Result<Option<Whole<'a>>, FrameError> {
        let end = memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
        let (more, rest) = bytes.split_at(end);
        self.begun.extend_from_slice(more);
        *bytes = rest;
        match frame::parse(&self.begun, FRAME_MAX)? {
            Parsed::Complete(frame, used) if used == self.begun.len() => {
                self.handed_out = true;
                self.since = None;
                let raw = &self.begun[..];
                Ok(Some(Whole { frame, raw }))
            }
            // A line feed ends a frame or is an error.
            Parsed::Complete(..) => Err(FrameError::Terminator),
            Parsed::Incomplete if !rest.is_empty() => Err(FrameError::Terminator),
            Parsed::Incomplete => Ok(None),
        }
    }

    /// Since when a frame has begun and is not finished.
    #[inline]
    pub(crate) fn unfinished(&self) -> Option<Time> {
        self.since
    }

    /// The beginning of the frame that is not finished; no bytes if there is none.
    #[cfg(all(feature = "relay-server", feature = "compat"))]
    pub(crate) fn begun(&self) -> &[u8] {
        match self.since {
            Some(_) => &self.begun,
            None => &[],
        }
    }

    /// Bytes of memory that it takes.
    #[cfg(feature = "relay-server")]
    pub(crate) fn memory(&self) -> usize {
        self.begun.capacity()
    }

    /// Gives memory back beyond `keep` bytes that is not needed for the frame that has begun.
    #[inline]
    pub(crate) fn shrink_to(&mut self, keep: usize) {
        if self.begun.capacity() > keep {
            self.begun.shrink_to(keep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameType;
    use proptest::prelude::*;
    use std::time::Duration;

    fn at(ms: u64) -> Time {
        Time(Duration::from_millis(ms))
    }

    fn frames(payloads: &[String]) -> Vec<u8> {
        let mut out = Vec::new();
        for payload in payloads {
            frame::encode_with("net", FrameType::MESSAGE, &mut out, |out| {
                out.extend_from_slice(payload.as_bytes());
            });
        }
        out
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_frames_are_the_same(
            payloads in prop::collection::vec("[a-z]{1,300}", 1..8),
            cuts in prop::collection::vec(1usize..700, 1..40),
        ) {
            let all = frames(&payloads);
            let (mut inbox, mut rest) = (Inbox::default(), all.as_slice());
            let (mut got, mut raw) = (Vec::new(), Vec::new());
            let mut cuts = cuts.into_iter().cycle();
            while !rest.is_empty() {
                let (mut piece, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                rest = later;
                while let Some(whole) = inbox.next(at(0), &mut piece).unwrap() {
                    got.push(String::from_utf8(whole.frame.payload.to_vec()).unwrap());
                    raw.extend_from_slice(whole.raw);
                }
                prop_assert!(piece.is_empty());
            }
            prop_assert_eq!(got, payloads);
            prop_assert_eq!(raw, all);
            prop_assert_eq!(inbox.unfinished(), None);
        }
    }

    #[test]
    fn a_frame_is_unfinished_since_its_own_first_byte() {
        let all = frames(&["one".into(), "two".into()]);
        let (first, second) = all.split_at(all.len() / 2);
        let mut inbox = Inbox::default();
        let mut take = |ms, mut bytes: &[u8]| {
            let mut count = 0;
            while inbox.next(at(ms), &mut bytes).unwrap().is_some() {
                count += 1;
            }
            (count, inbox.unfinished())
        };
        assert_eq!(take(1, &first[..3]), (0, Some(at(1))));
        assert_eq!(take(2, &first[3..5]), (0, Some(at(1))), "the same frame");
        assert_eq!(take(3, &first[5..]), (1, None));
        assert_eq!(take(4, &second[..3]), (0, Some(at(4))));
        // The rest of it, and the beginning of another.
        assert_eq!(take(5, &second[3..]), (1, None));
    }

    #[test]
    fn what_can_never_become_a_frame_is_an_error_at_once() {
        let mut inbox = Inbox::default();
        assert!(inbox.next(at(0), &mut &b"net|msg|a"[..]).unwrap().is_none());
        assert!(inbox.next(at(0), &mut &b"\nnet|msg|"[..]).is_err());
        let mut inbox = Inbox::default();
        assert!(inbox.next(at(0), &mut &b"net|MSG"[..]).is_err());
        let mut inbox = Inbox::default();
        let endless = [b"net|msg|".as_slice(), &vec![b'a'; FRAME_MAX]].concat();
        assert_eq!(
            inbox.next(at(0), &mut &endless[..]),
            Err(FrameError::TooLong)
        );
    }

    #[test]
    fn it_copies_no_more_than_finishes_the_frame_and_gives_its_memory_back() {
        let all = frames(&["a".repeat(5_000), "b".repeat(50_000)]);
        let mut inbox = Inbox::default();
        assert!(inbox.next(at(0), &mut &all[..100]).unwrap().is_none());
        let mut rest = &all[100..];
        assert!(inbox.next(at(0), &mut rest).unwrap().is_some());
        assert!(
            inbox.begun.capacity() < 12_000,
            "the second frame is not in it"
        );
        assert!(inbox.next(at(0), &mut rest).unwrap().is_some());
        assert!(inbox.next(at(0), &mut rest).unwrap().is_none());
        inbox.shrink_to(1_000);
        assert!(inbox.begun.capacity() <= 1_000);
    }

    #[cfg(all(feature = "relay-server", feature = "compat"))]
    #[test]
    fn what_has_begun_is_told_until_it_is_finished() {
        let all = frames(&["one".into()]);
        let (mut inbox, (first, last)) = (Inbox::default(), all.split_at(5));
        assert!(inbox.begun().is_empty() && inbox.memory() == 0);
        assert!(inbox.next(at(0), &mut &first[..]).unwrap().is_none());
        assert_eq!(inbox.begun(), first);
        assert!(inbox.memory() >= first.len());
        assert!(inbox.next(at(0), &mut &last[..]).unwrap().is_some());
        assert!(inbox.begun().is_empty(), "it was handed out");
    }
}
