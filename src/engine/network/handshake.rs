//! Handshakes: questions are answered, and answers open sessions.

use super::{Ctx, Network};
use crate::engine::LinkId;
use crate::engine::links::{Answer, Way};
use crate::handshake::Question;
use crate::wire::Instance;
use crate::wire::relay::Route;

/// What a message of a handshake leads to beyond the network.
#[derive(Debug)]
pub(crate) enum Greeted {
    /// Nothing: it was answered, or our own question stands.
    Nothing,
    /// It has opened a session, which is proved from both sides.
    Session,
    /// It may not come now: the link is to be refused.
    Stray,
    /// The node that answered may not go by its name: the link to it is to end, and for the
    /// instance that was dialled, if it is that one, [`Network::rest`] is to follow.
    Distrusted(Option<Instance>),
    /// It came through a relay that is further away than the way that is used: the link is to end.
    Detour,
    /// The peer asks anew on this route at the relay at the end of this link. The link that it came
    /// on is to end, and then [`Network::answer_anew`] is to follow.
    Replaces(LinkId, Route, Box<Question>),
}

impl Network {
    /// Another node asks for a session.
    pub(crate) fn question(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        question: Box<Question>,
    ) -> Greeted {
        match self.make_way(ctx, id, question.instance()) {
            None | Some(Way::Taken) => return Greeted::Nothing,
            Some(Way::Replaced(carrier, route)) => {
                return Greeted::Replaces(carrier, route, question);
            }
            Some(Way::Free | Way::Yielded(_)) => {}
        }
        match self.links.answer(ctx, id, *question) {
            true => Greeted::Nothing,
            false => Greeted::Stray,
        }
    }

    /// The node that was asked for a session has answered.
    pub(crate) fn answered(&mut self, ctx: &mut Ctx<'_>, id: LinkId, answer: Answer) -> Greeted {
        let used = self.best_session(answer.dialled);
        let used = used.filter(|_| answer.relayed);
        if used.is_some_and(|used| self.links.is_detour(ctx.now.at, used, answer.took)) {
            return Greeted::Detour;
        }
        if let Some(party) = self.links.answerer(id) {
            let (name, key, shown) = (&party.name, &party.key, &party.shown);
            if self.trust.check(ctx, name, key, shown).is_err() {
                // Another one at an address of the peer that was dialled is no reason to leave that
                // peer alone.
                let is_dialled = party.instance == answer.dialled;
                return Greeted::Distrusted(is_dialled.then_some(answer.dialled));
            }
        }
        if !self.links.open(ctx, id, answer.took) {
            return Greeted::Stray;
        }
        self.directory.dial_answered(ctx, &answer.dialled, id);
        Greeted::Session
    }

    /// The other side has closed a link. If that answers a question of ours, the program may want
    /// to know: it is a node with another key, or none at all.
    pub(crate) fn note_closed(&mut self, ctx: &mut Ctx<'_>, id: LinkId) {
        if let Some(address) = self.links.asked_at(id) {
            self.strangers.closed(ctx, address.ip());
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
        question: Question,
    ) {
        if let Some(id) = self.links.accept_route(ctx, carrier, route) {
            self.links.answer(ctx, id, question);
        }
    }
}
