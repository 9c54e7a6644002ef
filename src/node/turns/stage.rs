//! How far a node is in its life.
//!
//! ```text
//! Starting --(the name is ours)--> Working
//! Starting, Working --stop--> Flushing --(all is written, or its time is over)--> Leaving
//! Leaving --(peers have closed their links, or its time is over)--> Ended
//! any --(the name is taken, a panic, or the event queue failed)--> Ended
//! ```

use crate::engine::Time;
use crate::error::Error;

/// See the module's documentation.
#[derive(Debug)]
pub(super) enum Stage {
    /// The network is asked whether another node has the name.
    Starting,
    Working,
    /// Nothing new is begun; what was answered is being written, until then at most.
    Flushing {
        until: Time,
    },
    /// The goodbye was said; peers close their links, until then at most.
    Leaving {
        until: Time,
    },
    /// The engine is not used any more.
    Ended(End),
}

/// The end of a node, and what is still to do after it.
#[derive(Debug)]
pub(super) struct End {
    /// What every use of the node gives from now on.
    why: Error,
    /// Whether all threads of the node were woken for its end.
    told: bool,
    last_work: LastWork,
}

/// What is left to do once a node has ended: callbacks that are owed, and dropping every handler.
#[derive(Debug, PartialEq, Eq)]
enum LastWork {
    Due,
    UnderWay,
    Done,
}

impl Stage {
    /// The name is ours.
    pub(super) fn begin_working(&mut self) {
        if let Stage::Starting = self {
            *self = Stage::Working;
        }
    }

    /// The node has ended. The first reason stays.
    pub(super) fn end(&mut self, why: Error) {
        if !self.is_ended() {
            *self = Stage::Ended(End {
                why,
                told: false,
                last_work: LastWork::Due,
            });
        }
    }

    /// Whether the node is not being stopped, and has not ended.
    pub(super) fn is_working(&self) -> bool {
        matches!(self, Stage::Starting | Stage::Working)
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self, Stage::Ended(_))
    }

    /// When the stage is over at the latest.
    pub(super) fn until(&self) -> Option<Time> {
        match self {
            Stage::Flushing { until } | Stage::Leaving { until } => Some(*until),
            Stage::Starting | Stage::Working | Stage::Ended(_) => None,
        }
    }

    /// How the start went, once that is known.
    pub(super) fn started(&self) -> Option<Result<(), Error>> {
        match self {
            Stage::Starting => None,
            Stage::Working => Some(Ok(())),
            Stage::Flushing { .. } | Stage::Leaving { .. } | Stage::Ended(_) => {
                Some(Err(self.why_stopped()))
            }
        }
    }

    /// An error if the node is being stopped, or has been.
    pub(super) fn check_working(&self) -> Result<(), Error> {
        match self.is_working() {
            true => Ok(()),
            false => Err(self.why_stopped()),
        }
    }

    /// An error if the goodbye was said.
    pub(super) fn check_flushing(&self) -> Result<(), Error> {
        match self {
            Stage::Starting | Stage::Working | Stage::Flushing { .. } => Ok(()),
            Stage::Leaving { .. } | Stage::Ended(_) => Err(self.why_stopped()),
        }
    }

    /// An error if the engine must not be used any more.
    pub(super) fn check_not_ended(&self) -> Result<(), Error> {
        match self.is_ended() {
            false => Ok(()),
            true => Err(self.why_stopped()),
        }
    }

    /// An error if the node has ended for another reason than that it was stopped.
    pub(super) fn why_ended(&self) -> Result<(), Error> {
        match self {
            Stage::Ended(end) if end.why != Error::Stopped => Err(end.why.clone()),
            _ => Ok(()),
        }
    }

    fn why_stopped(&self) -> Error {
        match self {
            Stage::Ended(end) => end.why.clone(),
            _ => Error::Stopped,
        }
    }

    /// Whether the node's threads are to be woken for its end now; once.
    pub(super) fn tell_end(&mut self) -> bool {
        match self {
            Stage::Ended(end) => !std::mem::replace(&mut end.told, true),
            _ => false,
        }
    }

    /// Whether the last work is to be done by the thread that asks; once, and after the end.
    pub(super) fn begin_last_work(&mut self) -> bool {
        match self {
            Stage::Ended(end) if end.last_work == LastWork::Due => {
                end.last_work = LastWork::UnderWay;
                true
            }
            _ => false,
        }
    }

    /// Whether a thread has begun the last work.
    pub(super) fn has_begun_last_work(&self) -> bool {
        matches!(self, Stage::Ended(end) if end.last_work != LastWork::Due)
    }

    /// The last work is done.
    pub(super) fn finish(&mut self) {
        if let Stage::Ended(end) = self {
            end.last_work = LastWork::Done;
        }
    }

    /// Whether nothing is left to do.
    pub(super) fn is_finished(&self) -> bool {
        matches!(self, Stage::Ended(end) if end.last_work == LastWork::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_works_from_its_start_until_it_is_stopped() {
        let mut stage = Stage::Starting;
        assert_eq!(stage.started(), None);
        assert_eq!(stage.check_working(), Ok(()));
        stage.begin_working();
        assert_eq!(stage.started(), Some(Ok(())));
        stage = Stage::Flushing {
            until: Time::default(),
        };
        stage.begin_working();
        assert_eq!(
            stage.check_working(),
            Err(Error::Stopped),
            "it does not begin again"
        );
        assert_eq!(stage.check_flushing(), Ok(()));
        stage = Stage::Leaving {
            until: Time::default(),
        };
        assert_eq!(stage.check_flushing(), Err(Error::Stopped));
        assert_eq!(stage.check_not_ended(), Ok(()));
        stage.end(Error::Stopped);
        assert_eq!(stage.check_not_ended(), Err(Error::Stopped));
        assert_eq!(stage.why_ended(), Ok(()));
    }

    #[test]
    fn the_first_reason_for_an_end_is_what_every_use_is_told() {
        let mut stage = Stage::Starting;
        let why = Error::Internal("sabotage");
        stage.end(why.clone());
        stage.end(Error::Stopped);
        assert_eq!(stage.started(), Some(Err(why.clone())));
        assert_eq!(stage.why_ended(), Err(why.clone()));
        assert_eq!(stage.check_working(), Err(why));
    }

    #[test]
    fn the_end_is_told_once_and_its_last_work_done_once() {
        let mut stage = Stage::Working;
        assert!(!stage.tell_end() && !stage.begin_last_work());
        stage.end(Error::Stopped);
        assert!(stage.tell_end() && !stage.tell_end());
        assert!(!stage.has_begun_last_work());
        assert!(stage.begin_last_work() && !stage.begin_last_work());
        assert!(stage.has_begun_last_work() && !stage.is_finished());
        stage.finish();
        assert!(stage.has_begun_last_work() && stage.is_finished());
    }
}
