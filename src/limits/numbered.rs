//! The limits of a node that C sets by number and the command line by name.

use super::Limits;
use crate::error::Error;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// A bound on what other nodes can make a node hold or do. C sets it by its number, and the command
/// line by its name. Unless a limit says otherwise, a number of things is 1 to 1 048 576, bytes of
/// memory are 1 KiB to 1 GiB, and milliseconds are 1 to 86 400 000, a day.
///
/// Numbers are never changed: new limits are appended.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Peers that are known from adverts; 4 096 by default.
    Peers = 1,
    /// Addresses that are remembered for one peer; 4 by default.
    AddressesPerPeer = 2,
    /// Open sessions; 256 by default. Each takes a descriptor, and up to PEERBASE_LIMIT_LINK_QUEUE
    /// bytes.
    Sessions = 3,
    /// Links that other nodes opened and that have not finished their handshake, a quarter of them
    /// through relays; 64 by default.
    HalfOpen = 4,
    /// Dials under way; 32 by default.
    Dials = 5,
    /// Dials begun per second; 200 by default.
    DialsPerSecond = 6,
    /// Bytes that wait for one slow reader; 256 KiB by default.
    LinkQueue = 7,
    /// This node's own calls in flight, and connects that wait for an address; 65 536 by default.
    Calls = 8,
    /// Bytes of arguments of this node's own calls in flight; 16 MiB by default.
    CallBytes = 9,
    /// Calls that one peer may have at this node, running or with their answers kept; 1 024 by
    /// default. One peer has at most an eighth of what is free of PEERBASE_LIMIT_SERVED.
    ServedPerPeer = 10,
    /// Calls of all peers that run, or whose answers are kept; 16 384 by default. All peers of one
    /// IPv4 address or IPv6 /48, or behind one relay, may have as many calls running as they leave
    /// free: half of them if there are no others.
    Served = 11,
    /// Bytes of answers kept for one peer until it confirms them, and four times as many for all
    /// peers together; 8 MiB by default.
    ReplyBytes = 12,
    /// Bytes of calls and messages of other nodes that wait for a handler, and of messages to all
    /// nodes until they are consumed, plus 512 for each; 16 MiB by default.
    WaitingBytes = 13,
    /// Bytes of what is asked in one call, and of its value; 4 MiB by default. As
    /// `peerbase_config_set_max_message`: the budgets into which one such message must fit are
    /// raised if they are too small for it. A budget that is to be smaller is set after this.
    MaxMessage = 14,
    /// Values that are made of one call's arguments or answer for a handler in Rust; 262 144 by
    /// default. A C program reads texts, for which no values are made.
    MaxValues = 15,
    /// Bytes of what other nodes ask, from its arrival until it is answered, and as many again for
    /// large answers that arrive; 20 MiB by default. All peers of one IPv4 address or IPv6 /48, or
    /// behind one relay, may take as much for what they ask as they leave free: half if there are
    /// no others. A peer that is already asking something may take at most four times what it
    /// leaves of that to the others there. Large answers from one peer may take half. So set it to
    /// at least twice PEERBASE_LIMIT_MAX_MESSAGE, and to five times PEERBASE_LIMIT_MAX_MESSAGE if
    /// one peer is to make two of the largest calls at a time.
    MessageBytes = 16,
    /// Bytes of one piece of a stream, 1024 to 48640; 16384 by default. As
    /// `peerbase_config_set_chunk_size`.
    ChunkSize = 17,
    /// Bytes of one stream that wait at each end, 97280 to 2^30; 256 KiB by default.
    StreamWindow = 18,
    /// Ends of streams that may be open; 128 by default. All callers of one IPv4 address or IPv6
    /// /48, or behind one relay, may have as many as they leave free, half of them if there are no
    /// others, and one of these callers nearly half.
    Streams = 19,
    /// Messages to all nodes that this node delivers and forwards per second; 200 by default.
    BroadcastsPerSecond = 20,
    /// Sessions beyond which the node dials no peer only because another peer told of it, 0 to 1
    /// 048 576; 64 by default. As `peerbase_config_set_max_peers`.
    MaxPeers = 21,
    /// Files that are offered, 0 to 1 048 576; 16 384 by default.
    Files = 22,
    /// Bytes of the largest file that is fetched, any number; 4 GiB by default. As
    /// `peerbase_config_set_file_limits`.
    FileBytes = 23,
    /// Files, or parts of files, that are read for other nodes at a time, 0 to 1 048 576; 8 by
    /// default. Each takes a thread. All peers at one address, or behind one relay, may have as
    /// many as they leave free: half of them if there are no others. One peer may have a third,
    /// rounded up, if there are no others.
    Uploads = 24,
    /// Bytes of files per second that are read for other nodes, all together, any number; 0 by
    /// default, which means no limit.
    UploadBytesPerSecond = 25,
    /// Adverts that are opened per second; 10 000 by default. Of those that a relay hands on, as
    /// many as PEERBASE_LIMIT_PEERS if that is more.
    AdvertsPerSecond = 26,
    /// Adverts that this node sends in an interval, whatever it hears; 5 by default.
    AdvertsPerInterval = 27,
    /// Events that are kept for a slow event handler; 1 024 by default.
    Events = 28,
    /// Dials per second of relays that other nodes announce; 2 by default.
    LearntDialsPerSecond = 29,
    /// Connections from Python nodes and to them; 256 by default.
    CompatLinks = 30,
    /// Connections of Python nodes from one address; 64 by default.
    CompatLinksPerAddress = 31,
    /// Packets that are on their way to one relay of Python nodes; 16 by default.
    CompatPosts = 32,
    /// Milliseconds from connecting to a finished handshake; 5000 by default.
    HandshakeMs = 33,
    /// Milliseconds within which a frame that was begun must be finished; 60000 by default.
    FrameMs = 34,
    /// Milliseconds that a call may wait at most; 86 400 000, a day, by default.
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

    /// The name of the field of [`Limits`]; for a time, with `_ms` added.
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

/// The field of a limit, and thereby its range.
enum Place<'a> {
    Count(&'a mut usize),
    Optional(&'a mut usize),
    Rate(&'a mut u32),
    Memory(&'a mut usize),
    Message(&'a mut Limits),
    Disk(&'a mut u64),
    Time(&'a mut Duration),
}

impl Limits {
    /// Sets one limit: a number of things or bytes, or the milliseconds of a time.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if the value is out of range: more than any node needs, or so little
    /// that the node could do nothing.
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
            Place::Message(limits) => limits.set_max_message(memory()? as usize),
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
            Limit::MaxMessage => Place::Message(self),
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
            // No limit has this default. As milliseconds it is 7 s.
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
    fn a_largest_message_that_is_set_by_number_fits_into_the_budgets_that_it_passes() {
        let (mut numbered, mut named) = (Limits::default(), Limits::default());
        numbered.set(Limit::MaxMessage, 32 << 20).unwrap();
        named.set_max_message(32 << 20);
        assert_eq!(format!("{numbered:?}"), format!("{named:?}"));
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
