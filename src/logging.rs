//! Log records, and when the program's logger gets them.
//!
//! A logger is code of the program: it may take a lock of the program, or call back into the node.
//! Records that are written while the library holds one of its locks are therefore kept, and are
//! emitted after the lock is released. [`lock`] takes care of that.

use log::{Level, Record};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Records that are kept while a lock is held: one turn of the event loop writes a few for each
/// link.
const KEPT_MAX: usize = 1_024;

#[derive(Default)]
struct Kept {
    records: Vec<(Level, &'static str, String)>,
    missed: usize,
}

thread_local! {
    /// How many [`Held`] live on this thread. It is not part of `Kept`, because each lock counts
    /// here.
    static HOLDERS: Cell<usize> = const { Cell::new(0) };
    /// Whether any record is kept.
    static ANY: Cell<bool> = const { Cell::new(false) };
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// While a value of this type lives, the records of its thread are kept. When the last one is
/// dropped, they are emitted.
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
    // `take` ends the borrow before the logger runs, because the logger may call the library.
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

/// A mutex that is locked. While it is, the records of this thread are kept.
#[derive(Debug)]
pub(crate) struct Locked<'a, T> {
    guard: MutexGuard<'a, T>,
    // Fields are dropped in their order, so this one is dropped after the guard.
    held: Held,
}

/// Locks a mutex, also one that is poisoned: the caller must handle the state that a panic leaves
/// behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> Locked<'_, T> {
    let held = hold();
    let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
    Locked { guard, held }
}

/// Locks a mutex, unless a thread holds it, or has panicked while it held it.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<Locked<'_, T>> {
    let held = hold();
    let guard = mutex.try_lock().ok()?;
    Some(Locked { guard, held })
}

impl<T> Locked<'_, T> {
    /// Waits for a condition variable, for at most `most`.
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
    // `Log::enabled` is not called here, because it, too, is code of the program.
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
    // A thread that is ending cannot keep records, so it emits them at once.
    if kept.is_err() {
        emit(level, target, text);
    }
}

fn emit(level: Level, target: &str, text: fmt::Arguments<'_>) {
    // A logger is code of the program, and may panic: one that writes to a closed standard error
    // does. That must not end a thread of the library, on which calls of the program depend; the
    // record is lost, and the panic hook has reported the rest.
    let emitted = catch_unwind(AssertUnwindSafe(|| {
        let mut record = Record::builder();
        record.level(level).target(target).module_path(Some(target));
        log::logger().log(&record.args(text).build());
    }));
    drop(emitted);
}

/// Writes a log record of a level (`Error`, `Warn`, `Info`, `Debug`). The other arguments are those
/// of `format!`.
macro_rules! record {
    ($level:ident, $($text:tt)+) => {
        $crate::logging::add(log::Level::$level, module_path!(), format_args!($($text)+))
    };
}
pub(crate) use record;
