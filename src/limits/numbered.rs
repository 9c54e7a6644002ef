//! The limits of a node that C sets by number and the command line by name.

use super::Limits;
use crate::error::Error;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

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
