//! What can be wrong with a relay, in words.

use crate::wire::relay::Refusal;
use std::fmt;

/// Why a relay is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayFault {
    /// Its host name does not resolve.
    Unresolved,
    /// Nobody answers there, or not in time.
    Unreachable,
    /// It was up, and the link ended.
    Lost,
    /// It was up, and fell silent.
    Silent,
    /// It says what no relay says.
    Protocol,
    /// It shows no relay key that was derived from a key of ours, though it has one, or had one
    /// before: it is another relay's place, or somebody's who has no relay key of this network.
    WrongKey,
    /// It says something that only a newer version of the protocol knows, and must know.
    Version,
    /// It refused us, or told us to go.
    Refused(Refusal),
}

impl RelayFault {
    /// Whether it is likely to be the same at the next attempts.
    pub(crate) fn lasts(self) -> bool {
        match self {
            RelayFault::WrongKey | RelayFault::Version => true,
            RelayFault::Refused(why) => why != Refusal::Stopping,
            _ => false,
        }
    }
}

impl fmt::Display for RelayFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RelayFault::Unresolved => "its name cannot be resolved",
            RelayFault::Unreachable => "nobody answers there",
            RelayFault::Lost => "the link ended",
            RelayFault::Silent => "it fell silent",
            RelayFault::Protocol => "it does not speak as a relay does",
            RelayFault::WrongKey => {
                "wrong relay key: it shows none that was derived from this node's network key"
            }
            RelayFault::Version => "it speaks a newer version of the protocol",
            RelayFault::Refused(why) => match why {
                Refusal::Frame => "it did not understand us",
                Refusal::Version => "it speaks another version of the protocol",
                Refusal::Network => "it does not serve this network",
                Refusal::Networks => "it serves as many networks as it may",
                Refusal::Key => "the network key is not the one it was given its key from",
                Refusal::Full => "it is full",
                Refusal::Address => "too many links come from this address",
                Refusal::Late => "joining took too long",
                Refusal::Idle => "it heard nothing from us",
                Refusal::Slow => "we did not read fast enough",
                Refusal::Flood => "we sent too much at once",
                Refusal::Stopping => "it is being stopped",
            },
        })
    }
}
