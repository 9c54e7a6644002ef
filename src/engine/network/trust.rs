//! Who may go by which name, and how the newest revocation list gets to every member.

use super::{Ctx, LinkId, Network};
use crate::authority::{Certificate, RevocationList};
use crate::engine::Time;
use crate::engine::distrust::Distrust;
use crate::engine::trust::BadList;
use crate::error::Error;
use crate::identity::PublicKey;
use crate::limits::FRAME_MAX;
use crate::name::{NodeName, Role};
use crate::wire::Instance;
use crate::wire::revocations::encode_list;
use std::sync::Arc;

/// The longest wait for a list, as a multiple of the limit of a handshake: the list has three
/// frames of the largest size at most, and twice that is left for what waits before it.
const LIST_WAIT: u32 = 8;

/// Members of a certified network.
impl Network {
    /// Hands the member in a session the newest revocation list, if it has none that is as new, as
    /// far as there is room: a relay may hold up to half of a window's credit back. Until the
    /// member has all of it, and until a list has come that this node has to have, nothing else
    /// goes out.
    pub(super) fn hand_on_list(&mut self, ctx: &mut Ctx<'_>, id: LinkId) {
        let mut is_owed = false;
        if let Some((list, mut handed)) = self.trust.list_for(id) {
            while handed < list.len()
                && self.links.is_open(id)
                && self.links.has_room(ctx.config, id, FRAME_MAX)
            {
                self.links
                    .send_record(ctx, &mut self.plain, id, |sequence, out| {
                        handed += encode_list(sequence, &list, handed, out);
                    });
            }
            self.trust.list_handed(id, handed);
            is_owed = handed < list.len();
        }
        if self.trust.waits_for_list(id) {
            let until = ctx.now.at + ctx.config.limits.handshake * LIST_WAIT;
            self.links.hold(id, until);
        } else if is_owed {
            self.links.hold(id, Time::NEVER);
        } else {
            self.links.release(id);
        }
    }

    /// Whether a member has to hand this node a list before anything else.
    pub(crate) fn waits_for_list(&self, id: LinkId) -> bool {
        self.trust.waits_for_list(id)
    }

    /// The roles of the member in a session; none in an open network.
    pub(crate) fn roles(&self, id: LinkId) -> Arc<[Role]> {
        self.trust.roles(id)
    }

    /// A member hands on a piece of a list. Says whether this node has a newer list with it; then
    /// [`Network::sessions_to_revoke`] is to follow.
    pub(crate) fn list_piece(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        place: (u32, u32),
        bytes: &[u8],
    ) -> Result<bool, BadList> {
        let is_new = self.trust.piece(ctx, id, place, bytes)?;
        self.hand_on_list(ctx, id);
        Ok(is_new)
    }

    /// The program gives this node a list. Says whether it is newer than the one before; then
    /// [`Network::sessions_to_revoke`] is to follow.
    pub(crate) fn take_list(
        &mut self,
        ctx: &mut Ctx<'_>,
        list: RevocationList,
    ) -> Result<bool, Error> {
        self.trust.take(ctx, list)
    }

    /// This node has a newer list. The sessions that are to end because of it, with their peers;
    /// [`Network::share_list`] is to follow.
    pub(crate) fn sessions_to_revoke(&mut self) -> Vec<(LinkId, Instance)> {
        self.links.note_list(self.trust.list_version());
        let revoked = self.trust.revoked();
        let links = &mut self.links;
        let peer = |id: LinkId| links.session(id).map(|session| (id, session.peer));
        revoked.into_iter().filter_map(peer).collect()
    }

    /// Hands the newest list to every member, and dials those anew that may be trusted with it. The
    /// sessions in which something may have waited.
    pub(crate) fn share_list(&mut self, ctx: &mut Ctx<'_>) -> Vec<LinkId> {
        let sessions = self.trust.sessions();
        for id in &sessions {
            self.hand_on_list(ctx, *id);
        }
        self.directory.wake_rested(ctx);
        sessions
    }

    /// This node, which has this key, shows another certificate from now on.
    pub(crate) fn set_certificate(
        &mut self,
        ctx: &mut Ctx<'_>,
        key: &PublicKey,
        certificate: Certificate,
    ) -> Result<(), Error> {
        self.trust.set_certificate(ctx, key, certificate)?;
        self.directory.wake_rested(ctx);
        Ok(())
    }

    /// This node has another key from now on, with a certificate in a certified network.
    pub(crate) fn change_key(
        &mut self,
        ctx: &mut Ctx<'_>,
        key: &PublicKey,
        certificate: Option<Certificate>,
    ) -> Result<(), Error> {
        match certificate {
            Some(certificate) => self.set_certificate(ctx, key, certificate),
            None => self.trust.accept(ctx, &ctx.config.name, key),
        }
    }
}

/// Names in general.
impl Network {
    /// Whether a node that is in no session with this one may speak under its name.
    pub(crate) fn vouches_for(&self, name: &NodeName, key: &PublicKey, certificate: &[u8]) -> bool {
        self.trust.vouches_for(name, key, certificate)
    }

    /// The peer of a session has closed it because it does not trust this node.
    pub(crate) fn distrusted_by(&mut self, ctx: &mut Ctx<'_>, id: LinkId, why: Distrust) {
        if let Some(session) = self.links.session(id) {
            self.trust.distrusted_by(ctx, &session.name, why);
        }
    }

    /// From now on a name belongs to this key. The sessions with others of that name, which are to
    /// end.
    pub(crate) fn accept_key(
        &mut self,
        ctx: &mut Ctx<'_>,
        name: &NodeName,
        key: &PublicKey,
    ) -> Result<Vec<LinkId>, Error> {
        self.trust.accept(ctx, name, key)?;
        self.directory.wake_rested(ctx);
        let instances = self.directory.instances(name).iter();
        let sessions = instances.flat_map(|instance| self.directory.sessions(instance));
        let links = &mut self.links;
        let is_other = |id: &LinkId| links.session(*id).is_some_and(|s| s.key != *key);
        Ok(sessions.copied().filter(is_other).collect())
    }

    /// The names that are pinned, and their keys.
    pub(crate) fn pins(&self) -> Vec<(NodeName, PublicKey)> {
        self.trust.pins()
    }
}
