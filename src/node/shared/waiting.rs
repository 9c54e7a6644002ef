//! What is begun, and how a thread waits for it: for a result, or for a stream to move.

use super::{Completion, Shared, State, this_thread};
use crate::engine::{Ask, CallNumber, Engine, Now, RequestId, Terms};
use crate::error::Error;
use crate::name::NodeName;
use crate::node::slot::Slot;
use crate::node::stream::Signal;
use std::sync::{Arc, Condvar, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

impl Shared {
    /// Begins a call.
    pub(in crate::node) fn begin(
        &self,
        target: &NodeName,
        ask: Ask,
        terms: Terms,
        completion: Completion,
    ) -> Result<CallNumber, Error> {
        log::debug!("calling {target}: {}", ask.path());
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
        if matches!(completion, Completion::Slot(_)) && state.running == Some(this_thread()) {
            return Err(Error::WouldDeadlock);
        }
        let now = state.driver.now();
        let number = f(&mut state.driver.engine, now)?;
        state.pending.insert(number, completion);
        self.settle(state, now);
        Ok(number)
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
            if state.stopped {
                return Err(Error::Stopped);
            }
            let now = state.driver.now();
            match f(&mut state.driver.engine, now).transpose() {
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
                wait_on(&signal.moved, state, left)
            } else if state.led {
                state.followers += 1;
                let mut state = wait_on(&self.handover, state, left);
                state.followers -= 1;
                state
            } else {
                self.turn(state, left)?;
                self.lock()
            };
        }
    }

    /// Waits for a slot to be filled, leading if nobody else does.
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
            state = if state.led {
                self.follow(state)
            } else {
                if let Err(e) = self.turn(state, None) {
                    log::error!("the event loop: {e}");
                    self.stop();
                }
                self.lock()
            };
        }
    }

    /// Waits until something changed for those who follow.
    pub(super) fn follow<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.followers += 1;
        let mut state = wait_on(&self.handover, state, None);
        state.followers -= 1;
        state
    }

    /// Waits until the name is ours or is not.
    pub(in crate::node) fn wait_started(&self) -> Result<(), Error> {
        loop {
            let state = self.lock();
            if let Some(result) = state.started.clone() {
                return result;
            }
            self.turn(state, None)?;
        }
    }
}

pub(super) fn wait_on<'a>(
    condvar: &Condvar,
    state: MutexGuard<'a, State>,
    most: Option<Duration>,
) -> MutexGuard<'a, State> {
    match most {
        None => condvar.wait(state).unwrap_or_else(PoisonError::into_inner),
        Some(most) => {
            let waited = condvar.wait_timeout(state, most);
            waited.unwrap_or_else(PoisonError::into_inner).0
        }
    }
}
