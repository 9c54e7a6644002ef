//! Why a relay closes a link: the word of its `err` frame.

/// The reason why a relay closes a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The bytes were not a frame, the frame was out of place, or a word was not the next that the
    /// member has authenticated.
    Frame,
    /// The node speaks another version of what nodes and relays say to each other.
    Version,
    /// The relay does not serve this network.
    Network,
    /// The relay already serves as many networks as it may.
    Networks,
    /// The proof is wrong: the node has another network key.
    Key,
    /// The network already has as many members at the relay as it may.
    Full,
    /// There are too many links, or too many joins, from one address.
    Address,
    /// The node did not join in time.
    Late,
    /// The node was silent for too long.
    Idle,
    /// The node does not read what it is sent.
    Slow,
    /// The node sent more to a route than its window.
    Flood,
    /// The relay is being stopped.
    Stopping,
}

impl Refusal {
    /// Every refusal.
    ///
    /// cbindgen:ignore
    pub const ALL: [Refusal; 12] = [
        Refusal::Frame,
        Refusal::Version,
        Refusal::Network,
        Refusal::Networks,
        Refusal::Key,
        Refusal::Full,
        Refusal::Address,
        Refusal::Late,
        Refusal::Idle,
        Refusal::Slow,
        Refusal::Flood,
        Refusal::Stopping,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Frame => "frame",
            Refusal::Version => "version",
            Refusal::Network => "network",
            Refusal::Networks => "networks",
            Refusal::Key => "key",
            Refusal::Full => "full",
            Refusal::Address => "address",
            Refusal::Late => "late",
            Refusal::Idle => "idle",
            Refusal::Slow => "slow",
            Refusal::Flood => "flood",
            Refusal::Stopping => "stopping",
        }
    }

    /// Reads the word.
    pub fn parse(word: &[u8]) -> Option<Refusal> {
        Refusal::ALL
            .into_iter()
            .find(|r| r.as_str().as_bytes() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_own_word() {
        for r in Refusal::ALL {
            assert_eq!(Refusal::parse(r.as_str().as_bytes()), Some(r));
        }
        assert_eq!(Refusal::parse(b"nonsense"), None);
    }
}
