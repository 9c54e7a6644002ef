//! Relays of the old protocol: asked again and again for what has come.
//!
//! One that keeps a question until something comes is asked again at once, any other after the tick.

use super::super::http::{self, write_post};
use super::super::post::{Kind, Packet, Ping, Pong};
use super::exchange::{Answer, Errand};
use super::{Config, Engine, Output};
use crate::address::RelayAddress;
use crate::engine::RelayFault;
use crate::limits::SERVERS_MAX;
use crate::logging::record;
use crate::name::NodeName;
use crate::protocol::{LinkId, Now, Time};
use crate::table::Table;
use std::collections::VecDeque;
use std::time::Duration;

/// How long a relay may keep a question. Shorter than it takes a relay to miss us.
const WAIT: u32 = 1;
/// What a relay may take to answer, besides.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two questions, whatever a relay says: it must not make us spin.
const PAUSE: Duration = Duration::from_millis(5);

/// One relay.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) address: RelayAddress,
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
    /// Packets on their way to it, and those that wait for that: of which calls, and the requests.
    posting: usize,
    outbox: VecDeque<(Option<u64>, Vec<u8>)>,
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
            peers: Vec::new(),
        }
    }

    fn path(&self, what: &str) -> String {
        format!("/{what}{}", if self.slash { "/" } else { "" })
    }
}

#[derive(Debug, Default)]
pub(super) struct Relays {
    list: Vec<Relay>,
    /// Those that were learnt and did not answer, and until when they are not learnt again.
    shunned: Table<RelayAddress, Time>,
}

impl Relays {
    pub(super) fn new(given: &[RelayAddress]) -> Relays {
        let relay = |address: &RelayAddress| Relay::new(address.clone(), false, Time::NEVER);
        Relays {
            list: given.iter().map(relay).collect(),
            shunned: Table::default(),
        }
    }

    pub(super) fn start(&mut self, now: Time) {
        for relay in &mut self.list {
            relay.next = now;
        }
    }

    pub(super) fn due(&self) -> Time {
        self.list
            .iter()
            .map(|r| r.next)
            .min()
            .unwrap_or(Time::NEVER)
    }

    /// Those that have a peer.
    pub(super) fn of(&self, name: &NodeName) -> impl Iterator<Item = &Relay> {
        let there = |r: &&Relay| r.peers.binary_search(name).is_ok();
        self.list.iter().filter(there)
    }

    /// Bytes that wait to be posted.
    pub(super) fn held(&self) -> usize {
        let waiting = self.list.iter().flat_map(|r| &r.outbox);
        waiting.map(|(_, request)| request.len()).sum()
    }

    /// A call is over: what waits to be posted of it need not be.
    pub(super) fn forget(&mut self, number: u64) {
        for relay in &mut self.list {
            relay.outbox.retain(|(of, _)| *of != Some(number));
        }
    }

    fn get_mut(&mut self, address: &RelayAddress) -> Option<&mut Relay> {
        self.list.iter_mut().find(|r| r.address == *address)
    }
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

impl Engine {
    pub(super) fn tick_relays(&mut self, now: Now) {
        let servers: Vec<RelayAddress> = {
            let known = self.relays.list.iter().map(|r| r.address.clone());
            known.take(SERVERS_MAX).collect()
        };
        let ping = Ping {
            name: self.config.name.clone(),
            network: self.config.network.clone(),
            servers,
        };
        for at in 0..self.relays.list.len() {
            let relay = &mut self.relays.list[at];
            if now.at < relay.next {
                continue;
            }
            (relay.next, relay.asked) = (Time::NEVER, now.at);
            let address = relay.address.clone();
            let mut request = Vec::new();
            let path = relay.path("ping");
            write_post(
                address.as_str(),
                &path,
                &ping.encode(),
                Some(WAIT),
                &mut request,
            );
            let deadline = now.at + PATIENCE + Duration::from_secs(WAIT.into());
            self.dial_relay(Errand::Ping(address), request, deadline);
        }
        self.relays.shunned.retain(|_, until| now.at < *until);
    }

    /// Another of a relay's addresses is to be tried, if it is still known.
    pub(super) fn try_next_address(&mut self, relay: &RelayAddress) -> bool {
        let known = self.relays.get_mut(relay);
        known.is_some_and(|relay| {
            relay.nth = relay.nth.wrapping_add(1);
            true
        })
    }

    /// Makes a link to a relay that is known, for a request.
    pub(super) fn dial_relay(
        &mut self,
        errand: Errand,
        request: Vec<u8>,
        deadline: Time,
    ) -> LinkId {
        let known = match &errand {
            Errand::Ping(relay) | Errand::Post(relay, _) => self.relays.get_mut(relay),
            Errand::Call(_) => None,
        };
        let known = known.map(|relay| (relay.address.clone(), relay.nth, relay.learnt));
        let link = self.ask(errand, request, deadline);
        if let Some((relay, nth, learnt)) = known {
            self.outputs.push_back(Output::DialRelay {
                link,
                relay,
                nth,
                learnt,
            });
        }
        link
    }

    /// Gives a packet to a relay, now or when those before it are there.
    pub(super) fn post(
        &mut self,
        now: Now,
        relay: RelayAddress,
        target: &NodeName,
        packet: &Packet,
        of: Option<u64>,
    ) {
        let Some(known) = self.relays.get_mut(&relay) else {
            return;
        };
        let path = known.path("send");
        let mut request = Vec::with_capacity(packet.data.len() + 1_024);
        write_post(
            relay.as_str(),
            &path,
            &packet.encode(target),
            None,
            &mut request,
        );
        known.outbox.push_back((of, request));
        self.post_next(now, &relay);
    }

    fn post_next(&mut self, now: Now, address: &RelayAddress) {
        let most = self.config.limits.compat_posts;
        while let Some(relay) = self.relays.get_mut(address).filter(|r| r.posting < most)
            && let Some((of, request)) = relay.outbox.pop_front()
        {
            relay.posting += 1;
            let errand = Errand::Post(address.clone(), of);
            self.dial_relay(errand, request, now.at + PATIENCE);
        }
    }

    /// A packet is on its way no more.
    pub(super) fn post_over(&mut self, now: Now, address: &RelayAddress) {
        if let Some(relay) = self.relays.get_mut(address) {
            relay.posting = relay.posting.saturating_sub(1);
            self.post_next(now, address);
        }
    }

    pub(super) fn posted(
        &mut self,
        now: Now,
        relay: &RelayAddress,
        of: Option<u64>,
        answer: &Answer<'_>,
    ) {
        self.post_over(now, relay);
        match of {
            Some(number) => self.call_posted(now, number, answer),
            None if matches!(answer, Answer::Came(head, _) if head.status == 200) => {}
            None => {
                record!(Debug, "an answer was lost at relay {relay}: {answer:?}");
                self.refused += 1;
            }
        }
    }

    /// A relay has answered what has come, or has not.
    pub(super) fn pinged(&mut self, now: Now, address: &RelayAddress, answer: &Answer<'_>) {
        let Config {
            tick, ref limits, ..
        } = self.config;
        let (first, last) = limits.relay_redial;
        let attempts = limits.relay_attempts;
        let Some(relay) = self.relays.get_mut(address) else {
            return;
        };
        let pong = match answer {
            Answer::Came(head, _)
                if !relay.pointed
                    && other_slash(head).is_some_and(|slash| slash != relay.slash) =>
            {
                relay.pointed = true;
                relay.slash = !relay.slash;
                relay.next = now.at;
                return;
            }
            Answer::Came(head, body) if head.status == 200 => {
                Pong::decode(body).map(|p| (p, head.waits))
            }
            _ => None,
        };
        let Some((pong, waits)) = pong else {
            relay.failures += 1;
            let pause = first * 2u32.saturating_pow(relay.failures.min(16));
            relay.next = now.at + pause.min(last);
            let given_up = relay.learnt && relay.failures >= attempts;
            let gone = std::mem::take(&mut relay.peers);
            if relay.up.replace(false) != Some(false) {
                let why = match answer {
                    Answer::None { .. } => RelayFault::Unreachable,
                    _ => RelayFault::Protocol,
                };
                self.outputs
                    .push_back(Output::Relay(address.clone(), Err(why)));
            }
            if given_up {
                let until = now.at + self.config.limits.relay_shunned;
                let unsent = std::mem::take(&mut relay.outbox);
                self.relays.list.retain(|r| r.address != *address);
                self.relays.shunned.insert(address.clone(), until);
                for number in unsent.iter().filter_map(|(of, _)| *of) {
                    self.call_relayed(now, number);
                }
            }
            return gone.iter().for_each(|name| self.tell_place(name));
        };
        let mut peers = pong.peers;
        peers.sort_unstable();
        peers.dedup();
        (relay.failures, relay.pointed) = (0, false);
        relay.next = match waits {
            true => now.at.max(relay.asked + PAUSE),
            false => now.at.max(relay.asked + tick),
        };
        let changed: Vec<NodeName> = {
            let (old, new) = (&relay.peers, &peers);
            let gone = old.iter().filter(|name| new.binary_search(name).is_err());
            let come = new.iter().filter(|name| old.binary_search(name).is_err());
            gone.chain(come).cloned().collect()
        };
        relay.peers = peers;
        if relay.up.replace(true) != Some(true) {
            self.outputs
                .push_back(Output::Relay(address.clone(), Ok(())));
        }
        changed.iter().for_each(|name| self.tell_place(name));
        for server in pong.servers {
            self.learn_relay(now, server);
        }
        for packet in pong.packets {
            match packet.kind {
                Kind::Request => self.serve_packet(now, address.clone(), packet),
                Kind::Response => self.call_answered(&packet),
            }
        }
    }

    fn learn_relay(&mut self, now: Now, address: RelayAddress) {
        let list = &mut self.relays.list;
        let known = list.iter().any(|r| r.address == address);
        if known
            || list.len() >= self.config.max_remotes
            || self.relays.shunned.contains_key(&address)
        {
            return;
        }
        record!(Debug, "learnt of relay {address}");
        list.push(Relay::new(address, true, now.at));
    }
}
