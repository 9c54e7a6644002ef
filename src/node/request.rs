//! A call or message that a handler is given, and the one answer that it gets.

use super::Node;
use super::shared::Shared;
use super::stream::{self, Ends, StreamReader, StreamWriter};
use super::turns::Kept;
use crate::engine::{Ask, PeerInfo, Request, RequestId, Said};
use crate::error::Error;
use crate::identity::PublicKey;
use crate::json;
use crate::limits::BODY_MAX;
use crate::name::{CommandPath, NodeName, Role};
use crate::wire::record::Status;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The args and kwargs of a call as JSON texts, which were checked.
pub(super) struct Texts {
    pub(super) args: Vec<u8>,
    pub(super) kwargs: Vec<u8>,
    /// How many values they hold.
    values: usize,
}

impl Texts {
    /// No arguments.
    fn none() -> Texts {
        Texts {
            args: b"[]".to_vec(),
            kwargs: b"{}".to_vec(),
            values: 0,
        }
    }

    /// Checks that they are a JSON array and a JSON object.
    pub(super) fn check(args: Vec<u8>, kwargs: Vec<u8>) -> Result<Texts, Error> {
        // Less the array and the object themselves.
        let values = json::check_args(&args)? + json::check_kwargs(&kwargs)? - 2;
        Ok(Texts {
            args,
            kwargs,
            values,
        })
    }
}

/// The one answer that a request gets.
pub(super) struct Answer {
    pub(super) shared: Arc<Shared>,
    pub(super) id: RequestId,
    /// The public key of the caller.
    key: Option<PublicKey>,
    /// The roles of the caller.
    roles: Arc<[Role]>,
    /// Whether the caller streams.
    streams: bool,
    /// Whether no answer is a failure.
    needed: bool,
    answered: bool,
}

impl Answer {
    pub(super) fn new(shared: &Arc<Shared>, request: &Request) -> Answer {
        Answer {
            shared: shared.clone(),
            id: request.id,
            key: request.key,
            roles: request.roles.clone(),
            streams: request.streams,
            needed: matches!(request.ask, Ask::Command { .. } | Ask::Data { .. }),
            answered: false,
        }
    }

    /// Answers. After the node has ended nobody can be answered, and nobody waits.
    pub(super) fn send(self, status: Status, body: Vec<u8>) {
        let _ = self.try_send(status, body);
    }

    /// Answers, or says why nothing is sent any more. In a child of a fork nothing is sent: the
    /// link is the parent's, and a record of the child's would break it.
    fn try_send(mut self, status: Status, body: Vec<u8>) -> Result<(), Error> {
        self.answered = true;
        self.shared.turns.answer(self.id, status, body)
    }

    /// Answers with a body of `size` bytes, at most `limit`. If it has more, the caller is told
    /// that the command failed.
    fn try_send_within(
        self,
        limit: usize,
        size: usize,
        status: Status,
        body: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), Error> {
        if size <= limit {
            return self.try_send(status, body());
        }
        let too_large = Error::TooLarge { size, limit };
        self.try_send(Status::Failed, too_large.to_string().into_bytes())?;
        Err(too_large)
    }

    fn value(
        self,
        status: Status,
        size: usize,
        body: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), Error> {
        let limit = self.shared.max_message();
        self.try_send_within(limit, size, status, body)
    }

    /// Ends without a value, in words.
    pub(super) fn end(self, status: Status, text: &str) -> Result<(), Error> {
        self.try_send_within(BODY_MAX, text.len(), status, || text.as_bytes().to_vec())
    }

    fn is_wanted(&self) -> bool {
        let turns = &self.shared.turns;
        let wanted = || turns.with(|engine, _| engine.is_wanted(self.id));
        turns.check().is_ok() && wanted().unwrap_or(false)
    }

    /// The peers of the node that was asked; none once it has ended.
    pub(super) fn peers(&self) -> Vec<PeerInfo> {
        let peers = self.shared.turns.with(|engine, now| engine.peers(now));
        peers.unwrap_or_default()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let (status, why): (Status, &[u8]) = if std::thread::panicking() {
            (Status::Failed, b"the command panicked")
        } else if self.needed {
            (Status::Failed, b"the command gave no answer")
        } else {
            (Status::Value, b"")
        };
        // Nobody waits for it after the node has ended, or in a child of a fork.
        let _ = self.shared.turns.answer(self.id, status, why.to_vec());
    }
}

/// A call of one of our commands, to be answered now or later, from any thread: by
/// [`Call::reply`], [`Call::reply_data`], [`Call::fail`] or [`Call::refuse`], which each consume
/// it. Dropped unanswered, it answers that the command failed, with the text `the command gave no
/// answer`, or `the command panicked` if a panic drops it.
///
/// An answer that returns `Ok` was accepted by this node, to be sent. That does not say that it
/// arrives: the caller may have cancelled, or its time may be over. [`Call::is_wanted`] says
/// whether the caller still waits, as far as this node knows.
pub struct Call {
    caller: NodeName,
    path: CommandPath,
    texts: Texts,
    /// What it was called with in place of arguments.
    data: Option<Vec<u8>>,
    /// The same as values, once the handler has asked for them.
    args: OnceLock<Vec<Value>>,
    kwargs: OnceLock<Map<String, Value>>,
    pub(super) answer: Answer,
}

impl Call {
    pub(super) fn new(caller: NodeName, path: CommandPath, texts: Texts, answer: Answer) -> Call {
        Call {
            caller,
            path,
            texts,
            data: None,
            args: OnceLock::new(),
            kwargs: OnceLock::new(),
            answer,
        }
    }

    /// A call with bytes.
    pub(super) fn with_data(
        caller: NodeName,
        path: CommandPath,
        data: Vec<u8>,
        answer: Answer,
    ) -> Call {
        Call {
            data: Some(data),
            ..Call::new(caller, path, Texts::none(), answer)
        }
    }

    /// The name of the node that calls.
    pub fn caller(&self) -> &NodeName {
        &self.caller
    }

    /// The public key by which the caller has proved who it is. Another node that goes by the same
    /// name has another one. `None` for a node of PeerBase 0.7.1, which proves nothing.
    pub fn caller_key(&self) -> Option<PublicKey> {
        self.answer.key
    }

    /// The roles of the caller, in order, as its certificate says; none in an open network.
    pub fn caller_roles(&self) -> &[Role] {
        &self.answer.roles
    }

    /// The path that was called.
    pub fn path(&self) -> &CommandPath {
        &self.path
    }

    /// The bytes that it was called with in place of arguments
    /// ([`CallBuilder::data`](crate::CallBuilder::data)), for which [`Call::args`] and
    /// [`Call::kwargs`] are empty; `None` if it was called with arguments.
    pub fn data(&self) -> Option<&[u8]> {
        self.data.as_deref()
    }

    /// The positional arguments, JSON values. They are read when this is called first. They belong
    /// to the call: [`Call::reply`] says how to answer with what was made of them.
    pub fn args(&self) -> &[Value] {
        self.args.get_or_init(|| json::args_of(&self.texts.args))
    }

    /// The named arguments. They are read when this is called first.
    pub fn kwargs(&self) -> &Map<String, Value> {
        self.kwargs
            .get_or_init(|| json::kwargs_of(&self.texts.kwargs))
    }

    /// Takes the args and kwargs out, as JSON texts.
    pub(crate) fn take_texts(&mut self) -> (Vec<u8>, Vec<u8>) {
        let args = std::mem::replace(&mut self.texts.args, b"[]".to_vec());
        let kwargs = std::mem::replace(&mut self.texts.kwargs, b"{}".to_vec());
        (args, kwargs)
    }

    /// Values that may be made of one call, as the node's limits say.
    pub(super) fn max_values(&self) -> usize {
        self.answer.shared.max_values()
    }

    /// Itself, unless it has more values than may be made of it; then the caller is told.
    pub(super) fn if_within(self, most: usize) -> Option<Call> {
        if self.texts.values <= most {
            return Some(self);
        }
        let most = (most as u64).to_be_bytes().to_vec();
        self.answer.send(Status::TooManyValues, most);
        None
    }

    /// Whether the caller still waits: it has not cancelled, its time is not over, and this node
    /// was not stopped. A handler that takes long may ask from time to time.
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
    /// ([`CallBuilder::stream`](crate::CallBuilder::stream)). Reads and writes that wait must run
    /// on another thread than the loop's, so keep the call and answer it from that thread:
    /// [`Call::reply`] after the last write also finishes the writer. An error if the caller does
    /// not stream.
    pub fn streams(&self) -> Result<(StreamReader, StreamWriter), Error> {
        Ok(stream::split(&self.ends()?))
    }

    pub(crate) fn ends(&self) -> Result<Arc<Ends>, Error> {
        Ends::accept(&self.answer.shared, self.answer.id)
    }

    /// Answers with a value. What is made of the arguments must be finished first, because this
    /// consumes the call: `call.reply(f(call.args()))` does not compile (E0382), while
    /// `let value = f(call.args()); call.reply(value)` does.
    ///
    /// `Ok` means that the answer was accepted, also if the caller has cancelled.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the answer is larger than
    /// [`max_message`](crate::Limits::max_message); the caller is told that the command failed.
    /// [`Error::Stopped`] once the node has said goodbye.
    pub fn reply(self, value: impl Into<Value>) -> Result<(), Error> {
        let text = serde_json::to_vec(&value.into()).map_err(|e| Error::Json(e.to_string()))?;
        self.reply_text(text)
    }

    /// Answers with bytes, which travel as they are. The caller is told that they are no JSON, and
    /// gets them by [`CallBuilder::send_reply`](crate::CallBuilder::send_reply) or in C.
    ///
    /// # Errors
    ///
    /// Those of [`Call::reply`].
    pub fn reply_data(self, data: impl Into<Vec<u8>>) -> Result<(), Error> {
        let data = data.into();
        self.answer.value(Status::Data, data.len(), || data)
    }

    /// Answers with a JSON text that has been checked.
    pub(crate) fn reply_text(self, text: Vec<u8>) -> Result<(), Error> {
        self.answer.value(Status::Value, text.len(), || text)
    }

    /// Answers that the command failed, and why, in a text of at most
    /// [`BODY_MAX`](crate::limits::BODY_MAX) bytes. The caller gets it as [`Error::CommandFailed`].
    pub fn fail(self, message: &str) -> Result<(), Error> {
        self.answer.end(Status::Failed, message)
    }

    /// Answers that this caller may not have it, and why. The caller gets it as [`Error::Refused`].
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

/// A message of bytes: for this node alone, which may answer with bytes, now or later, from any
/// thread; or for everyone. Dropped unanswered, it is answered with no bytes. One for everyone that
/// a handler keeps counts against [`waiting_bytes`](crate::Limits::waiting_bytes) until it is
/// dropped; when those are used up, further ones are dropped and counted in
/// [`messages_dropped`](crate::Stats::messages_dropped).
pub struct Message {
    sender: NodeName,
    key: Option<PublicKey>,
    data: Vec<u8>,
    answer: Option<Answer>,
    /// Dropped with a message for everyone.
    _kept: Option<Kept>,
}

impl Message {
    /// A message for this node alone.
    pub(super) fn for_us(sender: NodeName, data: Vec<u8>, answer: Answer) -> Message {
        Message {
            sender,
            key: answer.key,
            data,
            answer: Some(answer),
            _kept: None,
        }
    }

    /// A message for everyone. What is kept with it counts it.
    pub(super) fn for_everyone(said: Said, kept: Option<Kept>) -> Message {
        Message {
            sender: said.sender,
            key: Some(said.key),
            data: said.data,
            answer: None,
            _kept: kept,
        }
    }

    /// Who sent it. A message for everyone is signed by whoever said it, so those who handed it on
    /// cannot have changed it.
    pub fn sender(&self) -> &NodeName {
        &self.sender
    }

    /// The public key by which the sender has proved who it is: in the session, or with its
    /// signature. `None` for a node of PeerBase 0.7.1, which proves nothing.
    pub fn sender_key(&self) -> Option<PublicKey> {
        self.key
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
        answer.value(Status::Value, data.len(), || data.to_vec())
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
