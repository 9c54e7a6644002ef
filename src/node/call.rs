//! Calling others: how a call is put together and sent.

use super::options::Options;
use super::shared::{SeveralValues, value_within};
use super::turns::{Completion, OnEnd, Outcome};
use super::{Node, TargetResult, Targets, first_failure};
use crate::engine::{Ask, CallNumber, Payload};
use crate::error::Error;
use crate::name::{CommandPath, NodeName};
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;

impl Node {
    /// Calls one and waits.
    pub(crate) fn call_one(&self, target: &NodeName, ask: Ask, options: Options) -> Outcome {
        self.0.shared.turns.call(target, ask, options.terms(false))
    }

    /// Begins a call of one; `done` runs on the loop's thread, once. An error here means that it
    /// never will.
    pub(crate) fn begin_one(
        &self,
        target: &NodeName,
        ask: Ask,
        options: Options,
        done: OnEnd,
    ) -> Result<CallNumber, Error> {
        let (terms, completion) = (options.terms(false), Completion::Callback(done));
        self.0.shared.turns.begin(target, ask, terms, completion)
    }
}

/// A call under way, which can be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId(pub(crate) CallNumber);

/// A call in the making; see [`Node::call`].
#[must_use = "a call does nothing before it is sent"]
pub struct CallBuilder<'a> {
    node: &'a Node,
    path: String,
    args: Vec<Value>,
    kwargs: Map<String, Value>,
    data: Option<Vec<u8>>,
    targets: Option<Result<Targets, Error>>,
    options: Options,
}

impl fmt::Debug for CallBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallBuilder")
            .field("path", &self.path)
            .field("targets", &self.targets)
            .finish_non_exhaustive()
    }
}

impl<'a> CallBuilder<'a> {
    pub(super) fn new(node: &'a Node, path: &str) -> CallBuilder<'a> {
        CallBuilder {
            node,
            path: path.to_owned(),
            args: Vec::new(),
            kwargs: Map::new(),
            data: None,
            targets: None,
            options: Options::default(),
        }
    }

    /// Adds a positional argument, a JSON value. For bytes see the crate's documentation
    /// ([arguments and values](crate#arguments-and-values)).
    pub fn arg(mut self, value: impl Into<Value>) -> Self {
        self.args.push(value.into());
        self
    }

    /// Adds a named argument.
    pub fn kwarg(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.kwargs.insert(name.to_owned(), value.into());
        self
    }

    /// Calls with these bytes, which travel as they are, in place of arguments. A call with both is
    /// [`Error::Argument`]. A node of PeerBase 0.7.1 takes no bytes: such a call is
    /// [`Error::Refused`].
    pub fn data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// The node to call. `*` is no name of a node ([`Error::Name`]); every node is
    /// [`CallBuilder::to_all`].
    pub fn to(self, name: &str) -> Self {
        self.to_each([name])
    }

    /// The nodes to call. A name that is given twice is called twice.
    pub fn to_each<S: AsRef<str>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        let list: Result<_, _> = names
            .into_iter()
            .map(|n| NodeName::new(n.as_ref()))
            .collect();
        self.targets = Some(list.map(Targets::List));
        self
    }

    /// Every peer that is known when the call is sent, as [`Node::peers`] lists them; this node is
    /// not one of them. Just after the start that may be none, and the call then has no results. A
    /// peer that leaves meanwhile is not waited for, whatever [`CallBuilder::wait`] says. A peer
    /// whose rules do not allow the call ([`Error::NotAllowed`]) has no result, and is no failure.
    pub fn to_all(mut self) -> Self {
        self.targets = Some(Ok(Targets::All));
        self
    }

    /// How long to wait for each target, from when it is asked; [`TIMEOUT`](crate::TIMEOUT) unless
    /// set, at most a day. It includes the time until the target is found. A call of more targets
    /// than [`CallBuilder::max_in_flight`] takes longer than this in all, since some are asked only
    /// after others have answered.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// Whether a name that is not known yet is waited for, up to the timeout, which it is unless
    /// set. With `wait(false)` a call to it is [`Error::Unreachable`] at once.
    pub fn wait(mut self, wait: bool) -> Self {
        self.options.wait = wait;
        self
    }

    /// How many targets of this one call are asked at a time;
    /// [`MAX_IN_FLIGHT`](crate::MAX_IN_FLIGHT) unless set.
    pub fn max_in_flight(mut self, count: usize) -> Self {
        self.options.max_in_flight = count;
        self
    }

    /// Whether the first failure ends a call of several, which it does not unless set: then the
    /// calls still under way are cancelled, and [`CallBuilder::send_all`] gives that failure.
    pub fn raise_errors(mut self, raise: bool) -> Self {
        self.options.raise_errors = raise;
        self
    }

    pub(super) fn node(&self) -> &Node {
        self.node
    }

    pub(super) fn options(&self) -> Options {
        self.options
    }

    pub(super) fn targets(&self) -> Result<Targets, Error> {
        let missing = Err(Error::Argument("a call needs a target"));
        self.targets.clone().unwrap_or(missing)
    }

    /// What is asked; the bytes are taken out.
    pub(super) fn ask(&mut self) -> Result<Ask, Error> {
        let path = CommandPath::new(&self.path)?;
        match self.data.take() {
            Some(_) if !(self.args.is_empty() && self.kwargs.is_empty()) => Err(Error::Argument(
                "a call is made with arguments or with bytes, and not with both",
            )),
            Some(data) => Ok(Ask::Data { path, data }),
            None => Ok(Ask::Command {
                path,
                args: to_text(&self.args)?,
                kwargs: to_text(&self.kwargs)?,
            }),
        }
    }

    pub(super) fn single(&self) -> Result<NodeName, Error> {
        match &self.targets {
            Some(Ok(Targets::List(list))) if list.len() == 1 => Ok(list[0].clone()),
            Some(Err(e)) => Err(e.clone()),
            _ => Err(Error::Argument(
                "send is for one target; use send_all for several",
            )),
        }
    }

    /// Calls one node and waits for its value. While it waits it cannot be cancelled, except by
    /// [`Node::stop`] on another thread; a call by [`CallBuilder::send_async`] can.
    ///
    /// # Errors
    ///
    /// The last column says whether the command has run.
    ///
    /// | error | when | ran |
    /// | --- | --- | --- |
    /// | [`Unreachable`] after the timeout | the name stayed unknown, or no path led there | no |
    /// | [`Unreachable`] at once | the name is not known, with [`wait(false)`][wait] | no |
    /// | [`Unreachable`] in between | the peer that had the call left | perhaps |
    /// | [`Timeout`] | the peer has the call, and does not answer in time | perhaps |
    /// | [`PeerRestarted`] | the peer restarted while it had the call | perhaps |
    /// | [`CommandNotFound`] | the peer has no such command | no |
    /// | [`CommandFailed`] | the handler called [`Call::fail`], panicked, or did not answer | yes |
    /// | [`NotAllowed`] | the peer's [rules](crate::Builder::allow) do not let this node | no |
    /// | [`Refused`] | [`Call::refuse`] was called, or the peer takes no such call | perhaps |
    /// | [`Overloaded`] | too much is in flight, here or at the peer | no |
    /// | [`TooLarge`] | the arguments exceed `max_message`, here or at the peer | no |
    /// | [`TooManyValues`] | the arguments exceed the peer's `max_values` | no |
    /// | [`AnswerLost`] | no room for the answer, or it exceeds this node's limits | yes |
    /// | [`Json`] | the command answered with bytes, see [`CallBuilder::send_reply`] | yes |
    /// | [`Name`], [`Path`], [`Argument`] | the target, the path or the call is not valid | no |
    /// | [`WouldDeadlock`] | this is a [callback](crate#callbacks) | no |
    /// | [`Stopped`] | this node was stopped | perhaps |
    ///
    /// The limits that an answer may exceed are [`max_message`](crate::Limits::max_message) and
    /// [`max_values`](crate::Limits::max_values).
    ///
    /// Calls that are sent to Python nodes (feature `compat`) may end as
    /// [`Damaged`](Error::Damaged) as well: the connection was lost, and the command may have run.
    ///
    /// [`Unreachable`]: Error::Unreachable
    /// [`Timeout`]: Error::Timeout
    /// [`PeerRestarted`]: Error::PeerRestarted
    /// [`CommandNotFound`]: Error::CommandNotFound
    /// [`CommandFailed`]: Error::CommandFailed
    /// [`NotAllowed`]: Error::NotAllowed
    /// [`Refused`]: Error::Refused
    /// [`Overloaded`]: Error::Overloaded
    /// [`TooLarge`]: Error::TooLarge
    /// [`TooManyValues`]: Error::TooManyValues
    /// [`AnswerLost`]: Error::AnswerLost
    /// [`Json`]: Error::Json
    /// [`Name`]: Error::Name
    /// [`Path`]: Error::Path
    /// [`Argument`]: Error::Argument
    /// [`WouldDeadlock`]: Error::WouldDeadlock
    /// [`Stopped`]: Error::Stopped
    /// [`Call::fail`]: crate::Call::fail
    /// [`Call::refuse`]: crate::Call::refuse
    /// [wait]: CallBuilder::wait
    pub fn send(mut self) -> Result<Value, Error> {
        let (target, ask) = (self.single()?, self.ask()?);
        let payload = self.node.call_one(&target, ask, self.options)?;
        self.node.0.shared.value_of(payload)
    }

    /// Calls one node and returns at once. `done` is a [callback](crate#callbacks): it runs on the
    /// loop's thread, once, with what [`CallBuilder::send`] would have returned. An error here
    /// means that it never runs.
    ///
    /// Nothing but the node's limits bounds how many such calls are in flight
    /// ([`Limits::calls`](crate::Limits::calls) and
    /// [`Limits::call_bytes`](crate::Limits::call_bytes); beyond them this is
    /// [`Error::Overloaded`]), and the peer answers
    /// [`served_per_peer`](crate::Limits::served_per_peer) of them at a time, 1 024 by default. A
    /// program that makes many calls counts those in flight itself, for example with a semaphore
    /// that `done` releases. [`Node::cancel`] gives a call up.
    pub fn send_async(
        self,
        done: impl FnOnce(Result<Value, Error>) + Send + 'static,
    ) -> Result<CallId, Error> {
        let max_values = self.node.0.shared.max_values();
        self.begin_with(move |outcome: Outcome| {
            let text = outcome.and_then(Payload::into_json);
            done(text.and_then(|text| value_within(&text, max_values)));
        })
    }

    /// Begins the call of one node.
    pub(super) fn begin_with(
        mut self,
        done: impl FnOnce(Outcome) + Send + 'static,
    ) -> Result<CallId, Error> {
        let (target, ask) = (self.single()?, self.ask()?);
        let number = self
            .node
            .begin_one(&target, ask, self.options, Box::new(done))?;
        Ok(CallId(number))
    }

    /// Calls the targets and waits for all of them. The results are in the order of the targets,
    /// one for each, whichever answered first; but see [`CallBuilder::to_all`]. A target that
    /// answers with bytes is [`Error::Json`]: to take bytes, call each target by
    /// [`CallBuilder::send_reply_async`].
    ///
    /// # Errors
    ///
    /// What keeps the call from being sent at all; and with [`CallBuilder::raise_errors`], the
    /// first failure of a target. Each target's own failure is in its result, as in the table of
    /// [`CallBuilder::send`].
    ///
    /// The answers of all targets together may have
    /// [`message_bytes`](crate::Limits::message_bytes), 20 MiB by default, and hold four times
    /// [`max_values`](crate::Limits::max_values). An answer that comes when there is no more room
    /// is [`Error::AnswerLost`]: its command ran.
    pub fn send_all(mut self) -> Result<Vec<TargetResult>, Error> {
        let (targets, ask) = (self.targets()?, self.ask()?);
        let answers = self.node.call_many(targets, ask, self.options)?;
        let mut values = SeveralValues::new(self.node.0.shared.max_values());
        let results: Vec<_> = answers
            .into_iter()
            .map(|(node, outcome)| TargetResult {
                node,
                result: outcome.and_then(|payload| values.read(payload)),
            })
            .collect();
        if self.options.raise_errors
            && let Some(error) =
                first_failure(results.iter().filter_map(|r| r.result.as_ref().err()))
        {
            return Err(error);
        }
        Ok(results)
    }
}

fn to_text(value: &impl serde_core::Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|e| Error::Json(e.to_string()))
}
