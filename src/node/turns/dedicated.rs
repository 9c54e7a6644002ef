//! The node's own threads: one that does nothing but lead and run callbacks, and one that stands by
//! for it.
//!
//! A node with a thread of its own must answer pings and go on with calls while a handler takes its
//! time. So a second thread stands by: when a batch of callbacks takes longer than [`SLOW`], it
//! leads until the loop's thread is back. As long as handlers are quick it only sleeps, and no call
//! waits for a change of threads.
//!
//! ```text
//! loop's thread:  lead ──> run callbacks ──> lead ──> run callbacks (slow) ─────────> lead …
//! standing by:    sleep ────────────────────────────> (SLOW is over) lead … ──> sleep …
//! ```

use super::Turns;
use super::state::{LoopThread, State};
use crate::error::Error;
use crate::logging::record;
use crate::sync::this_thread;
use std::time::Duration;

/// How long a batch of callbacks may take before the thread that stands by leads: short to a caller
/// that waits, long to a handler that computes.
const SLOW: Duration = Duration::from_millis(10);

/// What the thread that stands by does next.
enum Next {
    Lead,
    /// Waits to be woken, for so long at most.
    Wait(Option<Duration>),
}

impl State {
    /// What the thread that stands by does now. `leads` is whether it led just now, `seen` how many
    /// batches it has seen.
    fn next_of_stand_by(&mut self, leads: bool, seen: &mut u64) -> Next {
        let Some(batch) = self.batch else {
            if self.stand_by.batches == *seen {
                self.stand_by.sleeps = true;
                return Next::Wait(None);
            }
            // Batches come often: looked at from time to time, they need not wake this thread.
            *seen = self.stand_by.batches;
            return Next::Wait(Some(SLOW));
        };
        let busy = batch.since.elapsed();
        match !self.is_led() && (leads || busy >= SLOW) {
            true => Next::Lead,
            false => Next::Wait(Some(SLOW.saturating_sub(busy))),
        }
    }
}

impl Turns {
    /// Marks that one thread will do nothing but lead and run callbacks, and another stand by for
    /// it.
    pub(in crate::node) fn dedicate(&self) -> Result<(), Error> {
        self.check_may_wait()?;
        let mut state = self.lock();
        loop {
            state.stage.check_working()?;
            if state.is_dedicated() {
                return Err(Error::Argument("the node runs on a thread of its own"));
            }
            if !state.is_led() && state.batch.is_none() {
                break;
            }
            state = self.follow(state, None);
        }
        state.loop_thread = LoopThread::Dedicated;
        Ok(())
    }

    /// There is no such thread after all, or not any more: the loop is this thread's.
    pub(in crate::node) fn undedicate(&self) {
        self.lock().loop_thread = LoopThread::Program {
            thread: this_thread(),
            waits_until: None,
        };
    }

    /// Leads and runs callbacks until the node has ended. For the thread that [`Turns::dedicate`]
    /// speaks of. An error if the node ended for another reason than that it was stopped.
    pub(in crate::node) fn run(&self) -> Result<(), Error> {
        let result = self.run_until_ended();
        self.undedicate();
        self.finish();
        result
    }

    fn run_until_ended(&self) -> Result<(), Error> {
        loop {
            let mut state = self.lock();
            if state.stage.is_ended() {
                return state.stage.why_ended();
            }
            // Callbacks may have come while this thread ran others.
            let has_callbacks = !state.callbacks.is_empty() && state.stage.is_working();
            if has_callbacks && state.is_led() {
                let state = self.run_batch(state);
                self.release(state);
            } else if state.is_led() {
                // The thread that stands by leads, and gives up when it is woken.
                self.wake();
                state = self.follow(state, None);
                drop(state);
            } else {
                // Also between batches that never leave the queue empty: what others send must be
                // read.
                let most = has_callbacks.then_some(Duration::ZERO);
                if let Err(e) = self.turn(state, most) {
                    self.end_at_once(e.clone());
                    return Err(e);
                }
            }
        }
    }

    /// Leads whenever the loop's thread is busy with callbacks for too long, until the node has
    /// ended.
    pub(in crate::node) fn stand_by(&self) {
        let mut seen = 0;
        let mut leads = false;
        let mut state = self.lock();
        while !state.stage.is_ended() {
            state = match state.next_of_stand_by(leads, &mut seen) {
                Next::Lead => {
                    leads = true;
                    let (state, waited) = self.lead(state, None);
                    self.release(state);
                    if let Err(e) = waited {
                        record!(Error, "the event loop: {e}");
                        return self.end_at_once(e);
                    }
                    self.lock()
                }
                Next::Wait(most) => {
                    leads = false;
                    state.wait(&self.watch, most)
                }
            };
        }
    }
}
