//! The relays that are asked again and again for what has come.
//!
//! One that keeps a question until something comes is asked again at once, any other after the
//! tick, and so is one that was learnt: nobody chose it. The more peers come and go at a relay, the
//! longer it waits for the next question.

use super::context::Ctx;
use super::errand::{Answer, Cargo, Errand, Held, Question};
use super::{Config, Output};
use crate::address::RelayAddress;
use crate::backoff::Backoff;
use crate::compat::http::{self, write_post};
use crate::compat::post::{Packet, Ping, Pong};
use crate::engine::RelayFault;
use crate::limits::SERVERS_MAX;
use crate::logging::record;
use crate::name::NodeName;
use crate::protocol::Time;
use crate::table::Table;
use std::collections::VecDeque;
use std::time::Duration;

/// Seconds that a relay may keep a question. Shorter than it takes a relay to miss us.
const WAIT: u32 = 1;
/// What a relay may take to answer, besides.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two questions, whatever a relay says: it must not make us spin.
const PAUSE: Duration = Duration::from_millis(5);
/// Peers that may come and go at a relay between two questions without a longer pause.
const CHANGES_FREE: usize = 64;
/// What each further one adds to the pause: several times what it costs on a small machine, so that
/// a relay that invents peers takes a small part of its time.
const PAUSE_PER_CHANGE: Duration = Duration::from_millis(1);
/// What all of them add at most. A relay misses a node that has not asked for 3 s.
const CHANGES_PAUSE_MAX: Duration = Duration::from_secs(2);

/// A packet for a relay, before it is on its way.
#[derive(Debug)]
struct Waiting {
    cargo: Cargo,
    /// It takes no more memory than is counted.
    request: Box<[u8]>,
}

/// Answers that wait.
#[derive(Clone, Copy, Debug, Default)]
struct Answers {
    count: usize,
    bytes: usize,
}

/// One relay.
#[derive(Debug)]
struct Relay {
    address: RelayAddress,
    /// Another relay told of it.
    learnt: bool,
    /// When to ask next; never while a question is under way.
    next: Time,
    asked: Time,
    /// Questions in a row that were not answered.
    failures: u32,
    /// What the program was told.
    up: Option<bool>,
    /// Paths end with a slash, as PeerBase 0.7.1 asks; its relay then points to those without.
    slash: bool,
    /// It pointed to the other paths since it last answered: it may do so once.
    pointed: bool,
    /// Which of its addresses is good.
    nth: usize,
    /// Packets on their way to it.
    posting: usize,
    /// Packets that wait for one of those to have arrived.
    outbox: VecDeque<Waiting>,
    /// How many of these are answers, and bytes of them.
    answers: Answers,
    /// In order.
    peers: Vec<NodeName>,
}

impl Relay {
    fn new(address: RelayAddress, learnt: bool, next: Time) -> Relay {
        Relay {
            address,
            learnt,
            next,
            asked: Time::default(),
            failures: 0,
            up: None,
            slash: true,
            pointed: false,
            nth: 0,
            posting: 0,
            outbox: VecDeque::new(),
            answers: Answers::default(),
            peers: Vec::new(),
        }
    }

    fn path(&self, what: &str) -> String {
        format!("/{what}{}", if self.slash { "/" } else { "" })
    }

    /// The question what has come, which is under way from now on.
    fn ask(&mut self, now: Time, ping: &Ping) -> Question {
        (self.next, self.asked) = (Time::NEVER, now);
        let (host, path) = (self.address.as_str(), self.path("ping"));
        let mut request = Vec::new();
        write_post(host, &path, &ping.encode(), Some(WAIT), &mut request);
        Question {
            errand: Errand::Ping(self.address.clone()),
            request,
            deadline: now + PATIENCE + Duration::from_secs(WAIT.into()),
        }
    }

    /// Asks the other paths from now on, if the answer points there; it may do so once.
    fn follow(&mut self, answer: &Answer<'_>) -> bool {
        let Answer::Came(head, _) = answer else {
            return false;
        };
        let points = other_slash(head).is_some_and(|slash| slash != self.slash);
        if self.pointed || !points {
            return false;
        }
        self.pointed = true;
        self.slash = !self.slash;
        true
    }

    /// It is there, or not. Says whether that is news for the program.
    fn note_up(&mut self, up: bool) -> bool {
        self.up.replace(up) != Some(up)
    }

    /// It has answered that these peers are there; those that have come or gone.
    fn update_peers(&mut self, mut peers: Vec<NodeName>) -> Vec<NodeName> {
        peers.sort_unstable();
        peers.dedup();
        let old = std::mem::replace(&mut self.peers, peers);
        let new = &self.peers;
        let gone = old.iter().filter(|name| new.binary_search(name).is_err());
        let come = new.iter().filter(|name| old.binary_search(name).is_err());
        gone.chain(come).cloned().collect()
    }
}

/// What came of a question.
#[derive(Debug)]
pub(super) enum Pinged {
    /// It is asked again, or is not known any more.
    Nothing,
    /// It has not answered. These peers are not known to be there, and the packets of these calls
    /// will not reach it.
    Failed {
        gone: Vec<NodeName>,
        unsent: Vec<u64>,
    },
    /// These peers have come or gone, and these packets have come.
    Answered {
        changed: Vec<NodeName>,
        packets: Vec<Packet>,
    },
}

/// Which relay to connect to, and how.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) relay: RelayAddress,
    /// Which of its addresses to take, round and round.
    pub(super) nth: usize,
    /// Whether another relay told of it.
    pub(super) learnt: bool,
}

/// All relays.
#[derive(Debug, Default)]
pub(super) struct Relays {
    list: Vec<Relay>,
    /// Whether the node is being stopped, so that no relay is asked for what has come: a call that
    /// has left its mailbox would not be served any more.
    stopping: bool,
    /// Those that were learnt and did not answer, and until when they are not learnt again.
    shunned: Table<RelayAddress, Time>,
}

/// Where a relay that does not know a path points to: to itself, without the slash or with it.
fn other_slash(head: &http::AnswerHead) -> Option<bool> {
    let location = head
        .location
        .as_deref()
        .filter(|_| matches!(head.status, 307 | 308))?;
    let path = location.split_once("//").map_or(location, |(_, rest)| {
        rest.find('/').map_or("", |at| &rest[at..])
    });
    match path {
        "/ping" | "/send" => Some(false),
        "/ping/" | "/send/" => Some(true),
        _ => None,
    }
}

impl Relays {
    pub(super) fn new(given: &[RelayAddress]) -> Relays {
        let relay = |address: &RelayAddress| Relay::new(address.clone(), false, Time::NEVER);
        Relays {
            list: given.iter().map(relay).collect(),
            stopping: false,
            shunned: Table::default(),
        }
    }

    pub(super) fn start(&mut self, now: Time) {
        for relay in &mut self.list {
            relay.next = now;
        }
    }

    /// No relay is asked for what has come from now on.
    pub(super) fn ask_no_more(&mut self) {
        self.stopping = true;
    }

    pub(super) fn due(&self) -> Time {
        if self.stopping {
            return Time::NEVER;
        }
        let next = self.list.iter().map(|r| r.next).min();
        next.unwrap_or(Time::NEVER)
    }

    fn of(&self, name: &NodeName) -> impl Iterator<Item = &RelayAddress> {
        let there = |r: &&Relay| r.peers.binary_search(name).is_ok();
        self.list.iter().filter(there).map(|relay| &relay.address)
    }

    /// The first relay that has a peer.
    pub(super) fn first_of(&self, name: &NodeName) -> Option<&RelayAddress> {
        self.of(name).next()
    }

    /// The first relay that has a peer and was not tried.
    pub(super) fn untried(&self, name: &NodeName, tried: &[RelayAddress]) -> Option<RelayAddress> {
        self.of(name).find(|relay| !tried.contains(relay)).cloned()
    }

    /// Whether no packet waits to be posted.
    pub(super) fn are_outboxes_empty(&self) -> bool {
        self.list.iter().all(|relay| relay.outbox.is_empty())
    }

    /// Whether one more answer may wait for a relay: as many as calls of one peer may be served. A
    /// relay can send the same call again and again, and take no answer.
    pub(super) fn has_place_for_answer(&self, ctx: &Ctx<'_>, address: &RelayAddress) -> bool {
        let mut relays = self.list.iter();
        let relay = relays.find(|r| r.address == *address);
        relay.is_some_and(|r| r.answers.count < ctx.config.limits.served_per_peer)
    }

    /// Bytes of answers that wait for relays, `address` one of them.
    pub(super) fn answers(&self, address: &RelayAddress) -> Held {
        let own = self.list.iter().filter(|r| r.address == *address);
        Held {
            all: self.list.iter().map(|r| r.answers.bytes).sum(),
            own: own.map(|r| r.answers.bytes).sum(),
        }
    }

    /// A call is over: what waits to be posted of it need not be.
    pub(super) fn forget(&mut self, number: u64) {
        for relay in &mut self.list {
            relay
                .outbox
                .retain(|packet| packet.cargo.call() != Some(number));
        }
    }

    fn get_mut(&mut self, address: &RelayAddress) -> Option<&mut Relay> {
        self.list.iter_mut().find(|r| r.address == *address)
    }

    /// How to connect to a relay, if it is known.
    pub(super) fn target(&self, address: &RelayAddress) -> Option<Target> {
        let relay = self.list.iter().find(|r| r.address == *address)?;
        Some(Target {
            relay: relay.address.clone(),
            nth: relay.nth,
            learnt: relay.learnt,
        })
    }

    /// Another of a relay's addresses is to be tried, if it is still known.
    pub(super) fn try_next_address(&mut self, address: &RelayAddress) -> bool {
        let relay = self.get_mut(address);
        relay.is_some_and(|relay| {
            relay.nth = relay.nth.wrapping_add(1);
            true
        })
    }
}

/// Packets for relays.
impl Relays {
    /// Takes a packet for a relay, to be given to it when those before it are there.
    pub(super) fn post(
        &mut self,
        address: &RelayAddress,
        target: &NodeName,
        packet: &Packet,
        cargo: Cargo,
    ) {
        let Some(relay) = self.get_mut(address) else {
            return;
        };
        let (path, body) = (relay.path("send"), packet.encode(target));
        let mut request = Vec::with_capacity(packet.data.len() + 1_024);
        write_post(address.as_str(), &path, &body, None, &mut request);
        if cargo.call().is_none() {
            relay.answers.count += 1;
            relay.answers.bytes += request.len();
        }
        let request = request.into_boxed_slice();
        relay.outbox.push_back(Waiting { cargo, request });
    }

    /// The next packet for a relay, if it may be on its way now.
    pub(super) fn next_post(&mut self, ctx: &Ctx<'_>, address: &RelayAddress) -> Option<Question> {
        let most = ctx.config.limits.compat_posts;
        let relay = self.get_mut(address).filter(|r| r.posting < most)?;
        let Waiting { cargo, request } = relay.outbox.pop_front()?;
        relay.posting += 1;
        if cargo.call().is_none() {
            relay.answers.count -= 1;
            relay.answers.bytes -= request.len();
        }
        Some(Question {
            errand: Errand::Post(address.clone(), cargo),
            request: request.into_vec(),
            deadline: ctx.now.at + PATIENCE,
        })
    }

    /// A packet is on its way no more.
    pub(super) fn post_over(&mut self, address: &RelayAddress) {
        if let Some(relay) = self.get_mut(address) {
            relay.posting = relay.posting.saturating_sub(1);
        }
    }
}

/// Questions to relays.
impl Relays {
    /// The questions whose time has come.
    pub(super) fn ask_due(&mut self, ctx: &Ctx<'_>) -> Vec<Question> {
        let (now, config) = (ctx.now.at, ctx.config);
        let known = self.list.iter().map(|r| r.address.clone());
        let ping = Ping {
            name: config.name.clone(),
            network: config.network.clone(),
            servers: known.take(SERVERS_MAX).collect(),
        };
        self.shunned.retain(|_, until| now < *until);
        let due = self.list.iter_mut().filter(|relay| now >= relay.next);
        due.map(|relay| relay.ask(now, &ping)).collect()
    }

    /// A relay has answered what has come, or has not.
    pub(super) fn pinged(
        &mut self,
        ctx: &mut Ctx<'_>,
        address: &RelayAddress,
        answer: &Answer<'_>,
    ) -> Pinged {
        let now = ctx.now.at;
        let Some(relay) = self.get_mut(address) else {
            return Pinged::Nothing;
        };
        if relay.follow(answer) {
            relay.next = now;
            return Pinged::Nothing;
        }
        if let Answer::Came(head, body) = answer
            && head.status == 200
            && let Some(pong) = Pong::decode(body)
        {
            return self.answered(ctx, address, pong, head.waits);
        }
        let why = match answer {
            Answer::None { .. } => RelayFault::Unreachable,
            _ => RelayFault::Protocol,
        };
        self.failed(ctx, address, why)
    }

    fn answered(
        &mut self,
        ctx: &mut Ctx<'_>,
        address: &RelayAddress,
        pong: Pong,
        waits: bool,
    ) -> Pinged {
        let now = ctx.now.at;
        let Some(relay) = self.get_mut(address) else {
            return Pinged::Nothing;
        };
        (relay.failures, relay.pointed) = (0, false);
        let changed = relay.update_peers(pong.peers);
        let pause = if waits && !relay.learnt {
            PAUSE
        } else {
            ctx.config.tick
        };
        let count = changed.len().saturating_sub(CHANGES_FREE);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let more = PAUSE_PER_CHANGE
            .saturating_mul(count)
            .min(CHANGES_PAUSE_MAX);
        relay.next = now.max(relay.asked + pause) + more;
        if relay.note_up(true) {
            let output = Output::Relay(address.clone(), Ok(()));
            ctx.outputs.push_back(output);
        }
        for server in pong.servers {
            self.learn(ctx.config, now, server);
        }
        let packets = pong.packets;
        Pinged::Answered { changed, packets }
    }

    fn failed(&mut self, ctx: &mut Ctx<'_>, address: &RelayAddress, why: RelayFault) -> Pinged {
        let (now, limits) = (ctx.now.at, &ctx.config.limits);
        let Some(relay) = self.get_mut(address) else {
            return Pinged::Nothing;
        };
        relay.failures += 1;
        relay.next = now + Backoff::new(limits.relay_redial).after(relay.failures);
        let gone = std::mem::take(&mut relay.peers);
        if relay.note_up(false) {
            let output = Output::Relay(address.clone(), Err(why));
            ctx.outputs.push_back(output);
        }
        let mut unsent = Vec::new();
        if relay.learnt && relay.failures >= limits.relay_attempts {
            unsent.extend(
                relay
                    .outbox
                    .drain(..)
                    .filter_map(|packet| packet.cargo.call()),
            );
            self.list.retain(|r| r.address != *address);
            self.shunned
                .insert(address.clone(), now + limits.relay_shunned);
        }
        Pinged::Failed { gone, unsent }
    }

    /// Another relay told of this one.
    fn learn(&mut self, config: &Config, now: Time, address: RelayAddress) {
        let is_known = self.list.iter().any(|r| r.address == address);
        let is_full = self.list.len() >= config.max_remotes;
        if is_known || is_full || self.shunned.contains_key(&address) {
            return;
        }
        record!(Debug, "learnt of relay {address}");
        self.list.push(Relay::new(address, true, now));
    }
}

#[cfg(test)]
mod tests;
