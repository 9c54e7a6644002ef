//! How a thread leads, and how the loop's thread has a turn and runs a batch of callbacks.

use super::callbacks::{Callback, Kept};
use super::state::{Batch, Leader, State};
use super::{Locked, Turns, contain};
use crate::engine::Time;
use crate::error::Error;
use crate::sync::{Instant, this_thread};
use std::sync::PoisonError;
use std::time::Duration;

/// How long callbacks may take before what they answered is sent; until then answers are put
/// together into fewer writes.
const BATCH: Duration = Duration::from_millis(1);

impl State {
    /// The thread that asks leads from now on; how long it may wait at most.
    fn begin_to_lead(&mut self) -> Option<Duration> {
        let deadline = self.deadline();
        let until = deadline.unwrap_or(Time(Duration::MAX));
        self.leader = Leader::Waits { until };
        self.left_until(deadline)
    }

    /// The thread that asks runs callbacks from now on; whether the thread that stands by is to be
    /// woken for that.
    pub(super) fn begin_batch(&mut self, since: Instant) -> bool {
        let thread = this_thread();
        self.batch = Some(Batch { thread, since });
        self.stand_by.batches += 1;
        std::mem::take(&mut self.stand_by.sleeps)
    }
}

impl Turns {
    /// Leads: waits at most `most` for something to happen, and takes it in. Nobody leads yet, as
    /// `state` says, which is given up while waiting.
    pub(super) fn lead<'a>(
        &'a self,
        mut state: Locked<'a>,
        most: Option<Duration>,
    ) -> (Locked<'a>, Result<(), Error>) {
        debug_assert!(!state.is_led());
        if state.batch.is_some() {
            // A callback that takes long has left what it answered to the end of its batch.
            let now = state.driver.now();
            state.settle(now, true);
        }
        let timeout = match (state.begin_to_lead(), most) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.release(state);
        let mut poller = self.poller.lock().unwrap_or_else(PoisonError::into_inner);
        // The kernel counts in milliseconds; a wait cut short would spin through the last one.
        let waited = poller.wait(timeout.map(round_up)).map(drop);
        let mut state = self.lock();
        state.leader = Leader::None;
        if !state.stage.is_ended() {
            let now = state.driver.now();
            // A panic has stopped the node, which is all that there is to do about it.
            let _ = state.protect(|state| {
                state.with_notices(now, |driver, notices| driver.process(now, &poller, notices));
            });
            state.advance_stop();
        }
        (state, waited)
    }

    /// One turn of the loop's thread: leads, and runs the callbacks.
    pub(super) fn turn<'a>(
        &'a self,
        state: Locked<'a>,
        most: Option<Duration>,
    ) -> Result<(), Error> {
        let (mut state, waited) = self.lead(state, most);
        if !state.callbacks.is_empty() && state.stage.is_working() {
            state = self.run_batch(state);
        }
        if !state.is_dedicated() && !state.stage.is_working() {
            return self.see_to_the_end(state);
        }
        // In a program's loop the descriptor must say that there is more to do.
        let more =
            !state.is_dedicated() && (!state.callbacks.is_empty() || state.driver.has_unread());
        self.release(state);
        if more {
            self.wake();
        }
        waited
    }

    /// Runs the callbacks that wait now, and writes what they answered.
    pub(super) fn run_batch<'a>(&'a self, mut state: Locked<'a>) -> Locked<'a> {
        let count = state.callbacks.len();
        let began = Instant::now();
        let wake = state.begin_batch(began);
        self.release(state);
        if wake {
            self.watch.notify_one();
        }
        self.run_callbacks(count, began);
        let mut state = self.lock();
        state.batch = None;
        let now = state.driver.now();
        state.settle(now, true);
        state.advance_stop();
        state
    }

    /// Runs up to `count` callbacks, the first of which begins now.
    pub(super) fn run_callbacks(&self, count: usize, mut began: Instant) {
        for _ in 0..count {
            let mut state = self.lock();
            if !state.stage.is_working() && !state.stage.has_begun_last_work() {
                // What was asked of a node that is being stopped does not run any more.
                return;
            }
            let Some(next) = state.callbacks.pop() else {
                return;
            };
            let kept = match &next {
                Callback::Message(said) => Some(state.callbacks.keep(said.data.len())),
                _ => None,
            };
            drop(state);
            // A handler that panics has failed; the node lives on. Its call answers for itself when
            // it is dropped.
            contain("a callback", || self.run_callback(next, kept));
            if began.elapsed() > BATCH {
                let mut state = self.lock();
                let now = state.driver.now();
                state.settle(now, true);
                self.release(state);
                began = Instant::now();
            }
        }
    }

    fn run_callback(&self, callback: Callback, kept: Option<Kept>) {
        match callback {
            Callback::Request(request) => (self.handlers.on_request)(request),
            Callback::Message(said) => (self.handlers.on_message)(said, kept),
            Callback::Ready(signal) => signal.run_ready(),
            Callback::Ended(ended) => ended.run(),
            Callback::Event(handler, event) => handler(&event),
            Callback::Do(f) => f(),
        }
    }
}

fn round_up(d: Duration) -> Duration {
    Duration::from_millis(u64::try_from(d.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX))
}
