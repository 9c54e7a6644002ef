//! How an engine stops: what was answered arrives first, then the engine says goodbye.
//!
//! ```text
//! Engine::begin_stop --> Engine::is_flushed? --> Engine::stop
//! ```
//!
//! Between the first and the last the engine is driven as before, but it takes no more calls: a
//! caller whose call comes now learns from the goodbye that the call did not run here.
//!
//! That an answer was written does not mean that it has arrived: of two sessions that were made at
//! once, its caller may close the one that holds the answer unread, and ask again over the other.
//! So each session with a caller that has not confirmed its answers is pinged. The echo comes after
//! all that was written before, and so tells that the answers have arrived. If the session ends
//! instead, those sessions that are left are asked.

use super::LinkId;
use crate::table::Table;
use crate::wire::Instance;

/// What a stop waits for.
#[derive(Debug, Default)]
pub(super) struct Stopping {
    /// The links whose echo is awaited. The value says whether a ping was under way already, whose
    /// echo comes too early.
    awaited: Table<LinkId, bool>,
    /// The callers whose last session ended before its echo came. They will make another, and ask
    /// again.
    cut_off: Table<Instance, ()>,
}

impl Stopping {
    pub(super) fn is_over(&self) -> bool {
        self.awaited.is_empty() && self.cut_off.is_empty()
    }

    /// The echo of a link is awaited. `is_early` says whether a ping is under way already.
    pub(super) fn await_echo(&mut self, link: LinkId, is_early: bool) {
        self.awaited.insert(link, is_early);
    }

    /// An echo came. Says whether it was too early, so that another one is to be awaited.
    pub(super) fn echo_came(&mut self, link: LinkId) -> bool {
        self.awaited.remove(&link) == Some(true)
    }

    /// A link has ended. Says whether its echo was awaited.
    pub(super) fn link_ended(&mut self, link: LinkId) -> bool {
        self.awaited.remove(&link).is_some()
    }

    /// A session with a peer is awaited, since it has none and may ask for its answers.
    pub(super) fn await_session(&mut self, peer: Instance) {
        self.cut_off.insert(peer, ());
    }

    /// A session with a peer is open. Says whether it was awaited.
    pub(super) fn session_came(&mut self, peer: Instance) -> bool {
        self.cut_off.remove(&peer).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_waits_for_each_echo_and_each_caller_that_was_cut_off() {
        let (mut stopping, link, peer) = (Stopping::default(), LinkId(1), Instance([1; 16]));
        assert!(stopping.is_over());
        stopping.await_echo(link, true);
        assert!(!stopping.is_over());
        assert!(stopping.echo_came(link), "that of an earlier ping");
        stopping.await_echo(link, false);
        assert!(!stopping.echo_came(link));
        assert!(stopping.is_over());
        stopping.await_echo(link, false);
        assert!(stopping.link_ended(link) && !stopping.link_ended(link));
        stopping.await_session(peer);
        assert!(!stopping.is_over());
        assert!(stopping.session_came(peer) && !stopping.session_came(peer));
        assert!(stopping.is_over());
    }
}
