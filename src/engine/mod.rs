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
//! `directory` holds who is there, `discovery` what adverts do to it, `dialling` when and how to
//! reach whom; `links`, `sending`, `handshake`, `keepalive` and `session` are how two nodes talk;
//! `streams` is what programs stream
//! along calls, `stream` one end of it, `large` what is too large for one record; `gossip` is what is said to
//! everyone, `foreign` peers of another kind, `mesh` how others are found without advertising; `relays` is which relays we are linked to, `fault` what is wrong with one, `routes` how links to
//! peers go through them; `calls` is what we ask of others, `ask` the words for it, `serving` what they ask of us,
//! `evicted` of whom nothing else is known any more; `stopping` is how it all ends.

mod ask;
mod calls;
mod context;
mod dialling;
mod directory;
mod discovery;
mod due;
mod evicted;
mod fault;
mod foreign;
mod gossip;
mod handshake;
mod keepalive;
mod large;
mod links;
mod mesh;
mod rate;
mod relays;
mod routes;
mod sending;
mod serving;
mod session;
mod stats;
mod stopping;
mod stream;
mod streams;

pub use crate::protocol::{LinkId, Now, Time};
pub use ask::{Ask, Terms};
pub use directory::{Path, PeerInfo, Ping};
pub use fault::RelayFault;
pub use foreign::ForeignPlace;
pub use gossip::{Broadcast, Report};
#[cfg(feature = "files")]
pub(crate) use links::Source;
pub use serving::{Request, RequestId};
pub use stats::Stats;
pub use streams::StreamId;

use crate::address::RelayAddress;
use crate::entropy::Entropy;
use crate::error::Error;
use crate::fernet::Keyring;
use crate::limits::Limits;
use crate::name::{CommandPath, NetworkName, NodeName};
use crate::protocol::{LinkEvent, Protocol};
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::record::Status;
use calls::Calls;
use context::{Core, Ctx};
use directory::Directory;
use discovery::Advertiser;
use foreign::Foreign;
use gossip::Gossip;
use links::Link;
use mesh::Mesh;
use rate::Rate;
use relays::Relays;
use routes::Routes;
use serving::Serving;
use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use stopping::Stopping;
use streams::Streams;

pub use calls::SETTLED_WITH_CALL;

/// Outputs that there is always room for.
const OUTPUTS_KEPT: usize = 1_024;

/// The number of one of our calls: never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallNumber(pub u64);

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
    /// Find out what this relay's name means, without waiting for it here, and connect to it. Whether it
    /// may be anywhere, [`Engine::dials_relay`] tells.
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
    /// Ask a foreign peer; the end goes to [`Engine::foreign_answered`].
    ForeignCall {
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
    ForeignForget(CallNumber),
    /// The answer to an [`Engine::foreign_request`].
    ForeignReply(u64, Status, Vec<u8>),
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
    /// A node has proved that it is there and holds the key; or one of PeerBase 0.7.1 is heard, which proves
    /// nothing.
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
    /// A relay cannot be joined, or was lost; it is tried again. Told once for each reason, not at each
    /// attempt.
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
    directory: Directory,
    links: Table<LinkId, Box<Link>>,
    relays: Relays,
    routes: Routes,
    next_link: u64,
    dial_rate: Rate,
    /// No link can need attention before this.
    links_due: Time,
    calls: Calls,
    serving: Serving,
    streams: Streams,
    gossip: Gossip,
    mesh: Mesh,
    foreign: Foreign,
    /// Where tokens are opened; lent out while one is read.
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
            directory: Directory::default(),
            links: Table::default(),
            relays,
            routes: Routes::default(),
            next_link: 0,
            dial_rate: Rate::default(),
            links_due: Time::NEVER,
            calls: Calls::default(),
            serving: Serving::default(),
            streams: Streams::default(),
            gossip: Gossip::default(),
            mesh: Mesh::default(),
            foreign: Foreign::default(),
            opened: Vec::new(),
            plain: Vec::new(),
        };
        engine.start_probing(now);
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
            Input::InterfacesChanged => self.advertise_burst(now),
            // Not with every input, as the rest of what is due.
            Input::Tick if now.at >= self.streams.due() => self.tick_streams(now),
            Input::Tick => {}
        }
        self.tick(now);
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
        let probe = match self.phase {
            Phase::Probing { until, .. } => until,
            _ => Time::NEVER,
        };
        let due = [
            probe,
            self.advertiser.due(),
            self.directory.due(),
            self.links_due,
            self.relays.due(),
            self.calls.due(),
            self.serving.due(),
            self.mesh.due(),
            self.streams.due(),
            self.foreign.due(),
        ];
        due.into_iter().min().filter(|t| *t != Time::NEVER)
    }

    fn tick(&mut self, now: Now) {
        if self.phase == Phase::Stopped {
            return;
        }
        self.tick_discovery(now);
        if now.at >= self.relays.due() {
            self.tick_relays(now);
        }
        if now.at >= self.links_due {
            self.tick_links(now);
        }
        if now.at >= self.directory.due() {
            self.tick_directory(now);
        }
        if now.at >= self.calls.due() {
            self.tick_calls(now);
        }
        if now.at >= self.serving.due() {
            self.tick_serving(now);
        }
        if now.at >= self.mesh.due() {
            self.tick_mesh(now);
        }
        if now.at >= self.foreign.due() {
            self.tick_foreign(now);
        }
    }

    /// Says goodbye, ends every call and link. Nothing but draining [`Engine::poll`] is left to do. What was
    /// answered and is not written yet is lost, unless [`Engine::begin_stop`] came first.
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
        self.routes = Routes::default();
        self.directory = Directory::default();
        self.serving = Serving::default();
        self.streams = Streams::default();
        self.gossip = Gossip::default();
        self.mesh = Mesh::default();
        self.foreign = Foreign::default();
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
            let link = self
                .best_session(*instance)
                .and_then(|id| self.links.get(&id));
            info.ping = link.and_then(|link| {
                Some(Ping {
                    round_trip: link.round_trip?,
                    ago: now.at - link.measured_at,
                })
            });
        }
        // Of two of one name the native one, which is also who is called.
        let native = |f: &PeerInfo| self.directory.lists(&f.name);
        let foreign = self.foreign.infos().filter(|f| !native(f));
        let infos = infos.into_iter().map(|(_, info)| info);
        infos.chain(foreign).collect()
    }

    /// What has been counted so far.
    pub fn stats(&self) -> Stats {
        let mut stats = self.core.stats;
        stats.peers = self.directory.count() as u64;
        stats.links = self.links.len() as u64;
        stats.calls_open = self.calls.len() as u64;
        stats.serving = (self.serving.len() + self.foreign.len()) as u64;
        stats.relays_up = self.relays.joined() as u64;
        stats.routes = self.routes.len() as u64;
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

/// Why what a command streamed has broken off, for who reads it: how the command ended.
fn reason(status: Status, body: &[u8]) -> String {
    match outcome(status, body, "", 0) {
        Err(e @ (Error::CommandFailed(_) | Error::Refused(_))) if !body.is_empty() => e.to_string(),
        Err(e) => e.code().name().to_owned(),
        Ok(_) => String::new(),
    }
}

/// The callee's outcome as the caller's error.
fn outcome(status: Status, body: &[u8], path: &str, size: usize) -> Result<Vec<u8>, Error> {
    let text = || String::from_utf8_lossy(body).into_owned();
    let number = || body.try_into().map_or(0, u64::from_be_bytes);
    match status {
        Status::Value => Ok(body.to_vec()),
        Status::NotFound => Err(Error::CommandNotFound(path.to_owned())),
        Status::Failed => Err(Error::CommandFailed(text())),
        Status::Overloaded => Err(Error::Overloaded("at the peer")),
        Status::Refused => Err(Error::Refused(text())),
        Status::TooLarge => {
            let limit = usize::try_from(number()).unwrap_or(usize::MAX);
            Err(Error::TooLarge { size, limit })
        }
        Status::TooManyValues => Err(Error::TooManyValues(number())),
        Status::AnswerLost => Err(Error::AnswerLost("the peer had no room to keep it")),
        Status::Large => Err(Error::Internal("a large value without its stream")),
    }
}
