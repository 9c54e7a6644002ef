//! The models.

use super::turns::{Completion, Handlers, Opened, Turns};
use crate::driver::{Arrival, Driver, Network};
use crate::engine::{Ask, RequestId, StreamId, Terms};
use crate::error::Error;
use crate::name::NodeName;
use crate::sync::{Condvar, Mutex, ThreadMark, this_thread};
use crate::wire::record::Status;
use shuttle::thread::{self, JoinHandle};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub(crate) const MODELS: &[(&str, fn())] = &[
    (
        "calls of threads without a loop end, whichever of them leads",
        callers_lead_for_each_other,
    ),
    (
        "calls beside a program's loop end, and callbacks run on its thread",
        callers_beside_a_programs_loop,
    ),
    (
        "calls of a node with a thread of its own end, and it stops",
        callers_beside_a_dedicated_thread,
    ),
    (
        "a call that nobody answers ends in time, whoever waits in the poller",
        a_call_in_vain,
    ),
    (
        "while a handler is slow the thread that stands by leads",
        a_slow_handler,
    ),
    (
        "a call that is under way at the stop ends, and the node's last work is done once",
        a_stop_while_a_call_waits,
    ),
    (
        "a node without a thread of its own ends by the threads that use it",
        a_stop_without_a_loop,
    ),
    (
        "a program's loop whose handler outlasts the stop ends beside a thread that leads",
        a_stop_while_a_handler_runs_and_another_thread_leads,
    ),
    (
        "a callback that is owed runs once, though the node is stopped",
        an_owed_callback,
    ),
    (
        "continuations run, though every thread that could give the lock back is on its way out",
        continuations,
    ),
    (
        "a thread that waits for a stream is woken when that moves",
        a_stream_moves,
    ),
    (
        "a thread that waits for a stream is woken by the stop",
        a_stop_while_a_stream_waits,
    ),
];

/// A node of a model, and what was counted of it.
struct Node {
    turns: Turns,
    network: Arc<Network>,
    /// How often the last handler was called.
    ended: Arc<AtomicUsize>,
}

impl Node {
    fn open(on_request: impl Fn() + Send + Sync + 'static) -> Arc<Node> {
        let network = Arc::new(Network::default());
        let ended = Arc::new(AtomicUsize::new(0));
        let (driver, poller, waker) = Driver::open(&network);
        let opened = Opened {
            driver,
            poller,
            waker,
            forks: 0,
        };
        let count = ended.clone();
        let handlers = Handlers {
            on_request: Box::new(move |_| on_request()),
            on_message: Box::new(|_, _| {}),
            on_end: Box::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            }),
        };
        let turns = Turns::new(opened, handlers, None);
        Arc::new(Node {
            turns,
            network,
            ended,
        })
    }

    /// A call that may take for ever.
    fn call(&self) -> Result<Vec<u8>, Error> {
        self.turns.call(&NodeName, Ask, Terms { timeout: None })
    }

    /// A call that nobody answers; whether it ended in time.
    fn call_in_vain(&self) -> bool {
        let timeout = Some(TIMEOUT);
        let outcome = self.turns.call(&NodeName, Ask, Terms { timeout });
        outcome == Err(Error::Timeout)
    }

    fn begin(&self, completion: Completion) -> Result<(), Error> {
        let begun = self
            .turns
            .begin(&NodeName, Ask, Terms { timeout: None }, completion);
        begun.map(drop)
    }

    /// Does something with this node on a thread of its own.
    fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        f: impl FnOnce(&Node) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let node = self.clone();
        thread::spawn(move || f(&node))
    }

    /// Gives the node threads of its own.
    fn start(self: &Arc<Self>) -> [JoinHandle<()>; 2] {
        self.turns.dedicate().unwrap();
        [
            self.spawn(|node| node.turns.stand_by()),
            self.spawn(|node| node.turns.run().unwrap()),
        ]
    }

    /// Stops the node, and waits for its end as a program does that frees it.
    fn close(&self, threads: impl IntoIterator<Item = JoinHandle<()>>) {
        self.turns.stop();
        for thread in threads {
            thread.join().unwrap();
        }
        self.turns.wait_finished();
        assert_eq!(self.ended.load(Ordering::Relaxed), 1, "the last work");
        assert_eq!(self.call(), Err(Error::Stopped));
        assert_eq!(self.turns.stats().messages_dropped, 0);
    }
}

fn join<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|t| t.join().unwrap()).collect()
}

fn callers_lead_for_each_other() {
    let node = Node::open(|| {});
    let peer = node.spawn(|node| node.network.answer(3));
    let callers = [node.spawn(Node::call), node.spawn(Node::call)];
    // This is the loop's thread; the others are not.
    assert!(node.call().is_ok());
    assert!(join(callers).iter().all(Result::is_ok));
    peer.join().unwrap();
    node.close([]);
}

fn callers_beside_a_programs_loop() {
    let node = Node::open(|| {});
    let peer = node.spawn(|node| node.network.answer(2));
    let ran_on: Arc<Mutex<Option<ThreadMark>>> = Arc::default();
    let ran = ran_on.clone();
    let caller = node.spawn(move |node| {
        let done = move |_| *ran.lock().unwrap() = Some(this_thread());
        node.begin(Completion::Callback(Box::new(done))).unwrap();
        node.call()
    });
    while ran_on.lock().unwrap().is_none() {
        node.turns.process(None).unwrap();
    }
    assert_eq!(*ran_on.lock().unwrap(), Some(this_thread()));
    assert!(caller.join().unwrap().is_ok());
    peer.join().unwrap();
    node.close([]);
}

fn callers_beside_a_dedicated_thread() {
    let node = Node::open(|| {});
    let peer = node.spawn(|node| node.network.answer(2));
    let threads = node.start();
    let caller = node.spawn(Node::call);
    assert!(node.call().is_ok());
    assert!(caller.join().unwrap().is_ok());
    peer.join().unwrap();
    node.close(threads);
}

/// Longer than a thread that reads the clock once takes.
const TIMEOUT: Duration = Duration::from_millis(100);

fn a_call_in_vain() {
    // With the node's own threads, which may wait without an end when the call begins; and without.
    for own in [true, false] {
        let node = Node::open(|| {});
        let threads = own.then(|| node.start());
        let others = [
            node.spawn(Node::call_in_vain),
            node.spawn(Node::call_in_vain),
        ];
        assert!(node.call_in_vain());
        assert_eq!(join(others), [true, true]);
        node.close(threads.into_iter().flatten());
    }
}

/// A thing that happens once, and is waited for.
#[derive(Default)]
struct Happened(Mutex<bool>, Condvar);

impl Happened {
    fn tell(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn wait(&self) {
        let mut happened = self.0.lock().unwrap();
        while !*happened {
            happened = self.1.wait(happened).unwrap();
        }
    }
}

fn a_slow_handler() {
    let called = Arc::new(Happened::default());
    let waits_for = called.clone();
    // The handler returns when a call has ended that was begun while it ran: another thread must
    // lead.
    let node = Node::open(move || waits_for.wait());
    let threads = node.start();
    let peer = node.spawn(|node| {
        let id = RequestId(1);
        let (caller, ask) = (NodeName, Ask);
        let request = crate::engine::Request { id, caller, ask };
        node.network.arrive(Arrival::Request(request));
        node.network.answer(1);
    });
    assert!(node.call().is_ok());
    called.tell();
    peer.join().unwrap();
    let answered = node
        .turns
        .answer(RequestId(1), Status::Overloaded, Vec::new());
    assert_eq!(answered, Ok(()));
    node.close(threads);
}

fn a_stop_while_a_call_waits() {
    let node = Node::open(|| {});
    let threads = node.start();
    // Nobody answers one of the two.
    let peer = node.spawn(|node| node.network.answer(1));
    let callers = [node.spawn(Node::call), node.spawn(Node::call)];
    let stops = node.spawn(|node| node.turns.stop());
    node.close(threads);
    for outcome in join(callers) {
        assert!(outcome == Ok(Vec::new()) || outcome == Err(Error::Stopped));
    }
    stops.join().unwrap();
    // The peer is not left waiting for a call that was never begun.
    node.network.send(crate::engine::CallNumber(99));
    peer.join().unwrap();
}

fn a_stop_without_a_loop() {
    let node = Node::open(|| {});
    let callers = [node.spawn(Node::call), node.spawn(Node::call)];
    let closes = node.spawn(|node| node.close([]));
    node.close([]);
    closes.join().unwrap();
    assert!(join(callers).iter().all(|o| *o == Err(Error::Stopped)));
}

/// Turns of other threads within which a thread that leads comes to the end of a stop.
const YIELDS: usize = 200;

fn a_stop_while_a_handler_runs_and_another_thread_leads() {
    let (begun, stopped) = (Arc::new(Happened::default()), Arc::new(Happened::default()));
    let (begins, waits_for) = (begun.clone(), stopped.clone());
    let running = Arc::new(AtomicUsize::new(0));
    let runs = running.clone();
    let node = Node::open(move || {
        runs.store(1, Ordering::SeqCst);
        begins.tell();
        waits_for.wait();
        runs.store(0, Ordering::SeqCst);
    });
    let id = RequestId(1);
    let (caller, ask) = (NodeName, Ask);
    let request = crate::engine::Request { id, caller, ask };
    node.network.arrive(Arrival::Request(request));
    // Nobody answers it, so its thread leads while the loop's thread runs the handler.
    let caller = node.spawn(Node::call);
    let runs = begun.clone();
    let stops = node.spawn(move |node| {
        runs.wait();
        node.turns.stop();
        // The node ends while the handler runs, if another thread leads.
        for _ in 0..YIELDS {
            if node.turns.timeout().is_none() {
                break;
            }
            thread::yield_now();
        }
        stopped.tell();
    });
    // This thread stands for a program that frees the node, and then what the handler uses.
    let frees = node.spawn(move |node| {
        begun.wait();
        node.close([]);
        assert_eq!(running.load(Ordering::SeqCst), 0, "a handler runs");
    });
    while node.turns.process(None).is_ok() {}
    assert_eq!(caller.join().unwrap(), Err(Error::Stopped));
    stops.join().unwrap();
    frees.join().unwrap();
    node.close([]);
}

fn an_owed_callback() {
    let node = Node::open(|| {});
    let threads = node.start();
    let peer = node.spawn(|node| node.network.answer(1));
    let count = Arc::new(AtomicUsize::new(0));
    let counts = count.clone();
    let begins = node.spawn(move |node| {
        let done = move |_| {
            counts.fetch_add(1, Ordering::Relaxed);
        };
        node.begin(Completion::Callback(Box::new(done))).is_ok()
    });
    node.close(threads);
    let begun = usize::from(begins.join().unwrap());
    assert_eq!(count.load(Ordering::Relaxed), begun);
    node.network.send(crate::engine::CallNumber(99));
    peer.join().unwrap();
}

/// As a call of several does: the end of one is the library's own, and hands what the program waits
/// for to the loop.
fn continuations() {
    let node = Node::open(|| {});
    let threads = node.start();
    let peer = node.spawn(|node| node.network.answer(1));
    let count = Arc::new(AtomicUsize::new(0));
    let begun = (0..2)
        .filter(|_| {
            let (counts, defers) = (count.clone(), node.clone());
            let ended = move |_| {
                defers.turns.defer(Box::new(move || {
                    counts.fetch_add(1, Ordering::Relaxed);
                }));
            };
            node.begin(Completion::Continuation(Box::new(ended)))
                .is_ok()
        })
        .count();
    let stops = node.spawn(|node| node.turns.stop());
    node.close(threads);
    stops.join().unwrap();
    assert_eq!(count.load(Ordering::Relaxed), begun);
    peer.join().unwrap();
}

const STREAM: StreamId = StreamId { call: RequestId(1) };

/// Waits until a stream has so many bytes.
fn wait_stream(node: &Node, bytes: u64) -> Result<u64, Error> {
    let signal = node.turns.signal(STREAM.call);
    node.turns.wait_stream(&signal, None, |engine, _| {
        Ok(Some(engine.streamed).filter(|n| *n >= bytes))
    })
}

fn a_stream_moves() {
    let node = Node::open(|| {});
    let threads = node.start();
    let readers = [1, 2].map(|bytes| node.spawn(move |node| wait_stream(node, bytes)));
    node.network.arrive(Arrival::Streamed(STREAM));
    node.network.arrive(Arrival::Streamed(STREAM));
    assert!(join(readers).iter().all(Result::is_ok));
    node.close(threads);
}

fn a_stop_while_a_stream_waits() {
    let node = Node::open(|| {});
    let threads = node.start();
    let reads = node.spawn(|node| wait_stream(node, 1));
    node.close(threads);
    assert_eq!(reads.join().unwrap(), Err(Error::Stopped));
}
