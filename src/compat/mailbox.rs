//! The relay's HTTP side without IO: a mailbox for each Python node, which it empties by asking.
//!
//! Takes the place of `relay.py`, and is kinder to the network in four ways: networks are apart,
//! what waits is bounded, a sender is told when it cannot be kept, and a question to which there is
//! nothing new to answer is kept until there is, for a second at most. So a Python node, which asks
//! again only after a pause, hears of most things at once. One that says `Prefer: wait=N` (RFC
//! 7240) is told that it was kept, and need not pause.
//!
//! What an answer hands over stays here until the link has taken the whole answer. If the link ends
//! before, the packets are back at the front of the mailbox, within its bounds, for they have
//! counted all the while. Until the link has taken the answer or ends, the mailbox does not go.
//!
//! Nothing here is proven: any program that knows a network's name may take a mailbox in it,
//! another's too. What is in it is sealed. But no site takes more of what there is for all, or of
//! one mailbox, than it leaves for others.

use super::http::{Fault, Method, RequestHead};
use super::post::{Packet, Ping, Pong};
use super::python_text::ctime;
use crate::address::RelayAddress;
use crate::json::quoted;
use crate::limits::{RelayLimits, SERVERS_MAX};
use crate::name::{NetworkName, NodeName};
use crate::protocol::{LinkId, Now, Time};
use crate::shares::{Amount, Shares};
use crate::site_share::is_within_share;
use crate::table::Table;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

/// Links that may wait at one mailbox: as many as a relay has names, say.
const WAITING_MAX: usize = 4;
/// What a mailbox adds to each packet, so that many small ones count.
const OVERHEAD: usize = 256;

/// Packets, and bytes of them.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    packets: usize,
    bytes: usize,
}

/// A packet, as it stands in an answer.
#[derive(Debug)]
struct Kept {
    id: String,
    /// It takes no more memory than is counted.
    text: Box<str>,
    /// The site that sent it.
    site: IpAddr,
}

impl Kept {
    fn size(&self) -> usize {
        OVERHEAD + self.id.len() + self.text.len()
    }
}

#[derive(Debug)]
struct Mailbox {
    seen: Time,
    /// Who asked last.
    address: IpAddr,
    /// The site that made it.
    site: IpAddr,
    packets: VecDeque<Kept>,
    /// Packets in the answers that links are being sent.
    handed: Table<LinkId, VecDeque<Kept>>,
    /// Bytes of both.
    bytes: usize,
    servers: Vec<RelayAddress>,
    /// Links that wait for something to come, the first of them for what comes first. More than
    /// one, if a node knows this relay by several names.
    waiting: VecDeque<LinkId>,
    /// Which of the network's states it was told last.
    told: u64,
}

impl Mailbox {
    fn new(now: Now, asker: &Asker) -> Mailbox {
        Mailbox {
            seen: now.at,
            address: asker.address,
            site: asker.site,
            packets: VecDeque::new(),
            handed: Table::default(),
            bytes: 0,
            servers: Vec::new(),
            waiting: VecDeque::new(),
            told: 0,
        }
    }

    /// Packets that wait or are being sent.
    fn packets(&self) -> usize {
        let handed = self.handed.values().map(VecDeque::len);
        self.packets.len() + handed.sum::<usize>()
    }

    /// Which of them a site has sent.
    fn sent_by(&self, site: IpAddr) -> Held {
        let all = self.packets.iter().chain(self.handed.values().flatten());
        let mut held = Held::default();
        for packet in all.filter(|packet| packet.site == site) {
            held.packets += 1;
            held.bytes += packet.size();
        }
        held
    }

    /// Whether a packet may wait in the place of one that is like it, if there is one: no site may
    /// have more than it leaves for others, who know the mailbox as well.
    fn has_room_for(&self, packet: &Kept, replaced: Option<&Kept>, limits: &RelayLimits) -> bool {
        let (own, size) = (self.sent_by(packet.site), packet.size());
        let freed = replaced.map_or(0, Kept::size);
        let own_replaced = replaced.filter(|replaced| replaced.site == packet.site);
        let own_freed = own_replaced.map_or(0, Kept::size);
        let packets = self.packets() - usize::from(replaced.is_some()) + 1;
        let own_packets = own.packets - usize::from(own_replaced.is_some()) + 1;
        let (bytes, own_bytes) = (self.bytes - freed + size, own.bytes - own_freed + size);
        is_within_share(packets, own_packets, limits.mailbox_packets)
            && is_within_share(bytes, own_bytes, limits.mailbox_bytes)
    }
}

#[derive(Debug)]
struct Network {
    members: Table<NodeName, Box<Mailbox>>,
    /// Counts the nodes that came and went.
    state: u64,
    /// The site of its first member.
    site: IpAddr,
}

/// Which link asks, and where it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) link: LinkId,
    pub(crate) address: IpAddr,
    pub(crate) site: IpAddr,
}

/// A request that is whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) asker: Asker,
    pub(crate) head: &'a RequestHead,
    pub(crate) body: &'a [u8],
}

/// What packets of so many bytes count: among the sites their number does not.
fn sent(bytes: usize) -> Amount {
    Amount { count: 0, bytes }
}

/// What to answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// This, with a status.
    Now(u16, String),
    /// What [`Mailboxes::collect`] gives when it says so, or at this time.
    Wait(Time),
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) reply: Reply,
    /// Links that waited, to be answered now.
    pub(crate) woken: Vec<LinkId>,
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Outcome {
        let woken = Vec::new();
        Outcome { reply, woken }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Mailboxes {
    networks: Table<NetworkName, Network>,
    /// Which mailbox a link waits at.
    waiting: Table<LinkId, (NetworkName, NodeName)>,
    /// Of which mailbox a link is being sent packets.
    handing: Table<LinkId, (NetworkName, NodeName)>,
    /// What all sites have, and each of them: the mailboxes that it made, and bytes of the packets
    /// that it sent.
    shares: Shares<IpAddr>,
    due: Time,
}

impl Default for Mailboxes {
    fn default() -> Mailboxes {
        Mailboxes {
            networks: Table::default(),
            waiting: Table::default(),
            handing: Table::default(),
            shares: Shares::default(),
            due: Time::NEVER,
        }
    }
}

/// A refusal that a Python node survives: it looks for these fields in whatever it is answered.
pub(crate) fn refusal_text(why: &str) -> String {
    let detail = quoted(why);
    format!("{{\"detail\":{detail},\"peers\":[],\"servers\":[],\"buffer\":{{}}}}")
}

fn refusal(status: u16, why: &str) -> Outcome {
    Reply::Now(status, refusal_text(why)).into()
}

impl Mailboxes {
    /// Mailboxes there are.
    pub(crate) fn len(&self) -> usize {
        self.shares.all().count
    }

    /// Networks there are mailboxes of.
    pub(crate) fn networks(&self) -> impl Iterator<Item = &NetworkName> {
        self.networks.keys()
    }

    /// Bytes of all packets that wait or are being sent.
    pub(crate) fn bytes(&self) -> usize {
        self.shares.all().bytes
    }

    /// Answers a request. `admits` says whether a network is served. `take_join` takes one of the
    /// joins of the asker's site, for a mailbox that is to be made, and says whether there was one.
    pub(crate) fn request(
        &mut self,
        now: Now,
        request: Request<'_>,
        limits: &RelayLimits,
        admits: impl Fn(&NetworkName) -> bool,
        take_join: impl FnOnce() -> bool,
    ) -> Outcome {
        let Request { asker, head, body } = request;
        self.expire(now, limits);
        match (head.method, head.path.as_str()) {
            // What nodes look at to see whether a relay lives.
            (Method::Get, "/") => {
                let text = format!("{{\"time\":{}}}", quoted(&ctime(now.unix)));
                Reply::Now(200, text).into()
            }
            (Method::Post, "/ping/" | "/ping") => match Ping::decode(body) {
                None => refusal(422, "no ping"),
                Some(ping) if !admits(&ping.network) => {
                    refusal(403, "this network is not served without a proof of its key")
                }
                Some(ping) => {
                    let wait = head.wait.map(|n| Duration::from_secs(n.into()));
                    self.ping((now, asker), ping, wait, limits, take_join)
                }
            },
            (Method::Post, "/send/" | "/send") => match Packet::decode(body) {
                None => refusal(422, "no packet"),
                Some((target, packet)) => self.send(&asker, &target, packet, limits),
            },
            (_, "/" | "/ping/" | "/ping" | "/send/" | "/send") => refusal(405, "another method"),
            _ => refusal(404, "nothing is here"),
        }
    }

    fn ping(
        &mut self,
        (now, asker): (Now, Asker),
        ping: Ping,
        wait: Option<Duration>,
        limits: &RelayLimits,
        take_join: impl FnOnce() -> bool,
    ) -> Outcome {
        let network = self.networks.get(&ping.network);
        let new = !network.is_some_and(|n| n.members.contains_key(&ping.name));
        if new {
            if let Err(refused) = self.check_room(network, asker.site, limits, take_join) {
                return refused;
            }
            self.shares.add(asker.site, Amount::one(0));
            self.due = self.due.min(now.at + limits.mailbox_idle);
        }
        let place = (ping.network.clone(), ping.name.clone());
        let network = self.networks.or_insert_with(ping.network, || Network {
            members: Table::default(),
            state: 0,
            site: asker.site,
        });
        let mut woken = Vec::new();
        if new {
            // The nodes that wait are told which one came.
            network.state += 1;
            woken.extend(network.members.values().flat_map(|m| &m.waiting));
        }
        let state = network.state;
        let make = || Box::new(Mailbox::new(now, &asker));
        let mailbox = network.members.or_insert_with(ping.name, make);
        (mailbox.seen, mailbox.address, mailbox.servers) = (now.at, asker.address, ping.servers);
        if mailbox.waiting.len() == WAITING_MAX {
            woken.extend(mailbox.waiting.front());
        }
        let wait = wait.unwrap_or(limits.mailbox_wait).min(limits.mailbox_wait);
        let news = mailbox.told != state || !mailbox.packets.is_empty();
        let reply = if news || wait.is_zero() {
            Reply::Now(200, self.empty(asker.link, &place))
        } else {
            mailbox.waiting.push_back(asker.link);
            self.waiting.insert(asker.link, place);
            Reply::Wait(now.at + wait)
        };
        Outcome { reply, woken }
    }

    /// Whether there is room for a mailbox of a site, in this network or, where there is none, in
    /// one that is made; a refusal if not.
    fn check_room(
        &self,
        network: Option<&Network>,
        site: IpAddr,
        limits: &RelayLimits,
        take_join: impl FnOnce() -> bool,
    ) -> Result<(), Outcome> {
        let here = match network {
            Some(network) => {
                let sites = network.members.values().map(|m| m.site);
                let own = sites.filter(|other| *other == site).count();
                (network.members.len(), own, limits.mailboxes_per_network)
            }
            None => {
                let sites = self.networks.values().map(|n| n.site);
                let own = sites.filter(|other| *other == site).count();
                (self.networks.len(), own, limits.networks)
            }
        };
        let (all, own) = (self.shares.all(), self.shares.of(&site));
        let rooms = [here, (all.count, own.count, limits.mailboxes)];
        if rooms.iter().any(|(all, _, most)| all >= most) {
            return Err(refusal(503, "no room for another node"));
        }
        let has_share = |(all, own, most): &_| is_within_share(all + 1, *own, *most);
        if !rooms.iter().all(has_share) || !take_join() {
            return Err(refusal(429, "too many nodes from this address"));
        }
        Ok(())
    }

    /// What a link's ping at a mailbox is answered with; what has come is handed over.
    fn empty(&mut self, link: LinkId, place: &(NetworkName, NodeName)) -> String {
        let (network, name) = place;
        let Some(Network { members, state, .. }) = self.networks.get_mut(network) else {
            return Pong::text([].into_iter(), &[], [].into_iter());
        };
        if let Some(mailbox) = members.get_mut(name) {
            mailbox.told = *state;
            let packets = std::mem::take(&mut mailbox.packets);
            if !packets.is_empty() {
                mailbox.handed.insert(link, packets);
                self.handing.insert(link, place.clone());
            }
        }
        let mut servers: Vec<RelayAddress> = Vec::new();
        for server in members.values().flat_map(|m| &m.servers) {
            if servers.len() < SERVERS_MAX && !servers.contains(server) {
                servers.push(server.clone());
            }
        }
        let handed = members.get(name).and_then(|m| m.handed.get(&link));
        let packets = handed.into_iter().flatten();
        let packets = packets.map(|p| (p.id.as_str(), &*p.text));
        Pong::text(members.keys(), &servers, packets)
    }

    /// What a link was being sent, with the mailbox that it is from, if that is still there.
    fn handed(
        &mut self,
        link: LinkId,
    ) -> Option<(&mut Mailbox, &mut Shares<IpAddr>, VecDeque<Kept>)> {
        let (network, name) = self.handing.remove(&link)?;
        let members = &mut self.networks.get_mut(&network)?.members;
        let mailbox = members.get_mut(&name)?;
        let packets = mailbox.handed.remove(&link)?;
        Some((mailbox, &mut self.shares, packets))
    }

    /// A link has taken its whole answer: the packets in it are gone from here.
    pub(crate) fn delivered(&mut self, now: Now, link: LinkId) {
        if let Some((mailbox, shares, packets)) = self.handed(link) {
            mailbox.seen = now.at;
            for packet in packets {
                mailbox.bytes -= packet.size();
                shares.remove(&packet.site, sent(packet.size()));
            }
        }
    }

    /// A link is gone. If it has not taken its whole answer, the packets in it are back; the link
    /// that waits for them, if one does.
    pub(crate) fn undelivered(&mut self, now: Now, link: LinkId) -> Option<LinkId> {
        let (mailbox, shares, packets) = self.handed(link)?;
        mailbox.seen = now.at;
        let mut newer: Vec<String> = mailbox.packets.iter().map(|p| p.id.clone()).collect();
        newer.sort_unstable();
        for packet in packets.into_iter().rev() {
            if newer.binary_search(&packet.id).is_ok() {
                // The same was sent again, and has taken its place.
                mailbox.bytes -= packet.size();
                shares.remove(&packet.site, sent(packet.size()));
            } else {
                mailbox.packets.push_front(packet);
            }
        }
        mailbox.waiting.front().copied()
    }

    /// The answer for a link that waited, because something has come, its time is over, or too many
    /// wait.
    pub(crate) fn collect(&mut self, now: Now, link: LinkId) -> String {
        let Some(place) = self.waiting.remove(&link) else {
            return Pong::text([].into_iter(), &[], [].into_iter());
        };
        if let Some(mailbox) = self.mailbox(&place.0, &place.1) {
            mailbox.waiting.retain(|l| *l != link);
            mailbox.seen = now.at;
        }
        self.empty(link, &place)
    }

    /// A link that waited is gone.
    pub(crate) fn gone(&mut self, now: Now, link: LinkId) {
        if let Some((network, name)) = self.waiting.remove(&link)
            && let Some(mailbox) = self.mailbox(&network, &name)
        {
            mailbox.waiting.retain(|l| *l != link);
            mailbox.seen = now.at;
        }
    }

    fn mailbox(&mut self, network: &NetworkName, name: &NodeName) -> Option<&mut Box<Mailbox>> {
        self.networks.get_mut(network)?.members.get_mut(name)
    }

    fn send(
        &mut self,
        asker: &Asker,
        target: &NodeName,
        packet: Packet,
        limits: &RelayLimits,
    ) -> Outcome {
        let network = match self.network_of(asker.address, target, &packet.originator) {
            Ok(network) => network,
            Err(fault) => return refusal(fault.status, fault.why),
        };
        let Some(mailbox) = self
            .networks
            .get_mut(&network)
            .and_then(|n| n.members.get_mut(target))
        else {
            return refusal(404, "the target is not there");
        };
        let pid = format!("{{\"pid\":{}}}", quoted(&packet.id));
        let kept = Kept {
            text: packet.entry().into_boxed_str(),
            id: packet.id,
            site: asker.site,
        };
        let replaced = mailbox.packets.iter().position(|p| p.id == kept.id);
        let before = replaced.and_then(|at| mailbox.packets.get(at));
        let freed = before.map_or(0, Kept::size);
        let own_freed = before.map_or(0, |p| if p.site == kept.site { freed } else { 0 });
        let size = kept.size();
        if !mailbox.has_room_for(&kept, before, limits) {
            return refusal(503, "too much waits for the target");
        }
        let all = self.shares.all().bytes - freed + size;
        let own = self.shares.of(&kept.site).bytes - own_freed + size;
        if !is_within_share(all, own, limits.mailboxes_bytes) {
            return refusal(503, "the relay holds too much that was not read");
        }
        // Only now: one that was taken must not be lost for one that is not.
        if let Some(before) = replaced.and_then(|at| mailbox.packets.remove(at)) {
            mailbox.bytes -= freed;
            self.shares.remove(&before.site, sent(freed));
        }
        self.shares.add(kept.site, sent(size));
        mailbox.packets.push_back(kept);
        mailbox.bytes += size;
        Outcome {
            reply: Reply::Now(200, pid),
            woken: mailbox.waiting.front().copied().into_iter().collect(),
        }
    }

    /// A packet does not say in which network it is; both its ends must be there. Of several such,
    /// the one whose originator asked from the same address.
    fn network_of(
        &self,
        from: IpAddr,
        target: &NodeName,
        originator: &NodeName,
    ) -> Result<NetworkName, Fault> {
        let mut found = self
            .networks
            .iter()
            .filter(|(_, n)| n.members.contains_key(target))
            .filter_map(|(name, n)| Some((name, n.members.get(originator)?)));
        let Some((network, _)) = found.next() else {
            return Err(Fault::new(
                404,
                "the target, or the originator, is not there",
            ));
        };
        if found.next().is_none() {
            return Ok(network.clone());
        }
        let mut near = self.networks.iter().filter(|(_, n)| {
            n.members.contains_key(target)
                && n.members.get(originator).is_some_and(|m| m.address == from)
        });
        match (near.next(), near.next()) {
            (Some((network, _)), None) => Ok(network.clone()),
            _ => Err(Fault::new(409, "several networks have both names")),
        }
    }

    /// No mailbox can be over before this.
    pub(crate) fn due(&self) -> Time {
        self.due
    }

    /// Takes away the mailboxes of nodes that do not ask any more, and what is in them.
    pub(crate) fn expire(&mut self, now: Now, limits: &RelayLimits) {
        if now.at < self.due {
            return;
        }
        let shares = &mut self.shares;
        let mut due = Time::NEVER;
        for (_, Network { members, state, .. }) in self.networks.iter_mut() {
            let before = members.len();
            members.retain(|_, mailbox| {
                // Whoever is being sent an answer is there: the hub closes a link that takes
                // nothing of it.
                let seen = match mailbox.waiting.is_empty() && mailbox.handed.is_empty() {
                    true => mailbox.seen,
                    false => now.at,
                };
                let until = seen + limits.mailbox_idle;
                if now.at >= until {
                    shares.remove(&mailbox.site, Amount::one(0));
                    for packet in &mailbox.packets {
                        shares.remove(&packet.site, sent(packet.size()));
                    }
                } else {
                    due = due.min(until);
                }
                now.at < until
            });
            *state += u64::from(members.len() < before);
        }
        self.due = due;
        self.networks
            .retain(|_, network| !network.members.is_empty());
    }
}
