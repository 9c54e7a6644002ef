//! The calls of peers: each runs at most once.
//!
//! A call is known by the instance of its caller and the number that this gave it. While it runs,
//! and until the caller confirms the answer or the call's time is over, the same call coming again,
//! over whatever path, is recognised and answered from memory. What was forgotten at its deadline
//! does not run again even then: see [`forgotten`].
//!
//! This part knows no links and no streams. It says whether a call may run ([`Serving::admit`],
//! [`Serving::room`]), remembers what became of it ([`served`]), and puts the record of an answer
//! together ([`Serving::encode_answer`]). A call that is over is handed back as a [`CallOver`],
//! since its streams are over with it.

mod caller;
mod evicted;
mod eviction;
mod forgotten;
mod quotas;
mod served;
#[cfg(test)]
mod tests;

pub(crate) use caller::Waiting;
pub(crate) use quotas::{Need, Room};
pub(crate) use served::{Again, Collected, Order, Served, Stage, Then, Worth};

use super::ask::{Ask, Request};
use crate::due::Due;
use crate::engine::context::Ctx;
use crate::engine::ids::{CallOver, call_is_over};
use crate::engine::{Output, RequestId, Source, Time};
use crate::error::Error;
use crate::identity::PublicKey;
use crate::limits::{ASKED_ROOM, Limits};
use crate::name::{NodeName, Role};
use crate::wire::Instance;
use crate::wire::record::{Status, encode_reply};
use caller::Caller;
use forgotten::Forgotten;
use quotas::{Held, Quotas};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that a call's path and lengths may add to what is asked.
const PATH_ROOM: u64 = 512;

/// Why a call that is not remembered has no answer. Unless the reason says otherwise the call does
/// not run, and may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    MayHaveRun,
    TooLarge,
    Overloaded,
    /// The rules of this node do not allow it.
    NotAllowed,
    /// It ran, and its answer has given way to those of others.
    AnswerLost,
}

impl Refusal {
    /// Appends the record that tells the caller.
    pub(crate) fn encode(self, number: u64, sequence: u64, limits: &Limits, out: &mut Vec<u8>) {
        let most = (limits.max_message as u64).to_be_bytes();
        let (status, body): (Status, &[u8]) = match self {
            Refusal::MayHaveRun => (Status::Refused, b"it may have run already"),
            Refusal::TooLarge => (Status::TooLarge, &most),
            Refusal::Overloaded => (Status::Overloaded, b""),
            Refusal::NotAllowed => (Status::NotAllowed, b""),
            Refusal::AnswerLost => (Status::AnswerLost, b""),
        };
        encode_reply(sequence, number, status, body, out);
    }
}

/// Where a call comes from.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) source: Source,
    /// The caller's public key.
    pub(crate) key: PublicKey,
    /// The roles that its certificate says.
    pub(crate) roles: Arc<[Role]>,
}

/// All calls of peers that are remembered.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    callers: BTreeMap<Instance, Caller>,
    quotas: Quotas,
    forgotten: Forgotten,
    due: Due<RequestId>,
}

/// Whether a call is remembered that stands in the list of what is due with this time.
fn is_listed(callers: &BTreeMap<Instance, Caller>, at: Time, id: RequestId) -> bool {
    let caller = callers.get(&id.caller);
    let served = caller.and_then(|caller| caller.calls.get(&id.number));
    served.is_some_and(|served| served.listed() == at)
}

/// What is remembered.
impl Serving {
    pub(crate) fn len(&self) -> usize {
        self.quotas.remembered()
    }

    fn get(&self, id: RequestId) -> Option<&Served> {
        let caller = self.callers.get(&id.caller)?;
        caller.calls.get(&id.number).map(|served| &**served)
    }

    fn get_mut(&mut self, id: RequestId) -> Option<&mut Served> {
        let caller = self.callers.get_mut(&id.caller)?;
        caller.calls.get_mut(&id.number).map(|served| &mut **served)
    }

    fn held(&self, caller: Instance) -> Held {
        let caller = self.callers.get(&caller);
        caller.map_or(Held::default(), |caller| caller.held)
    }

    /// The calls of one caller.
    pub(crate) fn calls_of(&self, caller: Instance) -> Vec<RequestId> {
        let numbers = self.callers.get(&caller).map(|its| its.calls.keys());
        let numbers = numbers.into_iter().flatten();
        let id = |number: &u64| RequestId {
            caller,
            number: *number,
        };
        numbers.map(id).collect()
    }

    /// The callers that have not confirmed all answers.
    pub(crate) fn unconfirmed(&self) -> Vec<Instance> {
        let callers = self.callers.iter();
        let unconfirmed = callers.filter(|(_, caller)| caller.held.answered > 0);
        unconfirmed.map(|(instance, _)| *instance).collect()
    }

    /// Whether the calls of a caller count for this source.
    pub(crate) fn is_of_source(&self, caller: Instance, source: Source) -> bool {
        let its = self.callers.get(&caller);
        its.is_some_and(|caller| caller.source == Some(source))
    }

    /// The source that the calls of a caller count for, if any call of it is remembered. The caller
    /// may have no session at the moment.
    pub(crate) fn source_of_calls(&self, caller: Instance) -> Option<Source> {
        self.callers.get(&caller)?.source
    }

    /// The source that the calls of a caller count for, which has come from `source` now.
    pub(crate) fn source_of(&self, caller: Instance, source: Source) -> Source {
        self.source_of_calls(caller).unwrap_or(source)
    }

    /// Remembers a call that is to be carried out.
    pub(crate) fn add(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: RequestId,
        Sender { source, key, roles }: Sender,
        mut served: Served,
    ) {
        let caller = self.callers.entry(id.caller).or_default();
        (caller.key, caller.roles) = (Some(key), roles);
        let source = *caller.source.get_or_insert(source);
        let asked = served.asked().unwrap_or(0);
        if served.is_collecting() {
            caller.streamed = ctx.now.at;
            served.list_anew(ctx.now.at, ctx.now.at + ctx.config.limits.frame);
        }
        self.quotas.call_came(source, asked);
        self.due.insert(served.listed(), id);
        caller.held.calls += 1;
        caller.held.asked += asked;
        caller.calls.insert(id.number, Box::new(served));
        ctx.stats.served += 1;
    }

    /// Forgets a call. Its streams are over with it.
    pub(crate) fn forget(&mut self, id: RequestId, why: Option<&'static str>) -> CallOver<'static> {
        let mut over = CallOver {
            call: id,
            why,
            reads: false,
        };
        let Some(caller) = self.callers.get_mut(&id.caller) else {
            return over;
        };
        if let Some(served) = caller.calls.remove(&id.number) {
            over.reads = served.reads();
            let source = caller.source;
            if caller.calls.is_empty() {
                caller.source = None;
            }
            caller.held.calls -= 1;
            if let Some(asked) = served.asked() {
                caller.held.asked -= asked;
                self.quotas.not_under_way(source, asked);
            }
            if let Some(answer) = served.answer() {
                caller.held.answered -= 1;
                caller.held.kept -= answer.kept;
                self.quotas.answer_forgotten(answer.kept);
            }
            self.quotas.call_forgotten();
        }
        if caller.is_needless() {
            self.callers.remove(&id.caller);
        }
        let callers = &self.callers;
        let live = self.quotas.remembered();
        self.due.ended(live, |at, id| is_listed(callers, at, id));
        over
    }

    /// No call can run out of time before this.
    pub(crate) fn due(&self) -> Time {
        self.due.first()
    }

    /// The next call whose time is over by now, or that has stalled. Of one whose streams have
    /// moved meanwhile the deadline is listed anew.
    pub(crate) fn next_expired(&mut self, ctx: &mut Ctx<'_>) -> Option<Expired> {
        let now = ctx.now.at;
        loop {
            let callers = &self.callers;
            let id = self.due.next(now, |at, id| is_listed(callers, at, id))?;
            let stalls = self.stalls_at(id, ctx.config.limits.frame);
            let has_stalled = stalls <= now;
            let Some(served) = self.get_mut(id) else {
                continue;
            };
            let most = if has_stalled { Time::NEVER } else { stalls };
            match served.list_anew(now, most) {
                None => return Some(Expired::Over(self.expire(ctx, id))),
                Some(listed) => self.due.insert(listed, id),
            }
            if has_stalled {
                return Some(Expired::Stalled(id));
            }
        }
    }

    /// A call's time is over: its streams are over. What the program still works on is remembered
    /// until it is answered.
    fn expire(&mut self, ctx: &mut Ctx<'_>, id: RequestId) -> CallOver<'static> {
        let why = Some("the caller's time is over");
        self.forgotten.mark(ctx.now.at, id, ctx.entropy);
        let served = self.get_mut(id);
        let (then, reads) = served.map_or((Then::Forget, false), |s| (s.expire(), s.reads()));
        match then {
            Then::Forget => self.forget(id, why),
            Then::EndStreams | Then::Nothing => CallOver {
                call: id,
                why,
                reads,
            },
        }
    }

    /// When a call of which some is still to come has stalled: its caller has streamed nothing for
    /// `most`. Whichever of its calls it streams along, since they take turns.
    fn stalls_at(&self, id: RequestId, most: Duration) -> Time {
        let caller = self.callers.get(&id.caller);
        let collecting = caller.filter(|caller| {
            let served = caller.calls.get(&id.number);
            served.is_some_and(|served| served.is_collecting())
        });
        collecting.map_or(Time::NEVER, |caller| caller.streamed + most)
    }

    /// A caller streams along one of its calls.
    pub(crate) fn streamed(&mut self, now: Time, caller: Instance) {
        if let Some(caller) = self.callers.get_mut(&caller) {
            caller.streamed = now;
        }
    }

    /// Something of a call's streams has moved: it has as long again.
    pub(crate) fn moved(&mut self, now: Time, id: RequestId) {
        if let Some(served) = self.get_mut(id) {
            served.moved(now);
        }
    }

    /// How long the caller still waits.
    pub(crate) fn time_left(&self, now: Time, id: RequestId) -> Duration {
        let deadline = self.get(id).map(Served::deadline);
        deadline.map_or(Duration::ZERO, |deadline| deadline - now)
    }

    /// Whether a program reads what the caller streams.
    pub(crate) fn reads(&self, id: RequestId) -> bool {
        self.get(id).is_some_and(Served::reads)
    }
}

/// How calls come, run, and are given up.
impl Serving {
    /// What a call is that came again, and whether a program reads what its caller streams. `None`
    /// if it is not remembered.
    pub(crate) fn came_again(&mut self, ctx: &mut Ctx<'_>, id: RequestId) -> Option<CameAgain> {
        let served = self.get_mut(id)?;
        ctx.stats.served_again += 1;
        Some(CameAgain {
            again: served.came_again(),
            reads: served.reads(),
        })
    }

    /// Whether a call that is not remembered may run, as far as what it asks decides that: `size`
    /// is in bytes, and `again` says whether it was sent before. Gives the bytes that it takes
    /// until it is answered.
    pub(crate) fn admit(
        &self,
        id: RequestId,
        again: bool,
        size: u64,
        limits: &Limits,
    ) -> Result<usize, Refusal> {
        if again && self.forgotten.may_have_run(id) {
            return Err(Refusal::MayHaveRun);
        }
        let most = limits.max_message as u64 + PATH_ROOM;
        match usize::try_from(size) {
            Ok(bytes) if size <= most => Ok(bytes + ASKED_ROOM),
            _ => Err(Refusal::TooLarge),
        }
    }

    /// Whether there is room for what a caller needs.
    pub(crate) fn room(&self, caller: Instance, need: Need, limits: &Limits) -> Room {
        self.quotas.room(need, self.held(caller), limits)
    }

    /// Hands a call to the program.
    pub(crate) fn hand_over(&self, ctx: &mut Ctx<'_>, id: RequestId, caller: NodeName, ask: Ask) {
        if let Some((served, from)) = self.get(id).zip(self.callers.get(&id.caller)) {
            ctx.outputs.push_back(Output::Request(Request {
                id,
                caller,
                key: from.key,
                roles: from.roles.clone(),
                ask,
                streams: served.may_stream(),
                deadline: served.deadline(),
            }));
        }
    }

    /// Whether a call is a large command whose path has not come yet.
    pub(crate) fn awaits_path(&self, id: RequestId) -> bool {
        self.get(id).is_some_and(Served::awaits_path)
    }

    /// The path of a large command has come.
    pub(crate) fn path_came(&mut self, id: RequestId) {
        if let Some(served) = self.get_mut(id) {
            served.path_came();
        }
    }

    /// No more of what a call asks will come, if some of it was still to come.
    pub(crate) fn collected(&mut self, id: RequestId) -> Option<Collected> {
        self.get_mut(id)?.collected()
    }

    /// The program takes what the caller streams from now on. The error says why it may not.
    pub(crate) fn read(&mut self, id: RequestId) -> Result<(), Error> {
        let served = self.get_mut(id).ok_or_else(call_is_over)?;
        if !served.may_stream() {
            return Err(Error::Argument("the caller does not stream"));
        }
        if served.read() {
            return Err(Error::Argument("the streams were taken already"));
        }
        Ok(())
    }

    /// Whether the caller waits for the answer to a call.
    pub(crate) fn is_wanted(&self, id: RequestId) -> bool {
        self.get(id).is_some_and(Served::is_wanted)
    }

    /// The caller does not wait for a call any more. Its streams are over, unless they were before.
    pub(crate) fn withdraw(&mut self, id: RequestId) -> Option<CallOver<'static>> {
        let served = self.get_mut(id)?;
        match served.gave_up() {
            Then::Nothing => None,
            Then::Forget => Some(self.forget(id, None)),
            Then::EndStreams => Some(CallOver {
                call: id,
                why: Some("the caller gave up"),
                reads: served.reads(),
            }),
        }
    }

    /// The caller has said goodbye: it does not wait for what still runs. The answer is kept all
    /// the same, in case the goodbye was not its own. `None` if the call does not run.
    pub(crate) fn caller_left(&mut self, id: RequestId) -> Option<CallOver<'static>> {
        let served = self.get_mut(id)?;
        served.caller_left().then(|| CallOver {
            call: id,
            why: Some("the caller has said goodbye"),
            reads: served.reads(),
        })
    }
}

/// How calls are answered.
impl Serving {
    /// What an answer that the program gives now is worth.
    pub(crate) fn worth_of_answer(&mut self, id: RequestId) -> Worth {
        let served = self.get_mut(id);
        served.map_or(Worth::Late, Served::worth_of_answer)
    }

    /// Whether the call may stream both ways.
    pub(crate) fn may_stream(&self, id: RequestId) -> bool {
        self.get(id).is_some_and(Served::may_stream)
    }

    /// Keeps the answer to a call, which takes `kept` bytes, until the caller confirms it.
    pub(crate) fn keep_answer(
        &mut self,
        id: RequestId,
        status: Status,
        body: Vec<u8>,
        kept: usize,
    ) {
        let Some(caller) = self.callers.get_mut(&id.caller) else {
            return;
        };
        if let Some(served) = caller.calls.get_mut(&id.number)
            && let Some(asked) = served.asked()
        {
            served.set_answer(status, body, kept);
            caller.held.asked -= asked;
            caller.held.kept += kept;
            caller.held.answered += 1;
            self.quotas.answer_kept(kept);
            self.quotas.not_under_way(caller.source, asked);
        }
    }

    /// If the answer to a call is a value, its caller is told instead that the answer is lost.
    pub(crate) fn lose_value(&mut self, id: RequestId) {
        if let Some(caller) = self.callers.get_mut(&id.caller)
            && let Some(served) = caller.calls.get_mut(&id.number)
        {
            let kept = served.lose_value();
            caller.held.kept -= kept;
            self.quotas.answer_forgotten(kept);
        }
    }

    /// Whether the answer to a call is kept, and nothing is streamed along the call beside it.
    pub(crate) fn owes_answer_only(&self, id: RequestId) -> bool {
        let served = self.get(id);
        served.is_some_and(|served| served.answer().is_some() && !served.may_stream())
    }

    /// Appends the record of the answer to a call, if the answer is kept.
    pub(crate) fn encode_answer(&self, id: RequestId, sequence: u64, out: &mut Vec<u8>) -> bool {
        let answer = self.get(id).and_then(Served::answer);
        if let Some(answer) = answer {
            encode_reply(sequence, id.number, answer.status, &answer.body, out);
        }
        answer.is_some()
    }

    /// The caller has confirmed the answer to a call. One that still runs cannot be confirmed: a
    /// caller that says so is mistaken.
    pub(crate) fn confirmed(&mut self, id: RequestId) -> Option<CallOver<'static>> {
        self.get(id)?.answer()?;
        Some(self.forget(id, None))
    }

    /// The answer to a call waits for the caller's link to drain.
    pub(crate) fn queue_answer(&mut self, id: RequestId, limits: &Limits) {
        if let Some(caller) = self.callers.get_mut(&id.caller)
            && let Some(served) = caller.calls.get_mut(&id.number)
            && served.answer().is_some()
            && !served.set_waits(true)
        {
            // With the refusals of half as many, there is room for each answer that is kept.
            caller.queue(Waiting::Answer(id.number), 4 * limits.served_per_peer);
        }
    }

    /// A refusal waits for the caller's link to drain. False if the caller makes this node say more
    /// of that than it reads.
    pub(crate) fn queue_refusal(
        &mut self,
        id: RequestId,
        refusal: Refusal,
        limits: &Limits,
    ) -> bool {
        let caller = self.callers.entry(id.caller).or_default();
        let waiting = Waiting::Refusal(id.number, refusal);
        caller.queue(waiting, 2 * limits.served_per_peer)
    }

    /// Takes what has waited for the longest for the caller's link to drain. An answer is given
    /// only if it still waits.
    pub(crate) fn next_in_backlog(&mut self, caller: Instance) -> Option<Waiting> {
        loop {
            let its = self.callers.get_mut(&caller)?;
            let next = its.next_waiting();
            let is_due = match next {
                Some(Waiting::Answer(number)) => {
                    let served = its.calls.get_mut(&number);
                    served.is_some_and(|served| served.set_waits(false))
                }
                Some(Waiting::Refusal(..)) | None => true,
            };
            if its.is_needless() {
                self.callers.remove(&caller);
            }
            if is_due {
                return next;
            }
        }
    }

    /// Whether answers or refusals wait for a link to drain.
    pub(crate) fn has_backlog(&self) -> bool {
        self.callers.values().any(Caller::has_backlog)
    }

    /// Whether answers or refusals for a caller wait for its link to drain.
    pub(crate) fn has_backlog_for(&self, caller: Instance) -> bool {
        self.callers.get(&caller).is_some_and(Caller::has_backlog)
    }

    /// There is no session with a caller any more: the calls that it was to be told of come again
    /// over another one.
    pub(crate) fn drop_refusals(&mut self, caller: Instance) {
        if let Some(its) = self.callers.get_mut(&caller) {
            its.drop_refusals();
            if its.is_needless() {
                self.callers.remove(&caller);
            }
        }
    }
}

/// A call whose time is over, or that has stalled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    /// Its time is over, and so are its streams.
    Over(CallOver<'static>),
    /// Some of what it asks is still to come, and nothing of it came for too long.
    Stalled(RequestId),
}

/// A call that is remembered came again.
pub(crate) struct CameAgain {
    pub(crate) again: Again,
    /// Whether a program reads what its caller streams.
    pub(crate) reads: bool,
}
