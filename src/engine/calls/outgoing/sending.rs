//! How calls wait, are sent, and wait again.

use super::{Calls, Carried, Failed, State};
use crate::engine::calls::ask::Command;
use crate::engine::context::Ctx;
use crate::engine::{CallNumber, LinkId, Output, Time};
use crate::error::Error;
use crate::name::NodeName;
use crate::wire::Instance;
use crate::wire::record::{Form, encode_call};
use std::collections::BTreeSet;

/// A call that waits to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting<'a> {
    pub(crate) target: &'a NodeName,
    /// The one instance that it may be sent to, if one may have it already.
    pub(crate) bound: Option<Instance>,
    /// Whether programs stream along it.
    pub(crate) streams: bool,
}

/// An instance that is gone for good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone<'a> {
    pub(crate) instance: Instance,
    pub(crate) name: &'a NodeName,
    /// Whether another instance has taken its place.
    pub(crate) restarted: bool,
    /// Whether no other instance goes by the name.
    pub(crate) was_last: bool,
}

impl Calls {
    /// Whether a call waits for a target.
    pub(crate) fn waits_for(&self, name: &NodeName) -> bool {
        self.waiting.contains_key(name)
    }

    /// A call that could not be sent stands in the line of its target from now on.
    pub(crate) fn wait_in_line(&mut self, number: u64) {
        if let Some(call) = self.open.get(&number) {
            self.waiting
                .or_insert_with(call.target.clone(), BTreeSet::new)
                .insert(number);
        }
    }

    /// The first call from a number on that stands in the line of a target.
    pub(crate) fn next_waiting(&self, target: &NodeName, from: u64) -> Option<u64> {
        self.waiting.get(target)?.range(from..).next().copied()
    }

    /// A call leaves the line of its target, unless it waits to be sent again.
    pub(crate) fn leave_line_if_sent(&mut self, number: u64, target: &NodeName) {
        if self.waiting(number).is_none() {
            self.leave_line(number, target);
        }
    }

    pub(super) fn leave_line(&mut self, number: u64, target: &NodeName) {
        if let Some(line) = self.waiting.get_mut(target) {
            line.remove(&number);
            if line.is_empty() {
                self.waiting.remove(target);
            }
        }
    }

    /// A call, if it waits to be sent.
    pub(crate) fn waiting(&self, number: u64) -> Option<Waiting<'_>> {
        let call = self.open.get(&number).filter(|call| call.is_waiting())?;
        Some(Waiting {
            target: &call.target,
            bound: match call.state {
                State::Bound { instance, .. } => Some(instance),
                _ => None,
            },
            streams: call.terms.streams,
        })
    }

    /// The encoding of what a call asks, if that is too large for a record and the call was never
    /// sent. It is then to go on a stream of its own.
    pub(crate) fn set_apart(&mut self, number: u64) -> Option<Vec<u8>> {
        self.open.get_mut(&number)?.carried.set_apart()
    }

    /// Appends the record of a call. `settled` are calls that the callee may forget.
    pub(crate) fn encode(
        &self,
        now: Time,
        number: u64,
        sequence: u64,
        settled: &[u64],
        out: &mut Vec<u8>,
    ) {
        let Some(call) = self.open.get(&number) else {
            return;
        };
        // Rounded up: the callee must not forget the call before this node gives it up.
        let timeout_ms = (call.deadline - now).as_millis() + 1;
        let form = Form {
            again: matches!(call.state, State::Bound { .. }),
            streams: call.terms.streams,
        };
        encode_call(
            sequence,
            (number, form),
            u32::try_from(timeout_ms).unwrap_or(u32::MAX),
            settled,
            &call.carried.as_wire(),
            out,
        );
    }

    /// A call was sent to `instance` over `link`.
    pub(crate) fn sent(
        &mut self,
        ctx: &mut Ctx<'_>,
        number: u64,
        instance: Instance,
        link: LinkId,
    ) {
        let Some(call) = self.open.get_mut(&number) else {
            return;
        };
        match &mut call.state {
            State::Bound { link: over, .. } => {
                *over = Some(link);
                ctx.stats.calls_retried += 1;
            }
            state => {
                *state = State::Bound {
                    instance,
                    link: Some(link),
                    value: None,
                }
            }
        }
    }

    /// The link that a call was sent over, if that has not ended.
    pub(crate) fn link_of(&self, number: u64) -> Option<LinkId> {
        match self.open.get(&number)?.state {
            State::Bound { link, .. } => link,
            _ => None,
        }
    }

    /// A link has ended: the calls that were sent over it wait for another one to the same
    /// instance. All calls are looked at, since links end seldom, and a list for each link would
    /// cost every call.
    pub(crate) fn link_ended(&mut self, ended: LinkId) {
        for (number, call) in &mut self.open {
            if call.is_sent_over(ended)
                && let State::Bound { link, .. } = &mut call.state
            {
                *link = None;
                self.waiting
                    .or_insert_with(call.target.clone(), BTreeSet::new)
                    .insert(*number);
            }
        }
    }

    /// The calls that end because an instance is gone: those that it may have, and those that any
    /// instance may have but that do not wait for one to come.
    pub(crate) fn failed_by(&self, gone: Gone<'_>) -> Vec<Failed> {
        let unreachable = || Error::Unreachable(gone.name.to_string());
        let failed = self.open.iter().filter_map(|(number, call)| {
            let why = match call.state {
                State::Bound { instance, .. } if instance == gone.instance => {
                    match gone.restarted {
                        true => Error::PeerRestarted,
                        false => unreachable(),
                    }
                }
                State::Waiting
                    if gone.was_last && !call.terms.wait && call.target == *gone.name =>
                {
                    unreachable()
                }
                _ => return None,
            };
            let number = CallNumber(*number);
            Some(Failed { number, why })
        });
        failed.collect()
    }

    /// Hands a call out, to a peer that speaks the protocol of PeerBase 0.7.1. The error is how the
    /// call is to end at once.
    pub(crate) fn hand_out(&mut self, ctx: &mut Ctx<'_>, number: CallNumber) -> Result<(), Error> {
        let Some(call) = self.open.get_mut(&number.0) else {
            return Ok(());
        };
        call.state = State::Compat;
        let command = match &call.carried {
            Carried::Whole(ask) if !call.terms.streams => Command::copied(ask.as_wire()),
            _ => None,
        };
        let Some(command) = command else {
            let target = &call.target;
            let why = format!(
                "{target} speaks an older protocol, which has only commands, and only JSON"
            );
            return Err(Error::Refused(why));
        };
        ctx.outputs.push_back(Output::CompatCall {
            number,
            target: call.target.clone(),
            path: command.path,
            args: command.args,
            kwargs: command.kwargs,
        });
        Ok(())
    }
}
