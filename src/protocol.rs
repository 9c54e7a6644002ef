//! What the event loop and a protocol without IO agree on: clocks, links, and what happens to them.
//!
//! The engine of a node and the hub of a relay are both a `Protocol`; the loop that serves one
//! serves the other.

use std::net::SocketAddr;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment of a clock that never goes back, as the time since some fixed start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

impl Time {
    /// Later than every moment that will come.
    pub(crate) const NEVER: Time = Time(Duration::MAX);
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, d: Duration) -> Time {
        Time(self.0.saturating_add(d))
    }
}

impl Sub for Time {
    type Output = Duration;
    fn sub(self, earlier: Time) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Both clocks at one moment. Only `at` decides anything; `unix` is stamped on tokens, because their
/// format has a place for it, and may be wrong by decades.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// The clock that never goes back.
    pub at: Time,
    /// The wall clock, in Unix seconds.
    pub unix: u64,
}

/// A link, for as long as its protocol lives: never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What happened to a link.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LinkEvent<'a> {
    /// It is connected, as was asked for.
    Connected,
    /// Bytes came.
    Received(&'a [u8]),
    /// It took this many of the pending bytes.
    Sent(usize),
    /// It ended, or could not be made.
    Closed,
}

/// What serves links.
pub(crate) trait Protocol {
    /// A link that somebody else opened, or `None` if there is no room for one.
    fn accept(&mut self, now: Now, from: SocketAddr) -> Option<LinkId>;
    /// Takes in what happened to a link.
    fn link(&mut self, now: Now, id: LinkId, event: LinkEvent<'_>);
    /// Bytes that wait to be written to a link.
    fn pending(&self, id: LinkId) -> &[u8];
}
