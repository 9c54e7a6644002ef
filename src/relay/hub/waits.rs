//! Links that wait for a moment each.

use crate::protocol::{LinkId, Time};
use crate::table::Table;

/// The links, and when the first of them is over, so that asking for that does not look at all of
/// them.
#[derive(Debug)]
pub(super) struct Waits {
    until: Table<LinkId, Time>,
    /// None is over before.
    due: Time,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits {
            until: Table::default(),
            due: Time::NEVER,
        }
    }
}

impl Waits {
    pub(super) fn due(&self) -> Time {
        self.due
    }

    pub(super) fn contains(&self, id: LinkId) -> bool {
        self.until.contains_key(&id)
    }

    pub(super) fn get(&self, id: LinkId) -> Option<Time> {
        self.until.get(&id).copied()
    }

    pub(super) fn insert(&mut self, id: LinkId, until: Time) {
        self.until.insert(id, until);
        self.due = self.due.min(until);
    }

    pub(super) fn remove(&mut self, id: LinkId) {
        self.until.remove(&id);
    }

    /// Takes out those that are over.
    pub(super) fn take_due(&mut self, now: Time) -> Vec<LinkId> {
        if now < self.due {
            return Vec::new();
        }
        let over = self.until.iter().filter(|(_, until)| now >= **until);
        let over: Vec<LinkId> = over.map(|(id, _)| *id).collect();
        self.until.retain(|_, until| now < *until);
        self.due = self.until.values().min().copied().unwrap_or(Time::NEVER);
        over
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::tests::at;
    use super::*;

    #[test]
    fn those_that_are_over_are_taken_out_and_the_next_is_due() {
        let mut waits = Waits::default();
        for (id, seconds) in [(1, 5), (2, 3), (3, 9)] {
            waits.insert(LinkId(id), at(seconds).at);
        }
        assert_eq!(waits.due(), at(3).at);
        assert!(waits.take_due(at(2).at).is_empty());
        assert_eq!(waits.take_due(at(5).at), [LinkId(1), LinkId(2)]);
        assert_eq!((waits.due(), waits.contains(LinkId(1))), (at(9).at, false));
        assert_eq!(waits.get(LinkId(3)), Some(at(9).at));
        waits.remove(LinkId(3));
        assert!(waits.take_due(at(9).at).is_empty());
        assert_eq!(waits.due(), Time::NEVER);
    }
}
