//! What takes the place of the library's `src/logging.rs`: a mutex, locked, and records that nobody
//! reads.

use crate::sync::{Condvar, Mutex, MutexGuard, yield_now};
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::Duration;

/// A mutex, locked.
pub(crate) struct Locked<'a, T> {
    guard: MutexGuard<'a, T>,
    mutex: &'a Mutex<T>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> Locked<'_, T> {
    let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
    Locked { guard, mutex }
}

pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<Locked<'_, T>> {
    let guard = mutex.try_lock().ok()?;
    Some(Locked { guard, mutex })
}

impl<'a, T> Locked<'a, T> {
    /// Waits on a condition variable. A wait that has an end is over as soon as others have had a
    /// turn.
    pub(crate) fn wait(self, condvar: &Condvar, most: Option<Duration>) -> Self {
        let Locked { guard, mutex } = self;
        if most.is_some() {
            drop(guard);
            yield_now();
            return lock(mutex);
        }
        let guard = condvar.wait(guard).unwrap_or_else(PoisonError::into_inner);
        Locked { guard, mutex }
    }
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

macro_rules! record {
    ($level:ident, $($text:tt)+) => {
        let _ = format_args!($($text)+);
    };
}
pub(crate) use record;
