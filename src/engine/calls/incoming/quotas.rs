//! How much callers may take here, and how much they take: there are three quotas.
//!
//! - What is *under way* can give no room, since a command may run for any time. It is shared among
//!   sources, and the share of a source among its callers: a member can invent any number of
//!   callers, but has few addresses. See [`Taken`] and [`Limits::message_bytes`].
//! - Calls *remembered*, under way or answered. One caller may have [`Limits::served_per_peer`],
//!   and an eighth of the free entries of [`Limits::served`]; beyond that, answers of others give
//!   way.
//! - Bytes of *answers*. One caller may have [`Limits::reply_bytes`], all together four times that;
//!   beyond that, answers of others give way.

use crate::engine::fair_share::Taken;
use crate::engine::{Source, Time};
use crate::limits::Limits;
use crate::table::Table;
use std::time::Duration;

/// How many shares of answers, each as large as that of one caller, are kept for all callers
/// together.
const SHARES: usize = 4;

/// One caller may have as many calls as this part of what is free, so that others find room as
/// well.
const PART_OF_FREE: usize = 8;

/// How long the callers are not searched again for answers that could give way, after there were
/// none.
const FRUITLESS: Duration = Duration::from_millis(100);

/// What a caller needs room for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// One more call, which takes `asked` bytes until it is answered.
    Call { source: Source, asked: usize },
    /// An answer of so many bytes.
    Answer { bytes: usize },
}

/// Whether there is room for what a caller needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Free,
    /// There is if answers of other callers give way.
    IfOthersGiveWay,
    /// There is none, whatever gives way.
    None,
}

/// What one caller takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    /// Its calls that are remembered.
    pub(crate) calls: usize,
    /// How many of them are answered.
    pub(crate) answered: usize,
    /// Bytes of what those ask that are not.
    pub(crate) asked: usize,
    /// Bytes of its answers.
    pub(crate) kept: usize,
}

impl Held {
    /// How much it has of what is needed, in calls or in bytes.
    pub(crate) fn of(&self, need: Need) -> usize {
        match need {
            Need::Call { .. } => self.calls,
            Need::Answer { .. } => self.kept,
        }
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

/// What all callers take together.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    /// Calls that are remembered.
    remembered: usize,
    /// Bytes of answers.
    kept: usize,
    under_way: UnderWay,
    /// What is under way for the callers of each source.
    sources: Table<Source, UnderWay>,
    /// The last search for room for a call that was fruitless.
    no_call: Fruitless,
    /// The last search for room for an answer that was fruitless.
    no_answer: Fruitless,
}

/// Until when the callers are not searched for answers that could give way, and for which callers:
/// those that have `from` or more of what is needed, in calls or in bytes.
#[derive(Debug, Default)]
struct Fruitless {
    until: Time,
    from: usize,
}

impl Quotas {
    pub(crate) fn remembered(&self) -> usize {
        self.remembered
    }

    /// A call came, and is under way.
    pub(crate) fn call_came(&mut self, source: Source, asked: usize) {
        let of_source = self.sources.or_insert_with(source, UnderWay::default);
        of_source.add(asked);
        self.under_way.add(asked);
        self.remembered += 1;
    }

    /// A call is answered, or is forgotten before that.
    pub(crate) fn not_under_way(&mut self, source: Option<Source>, asked: usize) {
        self.under_way.take_away(asked);
        if let Some(source) = source
            && let Some(of_source) = self.sources.get_mut(&source)
        {
            of_source.take_away(asked);
            if of_source.calls == 0 {
                self.sources.remove(&source);
            }
        }
    }

    pub(crate) fn answer_kept(&mut self, bytes: usize) {
        self.kept += bytes;
    }

    pub(crate) fn answer_forgotten(&mut self, bytes: usize) {
        self.kept -= bytes;
    }

    pub(crate) fn call_forgotten(&mut self) {
        self.remembered -= 1;
    }

    /// Whether there is room for what a caller needs that has `held` already.
    pub(crate) fn room(&self, need: Need, held: Held, limits: &Limits) -> Room {
        match need {
            Need::Call { source, asked } if !self.may_run(source, asked, held, limits) => {
                Room::None
            }
            Need::Call { .. } => self.room_to_remember(held, limits),
            Need::Answer { bytes } => self.room_to_keep(bytes, held, limits),
        }
    }

    /// Whether one more call may be under way that takes `asked` bytes.
    fn may_run(&self, source: Source, asked: usize, held: Held, limits: &Limits) -> bool {
        let of_source = self.sources.get(&source).copied().unwrap_or_default();
        let taken = Taken {
            all: self.under_way.asked,
            source: of_source.asked,
            caller: held.asked,
        };
        of_source.calls < limits.served.saturating_sub(self.under_way.calls)
            && taken.leaves_room(asked, limits.message_bytes)
    }

    fn room_to_remember(&self, held: Held, limits: &Limits) -> Room {
        let free = limits.served.saturating_sub(self.remembered);
        if held.calls >= limits.served_per_peer {
            Room::None
        } else if held.calls < free.div_ceil(PART_OF_FREE) {
            Room::Free
        } else {
            Room::IfOthersGiveWay
        }
    }

    fn room_to_keep(&self, bytes: usize, held: Held, limits: &Limits) -> Room {
        if held.kept + bytes > limits.reply_bytes {
            Room::None
        } else if self.kept + bytes <= limits.reply_bytes * SHARES {
            Room::Free
        } else {
            Room::IfOthersGiveWay
        }
    }

    /// Whether it is known that no answers give way for what a caller needs that has `held`.
    pub(crate) fn is_fruitless(&self, now: Time, need: Need, held: Held) -> bool {
        let search = match need {
            Need::Call { .. } => &self.no_call,
            Need::Answer { .. } => &self.no_answer,
        };
        now < search.until && held.of(need) >= search.from
    }

    /// No answers gave way for what a caller needs that has `held`.
    pub(crate) fn note_fruitless(&mut self, now: Time, need: Need, held: Held) {
        let search = match need {
            Need::Call { .. } => &mut self.no_call,
            Need::Answer { .. } => &mut self.no_answer,
        };
        *search = Fruitless {
            until: now + FRUITLESS,
            from: held.of(need),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn source(last: u8) -> Source {
        Source::Address(IpAddr::from([10, 0, 0, last]))
    }

    fn limits() -> Limits {
        Limits {
            served: 16,
            served_per_peer: 4,
            reply_bytes: 100,
            ..Limits::default()
        }
    }

    #[test]
    fn the_calls_of_one_source_take_at_most_as_many_places_as_they_leave_free() {
        let (mut quotas, need) = (Quotas::default(), |last| Need::Call {
            source: source(last),
            asked: 1,
        });
        let room = |quotas: &Quotas, last| quotas.room(need(last), Held::default(), &limits());
        for _ in 0..8 {
            assert_eq!(room(&quotas, 1), Room::Free);
            quotas.call_came(source(1), 1);
        }
        assert_eq!(room(&quotas, 1), Room::None);
        assert_eq!(room(&quotas, 2), Room::Free, "another source has its own");
        quotas.not_under_way(Some(source(1)), 1);
        quotas.call_forgotten();
        assert_eq!(room(&quotas, 1), Room::Free);
    }

    #[test]
    fn a_caller_beyond_its_part_of_what_is_free_needs_others_to_give_way_up_to_its_limit() {
        let quotas = Quotas::default();
        let need = Need::Call {
            source: source(1),
            asked: 1,
        };
        let room = |calls| {
            let held = Held {
                calls,
                ..Held::default()
            };
            quotas.room(need, held, &limits())
        };
        assert_eq!((room(0), room(1)), (Room::Free, Room::Free));
        assert_eq!(
            (room(2), room(3)),
            (Room::IfOthersGiveWay, Room::IfOthersGiveWay)
        );
        assert_eq!(room(4), Room::None);
    }

    #[test]
    fn answers_of_all_together_take_four_times_what_those_of_one_caller_may_take() {
        let mut quotas = Quotas::default();
        let room = |quotas: &Quotas, bytes, kept| {
            let held = Held {
                kept,
                ..Held::default()
            };
            quotas.room(Need::Answer { bytes }, held, &limits())
        };
        assert_eq!(room(&quotas, 101, 0), Room::None);
        assert_eq!(room(&quotas, 60, 41), Room::None);
        quotas.answer_kept(350);
        assert_eq!(room(&quotas, 50, 50), Room::Free);
        assert_eq!(room(&quotas, 51, 0), Room::IfOthersGiveWay);
        quotas.answer_forgotten(1);
        assert_eq!(room(&quotas, 51, 0), Room::Free);
    }

    #[test]
    fn a_search_that_was_fruitless_is_not_repeated_at_once_for_those_that_have_as_much() {
        let at = |ms| Time(Duration::from_millis(ms));
        let held = |calls| Held {
            calls,
            ..Held::default()
        };
        let need = Need::Call {
            source: source(1),
            asked: 1,
        };
        let mut quotas = Quotas::default();
        assert!(!quotas.is_fruitless(at(0), need, held(usize::MAX)));
        quotas.note_fruitless(at(0), need, held(5));
        assert!(quotas.is_fruitless(at(99), need, held(5)));
        assert!(
            !quotas.is_fruitless(at(99), need, held(4)),
            "more may give way for less"
        );
        assert!(!quotas.is_fruitless(at(100), need, held(5)));
    }

    #[test]
    fn a_fruitless_search_for_room_for_calls_says_nothing_of_room_for_answers() {
        let held = Held {
            calls: 5,
            kept: 1_000,
            ..Held::default()
        };
        let call = Need::Call {
            source: source(1),
            asked: 1,
        };
        let answer = Need::Answer { bytes: 1 };
        for (one, other) in [(call, answer), (answer, call)] {
            let (mut quotas, now) = (Quotas::default(), Time::default());
            quotas.note_fruitless(now, one, Held::default());
            assert!(quotas.is_fruitless(now, one, held));
            assert!(!quotas.is_fruitless(now, other, held));
            // Nor does the one take the place of the other.
            quotas.note_fruitless(now, other, held);
            assert!(quotas.is_fruitless(now, one, Held::default()));
        }
    }
}
