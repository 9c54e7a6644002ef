//! Commands: what other nodes may call here, and what runs when they do.

use super::built_in::BuiltIn;
use super::request::{Answer, Call, Message, Texts};
use super::shared::Shared;
use super::turns::{Handlers, Kept};
use crate::engine::{Ask, Request, Said};
use crate::error::Error;
use crate::name::{CommandPath, NodeName};
use crate::table::Table;
use crate::wire::record::Status;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

/// What runs when a command is called.
pub(crate) type Handler = Arc<dyn Fn(Call) + Send + Sync>;
/// What runs when a message comes.
pub(crate) type MessageHandler = Arc<dyn Fn(Message) + Send + Sync>;

/// Commands to be registered together, at a path of their own.
///
/// ```
/// use peerbase::CommandTree;
/// let sensor = CommandTree::new()
///     .command("read", |call| call.reply(21.5))?
///     .subtree("calibrate", CommandTree::new().command("zero", |call| call.reply(true))?)?;
/// # assert_eq!(sensor.len(), 2);
/// # Ok::<(), peerbase::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct CommandTree(Table<CommandPath, Handler>);

impl CommandTree {
    /// No commands.
    pub fn new() -> CommandTree {
        CommandTree::default()
    }

    /// Adds a command at a dotted path. [`Builder::command`](crate::Builder::command) says on which
    /// thread the handler runs, how it answers, and what becomes of what it returns.
    pub fn command<R>(
        self,
        path: &str,
        handler: impl Fn(Call) -> R + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        self.with(
            path,
            Arc::new(move |call: Call| {
                let most = call.max_values();
                if let Some(call) = call.if_within(most) {
                    handler(call);
                }
            }),
        )
    }

    /// Adds every command of `tree` below a path.
    pub fn subtree(mut self, path: &str, tree: CommandTree) -> Result<Self, Error> {
        CommandPath::new(path)?;
        for (below, handler) in tree.0.iter() {
            self = self.with(&format!("{path}.{below}"), handler.clone())?;
        }
        Ok(self)
    }

    pub(crate) fn with(mut self, path: &str, handler: Handler) -> Result<Self, Error> {
        let path = CommandPath::new(path)?;
        if path.is_reserved() {
            return Err(Error::Path(
                "paths that begin with __ are the library's own",
            ));
        }
        if self.0.contains_key(&path) {
            return Err(Error::CommandExists(path.to_string()));
        }
        self.0.insert(path, handler);
        Ok(self)
    }

    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for CommandTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a node answers to now.
pub(super) struct Registry(RwLock<Registered>);

#[derive(Default)]
pub(super) struct Registered {
    commands: CommandTree,
    message: Option<MessageHandler>,
    /// The library's own, of the layers above.
    reserved: Vec<(&'static str, Handler)>,
    /// Whether the node has ended: a handler that comes now would never be dropped.
    closed: bool,
}

#[cfg(feature = "files")]
impl Registered {
    /// Has one of the library's own commands answered by this handler from now on.
    pub(super) fn reserve(&mut self, path: &'static str, handler: Handler) {
        self.reserved.retain(|(p, _)| *p != path);
        self.reserved.push((path, handler));
    }
}

impl Registry {
    pub(super) fn new(commands: CommandTree, message: Option<MessageHandler>) -> Registry {
        Registry(RwLock::new(Registered {
            commands,
            message,
            ..Registered::default()
        }))
    }

    /// What runs for what comes in. The call of a request holds all that is shared, so this does
    /// not.
    pub(super) fn handlers(self: &Arc<Registry>, shared: Weak<Shared>) -> Handlers {
        let (of_requests, of_messages, of_end) = (self.clone(), self.clone(), self.clone());
        Handlers {
            on_request: Box::new(move |request| {
                if let Some(shared) = shared.upgrade() {
                    of_requests.dispatch(&shared, request);
                }
            }),
            on_message: Box::new(move |said, kept| of_messages.told(said, kept)),
            on_end: Box::new(move || of_end.close()),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Registered> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To change what is answered; an error once the node has ended.
    pub(super) fn change(&self) -> Result<RwLockWriteGuard<'_, Registered>, Error> {
        let handlers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match handlers.closed {
            true => Err(Error::Stopped),
            false => Ok(handlers),
        }
    }

    fn find_reserved(&self, path: &CommandPath) -> Option<Handler> {
        let handlers = self.read();
        let mut reserved = handlers.reserved.iter();
        let found = reserved.find(|(p, _)| *p == path.as_str());
        found.map(|(_, handler)| handler.clone())
    }

    /// Adds all of `tree`, or nothing.
    pub(super) fn add(&self, tree: CommandTree) -> Result<(), Error> {
        let mut handlers = self.change()?;
        let mut merged = handlers.commands.clone();
        for (path, handler) in tree.0.iter() {
            merged = merged.with(path.as_str(), handler.clone())?;
        }
        handlers.commands = merged;
        Ok(())
    }

    /// Takes away the command at `path` and all below it; how many that were.
    pub(super) fn remove(&self, path: &CommandPath) -> Result<usize, Error> {
        let mut handlers = self.change()?;
        let commands = &mut handlers.commands.0;
        let below = format!("{path}.");
        let mut paths = commands.keys().cloned().collect::<Vec<_>>();
        paths.retain(|p| p == path || p.as_str().starts_with(&below));
        // Dropped after the lock is given back: a handler's drop may call the node.
        let gone: Vec<_> = paths.iter().filter_map(|p| commands.remove(p)).collect();
        drop(handlers);
        Ok(gone.len())
    }

    /// Drops every handler, and takes no more.
    pub(super) fn close(&self) {
        let mut handlers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let closed = Registered {
            closed: true,
            ..Registered::default()
        };
        let dropped = std::mem::replace(&mut *handlers, closed);
        drop(handlers);
        drop(dropped);
    }

    pub(super) fn set_message_handler(&self, handler: Option<MessageHandler>) -> Result<(), Error> {
        let mut handlers = self.change()?;
        let old = std::mem::replace(&mut handlers.message, handler);
        drop(handlers);
        drop(old);
        Ok(())
    }

    fn find(&self, path: &CommandPath) -> Option<Handler> {
        self.read().commands.0.get(path).cloned()
    }

    /// The paths of the program's own commands.
    fn paths(&self) -> Vec<String> {
        let handlers = self.read();
        handlers
            .commands
            .0
            .keys()
            .map(CommandPath::to_string)
            .collect()
    }

    /// Runs what was asked for.
    fn dispatch(&self, shared: &Arc<Shared>, request: Request) {
        let answer = Answer::new(shared, &request);
        match request.ask {
            Ask::Message(data) => match self.message_handler() {
                Some(handler) => handler(Message::for_us(request.caller, data, answer)),
                None => answer.send(Status::NotFound, Vec::new()),
            },
            Ask::Command { path, args, kwargs } => {
                self.run_command(request.caller, path, args, kwargs, answer);
            }
            Ask::Data { path, data } => self.run_with_data(request.caller, path, data, answer),
            // The engine hands these on itself.
            Ask::Broadcast(_) => {}
        }
    }

    /// Runs what takes messages, for one that everyone is told.
    fn told(&self, said: Said, kept: Option<Kept>) {
        if let Some(handler) = self.message_handler() {
            handler(Message::for_everyone(said, kept));
        }
    }

    fn message_handler(&self) -> Option<MessageHandler> {
        self.read().message.clone()
    }

    /// Runs a command that is called with bytes. The library's own take none.
    fn run_with_data(&self, caller: NodeName, path: CommandPath, data: Vec<u8>, answer: Answer) {
        match self.find(&path) {
            Some(handler) => handler(Call::with_data(caller, path, data, answer)),
            None if self.is_own(&path) => {
                let why = b"this command is called with JSON, and not with bytes";
                answer.send(Status::Refused, why.to_vec());
            }
            None => answer.send(Status::NotFound, Vec::new()),
        }
    }

    /// Whether this is a command of the library's own.
    fn is_own(&self, path: &CommandPath) -> bool {
        BuiltIn::find(path.as_str()).is_some() || self.find_reserved(path).is_some()
    }

    fn run_command(
        &self,
        caller: NodeName,
        path: CommandPath,
        args: Vec<u8>,
        kwargs: Vec<u8>,
        answer: Answer,
    ) {
        let handler = match path.is_reserved() {
            true => self.find_reserved(&path),
            false => self.find(&path),
        };
        match handler {
            None => match BuiltIn::find(path.as_str()) {
                Some(command) => command.run(args, kwargs, answer, || self.paths()),
                None => answer.send(Status::NotFound, Vec::new()),
            },
            Some(handler) => match Texts::check(args, kwargs) {
                Ok(texts) => handler(Call::new(caller, path, texts, answer)),
                // Not as a failure of the command, which did not run.
                Err(e) => answer.send(Status::Refused, e.to_string().into_bytes()),
            },
        }
    }
}
