//! Questions of other nodes that begin a handshake: recordings are recognised, and how many are
//! answered is bounded, since an answer costs operations on the curve.

use super::{Source, Time};
use crate::limits::{HANDSHAKES_OF_ONE, HANDSHAKES_PER_SECOND, QUESTIONS_REMEMBERED};
use crate::rate::Fair;
use crate::wire::relay::Route;
use std::collections::VecDeque;

/// What is kept of an ephemeral key. Whoever finds another one with the same beginning has only
/// refused a question of its own.
type Trace = [u8; 16];

/// Where a question comes from: a source, and at a relay the route.
pub(super) type Asker = (Source, Option<Route>);

/// The questions that came last.
#[derive(Debug, Default)]
pub(super) struct Questions {
    seen: VecDeque<Trace>,
    answered: Fair<Asker>,
}

impl Questions {
    /// Whether the question with this ephemeral key is none of the last
    /// [`QUESTIONS_REMEMBERED`]. From now on it is one.
    pub(super) fn is_new(&mut self, ephemeral: &[u8; 32]) -> bool {
        let mut trace = Trace::default();
        trace.copy_from_slice(&ephemeral[..16]);
        if self.seen.contains(&trace) {
            return false;
        }
        if self.seen.len() >= QUESTIONS_REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(trace);
        true
    }

    /// Whether one more question of this source is answered, which is then counted. Those that a
    /// source asks first in a second have half of the room to themselves, so that a source which
    /// asks again and again takes no more than the other half.
    pub(super) fn may_be_answered(&mut self, now: Time, asker: Asker) -> bool {
        let room = HANDSHAKES_PER_SECOND;
        self.answered
            .take(now, asker, (room, room / 2, HANDSHAKES_OF_ONE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::time::Duration;

    fn source(last: u8) -> Asker {
        (Source::Address(IpAddr::from([10, 0, 0, last])), None)
    }

    #[test]
    fn a_recording_is_recognised_and_what_is_remembered_is_bounded() {
        let mut questions = Questions::default();
        let key = |n: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_be_bytes());
            key
        };
        for n in 0..=QUESTIONS_REMEMBERED {
            assert!(questions.is_new(&key(n)));
        }
        assert_eq!(questions.seen.len(), QUESTIONS_REMEMBERED);
        assert!(!questions.is_new(&key(1)));
        assert!(questions.is_new(&key(0)), "it is forgotten by now");
    }

    #[test]
    fn a_source_that_asks_again_and_again_leaves_room_to_others() {
        let (mut questions, now) = (Questions::default(), Time(Duration::from_secs(9)));
        let asks = |questions: &mut Questions, from, times: u32| {
            let answered = (0..times).filter(|_| questions.may_be_answered(now, source(from)));
            answered.count() as u32
        };
        assert_eq!(asks(&mut questions, 1, 10_000), HANDSHAKES_PER_SECOND / 2);
        for other in 2..5 {
            let times = HANDSHAKES_OF_ONE;
            assert_eq!(asks(&mut questions, other, times), times, "{other}");
        }
        let later = now + Duration::from_secs(1);
        assert!(questions.may_be_answered(later, source(1)));
    }
}
