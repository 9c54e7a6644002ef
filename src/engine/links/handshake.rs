//! The handshake: one side asks, the other answers. Of two sessions with one peer, one is kept.

use super::came::{Answer, Came, Refuse};
use super::keepalive::Pulse;
use super::questions::Asker;
use super::session::Session;
use super::{Ctx, Link, LinkId, Links, State, Time, Via};
use crate::frame::FrameType;
use crate::handshake::{Initiator, Party, Question, Shown};
use crate::identity::PublicKey;
use crate::name::NodeName;
use crate::wire::handshake::{Envelope, Step};
use crate::wire::relay::Route;
use crate::wire::{Instance, VERSION};
use std::net::SocketAddr;
use std::time::Duration;

/// A session heard this recently is not stale: of two, the rule of instances decides.
const FRESH: Duration = Duration::from_secs(2);

/// A handshake that this side has begun.
#[derive(Debug)]
pub(super) struct Asking {
    /// Until the session is opened.
    initiator: Option<Initiator>,
    /// Who has answered.
    party: Option<Party>,
}

/// What a question leads to on a link that may have one already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The link is free to answer it.
    Free,
    /// It is free now: our own question gives way, and the dial of this peer is over.
    Yielded(Instance),
    /// Our own question stands.
    Taken,
    /// The link is to end, and one that takes its place on this route is to answer.
    Replaced(LinkId, Route),
}

/// A peer that has proved itself.
#[derive(Clone, Debug)]
pub(crate) struct Met {
    pub(crate) instance: Instance,
    pub(crate) name: NodeName,
    /// Its public key.
    pub(crate) key: PublicKey,
    /// What it has shown for its name.
    pub(crate) shown: Shown,
    /// Whether it was still asking for its name.
    pub(crate) probing: bool,
    /// Whether we dialled it.
    pub(crate) dialled: bool,
    /// Where it is, if it is reached straight.
    pub(crate) address: Option<SocketAddr>,
}

/// The messages that this side sends.
impl Links {
    /// A link that was dialled is connected: asks for a session, or asks a relay to let us join.
    pub(crate) fn connected(&mut self, ctx: &mut Ctx<'_>, id: LinkId) {
        let target = match self.table.get(&id).map(|l| &l.state) {
            Some(State::Dialing(target)) => target.clone(),
            Some(State::Relay { .. }) => return self.join_relay(ctx, id),
            _ => return,
        };
        let (initiator, first) = Initiator::begin(ctx.own(self.list), ctx.entropy);
        self.send_envelope(ctx, id, &first);
        if let Some(link) = self.table.get_mut(&id) {
            let asking = Asking {
                initiator: Some(initiator),
                party: None,
            };
            link.state = State::Asked(target, Box::new(asking));
        }
    }

    /// There is one link to a peer on a route through a relay, where over sockets there would be
    /// two when both ask at once, or when one asks anew. Makes way for the question of `asker`.
    pub(crate) fn make_way(&mut self, us: Instance, id: LinkId, asker: Instance) -> Option<Way> {
        let link = self.table.get_mut(&id)?;
        let Via::Relay(carrier, route) = link.via else {
            return Some(Way::Free);
        };
        Some(match &link.state {
            // Both asked: the lower instance's question stands.
            State::Asked(Some(target), _) if us > asker => {
                let target = target.instance;
                link.state = State::Listening;
                Way::Yielded(target)
            }
            State::Asked(..) => Way::Taken,
            State::Open { .. } | State::Answered(_) => Way::Replaced(carrier, route),
            _ => Way::Free,
        })
    }

    /// Answers a question, if the link has waited for one. Says whether it was answered.
    pub(crate) fn answer(&mut self, ctx: &mut Ctx<'_>, id: LinkId, question: Question) -> bool {
        let state = self.table.get(&id).map(|link| &link.state);
        if !matches!(state, Some(State::Listening)) {
            return false;
        }
        let Ok((responder, second)) = question.answer(ctx.own(self.list), ctx.entropy) else {
            return false;
        };
        self.send_envelope(ctx, id, &second);
        if let Some(link) = self.table.get_mut(&id) {
            link.state = State::Answered(Box::new(responder));
        }
        true
    }

    /// Where a question of ours went that nobody has answered yet, straight.
    pub(crate) fn asked_at(&self, id: LinkId) -> Option<SocketAddr> {
        let link = self.table.get(&id)?;
        match (&link.state, link.via) {
            (State::Asked(_, asking), Via::Socket(address)) if asking.party.is_none() => {
                Some(address)
            }
            _ => None,
        }
    }

    /// The node that has answered our question, until a session with it is opened.
    pub(crate) fn answerer(&self, id: LinkId) -> Option<&Party> {
        match &self.table.get(&id)?.state {
            State::Asked(_, asking) => asking.party.as_ref(),
            _ => None,
        }
    }

    /// Opens a session with the node that has answered our question after `took`. Says whether it
    /// is open.
    pub(crate) fn open(&mut self, ctx: &mut Ctx<'_>, id: LinkId, took: Duration) -> bool {
        let list = self.list;
        let Some(link) = self.table.get_mut(&id) else {
            return false;
        };
        let State::Asked(_, asking) = &mut link.state else {
            return false;
        };
        let Some((party, initiator)) = asking.party.take().zip(asking.initiator.take()) else {
            return false;
        };
        let finished = initiator.finish(ctx.own(list), &party.name, ctx.entropy);
        let Ok((third, keys)) = finished else {
            return false;
        };
        link.open(Session::new(party, true, keys, ctx.now.at), true);
        if let Some(pulse) = link.pulse_mut() {
            pulse.measured(ctx.now.at, took);
        }
        self.send_envelope(ctx, id, &third);
        true
    }

    fn send_envelope(&mut self, ctx: &mut Ctx<'_>, id: LinkId, envelope: &Envelope) {
        self.emit(ctx, id, FrameType::HELLO, &mut |_, out| {
            envelope.encode(out);
        });
    }
}

/// The messages that come.
impl Links {
    pub(super) fn hello<'o>(&mut self, ctx: &mut Ctx<'_>, id: LinkId, payload: &[u8]) -> Came<'o> {
        let envelope = match Envelope::decode(payload) {
            Ok(envelope) if envelope.version == VERSION => envelope,
            _ => return Came::Refused(Refuse::Hello),
        };
        let came = match envelope.step {
            Step::First => self.first(ctx, id, &envelope),
            Step::Second => self.second(ctx, id, &envelope),
            Step::Third => self.third(ctx, id, &envelope),
        };
        came.unwrap_or_else(Came::Refused)
    }

    fn first<'o>(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        envelope: &Envelope,
    ) -> Result<Came<'o>, Refuse> {
        let question = Question::read(ctx.own(self.list), envelope)?;
        if question.instance() == ctx.instance || !self.questions.is_new(question.ephemeral()) {
            return Err(Refuse::Hello);
        }
        let via = self.table.get(&id).ok_or(Refuse::Hello)?.via;
        if !self.questions.may_be_answered(ctx.now.at, asker(&via)) {
            ctx.stats.overloaded += 1;
            return stray(&via);
        }
        Ok(Came::Question(Box::new(question)))
    }

    /// The answer to our question: who is there?
    fn second<'o>(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        envelope: &Envelope,
    ) -> Result<Came<'o>, Refuse> {
        let link = self.table.get_mut(&id).ok_or(Refuse::Hello)?;
        let State::Asked(target, asking) = &mut link.state else {
            return stray(&link.via);
        };
        let initiator = asking.initiator.as_mut().ok_or(Refuse::Hello)?;
        if initiator.id() != envelope.id {
            return stray(&link.via);
        }
        let party = initiator.read(&envelope.message)?;
        let is_meant = target.as_ref().is_none_or(|t| t.name == party.name);
        if !is_meant || party.instance == ctx.instance {
            return Err(Refuse::Hello);
        }
        let answer = Answer {
            dialled: target.as_ref().map_or(party.instance, |t| t.instance),
            took: ctx.now.at - link.opened,
            relayed: matches!(link.via, Via::Relay(..)),
        };
        asking.party = Some(party);
        Ok(Came::Answer(answer))
    }

    /// The side that asked shows who it is, and with that the session is open.
    fn third<'o>(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        envelope: &Envelope,
    ) -> Result<Came<'o>, Refuse> {
        let list = self.list;
        let link = self.table.get_mut(&id).ok_or(Refuse::Hello)?;
        let responder = match std::mem::replace(&mut link.state, State::Listening) {
            State::Answered(responder) if responder.id() == envelope.id => responder,
            other => {
                link.state = other;
                return stray(&link.via);
            }
        };
        let (party, keys) = responder.read(ctx.own(list), &envelope.message)?;
        link.open(Session::new(party, false, keys, ctx.now.at), false);
        self.wake_at(ctx.now.at + ctx.config.limits.keepalive);
        Ok(Came::Opened)
    }
}

/// Who asks, for the bound on how often one may: at a relay each route by itself.
fn asker(via: &Via) -> Asker {
    match via {
        Via::Relay(_, route) => (via.source(), Some(*route)),
        Via::Socket(_) | Via::Name => (via.source(), None),
    }
}

/// What a message of another handshake is, or one too many. On a route it may have been on its way
/// when a new handshake began there, and means nothing.
fn stray<'o>(via: &Via) -> Result<Came<'o>, Refuse> {
    match via {
        Via::Relay(..) => Ok(Came::Nothing),
        Via::Socket(_) | Via::Name => Err(Refuse::Hello),
    }
}

/// Which sessions are kept.
impl Links {
    /// The peer of a session that was just proved from both sides.
    pub(crate) fn met(&mut self, id: LinkId) -> Option<Met> {
        let link = self.table.get_mut(&id)?;
        let State::Open {
            session, dialled, ..
        } = &mut link.state
        else {
            return None;
        };
        let met = Met {
            instance: session.peer,
            name: session.name.clone(),
            key: session.key,
            shown: std::mem::take(&mut session.shown),
            probing: session.probing,
            dialled: *dialled,
            address: match link.via {
                Via::Socket(address) if *dialled => Some(address),
                Via::Socket(address) => Some(SocketAddr::new(address.ip(), session.port)),
                Via::Relay(..) | Via::Name => None,
            },
        };
        Some(met)
    }

    /// The peer of a session may be trusted, so its way through a relay is a good one.
    pub(crate) fn prove_way(&mut self, id: LinkId) {
        if let Some((carrier, route)) = self.way(id) {
            self.routes.proved(carrier, route);
        }
    }

    /// Of two sessions with one peer, whether the new one is kept. Both sides come to the same
    /// answer: the direct one; else the one that the lower instance dialled; of two dialled by one
    /// side, the newer. A session that was silent for a while may be dead on the other side, and
    /// gives way.
    pub(crate) fn prefers_new(&self, ctx: &Ctx<'_>, old: LinkId, new: &Met) -> bool {
        let Some(old) = self.table.get(&old) else {
            return true;
        };
        let State::Open { dialled, .. } = old.state else {
            return true;
        };
        if ctx.now.at - old.heard > FRESH {
            return true;
        }
        let new_direct = new.address.is_some();
        if old.is_relayed() == new_direct {
            return new_direct;
        }
        if dialled == new.dialled {
            return true;
        }
        let we_are_lower = ctx.instance < new.instance;
        new.dialled == we_are_lower
    }

    /// Whether a way through a relay that answered after `took` is no shorter than the `used` one.
    pub(crate) fn is_detour(&self, now: Time, used: LinkId, took: Duration) -> bool {
        self.table.get(&used).is_some_and(|used| {
            // It may be longer by now than it was when it was last measured.
            let round_trip = used.pulse().map_or(Duration::ZERO, |p| p.at_least(now));
            // What is only a little shorter is not worth the change.
            used.is_relayed() && took * 5 / 4 >= round_trip
        })
    }
}

impl Link {
    /// Both sides have proved that they hold the keys.
    fn open(&mut self, session: Session, dialled: bool) {
        self.state = State::Open {
            session: Box::new(session),
            pulse: Pulse::new(self.opened),
            dialled,
            challenge: None,
        };
    }
}
