//! Carrying frames from one member to another, and the windows that keep it bounded.
//!
//! What waits for a member may take up its queue, but no sender has more there than is left for all
//! others, and the senders of one site together have at most twice as much as is left: so however
//! many links of one site flood a member, a third of its queue is left for others.

use super::super::context::Ctx;
use super::super::stage::flows::{Credit, FlowRoom};
use super::lanes::Sender;
use super::{Members, Room, recount};
use crate::frame::FrameType;
use crate::limits::RelayLimits;
use crate::protocol::LinkId;
use crate::wire::relay::{FromRelay, Route, route_range};

/// A frame on its way from one member to another.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Parcel<'a> {
    pub(in super::super) from: LinkId,
    pub(in super::super) to: LinkId,
    pub(in super::super) network: &'a str,
    /// The whole frame, with the receiver's route.
    pub(in super::super) raw: &'a [u8],
}

/// What becomes of a frame for a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Way {
    /// No such member is in this network.
    Gone,
    /// The member wants nothing from this sender.
    Blocked,
    /// Too much waits there.
    Busy,
    /// It goes to the member's output.
    Output,
    /// It waits behind the member's output, in the lane of its sender.
    Lane,
}

/// Whether members may send frames of this type to each other.
pub(in super::super) fn is_carried(kind: FrameType) -> bool {
    matches!(
        kind,
        FrameType::HELLO
            | FrameType::MESSAGE
            | FrameType::RESPONSE
            | FrameType::PING
            | FrameType::ERROR
    )
}

/// Appends a whole `fwd` frame with the sender's route in place of the receiver's. All else is the
/// same bytes.
fn readdress(net: &str, raw: &[u8], from: &Route, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(raw);
    let place = route_range(net);
    out[at + place.start..at + place.end].copy_from_slice(from.as_bytes());
}

impl Members {
    /// A member wants nothing more from another. Of those that it names the latest are remembered.
    pub(in super::super) fn block(&mut self, ctx: &Ctx<'_>, id: LinkId, from: LinkId) {
        let member = self.table.get_mut(&id);
        if let Some(membership) = member.and_then(|m| m.membership_mut()) {
            membership.blocked.add(from, ctx.limits().blocked);
        }
    }

    /// What becomes of a frame for a member.
    pub(in super::super) fn way(&self, limits: &RelayLimits, parcel: &Parcel<'_>) -> Way {
        let Parcel {
            from,
            to,
            network,
            raw,
        } = *parcel;
        let Some(target) = self.table.get(&to) else {
            return Way::Gone;
        };
        let there = target.membership();
        let Some(there) = there.filter(|there| there.network.as_str() == network) else {
            return Way::Gone;
        };
        if there.blocked.contains(from) {
            return Way::Blocked;
        }
        let Some(sender) = self.table.get(&from) else {
            return Way::Gone;
        };
        let own = sender.membership().map_or(0, |m| m.flows.waits(to));
        let of_site = target.outbox.waiting_of_site(&sender.origin().site);
        let free = limits.queue.saturating_sub(target.outbox.waiting());
        if own + raw.len() > free || of_site + raw.len() > 2 * free {
            return Way::Busy;
        }
        if !target.outbox.is_busy() {
            return Way::Output;
        }
        let growth = target.outbox.lanes_growth(from, raw.len());
        match self.budget.has_share(target.origin().site, growth, limits) {
            true => Way::Lane,
            false => Way::Busy,
        }
    }

    /// Makes room for a flow between two members.
    pub(in super::super) fn make_flow_room(
        &mut self,
        limits: &RelayLimits,
        from: LinkId,
        to: LinkId,
    ) -> Option<FlowRoom> {
        let sender = self.table.get_mut(&from)?.membership_mut()?;
        Some(sender.flows.make_room(to, limits.flows))
    }

    /// Notes that bytes of one member wait for another; the sender's route, or `None` if they are
    /// more than may.
    pub(in super::super) fn charge(
        &mut self,
        from: LinkId,
        to: LinkId,
        bytes: usize,
    ) -> Option<Route> {
        let sender = self.table.get_mut(&from)?.membership_mut()?;
        let is_within = sender.flows.charge(to, bytes);
        is_within.then_some(sender.route)
    }

    /// A frame of one member for another is turned away; the total of which the sender is told.
    pub(in super::super) fn turn_away(&mut self, from: LinkId, to: LinkId, bytes: usize) -> u64 {
        let sender = self.table.get_mut(&from).and_then(|m| m.membership_mut());
        sender.map_or(0, |sender| sender.flows.turn_away(to, bytes))
    }

    /// One member is told that its route to another is closed.
    pub(in super::super) fn close_flow(&mut self, from: LinkId, to: LinkId) {
        let sender = self.table.get_mut(&from).and_then(|m| m.membership_mut());
        if let Some(sender) = sender {
            sender.flows.close(to);
        }
    }

    /// Hands a frame to its member, with the sender's route in place of the receiver's.
    pub(in super::super) fn carry(
        &mut self,
        ctx: &mut Ctx<'_>,
        parcel: &Parcel<'_>,
        route: &Route,
        way: Way,
    ) -> Room {
        let Parcel {
            from,
            to,
            network,
            raw,
        } = *parcel;
        ctx.stats.forwarded += 1;
        ctx.stats.forwarded_bytes += raw.len() as u64;
        let write = |out: &mut Vec<u8>| readdress(network, raw, route, out);
        if way != Way::Lane {
            return self.append(ctx, to, from, write);
        }
        let site = self.table.get(&from).map(|sender| sender.origin().site);
        if let (Some(site), Some(member)) = (site, self.table.get_mut(&to)) {
            let sender = Sender { link: from, site };
            member.outbox.append_behind(sender, write);
            recount(&mut self.budget, member);
        }
        Room::Within
    }

    fn route(&self, id: LinkId) -> Option<Route> {
        let membership = self.table.get(&id)?.membership()?;
        Some(membership.route)
    }

    /// Whether a member is told already, after the last that came from there, that a route is gone.
    pub(in super::super) fn tells_gone(&self, id: LinkId, route: &Route) -> bool {
        let member = self.table.get(&id);
        member.is_some_and(|member| member.outbox.tells_gone(route))
    }

    /// Bytes of one member for another have left the relay: half a window of them is worth a word.
    pub(in super::super) fn give_credit(
        &mut self,
        ctx: &mut Ctx<'_>,
        of: LinkId,
        to: LinkId,
        bytes: u32,
    ) -> Room {
        let sender = self.table.get_mut(&of).and_then(|m| m.membership_mut());
        match sender.and_then(|sender| sender.flows.drained(to, bytes)) {
            Some(credit) => self.tell_credit(ctx, of, credit),
            None => Room::Within,
        }
    }

    /// Tells a member how much of what it sent to another is not under way any more.
    fn tell_credit(&mut self, ctx: &mut Ctx<'_>, of: LinkId, credit: Credit) -> Room {
        match self.route(credit.to) {
            Some(route) => self.tell(ctx, of, &FromRelay::Credit(route, credit.total)),
            None => Room::Within,
        }
    }

    /// Tells a member that its route to another is closed, and how much came before.
    pub(in super::super) fn tell_settled(
        &mut self,
        ctx: &mut Ctx<'_>,
        of: LinkId,
        credit: Credit,
    ) -> Room {
        match self.route(credit.to) {
            Some(route) => self.tell(ctx, of, &FromRelay::Settled(route, credit.total)),
            None => Room::Within,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Counting;
    use crate::wire::relay::encode_forward;

    #[test]
    fn a_carried_frame_has_the_route_of_its_sender_and_the_same_payload() {
        let frame = |route: &Route| {
            let mut out = Vec::new();
            encode_forward("plant", route, FrameType::MESSAGE, &mut out, |out| {
                out.extend_from_slice(b"gAAA");
            });
            out
        };
        let mut entropy = Counting(0);
        let (to, from) = (Route::draw(&mut entropy), Route::draw(&mut entropy));
        assert_ne!(to, from);
        let mut out = b"before".to_vec();
        readdress("plant", &frame(&to), &from, &mut out);
        assert_eq!(out, [b"before".to_vec(), frame(&from)].concat());
    }
}
