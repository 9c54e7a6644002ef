//! A program's own loop, and threads that wait beside it: each has a turn if it can, or else waits
//! for another thread's.

use super::state::LoopThread;
use super::{Locked, Turns};
use crate::engine::Time;
use crate::error::Error;
use crate::sync::this_thread;
use std::time::Duration;

/// The shortest time for which a thread that does not lead sleeps before it looks at the time
/// again.
const NAP: Duration = Duration::from_millis(1);

/// How long a thread that waits beside a program's loop leaves it to the loop to run the callbacks
/// that wait. After that the thread takes in what has come from the network, and leaves the
/// callbacks: short to a caller that waits, long to a loop that is about to come.
const PATIENCE: Duration = Duration::from_millis(10);

impl Turns {
    /// One turn in a program's loop.
    pub(in crate::node) fn process(&self, most: Option<Duration>) -> Result<(), Error> {
        self.check_may_wait()?;
        let mut state = self.lock();
        if state.is_dedicated() {
            return Err(Error::Argument("the node runs on a thread of its own"));
        }
        state.loop_thread = LoopThread::Program {
            thread: this_thread(),
            waits_until: None,
        };
        if state.is_led() || state.batch.is_some() {
            // Another thread has a turn. Its callbacks are left for this one.
            state = self.follow(state, most);
            let busy = state.is_led() || state.batch.is_some() || state.is_dedicated();
            if busy || state.callbacks.is_empty() {
                return Ok(());
            }
            return self.turn(state, Some(Duration::ZERO));
        }
        self.turn(state, most)
    }

    /// How long a program's loop may wait before it calls [`Turns::process`].
    pub(in crate::node) fn timeout(&self) -> Option<Duration> {
        if self.is_forked() {
            return None;
        }
        let mut state = self.lock();
        if state.stage.is_ended() {
            return None;
        }
        let deadline = state.deadline();
        if let LoopThread::Program { waits_until, .. } = &mut state.loop_thread {
            *waits_until = Some(deadline.unwrap_or(Time(Duration::MAX)));
        }
        state.left_until(deadline)
    }

    /// In a program's loop, on its thread: a turn that does not wait.
    #[cfg(feature = "files")]
    pub(in crate::node) fn have_turn(&self) {
        let state = self.lock();
        let free = !state.is_led() && state.batch.is_none() && state.stage.is_working();
        if free && state.is_programs_loop() {
            // The next use of the node returns the error.
            let _ = self.turn(state, Some(Duration::ZERO));
        }
    }

    /// In a program's loop: has a turn if it can, or else waits for another thread's, at most
    /// `most`. Only the loop's thread runs callbacks; any other leaves them, and says so at the
    /// descriptor.
    pub(super) fn wait_a_turn<'a>(
        &'a self,
        state: Locked<'a>,
        most: Option<Duration>,
    ) -> Result<Locked<'a>, Error> {
        let free = !state.is_led() && !state.stage.is_ended();
        if free && state.is_programs_loop() && state.batch.is_none() {
            self.turn(state, most)?;
        } else if free && state.callbacks.is_empty() {
            self.lead_beside_the_loop(state, most)?;
        } else if free {
            let most = most.map_or(PATIENCE, |most| most.min(PATIENCE));
            let state = self.wait_for_another(state, Some(most));
            // The loop did not come: what this thread waits for may be in a socket.
            if !state.is_led() && !state.stage.is_ended() {
                self.lead_beside_the_loop(state, Some(Duration::ZERO))?;
            }
        } else {
            drop(self.wait_for_another(state, most));
        }
        Ok(self.lock())
    }

    /// Leads on a thread that runs no callbacks, and says at the descriptor that some wait.
    fn lead_beside_the_loop(&self, state: Locked<'_>, most: Option<Duration>) -> Result<(), Error> {
        let (state, waited) = self.lead(state, most);
        if !state.stage.is_working() {
            return self.see_to_the_end(state);
        }
        let more = !state.callbacks.is_empty() || state.driver.has_unread();
        self.release(state);
        if more {
            self.wake();
        }
        waited
    }

    /// Waits for another thread's turn. The program's loop may be late, or not run at all, and what
    /// this thread has begun must end in time: so the engine is told the time.
    fn wait_for_another<'a>(&'a self, state: Locked<'a>, most: Option<Duration>) -> Locked<'a> {
        let due = state.driver.protocol_deadline();
        let due = due.map(|at| state.driver.left_until(at).max(NAP));
        let mut state = self.follow(state, [due, most].into_iter().flatten().min());
        let now = state.driver.now();
        let due = state.driver.protocol_deadline();
        if state.is_led() || state.stage.is_ended() || due.is_none_or(|at| now.at < at) {
            return state;
        }
        // A panic in it has stopped the node, and ended what this thread waits for.
        let _ = state.protect(|state| state.driver.tick(now));
        self.settle(state, now);
        self.lock()
    }

    /// Follows: waits until something has changed for threads that do not lead, at most `most`.
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
}
