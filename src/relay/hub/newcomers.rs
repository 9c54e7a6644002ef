//! Links that have not joined yet. They are few, and give way first: a program that opens links and
//! says nothing must not keep others from joining.

use crate::protocol::LinkId;
use crate::table::Table;
use std::net::IpAddr;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    /// The site of each. Links are counted up, so the first is the oldest.
    links: Table<LinkId, IpAddr>,
    /// How many come from each site.
    sites: Table<IpAddr, usize>,
}

impl Newcomers {
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    pub(super) fn add(&mut self, id: LinkId, site: IpAddr) {
        self.links.insert(id, site);
        *self.sites.or_insert_with(site, || 0) += 1;
    }

    /// A link has joined, has asked for something by HTTP, or is gone.
    pub(super) fn remove(&mut self, id: LinkId) {
        let Some(site) = self.links.remove(&id) else {
            return;
        };
        if let Some(count) = self.sites.get_mut(&site) {
            *count -= 1;
            if *count == 0 {
                self.sites.remove(&site);
            }
        }
    }

    /// The oldest link of the site that has most: a site that opens many takes their place from
    /// itself, and one that opens a single link keeps it as long as any other has more.
    pub(super) fn gives_way(&self) -> Option<LinkId> {
        let most = self.sites.values().max()?;
        let of_most = |(_, site): &(&LinkId, &IpAddr)| self.sites.get(site) == Some(most);
        self.links.iter().find(of_most).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_link_of_the_site_that_has_most_gives_way() {
        let site = |last: u8| IpAddr::from([10, 0, 0, last]);
        let mut newcomers = Newcomers::default();
        assert_eq!(newcomers.gives_way(), None);
        for (id, from) in [(1, 1), (2, 2), (3, 2), (4, 3)] {
            newcomers.add(LinkId(id), site(from));
        }
        assert_eq!(newcomers.gives_way(), Some(LinkId(2)));
        newcomers.remove(LinkId(2));
        newcomers.remove(LinkId(2));
        assert_eq!(newcomers.gives_way(), Some(LinkId(1)), "all have as many");
        assert_eq!(newcomers.len(), 3);
    }
}
