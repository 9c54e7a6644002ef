//! The receiving end of a stream.

use super::{Credit, PIECE_ROOM, Violation};
use crate::error::Error;
use crate::limits::BODY_MAX;
use crate::protocol::LinkId;
use std::collections::VecDeque;

/// Bytes below which a piece that arrives is joined with the one before it.
const SMALL: usize = 4 * 1024;

/// What the sender is sure to keep of a stream until it is acknowledged, in bytes and in the room
/// of small pieces: the least window that a node may be set to.
const KEPT_BY_SENDER: u64 = 2 * BODY_MAX as u64;

/// The receiving end.
#[derive(Debug, Default)]
pub(crate) struct ReceivingEnd {
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of the first chunk that were read.
    head: usize,
    received: u64,
    taken: u64,
    granted: u64,
    /// Bytes that the sender does not know to have arrived, with the room of the pieces in which
    /// they came.
    untold: u64,
    /// How much may wait to be read; nothing may come as long as this is 0.
    window: u64,
    /// How many bytes will come, where the sender has said so beforehand.
    expected: Option<u64>,
    link: Option<LinkId>,
    end: Option<Result<(), Error>>,
    /// Whether the program waits for something to read.
    waits: bool,
}

impl ReceivingEnd {
    /// An end that takes what comes from now on.
    pub(crate) fn open(window: u64) -> ReceivingEnd {
        ReceivingEnd {
            window,
            ..ReceivingEnd::default()
        }
    }

    /// An end that has `received` bytes and takes any number of further ones.
    #[cfg(test)]
    pub(super) fn that_has(received: u64) -> ReceivingEnd {
        ReceivingEnd {
            received,
            granted: u64::MAX,
            ..ReceivingEnd::open(1 << 20)
        }
    }

    /// An end that takes what comes from now on, which will be `length` bytes.
    pub(crate) fn expecting(length: u64, window: u64) -> ReceivingEnd {
        ReceivingEnd {
            expected: Some(length),
            ..ReceivingEnd::open(window)
        }
    }

    /// How many bytes will come, if the sender has said so.
    pub(crate) fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// Takes what comes from now on.
    pub(crate) fn accept(&mut self, window: u64) {
        self.window = window;
    }

    /// The link over which the sender is told how far it may go.
    pub(crate) fn link(&self) -> Option<LinkId> {
        self.link
    }

    /// From now on the sender is told over `link` how far it may go.
    pub(crate) fn set_link(&mut self, link: LinkId) {
        self.link = Some(link);
    }

    /// A session has ended: the stream waits for another one if it went over that.
    pub(crate) fn unlink(&mut self, link: LinkId) {
        self.link = self.link.filter(|l| *l != link);
    }

    /// Whether the program waits for something to read, which it is told of now.
    pub(crate) fn take_waits(&mut self) -> bool {
        std::mem::take(&mut self.waits)
    }

    /// Whether no more will come.
    pub(crate) fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Why the stream broke off, if it did.
    pub(crate) fn failure(&self) -> Option<&Error> {
        self.end.as_ref()?.as_ref().err()
    }

    /// The next piece came.
    pub(crate) fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Violation> {
        let upto = offset.saturating_add(bytes.len() as u64);
        if self.end.is_some() || offset != self.received || bytes.is_empty() || upto > self.granted
        {
            return Err(Violation);
        }
        self.received = upto;
        self.untold += bytes.len() as u64 + PIECE_ROOM;
        match self.expected {
            Some(length) => {
                self.keep_together(bytes, usize::try_from(length).unwrap_or(usize::MAX))
            }
            None => self.keep_in_pieces(bytes),
        }
        Ok(())
    }

    /// Adds to the one piece that a message of known length becomes. The room of that piece grows
    /// with what has come, and never beyond the whole.
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

    /// Keeps a piece as it came, or fills up the last one if that is small. A peer that sends
    /// single bytes must cost neither an allocation for each of them nor room that stays empty.
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

    /// The sender says that the stream is complete.
    pub(crate) fn whole(&mut self, length: u64) -> Result<(), Violation> {
        let said = self.expected.unwrap_or(length);
        if self.end.is_some() || length != self.received || length != said {
            return Err(Violation);
        }
        self.end = Some(Ok(()));
        Ok(())
    }

    /// The call is over: nothing comes over any session any more.
    pub(crate) fn cut_off(&mut self, why: &str) {
        self.link = None;
        self.fail(why);
    }

    /// No more will come.
    pub(crate) fn fail(&mut self, why: &str) {
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

    /// Reads what has come: 0 at the end of the stream, `None` while the program has to wait.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Result<Option<usize>, Error> {
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

    /// What has come of a message of known length.
    pub(crate) fn begun(&self) -> &[u8] {
        self.chunks.front().map_or(&[], Vec::as_slice)
    }

    /// Everything that has come and was not read, at once.
    pub(crate) fn take_all(&mut self) -> Vec<u8> {
        self.taken = self.received;
        let mut chunks = std::mem::take(&mut self.chunks);
        match chunks.len() {
            1 => chunks.pop_front().unwrap_or_default(),
            _ => chunks.into_iter().flatten().collect(),
        }
    }

    /// Counts everything that came as read, since all of it is kept until the stream is complete.
    pub(crate) fn keep(&mut self) {
        self.taken = self.received;
    }

    /// What to tell the sender, if that is worth a record.
    pub(crate) fn credit_due(&mut self) -> Option<Credit> {
        let news = self.reach() - self.granted.min(self.reach());
        let rest = self.expected == Some(self.reach()) && news > 0;
        // The sender of a message of known length has all of it, and waits for nothing else.
        let most = KEPT_BY_SENDER.min(self.window / 2);
        let may_wait = self.expected.is_none() && self.untold >= most;
        if self.end.is_some() || !rest && !may_wait && news < self.window / 2 {
            return None;
        }
        self.credit()
    }

    /// What to tell the sender, whether it is news or not; `None` while nothing may come.
    pub(crate) fn credit(&mut self) -> Option<Credit> {
        if self.window == 0 {
            return None;
        }
        self.granted = self.granted.max(self.reach());
        self.untold = 0;
        Some(Credit {
            received: self.received,
            limit: self.granted,
        })
    }

    /// How far the stream may come before the program reads more of it.
    fn reach(&self) -> u64 {
        let limit = self.taken + self.window;
        limit.min(self.expected.unwrap_or(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_out_of_place_and_beyond_the_credit_are_violations() {
        let mut into = ReceivingEnd::open(8);
        assert_eq!(into.data(0, b"x"), Err(Violation), "nothing was granted");
        into.credit();
        assert_eq!(into.data(1, b"x"), Err(Violation), "a gap");
        assert_eq!(into.data(0, b"123456789"), Err(Violation), "beyond");
        assert_eq!(into.data(0, b""), Err(Violation), "nothing, for ever");
        assert_eq!(into.data(u64::MAX, b"x"), Err(Violation));
        into.data(0, b"1234").unwrap();
        assert_eq!(into.data(0, b"1"), Err(Violation), "an overlap");
        assert_eq!(into.whole(5), Err(Violation), "not all came");
        into.whole(4).unwrap();
        assert_eq!(into.failure(), None);
        assert_eq!(into.data(4, b"x"), Err(Violation), "after the end");
        let mut buf = [0; 9];
        assert_eq!(into.read(&mut buf), Ok(Some(4)), "what came is not lost");
        assert_eq!(into.read(&mut buf), Ok(Some(0)), "and then it is over");
        assert_eq!(into.whole(4), Err(Violation), "a second end");
    }

    #[test]
    fn a_message_of_known_length_takes_the_room_of_what_has_come_and_at_most_its_own() {
        let whole: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        let mut into = ReceivingEnd::expecting(whole.len() as u64, 1 << 20);
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
    fn pieces_that_do_not_fit_together_leave_no_room_empty() {
        let mut into = ReceivingEnd::open(1 << 20);
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
        let mut into = ReceivingEnd::open(window);
        into.credit();
        for at in 0..window {
            into.data(at, &[at as u8]).unwrap();
        }
        assert!(into.chunks.len() <= window as usize / SMALL);
        let mut buf = vec![0; window as usize];
        assert_eq!(into.read(&mut buf), Ok(Some(window as usize)));
        assert!(buf.iter().enumerate().all(|(i, b)| *b == i as u8));
    }
}
