//! Calling others: one, a list, or everyone.

use super::Node;
use super::shared::{Completion, Shared};
use super::slot::Slot;
use crate::engine::{Ask, CallNumber, Path, PeerInfo, Terms};
use crate::error::Error;
use crate::json;
use crate::name::{CommandPath, NodeName};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a call waits, unless told otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// How many targets of one call are asked at a time, unless told otherwise.
pub const MAX_IN_FLIGHT: usize = 64;

/// Whom a call is for.
#[derive(Clone, Debug)]
pub(crate) enum Targets {
    /// These.
    List(Vec<NodeName>),
    /// Every peer that is known when the call begins.
    All,
    /// Those of them that speak our own protocol.
    Native,
}

/// How a call is to be carried out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) timeout: Duration,
    /// Whether to wait for a name that is not known yet.
    pub(crate) wait: bool,
    pub(crate) max_in_flight: usize,
    /// Whether the first failure ends the whole.
    pub(crate) raise_errors: bool,
}

impl Options {
    pub(super) fn terms(self, streams: bool) -> Terms {
        Terms {
            timeout: self.timeout,
            wait: self.wait,
            streams,
        }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            timeout: TIMEOUT,
            wait: true,
            max_in_flight: MAX_IN_FLIGHT,
            raise_errors: false,
        }
    }
}

/// One target's outcome, as bytes: JSON for a command, anything for a message.
pub(crate) type RawAnswer = (NodeName, Result<Vec<u8>, Error>);
type Done = Box<dyn FnOnce(Vec<RawAnswer>) + Send>;

/// A command or message for several targets, a bounded number of them at a time.
struct FanOut {
    shared: Arc<Shared>,
    ask: Ask,
    options: Options,
    progress: Mutex<Progress>,
}

struct Progress {
    targets: Vec<NodeName>,
    results: Vec<Option<Result<Vec<u8>, Error>>>,
    /// The next target to ask.
    next: usize,
    /// The call of each target, while it is under way and its number is noted.
    calls: Vec<Option<CallNumber>>,
    /// How many are under way.
    in_flight: usize,
    over: bool,
    done: Option<Done>,
}

impl FanOut {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins what may be begun, on whichever thread there is room for it.
    fn advance(self: &Arc<Self>) {
        loop {
            let (index, target) = {
                let mut p = self.lock();
                let ended = p.over || p.done.is_none();
                if ended || p.in_flight >= self.options.max_in_flight {
                    break;
                }
                let index = p.next;
                if index == p.targets.len() {
                    break;
                }
                p.next += 1;
                p.in_flight += 1;
                (index, p.targets[index].clone())
            };
            let this = self.clone();
            let completion = Completion::Chore(Box::new(move |outcome| this.ended(index, outcome)));
            let begun = self.shared.begin(
                &target,
                self.ask.clone(),
                self.options.terms(false),
                completion,
            );
            let mut p = self.lock();
            match begun {
                // It may have ended on another thread meanwhile, and all of them with it.
                Ok(number) if p.results.get(index).is_some_and(Option::is_none) => {
                    p.calls[index] = Some(number);
                    let over = p.over;
                    drop(p);
                    if over {
                        self.shared.cancel(number);
                    }
                }
                Ok(_) => {}
                Err(e) => {
                    drop(p);
                    self.note(index, Err(e));
                }
            }
        }
        self.finish_if_over();
    }

    fn ended(self: &Arc<Self>, index: usize, outcome: Result<Vec<u8>, Error>) {
        self.note(index, outcome);
        self.advance();
    }

    /// Notes one target's outcome. If the whole is over with it, the others are cancelled.
    fn note(&self, index: usize, outcome: Result<Vec<u8>, Error>) {
        let mut p = self.lock();
        let ends = self.options.raise_errors && outcome.is_err() && !p.over;
        p.over |= ends;
        p.in_flight -= 1;
        p.calls[index] = None;
        p.results[index] = Some(outcome);
        let cancelled: Vec<_> = p.calls.iter().flatten().filter(|_| ends).copied().collect();
        drop(p);
        for number in cancelled {
            self.shared.cancel(number);
        }
    }

    fn finish_if_over(&self) {
        let mut p = self.lock();
        if p.in_flight > 0 || !(p.over || p.next == p.targets.len()) {
            return;
        }
        let Some(done) = p.done.take() else { return };
        let targets = std::mem::take(&mut p.targets);
        p.calls = Vec::new();
        let results = std::mem::take(&mut p.results);
        drop(p);
        let outcome = |r: Option<_>| r.unwrap_or(Err(Error::Cancelled));
        done(
            targets
                .into_iter()
                .zip(results.into_iter().map(outcome))
                .collect(),
        );
    }
}

impl Node {
    pub(crate) fn targets(&self, targets: Targets) -> Vec<NodeName> {
        match targets {
            Targets::List(list) => list,
            Targets::All => self.peers().into_iter().map(|p| p.name).collect(),
            Targets::Native => {
                let native = |p: &PeerInfo| !matches!(p.path, Some(Path::Compat(_)));
                let peers = self.peers().into_iter();
                peers.filter(native).map(|p| p.name).collect()
            }
        }
    }

    /// Begins a call of several; `done` is given every target's outcome, on the loop's thread.
    pub(crate) fn begin_many(
        &self,
        targets: Targets,
        ask: Ask,
        options: Options,
        done: Done,
    ) -> Result<(), Error> {
        let shared = self.0.shared.clone();
        let done = move |answers| shared.defer(Box::new(move || done(answers)));
        // `done` holds the node only until the last answer.
        self.fan_out(targets, ask, options, Box::new(done))
    }

    /// Asks several; `done` is given every target's outcome, on any thread, and must not wait.
    fn fan_out(
        &self,
        targets: Targets,
        ask: Ask,
        options: Options,
        done: Done,
    ) -> Result<(), Error> {
        self.0.shared.check()?;
        if options.max_in_flight == 0 {
            return Err(Error::Argument("max_in_flight must be at least 1"));
        }
        // Of peers that are known when the call begins, those that leave meanwhile are not waited for.
        let wait = options.wait && matches!(targets, Targets::List(_));
        let options = Options { wait, ..options };
        let targets = self.targets(targets);
        let fan_out = Arc::new(FanOut {
            shared: self.0.shared.clone(),
            ask,
            options,
            progress: Mutex::new(Progress {
                results: targets.iter().map(|_| None).collect(),
                next: 0,
                calls: vec![None; targets.len()],
                targets,
                in_flight: 0,
                over: false,
                done: Some(done),
            }),
        });
        fan_out.advance();
        Ok(())
    }

    /// Calls several and waits for all.
    pub(crate) fn call_many(
        &self,
        targets: Targets,
        ask: Ask,
        options: Options,
    ) -> Result<Vec<RawAnswer>, Error> {
        self.0.shared.check_may_wait()?;
        let slot = Slot::new();
        let (fill, shared) = (slot.clone(), self.0.shared.clone());
        self.fan_out(
            targets,
            ask,
            options,
            Box::new(move |answers| shared.fill(&fill, answers)),
        )?;
        Ok(self.0.shared.wait_for(&slot))
    }

    /// Calls one and waits.
    pub(crate) fn call_one(
        &self,
        target: &NodeName,
        ask: Ask,
        options: Options,
    ) -> Result<Vec<u8>, Error> {
        let shared = &self.0.shared;
        let slot = Slot::new();
        shared.begin(
            target,
            ask,
            options.terms(false),
            Completion::Slot(slot.clone()),
        )?;
        shared.wait_for(&slot)
    }

    /// Begins a call of one; `done` runs on the loop's thread, once. An error here means that it
    /// never will.
    pub(crate) fn begin_one(
        &self,
        target: &NodeName,
        ask: Ask,
        options: Options,
        done: Box<dyn FnOnce(Result<Vec<u8>, Error>) + Send>,
    ) -> Result<CallNumber, Error> {
        self.0.shared.begin(
            target,
            ask,
            options.terms(false),
            Completion::Callback(done),
        )
    }
}

/// A call under way, which can be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId(pub(crate) CallNumber);

/// What one of several targets answered.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetResult {
    /// The target.
    pub node: NodeName,
    /// Its answer.
    pub result: Result<Value, Error>,
}

/// A call in the making; see [`Node::call`].
#[must_use = "a call does nothing before it is sent"]
pub struct CallBuilder<'a> {
    node: &'a Node,
    path: String,
    args: Vec<Value>,
    kwargs: Map<String, Value>,
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
            targets: None,
            options: Options::default(),
        }
    }

    /// Adds a positional argument.
    pub fn arg(mut self, value: impl Into<Value>) -> Self {
        self.args.push(value.into());
        self
    }

    /// Adds a named argument.
    pub fn kwarg(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.kwargs.insert(name.to_owned(), value.into());
        self
    }

    /// The node to call.
    pub fn to(self, name: &str) -> Self {
        self.to_each([name])
    }

    /// The nodes to call.
    pub fn to_each<S: AsRef<str>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        let list: Result<_, _> = names
            .into_iter()
            .map(|n| NodeName::new(n.as_ref()))
            .collect();
        self.targets = Some(list.map(Targets::List));
        self
    }

    /// Every peer that is known when the call is sent.
    pub fn to_all(mut self) -> Self {
        self.targets = Some(Ok(Targets::All));
        self
    }

    /// How long to wait for each target; [`TIMEOUT`] unless set, at most a day.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// Whether a name that is not known yet is waited for, which it is unless set.
    pub fn wait(mut self, wait: bool) -> Self {
        self.options.wait = wait;
        self
    }

    /// How many targets are asked at a time; [`MAX_IN_FLIGHT`] unless set.
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

    pub(super) fn target_names(&self) -> Result<Vec<NodeName>, Error> {
        let missing = Err(Error::Argument("a call needs a target"));
        let targets = self.targets.clone().unwrap_or(missing)?;
        Ok(self.node.targets(targets))
    }

    pub(super) fn ask(&self) -> Result<Ask, Error> {
        Ok(Ask::Command {
            path: CommandPath::new(&self.path)?,
            args: to_text(&self.args)?,
            kwargs: to_text(&self.kwargs)?,
        })
    }

    pub(super) fn single(&self) -> Result<NodeName, Error> {
        match self.targets.clone() {
            Some(Ok(Targets::List(list))) if list.len() == 1 => Ok(list[0].clone()),
            Some(Err(e)) => Err(e),
            _ => Err(Error::Argument(
                "send is for one target; use send_all for several",
            )),
        }
    }

    /// Calls one node and waits for its value.
    ///
    /// # Errors
    ///
    /// Every way a call can end but a value; [`Error::AnswerLost`] if the value has more than
    /// [`max_values`](crate::Limits::max_values); and [`Error::WouldDeadlock`] inside a callback.
    pub fn send(self) -> Result<Value, Error> {
        let text = self
            .node
            .call_one(&self.single()?, self.ask()?, self.options)?;
        self.node.0.shared.value_of(&text)
    }

    /// Calls one node; `done` runs on the loop's thread. An error here means that it never will.
    pub fn send_async(
        self,
        done: impl FnOnce(Result<Value, Error>) + Send + 'static,
    ) -> Result<CallId, Error> {
        let max_values = self.node.0.shared.max_values();
        let done = move |outcome: Result<Vec<u8>, Error>| {
            done(outcome.and_then(|text| answered(&text, max_values)))
        };
        let number =
            self.node
                .begin_one(&self.single()?, self.ask()?, self.options, Box::new(done))?;
        Ok(CallId(number))
    }

    /// Calls the targets and waits for all of them.
    ///
    /// # Errors
    ///
    /// What keeps the call from being sent at all; and with [`CallBuilder::raise_errors`], the first
    /// failure of a target.
    pub fn send_all(self) -> Result<Vec<TargetResult>, Error> {
        let targets = self
            .targets
            .clone()
            .unwrap_or(Err(Error::Argument("a call needs a target")))?;
        let answers = self.node.call_many(targets, self.ask()?, self.options)?;
        let results: Vec<_> = answers
            .into_iter()
            .map(|(node, outcome)| TargetResult {
                node,
                result: outcome.and_then(|text| self.node.0.shared.value_of(&text)),
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

/// The failure that ended a call of several: the others were cancelled for it.
pub(crate) fn first_failure<'a>(errors: impl Iterator<Item = &'a Error> + Clone) -> Option<Error> {
    let cause = errors.clone().find(|e| **e != Error::Cancelled);
    cause.or_else(|| errors.clone().next()).cloned()
}

impl Shared {
    /// The value that a command answered.
    pub(super) fn value_of(&self, text: &[u8]) -> Result<Value, Error> {
        answered(text, self.max_values())
    }
}

pub(super) fn answered(text: &[u8], max_values: usize) -> Result<Value, Error> {
    json::parse(text, max_values).map_err(|e| match e {
        // The command ran, which the other error would deny.
        Error::TooManyValues(_) => Error::AnswerLost("it holds more values than max_values"),
        e => e,
    })
}

fn to_text(value: &impl serde_core::Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|e| Error::Json(e.to_string()))
}
