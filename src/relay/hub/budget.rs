//! The memory of all links together, and each site's share of it.
//!
//! Two budgets, because a member cannot help what others send to it. What waits in lanes for members that
//! are behind stops growing when their site has as much as is left for all others, so a site that is new always
//! finds room; frames beyond are turned away, and their senders told. All else is a link's own doing: it
//! does not read what the relay tells it, or does not finish what it sends. When that is too much, the
//! largest link of the site that has most is closed.

use super::Hub;
use super::member::Member;
use super::source::Site;
use crate::protocol::{LinkId, Now};
use crate::table::Table;
use crate::wire::relay::Refusal;
use std::net::IpAddr;

/// Bytes of memory, capacity counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Of lanes.
    pub(super) lanes: usize,
    /// Of input, output and tables.
    pub(super) own: usize,
}

impl Memory {
    fn change(&mut self, before: Memory, after: Memory) {
        self.lanes = self.lanes - before.lanes + after.lanes;
        self.own = self.own - before.own + after.own;
    }
}

/// Whether a site may have `own` when `all` have so much: no more than is left then. Up to half of the budget it
/// may, because nobody can have more than all.
pub(crate) fn is_within_share(all: usize, own: usize, budget: usize) -> bool {
    2 * all <= budget || own <= budget.saturating_sub(all)
}

/// Counts a link's memory anew.
pub(super) fn recount(
    total: &mut Memory,
    sites: &mut Table<IpAddr, Box<Site>>,
    member: &mut Member,
) {
    let (before, after) = (member.counted, member.memory());
    if before != after {
        count(total, sites, member, after);
    }
}

fn count(
    total: &mut Memory,
    sites: &mut Table<IpAddr, Box<Site>>,
    member: &mut Member,
    after: Memory,
) {
    let before = std::mem::replace(&mut member.counted, after);
    total.change(before, after);
    if let Some(site) = sites.get_mut(&member.site) {
        site.memory.change(before, after);
    }
}

/// A link is gone, and its memory with it.
pub(super) fn forget(
    total: &mut Memory,
    sites: &mut Table<IpAddr, Box<Site>>,
    member: &mut Member,
) {
    count(total, sites, member, Memory::default());
}

impl Hub {
    /// Whether the lanes of a site's members may grow by `more` bytes: to no more than is left then.
    pub(super) fn has_share(&self, site: IpAddr, more: usize) -> bool {
        let own = self.sites.get(&site).map_or(0, |s| s.memory.lanes);
        let budget = self.config.limits.queues_bytes;
        is_within_share(self.memory.lanes + more, own + more, budget)
    }

    /// Closes links until all are within their budget, and no site has more than half of it.
    pub(super) fn relieve(&mut self, now: Now) {
        let budget = self.config.limits.links_bytes;
        // Nobody can have more than all.
        while self.memory.own > budget / 2 {
            let most = self.sites.iter().max_by_key(|(_, s)| s.memory.own);
            let Some((site, own)) = most.map(|(site, s)| (*site, s.memory.own)) else {
                return;
            };
            if self.memory.own <= budget && own <= budget / 2 {
                return;
            }
            let of_site = self.members.iter().filter(|(_, m)| m.site == site);
            let largest = of_site
                .max_by_key(|(_, m)| m.counted.own)
                .map(|(id, _)| *id);
            let Some(id) = largest else {
                return;
            };
            // On the wire it is the same as slow: nodes of earlier versions know no other word.
            self.stats.refused_memory += 1;
            self.end(now, id, Refusal::Slow);
        }
    }

    pub(super) fn recount(&mut self, id: LinkId) {
        if let Some(member) = self.members.get_mut(&id) {
            recount(&mut self.memory, &mut self.sites, member);
        }
    }
}
