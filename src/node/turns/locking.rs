//! How a thread takes the lock and gives it back: what was done under the lock is written, and the
//! threads that wait for it are told.

use super::{Locked, Turns, contain};
use crate::engine::Now;
use crate::logging::{self, record};
use crate::sync::{Instant, yield_now};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a thread that streams lets others have the lock first: about what waking one takes.
const POLITE: Duration = Duration::from_micros(100);

impl Turns {
    /// Takes the lock. Threads that have to wait for it are counted: see [`Turns::lock_politely`].
    pub(super) fn lock(&self) -> Locked<'_> {
        if let Some(state) = logging::try_lock(&self.state) {
            return state;
        }
        self.queueing.fetch_add(1, Ordering::Relaxed);
        let state = logging::lock(&self.state);
        self.queueing.fetch_sub(1, Ordering::Relaxed);
        state
    }

    /// Takes the lock for a thread that does so over and over: others that wait for it come first,
    /// since a lock that is given back and taken again at once is hardly ever had by another.
    pub(super) fn lock_politely(&self) -> Locked<'_> {
        let patience = Instant::now() + POLITE;
        while self.queueing.load(Ordering::Relaxed) > 0 && Instant::now() < patience {
            yield_now();
        }
        self.lock()
    }

    /// After something was done: writes, unless a batch of callbacks will, and wakes those that
    /// must know.
    pub(super) fn settle(&self, mut state: Locked<'_>, now: Now) {
        let in_batch = state.is_callback();
        // What the loop's thread answers is written with the rest of its batch, unless that takes
        // so long that another thread leads.
        let flush = !in_batch || state.is_led();
        state.settle(now, flush);
        let wake = match in_batch {
            true => state.leader_is_late(),
            false => state.take_wake(),
        };
        self.release(state);
        if wake {
            self.wake();
        }
    }

    /// Gives the lock back, and notifies the threads that wait for what has happened.
    pub(super) fn release(&self, mut state: Locked<'_>) {
        let moved = state.signals.take_moved();
        let followers = state.followers > 0;
        let continuations = state.calls.begin_continuations();
        let ended = state.stage.tell_end();
        drop(state);
        if ended {
            self.wake();
            self.watch.notify_all();
            self.handover.notify_all();
        }
        for signal in moved {
            signal.moved.notify_all();
        }
        if followers {
            self.handover.notify_all();
        }
        if continuations {
            self.run_continuations();
        }
    }

    /// Runs the library's own ends of calls, until there are none. What they begin may end at once,
    /// and is then run here as well, instead of one within the other.
    fn run_continuations(&self) {
        loop {
            let mut state = self.lock();
            let Some(next) = state.calls.next_continuation() else {
                drop(state);
                self.handover.notify_all();
                return;
            };
            drop(state);
            contain("the end of a call", || next.run());
        }
    }

    /// Wakes the thread that leads, or the program's loop.
    pub(super) fn wake(&self) {
        if let Err(e) = self.waker.wake() {
            record!(Error, "waking the event loop: {e}");
        }
    }
}
