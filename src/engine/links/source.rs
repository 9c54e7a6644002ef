//! Where links come from, and how those that come from one place share what there is.

use super::{LinkId, Via};
use crate::reach::site_of;
use std::net::IpAddr;

/// How many times as much as it leaves to others of its source one caller may take: it has most of
/// the share while it is alone.
const TIMES_WHAT_IS_LEFT: usize = 4;

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

/// What is taken of something that callers share: by all of them, by those of one source, and by
/// one of those.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) all: usize,
    pub(crate) source: usize,
    pub(crate) caller: usize,
}

impl Taken {
    /// Whether the caller may take so much more of `whole`. All callers of a source together have
    /// at most as much as they leave free. Of that, one that has something already must leave a
    /// part to others, so that the first small call of another always finds room.
    pub(crate) fn leaves_room(self, more: usize, whole: usize) -> bool {
        let free = whole.saturating_sub(self.all).saturating_sub(self.source);
        // What is taken is free no more, and as much again must be left to other sources.
        let left = free.saturating_sub(more).saturating_sub(more);
        more <= free
            && (self.caller == 0 || (self.caller + more).div_ceil(TIMES_WHAT_IS_LEFT) <= left)
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

    #[test]
    fn whatever_one_caller_takes_another_of_its_source_finds_room_and_so_does_another_source() {
        let whole = 16_000;
        for size in [1, 7, 10, 100, 999, 1_000, 2_000, 3_000, 3_999, 4_000] {
            let mut taken = 0;
            let of = |caller, source| Taken {
                all: source,
                source,
                caller,
            };
            while of(taken, taken).leaves_room(size, whole) {
                taken += size;
            }
            let small = whole / 16;
            assert!(of(0, taken).leaves_room(small, whole), "{taken} by {size}");
            let elsewhere = Taken {
                source: 0,
                ..of(0, taken)
            };
            assert!(elsewhere.leaves_room(whole / 2, whole), "{taken} by {size}");
            assert!(taken >= whole / 5, "{taken} by {size}");
        }
    }
}
