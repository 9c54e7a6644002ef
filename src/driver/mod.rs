//! The event loop: sockets, timers and wake-ups. No protocol here.
//!
//! [`Poller`] waits; [`Driver`] does the IO of a node and feeds its engine, [`Tcp`] that of
//! whatever [`Protocol`](crate::protocol::Protocol) has links. They are apart so that the wait
//! needs no lock: any thread may use the driver, under the node's lock, while another waits.
//!
//! Links are edge-triggered: each is read until it has no more, but only so much at a time, that
//! one fast peer cannot keep the others waiting; what is left is remembered in `unread`.
//!
//! | file | what it is |
//! | --- | --- |
//! | `poller` | the wait, and whose socket an event is about |
//! | `tcp` | the listener, and links with their reading and writing |
//! | `tokens` | the numbers by which the poller knows links |
//! | `udp` | the datagrams of adverts |
//! | `interfaces` | where broadcasts go |
//! | `resolver` | names of relays to addresses |
//! | `state_folder` | what a node keeps for its next start |
//! | `companion` | a second protocol on the same loop |

pub(crate) mod companion;
pub(crate) mod interfaces;
mod poller;
pub(crate) mod resolver;
pub(crate) mod state_folder;
pub(crate) mod tcp;
mod tokens;
pub(crate) mod udp;

use crate::address::RelayAddress;
use crate::engine::{
    CallNumber, Engine, Event, Input, Output, Payload, Request, Said, Stats, StreamId,
};
use crate::entropy::OsEntropy;
use crate::error::Error;
use crate::logging::record;
use crate::protocol::{LinkId, Now, Time};
use companion::{Companion, OpenCompanion};
use interfaces::Interfaces;
pub(crate) use mio::Waker;
use nix::time::{ClockId, clock_gettime};
pub(crate) use poller::{Lane, Poller};
use resolver::Resolver;
use state_folder::StateFolder;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
pub(crate) use tcp::Tcp;
use udp::Udp;

/// How long a relay's name is taken to mean the same: longer than the pause between two dials.
const RESOLVED_FOR: Duration = Duration::from_secs(60);
/// Where and how the loop meets the network.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where to listen for links; `None` for every address and any port, or for not at all where
    /// nobody would learn of the port.
    pub(crate) listen: Option<SocketAddr>,
    /// Whether peers of the same LAN are looked for.
    pub(crate) lan: bool,
    /// Whether others learn where we listen though not by broadcast.
    pub(crate) advertised: bool,
    /// The UDP port that all nodes share.
    pub(crate) advertise_port: u16,
    /// Keeps all traffic on 127.0.0.0/8.
    pub(crate) loopback: bool,
}

impl Settings {
    /// Where to listen: the first of these that can be had.
    fn listen(&self) -> Vec<SocketAddr> {
        match self.listen {
            Some(address) => vec![address],
            None if !self.lan && !self.advertised => Vec::new(),
            None if self.loopback => vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            // One socket for both families, or for one where the kernel knows no IPv6.
            None => vec![
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            ],
        }
    }
}

/// Both clocks.
#[derive(Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock(Instant::now())
    }

    fn at(&self) -> Time {
        Time(self.0.elapsed())
    }

    pub(crate) fn now(&self) -> Now {
        // As of the kernel's last tick, a few milliseconds ago: only seconds count, and this is
        // read for each call.
        let unix = clock_gettime(ClockId::CLOCK_REALTIME_COARSE);
        let unix = unix.map_or(0, |since| u64::try_from(since.tv_sec()).unwrap_or(0));
        Now {
            at: self.at(),
            unix,
        }
    }
}

/// What the node must do itself: those of the engine's outputs that are not the driver's to do.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Run this, and answer it with [`Engine::reply`].
    Request(Request),
    /// A member of the network said this to everyone.
    Message(Said),
    /// A stream that the program waits for has moved.
    Stream(StreamId),
    /// A call of ours ended, this once.
    Ended(CallNumber, Result<Payload, Error>),
    /// The name is ours; the node takes part.
    Running,
    /// The node could not take part.
    Failed(Error),
    /// Something a program may want to know.
    Event(Event),
}

/// Does the IO that the engine asks for.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) engine: Engine,
    clock: Clock,
    tcp: Tcp,
    /// Only where peers of the same LAN are looked for.
    udp: Option<Udp>,
    interfaces: Interfaces,
    resolver: Resolver,
    port: u16,
    loopback: bool,
    companion: Option<Box<dyn Companion>>,
    /// Where what the node must not forget is kept, if anywhere.
    state: Option<StateFolder>,
}

impl Driver {
    /// Opens the sockets and begins to ask for the node's name. `make` is given the port and makes
    /// the engine's configuration; `open_companion` opens a second protocol beside it, if there is
    /// one.
    pub(crate) fn open(
        settings: &Settings,
        make: impl FnOnce(u16) -> crate::engine::Config,
        open_companion: Option<Box<OpenCompanion<'_>>>,
    ) -> Result<(Driver, Poller, Arc<Waker>), Error> {
        let (poller, waker, registry) = Poller::open()?;
        let udp = match settings.lan {
            true => {
                let (port, loopback) = (settings.advertise_port, settings.loopback);
                Some(Udp::open(port, loopback, Lane::NATIVE, &registry)?)
            }
            false => None,
        };
        let companions_registry = registry
            .try_clone()
            .map_err(|e| Error::io("making an event queue", &e))?;
        let mut tcp = Tcp::new(registry, Lane::NATIVE);
        let port = match settings.listen().as_slice() {
            [] => 0,
            addresses => tcp.listen(addresses)?.port(),
        };
        let config = make(port);
        let companion = open_companion
            .map(|open| {
                let (registry, lane) = (companions_registry, Lane::COMPANION);
                open(settings, &config, registry, lane, waker.clone())
            })
            .transpose()?;
        let clock = Clock::start();
        let interfaces = Interfaces::new(settings, config.limits.interfaces);
        let mut engine = Engine::new(config, Box::new(OsEntropy::new()?), clock.now());
        if companion.is_some() {
            engine.expect_compat();
        }
        let driver = Driver {
            engine,
            clock,
            tcp,
            udp,
            interfaces,
            resolver: Resolver::new(waker.clone(), RESOLVED_FOR),
            port,
            loopback: settings.loopback,
            companion,
            state: None,
        };
        Ok((driver, poller, waker))
    }

    /// Keeps what the node must not forget in this folder from now on.
    pub(crate) fn keep_in(&mut self, folder: Option<StateFolder>) {
        self.state = folder;
    }

    /// The TCP port that peers reach; 0 if this node does not listen.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Now, on the engine's clock.
    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// How long it is until then; nothing if that has passed.
    pub(crate) fn left_until(&self, at: Time) -> Duration {
        at - self.clock.at()
    }

    /// Until when nothing will have to be done, if no event comes.
    pub(crate) fn deadline(&self) -> Option<Time> {
        if self.has_unread() {
            return Some(Time::default());
        }
        let deadlines = [
            self.protocol_deadline(),
            self.tcp.retry_at(),
            self.interfaces.due(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// When a protocol must be told the time at the latest.
    pub(crate) fn protocol_deadline(&self) -> Option<Time> {
        let companion = self.companion.as_ref().and_then(|c| c.deadline());
        self.engine.deadline().into_iter().chain(companion).min()
    }

    /// What has been counted so far.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.engine.stats();
        if let Some(companion) = &self.companion {
            companion.count(&mut stats);
        }
        stats
    }

    /// Whether input was left for the next round so that everyone gets a turn.
    pub(crate) fn has_unread(&self) -> bool {
        self.tcp.has_unread()
            || self.udp.as_ref().is_some_and(Udp::has_unread)
            || self.companion.as_ref().is_some_and(|c| c.has_unread())
    }

    /// Begins to stop: no more calls are taken, and what was answered is still written.
    pub(crate) fn begin_stop(&mut self, now: Now) {
        self.engine.begin_stop(now);
        if let Some(companion) = &mut self.companion {
            companion.begin_stop(&mut self.engine, &self.interfaces, now);
        }
    }

    /// Whether all that was answered has been written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.engine.is_flushed() && self.companion.as_ref().is_none_or(|c| c.is_flushed())
    }

    /// Whether the other side of a link that was closed by [`Driver::stop`] has not closed it yet.
    pub(crate) fn is_lingering(&self) -> bool {
        self.tcp.is_lingering()
    }

    /// Closes every socket at once, after a failure: nothing is known of what it was about to send.
    pub(crate) fn abandon(&mut self) {
        self.tcp.close_all();
        self.udp = None;
        self.companion = None;
    }

    /// Ends the protocols: each says goodbye if it has one. What is left is to perform and to
    /// flush, and then to go on while the driver [lingers](Driver::is_lingering).
    pub(crate) fn stop(&mut self, now: Now) {
        self.tcp.linger_from(now.at);
        self.engine.stop(now);
        if let Some(companion) = &mut self.companion {
            companion.stop(&mut self.engine, &self.interfaces, now);
        }
    }

    /// Takes in what the poller found, and the time.
    pub(crate) fn process(&mut self, now: Now, poller: &Poller, notices: &mut dyn FnMut(Notice)) {
        self.tcp.take_events(poller, &mut self.engine, now);
        if let Some(udp) = &mut self.udp {
            udp.take_events(poller);
            let engine = &mut self.engine;
            udp.receive(&mut |from, bytes| {
                engine.handle(now, Input::Datagram { from, bytes });
            });
        }
        while let Some((_, id, found)) = self.resolver.next(now.at) {
            self.resolved(now, id, &found);
        }
        while let Some(id) = self.tcp.next_unread() {
            self.tcp.read(id, &mut self.engine, now);
            // Each link's requests and answers in its turn, so that nothing piles up.
            self.perform(now, notices);
        }
        if self.interfaces.refresh(now.at) {
            self.engine.handle(now, Input::InterfacesChanged);
        }
        self.tick(now);
        if let Some(companion) = &mut self.companion {
            companion.process(&mut self.engine, poller, &self.interfaces, now);
        }
        self.perform(now, notices);
        self.flush(now, notices);
    }

    /// Tells the protocol the time, if it must be told.
    pub(crate) fn tick(&mut self, now: Now) {
        if self.engine.deadline().is_some_and(|at| now.at >= at) {
            self.engine.handle(now, Input::Tick);
        }
    }

    /// Does what the engine asks for, but leaves link output for [`Driver::flush`]. What the node
    /// must do itself goes to `notices`.
    pub(crate) fn perform(&mut self, now: Now, notices: &mut dyn FnMut(Notice)) {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Broadcast(bytes) => {
                    if let Some(udp) = &self.udp {
                        for target in self.interfaces.targets() {
                            udp.broadcast(&bytes, target.broadcast);
                        }
                    }
                }
                Output::Dial(id, to) => {
                    record!(Debug, "dialling {to}");
                    self.dial(now, id, to, false);
                }
                Output::DialRelay(id, relay) => {
                    record!(Debug, "dialling relay {relay}");
                    self.dial_relay(now, id, &relay);
                }
                Output::Writable(id) => self.tcp.mark_writable(id),
                Output::Close(id, last) => {
                    self.resolver.forget(id);
                    self.tcp.close(id, &last);
                }
                Output::CompatCall { .. }
                | Output::CompatForget(_)
                | Output::CompatReply(..)
                | Output::Keys(_) => {
                    if let Some(companion) = &mut self.companion {
                        companion.take(&mut self.engine, &self.interfaces, now, output);
                    }
                }
                Output::Running => {
                    if let Some(companion) = &mut self.companion {
                        companion.start(&mut self.engine, &self.interfaces, now);
                    }
                    notices(Notice::Running);
                }
                Output::Request(request) => notices(Notice::Request(request)),
                Output::Message(said) => notices(Notice::Message(said)),
                Output::Stream(id) => notices(Notice::Stream(id)),
                Output::Ended(number, outcome) => notices(Notice::Ended(number, outcome)),
                Output::Failed(error) => notices(Notice::Failed(error)),
                Output::Event(event) => notices(Notice::Event(event)),
                Output::Keep(what) => {
                    if let Some(folder) = &self.state {
                        folder.keep(what);
                    }
                }
            }
        }
    }

    fn dial(&mut self, now: Now, id: LinkId, to: SocketAddr, learnt: bool) {
        let allowed = resolver::may_dial(to, learnt, self.loopback);
        if !allowed || !self.tcp.dial(id, to) {
            self.engine.handle(now, Input::Closed(id));
        }
    }

    fn dial_relay(&mut self, now: Now, id: LinkId, relay: &RelayAddress) {
        let learnt = self.engine.dials_relay(id).unwrap_or(true);
        if let Some(found) = self.resolver.resolve(id, relay, learnt, now.at) {
            self.resolved(now, id, &found);
        }
    }

    /// The addresses of a relay are known, or that there are none.
    fn resolved(&mut self, now: Now, id: LinkId, found: &[SocketAddr]) {
        let Some(learnt) = self.engine.dials_relay(id) else {
            // Given up meanwhile.
            return;
        };
        if found.is_empty() {
            return self.engine.handle(now, Input::Unresolved(id));
        }
        // Of several any one: another attempt most likely takes another, whatever else is dialled.
        let any = now.at.0.subsec_nanos() as usize;
        self.dial(now, id, found[any % found.len()], learnt);
    }

    /// Writes what waits for links, as far as they take it.
    pub(crate) fn flush(&mut self, now: Now, notices: &mut dyn FnMut(Notice)) {
        while self.tcp.flush(&mut self.engine, now) {
            self.perform(now, notices);
        }
        while let Some(companion) = &mut self.companion
            && companion.flush(&mut self.engine, &self.interfaces, now)
        {
            self.perform(now, notices);
        }
    }
}
