//! The protocol without IO: discovery, sessions and calls as one state machine.
//!
//! # Contract
//!
//! 1. Hand in what happened: [`Engine::handle`] with an [`Input`], or one of the request methods,
//!    such as [`Engine::call`] and [`Engine::reply`].
//! 2. Drain [`Engine::poll`] until it gives `None`, doing what each [`Output`] says.
//! 3. For [`Output::Writable`], write [`Engine::pending`] to that link, report
//!    [`Input::Sent`], and go on when the link takes more.
//! 4. Wait for IO, at most until [`Engine::deadline`]; then hand in [`Input::Tick`].
//!
//! Time, randomness and bytes are arguments; the engine names no socket, clock, thread or random
//! source. The same inputs give the same outputs, so a seed replays exactly.
//!
//! # Example
//!
//! Two engines in one thread, without a socket: what one has pending is handed to the other, and
//! then time passes until the next deadline.
//!
//! ```
//! use peerbase::engine::{Ask, Config, Engine, Input, LinkId, Now, Output, Terms};
//! # use peerbase::fernet::{Key, Keyring};
//! # use peerbase::name::{CommandPath, NetworkName, NodeName};
//! # use peerbase::{Identity, Limits, OsEntropy, Rules, wire::record::Status};
//! # use std::time::Duration;
//! # let keys = Keyring::from(Key::generate(&mut OsEntropy::new()?));
//! # let mut now = Now::default();
//! # let engine = |name| -> Result<Engine, Box<dyn std::error::Error>> {
//! #     let config = Config {
//! #         network: NetworkName::new("plant")?,
//! #         name: NodeName::new(name)?,
//! #         keys: keys.clone(),
//! #         identity: Identity::generate(&mut OsEntropy::new()?),
//! #         keeps_identity: false,
//! #         mode: Default::default(),
//! #         port: 7,
//! #         address: None,
//! #         interval: Duration::from_secs(1),
//! #         lan: false,
//! #         relays: Vec::new(),
//! #         max_remotes: 0,
//! #         relay_keepalive: Duration::from_secs(10),
//! #         limits: Limits::default(),
//! #         rules: Rules::default(),
//! #     };
//! #     Ok(Engine::new(config, Box::new(OsEntropy::new()?), Now::default()))
//! # };
//!
//! /// Hands what waits for a link of one engine to the link of the other.
//! fn carry(now: Now, from: (&mut Engine, LinkId), to: (&mut Engine, LinkId)) {
//!     let bytes = from.0.pending(from.1).to_vec();
//!     from.0.handle(now, Input::Sent(from.1, bytes.len()));
//!     to.0.handle(now, Input::Received(to.1, &bytes));
//! }
//!
//! let (mut reader, mut sensor) = (engine("reader")?, engine("sensor")?);
//! let ask = Ask::Command {
//!     path: CommandPath::new("read")?,
//!     args: b"[]".to_vec(),
//!     kwargs: b"{}".to_vec(),
//! };
//! # let (timeout, streams) = (Duration::from_secs(5), false);
//! let terms = Terms { timeout, wait: true, streams };
//! reader.call(now, &NodeName::new("sensor")?, ask, terms)?;
//!
//! // The link that joins the two, as the reader and as the sensor number it.
//! let (mut ours, mut theirs) = (None, None);
//! let answer = 'answered: loop {
//!     while let Some(output) = reader.poll() {
//!         match output {
//!             Output::Running => reader.add_seed(now, "10.0.0.2:7".parse()?)?,
//!             Output::Dial(link, _) => {
//!                 theirs = sensor.accept(now, "10.0.0.1:50000".parse()?);
//!                 ours = Some(link);
//!                 reader.handle(now, Input::Connected(link));
//!             }
//!             Output::Writable(link) => {
//!                 carry(now, (&mut reader, link), (&mut sensor, theirs.unwrap()));
//!             }
//!             Output::Ended(_, result) => break 'answered result?,
//!             _ => {}
//!         }
//!     }
//!     while let Some(output) = sensor.poll() {
//!         match output {
//!             Output::Writable(link) => {
//!                 carry(now, (&mut sensor, link), (&mut reader, ours.unwrap()));
//!             }
//!             Output::Request(request) => {
//!                 sensor.reply(now, request.id, Status::Value, b"21.5".to_vec());
//!             }
//!             _ => {}
//!         }
//!     }
//!     let deadlines = [reader.deadline(), sensor.deadline()];
//!     now.at = deadlines.into_iter().flatten().min().unwrap().max(now.at);
//!     reader.handle(now, Input::Tick);
//!     sensor.handle(now, Input::Tick);
//! };
//! assert_eq!(answer, peerbase::engine::Payload::Json(b"21.5".to_vec()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it is made
//!
//! ```text
//! node:   Probing --(nobody has the name)--> Running --> Stopped
//!            \-----(the name is taken)---------------------^
//! link:   Dialing --> Asked --(answer)------------------------> Open    (we dialled)
//!         Listening --(question)--> Answered --(their proof)--> Open    (they dialled)
//! peer:   known (an advert) <--> reachable (a session is open); known --> gone
//! call:   waiting --> bound to an instance --> ended, once (if the path dies, it is sent again)
//! ```
//!
//! Parts own what they know, and none of them sees another. `network` holds those that find and
//! reach other nodes: `peers` (which nodes there are, and how they are found), `links` (how two
//! nodes talk) and `relays` (which ones this node is linked to). `commands` stands above it, and
//! holds `calls` (what this node and its peers ask of each other), `streams` (what programs stream
//! along calls) and `stopping` (how all of it ends). Each of the two hands what one of its parts
//! returns to the next. The engine routes what is handed in to one of them: `arrivals` is what
//! comes, `api` what programs ask, and this file what timers are for. `context` is what every
//! part works with.

mod api;
mod arrivals;
mod calls;
mod commands;
mod context;
mod distrust;
mod event;
mod event_throttle;
mod fair_share;
#[cfg(test)]
mod fixture;
mod ids;
mod links;
mod network;
mod payload;
mod peer_info;
mod peers;
mod relay_fault;
mod relays;
mod source;
mod stats;
mod stopping;
mod streams;
mod trust;

pub use crate::protocol::{LinkId, Now, Time};
pub use crate::wire::report::Report;
pub use calls::ask::{Ask, Broadcast, Request, Terms};
pub use calls::compat::CompatPlace;
pub use calls::outgoing::SETTLED_WITH_CALL;
pub use calls::signed_broadcast::Said;
pub use distrust::Distrust;
pub use event::Event;
pub use ids::{CallNumber, RequestId, StreamId};
pub use payload::Payload;
pub use peer_info::{Path, PeerInfo, Ping};
pub use relay_fault::RelayFault;
pub(crate) use source::Source;
pub use stats::Stats;
pub use trust::{Certified, Mode};

use crate::address::RelayAddress;
use crate::authority::RevocationList;
use crate::entropy::Entropy;
use crate::error::Error;
use crate::fernet::Keyring;
use crate::handshake::Credentials;
use crate::identity::{Identity, PublicKey};
use crate::limits::Limits;
use crate::name::{CommandPath, NetworkName, NodeName};
use crate::network_keys::NetworkKeys;
use crate::protocol::{LinkEvent, LinkWriter, Protocol};
use crate::rules::Rules;
use crate::wire::advert::Phase as AdvertPhase;
use crate::wire::record::{CloseReason, Status};
use commands::Commands;
use context::{Core, Phase, Secrets};
use network::Network;
use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Outputs that there is always room for.
const OUTPUTS_KEPT: usize = 1_024;

/// What an engine is told about its node.
#[derive(Clone, Debug)]
pub struct Config {
    /// The network.
    pub network: NetworkName,
    /// This node's name.
    pub name: NodeName,
    /// The network's keys.
    pub keys: Keyring,
    /// Who this node is.
    pub identity: Identity,
    /// Whether it has the same identity after its next start.
    pub keeps_identity: bool,
    /// What makes a name belong to a key.
    pub mode: Mode,
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
    /// Who may call what.
    pub rules: Rules,
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram came on the advertise port.
    Datagram {
        /// The address that it says it comes from.
        from: SocketAddr,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// A link that [`Output::Dial`] or [`Output::DialRelay`] asked for is connected.
    Connected(LinkId),
    /// The name of the relay that [`Output::DialRelay`] asked for could not be resolved.
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
    /// Resolve the name of this relay without blocking, and connect to it. [`Engine::dials_relay`]
    /// says whether a local address is allowed.
    DialRelay(LinkId, RelayAddress),
    /// A link has [`Engine::pending`] bytes, where it had none.
    Writable(LinkId),
    /// Write what is pending if it can be done at once, then close.
    Close(LinkId, Vec<u8>),
    /// Answer this with [`Engine::reply`].
    Request(Request),
    /// A node has broadcast a message.
    Message(Said),
    /// A stream that the program waits for has moved: try again.
    Stream(StreamId),
    /// A call of ours ended, this once.
    Ended(CallNumber, Result<Payload, Error>),
    /// Call a peer in the protocol of PeerBase 0.7.1; the end goes to [`Engine::compat_answered`].
    CompatCall {
        /// Which call it is.
        number: CallNumber,
        /// The peer to ask.
        target: NodeName,
        /// The path of the command.
        path: CommandPath,
        /// A JSON array.
        args: Vec<u8>,
        /// A JSON object.
        kwargs: Vec<u8>,
    },
    /// An [`Output::CompatCall`] has ended: its answer is no longer wanted.
    CompatForget(CallNumber),
    /// The answer to an [`Engine::compat_request`].
    CompatReply(u64, Status, Vec<u8>),
    /// The name is ours; the node takes part.
    Running,
    /// The node could not take part.
    Failed(Error),
    /// Something a program may want to know.
    Event(Event),
    /// The keys of the network are these from now on.
    Keys(Keyring),
    /// Something to be kept for the next start, if there is a place for it.
    Keep(Keep),
}

/// What a node keeps for its next start.
#[derive(Clone, Debug)]
pub enum Keep {
    /// A name is pinned to this key, whatever it was pinned to.
    Pin(NodeName, PublicKey),
    /// This is the newest revocation list.
    List(RevocationList),
}

/// The timers, in the order in which they are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    network: Network,
    commands: Commands,
    /// Where tokens are opened. What is read of a record lies in it while the record is acted on.
    opened: Vec<u8>,
    /// Has the next input panic, as a bug in here might.
    #[cfg(test)]
    pub(crate) sabotaged: bool,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("name", &self.core.config.name)
            .field("instance", &self.core.instance)
            .field("phase", &self.core.phase)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// A node that begins to ask for its name.
    pub fn new(mut config: Config, mut entropy: Box<dyn Entropy>, now: Now) -> Engine {
        let mut start = [0; 16];
        entropy.fill(&mut start);
        let mut secrets = Secrets {
            keys: NetworkKeys::new(&config.keys, &config.network),
            credentials: Credentials::new(&config.identity, config.keeps_identity, start),
        };
        if let Mode::Certified(known) = &config.mode {
            secrets.credentials.set_certificate(&known.certificate);
        }
        let probe = config.limits.probe;
        let longest = match config.relays.is_empty() {
            true => probe * 4,
            // Relays, too, are asked whether the name is taken.
            false => config.limits.relay_probe,
        };
        let network = Network::new(&config, now.at);
        // The network has it from now on, and it may be large.
        config.mode = Mode::default();
        let mut engine = Engine {
            core: Core {
                config,
                instance: secrets.credentials.instance(),
                secrets,
                phase: Phase::Probing {
                    until: now.at + probe,
                    last: now.at + longest,
                },
                entropy,
                outputs: VecDeque::new(),
                stats: Stats::default(),
            },
            network,
            commands: Commands::default(),
            opened: Vec::new(),
            #[cfg(test)]
            sabotaged: false,
        };
        let ctx = &mut engine.core.at(now);
        engine.network.advertise(ctx, AdvertPhase::Probing);
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
            Input::Sent(link, n) => {
                self.transmit(now, link, &mut |_| n);
            }
            Input::Closed(link) => self.closed(now, link),
            Input::InterfacesChanged => self.network.interfaces_changed(now.at),
            Input::Tick => return self.tick(now, None),
        }
        // What streams wait for is looked at when time passes, and not with every input.
        self.tick(now, Some(Timer::Streams));
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
        if self.core.phase == Phase::Stopped {
            return None;
        }
        #[cfg(test)]
        if self.sabotaged {
            return Some(Time::default());
        }
        let due = self.timers().into_iter().map(|(_, due)| due).min();
        due.filter(|due| *due != Time::NEVER)
    }

    /// When each timer runs out, in the order in which they are handled.
    #[inline]
    fn timers(&self) -> [(Timer, Time); 10] {
        let (network, commands) = (self.network.timers(), self.commands.timers());
        let probe = match self.core.phase {
            Phase::Probing { until, .. } => until,
            Phase::Running | Phase::Stopped => Time::NEVER,
        };
        [
            (Timer::Streams, commands.streams),
            (Timer::Probe, probe),
            (Timer::Adverts, network.adverts),
            (Timer::Relays, network.relays),
            (Timer::Links, network.links),
            (Timer::Peers, network.peers),
            (Timer::Calls, commands.calls),
            (Timer::Serving, commands.serving),
            (Timer::Mesh, network.mesh),
            (Timer::Compat, commands.compat),
        ]
    }

    /// Does what the timers that have run out are for, once for each: of all timers, or of those
    /// that come `after` one.
    #[inline]
    fn tick(&mut self, now: Now, mut after: Option<Timer>) {
        while self.core.phase != Phase::Stopped {
            // One that was done may have brought another forward, so they are looked at anew.
            let mut timers = self.timers().into_iter();
            let next = timers.find(|(timer, due)| Some(*timer) > after && now.at >= *due);
            let Some((timer, _)) = next else {
                return;
            };
            after = Some(timer);
            self.run_out(now, timer);
        }
    }

    fn run_out(&mut self, now: Now, timer: Timer) {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        let commands = &mut self.commands;
        match timer {
            Timer::Streams => commands.tick_streams(ctx, network),
            Timer::Probe => self.tick_probe(now),
            Timer::Adverts => network.advertise(ctx, ctx.phase.advertised()),
            Timer::Relays => network.tick_relays(ctx),
            Timer::Links => commands.tick_links(ctx, network),
            Timer::Peers => self.tick_peers(now),
            Timer::Calls => commands.tick_calls(ctx, network),
            Timer::Serving => commands.tick_serving(ctx, network),
            Timer::Mesh => network.tick_mesh(ctx),
            Timer::Compat => commands.tick_compat(ctx, network),
        }
    }

    /// The time in which others could have said that they have our name is over.
    fn tick_probe(&mut self, now: Now) {
        let Phase::Probing { last, .. } = self.core.phase else {
            return;
        };
        let ctx = &self.core.at(now);
        if let Some(until) = self.network.undecided_until(ctx, last) {
            self.core.phase = Phase::Probing { until, last };
            return;
        }
        self.core.phase = Phase::Running;
        self.core.outputs.push_back(Output::Running);
        self.network.take_part(&mut self.core.at(now));
    }

    /// Looks at every peer: which are gone, and which are to be dialled.
    fn tick_peers(&mut self, now: Now) {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        let due = network.take_due_peers(now.at);
        for instance in &due.gone {
            self.commands.drop_peer(ctx, network, *instance);
        }
        if ctx.phase == Phase::Running {
            let commands = &self.commands;
            network.dial_peers(ctx, due, &|name| commands.waits_for(name));
        }
    }

    /// Says goodbye, ends every call and link. Nothing but draining [`Engine::poll`] is left to do.
    /// What was answered and is not written yet is lost, unless [`Engine::begin_stop`] came first.
    pub fn stop(&mut self, now: Now) {
        if self.core.phase == Phase::Stopped {
            return;
        }
        if self.core.phase == Phase::Running {
            self.network.say_goodbye(&mut self.core.at(now));
        }
        self.stop_without_advert(now, Error::Stopped);
    }

    /// Ends every call and link. Peers in a session are told goodbye there; no advert says it.
    fn stop_without_advert(&mut self, now: Now, why: Error) {
        self.core.phase = Phase::Stopped;
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        self.commands.end_own_calls(ctx, network, &why);
        for link in network.all_links() {
            let reason = CloseReason::Leaving;
            self.commands.close_session(ctx, network, link, reason);
        }
        network.forget_all();
        self.commands.forget_all();
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
            LinkEvent::Closed => Input::Closed(id),
        };
        self.handle(now, input);
    }

    fn transmit(&mut self, now: Now, id: LinkId, write: &mut LinkWriter<'_>) -> bool {
        Engine::transmit(self, now, id, write)
    }
}
