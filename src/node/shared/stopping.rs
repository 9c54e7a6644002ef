//! How a node stops: what was answered is written first, then it says goodbye; and how it ends after a
//! panic in the library, so that no call waits for ever.
//!
//! ```text
//! Working --stop--> Flushing --(all is written, or FLUSH is over)--> Leaving
//!     \                         --(peers have closed their links, or LEAVE is over)--> Ended
//!      \------(a panic, or the event queue failed)------------------------------------^
//! ```

use super::callbacks::Callback;
use super::{Completion, Locked, Shared, State, this_thread};
use crate::engine::Time;
use crate::error::Error;
use crate::logging::record;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// How long a stop may take to write what was answered: two round trips on the slowest link one would use,
/// and some seconds for a large answer. A caller that does not read must not keep a program from ending.
const FLUSH: Duration = Duration::from_secs(2);

/// How long a stop waits for peers to close their links: until then the kernel may have to send again
/// what was lost on the way, which it does not do for a socket that was closed with input unread.
const LEAVE: Duration = Duration::from_millis(500);

const PANICKED: Error = Error::Internal("the node was stopped by a panic in the library");

/// How far a node is on its way to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Working,
    /// Nothing new is begun; what was answered is being written, until then at most.
    Flushing(Time),
    /// The goodbye was said; peers close their links, until then at most.
    Leaving(Time),
    /// The engine is not used any more.
    Ended,
}

impl Stage {
    /// When the stage is over at the latest.
    pub(super) fn until(self) -> Option<Time> {
        match self {
            Stage::Flushing(until) | Stage::Leaving(until) => Some(until),
            Stage::Working | Stage::Ended => None,
        }
    }
}

impl State {
    /// An error if the node is being stopped, or has been.
    pub(super) fn check_working(&self) -> Result<(), Error> {
        match self.stage {
            Stage::Working => Ok(()),
            _ => Err(self.why_stopped()),
        }
    }

    /// An error if the goodbye was said.
    pub(super) fn check_flushing(&self) -> Result<(), Error> {
        match self.stage {
            Stage::Working | Stage::Flushing(_) => Ok(()),
            _ => Err(self.why_stopped()),
        }
    }

    /// An error if the engine must not be used any more.
    pub(super) fn check_not_ended(&self) -> Result<(), Error> {
        match self.stage {
            Stage::Ended => Err(self.why_stopped()),
            _ => Ok(()),
        }
    }

    pub(super) fn why_stopped(&self) -> Error {
        match &self.started {
            Some(Err(error)) => error.clone(),
            _ => Error::Stopped,
        }
    }

    /// Runs what uses the engine. A panic in it stops the node, and ends every call as an internal error.
    pub(super) fn protect<R>(&mut self, f: impl FnOnce(&mut State) -> R) -> Result<R, Error> {
        // After a panic the engine is not used any more, in whatever state it is.
        catch_unwind(AssertUnwindSafe(|| f(self))).map_err(|_| {
            record!(Error, "{PANICKED}");
            self.end(Err(PANICKED));
            PANICKED
        })
    }

    fn begin_stop(&mut self) {
        if self.stage != Stage::Working {
            return;
        }
        let now = self.driver.now();
        self.stage = Stage::Flushing(now.at + FLUSH);
        let _ = self.protect(|state| state.driver.begin_stop(now));
        self.settle(now, true);
        self.close_watchers();
        self.advance_stop();
    }

    /// Goes on with a stop as far as that is possible now.
    pub(super) fn advance_stop(&mut self) {
        if matches!(self.stage, Stage::Working | Stage::Ended) {
            return;
        }
        let now = self.driver.now();
        if let Stage::Flushing(until) = self.stage
            && (self.driver.is_flushed() || now.at >= until)
        {
            self.stage = Stage::Leaving(now.at + LEAVE);
            let _ = self.protect(|state| state.driver.stop(now));
            self.settle(now, true);
        }
        if let Stage::Leaving(until) = self.stage
            && (self.driver.has_left() || now.at >= until)
        {
            self.stage = Stage::Ended;
        }
    }

    /// Ends the node without a word to others, since the engine or the event queue has failed.
    fn end(&mut self, why: Result<(), Error>) {
        self.stage = Stage::Ended;
        self.driver.abandon();
        let error = why.clone().err().unwrap_or(Error::Stopped);
        self.started = Some(why);
        for completion in std::mem::take(&mut self.pending).into_values() {
            let outcome = Err(error.clone());
            match completion {
                Completion::Slot(slot) | Completion::Waiting(slot) => slot.fill(outcome),
                Completion::Callback(end) => self.callbacks.add(Callback::Ended(end, outcome)),
                Completion::Chore(chore) => self.chores.push_back((chore, outcome)),
            }
        }
        self.close_watchers();
    }

    /// No more events come, and nothing more moves in streams.
    fn close_watchers(&mut self) {
        for subscription in std::mem::take(&mut self.subscriptions) {
            if let Some(subscription) = subscription.upgrade() {
                subscription.close();
            }
        }
        self.moved.extend(self.signals.values().cloned());
    }
}

impl Shared {
    /// Stops the node: what was answered is written, for two seconds at most, then it says goodbye.
    /// Everything of our own that is in flight ends at once. Idempotent. Returns before that is over if
    /// another thread, or the callback that this is, has to see to it.
    pub(in crate::node) fn stop(&self) {
        let mut state = self.lock();
        state.begin_stop();
        let alone = !state.led && !state.dedicated && state.running.is_none();
        if alone {
            // What went wrong while waiting for peers is of no use any more.
            let _ = self.see_to_the_end(state);
        } else {
            self.release(state);
        }
        self.wake();
        self.handover.notify_all();
    }

    /// Leads until the node has ended, where no thread does nothing else.
    pub(super) fn see_to_the_end<'a>(&'a self, mut state: Locked<'a>) -> Result<(), Error> {
        let mut waited = Ok(());
        while state.stage != Stage::Ended {
            (state, waited) = self.lead(state, None);
            if waited.is_err() {
                state.end(Ok(()));
            }
        }
        self.release(state);
        self.finish();
        waited
    }

    /// Ends the node after its event queue has failed.
    pub(super) fn end_at_once(&self) {
        let mut state = self.lock();
        state.end(Ok(()));
        self.release(state);
    }

    /// Waits until the node has ended and no callback runs, unless this is one.
    pub(in crate::node) fn wait_finished(&self) {
        let mut state = self.lock();
        while !state.finished && state.running != Some(this_thread()) {
            let busy = state.led || state.running.is_some() || state.finishing;
            state = if busy || state.dedicated {
                self.follow(state, None)
            } else {
                // The thread that led when the node was stopped has left.
                let _ = self.see_to_the_end(state);
                self.lock()
            };
        }
    }

    /// After the end: runs the callbacks that are still owed, and keeps no handler. Once.
    pub(super) fn finish(&self) {
        let mut state = self.lock();
        if std::mem::replace(&mut state.finishing, true) {
            return;
        }
        // What ends calls of several may still have a callback to add.
        while state.chores_run || !state.chores.is_empty() {
            state = if state.chores_run {
                self.follow(state, None)
            } else {
                self.release(state);
                self.lock()
            };
        }
        let dropped: VecDeque<_> = state.callbacks.keep_owed();
        let owed = state.callbacks.len();
        state.running = Some(this_thread());
        self.release(state);
        drop(dropped);
        self.run_callbacks(owed, Instant::now());
        self.registry.close();
        let told = self.lock().event_handler.take();
        drop(told);
        let mut state = self.lock();
        // What was begun while the node ended may have added some.
        while !state.callbacks.is_empty() {
            let owed = state.callbacks.len();
            drop(state);
            self.run_callbacks(owed, Instant::now());
            state = self.lock();
        }
        // A request that is kept must not keep ports and descriptors with it.
        state.driver.abandon();
        (state.running, state.finished) = (None, true);
        drop(state);
        self.handover.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Ask, Event, Terms};
    use crate::fernet::Key;
    use crate::name::NodeName;
    use crate::node::{Builder, CommandTree, Node};
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::time::Instant;

    /// A node that nobody else can meet, and that takes silence for a reason to wait.
    fn builder() -> Builder {
        Node::builder("a", "test", Key::from_bytes([7; 32]))
            .loopback(true)
            .lan(false)
    }

    fn patiently(node: &Node) -> Result<serde_json::Value, Error> {
        let call = node.call("x").to("nobody");
        call.timeout(Duration::from_secs(600)).send()
    }

    /// The engine panics at its next input.
    fn sabotage(node: &Node) {
        let done = node.0.shared.with(|engine, _| engine.sabotaged = true);
        done.unwrap();
        node.0.shared.wake();
    }

    /// Waits until so many calls are under way.
    fn until_calling(node: &Node, calls: u64) {
        let start = Instant::now();
        while node.stats().calls_open < calls {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "no {calls} calls"
            );
            std::thread::yield_now();
        }
    }

    /// Tells when it is dropped.
    struct Dropped(mpsc::Sender<()>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    #[test]
    fn a_handler_that_is_set_while_the_node_ends_is_dropped_though_a_request_keeps_the_node() {
        let node = builder().open().unwrap();
        let kept = node.0.shared.clone();
        let (tell, told) = mpsc::channel();
        let dropped = || Dropped(tell.clone());
        node.stop();
        // As a thread does that has found the node working, just before.
        let (command, message, event) = (dropped(), dropped(), dropped());
        let tree = CommandTree::new().command("late", move |_| {
            let _held = &command;
        });
        assert_eq!(kept.registry.add(tree.unwrap()), Err(Error::Stopped));
        let message = move |_| {
            let _held = &message;
        };
        let set = kept.registry.set_message_handler(Some(Arc::new(message)));
        assert_eq!(set, Err(Error::Stopped));
        let event = move |_: &Event| {
            let _held = &event;
        };
        let set = kept.set_event_handler(Some(Arc::new(event)));
        assert_eq!(set, Err(Error::Stopped));
        assert_eq!(told.try_iter().count(), 3);
    }

    #[test]
    fn in_a_child_of_a_fork_events_end_at_once_and_wait_for_no_lock() {
        let mut shared = builder().open_shared().unwrap();
        Arc::get_mut(&mut shared).unwrap().pid += 1;
        let node = Node::of(shared);
        // As by a thread that is not in the child.
        let held = node.0.shared.lock();
        let (tell, told) = mpsc::channel();
        let child = node.clone();
        let waits = std::thread::spawn(move || tell.send(child.events().next()));
        let first = told.recv_timeout(Duration::from_secs(60));
        assert_eq!(first, Ok(None));
        waits.join().unwrap().unwrap();
        drop(held);
    }

    #[test]
    fn a_panic_in_the_engine_stops_the_node_and_ends_every_call() {
        let node = builder().start().unwrap();
        let events = node.events();
        let (tell, told) = mpsc::channel();
        let call = node
            .call("y")
            .to("nobody")
            .timeout(Duration::from_secs(600));
        call.send_async(move |outcome| tell.send(outcome).unwrap())
            .unwrap();
        std::thread::scope(|s| {
            let waits = s.spawn(|| patiently(&node));
            let waits_for_all = s.spawn(|| {
                let call = node.call("z").to_each(["nobody", "no-one"]);
                call.timeout(Duration::from_secs(600)).send_all()
            });
            until_calling(&node, 4);
            sabotage(&node);
            assert_eq!(waits.join().unwrap(), Err(PANICKED));
            let all = waits_for_all.join().unwrap().unwrap();
            assert!(all.iter().all(|answer| answer.result == Err(PANICKED)));
        });
        let told = told.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(told, Err(PANICKED));
        assert_eq!(events.clone().next(), None, "events end");
        assert_eq!(
            patiently(&node),
            Err(PANICKED),
            "and so does what comes later"
        );
        assert!(node.peers().is_empty());
        node.stop();
    }

    #[test]
    fn a_panic_in_a_foreign_loop_ends_the_calls_that_drive_it() {
        let node = builder().open().unwrap();
        std::thread::scope(|s| {
            let waits = s.spawn(|| patiently(&node));
            until_calling(&node, 1);
            sabotage(&node);
            assert_eq!(waits.join().unwrap(), Err(PANICKED));
        });
        assert_eq!(node.process(None), Err(PANICKED));
    }

    #[test]
    fn a_stop_waits_for_the_end_of_a_call_of_several_that_another_thread_works_on() {
        let node = builder().start().unwrap();
        let shared = node.0.shared.clone();
        let (tell, told) = mpsc::channel();
        let (begun, begins) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let chore = Completion::Chore(Box::new(move |_| {
            begun.send(()).unwrap();
            goes_on.recv_timeout(Duration::from_secs(60)).unwrap();
            let done = move || tell.send(thread_name()).unwrap();
            shared.defer(Box::new(done));
        }));
        let ask = Ask::Message(Vec::new());
        let terms = Terms {
            timeout: Duration::from_secs(600),
            wait: true,
            streams: false,
        };
        let target = NodeName::new("nobody").unwrap();
        node.0.shared.begin(&target, ask, terms, chore).unwrap();
        std::thread::scope(|s| {
            s.spawn(|| node.stop());
            begins.recv_timeout(Duration::from_secs(60)).unwrap();
            // Wakes the node's thread, which the one above has not come to.
            node.stop();
            let start = Instant::now();
            let has_come_to_it = || {
                let state = node.0.shared.lock();
                state.finished || state.finishing && state.followers > 0
            };
            while !has_come_to_it() {
                assert!(start.elapsed() < Duration::from_secs(60), "no end");
                std::thread::yield_now();
            }
            go_on.send(()).unwrap();
        });
        node.0.close();
        assert_eq!(told.try_recv(), Ok(Some("peerbase".to_owned())));
    }

    fn thread_name() -> Option<String> {
        std::thread::current().name().map(str::to_owned)
    }

    #[test]
    fn a_panic_on_the_callers_thread_ends_the_node_as_well() {
        let node = builder().start().unwrap();
        std::thread::scope(|s| {
            let waits = s.spawn(|| patiently(&node));
            until_calling(&node, 1);
            let here = node.0.shared.with(|_, _| panic!("sabotage"));
            assert_eq!(here, Err::<(), _>(PANICKED));
            assert_eq!(waits.join().unwrap(), Err(PANICKED));
        });
    }
}
