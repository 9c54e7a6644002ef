//! How often this process has been forked, seen from the inside: a child of a fork counts one more
//! than its parent.
//!
//! What a node has open belongs to the process that opened it. Whether that is this one is asked
//! with each call, where a system call for the process id would be felt. `tests/c/fork.c` forks.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);

/// The count now. The first use begins to count; a child that is made by a bare `clone` system
/// call, around the C library, is not noticed.
pub(crate) fn count() -> u32 {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        // SAFETY: the handler runs in the child, where only what is async-signal-safe may be done.
        // It changes one atomic number and nothing else. It is a function of this library, and the
        // C library forgets it when the library is unloaded.
        let refused = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        // It fails only for want of memory, which ends a Rust program anyway.
        assert_eq!(refused, 0, "no memory for a handler of forks");
    });
    FORKS.load(Ordering::Relaxed)
}

unsafe extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}
