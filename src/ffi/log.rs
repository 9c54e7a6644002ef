//! The optional log callback.

use super::error::guard;
use super::handle::c_string;
use crate::error::Error;
use log::{LevelFilter, Log, Metadata, Record};
use std::ffi::{c_char, c_int};
use std::sync::OnceLock;

/// A function that gets log lines. `level` is 1 for an error, 2 for a warning, 3 for information
/// and 4 for debugging; `text` is valid until the function returns. The library may call it from
/// any thread. It must not call the library. No line holds a key.
pub type peerbase_log_handler = Option<unsafe extern "C" fn(level: c_int, text: *const c_char)>;

struct ToC(unsafe extern "C" fn(c_int, *const c_char));

impl Log for ToC {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("peerbase")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = c_string(record.args().to_string());
            // SAFETY: the program registered the handler to be called like this.
            unsafe { (self.0)(record.level() as c_int, text.as_ptr()) };
        }
    }

    fn flush(&self) {}
}

static LOGGER: OnceLock<ToC> = OnceLock::new();

/// Sets the function that gets the library's log lines of level 1 to `level`. Without it the
/// library logs nothing. It can be set once in a process, from any thread. Returns 0,
/// PEERBASE_ERR_ARGUMENT if `handler` is NULL or `level` is outside 1 to 4, or PEERBASE_ERR_REFUSED
/// if a log is already set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_set_log(level: c_int, handler: peerbase_log_handler) -> c_int {
    guard(|| {
        let handler = handler.ok_or(Error::Argument("handler is NULL"))?;
        let filter = match level {
            1 => LevelFilter::Error,
            2 => LevelFilter::Warn,
            3 => LevelFilter::Info,
            4 => LevelFilter::Debug,
            _ => return Err(Error::Argument("level must be 1 to 4")),
        };
        let taken = || Error::Refused("a log is set already".into());
        LOGGER.set(ToC(handler)).map_err(|_| taken())?;
        let logger = LOGGER
            .get()
            .ok_or(Error::Internal("the log was just set"))?;
        log::set_logger(logger).map_err(|_| taken())?;
        log::set_max_level(filter);
        Ok(())
    })
}
