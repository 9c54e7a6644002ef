//! The protocol without IO: discovery, sessions and calls as one state machine.
//!
//! # Contract
//!
//! 1. Hand in what happened: [`Engine::handle`] with an [`Input`], or one of the request methods
//!    ([`Engine::call`], [`Engine::reply`]…).
//! 2. Drain [`Engine::poll`] until it gives `None`, doing what each [`Output`] says.
//! 3. For [`Output::Writable`], write [`Engine::pending`] to that link, report
//!    [`Input::Sent`], and go on when the link takes more.
//! 4. Wait for IO, at most until [`Engine::deadline`]; then hand in [`Input::Tick`].
//!
//! Time, randomness and bytes are arguments; the engine names no socket, clock, thread or random
//! source. The same inputs give the same outputs, so a seed replays exactly.
//!
//! ```text
//! node:   Probing --(nobody has the name)--> Running --> Stopped
//!            \-----(the name is taken)---------------------^
//! link:   Dialing --> Asked --(answer)-----------------> Open     (we dialled)
//!         Listening --(hello)--> Answered --(a record)--> Open    (they dialled)
//! peer:   known (an advert) --> reachable (a session is open) --> known … --> gone
//! call:   Waiting --> Sent --(path died, same instance)--> Waiting … --> ended, once
//! ```
//!
//! Parts own what they know: `peers` is who is there and how others are found, `links` how two
//! nodes talk, `relays` which relays we are linked to; `calls` is what this node and its peers ask
//! of each other, `streams` what programs stream along calls; `stopping` is how it all ends. None
//! of them sees another: `network` and `commands` hand what one returns to the next. `context` is
//! what each of them works with.

mod calls;
mod commands;
mod context;
mod fair_share;
#[cfg(test)]
mod fixture;
mod ids;
mod links;
mod network;
mod peer_info;
mod peers;
mod relays;
mod source;
mod stats;
mod stopping;
mod streams;

pub use crate::protocol::{LinkId, Now, Time};
pub use crate::wire::report::Report;
pub use calls::ask::{Ask, Broadcast, Request, Terms};
pub use calls::compat::CompatPlace;
pub use calls::outgoing::SETTLED_WITH_CALL;
pub use ids::{CallNumber, RequestId, StreamId};
pub use peer_info::{Path, PeerInfo, Ping};
pub use relays::RelayFault;
pub(crate) use source::Source;
pub use stats::Stats;

use crate::address::RelayAddress;
use crate::entropy::Entropy;
use crate::error::Error;
use crate::fernet::Keyring;
use crate::limits::Limits;
use crate::name::{CommandPath, NetworkName, NodeName};
use crate::protocol::{LinkEvent, Protocol};
use crate::wire::Instance;
use crate::wire::advert::Phase as AdvertPhase;
use crate::wire::record::Status;
use calls::broadcast::Broadcasts;
use calls::compat::CompatPeers;
use calls::incoming::Serving;
use calls::outgoing::Calls;
use context::Core;
use links::Links;
use peers::{Advertiser, Dialler, Directory, Mesh, Presence};
use relays::Relays;
use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use stopping::Stopping;
use streams::Streams;

/// Outputs that there is always room for.
const OUTPUTS_KEPT: usize = 1_024;

/// Who the engine is.
#[derive(Clone, Debug)]
pub struct Config {
    /// The network.
    pub network: NetworkName,
    /// This node's name.
    pub name: NodeName,
    /// The network's keys.
    pub keys: Keyring,
    /// The TCP port that peers can reach.
    pub port: u16,
    /// The address that peers can reach, if not the one our datagrams come from.
    pub address: Option<IpAddr>,
    /// Between two adverts.
    pub interval: Duration,
    /// Whether peers of the same LAN are looked for.
    pub lan: bool,
    /// Relays to be linked to, always.
    pub relays: Vec<RelayAddress>,
    /// Relays to be linked to at most, with those that are learnt from others.
    pub max_remotes: usize,
    /// How long a path through a relay may be silent before a sign of life is asked for; it is dead
    /// after three times that.
    pub relay_keepalive: Duration,
    /// Bounds.
    pub limits: Limits,
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram came on the advertise port.
    Datagram {
        /// Who it says it is from.
        from: SocketAddr,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// A link that [`Output::Dial`] or [`Output::DialRelay`] asked for is connected.
    Connected(LinkId),
    /// The name of the relay that [`Output::DialRelay`] asked for means nothing.
    Unresolved(LinkId),
    /// Bytes came on a link.
    Received(LinkId, &'a [u8]),
    /// A link took this many of the [`Engine::pending`] bytes.
    Sent(LinkId, usize),
    /// A link ended, or could not be made.
    Closed(LinkId),
    /// An interface came, went or changed its address.
    InterfacesChanged,
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Debug)]
pub enum Output {
    /// Send this datagram to the broadcast address of every interface.
    Broadcast(Vec<u8>),
    /// Connect to this address.
    Dial(LinkId, SocketAddr),
    /// Find out what this relay's name means, without waiting for it here, and connect to it.
    /// Whether it may be anywhere, [`Engine::dials_relay`] tells.
    DialRelay(LinkId, RelayAddress),
    /// A link has [`Engine::pending`] bytes, where it had none.
    Writable(LinkId),
    /// Write what is pending if it can be done at once, then close.
    Close(LinkId, Vec<u8>),
    /// Answer this with [`Engine::reply`].
    Request(Request),
    /// Something was said to everyone, by this node.
    Message(NodeName, Vec<u8>),
    /// A stream that the program waits for has moved: try again.
    Stream(StreamId),
    /// A call of ours ended, this once.
    Ended(CallNumber, Result<Vec<u8>, Error>),
    /// Call a peer in the protocol of PeerBase 0.7.1; the end goes to [`Engine::compat_answered`].
    CompatCall {
        /// Which call it is.
        number: CallNumber,
        /// Whom to ask.
        target: NodeName,
        /// For what.
        path: CommandPath,
        /// A JSON array.
        args: Vec<u8>,
        /// A JSON object.
        kwargs: Vec<u8>,
    },
    /// Such a call has ended otherwise.
    CompatForget(CallNumber),
    /// The answer to an [`Engine::compat_request`].
    CompatReply(u64, Status, Vec<u8>),
    /// The name is ours; the node takes part.
    Running,
    /// The node could not take part.
    Failed(Error),
    /// Something a program may want to know.
    Event(Event),
}

/// Something a program may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A node has proved that it is there and holds the key; or one of PeerBase 0.7.1 is heard,
    /// which proves nothing.
    PeerJoined(NodeName),
    /// A node said goodbye, or was not heard for too long.
    PeerLeft(NodeName),
    /// A node that was there is there again, as a new instance.
    PeerRestarted(NodeName),
    /// Another node has proved that it goes by our name. Every node resolves the name to the same
    /// one of the two; `wins` says whether that is this one.
    NameConflict {
        /// Whether others resolve the name to this node.
        wins: bool,
    },
    /// This node has joined its network at a relay.
    RelayUp(RelayAddress),
    /// A relay cannot be joined, or was lost; it is tried again. Told once for each reason, not at
    /// each attempt.
    RelayDown {
        /// Which.
        relay: RelayAddress,
        /// Why.
        why: RelayFault,
    },
    /// Calls to a peer take another path than before.
    PathChanged {
        /// Which.
        peer: NodeName,
        /// Over what.
        path: Path,
    },
    /// The subscriber was too slow for this many events.
    Missed(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Probing { until: Time, last: Time },
    Running,
    Stopped,
}

/// What there is a time for, in the order in which it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    Streams,
    Probe,
    Adverts,
    Relays,
    Links,
    Peers,
    Calls,
    Serving,
    Mesh,
    Compat,
}

/// The state machine. See the module's documentation for how to drive it.
pub struct Engine {
    core: Core,
    phase: Phase,
    /// Whether what was answered is still sent, before the goodbye.
    stopping: Option<Stopping>,
    /// Has the next input panic, as a bug in here might.
    #[cfg(test)]
    pub(crate) sabotaged: bool,
    advertiser: Advertiser,
    presence: Presence,
    directory: Directory,
    dialler: Dialler,
    mesh: Mesh,
    links: Links,
    relays: Relays,
    calls: Calls,
    serving: Serving,
    streams: Streams,
    broadcasts: Broadcasts,
    compat: CompatPeers,
    /// Where tokens are opened.
    opened: Vec<u8>,
    /// Where plaintexts are put together.
    plain: Vec<u8>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("name", &self.core.config.name)
            .field("instance", &self.core.instance)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// A node that begins to ask for its name.
    pub fn new(config: Config, mut entropy: Box<dyn Entropy>, now: Now) -> Engine {
        let mut id = [0; 16];
        entropy.fill(&mut id);
        let probe = config.limits.probe;
        let longest = match config.relays.is_empty() {
            true => probe * 4,
            // Relays, too, are asked whether the name is taken.
            false => config.limits.relay_probe,
        };
        let relays = Relays::new(&config, now.at);
        let mut engine = Engine {
            core: Core {
                config,
                instance: Instance(id),
                entropy,
                outputs: VecDeque::new(),
                stats: Stats::default(),
            },
            phase: Phase::Probing {
                until: now.at + probe,
                last: now.at + longest,
            },
            stopping: None,
            #[cfg(test)]
            sabotaged: false,
            advertiser: Advertiser::new(now.at),
            presence: Presence::default(),
            directory: Directory::default(),
            dialler: Dialler::default(),
            mesh: Mesh::default(),
            links: Links::default(),
            relays,
            calls: Calls::default(),
            serving: Serving::default(),
            streams: Streams::default(),
            broadcasts: Broadcasts::default(),
            compat: CompatPeers::default(),
            opened: Vec::new(),
            plain: Vec::new(),
        };
        engine.advertise(now, AdvertPhase::Probing);
        engine
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        #[cfg(test)]
        assert!(!self.sabotaged, "sabotage");
        match input {
            Input::Datagram { from, bytes } => self.datagram(now, from, bytes),
            Input::Connected(link) => self.connected(now, link),
            Input::Unresolved(link) => self.unresolved(now, link),
            Input::Received(link, bytes) => self.received(now, link, bytes),
            Input::Sent(link, n) => self.sent(now, link, n),
            Input::Closed(link) => self.ended(now, link),
            Input::InterfacesChanged => self.advertiser.burst(now.at),
            Input::Tick => return self.tick(now, 0),
        }
        // What streams wait for is looked at when time passes, and not with every input.
        self.tick(now, 1);
    }

    /// What to do next, if anything.
    #[inline]
    pub fn poll(&mut self) -> Option<Output> {
        let output = self.core.outputs.pop_front();
        // Once every call to a peer that died has ended, their room is not needed any more.
        if output.is_none() && self.core.outputs.capacity() > OUTPUTS_KEPT {
            self.core.outputs = VecDeque::new();
        }
        output
    }

    /// When to hand in [`Input::Tick`] at the latest, if nothing else happens.
    pub fn deadline(&self) -> Option<Time> {
        if self.phase == Phase::Stopped {
            return None;
        }
        #[cfg(test)]
        if self.sabotaged {
            return Some(Time::default());
        }
        let due = self.timers().into_iter().map(|(_, due)| due).min();
        due.filter(|due| *due != Time::NEVER)
    }

    /// When each timer runs out.
    #[inline]
    fn timers(&self) -> [(Timer, Time); 10] {
        let probe = match self.phase {
            Phase::Probing { until, .. } => until,
            Phase::Running | Phase::Stopped => Time::NEVER,
        };
        [
            (Timer::Streams, self.streams.due()),
            (Timer::Probe, probe),
            (Timer::Adverts, self.advertiser.due()),
            (Timer::Relays, self.relays.due()),
            (Timer::Links, self.links.due()),
            (Timer::Peers, self.directory.due()),
            (Timer::Calls, self.calls.due()),
            (Timer::Serving, self.serving.due()),
            (Timer::Mesh, self.mesh.due()),
            (Timer::Compat, self.compat.due()),
        ]
    }

    /// Does what the timers that have run out are for, once for each but the first `skipped`.
    #[inline]
    fn tick(&mut self, now: Now, mut skipped: usize) {
        while self.phase != Phase::Stopped {
            // One that was done may have brought another forward, so they are looked at anew.
            let timers = self.timers();
            let mut rest = timers[skipped..].iter();
            let Some(at) = rest.position(|(_, due)| now.at >= *due) else {
                return;
            };
            let (timer, _) = timers[skipped + at];
            skipped += at + 1;
            self.run_out(now, timer);
        }
    }

    fn run_out(&mut self, now: Now, timer: Timer) {
        match timer {
            Timer::Streams => self.tick_streams(now),
            Timer::Probe => self.tick_probe(now),
            Timer::Adverts => self.advertise(now, self.phase.advertised()),
            Timer::Relays => self.tick_relays(now),
            Timer::Links => self.tick_links(now),
            Timer::Peers => self.tick_directory(now),
            Timer::Calls => self.tick_calls(now),
            Timer::Serving => self.tick_serving(now),
            Timer::Mesh => self.tick_mesh(now),
            Timer::Compat => self.tick_compat(now),
        }
    }

    /// Says goodbye, ends every call and link. Nothing but draining [`Engine::poll`] is left to do.
    /// What was answered and is not written yet is lost, unless [`Engine::begin_stop`] came first.
    pub fn stop(&mut self, now: Now) {
        if self.phase == Phase::Stopped {
            return;
        }
        if self.phase == Phase::Running {
            self.say_goodbye(now);
        }
        self.shut(now, Error::Stopped);
    }

    /// Ends everything without a word to the network.
    fn shut(&mut self, now: Now, why: Error) {
        self.phase = Phase::Stopped;
        self.end_own_calls(now, &why);
        self.close_all(now);
        self.relays = Relays::default();
        self.directory = Directory::default();
        self.serving = Serving::default();
        self.streams = Streams::default();
        self.broadcasts = Broadcasts::default();
        self.mesh = Mesh::default();
        self.compat = CompatPeers::default();
    }

    /// This start of the node.
    pub fn instance(&self) -> Instance {
        self.core.instance
    }

    /// This node's name.
    pub fn name(&self) -> &NodeName {
        &self.core.config.name
    }

    /// The network's name.
    pub fn network(&self) -> &NetworkName {
        &self.core.config.network
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.core.config.limits
    }

    /// Who is there, one entry for each name.
    pub fn peers(&self, now: Now) -> Vec<PeerInfo> {
        let mut infos = self.directory.infos();
        for (instance, info) in &mut infos {
            let measured = self
                .best_session(*instance)
                .and_then(|id| self.links.round_trip(now.at, id));
            info.ping = measured.map(|(round_trip, ago)| Ping { round_trip, ago });
        }
        // Of two of one name the native one, which is also who is called.
        let native = |f: &PeerInfo| self.directory.lists(&f.name);
        let compat = self.compat.infos().filter(|f| !native(f));
        let infos = infos.into_iter().map(|(_, info)| info);
        infos.chain(compat).collect()
    }

    /// What has been counted so far.
    pub fn stats(&self) -> Stats {
        let mut stats = self.core.stats;
        stats.peers = self.directory.count() as u64;
        stats.links = self.links.len() as u64;
        stats.calls_open = self.calls.len() as u64;
        stats.serving = (self.serving.len() + self.compat.requests()) as u64;
        stats.relays_up = self.relays.joined() as u64;
        stats.routes = self.links.routes() as u64;
        stats.streams = self.streams.len() as u64;
        stats
    }

    fn event(&mut self, event: Event) {
        self.core.event(event);
    }
}

impl Protocol for Engine {
    fn accept(&mut self, now: Now, from: SocketAddr) -> Option<LinkId> {
        Engine::accept(self, now, from)
    }

    fn link(&mut self, now: Now, id: LinkId, event: LinkEvent<'_>) {
        let input = match event {
            LinkEvent::Connected => Input::Connected(id),
            LinkEvent::Received(bytes) => Input::Received(id, bytes),
            LinkEvent::Sent(n) => Input::Sent(id, n),
            LinkEvent::Closed => Input::Closed(id),
        };
        self.handle(now, input);
    }

    fn pending(&self, id: LinkId) -> &[u8] {
        Engine::pending(self, id)
    }
}
