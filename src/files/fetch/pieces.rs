//! The pieces of one file that are still to be fetched: which thread has which, and what has come.

use crate::error::Error;
use crate::node::{CallId, Node};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the thread that waits for pieces leaves callbacks of a foreign loop waiting.
const TURN: Duration = Duration::from_millis(20);
/// How long a piece is left with one node, and at least twice as long as another took for its last, before that other,
/// if it has nothing else to do, fetches it instead. Each time it goes to another it has twice as long, so that where
/// all are slow it comes all the same.
const SLOW: Duration = match cfg!(test) {
    true => Duration::from_millis(100),
    false => Duration::from_secs(5),
};

/// What the threads tell that fetch pieces.
pub(super) enum News {
    /// Bytes came; fewer than none if they must come again.
    Bytes(i64),
    Piece(u64),
    /// Nothing can be written, which is nobody's fault but ours.
    Disk(Error),
    GaveUp(Error),
}

/// What is still to be fetched, and what has happened. Not a channel of the standard library: one makes a
/// handle of the thread that waits, which is kept until that ends, in a program whose threads are not
/// ours.
#[derive(Default)]
pub(super) struct Pieces {
    state: Mutex<PiecesState>,
    changed: Condvar,
}

#[derive(Default)]
struct PiecesState {
    missing: VecDeque<Piece>,
    news: VecDeque<News>,
    /// Threads that fetch.
    fetching: usize,
    /// Pieces that are being fetched.
    out: Vec<Out>,
    /// Pieces given out so far.
    given: u64,
    over: bool,
}

/// A piece that is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) length: u64,
    /// How long it is left with one node.
    patience: Duration,
}

/// A piece that is being fetched.
struct Out {
    /// Which giving out this is.
    number: u64,
    piece: Piece,
    since: Instant,
    /// The call that it is to come by.
    call: Option<CallId>,
}

impl Out {
    /// When another, which took so long for its last piece, fetches it instead.
    fn due(&self, usual: Duration) -> Instant {
        self.since + self.piece.patience.max(usual * 2)
    }
}

impl PiecesState {
    /// Takes back what was given out, unless another has it now.
    fn take_back(&mut self, number: u64) -> bool {
        let found = self.out.iter().position(|out| out.number == number);
        found.map(|at| self.out.swap_remove(at)).is_some()
    }
}

impl Pieces {
    /// These are to be fetched, each of them an offset and a length.
    pub(super) fn new(missing: Vec<(u64, u64)>) -> Pieces {
        let piece = |(offset, length)| Piece {
            offset,
            length,
            patience: SLOW,
        };
        let pieces = Pieces::default();
        pieces.lock().missing = missing.into_iter().map(piece).collect();
        pieces
    }

    fn lock(&self) -> MutexGuard<'_, PiecesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a thread that is about to fetch.
    pub(super) fn worker_begins(&self) {
        self.lock().fetching += 1;
    }

    /// A thread that was counted fetches no more.
    pub(super) fn worker_ended(&self) {
        self.lock().fetching -= 1;
        self.changed.notify_all();
    }

    pub(super) fn tell(&self, news: News) {
        self.lock().news.push_back(news);
        self.changed.notify_all();
    }

    /// The next piece to fetch, for one that took `usual` for its last. One that another thread has may come back,
    /// and is waited for; where the other is much slower, it is fetched by this one instead.
    pub(super) fn take(&self, usual: Duration) -> Option<Taken<'_>> {
        let mut state = self.lock();
        loop {
            if state.over {
                return None;
            }
            if let Some(piece) = state.missing.pop_front() {
                return Some(self.give(&mut state, piece, None));
            }
            let due = |at: &usize| state.out[*at].due(usual);
            let slowest = (0..state.out.len()).min_by_key(due)?;
            let left = due(&slowest).saturating_duration_since(Instant::now());
            if left.is_zero() {
                let Out {
                    mut piece, call, ..
                } = state.out.swap_remove(slowest);
                piece.patience *= 2;
                return Some(self.give(&mut state, piece, call));
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn give(&self, state: &mut PiecesState, piece: Piece, instead_of: Option<CallId>) -> Taken<'_> {
        state.given += 1;
        let number = state.given;
        state.out.push(Out {
            number,
            piece,
            since: Instant::now(),
            call: None,
        });
        Taken {
            pieces: self,
            number,
            piece,
            instead_of,
        }
    }

    /// Notes the call that a piece is to come by, which is cancelled when another fetches the piece instead; whether
    /// the piece is still to come by it.
    pub(super) fn begun(&self, number: u64, call: CallId) -> bool {
        let mut state = self.lock();
        if state.over {
            return false;
        }
        let out = state.out.iter_mut().find(|out| out.number == number);
        out.map(|out| out.call = Some(call)).is_some()
    }

    /// Whether a piece is still to come from whom it was asked of.
    pub(super) fn is_wanted(&self, number: u64) -> bool {
        let state = self.lock();
        !state.over && state.out.iter().any(|out| out.number == number)
    }

    /// No more is to be fetched; the calls that are under way for it.
    fn end(&self) -> Vec<CallId> {
        let mut state = self.lock();
        state.over = true;
        state.missing.clear();
        let calls = state.out.iter().filter_map(|out| out.call).collect();
        drop(state);
        self.changed.notify_all();
        calls
    }

    /// Waits for so long, unless no more is to be fetched.
    pub(super) fn rest(&self, time: Duration) {
        let rested = self
            .changed
            .wait_timeout_while(self.lock(), time, |state| !state.over);
        drop(rested.unwrap_or_else(PoisonError::into_inner));
    }

    /// What happened next; `None` when nobody fetches any more. In a foreign loop this thread may be the only
    /// one that may run callbacks, for which it has a turn now and then.
    pub(super) fn next(&self, node: &Node) -> Option<News> {
        let mut state = self.lock();
        loop {
            if let Some(news) = state.news.pop_front() {
                return Some(news);
            }
            if state.fetching == 0 {
                return None;
            }
            let waited = self.changed.wait_timeout(state, TURN);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.news.is_empty() {
                drop(state);
                node.have_turn();
                state = self.lock();
            }
        }
    }
}

/// A piece that one thread fetches. Dropped, it is given back: others wait for that.
pub(super) struct Taken<'a> {
    pieces: &'a Pieces,
    pub(super) number: u64,
    pub(super) piece: Piece,
    /// The call by which the piece was to come before, for another thread.
    pub(super) instead_of: Option<CallId>,
}

impl Taken<'_> {
    /// The piece is there; an error if another was asked for it meanwhile.
    pub(super) fn arrived(&self) -> Result<(), Error> {
        match self.pieces.lock().take_back(self.number) {
            true => Ok(()),
            false => Err(Error::Timeout),
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.pieces.lock();
        // It is to be fetched by whomever it may be.
        if state.take_back(self.number) && !state.over {
            state.missing.push_back(self.piece);
        }
        drop(state);
        self.pieces.changed.notify_all();
    }
}

/// Dropped, no more is fetched, also if the program's own function for progress has panicked.
pub(super) struct Ending<'a>(pub(super) &'a Pieces, pub(super) &'a Node);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        for call in self.0.end() {
            self.1.cancel(call);
        }
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::CallNumber;

    #[test]
    fn a_piece_that_comes_back_is_left_longer_with_the_next() {
        let pieces = Pieces::new(vec![(0, 5)]);
        let slow = pieces.take(Duration::ZERO).unwrap();
        assert!(pieces.begun(slow.number, CallId(CallNumber(7))));
        let other = pieces.take(Duration::ZERO).unwrap();
        assert_eq!(other.instead_of, Some(CallId(CallNumber(7))));
        assert!(!pieces.is_wanted(slow.number) && pieces.is_wanted(other.number));
        drop(slow);
        assert!(pieces.lock().missing.is_empty(), "another fetches it");
        drop(other);
        let again = pieces.take(Duration::ZERO).unwrap();
        let piece = Piece {
            offset: 0,
            length: 5,
            patience: SLOW * 2,
        };
        assert_eq!((again.piece, again.instead_of), (piece, None));
        assert!(pieces.begun(again.number, CallId(CallNumber(8))));
        assert_eq!(pieces.end(), [CallId(CallNumber(8))]);
        assert!(!pieces.begun(again.number, CallId(CallNumber(9))));
        pieces.rest(Duration::from_secs(3_600));
    }
}
