//! One call of a peer, and all that can become of it.
//!
//! ```text
//! Collecting --(all of it came)--> Running --(answered)--> Answered --(confirmed)--> forgotten
//!     |                               |--(the caller gave up)--> Withdrawn
//!     |                               `--(its time is over)----> Expired <-- Withdrawn
//!     `--(the caller gave up, or its time is over)-------------------------------> forgotten
//! ```
//!
//! A call that the program works on is remembered until the program answers, whatever the caller
//! does meanwhile, since what it asks takes room until then. From `Withdrawn` and `Expired` the
//! program's answer leads to forgotten.

use crate::engine::Time;
use crate::name::NodeName;
use crate::wire::ask::AskKind;
use crate::wire::record::Status;
use std::time::Duration;

/// Where a call is before it is answered.
#[derive(Debug)]
pub(crate) enum Stage {
    /// What is asked is still coming.
    Collecting {
        kind: AskKind,
        caller: NodeName,
        /// Whether it is a command whose path has not come yet.
        awaits_path: bool,
    },
    Running {
        /// Whether the caller has said goodbye since the call came last. The goodbye may be forged,
        /// so the answer is kept all the same.
        caller_left: bool,
    },
    /// The program works on it, and the caller does not wait.
    Withdrawn,
    /// The program works on it, though the caller's time is over.
    Expired,
}

/// An answer that is kept until the caller confirms it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) body: Vec<u8>,
    /// Bytes that it takes.
    pub(crate) kept: usize,
    /// Whether it waits for the caller's link to drain.
    waits: bool,
}

#[derive(Debug)]
enum State {
    UnderWay {
        stage: Stage,
        /// Bytes that the call takes until it is answered.
        asked: usize,
    },
    Answered(Answer),
}

/// One call of a peer.
#[derive(Debug)]
pub(crate) struct Served {
    state: State,
    deadline: Time,
    /// The time by which it stands in the list of what is due; never after the deadline.
    listed: Time,
    timeout: Duration,
    /// Whether the caller streams, and takes a stream.
    streams: bool,
    /// Whether a program reads what the caller streams.
    reads: bool,
}

/// A call that was collected and is now to run.
pub(crate) struct Collected {
    pub(crate) kind: AskKind,
    pub(crate) caller: NodeName,
}

/// What an answer of the program is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// The caller waits for it.
    Wanted,
    /// The caller has given up: the call is over.
    Withdrawn,
    /// The answer is late: the call is over.
    Expired,
    /// The answer is late, or the second one.
    Late,
}

/// What becomes of a call whose caller gave up, or whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It goes on as it was.
    Nothing,
    /// Its streams are over, and it is remembered until the program answers.
    EndStreams,
    /// It is over.
    Forget,
}

/// What a call is that comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// It is under way, and its streams go on over the session that it came in.
    UnderWay,
    /// So do those of a call whose answer is kept, and the answer is sent again.
    Answered,
    /// Its time is over, so it is refused.
    Expired,
}

/// How a call is to be carried out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) now: Time,
    pub(crate) timeout: Duration,
    pub(crate) streams: bool,
    /// Bytes that the call takes until it is answered.
    pub(crate) asked: usize,
}

impl Served {
    pub(crate) fn new(stage: Stage, order: Order) -> Served {
        let asked = order.asked;
        let deadline = order.now + order.timeout;
        Served {
            state: State::UnderWay { stage, asked },
            deadline,
            listed: deadline,
            timeout: order.timeout,
            streams: order.streams,
            reads: false,
        }
    }

    pub(crate) fn deadline(&self) -> Time {
        self.deadline
    }

    pub(crate) fn listed(&self) -> Time {
        self.listed
    }

    /// Lists it anew if its time is not over by now: at its deadline, or at `most` if that is
    /// earlier.
    pub(crate) fn list_anew(&mut self, now: Time, most: Time) -> Option<Time> {
        (self.deadline > now).then(|| {
            self.listed = self.deadline.min(most);
            self.listed
        })
    }

    /// Whether some of what is asked is still to come.
    pub(crate) fn is_collecting(&self) -> bool {
        matches!(
            self.state,
            State::UnderWay {
                stage: Stage::Collecting { .. },
                ..
            }
        )
    }

    /// Whether it is a command whose path has not come yet.
    pub(crate) fn awaits_path(&self) -> bool {
        let State::UnderWay { stage, .. } = &self.state else {
            return false;
        };
        matches!(
            stage,
            Stage::Collecting {
                awaits_path: true,
                ..
            }
        )
    }

    pub(crate) fn may_stream(&self) -> bool {
        self.streams
    }

    /// Whether a program reads what the caller streams.
    pub(crate) fn reads(&self) -> bool {
        self.reads
    }

    /// A program reads what the caller streams from now on. Says whether one does already.
    pub(crate) fn read(&mut self) -> bool {
        std::mem::replace(&mut self.reads, true)
    }

    /// Bytes of what it asks while it is under way.
    pub(crate) fn asked(&self) -> Option<usize> {
        match self.state {
            State::UnderWay { asked, .. } => Some(asked),
            State::Answered(_) => None,
        }
    }

    pub(crate) fn answer(&self) -> Option<&Answer> {
        match &self.state {
            State::Answered(answer) => Some(answer),
            State::UnderWay { .. } => None,
        }
    }

    /// Whether the caller waits for the program's answer.
    pub(crate) fn is_wanted(&self) -> bool {
        let State::UnderWay { stage, .. } = &self.state else {
            return false;
        };
        matches!(stage, Stage::Running { caller_left: false })
    }
}

/// The transitions.
impl Served {
    fn stage(&mut self) -> Option<&mut Stage> {
        match &mut self.state {
            State::UnderWay { stage, .. } => Some(stage),
            State::Answered(_) => None,
        }
    }

    /// Its path has come.
    pub(crate) fn path_came(&mut self) {
        if let Some(Stage::Collecting { awaits_path, .. }) = self.stage() {
            *awaits_path = false;
        }
    }

    /// No more of what is asked will come: the call runs, or is answered without running.
    pub(crate) fn collected(&mut self) -> Option<Collected> {
        let stage = self.stage()?;
        if !matches!(stage, Stage::Collecting { .. }) {
            return None;
        }
        let running = Stage::Running { caller_left: false };
        match std::mem::replace(stage, running) {
            Stage::Collecting { kind, caller, .. } => Some(Collected { kind, caller }),
            _ => None,
        }
    }

    /// The call came again.
    pub(crate) fn came_again(&mut self) -> Again {
        match self.stage() {
            None => Again::Answered,
            Some(Stage::Expired) => Again::Expired,
            Some(Stage::Running { caller_left }) => {
                *caller_left = false;
                Again::UnderWay
            }
            Some(Stage::Collecting { .. } | Stage::Withdrawn) => Again::UnderWay,
        }
    }

    /// Something of its streams has moved: it has as long again.
    pub(crate) fn moved(&mut self, now: Time) {
        if !matches!(self.stage(), Some(Stage::Expired)) {
            self.deadline = now + self.timeout;
        }
    }

    /// The caller does not wait any more.
    pub(crate) fn gave_up(&mut self) -> Then {
        match self.stage() {
            Some(stage @ Stage::Running { .. }) => {
                *stage = Stage::Withdrawn;
                Then::EndStreams
            }
            Some(Stage::Withdrawn | Stage::Expired) => Then::Nothing,
            Some(Stage::Collecting { .. }) | None => Then::Forget,
        }
    }

    /// The caller has said goodbye. Says whether the program works on the call, whose streams are
    /// over then.
    pub(crate) fn caller_left(&mut self) -> bool {
        match self.stage() {
            Some(Stage::Running { caller_left }) => {
                *caller_left = true;
                true
            }
            _ => false,
        }
    }

    /// The caller's time is over.
    pub(crate) fn expire(&mut self) -> Then {
        match self.stage() {
            Some(stage @ (Stage::Running { .. } | Stage::Withdrawn)) => {
                *stage = Stage::Expired;
                Then::EndStreams
            }
            Some(Stage::Collecting { .. } | Stage::Expired) | None => Then::Forget,
        }
    }

    /// What an answer that the program gives now is worth.
    pub(crate) fn worth_of_answer(&mut self) -> Worth {
        match self.stage() {
            Some(Stage::Running { .. }) => Worth::Wanted,
            Some(Stage::Withdrawn) => Worth::Withdrawn,
            Some(Stage::Expired) => Worth::Expired,
            Some(Stage::Collecting { .. }) | None => Worth::Late,
        }
    }

    /// It is answered.
    pub(crate) fn set_answer(&mut self, status: Status, body: Vec<u8>, kept: usize) {
        self.state = State::Answered(Answer {
            status,
            body,
            kept,
            waits: false,
        });
    }

    /// If it is answered with a value, the answer becomes that the value is lost. Gives the bytes
    /// that the value took.
    pub(crate) fn lose_value(&mut self) -> usize {
        match &mut self.state {
            State::Answered(answer) if answer.status.is_value() => {
                (answer.status, answer.body) = (Status::AnswerLost, Vec::new());
                std::mem::take(&mut answer.kept)
            }
            _ => 0,
        }
    }

    /// Has the answer wait for the caller's link to drain, or not. Says whether it waited.
    pub(crate) fn set_waits(&mut self, wait: bool) -> bool {
        match &mut self.state {
            State::Answered(answer) => std::mem::replace(&mut answer.waits, wait),
            State::UnderWay { .. } => false,
        }
    }

    /// Whether its answer waits for the caller's link to drain.
    pub(crate) fn waits(&self) -> bool {
        self.answer().is_some_and(|answer| answer.waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(stage: Stage) -> Served {
        let order = Order {
            now: Time::default(),
            timeout: Duration::from_secs(1),
            streams: true,
            asked: 7,
        };
        Served::new(stage, order)
    }

    fn running() -> Served {
        served(Stage::Running { caller_left: false })
    }

    fn collecting() -> Served {
        served(Stage::Collecting {
            kind: AskKind::Message,
            caller: NodeName::new("c").unwrap(),
            awaits_path: true,
        })
    }

    fn answered() -> Served {
        let mut call = running();
        call.set_answer(Status::Value, vec![1], 1);
        call
    }

    #[test]
    fn a_call_that_the_program_works_on_is_remembered_until_it_is_answered() {
        let mut call = running();
        assert_eq!(call.gave_up(), Then::EndStreams);
        assert_eq!(call.gave_up(), Then::Nothing, "its streams have ended");
        assert_eq!(call.worth_of_answer(), Worth::Withdrawn);
        assert_eq!(call.expire(), Then::EndStreams);
        assert_eq!((call.gave_up(), call.asked()), (Then::Nothing, Some(7)));
        assert_eq!(call.worth_of_answer(), Worth::Expired);
        assert_eq!(call.came_again(), Again::Expired);
    }

    #[test]
    fn a_call_that_is_not_there_yet_or_answered_already_is_forgotten_once_it_is_over() {
        assert_eq!(collecting().gave_up(), Then::Forget);
        assert_eq!(collecting().expire(), Then::Forget);
        assert_eq!(answered().gave_up(), Then::Forget);
        assert_eq!(answered().expire(), Then::Forget);
        assert_eq!(answered().worth_of_answer(), Worth::Late, "a second one");
        assert_eq!(answered().asked(), None);
    }

    #[test]
    fn a_call_runs_once_all_of_it_is_there_and_only_once() {
        let mut call = collecting();
        assert_eq!(call.worth_of_answer(), Worth::Late, "it has not run");
        assert!(!call.is_wanted());
        assert!(call.collected().is_some_and(|c| c.kind == AskKind::Message));
        assert!(call.collected().is_none());
        assert!(call.is_wanted());
    }

    #[test]
    fn a_path_is_awaited_until_it_comes() {
        let mut call = collecting();
        assert!(call.awaits_path());
        call.path_came();
        assert!(!call.awaits_path() && !running().awaits_path() && !answered().awaits_path());
        assert!(call.collected().is_some());
    }

    #[test]
    fn the_answer_to_a_caller_that_has_left_is_kept_and_wanted_again_once_the_call_comes_again() {
        let mut call = running();
        assert!(call.caller_left());
        assert!(!call.is_wanted());
        assert_eq!(call.worth_of_answer(), Worth::Wanted);
        assert_eq!(call.came_again(), Again::UnderWay);
        assert!(call.is_wanted());
        assert!(!answered().caller_left());
    }

    #[test]
    fn streams_that_move_prolong_a_call_but_not_one_whose_time_is_over() {
        let at = |ms| Time(Duration::from_millis(ms));
        let mut call = running();
        assert_eq!(call.list_anew(at(1_000), Time::NEVER), None);
        call.moved(at(500));
        assert_eq!(call.list_anew(at(1_000), Time::NEVER), Some(at(1_500)));
        assert_eq!(call.list_anew(at(1_000), at(1_200)), Some(at(1_200)));
        call.expire();
        call.moved(at(1_400));
        assert_eq!(call.deadline(), at(1_500));
    }

    #[test]
    fn a_value_is_lost_once_and_another_answer_never() {
        let mut call = answered();
        assert_eq!((call.lose_value(), call.lose_value()), (1, 0));
        let answer = call.answer().unwrap();
        assert_eq!((answer.status, answer.kept), (Status::AnswerLost, 0));
        assert!(answer.body.is_empty());
        let mut call = running();
        assert_eq!(call.lose_value(), 0);
        call.set_answer(Status::Failed, vec![1], 1);
        assert_eq!(call.lose_value(), 0);
        assert_eq!(call.answer().unwrap().status, Status::Failed);
    }

    #[test]
    fn an_answer_waits_once() {
        let mut call = answered();
        assert!(!call.set_waits(true));
        assert!(call.set_waits(true), "it stands in the backlog already");
        assert!(call.waits());
        assert!(call.set_waits(false));
        assert!(!running().set_waits(true), "there is none");
    }
}
