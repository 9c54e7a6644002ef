//! Commands: what others may call here, and the call that a handler answers.

use super::Node;
use super::shared::Shared;
use crate::engine::{Ask, Incoming, Path, RequestId};
use crate::error::Error;
use crate::json;
use crate::limits::BODY_MAX;
use crate::name::{CommandPath, NodeName};
use crate::table::Table;
use crate::wire::record::Status;
use serde_core::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

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
            Arc::new(move |call| {
                handler(call);
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
#[derive(Default)]
pub(super) struct Registry {
    commands: RwLock<CommandTree>,
    message: RwLock<Option<MessageHandler>>,
}

impl Registry {
    pub(super) fn new(commands: CommandTree, message: Option<MessageHandler>) -> Registry {
        Registry {
            commands: RwLock::new(commands),
            message: RwLock::new(message),
        }
    }

    /// Adds all of `tree`, or nothing.
    pub(super) fn add(&self, tree: CommandTree) -> Result<(), Error> {
        let mut commands = self
            .commands
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut merged = commands.clone();
        for (path, handler) in tree.0.iter() {
            merged = merged.with(path.as_str(), handler.clone())?;
        }
        *commands = merged;
        Ok(())
    }

    /// Takes away the command at `path` and all below it; how many that were.
    pub(super) fn remove(&self, path: &CommandPath) -> usize {
        let mut commands = self
            .commands
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let below = format!("{path}.");
        let mut paths = commands.0.keys().cloned().collect::<Vec<_>>();
        paths.retain(|p| p == path || p.as_str().starts_with(&below));
        // Dropped after the lock is given back: a handler's drop may call the node.
        let gone: Vec<_> = paths.iter().filter_map(|p| commands.0.remove(p)).collect();
        drop(commands);
        gone.len()
    }

    pub(super) fn clear(&self) {
        let commands = std::mem::take(
            &mut *self
                .commands
                .write()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let message = self
            .message
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop((commands, message));
    }

    pub(super) fn set_message_handler(&self, handler: Option<MessageHandler>) {
        let old = std::mem::replace(
            &mut *self.message.write().unwrap_or_else(PoisonError::into_inner),
            handler,
        );
        drop(old);
    }

    fn find(&self, path: &CommandPath) -> Option<Handler> {
        self.commands
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .get(path)
            .cloned()
    }

    fn paths(&self) -> Vec<String> {
        let commands = self.commands.read().unwrap_or_else(PoisonError::into_inner);
        commands.0.keys().map(CommandPath::to_string).collect()
    }

    /// Runs what was asked for.
    pub(super) fn dispatch(&self, shared: &Arc<Shared>, incoming: Incoming) {
        let answer = Answer {
            shared: shared.clone(),
            id: incoming.id,
            answered: false,
        };
        match incoming.ask {
            Ask::Message(data) => {
                let handler = self
                    .message
                    .read()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                match handler {
                    Some(handler) => handler(Message {
                        caller: incoming.caller,
                        data,
                        answer,
                    }),
                    None => answer.send(Status::NotFound, Vec::new()),
                }
            }
            Ask::Command { path, args, kwargs } => {
                self.command(incoming.caller, path, args, kwargs, answer)
            }
        }
    }

    fn command(
        &self,
        caller: NodeName,
        path: CommandPath,
        args: Vec<u8>,
        kwargs: Vec<u8>,
        answer: Answer,
    ) {
        if path.is_reserved() {
            return self.built_in(&path, &args, &kwargs, answer);
        }
        let Some(handler) = self.find(&path) else {
            return answer.send(Status::NotFound, Vec::new());
        };
        match (json::parse_args(&args), json::parse_kwargs(&kwargs)) {
            (Ok(args_read), Ok(kwargs_read)) => handler(Call {
                texts: (args, kwargs),
                caller,
                path,
                args: args_read,
                kwargs: kwargs_read,
                answer,
            }),
            (Err(e), _) | (_, Err(e)) => answer.send(Status::Failed, e.to_string().into_bytes()),
        }
    }

    fn built_in(&self, path: &CommandPath, args: &[u8], kwargs: &[u8], answer: Answer) {
        match path.as_str() {
            "__echo__" => {
                if let (Err(e), _) | (_, Err(e)) =
                    (json::parse_args(args), json::parse_kwargs(kwargs))
                {
                    return answer.send(Status::Failed, e.to_string().into_bytes());
                }
                // Both were read, so the texts can be put together as they are.
                let text = [b"{\"args\":", args, b",\"kwargs\":", kwargs, b"}"].concat();
                answer.send(Status::Value, text);
            }
            "__list_commands__" => {
                let mut list = self.paths();
                list.extend(["__echo__", "__list_commands__", "__peers__"].map(str::to_owned));
                answer.json(&list);
            }
            "__peers__" => {
                let peers = answer.shared.with(|engine, _| engine.peers());
                let how = |path: &Option<Path>| match path {
                    Some(Path::Direct) => "direct".into(),
                    Some(Path::Relay(relay)) => format!("relay {relay}"),
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
        let checked = self.check(text.len());
        self.send(status, text.as_bytes().to_vec());
        checked
    }

    /// Whether there is still somebody to answer, and a node to do it with.
    fn check(&self, size: usize) -> Result<(), Error> {
        self.shared.check()?;
        if size > BODY_MAX {
            return Err(Error::TooLarge {
                size,
                limit: BODY_MAX,
            });
        }
        Ok(())
    }

    fn is_wanted(&self) -> bool {
        self.shared.check().is_ok() && self.shared.with(|engine, _| engine.is_wanted(self.id))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.answered && !self.shared.is_forked() {
            let why: &[u8] = if std::thread::panicking() {
                b"the command panicked"
            } else {
                b"the command gave no answer"
            };
            self.shared.reply(self.id, Status::Failed, why.to_vec());
        }
    }
}

/// A call of one of our commands, to be answered now or later, from any thread. Dropped
/// unanswered, it answers that the command failed.
pub struct Call {
    caller: NodeName,
    path: CommandPath,
    args: Vec<Value>,
    kwargs: Map<String, Value>,
    /// Both as they came.
    texts: (Vec<u8>, Vec<u8>),
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

    /// The positional arguments.
    pub fn args(&self) -> &[Value] {
        &self.args
    }

    /// The named arguments.
    pub fn kwargs(&self) -> &Map<String, Value> {
        &self.kwargs
    }

    /// The args and kwargs as JSON texts.
    pub(crate) fn texts(&self) -> (&[u8], &[u8]) {
        (&self.texts.0, &self.texts.1)
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

    /// Answers with a value. An answer too large for one message is an error here, and the caller
    /// is told that the command failed.
    pub fn reply(self, value: impl Into<Value>) -> Result<(), Error> {
        let text = serde_json::to_vec(&value.into()).map_err(|e| Error::Json(e.to_string()))?;
        self.reply_text(text)
    }

    /// Answers with a JSON text that has been checked.
    pub(crate) fn reply_text(self, text: Vec<u8>) -> Result<(), Error> {
        if let Err(e) = self.answer.check(text.len()) {
            self.answer.send(Status::Failed, e.to_string().into_bytes());
            return Err(e);
        }
        self.answer.send(Status::Value, text);
        Ok(())
    }

    /// Answers that the command failed, and why.
    pub fn fail(self, message: &str) -> Result<(), Error> {
        self.answer.end(Status::Failed, message)
    }

    /// Answers that this caller may not have it, and why.
    pub fn refuse(self, reason: &str) -> Result<(), Error> {
        self.answer.end(Status::Refused, reason)
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

/// A message of bytes, to be answered with bytes, now or later, from any thread. Dropped
/// unanswered, it answers that the command failed.
pub struct Message {
    caller: NodeName,
    data: Vec<u8>,
    answer: Answer,
}

impl Message {
    /// Who sent it.
    pub fn caller(&self) -> &NodeName {
        &self.caller
    }

    /// What was sent.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Answers with bytes.
    pub fn reply(self, data: &[u8]) -> Result<(), Error> {
        let checked = self.answer.check(data.len());
        match &checked {
            Ok(()) => self.answer.send(Status::Value, data.to_vec()),
            Err(e) => self.answer.send(Status::Failed, e.to_string().into_bytes()),
        }
        checked
    }

    /// Answers that it failed, and why.
    pub fn fail(self, message: &str) -> Result<(), Error> {
        self.answer.end(Status::Failed, message)
    }

    /// Answers that this sender may not have it, and why.
    pub fn refuse(self, reason: &str) -> Result<(), Error> {
        self.answer.end(Status::Refused, reason)
    }

    /// Whether the sender still waits.
    pub fn is_wanted(&self) -> bool {
        self.answer.is_wanted()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("caller", &self.caller)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}
