//! Commands: the calls, broadcasts and streams of programs, which travel through the network.
//!
//! [`Commands`] owns the parts that know of them, and stands above the [`Network`]: each method is
//! handed the network that it sends through, and acts at once on what the network returns, such as
//! the end of a session. Nothing is decided here that a part can decide. A method asks parts, hands
//! what one of them returns to another, and sends what they have put together.
//!
//! ```text
//! a program's call --> outgoing --> calls   --.
//! a peer's record  --> records  --> incoming --+--> streams --> records to links
//! a link ended     --> ends     --> sessions --'
//! ```
//!
//! A call of this node goes through `calls` (`outgoing`, `answers_received`), one of a peer through
//! `serving` (`incoming`, `answers_sent`), and what programs stream along both through `streams`.
//! `broadcasts` are calls to every peer, `compat` knows the peers of the older protocol, and
//! `stopping` waits for answers to arrive. `records` says which part a record is about, `sessions`
//! what it means for calls that sessions and peers come and go, and `ends` ends links.

mod answers_received;
mod answers_sent;
mod authorization;
mod broadcasts;
mod compat;
mod ends;
mod incoming;
mod outgoing;
mod records;
mod sessions;
mod stopping;
mod streams;
#[cfg(test)]
mod tests;
mod trust;

use super::calls::broadcast::Broadcasts;
use super::calls::compat::CompatPeers;
use super::calls::incoming::Serving;
use super::calls::outgoing::Calls;
use super::context::{Ctx, Phase};
use super::network::Network;
use super::stopping::Stopping;
use super::streams::Streams;
use super::{CallNumber, LinkId, Output, RequestId, Stats, Time};
use crate::frame::FrameType;
use crate::name::NodeName;

/// The parts that know of calls and of what belongs to them.
#[derive(Default)]
pub(crate) struct Commands {
    calls: Calls,
    serving: Serving,
    streams: Streams,
    broadcasts: Broadcasts,
    compat: CompatPeers,
    /// Whether what was answered is still sent, before the goodbye.
    stopping: Option<Stopping>,
    /// Where the plaintexts of records are put together.
    plain: Vec<u8>,
}

/// When each part of the commands has something to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommandTimers {
    pub(crate) streams: Time,
    pub(crate) calls: Time,
    pub(crate) serving: Time,
    pub(crate) compat: Time,
}

impl Commands {
    #[inline]
    pub(crate) fn timers(&self) -> CommandTimers {
        CommandTimers {
            streams: self.streams.due(),
            calls: self.calls.due(),
            serving: self.serving.due(),
            compat: self.compat.due(),
        }
    }

    /// Whether a call waits for a peer of this name.
    pub(crate) fn waits_for(&self, name: &NodeName) -> bool {
        self.calls.waits_for(name)
    }

    /// The node has stopped: forgets all but its own calls, which have ended.
    pub(crate) fn forget_all(&mut self) {
        self.serving = Serving::default();
        self.streams = Streams::default();
        self.broadcasts = Broadcasts::default();
        self.compat = CompatPeers::default();
    }

    /// Fills in how much of everything there is now.
    pub(crate) fn count(&self, stats: &mut Stats) {
        stats.calls_open = self.calls.len() as u64;
        stats.serving = (self.serving.len() + self.compat.requests()) as u64;
        stats.streams = self.streams.len() as u64;
    }

    /// The source that the calls of a caller count for, if any call of it is remembered.
    #[cfg(feature = "files")]
    pub(crate) fn source_of_calls(&self, caller: crate::wire::Instance) -> Option<super::Source> {
        self.serving.source_of_calls(caller)
    }

    /// A session's link takes more: sends what waits for it.
    pub(crate) fn pump(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, link: LinkId) {
        let Some(session) = network.resume(ctx, link) else {
            return;
        };
        let (peer, name) = (session.peer, session.name.clone());
        if self.serving.has_backlog_for(peer) {
            self.pump_replies(ctx, network, peer);
        }
        if self.calls.waits_for(&name) {
            self.pump_calls(ctx, network, &name);
        }
    }

    /// Makes room for the next record to a link: its sequence number, and the type of its frame.
    fn begin_record(&mut self, network: &mut Network, link: LinkId) -> Option<(u64, FrameType)> {
        let session = network.session(link)?;
        let begun = (session.next_sequence(), session.kind());
        self.plain.clear();
        Some(begun)
    }
}

/// Something was asked or answered over a session, which is therefore not idle.
fn mark_used(network: &mut Network, now: Time, link: LinkId) {
    if let Some(session) = network.session(link) {
        session.mark_used(now);
    }
}

/// The call of this node that has this number.
fn own_call(ctx: &Ctx<'_>, number: u64) -> RequestId {
    RequestId {
        caller: ctx.instance,
        number,
    }
}
