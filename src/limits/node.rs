//! The limits that a node sets for itself and for its peers.

#[cfg(doc)]
use super::BODY_MAX;
use super::{ASKED_ROOM, CHUNK};
use std::time::Duration;

/// The limits of one node. Each bounds memory, descriptors or CPU that another node could make this
/// one spend. The defaults are for hosts with a few hundred megabytes of memory.
///
/// Begin with [`Limits::default`], change the fields that matter, and give the result to
/// [`Builder::limits`](crate::Builder::limits). That replaces all limits: call it before
/// [`Builder::max_message`](crate::Builder::max_message),
/// [`Builder::chunk_size`](crate::Builder::chunk_size), [`Builder::ping`](crate::Builder::ping),
/// [`Builder::max_peers`](crate::Builder::max_peers) and
/// [`Builder::file_limits`](crate::Builder::file_limits), which each change some fields and would
/// be undone. `max_message`, `chunk_size`, `stream_window`, `keepalive` and `dead` are checked when
/// the node starts; a value outside its range is [`Error::Argument`](crate::Error::Argument) there.
/// The other fields are taken as they are. [`Limits::set`] sets a field by its
/// [`Limit`](crate::Limit) and checks the value at once.
///
/// # In little memory
///
/// The README ("In little memory") lists values with which a node uses at most 16 MiB, two thread
/// stacks of 2 MiB included. A test runs a process under that limit while four peers flood it with
/// calls, and others read their answers slowly. With these values other nodes see:
///
/// * [`Error::TooLarge`](crate::Error::TooLarge) for a call or message of more than 32 KiB;
/// * [`Error::Overloaded`](crate::Error::Overloaded) for a ninth call of one peer while eight run,
///   and for any call that finds the budgets of bytes used up;
/// * [`Error::AnswerLost`](crate::Error::AnswerLost) for an answer that found no room to be kept;
/// * a session that was idle is closed when a ninth peer needs one. It is made again for the next
///   call, which takes some round trips longer.
///
/// The limits that are not in the list keep their defaults, which do not matter for these reasons:
///
/// * Eight sessions with eight calls each do not reach `served`. Nodes that come and go leave kept
///   answers behind until the time of their calls is over; 16 384 of these take 4 MiB, so set
///   `served` to 1 024 where other nodes may do that.
/// * `max_values` is for handlers in Rust that read [`Call::args`](crate::Call::args), and for
///   values of calls; a program in C is handed texts. The values of one text take at most ninety
///   times its length, which is 3 MiB for 32 KiB. A program in Rust that keeps several calls whose
///   arguments it has read should set `max_values` to 4 096, which takes 1.3 MB at most.
/// * Rates and times cost CPU and no memory, and `files` counts what the program itself offers.
///
/// Three things are not included:
///
/// * Broadcasts that wait for a handler: only `waiting_bytes` (16 MiB) bounds them. If a handler
///   may take longer than a second, set `waiting_bytes` to 256 KiB as well.
/// * Threads besides the two, each with a stack of 2 MiB: one for each upload (`uploads`), one for
///   each of up to eight nodes from which a file is fetched, and up to four that look up the names
///   of relays. A relay that is given by its IP address needs none, so a relay fits.
/// * The protocol of Python nodes (feature `compat`), which has budgets of the same sizes of its
///   own, and up to `compat_links` connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Peers that are known from adverts. 4 096 entries are about 1 MiB. A thousand nodes on one
    /// LAN are expected; ten thousand invented ones are not. 4 096 by default.
    pub peers: usize,
    /// Addresses that are remembered for one instance: a gateway has a few interfaces. 4 by
    /// default.
    pub addresses_per_peer: usize,
    /// Links past their handshake. The default stays well below the usual 1 024 descriptors of a
    /// process. If a further link needs room, the address or relay with the most of them loses the
    /// session that has been idle longest there. At the limit a node dials only peers and addresses
    /// that a call waits for. 256 by default.
    pub sessions: usize,
    /// Links that other nodes opened and that have not finished their handshake, a quarter of them
    /// through relays. If a further link needs room, the node or address with the most such links
    /// loses one: first a link that has been silent, before one that has said hello, and the oldest
    /// first. An honest handshake takes milliseconds. 64 by default.
    pub half_open: usize,
    /// Dials under way. It bounds what forged or replayed adverts can make the node do. 32 by
    /// default.
    pub dials: usize,
    /// Dials begun per second; further dials wait. Replayed adverts cost at most this. 200 by
    /// default.
    pub dials_per_second: u32,
    /// From connecting to a finished handshake: two round trips on the slowest link that is usable.
    /// A relay that the node joins has as long for each next piece of what it hands over, and ten
    /// times [`Limits::frame`] for all of it. 5 s by default.
    pub handshake: Duration,
    /// How long a session may be silent before the node pings the peer. 5 s by default;
    /// [`Builder::ping`](crate::Builder::ping) sets it as well.
    pub keepalive: Duration,
    /// How long a session may be silent, although the peer was pinged, before it is dead: three
    /// keepalives. 15 s by default.
    pub dead: Duration,
    /// The time within which a frame that was begun must be finished: the largest frame at about 1
    /// KiB a second. A call of which some is still to come is refused if its caller streams nothing
    /// for as long. 60 s by default.
    pub frame: Duration,
    /// Bytes that wait for one slow reader before further answers wait in [`Limits::reply_bytes`].
    /// 256 KiB by default.
    pub link_queue: usize,
    /// This node's own calls in flight, and connects that wait for an address. 65 536 by default.
    pub calls: usize,
    /// Bytes of arguments of this node's own calls in flight, kept so that they can be sent again.
    /// 16 MiB by default.
    pub call_bytes: usize,
    /// Calls that one peer may have in flight at this node. They count until they are answered,
    /// also when their caller no longer waits. Further calls are answered `overloaded`. All Python
    /// nodes at one address, or behind one relay, count as one peer, and have no more places than
    /// they leave of twice as many for all Python nodes together. 1 024 by default.
    pub served_per_peer: usize,
    /// Calls of all peers together that are running or whose answers are kept; the default takes
    /// about 4 MiB. One peer may have as many as an eighth of the free entries. For a call beyond
    /// that, the node evicts kept answers, first of peers without a session, then of peers that
    /// have more calls here than this one; if there are none, it answers `overloaded`. All peers of
    /// one IPv4 address or IPv6 /48, or behind one relay, may have as many calls running as they
    /// leave free: half of this number if there are no others. 16 384 by default.
    pub served: usize,
    /// Bytes of answers kept for one peer until it confirms them; four times as many for all
    /// together. 8 MiB by default.
    pub reply_bytes: usize,
    /// Bytes of calls and messages from peers that wait for a handler, plus 512 for each, because a
    /// handler may run for any time. Further calls are answered `overloaded`; further broadcasts
    /// are dropped and counted. If nothing else waits, one call or message of any size is accepted.
    /// A broadcast that a handler has counts until the program drops it, but only against other
    /// broadcasts. A call stops counting here when a handler gets it; [`Limits::message_bytes`]
    /// bounds it until it is answered. 16 MiB by default.
    pub waiting_bytes: usize,
    /// The longest time that a call may wait; a longer timeout is shortened to this. A day by
    /// default.
    pub call_timeout: Duration,
    /// Bytes of what is asked in one call, and of its value. What does not fit into one frame is
    /// sent in pieces. 4 MiB by default. To set this field alone leaves the budgets as they are
    /// into which such a message must fit; [`Builder::max_message`](crate::Builder::max_message)
    /// raises them.
    pub max_message: usize,
    /// Values of one call's arguments, or of one answer, that are made for a program that reads
    /// them as [`serde_json::Value`]: numbers, texts, lists, objects and their keys. Each takes 32
    /// bytes, and up to 320 where objects of a single member are nested, so the default bounds them
    /// to 8 to 84 MB. Without it a text of the largest message would become 440 MB. 262 144 by
    /// default.
    pub max_values: usize,
    /// Bytes that calls and messages from peers carry, from their arrival until they are answered,
    /// plus [`ASKED_ROOM`] for each call. All callers of one IPv4 address or IPv6 /48, or behind
    /// one relay, may take as much as they leave free: half of it if there are no others. One of
    /// them may take at most four times what it leaves of that to the others, or make one call if
    /// it has none here. So the default lets a lone caller make two of the largest calls at a time,
    /// and other callers there still find room. A second budget of the same size, half of it for
    /// one peer, is for large answers to this node's own calls while they arrive. Calls of Python
    /// nodes have budgets of the same size of their own: one while they arrive, and one until the
    /// program has answered them. 20 MiB by default.
    pub message_bytes: usize,
    /// Bytes of one piece of a stream, at most [`BODY_MAX`]. 16 KiB by default.
    pub chunk_size: usize,
    /// Bytes of one stream that wait at each end: at the sender to be acknowledged, at the receiver
    /// to be read. It is at least two of the largest pieces. With the default a line of 50 ms
    /// carries 5 MB/s. 256 KiB by default.
    pub stream_window: usize,
    /// Broadcasts that are delivered and forwarded per second: each costs every node of the network
    /// as much. A quarter of them is kept for the first few that each peer forwards. 200 by
    /// default.
    pub broadcasts_per_second: u32,
    /// Sessions beyond which the node dials no peer only because another peer told of it. 64 by
    /// default; 0 means that no peer is dialled for that reason.
    pub max_peers: usize,
    /// Files that are offered. 16 384 by default.
    pub files: usize,
    /// Bytes of the largest file that is fetched. Without it a peer could fill a disk. 4 GiB by
    /// default.
    pub file_bytes: u64,
    /// Files, or parts of files, that are read for other nodes at a time: each takes a thread. All
    /// peers at one address, or behind one relay, may have as many as they leave free: half of them
    /// if there are no others. One peer may have fewer, because its own count twice there: a third,
    /// rounded up, if there are no others. 8 by default.
    pub uploads: usize,
    /// Bytes of files per second that are read for other nodes, all together; 0 means no limit. 0
    /// by default.
    pub upload_bytes_per_second: u64,
    /// Ends of streams that may be open: each holds at most a window. All callers of one IPv4
    /// address or IPv6 /48, or behind one relay, may have as many as they leave free: half of them
    /// if there are no others. One of these callers may have at most four times what it leaves of
    /// that to the others. An end that carries a large call or answer does not count here, since
    /// its bytes count for [`Limits::call_bytes`], [`Limits::message_bytes`] or
    /// [`Limits::reply_bytes`]. 128 by default.
    pub streams: usize,
    /// Adverts that are opened per second; further ones are counted and dropped unread. A thousand
    /// nodes send about a thousand adverts per second, and to open ten thousand costs a small CPU a
    /// few percent. Whatever strangers send, a quarter is kept for addresses at which peers have
    /// proved to be, and each of those has the same share of it. Of the adverts that one relay
    /// hands on as many are opened besides, or as many as [`Limits::peers`] if that is more, since
    /// a relay hands over those of all members when the node joins. A member whose advert was
    /// dropped is learnt when it has something new to tell, when it dials this node, or when the
    /// node joins again. 10 000 by default.
    pub adverts_per_second: u32,
    /// Adverts that this node sends per interval, whatever it hears. A thousand nodes that start
    /// together must not answer each other a million times. 5 by default.
    pub adverts_per_interval: u32,
    /// How long a node asks for its name before it takes part, as RFC 6762, section 8.1, probes.
    /// 250 ms by default.
    pub probe: Duration,
    /// First and longest pause between dials of one peer; each pause is twice the one before, and
    /// jittered. 50 ms and 10 s by default.
    pub redial: (Duration, Duration),
    /// How often the list of interfaces is read again. 2 s by default.
    pub interfaces: Duration,
    /// Events that are kept for a slow subscriber. Further ones are counted, and the subscriber is
    /// told how many it missed. 1 024 by default.
    pub events: usize,
    /// First and longest pause between dials of one relay; each pause is twice the one before, and
    /// jittered. 200 ms and 30 s by default.
    pub relay_redial: (Duration, Duration),
    /// Nonsensical frames that one route may send before the node asks the relay for no more of
    /// them. 16 by default.
    pub route_faults: u32,
    /// Pause after a relay has refused this node, for example because of a wrong key: to ask again
    /// soon changes nothing. 60 s by default.
    pub relay_refused: Duration,
    /// Failed dials in a row after which the node drops a relay that it learnt from other nodes. 4
    /// by default.
    pub relay_attempts: u32,
    /// How long such a relay is not learnt again. 600 s by default.
    pub relay_shunned: Duration,
    /// Dials per second of relays that were learnt. A member can make this node dial as often by
    /// inventing relays. 2 by default.
    pub learnt_dials_per_second: u32,
    /// How long a start waits for the relays that it was given, to ask there whether the name is
    /// taken. The start does not wait for a relay that is slower than a handshake on a good link. 2
    /// s by default.
    pub relay_probe: Duration,
    /// How long the direct path is tried before a relay is asked as well. 300 ms by default.
    pub direct_first: Duration,
    /// Longest pause between dials of the direct path while a path through a relay works, and of an
    /// address whose node closes sessions because it has too many. 300 s by default.
    pub redial_direct: Duration,
    /// How long a call to a peer that is known only by the protocol of Python nodes waits for the
    /// peer to be found natively: an interval of adverts, or the time to join at a relay. 1 s by
    /// default.
    pub compat_grace: Duration,
    /// Connections from Python nodes and to them: each is one call. 256 by default.
    pub compat_links: usize,
    /// Connections of Python nodes from one address: a program calls from a few dozen threads. 64
    /// by default.
    pub compat_links_per_address: usize,
    /// Packets that are on their way to one relay of Python nodes at a time; others wait. 16 by
    /// default.
    pub compat_posts: usize,
}

impl Limits {
    /// Sets `max_message`, and raises the budgets into which one such message must fit: at the
    /// caller what it asks, at the callee its answer, and at either what arrives, of which one peer
    /// may take half.
    pub(crate) fn set_max_message(&mut self, bytes: usize) {
        self.max_message = bytes;
        let one = bytes.saturating_add(ASKED_ROOM);
        self.call_bytes = self.call_bytes.max(one);
        self.reply_bytes = self.reply_bytes.max(one);
        self.message_bytes = self.message_bytes.max(one.saturating_mul(2));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_largest_message_fits_into_the_budgets_that_it_passes() {
        let mut limits = Limits::default();
        limits.set_max_message(32 << 20);
        let one = (32 << 20) + ASKED_ROOM;
        assert_eq!(limits.max_message, 32 << 20);
        assert!(limits.call_bytes >= one && limits.reply_bytes >= one);
        assert!(limits.message_bytes / 2 >= one);
        let defaults = Limits::default();
        limits = defaults.clone();
        limits.set_max_message(1_024);
        assert_eq!(limits.call_bytes, defaults.call_bytes);
        assert_eq!(limits.reply_bytes, defaults.reply_bytes);
        assert_eq!(limits.message_bytes, defaults.message_bytes);
    }
}
