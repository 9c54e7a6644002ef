//! Links: what goes out on them, and what the end of one means to the other parts.

use super::{Config, Ctx, LinkId, Network, Phase};
use crate::engine::links::{Ended, Outlet, Overdue, Refuse, Room, Session};
use crate::engine::relays::Lost;
use crate::engine::{RelayFault, Source, Time};
use crate::frame::FrameType;
use crate::protocol::LinkWriter;
use crate::wire::Instance;
use crate::wire::record::CloseReason;
use crate::wire::relay::Route;
use std::net::SocketAddr;

/// A link that has ended, and carried something that others must act on.
#[derive(Debug)]
#[must_use]
pub(crate) enum LinkEnd {
    /// A session with this peer. [`Network::session_ended`] is to follow.
    Session { link: LinkId, peer: Instance },
    /// The link to a relay. Once the [`Network::links_over`] it have ended,
    /// [`Network::relay_lost`] is to follow.
    Relay { link: LinkId, lost: Lost },
}

/// What goes out.
impl Network {
    /// A link that another node opened.
    pub(crate) fn accept(&mut self, ctx: &mut Ctx<'_>, from: SocketAddr) -> LinkId {
        self.links.accept(ctx, from)
    }

    /// A link that was dialled is connected.
    pub(crate) fn connected(&mut self, ctx: &mut Ctx<'_>, id: LinkId) {
        self.links.connected(ctx, id);
    }

    /// Bytes that wait to be written to a link.
    #[inline]
    pub(crate) fn pending(&self, link: LinkId) -> &[u8] {
        self.links.pending(link)
    }

    /// Has the bytes that wait for a link written. Says for what there is room after that.
    #[inline]
    pub(crate) fn transmit(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        write: &mut LinkWriter<'_>,
    ) -> Room {
        self.links.transmit(ctx, id, write)
    }

    /// The session of a link that may go on, if it is open.
    pub(crate) fn resume(&mut self, ctx: &mut Ctx<'_>, id: LinkId) -> Option<&mut Session> {
        if self.links.is_held(id) {
            self.hand_on_list(ctx, id);
        }
        self.links.resume(ctx, id)
    }

    /// Sends one record on an open session; `encode` is given its sequence number.
    #[inline]
    pub(crate) fn send_record(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        encode: impl FnOnce(u64, &mut Vec<u8>),
    ) {
        self.links.send_record(ctx, &mut self.plain, id, encode);
    }

    /// Seals and sends the record that was put together in `plain`.
    #[inline]
    pub(crate) fn send_plain_record(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        kind: FrameType,
        plain: &[u8],
    ) {
        self.links.send_plain_record(ctx, id, kind, plain);
    }

    /// A call was sent in a session, and waits for its answer there.
    pub(crate) fn call_sent(&mut self, now: Time, id: LinkId) {
        self.links.call_sent(now, id);
    }

    /// A call that was sent in a session has ended.
    pub(crate) fn call_ended(&mut self, id: LinkId) {
        self.links.call_ended(id);
    }

    /// Whether the peer of a link through a relay is at another relay as well.
    pub(crate) fn has_another_way(&self, id: LinkId) -> bool {
        let peer = self.links.peer_through_relay(id);
        peer.is_some_and(|(instance, _)| {
            let used = self.links.way(id);
            !self.directory.other_routes(&instance, used).is_empty()
        })
    }

    /// Asks the other side of a link for a sign of life.
    pub(crate) fn send_ping(&mut self, ctx: &mut Ctx<'_>, id: LinkId) {
        self.links.send_ping(ctx, id);
    }
}

/// What links there are.
impl Network {
    /// Where something for `peer` goes: the direct path before relays, of relays the one with the
    /// shortest round trip.
    pub(crate) fn path_to(&self, config: &Config, peer: Instance) -> Outlet {
        match self.best_session(peer) {
            Some(id) if self.takes_more(config, id) => Outlet::Ready(id),
            Some(_) => Outlet::Full,
            None => Outlet::None,
        }
    }

    pub(crate) fn best_session(&self, peer: Instance) -> Option<LinkId> {
        self.links.best(self.directory.sessions(&peer))
    }

    /// The session on a link, if it is open.
    #[inline]
    pub(crate) fn session(&mut self, id: LinkId) -> Option<&mut Session> {
        self.links.session(id)
    }

    /// Whether a session on a link is open.
    pub(crate) fn is_open(&self, id: LinkId) -> bool {
        self.links.is_open(id)
    }

    /// Where a link comes from.
    pub(crate) fn source(&self, id: LinkId) -> Option<Source> {
        self.links.source(id)
    }

    /// Bytes that wait to be written, for a link or for the one it goes over.
    pub(crate) fn waits_on(&self, id: LinkId) -> usize {
        self.links.waits_on(id)
    }

    /// Whether a link takes whatever comes next.
    pub(crate) fn takes_more(&self, config: &Config, id: LinkId) -> bool {
        self.links.takes_more(config, id)
    }

    /// Whether so many bytes may still be sent through the relay that a link goes through, if it
    /// does.
    pub(crate) fn has_window(&self, id: LinkId, bytes: usize) -> bool {
        self.links.has_window(id, bytes)
    }

    /// Whether a keepalive on a link waits for its echo.
    pub(crate) fn awaits_echo(&self, id: LinkId) -> bool {
        self.links.awaits_echo(id)
    }

    /// Whether a handshake with a peer is under way.
    pub(crate) fn is_meeting(&self, peer: Instance) -> bool {
        self.links.is_meeting(peer)
    }

    /// Whether nothing waits to be written to any link.
    pub(crate) fn is_drained(&self) -> bool {
        self.links.are_drained()
    }

    /// Every link: those to peers first, since they may go through those to relays.
    pub(crate) fn all_links(&self) -> Vec<LinkId> {
        self.links.all()
    }

    /// Every link that goes through the relay at the end of this one.
    pub(crate) fn links_over(&self, relay: LinkId) -> Vec<LinkId> {
        self.links.links_over(relay)
    }

    /// Looks at every link. Those that are late or silent are to be ended; [`Network::beat`] is for
    /// the others.
    pub(crate) fn take_due_links(&mut self, config: &Config, now: Time) -> Overdue {
        self.links.take_due(config, now)
    }

    /// Gives the signs of life that are owed, and asks for those that are missed.
    pub(crate) fn beat(&mut self, ctx: &mut Ctx<'_>, overdue: &Overdue) {
        self.links.beat(ctx, overdue);
    }
}

/// How links end.
impl Network {
    /// Ends a session and says why; another link is just ended.
    pub(crate) fn close_session(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        reason: CloseReason,
    ) -> Option<LinkEnd> {
        let ended = self.links.close_session(ctx, &mut self.plain, id, reason);
        self.after_end(ctx, id, ended)
    }

    /// Ends a link without a word, after what is already pending.
    pub(crate) fn cut(&mut self, ctx: &mut Ctx<'_>, id: LinkId) -> Option<LinkEnd> {
        let ended = self.links.cut(ctx, id);
        self.after_end(ctx, id, ended)
    }

    /// Ends a link without a word, and without what is pending.
    pub(crate) fn close_at_once(&mut self, ctx: &mut Ctx<'_>, id: LinkId) -> Option<LinkEnd> {
        let ended = self.links.close(ctx, id, Vec::new());
        self.after_end(ctx, id, ended)
    }

    /// A link has ended, whichever side ended it.
    pub(crate) fn remove(&mut self, ctx: &mut Ctx<'_>, id: LinkId) -> Option<LinkEnd> {
        let ended = self.links.remove(ctx, id);
        self.after_end(ctx, id, ended)
    }

    fn after_end(
        &mut self,
        ctx: &mut Ctx<'_>,
        link: LinkId,
        ended: Option<Ended>,
    ) -> Option<LinkEnd> {
        match ended? {
            Ended::Unproved => None,
            Ended::Dial { target, relayed } => {
                self.directory.wake_at(ctx.now.at);
                match target {
                    Some(target) => self.dial_failed(ctx, link, &target, relayed),
                    None => self.mesh.seed_failed(ctx, link),
                }
                None
            }
            // Nothing is kept for any peer when the node has stopped.
            Ended::Session(_) if ctx.phase == Phase::Stopped => None,
            Ended::Session(peer) => Some(LinkEnd::Session { link, peer }),
            Ended::Relay { up_for, fault } => Some(LinkEnd::Relay {
                link,
                lost: Lost { up_for, fault },
            }),
        }
    }

    /// Notes why the link to a relay is about to end; other links have no such reason.
    pub(crate) fn note_fault(&mut self, id: LinkId, fault: RelayFault) {
        self.links.note_fault(id, fault);
    }

    /// Says on a link that it is refused. It is for the caller to end it. The way that it goes
    /// through a relay, if it does: [`Network::route_fault`] is to follow for that.
    pub(crate) fn say_refused(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        why: Refuse,
    ) -> Option<(LinkId, Route)> {
        self.spoil(ctx.now.at, id);
        self.links.say_refused(ctx, id, why);
        self.links.way(id)
    }

    /// A frame from a route made no sense: whether the route is to be forgotten.
    pub(crate) fn route_fault(
        &mut self,
        ctx: &mut Ctx<'_>,
        (carrier, route): (LinkId, Route),
    ) -> bool {
        self.links.route_fault(ctx, carrier, route)
    }

    /// What came over a link was not what was sent, if it goes through a relay.
    pub(crate) fn spoil(&mut self, now: Time, id: LinkId) {
        if let Some((peer, carrier)) = self.links.peer_through_relay(id) {
            self.directory.spoil(now, &peer, carrier);
        }
    }
}
