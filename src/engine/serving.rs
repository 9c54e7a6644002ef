//! What others ask of us: each call runs at most once.
//!
//! A call is known by its caller's instance and number. While it runs, and until the caller
//! confirms the answer or its deadline passes, the same call coming again, over whatever path, is
//! recognised and answered from memory. What was forgotten at its deadline is not run again even
//! when the caller's clock stood still meanwhile, as that of a suspended machine does: a call that
//! was sent before, from below the mark of what was forgotten, is refused.

use super::ask::Ask;
use super::sending::Outlet;
use super::stream::{Incoming, Outgoing};
use super::{Broadcast, Engine, LinkId, Now, Output, Phase, StreamId, Time, reason};
use crate::error::Error;
use crate::limits::BODY_MAX;
use crate::name::{CommandPath, NodeName};
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::ask::{self, AskKind};
use crate::wire::record::{Channel, Form, Settled, Status, encode_reply};
use std::collections::VecDeque;
use std::time::Duration;

/// Callers whose marks are kept: 40 bytes each, and only of those who left calls unconfirmed.
const MARKS_MAX: usize = 1_024;

/// Bytes that a call's path and lengths may add to what is asked.
const PATH_ROOM: u64 = 512;

/// Answers kept for all callers together, in shares of one caller's.
const SHARES: usize = 4;

/// A call of somebody: their instance, and their number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// Who asks.
    pub caller: Instance,
    /// The caller's number.
    pub number: u64,
}

/// A call to be answered with [`Engine::reply`].
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
    Done(Status, Vec<u8>),
}

#[derive(Debug)]
struct Served {
    state: State,
    deadline: Time,
    timeout: Duration,
    streams: bool,
    /// Whether a program reads what the caller streams.
    reads: bool,
    /// Bytes of the answer.
    kept: usize,
}

/// The calls of one caller.
#[derive(Debug, Default)]
struct Caller {
    calls: Table<u64, Served>,
    /// Bytes of the answers kept.
    bytes: usize,
    /// Answers that wait for the link to drain.
    backlog: VecDeque<u64>,
}

#[derive(Debug)]
pub(super) struct Serving {
    callers: Table<Instance, Caller>,
    /// The highest number forgotten unconfirmed, of each caller, and when.
    marks: Table<Instance, (u64, Time)>,
    /// Bytes of all answers kept.
    bytes: usize,
    due: Time,
}

impl Default for Serving {
    fn default() -> Serving {
        Serving {
            callers: Table::default(),
            marks: Table::default(),
            bytes: 0,
            due: Time::NEVER,
        }
    }
}

impl Serving {
    pub(super) fn len(&self) -> usize {
        self.callers.values().map(|c| c.calls.len()).sum()
    }

    /// No call can run out of time before this.
    pub(super) fn due(&self) -> Time {
        self.due
    }

    fn forget(&mut self, id: RequestId) {
        let Some(caller) = self.callers.get_mut(&id.caller) else {
            return;
        };
        if let Some(served) = caller.calls.remove(&id.number) {
            caller.bytes -= served.kept;
            self.bytes -= served.kept;
        }
        if caller.calls.is_empty() {
            self.callers.remove(&id.caller);
        }
    }

    /// Something of a call's streams passed: it has as long again.
    pub(super) fn moved(&mut self, now: Time, id: RequestId) {
        if let Some(served) = self.get_mut(id) {
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

    /// Remembers that a call was forgotten unconfirmed.
    fn mark(&mut self, now: Time, id: RequestId) {
        if self.marks.len() >= MARKS_MAX
            && !self.marks.contains_key(&id.caller)
            && let Some(oldest) = self
                .marks
                .iter()
                .min_by_key(|(_, (_, when))| *when)
                .map(|(i, _)| *i)
        {
            self.marks.remove(&oldest);
        }
        let mark = self.marks.or_insert_with(id.caller, || (id.number, now));
        *mark = (mark.0.max(id.number), now);
    }

    fn get_mut(&mut self, id: RequestId) -> Option<&mut Served> {
        self.callers.get_mut(&id.caller)?.calls.get_mut(&id.number)
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
        if let Some(served) = self.serving.get_mut(id) {
            let done = matches!(served.state, State::Done(..));
            self.stats.served_again += 1;
            // Its streams go on over this session.
            let (reads, stream) = (served.reads, |channel| StreamId { call: id, channel });
            self.sync_incoming(now, link, stream(Channel::Ask));
            self.resume_incoming(now, link, stream(Channel::Request), reads);
            // An answer that is still to come finds the newest path by itself.
            if done {
                self.send_reply(now, id);
            }
            return;
        }
        let length = match ask {
            ask::Ask::Large { length, .. } => length,
            _ => 0,
        };
        if let Err((status, body)) = self.admit(id, form, length) {
            // Not remembered: it did not run, so it may come again.
            return self.send_record(now, link, |sequence, out| {
                encode_reply(sequence, number, status, &body, out);
            });
        }
        let timeout = Duration::from_millis(timeout_ms.into()).min(self.config.limits.call_timeout);
        let deadline = now.at + timeout;
        let served = Served {
            state: match ask {
                ask::Ask::Large { kind, .. } => State::Collecting(kind, caller.clone()),
                _ => State::Running,
            },
            deadline,
            timeout,
            streams: form.streams,
            reads: false,
            kept: 0,
        };
        self.serving
            .callers
            .or_insert_with(id.caller, Caller::default)
            .calls
            .insert(number, served);
        self.serving.due = self.serving.due.min(deadline);
        self.stats.served += 1;
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
            self.run(now, id, caller, ask);
        }
    }

    /// Whether a call may run, or how it is turned away.
    fn admit(&mut self, id: RequestId, form: Form, length: u64) -> Result<(), (Status, Vec<u8>)> {
        let mark = self.serving.marks.get(&id.caller);
        if form.again && mark.is_some_and(|(mark, _)| id.number <= *mark) {
            return Err((Status::Refused, b"it may have run already".to_vec()));
        }
        let limits = &self.config.limits;
        let max = limits.max_message as u64;
        if length > max + PATH_ROOM {
            return Err((Status::TooLarge, max.to_be_bytes().to_vec()));
        }
        let held = self.serving.callers.get(&id.caller);
        let held = held.map_or(0, |c| c.calls.len());
        if held >= limits.served_per_peer
            || form.streams && !self.has_room_for_streams(2, Some(id.caller))
            || length > 0 && !self.has_room_for_message(length, id.caller)
        {
            self.stats.overloaded += 1;
            return Err((Status::Overloaded, Vec::new()));
        }
        Ok(())
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
        match (failure, ask::Ask::decode(kind, &bytes)) {
            (None, Ok(ask)) => self.run(now, call, caller, ask),
            (failure, _) => {
                let why = failure.map_or("what was asked is malformed".into(), |e| e.to_string());
                self.reply(now, call, Status::Failed, why.into_bytes());
            }
        }
    }

    /// Has a call answered, by whoever answers such.
    fn run(&mut self, now: Now, id: RequestId, caller: NodeName, ask: ask::Ask<'_>) {
        let ask = match ask {
            ask::Ask::Message(data) => Ask::Message(data.to_vec()),
            ask::Ask::Command { path, args, kwargs } => match CommandPath::new(path) {
                Ok(path) => Ask::Command {
                    path,
                    args: args.to_vec(),
                    kwargs: kwargs.to_vec(),
                },
                Err(_) => return self.reply(now, id, Status::NotFound, Vec::new()),
            },
            ask::Ask::Broadcast(b) => match Broadcast::read(&b) {
                Some(broadcast) => return self.heard_broadcast(now, id, broadcast),
                None => return self.reply(now, id, Status::Refused, b"malformed".to_vec()),
            },
            ask::Ask::Large { .. } => return,
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
        self.outputs.push_back(Output::Request(incoming));
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
            caller: self.instance,
            number,
        };
        let caller = self.config.name.clone();
        self.outputs.push_back(Output::Request(Request {
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
        if id.caller == self.instance {
            return self.is_open(id.number);
        }
        let served = self
            .serving
            .callers
            .get(&id.caller)
            .and_then(|c| c.calls.get(&id.number));
        matches!(
            served,
            Some(Served {
                state: State::Running,
                ..
            })
        )
    }

    /// Answers a request. An answer that is late, or a second one, is counted and dropped. What the
    /// command streams is finished by it, or broken off if it failed.
    pub fn reply(&mut self, now: Now, id: RequestId, status: Status, body: Vec<u8>) {
        let limits = &self.config.limits;
        let most = match status {
            Status::Value => limits.max_message,
            _ => BODY_MAX,
        };
        let (mut status, mut body) = if body.len() > most {
            let text = format!("the answer has {} bytes, the limit is {most}", body.len());
            (Status::Failed, text.into_bytes())
        } else {
            (status, body)
        };
        if self.is_foreign(id) {
            return self.reply_foreign(id, status, body);
        }
        if id.caller == self.instance {
            return self.answered_locally(now, id.number, status, &body);
        }
        let limit = limits.reply_bytes;
        let total = self.serving.bytes;
        let Some(caller) = self.serving.callers.get_mut(&id.caller) else {
            self.stats.replies_late += 1;
            return;
        };
        let full = caller.bytes + body.len() > limit || total + body.len() > limit * SHARES;
        let Some(served) = caller.calls.get_mut(&id.number) else {
            self.stats.replies_late += 1;
            return;
        };
        match served.state {
            State::Running => {}
            State::Withdrawn => return self.forget(id, None),
            _ => {
                self.stats.replies_late += 1;
                return;
            }
        }
        if full {
            self.stats.overloaded += 1;
            (status, body) = (Status::Overloaded, Vec::new());
        }
        served.kept = body.len();
        caller.bytes += body.len();
        self.serving.bytes += body.len();
        let streams = served.streams;
        if body.len() > BODY_MAX {
            let length = (body.len() as u64).to_be_bytes().to_vec();
            let out = Outgoing::whole(&body, self.config.limits.chunk_size);
            let value = StreamId {
                call: id,
                channel: Channel::Value,
            };
            self.streams.add_outgoing(value, id.caller, out);
            (status, body) = (Status::Large, length);
        }
        let why = streams.then(|| reason(status, &body));
        served.state = State::Done(status, body);
        if let Some(why) = why {
            let down = StreamId {
                call: id,
                channel: Channel::Response,
            };
            match status {
                Status::Value | Status::Large => self.stream_finish(now, down),
                _ => self.stream_abort(now, down, &why),
            }
        }
        self.send_reply(now, id);
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
            }
            Outlet::Full => {
                if let Some(caller) = self.serving.callers.get_mut(&id.caller)
                    && !caller.backlog.contains(&id.number)
                {
                    caller.backlog.push_back(id.number);
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

    /// Sends answers that waited for the link to drain.
    pub(super) fn pump_replies(&mut self, now: Now, peer: Instance) {
        while matches!(self.path_to(peer), Outlet::Ready(_)) {
            let Some(caller) = self.serving.callers.get_mut(&peer) else {
                return;
            };
            let Some(number) = caller.backlog.pop_front() else {
                return;
            };
            self.send_reply(
                now,
                RequestId {
                    caller: peer,
                    number,
                },
            );
        }
    }

    /// The caller has these answers.
    pub(super) fn settle(&mut self, caller: Instance, settled: Settled<'_>) {
        for number in settled.iter() {
            let id = RequestId { caller, number };
            // One that still runs cannot be settled; a caller that says so is mistaken.
            if matches!(
                self.serving.get_mut(id),
                Some(Served {
                    state: State::Done(..),
                    ..
                })
            ) {
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

    pub(super) fn tick_serving(&mut self, now: Now) {
        if self.phase == Phase::Stopped {
            return;
        }
        let mut over = Vec::new();
        let mut due = Time::NEVER;
        for (caller, calls) in self.serving.callers.iter() {
            for (number, served) in calls.calls.iter() {
                if now.at >= served.deadline {
                    over.push(RequestId {
                        caller: *caller,
                        number: *number,
                    });
                } else {
                    due = due.min(served.deadline);
                }
            }
        }
        self.serving.due = due;
        for id in over {
            self.forget(id, Some("the caller's time is over"));
            self.serving.mark(now.at, id);
        }
    }
}
