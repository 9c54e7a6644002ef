//! The handshake: one side asks, the other answers. Of two sessions with one peer, one is kept.

use super::keepalive::Pulse;
use super::session::{Party, Session};
use super::{Ctx, Link, LinkId, Links, State, Target, Time, Via};
use crate::fernet::{KeyIndex, Sealer};
use crate::name::NodeName;
use crate::wire::Instance;
use crate::wire::hello::{Hello, Role};
use crate::wire::record::encode_notice;
use crate::wire::relay::Route;
use crate::wire::session_keys::session_keys;
use std::net::SocketAddr;
use std::time::Duration;

/// A session heard this recently is not stale: of two, the rule of instances decides.
const FRESH: Duration = Duration::from_secs(2);

/// What a hello is to the link that it came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// A question, which [`Links::answer`] answers.
    Question,
    /// The answer to ours, with which [`Links::open`] opens a session.
    Answer {
        /// The instance that was dialled, or else the one that answered.
        dialled: Instance,
        /// How long the way there and back took.
        took: Duration,
        /// Whether it went through a relay.
        relayed: bool,
    },
    /// Nothing that may come now.
    Stray,
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
    /// Whether it was still asking for its name.
    pub(crate) probing: bool,
    /// Whether we dialled it.
    pub(crate) dialled: bool,
    /// Where it is, if it is reached straight.
    pub(crate) address: Option<SocketAddr>,
}

fn fresh_hello(ctx: &mut Ctx<'_>, role: Role, meant: Option<NodeName>) -> Hello {
    let mut nonce = [0; 32];
    ctx.entropy.fill(&mut nonce);
    Hello {
        role,
        probing: ctx.phase.is_probing(),
        instance: ctx.instance,
        nonce,
        port: ctx.config.port,
        name: ctx.config.name.clone(),
        meant,
    }
}

fn party(hello: &Hello) -> Party {
    Party {
        peer: hello.instance,
        name: hello.name.clone(),
        port: hello.port,
        probing: hello.probing,
    }
}

impl Links {
    /// A link that was dialled is connected: says hello, or asks a relay to let us join. `plain` is
    /// where the hello is put together.
    pub(crate) fn connected(&mut self, ctx: &mut Ctx<'_>, plain: &mut Vec<u8>, id: LinkId) {
        let target = match self.table.get(&id).map(|l| &l.state) {
            Some(State::Dialing(target)) => target.clone(),
            Some(State::Relay { .. }) => return self.join_relay(ctx, id),
            _ => return,
        };
        let meant = target.as_ref().map(|t| t.name.clone());
        let hello = fresh_hello(ctx, Role::Ask, meant);
        self.send_hello(ctx, plain, id, &hello, ctx.config.keys.first());
        if let Some(link) = self.table.get_mut(&id) {
            link.state = State::Asked(target, Box::new(hello));
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

    /// What a hello is to the link that it came on, if that is there.
    pub(crate) fn greeting(&self, now: Time, id: LinkId, hello: &Hello) -> Option<Greeting> {
        let link = self.table.get(&id)?;
        let is_for = |target: &Option<Target>| match target {
            Some(target) => target.name == hello.name,
            None => true,
        };
        Some(match (&link.state, hello.role) {
            (State::Listening, Role::Ask) => Greeting::Question,
            (State::Asked(target, ask), Role::Answer(nonce))
                if nonce == ask.nonce && is_for(target) =>
            {
                Greeting::Answer {
                    dialled: target.as_ref().map_or(hello.instance, |t| t.instance),
                    took: now - link.opened,
                    relayed: matches!(link.via, Via::Relay(..)),
                }
            }
            _ => Greeting::Stray,
        })
    }

    /// Answers a question, under the key that opened it: the other side may not have our first one
    /// yet.
    pub(crate) fn answer(
        &mut self,
        ctx: &mut Ctx<'_>,
        plain: &mut Vec<u8>,
        id: LinkId,
        (hello, key): (&Hello, KeyIndex),
    ) {
        let role = Role::Answer(hello.nonce);
        let answer = fresh_hello(ctx, role, Some(hello.name.clone()));
        self.send_hello(ctx, plain, id, &answer, key);
        let (asker, answerer) = session_keys(ctx.config.keys.key(key), hello, &answer);
        let (asker, answerer) = (Sealer::new(&asker), Sealer::new(&answerer));
        let session = Session::new(party(hello), false, asker, answerer, ctx.now.at);
        if let Some(link) = self.table.get_mut(&id) {
            link.state = State::Answered(Box::new(session));
        }
    }

    /// Opens a session with the answer to our question, which came after `took`.
    pub(crate) fn open(
        &mut self,
        ctx: &mut Ctx<'_>,
        plain: &mut Vec<u8>,
        id: LinkId,
        (hello, key): (&Hello, KeyIndex),
        took: Duration,
    ) {
        let Some(link) = self.table.get_mut(&id) else {
            return;
        };
        let State::Asked(_, ask) = &link.state else {
            return;
        };
        let (asker, answerer) = session_keys(ctx.config.keys.key(key), ask, hello);
        let (asker, answerer) = (Sealer::new(&asker), Sealer::new(&answerer));
        let session = Session::new(party(hello), true, asker, answerer, ctx.now.at);
        link.open(Box::new(session), true);
        if let Some(pulse) = link.pulse_mut() {
            pulse.measured(ctx.now.at, took);
        }
        // Proves our keys to the other side, which says nothing until then.
        self.send_record(ctx, plain, id, |sequence, out| {
            encode_notice(sequence, &[], out)
        });
    }

    /// The first record under the session's keys came: the asker holds them.
    pub(super) fn prove(&mut self, ctx: &Ctx<'_>, id: LinkId) {
        if let Some(link) = self.table.get_mut(&id) {
            match std::mem::replace(&mut link.state, State::Listening) {
                State::Answered(session) => link.open(session, false),
                other => link.state = other,
            }
        }
        self.wake_at(ctx.now.at + ctx.config.limits.keepalive);
    }

    /// The peer of a session that was just proved from both sides.
    pub(crate) fn met(&mut self, id: LinkId) -> Option<Met> {
        let link = self.table.get(&id)?;
        let State::Open {
            session, dialled, ..
        } = &link.state
        else {
            return None;
        };
        let met = Met {
            instance: session.peer,
            name: session.name.clone(),
            probing: session.probing,
            dialled: *dialled,
            address: match link.via {
                Via::Socket(address) if *dialled => Some(address),
                Via::Socket(address) => Some(SocketAddr::new(address.ip(), session.port)),
                Via::Relay(..) | Via::Name => None,
            },
        };
        if let Via::Relay(carrier, route) = link.via {
            self.routes.proved(carrier, route);
        }
        Some(met)
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
    fn open(&mut self, session: Box<Session>, dialled: bool) {
        self.state = State::Open {
            session,
            pulse: Pulse::new(self.opened),
            dialled,
            challenge: None,
        };
    }
}
