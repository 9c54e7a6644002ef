//! Log records, and when they are given to the program's logger.
//!
//! A logger is the program's own code: it may take a lock of the program's, or call back into the node.
//! While the library holds one of its locks, records are therefore kept, and they are emitted after the
//! lock is released. Whoever takes such a lock calls [`hold`] first and drops what it returns last.

use log::{Level, Record};
use std::cell::RefCell;
use std::fmt;

/// Records kept while a lock is held: one turn of the event loop writes a few for each link.
const KEPT_MAX: usize = 1_024;

#[derive(Default)]
struct Kept {
    /// How many [`Held`] live on this thread.
    holders: usize,
    records: Vec<(Level, &'static str, String)>,
    missed: usize,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// While one of these lives, records of its thread are kept. When the last is dropped, they are emitted.
#[must_use]
#[derive(Debug)]
pub(crate) struct Held(());

/// Keeps the records of this thread until the result is dropped.
pub(crate) fn hold() -> Held {
    // A thread that is ending has no place to keep records; it emits them at once.
    let _ = KEPT.try_with(|kept| kept.borrow_mut().holders += 1);
    Held(())
}

impl Drop for Held {
    fn drop(&mut self) {
        let kept = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            kept.holders -= 1;
            if kept.holders > 0 || kept.records.is_empty() {
                return None;
            }
            let missed = std::mem::take(&mut kept.missed);
            Some((std::mem::take(&mut kept.records), missed))
        });
        // The borrow is over: the logger may call the library.
        let Ok(Some((records, missed))) = kept else {
            return;
        };
        for (level, target, text) in records {
            emit(level, target, format_args!("{text}"));
        }
        if missed > 0 {
            let text = format_args!("{missed} further log records were dropped");
            emit(Level::Warn, module_path!(), text);
        }
    }
}

/// Emits a record now, or keeps it while a lock is held. Use the macro `record!`.
pub(crate) fn add(level: Level, target: &'static str, text: fmt::Arguments<'_>) {
    // Whether this is enabled is not asked of the logger: that, too, is the program's code.
    if level > log::max_level() {
        return;
    }
    let kept = KEPT.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        if kept.holders == 0 {
            return false;
        }
        if kept.records.len() < KEPT_MAX {
            kept.records.push((level, target, text.to_string()));
        } else {
            kept.missed += 1;
        }
        true
    });
    if !kept.unwrap_or(false) {
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
