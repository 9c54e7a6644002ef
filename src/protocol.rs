//! What the event loop and a protocol without IO agree on: clocks, links, and what happens to
//! links.
//!
//! The engine of a node and the hub of a relay both implement `Protocol`, so one event loop serves
//! both.

use std::net::SocketAddr;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment of a clock that never goes back, as the time since some fixed start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

impl Time {
    /// A moment that never comes: later than every other.
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

/// Both clocks at one moment. Only `at` decides anything. `unix` is stamped on tokens, because
/// their format has a place for it, and may be wrong by decades.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// The clock that never goes back.
    pub at: Time,
    /// The wall clock, in Unix seconds.
    pub unix: u64,
}

/// The number of a link. It is never used again while the protocol lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What happened to a link.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LinkEvent<'a> {
    /// The link that the protocol asked for is connected.
    Connected,
    /// Bytes arrived.
    Received(&'a [u8]),
    /// The link has taken this many of the pending bytes.
    Sent(usize),
    /// The link has ended, or could not be made.
    Closed,
}

/// A protocol that serves links.
pub(crate) trait Protocol {
    /// Another program has opened a link. Returns its number, or `None` if there is no room for it.
    fn accept(&mut self, now: Now, from: SocketAddr) -> Option<LinkId>;
    /// Handles what happened to a link.
    fn link(&mut self, now: Now, id: LinkId, event: LinkEvent<'_>);
    /// The bytes that wait to be written to a link.
    fn pending(&self, id: LinkId) -> &[u8];
}
