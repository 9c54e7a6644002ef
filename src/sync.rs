//! How threads share and wait, in the files that `models/` runs in every order: there, types that are explored
//! take the place of these.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Looks for something for at most so long, without sleeping; whether it came.
pub(crate) fn spin(most: Duration, has_come: impl Fn() -> bool) -> bool {
    let until = Instant::now() + most;
    loop {
        let found = has_come();
        if found || Instant::now() > until {
            return found;
        }
        std::hint::spin_loop();
    }
}
