//! Who is there: members' sealed adverts, held and handed on, and their leaving, told.
//!
//! A relay is a LAN that is far away, but one that loses nothing: an advert is handed on when it is new,
//! not again and again.
//!
//! A network's adverts are numbered as they are handed on. A member that is too slow for one, or new, is handed
//! from its number on what is the latest then, as it takes it: what waits for it does not grow, however
//! much the others have to tell.

use super::Hub;
use super::lanes::QUANTUM;
use super::member::AHEAD;
use super::member::Member;
use crate::frame::{Frame, FrameType};
use crate::limits::{DATAGRAM_MAX, RelayLimits};
use crate::name::NetworkName;
use crate::protocol::{LinkId, Now, Time};
use crate::rate::Throttle;
use crate::table::Table;
use crate::wire::relay::{FromRelay, Refusal, Route, encode_forward};
use std::net::IpAddr;

/// The members of a network, and their adverts.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) members: Table<LinkId, ()>,
    /// Whose advert has which number.
    adverts: Table<u64, LinkId>,
    /// The latest of them.
    version: u64,
    /// How fast they are handed on.
    speed: Throttle,
    /// The site of its first member.
    pub(super) site: IpAddr,
}

impl Network {
    pub(super) fn new(limits: &RelayLimits, site: IpAddr, now: Time) -> Network {
        Network {
            members: Table::default(),
            adverts: Table::default(),
            version: 0,
            speed: Throttle::new(advert_burst(limits), now),
            site,
        }
    }
}

fn advert_burst(limits: &RelayLimits) -> u32 {
    limits.advert_bytes_per_second.saturating_mul(2)
}

impl Hub {
    /// A member tells of itself.
    pub(super) fn advert(&mut self, now: Now, id: LinkId, frame: Frame<'_>) {
        let interval = self.config.limits.advert_interval;
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let Some(route) = member.route() else {
            return;
        };
        if frame.payload.len() > DATAGRAM_MAX || frame.payload.contains(&b'.') {
            return self.refuse(now, id, Refusal::Frame);
        }
        self.stats.adverts += 1;
        let mut handed = Vec::with_capacity(frame.payload.len() + 128);
        encode_forward(frame.net, &route, FrameType::ADVERT, &mut handed, |out| {
            out.extend_from_slice(frame.payload);
        });
        member.advert = handed.into_boxed_slice();
        if self.advert_waits.get(id).is_none() {
            let next = member.advertised.map_or(now.at, |at| at + interval);
            self.advert_waits.insert(id, next);
            self.hand_on_due(now);
        }
    }

    /// Hands on the adverts whose time has come; first those from where the last one was handed on
    /// the longest ago, so that many of one site do not keep others waiting.
    pub(super) fn hand_on_due(&mut self, now: Now) {
        let mut due = self.advert_waits.over(now.at);
        due.sort_by_cached_key(|id| {
            let member = self.members.get(id)?;
            let site = self.sites.get(&member.site)?;
            // Of one site, too, the one that has waited longest.
            Some((site.handed, member.advertised))
        });
        for id in due {
            if let Some(later) = self.must_wait(now, id) {
                // The latest waits, and is not lost.
                self.advert_waits.insert(id, later);
            } else {
                self.hand_on(now, id);
            }
        }
    }

    /// Until when a member's advert must wait, because its network or its site has too much to tell.
    fn must_wait(&mut self, now: Now, id: LinkId) -> Option<Time> {
        let limits = &self.config.limits;
        let member = self.members.get(&id)?;
        let network = self.networks.get_mut(member.network()?)?;
        let (rate, burst) = (limits.advert_bytes_per_second, advert_burst(limits));
        if let Some(later) = network.speed.charge(0, rate, burst, now.at) {
            return Some(later);
        }
        let site = self.sites.get_mut(&member.site)?;
        if !site.adverts.take(now.at) {
            return Some(now.at + limits.advert_interval);
        }
        site.handed = now.at;
        let bytes = member.advert.len() * network.members.len();
        network.speed.charge(bytes, rate, burst, now.at);
        None
    }

    /// Hands a member's advert to all who are not behind.
    pub(super) fn hand_on(&mut self, now: Now, id: LinkId) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        member.advertised = Some(now.at);
        let Some(name) = member.network().cloned() else {
            return;
        };
        let Some(network) = self.networks.get_mut(&name) else {
            return;
        };
        network.version += 1;
        let version = network.version;
        network.adverts.remove(&member.version);
        network.adverts.insert(version, id);
        member.version = version;
        let advert = std::mem::take(&mut member.advert);
        for other in self.others(&name, id) {
            let Some(member) = self.members.get_mut(&other).filter(|m| m.behind.is_none()) else {
                continue;
            };
            if member.is_busy() {
                member.behind = Some(version);
            } else {
                self.stats.adverts_handed += 1;
                self.append(now, other, other, |out| out.extend_from_slice(&advert));
            }
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.advert = advert;
        }
    }

    fn others(&self, network: &NetworkName, id: LinkId) -> Vec<LinkId> {
        let members = self.networks.get(network).map(|n| n.members.keys());
        members
            .into_iter()
            .flatten()
            .copied()
            .filter(|other| *other != id)
            .collect()
    }

    /// A member's output has room: hands it adverts that it lacks, and what others have sent it, in turns.
    pub(super) fn refill(&mut self, now: Now, id: LinkId) {
        let Some(member) = self.members.get(&id) else {
            return;
        };
        if member.behind.is_none() && member.lanes.is_empty() {
            return;
        }
        let was_empty = member.output.is_empty();
        loop {
            self.catch_up(now, id);
            let Some(member) = self.members.get_mut(&id) else {
                return;
            };
            if member.output.len() >= AHEAD || !member.take_turn(now.at) {
                break;
            }
        }
        self.moved(now, id, was_empty);
    }

    /// Hands a member the adverts that it lacks, as far as there is room; and a newcomer, when it has them
    /// all, that it has joined.
    pub(super) fn catch_up(&mut self, now: Now, id: LinkId) {
        let Some(member) = self.members.get(&id) else {
            return;
        };
        // No more than its share of the line, if others wait.
        let most = match member.lanes.is_empty() {
            true => AHEAD,
            false => AHEAD.min(member.output.len() + QUANTUM),
        };
        while let Some(member) = self.members.get(&id)
            && let (Some(next), Some(name)) = (member.behind, member.network())
            && member.output.len() < most
        {
            let adverts = self.networks.get(name).map(|n| &n.adverts);
            let found = adverts.and_then(|a| a.from(&next).next());
            let Some((version, other)) = found.map(|(version, other)| (*version, *other)) else {
                return self.caught_up(now, id);
            };
            if let Some(member) = self.members.get_mut(&id) {
                member.behind = Some(version + 1);
            }
            if other == id {
                continue;
            }
            let Some(told) = self.members.get_mut(&other) else {
                continue;
            };
            let advert = std::mem::take(&mut told.advert);
            self.stats.adverts_handed += 1;
            self.append(now, id, id, |out| out.extend_from_slice(&advert));
            if let Some(told) = self.members.get_mut(&other) {
                told.advert = advert;
            }
        }
    }

    /// A member has all adverts.
    fn caught_up(&mut self, now: Now, id: LinkId) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        member.behind = None;
        let newcomer = !std::mem::replace(&mut member.welcomed, true);
        if let (Some(network), Some(route)) = (member.network().cloned(), member.route())
            && newcomer
        {
            self.tell(now, id, &network, FromRelay::Joined(route));
        }
    }

    /// A member is gone: its route leads nowhere.
    pub(super) fn leave(
        &mut self,
        now: Now,
        id: LinkId,
        (name, route): (&NetworkName, Route),
        gone: &Member,
    ) {
        let version = gone.version;
        let others = self.others(name, id);
        if let Some(network) = self.networks.get_mut(name) {
            network.members.remove(&id);
            network.adverts.remove(&version);
            if network.members.is_empty() {
                self.networks.remove(name);
            }
        }
        for other in others {
            let Some(member) = self.members.get_mut(&other) else {
                continue;
            };
            member.flows.remove(&id);
            member.blocked.remove(&id);
            // When all are told to go, nobody need be told of anybody.
            if self.stopped {
                continue;
            }
            // After what it has sent: that may be an answer, and nothing comes from a route that is gone.
            let word = FromRelay::Gone(route);
            let write = |out: &mut Vec<u8>| encode_word(name, word, out);
            let waits_behind = member.lanes.push_gone(id, route, write);
            if version > 0 && member.behind.is_some_and(|next| next <= version) {
                // It would have been handed this later, and nobody holds it any more.
                self.stats.adverts_handed += 1;
                self.append(now, other, other, |out| out.extend_from_slice(&gone.advert));
            }
            if waits_behind {
                self.recount(other);
            } else {
                self.tell(now, other, name, word);
            }
        }
    }
}

/// Appends a word of the relay's.
pub(super) fn encode_word(network: &NetworkName, word: FromRelay, out: &mut Vec<u8>) {
    crate::frame::encode_with(network.as_str(), FrameType::REGISTER, out, |out| {
        word.encode(out)
    });
}
