//! Where a thread waits for one result, and how: it looks for a while before it sleeps, as long as that
//! is found to pay.

use crate::sync::{self, AtomicBool, AtomicU32, Condvar, Mutex, MutexGuard};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long a thread looks for its result before it sleeps: about what waking it would cost.
const SPIN: Duration = Duration::from_micros(60);
/// After looking in vain ever longer pauses, up to 2 to the power of this many waits: over a network,
/// or on one processor, looking would only burn.
const SPIN_MISSES_MAX: u32 = 10;

/// Where a waiting thread finds its result.
#[derive(Debug)]
pub(super) struct Slot<T> {
    inner: Mutex<SlotState<T>>,
    is_filled: AtomicBool,
    filled: Condvar,
}

#[derive(Debug)]
struct SlotState<T> {
    value: Option<T>,
    sleeping: bool,
}

impl<T> Slot<T> {
    pub(super) fn new() -> Arc<Slot<T>> {
        Arc::new(Slot {
            inner: Mutex::new(SlotState {
                value: None,
                sleeping: false,
            }),
            is_filled: AtomicBool::new(false),
            filled: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, SlotState<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fill(&self, value: T) {
        let mut inner = self.lock();
        inner.value = Some(value);
        let sleeping = inner.sleeping;
        drop(inner);
        self.is_filled.store(true, Ordering::Release);
        if sleeping {
            self.filled.notify_one();
        }
    }

    pub(super) fn take(&self) -> Option<T> {
        self.lock().value.take()
    }

    /// Looks for the value for a while, without sleeping; whether it came.
    fn spin(&self) -> bool {
        sync::spin(SPIN, || self.is_filled.load(Ordering::Acquire))
    }

    fn wait(&self) -> T {
        let mut inner = self.lock();
        loop {
            if let Some(value) = inner.value.take() {
                return value;
            }
            inner.sleeping = true;
            inner = self
                .filled
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Whether the next thread that waits is to look for its result first: one at a time, and as long as
/// that is found to pay.
#[derive(Debug, Default)]
pub(super) struct Spinning {
    busy: AtomicBool,
    /// Times in a row that looking was in vain.
    misses: AtomicU32,
    /// Waits to let pass before looking again.
    skip: AtomicU32,
}

impl Spinning {
    // Relaxed: a count that is off by one costs a few microseconds and nothing else.
    pub(super) fn wait<T>(&self, slot: &Slot<T>) -> T {
        let skip = self.skip.load(Ordering::Relaxed);
        if skip > 0 {
            self.skip.store(skip - 1, Ordering::Relaxed);
        } else if !self.busy.swap(true, Ordering::Relaxed) {
            if slot.spin() {
                self.misses.store(0, Ordering::Relaxed);
            } else {
                let misses = (self.misses.load(Ordering::Relaxed) + 1).min(SPIN_MISSES_MAX);
                self.misses.store(misses, Ordering::Relaxed);
                self.skip.store(1 << misses, Ordering::Relaxed);
            }
            self.busy.store(false, Ordering::Relaxed);
        }
        slot.wait()
    }
}
