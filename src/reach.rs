//! Which addresses a node may dial, and which addresses belong to one site.
//!
//! Every dial passes one filter, from whatever source its address comes. An address is only as
//! trustworthy as its source. The program may name any address at which a node can be. An address
//! that another node tells must not lead to services of this host, nor into a network that only
//! that node's neighbours share: an address of such a narrow scope is accepted only from a node in
//! that scope.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The source of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// The program: its configuration, a call, or the state that it saved.
    Program,
    /// A node at this address.
    From(IpAddr),
    /// A node at an unknown address.
    Anyone,
}

/// How far an address means the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// No host can have it: unspecified, multicast or broadcast.
    Nowhere,
    /// On one host.
    Host,
    /// On one physical network.
    Link,
    /// Beyond one physical network.
    Wide,
}

fn scope(ip: IpAddr) -> Scope {
    match ip.to_canonical() {
        // All of 0.0.0.0/8 is "this network" (RFC 1122, section 3.2.1.3); Linux connects it to this
        // host.
        IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.is_multicast() || v4.is_broadcast() => {
            Scope::Nowhere
        }
        IpAddr::V4(v4) if v4.is_loopback() => Scope::Host,
        IpAddr::V4(v4) if v4.is_link_local() => Scope::Link,
        IpAddr::V6(v6) if v6.is_unspecified() || v6.is_multicast() => Scope::Nowhere,
        IpAddr::V6(v6) if v6.is_loopback() => Scope::Host,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Scope::Link,
        _ => Scope::Wide,
    }
}

/// Whether an address may be dialled, given its source.
pub(crate) fn may_dial(to: SocketAddr, word: Word) -> bool {
    let narrowest = match word {
        Word::Program => Scope::Host,
        Word::From(ip) => scope(ip).max(Scope::Host),
        Word::Anyone => Scope::Wide,
    };
    to.port() != 0 && scope(to.ip()) >= narrowest
}

/// The site by which rates, memory and calls are counted. A customer that is given an IPv6 network
/// gets a /48, and with it 65 536 networks of the size /64 that one host has (RFC 6177).
pub(crate) fn site_of(address: IpAddr) -> IpAddr {
    prefix(address, 3)
}

/// The first `groups` groups of an IPv6 address; an IPv4 address as a whole.
pub(crate) fn prefix(address: IpAddr, groups: usize) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(a) => {
            let mut segments = a.segments();
            segments[groups..].fill(0);
            Ipv6Addr::from(segments).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    const NOWHERE: [&str; 11] = [
        "0.0.0.0:7",
        "0.1.2.3:7",
        "224.0.0.1:7",
        "239.1.1.1:7",
        "255.255.255.255:7",
        "[::]:7",
        "[ff02::1]:7",
        "[::ffff:0.0.0.0]:7",
        "[::ffff:224.0.0.1]:7",
        "10.0.0.1:0",
        "127.0.0.1:0",
    ];

    #[test]
    fn nobody_is_dialled_where_nobody_can_be() {
        for text in NOWHERE {
            for word in [
                Word::Program,
                Word::Anyone,
                Word::From(at("127.0.0.1:1").ip()),
                Word::From(at("0.0.0.0:1").ip()),
            ] {
                assert!(!may_dial(at(text), word), "{text} {word:?}");
            }
        }
    }

    #[test]
    fn an_address_on_this_host_is_believed_from_this_host_only() {
        for text in [
            "127.0.0.1:7",
            "127.9.9.9:7",
            "[::1]:7",
            "[::ffff:127.0.0.1]:7",
        ] {
            assert!(may_dial(at(text), Word::Program), "{text}");
            assert!(may_dial(at(text), Word::From(at("127.0.0.1:1").ip())));
            assert!(may_dial(at(text), Word::From(at("[::1]:1").ip())));
            for from in ["10.0.0.1:1", "169.254.1.1:1", "[2001:db8::1]:1"] {
                assert!(!may_dial(at(text), Word::From(at(from).ip())), "{text}");
            }
            assert!(!may_dial(at(text), Word::Anyone), "{text}");
        }
    }

    #[test]
    fn a_link_local_address_is_believed_from_a_neighbour_only() {
        for text in ["169.254.169.254:80", "[fe80::1]:80"] {
            assert!(may_dial(at(text), Word::Program), "{text}");
            assert!(may_dial(at(text), Word::From(at("169.254.1.1:1").ip())));
            assert!(may_dial(at(text), Word::From(at("127.0.0.1:1").ip())));
            assert!(!may_dial(at(text), Word::From(at("10.0.0.1:1").ip())));
            assert!(!may_dial(at(text), Word::Anyone), "{text}");
        }
        for text in [
            "10.0.0.1:7",
            "192.0.2.1:7",
            "[2001:db8::1]:7",
            "[fd00::1]:7",
        ] {
            assert!(may_dial(at(text), Word::Anyone), "{text}");
        }
    }
}
