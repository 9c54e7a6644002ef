//! How threads share, wait and tell each other apart, in the files that `models/` runs in many
//! orders: there, types that are explored take the place of these.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use std::thread::yield_now;
pub(crate) use std::time::Instant;

use std::time::Duration;

/// Which thread this is, among those that live. Not `thread::current()`, which makes a handle that
/// is kept until the thread ends, in a program whose threads are not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadMark(usize);

/// The thread that calls this.
pub(crate) fn this_thread() -> ThreadMark {
    thread_local!(static PLACE: u8 = const { 0 });
    PLACE.with(|place| ThreadMark(std::ptr::from_ref(place).addr()))
}

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
