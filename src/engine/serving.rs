//! What others ask of us: each call runs at most once.
//!
//! A call is known by its caller's instance and number. While it runs, and until the caller
//! confirms the answer or its deadline passes, the same call coming again, over whatever path, is
//! recognised and answered from memory. What was forgotten at its deadline is not run again even
//! when the caller's clock stood still meanwhile, as that of a suspended machine does: a call that
//! was sent before, from below the mark of what was forgotten, is refused.

use super::calls::Ask;
use super::sending::Outlet;
use super::{Engine, LinkId, Now, Output, Phase, Time};
use crate::limits::BODY_MAX;
use crate::name::{CommandPath, NodeName};
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::record::{self, Settled, Status, encode_reply};
use std::collections::VecDeque;
use std::time::Duration;

/// Callers whose marks are kept: 40 bytes each, and only of those who left calls unconfirmed.
const MARKS_MAX: usize = 1_024;

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
pub struct Incoming {
    /// Which it is.
    pub id: RequestId,
    /// The caller's name.
    pub caller: NodeName,
    /// What is asked.
    pub ask: Ask,
    /// After this nobody waits.
    pub deadline: Time,
}

#[derive(Debug)]
enum State {
    Running,
    /// Running, and nobody waits.
    Withdrawn,
    Done(Status, Vec<u8>),
}

#[derive(Debug)]
struct Served {
    state: State,
    deadline: Time,
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
        if let Some(Served {
            state: State::Done(_, body),
            ..
        }) = caller.calls.remove(&id.number)
        {
            caller.bytes -= body.len();
            self.bytes -= body.len();
        }
        if caller.calls.is_empty() {
            self.callers.remove(&id.caller);
        }
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
        (number, again): (u64, bool),
        timeout_ms: u32,
        ask: record::Ask<'_>,
    ) {
        let Some(session) = self.session(link) else {
            return;
        };
        session.used = now.at;
        let id = RequestId {
            caller: session.peer,
            number,
        };
        let caller = session.name.clone();
        match self.serving.get_mut(id).map(|s| &s.state) {
            Some(State::Done(..)) => {
                self.stats.served_again += 1;
                return self.send_reply(now, id);
            }
            Some(State::Running | State::Withdrawn) => {
                // The answer will find the newest path by itself.
                self.stats.served_again += 1;
                return;
            }
            None => {}
        }
        if again
            && self
                .serving
                .marks
                .get(&id.caller)
                .is_some_and(|(mark, _)| number <= *mark)
        {
            self.send_record(now, link, |sequence, out| {
                encode_reply(
                    sequence,
                    number,
                    Status::Refused,
                    b"it may have run already",
                    out,
                );
            });
            return;
        }
        let held = self
            .serving
            .callers
            .get(&id.caller)
            .map_or(0, |c| c.calls.len());
        if held >= self.config.limits.served_per_peer {
            self.stats.overloaded += 1;
            // Not remembered: it did not run, so it may come again.
            self.send_record(now, link, |sequence, out| {
                encode_reply(sequence, number, Status::Overloaded, &[], out);
            });
            return;
        }
        let timeout = Duration::from_millis(timeout_ms.into()).min(self.config.limits.call_timeout);
        let deadline = now.at + timeout;
        let served = Served {
            state: State::Running,
            deadline,
        };
        self.serving
            .callers
            .or_insert_with(id.caller, Caller::default)
            .calls
            .insert(number, served);
        self.serving.due = self.serving.due.min(deadline);
        self.stats.served += 1;
        let ask = match ask {
            record::Ask::Message(data) => Ask::Message(data.to_vec()),
            record::Ask::Command { path, args, kwargs } => match CommandPath::new(path) {
                Ok(path) => Ask::Command {
                    path,
                    args: args.to_vec(),
                    kwargs: kwargs.to_vec(),
                },
                Err(_) => return self.reply(now, id, Status::NotFound, Vec::new()),
            },
        };
        self.outputs.push_back(Output::Request(Incoming {
            id,
            caller,
            ask,
            deadline,
        }));
    }

    /// A call of ours to ourselves.
    pub(super) fn serve_locally(&mut self, number: u64, ask: Ask, deadline: Time) {
        let id = RequestId {
            caller: self.instance,
            number,
        };
        let caller = self.config.name.clone();
        self.outputs.push_back(Output::Request(Incoming {
            id,
            caller,
            ask,
            deadline,
        }));
    }

    /// Whether somebody still waits for the answer to a request.
    pub fn is_wanted(&self, id: RequestId) -> bool {
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

    /// Answers a request. An answer that is late, or a second one, is counted and dropped.
    pub fn reply(&mut self, now: Now, id: RequestId, status: Status, body: Vec<u8>) {
        let (mut status, mut body) = if body.len() > BODY_MAX {
            let text = format!(
                "the answer has {} bytes, the limit is {BODY_MAX}",
                body.len()
            );
            (Status::Failed, text.into_bytes())
        } else {
            (status, body)
        };
        if id.caller == self.instance {
            return self.answered_locally(id.number, status, &body);
        }
        let limit = self.config.limits.reply_bytes;
        let total = self.serving.bytes;
        let Some(caller) = self.serving.callers.get_mut(&id.caller) else {
            self.stats.replies_late += 1;
            return;
        };
        let full = caller.bytes + body.len() > limit || total + body.len() > limit * SHARES;
        match caller.calls.get_mut(&id.number) {
            Some(served) if matches!(served.state, State::Running) => {
                if full {
                    self.stats.overloaded += 1;
                    (status, body) = (Status::Overloaded, Vec::new());
                }
                caller.bytes += body.len();
                self.serving.bytes += body.len();
                served.state = State::Done(status, body);
                self.send_reply(now, id);
            }
            Some(served) if matches!(served.state, State::Withdrawn) => self.serving.forget(id),
            _ => self.stats.replies_late += 1,
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
                self.serving.forget(id);
            }
        }
    }

    /// The caller no longer waits.
    pub(super) fn withdraw(&mut self, caller: Instance, number: u64) {
        let id = RequestId { caller, number };
        match self.serving.get_mut(id) {
            Some(served) if matches!(served.state, State::Running) => {
                served.state = State::Withdrawn
            }
            Some(served) if matches!(served.state, State::Done(..)) => self.serving.forget(id),
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
            self.serving.forget(id);
            self.serving.mark(now.at, id);
        }
    }
}
