//! What a member has under way to others, and from which others it wants nothing.
//!
//! A member has at most a window of bytes under way to each other member. The bytes come back to it
//! as credit once they have left the relay.

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
    /// Taken in and not given back as credit.
    window_used: u32,
    /// Those of them that have left the relay.
    drained: u32,
}

impl Flow {
    /// Bytes that wait for the other member.
    fn waits(&self) -> u32 {
        self.window_used - self.drained
    }
}

/// Bytes that a member may send to another again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Credit {
    pub(in super::super) to: LinkId,
    pub(in super::super) bytes: u32,
}

/// Whether one more member may have bytes of this one waiting.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct FlowRoom {
    pub(in super::super) is_free: bool,
    /// What was held for members that have nothing waiting, and is given back to make room.
    pub(in super::super) given_back: Vec<Credit>,
}

/// All flows of one member.
#[derive(Debug, Default)]
pub(in super::super) struct Flows(Table<LinkId, Flow>);

impl Flows {
    /// Bytes that wait for a member.
    pub(in super::super) fn waits(&self, to: LinkId) -> usize {
        self.0.get(&to).map_or(0, Flow::waits) as usize
    }

    /// Makes room for a flow to one more member, if there are `most`: those that have nothing
    /// waiting give way.
    pub(in super::super) fn make_room(&mut self, to: LinkId, most: usize) -> FlowRoom {
        if self.0.len() < most || self.0.contains_key(&to) {
            return FlowRoom {
                is_free: true,
                given_back: Vec::new(),
            };
        }
        let idle = self.0.iter().filter(|(_, flow)| flow.waits() == 0);
        let credit = |(to, flow): (&LinkId, &Flow)| Credit {
            to: *to,
            bytes: flow.drained,
        };
        let given_back = idle.map(credit).collect();
        self.0.retain(|_, flow| flow.waits() > 0);
        FlowRoom {
            is_free: self.0.len() < most,
            given_back,
        }
    }

    /// Notes that bytes wait; false if they are more than may.
    pub(in super::super) fn charge(&mut self, to: LinkId, bytes: usize) -> bool {
        let flow = self.0.or_insert_with(to, Flow::default);
        flow.window_used += bytes as u32;
        flow.window_used <= FLOOD
    }

    /// Bytes have left the relay; what is given back for them, which is nothing below half of a
    /// window: less is not worth a frame.
    pub(in super::super) fn drained(&mut self, to: LinkId, bytes: u32) -> Option<Credit> {
        let flow = self.0.get_mut(&to)?;
        flow.drained += bytes;
        if flow.drained < ROUTE_WINDOW / 2 {
            return None;
        }
        let bytes = std::mem::take(&mut flow.drained);
        flow.window_used -= bytes;
        Some(Credit { to, bytes })
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

    #[test]
    fn bytes_are_given_back_when_they_are_half_of_a_window() {
        let (mut flows, to) = (Flows::default(), LinkId(2));
        assert!(flows.charge(to, ROUTE_WINDOW as usize));
        assert_eq!(flows.drained(to, ROUTE_WINDOW / 2 - 1), None);
        let bytes = ROUTE_WINDOW / 2;
        assert_eq!(flows.drained(to, 1), Some(Credit { to, bytes }));
        assert_eq!(flows.waits(to), ROUTE_WINDOW as usize / 2);
        assert_eq!(flows.drained(LinkId(9), 1), None);
    }

    #[test]
    fn more_than_the_window_is_a_flood() {
        let (mut flows, to) = (Flows::default(), LinkId(2));
        assert!(flows.charge(to, FLOOD as usize));
        assert!(!flows.charge(to, 1));
        assert!(flows.charge(LinkId(3), 1), "each has its own window");
    }

    #[test]
    fn flows_without_waiting_bytes_give_way_and_their_credit_is_given_back() {
        let mut flows = Flows::default();
        for to in [2, 3] {
            flows.charge(LinkId(to), 100);
        }
        assert!(flows.make_room(LinkId(3), 2).is_free, "it has one already");
        assert_eq!(
            flows.make_room(LinkId(4), 2),
            FlowRoom {
                is_free: false,
                given_back: Vec::new()
            },
            "both have bytes waiting"
        );
        flows.drained(LinkId(2), 100);
        let credit = Credit {
            to: LinkId(2),
            bytes: 100,
        };
        assert_eq!(
            flows.make_room(LinkId(4), 2),
            FlowRoom {
                is_free: true,
                given_back: vec![credit]
            }
        );
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
