//! How far a link has come, and what it has from then on.
//!
//! ```text
//! New --join--> Challenged --proof--> Joined    (a network with a relay key)
//! New --join------------------------> Joined    (a network without one)
//! New --a request line--> Http                  (with compat only)
//! ```
//!
//! A request goes its own way:
//!
//! ```text
//! Reading --> Waiting --> Answering --> Lingering
//! ```
//!
//! `flows` is what a member has under way to others.

pub(super) mod flows;

#[cfg(feature = "compat")]
use crate::compat::http::Reader;
use crate::frame::{FrameType, encode_with};
use crate::name::NetworkName;
use crate::protocol::Time;
use crate::wire::Malformed;
use crate::wire::relay::{FromRelay, Route};
use crate::wire::relay_key::{Joining, WordMacs};
use flows::{Blocked, Flows};

/// How far a link has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// It has said nothing.
    New,
    /// It was asked for a proof.
    Challenged(Box<Challenged>),
    /// It takes part.
    Joined(Box<Membership>),
    /// It is no member, but asks by HTTP.
    #[cfg(feature = "compat")]
    Http(Progress),
}

/// What a link has that was asked for a proof.
#[derive(Debug)]
pub(super) struct Challenged {
    pub(super) network: NetworkName,
    /// What it is to prove the key for.
    pub(super) joining: Joining,
}

/// What a link has as a member of a network.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) network: NetworkName,
    pub(super) route: Route,
    /// What authenticates words, if both sides have proved the relay key.
    macs: Option<WordMacs>,
    pub(super) adverts: Adverts,
    /// What it has under way to others.
    pub(super) flows: Flows,
    /// The members from which it wants nothing.
    pub(super) blocked: Blocked,
}

/// Which of its network's numbered adverts a member has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Adverts {
    /// It is new: it lacks those from this number on, and is told that it has joined when it has
    /// them.
    Joining(u64),
    /// It was too slow: it lacks those from this number on.
    Behind(u64),
    /// It has all.
    All,
}

impl Adverts {
    /// The first that it lacks.
    pub(super) fn first_missing(self) -> Option<u64> {
        match self {
            Adverts::Joining(next) | Adverts::Behind(next) => Some(next),
            Adverts::All => None,
        }
    }

    /// It has all before this number.
    pub(super) fn advance(&mut self, to: u64) {
        match self {
            Adverts::Joining(next) | Adverts::Behind(next) => *next = to,
            Adverts::All => {}
        }
    }

    /// It has all; whether it was new.
    pub(super) fn complete(&mut self) -> bool {
        matches!(std::mem::replace(self, Adverts::All), Adverts::Joining(_))
    }
}

impl Membership {
    pub(super) fn new(network: NetworkName, route: Route, macs: Option<WordMacs>) -> Membership {
        Membership {
            network,
            route,
            macs,
            adverts: Adverts::Joining(0),
            flows: Flows::default(),
            blocked: Blocked::default(),
        }
    }

    /// The word in the payload of a frame of the member's, if its number and MAC are right.
    pub(super) fn open<'a>(&mut self, payload: &'a [u8]) -> Result<&'a [u8], Malformed> {
        match &mut self.macs {
            Some(macs) => macs.check(payload),
            None => Ok(payload),
        }
    }

    /// Bytes of memory that its tables take.
    pub(super) fn memory(&self) -> usize {
        self.flows.memory() + self.blocked.memory()
    }
}

impl Stage {
    pub(super) fn membership(&self) -> Option<&Membership> {
        match self {
            Stage::Joined(membership) => Some(membership),
            _ => None,
        }
    }

    pub(super) fn membership_mut(&mut self) -> Option<&mut Membership> {
        match self {
            Stage::Joined(membership) => Some(membership),
            _ => None,
        }
    }

    /// The network that it has joined, or is to prove a key of.
    pub(super) fn network(&self) -> Option<&NetworkName> {
        match self {
            Stage::Joined(membership) => Some(&membership.network),
            Stage::Challenged(challenged) => Some(&challenged.network),
            _ => None,
        }
    }

    /// Appends a frame with a word of the relay's, if it is of a network. Words are numbered as
    /// they are appended, so this comes when nothing can get before the word any more.
    pub(super) fn say(&mut self, word: &FromRelay, out: &mut Vec<u8>) {
        let (network, macs) = match self {
            Stage::Joined(membership) => (&membership.network, membership.macs.as_mut()),
            Stage::Challenged(challenged) => (&challenged.network, None),
            _ => return,
        };
        encode_with(network.as_str(), FrameType::REGISTER, out, |out| {
            let from = out.len();
            word.encode(out);
            if let Some(macs) = macs {
                macs.append(from, out);
            }
        });
    }
}

/// How far a request has come.
#[cfg(feature = "compat")]
#[derive(Debug)]
pub(super) enum Progress {
    /// It is coming.
    Reading(Reader),
    /// It waits for something to come, until then.
    Waiting(Time),
    /// Its answer is being read.
    Answering,
    /// The whole answer was taken at this time.
    Lingering(Time),
}

/// What a link's deadlines are counted from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    pub(super) opened: Time,
    /// When bytes came last.
    pub(super) heard: Time,
    /// Until when it is not read, if it sent too fast.
    pub(super) held: Option<Time>,
    /// Since when a frame has begun and is not finished.
    pub(super) unfinished: Option<Time>,
    /// When its output began to wait, or last moved on by as much as it must.
    pub(super) moved: Time,
    /// Whether output waits.
    pub(super) waits: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_member_that_is_new_is_told_that_it_has_joined() {
        let mut adverts = Adverts::Joining(0);
        adverts.advance(7);
        assert_eq!(adverts.first_missing(), Some(7));
        assert!(adverts.complete());
        assert_eq!(adverts.first_missing(), None);
        assert!(!adverts.complete());
        adverts.advance(9);
        assert_eq!(adverts, Adverts::All, "it lacks none that it has");
        assert!(!Adverts::Behind(3).complete());
    }

    #[test]
    fn a_link_is_of_a_network_once_it_was_asked_for_a_proof() {
        let network = NetworkName::new("plant").unwrap();
        assert_eq!(Stage::New.network(), None);
        let challenged = Stage::Challenged(Box::new(Challenged {
            network: network.clone(),
            joining: Joining::new(&network, (&[0; 32], b""), (&[0; 32], b"")),
        }));
        assert_eq!(challenged.network(), Some(&network));
        assert!(challenged.membership().is_none());
        let membership = Membership::new(network.clone(), Route::default(), None);
        let joined = Stage::Joined(Box::new(membership));
        assert_eq!(joined.network(), Some(&network));
        assert!(joined.membership().is_some());
    }
}
