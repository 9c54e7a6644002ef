//! The rules of this node, as calls of peers meet them: before anything of a call is kept, or as
//! soon as the path of a large command is there.

use super::{Commands, Ctx, LinkId, Network, RequestId};
use crate::engine::calls::ask::MALFORMED;
use crate::wire::ask::AskRef;
use crate::wire::record::{Channel, Status};

/// Whether the peer of a link may call a path, which is counted if not. What has no path may be
/// called, or is looked at again when its path is there.
pub(super) fn is_allowed(
    ctx: &mut Ctx<'_>,
    network: &mut Network,
    link: LinkId,
    path: Option<&str>,
) -> bool {
    let Some(path) = path else {
        return true;
    };
    let (rules, roles) = (&ctx.config.rules, network.roles(link));
    let session = network.session(link);
    let is_allowed = session.is_some_and(|session| rules.admit(path, &session.caller(&roles)));
    ctx.stats.calls_denied += u64::from(!is_allowed);
    is_allowed
}

impl Commands {
    /// More has come, over a link, of what a call asks. If the path of a large command is there
    /// with that, and the command may not be called, the call is answered and no more of it is
    /// kept, so that it makes this node hold no more than one record. Says whether the call goes
    /// on.
    pub(super) fn goes_on(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        id: RequestId,
    ) -> bool {
        if !self.serving.awaits_path(id) {
            return true;
        }
        let so_far = self.streams.begun(id.stream(Channel::Ask));
        let (status, why) = match AskRef::path_of_begun(so_far) {
            None => return true,
            Some(Ok(path)) if is_allowed(ctx, network, link, Some(path)) => {
                self.serving.path_came(id);
                return true;
            }
            Some(Ok(_)) => (Status::NotAllowed, ""),
            Some(Err(_)) => (Status::Refused, MALFORMED),
        };
        self.stop_collecting(ctx, network, id, status, why);
        false
    }
}
