//! The node: what a program holds. Threads, blocking and callbacks over the driver.
//!
//! | file | what it is |
//! | --- | --- |
//! | `builder` | what a node is to be, and how it starts |
//! | `call`, `call_many` | calling others: one, and several at a time |
//! | `targets`, `options` | which others a call is for, and how it is carried out |
//! | `command`, `request` | answering them: what runs, and the call that it is given |
//! | `built_in` | the commands that every node has |
//! | `stream`, `stream_to_all` | what a call streams, with one node or to several |
//! | `mesh`, `saved_peers` | finding a network without advertising |
//! | `trust`, `trust_settings` | who may go by which name |
//! | `remotes` | how many relays a node is linked to |
//! | `path` | how a peer is reached, in words |
//! | `extension` | what the library's own parts above a node may do |
//! | `shared` | what a node, its calls and its streams hold in common |
//! | `turns` | how threads take turns with the engine |
//! | `compat` | how a node also speaks to Python nodes |

mod builder;
mod built_in;
mod call;
mod call_many;
mod command;
#[cfg(feature = "compat")]
mod compat;
#[cfg(feature = "files")]
mod extension;
mod mesh;
mod options;
mod path;
mod remotes;
mod reply;
mod request;
mod saved_peers;
mod shared;
mod stream;
mod stream_to_all;
mod targets;
mod trust;
mod trust_settings;
mod turns;

pub use builder::{ADVERTISE_INTERVAL, ADVERTISE_PORT, Builder, RELAY_KEEPALIVE};
pub use call::{CallBuilder, CallId};
pub use call_many::TargetResult;
pub(crate) use call_many::{RawAnswer, first_failure};
pub use command::CommandTree;
pub(crate) use command::{Handler, MessageHandler};
#[cfg(feature = "compat")]
pub use compat::Compat;
pub(crate) use options::Options;
pub use options::{MAX_IN_FLIGHT, TIMEOUT};
pub use remotes::MAX_REMOTES;
pub use reply::Reply;
pub use request::{Call, Message};
pub(crate) use stream::Ends;
pub use stream::{CallStream, StreamReader, StreamValue, StreamWriter};
pub use stream_to_all::FanOut;
pub(crate) use targets::Targets;
pub(crate) use turns::EventHandler;
pub use turns::event::Events;

use crate::engine::{Ask, PeerInfo, Stats};
use crate::error::Error;
use crate::fernet::Key;
use crate::logging::record;
use crate::name::{CommandPath, NodeName};
use crate::signals;
use builder::Parts;
use command::Registry;
use shared::Shared;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The name of the thread that leads while a handler takes its time.
const STAND_BY: &str = "peerbase-io";

/// A node of a network: finds others by name, calls them and answers them.
///
/// Clones are the same node. When the last is dropped, the node is stopped as by [`Node::stop`],
/// and the drop waits until that is over and no [callback](crate#callbacks) runs any more, unless a
/// callback drops it. A handler that holds a clone keeps its own node alive; [`Call::node`] gives
/// it one when it needs it.
///
/// Every function may be called from any thread. The crate's documentation says which functions run
/// on which thread, and what a callback may call.
#[derive(Clone)]
pub struct Node(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    #[cfg(feature = "files")]
    extensions: extension::Extensions,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.shared.turns.is_forked() {
            // The threads are not in this process, and the lock may be held by one of them for
            // ever. What was shared is left as it is; the descriptors are copies, and go with the
            // child.
            std::mem::forget(self.take_threads());
            std::mem::forget(self.shared.clone());
            return;
        }
        self.close();
    }
}

impl Handle {
    fn take_threads(&self) -> Vec<JoinHandle<()>> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *threads)
    }

    /// Stops the node and waits until no callback runs any more, unless this is one.
    fn close(&self) {
        self.shared.turns.stop();
        let threads = self.take_threads();
        if self.shared.turns.is_callback() {
            // The threads end after the callback that this is.
            return;
        }
        for thread in threads {
            // One that panicked has ended as well, and has said so in the log.
            let _ = thread.join();
        }
        self.shared.turns.wait_finished();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("name", self.name())
            .finish_non_exhaustive()
    }
}

impl Node {
    /// A node to be: its name, its network's name, and its network's key.
    pub fn builder(name: &str, network: &str, key: Key) -> Builder {
        Builder::new(name, network, key)
    }

    fn of(parts: Parts) -> Node {
        let registry = Arc::new(Registry::new(parts.commands, parts.on_message));
        let handlers = |shared| registry.handlers(shared);
        Node(Arc::new_cyclic(|handle| Handle {
            shared: Shared::new(parts.opened, handle.clone(), handlers, parts.on_event),
            registry: registry.clone(),
            #[cfg(feature = "files")]
            extensions: extension::Extensions::default(),
            threads: Mutex::default(),
        }))
    }

    fn open(parts: Parts) -> Result<Node, Error> {
        let node = Node::of(parts);
        node.0.shared.turns.wait_started()?;
        Ok(node)
    }

    fn start(parts: Parts) -> Result<Node, Error> {
        let node = Node::open(parts)?;
        node.0.shared.turns.dedicate()?;
        let doing = "starting the loop's threads";
        let started = node.start_threads();
        // Without its threads nobody would see to the node's end.
        started
            .inspect_err(|_| node.0.shared.turns.undedicate())
            .map_err(|e| Error::io(doing, &e))?;
        Ok(node)
    }

    fn start_threads(&self) -> io::Result<()> {
        let mut threads = self
            .0
            .threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (runs, stands_by) = (self.0.shared.clone(), self.0.shared.clone());
        threads.push(signals::spawn(STAND_BY, move || {
            stands_by.turns.stand_by()
        })?);
        threads.push(signals::spawn("peerbase", move || {
            if let Err(e) = runs.turns.run() {
                record!(Error, "the event loop ended: {e}");
            }
        })?);
        Ok(())
    }

    /// This node's name.
    pub fn name(&self) -> &NodeName {
        self.0.shared.name()
    }

    /// An error if the node cannot be used any more.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.0.shared.turns.check()
    }

    /// An error in a child of the process that started the node.
    pub(crate) fn check_process(&self) -> Result<(), Error> {
        self.0.shared.turns.check_process()
    }

    /// Bytes of the largest args or value.
    pub(crate) fn max_message(&self) -> usize {
        self.0.shared.max_message()
    }

    /// The TCP port this node listens on; 0 if it does not listen, as with
    /// [`Builder::lan`]`(false)` and neither [`Builder::listen`] nor
    /// [`Builder::advertise_address`].
    pub fn port(&self) -> u16 {
        self.0.shared.port()
    }

    /// Begins a call of a command; nothing is sent before one of its `send` methods.
    ///
    /// ```no_run
    /// # let node = peerbase::Node::builder("a", "b", peerbase::Key::from_bytes([0; 32])).start()?;
    /// let celsius = node.call("sensor.read").arg("roof").to("gateway").send()?;
    /// # Ok::<(), peerbase::Error>(())
    /// ```
    pub fn call(&self, path: &str) -> CallBuilder<'_> {
        CallBuilder::new(self, path)
    }

    /// The commands of another node, as dotted paths.
    pub fn get_commands(&self, target: &str, timeout: Duration) -> Result<Vec<String>, Error> {
        let value = self
            .call("__list_commands__")
            .to(target)
            .timeout(timeout)
            .send()?;
        let list = value.as_array().into_iter().flatten();
        Ok(list.filter_map(|v| v.as_str().map(str::to_owned)).collect())
    }

    /// Sends bytes to another node's message handler, and waits for the bytes it answers. A message
    /// that the handler drops unanswered is answered with no bytes.
    ///
    /// # Errors
    ///
    /// Those of [`CallBuilder::send`]. A node without a message handler answers
    /// [`Error::CommandNotFound`].
    pub fn send_message(
        &self,
        target: &str,
        data: &[u8],
        timeout: Duration,
    ) -> Result<Vec<u8>, Error> {
        let options = Options {
            timeout,
            ..Options::default()
        };
        let answer = self.call_one(
            &NodeName::new(target)?,
            Ask::Message(data.to_vec()),
            options,
        )?;
        Ok(answer.into_bytes())
    }

    /// Gives up on a call begun with [`CallBuilder::send_async`]; it ends as [`Error::Cancelled`],
    /// unless it has ended. The peer is told, so that [`Call::is_wanted`] is false there, but a
    /// handler that runs is not interrupted. A call that a thread waits for in
    /// [`CallBuilder::send`] or [`CallBuilder::send_all`] cannot be cancelled; a call that streams
    /// is cancelled by dropping its [`CallStream`] or [`StreamValue`].
    pub fn cancel(&self, call: CallId) {
        if !self.0.shared.turns.is_forked() {
            self.0.shared.turns.cancel(call.0);
        }
    }

    /// Registers a command while the node runs; see [`Builder::command`] for what the handler does.
    pub fn register<R>(
        &self,
        path: &str,
        handler: impl Fn(Call) -> R + Send + Sync + 'static,
    ) -> Result<(), Error> {
        self.register_tree(CommandTree::new().command(path, handler)?)
    }

    /// Registers every command of a tree, or none of them.
    pub fn register_tree(&self, tree: CommandTree) -> Result<(), Error> {
        self.0.shared.turns.check()?;
        self.0.registry.add(tree)
    }

    /// Takes away the command at a path and all below it; how many that were. A call that runs is
    /// not disturbed.
    pub fn unregister(&self, path: &str) -> Result<usize, Error> {
        self.0.shared.turns.check()?;
        self.0.registry.remove(&CommandPath::new(path)?)
    }

    /// Sets what answers messages of bytes, in place of what did; see [`Builder::on_message`].
    pub fn on_message<R>(
        &self,
        handler: impl Fn(Message) -> R + Send + Sync + 'static,
    ) -> Result<(), Error> {
        self.set_message_handler(Some(Arc::new(move |message| {
            handler(message);
        })))
    }

    pub(crate) fn set_message_handler(&self, handler: Option<MessageHandler>) -> Result<(), Error> {
        self.0.shared.turns.check()?;
        self.0.registry.set_message_handler(handler)
    }

    pub(crate) fn set_event_handler(&self, handler: Option<EventHandler>) -> Result<(), Error> {
        self.0.shared.turns.check_process()?;
        self.0.shared.turns.set_event_handler(handler)
    }

    /// The peers that are known, one entry for each name. Some may be known from their adverts
    /// only: [`PeerInfo::reachable`] says whether a session with the peer is open.
    pub fn peers(&self) -> Vec<PeerInfo> {
        if self.0.shared.turns.is_forked() {
            Vec::new()
        } else {
            // A node that has ended knows nobody.
            let peers = self.0.shared.turns.with(|engine, now| engine.peers(now));
            peers.unwrap_or_default()
        }
    }

    /// What was counted since start.
    pub fn stats(&self) -> Stats {
        if self.0.shared.turns.is_forked() {
            Stats::default()
        } else {
            self.0.shared.turns.stats()
        }
    }

    /// Subscribes to the events of this node from now on. The first subscriber also gets the events
    /// since the start, unless [`Builder::on_event`] was set. Up to 1 024 events are queued until
    /// they are read ([`Limits::events`](crate::Limits::events)). Each call of this function makes
    /// a queue of its own, which gets every event; the clones of one [`Events`] share its queue.
    pub fn events(&self) -> Events {
        Events(self.0.shared.turns.subscribe())
    }

    /// Stops the node. First what was answered is sent, which may take two seconds at most. Then
    /// the node says goodbye, and waits up to half a second for its peers to close their links.
    /// Every later use is [`Error::Stopped`], and so is the end of every call of this node.
    ///
    /// It does not wait for handlers, nor for calls of other nodes that are not answered: those
    /// that wait for their handler, that a handler runs, or whose [`Call`] another thread has.
    /// Their callers get [`Error::Unreachable`] with the goodbye. After it [`Call::reply`] gives
    /// [`Error::Stopped`].
    ///
    /// To finish such calls first, a program counts those that its handlers have begun and not
    /// answered, has its handlers refuse new ones ([`Call::refuse`]), and stops the node when the
    /// count is 0. Only calls that arrive at the last moment end as unreachable then.
    /// [`Stats::serving`] is not that count: an answered call counts there until its caller has
    /// confirmed the answer, which it does with one of its next calls.
    ///
    /// Returns before all of that is over if the node has a thread of its own, or if a callback
    /// calls it. To drop the last clone of the node waits for the end.
    pub fn stop(&self) {
        if !self.0.shared.turns.is_forked() {
            self.0.shared.turns.stop();
        }
    }

    /// As [`Node::stop`], and waits until no callback runs any more, unless this is called by one.
    /// Whoever else still has the node finds it stopped.
    pub(crate) fn close(self) {
        if !self.0.shared.turns.is_forked() {
            self.0.close();
        }
    }

    /// Runs the node on this thread until it is stopped. For nodes made with [`Builder::open`].
    /// Another thread, named `peerbase-io`, stands by meanwhile, so that a handler may take its
    /// time: see [Callbacks](crate#callbacks). Ends with `Ok` when the node was stopped.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if a thread does that already; [`Error::WouldDeadlock`] in a callback;
    /// [`Error::Stopped`] if the node was stopped before; [`Error::Internal`] if a panic in the
    /// library ended it, and [`Error::Io`] if its event queue failed.
    pub fn run(&self) -> Result<(), Error> {
        let shared = self.0.shared.clone();
        shared.turns.dedicate()?;
        let stands_by = shared.clone();
        let stand_by = signals::spawn(STAND_BY, move || stands_by.turns.stand_by());
        let stand_by = stand_by.map_err(|e| {
            shared.turns.undedicate();
            Error::io("starting a thread", &e)
        })?;
        let result = shared.turns.run();
        // One that panicked has ended as well, and has said so in the log.
        let _ = stand_by.join();
        result
    }

    /// A descriptor that is readable whenever [`Node::process`] would do something, timers apart.
    /// Level-triggered; [`Builder::open`] says how to use it edge-triggered. It belongs to the
    /// node, and must not be closed or used after the node.
    pub fn fd(&self) -> RawFd {
        self.0.shared.turns.fd()
    }

    /// How long at most to wait on [`Node::fd`] before [`Node::process`]; `None` for as long as one
    /// likes. Ask again after every use of the node, since each may make something due earlier.
    pub fn timeout(&self) -> Option<Duration> {
        self.0.shared.turns.timeout()
    }

    /// Waits at most `timeout` for something to do, does it, and runs
    /// [callbacks](crate#callbacks) on this thread. `None` waits until something happens. For nodes
    /// made with [`Builder::open`].
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] once the node was stopped, which ends the program's loop;
    /// [`Error::WouldDeadlock`] in a callback; [`Error::Argument`] if the node runs on a thread of
    /// its own.
    pub fn process(&self, timeout: Option<Duration>) -> Result<(), Error> {
        self.0.shared.turns.process(timeout)
    }
}
