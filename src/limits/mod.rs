//! Every bound of the library, its default, and why it is what it is.
//!
//! Bounds that the wire protocol fixes are the constants below. Bounds that a program may set are
//! fields of [`Limits`] for a node (`node`) and of [`RelayLimits`] for a relay (`relay`). A node's
//! limits that can also be set from C or on the command line have a [`Limit`] as well
//! (`numbered`).

mod node;
mod numbered;
mod relay;

pub use node::Limits;
pub use numbered::Limit;
pub use relay::RelayLimits;

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

/// Bytes of `fwd` frames that may be on their way through a relay to one route. What a node may make a
/// relay hold for somebody who does not read; enough for a long line at a megabyte a second.
pub const ROUTE_WINDOW: u32 = 256 * 1024;

/// Relays a node may be linked to at a time: more make it no more reachable, and each costs a link.
pub const REMOTES_MAX: usize = 16;

/// Bytes of one piece of a stream, unless set otherwise: sealing a piece takes some 30 us, and a short call
/// waits for no more than a few of them.
pub const CHUNK: usize = 16 * 1024;

/// The furthest a receiver may let a sender go ahead of what it has: more than any line holds, and not so
/// much that sums of it could overflow.
pub const STREAM_WINDOW_MAX: u64 = 1 << 30;

/// Bytes of streams that wait for one link, however much it would take: what a short call may find before it.
pub const STREAM_QUEUE: usize = 48 * 1024;

/// Bytes of the words with which a stream is broken off: a sentence or two, and always in one record.
pub const REASON_MAX: usize = 1_024;

/// Questions about files that may wait for the disk: a few from each of as many nodes as one has sessions with.
pub const FILE_QUESTIONS: usize = 1_024;

/// How long somebody who is sent a file may take nothing of it before another has its place.
pub const UPLOAD_STALLED: Duration = Duration::from_secs(30);

/// How many nodes may hand a broadcast on, one after the other: longer chains are not networks that anybody
/// meant to build.
pub const BROADCAST_HOPS: u8 = 32;

/// Addresses that a program may ask to be linked to: a few to find the network again are enough.
pub const SEEDS_MAX: usize = 256;

/// Bytes of an HTTP request's or answer's head: what Python's `requests` sends is a twentieth of it.
pub const HTTP_HEAD_MAX: usize = 8 * 1024;

/// Fields of such a head: five are usual, and a proxy adds a few.
pub const HTTP_FIELDS_MAX: usize = 64;

/// Relays of Python nodes taken in from one message: as many as a node may be linked to.
pub const SERVERS_MAX: usize = REMOTES_MAX;

/// Bytes that a call of somebody takes here besides what is asked.
pub const ASKED_ROOM: usize = 512;
