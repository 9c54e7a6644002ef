//! What a member has under way to others, and from which others it wants nothing.
//!
//! A member has at most a window of bytes under way to each other member. It is told how many are
//! not under way any more: those that have left the relay, and those of frames that were turned
//! away. What it is told is their total since its route to that member was opened, which is when
//! its first frame came. The route is closed when the relay says so, because it forgets the total
//! or because the other member wants nothing, and opened again with the next frame.

use crate::limits::FRAME_MAX;
use crate::protocol::LinkId;
use crate::table::Table;
use crate::wire::relay::ROUTE_WINDOW;

/// What a member may have under way to one other before it is taken for a flood: the window, and
/// what keepalives and the like may add to it.
const FLOOD: u32 = ROUTE_WINDOW + 2 * FRAME_MAX as u32;

/// Bytes from one member to another.
#[derive(Debug, Default)]
struct Flow {
    /// Bytes that are not under way any more, in all since the route was opened.
    total: u64,
    /// Those of them that the member was not told of.
    untold: u32,
    /// Bytes that wait for the other member.
    waits: u32,
    /// Those of them that came before the route was opened last. No total counts them.
    former: u32,
}

impl Flow {
    /// Bytes that the member takes to be under way.
    fn window_used(&self) -> u32 {
        self.waits - self.former + self.untold
    }

    /// So many bytes are not under way any more.
    fn give_back(&mut self, bytes: u32) {
        self.total = self.total.wrapping_add(bytes.into());
        self.untold += bytes;
    }
}

/// What a member is told of its bytes to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Credit {
    pub(in super::super) to: LinkId,
    /// Bytes that are not under way any more, in all since the route was opened.
    pub(in super::super) total: u64,
}

/// Whether one more member may have bytes of this one waiting.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct FlowRoom {
    pub(in super::super) is_free: bool,
    /// The routes that are closed to make room: those to members that have nothing waiting.
    pub(in super::super) settled: Vec<Credit>,
}

/// All flows of one member.
#[derive(Debug, Default)]
pub(in super::super) struct Flows(Table<LinkId, Flow>);

impl Flows {
    /// Bytes that wait for a member.
    pub(in super::super) fn waits(&self, to: LinkId) -> usize {
        self.0.get(&to).map_or(0, |flow| flow.waits) as usize
    }

    /// Makes room for a flow to one more member, if there are `most`: those that have nothing
    /// waiting give way.
    pub(in super::super) fn make_room(&mut self, to: LinkId, most: usize) -> FlowRoom {
        if self.0.len() < most || self.0.contains_key(&to) {
            return FlowRoom {
                is_free: true,
                settled: Vec::new(),
            };
        }
        // A route with a total of 0 was closed before, and not used since.
        let idle = self.0.iter().filter(|(_, f)| f.waits == 0 && f.total > 0);
        let credit = |(to, flow): (&LinkId, &Flow)| Credit {
            to: *to,
            total: flow.total,
        };
        let settled = idle.map(credit).collect();
        self.0.retain(|_, flow| flow.waits > 0);
        FlowRoom {
            is_free: self.0.len() < most,
            settled,
        }
    }

    /// Notes that bytes wait; false if they are more than may.
    pub(in super::super) fn charge(&mut self, to: LinkId, bytes: usize) -> bool {
        let flow = self.0.or_insert_with(to, Flow::default);
        flow.waits += bytes as u32;
        flow.window_used() <= FLOOD
    }

    /// A frame of so many bytes is turned away; the total, of which the member is told now.
    pub(in super::super) fn turn_away(&mut self, to: LinkId, bytes: usize) -> u64 {
        let flow = self.0.or_insert_with(to, Flow::default);
        flow.give_back(bytes as u32);
        flow.untold = 0;
        flow.total
    }

    /// Bytes have left the relay; what the member is told now, which is nothing below half of a
    /// window: less is not worth a frame.
    pub(in super::super) fn drained(&mut self, to: LinkId, bytes: u32) -> Option<Credit> {
        let flow = self.0.get_mut(&to)?;
        flow.waits = flow.waits.saturating_sub(bytes);
        let former = flow.former.min(bytes);
        flow.former -= former;
        flow.give_back(bytes - former);
        if flow.untold < ROUTE_WINDOW / 2 {
            return None;
        }
        flow.untold = 0;
        let total = flow.total;
        Some(Credit { to, total })
    }

    /// The member is told that its route to another is closed, and counts anew from here on.
    pub(in super::super) fn close(&mut self, to: LinkId) {
        let Some(flow) = self.0.get_mut(&to) else {
            return;
        };
        if flow.waits == 0 {
            self.0.remove(&to);
            return;
        }
        flow.former = flow.waits;
        (flow.total, flow.untold) = (0, 0);
    }

    /// The other member is gone.
    pub(in super::super) fn remove(&mut self, to: LinkId) {
        self.0.remove(&to);
    }

    pub(in super::super) fn memory(&self) -> usize {
        self.0.memory()
    }
}

/// The members from which one wants nothing, in the order in which it said so.
#[derive(Debug, Default)]
pub(in super::super) struct Blocked(Table<LinkId, u64>);

impl Blocked {
    pub(in super::super) fn contains(&self, from: LinkId) -> bool {
        self.0.contains_key(&from)
    }

    /// Adds one; of more than `most` the latest are kept.
    pub(in super::super) fn add(&mut self, from: LinkId, most: usize) {
        let newest = self.0.values().max().map_or(0, |n| n + 1);
        self.0.insert(from, newest);
        let oldest = self.0.iter().min_by_key(|(_, n)| **n);
        if let Some(oldest) = oldest.map(|(id, _)| *id)
            && self.0.len() > most
        {
            self.0.remove(&oldest);
        }
    }

    pub(in super::super) fn remove(&mut self, from: LinkId) {
        self.0.remove(&from);
    }

    pub(in super::super) fn memory(&self) -> usize {
        self.0.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: LinkId = LinkId(2);

    fn credit(total: u64) -> Option<Credit> {
        Some(Credit { to: TO, total })
    }

    #[test]
    fn a_member_is_told_the_total_each_time_that_it_has_grown_by_half_of_a_window() {
        let mut flows = Flows::default();
        let half = ROUTE_WINDOW / 2;
        for round in 1..5 {
            assert!(flows.charge(TO, ROUTE_WINDOW as usize / 2));
            assert_eq!(flows.drained(TO, half - 1), None);
            assert_eq!(flows.waits(TO), 1);
            assert_eq!(flows.drained(TO, 1), credit(round * u64::from(half)));
        }
        assert_eq!(flows.drained(LinkId(9), 1), None);
    }

    #[test]
    fn what_was_turned_away_counts_as_well_and_is_told_at_once() {
        let mut flows = Flows::default();
        assert!(flows.charge(TO, 1_000));
        assert_eq!(flows.turn_away(TO, 500), 500);
        assert_eq!(flows.drained(TO, 1_000), None);
        assert_eq!(flows.turn_away(TO, 500), 2_000);
        assert_eq!(flows.waits(TO), 0);
    }

    #[test]
    fn a_total_wraps_around() {
        let mut flows = Flows::default();
        flows.charge(TO, 1);
        if let Some(flow) = flows.0.get_mut(&TO) {
            flow.total = u64::MAX;
        }
        assert_eq!(flows.turn_away(TO, 3), 2);
    }

    #[test]
    fn more_than_the_window_is_a_flood() {
        let mut flows = Flows::default();
        assert!(flows.charge(TO, FLOOD as usize));
        assert!(!flows.charge(TO, 1));
        assert!(flows.charge(LinkId(3), 1), "each has its own window");
    }

    #[test]
    fn what_was_not_told_yet_is_still_in_the_window() {
        let mut flows = Flows::default();
        assert!(flows.charge(TO, FLOOD as usize));
        assert_eq!(flows.drained(TO, 1), None);
        assert!(!flows.charge(TO, 1));
    }

    #[test]
    fn flows_without_waiting_bytes_give_way_and_their_totals_are_settled() {
        let mut flows = Flows::default();
        for to in [2, 3] {
            flows.charge(LinkId(to), 100);
        }
        assert!(flows.make_room(LinkId(3), 2).is_free, "it has one already");
        let none = FlowRoom {
            is_free: false,
            settled: Vec::new(),
        };
        assert_eq!(
            flows.make_room(LinkId(4), 2),
            none,
            "both have bytes waiting"
        );
        flows.drained(TO, 100);
        let one = FlowRoom {
            is_free: true,
            settled: credit(100).into_iter().collect(),
        };
        assert_eq!(flows.make_room(LinkId(4), 2), one);
        assert_eq!(flows.turn_away(TO, 7), 7, "it counts anew");
    }

    #[test]
    fn bytes_from_before_a_route_was_closed_are_in_no_total() {
        let mut flows = Flows::default();
        let window = ROUTE_WINDOW as usize;
        assert!(flows.charge(TO, window));
        flows.close(TO);
        assert_eq!(flows.waits(TO), window, "they wait still");
        assert!(flows.charge(TO, window), "the window is whole again");
        assert_eq!(flows.drained(TO, ROUTE_WINDOW), None);
        assert_eq!(flows.drained(TO, ROUTE_WINDOW), credit(ROUTE_WINDOW.into()));
        flows.close(TO);
        assert!(flows.0.is_empty(), "nothing waits");
    }

    #[test]
    fn a_closed_route_that_was_not_used_since_is_not_settled() {
        let mut flows = Flows::default();
        flows.charge(TO, 100);
        flows.close(TO);
        flows.drained(TO, 100);
        let room = flows.make_room(LinkId(3), 1);
        assert_eq!((room.is_free, room.settled), (true, Vec::new()));
    }

    #[test]
    fn of_those_that_a_member_blocks_the_latest_are_kept() {
        let mut blocked = Blocked::default();
        for from in [5, 6, 5, 7] {
            blocked.add(LinkId(from), 2);
        }
        assert!(!blocked.contains(LinkId(6)), "5 was named again after it");
        assert!(blocked.contains(LinkId(5)) && blocked.contains(LinkId(7)));
        blocked.remove(LinkId(5));
        assert!(!blocked.contains(LinkId(5)));
    }
}
