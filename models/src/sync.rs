//! What takes the place of the library's `src/sync.rs`.

pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32};
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
pub(crate) use std::time::Instant;

/// How often a thread that spins looks. There is no time here: what matters is that it looks before
/// and after the others have had a turn.
const LOOKS: usize = 2;

// Not explored: only one of the threads runs at a time.
static SPINNING: AtomicUsize = AtomicUsize::new(0);
static SPINS: AtomicUsize = AtomicUsize::new(0);
static MISSES: AtomicUsize = AtomicUsize::new(0);

/// Forgets the spins so far.
pub(crate) fn begin() {
    for count in [&SPINNING, &SPINS, &MISSES] {
        count.store(0, Ordering::Relaxed);
    }
}

/// How many spins there were, and how many of them were in vain.
pub(crate) fn spins() -> (usize, usize) {
    (
        SPINS.load(Ordering::Relaxed),
        MISSES.load(Ordering::Relaxed),
    )
}

pub(crate) fn spin(_most: Duration, has_come: impl Fn() -> bool) -> bool {
    let others = SPINNING.fetch_add(1, Ordering::Relaxed);
    assert_eq!(others, 0, "two threads spin at once");
    let found = (0..LOOKS).any(|_| {
        let found = has_come();
        if !found {
            loom::hint::spin_loop();
        }
        found
    });
    SPINNING.fetch_sub(1, Ordering::Relaxed);
    SPINS.fetch_add(1, Ordering::Relaxed);
    MISSES.fetch_add(usize::from(!found), Ordering::Relaxed);
    found
}
