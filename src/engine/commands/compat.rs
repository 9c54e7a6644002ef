//! The peers that speak the protocol of PeerBase 0.7.1.

use super::{Commands, Ctx, Network, Output, Phase};
use crate::engine::PeerInfo;
use crate::engine::calls::ask::Ask;
use crate::engine::calls::compat::CompatPlace;
use crate::name::NodeName;
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

    /// A Python peer calls a command of this node. A call that comes while the node stops is
    /// refused, because its caller would hear no goodbye.
    pub(crate) fn compat_request(
        &mut self,
        ctx: &mut Ctx<'_>,
        ticket: u64,
        caller: NodeName,
        ask: Ask,
    ) {
        if ctx.phase == Phase::Running && !self.is_stopping() {
            self.compat.request(ctx, ticket, caller, ask);
        } else {
            let why = b"not running".to_vec();
            let reply = Output::CompatReply(ticket, Status::Refused, why);
            ctx.outputs.push_back(reply);
        }
    }

    /// The caller does not wait any more.
    pub(crate) fn compat_withdrawn(&mut self, ticket: u64) {
        self.compat.withdrawn(ticket);
    }
}
