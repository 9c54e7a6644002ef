//! Who is there: members' sealed adverts, held and handed on, and their leaving, told.
//!
//! A relay is a LAN that is far away, but one that loses nothing: an advert is handed on when it is new,
//! not again and again.

use super::Hub;
use crate::frame::{Frame, FrameType};
use crate::limits::DATAGRAM_MAX;
use crate::name::NetworkName;
use crate::protocol::{LinkId, Now};
use crate::wire::relay::{FromRelay, Refusal, Route, encode_forward};

/// Bytes that may wait for a newcomer before more adverts are added.
const CATCH_UP: usize = 64 * 1024;

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
        let next = member.advertised.map_or(now.at, |at| at + interval);
        if next > now.at {
            self.advert_waits.insert(id, next);
        } else {
            self.hand_on(now, id);
        }
    }

    /// Hands a member's advert to all who have caught up with it.
    pub(super) fn hand_on(&mut self, now: Now, id: LinkId) {
        let interval = self.config.limits.advert_interval;
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let source = self.sources.get_mut(&member.address);
        if source.is_some_and(|s| !s.adverts.take(now.at)) {
            // The address has too much to tell. The latest waits, and is not lost.
            self.advert_waits.insert(id, now.at + interval);
            return;
        }
        member.advertised = Some(now.at);
        let Some(network) = member.network().cloned() else {
            return;
        };
        let advert = std::mem::take(&mut member.advert);
        for other in self.others(&network, id) {
            let behind = self
                .members
                .get(&other)
                .is_some_and(|m| m.catching_up.is_some_and(|next| id >= next));
            if !behind {
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

    /// Hands a newcomer the adverts of those who were there, as fast as it takes them, and then says
    /// that it has joined.
    pub(super) fn catch_up(&mut self, now: Now, id: LinkId) {
        loop {
            let Some(member) = self.members.get(&id) else {
                return;
            };
            let (Some(next), Some(network)) = (member.catching_up, member.network()) else {
                return;
            };
            if member.pending().len() >= CATCH_UP {
                return;
            }
            let found = self.networks.get(network).and_then(|there| {
                let from_next = there.members.keys_from(&next);
                from_next.copied().find(|other| *other != id)
            });
            let Some(other) = found else {
                let (network, route) = (network.clone(), member.route());
                if let Some(member) = self.members.get_mut(&id) {
                    member.catching_up = None;
                }
                if let Some(route) = route {
                    self.tell(now, id, &network, FromRelay::Joined(route));
                }
                return;
            };
            let advert = self
                .members
                .get_mut(&other)
                .map(|m| std::mem::take(&mut m.advert));
            let advert = advert.unwrap_or_default();
            if !advert.is_empty() {
                self.stats.adverts_handed += 1;
                self.append(now, id, id, |out| out.extend_from_slice(&advert));
            }
            if let Some(other) = self.members.get_mut(&other) {
                other.advert = advert;
            }
            if let Some(member) = self.members.get_mut(&id) {
                member.catching_up = Some(LinkId(other.0 + 1));
            }
        }
    }

    /// A member is gone: its route leads nowhere.
    pub(super) fn leave(&mut self, now: Now, id: LinkId, network: &NetworkName, route: Route) {
        let others = self.others(network, id);
        if let Some(there) = self.networks.get_mut(network) {
            there.members.remove(&id);
            if there.members.is_empty() {
                self.networks.remove(network);
            }
        }
        for other in others {
            if let Some(member) = self.members.get_mut(&other) {
                member.flows.remove(&id);
                member.blocked.remove(&id);
            }
            // When all are told to go, nobody need be told of anybody.
            if !self.stopped {
                self.tell(now, other, network, FromRelay::Gone(route));
            }
        }
    }
}
