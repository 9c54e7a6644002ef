//! Networks without advertising: an address is dialled, and whoever answers tells of others.
//!
//! What a peer tells makes others known, as an advert does, and never reachable: the handshake decides.
//! An address that a program gave is dialled again for as long as nobody there is reached.

use super::dialling::YIELD;
use super::directory::Peer;
use super::links::{Link, Via};
use super::{CallNumber, Engine, LinkId, Now, Output, Phase, Time};
use crate::error::Error;
use crate::limits::SEEDS_MAX;
use crate::reach::{self, Word};
use crate::wire::Instance;
use crate::wire::peers::{self, Acquaintance, PEERS_TOLD_MAX};
use crate::wire::record::encode_peers;
use std::net::SocketAddr;
use std::time::Duration;

/// How long news of peers are put together before they are told.
const NEWS_GAP: Duration = Duration::from_millis(100);
/// How often everything is told again: what was not taken in the first time may be now.
const RETOLD: Duration = Duration::from_secs(30);
/// How long somebody who was told of has time to be reached.
const HEARSAY: Duration = Duration::from_secs(30);
/// Peers known from one peer's word alone: what a member can make us dial by inventing them.
const HEARSAY_MAX: usize = 32;

/// An address to be linked to.
#[derive(Debug)]
struct Seed {
    address: SocketAddr,
    link: Option<LinkId>,
    /// Who answered there last.
    peer: Option<Instance>,
    /// When to dial it next.
    at: Time,
    failures: u32,
    /// Who waits for it, and until when.
    waiting: Vec<(CallNumber, Time)>,
    /// Whether it is dialled for ever: somebody has answered there, or a program said so.
    keep: bool,
}

#[derive(Debug)]
pub(super) struct Mesh {
    seeds: Vec<Seed>,
    /// Whether this node has to do with others that are not all found by advertising.
    active: bool,
    /// When to tell what is new, and when everything.
    news_at: Time,
    all_at: Time,
    due: Time,
}

impl Default for Mesh {
    fn default() -> Mesh {
        Mesh {
            seeds: Vec::new(),
            active: false,
            news_at: Time::NEVER,
            all_at: Time::NEVER,
            due: Time::NEVER,
        }
    }
}

impl Mesh {
    pub(super) fn due(&self) -> Time {
        self.due.min(self.news_at).min(self.all_at)
    }

    pub(super) fn activate(&mut self, now: Time) {
        if !self.active {
            self.active = true;
            self.all_at = now + NEWS_GAP;
        }
    }

    /// How many wait for an address to be linked to.
    pub(super) fn waiting(&self) -> usize {
        self.seeds.iter().map(|s| s.waiting.len()).sum()
    }

    fn by_link(&mut self, link: LinkId) -> Option<&mut Seed> {
        self.seeds.iter_mut().find(|s| s.link == Some(link))
    }
}

impl Engine {
    /// Dials an address, whoever is there. Its end comes as [`Output::Ended`], with the name of who
    /// answered; from then on the address is dialled again whenever the link is lost.
    pub fn connect(
        &mut self,
        now: Now,
        address: SocketAddr,
        timeout: Duration,
    ) -> Result<CallNumber, Error> {
        self.check_room_for_call(0)?;
        let at = self.seed(now, address)?;
        let number = self.calls.take_number();
        let until = now.at + timeout.min(self.core.config.limits.call_timeout);
        let seed = &mut self.mesh.seeds[at];
        seed.waiting.push((number, until));
        self.mesh.due = now.at;
        self.tick_mesh(now);
        Ok(number)
    }

    /// An address to be linked to, for as long as this node runs.
    pub fn add_seed(&mut self, now: Now, address: SocketAddr) -> Result<(), Error> {
        let at = self.seed(now, address)?;
        self.mesh.seeds[at].keep = true;
        self.mesh.due = now.at;
        Ok(())
    }

    fn seed(&mut self, now: Now, address: SocketAddr) -> Result<usize, Error> {
        if self.phase == Phase::Stopped {
            return Err(Error::Stopped);
        }
        if !reach::may_dial(address, Word::Program) {
            return Err(Error::Address(address.to_string()));
        }
        self.mesh.activate(now.at);
        let seeds = &mut self.mesh.seeds;
        if let Some(at) = seeds.iter().position(|s| s.address == address) {
            return Ok(at);
        }
        if seeds.len() >= SEEDS_MAX {
            return Err(Error::Overloaded("too many addresses to be linked to"));
        }
        seeds.push(Seed {
            address,
            link: None,
            peer: None,
            at: now.at,
            failures: 0,
            waiting: Vec::new(),
            keep: false,
        });
        Ok(seeds.len() - 1)
    }

    fn is_reached_straight(&self, peer: &Peer) -> bool {
        let straight = |l: &Link| matches!(l.via, Via::Socket(_));
        let mut links = peer.sessions.iter().filter_map(|id| self.links.get(id));
        links.any(|l| straight(l))
    }

    /// Whether a peer is reached straight that was not found by advertising: it does not find others so
    /// either, and must be told of them, and they of it.
    fn is_guest(&self, peer: &Peer) -> bool {
        peer.sequence.is_none() && self.is_reached_straight(peer)
    }

    /// Where this node's peers are, of those that are reached straight.
    pub fn acquaintances(&self) -> Vec<Acquaintance> {
        let direct = self.directory.iter().filter_map(|(instance, peer)| {
            let straight = self.is_reached_straight(peer);
            let address = peer.addresses.first().filter(|_| straight)?;
            Some(Acquaintance {
                instance: *instance,
                name: peer.name.clone(),
                address: *address,
            })
        });
        direct.collect()
    }

    pub(super) fn tick_mesh(&mut self, now: Now) {
        self.mesh.due = Time::NEVER;
        let mut over = Vec::new();
        for seed in &mut self.mesh.seeds {
            let reached = seed.peer.and_then(|p| self.directory.get(&p));
            let reached = reached.filter(|p| !p.sessions.is_empty());
            let who = reached.map(|p| p.name.as_str().as_bytes().to_vec());
            seed.waiting.retain(|(number, until)| {
                match (&who, now.at >= *until) {
                    (Some(who), _) => over.push((*number, Ok(who.clone()))),
                    (None, true) => {
                        let whom = seed.address.to_string();
                        over.push((*number, Err(Error::Unreachable(whom))));
                    }
                    (None, false) => {
                        self.mesh.due = self.mesh.due.min(*until);
                        return true;
                    }
                }
                false
            });
        }
        self.mesh
            .seeds
            .retain(|s| s.keep || !s.waiting.is_empty() || s.link.is_some());
        for (number, outcome) in over {
            self.core.outputs.push_back(Output::Ended(number, outcome));
        }
        self.dial_seeds(now);
        if now.at >= self.mesh.news_at || now.at >= self.mesh.all_at {
            self.tell_of_peers(now);
        }
    }

    fn dial_seeds(&mut self, now: Now) {
        if self.phase != Phase::Running {
            return;
        }
        for i in 0..self.mesh.seeds.len() {
            let seed = &self.mesh.seeds[i];
            let reached = seed.peer.and_then(|p| self.directory.get(&p));
            if seed.link.is_some() || reached.is_some_and(|p| !p.sessions.is_empty()) {
                continue;
            }
            let (address, at) = (seed.address, seed.at);
            if now.at >= at && self.may_dial(now) {
                let link = self.dial_address(now, address);
                self.mesh.seeds[i].link = Some(link);
            } else {
                let again = at.max(now.at + NEWS_GAP);
                self.mesh.due = self.mesh.due.min(again);
            }
        }
    }

    /// The dial of a seed was in vain.
    pub(super) fn seed_failed(&mut self, now: Now, link: LinkId) {
        let (first, longest) = self.core.config.limits.redial;
        let Some(seed) = self.mesh.by_link(link) else {
            return;
        };
        seed.failures += 1;
        let pause = first
            .saturating_mul(1 << seed.failures.min(16))
            .min(longest);
        let at = now.at + self.core.entropy.jitter(pause);
        if let Some(seed) = self.mesh.by_link(link) {
            seed.link = None;
            seed.at = at;
        }
        self.mesh.due = now.at;
    }

    /// A session is there: whoever waits for it is told, and others are told of it.
    pub(super) fn mesh_session_up(&mut self, now: Now, link: LinkId, instance: Instance) {
        if let Some(seed) = self.mesh.by_link(link) {
            seed.link = None;
            seed.peer = Some(instance);
            seed.failures = 0;
            seed.keep = true;
        }
        self.mesh.due = now.at;
        let peer = self.directory.get(&instance);
        let news = self.mesh.active || peer.is_some_and(|p| self.is_guest(p));
        if news && self.mesh.news_at == Time::NEVER {
            self.mesh.news_at = now.at + NEWS_GAP;
        }
    }

    /// A session is lost: if it was with a seed, that is dialled again.
    pub(super) fn mesh_session_down(&mut self, now: Now, instance: Instance) {
        let pause = self.core.config.limits.redial.0;
        for seed in &mut self.mesh.seeds {
            if seed.peer == Some(instance) {
                seed.at = now.at + pause;
                self.mesh.due = self.mesh.due.min(seed.at);
            }
        }
    }

    /// Tells every peer of the others, as far as they can be of use there.
    fn tell_of_peers(&mut self, now: Now) {
        self.mesh.news_at = Time::NEVER;
        if !self.mesh.active {
            // Who was not heard before it dialled may have been since, on a LAN that is just slow to tell.
            if !self.directory.iter().any(|(_, peer)| self.is_guest(peer)) {
                return;
            }
            self.mesh.active = true;
            self.mesh.all_at = now.at;
        }
        let all = now.at >= self.mesh.all_at;
        if all {
            self.mesh.all_at = now.at + self.core.entropy.jitter(RETOLD);
        }
        let known = self.acquaintances();
        // Also those that nobody can dial.
        let peers: Vec<Instance> = self.directory.iter().map(|(i, _)| *i).collect();
        for to in peers {
            let Some(link) = self.best_session(to) else {
                continue;
            };
            let Some(Via::Socket(place)) = self.links.get(&link).map(|l| l.via) else {
                continue;
            };
            let told = self
                .links
                .get_mut(&link)
                .map(|l| std::mem::take(&mut l.told));
            let mut told = told.unwrap_or_default();
            told.retain(|i| known.iter().any(|k| k.instance == *i));
            let fresh: Vec<Acquaintance> = known
                .iter()
                .filter(|k| k.instance != to && (all || !told.contains(&k.instance)))
                // A loopback address means something else on another host.
                .filter(|k| !k.address.ip().is_loopback() || place.ip().is_loopback())
                .cloned()
                .collect();
            for some in fresh.chunks(PEERS_TOLD_MAX) {
                if !self.takes_more(link) {
                    break;
                }
                let mut body = Vec::new();
                peers::encode(some, &mut body);
                self.send_record(now, link, |sequence, out| {
                    encode_peers(sequence, &body, out)
                });
                told.extend(some.iter().map(|k| k.instance));
            }
            if let Some(link) = self.links.get_mut(&link) {
                told.sort_unstable();
                told.dedup();
                link.told = told;
            }
        }
    }

    /// A peer tells of others.
    pub(super) fn told_of_peers(&mut self, now: Now, link: LinkId, body: &[u8]) {
        let Ok(told) = peers::decode(body) else {
            return self.violation(now, link);
        };
        let Some(from) = self.session(link).map(|s| s.peer) else {
            return;
        };
        let via = self.links.get(&link).map(|l| l.via);
        let word = match via {
            Some(Via::Socket(place)) => Word::From(place.ip()),
            _ => Word::Anyone,
        };
        self.mesh.activate(now.at);
        let max = self.core.config.limits.addresses_per_peer;
        for peer in told {
            if peer.instance == self.core.instance || self.is_own_name(&peer.name) {
                continue;
            }
            if !reach::may_dial(peer.address, word) {
                self.core.stats.addresses_refused += 1;
                continue;
            }
            if let Some(known) = self.directory.get_mut(&peer.instance) {
                if known.name == peer.name && known.sessions.is_empty() && !known.left {
                    known.learn_address(peer.address, max);
                    known.expires = known.expires.max(now.at + HEARSAY);
                    if known.dial.at.is_none() && known.dial.link.is_none() {
                        known.dial.at = Some(now.at);
                        self.directory.wake_at(now.at);
                    }
                }
                continue;
            }
            let hearsay = self.directory.iter();
            let hearsay = hearsay.filter(|(_, p)| p.told_by == Some(from) && !p.joined);
            let limits = &self.core.config.limits;
            if hearsay.count() >= HEARSAY_MAX
                || self.open_sessions() >= limits.max_peers
                || self.directory.len() >= limits.peers && !self.make_room()
            {
                self.core.stats.hearsay_dropped += 1;
                continue;
            }
            let interval = self.core.config.interval;
            let mut fresh = Peer::new(peer.name, interval, now.at + HEARSAY);
            fresh.told_by = Some(from);
            fresh.learn_address(peer.address, max);
            // The other side is told of us as well.
            let wait = if self.core.instance > peer.instance {
                YIELD
            } else {
                Duration::ZERO
            };
            fresh.dial.at = Some(now.at + wait);
            self.directory.wake_at(now.at + wait);
            self.directory.insert(peer.instance, fresh);
        }
    }

    /// Whoever waits for an address waits in vain: the node is stopped.
    pub(super) fn end_connects(&mut self, why: &Error) {
        for seed in std::mem::take(&mut self.mesh.seeds) {
            for (number, _) in seed.waiting {
                self.core
                    .outputs
                    .push_back(Output::Ended(number, Err(why.clone())));
            }
        }
    }
}
