//! Where a link comes from.

use crate::reach::{prefix, site_of};
use std::net::IpAddr;

/// The two groups that a link is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The address that links are counted by: an IPv6 host has a /64 to itself.
    pub(super) address: IpAddr,
    /// The site that shares are counted by: an IPv6 site has a /48.
    pub(super) site: IpAddr,
}

impl Origin {
    pub(super) fn of(ip: IpAddr) -> Origin {
        Origin {
            address: prefix(ip, 4),
            site: site_of(ip),
        }
    }

    /// Whether the site has only this one address.
    pub(super) fn is_alone(self) -> bool {
        self.address == self.site
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_is_its_own_site_and_an_ipv6_site_has_many_addresses() {
        let ip = |s: &str| s.parse::<IpAddr>().unwrap();
        let v4 = Origin::of(ip("::ffff:10.1.2.3"));
        assert_eq!((v4.address, v4.site), (ip("10.1.2.3"), ip("10.1.2.3")));
        assert!(v4.is_alone());
        let v6 = Origin::of(ip("2001:db8:1:2:3:4:5:6"));
        assert_eq!(v6.address, ip("2001:db8:1:2::"));
        assert_eq!(v6.site, ip("2001:db8:1::"));
        assert!(!v6.is_alone());
    }
}
