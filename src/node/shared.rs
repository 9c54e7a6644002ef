//! What the threads of a node share, and how they take turns.
//!
//! One lock, `state`, guards the engine and its sockets; it is held while something is done, never
//! while something is waited for or a callback runs. So a caller's thread seals and writes its call
//! itself, and is woken by whoever reads the answer.
//!
//! At most one thread *leads*: waits in the poller, takes in what came, runs the callbacks. With a
//! thread of the node's own, that one always leads. In a foreign loop whoever needs something leads
//! for a turn; others who wait meanwhile follow, and one of them takes over when it stops. `waiting` is
//! what is begun, and how a thread waits for it.

mod waiting;

use super::command::{CommandTree, MessageHandler, Registry};
use super::event::Subscription;
use super::slot::{Slot, Spinning};
use super::stream::{Ready, Signal};
use super::{Handle, Node};
use crate::driver::{Driver, Poller, Settings};
use crate::engine::{
    CallNumber, Config, Engine, Event, Now, Output, Request, RequestId, Stats, Time,
};
use crate::error::Error;
use crate::name::{NetworkName, NodeName};
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::record::Status;
use mio::Waker;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
use waiting::wait_on;

/// How long callbacks may take before what they answered is sent; until then answers are put
/// together into fewer writes.
const BATCH: Duration = Duration::from_millis(1);

/// How long a thread that streams lets others have the lock first: about what waking one takes.
const POLITE: Duration = Duration::from_micros(100);

/// Events kept from the start: each relay that was given can fail in a few ways.
const EARLY: usize = 64;

type Outcome = Result<Vec<u8>, Error>;
pub(super) type Callback = Box<dyn FnOnce(Outcome) + Send>;
pub(super) type EventHandler = Arc<dyn Fn(&Event) + Send + Sync>;

/// Which thread this is, among those that live. Not `thread::current()`, which makes a handle that is
/// kept until the thread ends, in a program whose threads are not ours.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ThreadMark(usize);

fn this_thread() -> ThreadMark {
    thread_local!(static PLACE: u8 = const { 0 });
    PLACE.with(|place| ThreadMark(std::ptr::from_ref(place).addr()))
}

/// Who is told how a call ended.
pub(super) enum Completion {
    /// A thread that waits.
    Slot(Arc<Slot<Outcome>>),
    /// A thread that does something else meanwhile, maybe the loop's.
    Waiting(Arc<Slot<Outcome>>),
    /// A callback, on the loop's thread.
    Callback(Callback),
}

/// What must be done without the lock, on the loop's thread, in order.
enum Callbacks {
    Request(Request),
    Message(NodeName, Vec<u8>),
    Ready(Ready),
    Ended(Callback, Outcome),
    Event(EventHandler, Event),
    Do(Box<dyn FnOnce() + Send>),
}

struct State {
    driver: Driver,
    callbacks: VecDeque<Callbacks>,
    pending: Table<CallNumber, Completion>,
    signals: Table<RequestId, Arc<Signal>>,
    /// Those to be told once the lock is free: whoever is woken needs it at once.
    moved: Vec<Arc<Signal>>,
    /// How the start went, once that is known.
    started: Option<Result<(), Error>>,
    stopped: bool,
    /// Whether somebody leads.
    led: bool,
    /// A thread that does nothing else leads, or will.
    dedicated: bool,
    /// Who runs callbacks now.
    running: Option<ThreadMark>,
    followers: usize,
    /// Until when whoever waits for events will wait.
    promised: Option<Time>,
    subscriptions: Vec<Weak<Subscription>>,
    event_handler: Option<EventHandler>,
    /// What happened during the start, for the first who asks: nobody could ask before.
    early: Vec<Event>,
}

impl State {
    /// Does what the engine asks for; `flush` also writes to the links.
    fn settle(&mut self, now: Now, flush: bool) {
        self.with_outputs(|driver, outputs| {
            driver.perform(now, outputs);
            if flush {
                driver.flush(now, outputs);
            }
        });
    }

    fn with_outputs(&mut self, f: impl FnOnce(&mut Driver, &mut dyn FnMut(Output))) {
        let State {
            driver,
            callbacks,
            pending,
            signals,
            moved,
            started,
            stopped,
            subscriptions,
            event_handler,
            early,
            ..
        } = self;
        f(driver, &mut |output| match output {
            Output::Request(request) => {
                log::debug!("{} asks for {}", request.caller, request.ask.path());
                callbacks.push_back(Callbacks::Request(request));
            }
            Output::Message(sender, data) => callbacks.push_back(Callbacks::Message(sender, data)),
            Output::Stream(id) => {
                if let Some(signal) = signals.get(&id.call) {
                    moved.push(signal.clone());
                    callbacks.extend(signal.ready().map(Callbacks::Ready));
                }
            }
            Output::Ended(number, outcome) => match pending.remove(&number) {
                Some(Completion::Slot(slot) | Completion::Waiting(slot)) => slot.fill(outcome),
                Some(Completion::Callback(callback)) => {
                    callbacks.push_back(Callbacks::Ended(callback, outcome))
                }
                None => {}
            },
            Output::Running => *started = Some(Ok(())),
            Output::Failed(error) => {
                *started = Some(Err(error));
                *stopped = true;
            }
            Output::Event(event) if started.is_none() && early.len() < EARLY => early.push(event),
            Output::Event(event) => {
                log::debug!("{event:?}");
                subscriptions.retain(|s| match s.upgrade() {
                    Some(s) => {
                        s.push(event.clone());
                        true
                    }
                    None => false,
                });
                if let Some(handler) = event_handler {
                    callbacks.push_back(Callbacks::Event(handler.clone(), event));
                }
            }
            // The driver has done the rest.
            _ => {}
        });
    }

    /// How long whoever waits for events now may wait; who makes that too long must wake it.
    fn promise(&mut self) -> Option<Duration> {
        self.promised = Some(self.driver.deadline().unwrap_or(Time(Duration::MAX)));
        self.wait()
    }

    /// How long there is nothing to do, if no event comes.
    fn wait(&self) -> Option<Duration> {
        if !self.callbacks.is_empty() {
            return Some(Duration::ZERO);
        }
        self.driver.deadline().map(|at| at - self.driver.now().at)
    }

    /// Whether a thread that waits for events must be woken for what was done meanwhile.
    fn must_wake(&self) -> bool {
        let sooner = |promised| {
            let deadline = self.driver.protocol_deadline();
            deadline.is_some_and(|deadline| deadline < promised)
        };
        !self.callbacks.is_empty() || self.promised.is_some_and(sooner)
    }
}

/// See the module's documentation.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Threads that wait for the lock.
    queueing: AtomicUsize,
    poller: Mutex<Poller>,
    waker: Arc<Waker>,
    /// Told when nobody leads any more, and when something ended while somebody follows.
    handover: Condvar,
    spinning: Spinning,
    pub(super) registry: Registry,
    name: NodeName,
    network: NetworkName,
    instance: Instance,
    max_message: usize,
    port: u16,
    fd: i32,
    pid: u32,
    handle: OnceLock<Weak<Handle>>,
}

/// A node whose sockets are open and whose name is being asked for.
pub(super) type Opened = Arc<Shared>;

pub(super) fn open(
    settings: &Settings,
    commands: CommandTree,
    message: Option<MessageHandler>,
    make: impl FnOnce(u16) -> Config,
) -> Result<Opened, Error> {
    let (mut driver, poller, waker) = Driver::open(settings, make)?;
    let now = driver.now();
    // The first advert; the engine has nothing for the node yet.
    driver.perform(now, &mut |_| {});
    Ok(Arc::new(Shared {
        name: driver.engine.name().clone(),
        network: driver.engine.network().clone(),
        instance: driver.engine.instance(),
        max_message: driver.engine.limits().max_message,
        port: driver.port(),
        fd: poller.fd(),
        pid: std::process::id(),
        waker,
        handover: Condvar::new(),
        spinning: Spinning::default(),
        registry: Registry::new(commands, message),
        handle: OnceLock::new(),
        queueing: AtomicUsize::new(0),
        poller: Mutex::new(poller),
        state: Mutex::new(State {
            driver,
            callbacks: VecDeque::new(),
            pending: Table::default(),
            signals: Table::default(),
            moved: Vec::new(),
            started: None,
            stopped: false,
            led: false,
            dedicated: false,
            running: None,
            followers: 0,
            promised: None,
            subscriptions: Vec::new(),
            event_handler: None,
            early: Vec::new(),
        }),
    }))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        if let Ok(state) = self.state.try_lock() {
            return state;
        }
        self.queueing.fetch_add(1, Ordering::Relaxed);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.queueing.fetch_sub(1, Ordering::Relaxed);
        state
    }

    /// The lock for who takes it over and over: whoever waits for it comes first, since a lock that is
    /// given back and taken again at once is hardly ever had by another.
    fn lock_politely(&self) -> MutexGuard<'_, State> {
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

    pub(super) fn fd(&self) -> i32 {
        self.fd
    }

    pub(super) fn set_handle(&self, handle: Weak<Handle>) {
        let _ = self.handle.set(handle);
    }

    pub(super) fn node(&self) -> Option<Node> {
        self.handle.get()?.upgrade().map(Node)
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
        if self.lock().stopped {
            Err(Error::Stopped)
        } else {
            Ok(())
        }
    }

    /// Does something with the engine, and what follows from it.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut Engine, Now) -> R) -> R {
        let mut state = self.lock();
        let now = state.driver.now();
        let result = f(&mut state.driver.engine, now);
        self.settle(state, now);
        result
    }

    pub(super) fn stats(&self) -> Stats {
        self.lock().driver.stats()
    }

    /// After something was done: writes, unless a batch of callbacks will, and wakes who must know.
    fn settle(&self, mut state: MutexGuard<'_, State>, now: Now) {
        let in_batch = state.running == Some(this_thread());
        state.settle(now, !in_batch);
        let wake = !in_batch && state.must_wake();
        let followers = state.followers > 0;
        self.release(state);
        if wake {
            self.wake();
        }
        if followers {
            self.handover.notify_all();
        }
    }

    /// Gives the lock back, and wakes those who wait for streams that have moved.
    fn release(&self, mut state: MutexGuard<'_, State>) {
        let moved = std::mem::take(&mut state.moved);
        drop(state);
        for signal in moved {
            signal.moved.notify_all();
        }
    }

    fn wake(&self) {
        if let Err(e) = self.waker.wake() {
            log::error!("waking the event loop: {e}");
        }
    }

    pub(super) fn reply(&self, id: RequestId, status: Status, body: Vec<u8>) {
        self.with(|engine, now| engine.reply(now, id, status, body));
    }

    pub(super) fn cancel(&self, number: CallNumber) {
        self.with(|engine, now| engine.cancel(now, number));
    }

    /// Runs something on the loop's thread.
    pub(super) fn defer(&self, f: Box<dyn FnOnce() + Send>) {
        self.lock().callbacks.push_back(Callbacks::Do(f));
        self.wake();
    }

    /// Fills a slot that a thread waits for, on whatever thread this is.
    pub(super) fn fill<T>(&self, slot: &Slot<T>, value: T) {
        let state = self.lock();
        slot.fill(value);
        drop(state);
        self.handover.notify_all();
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

    /// Leads for one turn: waits at most `most`, takes in what came, runs the callbacks. Nobody leads
    /// yet, as `state` says, which is given up for the turn.
    fn turn(&self, mut state: MutexGuard<'_, State>, most: Option<Duration>) -> Result<(), Error> {
        debug_assert!(!state.led);
        state.led = true;
        let timeout = match (state.promise(), most) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        drop(state);
        let mut poller = self.poller.lock().unwrap_or_else(PoisonError::into_inner);
        // The kernel counts in milliseconds; a wait cut short would spin through the last one.
        let waited = poller.wait(timeout.map(round_up));
        let mut state = self.lock();
        state.promised = None;
        state.running = Some(this_thread());
        state.with_outputs(|driver, outputs| driver.process(&poller, outputs));
        drop(poller);
        let batch = state.callbacks.len();
        if batch > 0 {
            self.release(state);
            self.run_callbacks(batch);
            state = self.lock();
        }
        state.running = None;
        let now = state.driver.now();
        state.settle(now, true);
        state.led = false;
        // In a foreign loop the descriptor must say that there is more to do.
        let more = !state.dedicated && (!state.callbacks.is_empty() || state.driver.has_unread());
        let followers = state.followers > 0;
        let over = state.stopped && !state.dedicated;
        self.release(state);
        if more {
            self.wake();
        }
        if followers {
            self.handover.notify_all();
        }
        if over {
            self.finish();
        }
        waited
    }

    fn run_callbacks(&self, count: usize) {
        let mut began = Instant::now();
        for _ in 0..count {
            let Some(next) = self.lock().callbacks.pop_front() else {
                return;
            };
            // A handler that panics has failed; the node lives on. Its call answers for itself when
            // it is dropped.
            let run = catch_unwind(AssertUnwindSafe(|| match next {
                Callbacks::Request(request) => {
                    if let Some(shared) = self.arc() {
                        shared.registry.dispatch(&shared, request);
                    }
                }
                Callbacks::Message(sender, data) => self.registry.told(sender, data),
                Callbacks::Ready(ready) => ready(),
                Callbacks::Ended(callback, outcome) => callback(outcome),
                Callbacks::Event(handler, event) => handler(&event),
                Callbacks::Do(f) => f(),
            }));
            if run.is_err() {
                log::error!("a callback panicked");
            }
            if began.elapsed() > BATCH {
                let mut state = self.lock();
                let now = state.driver.now();
                state.settle(now, true);
                began = Instant::now();
            }
        }
    }

    /// This, as calls hold it.
    fn arc(&self) -> Option<Arc<Shared>> {
        self.handle.get()?.upgrade().map(|h| h.shared.clone())
    }

    /// Marks that this thread will lead, as soon as nobody else does; an error if a thread does so already.
    pub(super) fn lend(&self) -> Result<(), Error> {
        let mut state = self.lock();
        if state.running == Some(this_thread()) {
            return Err(Error::WouldDeadlock);
        }
        while state.led && !state.dedicated {
            state = self.follow(state);
        }
        if state.dedicated {
            return Err(Error::Argument("the node runs on a thread already"));
        }
        state.dedicated = true;
        Ok(())
    }

    /// Leads until the node is stopped, on the thread that was marked.
    pub(super) fn run(&self) -> Result<(), Error> {
        let result = loop {
            let state = self.lock();
            if state.stopped {
                break Ok(());
            }
            if let Err(e) = self.turn(state, None) {
                self.stop();
                break Err(e);
            }
        };
        self.lock().dedicated = false;
        self.finish();
        result
    }

    /// Marks that a thread will lead, before it does.
    pub(super) fn dedicate(&self) {
        self.lock().dedicated = true;
    }

    /// One turn in a foreign loop.
    pub(super) fn process(&self, most: Option<Duration>) -> Result<(), Error> {
        self.check_may_wait()?;
        let mut state = self.lock();
        if state.dedicated {
            return Err(Error::Argument("the node runs on a thread of its own"));
        }
        if state.led {
            // Another thread leads; its turn is as good as ours.
            state.followers += 1;
            let mut state = wait_on(&self.handover, state, most);
            state.followers -= 1;
            return Ok(());
        }
        self.turn(state, most)
    }

    /// How long a foreign loop may wait before it calls `process`.
    pub(super) fn timeout(&self) -> Option<Duration> {
        if self.is_forked() {
            return None;
        }
        let mut state = self.lock();
        if state.stopped {
            return None;
        }
        if state.led {
            state.wait()
        } else {
            state.promise()
        }
    }

    pub(super) fn subscribe(&self) -> Arc<Subscription> {
        let mut state = self.lock();
        let subscription = Arc::new(Subscription::new(state.driver.engine.limits().events));
        for event in std::mem::take(&mut state.early) {
            subscription.push(event);
        }
        if state.stopped {
            subscription.close();
        }
        state.subscriptions.retain(|s| s.strong_count() > 0);
        state.subscriptions.push(Arc::downgrade(&subscription));
        subscription
    }

    pub(super) fn set_event_handler(&self, handler: Option<EventHandler>) {
        let mut state = self.lock();
        let early = match handler {
            Some(_) => std::mem::take(&mut state.early),
            None => Vec::new(),
        };
        let wake = !early.is_empty();
        for event in early {
            state
                .callbacks
                .extend(handler.clone().map(|h| Callbacks::Event(h, event)));
        }
        let old = std::mem::replace(&mut state.event_handler, handler);
        drop(state);
        drop(old);
        if wake {
            self.wake();
        }
    }

    /// Says goodbye and ends everything that is in flight. Idempotent.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        if !state.stopped {
            let now = state.driver.now();
            state.stopped = true;
            state.driver.stop(now);
            state.settle(now, true);
            for subscription in std::mem::take(&mut state.subscriptions) {
                if let Some(subscription) = subscription.upgrade() {
                    subscription.close();
                }
            }
            for (_, signal) in state.signals.iter() {
                signal.moved.notify_all();
            }
        }
        let nobody = !state.led && !state.dedicated;
        drop(state);
        self.wake();
        self.handover.notify_all();
        if nobody {
            self.finish();
        }
    }

    /// Whether this is a callback.
    pub(super) fn is_callback(&self) -> bool {
        self.lock().running == Some(this_thread())
    }

    /// Waits until nobody leads, unless this thread does.
    pub(super) fn wait_idle(&self) {
        let mut state = self.lock();
        while state.led && state.running != Some(this_thread()) {
            state = self.follow(state);
        }
    }

    /// After the stop, when nobody leads: the callbacks that are still owed, and no handler is kept.
    fn finish(&self) {
        loop {
            let count = self.lock().callbacks.len();
            if count == 0 {
                break;
            }
            self.lock().running = Some(this_thread());
            self.run_callbacks(count);
            self.lock().running = None;
        }
        self.registry.clear();
        self.set_event_handler(None);
    }
}

fn round_up(d: Duration) -> Duration {
    Duration::from_millis(u64::try_from(d.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX))
}
