//! How a call is to be carried out.

use crate::engine::Terms;
use std::time::Duration;

/// How long a call waits, unless told otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// How many targets of one call are asked at a time, unless told otherwise. It bounds no calls that
/// are begun one by one: see [`CallBuilder::send_async`](crate::CallBuilder::send_async).
pub const MAX_IN_FLIGHT: usize = 64;

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) timeout: Duration,
    /// Whether to wait for a name that is not known yet.
    pub(crate) wait: bool,
    pub(crate) max_in_flight: usize,
    /// Whether the first failure ends the whole.
    pub(crate) raise_errors: bool,
}

impl Options {
    pub(super) fn terms(self, streams: bool) -> Terms {
        Terms {
            timeout: self.timeout,
            wait: self.wait,
            streams,
        }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            timeout: TIMEOUT,
            wait: true,
            max_in_flight: MAX_IN_FLIGHT,
            raise_errors: false,
        }
    }
}
