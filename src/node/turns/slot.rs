//! Where a thread waits for one result.

use crate::spinning::{SPIN, Spinning};
use crate::sync::{self, AtomicBool, Condvar, Mutex, MutexGuard};
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// Where a waiting thread finds its result.
#[derive(Debug)]
pub(crate) struct Slot<T> {
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
    pub(crate) fn new() -> Arc<Slot<T>> {
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

    pub(crate) fn fill(&self, value: T) {
        let mut inner = self.lock();
        inner.value = Some(value);
        let sleeping = inner.sleeping;
        drop(inner);
        self.is_filled.store(true, Ordering::Release);
        if sleeping {
            self.filled.notify_one();
        }
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.lock().value.take()
    }

    /// Waits for the value; looks for it first, if `spinning` says that this pays.
    pub(crate) fn wait(&self, spinning: &Spinning) -> T {
        let look = || -> Result<bool, Infallible> {
            Ok(sync::spin(SPIN, || self.is_filled.load(Ordering::Acquire)))
        };
        // Found or not, and it cannot fail: the value is taken under the lock.
        let Ok(_) = spinning.look(true, look);
        self.sleep()
    }

    fn sleep(&self) -> T {
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
