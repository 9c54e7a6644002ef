//! When a link is over if nothing happens to it, and why.

use super::stage::{Clocks, Stage};
use crate::limits::RelayLimits;
use crate::protocol::{LinkId, Time};
use crate::wire::relay::Refusal;
#[cfg(feature = "compat")]
use {super::stage::Progress, std::time::Duration};

/// How long a link is kept open after its answer for the other side to have read it.
#[cfg(feature = "compat")]
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// How a link ends whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is told why, and closed.
    Refused(Refusal),
    /// A request ends in its own way.
    #[cfg(feature = "compat")]
    Request,
}

/// When a link is over, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deadline {
    at: Time,
    end: End,
}

impl Deadline {
    fn refused(at: Time, why: Refusal) -> Deadline {
        let end = End::Refused(why);
        Deadline { at, end }
    }

    /// The earlier of the two, and of two at the same time this one.
    fn or(self, other: Deadline) -> Deadline {
        if other.at < self.at { other } else { self }
    }

    /// The deadline of a link that has come so far.
    fn of(stage: &Stage, clocks: &Clocks, limits: &RelayLimits) -> Deadline {
        let mut deadline = match stage {
            #[cfg(feature = "compat")]
            Stage::Http(progress) => {
                return Deadline {
                    at: request_until(progress, clocks, limits),
                    end: End::Request,
                };
            }
            Stage::Joined(_) => {
                // A member that is not read, because it sent too fast, is not silent.
                let heard = clocks.held.unwrap_or(clocks.heard);
                Deadline::refused(heard + limits.idle, Refusal::Idle)
            }
            Stage::New | Stage::Challenged(_) => {
                Deadline::refused(clocks.opened + limits.handshake, Refusal::Late)
            }
        };
        if clocks.waits {
            let stalled = clocks.moved + limits.stalled;
            deadline = deadline.or(Deadline::refused(stalled, Refusal::Slow));
        }
        if let Some(since) = clocks.unfinished {
            deadline = deadline.or(Deadline::refused(since + limits.frame, Refusal::Late));
        }
        deadline
    }
}

/// When a request is over, if nothing moves.
#[cfg(feature = "compat")]
fn request_until(progress: &Progress, clocks: &Clocks, limits: &RelayLimits) -> Time {
    match progress {
        // The head must come in the time of a handshake, the body in that of a frame.
        Progress::Reading(reader) if reader.head().is_some() => clocks.opened + limits.frame,
        Progress::Reading(_) => clocks.opened + limits.handshake,
        Progress::Waiting(until) => *until,
        Progress::Answering => clocks.moved + limits.stalled,
        Progress::Lingering(since) => *since + LINGER,
    }
}

/// What was found when all links were looked at.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    /// Links to be refused, and why.
    pub(super) refused: Vec<(LinkId, Refusal)>,
    /// Links whose request is over.
    #[cfg(feature = "compat")]
    pub(super) requests: Vec<LinkId>,
}

impl Overdue {
    /// Sorts out the links that are over; and when the first of the others is.
    pub(super) fn find<'a>(
        now: Time,
        limits: &RelayLimits,
        links: impl Iterator<Item = (LinkId, &'a Stage, Clocks)>,
    ) -> (Overdue, Time) {
        let (mut overdue, mut next) = (Overdue::default(), Time::NEVER);
        for (id, stage, clocks) in links {
            let deadline = Deadline::of(stage, &clocks, limits);
            if now < deadline.at {
                next = next.min(deadline.at);
                continue;
            }
            match deadline.end {
                End::Refused(why) => overdue.refused.push((id, why)),
                #[cfg(feature = "compat")]
                End::Request => overdue.requests.push(id),
            }
        }
        (overdue, next)
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::tests::at;
    use super::super::stage::Membership;
    use super::*;
    use crate::name::NetworkName;
    use crate::wire::relay::Route;

    const SILENT: Clocks = Clocks {
        opened: Time(std::time::Duration::from_secs(100)),
        heard: Time(std::time::Duration::from_secs(200)),
        held: None,
        unfinished: None,
        moved: Time(std::time::Duration::from_secs(300)),
        waits: false,
    };

    fn of(stage: &Stage, clocks: Clocks) -> (u64, End) {
        // Handshake 10 s, idle 90 s, frame 60 s, stalled 30 s.
        let deadline = Deadline::of(stage, &clocks, &RelayLimits::default());
        (deadline.at.0.as_secs(), deadline.end)
    }

    fn joined() -> Stage {
        let network = NetworkName::new("plant").unwrap();
        Stage::Joined(Box::new(Membership::new(network, Route::default(), None)))
    }

    #[test]
    fn a_link_that_does_not_join_is_late_and_a_silent_member_is_idle() {
        assert_eq!(of(&Stage::New, SILENT), (110, End::Refused(Refusal::Late)));
        assert_eq!(of(&joined(), SILENT), (290, End::Refused(Refusal::Idle)));
        let held = Some(at(250).at);
        let clocks = Clocks { held, ..SILENT };
        assert_eq!(
            of(&joined(), clocks).0,
            340,
            "one that is not read is not silent"
        );
        assert_eq!(of(&Stage::New, clocks).0, 110);
    }

    #[test]
    fn the_earliest_of_a_links_deadlines_holds() {
        let waiting = Clocks {
            waits: true,
            moved: at(210).at,
            ..SILENT
        };
        assert_eq!(of(&joined(), waiting), (240, End::Refused(Refusal::Slow)));
        let unfinished = Clocks {
            unfinished: Some(at(170).at),
            ..waiting
        };
        assert_eq!(
            of(&joined(), unfinished),
            (230, End::Refused(Refusal::Late))
        );
    }

    #[cfg(feature = "compat")]
    #[test]
    fn a_request_has_a_time_for_each_step() {
        use crate::compat::http::{Reader, write_post};
        let until = |progress| of(&Stage::Http(progress), SILENT);
        assert_eq!(
            until(Progress::Reading(Reader::default())),
            (110, End::Request)
        );
        let (mut reader, mut request) = (Reader::default(), Vec::new());
        write_post("relay", "/ping/", b"{}", None, &mut request);
        reader.take(&request[..request.len() - 1], 100).unwrap();
        assert_eq!(until(Progress::Reading(reader)).0, 160, "the head is there");
        assert_eq!(until(Progress::Waiting(at(7).at)).0, 7);
        assert_eq!(until(Progress::Answering).0, 330);
        assert_eq!(until(Progress::Lingering(at(400).at)).0, 402);
    }

    #[test]
    fn links_that_are_over_are_sorted_out_and_the_next_is_known() {
        let links = [(1, 40), (2, 20), (3, 80), (4, 60)].map(|(id, seconds)| {
            let opened = at(seconds).at;
            (LinkId(id), &Stage::New, Clocks { opened, ..SILENT })
        });
        let limits = RelayLimits::default();
        let (overdue, next) = Overdue::find(at(50).at, &limits, links.into_iter());
        let ids: Vec<u64> = overdue.refused.iter().map(|(id, _)| id.0).collect();
        assert_eq!((ids, next), (vec![1, 2], at(70).at));
    }
}
