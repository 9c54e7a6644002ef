//! Which session gives way when there are too many.

use super::{LinkId, Links, State, Time};
use crate::engine::Source;
use crate::table::Table;
use std::cmp::Reverse;

impl Links {
    /// The session that gives way to the `newest`, if there are more than there may be. The source
    /// that has the most gives way, so that a member that makes sessions as one instance after the
    /// other displaces its own. Of its sessions it is the one that was unused for the longest.
    pub(crate) fn session_to_evict(&self, most: usize, newest: LinkId) -> Option<LinkId> {
        if self.open_sessions() <= most {
            return None;
        }
        let sessions = || {
            self.table
                .iter()
                .filter_map(|(id, link)| match &link.state {
                    State::Open { session, .. } => {
                        Some((link.via.source(), session.used_at(), *id))
                    }
                    _ => None,
                })
        };
        let mut counts: Table<Source, usize> = Table::default();
        for (source, ..) in sessions() {
            *counts.or_insert_with(source, || 0) += 1;
        }
        let others = sessions().filter(|(.., id)| *id != newest);
        let rank = |(source, used, id): &(Source, Time, LinkId)| {
            (Reverse(counts.get(source).copied()), *used, *id)
        };
        others.min_by_key(rank).map(|(.., id)| id)
    }
}
