//! What a link to a relay is about: joining the network there, and what the relay says and hands
//! us.

use super::keepalive::Pulse;
use super::{Came, Ctx, LinkId, Links, Output, RelayFault, State, Time, Via};
use crate::address::RelayAddress;
use crate::frame::{Frame, FrameType};
use crate::rate::Rate;
use crate::wire::membership::{Challenge, RelayKey};
use crate::wire::relay::{Forward, FromRelay, Refusal, Route, ToRelay};
use std::time::Duration;

/// Our membership at a relay.
#[derive(Clone, Copy, Debug)]
struct Member {
    since: Time,
    /// Where the other members find us.
    route: Route,
}

/// The state of a link to a relay.
#[derive(Debug)]
pub(super) struct Carrier {
    challenge: Challenge,
    /// Whether it has begun to hand us adverts. From then on it takes us for a member.
    hands_over: bool,
    /// Our membership, once the relay has said that we are joined.
    member: Option<Member>,
    /// Why it is about to end, if that was noted.
    fault: Option<RelayFault>,
    /// Which of our adverts it has, as the number of changes that there were before it.
    told: u64,
    /// Adverts that it hands us.
    adverts: Rate,
}

impl Carrier {
    fn new(challenge: Challenge) -> Carrier {
        Carrier {
            challenge,
            hands_over: false,
            member: None,
            fault: None,
            told: 0,
            adverts: Rate::default(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.member.is_some()
    }

    pub(super) fn hands_over(&self) -> bool {
        self.hands_over
    }

    pub(super) fn up_for(&self, now: Time) -> Option<Duration> {
        self.member.map(|member| now - member.since)
    }

    pub(super) fn fault(&self) -> Option<RelayFault> {
        self.fault
    }
}

impl Links {
    fn carrier(&self, id: LinkId) -> Option<&Carrier> {
        match &self.table.get(&id)?.state {
            State::Relay { carrier, .. } => Some(carrier),
            _ => None,
        }
    }

    fn carrier_mut(&mut self, id: LinkId) -> Option<&mut Carrier> {
        match &mut self.table.get_mut(&id)?.state {
            State::Relay { carrier, .. } => Some(carrier),
            _ => None,
        }
    }

    /// Whether a link goes to a relay.
    pub(super) fn is_to_relay(&self, id: LinkId) -> bool {
        self.carrier(id).is_some()
    }

    pub(crate) fn dial_relay(&mut self, ctx: &mut Ctx<'_>, address: RelayAddress) -> LinkId {
        let mut challenge = [0; 32];
        ctx.entropy.fill(&mut challenge);
        let state = State::Relay {
            carrier: Box::new(Carrier::new(challenge)),
            pulse: Pulse::new(ctx.now.at),
        };
        let id = self.add(ctx, state, Via::Name);
        ctx.stats.relay_dials += 1;
        ctx.outputs.push_back(Output::DialRelay(id, address));
        id
    }

    /// The relays that are joined, and do not have our latest advert, which `news` counts.
    pub(crate) fn untold_relays(&self, news: u64) -> Vec<LinkId> {
        self.relays_where(|carrier| carrier.told != news)
    }

    /// The relays that are joined.
    pub(crate) fn joined_relays(&self) -> Vec<LinkId> {
        self.relays_where(|_| true)
    }

    fn relays_where(&self, wanted: impl Fn(&Carrier) -> bool) -> Vec<LinkId> {
        let links = self.table.iter().filter(|(_, link)| match &link.state {
            State::Relay { carrier, .. } => carrier.is_up() && wanted(carrier),
            _ => false,
        });
        links.map(|(id, _)| *id).collect()
    }

    /// Whether a route is our own at a relay, as another link than this one tells: then the relays
    /// at the two ends are one. A stranger that shows our advert there has a route of its own.
    pub(crate) fn is_own_route_elsewhere(&self, id: LinkId, route: Route) -> bool {
        self.table.iter().any(|(other, link)| match &link.state {
            State::Relay { carrier, .. } => {
                *other != id && carrier.member.is_some_and(|own| own.route == route)
            }
            _ => false,
        })
    }

    /// Tells a relay our advert, the frame of which is given.
    pub(crate) fn tell_relay(&mut self, ctx: &mut Ctx<'_>, id: LinkId, frame: &[u8], news: u64) {
        let Some(link) = self.table.get_mut(&id) else {
            return;
        };
        let State::Relay { carrier, .. } = &mut link.state else {
            return;
        };
        carrier.told = news;
        let was_empty = link.output.is_empty();
        link.output.append(|out| out.extend_from_slice(frame));
        self.queued(ctx, id, was_empty);
    }

    /// A relay is connected: asks to join.
    pub(super) fn join_relay(&mut self, ctx: &mut Ctx<'_>, id: LinkId) {
        if let Some(link) = self.table.get_mut(&id) {
            // It has not used the time that was needed to find it.
            link.heard = ctx.now.at;
        }
        self.register(ctx, id, &|carrier| ToRelay::Join(carrier.challenge));
    }

    pub(super) fn register(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        word: &dyn Fn(&Carrier) -> ToRelay,
    ) {
        self.emit(ctx, id, FrameType::REGISTER, &mut |state, out| {
            if let State::Relay { carrier, .. } = state {
                word(carrier).encode(out);
            }
        });
    }

    /// Notes why a link to a relay is about to end; other links have no such reason.
    pub(crate) fn note_fault(&mut self, id: LinkId, fault: RelayFault) {
        if let Some(carrier) = self.carrier_mut(id) {
            carrier.fault = carrier.fault.or(Some(fault));
        }
    }

    /// A frame came from a relay.
    pub(super) fn relay_frame<'o>(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        frame: Frame<'_>,
        opened: &'o mut Vec<u8>,
    ) -> (LinkId, Came<'o>) {
        const NO_RELAY: Came<'static> = Came::GiveUp(RelayFault::Protocol);
        // A relay that refuses a link may do so before it knows our network.
        if frame.kind == FrameType::ERROR {
            let refusal = Refusal::parse(frame.payload);
            let fault = refusal.map_or(RelayFault::Protocol, RelayFault::Refused);
            return (id, Came::GiveUp(fault));
        }
        if frame.net != ctx.config.network.as_str() {
            return (id, NO_RELAY);
        }
        let up = self.carrier(id).is_some_and(|c| c.is_up());
        match frame.kind {
            FrameType::REGISTER => match FromRelay::decode(frame.payload) {
                Ok(word) => self.relay_word(ctx, id, word, up),
                Err(_) => (id, NO_RELAY),
            },
            FrameType::FORWARD => match Forward::decode(frame.payload) {
                Ok(inner) if inner.kind == FrameType::ADVERT => {
                    (id, self.relay_advert(ctx, id, inner, opened))
                }
                Ok(inner) if up => self.forwarded(ctx, id, inner, opened),
                _ => (id, NO_RELAY),
            },
            FrameType::PING => (id, self.ping(ctx, id, frame.payload)),
            _ => (id, NO_RELAY),
        }
    }

    /// A relay said something; `up` is whether we are joined there. A link that it is about, if it
    /// is about one.
    fn relay_word<'o>(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        word: FromRelay,
        up: bool,
    ) -> (LinkId, Came<'o>) {
        let of_link = |link: Option<LinkId>, came| match link {
            Some(link) => (link, came),
            None => (id, Came::Nothing),
        };
        match word {
            FromRelay::Prove(challenge) if !up => {
                self.prove_to_relay(ctx, id, challenge);
                (id, Came::Nothing)
            }
            FromRelay::Joined(route) if !up => {
                if let Some(carrier) = self.carrier_mut(id) {
                    let since = ctx.now.at;
                    carrier.member = Some(Member { since, route });
                }
                self.wake_at(ctx.now.at + ctx.config.relay_keepalive);
                (id, Came::Joined)
            }
            FromRelay::Gone(route) => (id, Came::Gone(route)),
            // Nothing can be left out of a session: it ends, and what it carried is sent again.
            FromRelay::Busy(route, bytes) if up => {
                of_link(self.routes.credit(id, route, bytes), Came::Busy)
            }
            FromRelay::Credit(route, bytes) if up => {
                of_link(self.routes.credit(id, route, bytes), Came::Credit)
            }
            _ => (id, Came::GiveUp(RelayFault::Protocol)),
        }
    }

    /// Proves to a relay that we hold the keys of the network.
    fn prove_to_relay(&mut self, ctx: &mut Ctx<'_>, id: LinkId, challenge: Challenge) {
        let network = &ctx.config.network;
        let keys = ctx.config.keys.all().iter();
        let keys: Vec<RelayKey> = keys.map(|key| RelayKey::derive(key, network)).collect();
        self.register(ctx, id, &|carrier| {
            let proofs = keys
                .iter()
                .map(|k| k.prove(network, &carrier.challenge, &challenge));
            ToRelay::Prove(proofs.collect())
        });
    }

    /// The advert of another node came through a relay.
    fn relay_advert<'o>(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        inner: Forward<'_>,
        opened: &mut Vec<u8>,
    ) -> Came<'o> {
        let limits = &ctx.config.limits;
        // A relay hands over those of all members at once when it takes us in.
        let members = u32::try_from(limits.peers).unwrap_or(u32::MAX);
        let per_second = limits.adverts_per_second.max(members);
        let Some(carrier) = self.carrier_mut(id) else {
            return Came::Nothing;
        };
        carrier.hands_over = true;
        if !carrier.adverts.take(ctx.now.at, per_second) {
            // The link stays: strangers that join an open relay can make it hand on so many.
            ctx.stats.adverts_throttled += 1;
            return Came::Nothing;
        }
        let plain = ctx.open_advert(inner.payload, opened);
        let advert = plain.and_then(|plain| ctx.decode_advert(plain));
        Came::Advert(inner.route, advert)
    }
}
