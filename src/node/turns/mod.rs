//! How the threads of a node take turns with its engine.
//!
//! One lock guards the [`State`]: the engine, its sockets, and what waits. It is held while
//! something is done, never while something is waited for or a callback runs. So a caller's thread
//! seals and writes its call itself, and is woken by whichever thread reads the answer. Nothing
//! here knows what a command is: what is to be run for a request, a message and the node's end
//! comes as [`Handlers`].
//!
//! The words:
//!
//! * To *lead* is to wait in the poller and then to take in what came. At most one thread leads. It
//!   is the [`Leader`](state::Leader) of the state, which also says until when it will wait:
//!   whoever makes something due earlier wakes it.
//! * The *loop's thread* is the one on which callbacks run, one at a time and in order. It is
//!   *dedicated* where it does nothing else; in a program's own loop it is the thread that opened
//!   the node or last processed it.
//! * A *batch* is the callbacks that wait when the loop's thread begins to run them. What they
//!   answer is written together at its end.
//! * A *turn* of the loop's thread is to lead once, and to run the batch that waits after that.
//! * The thread that *stands by* leads while a batch takes long, where the loop's thread is
//!   dedicated: pings are to be answered, and calls to go on, while a handler takes its time.
//!   Otherwise it sleeps.
//! * A thread *follows* when it waits for the thread that leads, or that runs callbacks, to be
//!   done: on the condition variable `handover`, which is notified when a thread no longer leads,
//!   and when something has ended that a follower may wait for.
//! * A *continuation* is the library's own end of a call. It is run by whichever thread gives the
//!   lock back.
//!
//! | file | what it is |
//! | --- | --- |
//! | `state` | what the lock guards |
//! | `stage` | how far a node is in its life |
//! | `locking` | how a thread takes the lock, and gives it back after something was done |
//! | `leading` | how a thread leads, has a turn and runs a batch |
//! | `dedicated` | the node's own threads: the loop's, and the one that stands by |
//! | `program_loop` | a program's own loop, and threads that wait beside it |
//! | `waiting` | how a thread begins something and waits for it |
//! | `stopping` | how a node stops, and its last work |
//! | `calls`, `callbacks` | what is handed on: ends of calls, and what runs on the loop's thread |
//! | `watchers`, `signal` | what is told of events, and that a stream has moved |
//! | `slot`, `event` | where one thread waits: for a result, for events |

mod callbacks;
mod calls;
mod dedicated;
pub(super) mod event;
mod leading;
mod locking;
mod program_loop;
pub(super) mod signal;
pub(super) mod slot;
mod stage;
mod state;
mod stopping;
#[cfg(test)]
mod tests;
mod waiting;
mod watchers;

use callbacks::Callback;
pub(super) use callbacks::Kept;
pub(super) use calls::{Completion, OnEnd, Outcome};
pub(crate) use watchers::EventHandler;

use crate::driver::{Driver, Poller, Waker};
use crate::engine::{CallNumber, Engine, Now, Request, RequestId, Said, Stats};
use crate::error::Error;
use crate::fork;
use crate::logging::{self, record};
use crate::spinning::Spinning;
use crate::sync::{AtomicUsize, Condvar, Mutex};
use crate::wire::record::Status;
use event::Subscription;
use slot::Slot;
use state::State;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use watchers::Watchers;

/// The lock, held.
type Locked<'a> = logging::Locked<'a, State>;

/// Takes a message to everyone: its sender, its bytes, and what counts it.
type OnMessage = dyn Fn(Said, Option<Kept>) + Send + Sync;

/// What a node runs for what comes in. Each runs without the lock.
pub(super) struct Handlers {
    /// For a command or message of another node, on the loop's thread.
    pub(super) on_request: Box<dyn Fn(Request) + Send + Sync>,
    /// For a message to everyone, on the loop's thread. It counts against the bound on what waits
    /// until the handler drops what comes with it.
    pub(super) on_message: Box<OnMessage>,
    /// Once, when the node has ended and no other callback runs any more: drops every handler of
    /// the program's.
    pub(super) on_end: Box<dyn Fn() + Send + Sync>,
}

/// The sockets of a node that has begun to ask for its name.
pub(super) struct Opened {
    pub(super) driver: Driver,
    pub(super) poller: Poller,
    pub(super) waker: Arc<Waker>,
    /// The count of forks in the process that the node is in.
    pub(super) forks: u32,
}

/// Runs code of the program without the lock. A panic in it is recorded, and ends no thread of the
/// node.
fn contain(what: &str, f: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(f)).is_err() {
        record!(Error, "{what} panicked");
    }
}

/// See the module's documentation.
pub(super) struct Turns {
    state: Mutex<State>,
    /// Threads that wait for the lock.
    queueing: AtomicUsize,
    poller: Mutex<Poller>,
    waker: Arc<Waker>,
    /// Wakes threads that follow.
    handover: Condvar,
    /// Wakes the thread that stands by.
    watch: Condvar,
    spinning: Spinning,
    handlers: Handlers,
    fd: i32,
    forks: u32,
}

impl Turns {
    /// A node that was opened by this thread. `on_event` is the program's event handler from the
    /// start on.
    pub(super) fn new(opened: Opened, handlers: Handlers, on_event: Option<EventHandler>) -> Turns {
        let Opened {
            mut driver,
            poller,
            waker,
            forks,
        } = opened;
        let now = driver.now();
        // The first advert; the engine has nothing for the node yet.
        driver.perform(now, &mut |_| {});
        let watchers = Watchers::new(on_event, driver.engine.limits().events);
        Turns {
            state: Mutex::new(State::new(driver, watchers)),
            queueing: AtomicUsize::new(0),
            fd: poller.fd(),
            poller: Mutex::new(poller),
            waker,
            handover: Condvar::new(),
            watch: Condvar::new(),
            spinning: Spinning::default(),
            handlers,
            forks,
        }
    }

    pub(super) fn fd(&self) -> i32 {
        self.fd
    }

    /// A child of a fork has copies of the descriptors and of a lock that nobody may ever open.
    pub(super) fn is_forked(&self) -> bool {
        fork::count() != self.forks
    }

    /// An error in a child of the process that started the node.
    pub(super) fn check_process(&self) -> Result<(), Error> {
        if self.is_forked() {
            return Err(Error::Forked);
        }
        Ok(())
    }

    /// An error if the node cannot be used any more.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.check_process()?;
        self.lock().stage.check_working()
    }

    /// An error if waiting here would be waiting for oneself.
    pub(super) fn check_may_wait(&self) -> Result<(), Error> {
        self.check_process()?;
        let state = self.lock();
        state.stage.check_working()?;
        match state.is_callback() {
            true => Err(Error::WouldDeadlock),
            false => Ok(()),
        }
    }

    /// Whether the calling thread is running a callback.
    pub(super) fn is_callback(&self) -> bool {
        self.lock().is_callback()
    }

    /// Does something with the engine, and what follows from it. An error if the node has ended.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut Engine, Now) -> R) -> Result<R, Error> {
        let mut state = self.lock();
        state.stage.check_not_ended()?;
        let now = state.driver.now();
        let result = state.protect(|state| f(&mut state.driver.engine, now));
        self.settle(state, now);
        result
    }

    /// Answers a request. An error if nothing more is sent, which is later than that nothing more
    /// is begun: a node that is being stopped still takes answers for a while.
    pub(super) fn answer(&self, id: RequestId, status: Status, body: Vec<u8>) -> Result<(), Error> {
        self.check_process()?;
        let mut state = self.lock();
        state.stage.check_flushing()?;
        let now = state.driver.now();
        // A panic in it has stopped the node, and nobody waits for this answer any more.
        let _ = state.protect(|state| state.driver.engine.reply(now, id, status, body));
        self.settle(state, now);
        Ok(())
    }

    pub(super) fn cancel(&self, number: CallNumber) {
        // What has ended need not be cancelled.
        let _ = self.with(|engine, now| engine.cancel(now, number));
    }

    pub(super) fn stats(&self) -> Stats {
        let state = self.lock();
        Stats {
            messages_dropped: state.callbacks.messages_dropped(),
            ..state.driver.stats()
        }
    }

    /// Runs something on the loop's thread.
    pub(super) fn defer(&self, f: Box<dyn FnOnce() + Send>) {
        let mut state = self.lock();
        if state.stage.is_finished() {
            // There is no such thread any more.
            drop(state);
            return f();
        }
        state.callbacks.add(Callback::Do(f));
        drop(state);
        self.wake();
    }

    /// Fills a slot that a thread waits for, on whatever thread this is.
    pub(super) fn fill<T>(&self, slot: &Slot<T>, value: T) {
        let state = self.lock();
        slot.fill(value);
        drop(state);
        self.handover.notify_all();
    }

    /// Events from now on; for whoever asks first, those from the start on. In a child of a fork,
    /// none.
    pub(super) fn subscribe(&self) -> Arc<Subscription> {
        if self.is_forked() {
            let none = Arc::new(Subscription::new(0));
            none.close();
            return none;
        }
        let mut state = self.lock();
        let subscription = state.watchers.subscribe();
        if !state.stage.is_working() {
            subscription.close();
        }
        subscription
    }

    pub(super) fn set_event_handler(&self, handler: Option<EventHandler>) -> Result<(), Error> {
        let mut state = self.lock();
        // With the lock held: one that is set after the end would never be dropped.
        state.stage.check_working()?;
        if let Some(handler) = &handler {
            for event in state.watchers.take_early() {
                state.callbacks.add_event(handler, event);
            }
        }
        let wake = !state.callbacks.is_empty();
        let old = state.watchers.replace_handler(handler);
        drop(state);
        drop(old);
        if wake {
            self.wake();
        }
        Ok(())
    }
}
