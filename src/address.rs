//! The address of a relay: a host, by name or by address, and a port.

use crate::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// Bytes of a host name, as DNS bounds it (RFC 1035, section 3.1).
const HOST_MAX: usize = 253;

/// A relay's address: `HOST:PORT`, `IPV4:PORT` or `[IPV6]:PORT`. The host is kept in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayAddress(Arc<str>);

impl RelayAddress {
    /// Checks the form and keeps the text.
    pub fn new(text: &str) -> Result<RelayAddress, Error> {
        let text = text.to_ascii_lowercase();
        if split(&text).is_some() {
            Ok(RelayAddress(text.into()))
        } else {
            Err(Error::Address(text))
        }
    }

    /// Adds an address to a list, unless the list has it already.
    pub(crate) fn add_to(list: Result<Vec<Self>, Error>, text: &str) -> Result<Vec<Self>, Error> {
        let mut list = list?;
        let address = RelayAddress::new(text)?;
        if !list.contains(&address) {
            list.push(address);
        }
        Ok(list)
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host, without the brackets of an IPv6 address, and the port.
    pub fn host_and_port(&self) -> (&str, u16) {
        // `RelayAddress::new` has checked the text, so it splits.
        split(&self.0).unwrap_or(("", 0))
    }

    /// The host as an IP address; none if the host is a name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host_and_port().0.parse().ok()
    }
}

fn split(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let number: u16 = port.parse().ok()?;
    let canonical = number != 0 && !port.starts_with(['0', '+']);
    let (host, fits) = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(host) => (host, host.parse::<Ipv6Addr>().is_ok()),
        None => (
            host,
            (1..=HOST_MAX).contains(&host.len())
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')),
        ),
    };
    (canonical && fits).then_some((host, number))
}

impl FromStr for RelayAddress {
    type Err = Error;
    fn from_str(text: &str) -> Result<RelayAddress, Error> {
        RelayAddress::new(text)
    }
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_addresses_and_ports() {
        let parts = |s| {
            RelayAddress::new(s).map(|a| {
                let (host, port) = a.host_and_port();
                (host.to_owned(), port, a.ip().is_some())
            })
        };
        for (text, host, port, is_ip) in [
            ("Relay.Example:7700", "relay.example", 7700, false),
            ("127.0.0.1:1", "127.0.0.1", 1, true),
            ("[::1]:65535", "::1", 65535, true),
        ] {
            assert_eq!(parts(text), Ok((host.to_owned(), port, is_ip)), "{text}");
        }
        for bad in [
            "",
            ":1",
            "host",
            "host:",
            "host:0",
            "host:01",
            "host:+1",
            "host:65536",
            "::1:7",
            "[::1:7",
            "[host]:7",
            "a b:7",
            "a/b:7",
            "a@b:7",
            "a\0:7",
            &format!("{}:7", "a".repeat(254)),
        ] {
            assert!(matches!(parts(bad), Err(Error::Address(_))), "{bad:?}");
        }
    }
}
