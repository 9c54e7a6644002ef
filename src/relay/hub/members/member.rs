//! One link of a relay: how far it has come, what waits for it, and how fast it may go.

use super::super::origin::Origin;
use super::super::stage::{Clocks, Membership, Stage};
use super::budget::Memory;
use super::outbox::Outbox;
use crate::inbox::Inbox;
use crate::limits::RelayLimits;
use crate::protocol::Time;
use crate::rate::Throttle;

#[derive(Debug)]
pub(super) struct Member {
    origin: Origin,
    opened: Time,
    /// When bytes came last.
    heard: Time,
    pub(super) stage: Stage,
    /// The beginning of a frame that is not finished.
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
    /// How fast it may send.
    speed: Throttle,
    /// Its memory, as it was counted last.
    counted: Memory,
}

impl Member {
    pub(super) fn new(origin: Origin, limits: &RelayLimits, now: Time) -> Member {
        let stalled = usize::try_from(limits.stalled.as_secs()).unwrap_or(usize::MAX);
        let least = stalled.saturating_mul(limits.drain_per_second as usize);
        Member {
            origin,
            opened: now,
            heard: now,
            stage: Stage::New,
            inbox: Inbox::default(),
            outbox: Outbox::new(least.max(1), now),
            speed: Throttle::new(limits.burst, now),
            counted: Memory::default(),
        }
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    #[cfg(feature = "compat")]
    pub(super) fn opened(&self) -> Time {
        self.opened
    }

    pub(super) fn membership(&self) -> Option<&Membership> {
        self.stage.membership()
    }

    pub(super) fn membership_mut(&mut self) -> Option<&mut Membership> {
        self.stage.membership_mut()
    }

    /// It sent so many bytes; until when it is not to be read, if it sends too fast.
    pub(super) fn hear(&mut self, bytes: usize, limits: &RelayLimits, now: Time) -> Option<Time> {
        self.heard = now;
        let (rate, burst) = (limits.bytes_per_second, limits.burst);
        self.speed.charge(bytes, rate, burst, now)
    }

    /// What its deadlines are counted from; `held` is until when it is not read.
    pub(super) fn clocks(&self, held: Option<Time>) -> Clocks {
        Clocks {
            opened: self.opened,
            heard: self.heard,
            held,
            unfinished: self.inbox.unfinished(),
            moved: self.outbox.moved(),
            waits: !self.outbox.is_empty(),
        }
    }

    /// The memory that it takes, as it was counted last.
    pub(super) fn counted(&self) -> Memory {
        self.counted
    }

    /// Counts its memory anew: what it was counted with, if that has changed.
    #[inline]
    pub(super) fn recount(&mut self) -> Option<Memory> {
        let after = self.memory();
        (after != self.counted).then(|| std::mem::replace(&mut self.counted, after))
    }

    fn memory(&self) -> Memory {
        let tables = self.membership().map_or(0, Membership::memory);
        Memory {
            lanes: self.outbox.lanes_memory(),
            own: self.inbox.memory() + self.outbox.memory() + tables,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::context::tests::at;
    use super::*;
    use crate::protocol::LinkId;

    fn member(limits: &RelayLimits) -> Member {
        Member::new(Origin::of([10, 0, 0, 1].into()), limits, at(1).at)
    }

    /// Bytes of a frame come that has more.
    fn begin_frame(member: &mut Member, bytes: usize, now: Time) {
        let begun = [b"plant|msg|".as_slice(), &vec![b'A'; bytes]].concat();
        let whole = member.inbox.next(now, &mut begun.as_slice());
        assert_eq!(whole, Ok(None));
    }

    #[test]
    fn one_that_sends_too_fast_is_not_read_until_it_may_go_on() {
        let limits = RelayLimits {
            bytes_per_second: 100,
            burst: 300,
            ..RelayLimits::default()
        };
        let mut member = member(&limits);
        assert_eq!(member.hear(300, &limits, at(1).at), None);
        assert_eq!(member.hear(200, &limits, at(1).at), Some(at(3).at));
        assert_eq!(member.hear(100, &limits, at(9).at), None);
    }

    #[test]
    fn its_memory_is_what_it_has_begun_and_what_waits() {
        let mut member = member(&RelayLimits::default());
        assert_eq!(member.recount(), None, "nothing has changed");
        begin_frame(&mut member, 100, at(1).at);
        assert_eq!(member.recount(), Some(Memory::default()));
        assert!(member.counted().own >= 100);
        member.inbox = Inbox::default();
        assert!(member.recount().is_some_and(|before| before.own >= 100));
        assert_eq!(member.counted(), Memory::default());
        member
            .outbox
            .append(LinkId(1), at(1).at, |out| out.extend_from_slice(b"hello"));
        member.recount();
        assert!((5..1_000).contains(&member.counted().own));
    }

    #[test]
    fn its_clocks_say_what_came_and_what_waits_since_when() {
        let limits = RelayLimits::default();
        let mut member = member(&limits);
        member.hear(1, &limits, at(5).at);
        let clocks = member.clocks(None);
        assert_eq!((clocks.opened, clocks.heard), (at(1).at, at(5).at));
        assert!(!clocks.waits && clocks.unfinished.is_none());
        begin_frame(&mut member, 1, at(6).at);
        member
            .outbox
            .append(LinkId(1), at(7).at, |out| out.push(b'x'));
        let clocks = member.clocks(Some(at(8).at));
        assert_eq!(clocks.unfinished, Some(at(6).at));
        assert_eq!((clocks.waits, clocks.moved), (true, at(7).at));
        assert_eq!(clocks.held, Some(at(8).at));
    }
}
