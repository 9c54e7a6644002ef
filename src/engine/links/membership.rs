//! What a link to a relay is about: joining the network there, and what the relay says and hands
//! us.

use super::carrier::{Carrier, Member, Progress};
use super::keepalive::Pulse;
use super::{Came, Ctx, LinkId, Links, Output, RelayFault, State, Via};
use crate::address::RelayAddress;
use crate::frame::{Frame, FrameType};
use crate::wire::relay::{Fields, Forward, FromRelay, Refusal, Route, ToRelay, Word};
use crate::wire::relay_key::{Challenge, Joining, Proof, RelayKey, Side};

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

    /// Dials a relay, which must prove that it has the relay key if it did so at another time.
    pub(crate) fn dial_relay(
        &mut self,
        ctx: &mut Ctx<'_>,
        address: RelayAddress,
        must_prove: bool,
    ) -> LinkId {
        let mut challenge = [0; 32];
        ctx.entropy.fill(&mut challenge);
        let state = State::Relay {
            carrier: Box::new(Carrier::new(challenge, must_prove)),
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
                *other != id && carrier.member().is_some_and(|own| own.route == route)
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
        if let Some(carrier) = self.carrier(id) {
            let join = ToRelay::Join(carrier.challenge);
            self.say_to_relay(ctx, id, &join);
        }
    }

    /// Says a word to a relay.
    pub(super) fn say_to_relay(&mut self, ctx: &mut Ctx<'_>, id: LinkId, word: &ToRelay) {
        self.emit(ctx, id, FrameType::REGISTER, &mut |state, out| {
            if let State::Relay { carrier, .. } = state {
                carrier.say(word, out);
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
        let Some(carrier) = self.carrier_mut(id) else {
            return (id, Came::Nothing);
        };
        match frame.kind {
            FrameType::REGISTER => match carrier.read(frame.payload) {
                Ok(said) => self.relay_word(ctx, id, said),
                Err(fault) => (id, Came::GiveUp(fault)),
            },
            FrameType::FORWARD => match (Forward::decode(frame.payload), carrier.progress) {
                (Ok(inner), Progress::Answered | Progress::Joined(_))
                    if inner.kind == FrameType::ADVERT =>
                {
                    (id, self.relay_advert(ctx, id, inner, opened))
                }
                (Ok(inner), Progress::Joined(_)) => self.forwarded(ctx, id, inner, opened),
                _ => (id, NO_RELAY),
            },
            FrameType::PING => (id, self.ping(ctx, id, frame.payload)),
            _ => (id, NO_RELAY),
        }
    }

    /// A relay said something. A link that it is about, if it is about one.
    fn relay_word<'o>(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        said: Word<FromRelay>,
    ) -> (LinkId, Came<'o>) {
        let of_link = |link: Option<LinkId>, came| match link {
            Some(link) => (link, came),
            None => (id, Came::Nothing),
        };
        let Some(progress) = self.carrier(id).map(|carrier| carrier.progress) else {
            return (id, Came::Nothing);
        };
        match (said.word, progress) {
            (FromRelay::Prove(relay, proof), Progress::Asking) => (
                id,
                self.relay_answered(ctx, id, &relay, proof, &said.fields),
            ),
            (FromRelay::Joined(route), Progress::Answered) => (id, self.joined(ctx, id, route)),
            (FromRelay::Gone(route), Progress::Answered | Progress::Joined(_)) => {
                (id, Came::Gone(route))
            }
            // Nothing can be left out of a session: it ends, and what it carried is sent again.
            (FromRelay::Busy(route, total), Progress::Joined(_)) => {
                of_link(self.routes.credit(id, route, total), Came::Busy)
            }
            (FromRelay::Credit(route, total), Progress::Joined(_)) => {
                of_link(self.routes.credit(id, route, total), Came::Credit)
            }
            (FromRelay::Settled(route, total), Progress::Joined(_)) => {
                of_link(self.routes.settle(id, route, total), Came::Credit)
            }
            (FromRelay::Window(route, bytes), Progress::Joined(_)) => {
                of_link(self.routes.widen(id, route, bytes), Came::Credit)
            }
            // What we did not ask for, and what only a newer version needs.
            (
                FromRelay::Form(..)
                | FromRelay::Tags(_)
                | FromRelay::Unknown(_)
                | FromRelay::Newer(_),
                _,
            ) => (id, Came::Nothing),
            _ => (id, Came::GiveUp(RelayFault::Protocol)),
        }
    }

    /// A relay has answered our asking to join. If it proves one of our keys, so do we. It goes on
    /// without a proof only if it has never given one.
    fn relay_answered<'o>(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        relay: &Challenge,
        proof: Option<Proof>,
        fields: &Fields,
    ) -> Came<'o> {
        const WRONG_KEY: Came<'static> = Came::GiveUp(RelayFault::WrongKey);
        let Some(carrier) = self.carrier_mut(id) else {
            return Came::Nothing;
        };
        let Some(proof) = proof else {
            if carrier.must_prove {
                return WRONG_KEY;
            }
            carrier.progress = Progress::Answered;
            return Came::Nothing;
        };
        let network = &ctx.config.network;
        let own = (&carrier.challenge, &b""[..]);
        let joining = Joining::new(network, own, (relay, fields.as_bytes()));
        let keys = ctx.config.keys.all().iter();
        let mut keys = keys.map(|key| RelayKey::derive(key, network));
        let Some(key) = keys.find(|key| key.verify(Side::Relay, &joining, &proof)) else {
            return WRONG_KEY;
        };
        let proof = ToRelay::Proof(key.prove(Side::Member, &joining));
        self.say_to_relay(ctx, id, &proof);
        if let Some(carrier) = self.carrier_mut(id) {
            carrier.progress = Progress::Answered;
            carrier.macs = Some(Box::new(key.macs(Side::Member, &joining)));
        }
        Came::Nothing
    }

    /// A relay has taken us in.
    fn joined<'o>(&mut self, ctx: &mut Ctx<'_>, id: LinkId, route: Route) -> Came<'o> {
        let Some(carrier) = self.carrier_mut(id) else {
            return Came::Nothing;
        };
        let since = ctx.now.at;
        carrier.progress = Progress::Joined(Member { since, route });
        let is_proven = carrier.macs.is_some();
        self.wake_at(ctx.now.at + ctx.config.relay_keepalive);
        Came::Joined { is_proven }
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

#[cfg(test)]
mod tests;
