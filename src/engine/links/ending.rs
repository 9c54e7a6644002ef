//! How links end, and what is said last on them.

use super::session::Session;
use super::{CLOSED, Ctx, LinkId, Links, Output, Refuse, RelayFault, State, Target, Via};
use crate::frame::FrameType;
use crate::wire::Instance;
use crate::wire::record::{CloseReason, encode_close, encode_notice};
use std::time::Duration;

/// The word on a link that is refused. It is one word for every reason: which it was would be an
/// oracle.
const REFUSED: &[u8] = b"refused";

/// What a link that ended was.
#[derive(Debug)]
pub(crate) enum Ended {
    /// One on which nothing was proved.
    Unproved,
    /// A dial that was in vain: of this peer, or of whichever peer is at an address.
    Dial {
        target: Option<Target>,
        relayed: bool,
    },
    /// A session with this peer.
    Session(Instance),
    /// One to a relay.
    Relay {
        /// How long it was up, if it was.
        up_for: Option<Duration>,
        /// What is wrong with the relay, if that was noted.
        fault: Option<RelayFault>,
    },
}

impl Links {
    /// A link has ended, whichever side ended it.
    pub(crate) fn remove(&mut self, ctx: &mut Ctx<'_>, id: LinkId) -> Option<Ended> {
        let link = self.table.remove(&id)?;
        if let Via::Relay(carrier, route) = link.via {
            self.routes.unlink(carrier, route);
        }
        Some(match link.state {
            State::Dialing(target) | State::Asked(target, _) => {
                ctx.stats.dials_failed += 1;
                let relayed = matches!(link.via, Via::Relay(..));
                Ended::Dial { target, relayed }
            }
            State::Open { session, .. } => Ended::Session(session.peer),
            State::Relay { carrier, .. } => Ended::Relay {
                up_for: carrier.up_for(ctx.now.at),
                fault: carrier.fault(),
            },
            State::Listening | State::Answered(_) => Ended::Unproved,
        })
    }

    /// Ends a link; `last` is written first, if that can be done at once.
    pub(crate) fn close(&mut self, ctx: &mut Ctx<'_>, id: LinkId, last: Vec<u8>) -> Option<Ended> {
        if let Via::Relay(..) = self.table.get(&id)?.via {
            // There is no socket whose end would tell the other side.
            self.emit(ctx, id, FrameType::ERROR, &mut |_, out| {
                out.extend_from_slice(CLOSED)
            });
        } else {
            ctx.outputs.push_back(Output::Close(id, last));
        }
        self.remove(ctx, id)
    }

    /// Ends a link without a word, after what is already pending.
    pub(crate) fn cut(&mut self, ctx: &mut Ctx<'_>, id: LinkId) -> Option<Ended> {
        let last = self.pending(id).to_vec();
        self.close(ctx, id, last)
    }

    /// Ends a session and says why; another link is just ended. `plain` is where the records are
    /// put together. Before that the peer is told which answers have come, since no call of this
    /// session will tell it: a program that runs for one call would otherwise leave each of its
    /// peers an answer that is never confirmed.
    pub(crate) fn close_session(
        &mut self,
        ctx: &mut Ctx<'_>,
        plain: &mut Vec<u8>,
        id: LinkId,
        reason: CloseReason,
    ) -> Option<Ended> {
        let confirmations = self.session(id).map(Session::take_confirmations);
        if let Some(numbers) = confirmations.filter(|numbers| !numbers.is_empty()) {
            self.send_record(ctx, plain, id, |sequence, out| {
                encode_notice(sequence, &numbers, out)
            });
        }
        self.send_record(ctx, plain, id, |sequence, out| {
            encode_close(sequence, reason, out)
        });
        self.cut(ctx, id)
    }

    /// Counts why a link is refused, and says so on it. It is for the caller to end it.
    pub(crate) fn say_refused(&mut self, ctx: &mut Ctx<'_>, id: LinkId, why: Refuse) {
        let counter = match why {
            Refuse::Frame => &mut ctx.stats.refused_frame,
            Refuse::Token => &mut ctx.stats.refused_token,
            Refuse::Hello => &mut ctx.stats.refused_hello,
            Refuse::Record => &mut ctx.stats.refused_record,
        };
        *counter += 1;
        self.note_fault(id, RelayFault::Protocol);
        self.emit(ctx, id, FrameType::ERROR, &mut |_, out| {
            out.extend_from_slice(REFUSED);
        });
    }

    /// Every link: those to peers first, since they may go through those to relays.
    pub(crate) fn all(&self) -> Vec<LinkId> {
        let of = |relays| {
            let links = self.table.iter();
            let links =
                links.filter(move |(_, l)| matches!(l.state, State::Relay { .. }) == relays);
            links.map(|(id, _)| *id)
        };
        of(false).chain(of(true)).collect()
    }

    /// The peer that a link through a relay is to, and the link to that relay.
    pub(crate) fn peer_through_relay(&self, id: LinkId) -> Option<(Instance, LinkId)> {
        let link = self.table.get(&id)?;
        let Via::Relay(carrier, _) = link.via else {
            return None;
        };
        let instance = match &link.state {
            State::Answered(responder) => responder.instance(),
            State::Open { session, .. } => session.peer,
            _ => link.target()?.instance,
        };
        Some((instance, carrier))
    }
}
