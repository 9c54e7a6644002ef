//! How a node stops: what was answered is written first, then it says goodbye; and what is left to
//! do after its end. `stage` has the picture.

use super::stage::Stage;
use super::state::State;
use super::{Locked, Turns, contain};
use crate::error::Error;
use crate::sync::Instant;
use std::time::Duration;

/// How long a stop may take to write what was answered: two round trips on the slowest link one
/// would use, and some seconds for a large answer. A caller that does not read must not keep a
/// program from ending.
const FLUSH: Duration = Duration::from_secs(2);

/// How long a stop waits for peers to close their links: until then the kernel may have to send
/// again what was lost on the way, which it does not do for a socket that was closed with input
/// unread.
const LEAVE: Duration = Duration::from_millis(500);

impl State {
    fn begin_stop(&mut self) {
        if !self.stage.is_working() {
            return;
        }
        let now = self.driver.now();
        self.stage = Stage::Flushing {
            until: now.at + FLUSH,
        };
        let _ = self.protect(|state| state.driver.begin_stop(now));
        self.settle(now, true);
        self.close_watchers();
        self.advance_stop();
    }

    /// Goes on with a stop as far as that is possible now.
    pub(super) fn advance_stop(&mut self) {
        if self.stage.until().is_none() {
            return;
        }
        let now = self.driver.now();
        if let Stage::Flushing { until } = self.stage
            && (self.driver.is_flushed() || now.at >= until)
        {
            self.stage = Stage::Leaving {
                until: now.at + LEAVE,
            };
            let _ = self.protect(|state| state.driver.stop(now));
            self.settle(now, true);
        }
        if let Stage::Leaving { until } = self.stage
            && (!self.driver.is_lingering() || now.at >= until)
        {
            self.stage.end(Error::Stopped);
        }
    }
}

impl Turns {
    /// Stops the node: what was answered is written, for two seconds at most, then it says goodbye.
    /// Everything of our own that is in flight ends at once. Idempotent. Returns before that is
    /// over if another thread, or the callback that this is, has to see to it.
    pub(in crate::node) fn stop(&self) {
        let mut state = self.lock();
        state.begin_stop();
        let alone = !state.is_led() && !state.is_dedicated() && state.batch.is_none();
        if alone {
            // What went wrong while waiting for peers is of no use any more.
            let _ = self.see_to_the_end(state);
        } else {
            self.release(state);
        }
        self.wake();
        self.handover.notify_all();
    }

    /// For a node without threads of its own: leads until the node has ended, then does the last
    /// work; unless another thread runs callbacks, which does it after them.
    pub(super) fn see_to_the_end<'a>(&'a self, mut state: Locked<'a>) -> Result<(), Error> {
        let mut waited = Ok(());
        while !state.stage.is_ended() {
            if state.is_led() {
                // Another thread of the program has begun to lead meanwhile.
                state = self.follow(state, None);
                continue;
            }
            (state, waited) = self.lead(state, None);
            if waited.is_err() {
                state.end(Error::Stopped);
            }
        }
        let is_last = state.batch.is_none();
        self.release(state);
        if is_last {
            self.finish();
        }
        waited
    }

    /// Ends the node after its event queue has failed.
    pub(super) fn end_at_once(&self, why: Error) {
        let mut state = self.lock();
        state.end(why);
        self.release(state);
    }

    /// Waits until the node has ended and no callback runs, unless this is one.
    pub(in crate::node) fn wait_finished(&self) {
        let mut state = self.lock();
        while !state.stage.is_finished() && !state.is_callback() {
            let busy = state.is_led() || state.batch.is_some() || state.stage.has_begun_last_work();
            state = if busy || state.is_dedicated() {
                self.follow(state, None)
            } else {
                // The thread that led when the node was stopped has left.
                let _ = self.see_to_the_end(state);
                self.lock()
            };
        }
    }

    /// The last work after the end: runs the callbacks that are still owed, and keeps no handler.
    /// Once.
    pub(super) fn finish(&self) {
        let mut state = self.lock();
        if !state.stage.begin_last_work() {
            return;
        }
        // What ends calls of several may still have a callback to add.
        while state.calls.have_continuations() {
            state = if state.calls.are_continued() {
                self.follow(state, None)
            } else {
                self.release(state);
                self.lock()
            };
        }
        let dropped = state.callbacks.keep_owed();
        let owed = state.callbacks.len();
        let began = Instant::now();
        state.begin_batch(began);
        self.release(state);
        contain("the drop of a callback", || drop(dropped));
        self.run_callbacks(owed, began);
        contain("the drop of a handler", || (self.handlers.on_end)());
        let told = self.lock().watchers.replace_handler(None);
        contain("the drop of a handler", || drop(told));
        let mut state = self.lock();
        // What was begun while the node ended may have added some.
        while !state.callbacks.is_empty() {
            let owed = state.callbacks.len();
            drop(state);
            self.run_callbacks(owed, Instant::now());
            state = self.lock();
        }
        // A request that is kept must not keep ports and descriptors with it.
        state.driver.abandon();
        state.batch = None;
        state.stage.finish();
        drop(state);
        self.handover.notify_all();
    }
}
