//! What the event loop and a protocol without IO agree on: clocks, links, and what happens to
//! links.
//!
//! The engine of a node, the hub of a relay and the engine for Python nodes implement `Protocol`,
//! so one event loop serves all three.
//!
//! # How bytes leave
//!
//! The bytes that wait for a link stay in the protocol until the link's socket has taken them: how
//! many wait decides whether a sender may go on, and every bound on memory counts them there. For
//! each write the loop makes one visit, `Protocol::transmit`. It hands in a function that writes
//! to the socket. The protocol calls it with the bytes where they lie, drops those that the socket
//! took, and goes on with whatever has room now. So nothing is copied, and the loop keeps no bytes
//! between two visits. `rustls` does the same in `write_tls`. `quinn-proto` fills a buffer of the
//! loop's instead (`poll_transmit`), which suits datagrams: of a stream the socket may take a part
//! only, and the rest would wait in a place that no bound counts.

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
    /// The link has ended, or could not be made.
    Closed,
}

/// Writes bytes to a link. Returns how many of them the link took, which may be none.
pub(crate) type LinkWriter<'a> = dyn FnMut(&[u8]) -> usize + 'a;

/// A protocol that serves links.
pub(crate) trait Protocol {
    /// Another program has opened a link. Returns its number, or `None` if there is no room for it.
    fn accept(&mut self, now: Now, from: SocketAddr) -> Option<LinkId>;
    /// Handles what happened to a link.
    fn link(&mut self, now: Now, id: LinkId, event: LinkEvent<'_>);
    /// Has the bytes that wait for a link written, all in one call of `write`; if none wait, there
    /// is no call. What the link took is dropped, and what waited for room goes on. Returns whether
    /// bytes wait for the link after that.
    fn transmit(&mut self, now: Now, id: LinkId, write: &mut LinkWriter<'_>) -> bool;
}
