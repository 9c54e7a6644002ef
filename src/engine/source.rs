//! Where links come from.

use crate::protocol::LinkId;
use crate::reach::site_of;
use std::net::IpAddr;

/// Where a link comes from, as far as one can tell before anything is proved: names and instances
/// cost nothing, while a host has few addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// An IPv4 address, or an IPv6 /48.
    Address(IpAddr),
    /// This link to a relay.
    Relay(LinkId),
}

impl Source {
    /// The source of a link that comes from this address.
    pub(super) fn of(address: IpAddr) -> Source {
        Source::Address(site_of(address))
    }

    pub(super) fn is_relay(self) -> bool {
        matches!(self, Source::Relay(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_that_one_site_is_given_are_one_source() {
        let source = |address: &str| Source::of(address.parse().unwrap());
        let one = source("2001:db8:1:2::3");
        assert_eq!(one, source("2001:db8:1:ffff::5"));
        assert_ne!(one, source("2001:db8:2:2::3"));
        assert_eq!(source("::ffff:10.1.2.3"), source("10.1.2.3"));
        assert_ne!(source("10.1.2.3"), source("10.1.2.4"));
    }
}
