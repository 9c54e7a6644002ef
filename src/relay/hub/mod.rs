//! The relay's protocol without IO: joining, presence, forwarding, and everyone's limits.
//!
//! Driven as the engine is: hand in what happened to links, drain [`Hub::poll`], write
//! [`Hub::pending`], come back at [`Hub::deadline`]. Time, randomness and bytes are arguments.
//!
//! ```text
//! link: New --join--> Challenged --proof--> Joined    (a network with a relay key)
//!       New --join------------------------> Joined    (one without)
//! ```
//!
//! With a relay key both sides prove that they have it, and each word that follows carries a
//! number and a MAC; one that is not the next ends the link.
//!
//! A link that goes over a limit is told which by an `err` frame, and closed; no other link
//! notices. What one member can make wait for another is bounded by a window, for all by the
//! other's queue; a frame beyond that is turned away, and its sender told. A member that sends too
//! fast is not read for a while. The memory of all together is bounded, and each site's share of
//! it.
//!
//! The hub is made of parts. Each owns its state, is handed a `Ctx`, and sees no
//! other part:
//!
//! * `members`: all links, what waits for each, and the memory of all;
//! * `presence`: the networks, their routes, and adverts;
//! * `sites`: what links from one address or site may do together;
//! * `newcomers`: links that have not joined;
//! * `http`: requests of Python nodes.
//!
//! `stage` is how far a link has come, with what a member has under way to others; `joining` is
//! what leads to a membership, `overdue` when a link is over. `origin` is where a link comes from,
//! `waits` a list of links that wait. All routing between the parts is here, in `frames` and in
//! `http_requests`.

mod api;
mod context;
mod frames;
#[cfg(feature = "compat")]
mod http;
#[cfg(feature = "compat")]
mod http_requests;
mod joining;
mod members;
mod newcomers;
mod origin;
mod overdue;
mod presence;
mod sites;
mod stage;
mod stats;
mod waits;

pub use api::{Config, Output};
pub use stats::RelayStats;

use crate::entropy::Entropy;
use crate::frame::{self, FrameType};
use crate::protocol::{LinkEvent, LinkId, LinkWriter, Now, Protocol, Time};
use crate::wire::relay::Refusal;
use context::Core;
use members::Members;
use newcomers::Newcomers;
use origin::Origin;
use overdue::Overdue;
use presence::Presence;
use sites::Sites;
use stage::Stage;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use waits::Waits;

/// Between two times that all links are looked at: many that are over one after the other cost no
/// more.
const LOOK: Duration = Duration::from_millis(20);

/// The state machine. See the module's documentation for how to drive it.
pub struct Hub {
    core: Core,
    members: Members,
    presence: Presence,
    sites: Sites,
    newcomers: Newcomers,
    /// Links that are not read, because they sent too fast.
    held: Waits,
    #[cfg(feature = "compat")]
    http: http::Http,
    next_link: u64,
    stopped: bool,
}

/// What the hub does at a time of its own, in this order.
#[derive(Clone, Copy, Debug)]
enum Timer {
    /// Links are read again.
    Held,
    /// Adverts are handed on.
    Adverts,
    /// Mailboxes are taken away.
    #[cfg(feature = "compat")]
    Mailboxes,
    /// All links are looked at.
    Links,
}

impl Timer {
    const ALL: &[Timer] = &[
        Timer::Held,
        Timer::Adverts,
        #[cfg(feature = "compat")]
        Timer::Mailboxes,
        Timer::Links,
    ];
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// A relay without members.
    pub fn new(config: Config, entropy: Box<dyn Entropy>) -> Hub {
        Hub {
            core: Core::new(config, entropy),
            members: Members::default(),
            presence: Presence::default(),
            sites: Sites::default(),
            newcomers: Newcomers::default(),
            held: Waits::default(),
            #[cfg(feature = "compat")]
            http: http::Http::default(),
            next_link: 0,
            stopped: false,
        }
    }

    /// A link that another program opened, or `None` if the relay has been stopped. One that is
    /// over a limit is told so, and closed.
    pub fn accept(&mut self, now: Now, from: SocketAddr) -> Option<LinkId> {
        if self.stopped {
            return None;
        }
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let origin = Origin::of(from.ip());
        let mut ctx = self.core.at(now);
        ctx.stats.accepted += 1;
        let has_room = self.sites.enter(&ctx, origin, self.members.len() + 1);
        self.members.insert(&ctx, id, origin);
        self.newcomers.add(id, origin.site);
        ctx.look_by(now.at + ctx.limits().handshake);
        match has_room {
            true => self.admit(now, id),
            false => self.refuse(now, id, Refusal::Address),
        }
        Some(id)
    }

    /// A link has come. Another newcomer gives way to it if there are too many; if there is none it
    /// is the relay that is full.
    fn admit(&mut self, now: Now, id: LinkId) {
        let limits = &self.core.config.limits;
        let (links, newcomers) = (limits.links, limits.newcomers);
        while self.newcomers.len() > newcomers || self.members.len() > links {
            let other = self.newcomers.gives_way().filter(|other| *other != id);
            let Some(other) = other else {
                return self.refuse(now, id, Refusal::Full);
            };
            // Without a word, which would keep an honest node away for longer than a link that
            // broke.
            self.core.stats.gave_way += 1;
            self.close(now, other, Vec::new());
        }
    }

    /// What to do next, if anything.
    pub fn poll(&mut self) -> Option<Output> {
        self.core.outputs.pop_front()
    }

    /// Bytes that wait to be written to a link.
    pub fn pending(&self, id: LinkId) -> &[u8] {
        self.members.pending(id)
    }

    /// What has been counted so far.
    pub fn stats(&self) -> RelayStats {
        let mut stats = self.core.stats;
        stats.networks = self.presence.networks() as u64;
        stats.members = self.presence.members() as u64;
        stats.links = self.members.len() as u64;
        #[cfg(feature = "compat")]
        {
            stats.mailboxes = self.http.mailboxes() as u64;
            stats.mailbox_bytes = self.http.mailbox_bytes() as u64;
            let networks = self.http.networks();
            let others = networks.filter(|name| !self.presence.has_network(name));
            stats.networks += others.count() as u64;
        }
        stats
    }

    /// Tells every member, and ends. Nothing but draining [`Hub::poll`] is left to do.
    pub fn stop(&mut self, now: Now) {
        self.stopped = true;
        for id in self.members.ids() {
            self.refuse(now, id, Refusal::Stopping);
        }
        self.sites.clear();
    }
}

/// What happens to links.
impl Hub {
    /// Bytes came on a link.
    pub fn received(&mut self, now: Now, id: LinkId, bytes: &[u8]) {
        let ctx = self.core.at(now);
        let Some(held) = self.members.hear(&ctx, id, bytes.len()) else {
            return self.relieve(now);
        };
        if let Some(until) = held {
            ctx.stats.held += 1;
            ctx.outputs.push_back(Output::Hold(id));
            self.held.insert(id, until);
        }
        self.take_bytes(now, id, bytes);
        self.relieve(now);
    }

    fn take_bytes(&mut self, now: Now, id: LinkId, bytes: &[u8]) {
        #[cfg(feature = "compat")]
        if self.detect_http(id, bytes) {
            return self.http_received(now, id, bytes);
        }
        self.take_frames(now, id, bytes);
    }

    /// Has the bytes that wait for a link written, and goes on with what has room now. Returns
    /// whether bytes wait for the link after that.
    fn transmit(&mut self, now: Now, id: LinkId, write: &mut LinkWriter<'_>) -> bool {
        if self.members.transmit(&self.core.at(now), id, write) {
            self.drained(now, id);
        }
        !self.members.pending(id).is_empty()
    }

    /// A link took `n` of the pending bytes.
    pub fn sent(&mut self, now: Now, id: LinkId, n: usize) {
        self.transmit(now, id, &mut |_| n);
    }

    /// A link took some of what waited for it.
    fn drained(&mut self, now: Now, id: LinkId) {
        self.refill(now, id);
        self.members.set_aside(id);
        while let Some(drained) = self.members.next_drained() {
            self.give_credit(now, drained.of, id, drained.bytes);
        }
        #[cfg(feature = "compat")]
        self.http_sent(now, id);
        self.relieve(now);
    }

    /// A link ended.
    pub fn closed(&mut self, now: Now, id: LinkId) {
        #[cfg(feature = "compat")]
        self.http_closed(now, id);
        // Its last advert says most often that it leaves. If its site has too much to tell, others
        // learn from the word that it is gone.
        if self.presence.waits(id) && !self.stopped && self.charge_advert(now, id).is_none() {
            self.hand_on(now, id);
        }
        let Some(origin) = self.members.remove(id) else {
            return;
        };
        self.held.remove(id);
        self.newcomers.remove(id);
        self.sites.leave(origin);
        if let Some(left) = self.presence.leave(id) {
            self.leave(now, id, &left);
        }
    }

    /// Tells a link why, and closes it.
    fn refuse(&mut self, now: Now, id: LinkId, why: Refusal) {
        if self.members.contains(id) {
            self.core.stats.count_refusal(why);
            self.close_with(now, id, why);
        }
    }

    /// Tells a link why, and closes it, without counting it.
    fn close_with(&mut self, now: Now, id: LinkId, why: Refusal) {
        let Some(mut last) = self.members.take_output(id) else {
            return;
        };
        let stage = self.members.stage(id);
        #[cfg(feature = "compat")]
        if let Some(Stage::Http(_)) = stage {
            // What is left of an answer goes back to its mailbox, unless the relay ends: not out as
            // well.
            last.truncate(if self.stopped { last.len() } else { 0 });
            return self.close(now, id, last);
        }
        let network = stage.and_then(Stage::network);
        let network = network.map_or("relay", |network| network.as_str());
        frame::encode_with(network, FrameType::ERROR, &mut last, |out| {
            out.extend_from_slice(why.as_str().as_bytes());
        });
        self.close(now, id, last);
    }

    /// Closes a link, to which these bytes are written before if that can be done at once.
    fn close(&mut self, now: Now, id: LinkId, last: Vec<u8>) {
        self.core.outputs.push_back(Output::Close(id, last));
        self.closed(now, id);
    }

    /// Closes links until all are within their budget of memory, and no site has more than half of
    /// it.
    fn relieve(&mut self, now: Now) {
        while let Some(id) = self.members.largest_over(&self.core.config.limits) {
            // On the wire it is the same as slow: nodes of earlier versions know no other word.
            self.core.stats.refused_memory += 1;
            self.close_with(now, id, Refusal::Slow);
        }
    }
}

/// Time.
impl Hub {
    fn due(&self, timer: Timer) -> Time {
        match timer {
            Timer::Held => self.held.due(),
            Timer::Adverts => self.presence.due(),
            #[cfg(feature = "compat")]
            Timer::Mailboxes => self.http.due(),
            Timer::Links => self.core.links_due,
        }
    }

    /// When to call [`Hub::tick`] at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let due = Timer::ALL.iter().map(|timer| self.due(*timer)).min();
        due.filter(|due| *due != Time::NEVER)
    }

    /// Time passed.
    pub fn tick(&mut self, now: Now) {
        for timer in Timer::ALL {
            if now.at < self.due(*timer) {
                continue;
            }
            match timer {
                Timer::Held => {
                    let resumed = self.held.take_due(now.at).into_iter().map(Output::Resume);
                    self.core.outputs.extend(resumed);
                }
                Timer::Adverts => self.hand_on_due(now),
                #[cfg(feature = "compat")]
                Timer::Mailboxes => self.http.expire(now, &self.core.config.limits),
                Timer::Links => self.end_overdue(now),
            }
        }
        self.relieve(now);
    }

    /// Ends the links whose time is over.
    fn end_overdue(&mut self, now: Now) {
        let limits = &self.core.config.limits;
        let links = self.members.clocks(|id| self.held.get(id));
        let (overdue, next) = Overdue::find(now.at, limits, links);
        self.core.links_due = next.max(now.at + LOOK);
        for (id, why) in overdue.refused {
            self.refuse(now, id, why);
        }
        #[cfg(feature = "compat")]
        for id in overdue.requests {
            self.http_late(now, id);
        }
        self.sites.forget(now.at);
    }
}

impl Protocol for Hub {
    fn accept(&mut self, now: Now, from: SocketAddr) -> Option<LinkId> {
        Hub::accept(self, now, from)
    }

    fn link(&mut self, now: Now, id: LinkId, event: LinkEvent<'_>) {
        match event {
            // A relay dials nobody.
            LinkEvent::Connected => {}
            LinkEvent::Received(bytes) => self.received(now, id, bytes),
            LinkEvent::Closed => self.closed(now, id),
        }
    }

    fn transmit(&mut self, now: Now, id: LinkId, write: &mut LinkWriter<'_>) -> bool {
        Hub::transmit(self, now, id, write)
    }
}
