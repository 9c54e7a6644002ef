//! What it means for sessions and calls that other nodes are trusted from now on, or no more.

use super::{Commands, Ctx, LinkId, Network, Phase};
use crate::authority::RevocationList;
use crate::error::Error;
use crate::identity::PublicKey;
use crate::name::NodeName;
use crate::wire::record::CloseReason;

impl Commands {
    /// A member hands on a piece of a revocation list.
    pub(super) fn list_piece(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        place: (u32, u32),
        bytes: &[u8],
    ) {
        match network.list_piece(ctx, link, place, bytes) {
            Ok(true) => self.act_on_list(ctx, network),
            // It may be the one that was waited for, and have come from another member already.
            Ok(false) => self.list_has_come(ctx, network, link),
            Err(_) => self.violation(ctx, network, link),
        }
    }

    /// The program gives this node a revocation list. Says whether it is newer than the one before.
    pub(crate) fn take_list(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        list: RevocationList,
    ) -> Result<bool, Error> {
        if ctx.phase == Phase::Stopped {
            return Err(Error::Stopped);
        }
        let is_new = network.take_list(ctx, list)?;
        if is_new {
            self.act_on_list(ctx, network);
        }
        Ok(is_new)
    }

    /// This node has a newer list: members that it names are gone with their calls, and the others
    /// are handed the list.
    fn act_on_list(&mut self, ctx: &mut Ctx<'_>, network: &mut Network) {
        for (link, peer) in network.sessions_to_revoke() {
            self.close_session(ctx, network, link, CloseReason::Revoked);
            self.drop_peer(ctx, network, peer);
            self.withdraw_all(ctx, network, peer);
        }
        for link in network.share_list(ctx) {
            self.list_has_come(ctx, network, link);
        }
        self.streams_go_on(ctx.now.at);
    }

    /// From now on a name belongs to this key.
    pub(crate) fn accept_key(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        name: &NodeName,
        key: &PublicKey,
    ) -> Result<(), Error> {
        for link in network.accept_key(ctx, name, key)? {
            self.close_session(ctx, network, link, CloseReason::Identity);
        }
        Ok(())
    }
}
