//! The state of a link to a relay: how far joining has come, and what authenticates words.

use super::{RelayFault, Time};
use crate::rate::Rate;
use crate::wire::relay::{FromRelay, Route, ToRelay, Word, WordError};
use crate::wire::relay_key::{Challenge, WordMacs};
use std::time::Duration;

/// Our membership at a relay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) since: Time,
    /// Where the other members find us.
    pub(super) route: Route,
}

/// How far joining has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Progress {
    /// We ask to join.
    Asking,
    /// The relay has answered, and proved its key if it has one. It hands over adverts.
    Answered,
    /// The relay has said that we are joined.
    Joined(Member),
}

/// The state of a link to a relay.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) challenge: Challenge,
    /// Whether the relay has proved at another time that it has the relay key, so that it must do
    /// so again.
    pub(super) must_prove: bool,
    pub(super) progress: Progress,
    /// What authenticates words, once both sides have proved the relay key.
    pub(super) macs: Option<Box<WordMacs>>,
    /// Whether it has begun to hand us adverts. From then on it takes us for a member.
    pub(super) hands_over: bool,
    /// Why it is about to end, if that was noted.
    pub(super) fault: Option<RelayFault>,
    /// Which of our adverts it has, as the number of changes that there were before it.
    pub(super) told: u64,
    /// Adverts that it hands us.
    pub(super) adverts: Rate,
}

impl Carrier {
    pub(super) fn new(challenge: Challenge, must_prove: bool) -> Carrier {
        Carrier {
            challenge,
            must_prove,
            progress: Progress::Asking,
            macs: None,
            hands_over: false,
            fault: None,
            told: 0,
            adverts: Rate::default(),
        }
    }

    pub(super) fn member(&self) -> Option<&Member> {
        match &self.progress {
            Progress::Joined(member) => Some(member),
            Progress::Asking | Progress::Answered => None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.member().is_some()
    }

    /// Appends a word of ours. Words are numbered as they are appended.
    pub(super) fn say(&mut self, word: &ToRelay, out: &mut Vec<u8>) {
        let from = out.len();
        word.encode(out);
        if let Some(macs) = &mut self.macs {
            macs.append(from, out);
        }
    }

    /// Reads a word of the relay's, which is authenticated if both sides have proved the relay key.
    pub(super) fn read(&mut self, payload: &[u8]) -> Result<Word<FromRelay>, RelayFault> {
        let payload = match &mut self.macs {
            Some(macs) => macs.check(payload).map_err(|_| RelayFault::Protocol)?,
            None => payload,
        };
        FromRelay::decode(payload).map_err(|why| match why {
            WordError::Malformed => RelayFault::Protocol,
            WordError::Version => RelayFault::Version,
        })
    }

    pub(super) fn hands_over(&self) -> bool {
        self.hands_over
    }

    pub(super) fn up_for(&self, now: Time) -> Option<Duration> {
        self.member().map(|member| now - member.since)
    }

    pub(super) fn fault(&self) -> Option<RelayFault> {
        self.fault
    }
}
