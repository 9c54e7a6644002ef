//! The event loop: sockets, timers and wake-ups. No protocol here.
//!
//! [`Poller`] waits; [`Driver`] does the IO of a node and feeds its engine, [`Links`] that of whatever
//! [`Protocol`](crate::protocol::Protocol) has links. They are apart so that the wait
//! needs no lock: any thread may use the driver, under the node's lock, while another waits.
//!
//! Links are edge-triggered: each is read until it has no more, but only so much at a time, that
//! one fast peer cannot keep the others waiting; what is left is remembered in `unread`.

#[cfg(feature = "compat")]
pub(crate) mod compat;
mod datagrams;
mod interfaces;
mod links;
mod resolver;

use crate::address::RelayAddress;
use crate::engine::{Engine, Input, Output, Stats};
use crate::entropy::OsEntropy;
use crate::error::Error;
use crate::logging::record;
use crate::protocol::{LinkId, Now, Time};
use datagrams::Datagrams;
use interfaces::Interfaces;
pub(crate) use links::Links;
use mio::{Events, Poll, Registry, Token, Waker};
use nix::time::{ClockId, clock_gettime};
use resolver::Resolver;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

const WAKER: Token = Token(0);
/// Lanes of one poller: native links, and those of another protocol.
const LANES: usize = 2;
/// Tokens of a lane from here on are links.
const FIRST_LINK: usize = 16;
/// How long a relay's name is taken to mean the same: longer than the pause between two dials.
const RESOLVED_FOR: Duration = Duration::from_secs(60);
/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// Which of the poller's tokens are whose: every other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane(usize);

impl Lane {
    pub(crate) const NATIVE: Lane = Lane(0);
    #[cfg(feature = "compat")]
    pub(crate) const COMPAT: Lane = Lane(1);

    fn at(self, place: usize) -> Token {
        Token(place * LANES + self.0)
    }

    fn listener(self) -> Token {
        self.at(1)
    }

    fn datagrams(self) -> Token {
        self.at(2)
    }

    fn token(self, id: LinkId) -> Token {
        self.at(FIRST_LINK + id.0 as usize)
    }

    fn link(self, token: Token) -> Option<LinkId> {
        let place = (token.0 / LANES).checked_sub(FIRST_LINK)?;
        (token.0 % LANES == self.0).then_some(LinkId(place as u64))
    }
}

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
    /// The other protocol that is spoken, too.
    #[cfg(feature = "compat")]
    pub(crate) compat: Option<compat::Settings>,
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

/// Waits for something to happen.
#[derive(Debug)]
pub(crate) struct Poller {
    poll: Poll,
    events: Events,
}

impl Poller {
    /// One with something that wakes it, and with what watches sockets for it.
    pub(crate) fn open() -> Result<(Poller, Arc<Waker>, Registry), Error> {
        let doing = "making an event queue";
        let poll = Poll::new().map_err(|e| Error::io(doing, &e))?;
        let waker =
            Waker::new(poll.registry(), WAKER).map_err(|e| Error::io("making a waker", &e))?;
        let registry = poll
            .registry()
            .try_clone()
            .map_err(|e| Error::io(doing, &e))?;
        let poller = Poller {
            poll,
            events: Events::with_capacity(EVENTS),
        };
        Ok((poller, Arc::new(waker), registry))
    }

    /// Waits at most `timeout`; a signal is no reason to return early, nor an error.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => {
                Err(Error::io("waiting for events", &e))
            }
            _ => Ok(()),
        }
    }

    /// Looks for something to happen for a while, without sleeping, but leaving the processor to whoever
    /// else wants it; whether it did.
    pub(crate) fn look(&mut self, most: Duration) -> Result<bool, Error> {
        let until = Instant::now() + most;
        loop {
            self.wait(Some(Duration::ZERO))?;
            if !self.events.is_empty() || Instant::now() > until {
                return Ok(!self.events.is_empty());
            }
            std::thread::yield_now();
        }
    }

    /// Readable when there is something to do.
    pub(crate) fn fd(&self) -> RawFd {
        self.poll.as_raw_fd()
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
        // As of the kernel's last tick, a few milliseconds ago: only seconds count, and this is read for
        // each call.
        let unix = clock_gettime(ClockId::CLOCK_REALTIME_COARSE);
        let unix = unix.map_or(0, |since| u64::try_from(since.tv_sec()).unwrap_or(0));
        Now {
            at: self.at(),
            unix,
        }
    }
}

/// Does the IO that the engine asks for.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) engine: Engine,
    clock: Clock,
    links: Links,
    /// Only where peers of the same LAN are looked for.
    datagrams: Option<Datagrams>,
    interfaces: Interfaces,
    resolver: Resolver,
    port: u16,
    loopback: bool,
    #[cfg(feature = "compat")]
    compat: Option<compat::Compat>,
}

impl Driver {
    /// Opens the sockets and begins to ask for the node's name. `make` is given the port and makes
    /// the engine's configuration.
    pub(crate) fn open(
        settings: &Settings,
        make: impl FnOnce(u16) -> crate::engine::Config,
    ) -> Result<(Driver, Poller, Arc<Waker>), Error> {
        let (poller, waker, registry) = Poller::open()?;
        let datagrams = match settings.lan {
            true => {
                let (port, loopback) = (settings.advertise_port, settings.loopback);
                Some(Datagrams::open(
                    port,
                    loopback,
                    Lane::NATIVE.datagrams(),
                    &registry,
                )?)
            }
            false => None,
        };
        #[cfg(feature = "compat")]
        let their_registry = registry
            .try_clone()
            .map_err(|e| Error::io("making an event queue", &e))?;
        let mut links = Links::new(registry, Lane::NATIVE);
        let port = match settings.listen().as_slice() {
            [] => 0,
            addresses => links.listen(addresses)?.port(),
        };
        let config = make(port);
        #[cfg(feature = "compat")]
        let compat = match &settings.compat {
            Some(compat) => Some(compat::Compat::open(
                compat,
                settings,
                &config,
                their_registry,
                waker.clone(),
            )?),
            None => None,
        };
        let clock = Clock::start();
        let interfaces = Interfaces::new(settings, config.limits.interfaces);
        let engine = Engine::new(config, Box::new(OsEntropy::new()?), clock.now());
        #[cfg(feature = "compat")]
        let engine = {
            let mut engine = engine;
            if compat.is_some() {
                engine.expect_compat();
            }
            engine
        };
        let driver = Driver {
            engine,
            clock,
            links,
            datagrams,
            interfaces,
            resolver: Resolver::new(waker.clone(), RESOLVED_FOR),
            port,
            loopback: settings.loopback,
            #[cfg(feature = "compat")]
            compat,
        };
        Ok((driver, poller, waker))
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
            self.links.retry_at(),
            self.interfaces.due(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// When a protocol must be told the time at the latest.
    pub(crate) fn protocol_deadline(&self) -> Option<Time> {
        let native = self.engine.deadline();
        #[cfg(feature = "compat")]
        let native = {
            let compat = self.compat.as_ref().and_then(|c| c.deadline());
            native.into_iter().chain(compat).min()
        };
        native
    }

    /// What has been counted so far.
    pub(crate) fn stats(&self) -> Stats {
        let stats = self.engine.stats();
        #[cfg(feature = "compat")]
        let stats = Stats {
            compat_refused: self.compat.as_ref().map_or(0, |c| c.engine.refused()),
            ..stats
        };
        stats
    }

    /// Whether input was left for the next round so that everyone gets a turn.
    pub(crate) fn has_unread(&self) -> bool {
        let unread =
            self.links.has_unread() || self.datagrams.as_ref().is_some_and(Datagrams::has_unread);
        #[cfg(feature = "compat")]
        let unread = unread || self.compat.as_ref().is_some_and(|c| c.has_unread());
        unread
    }

    /// Begins to stop: no more calls are taken, and what was answered is still written.
    pub(crate) fn begin_stop(&mut self, now: Now) {
        self.engine.begin_stop(now);
    }

    /// Whether all that was answered has been written.
    pub(crate) fn is_flushed(&self) -> bool {
        let flushed = self.engine.is_flushed();
        #[cfg(feature = "compat")]
        let flushed = flushed && self.compat.as_ref().is_none_or(|c| c.engine.is_flushed());
        flushed
    }

    /// Whether the other side of each link that was closed by [`Driver::stop`] has closed it, too.
    pub(crate) fn has_left(&self) -> bool {
        self.links.has_left()
    }

    /// Closes every socket at once, after a failure: nothing is known of what it was about to send.
    pub(crate) fn abandon(&mut self) {
        self.links.end();
        self.datagrams = None;
        #[cfg(feature = "compat")]
        {
            self.compat = None;
        }
    }

    /// Ends the protocols: each says goodbye if it has one. What is left is to perform and to flush, and
    /// then to go on until [`Driver::has_left`].
    pub(crate) fn stop(&mut self, now: Now) {
        self.links.linger_from(now.at);
        self.engine.stop(now);
        #[cfg(feature = "compat")]
        if let Some(compat) = &mut self.compat {
            compat.stop(&mut self.engine, &self.interfaces, now);
        }
    }

    /// Takes in what the poller found, and the time.
    pub(crate) fn process(&mut self, now: Now, poller: &Poller, outputs: &mut dyn FnMut(Output)) {
        if self.links.take(poller, &mut self.engine, now)
            && let Some(datagrams) = &mut self.datagrams
        {
            datagrams.readable();
        }
        if let Some(datagrams) = &mut self.datagrams {
            let engine = &mut self.engine;
            datagrams.receive(&mut |from, bytes| {
                engine.handle(now, Input::Datagram { from, bytes });
            });
        }
        while let Some((_, id, found)) = self.resolver.next(now.at) {
            self.resolved(now, id, &found);
        }
        while let Some(id) = self.links.next_unread() {
            self.links.read(id, &mut self.engine, now);
            // Each link's requests and answers in its turn, so that nothing piles up.
            self.perform(now, outputs);
        }
        if self.interfaces.refresh(now.at) {
            self.engine.handle(now, Input::InterfacesChanged);
        }
        self.tick(now);
        #[cfg(feature = "compat")]
        if let Some(compat) = &mut self.compat {
            compat.process(&mut self.engine, poller, &self.interfaces, now);
        }
        self.perform(now, outputs);
        self.flush(now, outputs);
    }

    /// Tells the protocol the time, if it must be told.
    pub(crate) fn tick(&mut self, now: Now) {
        if self.engine.deadline().is_some_and(|at| now.at >= at) {
            self.engine.handle(now, Input::Tick);
        }
    }

    /// Does what the engine asks for, but leaves link output for [`Driver::flush`]. What the node
    /// must do itself goes to `outputs`.
    pub(crate) fn perform(&mut self, now: Now, outputs: &mut dyn FnMut(Output)) {
        while let Some(output) = self.engine.poll() {
            #[cfg(feature = "compat")]
            let Some(output) = (match &mut self.compat {
                Some(compat) => compat.take(&mut self.engine, &self.interfaces, now, output),
                None => Some(output),
            }) else {
                continue;
            };
            match output {
                Output::Broadcast(bytes) => {
                    if let Some(datagrams) = &self.datagrams {
                        for target in self.interfaces.targets() {
                            datagrams.broadcast(&bytes, target.broadcast);
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
                Output::Writable(id) => self.links.mark_writable(id),
                Output::Close(id, last) => {
                    self.resolver.forget(id);
                    self.links.close(id, &last);
                }
                other => outputs(other),
            }
        }
    }

    fn dial(&mut self, now: Now, id: LinkId, to: SocketAddr, learnt: bool) {
        let allowed = resolver::may_dial(to, learnt, self.loopback);
        if !allowed || !self.links.dial(id, to) {
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
    pub(crate) fn flush(&mut self, now: Now, outputs: &mut dyn FnMut(Output)) {
        while self.links.flush(&mut self.engine, now) {
            self.perform(now, outputs);
        }
        #[cfg(feature = "compat")]
        while let Some(compat) = &mut self.compat
            && compat.flush(&mut self.engine, &self.interfaces, now)
        {
            self.perform(now, outputs);
        }
    }
}
