//! The event loop: sockets, timers and wake-ups for one [`Engine`]. No protocol here.
//!
//! [`Poller`] waits; [`Driver`] does the IO and feeds the engine. They are apart so that the wait
//! needs no lock: any thread may use the driver, under the node's lock, while another waits.
//!
//! Links are edge-triggered: each is read until it has no more, but only so much at a time, that
//! one fast peer cannot keep the others waiting; what is left is remembered in `unread`.

mod datagrams;
mod interfaces;
mod links;

use crate::engine::{Engine, Input, LinkId, Now, Output, Time};
use crate::entropy::OsEntropy;
use crate::error::Error;
use datagrams::Datagrams;
use interfaces::Interfaces;
use links::Links;
use mio::{Events, Poll, Token, Waker};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);
const DATAGRAMS: Token = Token(2);
/// Tokens from here on are links.
const FIRST_LINK: usize = 16;
/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// Where and how the loop meets the network.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where to listen for links; `None` for every address and any port.
    pub(crate) listen: Option<SocketAddr>,
    /// The UDP port that all nodes share.
    pub(crate) advertise_port: u16,
    /// Keeps all traffic on 127.0.0.0/8.
    pub(crate) loopback: bool,
}

/// Waits for something to happen.
#[derive(Debug)]
pub(crate) struct Poller {
    poll: Poll,
    events: Events,
}

impl Poller {
    /// Waits at most `timeout`; a signal is no reason to return early, nor an error.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => {
                Err(Error::io("waiting for events", &e))
            }
            _ => Ok(()),
        }
    }

    /// Readable when there is something to do.
    pub(crate) fn fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

#[derive(Debug)]
struct Clock(Instant);

impl Clock {
    fn now(&self) -> Now {
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        Now {
            at: Time(self.0.elapsed()),
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
    datagrams: Datagrams,
    interfaces: Interfaces,
}

impl Driver {
    /// Opens the sockets and begins to ask for the node's name. `make` is given the port and makes
    /// the engine's configuration.
    pub(crate) fn open(
        settings: &Settings,
        make: impl FnOnce(u16) -> crate::engine::Config,
    ) -> Result<(Driver, Poller, Waker), Error> {
        let poll = Poll::new().map_err(|e| Error::io("making an event queue", &e))?;
        let waker =
            Waker::new(poll.registry(), WAKER).map_err(|e| Error::io("making a waker", &e))?;
        let registry = poll
            .registry()
            .try_clone()
            .map_err(|e| Error::io("making an event queue", &e))?;
        let datagrams = Datagrams::open(settings, poll.registry())?;
        let links = Links::open(settings, registry)?;
        let config = make(links.port());
        let clock = Clock(Instant::now());
        let interfaces = Interfaces::new(settings, config.limits.interfaces);
        let engine = Engine::new(config, Box::new(OsEntropy::new()?), clock.now());
        let driver = Driver {
            engine,
            clock,
            links,
            datagrams,
            interfaces,
        };
        let poller = Poller {
            poll,
            events: Events::with_capacity(EVENTS),
        };
        Ok((driver, poller, waker))
    }

    /// The TCP port that peers reach.
    pub(crate) fn port(&self) -> u16 {
        self.links.port()
    }

    /// Now, on the engine's clock.
    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// Until when nothing will have to be done, if no event comes.
    pub(crate) fn deadline(&self) -> Option<Time> {
        if self.has_unread() {
            return Some(Time::default());
        }
        let deadlines = [
            self.engine.deadline(),
            self.links.retry_at(),
            self.interfaces.due(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Whether input was left for the next round so that everyone gets a turn.
    pub(crate) fn has_unread(&self) -> bool {
        self.links.has_unread() || self.datagrams.has_unread()
    }

    /// Takes in what the poller found, and the time.
    pub(crate) fn process(&mut self, poller: &Poller, outputs: &mut dyn FnMut(Output)) {
        let now = self.clock.now();
        self.links.begin_round();
        for event in &poller.events {
            match event.token() {
                WAKER => {}
                LISTENER => self.links.can_accept(),
                DATAGRAMS => self.datagrams.readable(),
                Token(t) => {
                    if let Some(id) = t.checked_sub(FIRST_LINK) {
                        self.links
                            .event(LinkId(id as u64), event, &mut self.engine, now);
                    }
                }
            }
        }
        self.links.accept(&mut self.engine, now);
        self.datagrams.receive(&mut self.engine, now);
        while let Some(id) = self.links.next_unread() {
            self.links.read(id, &mut self.engine, now);
            // Each link's requests and answers in its turn, so that nothing piles up.
            self.perform(now, outputs);
        }
        if self.interfaces.refresh(now.at) {
            self.engine.handle(now, Input::InterfacesChanged);
        }
        if self.engine.deadline().is_some_and(|at| now.at >= at) {
            self.engine.handle(now, Input::Tick);
        }
        self.perform(now, outputs);
        self.flush(now, outputs);
    }

    /// Does what the engine asks for, but leaves link output for [`Driver::flush`]. What the node
    /// must do itself goes to `outputs`.
    pub(crate) fn perform(&mut self, now: Now, outputs: &mut dyn FnMut(Output)) {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Broadcast(bytes) => {
                    self.datagrams.broadcast(&bytes, self.interfaces.targets())
                }
                Output::Dial(id, to) => {
                    if !self.links.dial(id, to) {
                        self.engine.handle(now, Input::Closed(id));
                    }
                }
                Output::Writable(id) => self.links.mark_writable(id),
                Output::Close(id, last) => self.links.close(id, &last),
                other => outputs(other),
            }
        }
    }

    /// Writes what waits for links, as far as they take it.
    pub(crate) fn flush(&mut self, now: Now, outputs: &mut dyn FnMut(Output)) {
        while self.links.flush(&mut self.engine, now) {
            self.perform(now, outputs);
        }
    }
}
