//! What takes the place of the library's `src/error.rs`.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    Argument(&'static str),
    Forked,
    Internal(&'static str),
    Stopped,
    Timeout,
    WouldBlock,
    WouldDeadlock,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
