//! Calling several nodes, a bounded number of them at a time.

use super::options::Options;
use super::shared::Shared;
use super::targets::is_left_out;
use super::turns::slot::Slot;
use super::turns::{Completion, Outcome};
use super::{Node, Targets};
use crate::engine::{Ask, CallNumber};
use crate::error::Error;
use crate::name::NodeName;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What one of several targets answered.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetResult {
    /// The target.
    pub node: NodeName,
    /// Its answer.
    pub result: Result<Value, Error>,
}

/// One target's outcome.
pub(crate) type RawAnswer = (NodeName, Outcome);
type Done = Box<dyn FnOnce(Vec<RawAnswer>) + Send>;

/// A command or message for several targets, a bounded number of them at a time.
struct ManyCalls {
    shared: Arc<Shared>,
    ask: Ask,
    options: Options,
    /// Whether it is for every peer.
    to_all: bool,
    progress: Mutex<Progress>,
}

struct Progress {
    targets: Vec<NodeName>,
    results: Vec<Option<Outcome>>,
    /// Bytes of the answers among them.
    bytes: usize,
    /// The next target to ask.
    next: usize,
    /// Targets before it that found no room at this node, and are asked again when a call ends.
    put_back: Vec<usize>,
    /// The call of each target, while it is under way and its number is noted.
    calls: Vec<Option<CallNumber>>,
    /// How many are under way.
    in_flight: usize,
    over: bool,
    done: Option<Done>,
}

impl Progress {
    /// The next target to ask and its place, if one may be asked now; it is under way then.
    fn begin_next(&mut self, max_in_flight: usize) -> Option<(usize, NodeName)> {
        let ended = self.over || self.done.is_none();
        if ended || self.in_flight >= max_in_flight {
            return None;
        }
        let index = self.put_back.pop().unwrap_or(self.next);
        let target = self.targets.get(index)?.clone();
        self.next = self.next.max(index + 1);
        self.in_flight += 1;
        Some((index, target))
    }

    /// Puts a target back for which this node has no room. Returns whether another call is under
    /// way, at whose end the target is asked again.
    fn put_back(&mut self, index: usize) -> bool {
        let others = self.in_flight > 1;
        if others {
            self.in_flight -= 1;
            self.put_back.push(index);
        }
        others
    }

    /// Keeps a target's outcome. An answer for which there is no room in `most` bytes is lost.
    fn keep(&mut self, index: usize, outcome: Outcome, most: usize) {
        let outcome =
            outcome.and_then(
                |answer| match self.bytes.saturating_add(answer.bytes().len()) {
                    bytes if bytes <= most => {
                        self.bytes = bytes;
                        Ok(answer)
                    }
                    _ => Err(Error::AnswerLost(
                        "the answers of all targets are larger than message_bytes",
                    )),
                },
            );
        self.results[index] = Some(outcome);
    }

    fn is_over(&self) -> bool {
        let asked_all = self.next == self.targets.len() && self.put_back.is_empty();
        self.in_flight == 0 && (self.over || asked_all)
    }
}

impl ManyCalls {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_next(&self) -> Option<(usize, NodeName)> {
        self.lock().begin_next(self.options.max_in_flight)
    }

    /// Begins what may be begun, on whichever thread there is room for it.
    fn advance(self: &Arc<Self>) {
        while let Some((index, target)) = self.begin_next() {
            let this = self.clone();
            let ended = Box::new(move |outcome| this.ended(index, outcome));
            let begun = self.shared.turns.begin(
                &target,
                self.ask.clone(),
                self.options.terms(false),
                Completion::Continuation(ended),
            );
            let mut p = self.lock();
            match begun {
                // It may have ended on another thread meanwhile, and all of them with it.
                Ok(number) if p.results.get(index).is_some_and(Option::is_none) => {
                    p.calls[index] = Some(number);
                    let over = p.over;
                    drop(p);
                    if over {
                        self.shared.turns.cancel(number);
                    }
                }
                Ok(_) => {}
                // This node's own limit is no answer of the target.
                Err(Error::Overloaded(_)) if !p.over && p.put_back(index) => break,
                Err(e) => {
                    drop(p);
                    self.note(index, Err(e));
                }
            }
        }
        self.finish_if_over();
    }

    fn ended(self: &Arc<Self>, index: usize, outcome: Outcome) {
        self.note(index, outcome);
        self.advance();
    }

    /// Notes one target's outcome. If the whole is over with it, the others are cancelled.
    fn note(&self, index: usize, outcome: Outcome) {
        let mut p = self.lock();
        p.keep(index, outcome, self.shared.message_bytes());
        let failed = matches!(&p.results[index], Some(r @ Err(_)) if !is_left_out(self.to_all, r));
        let ends = self.options.raise_errors && failed && !p.over;
        p.over |= ends;
        p.in_flight -= 1;
        p.calls[index] = None;
        let cancelled: Vec<_> = p.calls.iter().flatten().filter(|_| ends).copied().collect();
        drop(p);
        for number in cancelled {
            self.shared.turns.cancel(number);
        }
    }

    fn finish_if_over(&self) {
        let mut p = self.lock();
        if !p.is_over() {
            return;
        }
        let Some(done) = p.done.take() else { return };
        let targets = std::mem::take(&mut p.targets);
        p.calls = Vec::new();
        let results = std::mem::take(&mut p.results);
        drop(p);
        let outcome = |r: Option<_>| r.unwrap_or(Err(Error::Cancelled));
        let answers = targets.into_iter().zip(results.into_iter().map(outcome));
        let counted = answers.filter(|(_, outcome)| !is_left_out(self.to_all, outcome));
        done(counted.collect());
    }
}

impl Node {
    /// Begins a call of several; `done` is given every target's outcome, on the loop's thread.
    pub(crate) fn begin_many(
        &self,
        targets: Targets,
        ask: Ask,
        options: Options,
        done: Done,
    ) -> Result<(), Error> {
        let shared = self.0.shared.clone();
        let done = move |answers| shared.turns.defer(Box::new(move || done(answers)));
        // `done` holds the node only until the last answer.
        self.begin_calls(targets, ask, options, Box::new(done))
    }

    /// Asks several; `done` is given every target's outcome, on any thread, and must not wait.
    fn begin_calls(
        &self,
        targets: Targets,
        ask: Ask,
        options: Options,
        done: Done,
    ) -> Result<(), Error> {
        self.0.shared.turns.check()?;
        if options.max_in_flight == 0 {
            return Err(Error::Argument("max_in_flight must be at least 1"));
        }
        let wait = options.wait && targets.may_be_waited_for();
        let options = Options { wait, ..options };
        let to_all = targets.are_all();
        let targets = self.targets(targets);
        let calls = Arc::new(ManyCalls {
            shared: self.0.shared.clone(),
            ask,
            options,
            to_all,
            progress: Mutex::new(Progress {
                results: targets.iter().map(|_| None).collect(),
                bytes: 0,
                next: 0,
                put_back: Vec::new(),
                calls: vec![None; targets.len()],
                targets,
                in_flight: 0,
                over: false,
                done: Some(done),
            }),
        });
        calls.advance();
        Ok(())
    }

    /// Calls several and waits for all.
    pub(crate) fn call_many(
        &self,
        targets: Targets,
        ask: Ask,
        options: Options,
    ) -> Result<Vec<RawAnswer>, Error> {
        self.0.shared.turns.check_may_wait()?;
        let slot = Slot::new();
        let (fill, shared) = (slot.clone(), self.0.shared.clone());
        self.begin_calls(
            targets,
            ask,
            options,
            Box::new(move |answers| shared.turns.fill(&fill, answers)),
        )?;
        Ok(self.0.shared.turns.wait_for(&slot))
    }
}

/// The failure that ended a call of several: the others were cancelled for it.
pub(crate) fn first_failure<'a>(errors: impl Iterator<Item = &'a Error> + Clone) -> Option<Error> {
    let cause = errors.clone().find(|e| **e != Error::Cancelled);
    cause.or_else(|| errors.clone().next()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Payload;

    #[test]
    fn answers_are_kept_as_long_as_there_is_room_for_all_of_them() {
        let mut progress = Progress {
            targets: Vec::new(),
            results: vec![None; 4],
            bytes: 0,
            next: 0,
            put_back: Vec::new(),
            calls: Vec::new(),
            in_flight: 0,
            over: false,
            done: None,
        };
        for (index, bytes) in [60, 50, 40].into_iter().enumerate() {
            progress.keep(index, Ok(Payload::Data(vec![b' '; bytes])), 100);
        }
        progress.keep(3, Err(Error::Timeout), 100);
        assert_eq!(progress.results[0], Some(Ok(Payload::Data(vec![b' '; 60]))));
        assert!(matches!(
            progress.results[1],
            Some(Err(Error::AnswerLost(_)))
        ));
        let fits = Payload::Data(vec![b' '; 40]);
        assert_eq!(progress.results[2], Some(Ok(fits)));
        assert_eq!(progress.results[3], Some(Err(Error::Timeout)));
    }
}
