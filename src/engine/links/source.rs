//! Where links come from.

use super::{LinkId, Via};
use crate::reach::site_of;
use std::net::IpAddr;

/// Where links come from, as far as one can tell before anything is proved: names and instances
/// cost nothing, while a host has few addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// An IPv4 address, or an IPv6 /48.
    Address(IpAddr),
    /// This link to a relay.
    Relay(LinkId),
}

impl Source {
    pub(super) fn of(via: &Via) -> Source {
        match via {
            Via::Relay(carrier, _) => Source::Relay(*carrier),
            Via::Socket(from) => Source::Address(site_of(from.ip())),
            Via::Name => Source::Address(IpAddr::from([0; 4])),
        }
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
        let source = |address: &str| Source::of(&Via::Socket(address.parse().unwrap()));
        let one = source("[2001:db8:1:2::3]:4");
        assert_eq!(one, source("[2001:db8:1:ffff::5]:6"));
        assert_ne!(one, source("[2001:db8:2:2::3]:4"));
        assert_eq!(source("[::ffff:10.1.2.3]:4"), source("10.1.2.3:5"));
        assert_ne!(source("10.1.2.3:4"), source("10.1.2.4:4"));
    }
}
