//! Links that wait for a moment each.

use crate::protocol::{LinkId, Time};
use crate::table::Table;

/// The links, and when the first of them is over, so that asking for that does not look at all of them.
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
    pub(super) fn over(&mut self, now: Time) -> Vec<LinkId> {
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
