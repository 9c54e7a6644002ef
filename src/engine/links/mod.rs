//! Links and what they go through: the handshake, records, keepalive, the end.
//!
//! A link carries frames in order to somewhere: to a peer over a socket, to a peer through a relay,
//! or to a relay. No file here knows a socket; together they know which frames may come
//! when.
//!
//! ```text
//! link:   Dialing --> Asked --(answer)------------------------> Open    (we dialled)
//!         Listening --(question)--> Answered --(their proof)--> Open    (they dialled)
//!         Relay: joining --(joined)--> up
//! ```
//!
//! `arriving` takes in what comes, and hands what others must act on to the engine in the words of
//! `came`; `handshake` opens sessions, `session` is the keys and numbers of one, `membership` is
//! what a link to a relay says and `carrier` its state, `routes` the ways through relays with a
//! `window` each, and `best_path` which of several links to a peer is used. `sending` is what goes
//! out, `keepalive` are signs of life, `half_open` which links may wait for a question, `questions`
//! which questions are answered, `eviction` which session gives way to another, and `ending` how a
//! link ends.

mod arriving;
mod best_path;
mod came;
mod carrier;
mod ending;
mod eviction;
mod half_open;
mod handshake;
mod keepalive;
mod membership;
mod questions;
mod routes;
mod sending;
mod session;
#[cfg(test)]
mod tests;
mod window;

pub(crate) use came::{Answer, Came, Refuse};
pub(crate) use ending::Ended;
pub(crate) use handshake::{Met, Way};
pub(crate) use keepalive::Overdue;
pub(crate) use sending::{Outlet, Room};
pub(crate) use session::Session;

use super::context::Ctx;
use super::{Config, LinkId, Output, RelayFault, Source, Time};
use crate::buffer::Buffer;
use crate::handshake::Responder;
use crate::inbox::Inbox;
use crate::name::NodeName;
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::relay::Route;
use carrier::Carrier;
use handshake::Asking;
use keepalive::Pulse;
use questions::Questions;
use routes::Routes;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Room an idle link keeps for an unfinished frame or for output.
const KEPT_CAPACITY: usize = 4 * 1024;

/// The word to a peer whose link ends, through a relay.
const CLOSED: &[u8] = b"closed";

#[derive(Debug)]
enum State {
    /// We are connecting.
    Dialing(Option<Target>),
    /// Our question is on its way.
    Asked(Option<Target>, Box<Asking>),
    /// They connected and have said nothing.
    Listening,
    /// We answered their question; they have proved nothing yet.
    Answered(Box<Responder>),
    /// Both have proved that they hold the keys.
    Open {
        session: Box<Session>,
        pulse: Pulse,
        /// Whether we dialled.
        dialled: bool,
        /// Closed unless the keepalive is echoed before this.
        challenge: Option<Time>,
    },
    /// To a relay.
    Relay { carrier: Box<Carrier>, pulse: Pulse },
}

/// What a link goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Via {
    /// A socket to this address.
    Socket(SocketAddr),
    /// A socket to a relay, wherever that is.
    Name,
    /// Another link, to a relay, and a route there.
    Relay(LinkId, Route),
}

impl Via {
    /// Where the link comes from.
    fn source(&self) -> Source {
        match self {
            Via::Relay(carrier, _) => Source::Relay(*carrier),
            Via::Socket(from) => Source::of(from.ip()),
            Via::Name => Source::Address(IpAddr::from([0; 4])),
        }
    }
}

/// The peer that a dial is to reach, if not just the one that is there.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) instance: Instance,
    pub(crate) name: NodeName,
}

#[derive(Debug)]
struct Link {
    state: State,
    via: Via,
    inbox: Inbox,
    output: Buffer,
    opened: Time,
    heard: Time,
    /// When the output last moved, or began to wait.
    progress: Time,
}

impl Link {
    fn new(state: State, via: Via, now: Time) -> Link {
        Link {
            state,
            via,
            inbox: Inbox::default(),
            output: Buffer::default(),
            opened: now,
            heard: now,
            progress: now,
        }
    }

    fn is_dialling(&self) -> bool {
        matches!(self.state, State::Dialing(_) | State::Asked(..))
    }

    fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Until when it is held, if it is: see [`Links::hold`].
    fn held_until(&self) -> Option<Time> {
        match &self.state {
            State::Open { session, .. } => session.held_until,
            _ => None,
        }
    }

    /// The peer that it is meant to reach, while that has not proved itself.
    fn target(&self) -> Option<&Target> {
        match &self.state {
            State::Dialing(target) | State::Asked(target, _) => target.as_ref(),
            _ => None,
        }
    }

    /// The session on it, if it is open.
    fn session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Open { session, .. } => Some(session),
            _ => None,
        }
    }

    /// Its signs of life, once there are any.
    fn pulse(&self) -> Option<&Pulse> {
        match &self.state {
            State::Open { pulse, .. } | State::Relay { pulse, .. } => Some(pulse),
            _ => None,
        }
    }

    fn pulse_mut(&mut self) -> Option<&mut Pulse> {
        match &mut self.state {
            State::Open { pulse, .. } | State::Relay { pulse, .. } => Some(pulse),
            _ => None,
        }
    }

    /// Whether it goes to a relay, or through one.
    fn is_relayed(&self) -> bool {
        !matches!(self.via, Via::Socket(_))
    }
}

/// Every link of this node.
#[derive(Debug)]
pub(crate) struct Links {
    table: Table<LinkId, Box<Link>>,
    /// The ways through relays.
    routes: Routes,
    questions: Questions,
    /// The version of the revocation list that this node has; 0 if it has none.
    list: u64,
    next: u64,
    /// No link can need attention before this.
    due: Time,
}

impl Default for Links {
    fn default() -> Links {
        Links {
            table: Table::default(),
            routes: Routes::default(),
            questions: Questions::default(),
            list: 0,
            next: 0,
            due: Time::NEVER,
        }
    }
}

impl Links {
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// How many ways through relays are known.
    pub(crate) fn routes(&self) -> usize {
        self.routes.len()
    }

    /// No link can need attention before this.
    pub(crate) fn due(&self) -> Time {
        self.due
    }

    fn wake_at(&mut self, at: Time) {
        self.due = self.due.min(at);
    }

    fn add(&mut self, ctx: &Ctx<'_>, state: State, via: Via) -> LinkId {
        let id = LinkId(self.next);
        self.next += 1;
        let link = Link::new(state, via, ctx.now.at);
        self.table.insert(id, Box::new(link));
        self.wake_at(ctx.now.at + ctx.config.limits.handshake);
        id
    }

    /// Dials an address, to reach `target`, or whichever peer is there.
    pub(crate) fn dial(
        &mut self,
        ctx: &mut Ctx<'_>,
        target: Option<Target>,
        to: SocketAddr,
    ) -> LinkId {
        let id = self.add(ctx, State::Dialing(target), Via::Socket(to));
        ctx.stats.dials += 1;
        ctx.outputs.push_back(Output::Dial(id, to));
        id
    }

    pub(crate) fn is_open(&self, id: LinkId) -> bool {
        self.table.get(&id).is_some_and(|l| l.is_open())
    }

    pub(crate) fn open_sessions(&self) -> usize {
        self.table.values().filter(|l| l.is_open()).count()
    }

    /// How many dials are under way.
    pub(crate) fn dialling(&self) -> usize {
        self.table.values().filter(|l| l.is_dialling()).count()
    }

    /// Whether a dial is under way that is to reach a node of this name.
    pub(crate) fn is_dialling(&self, name: &NodeName) -> bool {
        let mut targets = self.table.values().filter_map(|l| l.target());
        targets.any(|t| t.name == *name)
    }

    /// Whether a handshake with a peer is under way.
    pub(crate) fn is_meeting(&self, peer: Instance) -> bool {
        self.table.values().any(|link| match &link.state {
            State::Answered(responder) => responder.instance() == peer,
            _ => link.target().is_some_and(|t| t.instance == peer),
        })
    }

    /// The session on a link, if it is open.
    pub(crate) fn session(&mut self, id: LinkId) -> Option<&mut Session> {
        self.table.get_mut(&id)?.session()
    }

    /// The version of the revocation list that this node has from now on.
    pub(crate) fn note_list(&mut self, version: u64) {
        self.list = version;
    }

    /// The round trip on a link, and how long ago it was measured.
    pub(crate) fn round_trip(&self, now: Time, id: LinkId) -> Option<(Duration, Duration)> {
        let pulse = self.table.get(&id)?.pulse()?;
        Some((pulse.round_trip()?, now - pulse.measured_at()))
    }

    /// Whether a keepalive on a link waits for its echo.
    pub(crate) fn awaits_echo(&self, id: LinkId) -> bool {
        let pulse = self.table.get(&id).and_then(|l| l.pulse());
        pulse.is_some_and(|p| p.awaits_echo())
    }

    /// The link to a relay that a link goes over, and its route there, if it goes through one.
    pub(crate) fn way(&self, id: LinkId) -> Option<(LinkId, Route)> {
        match self.table.get(&id)?.via {
            Via::Relay(carrier, route) => Some((carrier, route)),
            Via::Socket(_) | Via::Name => None,
        }
    }

    /// The address that a link goes to over a socket of its own, if it goes to a peer.
    pub(crate) fn address(&self, id: LinkId) -> Option<SocketAddr> {
        match self.table.get(&id)?.via {
            Via::Socket(address) => Some(address),
            Via::Relay(..) | Via::Name => None,
        }
    }

    /// Whether one of these links goes straight to its peer.
    pub(crate) fn any_straight(&self, links: &[LinkId]) -> bool {
        links.iter().any(|id| self.address(*id).is_some())
    }

    /// Whether a session goes through a relay that we dialled it through.
    pub(crate) fn is_dialled_through_relay(&self, id: LinkId) -> bool {
        self.table.get(&id).is_some_and(|link| {
            link.is_relayed() && matches!(link.state, State::Open { dialled: true, .. })
        })
    }

    /// Where a link comes from.
    pub(crate) fn source(&self, id: LinkId) -> Option<Source> {
        self.table.get(&id).map(|l| l.via.source())
    }
}
