//! What the library logs, on stderr, for who wants to know.

use log::{LevelFilter, Log, Metadata, Record};

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        eprintln!(
            "{}: {}",
            record.level().as_str().to_lowercase(),
            record.args()
        );
    }

    fn flush(&self) {}
}

/// Begins with what goes wrong.
pub(crate) fn start() {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

/// Everything, or only what goes wrong; whether it is everything now.
pub(crate) fn toggle() -> bool {
    let all = log::max_level() < LevelFilter::Debug;
    log::set_max_level(if all {
        LevelFilter::Trace
    } else {
        LevelFilter::Warn
    });
    all
}
