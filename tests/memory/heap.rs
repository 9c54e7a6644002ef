//! An allocator that counts, for each owner, how many bytes are allocated and how many were at
//! most.
#![allow(unsafe_code)] // an allocator that counts can be written in no other way

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Whose bytes are counted apart: the test's own, those of what is measured, those of everything
/// else.
pub(crate) const TEST: usize = 0;
pub(crate) const MEASURED: usize = 1;
pub(crate) const OTHERS: usize = 2;
const OWNERS: usize = 3;

/// Bytes before each allocation, where its owner is written. What is aligned to more belongs to the
/// test.
const HEAD: usize = 16;

struct Counting;

thread_local! {
    static OWNER: Cell<usize> = const { Cell::new(TEST) };
    static LIVE: [Cell<isize>; OWNERS] = const { [const { Cell::new(0) }; OWNERS] };
    static PEAK: [Cell<isize>; OWNERS] = const { [const { Cell::new(0) }; OWNERS] };
}

fn count(owner: usize, bytes: isize) {
    // A thread that is ending has no counts any more.
    let live = LIVE.try_with(|live| {
        live[owner].set(live[owner].get() + bytes);
        live[owner].get()
    });
    if let Ok(live) = live {
        let _ = PEAK.try_with(|peak| peak[owner].set(peak[owner].get().max(live)));
    }
}

fn with_head(layout: Layout) -> Option<Layout> {
    if layout.align() > HEAD {
        return None;
    }
    Layout::from_size_align(layout.size() + HEAD, HEAD).ok()
}

// SAFETY: the system's allocator does the work; what it is asked for is longer by a head of the
// alignment that was wanted or more, so that what is after the head is as long and as aligned as
// was wanted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let owner = OWNER.try_with(Cell::get).unwrap_or(TEST);
        let Some(longer) = with_head(layout) else {
            // SAFETY: the caller's promises are handed on.
            return unsafe { System.alloc(layout) };
        };
        // SAFETY: the size is not 0.
        let start = unsafe { System.alloc(longer) };
        if start.is_null() {
            return start;
        }
        count(owner, layout.size() as isize);
        // SAFETY: the head is the first part of what was allocated, and aligned.
        unsafe {
            start.cast::<usize>().write(owner);
            start.add(HEAD)
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some(longer) = with_head(layout) else {
            // SAFETY: the caller's promises are handed on.
            return unsafe { System.dealloc(pointer, layout) };
        };
        // SAFETY: this is where `alloc` put the head.
        let (start, owner) = unsafe {
            let start = pointer.sub(HEAD);
            (start, start.cast::<usize>().read())
        };
        count(owner, -(layout.size() as isize));
        // SAFETY: allocated with this layout.
        unsafe { System.dealloc(start, longer) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Does something whose allocations are an owner's.
pub(crate) fn owned<T>(owner: usize, f: impl FnOnce() -> T) -> T {
    let before = OWNER.replace(owner);
    let result = f();
    OWNER.set(before);
    result
}

/// Bytes that an owner has on this thread.
pub(crate) fn live(owner: usize) -> usize {
    LIVE.with(|live| usize::try_from(live[owner].get()).unwrap_or(0))
}

/// The most that an owner had on this thread.
pub(crate) fn peak(owner: usize) -> usize {
    PEAK.with(|peak| usize::try_from(peak[owner].get()).unwrap_or(0))
}
