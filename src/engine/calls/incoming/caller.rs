//! The calls of one caller, and what waits for its link to drain.

use super::Refusal;
use super::quotas::Held;
use super::served::Served;
use crate::engine::{Source, Time};
use crate::identity::PublicKey;
use crate::name::Role;
use crate::table::Table;
use std::collections::VecDeque;
use std::sync::Arc;

/// What waits for the link of a caller to drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The answer to the call with this number.
    Answer(u64),
    Refusal(u64, Refusal),
}

/// One caller.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    pub(crate) calls: Table<u64, Box<Served>>,
    pub(crate) held: Held,
    /// The source that its calls count for: where the first of them came from.
    pub(crate) source: Option<Source>,
    /// Its public key, once a call of it has come.
    pub(crate) key: Option<PublicKey>,
    /// The roles that its certificate said then.
    pub(crate) roles: Arc<[Role]>,
    /// When it last streamed something along one of its calls, or began one of which some is still
    /// to come.
    pub(crate) streamed: Time,
    backlog: VecDeque<Waiting>,
}

impl Caller {
    /// Whether nothing of it is worth remembering.
    pub(crate) fn is_needless(&self) -> bool {
        let is_refusal = |waiting: &Waiting| matches!(waiting, Waiting::Refusal(..));
        self.calls.is_empty() && !self.backlog.iter().any(is_refusal)
    }

    pub(crate) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Adds to the backlog if there are fewer than `most` entries. Those of answers that are not
    /// kept any more are dropped first, if need be. Says whether there was room.
    pub(crate) fn queue(&mut self, waiting: Waiting, most: usize) -> bool {
        if self.backlog.len() >= most {
            self.prune_backlog();
        }
        let has_room = self.backlog.len() < most;
        if has_room {
            self.backlog.push_back(waiting);
        }
        has_room
    }

    fn prune_backlog(&mut self) {
        let calls = &self.calls;
        self.backlog.retain(|waiting| match waiting {
            Waiting::Answer(number) => calls.get(number).is_some_and(|served| served.waits()),
            Waiting::Refusal(..) => true,
        });
    }

    /// Takes what has waited for the longest. Once nothing is left, the room is given back.
    pub(crate) fn next_waiting(&mut self) -> Option<Waiting> {
        let next = self.backlog.pop_front();
        self.give_room_back();
        next
    }

    /// Drops the refusals that wait.
    pub(crate) fn drop_refusals(&mut self) {
        self.backlog.retain(|w| matches!(w, Waiting::Answer(_)));
        self.give_room_back();
    }

    /// An empty backlog keeps no memory.
    fn give_room_back(&mut self) {
        if self.backlog.is_empty() {
            self.backlog = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_that_is_full_drops_the_answers_that_are_not_kept_any_more() {
        let mut caller = Caller::default();
        for number in 0..3 {
            assert!(caller.queue(Waiting::Answer(number), 3));
        }
        let refusal = Waiting::Refusal(7, Refusal::Overloaded);
        assert!(caller.queue(refusal, 3), "none of the answers is kept");
        assert!(
            !caller.queue(refusal, 1),
            "refusals are never dropped for others"
        );
        assert!(!caller.is_needless(), "a refusal has to be sent");
        assert_eq!(caller.next_waiting(), Some(refusal));
        assert_eq!(caller.backlog.capacity(), 0, "it is empty");
        assert_eq!(caller.next_waiting(), None);
        assert!(caller.is_needless() && !caller.has_backlog());
    }
}
