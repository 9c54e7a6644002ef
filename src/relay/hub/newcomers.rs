//! Links that have not joined yet. They are few, and give way first: whoever opens links and says nothing
//! must not keep others from joining.

use super::Hub;
use super::Output;
use crate::protocol::{LinkId, Now};
use crate::table::Table;
use crate::wire::relay::Refusal;
use std::net::IpAddr;

#[derive(Debug, Default)]
pub(super) struct Newcomers {
    /// Where each comes from. Links are counted up, so the first is the oldest.
    links: Table<LinkId, IpAddr>,
    /// How many come from there.
    sites: Table<IpAddr, usize>,
}

impl Newcomers {
    pub(super) fn add(&mut self, id: LinkId, site: IpAddr) {
        self.links.insert(id, site);
        *self.sites.or_insert_with(site, || 0) += 1;
    }

    /// A link has joined, asks for something by HTTP, or is gone.
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

    /// The oldest link from where most come from: a site that opens many takes their place from itself, and
    /// one that opens a single link keeps it as long as anybody has more.
    fn gives_way(&self) -> Option<LinkId> {
        let most = self.sites.values().max()?;
        let of_most = |(_, site): &(&LinkId, &IpAddr)| self.sites.get(site) == Some(most);
        self.links.iter().find(of_most).map(|(id, _)| *id)
    }
}

impl Hub {
    /// A link has come. Another newcomer gives way to it if there are too many; if there is none it is the
    /// relay that is full.
    pub(super) fn admit(&mut self, now: Now, id: LinkId) {
        let limits = &self.config.limits;
        let (links, newcomers) = (limits.links, limits.newcomers);
        while self.newcomers.links.len() > newcomers || self.members.len() > links {
            let other = self.newcomers.gives_way().filter(|other| *other != id);
            let Some(other) = other else {
                return self.refuse(now, id, Refusal::Full);
            };
            // Without a word, which would keep an honest node away for longer than a link that broke.
            self.stats.gave_way += 1;
            self.outputs.push_back(Output::Close(other, Vec::new()));
            self.closed(now, other);
        }
    }
}
