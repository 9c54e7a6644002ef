//! What others ask of us: each call runs at most once.
//!
//! A call is known by its caller's instance and number. While it runs, and until the caller
//! confirms the answer or its deadline passes, the same call coming again, over whatever path, is
//! recognised and answered from memory. What was forgotten at its deadline is not run again even
//! when the caller's clock stood still meanwhile, as that of a suspended machine does: a call that
//! was sent before, from below the mark of what was forgotten, is refused. So is one of a caller whose mark
//! there was no room to keep.

use super::ask::{Ask, Unreadable};
use super::due::Due;
use super::evicted::Evicted;
use super::links::{Outlet, Source, Taken};
use super::stream::{Incoming, Outgoing};
use super::{Engine, LinkId, Now, Output, Phase, StreamId, Time, reason};
use crate::entropy::Entropy;
use crate::error::Error;
use crate::limits::{ASKED_ROOM, BODY_MAX};
use crate::name::NodeName;
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::ask::{self, AskKind};
use crate::wire::record::{Channel, Form, Settled, Status, encode_reply};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Callers whose marks are kept: 40 bytes each, and only of those who left calls unconfirmed.
const MARKS_MAX: usize = 1_024;

/// Bytes that a call's path and lengths may add to what is asked.
const PATH_ROOM: u64 = 512;

/// Answers kept for all callers together, in shares of one caller's.
const SHARES: usize = 4;

/// One caller may have as many calls as this part of what is free, so that others find room as well.
const PART_OF_FREE: usize = 8;

/// Answers that give way at a time, and of them those of one caller: whose they are is not looked for with each
/// call.
const EVICTED_AT_ONCE: usize = 256;
const EVICTED_OF_ONE: usize = 64;

/// How long it is not looked again for answers that could give way, where there were none.
const FRUITLESS: Duration = Duration::from_millis(100);

/// Room of an answer that is not worth giving back.
const SLACK: usize = 1_024;

/// A call of somebody: their instance, and their number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// Who asks.
    pub caller: Instance,
    /// The caller's number.
    pub number: u64,
}

/// A call to be answered with [`Engine::reply`]; also when it is late, since what is asked counts until then.
#[derive(Debug)]
pub struct Request {
    /// Which it is.
    pub id: RequestId,
    /// The caller's name.
    pub caller: NodeName,
    /// What is asked.
    pub ask: Ask,
    /// Whether the caller streams, and takes a stream: see [`Engine::accept_streams`].
    pub streams: bool,
    /// After this nobody waits; where there are streams, unless something moves.
    pub deadline: Time,
}

#[derive(Debug)]
enum State {
    /// What is asked is still coming.
    Collecting(AskKind, NodeName),
    Running,
    /// Running, and nobody waits.
    Withdrawn,
    /// Running, though its time is over.
    Expired,
    Done(Status, Vec<u8>),
}

/// Why a call is turned away. It does not run and is not remembered, so it may come again.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    MayHaveRun,
    TooLarge,
    Overloaded,
}

#[derive(Debug)]
struct Served {
    state: State,
    deadline: Time,
    /// The time by which it stands in the list of what is due; never after the deadline.
    listed: Time,
    timeout: Duration,
    streams: bool,
    /// Whether a program reads what the caller streams.
    reads: bool,
    /// Whether the answer waits for the link to drain.
    waits: bool,
    /// What the call takes until it is answered, in bytes.
    asked: usize,
    /// What the answer takes.
    kept: usize,
    /// Whether its caller has said goodbye since the call came last. The goodbye may be forged, so the answer
    /// is kept all the same.
    left: bool,
}

/// What waits for a link to drain.
#[derive(Clone, Copy, Debug)]
enum Waiting {
    Answer(u64),
    Refusal(u64, Refusal),
}

/// The calls of one caller.
#[derive(Debug, Default)]
struct Caller {
    calls: Table<u64, Box<Served>>,
    /// How many of them are answered.
    answered: usize,
    /// Where the first of them came from.
    source: Option<Source>,
    /// Bytes of what the calls ask that are not answered.
    asked: usize,
    /// Bytes of the answers kept.
    kept: usize,
    backlog: VecDeque<Waiting>,
}

impl Caller {
    fn is_needless(&self) -> bool {
        self.calls.is_empty()
            && !self
                .backlog
                .iter()
                .any(|w| matches!(w, Waiting::Refusal(..)))
    }

    /// Forgets answers that are not kept any more, of which some may be left in the backlog.
    fn prune_backlog(&mut self) {
        let calls = &self.calls;
        self.backlog.retain(|waiting| match waiting {
            Waiting::Answer(number) => calls.get(number).is_some_and(|served| served.waits),
            Waiting::Refusal(..) => true,
        });
    }
}

/// Calls that are not answered, and bytes of what they ask.
#[derive(Clone, Copy, Debug, Default)]
struct UnderWay {
    calls: usize,
    asked: usize,
}

impl UnderWay {
    fn add(&mut self, asked: usize) {
        self.calls += 1;
        self.asked += asked;
    }

    fn take_away(&mut self, asked: usize) {
        self.calls -= 1;
        self.asked -= asked;
    }
}

#[derive(Debug, Default)]
pub(super) struct Serving {
    callers: BTreeMap<Instance, Caller>,
    /// How many calls they have together, and bytes of the answers kept.
    count: usize,
    kept: usize,
    /// What is under way for all of them, and for those of each source.
    under_way: UnderWay,
    sources: Table<Source, UnderWay>,
    /// The highest number forgotten unconfirmed, of each caller, and when.
    marks: Table<Instance, (u64, Time)>,
    /// Callers whose marks there was no room for.
    evicted: Option<Box<Evicted>>,
    due: Due<RequestId>,
    /// Until when it is not looked for answers that could give way, for a caller that has so much or more.
    fruitless: (Time, usize),
}

/// Whether a call is remembered that is to be looked at then.
fn is_listed(callers: &BTreeMap<Instance, Caller>, at: Time, id: RequestId) -> bool {
    let served = callers
        .get(&id.caller)
        .and_then(|c| c.calls.get(&id.number));
    served.is_some_and(|served| served.listed == at)
}

impl Serving {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Callers that have not confirmed all that was answered.
    pub(super) fn unconfirmed(&self) -> Vec<Instance> {
        let answered = self.callers.iter().filter(|(_, c)| c.answered > 0);
        answered.map(|(instance, _)| *instance).collect()
    }

    /// Whether answers wait for a link to drain.
    pub(super) fn has_backlog(&self) -> bool {
        self.callers.values().any(|c| !c.backlog.is_empty())
    }

    /// No call can run out of time before this.
    pub(super) fn due(&self) -> Time {
        self.due.first()
    }

    fn add(&mut self, id: RequestId, source: Source, served: Served) {
        let caller = self.callers.entry(id.caller).or_default();
        let source = *caller.source.get_or_insert(source);
        let its = self.sources.or_insert_with(source, UnderWay::default);
        its.add(served.asked);
        self.under_way.add(served.asked);
        self.count += 1;
        self.due.insert(served.listed, id);
        caller.asked += served.asked;
        caller.calls.insert(id.number, Box::new(served));
    }

    fn forget(&mut self, id: RequestId) {
        let Some(caller) = self.callers.get_mut(&id.caller) else {
            return;
        };
        if let Some(served) = caller.calls.remove(&id.number) {
            caller.kept -= served.kept;
            caller.asked -= served.asked;
            self.kept -= served.kept;
            let source = caller.source;
            if caller.calls.is_empty() {
                caller.source = None;
            }
            match served.state {
                State::Done(..) => caller.answered -= 1,
                _ => self.not_under_way(source, served.asked),
            }
            self.count -= 1;
            let (count, callers) = (self.count, &self.callers);
            self.due.ended(count, |at, id| is_listed(callers, at, id));
        }
        let caller = self.callers.get(&id.caller);
        if caller.is_some_and(Caller::is_needless) {
            self.callers.remove(&id.caller);
        }
    }

    /// A call is answered, or forgotten before.
    fn not_under_way(&mut self, source: Option<Source>, asked: usize) {
        self.under_way.take_away(asked);
        if let Some(source) = source
            && let Some(its) = self.sources.get_mut(&source)
        {
            its.take_away(asked);
            if its.calls == 0 {
                self.sources.remove(&source);
            }
        }
    }

    /// Whether a caller has calls here, and they count there.
    pub(super) fn is_of_source(&self, caller: Instance, source: Source) -> bool {
        let its = self.callers.get(&caller);
        its.is_some_and(|c| c.source == Some(source))
    }

    /// Where the calls of a caller count, that has come from `source` now.
    fn source_of(&self, caller: Instance, source: Source) -> Source {
        let its = self.callers.get(&caller).and_then(|c| c.source);
        its.unwrap_or(source)
    }

    /// Takes in that a call is answered.
    fn done(&mut self, id: RequestId, status: Status, body: Vec<u8>, kept: usize) {
        let Some(caller) = self.callers.get_mut(&id.caller) else {
            return;
        };
        if let Some(served) = caller.calls.get_mut(&id.number) {
            let asked = std::mem::take(&mut served.asked);
            caller.asked -= asked;
            caller.kept += kept;
            self.kept += kept;
            caller.answered += 1;
            served.kept = kept;
            served.state = State::Done(status, body);
            let source = caller.source;
            self.not_under_way(source, asked);
        }
    }

    /// The oldest calls of a caller that are answered.
    fn oldest_answered(&self, caller: Instance, most: usize) -> Vec<u64> {
        let calls = self.callers.get(&caller).map(|c| c.calls.iter());
        let answered = |served: &Served| matches!(served.state, State::Done(..));
        let calls = calls.into_iter().flatten().filter(|(_, s)| answered(s));
        calls.take(most).map(|(number, _)| *number).collect()
    }

    /// Something of a call's streams passed: it has as long again.
    pub(super) fn moved(&mut self, now: Time, id: RequestId) {
        if let Some(served) = self.get_mut(id)
            && !matches!(served.state, State::Expired)
        {
            served.deadline = now + served.timeout;
        }
    }

    /// How long the caller still waits.
    pub(super) fn time_left(&mut self, now: Time, id: RequestId) -> Duration {
        self.get_mut(id)
            .map_or(Duration::ZERO, |s| s.deadline - now)
    }

    /// Whether a program reads what the caller streams.
    pub(super) fn reads(&mut self, id: RequestId) -> bool {
        self.get_mut(id).is_some_and(|served| served.reads)
    }

    /// The next call that may be over by now.
    fn next_due(&mut self, now: Time) -> Option<RequestId> {
        let callers = &self.callers;
        self.due.next(now, |at, id| is_listed(callers, at, id))
    }

    /// Remembers that a call was forgotten unconfirmed.
    fn mark(&mut self, now: Time, id: RequestId, entropy: &mut dyn Entropy) {
        if self.marks.len() >= MARKS_MAX
            && !self.marks.contains_key(&id.caller)
            && let Some(oldest) = self
                .marks
                .iter()
                .min_by_key(|(_, (_, when))| *when)
                .map(|(i, _)| *i)
        {
            self.marks.remove(&oldest);
            self.evicted
                .get_or_insert_with(|| Box::new(Evicted::new(entropy)))
                .insert(oldest);
        }
        let mark = self.marks.or_insert_with(id.caller, || (id.number, now));
        *mark = (mark.0.max(id.number), now);
    }

    /// Whether a call that is not remembered could have run before, if it was sent before.
    fn may_have_run(&self, id: RequestId) -> bool {
        let mark = self.marks.get(&id.caller);
        mark.is_some_and(|(mark, _)| id.number <= *mark)
            || self.evicted.as_ref().is_some_and(|e| e.may_hold(id.caller))
    }

    /// A caller has no session any more: calls that it was to be told of come again over another.
    pub(super) fn drop_refusals(&mut self, caller: Instance) {
        if let Some(its) = self.callers.get_mut(&caller) {
            its.backlog.retain(|w| matches!(w, Waiting::Answer(_)));
            if its.is_needless() {
                self.callers.remove(&caller);
            }
        }
    }

    fn get(&self, id: RequestId) -> Option<&Served> {
        self.callers
            .get(&id.caller)?
            .calls
            .get(&id.number)
            .map(|s| &**s)
    }

    fn get_mut(&mut self, id: RequestId) -> Option<&mut Served> {
        let caller = self.callers.get_mut(&id.caller)?;
        caller.calls.get_mut(&id.number).map(|s| &mut **s)
    }
}

impl Engine {
    /// A call came.
    pub(super) fn serve(
        &mut self,
        now: Now,
        link: LinkId,
        (number, form): (u64, Form),
        timeout_ms: u32,
        ask: ask::Ask<'_>,
    ) {
        let Some(source) = self.links.source(link) else {
            return;
        };
        let Some(session) = self.session(link) else {
            return;
        };
        session.used = now.at;
        session.last_call = session.last_call.max(Some(number));
        let id = RequestId {
            caller: session.peer,
            number,
        };
        let caller = session.name.clone();
        if self.serving.get(id).is_some() {
            return self.serve_again(now, link, id);
        }
        if self.stopping.is_some() {
            return;
        }
        let length = match ask {
            ask::Ask::Large { length, .. } => length,
            _ => 0,
        };
        let asked = match self.admit(now, id, source, form, ask.size()) {
            Ok(asked) => asked,
            Err(refusal) => return self.refuse_call(now, id, refusal),
        };
        let timeout =
            Duration::from_millis(timeout_ms.into()).min(self.core.config.limits.call_timeout);
        let deadline = now.at + timeout;
        let served = Served {
            state: match ask {
                ask::Ask::Large { kind, .. } if length > 0 => {
                    State::Collecting(kind, caller.clone())
                }
                _ => State::Running,
            },
            deadline,
            listed: deadline,
            timeout,
            streams: form.streams,
            reads: false,
            waits: false,
            asked,
            kept: 0,
            left: false,
        };
        self.serving.add(id, source, served);
        self.core.stats.served += 1;
        let stream = |channel| StreamId { call: id, channel };
        if form.streams {
            let (up, down) = (stream(Channel::Request), stream(Channel::Response));
            self.streams
                .add_incoming(up, id.caller, Incoming::default());
            self.streams
                .add_outgoing(down, id.caller, Outgoing::default());
            self.sync_incoming(now, link, up);
        }
        if length > 0 {
            let into = Incoming::expecting(length, self.stream_window());
            let id = stream(Channel::Ask);
            self.streams.add_incoming(id, id.call.caller, into);
            self.sync_incoming(now, link, id);
        } else {
            self.run(now, id, caller, Ask::copied(ask));
        }
    }

    /// A call came that is remembered: it does not run again.
    fn serve_again(&mut self, now: Now, link: LinkId, id: RequestId) {
        let Some(served) = self.serving.get_mut(id) else {
            return;
        };
        served.left = false;
        let (done, expired) = match served.state {
            State::Done(..) => (true, false),
            State::Expired => (false, true),
            _ => (false, false),
        };
        self.core.stats.served_again += 1;
        if expired {
            return self.refuse_call(now, id, Refusal::MayHaveRun);
        }
        // Its streams go on over this session.
        let (reads, stream) = (served.reads, |channel| StreamId { call: id, channel });
        self.sync_incoming(now, link, stream(Channel::Ask));
        self.resume_incoming(now, link, stream(Channel::Request), reads);
        // An answer that is still to come finds the newest path by itself.
        if done {
            self.send_reply(now, id);
        }
    }

    /// Whether a call may run that asks for something of `size` bytes; what it takes until it is answered.
    fn admit(
        &mut self,
        now: Now,
        id: RequestId,
        source: Source,
        form: Form,
        size: u64,
    ) -> Result<usize, Refusal> {
        if form.again && self.serving.may_have_run(id) {
            return Err(Refusal::MayHaveRun);
        }
        let max = self.core.config.limits.max_message as u64 + PATH_ROOM;
        let size = usize::try_from(size)
            .ok()
            .filter(|size| *size as u64 <= max);
        let asked = size.ok_or(Refusal::TooLarge)? + ASKED_ROOM;
        let source = self.serving.source_of(id.caller, source);
        if form.streams && !self.has_room_for_streams_of(2, id.caller, source)
            || !self.has_room_to_serve(now, id.caller, source, asked)
        {
            self.core.stats.overloaded += 1;
            return Err(Refusal::Overloaded);
        }
        Ok(asked)
    }

    /// Whether one more call of a caller finds room, where need be that of others' answers. What is under way
    /// can give no room, so it is shared among sources, and the share of a source among its callers: a member can
    /// invent any number of callers, but has few addresses.
    fn has_room_to_serve(
        &mut self,
        now: Now,
        caller: Instance,
        source: Source,
        asked: usize,
    ) -> bool {
        let (most, bytes) = (
            self.core.config.limits.served,
            self.core.config.limits.message_bytes,
        );
        let all = self.serving.under_way;
        let of_source = self.serving.sources.get(&source).copied();
        let of_source = of_source.unwrap_or_default();
        let taken = Taken {
            all: all.asked,
            source: of_source.asked,
            caller: self.serving.callers.get(&caller).map_or(0, |c| c.asked),
        };
        if of_source.calls >= most.saturating_sub(all.calls) || !taken.leaves_room(asked, bytes) {
            return false;
        }
        loop {
            let its = self.serving.callers.get(&caller);
            let held = its.map_or(0, |c| c.calls.len());
            if held >= self.core.config.limits.served_per_peer {
                return false;
            }
            if held
                < most
                    .saturating_sub(self.serving.count)
                    .div_ceil(PART_OF_FREE)
            {
                return true;
            }
            if !self.evict_answers(now, caller, |c| c.calls.len()) {
                return false;
            }
        }
    }

    /// Makes room by forgetting answers of those who have most: of callers without a session first, and of others
    /// if they have more than the one that the room is for. Calls are not run again for that: they are marked.
    fn evict_answers(
        &mut self,
        now: Now,
        room_for: Instance,
        weight: impl Fn(&Caller) -> usize,
    ) -> bool {
        let own = self.serving.callers.get(&room_for).map_or(0, &weight);
        if now.at < self.serving.fruitless.0 && own >= self.serving.fruitless.1 {
            return false;
        }
        let others = self.serving.callers.iter();
        let mut others: Vec<(bool, usize, Instance)> = others
            .filter(|(instance, caller)| **instance != room_for && caller.answered > 0)
            .map(|(i, c)| (matches!(self.path_to(*i), Outlet::None), weight(c), *i))
            .filter(|(away, its, _)| *away || *its > own)
            .collect();
        others.sort_unstable_by(|a, b| b.cmp(a));
        let mut evicted = 0;
        for (_, _, caller) in others {
            if evicted >= EVICTED_AT_ONCE {
                break;
            }
            for number in self.serving.oldest_answered(caller, EVICTED_OF_ONE) {
                let id = RequestId { caller, number };
                self.forget(id, None);
                self.serving.mark(now.at, id, &mut *self.core.entropy);
                evicted += 1;
            }
        }
        if evicted == 0 {
            self.serving.fruitless = (now.at + FRUITLESS, own);
        }
        evicted > 0
    }

    /// Tells a caller that a call does not run, now or when the link has drained. One that makes us say more of
    /// this than it reads is closed.
    fn refuse_call(&mut self, now: Now, id: RequestId, refusal: Refusal) {
        let link = match self.path_to(id.caller) {
            Outlet::Ready(link) => return self.send_refusal(now, link, id.number, refusal),
            Outlet::Full => self.best_session(id.caller),
            Outlet::None => None,
        };
        let Some(link) = link else { return };
        let most = 2 * self.core.config.limits.served_per_peer;
        let caller = self.serving.callers.entry(id.caller).or_default();
        if caller.backlog.len() >= most {
            caller.prune_backlog();
        }
        if caller.backlog.len() < most {
            caller
                .backlog
                .push_back(Waiting::Refusal(id.number, refusal));
        } else {
            self.core.stats.timed_out_silent += 1;
            self.cut(now, link);
        }
    }

    fn send_refusal(&mut self, now: Now, link: LinkId, number: u64, refusal: Refusal) {
        let max = (self.core.config.limits.max_message as u64).to_be_bytes();
        let (status, body): (Status, &[u8]) = match refusal {
            Refusal::MayHaveRun => (Status::Refused, b"it may have run already"),
            Refusal::TooLarge => (Status::TooLarge, &max),
            Refusal::Overloaded => (Status::Overloaded, b""),
        };
        self.send_record(now, link, |sequence, out| {
            encode_reply(sequence, number, status, body, out);
        });
    }

    /// All of what is asked is there.
    pub(super) fn ask_came(&mut self, now: Now, id: StreamId) {
        let (call, into) = (id.call, self.streams.incoming(id));
        let bytes = into.map(|into| (into.take_all(), into.failure().cloned()));
        self.streams.remove(id);
        let Some((bytes, failure)) = bytes else {
            return;
        };
        let Some(served) = self.serving.get_mut(call) else {
            return;
        };
        let State::Collecting(kind, caller) = &served.state else {
            return;
        };
        let (kind, caller) = (*kind, caller.clone());
        served.state = State::Running;
        match failure {
            None => self.run(now, call, caller, Ask::read(kind, bytes)),
            // Not as a failure of the command, which did not run.
            Some(e) => self.reply(now, call, Status::Refused, e.to_string().into_bytes()),
        }
    }

    /// Has a call answered, by whoever answers such.
    fn run(&mut self, now: Now, id: RequestId, caller: NodeName, ask: Result<Ask, Unreadable>) {
        let ask = match ask {
            Ok(Ask::Broadcast(broadcast)) => return self.heard_broadcast(now, id, broadcast),
            Ok(ask) => ask,
            Err(Unreadable::Path) => return self.reply(now, id, Status::NotFound, Vec::new()),
            Err(Unreadable::Malformed) => {
                let why = b"what was asked is malformed".to_vec();
                return self.reply(now, id, Status::Refused, why);
            }
        };
        let Some(served) = self.serving.get_mut(id) else {
            return;
        };
        let incoming = Request {
            id,
            caller,
            ask,
            streams: served.streams,
            deadline: served.deadline,
        };
        self.core.outputs.push_back(Output::Request(incoming));
    }

    /// Takes what the caller streams from now on, and may stream to it.
    pub fn accept_streams(&mut self, now: Now, call: RequestId) -> Result<(), Error> {
        let window = self.stream_window();
        let served = self.serving.get_mut(call);
        let served = served.ok_or_else(super::streams::call_is_over)?;
        if !served.streams {
            return Err(Error::Argument("the caller does not stream"));
        }
        if std::mem::replace(&mut served.reads, true) {
            return Err(Error::Argument("the streams were taken already"));
        }
        let id = StreamId {
            call,
            channel: Channel::Request,
        };
        let link = self.streams.incoming(id).and_then(|into| {
            into.accept(window);
            into.link
        });
        if let Some(link) = link {
            self.sync_incoming(now, link, id);
        }
        Ok(())
    }

    /// A call of ours to ourselves.
    pub(super) fn serve_locally(&mut self, number: u64, ask: Ask, deadline: Time) {
        let id = RequestId {
            caller: self.core.instance,
            number,
        };
        let caller = self.core.config.name.clone();
        self.core.outputs.push_back(Output::Request(Request {
            id,
            caller,
            ask,
            streams: false,
            deadline,
        }));
    }

    /// Whether somebody still waits for the answer to a request.
    pub fn is_wanted(&self, id: RequestId) -> bool {
        if self.is_foreign(id) {
            return self.is_foreign_wanted(id);
        }
        if id.caller == self.core.instance {
            return self.is_open(id.number);
        }
        let served = self.serving.get(id);
        served.is_some_and(|served| matches!(served.state, State::Running) && !served.left)
    }

    /// Answers a request. An answer that is late, or a second one, is counted and dropped. What the
    /// command streams is finished by it, or broken off if it failed.
    pub fn reply(&mut self, now: Now, id: RequestId, status: Status, body: Vec<u8>) {
        let most = match status {
            Status::Value => self.core.config.limits.max_message,
            _ => BODY_MAX,
        };
        let (status, body) = if body.len() > most {
            let text = format!("the answer has {} bytes, the limit is {most}", body.len());
            (Status::Failed, text.into_bytes())
        } else {
            (status, body)
        };
        if self.is_foreign(id) {
            return self.reply_foreign(id, status, body);
        }
        if id.caller == self.core.instance {
            return self.answered_locally(now, id.number, status, &body);
        }
        match self.serving.get(id).map(|served| &served.state) {
            Some(State::Running) => self.keep_answer(now, id, status, body),
            Some(State::Withdrawn) => self.forget(id, None),
            late => {
                if let Some(State::Expired) = late {
                    self.forget(id, None);
                }
                self.core.stats.replies_late += 1;
            }
        }
    }

    /// Remembers an answer, and sends it.
    fn keep_answer(&mut self, now: Now, id: RequestId, mut status: Status, mut body: Vec<u8>) {
        let large = body.len() > BODY_MAX;
        if !large && body.capacity() - body.len() > SLACK {
            body.shrink_to_fit();
        }
        let mut kept = if large { body.len() } else { body.capacity() };
        if !self.has_room_for_answer(now, id.caller, kept) {
            self.core.stats.overloaded += 1;
            // Not the status for a call that is turned away: this one ran.
            (status, body, kept) = (Status::AnswerLost, Vec::new(), 0);
        } else if large {
            let length = (body.len() as u64).to_be_bytes().to_vec();
            let out = Outgoing::whole(body, self.core.config.limits.chunk_size);
            let value = StreamId {
                call: id,
                channel: Channel::Value,
            };
            self.streams.add_outgoing(value, id.caller, out);
            (status, body) = (Status::Large, length);
        }
        if self.serving.get(id).is_some_and(|served| served.streams) {
            self.end_response(now, id, status, &body);
        }
        self.serving.done(id, status, body, kept);
        self.send_reply(now, id);
    }

    /// Whether an answer can be kept, where need be in the room of others'.
    fn has_room_for_answer(&mut self, now: Now, caller: Instance, kept: usize) -> bool {
        let limit = self.core.config.limits.reply_bytes;
        let its = self.serving.callers.get(&caller);
        if its.map_or(0, |c| c.kept) + kept > limit {
            return false;
        }
        while self.serving.kept + kept > limit * SHARES {
            if !self.evict_answers(now, caller, |c| c.kept) {
                return false;
            }
        }
        true
    }

    /// Ends what a command streams, as its answer says.
    fn end_response(&mut self, now: Now, id: RequestId, status: Status, body: &[u8]) {
        let down = StreamId {
            call: id,
            channel: Channel::Response,
        };
        match status {
            Status::Value | Status::Large => self.stream_finish(now, down),
            Status::AnswerLost => self.stream_abort(now, down, "the answer could not be kept"),
            _ => self.stream_abort(now, down, &reason(status, body)),
        }
    }

    /// Sends an answer from memory, now or when the link has drained. Without a link the caller
    /// will ask again.
    fn send_reply(&mut self, now: Now, id: RequestId) {
        match self.path_to(id.caller) {
            Outlet::Ready(link) => {
                // Lent out while the record is made.
                let Some(State::Done(status, body)) = self.take_done(id) else {
                    return;
                };
                self.send_record(now, link, |sequence, out| {
                    encode_reply(sequence, id.number, status, &body, out)
                });
                if let Some(served) = self.serving.get_mut(id) {
                    served.state = State::Done(status, body);
                }
                if let Some(session) = self.session(link) {
                    session.used = now.at;
                }
                if self.stopping.is_some() {
                    self.await_echo(now, link);
                }
            }
            Outlet::Full => {
                if let Some(caller) = self.serving.callers.get_mut(&id.caller)
                    && let Some(served) = caller.calls.get_mut(&id.number)
                    && !std::mem::replace(&mut served.waits, true)
                {
                    if caller.backlog.len() >= 4 * self.core.config.limits.served_per_peer {
                        caller.prune_backlog();
                    }
                    caller.backlog.push_back(Waiting::Answer(id.number));
                }
            }
            Outlet::None => {}
        }
    }

    fn take_done(&mut self, id: RequestId) -> Option<State> {
        let served = self.serving.get_mut(id)?;
        match served.state {
            State::Done(..) => Some(std::mem::replace(&mut served.state, State::Withdrawn)),
            _ => None,
        }
    }

    /// Sends answers and refusals that waited for the link to drain.
    pub(super) fn pump_replies(&mut self, now: Now, peer: Instance) {
        while let Outlet::Ready(link) = self.path_to(peer) {
            let Some(caller) = self.serving.callers.get_mut(&peer) else {
                return;
            };
            let Some(waiting) = caller.backlog.pop_front() else {
                caller.backlog = VecDeque::new();
                return;
            };
            let (number, refusal) = match waiting {
                Waiting::Answer(number) => (number, None),
                Waiting::Refusal(number, refusal) => (number, Some(refusal)),
            };
            if caller.is_needless() {
                self.serving.callers.remove(&peer);
            }
            let id = RequestId {
                caller: peer,
                number,
            };
            if let Some(refusal) = refusal {
                self.send_refusal(now, link, number, refusal);
            } else if let Some(served) = self.serving.get_mut(id)
                && std::mem::take(&mut served.waits)
            {
                self.send_reply(now, id);
            }
        }
    }

    /// The caller has these answers.
    pub(super) fn settle(&mut self, caller: Instance, settled: Settled<'_>) {
        for number in settled.iter() {
            let id = RequestId { caller, number };
            // One that still runs cannot be settled; a caller that says so is mistaken.
            let served = self.serving.get(id);
            if served.is_some_and(|served| matches!(served.state, State::Done(..))) {
                self.forget(id, None);
            }
        }
    }

    /// A call is over, and so are its streams.
    fn forget(&mut self, id: RequestId, why: Option<&str>) {
        let reads = self.serving.reads(id);
        self.serving.forget(id);
        self.end_streams(id, why, reads);
    }

    /// The caller no longer waits.
    pub(super) fn withdraw(&mut self, caller: Instance, number: u64) {
        let id = RequestId { caller, number };
        match self.serving.get_mut(id) {
            Some(served) if matches!(served.state, State::Running) => {
                served.state = State::Withdrawn;
                let reads = served.reads;
                self.end_streams(id, Some("the caller gave up"), reads);
            }
            Some(served) if matches!(served.state, State::Done(..) | State::Collecting(..)) => {
                self.forget(id, None)
            }
            _ => {}
        }
    }

    /// A caller has said goodbye: nobody waits for what still runs. Answers are kept, also those to come, in case
    /// the goodbye was not its own.
    pub(super) fn withdraw_all(&mut self, now: Now, caller: Instance) {
        let its = self.serving.callers.get(&caller).map(|c| c.calls.keys());
        for number in its.into_iter().flatten().copied().collect::<Vec<_>>() {
            let id = RequestId { caller, number };
            match self.serving.get_mut(id) {
                Some(served) if matches!(served.state, State::Running) => {
                    served.left = true;
                    let reads = served.reads;
                    self.end_streams(id, Some("the caller has said goodbye"), reads);
                }
                _ => self.stop_collecting(now, id),
            }
        }
    }

    /// What a call asks for will not come any more, if some of it was still to come: that takes no room from now
    /// on. Should the caller be there after all, it is told.
    pub(super) fn stop_collecting(&mut self, now: Now, id: RequestId) {
        let Some(served) = self.serving.get_mut(id) else {
            return;
        };
        if let State::Collecting(..) = served.state {
            served.state = State::Running;
            self.end_streams(id, Some("the caller is gone"), false);
            let why = b"it did not run, because the connection was lost for too long".to_vec();
            self.reply(now, id, Status::Refused, why);
        }
    }

    pub(super) fn tick_serving(&mut self, now: Now) {
        if self.phase == Phase::Stopped {
            return;
        }
        while let Some(id) = self.serving.next_due(now.at) {
            let Some(served) = self.serving.get_mut(id) else {
                continue;
            };
            if served.deadline > now.at {
                // Its streams have moved meanwhile.
                served.listed = served.deadline;
                let listed = served.listed;
                self.serving.due.insert(listed, id);
                continue;
            }
            self.serving.mark(now.at, id, &mut *self.core.entropy);
            self.expire(id);
        }
    }

    /// A call's time is over. What the program still works on counts until it is answered.
    fn expire(&mut self, id: RequestId) {
        let why = Some("the caller's time is over");
        match self.serving.get_mut(id) {
            Some(served) if matches!(served.state, State::Running | State::Withdrawn) => {
                served.state = State::Expired;
                let reads = served.reads;
                self.end_streams(id, why, reads);
            }
            _ => self.forget(id, why),
        }
    }
}
