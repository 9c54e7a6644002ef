//! The relay's HTTP side without IO: a mailbox for each Python node, which it empties by asking.
//!
//! Takes the place of `relay.py`, and is kinder to the network in four ways: networks are apart, what
//! waits is bounded, a sender is told when it cannot be kept, and a question to which there is nothing new to
//! answer is kept until there is, for a second at most. So a Python node, which asks again only after a pause, hears
//! of most things at once. One that says `Prefer: wait=N` (RFC 7240) is told that it was kept, and need not pause.
//!
//! Nothing here is proven: whoever knows a network's name may take a mailbox in it, another's too. What
//! is in it is sealed.

use super::http::{Fault, Method, RequestHead};
use super::post::{Packet, Ping, Pong};
use super::python::ctime;
use crate::address::RelayAddress;
use crate::json::quoted;
use crate::limits::{RelayLimits, SERVERS_MAX};
use crate::name::{NetworkName, NodeName};
use crate::protocol::{LinkId, Now, Time};
use crate::table::Table;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

/// Links that may wait at one mailbox: as many as a relay has names, say.
const WAITING_MAX: usize = 4;
/// What a mailbox adds to each packet, so that many small ones count.
const OVERHEAD: usize = 256;

#[derive(Debug)]
struct Mailbox {
    seen: Time,
    /// Who asked last.
    address: IpAddr,
    /// Packets' ids and texts.
    packets: VecDeque<(String, String)>,
    bytes: usize,
    servers: Vec<RelayAddress>,
    /// Links that wait for something to come, the first of them for what comes first. More than one, if a node
    /// knows this relay by several names.
    waiting: VecDeque<LinkId>,
    /// Which of the network's states it was told last.
    told: u64,
}

#[derive(Debug, Default)]
struct Network {
    members: Table<NodeName, Box<Mailbox>>,
    /// Counts who came and went.
    state: u64,
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
    count: usize,
    /// Bytes of all packets.
    bytes: usize,
    due: Time,
}

impl Default for Mailboxes {
    fn default() -> Mailboxes {
        Mailboxes {
            networks: Table::default(),
            waiting: Table::default(),
            count: 0,
            bytes: 0,
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
        self.count
    }

    /// Networks there are mailboxes of.
    pub(crate) fn networks(&self) -> usize {
        self.networks.len()
    }

    /// Bytes of all packets that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Answers a request. `admits` says whether a network is served, `may_join` whether one more mailbox
    /// may be made for that address now.
    pub(crate) fn request(
        &mut self,
        (now, link, from): (Now, LinkId, IpAddr),
        head: &RequestHead,
        body: &[u8],
        limits: &RelayLimits,
        admits: impl Fn(&NetworkName) -> bool,
        may_join: impl FnOnce() -> bool,
    ) -> Outcome {
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
                    self.ping((now, link, from), ping, wait, limits, may_join)
                }
            },
            (Method::Post, "/send/" | "/send") => match Packet::decode(body) {
                None => refusal(422, "no packet"),
                Some((target, packet)) => self.send(from, &target, packet, limits),
            },
            (_, "/" | "/ping/" | "/ping" | "/send/" | "/send") => refusal(405, "another method"),
            _ => refusal(404, "nothing is here"),
        }
    }

    fn ping(
        &mut self,
        (now, link, from): (Now, LinkId, IpAddr),
        ping: Ping,
        wait: Option<Duration>,
        limits: &RelayLimits,
        may_join: impl FnOnce() -> bool,
    ) -> Outcome {
        let network = self.networks.get(&ping.network);
        let new = !network.is_some_and(|n| n.members.contains_key(&ping.name));
        if new {
            let full = match network {
                Some(network) => network.members.len() >= limits.mailboxes_per_network,
                None => self.networks.len() >= limits.networks,
            };
            if full || self.count >= limits.mailboxes {
                return refusal(503, "no room for another node");
            }
            if !may_join() {
                return refusal(429, "too many nodes from this address");
            }
            self.count += 1;
            self.due = self.due.min(now.at + limits.mailbox_idle);
        }
        let place = (ping.network.clone(), ping.name.clone());
        let network = self.networks.or_insert_with(ping.network, Network::default);
        let mut woken = Vec::new();
        if new {
            // Those who wait are told who came.
            network.state += 1;
            woken.extend(network.members.values().flat_map(|m| &m.waiting));
        }
        let state = network.state;
        let mailbox = network.members.or_insert_with(ping.name, || {
            Box::new(Mailbox {
                seen: now.at,
                address: from,
                packets: VecDeque::new(),
                bytes: 0,
                servers: Vec::new(),
                waiting: VecDeque::new(),
                told: 0,
            })
        });
        (mailbox.seen, mailbox.address, mailbox.servers) = (now.at, from, ping.servers);
        if mailbox.waiting.len() == WAITING_MAX {
            woken.extend(mailbox.waiting.front());
        }
        let wait = wait.unwrap_or(limits.mailbox_wait).min(limits.mailbox_wait);
        let news = mailbox.told != state || !mailbox.packets.is_empty();
        let reply = if news || wait.is_zero() {
            Reply::Now(200, self.empty(&place))
        } else {
            mailbox.waiting.push_back(link);
            self.waiting.insert(link, place);
            Reply::Wait(now.at + wait)
        };
        Outcome { reply, woken }
    }

    /// What a ping at a mailbox is answered with; what has come is handed over.
    fn empty(&mut self, (network, name): &(NetworkName, NodeName)) -> String {
        let Some(Network { members, state }) = self.networks.get_mut(network) else {
            return Pong::text([].into_iter(), &[], [].into_iter());
        };
        let mut packets = VecDeque::new();
        if let Some(mailbox) = members.get_mut(name) {
            mailbox.told = *state;
            packets = std::mem::take(&mut mailbox.packets);
            self.bytes -= std::mem::take(&mut mailbox.bytes);
        }
        let mut servers: Vec<RelayAddress> = Vec::new();
        for server in members.values().flat_map(|m| &m.servers) {
            if servers.len() < SERVERS_MAX && !servers.contains(server) {
                servers.push(server.clone());
            }
        }
        let packets = packets
            .iter()
            .map(|(id, text)| (id.as_str(), text.as_str()));
        Pong::text(members.keys(), &servers, packets)
    }

    /// The answer for a link that waited, because something has come, its time is over, or too many wait.
    pub(crate) fn collect(&mut self, now: Now, link: LinkId) -> String {
        let Some(place) = self.waiting.remove(&link) else {
            return Pong::text([].into_iter(), &[], [].into_iter());
        };
        if let Some(mailbox) = self.mailbox(&place.0, &place.1) {
            mailbox.waiting.retain(|l| *l != link);
            mailbox.seen = now.at;
        }
        self.empty(&place)
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
        from: IpAddr,
        target: &NodeName,
        packet: Packet,
        limits: &RelayLimits,
    ) -> Outcome {
        let network = match self.network_of(from, target, &packet.originator) {
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
        let entry = packet.entry();
        let replaced = mailbox.packets.iter().position(|(id, _)| *id == packet.id);
        let freed = replaced.and_then(|at| mailbox.packets.get(at));
        let freed = freed.map_or(0, |(id, text)| OVERHEAD + id.len() + text.len());
        let size = OVERHEAD + packet.id.len() + entry.len();
        let others = mailbox.packets.len() - usize::from(replaced.is_some());
        if others >= limits.mailbox_packets || mailbox.bytes - freed + size > limits.mailbox_bytes {
            return refusal(503, "the target does not read what it is sent");
        }
        if self.bytes - freed + size > limits.mailboxes_bytes {
            return refusal(503, "the relay holds too much that was not read");
        }
        // Only now: one that was taken must not be lost for one that is not.
        replaced.and_then(|at| mailbox.packets.remove(at));
        mailbox.bytes -= freed;
        self.bytes -= freed;
        mailbox.packets.push_back((packet.id, entry));
        mailbox.bytes += size;
        self.bytes += size;
        Outcome {
            reply: Reply::Now(200, pid),
            woken: mailbox.waiting.front().copied().into_iter().collect(),
        }
    }

    /// A packet does not say in which network it is; both its ends must be there. Of several such, the one
    /// whose originator asked from the same address.
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

    /// Takes away the mailboxes of those who do not ask any more, and what is in them.
    pub(crate) fn expire(&mut self, now: Now, limits: &RelayLimits) {
        if now.at < self.due {
            return;
        }
        let (bytes, count) = (&mut self.bytes, &mut self.count);
        let mut due = Time::NEVER;
        for (_, Network { members, state }) in self.networks.iter_mut() {
            let before = members.len();
            members.retain(|_, mailbox| {
                let seen = match mailbox.waiting.is_empty() {
                    true => mailbox.seen,
                    false => now.at,
                };
                let until = seen + limits.mailbox_idle;
                if now.at >= until {
                    *bytes -= mailbox.bytes;
                    *count -= 1;
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
