//! How much memory a thread has allocated.
#![allow(unsafe_code)] // an allocator that counts can be written in no other way

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: i64) {
    // A thread that is ending has no count any more.
    let live = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        live.get()
    });
    let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.unwrap_or(0))));
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Begins to measure; what this thread holds now.
pub(crate) fn begin() -> i64 {
    let live = LIVE.get();
    PEAK.set(live);
    live
}

/// Bytes that this thread holds now beyond what it held then.
pub(crate) fn held_since(before: i64) -> usize {
    usize::try_from(LIVE.get() - before).unwrap_or(0)
}

/// The most bytes that this thread has held since it began to measure, beyond what it held then.
pub(crate) fn peak_since(before: i64) -> usize {
    (PEAK.get() - before) as usize
}
