//! How an engine stops: what was answered is sent first, then it says goodbye.
//!
//! ```text
//! Engine::begin_stop --> Engine::is_flushed? --> Engine::stop
//! ```
//!
//! Between the first and the last the engine is driven as before, but it takes no more calls: a caller
//! whose call comes now is told by the goodbye that it did not run here.

use super::{Engine, Now, Phase};
use crate::error::Error;

impl Engine {
    /// Ends our own calls and takes no more calls of others. Idempotent.
    pub fn begin_stop(&mut self, now: Now) {
        if self.phase == Phase::Stopped || std::mem::replace(&mut self.stopping, true) {
            return;
        }
        self.end_own_calls(now, &Error::Stopped);
    }

    /// Whether all that was answered has been written, as far as its callers can be reached.
    pub fn is_flushed(&self) -> bool {
        self.phase == Phase::Stopped
            || self.links.keys().all(|id| self.pending(*id).is_empty())
                && !self.serving.has_backlog()
                && !self.has_unsent_answers()
    }

    /// Whether the end of a stream that answers a call waits to be sent to a peer that can be reached.
    fn has_unsent_answers(&self) -> bool {
        self.streams
            .unfinished_answers(self.instance)
            .any(|peer| self.best_session(peer).is_some())
    }

    /// Ends every call of ours.
    pub(super) fn end_own_calls(&mut self, now: Now, why: &Error) {
        for number in self.calls.numbers() {
            self.end_call(now, number, Err(why.clone()));
        }
        self.end_connects(why);
    }
}
