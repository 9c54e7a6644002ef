//! The relays this node is linked to: those it was given, for ever; those it learnt, while they live.
//!
//! ```text
//! relay: waits --dial--> joining --joined--> up --(lost)--> waits, longer each time
//! ```
//!
//! A relay is told our advert when it has something new to say, and hands us those of others; from
//! then on it is a LAN that is far away. What it says is never believed further than that: an advert is
//! opened under the network's key, a peer proves itself in the handshake.

use super::discovery::Origin;
use super::fault::RelayFault;
use super::links::{Link, State, Via};
use super::{Config, Engine, Event, LinkId, Now, Output, Phase, Time};
use crate::address::RelayAddress;
use crate::frame::{Frame, FrameType};
use crate::limits::{ADVERT_RELAYS_MAX, REMOTES_MAX};
use crate::rate::Rate;
use crate::table::Table;
use crate::wire::advert::Advert;
use crate::wire::membership::{Challenge, RelayKey};
use crate::wire::relay::{Forward, FromRelay, Refusal, ToRelay};
use std::time::Duration;

/// A link that was up this long was good: the next dial is as soon as the first.
const STEADY: Duration = Duration::from_secs(10);
/// What was heard of a relay is good for this long.
const HEARD_GOOD: Duration = Duration::from_secs(24 * 3600);
/// Relays remembered as dead.
const SHUNNED_MAX: usize = 64;
/// How soon to dial another learnt relay when the second's allowance is used up.
const LEARNT_WAIT: Duration = Duration::from_millis(500);

/// What a link to a relay is about.
#[derive(Debug)]
pub(super) struct Carrier {
    challenge: Challenge,
    joined: Option<Time>,
    /// Why it is about to end, if it said so.
    fault: Option<RelayFault>,
    /// Which of our adverts it has.
    told: u64,
    adverts: Rate,
}

impl Carrier {
    pub(super) fn is_up(&self) -> bool {
        self.joined.is_some()
    }
}

#[derive(Debug)]
struct Relay {
    address: RelayAddress,
    given: bool,
    link: Option<LinkId>,
    joined: bool,
    at: Time,
    failures: u32,
    /// What the program was last told, if it is down.
    down: Option<RelayFault>,
    /// Whether it was joined or in vain at least once.
    tried: bool,
}

/// A relay that somebody told of.
#[derive(Debug)]
struct Heard {
    address: RelayAddress,
    at: Time,
    /// Whether somebody who knows it first-hand did.
    vouched: bool,
}

#[derive(Debug)]
pub(super) struct Relays {
    list: Vec<Relay>,
    max: usize,
    heard: Vec<Heard>,
    shunned: Table<RelayAddress, Time>,
    learnt_dials: Rate,
    /// The relays that our latest advert names, and how many of them we vouch for.
    pub(super) named: (Vec<RelayAddress>, u8),
    /// Counts the changes of what we advertise.
    news: u64,
    due: Time,
}

impl Default for Relays {
    fn default() -> Relays {
        Relays {
            list: Vec::new(),
            max: 0,
            heard: Vec::new(),
            shunned: Table::default(),
            learnt_dials: Rate::default(),
            named: (Vec::new(), 0),
            news: 1,
            due: Time::NEVER,
        }
    }
}

impl Relays {
    pub(super) fn new(config: &Config, now: Time) -> Relays {
        let given = |address: &RelayAddress| Relay::new(address.clone(), true, now);
        Relays {
            list: config.relays.iter().map(given).collect(),
            max: config.max_remotes.min(REMOTES_MAX),
            due: now,
            ..Relays::default()
        }
    }

    pub(super) fn due(&self) -> Time {
        self.due
    }

    pub(super) fn joined(&self) -> usize {
        self.list.iter().filter(|r| r.joined).count()
    }

    /// Whether some relay that was given has not been asked yet whether our name is taken.
    pub(super) fn are_untried(&self) -> bool {
        self.list.iter().any(|r| r.given && !r.tried)
    }

    pub(super) fn address(&self, link: LinkId) -> Option<RelayAddress> {
        let relay = self.list.iter().find(|r| r.link == Some(link))?;
        Some(relay.address.clone())
    }

    fn by_link(&mut self, link: LinkId) -> Option<&mut Relay> {
        self.list.iter_mut().find(|r| r.link == Some(link))
    }

    fn has(&self, address: &RelayAddress) -> bool {
        self.list.iter().any(|r| r.address == *address)
    }

    /// What an advert names: the relays we vouch for, and then those we heard of from who does. How many
    /// of them are the former.
    pub(super) fn to_tell(&self, now: Time) -> (Vec<RelayAddress>, u8) {
        let ours = self.list.iter().filter(|r| r.given || r.joined);
        let mut names: Vec<_> = ours
            .take(ADVERT_RELAYS_MAX)
            .map(|r| r.address.clone())
            .collect();
        let vouched = names.len() as u8;
        for heard in &self.heard {
            let good = heard.vouched && now - heard.at < HEARD_GOOD;
            if good && names.len() < ADVERT_RELAYS_MAX && !names.contains(&heard.address) {
                names.push(heard.address.clone());
            }
        }
        (names, vouched)
    }

    /// What we advertise has changed.
    pub(super) fn has_news(&mut self, now: Time) {
        self.news += 1;
        self.due = self.due.min(now);
    }

    /// A relay that was learnt and stays dead makes room for another.
    fn drop_learnt(&mut self, address: &RelayAddress, until: Time) {
        self.list.retain(|r| r.address != *address);
        self.heard.retain(|h| h.address != *address);
        if self.shunned.len() >= SHUNNED_MAX {
            let soonest = self.shunned.iter().min_by_key(|(_, until)| **until);
            if let Some(soonest) = soonest.map(|(a, _)| a.clone()) {
                self.shunned.remove(&soonest);
            }
        }
        self.shunned.insert(address.clone(), until);
    }

    /// Takes up learnt relays while there are fewer than there may be.
    fn fill(&mut self, now: Time) {
        self.shunned.retain(|_, until| *until > now);
        while self.list.len() < self.max {
            let next = self.heard.iter().find(|h| {
                now - h.at < HEARD_GOOD
                    && !self.has(&h.address)
                    && !self.shunned.contains_key(&h.address)
            });
            let Some(next) = next else {
                return;
            };
            let relay = Relay::new(next.address.clone(), false, now);
            self.list.push(relay);
        }
    }
}

impl Relay {
    fn new(address: RelayAddress, given: bool, at: Time) -> Relay {
        Relay {
            address,
            given,
            link: None,
            joined: false,
            at,
            failures: 0,
            down: None,
            tried: false,
        }
    }
}

impl Engine {
    /// Whether a link is one that [`Output::DialRelay`] asked for, and if so, whether the relay was learnt
    /// from others: then it must not be on this host.
    pub fn dials_relay(&self, link: LinkId) -> Option<bool> {
        let relay = self.relays.list.iter().find(|r| r.link == Some(link))?;
        Some(!relay.given)
    }

    /// Dials relays whose time it is, and tells those that are up what is new.
    pub(super) fn tick_relays(&mut self, now: Now) {
        self.relays.fill(now.at);
        let mut due = Time::NEVER;
        let mut dials = Vec::new();
        let per_second = self.core.config.limits.learnt_dials_per_second;
        for relay in self.relays.list.iter_mut().filter(|r| r.link.is_none()) {
            if now.at >= relay.at {
                if relay.given || self.relays.learnt_dials.take(now.at, per_second) {
                    dials.push(relay.address.clone());
                    continue;
                }
                relay.at = now.at + LEARNT_WAIT;
            }
            due = due.min(relay.at);
        }
        self.relays.due = due;
        for address in dials {
            self.dial_relay(now, address);
        }
        let named = self.relays.to_tell(now.at);
        if self.relays.named != named {
            self.relays.named = named;
            self.relays.news += 1;
        }
        let news = self.relays.news;
        let up: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, l)| matches!(&l.state, State::Relay(c) if c.is_up() && c.told != news))
            .map(|(id, _)| *id)
            .collect();
        if !up.is_empty() {
            let frame = self.advert_frame(now, self.phase.advertised());
            for id in up {
                self.tell_relay(now, id, &frame);
            }
        }
    }

    fn dial_relay(&mut self, now: Now, address: RelayAddress) {
        let mut challenge = [0; 32];
        self.core.entropy.fill(&mut challenge);
        let carrier = Carrier {
            challenge,
            joined: None,
            fault: None,
            told: 0,
            adverts: Rate::default(),
        };
        let state = State::Relay(Box::new(carrier));
        let id = self.add_link(now, Link::new(state, true, Via::Name, now.at));
        self.core.stats.relay_dials += 1;
        if let Some(relay) = self.relays.list.iter_mut().find(|r| r.address == address) {
            relay.link = Some(id);
        }
        self.core.outputs.push_back(Output::DialRelay(id, address));
    }

    fn tell_relay(&mut self, now: Now, id: LinkId, frame: &[u8]) {
        let news = self.relays.news;
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let was_empty = link.output.is_empty();
        if let State::Relay(carrier) = &mut link.state {
            carrier.told = news;
            link.output.append(|out| out.extend_from_slice(frame));
            self.queued(now, id, was_empty);
        }
    }

    /// Tells every relay that we leave.
    pub(super) fn leave_relays(&mut self, now: Now, frame: &[u8]) {
        let is_up = |l: &Link| matches!(&l.state, State::Relay(c) if c.is_up());
        let up = self.links.iter().filter(|(_, l)| is_up(l));
        for id in up.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.tell_relay(now, id, frame);
        }
    }

    /// The relay is connected: asks to join.
    pub(super) fn relay_connected(&mut self, now: Now, id: LinkId) {
        self.register(now, id, &|carrier| ToRelay::Join(carrier.challenge));
    }

    pub(super) fn register(&mut self, now: Now, id: LinkId, word: &dyn Fn(&Carrier) -> ToRelay) {
        self.emit(now, id, FrameType::REGISTER, &mut |state, out| {
            if let State::Relay(carrier) = state {
                word(carrier).encode(out);
            }
        });
    }

    pub(super) fn unresolved(&mut self, now: Now, id: LinkId) {
        self.relay_fault(id, RelayFault::Unresolved);
        self.ended(now, id);
    }

    /// Notes why a link to a relay is about to end; other links have no such reason.
    pub(super) fn relay_fault(&mut self, id: LinkId, fault: RelayFault) {
        if let Some(State::Relay(carrier)) = self.links.get_mut(&id).map(|l| &mut l.state) {
            carrier.fault = carrier.fault.or(Some(fault));
        }
    }

    /// Ends the link to a relay, and says why.
    pub(super) fn give_up_relay(&mut self, now: Now, id: LinkId, fault: RelayFault) {
        self.relay_fault(id, fault);
        self.close_quietly(now, id, Vec::new());
    }

    /// A frame came from a relay.
    pub(super) fn relay_frame(&mut self, now: Now, id: LinkId, frame: Frame<'_>) {
        let Some(State::Relay(carrier)) = self.links.get(&id).map(|l| &l.state) else {
            return;
        };
        let up = carrier.is_up();
        // A relay that refuses a link may do so before it knows our network.
        if frame.kind == FrameType::ERROR {
            let fault =
                Refusal::parse(frame.payload).map_or(RelayFault::Protocol, RelayFault::Refused);
            return self.give_up_relay(now, id, fault);
        }
        if frame.net != self.core.config.network.as_str() {
            return self.give_up_relay(now, id, RelayFault::Protocol);
        }
        let understood = match frame.kind {
            FrameType::REGISTER => FromRelay::decode(frame.payload)
                .ok()
                .is_some_and(|word| self.relay_word(now, id, word, up)),
            FrameType::FORWARD => match Forward::decode(frame.payload) {
                Ok(inner) if inner.kind == FrameType::ADVERT => {
                    self.relay_advert(now, id, inner);
                    true
                }
                Ok(inner) if up => {
                    self.forwarded(now, id, inner);
                    true
                }
                _ => false,
            },
            FrameType::PING => {
                self.ping(now, id, frame.payload);
                true
            }
            _ => false,
        };
        if !understood {
            self.give_up_relay(now, id, RelayFault::Protocol);
        }
    }

    /// Whether the word was in place.
    fn relay_word(&mut self, now: Now, id: LinkId, word: FromRelay, up: bool) -> bool {
        match word {
            FromRelay::Prove(relay) if !up => {
                let network = self.core.config.network.clone();
                let keys = self.core.config.keys.all().iter().map(RelayKey::derive);
                let keys: Vec<RelayKey> = keys.collect();
                self.register(now, id, &|carrier| {
                    let proofs = keys
                        .iter()
                        .map(|k| k.prove(&network, &carrier.challenge, &relay));
                    ToRelay::Prove(proofs.collect())
                });
            }
            FromRelay::Joined(_) if !up => self.relay_joined(now, id),
            FromRelay::Gone(route) => self.route_gone(now, id, route),
            FromRelay::Busy(route, bytes) if up => {
                // Nothing can be left out of a session: it ends, and what it carried is sent again.
                if let Some(link) = self.routes.credit(id, route, bytes) {
                    self.close_quietly(now, link, Vec::new());
                }
            }
            FromRelay::Credit(route, bytes) if up => {
                if let Some(link) = self.routes.credit(id, route, bytes) {
                    self.pump(now, link);
                    self.streams_go_on(now);
                }
            }
            _ => return false,
        }
        true
    }

    fn relay_joined(&mut self, now: Now, id: LinkId) {
        if let Some(State::Relay(carrier)) = self.links.get_mut(&id).map(|l| &mut l.state) {
            carrier.joined = Some(now.at);
        }
        self.links_due = self
            .links_due
            .min(now.at + self.core.config.relay_keepalive);
        let Some(relay) = self.relays.by_link(id) else {
            return;
        };
        relay.joined = true;
        relay.tried = true;
        relay.down = None;
        let address = relay.address.clone();
        self.relays.due = now.at;
        self.event(Event::RelayUp(address));
        // How far it is.
        self.send_ping(now, id);
    }

    /// The advert of another node came through a relay.
    fn relay_advert(&mut self, now: Now, id: LinkId, inner: Forward<'_>) {
        let per_second = self.core.config.limits.adverts_per_second;
        if let Some(State::Relay(carrier)) = self.links.get_mut(&id).map(|l| &mut l.state)
            && !carrier.adverts.take(now.at, per_second)
        {
            // An honest one has not so many; one left out would be missed for ever.
            return self.give_up_relay(now, id, RelayFault::Protocol);
        }
        self.sealed_advert(now, Origin::Relay(id, inner.route), inner.payload);
    }

    /// The link to a relay is over.
    pub(super) fn relay_lost(&mut self, now: Now, id: LinkId, carrier: Carrier) {
        for link in self.routes.links_over(id) {
            self.ended(now, link);
        }
        self.routes.forget(id, None);
        let mut lost = Vec::new();
        for (instance, peer) in self.directory.iter_mut() {
            let before = peer.routes.len();
            peer.routes.retain(|(over, _)| *over != id);
            if peer.routes.len() < before {
                lost.push(*instance);
            }
        }
        for instance in lost {
            self.route_lost(now, instance);
        }
        if self.phase == Phase::Stopped {
            return;
        }
        let up_for = carrier.joined.map(|since| now.at - since);
        let fault = carrier.fault.unwrap_or(match up_for {
            Some(_) => RelayFault::Lost,
            None => RelayFault::Unreachable,
        });
        let limits = &self.core.config.limits;
        let (first, longest) = limits.relay_redial;
        let (refused, attempts, shun) = (
            limits.relay_refused,
            limits.relay_attempts,
            limits.relay_shunned,
        );
        if up_for.is_none() {
            self.core.stats.relay_dials_failed += 1;
        }
        let Some(relay) = self.relays.by_link(id) else {
            return;
        };
        relay.link = None;
        relay.joined = false;
        relay.tried = true;
        relay.failures = match up_for {
            Some(up) if up >= STEADY => 0,
            _ => relay.failures.saturating_add(1),
        };
        let (failures, given, address) = (relay.failures, relay.given, relay.address.clone());
        let news = relay.down.replace(fault) != Some(fault);
        let mut pause = first.saturating_mul(1 << failures.min(16)).min(longest);
        if matches!(fault, RelayFault::Refused(why) if why != Refusal::Stopping) {
            pause = pause.max(refused);
        }
        let at = now.at + self.core.entropy.jitter(pause);
        if let Some(relay) = self.relays.list.iter_mut().find(|r| r.address == address) {
            relay.at = at;
        }
        // What we advertise may have changed, too.
        self.relays.due = now.at;
        if news {
            self.event(Event::RelayDown {
                relay: address.clone(),
                why: fault,
            });
        }
        if !given && failures >= attempts {
            self.core.stats.relays_dropped += 1;
            self.relays.drop_learnt(&address, now.at + shun);
        }
    }

    /// A relay has handed us our own advert: it is one that we are linked to already, under another name.
    /// If we only learnt that name, we can do without.
    pub(super) fn met_ourselves(&mut self, now: Now, id: LinkId) {
        let until = now.at + self.core.config.limits.relay_shunned;
        let Some(relay) = self.relays.by_link(id).filter(|r| !r.given) else {
            return;
        };
        let address = relay.address.clone();
        // The end of the link is an event of the relay's, as long as that is known.
        self.close_quietly(now, id, Vec::new());
        self.relays.drop_learnt(&address, until);
        self.relays.due = now.at;
    }

    /// Remembers the relays that another node knows, the newest in place of the oldest.
    pub(super) fn learn_relays(&mut self, now: Now, advert: &Advert) {
        for (i, address) in advert.relays.iter().enumerate() {
            let vouched = i < usize::from(advert.vouched);
            let relays = &mut self.relays;
            if let Some(known) = relays.heard.iter_mut().find(|h| h.address == *address) {
                known.at = now.at;
                known.vouched |= vouched;
                continue;
            }
            if relays
                .shunned
                .get(address)
                .is_some_and(|until| *until > now.at)
            {
                continue;
            }
            if relays.heard.len() >= ADVERT_RELAYS_MAX {
                let oldest = relays
                    .heard
                    .iter()
                    .enumerate()
                    .min_by_key(|(_, h)| (h.vouched, h.at));
                if let Some((oldest, _)) = oldest {
                    relays.heard.swap_remove(oldest);
                }
            }
            relays.heard.push(Heard {
                address: address.clone(),
                at: now.at,
                vouched,
            });
            relays.due = now.at;
        }
    }
}
