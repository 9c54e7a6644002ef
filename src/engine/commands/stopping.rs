//! How the node stops: the file `engine/stopping.rs` tells the whole of it.

use super::{Commands, Ctx, LinkId, Network};
use crate::engine::stopping::Stopping;
use crate::error::Error;
use crate::wire::Instance;

impl Commands {
    /// Whether no more calls of others are taken.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Ends the calls of this node and takes no more calls of others. Idempotent.
    pub(crate) fn begin_stop(&mut self, ctx: &mut Ctx<'_>, network: &mut Network) {
        if self.is_stopping() {
            return;
        }
        self.stopping = Some(Stopping::default());
        self.end_own_calls(ctx, network, &Error::Stopped);
        for caller in self.serving.unconfirmed() {
            self.await_echoes(ctx, network, caller);
            if network.best_session(caller).is_none() && network.is_meeting(caller) {
                self.await_session(caller);
            }
        }
    }

    fn await_session(&mut self, peer: Instance) {
        if let Some(stopping) = &mut self.stopping {
            stopping.await_session(peer);
        }
    }

    /// Whether all that was answered has arrived, as far as its callers can be reached. `own` is
    /// this node.
    pub(crate) fn is_flushed(&self, network: &Network, own: Instance) -> bool {
        network.is_drained()
            && self.stopping.as_ref().is_none_or(Stopping::is_over)
            && !self.serving.has_backlog()
            && !self.has_unsent_answers(network, own)
    }

    /// Whether the end of a stream that answers a call waits to be sent to a peer that can be
    /// reached.
    fn has_unsent_answers(&self, network: &Network, own: Instance) -> bool {
        self.streams
            .unfinished_answers(own)
            .any(|peer| network.best_session(peer).is_some())
    }

    fn await_echoes(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, peer: Instance) {
        for link in network.sessions(&peer).to_vec() {
            self.await_echo(ctx, network, link);
        }
    }

    /// While the node stops: asks whether what was written to a link has arrived.
    pub(super) fn await_echo(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, link: LinkId) {
        let Some(stopping) = &mut self.stopping else {
            return;
        };
        let is_early = network.awaits_echo(link);
        stopping.await_echo(link, is_early);
        if !is_early {
            network.send_ping(ctx, link);
        }
    }

    /// A ping was echoed.
    pub(crate) fn echo_came(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, link: LinkId) {
        let stopping = self.stopping.as_mut();
        if stopping.is_some_and(|s| s.echo_came(link)) {
            self.await_echo(ctx, network, link);
        }
    }

    /// A session with a peer has ended. The peer asks again, over another session, for answers that
    /// it had not read.
    pub(super) fn answers_cut_off(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        peer: Instance,
    ) {
        let stopping = self.stopping.as_mut();
        if !stopping.is_some_and(|s| s.link_ended(link)) {
            return;
        }
        match network.may_come_back(&peer) {
            true => self.await_session(peer),
            false => self.await_echoes(ctx, network, peer),
        }
    }

    /// A session with a peer is open.
    pub(super) fn answers_go_on(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        peer: Instance,
    ) {
        let stopping = self.stopping.as_mut();
        if stopping.is_some_and(|s| s.session_came(peer)) {
            self.await_echoes(ctx, network, peer);
        }
    }
}
