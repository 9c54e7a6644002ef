//! Every bound of the library, its default, and why it is what it is.
//!
//! What the wire fixes is a constant; what a program may tune is a field of [`Limits`].

use std::time::Duration;

/// Bytes of a network or node name. The first field of a frame must be found, or refused, within
/// this many bytes.
pub const NAME_MAX: usize = 64;

/// Bytes of a command path: fits its length into one byte on the wire.
pub const PATH_MAX: usize = 255;

/// Bytes of a frame on a stream, terminator included: what a peer may make us hold before it has
/// proved anything.
pub const FRAME_MAX: usize = 65_536;

/// Bytes of a frame in a datagram: below the 1 280 bytes every IPv6 link carries unfragmented, less
/// headers, so that one lost fragment never costs an advert.
pub const DATAGRAM_MAX: usize = 1_200;

/// Bytes of one call's or answer's body (path, args and kwargs; or the value or message). The
/// largest that seals into one frame: a frame's 65 536 bytes, less 76 of net, type and terminator,
/// times 3/4 for base64, less 73 of token overhead and the record's own fields.
pub const BODY_MAX: usize = 48_640;

/// Relays one advert may name: enough to grow a network, few enough to fit a datagram.
pub const ADVERT_RELAYS_MAX: usize = 8;

/// Keys a keyring may hold: two are needed while a key is rotated, and every datagram of a stranger
/// costs one MAC per key.
pub const KEYS_MAX: usize = 4;

/// What one node allows itself and others. All of it bounds memory, descriptors or CPU that
/// somebody else could make us spend.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Peers known from adverts. 4 096 entries are about 1 MiB; a thousand nodes on one LAN are
    /// expected, ten thousand invented ones are not.
    pub peers: usize,
    /// Addresses remembered for one instance: a gateway has a few interfaces.
    pub addresses_per_peer: usize,
    /// Links past their handshake. Stays well below the usual 1 024 descriptors of a process; the
    /// longest idle one gives way.
    pub sessions: usize,
    /// Links before their handshake that others opened. When full, the oldest gives way: an honest
    /// handshake takes milliseconds.
    pub half_open: usize,
    /// Dials under way. Bounds what forged or replayed adverts can make us do.
    pub dials: usize,
    /// Dials begun per second, beyond which they wait. Replayed adverts cost at most this.
    pub dials_per_second: u32,
    /// From connecting to a finished handshake. Two round trips on the slowest link one would use.
    pub handshake: Duration,
    /// A session that was silent this long is asked for a sign of life.
    pub keepalive: Duration,
    /// A session that was silent this long, although asked, is dead. Three keepalives.
    pub dead: Duration,
    /// A frame begun must be finished within this: the largest one at about 1 KiB a second.
    pub frame: Duration,
    /// Bytes that wait for one slow reader before further answers wait in [`Limits::reply_bytes`].
    pub link_queue: usize,
    /// Calls of our own in flight.
    pub calls: usize,
    /// Bytes of arguments of our own calls in flight, kept so that they can be sent again.
    pub call_bytes: usize,
    /// Calls one peer may have in flight here; more are answered `overloaded`.
    pub served_per_peer: usize,
    /// Bytes of answers kept for one peer until it confirms them.
    pub reply_bytes: usize,
    /// Longest time a call may be kept waiting; longer is shortened to this.
    pub call_timeout: Duration,
    /// Adverts opened per second; more are counted and dropped unread. A thousand nodes send about
    /// as many, ten thousand openings cost a small CPU a few percent.
    pub adverts_per_second: u32,
    /// Adverts we send per interval, whatever is heard. A thousand nodes starting together must not
    /// answer each other a million times.
    pub adverts_per_interval: u32,
    /// How long a node asks for its name before it takes part, as RFC 6762 section 8.1 probes.
    pub probe: Duration,
    /// First and longest pause between dials of one peer; doubled each time, and jittered.
    pub redial: (Duration, Duration),
    /// How often interfaces are read again.
    pub interfaces: Duration,
    /// Events kept for a slow subscriber; further ones are counted and told as missed.
    pub events: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            peers: 4_096,
            addresses_per_peer: 4,
            sessions: 256,
            half_open: 64,
            dials: 32,
            dials_per_second: 200,
            handshake: Duration::from_secs(5),
            keepalive: Duration::from_secs(5),
            dead: Duration::from_secs(15),
            frame: Duration::from_secs(60),
            link_queue: 256 * 1024,
            calls: 65_536,
            call_bytes: 16 * 1024 * 1024,
            served_per_peer: 1_024,
            reply_bytes: 4 * 1024 * 1024,
            call_timeout: Duration::from_secs(24 * 3600),
            adverts_per_second: 10_000,
            adverts_per_interval: 5,
            probe: Duration::from_millis(250),
            redial: (Duration::from_millis(50), Duration::from_secs(10)),
            interfaces: Duration::from_secs(2),
            events: 1_024,
        }
    }
}
