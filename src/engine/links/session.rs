//! The keys and sequence numbers of one session: what makes a record acceptable exactly once, in
//! its place, from the other side.

use super::Time;
use super::came::Refuse;
use crate::frame::FrameType;
use crate::handshake::{Party, RecordKeys, SessionKeys, Shown};
use crate::identity::PublicKey;
use crate::limits::{RENEW_AFTER, RENEW_RECORDS};
use crate::name::{NodeName, Role};
use crate::rules::Caller;
use crate::wire::Instance;
use crate::wire::record::{Body, Record};

/// One direction of a session.
#[derive(Debug)]
struct Direction {
    keys: RecordKeys,
    kind: FrameType,
    sequence: u64,
    /// Records under the present key.
    under_key: u32,
    /// Since when it is the key.
    key_since: Time,
}

impl Direction {
    fn new(keys: RecordKeys, kind: FrameType, now: Time) -> Direction {
        Direction {
            keys,
            kind,
            sequence: 0,
            under_key: 0,
            key_since: now,
        }
    }

    fn renew_key(&mut self, now: Time) {
        self.keys.renew();
        (self.under_key, self.key_since) = (0, now);
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) peer: Instance,
    pub(crate) name: NodeName,
    /// The peer's public key.
    pub(crate) key: PublicKey,
    /// What the peer has shown for its name, until others have looked at it.
    pub(super) shown: Shown,
    /// Until when nothing but what the network itself has to say may go out.
    pub(super) held_until: Option<Time>,
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
    /// When the last record of the peer came.
    heard: Time,
    /// The calls of this node that wait for an answer over it.
    waiting_calls: usize,
    outbound: Direction,
    inbound: Direction,
}

impl Session {
    /// `asked` is whether we are the side that asked.
    pub(super) fn new(with: Party, asked: bool, keys: SessionKeys, now: Time) -> Session {
        let (ours, theirs) = match asked {
            true => (FrameType::MESSAGE, FrameType::RESPONSE),
            false => (FrameType::RESPONSE, FrameType::MESSAGE),
        };
        Session {
            peer: with.instance,
            name: with.name,
            key: with.key,
            shown: with.shown,
            held_until: None,
            port: with.port,
            probing: with.probing,
            to_confirm: Vec::new(),
            last_call: None,
            used: now,
            heard: now,
            waiting_calls: 0,
            outbound: Direction::new(keys.outbound, ours, now),
            inbound: Direction::new(keys.inbound, theirs, now),
        }
    }

    /// The peer, which has these roles, as the caller of its calls.
    pub(crate) fn caller<'a>(&'a self, roles: &'a [Role]) -> Caller<'a> {
        Caller {
            name: &self.name,
            key: Some(&self.key),
            roles,
        }
    }

    /// Opens the next record of the other side. The peer is not told why one is refused.
    pub(super) fn open<'b>(
        &mut self,
        kind: FrameType,
        token: &[u8],
        buf: &'b mut Vec<u8>,
    ) -> Result<Record<'b>, Refuse> {
        let inbound = &mut self.inbound;
        if kind != inbound.kind || inbound.under_key >= RENEW_RECORDS {
            return Err(Refuse::Record);
        }
        let opened = inbound.keys.sealer().open(token, buf);
        let plain = opened.map_err(|_| Refuse::Token)?;
        let record = Record::decode(plain).map_err(|_| Refuse::Record)?;
        if record.sequence != inbound.sequence {
            return Err(Refuse::Record);
        }
        inbound.sequence += 1;
        inbound.under_key += 1;
        if record.body == Body::Renew {
            inbound.renew_key(inbound.key_since);
        }
        Ok(record)
    }

    /// A record of the peer came.
    pub(super) fn mark_heard(&mut self, now: Time) {
        self.heard = now;
    }

    /// When the last record of the peer came.
    pub(super) fn heard_at(&self) -> Time {
        self.heard
    }

    /// A call, an answer or something of a stream passes, so the session is not idle.
    pub(crate) fn mark_used(&mut self, now: Time) {
        self.used = now;
    }

    /// When a call, an answer or something of a stream last passed.
    pub(crate) fn used_at(&self) -> Time {
        self.used
    }

    /// A call of this node waits for its answer from now on. Says whether it is the only one.
    pub(super) fn call_sent(&mut self) -> bool {
        self.waiting_calls += 1;
        self.waiting_calls == 1
    }

    /// A call of this node that was sent over it has ended.
    pub(super) fn call_ended(&mut self) {
        self.waiting_calls = self.waiting_calls.saturating_sub(1);
    }

    /// Whether a call of this node waits for its answer.
    pub(super) fn has_waiting_calls(&self) -> bool {
        self.waiting_calls > 0
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

    /// Seals the record that `plain` holds, and appends its token.
    pub(super) fn seal(&mut self, plain: &[u8], unix: u64, iv: &[u8; 16], out: &mut Vec<u8>) {
        self.outbound.keys.sealer().seal(plain, unix, iv, out);
        self.outbound.sequence += 1;
        self.outbound.under_key += 1;
    }

    /// Whether our key has to be renewed: after the record that says so, the peer takes no more
    /// under it.
    #[inline]
    pub(super) fn is_key_old(&self, now: Time) -> bool {
        let outbound = &self.outbound;
        outbound.under_key >= RENEW_RECORDS - 1 || now - outbound.key_since >= RENEW_AFTER
    }

    /// Our next record is sealed under the next key.
    pub(super) fn renew_key(&mut self, now: Time) {
        self.outbound.renew_key(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Parsed, encode_with, parse};
    use crate::identity::Identity;
    use crate::limits::FRAME_MAX;
    use crate::wire::record::{encode_cancel, encode_renew};

    /// Both sides of a session with these chain keys.
    fn pair((asker, answerer): (u8, u8)) -> (Session, Session) {
        let make = |asked, outbound, inbound| {
            let with = Party {
                instance: Instance([0; 16]),
                key: Identity::from_seed([1; 32]).public_key(),
                shown: Shown::default(),
                name: NodeName::new("n").unwrap(),
                port: 0,
                probing: false,
            };
            let keys = SessionKeys {
                outbound: RecordKeys::new(&[outbound; 32]),
                inbound: RecordKeys::new(&[inbound; 32]),
            };
            Session::new(with, asked, keys, Time::default())
        };
        (make(true, asker, answerer), make(false, answerer, asker))
    }

    fn send(from: &mut Session) -> Vec<u8> {
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        encode_cancel(from.next_sequence(), 5, &mut plain);
        let kind = from.kind();
        encode_with("n", kind, &mut out, |out| {
            from.seal(&plain, 1, &[9; 16], out)
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

    /// What says that the sender's next record is sealed under its next key.
    fn renew(from: &mut Session, now: Time) -> Vec<u8> {
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        encode_renew(from.next_sequence(), &mut plain);
        let kind = from.kind();
        encode_with("n", kind, &mut out, |out| {
            from.seal(&plain, 1, &[9; 16], out)
        });
        from.renew_key(now);
        out
    }

    #[test]
    fn a_renewed_key_opens_what_comes_after_it_and_the_old_one_does_not() {
        let (mut a, mut b) = pair((1, 2));
        assert_eq!(take(&mut b, &send(&mut a)), Ok(0));
        let late = at_hour(1);
        assert!(!a.is_key_old(Time::default()) && a.is_key_old(late));
        let said = renew(&mut a, late);
        assert!(!a.is_key_old(late));
        let after = send(&mut a);
        assert_eq!(take(&mut b, &after), Err(Refuse::Token), "too early");
        assert_eq!(take(&mut b, &said), Ok(1));
        assert_eq!(take(&mut b, &after), Ok(2), "the numbers go on");
        assert_eq!(
            take(&mut a, &send(&mut b)),
            Ok(0),
            "the other way as before"
        );
    }

    fn at_hour(hours: u32) -> Time {
        Time(RENEW_AFTER * hours)
    }

    #[test]
    fn a_key_that_is_not_renewed_in_time_is_refused() {
        let (mut a, mut b) = pair((1, 2));
        b.inbound.under_key = RENEW_RECORDS - 1;
        a.outbound.under_key = RENEW_RECORDS - 2;
        assert!(!a.is_key_old(Time::default()));
        let (last, one_more) = (send(&mut a), send(&mut a));
        assert!(a.is_key_old(Time::default()));
        assert_eq!(take(&mut b, &last), Ok(0));
        assert_eq!(take(&mut b, &one_more), Err(Refuse::Record));
    }
}
