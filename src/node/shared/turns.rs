//! How threads take turns: one leads, the loop's thread runs callbacks, and another stands by.
//!
//! A node with a thread of its own must answer pings and go on with calls while a handler takes its time.
//! So a second thread stands by: when a batch of callbacks takes longer than [`SLOW`], it leads until the
//! loop's thread is back. As long as handlers are quick it only sleeps, and no call waits for a change of
//! threads.
//!
//! ```text
//! loop's thread:  lead ──> run callbacks ──> lead ──> run callbacks (slow) ─────────> lead …
//! standing by:    sleep ────────────────────────────> (SLOW is over) lead … ──> sleep …
//! ```

use super::callbacks::Callback;
use super::stopping::Stage;
use super::{Locked, Shared, this_thread};
use crate::engine::Time;
use crate::error::Error;
use crate::logging::record;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// How long callbacks may take before what they answered is sent; until then answers are put
/// together into fewer writes.
const BATCH: Duration = Duration::from_millis(1);

/// How long a batch of callbacks may take before the thread that stands by leads: short to a caller that
/// waits, long to a handler that computes.
const SLOW: Duration = Duration::from_millis(10);

impl Shared {
    /// Leads: waits at most `most` for something to happen, and takes it in. Nobody leads yet, as `state`
    /// says, which is given up while waiting.
    pub(super) fn lead<'a>(
        &'a self,
        mut state: Locked<'a>,
        most: Option<Duration>,
    ) -> (Locked<'a>, Result<(), Error>) {
        debug_assert!(!state.led);
        state.led = true;
        let timeout = match (state.promise(), most) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.release(state);
        let mut poller = self.poller.lock().unwrap_or_else(PoisonError::into_inner);
        // The kernel counts in milliseconds; a wait cut short would spin through the last one.
        let waited = poller.wait(timeout.map(round_up));
        let mut state = self.lock();
        (state.led, state.promised) = (false, None);
        if state.stage != Stage::Ended {
            let now = state.driver.now();
            // A panic has stopped the node, which is all that there is to do about it.
            let _ = state.protect(|state| {
                state.with_outputs(now, |driver, outputs| driver.process(now, &poller, outputs));
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
        if !state.callbacks.is_empty() && state.stage == Stage::Working {
            state = self.run_batch(state);
        }
        if !state.dedicated && state.stage != Stage::Working {
            return self.see_to_the_end(state);
        }
        // In a foreign loop the descriptor must say that there is more to do.
        let more = !state.dedicated && (!state.callbacks.is_empty() || state.driver.has_unread());
        self.release(state);
        if more {
            self.wake();
        }
        waited
    }

    /// Runs the callbacks that wait now, and writes what they answered.
    fn run_batch<'a>(&'a self, mut state: Locked<'a>) -> Locked<'a> {
        let count = state.callbacks.len();
        let began = Instant::now();
        state.running = Some(this_thread());
        state.batch_since = Some(began);
        state.batches += 1;
        let wake = std::mem::take(&mut state.stand_by_sleeps);
        self.release(state);
        if wake {
            self.watch.notify_one();
        }
        self.run_callbacks(count, began);
        let mut state = self.lock();
        (state.running, state.batch_since) = (None, None);
        let now = state.driver.now();
        state.settle(now, true);
        state.advance_stop();
        state
    }

    /// Runs up to `count` callbacks, the first of which begins now.
    pub(super) fn run_callbacks(&self, count: usize, mut began: Instant) {
        for _ in 0..count {
            let mut state = self.lock();
            if state.stage != Stage::Working && !state.finishing {
                // What was asked of a node that is being stopped does not run any more.
                return;
            }
            let Some(next) = state.callbacks.pop() else {
                return;
            };
            let kept = match &next {
                Callback::Message(_, data) => Some(state.callbacks.keep(data.len())),
                _ => None,
            };
            drop(state);
            // A handler that panics has failed; the node lives on. Its call answers for itself when
            // it is dropped.
            let run = catch_unwind(AssertUnwindSafe(|| match next {
                Callback::Request(request) => {
                    if let Some(shared) = self.arc() {
                        shared.registry.dispatch(&shared, request);
                    }
                }
                Callback::Message(sender, data) => self.registry.told(sender, data, kept),
                Callback::Ready(ready) => ready(),
                Callback::Ended(callback, outcome) => callback(outcome),
                Callback::Event(handler, event) => handler(&event),
                Callback::Do(f) => f(),
            }));
            if run.is_err() {
                record!(Error, "a callback panicked");
            }
            if began.elapsed() > BATCH {
                let mut state = self.lock();
                let now = state.driver.now();
                state.settle(now, true);
                self.release(state);
                began = Instant::now();
            }
        }
    }

    /// Marks that one thread will do nothing but lead and run callbacks, and another stand by for it.
    pub(in crate::node) fn dedicate(&self) -> Result<(), Error> {
        self.check_may_wait()?;
        let mut state = self.lock();
        loop {
            state.check_working()?;
            if state.dedicated {
                return Err(Error::Argument("the node runs on a thread of its own"));
            }
            if !state.led && state.running.is_none() {
                break;
            }
            state = self.follow(state, None);
        }
        state.dedicated = true;
        Ok(())
    }

    /// There is no such thread after all.
    pub(in crate::node) fn undedicate(&self) {
        self.lock().dedicated = false;
    }

    /// Leads and runs callbacks until the node has ended. For the thread that [`Shared::dedicate`] speaks of.
    pub(in crate::node) fn run(&self) -> Result<(), Error> {
        let result = self.run_until_ended();
        self.lock().dedicated = false;
        self.finish();
        result
    }

    fn run_until_ended(&self) -> Result<(), Error> {
        loop {
            let mut state = self.lock();
            if state.stage == Stage::Ended {
                return Ok(());
            }
            if !state.callbacks.is_empty() && state.stage == Stage::Working {
                // They came while this thread ran others.
                let state = self.run_batch(state);
                self.release(state);
            } else if state.led {
                // The thread that stands by leads, and gives up when it is woken.
                self.wake();
                state = self.follow(state, None);
                drop(state);
            } else if let Err(e) = self.turn(state, None) {
                self.end_at_once();
                return Err(e);
            }
        }
    }

    /// Leads whenever the loop's thread is busy with callbacks for too long, until the node has ended.
    pub(in crate::node) fn stand_by(&self) {
        let mut seen = 0;
        let mut leads = false;
        let mut state = self.lock();
        while state.stage != Stage::Ended {
            let busy = state.batch_since.map(|since| since.elapsed());
            leads = !state.led && busy.is_some_and(|busy| leads || busy >= SLOW);
            state = match busy {
                Some(_) if leads => {
                    let (state, waited) = self.lead(state, None);
                    self.release(state);
                    if let Err(e) = waited {
                        record!(Error, "the event loop: {e}");
                        return self.end_at_once();
                    }
                    self.lock()
                }
                Some(busy) => state.wait(&self.watch, Some(SLOW.saturating_sub(busy))),
                None if state.batches != seen => {
                    // Batches come often: looked at from time to time, they need not wake this thread.
                    seen = state.batches;
                    state.wait(&self.watch, Some(SLOW))
                }
                None => {
                    state.stand_by_sleeps = true;
                    state.wait(&self.watch, None)
                }
            };
        }
    }

    /// In a foreign loop, on its thread: a turn that does not wait.
    pub(in crate::node) fn have_turn(&self) {
        let state = self.lock();
        let ours = !state.dedicated && state.loop_thread == this_thread();
        if ours && !state.led && state.running.is_none() && state.stage == Stage::Working {
            // Whoever uses the node next learns what went wrong.
            let _ = self.turn(state, Some(Duration::ZERO));
        }
    }

    /// One turn in a foreign loop.
    pub(in crate::node) fn process(&self, most: Option<Duration>) -> Result<(), Error> {
        self.check_may_wait()?;
        let mut state = self.lock();
        if state.dedicated {
            return Err(Error::Argument("the node runs on a thread of its own"));
        }
        state.loop_thread = this_thread();
        state.loop_promised = None;
        if state.led || state.running.is_some() {
            // Another thread has a turn. Its callbacks are left for this one.
            state = self.follow(state, most);
            let busy = state.led || state.running.is_some() || state.dedicated;
            if busy || state.callbacks.is_empty() {
                return Ok(());
            }
            return self.turn(state, Some(Duration::ZERO));
        }
        self.turn(state, most)
    }

    /// How long a foreign loop may wait before it calls `process`.
    pub(in crate::node) fn timeout(&self) -> Option<Duration> {
        if self.is_forked() {
            return None;
        }
        let mut state = self.lock();
        if state.stage == Stage::Ended {
            return None;
        }
        let deadline = state.deadline();
        state.loop_promised = Some(deadline.unwrap_or(Time(Duration::MAX)));
        state.left_until(deadline)
    }
}

fn round_up(d: Duration) -> Duration {
    Duration::from_millis(u64::try_from(d.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX))
}
