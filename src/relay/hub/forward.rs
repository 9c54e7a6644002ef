//! Carrying frames from one member to another, and the windows that keep it bounded.
//!
//! What waits for a member may take up its queue, but no sender has more there than is left for all others: so a
//! dozen that flood it leave room for one that does not.

use super::Hub;
use super::member::Flow;
use crate::frame::{Frame, FrameType};
use crate::limits::FRAME_MAX;
use crate::protocol::{LinkId, Now};
use crate::wire::relay::{Forward, FromRelay, ROUTE_WINDOW, Refusal, Route, ToRelay, route_range};

/// What a member may have under way to one other before it is taken for a flood: the window, and what
/// keepalives and the like may add to it.
const FLOOD: u32 = ROUTE_WINDOW + 2 * FRAME_MAX as u32;

impl Hub {
    /// A member sends something to another. `raw` is the whole frame: what goes on is the same bytes with
    /// the sender's route in place of the receiver's.
    pub(super) fn forward(&mut self, now: Now, id: LinkId, frame: Frame<'_>, raw: &[u8]) {
        let Ok(inner) = Forward::decode(frame.payload) else {
            return self.refuse(now, id, Refusal::Frame);
        };
        let carried = matches!(
            inner.kind,
            FrameType::HELLO
                | FrameType::MESSAGE
                | FrameType::RESPONSE
                | FrameType::PING
                | FrameType::ERROR
        );
        if !carried {
            return self.refuse(now, id, Refusal::Frame);
        }
        let to = self.routes.get(&inner.route).copied();
        let target = to.and_then(|to| Some((to, self.members.get(&to)?)));
        let Some((to, target)) =
            target.filter(|(_, t)| t.network().is_some_and(|n| n.as_str() == frame.net))
        else {
            self.stats.forwards_gone += 1;
            let member = self.members.get(&id);
            if member.is_some_and(|m| m.lanes.tells_gone(&inner.route)) {
                // It is told so already, after the last that came from there.
                return;
            }
            return self.tell_of(now, id, FromRelay::Gone(inner.route));
        };
        if target.blocked.contains_key(&id) {
            self.stats.forwards_blocked += 1;
            return self.tell_of(now, id, FromRelay::Gone(inner.route));
        }
        let Some((member, route)) = self.members.get(&id).and_then(|m| Some((m, m.route()?)))
        else {
            return;
        };
        let lane = target.is_busy();
        let own = member.flows.get(&to).map_or(0, Flow::waits) as usize;
        let free = self.config.limits.queue.saturating_sub(target.waiting());
        let fits = own + raw.len() <= free
            && (!lane || self.has_share(target.site, target.lanes.growth(id, raw.len())));
        if !fits || !self.has_flow(now, id, to) {
            self.stats.forwards_busy += 1;
            return self.tell_of(now, id, FromRelay::Busy(inner.route, raw.len() as u32));
        }
        if !self.charge_flow(id, to, raw.len()) {
            return self.refuse(now, id, Refusal::Flood);
        }
        self.stats.forwarded += 1;
        self.stats.forwarded_bytes += raw.len() as u64;
        let write = |out: &mut Vec<u8>| {
            let at = out.len();
            out.extend_from_slice(raw);
            let place = route_range(frame.net);
            out[at + place.start..at + place.end].copy_from_slice(route.as_bytes());
        };
        if lane {
            self.append_behind(to, id, write);
        } else {
            self.append(now, to, id, write);
        }
    }

    /// Whether one more member may have bytes of this one waiting. Others that have none give way, and the
    /// credit that they hold is given back.
    fn has_flow(&mut self, now: Now, id: LinkId, to: LinkId) -> bool {
        let most = self.config.limits.flows;
        let Some(member) = self.members.get_mut(&id) else {
            return false;
        };
        if member.flows.len() < most || member.flows.contains_key(&to) {
            return true;
        }
        let idle = member.flows.iter().filter(|(_, flow)| flow.waits() == 0);
        let idle: Vec<(LinkId, u32)> = idle.map(|(to, flow)| (*to, flow.drained)).collect();
        member.flows.retain(|_, flow| flow.waits() > 0);
        let has_room = member.flows.len() < most;
        for (to, drained) in idle {
            self.tell_credit(now, id, to, drained);
        }
        has_room && self.members.contains_key(&id)
    }

    /// Notes that bytes wait; false if they are more than may.
    fn charge_flow(&mut self, id: LinkId, to: LinkId, bytes: usize) -> bool {
        let Some(member) = self.members.get_mut(&id) else {
            return false;
        };
        let flow = member.flows.or_insert_with(to, Flow::default);
        flow.window_used += bytes as u32;
        flow.window_used <= FLOOD
    }

    /// A member wants nothing more from a route. Of those that it names the latest are remembered.
    pub(super) fn block(&mut self, now: Now, id: LinkId, frame: Frame<'_>) {
        let Ok(ToRelay::Block(route)) = ToRelay::decode(frame.payload) else {
            return self.refuse(now, id, Refusal::Frame);
        };
        let most = self.config.limits.blocked;
        let (Some(from), Some(member)) = (self.routes.get(&route), self.members.get_mut(&id))
        else {
            return;
        };
        let newest = member.blocked.values().max().map_or(0, |n| n + 1);
        member.blocked.insert(*from, newest);
        let oldest = member.blocked.iter().min_by_key(|(_, n)| **n);
        if let Some(oldest) = oldest.map(|(id, _)| *id)
            && member.blocked.len() > most
        {
            member.blocked.remove(&oldest);
        }
    }

    fn tell_of(&mut self, now: Now, id: LinkId, word: FromRelay) {
        if let Some(network) = self.members.get(&id).and_then(|m| m.network()).cloned() {
            self.tell(now, id, &network, word);
        }
    }

    /// Bytes of `of` for `to` have left the relay: half a window of them is worth a word.
    pub(super) fn give_credit(&mut self, now: Now, of: LinkId, to: LinkId, bytes: u32) {
        let Some(flow) = self.members.get_mut(&of).and_then(|m| m.flows.get_mut(&to)) else {
            return;
        };
        flow.drained += bytes;
        if flow.drained < ROUTE_WINDOW / 2 {
            return;
        }
        let drained = std::mem::take(&mut flow.drained);
        flow.window_used -= drained;
        self.tell_credit(now, of, to, drained);
    }

    fn tell_credit(&mut self, now: Now, of: LinkId, to: LinkId, bytes: u32) {
        let route: Option<Route> = self.members.get(&to).and_then(|m| m.route());
        if let Some(route) = route
            && bytes > 0
        {
            self.tell_of(now, of, FromRelay::Credit(route, bytes));
        }
    }
}
