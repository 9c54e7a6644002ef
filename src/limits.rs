//! Every bound of the library, its default, and why it is what it is.
//!
//! Bounds that the wire protocol fixes are constants. Bounds that a program may set are fields of [`Limits`];
//! those that can also be set from C or on the command line have a [`Limit`] as well.

use crate::error::Error;
use std::ops::RangeInclusive;
use std::str::FromStr;
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
    /// Links before their handshake that others opened, a quarter of them through relays. When full, whoever
    /// has the most loses one, the silent before those that have said hello, and the oldest first: an honest
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
    /// Calls of our own in flight, and connects that wait for an address.
    pub calls: usize,
    /// Bytes of arguments of our own calls in flight, kept so that they can be sent again.
    pub call_bytes: usize,
    /// Calls one peer may have in flight here, until they are answered also where nobody waits any more; more are
    /// answered `overloaded`.
    pub served_per_peer: usize,
    /// Calls of all peers together that are running or whose answers are kept; the default takes about 4 MiB.
    /// One peer may have as many as an eighth of the free entries. For a call beyond that, the node evicts
    /// kept answers, first of peers without a session, then of peers that have more calls here than this one;
    /// if there are none, it answers `overloaded`. All peers of one IPv4 address or IPv6 /48, or behind one
    /// relay, may have as many calls running as they leave free: half of this number if there are no others.
    pub served: usize,
    /// Bytes of answers kept for one peer until it confirms them; four times as many for all together.
    pub reply_bytes: usize,
    /// Bytes of calls and messages from peers that wait for a handler, plus 512 for each, because a handler
    /// may run for any time. Further calls are answered `overloaded`; further broadcasts are dropped and
    /// counted. If nothing else waits, one call or message of any size is accepted. A broadcast that a
    /// handler has counts until the program drops it, but only against other broadcasts. A call stops
    /// counting here when a handler gets it; [`Limits::message_bytes`] bounds it until it is answered.
    pub waiting_bytes: usize,
    /// Longest time a call may be kept waiting; longer is shortened to this.
    pub call_timeout: Duration,
    /// Bytes of what is asked in one call, and of its value. What does not fit one frame is sent in pieces.
    pub max_message: usize,
    /// Values of one call's arguments, or of one answer, that are made for a program that reads them as
    /// [`serde_json::Value`]: numbers, texts, lists, objects and their keys. Each takes 32 bytes, and up to
    /// 320 where objects of a single member are in one another, so this is 8 to 84 MB; a text of the largest
    /// message would otherwise become 440.
    pub max_values: usize,
    /// Bytes that calls and messages from peers carry, from their arrival until they are answered, plus
    /// [`ASKED_ROOM`] for each call. All callers of one IPv4 address or IPv6 /48, or behind one relay, may take
    /// as much as they leave free: half of it if there are no others. One of them may take at most four times
    /// what it leaves of that to the others, or make one call if it has none here; so the default lets a lone
    /// caller make two of the largest calls at a time, and others there find room all the same. A second budget
    /// of the same size, half of it for one peer, is for large answers to this node's own calls while they
    /// arrive.
    pub message_bytes: usize,
    /// Bytes of one piece of a stream, at most [`BODY_MAX`].
    pub chunk_size: usize,
    /// Bytes of one stream that wait at each end: to be acknowledged at the sender, to be read at the
    /// receiver. At least two of the largest pieces; a line of 50 ms is filled by 5 MB/s.
    pub stream_window: usize,
    /// Broadcasts delivered and handed on per second: each costs every node of the network as much.
    pub broadcasts_per_second: u32,
    /// Sessions beyond which nobody is dialled on a peer's word.
    pub max_peers: usize,
    /// Files that are offered.
    pub files: usize,
    /// Bytes of the largest file that is fetched: what a peer could otherwise fill a disk with.
    pub file_bytes: u64,
    /// Files, or parts of them, that are read for others at a time: each takes a thread. All peers at one
    /// address, or behind one relay, may have as many as they leave free, so half of them if there are no others. One
    /// peer may have fewer, for its own are counted twice there: a third, rounded up, if there are no others.
    pub uploads: usize,
    /// Bytes of files per second that are read for others, all together; 0 for as fast as it goes.
    pub upload_bytes_per_second: u64,
    /// Ends of streams that may be open: each holds at most a window. Callers of one IPv4 address or IPv6 /48, or
    /// behind one relay, may have as many as they leave free, half of them if there are no others; one of these
    /// callers may have at most four times what it leaves of that to the others.
    /// An end that sends a large answer does not count here, since the bytes of the answer count
    /// for [`Limits::reply_bytes`].
    pub streams: usize,
    /// Adverts opened per second; more are counted and dropped unread. A thousand nodes send about
    /// as many, ten thousand openings cost a small CPU a few percent. A quarter is kept for addresses where
    /// peers have proved to be, each of them alike, whatever strangers send.
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
    /// First and longest pause between dials of one relay; doubled each time, and jittered.
    pub relay_redial: (Duration, Duration),
    /// Frames that make no sense from one route before the relay is asked for no more of them.
    pub route_faults: u32,
    /// Pause after a relay has refused us, for a wrong key say: asking again soon changes nothing.
    pub relay_refused: Duration,
    /// Failed dials in a row after which a relay that was learnt from others is dropped.
    pub relay_attempts: u32,
    /// How long such a relay is not learnt again.
    pub relay_shunned: Duration,
    /// Dials per second of relays that were learnt: what a member can make us dial by inventing them.
    pub learnt_dials_per_second: u32,
    /// How long a start waits for the relays it was given, to ask there whether the name is taken. One
    /// that is slower than a handshake on a good link is not waited for.
    pub relay_probe: Duration,
    /// How long the direct path is tried before a relay is asked as well.
    pub direct_first: Duration,
    /// Longest pause between dials of the direct path while one through a relay works.
    pub redial_direct: Duration,
    /// How long a peer that is known by the protocol of Python nodes only is waited for natively before it is
    /// called: an interval of adverts, or joining at a relay.
    pub compat_grace: Duration,
    /// Connections of Python nodes, and of ours to them: each is one call.
    pub compat_links: usize,
    /// Connections of Python nodes from one address: a program calls from a few dozen threads.
    pub compat_links_per_address: usize,
    /// Packets for one relay of Python nodes that are on their way at a time; others wait.
    pub compat_posts: usize,
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
            served: 16_384,
            reply_bytes: 8 * 1024 * 1024,
            waiting_bytes: 16 * 1024 * 1024,
            call_timeout: Duration::from_secs(24 * 3600),
            max_message: 4 * 1024 * 1024,
            max_values: 262_144,
            message_bytes: 20 * 1024 * 1024,
            chunk_size: CHUNK,
            stream_window: 256 * 1024,
            broadcasts_per_second: 200,
            max_peers: 64,
            files: 16_384,
            file_bytes: 4 * 1024 * 1024 * 1024,
            uploads: 8,
            upload_bytes_per_second: 0,
            streams: 128,
            adverts_per_second: 10_000,
            adverts_per_interval: 5,
            probe: Duration::from_millis(250),
            redial: (Duration::from_millis(50), Duration::from_secs(10)),
            interfaces: Duration::from_secs(2),
            events: 1_024,
            relay_redial: (Duration::from_millis(200), Duration::from_secs(30)),
            route_faults: 16,
            relay_refused: Duration::from_secs(60),
            relay_attempts: 4,
            relay_shunned: Duration::from_secs(600),
            learnt_dials_per_second: 2,
            relay_probe: Duration::from_secs(2),
            direct_first: Duration::from_millis(300),
            redial_direct: Duration::from_secs(300),
            compat_grace: Duration::from_secs(1),
            compat_links: 256,
            compat_links_per_address: 64,
            compat_posts: 16,
        }
    }
}

/// A bound on what others can make a node hold or do, as it is set by its number in C and by its name at a command
/// line. A number of things is 1 to 1 048 576, bytes of memory are 1 KiB to 1 GiB, and milliseconds are 1 to a day,
/// unless something else is said.
///
/// Numbers are never changed: new limits are appended.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Peers known from adverts; 4 096 unless set.
    Peers = 1,
    /// Addresses remembered for one peer; 4 unless set.
    AddressesPerPeer = 2,
    /// Sessions that are open; 256 unless set. Each takes a descriptor, and up to what PEERBASE_LIMIT_LINK_QUEUE says.
    Sessions = 3,
    /// Links that others opened and that have not finished their handshake, a quarter of them through relays; 64 unless
    /// set.
    HalfOpen = 4,
    /// Dials under way; 32 unless set.
    Dials = 5,
    /// Dials begun a second; 200 unless set.
    DialsPerSecond = 6,
    /// Bytes that wait for one slow reader; 256 KiB unless set.
    LinkQueue = 7,
    /// Calls of this node's own in flight, and connects that wait for an address; 65 536 unless set.
    Calls = 8,
    /// Bytes of arguments of this node's own calls in flight; 16 MiB unless set.
    CallBytes = 9,
    /// Calls that one peer may have here, running or with their answers kept, and at most an eighth of what is free
    /// of PEERBASE_LIMIT_SERVED; 1 024 unless set.
    ServedPerPeer = 10,
    /// Calls of all peers that run, or whose answers are kept; 16 384 unless set. Peers of one IPv4 address or IPv6
    /// /48, or behind one relay, may together have as many running as they leave free: half of them if there are no
    /// others.
    Served = 11,
    /// Bytes of answers kept for one peer until it confirms them, and four times as many for all together; 8 MiB unless
    /// set.
    ReplyBytes = 12,
    /// Bytes of calls and messages of others that wait for a handler, and of messages to everyone until they are
    /// consumed, with 512 for each; 16 MiB unless set.
    WaitingBytes = 13,
    /// Bytes of what is asked in one call, and of its value; 4 MiB unless set. As `peerbase_config_set_max_message`.
    MaxMessage = 14,
    /// Values that are made of one call's arguments or answer for a handler in Rust; 262 144 unless set. A program in C
    /// reads texts, of which none are made.
    MaxValues = 15,
    /// Bytes of what others ask, from when it begins to come until it is answered, and apart from that of large answers
    /// that are coming; 20 MiB unless set. Peers of one IPv4 address or IPv6 /48, or behind one relay, may together take as
    /// much for what they ask as they leave free: half if there are no others. A peer that is asking something already
    /// may take at most four times what it leaves of that to the others. Large answers from one peer may take half. So
    /// it is to be twice PEERBASE_LIMIT_MAX_MESSAGE or more, and five times as much for two of the largest calls of one
    /// peer at a time.
    MessageBytes = 16,
    /// Bytes of one piece of a stream, 1024 to 48640; 16384 unless set. As `peerbase_config_set_chunk_size`.
    ChunkSize = 17,
    /// Bytes of one stream that wait at each end, 97280 to 2^30; 256 KiB unless set.
    StreamWindow = 18,
    /// Ends of streams that may be open; 128 unless set. Callers of one IPv4 address or IPv6 /48, or behind one relay,
    /// may have as many as they leave free, half of them if there are no others, and one of them nearly half.
    Streams = 19,
    /// Messages to everyone that are delivered and handed on a second; 200 unless set.
    BroadcastsPerSecond = 20,
    /// Sessions beyond which nobody is dialled on a peer's word, or 0; 64 unless set. As `peerbase_config_set_max_peers`.
    MaxPeers = 21,
    /// Files that are offered, or 0; 16 384 unless set.
    Files = 22,
    /// Bytes of the largest file that is fetched, any number; 4 GiB unless set. As `peerbase_config_set_file_limits`.
    FileBytes = 23,
    /// Files, or parts of them, that are read for others at a time, or 0; 8 unless set. Each takes a thread. One peer
    /// may have as many as it leaves free: half of them if there is no other.
    Uploads = 24,
    /// Bytes of files a second that are read for others, all together, any number; 0, which is as fast as it goes,
    /// unless set.
    UploadBytesPerSecond = 25,
    /// Adverts opened a second; 10 000 unless set.
    AdvertsPerSecond = 26,
    /// Adverts sent in an interval, whatever is heard; 5 unless set.
    AdvertsPerInterval = 27,
    /// Events kept for a slow event handler; 1 024 unless set.
    Events = 28,
    /// Dials a second of relays that other nodes tell of; 2 unless set.
    LearntDialsPerSecond = 29,
    /// Connections of Python nodes, and to them; 256 unless set.
    CompatLinks = 30,
    /// Connections of Python nodes from one address; 64 unless set.
    CompatLinksPerAddress = 31,
    /// Packets on their way to one relay of Python nodes; 16 unless set.
    CompatPosts = 32,
    /// Milliseconds from connecting to a finished handshake; 5000 unless set.
    HandshakeMs = 33,
    /// Milliseconds within which a frame that was begun must be finished; 60000 unless set.
    FrameMs = 34,
    /// Milliseconds that a call may be kept waiting at most; a day unless set.
    CallTimeoutMs = 35,
}

impl Limit {
    /// Every limit, for tables and tests.
    ///
    /// cbindgen:ignore
    pub const ALL: [Limit; 35] = [
        Limit::Peers,
        Limit::AddressesPerPeer,
        Limit::Sessions,
        Limit::HalfOpen,
        Limit::Dials,
        Limit::DialsPerSecond,
        Limit::LinkQueue,
        Limit::Calls,
        Limit::CallBytes,
        Limit::ServedPerPeer,
        Limit::Served,
        Limit::ReplyBytes,
        Limit::WaitingBytes,
        Limit::MaxMessage,
        Limit::MaxValues,
        Limit::MessageBytes,
        Limit::ChunkSize,
        Limit::StreamWindow,
        Limit::Streams,
        Limit::BroadcastsPerSecond,
        Limit::MaxPeers,
        Limit::Files,
        Limit::FileBytes,
        Limit::Uploads,
        Limit::UploadBytesPerSecond,
        Limit::AdvertsPerSecond,
        Limit::AdvertsPerInterval,
        Limit::Events,
        Limit::LearntDialsPerSecond,
        Limit::CompatLinks,
        Limit::CompatLinksPerAddress,
        Limit::CompatPosts,
        Limit::HandshakeMs,
        Limit::FrameMs,
        Limit::CallTimeoutMs,
    ];

    /// The name of the field of [`Limits`], of a time with `_ms` added.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Peers => "peers",
            Limit::AddressesPerPeer => "addresses_per_peer",
            Limit::Sessions => "sessions",
            Limit::HalfOpen => "half_open",
            Limit::Dials => "dials",
            Limit::DialsPerSecond => "dials_per_second",
            Limit::LinkQueue => "link_queue",
            Limit::Calls => "calls",
            Limit::CallBytes => "call_bytes",
            Limit::ServedPerPeer => "served_per_peer",
            Limit::Served => "served",
            Limit::ReplyBytes => "reply_bytes",
            Limit::WaitingBytes => "waiting_bytes",
            Limit::MaxMessage => "max_message",
            Limit::MaxValues => "max_values",
            Limit::MessageBytes => "message_bytes",
            Limit::ChunkSize => "chunk_size",
            Limit::StreamWindow => "stream_window",
            Limit::Streams => "streams",
            Limit::BroadcastsPerSecond => "broadcasts_per_second",
            Limit::MaxPeers => "max_peers",
            Limit::Files => "files",
            Limit::FileBytes => "file_bytes",
            Limit::Uploads => "uploads",
            Limit::UploadBytesPerSecond => "upload_bytes_per_second",
            Limit::AdvertsPerSecond => "adverts_per_second",
            Limit::AdvertsPerInterval => "adverts_per_interval",
            Limit::Events => "events",
            Limit::LearntDialsPerSecond => "learnt_dials_per_second",
            Limit::CompatLinks => "compat_links",
            Limit::CompatLinksPerAddress => "compat_links_per_address",
            Limit::CompatPosts => "compat_posts",
            Limit::HandshakeMs => "handshake_ms",
            Limit::FrameMs => "frame_ms",
            Limit::CallTimeoutMs => "call_timeout_ms",
        }
    }
}

impl FromStr for Limit {
    type Err = Error;
    fn from_str(name: &str) -> Result<Limit, Error> {
        let found = Limit::ALL.into_iter().find(|limit| limit.name() == name);
        found.ok_or(Error::Argument("there is no limit of this name"))
    }
}

/// Where a limit is, and thereby what it may be.
enum Place<'a> {
    Count(&'a mut usize),
    Optional(&'a mut usize),
    Rate(&'a mut u32),
    Memory(&'a mut usize),
    Disk(&'a mut u64),
    Time(&'a mut Duration),
}

impl Limits {
    /// Sets one limit: a number of things or bytes, or the milliseconds of a time.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if the value is out of range: more than any node needs, or so little that the node could
    /// do nothing.
    pub fn set(&mut self, limit: Limit, value: u64) -> Result<(), Error> {
        let within = |range: RangeInclusive<u64>, otherwise| match range.contains(&value) {
            true => Ok(value),
            false => Err(Error::Argument(otherwise)),
        };
        let count = || within(1..=1 << 20, "this limit must be 1 to 1 048 576");
        let memory = || within(1 << 10..=1 << 30, "this limit must be 1 KiB to 1 GiB");
        match self.place(limit) {
            Place::Count(place) => *place = count()? as usize,
            Place::Rate(place) => *place = count()? as u32,
            Place::Optional(place) => {
                *place = within(0..=1 << 20, "this limit must be 0 to 1 048 576")? as usize;
            }
            Place::Memory(place) => *place = memory()? as usize,
            Place::Disk(place) => *place = value,
            Place::Time(place) => {
                let ms = within(1..=86_400_000, "this limit must be 1 ms to a day")?;
                *place = Duration::from_millis(ms);
            }
        }
        Ok(())
    }

    fn place(&mut self, limit: Limit) -> Place<'_> {
        match limit {
            Limit::Peers => Place::Count(&mut self.peers),
            Limit::AddressesPerPeer => Place::Count(&mut self.addresses_per_peer),
            Limit::Sessions => Place::Count(&mut self.sessions),
            Limit::HalfOpen => Place::Count(&mut self.half_open),
            Limit::Dials => Place::Count(&mut self.dials),
            Limit::DialsPerSecond => Place::Rate(&mut self.dials_per_second),
            Limit::LinkQueue => Place::Memory(&mut self.link_queue),
            Limit::Calls => Place::Count(&mut self.calls),
            Limit::CallBytes => Place::Memory(&mut self.call_bytes),
            Limit::ServedPerPeer => Place::Count(&mut self.served_per_peer),
            Limit::Served => Place::Count(&mut self.served),
            Limit::ReplyBytes => Place::Memory(&mut self.reply_bytes),
            Limit::WaitingBytes => Place::Memory(&mut self.waiting_bytes),
            Limit::MaxMessage => Place::Memory(&mut self.max_message),
            Limit::MaxValues => Place::Count(&mut self.max_values),
            Limit::MessageBytes => Place::Memory(&mut self.message_bytes),
            Limit::ChunkSize => Place::Memory(&mut self.chunk_size),
            Limit::StreamWindow => Place::Memory(&mut self.stream_window),
            Limit::Streams => Place::Count(&mut self.streams),
            Limit::BroadcastsPerSecond => Place::Rate(&mut self.broadcasts_per_second),
            Limit::MaxPeers => Place::Optional(&mut self.max_peers),
            Limit::Files => Place::Optional(&mut self.files),
            Limit::FileBytes => Place::Disk(&mut self.file_bytes),
            Limit::Uploads => Place::Optional(&mut self.uploads),
            Limit::UploadBytesPerSecond => Place::Disk(&mut self.upload_bytes_per_second),
            Limit::AdvertsPerSecond => Place::Rate(&mut self.adverts_per_second),
            Limit::AdvertsPerInterval => Place::Rate(&mut self.adverts_per_interval),
            Limit::Events => Place::Count(&mut self.events),
            Limit::LearntDialsPerSecond => Place::Rate(&mut self.learnt_dials_per_second),
            Limit::CompatLinks => Place::Count(&mut self.compat_links),
            Limit::CompatLinksPerAddress => Place::Count(&mut self.compat_links_per_address),
            Limit::CompatPosts => Place::Count(&mut self.compat_posts),
            Limit::HandshakeMs => Place::Time(&mut self.handshake),
            Limit::FrameMs => Place::Time(&mut self.frame),
            Limit::CallTimeoutMs => Place::Time(&mut self.call_timeout),
        }
    }
}

/// What one relay allows its members. All of it bounds what a stranger, or a member gone bad, can make
/// the relay hold or do, and keeps that from being at the cost of other members.
#[derive(Clone, Debug)]
pub struct RelayLimits {
    /// Networks served at a time, where any may come. As many again may have mailboxes only. One address, or one
    /// IPv6 /48, may begin at most as many as are left.
    pub networks: usize,
    /// Members of one network. As many as a node keeps peers; each is told of every other.
    pub members: usize,
    /// Links in all; one IPv6 /48 has at most as many as are left. Each takes a descriptor: a relay raises how
    /// many its process may open as far as it may, and serves fewer links where that is not enough.
    pub links: usize,
    /// Links that have not joined. When full, the oldest from where most come from gives way: joining takes an
    /// honest node a few round trips.
    pub newcomers: usize,
    /// Links from one address, or one IPv6 /64: a site behind one router.
    pub links_per_address: usize,
    /// Rate limit of joins, per second, from one IPv4 address or IPv6 /48; also the rate limit of adverts
    /// from there. The burst is [`RelayLimits::links_per_address`] joins, and twice as many adverts. The
    /// relay sends each join and advert to every member of the network.
    pub joins_per_second: u32,
    /// From connecting to having joined. Three round trips on the slowest link one would use.
    pub handshake: Duration,
    /// A member that is silent this long is gone. Members show themselves at least every 30 s.
    pub idle: Duration,
    /// A frame begun must be finished within this.
    pub frame: Duration,
    /// Bytes that may wait for one member. The relay drops further frames and tells their senders. If,
    /// through the relay's own messages, more than about twice this waits, the relay closes the member's
    /// link.
    pub queue: usize,
    /// Bytes that may wait for members that are behind, all together; those of one address, or one IPv6 /48,
    /// have at most as many as are left. Memory, not only what is in it.
    pub queues_bytes: usize,
    /// Bytes that all links take besides, for frames begun, for what is just being sent, and for what the relay
    /// itself tells; half of them from one address, or one IPv6 /48. Beyond, the largest link of where most
    /// is taken is closed. Memory, not only what is in it; one round of the event loop may add to it.
    pub links_bytes: usize,
    /// A member that takes nothing for this long, though something waits, is gone.
    pub stalled: Duration,
    /// Bytes a second that a member must take on average of [`RelayLimits::stalled`] if more wait. A quarter of
    /// the slowest link one would use, since the system takes them in lumps.
    pub drain_per_second: u32,
    /// Bytes a second from one member; beyond, it is not read for a while, so that TCP pushes back.
    pub bytes_per_second: u32,
    /// Bytes that one member may send at once before [`RelayLimits::bytes_per_second`] holds.
    pub burst: u32,
    /// Between two adverts of one member that are handed on. The latest waits meanwhile: each goes to
    /// every member.
    pub advert_interval: Duration,
    /// Bytes a second of adverts that are handed on in one network, twice as many at once; others wait, and of
    /// each member the latest. A thousand members that start together know each other within a quarter of a
    /// minute.
    pub advert_bytes_per_second: u32,
    /// Routes to which bytes of one member may wait: more than a node has sessions.
    pub flows: usize,
    /// Routes from which one member may want nothing: as many as join from one address.
    pub blocked: usize,
    /// Mailboxes of Python nodes, of all networks; those that one address, or one IPv6 /48, has made are at most
    /// as many as are left.
    pub mailboxes: usize,
    /// Those of one network, with the same share: each is told of all others several times a second.
    pub mailboxes_per_network: usize,
    /// A Python node that does not ask for this long, and is not being sent an answer, is gone; it asks every quarter
    /// of a second, unless set otherwise.
    pub mailbox_idle: Duration,
    /// Long polling: how long the relay holds a Python node's request if there is nothing new. It answers at
    /// once when something arrives.
    pub mailbox_wait: Duration,
    /// Packets that may wait in one mailbox, or be on their way to its owner.
    pub mailbox_packets: usize,
    /// Bytes of them; senders of more are told.
    pub mailbox_bytes: usize,
    /// Bytes of all of them, in whatever mailbox; those that one address, or one IPv6 /48, has sent are at most
    /// as many as are left.
    pub mailboxes_bytes: usize,
    /// Bytes of one HTTP request's body: a message of some 2 MiB, which is sealed and encoded twice.
    pub request_bytes: usize,
    /// Bytes of all requests that are coming in; one address, or one IPv6 /48, has at most as many as are left.
    pub requests_bytes: usize,
}

impl Default for RelayLimits {
    fn default() -> RelayLimits {
        RelayLimits {
            networks: 1_024,
            members: 4_096,
            links: 16_384,
            newcomers: 512,
            links_per_address: 256,
            joins_per_second: 16,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(90),
            frame: Duration::from_secs(60),
            queue: 4 * 1024 * 1024,
            queues_bytes: 256 * 1024 * 1024,
            links_bytes: 256 * 1024 * 1024,
            stalled: Duration::from_secs(30),
            drain_per_second: 256,
            bytes_per_second: 64 * 1024 * 1024,
            burst: 8 * 1024 * 1024,
            advert_interval: Duration::from_secs(1),
            advert_bytes_per_second: 16 * 1024 * 1024,
            flows: 1_024,
            blocked: 256,
            mailboxes: 4_096,
            mailboxes_per_network: 256,
            mailbox_idle: Duration::from_secs(3),
            mailbox_wait: Duration::from_secs(1),
            mailbox_packets: 1_024,
            mailbox_bytes: 8 * 1024 * 1024,
            mailboxes_bytes: 64 * 1024 * 1024,
            request_bytes: 4 * 1024 * 1024,
            requests_bytes: 64 * 1024 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_its_number_its_name_and_its_field() {
        for (i, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, i + 1);
            assert_eq!(limit.name().parse(), Ok(limit));
            let mut limits = Limits::default();
            // A default of none, and 7 s where it is a time.
            limits.set(limit, 7_000).unwrap();
            let (field, value) = match limit.name().strip_suffix("_ms") {
                Some(field) => (field, "7s"),
                None => (limit.name(), "7000"),
            };
            let (before, after) = (format!("{:?}", Limits::default()), format!("{limits:?}"));
            let changed: Vec<_> = after
                .split(['{', ',', '}'])
                .zip(before.split(['{', ',', '}']))
                .filter(|(after, before)| after != before)
                .collect();
            assert_eq!(changed.len(), 1, "{field}: {changed:?}");
            assert_eq!(changed[0].0.trim(), format!("{field}: {value}"));
        }
        assert!("no_such".parse::<Limit>().is_err());
    }

    #[test]
    fn a_limit_out_of_its_range_is_an_error_and_changes_nothing() {
        for (limit, least, most) in [
            (Limit::Peers, 1, 1 << 20),
            (Limit::MaxPeers, 0, 1 << 20),
            (Limit::DialsPerSecond, 1, 1 << 20),
            (Limit::LinkQueue, 1 << 10, 1 << 30),
            (Limit::FileBytes, 0, u64::MAX),
            (Limit::FrameMs, 1, 86_400_000),
        ] {
            let mut limits = Limits::default();
            let outside = [u64::checked_sub(least, 1), u64::checked_add(most, 1)];
            for value in outside.into_iter().flatten() {
                let set = limits.set(limit, value);
                assert!(matches!(set, Err(Error::Argument(_))), "{limit:?} {value}");
            }
            assert_eq!(format!("{limits:?}"), format!("{:?}", Limits::default()));
            assert!(limits.set(limit, least).is_ok() && limits.set(limit, most).is_ok());
        }
    }
}
