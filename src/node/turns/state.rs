//! What the threads of a node share under its lock: the driver with the engine, what is to be
//! handed on, and which thread does what.

use super::callbacks::{Callback, Callbacks};
use super::calls::Calls;
use super::signal::Signals;
use super::stage::Stage;
use super::watchers::Watchers;
use crate::driver::{Driver, Notice};
use crate::engine::{Now, RequestId, Time};
use crate::error::Error;
use crate::logging::record;
use crate::sync::{Instant, ThreadMark, this_thread};
use crate::wire::record::Status;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// What every use of a node gives after a panic in the library.
pub(super) const PANICKED: Error =
    Error::Internal("the node was stopped by a panic in the library");

/// The thread that leads, if one does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leader {
    None,
    /// A thread waits in the poller, until then at most. What is due sooner must wake it.
    Waits {
        until: Time,
    },
}

/// The thread on which callbacks run.
#[derive(Clone, Copy, Debug)]
pub(super) enum LoopThread {
    /// A thread that does nothing but lead and run callbacks; another one stands by for it.
    Dedicated,
    /// The program's: it opened the node, or last processed it.
    Program {
        thread: ThreadMark,
        /// Until when the program's loop will wait, once it has asked for how long it may.
        waits_until: Option<Time>,
    },
}

/// A batch of callbacks that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    pub(super) thread: ThreadMark,
    pub(super) since: Instant,
}

/// What the thread that stands by must know.
#[derive(Debug, Default)]
pub(super) struct StandBy {
    /// Batches begun so far.
    pub(super) batches: u64,
    /// Whether it must be woken for the next batch.
    pub(super) sleeps: bool,
}

pub(super) struct State {
    pub(super) driver: Driver,
    pub(super) stage: Stage,
    pub(super) leader: Leader,
    pub(super) loop_thread: LoopThread,
    pub(super) batch: Option<Batch>,
    pub(super) stand_by: StandBy,
    /// Threads that follow: see the module's documentation.
    pub(super) followers: usize,
    pub(super) callbacks: Callbacks,
    pub(super) calls: Calls,
    pub(super) signals: Signals,
    pub(super) watchers: Watchers,
}

impl State {
    /// A node that was just opened, by the program's thread that this is.
    pub(super) fn new(driver: Driver, watchers: Watchers) -> State {
        State {
            callbacks: Callbacks::new(driver.engine.limits()),
            driver,
            stage: Stage::Starting,
            leader: Leader::None,
            loop_thread: LoopThread::Program {
                thread: this_thread(),
                waits_until: None,
            },
            batch: None,
            stand_by: StandBy::default(),
            followers: 0,
            calls: Calls::default(),
            signals: Signals::default(),
            watchers,
        }
    }

    pub(super) fn is_led(&self) -> bool {
        matches!(self.leader, Leader::Waits { .. })
    }

    pub(super) fn is_dedicated(&self) -> bool {
        matches!(self.loop_thread, LoopThread::Dedicated)
    }

    /// Whether this is the thread of the program's loop.
    pub(super) fn is_programs_loop(&self) -> bool {
        matches!(self.loop_thread, LoopThread::Program { thread, .. } if thread == this_thread())
    }

    /// Whether the calling thread is running a callback.
    pub(super) fn is_callback(&self) -> bool {
        self.batch
            .is_some_and(|batch| batch.thread == this_thread())
    }

    /// Runs what uses the engine. A panic in it stops the node, and ends every call as an internal
    /// error.
    pub(super) fn protect<R>(&mut self, f: impl FnOnce(&mut State) -> R) -> Result<R, Error> {
        // After a panic the engine is not used any more, in whatever state it is.
        catch_unwind(AssertUnwindSafe(|| f(self))).map_err(|_| {
            record!(Error, "{PANICKED}");
            self.end(PANICKED);
            PANICKED
        })
    }

    /// Ends the node without a word to others, since the engine or the event queue has failed.
    pub(super) fn end(&mut self, why: Error) {
        self.stage.end(why.clone());
        self.driver.abandon();
        for ended in self.calls.end_all(&why) {
            self.callbacks.add(Callback::Ended(ended));
        }
        self.close_watchers();
    }

    /// No more events come, and nothing more moves in streams.
    pub(super) fn close_watchers(&mut self) {
        self.watchers.close();
        self.signals.all_moved();
    }

    /// Does what the engine asks for; `flush` also writes to the links. A panic stops the node.
    pub(super) fn settle(&mut self, now: Now, flush: bool) {
        if self.stage.is_ended() {
            return;
        }
        // The node has been stopped already if this fails, and nobody is there to be told more.
        let _ = self.protect(|state| {
            state.with_notices(now, |driver, notices| {
                driver.perform(now, notices);
                if flush {
                    driver.flush(now, notices);
                }
            });
        });
    }

    /// Runs `f`, which gives notices, and takes them in.
    pub(super) fn with_notices(
        &mut self,
        now: Now,
        f: impl FnOnce(&mut Driver, &mut dyn FnMut(Notice)),
    ) {
        // Handlers may have taken or dropped something since the last time.
        let full = self.callbacks.is_half_full();
        self.driver.engine.hold_broadcasts(full);
        let mut refused = Vec::new();
        self.take_notices(&mut refused, f);
        // Refusing lets the engine go on, which may give more notices.
        while !refused.is_empty() {
            let ids = std::mem::take(&mut refused);
            self.take_notices(&mut refused, |driver, notices| {
                for id in ids {
                    driver.engine.reply(now, id, Status::Overloaded, Vec::new());
                }
                driver.perform(now, notices);
                driver.flush(now, notices);
            });
        }
    }

    /// Takes in notices; requests for which there is no room go to `refused`.
    fn take_notices(
        &mut self,
        refused: &mut Vec<RequestId>,
        f: impl FnOnce(&mut Driver, &mut dyn FnMut(Notice)),
    ) {
        let State {
            driver,
            stage,
            callbacks,
            calls,
            signals,
            watchers,
            ..
        } = self;
        f(driver, &mut |notice| match notice {
            Notice::Request(request) => {
                record!(Debug, "{} asks for {}", request.caller, request.ask.path());
                let id = request.id;
                if !callbacks.offer(Callback::Request(request)) {
                    refused.push(id);
                }
            }
            Notice::Message(said) => callbacks.offer_message(said),
            Notice::Stream(id) => {
                if let Some(signal) = signals.moved(id.call) {
                    callbacks.add(Callback::Ready(signal));
                }
            }
            Notice::Ended(number, outcome) => {
                if let Some(ended) = calls.end(number, outcome) {
                    callbacks.add(Callback::Ended(ended));
                }
            }
            Notice::Running => stage.begin_working(),
            Notice::Failed(error) => stage.end(error),
            Notice::Event(event) => {
                record!(Debug, "{event:?}");
                if let Some((handler, event)) = watchers.publish(event) {
                    callbacks.add_event(handler, event);
                }
            }
        });
    }

    /// When this must be looked at again, if no event comes.
    pub(super) fn deadline(&self) -> Option<Time> {
        let deadlines = [self.driver.deadline(), self.stage.until()];
        deadlines.into_iter().flatten().min()
    }

    /// How long there is nothing to do before `deadline`, if no event comes.
    pub(super) fn left_until(&self, deadline: Option<Time>) -> Option<Duration> {
        let runs = !self.is_dedicated() && self.stage.is_working();
        if runs && !self.callbacks.is_empty() {
            return Some(Duration::ZERO);
        }
        deadline.map(|at| self.driver.left_until(at))
    }

    /// Says whether a thread that waits for events must be woken for what was done meanwhile. What
    /// is due in a program's loop is said once.
    pub(super) fn take_wake(&mut self) -> bool {
        let mut loop_is_late = false;
        if let LoopThread::Program {
            waits_until: Some(until),
            ..
        } = &mut self.loop_thread
            && let Some(due) = self.driver.protocol_deadline()
            && due < *until
        {
            // It is woken once for this.
            *until = due;
            loop_is_late = true;
        }
        !self.callbacks.is_empty() || loop_is_late || self.leader_is_late()
    }

    /// Whether a thread leads, and will wait longer than until something is due.
    pub(super) fn leader_is_late(&self) -> bool {
        match self.leader {
            Leader::Waits { until } => {
                let due = self.driver.protocol_deadline();
                due.is_some_and(|due| due < until)
            }
            Leader::None => false,
        }
    }
}
