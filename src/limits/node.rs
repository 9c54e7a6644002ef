//! The limits that a node sets for itself and for its peers.

#[cfg(doc)]
use super::BODY_MAX;
use super::{ASKED_ROOM, CHUNK};
use std::time::Duration;

/// The limits of one node. Each bounds memory, descriptors or CPU that another node could make this
/// one spend.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Peers that are known from adverts. 4 096 entries are about 1 MiB. A thousand nodes on one
    /// LAN are expected; ten thousand invented ones are not.
    pub peers: usize,
    /// Addresses that are remembered for one instance: a gateway has a few interfaces.
    pub addresses_per_peer: usize,
    /// Links past their handshake. The default stays well below the usual 1 024 descriptors of a
    /// process. If a further link needs room, the address or relay with the most of them loses the
    /// session that has been idle longest there.
    pub sessions: usize,
    /// Links that other nodes opened and that have not finished their handshake, a quarter of them
    /// through relays. If a further link needs room, the node or address with the most such links
    /// loses one: first a link that has been silent, before one that has said hello, and the oldest
    /// first. An honest handshake takes milliseconds.
    pub half_open: usize,
    /// Dials under way. It bounds what forged or replayed adverts can make the node do.
    pub dials: usize,
    /// Dials begun per second; further dials wait. Replayed adverts cost at most this.
    pub dials_per_second: u32,
    /// From connecting to a finished handshake: two round trips on the slowest link that is usable.
    pub handshake: Duration,
    /// How long a session may be silent before the node pings the peer.
    pub keepalive: Duration,
    /// How long a session may be silent, although the peer was pinged, before it is dead: three
    /// keepalives.
    pub dead: Duration,
    /// The time within which a frame that was begun must be finished: the largest frame at about 1
    /// KiB a second. A call of which some is still to come is refused if its caller streams nothing
    /// for as long.
    pub frame: Duration,
    /// Bytes that wait for one slow reader before further answers wait in [`Limits::reply_bytes`].
    pub link_queue: usize,
    /// This node's own calls in flight, and connects that wait for an address.
    pub calls: usize,
    /// Bytes of arguments of this node's own calls in flight, kept so that they can be sent again.
    pub call_bytes: usize,
    /// Calls that one peer may have in flight at this node. They count until they are answered,
    /// also when their caller no longer waits. Further calls are answered `overloaded`. All Python
    /// nodes at one address, or behind one relay, count as one peer, and have no more places than
    /// they leave of twice as many for all Python nodes together.
    pub served_per_peer: usize,
    /// Calls of all peers together that are running or whose answers are kept; the default takes
    /// about 4 MiB. One peer may have as many as an eighth of the free entries. For a call beyond
    /// that, the node evicts kept answers, first of peers without a session, then of peers that
    /// have more calls here than this one; if there are none, it answers `overloaded`. All peers of
    /// one IPv4 address or IPv6 /48, or behind one relay, may have as many calls running as they
    /// leave free: half of this number if there are no others.
    pub served: usize,
    /// Bytes of answers kept for one peer until it confirms them; four times as many for all
    /// together.
    pub reply_bytes: usize,
    /// Bytes of calls and messages from peers that wait for a handler, plus 512 for each, because a
    /// handler may run for any time. Further calls are answered `overloaded`; further broadcasts
    /// are dropped and counted. If nothing else waits, one call or message of any size is accepted.
    /// A broadcast that a handler has counts until the program drops it, but only against other
    /// broadcasts. A call stops counting here when a handler gets it; [`Limits::message_bytes`]
    /// bounds it until it is answered.
    pub waiting_bytes: usize,
    /// The longest time that a call may wait; a longer timeout is shortened to this.
    pub call_timeout: Duration,
    /// Bytes of what is asked in one call, and of its value. What does not fit into one frame is
    /// sent in pieces.
    pub max_message: usize,
    /// Values of one call's arguments, or of one answer, that are made for a program that reads
    /// them as [`serde_json::Value`]: numbers, texts, lists, objects and their keys. Each takes 32
    /// bytes, and up to 320 where objects of a single member are nested, so the default bounds them
    /// to 8 to 84 MB. Without it a text of the largest message would become 440 MB.
    pub max_values: usize,
    /// Bytes that calls and messages from peers carry, from their arrival until they are answered,
    /// plus [`ASKED_ROOM`] for each call. All callers of one IPv4 address or IPv6 /48, or behind
    /// one relay, may take as much as they leave free: half of it if there are no others. One of
    /// them may take at most four times what it leaves of that to the others, or make one call if
    /// it has none here. So the default lets a lone caller make two of the largest calls at a time,
    /// and other callers there still find room. A second budget of the same size, half of it for
    /// one peer, is for large answers to this node's own calls while they arrive. Calls of Python
    /// nodes have budgets of the same size of their own: one while they arrive, and one until the
    /// program has answered them.
    pub message_bytes: usize,
    /// Bytes of one piece of a stream, at most [`BODY_MAX`].
    pub chunk_size: usize,
    /// Bytes of one stream that wait at each end: at the sender to be acknowledged, at the receiver
    /// to be read. It is at least two of the largest pieces. With the default a line of 50 ms
    /// carries 5 MB/s.
    pub stream_window: usize,
    /// Broadcasts that are delivered and forwarded per second: each costs every node of the network
    /// as much.
    pub broadcasts_per_second: u32,
    /// Sessions beyond which the node dials no peer only because another peer told of it.
    pub max_peers: usize,
    /// Files that are offered.
    pub files: usize,
    /// Bytes of the largest file that is fetched. Without it a peer could fill a disk.
    pub file_bytes: u64,
    /// Files, or parts of files, that are read for other nodes at a time: each takes a thread. All
    /// peers at one address, or behind one relay, may have as many as they leave free: half of them
    /// if there are no others. One peer may have fewer, because its own count twice there: a third,
    /// rounded up, if there are no others.
    pub uploads: usize,
    /// Bytes of files per second that are read for other nodes, all together; 0 means no limit.
    pub upload_bytes_per_second: u64,
    /// Ends of streams that may be open: each holds at most a window. All callers of one IPv4
    /// address or IPv6 /48, or behind one relay, may have as many as they leave free: half of them
    /// if there are no others. One of these callers may have at most four times what it leaves of
    /// that to the others. An end that carries a large call or answer does not count here, since
    /// its bytes count for [`Limits::call_bytes`], [`Limits::message_bytes`] or
    /// [`Limits::reply_bytes`].
    pub streams: usize,
    /// Adverts that are opened per second; further ones are counted and dropped unread. A thousand
    /// nodes send about a thousand adverts per second, and to open ten thousand costs a small CPU a
    /// few percent. Whatever strangers send, a quarter is kept for addresses at which peers have
    /// proved to be, and each of those has the same share of it.
    pub adverts_per_second: u32,
    /// Adverts that this node sends per interval, whatever it hears. A thousand nodes that start
    /// together must not answer each other a million times.
    pub adverts_per_interval: u32,
    /// How long a node asks for its name before it takes part, as RFC 6762, section 8.1, probes.
    pub probe: Duration,
    /// First and longest pause between dials of one peer; each pause is twice the one before, and
    /// jittered.
    pub redial: (Duration, Duration),
    /// How often the list of interfaces is read again.
    pub interfaces: Duration,
    /// Events that are kept for a slow subscriber. Further ones are counted, and the subscriber is
    /// told how many it missed.
    pub events: usize,
    /// First and longest pause between dials of one relay; each pause is twice the one before, and
    /// jittered.
    pub relay_redial: (Duration, Duration),
    /// Nonsensical frames that one route may send before the node asks the relay for no more of
    /// them.
    pub route_faults: u32,
    /// Pause after a relay has refused this node, for example because of a wrong key: to ask again
    /// soon changes nothing.
    pub relay_refused: Duration,
    /// Failed dials in a row after which the node drops a relay that it learnt from other nodes.
    pub relay_attempts: u32,
    /// How long such a relay is not learnt again.
    pub relay_shunned: Duration,
    /// Dials per second of relays that were learnt. A member can make this node dial as often by
    /// inventing relays.
    pub learnt_dials_per_second: u32,
    /// How long a start waits for the relays that it was given, to ask there whether the name is
    /// taken. The start does not wait for a relay that is slower than a handshake on a good link.
    pub relay_probe: Duration,
    /// How long the direct path is tried before a relay is asked as well.
    pub direct_first: Duration,
    /// Longest pause between dials of the direct path while a path through a relay works.
    pub redial_direct: Duration,
    /// How long a call to a peer that is known only by the protocol of Python nodes waits for the
    /// peer to be found natively: an interval of adverts, or the time to join at a relay.
    pub compat_grace: Duration,
    /// Connections from Python nodes and to them: each is one call.
    pub compat_links: usize,
    /// Connections of Python nodes from one address: a program calls from a few dozen threads.
    pub compat_links_per_address: usize,
    /// Packets that are on their way to one relay of Python nodes at a time; others wait.
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
