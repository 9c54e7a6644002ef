//! What the threads of a node share, and how they take turns.
//!
//! One lock, `state`, guards the engine and its sockets; it is held while something is done, never
//! while something is waited for or a callback runs. So a caller's thread seals and writes its call
//! itself, and is woken by whichever thread reads the answer.
//!
//! At most one thread *leads*: it waits in the poller and takes in what came. Callbacks run on the loop's
//! thread only, one at a time and in order. The loop's thread is the node's own, or, in a foreign loop, the
//! one that opened the node or last processed it.
//!
//! | file | what it is |
//! | --- | --- |
//! | `turns` | how threads lead, run callbacks, and hand over to each other |
//! | `callbacks` | the queue of callbacks, and its bounds |
//! | `waiting` | how a thread begins something and waits for it |
//! | `stopping` | how a node stops, and what happens after a panic |

mod callbacks;
mod stopping;
mod turns;
mod waiting;

use super::command::{CommandTree, MessageHandler, Registry};
use super::event::Subscription;
use super::slot::{Slot, Spinning};
use super::stream::Signal;
use super::{Handle, Node};
use crate::driver::{Driver, Poller, Settings};
use crate::engine::{CallNumber, Config, Engine, Event, Now, Output, RequestId, Stats, Time};
use crate::error::Error;
use crate::limits::Limits;
use crate::logging::{self, record};
use crate::name::{NetworkName, NodeName};
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::record::Status;
pub(super) use callbacks::Kept;
use callbacks::{Callback, Callbacks};
use mio::Waker;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};
use stopping::Stage;

/// How long a thread that streams lets others have the lock first: about what waking one takes.
const POLITE: Duration = Duration::from_micros(100);

type Outcome = Result<Vec<u8>, Error>;
pub(super) type OnEnd = Box<dyn FnOnce(Outcome) + Send>;
pub(crate) type EventHandler = Arc<dyn Fn(&Event) + Send + Sync>;

/// Which thread this is, among those that live. Not `thread::current()`, which makes a handle that is
/// kept until the thread ends, in a program whose threads are not ours.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ThreadMark(usize);

fn this_thread() -> ThreadMark {
    thread_local!(static PLACE: u8 = const { 0 });
    PLACE.with(|place| ThreadMark(std::ptr::from_ref(place).addr()))
}

/// Where the end of a call goes.
pub(super) enum Completion {
    /// To a thread that waits.
    Slot(Arc<Slot<Outcome>>),
    /// To a thread that does something else meanwhile, maybe the loop's.
    Waiting(Arc<Slot<Outcome>>),
    /// To a callback, on the loop's thread.
    Callback(OnEnd),
    /// To the library itself, on whichever thread has the outcome; it does not block.
    Chore(OnEnd),
}

struct State {
    driver: Driver,
    callbacks: Callbacks,
    /// Ends of the library's own calls, run by whichever thread releases the lock.
    chores: VecDeque<(OnEnd, Outcome)>,
    /// Whether a thread runs them.
    chores_run: bool,
    pending: BTreeMap<CallNumber, Completion>,
    signals: Table<RequestId, Arc<Signal>>,
    /// Those to be notified once the lock is free: a thread that wakes needs it at once.
    moved: Vec<Arc<Signal>>,
    /// How the start went, once that is known.
    started: Option<Result<(), Error>>,
    stage: Stage,
    /// Whether all threads of the node were woken for its end.
    end_was_told: bool,
    /// Whether what is left to do after the end is being done, and whether it was done.
    finishing: bool,
    finished: bool,
    /// Whether a thread leads.
    led: bool,
    /// The loop's thread does nothing else, and another one stands by for it.
    dedicated: bool,
    /// The thread on which callbacks may run, where that is not the node's own.
    loop_thread: ThreadMark,
    /// The thread that runs callbacks now.
    running: Option<ThreadMark>,
    /// Since when it has run this batch of them.
    batch_since: Option<Instant>,
    /// Batches run so far.
    batches: u64,
    /// Whether the thread that stands by must be woken for the next batch.
    stand_by_sleeps: bool,
    /// Threads that wait on the condition variable `handover`.
    followers: usize,
    /// Until when the thread that waits for events will wait.
    promised: Option<Time>,
    /// Until when a foreign loop will wait.
    loop_promised: Option<Time>,
    subscriptions: Vec<Weak<Subscription>>,
    event_handler: Option<EventHandler>,
    /// Events from the start on, until somebody first asks for events.
    early: Option<Arc<Subscription>>,
    /// Messages to everyone that were dropped because too much waited for a handler.
    messages_dropped: u64,
}

impl State {
    /// Does what the engine asks for; `flush` also writes to the links. A panic stops the node.
    fn settle(&mut self, now: Now, flush: bool) {
        if self.stage == Stage::Ended {
            return;
        }
        // The node has been stopped already if this fails, and nobody is there to be told more.
        let _ = self.protect(|state| {
            state.with_outputs(now, |driver, outputs| {
                driver.perform(now, outputs);
                if flush {
                    driver.flush(now, outputs);
                }
            });
        });
    }

    /// Runs `f`, which gives outputs, and takes them in.
    fn with_outputs(&mut self, now: Now, f: impl FnOnce(&mut Driver, &mut dyn FnMut(Output))) {
        let mut refused = Vec::new();
        self.take_outputs(&mut refused, f);
        // Refusing lets the engine go on, which may give more outputs.
        while !refused.is_empty() {
            let ids = std::mem::take(&mut refused);
            self.take_outputs(&mut refused, |driver, outputs| {
                for id in ids {
                    driver.engine.reply(now, id, Status::Overloaded, Vec::new());
                }
                driver.perform(now, outputs);
            });
        }
        let full = self.callbacks.is_half_full();
        self.driver.engine.hold_broadcasts(full);
    }

    /// Takes in outputs; requests for which there is no room go to `refused`.
    fn take_outputs(
        &mut self,
        refused: &mut Vec<RequestId>,
        f: impl FnOnce(&mut Driver, &mut dyn FnMut(Output)),
    ) {
        let State {
            driver,
            callbacks,
            chores,
            pending,
            signals,
            moved,
            started,
            stage,
            subscriptions,
            event_handler,
            early,
            messages_dropped,
            ..
        } = self;
        f(driver, &mut |output| match output {
            Output::Request(request) => {
                record!(Debug, "{} asks for {}", request.caller, request.ask.path());
                let id = request.id;
                if !callbacks.offer(Callback::Request(request)) {
                    refused.push(id);
                }
            }
            Output::Message(sender, data) => {
                let fits = callbacks.offer(Callback::Message(sender, data));
                *messages_dropped += u64::from(!fits);
            }
            Output::Stream(id) => {
                if let Some(signal) = signals.get(&id.call) {
                    moved.push(signal.clone());
                    if let Some(ready) = signal.ready() {
                        callbacks.add(Callback::Ready(ready));
                    }
                }
            }
            Output::Ended(number, outcome) => match pending.remove(&number) {
                Some(Completion::Slot(slot) | Completion::Waiting(slot)) => slot.fill(outcome),
                Some(Completion::Callback(callback)) => {
                    callbacks.add(Callback::Ended(callback, outcome));
                }
                Some(Completion::Chore(chore)) => chores.push_back((chore, outcome)),
                None => {}
            },
            Output::Running => *started = Some(Ok(())),
            Output::Failed(error) => {
                *started = Some(Err(error));
                *stage = Stage::Ended;
            }
            Output::Event(event) => {
                record!(Debug, "{event:?}");
                subscriptions.retain(|s| match s.upgrade() {
                    Some(s) => {
                        s.push(event.clone());
                        true
                    }
                    None => false,
                });
                if let Some(early) = early {
                    early.push(event);
                } else if let Some(handler) = event_handler {
                    callbacks.add_event(handler, event);
                }
            }
            // The driver has done the rest.
            _ => {}
        });
    }

    /// When this must be looked at again, if no event comes.
    fn deadline(&self) -> Option<Time> {
        let deadlines = [self.driver.deadline(), self.stage.until()];
        deadlines.into_iter().flatten().min()
    }

    /// How long a thread that waits for events now may wait; one that makes that too long must wake it.
    fn promise(&mut self) -> Option<Duration> {
        let deadline = self.deadline();
        self.promised = Some(deadline.unwrap_or(Time(Duration::MAX)));
        self.left_until(deadline)
    }

    /// How long there is nothing to do before `deadline`, if no event comes.
    fn left_until(&self, deadline: Option<Time>) -> Option<Duration> {
        let runs = !self.dedicated && self.stage == Stage::Working;
        if runs && !self.callbacks.is_empty() {
            return Some(Duration::ZERO);
        }
        deadline.map(|at| self.driver.left_until(at))
    }

    /// Whether a thread that waits for events must be woken for what was done meanwhile.
    fn must_wake(&mut self) -> bool {
        let due = self.driver.protocol_deadline();
        let sooner = |promised: Option<Time>| {
            let due = due.zip(promised).filter(|(due, promised)| due < promised);
            due.map(|(due, _)| due)
        };
        let loop_is_late = sooner(self.loop_promised);
        if loop_is_late.is_some() {
            // It is woken once for this.
            self.loop_promised = loop_is_late;
        }
        !self.callbacks.is_empty() || loop_is_late.is_some() || sooner(self.promised).is_some()
    }
}

/// The lock, held.
type Locked<'a> = logging::Locked<'a, State>;

/// See the module's documentation.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Threads that wait for the lock.
    queueing: AtomicUsize,
    poller: Mutex<Poller>,
    waker: Arc<Waker>,
    /// Notified when a thread no longer leads, and when something ended while others follow.
    handover: Condvar,
    /// Notified when the thread that stands by has something to watch.
    watch: Condvar,
    spinning: Spinning,
    pub(super) registry: Registry,
    name: NodeName,
    network: NetworkName,
    instance: Instance,
    max_message: usize,
    max_values: usize,
    port: u16,
    fd: i32,
    pid: u32,
    handle: OnceLock<Weak<Handle>>,
}

/// A node whose sockets are open and whose name is being asked for.
pub(super) type Opened = Arc<Shared>;

/// What a program gives a node to run.
pub(super) struct Handlers {
    pub(super) commands: CommandTree,
    pub(super) message: Option<MessageHandler>,
    pub(super) event: Option<EventHandler>,
}

pub(super) fn open(
    settings: &Settings,
    handlers: Handlers,
    make: impl FnOnce(u16) -> Config,
) -> Result<Opened, Error> {
    let (mut driver, poller, waker) = Driver::open(settings, make)?;
    let now = driver.now();
    // The first advert; the engine has nothing for the node yet.
    driver.perform(now, &mut |_| {});
    let limits = driver.engine.limits();
    let early = match handlers.event {
        Some(_) => None,
        None => Some(Arc::new(Subscription::new(limits.events))),
    };
    Ok(Arc::new(Shared {
        name: driver.engine.name().clone(),
        network: driver.engine.network().clone(),
        instance: driver.engine.instance(),
        max_message: limits.max_message,
        max_values: limits.max_values,
        port: driver.port(),
        fd: poller.fd(),
        pid: std::process::id(),
        waker,
        handover: Condvar::new(),
        watch: Condvar::new(),
        spinning: Spinning::default(),
        registry: Registry::new(handlers.commands, handlers.message),
        handle: OnceLock::new(),
        queueing: AtomicUsize::new(0),
        poller: Mutex::new(poller),
        state: Mutex::new(State {
            callbacks: Callbacks::new(limits),
            driver,
            chores: VecDeque::new(),
            chores_run: false,
            pending: BTreeMap::new(),
            signals: Table::default(),
            moved: Vec::new(),
            started: None,
            stage: Stage::Working,
            end_was_told: false,
            finishing: false,
            finished: false,
            led: false,
            dedicated: false,
            loop_thread: this_thread(),
            running: None,
            batch_since: None,
            batches: 0,
            stand_by_sleeps: false,
            followers: 0,
            promised: None,
            loop_promised: None,
            subscriptions: Vec::new(),
            event_handler: handlers.event,
            early,
            messages_dropped: 0,
        }),
    }))
}

impl Shared {
    fn lock(&self) -> Locked<'_> {
        if let Some(state) = logging::try_lock(&self.state) {
            return state;
        }
        self.queueing.fetch_add(1, Ordering::Relaxed);
        let state = logging::lock(&self.state);
        self.queueing.fetch_sub(1, Ordering::Relaxed);
        state
    }

    /// The lock for a thread that takes it over and over: others that wait for it come first, since a lock
    /// that is given back and taken again at once is hardly ever had by another.
    fn lock_politely(&self) -> Locked<'_> {
        let patience = Instant::now() + POLITE;
        while self.queueing.load(Ordering::Relaxed) > 0 && Instant::now() < patience {
            std::thread::yield_now();
        }
        self.lock()
    }

    pub(super) fn name(&self) -> &NodeName {
        &self.name
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// This start of the node.
    pub(super) fn instance(&self) -> Instance {
        self.instance
    }

    pub(super) fn network(&self) -> &NetworkName {
        &self.network
    }

    /// Bytes of the largest answer.
    pub(super) fn max_message(&self) -> usize {
        self.max_message
    }

    pub(super) fn limits(&self) -> Limits {
        self.lock().driver.engine.limits().clone()
    }

    /// Values of what is called with, or answered, that may be made.
    pub(super) fn max_values(&self) -> usize {
        self.max_values
    }

    pub(super) fn fd(&self) -> i32 {
        self.fd
    }

    pub(super) fn set_handle(&self, handle: Weak<Handle>) {
        let _ = self.handle.set(handle);
    }

    pub(super) fn node(&self) -> Option<Node> {
        self.handle.get()?.upgrade().map(Node)
    }

    /// This, as calls hold it.
    fn arc(&self) -> Option<Arc<Shared>> {
        self.handle.get()?.upgrade().map(|h| h.shared.clone())
    }

    /// A child of a fork has copies of the descriptors and of a lock that nobody may ever open.
    pub(super) fn is_forked(&self) -> bool {
        std::process::id() != self.pid
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
        self.lock().check_working()
    }

    /// An error if nothing more is sent: a node that is being stopped still takes answers for a while.
    pub(super) fn check_may_answer(&self) -> Result<(), Error> {
        self.check_process()?;
        self.lock().check_flushing()
    }

    /// An error if waiting here would be waiting for oneself.
    pub(super) fn check_may_wait(&self) -> Result<(), Error> {
        self.check()?;
        if self.is_callback() {
            Err(Error::WouldDeadlock)
        } else {
            Ok(())
        }
    }

    /// Does something with the engine, and what follows from it. An error if the node has ended.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut Engine, Now) -> R) -> Result<R, Error> {
        let mut state = self.lock();
        state.check_not_ended()?;
        let now = state.driver.now();
        let result = state.protect(|state| f(&mut state.driver.engine, now));
        self.settle(state, now);
        result
    }

    pub(super) fn stats(&self) -> Stats {
        let state = self.lock();
        Stats {
            messages_dropped: state.messages_dropped,
            ..state.driver.stats()
        }
    }

    /// After something was done: writes, unless a batch of callbacks will, and wakes those that must know.
    fn settle(&self, mut state: Locked<'_>, now: Now) {
        let in_batch = state.running == Some(this_thread());
        // What the loop's thread answers is written with the rest of its batch, unless that takes so long
        // that another thread leads.
        let flush = !in_batch || state.led;
        state.settle(now, flush);
        let wake = !in_batch && state.must_wake();
        self.release(state);
        if wake {
            self.wake();
        }
    }

    /// Gives the lock back, and notifies the threads that wait for what has happened.
    fn release(&self, mut state: Locked<'_>) {
        let moved = std::mem::take(&mut state.moved);
        let followers = state.followers > 0;
        let chores = !state.chores.is_empty() && !std::mem::replace(&mut state.chores_run, true);
        let ended = state.stage == Stage::Ended;
        let ended = ended && !std::mem::replace(&mut state.end_was_told, true);
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
        if chores {
            self.run_chores();
        }
    }

    /// Runs the library's own ends of calls, until there are none. What they begin may end at once, and is
    /// then run here as well, instead of one within the other.
    fn run_chores(&self) {
        loop {
            let mut state = self.lock();
            let Some((chore, outcome)) = state.chores.pop_front() else {
                state.chores_run = false;
                drop(state);
                self.handover.notify_all();
                return;
            };
            drop(state);
            if catch_unwind(AssertUnwindSafe(|| chore(outcome))).is_err() {
                record!(Error, "the end of a call panicked");
            }
        }
    }

    fn wake(&self) {
        if let Err(e) = self.waker.wake() {
            record!(Error, "waking the event loop: {e}");
        }
    }

    pub(super) fn reply(&self, id: RequestId, status: Status, body: Vec<u8>) {
        // After the node has ended nobody can be answered, and nobody waits.
        let _ = self.with(|engine, now| engine.reply(now, id, status, body));
    }

    pub(super) fn cancel(&self, number: CallNumber) {
        // What has ended need not be cancelled.
        let _ = self.with(|engine, now| engine.cancel(now, number));
    }

    /// Runs something on the loop's thread.
    pub(super) fn defer(&self, f: Box<dyn FnOnce() + Send>) {
        let mut state = self.lock();
        if state.finished {
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

    /// Events from now on; for whoever asks first, those from the start on. In a child of a fork, none.
    pub(super) fn subscribe(&self) -> Arc<Subscription> {
        if self.is_forked() {
            let none = Arc::new(Subscription::new(0));
            none.close();
            return none;
        }
        let mut state = self.lock();
        let subscription = match state.early.take() {
            Some(early) => early,
            None => Arc::new(Subscription::new(state.driver.engine.limits().events)),
        };
        if state.stage != Stage::Working {
            subscription.close();
        }
        state.subscriptions.retain(|s| s.strong_count() > 0);
        state.subscriptions.push(Arc::downgrade(&subscription));
        subscription
    }

    pub(super) fn set_event_handler(&self, handler: Option<EventHandler>) -> Result<(), Error> {
        let mut state = self.lock();
        // With the lock held: one that is set after the end would never be dropped.
        state.check_working()?;
        if let Some(handler) = &handler
            && let Some(early) = state.early.take()
        {
            for event in early.drain() {
                state.callbacks.add_event(handler, event);
            }
        }
        let wake = !state.callbacks.is_empty();
        let old = std::mem::replace(&mut state.event_handler, handler);
        drop(state);
        drop(old);
        if wake {
            self.wake();
        }
        Ok(())
    }

    /// Whether this is a callback.
    pub(super) fn is_callback(&self) -> bool {
        self.lock().running == Some(this_thread())
    }
}
