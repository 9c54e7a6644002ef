//! Commands: what others may call here, and the call that a handler answers.

use super::Node;
use super::shared::{Kept, Shared};
use super::stream::{self, Ends, StreamReader, StreamWriter};
use crate::engine::{Ask, Path, Request, RequestId, Source};
use crate::error::Error;
use crate::json;
use crate::limits::BODY_MAX;
use crate::name::{CommandPath, NodeName};
use crate::table::Table;
use crate::wire::record::Status;
use serde_core::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Values that the library's own commands take: a few numbers and names are enough.
const RESERVED_VALUES: usize = 64;

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

    /// Adds a command at a dotted path.
    pub fn command<R>(
        self,
        path: &str,
        handler: impl Fn(Call) -> R + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        self.with(
            path,
            Arc::new(move |call: Call| {
                let most = call.answer.shared.max_values();
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
pub(super) struct Registry(RwLock<Handlers>);

#[derive(Default)]
struct Handlers {
    commands: CommandTree,
    message: Option<MessageHandler>,
    /// The library's own, of the layers above.
    reserved: Vec<(&'static str, Handler)>,
    /// Whether the node has ended: a handler that comes now would never be dropped.
    closed: bool,
}

impl Registry {
    pub(super) fn new(commands: CommandTree, message: Option<MessageHandler>) -> Registry {
        Registry(RwLock::new(Handlers {
            commands,
            message,
            ..Handlers::default()
        }))
    }

    fn read(&self) -> RwLockReadGuard<'_, Handlers> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To change what is answered; an error once the node has ended.
    fn change(&self) -> Result<RwLockWriteGuard<'_, Handlers>, Error> {
        let handlers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match handlers.closed {
            true => Err(Error::Stopped),
            false => Ok(handlers),
        }
    }

    pub(super) fn set_reserved(&self, path: &'static str, handler: Handler) {
        let within = move |call: Call| {
            if let Some(call) = call.if_within(RESERVED_VALUES) {
                handler(call);
            }
        };
        // A node that has ended answers nothing.
        if let Ok(mut handlers) = self.change() {
            handlers.reserved.retain(|(p, _)| *p != path);
            handlers.reserved.push((path, Arc::new(within)));
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
        let closed = Handlers {
            closed: true,
            ..Handlers::default()
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
    pub(super) fn dispatch(&self, shared: &Arc<Shared>, incoming: Request) {
        let answer = Answer {
            shared: shared.clone(),
            id: incoming.id,
            streams: incoming.streams,
            needed: matches!(incoming.ask, Ask::Command { .. }),
            answered: false,
        };
        match incoming.ask {
            Ask::Message(data) => match self.message_handler() {
                Some(handler) => handler(Message {
                    sender: incoming.caller,
                    data,
                    answer: Some(answer),
                    _kept: None,
                }),
                None => answer.send(Status::NotFound, Vec::new()),
            },
            Ask::Command { path, args, kwargs } => {
                self.command(incoming.caller, path, args, kwargs, answer)
            }
            // The engine hands these on itself.
            Ask::Broadcast(_) => {}
        }
    }

    /// Runs what takes messages, for one that everyone is told.
    pub(super) fn told(&self, sender: NodeName, data: Vec<u8>, kept: Option<Kept>) {
        if let Some(handler) = self.message_handler() {
            handler(Message {
                sender,
                data,
                answer: None,
                _kept: kept,
            });
        }
    }

    fn message_handler(&self) -> Option<MessageHandler> {
        self.read().message.clone()
    }

    fn command(
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
        let Some(handler) = handler else {
            return self.built_in(&path, args, kwargs, answer);
        };
        match check(&args, &kwargs) {
            Ok(values) => handler(Call {
                caller,
                path,
                texts: (args, kwargs),
                values,
                args: OnceLock::new(),
                kwargs: OnceLock::new(),
                answer,
            }),
            // Not as a failure of the command, which did not run.
            Err(e) => answer.send(Status::Refused, e.to_string().into_bytes()),
        }
    }

    fn built_in(&self, path: &CommandPath, args: Vec<u8>, kwargs: Vec<u8>, answer: Answer) {
        match path.as_str() {
            "__echo__" => match check(&args, &kwargs) {
                Ok(_) => answer.send(Status::Value, echo(args, &kwargs)),
                Err(e) => answer.send(Status::Refused, e.to_string().into_bytes()),
            },
            "__list_commands__" => {
                let mut list = self.paths();
                list.extend(["__echo__", "__list_commands__", "__peers__"].map(str::to_owned));
                answer.json(&list);
            }
            "__peers__" => {
                let peers = answer.shared.with(|engine, now| engine.peers(now));
                let peers = peers.unwrap_or_default();
                let how = |path: &Option<Path>| match path {
                    Some(Path::Direct) => "direct".into(),
                    Some(Path::Relay(relay)) => format!("relay {relay}"),
                    Some(Path::Compat(None)) => "compat".into(),
                    Some(Path::Compat(Some(relay))) => format!("compat relay {relay}"),
                    None => "known".to_owned(),
                };
                let how: Vec<(&NodeName, String)> =
                    peers.iter().map(|p| (&p.name, how(&p.path))).collect();
                answer.json(&Object(
                    how.iter()
                        .map(|(n, how)| (n.as_str(), how.as_str()))
                        .collect(),
                ));
            }
            _ => answer.send(Status::NotFound, Vec::new()),
        }
    }
}

/// Checks the texts of a call; how many values are in the list and the object that they are.
fn check(args: &[u8], kwargs: &[u8]) -> Result<usize, Error> {
    Ok(json::check_args(args)? + json::check_kwargs(kwargs)? - 2)
}

/// Both texts were checked, so they can be put together as they are; in place, because they can be large.
fn echo(args: Vec<u8>, kwargs: &[u8]) -> Vec<u8> {
    const PARTS: [&[u8]; 3] = [b"{\"args\":", b",\"kwargs\":", b"}"];
    let mut text = args;
    text.reserve_exact(PARTS.iter().map(|part| part.len()).sum::<usize>() + kwargs.len());
    text.splice(0..0, PARTS[0].iter().copied());
    text.extend_from_slice(PARTS[1]);
    text.extend_from_slice(kwargs);
    text.extend_from_slice(PARTS[2]);
    text
}

/// A JSON object of texts. Not a [`Value`], whose numbers would bring 20 KiB of tables into a C
/// program that has no use for them.
struct Object<'a>(Vec<(&'a str, &'a str)>);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// The one answer that a call gets.
struct Answer {
    shared: Arc<Shared>,
    id: RequestId,
    /// Whether the caller streams.
    streams: bool,
    /// Whether no answer is a failure.
    needed: bool,
    answered: bool,
}

impl Answer {
    fn send(mut self, status: Status, body: Vec<u8>) {
        self.answered = true;
        self.shared.reply(self.id, status, body);
    }

    fn json(self, value: &impl Serialize) {
        // Texts in lists and objects: nothing that JSON could not say.
        let text = serde_json::to_vec(value).unwrap_or_default();
        self.send(Status::Value, text);
    }

    fn end(self, status: Status, text: &str) -> Result<(), Error> {
        let checked = self.check(text.len(), BODY_MAX);
        self.send_checked(checked, status, text.as_bytes().to_vec())
    }

    /// Sends what was checked, or says why it cannot be sent. In a child of a fork nothing is sent: the link is
    /// the parent's, and a record of the child's would break it.
    fn send_checked(
        self,
        checked: Result<(), Error>,
        status: Status,
        body: Vec<u8>,
    ) -> Result<(), Error> {
        match &checked {
            Ok(()) => self.send(status, body),
            Err(Error::Forked) => {}
            Err(e) => self.send(Status::Failed, e.to_string().into_bytes()),
        }
        checked
    }

    /// Whether there is still somebody to answer, and a node to do it with.
    fn check(&self, size: usize, limit: usize) -> Result<(), Error> {
        self.shared.check_may_answer()?;
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        Ok(())
    }

    /// Whether a value of this size can be given.
    fn check_value(&self, size: usize) -> Result<(), Error> {
        self.check(size, self.shared.max_message())
    }

    fn is_wanted(&self) -> bool {
        let wanted = || self.shared.with(|engine, _| engine.is_wanted(self.id));
        self.shared.check().is_ok() && wanted().unwrap_or(false)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.answered && !self.shared.is_forked() {
            let (status, why): (Status, &[u8]) = if std::thread::panicking() {
                (Status::Failed, b"the command panicked")
            } else if self.needed {
                (Status::Failed, b"the command gave no answer")
            } else {
                (Status::Value, b"")
            };
            self.shared.reply(self.id, status, why.to_vec());
        }
    }
}

/// A call of one of our commands, to be answered now or later, from any thread. Dropped
/// unanswered, it answers that the command failed.
pub struct Call {
    caller: NodeName,
    path: CommandPath,
    /// The args and kwargs as JSON texts, which were checked.
    texts: (Vec<u8>, Vec<u8>),
    /// How many values they hold.
    values: usize,
    /// The same as values, once somebody has asked for them.
    args: OnceLock<Vec<Value>>,
    kwargs: OnceLock<Map<String, Value>>,
    answer: Answer,
}

impl Call {
    /// Who calls.
    pub fn caller(&self) -> &NodeName {
        &self.caller
    }

    /// The path that was called.
    pub fn path(&self) -> &CommandPath {
        &self.path
    }

    /// The positional arguments. They are read when this is called first.
    pub fn args(&self) -> &[Value] {
        self.args.get_or_init(|| json::args_of(&self.texts.0))
    }

    /// The named arguments. They are read when this is called first.
    pub fn kwargs(&self) -> &Map<String, Value> {
        self.kwargs.get_or_init(|| json::kwargs_of(&self.texts.1))
    }

    /// Takes the args and kwargs out, as JSON texts.
    pub(crate) fn take_texts(&mut self) -> (Vec<u8>, Vec<u8>) {
        std::mem::replace(&mut self.texts, (b"[]".to_vec(), b"{}".to_vec()))
    }

    /// Itself, unless it has more values than may be made of it; then the caller is told.
    fn if_within(self, most: usize) -> Option<Call> {
        if self.values <= most {
            return Some(self);
        }
        let most = (most as u64).to_be_bytes().to_vec();
        self.answer.send(Status::TooManyValues, most);
        None
    }

    /// Whether the caller still waits: it has not cancelled, and its time is not over.
    pub fn is_wanted(&self) -> bool {
        self.answer.is_wanted()
    }

    /// The node that was called, unless it is being stopped. A handler that keeps a [`Node`] of its
    /// own instead keeps it from ever being dropped.
    pub fn node(&self) -> Option<Node> {
        self.answer.shared.node()
    }

    /// Whether the caller streams, and takes a stream: see [`Call::streams`].
    pub fn has_streams(&self) -> bool {
        self.answer.streams
    }

    /// What the caller streams, and what is streamed to it, for a caller that does
    /// ([`CallBuilder::stream`](crate::CallBuilder::stream)). Reads and writes that wait must run on another
    /// thread than the loop's, so keep the call and answer it from that thread: [`Call::reply`] after the
    /// last write also finishes the writer. An error if the caller does not stream.
    pub fn streams(&self) -> Result<(StreamReader, StreamWriter), Error> {
        Ok(stream::split(&self.ends()?))
    }

    pub(crate) fn ends(&self) -> Result<Arc<Ends>, Error> {
        Ends::accept(&self.answer.shared, self.answer.id)
    }

    /// Answers with a value. An answer larger than [`max_message`](crate::Limits::max_message) is an error
    /// here, and the caller is told that the command failed.
    pub fn reply(self, value: impl Into<Value>) -> Result<(), Error> {
        let text = serde_json::to_vec(&value.into()).map_err(|e| Error::Json(e.to_string()))?;
        self.reply_text(text)
    }

    /// Answers with a JSON text that has been checked.
    pub(crate) fn reply_text(self, text: Vec<u8>) -> Result<(), Error> {
        let checked = self.answer.check_value(text.len());
        self.answer.send_checked(checked, Status::Value, text)
    }

    /// Answers that the command failed, and why.
    pub fn fail(self, message: &str) -> Result<(), Error> {
        self.answer.end(Status::Failed, message)
    }

    /// Answers that this caller may not have it, and why.
    pub fn refuse(self, reason: &str) -> Result<(), Error> {
        self.answer.end(Status::Refused, reason)
    }

    /// Answers that there is no room for this call now, and that nothing was done for it.
    pub(crate) fn turn_away(self) -> Result<(), Error> {
        self.answer.end(Status::Overloaded, "")
    }

    /// Where the caller's session comes from, if it has one still.
    pub(crate) fn source(&self) -> Option<Source> {
        let Answer { shared, id, .. } = &self.answer;
        let source = shared.with(|engine, _| engine.source_of_peer(id.caller));
        source.ok().flatten()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("caller", &self.caller)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// A message of bytes: for this node alone, which may answer with bytes, now or later, from any thread; or
/// for everyone. Dropped unanswered, it is answered with no bytes. One for everyone that a handler keeps counts
/// against [`waiting_bytes`](crate::Limits::waiting_bytes) until it is dropped; when those are used up, further ones
/// are dropped and counted in [`messages_dropped`](crate::Stats::messages_dropped).
pub struct Message {
    sender: NodeName,
    data: Vec<u8>,
    answer: Option<Answer>,
    /// Dropped with a message for everyone.
    _kept: Option<Kept>,
}

impl Message {
    /// Who sent it. Of a message for everyone, what those say who handed it on: any member of the network
    /// could have given itself another's name there.
    pub fn sender(&self) -> &NodeName {
        &self.sender
    }

    /// What was sent.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Whether it is for this node alone.
    pub fn is_private(&self) -> bool {
        self.answer.is_some()
    }

    /// Answers with bytes. Nobody waits for the answer to a message for everyone.
    pub fn reply(mut self, data: &[u8]) -> Result<(), Error> {
        let Some(answer) = self.answer.take() else {
            return Ok(());
        };
        let checked = answer.check_value(data.len());
        let body = checked.as_ref().map_or(Vec::new(), |()| data.to_vec());
        answer.send_checked(checked, Status::Value, body)
    }

    /// Answers that it failed, and why.
    pub fn fail(self, message: &str) -> Result<(), Error> {
        self.end(Status::Failed, message)
    }

    /// Answers that this sender may not have it, and why.
    pub fn refuse(self, reason: &str) -> Result<(), Error> {
        self.end(Status::Refused, reason)
    }

    fn end(mut self, status: Status, text: &str) -> Result<(), Error> {
        self.answer.take().map_or(Ok(()), |a| a.end(status, text))
    }

    /// Whether the sender waits for an answer, still.
    pub fn is_wanted(&self) -> bool {
        self.answer.as_ref().is_some_and(Answer::is_wanted)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("sender", &self.sender)
            .field("bytes", &self.data.len())
            .field("private", &self.is_private())
            .finish()
    }
}
