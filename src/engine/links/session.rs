//! The keys and sequence numbers of one session: what makes a record acceptable exactly once, in
//! its place, from the other side.

use super::{Refuse, Time};
use crate::fernet::Sealer;
use crate::frame::FrameType;
use crate::name::NodeName;
use crate::wire::Instance;
use crate::wire::record::Record;
use sha2::Sha256;

#[derive(Debug)]
struct Direction {
    sealer: Sealer,
    kind: FrameType,
    sequence: u64,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) peer: Instance,
    pub(crate) name: NodeName,
    /// The TCP port the peer listens on.
    pub(super) port: u16,
    /// Whether the peer was still asking for its name.
    pub(super) probing: bool,
    /// The calls of this node whose answers have come, and which the peer was not told yet that it
    /// may forget.
    to_confirm: Vec<u64>,
    /// The highest number of a call that came.
    last_call: Option<u64>,
    /// When a call, an answer or something of a stream last passed.
    used: Time,
    outbound: Direction,
    inbound: Direction,
}

/// The other side of a session, as its hello said.
pub(super) struct Party {
    pub(super) peer: Instance,
    pub(super) name: NodeName,
    pub(super) port: u16,
    pub(super) probing: bool,
}

impl Session {
    /// `asked` is whether we are the side that asked; the sealers are the asker's and the
    /// answerer's.
    pub(super) fn new(
        with: Party,
        asked: bool,
        asker: Sealer,
        answerer: Sealer,
        now: Time,
    ) -> Session {
        let asker = Direction {
            sealer: asker,
            kind: FrameType::MESSAGE,
            sequence: 0,
        };
        let answerer = Direction {
            sealer: answerer,
            kind: FrameType::RESPONSE,
            sequence: 0,
        };
        let (outbound, inbound) = if asked {
            (asker, answerer)
        } else {
            (answerer, asker)
        };
        Session {
            peer: with.peer,
            name: with.name,
            port: with.port,
            probing: with.probing,
            to_confirm: Vec::new(),
            last_call: None,
            used: now,
            outbound,
            inbound,
        }
    }

    /// Opens the next record of the other side. The peer is not told why one is refused.
    pub(super) fn open<'b>(
        &mut self,
        kind: FrameType,
        token: &[u8],
        buf: &'b mut Vec<u8>,
    ) -> Result<Record<'b>, Refuse> {
        if kind != self.inbound.kind {
            return Err(Refuse::Record);
        }
        let plain = self
            .inbound
            .sealer
            .open(token, buf)
            .map_err(|_| Refuse::Token)?;
        let record = Record::decode(plain).map_err(|_| Refuse::Record)?;
        if record.sequence != self.inbound.sequence {
            return Err(Refuse::Record);
        }
        self.inbound.sequence += 1;
        Ok(record)
    }

    /// A call, an answer or something of a stream passes, so the session is not idle.
    pub(crate) fn mark_used(&mut self, now: Time) {
        self.used = now;
    }

    /// When a call, an answer or something of a stream last passed.
    pub(crate) fn used_at(&self) -> Time {
        self.used
    }

    /// A call with this number came.
    pub(crate) fn note_call(&mut self, number: u64) {
        self.last_call = self.last_call.max(Some(number));
    }

    /// The highest number of a call that came.
    pub(crate) fn last_call(&self) -> Option<u64> {
        self.last_call
    }

    /// The answer to a call of this node has come: the peer is to be told that it may forget the
    /// call. Returns of how many calls it is to be told so.
    pub(crate) fn add_confirmation(&mut self, number: u64) -> usize {
        self.to_confirm.push(number);
        self.to_confirm.len()
    }

    /// Takes the numbers of all calls that the peer is to be told that it may forget.
    pub(crate) fn take_confirmations(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.to_confirm)
    }

    /// Hands the oldest of those numbers, `most` of them, to `tell`, which tells the peer.
    pub(crate) fn tell_confirmations(&mut self, most: usize, tell: impl FnOnce(&[u64])) {
        let count = self.to_confirm.len().min(most);
        tell(&self.to_confirm[..count]);
        self.to_confirm.drain(..count);
    }

    /// The sequence number the next record of ours must carry.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.outbound.sequence
    }

    /// The type of the frames that carry our records.
    pub(crate) fn kind(&self) -> FrameType {
        self.outbound.kind
    }

    /// Seals the record that `plain` holds, and appends its token; if something is to be added to a
    /// digest, that is done along the way.
    pub(super) fn seal(
        &mut self,
        plain: &[u8],
        unix: u64,
        iv: &[u8; 16],
        out: &mut Vec<u8>,
        digest: Option<(&[u8], &mut Sha256)>,
    ) {
        let sealer = &self.outbound.sealer;
        match digest {
            Some(digest) => sealer.seal_hashing(plain, unix, iv, out, digest),
            None => sealer.seal(plain, unix, iv, out),
        }
        self.outbound.sequence += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fernet::Key;
    use crate::frame::{Parsed, encode_with, parse};
    use crate::limits::FRAME_MAX;
    use crate::wire::record::encode_cancel;

    fn pair(keys: (u8, u8)) -> (Session, Session) {
        let make = |asked| {
            let with = Party {
                peer: Instance([0; 16]),
                name: NodeName::new("n").unwrap(),
                port: 0,
                probing: false,
            };
            let sealer = |k| Sealer::new(&Key::from_bytes([k; 32]));
            Session::new(with, asked, sealer(keys.0), sealer(keys.1), Time::default())
        };
        (make(true), make(false))
    }

    fn send(from: &mut Session) -> Vec<u8> {
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        encode_cancel(from.next_sequence(), 5, &mut plain);
        let kind = from.kind();
        encode_with("n", kind, &mut out, |out| {
            from.seal(&plain, 1, &[9; 16], out, None)
        });
        out
    }

    fn take(to: &mut Session, bytes: &[u8]) -> Result<u64, Refuse> {
        let Ok(Parsed::Complete(f, _)) = parse(bytes, FRAME_MAX) else {
            panic!()
        };
        to.open(f.kind, f.payload, &mut Vec::new())
            .map(|r| r.sequence)
    }

    #[test]
    fn the_oldest_confirmations_are_told_first_and_each_once() {
        let (mut session, _) = pair((1, 2));
        for number in 1..=3 {
            assert_eq!(session.add_confirmation(number), number as usize);
        }
        let mut told = Vec::new();
        session.tell_confirmations(2, |numbers| told.extend_from_slice(numbers));
        assert_eq!(told, [1, 2]);
        assert_eq!(session.take_confirmations(), [3]);
        session.tell_confirmations(2, |numbers| assert!(numbers.is_empty()));
    }

    #[test]
    fn the_highest_number_of_a_call_stays_when_an_earlier_call_comes_again() {
        let (mut session, _) = pair((1, 2));
        assert_eq!(session.last_call(), None);
        session.note_call(7);
        session.note_call(5);
        assert_eq!(session.last_call(), Some(7));
    }

    #[test]
    fn records_are_accepted_once_and_in_order() {
        let (mut a, mut b) = pair((1, 2));
        let frames: Vec<_> = (0..3).map(|_| send(&mut a)).collect();
        assert_eq!(take(&mut b, &frames[1]), Err(Refuse::Record), "skipped");
        assert_eq!(take(&mut b, &frames[0]), Ok(0));
        assert_eq!(take(&mut b, &frames[0]), Err(Refuse::Record), "replayed");
        assert_eq!(take(&mut b, &frames[2]), Err(Refuse::Record), "reordered");
        assert_eq!(take(&mut b, &frames[1]), Ok(1));
    }

    #[test]
    fn a_record_of_the_other_direction_or_another_session_is_refused() {
        let (mut a, mut b) = pair((1, 2));
        let own = send(&mut a);
        assert_eq!(take(&mut a, &own), Err(Refuse::Record), "reflected");
        let renamed = String::from_utf8(own.clone())
            .unwrap()
            .replace("|msg|", "|rsp|");
        assert_eq!(
            take(&mut a, renamed.as_bytes()),
            Err(Refuse::Token),
            "reflected under the other type"
        );
        let (mut other, _) = pair((3, 4));
        assert_eq!(take(&mut b, &send(&mut other)), Err(Refuse::Token));
        assert_eq!(take(&mut b, &own), Ok(0));
    }
}
