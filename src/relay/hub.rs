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
//! that is turned away, and its sender told. A member that sends too fast is not read for a while.
//!
//! `member` is one link and what waits for it, `presence` hands adverts on, `forward` carries frames,
//! `allowance` is so many a second, `stats` what is counted, `web` the side for Python nodes.

mod allowance;
mod forward;
mod member;
mod presence;
mod stats;
#[cfg(feature = "compat")]
mod web;

pub use stats::RelayStats;

use crate::buffer::Buffer;
use crate::entropy::Entropy;
use crate::frame::{self, Frame, FrameType, Parsed};
use crate::limits::{FRAME_MAX, RelayLimits};
use crate::name::NetworkName;
use crate::protocol::{LinkEvent, LinkId, Now, Protocol, Time};
use crate::table::Table;
use crate::wire::membership::RelayKey;
use crate::wire::relay::{FromRelay, Refusal, Route, ToRelay};
use allowance::Allowance;
use member::{Member, SPARE_CAPACITY, Stage, counted};
use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Bytes of a keepalive's nonce; a longer one is nobody's.
const PING_MAX: usize = 64;
/// Buffers kept for the next that has something to send.
const SPARE: usize = 16;

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

#[derive(Debug, Default)]
struct Network {
    members: Table<LinkId, ()>,
}

/// What one address has, and may do: each joining and each advert is told to every member.
#[derive(Debug)]
struct Source {
    links: usize,
    joins: Allowance,
    adverts: Allowance,
    /// Bytes of requests that are coming in.
    #[cfg(feature = "compat")]
    reading: usize,
}

/// The state machine. See the module's documentation for how to drive it.
pub struct Hub {
    config: Config,
    entropy: Box<dyn Entropy>,
    members: Table<LinkId, Box<Member>>,
    routes: Table<Route, LinkId>,
    networks: Table<NetworkName, Network>,
    sources: Table<IpAddr, Source>,
    /// Members that are not read, and until when.
    held: Table<LinkId, Time>,
    /// Members whose newest advert waits, and until when.
    advert_waits: Table<LinkId, Time>,
    next_link: u64,
    /// No member can be late, idle or stalled before this.
    due: Time,
    stopped: bool,
    outputs: VecDeque<Output>,
    spare: Vec<Buffer>,
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
            sources: Table::default(),
            held: Table::default(),
            advert_waits: Table::default(),
            next_link: 0,
            due: Time::NEVER,
            stopped: false,
            outputs: VecDeque::new(),
            spare: Vec::new(),
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
        let (links, per_address) = (limits.links, limits.links_per_address);
        let (rate, most) = (limits.joins_per_second, per_address as u32);
        let address = counted(from.ip());
        let source = self.sources.or_insert_with(address, || Source {
            links: 0,
            joins: Allowance::new(rate, most, now.at),
            // Two at each start: asking for the name, and taking part.
            adverts: Allowance::new(rate, most.saturating_mul(2), now.at),
            #[cfg(feature = "compat")]
            reading: 0,
        });
        source.links += 1;
        let crowded = source.links > per_address;
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let member = Member::new(address, limits.burst, now.at);
        self.due = self.due.min(now.at + limits.handshake);
        self.members.insert(id, Box::new(member));
        if crowded {
            self.refuse(now, id, Refusal::Address);
        } else if self.members.len() > links {
            self.refuse(now, id, Refusal::Full);
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
        let held = self.held.values().min().copied();
        let adverts = self.advert_waits.values().min().copied();
        let due = self.due;
        #[cfg(feature = "compat")]
        let due = due.min(self.web.mailboxes.due());
        let due = (due != Time::NEVER).then_some(due);
        [held, adverts, due].into_iter().flatten().min()
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
            stats.networks += self.web.mailboxes.networks() as u64;
        }
        stats
    }

    /// Tells every member, and ends. Nothing but draining [`Hub::poll`] is left to do.
    pub fn stop(&mut self, now: Now) {
        self.stopped = true;
        for id in self.members.keys().copied().collect::<Vec<_>>() {
            self.refuse(now, id, Refusal::Stopping);
        }
        self.sources = Table::default();
    }

    /// Bytes came on a link.
    pub fn received(&mut self, now: Now, id: LinkId, bytes: &[u8]) {
        let limits = &self.config.limits;
        let (rate, burst) = (limits.bytes_per_second, limits.burst);
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        member.heard = now.at;
        if let Some(until) = member.charge(bytes.len(), rate, burst, now.at) {
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
        let mut input = std::mem::take(&mut member.input);
        let data: &[u8] = if input.is_empty() {
            bytes
        } else {
            input.extend_from_slice(bytes);
            &input
        };
        let mut at = 0;
        while at < data.len() {
            match frame::parse(&data[at..], FRAME_MAX) {
                Ok(Parsed::Complete(frame, used)) => {
                    let raw = &data[at..at + used];
                    at += used;
                    self.frame(now, id, frame, raw);
                    if !self.members.contains_key(&id) {
                        return;
                    }
                }
                Ok(Parsed::Incomplete) => break,
                Err(_) => return self.refuse(now, id, Refusal::Frame),
            }
        }
        let due = now.at + self.config.limits.frame;
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        if at == data.len() {
            member.unfinished = None;
        } else if at > 0 || member.unfinished.is_none() {
            member.unfinished = Some(now.at);
            self.due = self.due.min(due);
        }
        if at < data.len() {
            if input.is_empty() {
                input.extend_from_slice(&bytes[at..]);
            } else {
                input.drain(..at);
            }
            member.input = input;
        }
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
        if let Some(source) = self.sources.get_mut(&member.address)
            && !source.joins.take(now.at)
        {
            return self.refuse(now, id, Refusal::Address);
        }
        match self.networks.get(&network) {
            Some(there) if there.members.len() >= members => {
                return self.refuse(now, id, Refusal::Full);
            }
            None if self.networks.len() >= networks => {
                return self.refuse(now, id, Refusal::Networks);
            }
            _ => {}
        }
        let route = Route::draw(&mut *self.entropy);
        member.stage = Stage::Joined {
            network: network.clone(),
            route,
        };
        member.catching_up = Some(LinkId(0));
        self.routes.insert(route, id);
        self.networks
            .or_insert_with(network, Network::default)
            .members
            .insert(id, ());
        self.stats.joined += 1;
        let limits = &self.config.limits;
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
        let was_empty = member.output.is_empty();
        let len = member.output.append(write);
        member.note_segment(of, len, now.at);
        if was_empty {
            self.due = self.due.min(now.at + stalled);
            self.outputs.push_back(Output::Writable(id));
        } else if member.pending().len() > 2 * queue + FRAME_MAX {
            // Forwards stop at the queue: members cannot drive one of them out by filling it. This much is
            // what the relay itself has to tell.
            self.refuse(now, id, Refusal::Slow);
            return false;
        }
        true
    }

    fn tell(&mut self, now: Now, id: LinkId, network: &NetworkName, word: FromRelay) -> bool {
        self.append(now, id, id, |out| {
            frame::encode_with(network.as_str(), FrameType::REGISTER, out, |out| {
                word.encode(out)
            });
        })
    }

    fn echo(&mut self, now: Now, id: LinkId, raw: &[u8]) {
        self.append(now, id, id, |out| out.extend_from_slice(raw));
    }

    /// A link took `n` of the pending bytes.
    pub fn sent(&mut self, now: Now, id: LinkId, n: usize) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let mut gone: Vec<(LinkId, u32)> = Vec::new();
        member.sent(n, now.at, |of, len| {
            if of != id {
                gone.push((of, len));
            }
        });
        if member.output.is_empty() && member.output.capacity() > 0 {
            let buffer = std::mem::take(&mut member.output);
            if buffer.capacity() <= SPARE_CAPACITY && self.spare.len() < SPARE {
                self.spare.push(buffer);
            }
        }
        let behind = member.catching_up.is_some();
        for (of, len) in gone {
            self.give_credit(now, of, id, len);
        }
        if behind {
            self.catch_up(now, id);
        }
        #[cfg(feature = "compat")]
        self.http_sent(now, id);
    }

    /// A link ended.
    pub fn closed(&mut self, now: Now, id: LinkId) {
        #[cfg(feature = "compat")]
        self.http_closed(now, id);
        let Some(member) = self.members.remove(&id) else {
            return;
        };
        self.held.remove(&id);
        self.advert_waits.remove(&id);
        if let Some(source) = self.sources.get_mut(&member.address) {
            source.links -= 1;
        }
        if let Stage::Joined { network, route } = &member.stage {
            self.stats.left += 1;
            self.routes.remove(route);
            self.leave(now, id, network, *route);
        }
    }

    /// Tells a link why, and closes it.
    fn refuse(&mut self, now: Now, id: LinkId, why: Refusal) {
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
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let mut last = member.output.take();
        let network = match &member.stage {
            Stage::Joined { network, .. } | Stage::Challenged { network, .. } => network.as_str(),
            Stage::New => "relay",
            #[cfg(feature = "compat")]
            Stage::Http(_) => {
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
        let over = |table: &Table<LinkId, Time>| -> Vec<LinkId> {
            let over = table.iter().filter(|(_, until)| now.at >= **until);
            over.map(|(id, _)| *id).collect()
        };
        for id in over(&self.held) {
            self.held.remove(&id);
            self.outputs.push_back(Output::Resume(id));
        }
        for id in over(&self.advert_waits) {
            self.advert_waits.remove(&id);
            self.hand_on(now, id);
        }
        #[cfg(feature = "compat")]
        self.web.mailboxes.expire(now, &self.config.limits);
        if now.at < self.due {
            return;
        }
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
            if let Some(read_again) = self.held.get(id)
                && joined
            {
                until = *read_again + idle;
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
        self.due = due;
        for (id, why) in over {
            self.refuse(now, id, why);
        }
        #[cfg(feature = "compat")]
        for id in late {
            self.http_late(now, id);
        }
        // An address is remembered until it could have been here for the first time.
        self.sources
            .retain(|_, s| s.links > 0 || !s.joins.is_full(now.at) || !s.adverts.is_full(now.at));
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
