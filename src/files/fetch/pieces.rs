//! The pieces of one file that are still to be fetched: which thread has which, and what has come.

use crate::error::Error;
use crate::node::{CallId, Node};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the thread that waits for pieces lets callbacks of a program's own loop wait.
const TURN: Duration = Duration::from_millis(20);
/// How long a piece is left with one node before a thread with nothing else to do fetches it from
/// its own node instead; and at least twice as long as that thread took for its last piece. The
/// time doubles each time that the piece goes to another node, so that it arrives even if all nodes
/// are slow.
const SLOW: Duration = match cfg!(test) {
    true => Duration::from_millis(100),
    false => Duration::from_secs(5),
};

/// What the threads that fetch pieces report.
pub(super) enum News {
    /// So many bytes arrived; a negative number if they must be fetched again.
    Bytes(i64),
    Piece(u64),
    /// The piece cannot be written, which is the fault of this node and of no other.
    Disk(Error),
    GaveUp(Error),
    /// The time until which nothing else was reported is over.
    Late,
}

/// The pieces that are still to be fetched, and what has happened. It is not a channel of the
/// standard library: a channel makes a handle of the thread that waits, which is kept until the
/// thread ends, and the program's threads may never end.
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
    /// The number of pieces that were given out so far, each time counted.
    given: u64,
    over: bool,
}

/// A piece that is still to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) length: u64,
    /// How long it is left with one node.
    patience: Duration,
}

/// A piece that is being fetched.
struct Out {
    /// The number under which the piece was given out.
    number: u64,
    piece: Piece,
    since: Instant,
    /// The call by which the piece is fetched.
    call: Option<CallId>,
}

impl Out {
    /// When a thread that took `usual` for its last piece may fetch this piece instead.
    fn due(&self, usual: Duration) -> Instant {
        self.since + self.piece.patience.max(usual * 2)
    }
}

impl PiecesState {
    /// Takes back a piece that was given out, unless it was given to another thread since.
    fn take_back(&mut self, number: u64) -> bool {
        let found = self.out.iter().position(|out| out.number == number);
        found.map(|at| self.out.swap_remove(at)).is_some()
    }
}

impl Pieces {
    /// The pieces that are missing, each given by its offset and its length.
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

    /// The next piece to fetch, for a thread that took `usual` for its last piece. If another
    /// thread has the last piece, it may come back, and this thread waits for that; if the other
    /// thread is much slower, this thread fetches the piece instead.
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

    /// Notes the call by which a piece is fetched. It is cancelled if another thread fetches the
    /// piece instead. Returns whether the piece is still wanted from this call.
    pub(super) fn begun(&self, number: u64, call: CallId) -> bool {
        let mut state = self.lock();
        if state.over {
            return false;
        }
        let out = state.out.iter_mut().find(|out| out.number == number);
        out.map(|out| out.call = Some(call)).is_some()
    }

    /// Whether a piece is still wanted from the node that was asked for it.
    pub(super) fn is_wanted(&self, number: u64) -> bool {
        let state = self.lock();
        !state.over && state.out.iter().any(|out| out.number == number)
    }

    /// No more pieces are to be fetched. Returns the calls that are under way.
    fn end(&self) -> Vec<CallId> {
        let mut state = self.lock();
        state.over = true;
        state.missing.clear();
        let calls = state.out.iter().filter_map(|out| out.call).collect();
        drop(state);
        self.changed.notify_all();
        calls
    }

    /// Waits for `time`, or until no more is to be fetched.
    pub(super) fn rest(&self, time: Duration) {
        let rested = self
            .changed
            .wait_timeout_while(self.lock(), time, |state| !state.over);
        drop(rested.unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits for the next report, at most until `until`; `None` when no thread fetches any more.
    /// Threads that report all the time do not put that time off. If the program runs the node in
    /// its own loop, this thread may be the only one that may run callbacks, so it runs them now
    /// and then.
    pub(super) fn next(&self, node: &Node, until: Instant) -> Option<News> {
        let mut state = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(News::Late);
            }
            if let Some(news) = state.news.pop_front() {
                return Some(news);
            }
            if state.fetching == 0 {
                return None;
            }
            let waited = self.changed.wait_timeout(state, TURN.min(left));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.news.is_empty() {
                drop(state);
                node.have_turn();
                state = self.lock();
            }
        }
    }
}

/// A piece that one thread fetches. When this is dropped, the piece is given back, and a waiting
/// thread may take it.
pub(super) struct Taken<'a> {
    pieces: &'a Pieces,
    pub(super) number: u64,
    pub(super) piece: Piece,
    /// The call by which another thread fetched the piece before.
    pub(super) instead_of: Option<CallId>,
}

impl Taken<'_> {
    /// Notes that the piece has arrived; an error if another thread was given it meanwhile.
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
        // Any thread may fetch it now.
        if state.take_back(self.number) && !state.over {
            state.missing.push_back(self.piece);
        }
        drop(state);
        self.pieces.changed.notify_all();
    }
}

/// When this is dropped, no more is fetched, also if the program's progress function has panicked.
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
