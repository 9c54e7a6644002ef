//! Log records, and when they are given to the program's logger.
//!
//! A logger is the program's own code: it may take a lock of the program's, or call back into the node.
//! While the library holds one of its locks, records are therefore kept, and they are emitted after the
//! lock is released. [`lock`] sees to that.

use log::{Level, Record};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Records kept while a lock is held: one turn of the event loop writes a few for each link.
const KEPT_MAX: usize = 1_024;

#[derive(Default)]
struct Kept {
    records: Vec<(Level, &'static str, String)>,
    missed: usize,
}

thread_local! {
    /// How many [`Held`] live on this thread. Apart from what is kept, since each lock counts here.
    static HOLDERS: Cell<usize> = const { Cell::new(0) };
    /// Whether anything is kept.
    static ANY: Cell<bool> = const { Cell::new(false) };
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// While one of these lives, records of its thread are kept. When the last is dropped, they are emitted.
#[must_use]
#[derive(Debug)]
struct Held(());

/// Keeps the records of this thread until the result is dropped.
fn hold() -> Held {
    HOLDERS.set(HOLDERS.get() + 1);
    Held(())
}

impl Drop for Held {
    fn drop(&mut self) {
        HOLDERS.set(HOLDERS.get() - 1);
        if HOLDERS.get() == 0 && ANY.take() {
            emit_kept();
        }
    }
}

fn emit_kept() {
    // The borrow is over when this has been taken: the logger may call the library.
    if let Ok(Kept { records, missed }) = KEPT.try_with(RefCell::take) {
        for (level, target, text) in records {
            emit(level, target, format_args!("{text}"));
        }
        if missed > 0 {
            let text = format_args!("{missed} further log records were dropped");
            emit(Level::Warn, module_path!(), text);
        }
    }
}

/// A mutex, locked. While it is, the records of this thread are kept.
#[derive(Debug)]
pub(crate) struct Locked<'a, T> {
    guard: MutexGuard<'a, T>,
    // Dropped after the guard, as fields are dropped in their order.
    held: Held,
}

/// Locks a mutex. One that was poisoned is locked as well: what a panic leaves behind is for the caller to
/// see to.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> Locked<'_, T> {
    let held = hold();
    let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
    Locked { guard, held }
}

/// Locks a mutex if nobody else has it.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<Locked<'_, T>> {
    let held = hold();
    let guard = mutex.try_lock().ok()?;
    Some(Locked { guard, held })
}

impl<T> Locked<'_, T> {
    /// Waits on a condition variable, at most `most`.
    pub(crate) fn wait(self, condvar: &Condvar, most: Option<Duration>) -> Self {
        let Locked { guard, held } = self;
        let guard = match most {
            None => condvar.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(most) => {
                let waited = condvar.wait_timeout(guard, most);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        Locked { guard, held }
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

/// Emits a record now, or keeps it while a lock is held. Use the macro `record!`.
pub(crate) fn add(level: Level, target: &'static str, text: fmt::Arguments<'_>) {
    // Whether this is enabled is not asked of the logger: that, too, is the program's code.
    if level > log::max_level() {
        return;
    }
    if HOLDERS.get() == 0 {
        return emit(level, target, text);
    }
    let kept = KEPT.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        ANY.set(true);
        if kept.records.len() < KEPT_MAX {
            kept.records.push((level, target, text.to_string()));
        } else {
            kept.missed += 1;
        }
    });
    // A thread that is ending has no place to keep records; it emits them at once.
    if kept.is_err() {
        emit(level, target, text);
    }
}

fn emit(level: Level, target: &str, text: fmt::Arguments<'_>) {
    let mut record = Record::builder();
    record.level(level).target(target).module_path(Some(target));
    log::logger().log(&record.args(text).build());
}

/// Writes a log record of a level (`Error`, `Warn`, `Info`, `Debug`), with the words of `format!`.
macro_rules! record {
    ($level:ident, $($text:tt)+) => {
        $crate::logging::add(log::Level::$level, module_path!(), format_args!($($text)+))
    };
}
pub(crate) use record;
