//! The limits that a relay sets for its members.

use std::time::Duration;

/// The limits of one relay. They bound what a stranger, or a malicious member, can make the relay
/// hold or do, and keep that from being at the cost of other members.
#[derive(Clone, Debug)]
pub struct RelayLimits {
    /// Networks that are served at a time, if any network may come. As many again may have
    /// mailboxes only. One address, or one IPv6 /48, may begin at most as many as are left.
    pub networks: usize,
    /// Members of one network: as many as a node keeps peers. Each member is told of every other.
    /// One address, or one IPv6 /48, has at most as many places as it leaves free: half of them if
    /// there are no others.
    pub members: usize,
    /// Links in all; one IPv6 /48 has at most as many as are left. Each link takes a descriptor. A
    /// relay raises the number of descriptors that its process may open as far as it is allowed to,
    /// and serves fewer links if that is not enough.
    pub links: usize,
    /// Links that have not joined. If a further link needs room, the oldest link of the address
    /// with the most of them is closed: an honest node joins within a few round trips.
    pub newcomers: usize,
    /// Links from one address, or one IPv6 /64: a site behind one router.
    pub links_per_address: usize,
    /// Rate limit of joins, per second, from one IPv4 address or IPv6 /48; also the rate limit of
    /// adverts from there. The burst is [`RelayLimits::links_per_address`] joins, and twice as many
    /// adverts. The relay sends each join and advert to every member of the network.
    pub joins_per_second: u32,
    /// From connecting to having joined: three round trips on the slowest link that is usable.
    pub handshake: Duration,
    /// How long a member may be silent before it is gone. Members send something at least every 30
    /// s.
    pub idle: Duration,
    /// The time within which a frame that was begun must be finished.
    pub frame: Duration,
    /// Bytes that may wait for one member. The relay drops further frames and tells their senders.
    /// If, through the relay's own messages, more than about twice this waits, the relay closes the
    /// member's link.
    pub queue: usize,
    /// Bytes that may wait for all members that are behind. The bytes for members of one address,
    /// or one IPv6 /48, are at most as many as are left. It limits memory that is allocated, not
    /// only what is in it.
    pub queues_bytes: usize,
    /// Bytes that all links take besides: for frames that were begun, for what is just being sent,
    /// and for the relay's own messages. One address, or one IPv6 /48, takes at most half of them.
    /// If more is needed, the relay closes the largest link of the address that takes most. It
    /// limits memory that is allocated, not only what is in it; one round of the event loop may add
    /// to it.
    pub links_bytes: usize,
    /// How long a member may accept nothing, though something waits for it, before it is gone.
    pub stalled: Duration,
    /// Bytes a second that a member must accept on average over [`RelayLimits::stalled`] if more
    /// wait. It is a quarter of the slowest link that is usable, because the system accepts bytes
    /// in lumps.
    pub drain_per_second: u32,
    /// Bytes a second from one member. The relay stops reading from a member that sends more for a
    /// while, so that TCP pushes back.
    pub bytes_per_second: u32,
    /// Bytes that one member may send at once before [`RelayLimits::bytes_per_second`] applies.
    pub burst: u32,
    /// The time between two adverts of one member that are forwarded. The latest advert waits
    /// meanwhile. Each advert goes to every member.
    pub advert_interval: Duration,
    /// Bytes a second of adverts that are forwarded in one network, twice as many at once. Further
    /// adverts wait, of each member the latest. A thousand members that start together know each
    /// other within a quarter of a minute.
    pub advert_bytes_per_second: u32,
    /// Routes to which bytes of one member may wait: more than a node has sessions.
    pub flows: usize,
    /// Routes that one member may block: as many as join from one address.
    pub blocked: usize,
    /// Mailboxes of Python nodes, of all networks. One address, or one IPv6 /48, has made at most
    /// as many of them as are left.
    pub mailboxes: usize,
    /// Mailboxes of one network, of which one address has the same share. Each Python node is told
    /// of all others several times a second.
    pub mailboxes_per_network: usize,
    /// How long a Python node may send no request, while no answer is being sent to it, before it
    /// is gone. Unless set otherwise it sends one every quarter of a second.
    pub mailbox_idle: Duration,
    /// How long the relay holds a Python node's request if there is nothing new (long polling). It
    /// answers at once when something arrives.
    pub mailbox_wait: Duration,
    /// Packets that may wait in one mailbox, or be on their way to its owner. One address, or one
    /// IPv6 /48, has sent at most as many of them as are left: half if there are no others.
    pub mailbox_packets: usize,
    /// Bytes of the packets in one mailbox, of which a sender's site has the same share. If they
    /// exceed it, the relay tells the sender. Half of it holds the largest packet.
    pub mailbox_bytes: usize,
    /// Bytes of the packets in all mailboxes. One address, or one IPv6 /48, has sent at most as
    /// many of them as are left.
    pub mailboxes_bytes: usize,
    /// Bytes of the body of one HTTP request. The largest message that a node takes by default has
    /// 4 MiB; sealed, and encoded twice, that is 7.5 MB. One packet must fit into a mailbox, too.
    pub request_bytes: usize,
    /// Bytes of all requests that are arriving; one address, or one IPv6 /48, has at most as many
    /// as are left.
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
            mailbox_packets: 2_048,
            mailbox_bytes: 16 * 1024 * 1024,
            mailboxes_bytes: 64 * 1024 * 1024,
            request_bytes: 8 * 1024 * 1024,
            requests_bytes: 64 * 1024 * 1024,
        }
    }
}
