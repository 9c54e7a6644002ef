//! How an engine stops: what was answered arrives first, then it says goodbye.
//!
//! ```text
//! Engine::begin_stop --> Engine::is_flushed? --> Engine::stop
//! ```
//!
//! Between the first and the last the engine is driven as before, but it takes no more calls: a caller
//! whose call comes now is told by the goodbye that it did not run here.
//!
//! That an answer was written does not mean that it has arrived: of two sessions that were made at once, its
//! caller may close the one that holds the answer unread, and ask again over the other. So each session with
//! a caller that has not confirmed its answers is pinged, and the echo, which comes after all that was
//! written before, tells that they have arrived. If the session ends instead, those that are left are asked.

use super::{Engine, LinkId, Now, Phase};
use crate::error::Error;
use crate::table::Table;
use crate::wire::Instance;

/// What a stop waits for.
#[derive(Debug, Default)]
pub(super) struct Stopping {
    /// Links whose echo is awaited, and whether that of the ping under way comes too early.
    awaited: Table<LinkId, bool>,
    /// Callers whose last session ended before its echo came. They will make another, and ask again.
    cut_off: Table<Instance, ()>,
}

impl Engine {
    /// Ends our own calls and takes no more calls of others. Idempotent.
    pub fn begin_stop(&mut self, now: Now) {
        if self.phase == Phase::Stopped || self.stopping.is_some() {
            return;
        }
        self.stopping = Some(Stopping::default());
        self.end_own_calls(now, &Error::Stopped);
        for caller in self.serving.unconfirmed() {
            self.await_echoes(now, caller);
            if self.best_session(caller).is_none() && self.is_meeting(caller) {
                self.await_session(caller);
            }
        }
    }

    /// Whether a handshake with a peer is under way.
    fn is_meeting(&self, peer: Instance) -> bool {
        self.links.is_meeting(peer)
    }

    fn await_session(&mut self, peer: Instance) {
        if let Some(stopping) = &mut self.stopping {
            stopping.cut_off.insert(peer, ());
        }
    }

    /// Whether all that was answered has arrived, as far as its callers can be reached.
    pub fn is_flushed(&self) -> bool {
        let awaits = |s: &Stopping| !s.awaited.is_empty() || !s.cut_off.is_empty();
        self.phase == Phase::Stopped
            || self.links.are_drained()
                && !self.stopping.as_ref().is_some_and(awaits)
                && !self.serving.has_backlog()
                && !self.has_unsent_answers()
    }

    /// Whether the end of a stream that answers a call waits to be sent to a peer that can be reached.
    fn has_unsent_answers(&self) -> bool {
        self.streams
            .unfinished_answers(self.core.instance)
            .any(|peer| self.best_session(peer).is_some())
    }

    fn await_echoes(&mut self, now: Now, peer: Instance) {
        for link in self.directory.sessions(&peer).to_vec() {
            self.await_echo(now, link);
        }
    }

    /// Asks whether what was written to a link has arrived.
    pub(super) fn await_echo(&mut self, now: Now, link: LinkId) {
        let Some(stopping) = &mut self.stopping else {
            return;
        };
        let early = self.links.awaits_echo(link);
        stopping.awaited.insert(link, early);
        if !early {
            self.send_ping(now, link);
        }
    }

    /// A ping was echoed.
    pub(super) fn echo_came(&mut self, now: Now, link: LinkId) {
        let early = self.stopping.as_mut().and_then(|s| s.awaited.remove(&link));
        if early == Some(true) {
            self.await_echo(now, link);
        }
    }

    /// A session with a peer has ended. What it held unread the peer asks for again, over another one.
    pub(super) fn answers_cut_off(&mut self, now: Now, link: LinkId, peer: Instance) {
        let Some(stopping) = &mut self.stopping else {
            return;
        };
        if stopping.awaited.remove(&link).is_none() {
            return;
        }
        match self.directory.get(&peer) {
            Some(known) if known.sessions().is_empty() && !known.has_left() => {
                self.await_session(peer)
            }
            _ => self.await_echoes(now, peer),
        }
    }

    /// A session with a peer is open.
    pub(super) fn answers_go_on(&mut self, now: Now, peer: Instance) {
        let cut_off = |s: &mut Stopping| s.cut_off.remove(&peer);
        if self.stopping.as_mut().and_then(cut_off).is_some() {
            self.await_echoes(now, peer);
        }
    }

    /// Ends every call of ours.
    pub(super) fn end_own_calls(&mut self, now: Now, why: &Error) {
        for number in self.calls.numbers() {
            self.end_call(now, number, Err(why.clone()));
        }
        self.end_connects(why);
    }
}
