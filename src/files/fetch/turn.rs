//! How long holders of a file are asked for it before others are.

use crate::limits::{FILE_ALONE, FILE_PIECE, FILE_TURN};
use std::time::Duration;

/// Rounds after which a turn becomes no longer: by then it lasts for months.
const ROUNDS: u32 = 20;

/// How long the holders that say one size may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// How long it lasts, however much they send.
    pub(super) lasts: Duration,
    /// How long it may take until a piece is whole. Then they are not asked again.
    pub(super) piece: Duration,
}

impl Turn {
    /// The turn of the holders of one size among so many sizes. It doubles with each round, so that
    /// a file arrives even if liars undo between two turns what has arrived.
    pub(super) fn of(sizes: usize, round: u32, timeout: Duration) -> Turn {
        let after = |round: u32| FILE_TURN.saturating_mul(1 << round.min(ROUNDS));
        // A clock can express no time that is much longer than the longest turn.
        let piece = FILE_PIECE.max(timeout).min(after(ROUNDS));
        let lasts = match sizes {
            0 | 1 => FILE_ALONE.max(piece),
            _ => after(round),
        };
        Turn { lasts, piece }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_doubles_among_several_sizes_and_always_ends() {
        let (short, long) = (Duration::from_millis(1), FILE_ALONE * 3);
        let turn = |sizes, round| Turn::of(sizes, round, short);
        assert_eq!(turn(2, 0).lasts, FILE_TURN);
        assert_eq!(turn(16, 3).lasts, FILE_TURN * 8);
        assert_eq!(turn(2, u32::MAX), turn(2, ROUNDS));
        for round in [0, 9] {
            assert_eq!(turn(1, round).lasts, FILE_ALONE);
        }
        // Those that are alone may send for as long as a piece may take, or they would never be
        // given up.
        let patient = Turn::of(1, 0, long);
        assert_eq!((patient.lasts, patient.piece), (long, long));
        assert_eq!(turn(1, 0).piece, FILE_PIECE);
        // The longest that a program can ask for.
        let longest = turn(2, ROUNDS).lasts;
        let patient = Turn::of(1, 0, Duration::MAX);
        assert_eq!((patient.lasts, patient.piece), (longest, longest));
    }
}
