//! Where links come from, and what those from one place may do together.

use super::budget::Memory;
use crate::limits::RelayLimits;
use crate::protocol::Time;
use crate::rate::Allowance;
use crate::reach::prefix;
use std::net::IpAddr;

/// What all links from one site have, and may do: each joining and each advert is told to every member.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) links: usize,
    pub(super) joins: Allowance,
    pub(super) adverts: Allowance,
    /// When an advert of one of its members was last handed on.
    pub(super) handed: Time,
    /// What they take.
    pub(super) memory: Memory,
    /// Bytes of requests that are coming in.
    #[cfg(feature = "compat")]
    pub(super) reading: usize,
}

impl Site {
    pub(super) fn new(limits: &RelayLimits, now: Time) -> Site {
        let (rate, most) = (limits.joins_per_second, limits.links_per_address as u32);
        Site {
            links: 0,
            joins: Allowance::new(rate, most, now),
            // Two at each start: asking for the name, and taking part.
            adverts: Allowance::new(rate, most.saturating_mul(2), now),
            handed: Time::default(),
            memory: Memory::default(),
            #[cfg(feature = "compat")]
            reading: 0,
        }
    }

    /// Whether one that is new would be the same.
    pub(super) fn is_forgettable(&self, now: Time) -> bool {
        self.links == 0 && self.joins.is_full(now) && self.adverts.is_full(now)
    }
}

/// The address that links are counted by: an IPv6 host has a /64 to itself.
pub(super) fn address_of(address: IpAddr) -> IpAddr {
    prefix(address, 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::site_of;

    #[test]
    fn an_ipv4_address_is_its_own_site_and_an_ipv6_site_has_many_addresses() {
        let ip = |s: &str| s.parse::<IpAddr>().unwrap();
        assert_eq!(site_of(ip("10.1.2.3")), ip("10.1.2.3"));
        assert_eq!(address_of(ip("::ffff:10.1.2.3")), ip("10.1.2.3"));
        let v6 = ip("2001:db8:1:2:3:4:5:6");
        assert_eq!(address_of(v6), ip("2001:db8:1:2::"));
        assert_eq!(site_of(v6), ip("2001:db8:1::"));
    }
}
