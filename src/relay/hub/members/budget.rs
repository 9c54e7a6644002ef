//! The memory of all links together, and each site's share of it.
//!
//! Two budgets, because a member cannot help what others send to it. What waits in lanes for
//! members that are behind stops growing when their site has as much as is left for all others, so
//! a site that is new always finds room; frames beyond are turned away, and their senders told. All
//! else is a link's own doing: it does not read what the relay tells it, or does not finish what it
//! sends. When that is too much, the largest link of the site that has most is closed.

use crate::limits::RelayLimits;
use crate::site_share::is_within_share;
use crate::table::Table;
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

/// What the links of a site take together.
#[derive(Debug, Default)]
struct Share {
    links: usize,
    memory: Memory,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Budget {
    all: Memory,
    /// Every site that has links.
    sites: Table<IpAddr, Share>,
}

impl Budget {
    /// A link came from a site. It takes no memory yet.
    pub(super) fn enter(&mut self, site: IpAddr) {
        self.sites.or_insert_with(site, Share::default).links += 1;
    }

    /// A link of a site is gone, and so is the memory that it took.
    pub(super) fn leave(&mut self, site: IpAddr, taken: Memory) {
        self.change(site, taken, Memory::default());
        if let Some(share) = self.sites.get_mut(&site) {
            share.links -= 1;
            if share.links == 0 {
                self.sites.remove(&site);
            }
        }
    }

    /// A link of a site takes another amount than before.
    pub(super) fn change(&mut self, site: IpAddr, before: Memory, after: Memory) {
        self.all.change(before, after);
        if let Some(share) = self.sites.get_mut(&site) {
            share.memory.change(before, after);
        }
    }

    /// Whether the lanes of a site's members may grow by `more` bytes: to no more than is left
    /// then.
    pub(super) fn has_share(&self, site: IpAddr, more: usize, limits: &RelayLimits) -> bool {
        let own = self.sites.get(&site).map_or(0, |s| s.memory.lanes);
        is_within_share(self.all.lanes + more, own + more, limits.queues_bytes)
    }

    /// The site that must give memory back, if all take more than the budget, or one site more than
    /// half of it.
    #[inline]
    pub(super) fn site_over(&self, limits: &RelayLimits) -> Option<IpAddr> {
        // None can have more than all.
        if self.all.own <= limits.links_bytes / 2 {
            return None;
        }
        self.largest_site_over(limits.links_bytes)
    }

    fn largest_site_over(&self, budget: usize) -> Option<IpAddr> {
        let (site, share) = self.sites.iter().max_by_key(|(_, s)| s.memory.own)?;
        let is_over = self.all.own > budget || share.memory.own > budget / 2;
        is_over.then_some(*site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn own(own: usize) -> Memory {
        Memory { lanes: 0, own }
    }

    fn limits() -> RelayLimits {
        RelayLimits {
            links_bytes: 100,
            queues_bytes: 100,
            ..RelayLimits::default()
        }
    }

    #[test]
    fn a_site_over_half_of_the_budget_or_the_largest_when_all_are_over_gives_back() {
        let mut budget = Budget::default();
        for last in 1..=3 {
            budget.enter(site(last));
        }
        budget.change(site(1), own(0), own(50));
        assert_eq!(budget.site_over(&limits()), None);
        budget.change(site(1), own(50), own(51));
        assert_eq!(budget.site_over(&limits()), Some(site(1)));
        budget.change(site(1), own(51), own(30));
        budget.change(site(2), own(0), own(40));
        budget.change(site(3), own(0), own(30));
        assert_eq!(budget.site_over(&limits()), None, "all have 100");
        budget.change(site(3), own(30), own(31));
        assert_eq!(budget.site_over(&limits()), Some(site(2)));
        budget.leave(site(2), own(40));
        assert_eq!(budget.site_over(&limits()), None);
    }

    #[test]
    fn a_site_may_have_as_much_in_lanes_as_is_left_for_others() {
        let mut budget = Budget::default();
        budget.enter(site(1));
        budget.enter(site(2));
        let lanes = |lanes| Memory { lanes, own: 0 };
        budget.change(site(1), lanes(0), lanes(50));
        assert!(!budget.has_share(site(1), 1, &limits()));
        assert!(budget.has_share(site(2), 25, &limits()), "25 are left then");
        assert!(!budget.has_share(site(2), 26, &limits()));
    }

    #[test]
    fn a_site_without_links_is_forgotten() {
        let mut budget = Budget::default();
        budget.enter(site(1));
        budget.enter(site(1));
        budget.leave(site(1), own(0));
        assert_eq!(budget.sites.len(), 1);
        budget.leave(site(1), own(0));
        assert!(budget.sites.is_empty());
    }
}
