//! Hellos: questions are answered, and answers open sessions.

use super::{Ctx, Network};
use crate::engine::LinkId;
use crate::engine::links::{Greeting, Way};
use crate::fernet::KeyIndex;
use crate::wire::Instance;
use crate::wire::hello::{Hello, Role};
use crate::wire::relay::Route;

/// What a hello leads to beyond the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeted {
    /// Nothing: it was answered, or our own question stands.
    Nothing,
    /// It has opened a session, which is proved from both sides.
    Session,
    /// It may not come now: the link is to be refused.
    Stray,
    /// It came through a relay that is further away than the way that is used: the link is to end.
    Detour,
    /// The peer asks anew on this route at the relay at the end of this link. The link that it came
    /// on is to end, and then [`Network::answer_anew`] is to follow.
    Replaces(LinkId, Route),
}

impl Network {
    /// Another node has said hello; `key` has opened its token.
    pub(crate) fn hello(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        hello: &Hello,
        key: KeyIndex,
    ) -> Greeted {
        if hello.role == Role::Ask {
            match self.make_way(ctx, id, hello.instance) {
                None | Some(Way::Taken) => return Greeted::Nothing,
                Some(Way::Replaced(carrier, route)) => return Greeted::Replaces(carrier, route),
                Some(Way::Free | Way::Yielded(_)) => {}
            }
        }
        match self.links.greeting(ctx.now.at, id, hello) {
            None => Greeted::Nothing,
            Some(Greeting::Question) => {
                self.links.answer(ctx, &mut self.plain, id, (hello, key));
                Greeted::Nothing
            }
            Some(Greeting::Answer {
                dialled,
                took,
                relayed,
            }) => {
                let used = self.best_session(dialled).filter(|_| relayed);
                if used.is_some_and(|used| self.links.is_detour(ctx.now.at, used, took)) {
                    return Greeted::Detour;
                }
                self.links
                    .open(ctx, &mut self.plain, id, (hello, key), took);
                self.directory.dial_answered(ctx, &dialled, id);
                Greeted::Session
            }
            Some(Greeting::Stray) => Greeted::Stray,
        }
    }

    /// Makes way on a link for the question of `asker`.
    fn make_way(&mut self, ctx: &Ctx<'_>, id: LinkId, asker: Instance) -> Option<Way> {
        let way = self.links.make_way(ctx.instance, id, asker)?;
        if let Way::Yielded(dialled) = way {
            self.directory.route_dial_over(&dialled, id);
        }
        Some(way)
    }

    /// Answers a question on a new link that takes the place of one that has ended.
    pub(crate) fn answer_anew(
        &mut self,
        ctx: &mut Ctx<'_>,
        (carrier, route): (LinkId, Route),
        hello: &Hello,
        key: KeyIndex,
    ) {
        if let Some(id) = self.links.accept_route(ctx, carrier, route) {
            self.links.answer(ctx, &mut self.plain, id, (hello, key));
        }
    }
}
