//! One stream's two ends, with nothing around them: what is kept, how far may be sent, what may come.
//!
//! Offsets count from the stream's beginning. The receiver says how much it has and how far it takes;
//! the sender keeps what the receiver has not got, so that after a lost session it goes on from there
//! over another. A link is part of both ends only to say over which session they agree now.

use super::LinkId;
use crate::error::Error;
use crate::limits::{REASON_MAX, STREAM_WINDOW_MAX};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;

/// What comes in smaller pieces than this is put together.
const SMALL: usize = 4 * 1024;

/// Room that is given back while a whole message is cut into pieces.
const SLACK: usize = 256 * 1024;

/// The other side broke a rule: there is nothing to agree on any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation;

/// How a stream ends, at its sender.
#[derive(Clone, Debug)]
enum Ending {
    Whole,
    Broken(String),
}

/// What to send next.
pub(super) enum Piece<'a> {
    /// Where it begins, and the digest that it is to be added to if this is the first time it is sent.
    Data(u64, &'a [u8], Option<&'a mut Sha256>),
    Whole(u64, [u8; 32]),
    Broken(u64, &'a str),
}

/// The sending end.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// What the receiver has not got; the first begins at `base`.
    chunks: VecDeque<Vec<u8>>,
    base: u64,
    /// How many of the chunks were sent over `link`, and where the next begins.
    sent: usize,
    at: u64,
    /// The furthest that was ever sent.
    top: u64,
    written: u64,
    limit: u64,
    pub(super) link: Option<LinkId>,
    end: Option<Ending>,
    end_sent: bool,
    hash: Sha256,
    stopped: Option<String>,
    /// Whether the program waits for room.
    pub(super) waits: bool,
    /// Whether it stands in line to be sent.
    pub(super) queued: bool,
    spare: Vec<u8>,
}

impl Outgoing {
    /// A stream that is all of `bytes`. They are cut from the end, which leaves room to give back on the way, so
    /// that they are not held twice.
    pub(super) fn whole(mut bytes: Vec<u8>, chunk: usize) -> Outgoing {
        let mut out = Outgoing {
            written: bytes.len() as u64,
            ..Outgoing::default()
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

    /// What the receiver has not got.
    pub(super) fn held(&self) -> Vec<u8> {
        self.chunks.iter().flatten().copied().collect()
    }

    fn push(&mut self, mut bytes: &[u8], chunk: usize) {
        while !bytes.is_empty() {
            let begins = |last: &Vec<u8>| self.written - last.len() as u64;
            // What was sent must come the same if it comes again, and counts in the digest as it was.
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

    /// Takes as much of `bytes` as there is room for; how much that was.
    pub(super) fn write(
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
        let room = window.saturating_sub(self.written - self.base);
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
    pub(super) fn finish(&mut self) {
        if self.end.is_none() {
            self.end = Some(Ending::Whole);
        }
    }

    /// No more will be written, though there was more to come. What waits is not worth sending.
    pub(super) fn abort(&mut self, why: &str) {
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

    /// Whether nothing was ever written.
    pub(super) fn is_unused(&self) -> bool {
        self.written == 0
    }

    /// The receiver takes no more; whether that is new.
    pub(super) fn stop(&mut self, why: String) -> bool {
        let new = self.stopped.is_none();
        self.stopped.get_or_insert(why);
        self.chunks.clear();
        (self.sent, self.base, self.at) = (0, self.written, self.written);
        self.end_sent = true;
        new
    }

    /// The receiver has so much, and takes so much. Whether the stream has moved by that: the receiver has more than
    /// before, takes a piece that had to wait, or speaks for the first time. In one session, no receiver can repeat
    /// any of these for ever without taking what is written.
    pub(super) fn credit(
        &mut self,
        link: LinkId,
        received: u64,
        limit: u64,
    ) -> Result<bool, Violation> {
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
            // Sent over another session, it was passed over in this one.
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

    /// Whether it was finished or broken off, and its receiver was not told yet.
    pub(super) fn owes_end(&self) -> bool {
        self.end.is_some() && !self.end_sent
    }

    /// Whether something can be sent now.
    pub(super) fn has_next(&self) -> bool {
        let waits = match self.chunks.get(self.sent) {
            Some(_) => !self.has_to_wait(),
            None => self.end.is_some() && !self.end_sent,
        };
        waits && self.link.is_some()
    }

    /// What can be sent now, if anything.
    pub(super) fn next(&mut self) -> Option<Piece<'_>> {
        if !self.has_next() {
            return None;
        }
        let at = self.at;
        Some(match (self.chunks.get(self.sent), &self.end) {
            (Some(chunk), _) => {
                let fresh = at >= self.top;
                Piece::Data(at, chunk, fresh.then_some(&mut self.hash))
            }
            (None, Some(Ending::Broken(why))) => Piece::Broken(at, why),
            (None, _) => Piece::Whole(at, self.hash.clone().finalize().into()),
        })
    }

    /// What [`Outgoing::next`] gave was sent.
    pub(super) fn sent(&mut self) {
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

/// The receiving end.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of the first chunk that were read.
    head: usize,
    received: u64,
    taken: u64,
    granted: u64,
    /// How much may wait to be read; nothing may come as long as this is 0.
    window: u64,
    /// How long it will be, where that was said beforehand.
    expected: Option<u64>,
    pub(super) link: Option<LinkId>,
    hash: Sha256,
    end: Option<Result<(), Error>>,
    /// Whether the program waits for something to read.
    pub(super) waits: bool,
}

impl Incoming {
    /// One that takes what comes from now on.
    pub(super) fn open(window: u64) -> Incoming {
        Incoming {
            window,
            ..Incoming::default()
        }
    }

    /// One that takes what comes from now on, which will be so much.
    pub(super) fn expecting(length: u64, window: u64) -> Incoming {
        Incoming {
            expected: Some(length),
            ..Incoming::open(window)
        }
    }

    /// How long it will be, if that was said.
    pub(super) fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// Takes what comes from now on.
    pub(super) fn accept(&mut self, window: u64) {
        self.window = window;
    }

    pub(super) fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    /// How it ended, if not well.
    pub(super) fn failure(&self) -> Option<&Error> {
        self.end.as_ref()?.as_ref().err()
    }

    /// The next piece came.
    pub(super) fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Violation> {
        let upto = offset.saturating_add(bytes.len() as u64);
        if self.end.is_some() || offset != self.received || bytes.is_empty() || upto > self.granted
        {
            return Err(Violation);
        }
        self.hash.update(bytes);
        self.received = upto;
        match self.expected {
            Some(length) => {
                self.keep_together(bytes, usize::try_from(length).unwrap_or(usize::MAX))
            }
            None => self.keep_in_pieces(bytes),
        }
        Ok(())
    }

    /// Adds to the one piece that a message of known length becomes, whose room grows with what has come and
    /// not beyond the whole.
    fn keep_together(&mut self, bytes: &[u8], length: usize) {
        if self.chunks.is_empty() {
            self.chunks.push_back(Vec::new());
        }
        if let Some(whole) = self.chunks.back_mut() {
            if whole.capacity() - whole.len() < bytes.len() {
                let more = whole.len().min(length - whole.len());
                whole.reserve_exact(more.max(bytes.len()));
            }
            whole.extend_from_slice(bytes);
        }
    }

    /// Keeps a piece as it came, or fills up the last if that is small: a peer that sends single bytes must not
    /// make each cost an allocation, nor room that stays empty.
    fn keep_in_pieces(&mut self, mut bytes: &[u8]) {
        if let Some(last) = self.chunks.back_mut().filter(|last| last.len() < SMALL) {
            let (now, later) = bytes.split_at(bytes.len().min(SMALL - last.len()));
            last.extend_from_slice(now);
            bytes = later;
        }
        if !bytes.is_empty() {
            let mut piece = Vec::with_capacity(SMALL.max(bytes.len()));
            piece.extend_from_slice(bytes);
            self.chunks.push_back(piece);
        }
    }

    /// The sender says that this is all.
    pub(super) fn whole(&mut self, length: u64, digest: &[u8; 32]) -> Result<(), Violation> {
        let said = self.expected.unwrap_or(length);
        if self.end.is_some() || length != self.received || length != said {
            return Err(Violation);
        }
        let right = self.hash.clone().finalize().as_slice() == digest;
        self.end = Some(match right {
            true => Ok(()),
            false => Err(self.broken("its SHA-256 is not what the sender said")),
        });
        Ok(())
    }

    /// No more will come.
    pub(super) fn fail(&mut self, why: &str) {
        if self.end.is_none() {
            self.end = Some(Err(self.broken(why)));
        }
    }

    fn broken(&self, why: &str) -> Error {
        Error::Broken {
            arrived: self.received,
            why: why.to_owned(),
        }
    }

    /// Reads what has come; 0 at the end, `None` when more is to come.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> Result<Option<usize>, Error> {
        let mut n = 0;
        while let Some(chunk) = self.chunks.front() {
            let rest = &chunk[self.head..];
            let take = rest.len().min(buf.len() - n);
            buf[n..n + take].copy_from_slice(&rest[..take]);
            n += take;
            self.head += take;
            if self.head < chunk.len() {
                break;
            }
            self.head = 0;
            self.chunks.pop_front();
        }
        self.taken += n as u64;
        if n > 0 || buf.is_empty() {
            return Ok(Some(n));
        }
        match &self.end {
            Some(Ok(())) => Ok(Some(0)),
            Some(Err(e)) => Err(e.clone()),
            None => {
                self.waits = true;
                Ok(None)
            }
        }
    }

    /// Everything that has come and was not read, at once.
    pub(super) fn take_all(&mut self) -> Vec<u8> {
        self.taken = self.received;
        let mut chunks = std::mem::take(&mut self.chunks);
        match chunks.len() {
            1 => chunks.pop_front().unwrap_or_default(),
            _ => chunks.into_iter().flatten().collect(),
        }
    }

    /// As if everything that came had been read: for who keeps all of it.
    pub(super) fn keep(&mut self) {
        self.taken = self.received;
    }

    /// How far the sender may go, if that is worth telling; what it may forget goes along.
    pub(super) fn credit_due(&mut self) -> Option<(u64, u64)> {
        let news = self.reach() - self.granted.min(self.reach());
        let rest = self.expected == Some(self.reach()) && news > 0;
        if self.end.is_some() || !rest && news < self.window / 2 {
            return None;
        }
        self.credit()
    }

    /// The same, worth telling or not.
    pub(super) fn credit(&mut self) -> Option<(u64, u64)> {
        if self.window == 0 {
            return None;
        }
        self.granted = self.granted.max(self.reach());
        Some((self.received, self.granted))
    }

    /// How far there is room for.
    fn reach(&self) -> u64 {
        let limit = self.taken + self.window;
        limit.min(self.expected.unwrap_or(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: LinkId = LinkId(1);
    const WINDOW: u64 = 100;

    /// Moves what can be moved, but at most `most` pieces.
    fn carry(out: &mut Outgoing, into: &mut Incoming, most: usize) {
        for _ in 0..most {
            match out.next() {
                Some(Piece::Data(at, bytes, hash)) => {
                    if let Some(hash) = hash {
                        hash.update(bytes);
                    }
                    into.data(at, bytes).unwrap();
                }
                Some(Piece::Whole(length, digest)) => into.whole(length, &digest).unwrap(),
                Some(Piece::Broken(_, why)) => into.fail(why),
                None => return,
            }
            out.sent();
        }
    }

    fn sync(out: &mut Outgoing, into: &mut Incoming, link: LinkId) {
        let (received, limit) = into.credit().unwrap();
        out.credit(link, received, limit).unwrap();
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_however_often_the_session_is_lost(
            data in prop::collection::vec(any::<u8>(), 0..2_000),
            steps in prop::collection::vec((1usize..90, 1usize..90, 0usize..4, any::<bool>()), 40..60),
        ) {
            let (mut out, mut into) = (Outgoing::default(), Incoming::open(WINDOW));
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
                    let mut lost = Incoming::open(1 << 20);
                    lost.granted = u64::MAX;
                    lost.received = out.at;
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
                if let Some((received, limit)) = into.credit_due() {
                    out.credit(LinkId(link), received, limit).unwrap();
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
    fn pieces_out_of_place_and_beyond_the_credit_are_violations() {
        let mut into = Incoming::open(8);
        assert_eq!(into.data(0, b"x"), Err(Violation), "nothing was granted");
        into.credit();
        assert_eq!(into.data(1, b"x"), Err(Violation), "a gap");
        assert_eq!(into.data(0, b"123456789"), Err(Violation), "beyond");
        assert_eq!(into.data(0, b""), Err(Violation), "nothing, for ever");
        assert_eq!(into.data(u64::MAX, b"x"), Err(Violation));
        into.data(0, b"1234").unwrap();
        assert_eq!(into.data(0, b"1"), Err(Violation), "an overlap");
        assert_eq!(into.whole(5, &[0; 32]), Err(Violation), "not all came");
        into.whole(4, &[0; 32]).unwrap();
        let wrong = Error::Broken {
            arrived: 4,
            why: "its SHA-256 is not what the sender said".into(),
        };
        assert_eq!(into.failure(), Some(&wrong));
        assert_eq!(into.data(4, b"x"), Err(Violation), "after the end");
        let mut buf = [0; 9];
        assert_eq!(into.read(&mut buf), Ok(Some(4)), "what came is not lost");
        assert_eq!(into.read(&mut buf), Err(wrong));
    }

    #[test]
    fn a_message_of_known_length_takes_the_room_of_what_has_come_and_at_most_its_own() {
        let whole: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        let mut into = Incoming::expecting(whole.len() as u64, 1 << 20);
        into.credit();
        for (i, piece) in whole.chunks(1_111).enumerate() {
            into.data(i as u64 * 1_111, piece).unwrap();
            let capacity: usize = into.chunks.iter().map(Vec::capacity).sum();
            assert!(capacity <= whole.len().min(2 * into.received as usize));
        }
        let got = into.take_all();
        assert!(got == whole && got.capacity() == whole.len());
    }

    #[test]
    fn a_whole_message_is_cut_into_the_pieces_that_it_would_be_written_in() {
        for length in [0, 1, 15, 16, 17, 160, 100_000] {
            let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let mut written = Outgoing::default();
            written.write(&bytes, u64::MAX, 16).unwrap();
            let whole = Outgoing::whole(bytes, 16);
            assert_eq!(
                (whole.chunks, whole.written),
                (written.chunks, written.written)
            );
        }
    }

    #[test]
    fn pieces_that_do_not_fit_together_leave_no_room_empty() {
        let mut into = Incoming::open(1 << 20);
        into.credit();
        let mut offset = 0;
        for _ in 0..200 {
            into.data(offset, &[1; 2_049]).unwrap();
            offset += 2_049;
        }
        let capacity: usize = into.chunks.iter().map(Vec::capacity).sum();
        assert!(
            capacity < offset as usize + SMALL,
            "{capacity} for {offset}"
        );
    }

    #[test]
    fn single_bytes_are_kept_together() {
        let window = 64 * 1024;
        let mut into = Incoming::open(window);
        into.credit();
        for at in 0..window {
            into.data(at, &[at as u8]).unwrap();
        }
        assert!(into.chunks.len() <= window as usize / SMALL);
        let mut buf = vec![0; window as usize];
        assert_eq!(into.read(&mut buf), Ok(Some(window as usize)));
        assert!(buf.iter().enumerate().all(|(i, b)| *b == i as u8));
    }

    #[test]
    fn credit_that_goes_back_or_too_far_is_a_violation() {
        let mut out = Outgoing::default();
        out.write(&[7; 40], WINDOW, 16).unwrap();
        assert!(!out.has_next(), "nobody takes it yet");
        assert_eq!(out.credit(A, 1, 50), Err(Violation), "nothing was sent");
        assert_eq!(out.credit(A, 0, STREAM_WINDOW_MAX + 1), Err(Violation));
        out.credit(A, 0, 32).unwrap();
        assert!(out.has_next());
        out.sent();
        out.sent();
        assert!(!out.has_next(), "the last piece is beyond the credit");
        assert_eq!(out.credit(A, 0, 31), Err(Violation), "taken back");
        assert_eq!(out.credit(A, 33, 64), Err(Violation), "more than was sent");
        assert_eq!(
            out.credit(A, 40, 64),
            Err(Violation),
            "though a piece ends there"
        );
        assert_eq!(out.credit(A, 8, 64), Err(Violation), "within a piece");
        let mut out = Outgoing::default();
        out.write(&[7; 40], WINDOW, 16).unwrap();
        out.credit(A, 0, 100).unwrap();
        out.sent();
        out.credit(A, 16, 116).unwrap();
        assert_eq!(out.credit(A, 0, 116), Err(Violation), "forgotten already");
        out.stop("enough".into());
        assert!(!out.has_next());
        assert!(matches!(
            out.write(b"x", WINDOW, 16),
            Err(Error::Broken { arrived: 40, .. })
        ));
    }

    #[test]
    fn a_stream_moves_when_its_receiver_has_more_or_lets_more_come() {
        let mut out = Outgoing::default();
        out.write(&[7; 40], WINDOW, 16).unwrap();
        assert_eq!(out.credit(A, 0, 8), Ok(true), "the first word");
        assert_eq!(out.credit(A, 0, 8), Ok(false), "the same again");
        assert_eq!(out.credit(A, 0, 15), Ok(false), "less than a piece");
        assert_eq!(out.credit(A, 0, 16), Ok(true));
        out.sent();
        assert_eq!(out.credit(A, 16, 17), Ok(true), "acknowledged");
        assert_eq!(out.credit(A, 16, 48), Ok(true));
        out.sent();
        out.sent();
        assert_eq!(out.credit(A, 16, 99), Ok(false), "nothing waits for it");
        assert!(out.stop("enough".into()));
        assert!(!out.stop("enough".into()));
    }

    #[test]
    fn a_sender_keeps_no_more_than_its_window() {
        let mut out = Outgoing::default();
        assert_eq!(out.write(&[0; 300], WINDOW, 16), Ok(100));
        assert_eq!(out.write(&[0; 300], WINDOW, 16), Ok(0));
        assert!(out.waits);
        out.credit(A, 0, 100).unwrap();
        out.sent();
        out.credit(A, 16, 116).unwrap();
        assert_eq!(out.write(&[0; 300], WINDOW, 16), Ok(16));
    }
}
