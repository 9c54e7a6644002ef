//! How a node also speaks to Python nodes. `bridge` joins their protocol's engine to the event
//! loop.

mod bridge;

use super::remotes;
use crate::address::RelayAddress;
use crate::driver::companion::{Companion, OpenCompanion};
use crate::error::Error;
use crate::limits::REMOTES_MAX;
use bridge::{Bridge, Settings};
use std::net::SocketAddrV4;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The UDP port of PeerBase 0.7.1, unless its `ports` say otherwise.
const ADVERTISE_PORT: u16 = 1001;
/// Its `keepalive_tick`, unless set.
const TICK: Duration = Duration::from_millis(250);
/// Shortest and longest: below, questions are a load; above, a relay takes us for gone.
const TICKS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

/// How a node also speaks the protocol of PeerBase 0.7.1, to Python nodes and their relays; see
/// [`Builder::compat`](crate::Builder::compat). What that protocol cannot give is in
/// [`crate::compat`].
#[derive(Clone, Debug)]
pub struct Compat {
    listen: Option<SocketAddrV4>,
    advertise_port: u16,
    relays: Result<Vec<RelayAddress>, Error>,
    tick: Duration,
}

impl Default for Compat {
    fn default() -> Compat {
        Compat {
            listen: None,
            advertise_port: ADVERTISE_PORT,
            relays: Ok(Vec::new()),
            tick: TICK,
        }
    }
}

impl Compat {
    /// What Python nodes are set to unless told otherwise.
    pub fn new() -> Compat {
        Compat::default()
    }

    /// Where calls of Python nodes come to: the first of their `ports`. Any free port of every IPv4
    /// address unless set. If this names an address, that is what is advertised; otherwise that of
    /// [`Builder::advertise_address`](crate::Builder::advertise_address), or of each interface.
    #[must_use]
    pub fn listen(mut self, address: SocketAddrV4) -> Compat {
        self.listen = Some(address);
        self
    }

    /// The UDP port that Python nodes advertise on: the second of their `ports`; 1001 unless set.
    /// Below 1024 a program needs the privilege to bind it, as Python does.
    #[must_use]
    pub fn advertise_port(mut self, port: u16) -> Compat {
        self.advertise_port = port;
        self
    }

    /// A relay of Python nodes, `relay.py` or one of ours, as `HOST:PORT`, besides those given
    /// before. It learns this node's name. Further ones that relays tell of are used as well, up to
    /// [`Builder::max_remotes`](crate::Builder::max_remotes) in all.
    #[must_use]
    pub fn relay(mut self, address: &str) -> Compat {
        self.relays = RelayAddress::add_to(self.relays, address);
        self
    }

    /// How often a relay is asked what has come, if it does not answer as soon as something does,
    /// 10 ms to 60 s: their `keepalive_tick`; 250 ms unless set.
    #[must_use]
    pub fn tick(mut self, tick: Duration) -> Compat {
        self.tick = tick;
        self
    }

    /// What opens it on the event loop.
    pub(super) fn opening(
        &self,
        loopback: bool,
        max_remotes: Option<usize>,
    ) -> Result<Box<OpenCompanion<'static>>, Error> {
        let settings = self.settings(loopback, max_remotes)?;
        Ok(Box::new(move |whole, native, registry, lane, waker| {
            let bridge = Bridge::open(&settings, whole, native, registry, lane, waker)?;
            Ok(Box::new(bridge) as Box<dyn Companion>)
        }))
    }

    /// An error if it cannot be spoken like this.
    pub(super) fn check(&self, loopback: bool) -> Result<(), Error> {
        self.settings(loopback, None).map(drop)
    }

    fn settings(&self, loopback: bool, max_remotes: Option<usize>) -> Result<Settings, Error> {
        let relays = self.relays.clone()?;
        if relays.len() > max_remotes.unwrap_or(REMOTES_MAX) {
            return Err(Error::Argument(
                "more relays of Python nodes than max_remotes allows",
            ));
        }
        if self.advertise_port == 0 {
            return Err(Error::Argument(
                "the advertise port of Python nodes must not be 0",
            ));
        }
        if !TICKS.contains(&self.tick) {
            return Err(Error::Argument("relays are asked every 10 ms to 60 s"));
        }
        if loopback && self.listen.is_some_and(|a| !a.ip().is_loopback()) {
            return Err(Error::Argument(
                "a loopback node cannot listen on another address",
            ));
        }
        Ok(Settings {
            listen: self.listen,
            advertise_port: self.advertise_port,
            max_remotes: remotes::most(max_remotes, relays.len()),
            relays,
            tick: self.tick,
        })
    }
}
