//! What one relay allows its members.

use std::time::Duration;

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
