//! What takes the place of the library's `src/sync.rs`.

use shuttle::rand::Rng;
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};
use shuttle::thread::ThreadId;
pub(crate) use shuttle::thread::yield_now;
use std::ops::Add;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often a thread that spins looks.
const LOOKS: usize = 2;
/// By how many milliseconds the clock goes on at most when it is read: beyond every pause that
/// threads make.
const STEP_MAX: u64 = 30;

// Not explored: only one of the threads runs at a time.
static CLOCK: AtomicU64 = AtomicU64::new(0);

/// A moment of a clock that goes on by chance whenever it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(u64);

impl Instant {
    pub(crate) fn now() -> Instant {
        let step = shuttle::rand::thread_rng().gen_range(0..STEP_MAX);
        Instant(CLOCK.fetch_add(step, Ordering::Relaxed))
    }

    pub(crate) fn elapsed(self) -> Duration {
        Instant::now().saturating_duration_since(self)
    }

    pub(crate) fn saturating_duration_since(self, earlier: Instant) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn checked_add(self, d: Duration) -> Option<Instant> {
        let millis = u64::try_from(d.as_millis()).ok()?;
        self.0.checked_add(millis).map(Instant)
    }

    pub(crate) fn checked_duration_since(self, earlier: Instant) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_millis)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, d: Duration) -> Instant {
        Instant(self.0 + d.as_millis() as u64)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadMark(ThreadId);

pub(crate) fn this_thread() -> ThreadMark {
    ThreadMark(shuttle::thread::current().id())
}

pub(crate) fn spin(_most: Duration, has_come: impl Fn() -> bool) -> bool {
    (0..LOOKS).any(|_| {
        let found = has_come();
        if !found {
            yield_now();
        }
        found
    })
}
