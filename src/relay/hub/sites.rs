//! What all links from one address or one site may do together.
//!
//! An address has a number of links. A site also has a rate of joins and of adverts, because each
//! of them is told to every member of a network.

use super::context::Ctx;
use super::origin::Origin;
use crate::limits::RelayLimits;
use crate::protocol::Time;
use crate::rate::Allowance;
use crate::site_share::is_within_share;
use crate::table::Table;
use std::net::IpAddr;

/// One site.
#[derive(Debug)]
struct Site {
    links: usize,
    joins: Allowance,
    adverts: Allowance,
    /// When an advert of one of its members was last handed on.
    handed: Time,
}

impl Site {
    fn new(limits: &RelayLimits, now: Time) -> Site {
        let (rate, most) = (limits.joins_per_second, limits.links_per_address as u32);
        Site {
            links: 0,
            joins: Allowance::new(rate, most, now),
            // Two at each start: asking for the name, and taking part.
            adverts: Allowance::new(rate, most.saturating_mul(2), now),
            handed: Time::default(),
        }
    }

    /// Whether one that is new would be the same.
    fn is_forgettable(&self, now: Time) -> bool {
        self.links == 0 && self.joins.is_full(now) && self.adverts.is_full(now)
    }
}

/// Every address and site that has links, or had so many lately that it is remembered.
#[derive(Debug, Default)]
pub(super) struct Sites {
    /// Links from each address.
    addresses: Table<IpAddr, usize>,
    sites: Table<IpAddr, Box<Site>>,
}

impl Sites {
    /// Counts a new link, with which there are `all` links; false if there are too many from where
    /// it comes from.
    pub(super) fn enter(&mut self, ctx: &Ctx<'_>, origin: Origin, all: usize) -> bool {
        let limits = ctx.limits();
        let links = self.addresses.or_insert_with(origin.address, || 0);
        *links += 1;
        let address_has_room = *links <= limits.links_per_address;
        let site = self
            .sites
            .or_insert_with(origin.site, || Box::new(Site::new(limits, ctx.now.at)));
        // An address is bounded above. An IPv6 site has many, and no more links than it leaves for
        // others.
        let site_has_room = origin.is_alone() || is_within_share(all, site.links, limits.links);
        site.links += 1;
        address_has_room && site_has_room
    }

    /// A link is gone.
    pub(super) fn leave(&mut self, origin: Origin) {
        if let Some(site) = self.sites.get_mut(&origin.site) {
            site.links -= 1;
        }
        if let Some(links) = self.addresses.get_mut(&origin.address) {
            *links -= 1;
            if *links == 0 {
                self.addresses.remove(&origin.address);
            }
        }
    }

    /// Takes one of a site's joins. Says whether there was one.
    pub(super) fn take_join(&mut self, site: IpAddr, now: Time) -> bool {
        self.sites
            .get_mut(&site)
            .is_none_or(|site| site.joins.take(now))
    }

    /// Counts an advert of a site that is handed on now; or until when it must wait, because the
    /// site has too much to tell.
    pub(super) fn take_advert(&mut self, ctx: &Ctx<'_>, site: IpAddr) -> Option<Time> {
        let (now, interval) = (ctx.now.at, ctx.limits().advert_interval);
        let site = self.sites.get_mut(&site)?;
        if !site.adverts.take(now) {
            return Some(now + interval);
        }
        site.handed = now;
        None
    }

    /// When an advert of a site was last handed on.
    pub(super) fn handed(&self, site: IpAddr) -> Option<Time> {
        self.sites.get(&site).map(|site| site.handed)
    }

    /// Forgets sites without links. A site is remembered until it could have been here for the
    /// first time.
    pub(super) fn forget(&mut self, now: Time) {
        self.sites.retain(|_, site| !site.is_forgettable(now));
    }

    /// Forgets all sites: the relay ends.
    pub(super) fn clear(&mut self) {
        self.sites = Table::default();
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::tests::{at, core};
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(text.parse().unwrap())
    }

    fn limits() -> RelayLimits {
        RelayLimits {
            links: 8,
            links_per_address: 2,
            joins_per_second: 1,
            ..RelayLimits::default()
        }
    }

    #[test]
    fn an_address_has_a_number_of_links() {
        let (mut core, mut sites) = (core(limits()), Sites::default());
        let one = origin("10.0.0.1");
        let mut enter = |sites: &mut Sites, origin| sites.enter(&core.at(at(1)), origin, 1);
        assert!(enter(&mut sites, one) && enter(&mut sites, one));
        assert!(!enter(&mut sites, one), "a third");
        assert!(enter(&mut sites, origin("10.0.0.2")));
        for _ in 0..3 {
            sites.leave(one);
        }
        assert!(enter(&mut sites, one));
    }

    #[test]
    fn an_ipv6_site_leaves_as_many_links_as_it_has() {
        let (mut core, mut sites) = (core(limits()), Sites::default());
        let entered = (1..=8).filter(|n| {
            let from = origin(&format!("2001:db8:1:{n}::1"));
            sites.enter(&core.at(at(1)), from, *n)
        });
        assert_eq!(entered.count(), 4);
        let other = origin("2001:db8:2::1");
        assert!(sites.enter(&core.at(at(1)), other, 5));
    }

    #[test]
    fn a_site_that_joins_and_tells_too_much_must_wait() {
        let (mut core, mut sites) = (core(limits()), Sites::default());
        let one = origin("10.0.0.1");
        sites.enter(&core.at(at(1)), one, 1);
        let joins = (0..9).filter(|_| sites.take_join(one.site, at(1).at));
        assert_eq!(joins.count(), 2);
        assert!(sites.take_join(one.site, at(2).at));
        for _ in 0..4 {
            assert_eq!(sites.take_advert(&core.at(at(3)), one.site), None);
        }
        assert_eq!(sites.take_advert(&core.at(at(3)), one.site), Some(at(4).at));
        assert_eq!(sites.handed(one.site), Some(at(3).at));
    }

    #[test]
    fn a_site_is_forgotten_when_it_could_have_been_here_for_the_first_time() {
        let (mut core, mut sites) = (core(limits()), Sites::default());
        let one = origin("10.0.0.1");
        sites.enter(&core.at(at(1)), one, 1);
        assert!(sites.take_join(one.site, at(1).at));
        sites.forget(at(100).at);
        assert!(sites.handed(one.site).is_some(), "it has a link");
        assert!(sites.take_join(one.site, at(100).at));
        sites.leave(one);
        sites.forget(at(100).at);
        assert!(sites.handed(one.site).is_some(), "it has joined just now");
        sites.forget(at(102).at);
        assert_eq!(sites.handed(one.site), None);
    }
}
