//! The peers that speak the protocol of PeerBase 0.7.1.

use super::{Commands, Ctx, Network, Output, Phase};
use crate::engine::PeerInfo;
use crate::engine::calls::ask::Ask;
use crate::engine::calls::compat::CompatPlace;
use crate::name::NodeName;
use crate::rules::Caller;
use crate::wire::record::Status;

impl Commands {
    /// There may be Python peers (of PeerBase 0.7.1).
    pub(crate) fn expect_compat(&mut self) {
        self.compat.expect();
    }

    /// The peers, except those whose names native peers have had.
    pub(crate) fn compat_infos(&self) -> impl Iterator<Item = PeerInfo> {
        self.compat.infos()
    }

    /// A Python peer is at this place now, or is gone.
    pub(crate) fn compat_peer(
        &mut self,
        ctx: &mut Ctx<'_>,
        name: NodeName,
        place: Option<CompatPlace>,
    ) {
        self.compat.peer(ctx, name, place);
    }

    /// Calls go to the peers that have become usable.
    pub(crate) fn tick_compat(&mut self, ctx: &mut Ctx<'_>, network: &mut Network) {
        for name in self.compat.usable_now(ctx.now.at) {
            self.pump_calls(ctx, network, &name);
        }
    }

    /// A Python peer calls a command of this node, which no rule may cover, since rules name nobody
    /// who has proved nothing. A call that comes while the node stops is refused, because its
    /// caller would hear no goodbye.
    pub(crate) fn compat_request(
        &mut self,
        ctx: &mut Ctx<'_>,
        ticket: u64,
        caller: NodeName,
        ask: Ask,
    ) {
        let (status, why): (Status, &[u8]) = if ctx.phase != Phase::Running || self.is_stopping() {
            (Status::Refused, b"not running")
        } else if !ctx.config.rules.admit(ask.path(), &unproved(&caller)) {
            ctx.stats.calls_denied += 1;
            (Status::NotAllowed, b"")
        } else {
            return self.compat.request(ctx, ticket, caller, ask);
        };
        let reply = Output::CompatReply(ticket, status, why.to_vec());
        ctx.outputs.push_back(reply);
    }

    /// The caller does not wait any more.
    pub(crate) fn compat_withdrawn(&mut self, ticket: u64) {
        self.compat.withdrawn(ticket);
    }
}

/// A Python peer, which has proved nothing.
fn unproved(name: &NodeName) -> Caller<'_> {
    Caller {
        name,
        key: None,
        roles: &[],
    }
}
