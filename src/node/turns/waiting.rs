//! What is begun, and how a thread waits for it: for a result, or for a stream to move.

use super::calls::{Completion, Outcome};
use super::signal::Signal;
use super::slot::Slot;
use super::{Locked, Turns};
use crate::engine::{Ask, CallNumber, Engine, Now, RequestId, Terms};
use crate::error::Error;
use crate::logging::record;
use crate::name::NodeName;
use crate::sync::Instant;
use std::sync::Arc;
use std::time::Duration;

/// What begins something that ends as a call does.
type Begun = Result<CallNumber, Error>;

impl Turns {
    /// Begins a call.
    pub(in crate::node) fn begin(
        &self,
        target: &NodeName,
        ask: Ask,
        terms: Terms,
        completion: Completion,
    ) -> Begun {
        record!(Debug, "calling {target}: {}", ask.path());
        let state = self.lock_to_begin()?;
        self.begin_locked(state, completion, |engine, now| {
            engine.call(now, target, ask, terms)
        })
    }

    /// Calls, and waits for the outcome; not in a callback, which would wait for itself.
    pub(in crate::node) fn call(&self, target: &NodeName, ask: Ask, terms: Terms) -> Outcome {
        record!(Debug, "calling {target}: {}", ask.path());
        self.begin_and_wait(|engine, now| engine.call(now, target, ask, terms))
    }

    /// Begins what ends as a call does, and waits for the outcome; not in a callback.
    pub(in crate::node) fn begin_and_wait(
        &self,
        f: impl FnOnce(&mut Engine, Now) -> Begun,
    ) -> Outcome {
        let state = self.lock_to_begin()?;
        if state.is_callback() {
            return Err(Error::WouldDeadlock);
        }
        let slot = Slot::new();
        self.begin_locked(state, Completion::Slot(slot.clone()), f)?;
        self.wait_for(&slot)
    }

    fn lock_to_begin(&self) -> Result<Locked<'_>, Error> {
        self.check_process()?;
        let state = self.lock();
        state.stage.check_working()?;
        Ok(state)
    }

    fn begin_locked(
        &self,
        mut state: Locked<'_>,
        completion: Completion,
        f: impl FnOnce(&mut Engine, Now) -> Begun,
    ) -> Begun {
        let now = state.driver.now();
        let begun = state.protect(|state| f(&mut state.driver.engine, now));
        if let Ok(Ok(number)) = begun {
            state.calls.insert(number, completion);
        }
        self.settle(state, now);
        begun?
    }

    /// What is told when a call's streams have moved.
    pub(in crate::node) fn signal(&self, call: RequestId) -> Arc<Signal> {
        self.lock().signals.of(call)
    }

    pub(in crate::node) fn forget_signal(&self, call: RequestId) {
        let signal = self.lock().signals.remove(call);
        // Outside the lock: what it would tell may be dropped with it.
        drop(signal);
    }

    /// Does something with a stream as soon as that can be done; waits at most `timeout`, or for as
    /// long as it takes. A callback must not wait.
    pub(in crate::node) fn wait_stream<T>(
        &self,
        signal: &Signal,
        timeout: Option<Duration>,
        mut f: impl FnMut(&mut Engine, Now) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        self.check_process()?;
        // A time that the clock cannot express does not come.
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.lock_politely();
        loop {
            state.stage.check_working()?;
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
                None if state.is_callback() => return Err(Error::WouldDeadlock),
                None => {}
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Err(Error::WouldBlock);
            }
            state = if state.is_dedicated() {
                state.wait(&signal.moved, left)
            } else {
                self.wait_a_turn(state, left)?
            };
        }
    }

    /// Waits for a slot to be filled. In a program's loop this thread may lead meanwhile.
    pub(in crate::node) fn wait_for<T>(&self, slot: &Slot<T>) -> T {
        let mut state = self.lock();
        loop {
            if state.is_dedicated() {
                drop(state);
                return slot.wait(&self.spinning);
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

    /// Waits until the name is ours or is not. Runs no callbacks.
    pub(in crate::node) fn wait_started(&self) -> Result<(), Error> {
        let mut state = self.lock();
        loop {
            if let Some(result) = state.stage.started() {
                self.release(state);
                return result;
            }
            let waited;
            (state, waited) = self.lead(state, None);
            waited?;
        }
    }
}
