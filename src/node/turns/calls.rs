//! Our calls under way, and where the end of each goes.

use super::slot::Slot;
use crate::engine::{CallNumber, Payload};
use crate::error::Error;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// How a call ended: with its value, or without.
pub(in crate::node) type Outcome = Result<Payload, Error>;
/// What runs at the end of a call.
pub(in crate::node) type OnEnd = Box<dyn FnOnce(Outcome) + Send>;

/// Where the end of a call goes.
pub(in crate::node) enum Completion {
    /// To the thread that waits for it, or will.
    Slot(Arc<Slot<Outcome>>),
    /// To a callback, on the loop's thread.
    Callback(OnEnd),
    /// To the library itself, on whichever thread gives the lock back; it does not block.
    Continuation(OnEnd),
}

/// A call that has ended, and what runs for that, which is without the lock.
pub(super) struct Ended {
    pub(super) on_end: OnEnd,
    pub(super) outcome: Outcome,
}

impl Ended {
    pub(super) fn run(self) {
        (self.on_end)(self.outcome);
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Calls {
    pending: BTreeMap<CallNumber, Completion>,
    continuations: VecDeque<Ended>,
    /// Whether a thread runs the continuations.
    running: bool,
}

impl Calls {
    pub(super) fn insert(&mut self, number: CallNumber, completion: Completion) {
        self.pending.insert(number, completion);
    }

    /// Hands the end of a call to where it goes; given back, if it goes to a callback, which is to
    /// be run.
    #[must_use]
    pub(super) fn end(&mut self, number: CallNumber, outcome: Outcome) -> Option<Ended> {
        let completion = self.pending.remove(&number)?;
        self.complete(completion, outcome)
    }

    /// Ends every call for the same reason; those that go to a callback, which is to be run.
    #[must_use]
    pub(super) fn end_all(&mut self, why: &Error) -> Vec<Ended> {
        let pending = std::mem::take(&mut self.pending).into_values();
        pending
            .filter_map(|completion| self.complete(completion, Err(why.clone())))
            .collect()
    }

    fn complete(&mut self, completion: Completion, outcome: Outcome) -> Option<Ended> {
        match completion {
            Completion::Slot(slot) => slot.fill(outcome),
            Completion::Callback(on_end) => return Some(Ended { on_end, outcome }),
            Completion::Continuation(on_end) => {
                self.continuations.push_back(Ended { on_end, outcome });
            }
        }
        None
    }

    /// Whether the thread that asks is to run the continuations: there are some, and no other
    /// thread does.
    pub(super) fn begin_continuations(&mut self) -> bool {
        !self.continuations.is_empty() && !std::mem::replace(&mut self.running, true)
    }

    /// The next for the thread that runs them; with `None` it does so no more.
    pub(super) fn next_continuation(&mut self) -> Option<Ended> {
        let next = self.continuations.pop_front();
        self.running = next.is_some();
        next
    }

    /// Whether a thread runs continuations.
    pub(super) fn are_continued(&self) -> bool {
        self.running
    }

    /// Whether continuations run or are to be run.
    pub(super) fn have_continuations(&self) -> bool {
        self.running || !self.continuations.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn each_end_goes_where_it_is_wanted_and_once() {
        let mut calls = Calls::default();
        let slot = Slot::new();
        calls.insert(CallNumber(1), Completion::Slot(slot.clone()));
        calls.insert(CallNumber(2), Completion::Callback(Box::new(|_| {})));
        assert!(
            calls
                .end(CallNumber(1), Ok(Payload::Data(vec![7])))
                .is_none()
        );
        assert_eq!(slot.take(), Some(Ok(Payload::Data(vec![7]))));
        let ended = calls.end(CallNumber(2), Ok(Payload::Data(vec![8])));
        assert!(ended.is_some_and(|ended| ended.outcome == Ok(Payload::Data(vec![8]))));
        assert!(
            calls
                .end(CallNumber(2), Ok(Payload::Data(Vec::new())))
                .is_none(),
            "once"
        );
    }

    #[test]
    fn at_a_failure_all_calls_end_with_the_reason() {
        let mut calls = Calls::default();
        let slot = Slot::new();
        calls.insert(CallNumber(1), Completion::Slot(slot.clone()));
        calls.insert(CallNumber(2), Completion::Callback(Box::new(|_| {})));
        calls.insert(CallNumber(3), Completion::Continuation(Box::new(|_| {})));
        assert_eq!(calls.end_all(&Error::Stopped).len(), 1);
        assert_eq!(slot.take(), Some(Err(Error::Stopped)));
        assert!(calls.have_continuations());
        assert!(calls.end_all(&Error::Stopped).is_empty());
    }

    #[test]
    fn continuations_are_run_in_order_and_by_one_thread() {
        let mut calls = Calls::default();
        assert!(!calls.begin_continuations(), "there is none");
        let (tell, told) = mpsc::channel();
        for number in 0..2 {
            let tell = tell.clone();
            let on_end = Box::new(move |_| tell.send(number).unwrap());
            calls.insert(CallNumber(number), Completion::Continuation(on_end));
            assert!(
                calls
                    .end(CallNumber(number), Ok(Payload::Data(Vec::new())))
                    .is_none()
            );
        }
        assert!(calls.begin_continuations());
        assert!(!calls.begin_continuations(), "another thread does");
        while let Some(next) = calls.next_continuation() {
            assert!(calls.are_continued());
            next.run();
        }
        assert!(!calls.have_continuations());
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [0, 1]);
    }
}
