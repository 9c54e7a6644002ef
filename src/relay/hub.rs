//! The relay's protocol without IO: joining, presence, forwarding, and everyone's limits.
//!
//! Driven as the engine is: hand in what happened to links, drain [`Hub::poll`], write
//! [`Hub::pending`], come back at [`Hub::deadline`]. Time, randomness and bytes are arguments.
//!
//! ```text
//! link: New --join--> Challenged --proof--> Joined    (a network with a relay key)
//!       New --join------------------------> Joined    (one without)
//! ```
//!
//! Whoever goes over a limit is told which by an `err` frame, and closed; nobody else notices. What one
//! member can make wait for another is bounded by a window, for all by the other's queue; a frame beyond
//! that is turned away, and its sender told. A member that sends too fast is not read for a while. The
//! memory of all together is bounded, and each site's share of it.
//!
//! `member` is one link and what waits for it, `lanes` what waits longer, `presence` hands adverts on, `forward`
//! carries frames, `newcomers` are links that have not joined, `source` is where links come from, `budget` the
//! memory of all, `stats` what is counted, `web` the side for Python nodes.

mod budget;
mod forward;
mod lanes;
mod member;
mod newcomers;
mod presence;
mod source;
mod stats;
mod waits;
#[cfg(feature = "compat")]
mod web;

#[cfg(feature = "compat")]
pub(crate) use budget::is_within_share;
pub use stats::RelayStats;

use crate::buffer::Buffer;
use crate::entropy::Entropy;
use crate::frame::{self, Frame, FrameType, Parsed};
use crate::limits::{FRAME_MAX, RelayLimits};
use crate::name::NetworkName;
use crate::protocol::{LinkEvent, LinkId, Now, Protocol, Time};
use crate::reach::site_of;
use crate::table::Table;
use crate::wire::membership::RelayKey;
use crate::wire::relay::{FromRelay, Refusal, Route, ToRelay};
use budget::Memory;
use member::{Member, SPARE_CAPACITY, Stage};
use newcomers::Newcomers;
use presence::{Network, encode_word};
use source::{Site, address_of};
use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use waits::Waits;

/// Bytes of a keepalive's nonce; a longer one is nobody's.
const PING_MAX: usize = 64;
/// Buffers kept for the next that has something to send.
const SPARE: usize = 16;
/// Between two times that all links are looked at: many that are over one after the other cost no more.
const LOOK: Duration = Duration::from_millis(20);

/// Whom a relay serves, and how much.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The networks; none is any. Where a key is given, members prove that they have it.
    pub networks: Vec<(NetworkName, Option<RelayKey>)>,
    /// Bounds.
    pub limits: RelayLimits,
    /// Whether Python nodes are served, by HTTP on the same links; in networks without a relay key only.
    #[cfg(feature = "compat")]
    pub compat: bool,
}

/// What to do.
#[derive(Debug)]
pub enum Output {
    /// A link has [`Hub::pending`] bytes, where it had none.
    Writable(LinkId),
    /// Write what is pending if it can be done at once, then close.
    Close(LinkId, Vec<u8>),
    /// Do not read this link for now.
    Hold(LinkId),
    /// Read it again.
    Resume(LinkId),
    /// Say on this link that no more comes; go on reading it.
    #[cfg(feature = "compat")]
    Finish(LinkId),
}

/// The state machine. See the module's documentation for how to drive it.
pub struct Hub {
    config: Config,
    entropy: Box<dyn Entropy>,
    members: Table<LinkId, Box<Member>>,
    routes: Table<Route, LinkId>,
    networks: Table<NetworkName, Network>,
    /// Links from each address.
    addresses: Table<IpAddr, usize>,
    sites: Table<IpAddr, Box<Site>>,
    newcomers: Newcomers,
    memory: Memory,
    /// Members that are not read.
    held: Waits,
    /// Members whose newest advert waits.
    advert_waits: Waits,
    next_link: u64,
    /// No member can be late, idle or stalled before this.
    due: Time,
    stopped: bool,
    outputs: VecDeque<Output>,
    spare: Vec<Buffer>,
    /// Whose bytes have just left the relay.
    drained: Vec<(LinkId, u32)>,
    stats: RelayStats,
    #[cfg(feature = "compat")]
    web: web::Web,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// A relay without members.
    pub fn new(config: Config, entropy: Box<dyn Entropy>) -> Hub {
        Hub {
            config,
            entropy,
            members: Table::default(),
            routes: Table::default(),
            networks: Table::default(),
            addresses: Table::default(),
            sites: Table::default(),
            newcomers: Newcomers::default(),
            memory: Memory::default(),
            held: Waits::default(),
            advert_waits: Waits::default(),
            next_link: 0,
            due: Time::NEVER,
            stopped: false,
            outputs: VecDeque::new(),
            spare: Vec::new(),
            drained: Vec::new(),
            stats: RelayStats::default(),
            #[cfg(feature = "compat")]
            web: web::Web::default(),
        }
    }

    /// A link that somebody opened, or `None` if the relay has been stopped. One that is over a limit
    /// is told so, and closed.
    pub fn accept(&mut self, now: Now, from: SocketAddr) -> Option<LinkId> {
        if self.stopped {
            return None;
        }
        self.stats.accepted += 1;
        let limits = &self.config.limits;
        let (address, site) = (address_of(from.ip()), site_of(from.ip()));
        let links = self.addresses.or_insert_with(address, || 0);
        *links += 1;
        let crowded = *links > limits.links_per_address;
        let of_site = self
            .sites
            .or_insert_with(site, || Box::new(Site::new(limits, now.at)));
        // An address is bounded above. An IPv6 site has many, and no more links than it leaves for others.
        let all = self.members.len() + 1;
        let crowded = crowded
            || address != site && !budget::is_within_share(all, of_site.links, limits.links);
        of_site.links += 1;
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let stalled = usize::try_from(limits.stalled.as_secs()).unwrap_or(usize::MAX);
        let least = stalled.saturating_mul(limits.drain_per_second as usize);
        let member = Member::new((address, site), limits.burst, least.max(1), now.at);
        self.due = self.due.min(now.at + limits.handshake);
        self.members.insert(id, Box::new(member));
        self.newcomers.add(id, site);
        if crowded {
            self.refuse(now, id, Refusal::Address);
        } else {
            self.admit(now, id);
        }
        Some(id)
    }

    /// What to do next, if anything.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Bytes that wait to be written to a link.
    pub fn pending(&self, id: LinkId) -> &[u8] {
        self.members.get(&id).map_or(&[], |m| m.pending())
    }

    /// When to call [`Hub::tick`] at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let due = self.due.min(self.held.due()).min(self.advert_waits.due());
        #[cfg(feature = "compat")]
        let due = due.min(self.web.mailboxes.due());
        (due != Time::NEVER).then_some(due)
    }

    /// What has been counted so far.
    pub fn stats(&self) -> RelayStats {
        let mut stats = self.stats;
        stats.networks = self.networks.len() as u64;
        stats.members = self.routes.len() as u64;
        stats.links = self.members.len() as u64;
        #[cfg(feature = "compat")]
        {
            stats.mailboxes = self.web.mailboxes.len() as u64;
            stats.mailbox_bytes = self.web.mailboxes.bytes() as u64;
            let networks = self.web.mailboxes.networks();
            let others = networks.filter(|name| !self.networks.contains_key(name));
            stats.networks += others.count() as u64;
        }
        stats
    }

    /// Tells every member, and ends. Nothing but draining [`Hub::poll`] is left to do.
    pub fn stop(&mut self, now: Now) {
        self.stopped = true;
        for id in self.members.keys().copied().collect::<Vec<_>>() {
            self.refuse(now, id, Refusal::Stopping);
        }
        self.sites = Table::default();
    }

    /// Bytes came on a link.
    pub fn received(&mut self, now: Now, id: LinkId, bytes: &[u8]) {
        self.take_bytes(now, id, bytes);
        self.relieve(now);
    }

    fn take_bytes(&mut self, now: Now, id: LinkId, bytes: &[u8]) {
        let limits = &self.config.limits;
        let (rate, burst) = (limits.bytes_per_second, limits.burst);
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        member.heard = now.at;
        if let Some(until) = member.speed.charge(bytes.len(), rate, burst, now.at) {
            self.stats.held += 1;
            self.held.insert(id, until);
            self.outputs.push_back(Output::Hold(id));
        }
        #[cfg(feature = "compat")]
        if self.is_http(id, bytes) {
            return self.http_received(now, id, bytes);
        }
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let mut begun = std::mem::take(&mut member.input);
        // A frame has one line feed, at its end: no more is copied than finishes the one that was begun.
        let finishes = match begun.is_empty() {
            true => 0,
            false => memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1),
        };
        let (first, rest) = bytes.split_at(finishes);
        begun.extend_from_slice(first);
        let Some(finished) = self.take_frames(now, id, &begun) else {
            return;
        };
        if finished < begun.len() && !rest.is_empty() {
            return self.refuse(now, id, Refusal::Frame);
        }
        let Some(taken) = self.take_frames(now, id, rest) else {
            return;
        };
        if finished == begun.len() {
            begun = rest[taken..].to_vec();
        }
        self.keep_unfinished(now, id, begun, finished + taken > 0);
    }

    /// Keeps what there is of a frame that has begun, which must be finished in time.
    fn keep_unfinished(&mut self, now: Now, id: LinkId, input: Vec<u8>, is_another: bool) {
        let due = now.at + self.config.limits.frame;
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        if input.is_empty() {
            member.unfinished = None;
        } else if is_another || member.unfinished.is_none() {
            member.unfinished = Some(now.at);
            self.due = self.due.min(due);
        }
        member.input = input;
        self.recount(id);
    }

    /// Takes in whole frames; how many bytes they were, or `None` if the link is gone.
    fn take_frames(&mut self, now: Now, id: LinkId, data: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < data.len() {
            match frame::parse(&data[at..], FRAME_MAX) {
                Ok(Parsed::Complete(frame, used)) => {
                    let raw = &data[at..at + used];
                    at += used;
                    self.frame(now, id, frame, raw);
                    if !self.members.contains_key(&id) {
                        return None;
                    }
                }
                Ok(Parsed::Incomplete) => break,
                Err(_) => {
                    self.refuse(now, id, Refusal::Frame);
                    return None;
                }
            }
        }
        Some(at)
    }

    fn frame(&mut self, now: Now, id: LinkId, frame: Frame<'_>, raw: &[u8]) {
        let Some(member) = self.members.get(&id) else {
            return;
        };
        if let Some(network) = member.network() {
            if frame.net != network.as_str() {
                return self.refuse(now, id, Refusal::Frame);
            }
            match frame.kind {
                FrameType::FORWARD => self.forward(now, id, frame, raw),
                FrameType::PING if frame.payload.len() <= PING_MAX => self.echo(now, id, raw),
                FrameType::ADVERT => self.advert(now, id, frame),
                FrameType::REGISTER => self.block(now, id, frame),
                // Advisory: the member closes the link itself.
                FrameType::ERROR => {}
                _ => self.refuse(now, id, Refusal::Frame),
            }
            return;
        }
        let word = match frame.kind {
            FrameType::REGISTER => ToRelay::decode(frame.payload).ok(),
            _ => None,
        };
        let (Some(word), Ok(network)) = (word, NetworkName::new(frame.net)) else {
            return self.refuse(now, id, Refusal::Frame);
        };
        self.register(now, id, network, word);
    }

    fn register(&mut self, now: Now, id: LinkId, network: NetworkName, word: ToRelay) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let listed = self.config.networks.iter().find(|(n, _)| *n == network);
        let key = match listed {
            Some((_, key)) => key.as_ref(),
            None if self.config.networks.is_empty() => None,
            None => return self.refuse(now, id, Refusal::Network),
        };
        match (&member.stage, word) {
            (Stage::New, ToRelay::Join(challenge)) => {
                if key.is_none() {
                    return self.join(now, id, network);
                }
                let mut relay = [0; 32];
                self.entropy.fill(&mut relay);
                member.stage = Stage::Challenged {
                    network: network.clone(),
                    member: challenge,
                    relay,
                };
                self.tell(now, id, &network, FromRelay::Prove(relay));
            }
            (
                Stage::Challenged {
                    network: asked,
                    member: challenge,
                    relay,
                },
                ToRelay::Prove(proofs),
            ) if *asked == network => {
                let good = |key: &RelayKey| {
                    proofs
                        .iter()
                        .any(|proof| key.verify(&network, challenge, relay, proof))
                };
                if key.is_some_and(good) {
                    self.join(now, id, network);
                } else {
                    self.refuse(now, id, Refusal::Key);
                }
            }
            _ => self.refuse(now, id, Refusal::Frame),
        }
    }

    fn join(&mut self, now: Now, id: LinkId, network: NetworkName) {
        let limits = &self.config.limits;
        let (members, networks) = (limits.members, limits.networks);
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        if let Some(site) = self.sites.get_mut(&member.site)
            && !site.joins.take(now.at)
        {
            return self.refuse(now, id, Refusal::Address);
        }
        match self.networks.get(&network) {
            Some(there) if there.members.len() >= members => {
                return self.refuse(now, id, Refusal::Full);
            }
            Some(_) => {}
            None => {
                let sites = self.networks.values().map(|n| n.site);
                let own = sites.filter(|site| *site == member.site).count();
                let all = self.networks.len();
                if all >= networks || !budget::is_within_share(all + 1, own, networks) {
                    return self.refuse(now, id, Refusal::Networks);
                }
            }
        }
        let site = member.site;
        let route = Route::draw(&mut *self.entropy);
        member.stage = Stage::Joined {
            network: network.clone(),
            route,
        };
        member.behind = Some(0);
        self.newcomers.remove(id);
        self.routes.insert(route, id);
        self.networks
            .or_insert_with(network, || Network::new(limits, site, now.at))
            .members
            .insert(id, ());
        self.stats.joined += 1;
        self.due = self.due.min(now.at + limits.idle);
        self.catch_up(now, id);
    }

    /// Appends to what waits for a link; false if that is too much, and the link is gone.
    fn append(
        &mut self,
        now: Now,
        id: LinkId,
        of: LinkId,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let queue = self.config.limits.queue;
        let stalled = self.config.limits.stalled;
        let Some(member) = self.members.get_mut(&id) else {
            return false;
        };
        if member.output.capacity() == 0
            && let Some(spare) = self.spare.pop()
        {
            member.output = spare;
        }
        // A newcomer is told of so much before anything of it can be written.
        let most = queue.max(member::AHEAD).saturating_mul(2);
        let most = most.saturating_add(FRAME_MAX);
        let was_empty = member.output.is_empty();
        let len = member.output.append(write);
        member.note_segment(of, len, now.at);
        budget::recount(&mut self.memory, &mut self.sites, member);
        if was_empty {
            self.due = self.due.min(now.at + stalled);
            self.outputs.push_back(Output::Writable(id));
        } else if member.waiting() > most {
            // Forwards stop at the queue: members cannot drive one of them out by filling it. This much is
            // what the relay itself has to tell.
            self.refuse(now, id, Refusal::Slow);
            return false;
        }
        true
    }

    fn tell(&mut self, now: Now, id: LinkId, network: &NetworkName, word: FromRelay) -> bool {
        self.append(now, id, id, |out| encode_word(network, word, out))
    }

    /// Appends something of a member's behind what waits for a link that is busy.
    fn append_behind(&mut self, id: LinkId, of: LinkId, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(member) = self.members.get_mut(&id) {
            member.lanes.push(of, write);
            budget::recount(&mut self.memory, &mut self.sites, member);
        }
    }

    fn echo(&mut self, now: Now, id: LinkId, raw: &[u8]) {
        self.append(now, id, id, |out| out.extend_from_slice(raw));
    }

    /// A link took `n` of the pending bytes.
    pub fn sent(&mut self, now: Now, id: LinkId, n: usize) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let mut drained = std::mem::take(&mut self.drained);
        member.sent(n, now.at, |of, len| {
            if of != id {
                drained.push((of, len));
            }
        });
        self.refill(now, id);
        self.set_aside(id);
        for (of, len) in drained.drain(..) {
            self.give_credit(now, of, id, len);
        }
        self.drained = drained;
        #[cfg(feature = "compat")]
        self.http_sent(now, id);
        self.relieve(now);
    }

    /// A link's output may have become empty: its buffer is for the next that has something to send.
    fn set_aside(&mut self, id: LinkId) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        if member.output.is_empty() && member.output.capacity() > 0 {
            let buffer = std::mem::take(&mut member.output);
            if buffer.capacity() <= SPARE_CAPACITY && self.spare.len() < SPARE {
                self.spare.push(buffer);
            }
        }
        budget::recount(&mut self.memory, &mut self.sites, member);
    }

    /// Something has moved to a link's output from behind it.
    fn moved(&mut self, now: Now, id: LinkId, was_empty: bool) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        budget::recount(&mut self.memory, &mut self.sites, member);
        if was_empty && !member.output.is_empty() {
            self.due = self.due.min(now.at + self.config.limits.stalled);
            self.outputs.push_back(Output::Writable(id));
        }
    }

    /// A link ended.
    pub fn closed(&mut self, now: Now, id: LinkId) {
        #[cfg(feature = "compat")]
        self.http_closed(now, id);
        if self.advert_waits.get(id).is_some() && !self.stopped {
            // Its last advert says most often that it leaves, which nobody would learn otherwise.
            self.hand_on(now, id);
        }
        let Some(mut member) = self.members.remove(&id) else {
            return;
        };
        self.held.remove(id);
        self.advert_waits.remove(id);
        self.newcomers.remove(id);
        budget::forget(&mut self.memory, &mut self.sites, &mut member);
        if let Some(site) = self.sites.get_mut(&member.site) {
            site.links -= 1;
        }
        if let Some(links) = self.addresses.get_mut(&member.address) {
            *links -= 1;
            if *links == 0 {
                self.addresses.remove(&member.address);
            }
        }
        if let Stage::Joined { network, route } = &member.stage {
            self.stats.left += 1;
            self.routes.remove(route);
            self.leave(now, id, (network, *route), &member);
        }
    }

    /// Tells a link why, and closes it.
    fn refuse(&mut self, now: Now, id: LinkId, why: Refusal) {
        if !self.members.contains_key(&id) {
            return;
        }
        let counter = match why {
            Refusal::Frame => &mut self.stats.refused_frame,
            Refusal::Network => &mut self.stats.refused_network,
            Refusal::Networks => &mut self.stats.refused_networks,
            Refusal::Key => &mut self.stats.refused_key,
            Refusal::Full => &mut self.stats.refused_full,
            Refusal::Address => &mut self.stats.refused_address,
            Refusal::Late => &mut self.stats.refused_late,
            Refusal::Idle => &mut self.stats.refused_idle,
            Refusal::Slow => &mut self.stats.refused_slow,
            Refusal::Flood => &mut self.stats.refused_flood,
            // Not a refusal, and there is nobody left to count it for.
            Refusal::Stopping => &mut 0,
        };
        *counter += 1;
        self.end(now, id, why);
    }

    /// Tells a link why, and closes it, without counting it.
    fn end(&mut self, now: Now, id: LinkId, why: Refusal) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let mut last = member.output.take();
        let network = match &member.stage {
            Stage::Joined { network, .. } | Stage::Challenged { network, .. } => network.as_str(),
            Stage::New => "relay",
            #[cfg(feature = "compat")]
            Stage::Http(_) => {
                // What is left of an answer goes back to its mailbox, unless the relay ends: not out as well.
                last.truncate(if self.stopped { last.len() } else { 0 });
                self.outputs.push_back(Output::Close(id, last));
                return self.closed(now, id);
            }
        };
        frame::encode_with(network, FrameType::ERROR, &mut last, |out| {
            out.extend_from_slice(why.as_str().as_bytes());
        });
        self.outputs.push_back(Output::Close(id, last));
        self.closed(now, id);
    }

    /// Time passed.
    pub fn tick(&mut self, now: Now) {
        for id in self.held.over(now.at) {
            self.outputs.push_back(Output::Resume(id));
        }
        self.hand_on_due(now);
        #[cfg(feature = "compat")]
        self.web.mailboxes.expire(now, &self.config.limits);
        if now.at >= self.due {
            self.look_at_all(now);
        }
        self.relieve(now);
    }

    /// Ends the links whose time is over.
    fn look_at_all(&mut self, now: Now) {
        let limits = &self.config.limits;
        let (handshake, idle) = (limits.handshake, limits.idle);
        let (stalled, frame) = (limits.stalled, limits.frame);
        let mut due = Time::NEVER;
        let mut over = Vec::new();
        #[cfg(feature = "compat")]
        let mut late = Vec::new();
        for (id, member) in self.members.iter() {
            #[cfg(feature = "compat")]
            if let Stage::Http(stage) = &member.stage {
                match stage.until(member.opened, member.progress, limits) {
                    until if now.at >= until => late.push(*id),
                    until => due = due.min(until),
                }
                continue;
            }
            let joined = member.network().is_some();
            let (mut until, mut why) = if joined {
                (member.heard + idle, Refusal::Idle)
            } else {
                (member.opened + handshake, Refusal::Late)
            };
            // Who is not read, because it sent too fast, is not silent.
            if let Some(read_again) = self.held.get(*id)
                && joined
            {
                until = read_again + idle;
            }
            let stuck = member.progress + stalled;
            if !member.pending().is_empty() && stuck < until {
                (until, why) = (stuck, Refusal::Slow);
            }
            if let Some(since) = member.unfinished
                && since + frame < until
            {
                (until, why) = (since + frame, Refusal::Late);
            }
            if now.at >= until {
                over.push((*id, why));
            } else {
                due = due.min(until);
            }
        }
        self.due = due.max(now.at + LOOK);
        for (id, why) in over {
            self.refuse(now, id, why);
        }
        #[cfg(feature = "compat")]
        for id in late {
            self.http_late(now, id);
        }
        // An address is remembered until it could have been here for the first time.
        self.sites.retain(|_, site| !site.is_forgettable(now.at));
    }
}

impl Protocol for Hub {
    fn accept(&mut self, now: Now, from: SocketAddr) -> Option<LinkId> {
        Hub::accept(self, now, from)
    }

    fn link(&mut self, now: Now, id: LinkId, event: LinkEvent<'_>) {
        match event {
            // A relay dials nobody.
            LinkEvent::Connected => {}
            LinkEvent::Received(bytes) => self.received(now, id, bytes),
            LinkEvent::Sent(n) => self.sent(now, id, n),
            LinkEvent::Closed => self.closed(now, id),
        }
    }

    fn pending(&self, id: LinkId) -> &[u8] {
        Hub::pending(self, id)
    }
}
