//! How a peer is reached, in words.

use crate::address::RelayAddress;
use crate::engine::Path;
use std::fmt;

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Direct => f.write_str("direct"),
            Path::Relay(relay) => write!(f, "relay {relay}"),
            Path::Compat(None) => f.write_str("compat"),
            Path::Compat(Some(relay)) => write!(f, "compat relay {relay}"),
        }
    }
}

impl Path {
    /// The relay that calls go through.
    pub(crate) fn relay(&self) -> Option<&RelayAddress> {
        match self {
            Path::Direct => None,
            Path::Relay(relay) => Some(relay),
            Path::Compat(relay) => relay.as_ref(),
        }
    }

    /// Whether nothing about the peer is proven: it speaks the protocol of PeerBase 0.7.1.
    pub(crate) fn is_compat(&self) -> bool {
        matches!(self, Path::Compat(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_put_into_words() {
        let relay = RelayAddress::new("10.0.0.1:7").unwrap();
        for (path, words) in [
            (Path::Direct, "direct"),
            (Path::Relay(relay.clone()), "relay 10.0.0.1:7"),
            (Path::Compat(None), "compat"),
            (Path::Compat(Some(relay)), "compat relay 10.0.0.1:7"),
        ] {
            assert_eq!(path.to_string(), words);
            assert_eq!(path.relay().is_some(), words.contains("relay"));
            assert_eq!(path.is_compat(), words.starts_with("compat"));
        }
    }
}
