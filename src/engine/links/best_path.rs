//! Which of several links to a peer is used: the direct one, or which relay's.

use super::{LinkId, Links};
use std::time::Duration;

impl Links {
    /// The best of the links that go to one peer: a direct one before those through relays, of
    /// several the one with the shortest round trip.
    pub(crate) fn best(&self, sessions: &[LinkId]) -> Option<LinkId> {
        let rank = |id: &&LinkId| {
            let link = self.table.get(id);
            let round_trip = link.and_then(|l| l.pulse()?.round_trip());
            (
                link.is_none_or(|l| l.is_relayed()),
                round_trip.unwrap_or(Duration::MAX),
            )
        };
        // Of several alike, the newest.
        sessions.iter().rev().min_by_key(rank).copied()
    }
}
