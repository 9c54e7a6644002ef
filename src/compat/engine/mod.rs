//! A node's part in a network of Python nodes, without IO.
//!
//! Driven as [`crate::engine`] is: hand in what happened, drain [`Engine::poll`], write
//! [`Engine::pending`], come back at [`Engine::deadline`]. What it learns and is asked goes to the
//! native engine, to which the peers here are compat peers; what that asks of such a peer comes
//! back as [`Engine::call`].
//!
//! ```text
//! link: Reading --(a call)--> Serving --(an answer)--> Answering --> Lingering   (they connected)
//!       Asking --(an answer, or the end)                                         (we did)
//! ```
//!
//! The engine is made of parts. Each owns its state, is handed a `Ctx`, and sees no
//! other part:
//!
//! * `peers`: which peers are known, and where;
//! * `relays`: which relays are asked for what has come;
//! * `links`: the links, and how far each has come;
//! * `calling`: the calls of ours that have not ended;
//! * `serving`: the calls of others that are not answered.
//!
//! `errand` is what a request of ours is for, and how it ended. All routing between the parts is
//! here, in `outgoing` and in `incoming`.

mod api;
mod calling;
mod context;
mod errand;
mod incoming;
mod links;
mod outgoing;
mod peers;
mod relays;
mod serving;

pub use api::{Config, Output, Place};

use crate::compat::http::Fault;
use crate::entropy::Entropy;
use crate::fernet::Keyring;
use crate::protocol::{LinkEvent, LinkId, LinkWriter, Now, Protocol, Time};
use calling::Calls;
use context::Core;
use links::{Links, State};
use peers::Peers;
use relays::Relays;
use serving::Serving;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Between two adverts: PeerBase 0.7.1 looks for 1.5 s at a time.
const ADVERTISE_INTERVAL: Duration = Duration::from_secs(1);

const LATE: Fault = Fault::new(408, "the request took too long");

/// The state machine. See the module's documentation for how to drive it.
pub struct Engine {
    core: Core,
    running: bool,
    advertise_at: Time,
    peers: Peers,
    relays: Relays,
    links: Links,
    calls: Calls,
    serving: Serving,
}

/// What the engine does at a time of its own, in this order.
#[derive(Clone, Copy, Debug)]
enum Timer {
    Advertise,
    /// Peers that were not heard are gone.
    Peers,
    /// Links are late.
    Links,
    /// Relays are asked.
    Relays,
}

impl Timer {
    const ALL: [Timer; 4] = [Timer::Advertise, Timer::Peers, Timer::Links, Timer::Relays];
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("compat::Engine")
            .field("name", &self.core.config.name)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// A node that does nothing before [`Engine::start`].
    pub fn new(config: Config, entropy: Box<dyn Entropy>) -> Engine {
        Engine {
            relays: Relays::new(&config.relays),
            core: Core::new(config, entropy),
            running: false,
            advertise_at: Time::NEVER,
            peers: Peers::default(),
            links: Links::default(),
            calls: Calls::default(),
            serving: Serving::default(),
        }
    }

    /// The name is ours: takes part.
    pub fn start(&mut self, now: Now) {
        self.running = true;
        if self.core.config.port != 0 {
            self.advertise_at = now.at;
        }
        self.relays.start(now.at);
        self.tick(now);
    }

    /// The keys of the network are these from now on.
    pub fn set_keys(&mut self, keys: Keyring) {
        self.core.config.keys = keys;
    }

    /// Begins to stop: relays are asked no more. What was asked at a relay before still comes, and
    /// what was answered is still written.
    pub fn begin_stop(&mut self) {
        self.relays.ask_no_more();
    }

    /// Ends everything; the protocol has no goodbye.
    pub fn stop(&mut self) {
        self.running = false;
        self.advertise_at = Time::NEVER;
        let closed = self.links.clear().into_iter().map(Output::Close);
        self.core.outputs.extend(closed);
        self.calls.clear();
        self.serving.clear();
        self.relays = Relays::default();
        self.peers = Peers::default();
    }

    /// Whether all that was answered has been written, and has been taken by the relays that it
    /// goes through.
    pub fn is_flushed(&self) -> bool {
        !self.links.is_answering() && self.relays.are_outboxes_empty()
    }

    /// What to do next, if anything.
    pub fn poll(&mut self) -> Option<Output> {
        self.core.outputs.pop_front()
    }

    /// Requests and adverts that were turned away.
    pub fn refused(&self) -> u64 {
        self.core.refused
    }

    /// Bytes that wait to be written to a link.
    pub fn pending(&self, id: LinkId) -> &[u8] {
        self.links.pending(id)
    }

    /// The datagram to broadcast from an interface of this address.
    pub fn advert(&self, interface: Ipv4Addr) -> Vec<u8> {
        peers::advert(&self.core.config, interface)
    }
}

/// Time.
impl Engine {
    fn due(&self, timer: Timer) -> Time {
        match timer {
            Timer::Advertise => self.advertise_at,
            Timer::Peers => self.peers.due(),
            Timer::Links => self.links.due(),
            Timer::Relays => self.relays.due(),
        }
    }

    /// When to call [`Engine::tick`] at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let due = Timer::ALL.into_iter().map(|timer| self.due(timer)).min();
        due.filter(|due| *due != Time::NEVER)
    }

    /// Time passed.
    pub fn tick(&mut self, now: Now) {
        if !self.running {
            return;
        }
        for timer in Timer::ALL {
            if now.at < self.due(timer) {
                continue;
            }
            match timer {
                Timer::Advertise => {
                    self.advertise_at = now.at + ADVERTISE_INTERVAL;
                    self.core.outputs.push_back(Output::Advertise);
                }
                Timer::Peers => {
                    let gone = self.peers.expire(now.at);
                    self.tell_places(now, &gone);
                }
                Timer::Links => self.end_late_links(now),
                Timer::Relays => self.ask_relays(now),
            }
        }
    }

    fn end_late_links(&mut self, now: Now) {
        for id in self.links.late(now.at) {
            match self.links.state(id) {
                Some(State::Reading(_)) => self.refuse(now, id, LATE),
                Some(State::Asking(_)) => self.exchange_over(now, id, true),
                _ => self.drop_link(now, id),
            }
        }
        self.links.recount_due();
    }
}

/// What happens.
impl Engine {
    /// A datagram came on the advertise port from this address; `near` if that is this host's, of
    /// whatever interface: there a host's name often means 127.0.1.1.
    pub fn datagram(&mut self, now: Now, from: IpAddr, near: bool, bytes: &[u8]) {
        if !self.running {
            return;
        }
        let ctx = &mut self.core.at(now);
        if let Some(name) = self.peers.hear(ctx, from, near, bytes) {
            self.tell_places(now, &[name]);
        }
    }

    /// A link that was to be dialled is connected.
    pub fn connected(&mut self, now: Now, id: LinkId) {
        self.links.connected(&mut self.core.at(now), id);
    }

    /// Bytes came on a link.
    pub fn received(&mut self, now: Now, id: LinkId, bytes: &[u8]) {
        match self.links.state(id) {
            Some(State::Asking(_)) => self.answer_received(now, id, bytes),
            Some(_) => self.request_received(now, id, bytes),
            None => {}
        }
    }

    /// A link took this many of the [`Engine::pending`] bytes.
    pub fn sent(&mut self, now: Now, id: LinkId, n: usize) {
        self.links.sent(&mut self.core.at(now), id, n);
    }

    /// A link ended, or could not be made.
    pub fn closed(&mut self, now: Now, id: LinkId) {
        match self.links.state(id) {
            Some(State::Asking(_)) => self.exchange_over(now, id, false),
            _ => self.drop_link(now, id),
        }
    }

    /// Closes a link, on which a caller may have waited.
    fn drop_link(&mut self, now: Now, id: LinkId) {
        let mut ctx = self.core.at(now);
        if let Some(link) = self.links.close(&mut ctx, id)
            && let State::Serving(ticket) = link.state
        {
            self.serving.withdraw(&mut ctx, ticket);
        }
    }
}

impl Protocol for Engine {
    fn accept(&mut self, now: Now, from: SocketAddr) -> Option<LinkId> {
        Engine::accept(self, now, from)
    }

    fn link(&mut self, now: Now, id: LinkId, event: LinkEvent<'_>) {
        match event {
            LinkEvent::Connected => self.connected(now, id),
            LinkEvent::Received(bytes) => self.received(now, id, bytes),
            LinkEvent::Closed => self.closed(now, id),
        }
    }

    fn transmit(&mut self, now: Now, id: LinkId, write: &mut LinkWriter<'_>) -> bool {
        let taken = match self.links.pending(id) {
            [] => return false,
            bytes => write(bytes),
        };
        if taken > 0 {
            self.sent(now, id, taken);
        }
        !self.links.pending(id).is_empty()
    }
}
