//! What is begun, and how a thread waits for it: for a result, or for a stream to move.

use super::stopping::Stage;
use super::{Completion, Locked, Shared, this_thread};
use crate::engine::{Ask, CallNumber, Engine, Now, RequestId, Terms};
use crate::error::Error;
use crate::logging::record;
use crate::name::NodeName;
use crate::node::slot::Slot;
use crate::node::stream::Signal;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shortest time for which a thread that does not lead sleeps before it looks at the time again.
const NAP: Duration = Duration::from_millis(1);

impl Shared {
    /// Begins a call.
    pub(in crate::node) fn begin(
        &self,
        target: &NodeName,
        ask: Ask,
        terms: Terms,
        completion: Completion,
    ) -> Result<CallNumber, Error> {
        record!(Debug, "calling {target}: {}", ask.path());
        self.begin_with(completion, |engine, now| {
            engine.call(now, target, ask, terms)
        })
    }

    /// Begins what ends as a call does.
    pub(in crate::node) fn begin_with(
        &self,
        completion: Completion,
        f: impl FnOnce(&mut Engine, Now) -> Result<CallNumber, Error>,
    ) -> Result<CallNumber, Error> {
        if self.is_forked() {
            return Err(Error::Forked);
        }
        let mut state = self.lock();
        state.check_working()?;
        if matches!(completion, Completion::Slot(_)) && state.running == Some(this_thread()) {
            return Err(Error::WouldDeadlock);
        }
        let now = state.driver.now();
        let begun = state.protect(|state| f(&mut state.driver.engine, now));
        if let Ok(Ok(number)) = begun {
            state.pending.insert(number, completion);
        }
        self.settle(state, now);
        begun?
    }

    /// Who is told that a call's streams have moved.
    pub(in crate::node) fn signal(&self, call: RequestId) -> Arc<Signal> {
        let mut state = self.lock();
        state
            .signals
            .or_insert_with(call, Arc::<Signal>::default)
            .clone()
    }

    pub(in crate::node) fn forget_signal(&self, call: RequestId) {
        let signal = self.lock().signals.remove(&call);
        // Outside the lock: what it would tell may be dropped with it.
        drop(signal);
    }

    /// Does something with a stream as soon as that can be done; waits at most `timeout`, or for as long as
    /// it takes. The loop's thread must not wait.
    pub(in crate::node) fn wait_stream<T>(
        &self,
        signal: &Signal,
        timeout: Option<Duration>,
        mut f: impl FnMut(&mut Engine, Now) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        if self.is_forked() {
            return Err(Error::Forked);
        }
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let mut state = self.lock_politely();
        loop {
            state.check_working()?;
            let now = state.driver.now();
            let done = match state.protect(|state| f(&mut state.driver.engine, now)) {
                Ok(done) => done,
                Err(panicked) => {
                    self.release(state);
                    return Err(panicked);
                }
            };
            match done.transpose() {
                Some(result) => {
                    self.settle(state, now);
                    return result;
                }
                None if timeout == Some(Duration::ZERO) => return Err(Error::WouldBlock),
                None if state.running == Some(this_thread()) => return Err(Error::WouldDeadlock),
                None => {}
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Err(Error::WouldBlock);
            }
            state = if state.dedicated {
                state.wait(&signal.moved, left)
            } else {
                self.wait_a_turn(state, left)?
            };
        }
    }

    /// Waits for a slot to be filled. The loop's thread leads meanwhile.
    pub(in crate::node) fn wait_for<T>(&self, slot: &Slot<T>) -> T {
        let mut state = self.lock();
        loop {
            if state.dedicated {
                drop(state);
                return self.spinning.wait(slot);
            }
            if let Some(value) = slot.take() {
                return value;
            }
            state = self.wait_a_turn(state, None).unwrap_or_else(|e| {
                record!(Error, "the event loop: {e}");
                self.stop();
                self.lock()
            });
        }
    }

    /// In a foreign loop: has a turn if it can, or else waits for another thread's, at most `most`. Only the
    /// loop's thread runs callbacks; any other leaves them, and says so at the descriptor.
    fn wait_a_turn<'a>(
        &'a self,
        state: Locked<'a>,
        most: Option<Duration>,
    ) -> Result<Locked<'a>, Error> {
        let free = !state.led && state.stage != Stage::Ended;
        if free && state.loop_thread == this_thread() && state.running.is_none() {
            self.turn(state, most)?;
        } else if free && state.callbacks.is_empty() {
            let (state, waited) = self.lead(state, most);
            if state.stage != Stage::Working {
                self.see_to_the_end(state)?;
                return Ok(self.lock());
            }
            let more = !state.callbacks.is_empty() || state.driver.has_unread();
            self.release(state);
            if more {
                self.wake();
            }
            waited?;
        } else {
            self.nap(state, most);
        }
        Ok(self.lock())
    }

    /// Waits for another thread's turn. The program's loop may be late, or not run at all, and what this
    /// thread has begun must end in time: so the engine is told the time.
    fn nap(&self, state: Locked<'_>, most: Option<Duration>) {
        let due = state.driver.protocol_deadline();
        let due = due.map(|at| state.driver.left_until(at).max(NAP));
        let mut state = self.follow(state, [due, most].into_iter().flatten().min());
        let now = state.driver.now();
        let due = state.driver.protocol_deadline();
        if state.led || state.stage == Stage::Ended || due.is_none_or(|at| now.at < at) {
            return;
        }
        // A panic in it has stopped the node, and ended what this thread waits for.
        let _ = state.protect(|state| state.driver.tick(now));
        self.settle(state, now);
    }

    /// Waits until something has changed for threads that do not lead, at most `most`.
    pub(super) fn follow<'a>(
        &'a self,
        mut state: Locked<'a>,
        most: Option<Duration>,
    ) -> Locked<'a> {
        state.followers += 1;
        let mut state = state.wait(&self.handover, most);
        state.followers -= 1;
        state
    }

    /// Waits until the name is ours or is not. Callbacks wait for the loop.
    pub(in crate::node) fn wait_started(&self) -> Result<(), Error> {
        let mut state = self.lock();
        loop {
            if let Some(result) = state.started.clone() {
                self.release(state);
                return result;
            }
            let waited;
            (state, waited) = self.lead(state, None);
            waited?;
        }
    }
}
