//! All links of a relay, and the memory that they take together.
//!
//! `member` is one link, `outbox` what waits to be written to it, `lanes` what waits longer,
//! `carrying` is how frames go from one to another, `budget` the memory of all.

mod budget;
mod carrying;
mod lanes;
mod member;
mod outbox;

pub(super) use carrying::{Parcel, Way, is_carried};

use super::Output;
use super::context::Ctx;
use super::origin::Origin;
use super::stage::{Adverts, Clocks, Stage};
use crate::buffer::Buffer;
use crate::inbox::Inbox;
use crate::limits::RelayLimits;
use crate::name::NetworkName;
use crate::protocol::{LinkId, LinkWriter, Time};
use crate::table::Table;
use crate::wire::relay::{FromRelay, Route};
use budget::Budget;
use member::Member;
use outbox::Segment;
use std::collections::VecDeque;

/// Buffers kept for the next link that has something to send.
const SPARE: usize = 16;

/// Whether what waits for a link is still within its bound.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Within,
    /// The link must be refused as too slow.
    Exceeded,
}

/// A member that is gone, as another member is told of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone<'a> {
    pub(super) id: LinkId,
    pub(super) route: Route,
    /// The number of its last advert; 0 if none was handed on.
    pub(super) version: u64,
    /// The frame of its last advert.
    pub(super) advert: &'a [u8],
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Members {
    table: Table<LinkId, Box<Member>>,
    budget: Budget,
    spare: Vec<Buffer>,
    /// Bytes that have just left the relay, by sender.
    drained: VecDeque<Segment>,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn contains(&self, id: LinkId) -> bool {
        self.table.contains_key(&id)
    }

    pub(super) fn ids(&self) -> Vec<LinkId> {
        self.table.keys().copied().collect()
    }

    pub(super) fn insert(&mut self, ctx: &Ctx<'_>, id: LinkId, origin: Origin) {
        let member = Member::new(origin, ctx.limits(), ctx.now.at);
        self.budget.enter(origin.site);
        self.table.insert(id, Box::new(member));
    }

    /// A link is gone; where it came from.
    pub(super) fn remove(&mut self, id: LinkId) -> Option<Origin> {
        let member = self.table.remove(&id)?;
        let origin = member.origin();
        self.budget.leave(origin.site, member.counted());
        Some(origin)
    }

    pub(super) fn origin(&self, id: LinkId) -> Option<Origin> {
        self.table.get(&id).map(|member| member.origin())
    }

    #[cfg(feature = "compat")]
    pub(super) fn opened(&self, id: LinkId) -> Option<Time> {
        self.table.get(&id).map(|member| member.opened())
    }

    pub(super) fn stage(&self, id: LinkId) -> Option<&Stage> {
        self.table.get(&id).map(|member| &member.stage)
    }

    pub(super) fn stage_mut(&mut self, id: LinkId) -> Option<&mut Stage> {
        self.table.get_mut(&id).map(|member| &mut member.stage)
    }

    /// The network of a member.
    pub(super) fn network(&self, id: LinkId) -> Option<&NetworkName> {
        let membership = self.table.get(&id)?.membership()?;
        Some(&membership.network)
    }

    pub(super) fn pending(&self, id: LinkId) -> &[u8] {
        self.table.get(&id).map_or(&[], |m| m.outbox.pending())
    }

    /// What the deadlines of each link are counted from; `held` tells until when one is not read.
    pub(super) fn clocks(
        &self,
        held: impl Fn(LinkId) -> Option<Time>,
    ) -> impl Iterator<Item = (LinkId, &Stage, Clocks)> {
        let links = self.table.iter();
        links.map(move |(id, member)| (*id, &member.stage, member.clocks(held(*id))))
    }

    /// The link to close, if all links take too much memory or those of a site: the largest of the
    /// site that has most.
    #[inline]
    pub(super) fn largest_over(&self, limits: &RelayLimits) -> Option<LinkId> {
        let site = self.budget.site_over(limits)?;
        let of_site = self.table.iter().filter(|(_, m)| m.origin().site == site);
        let largest = of_site.max_by_key(|(_, m)| m.counted().own);
        largest.map(|(id, _)| *id)
    }
}

/// What comes in.
impl Members {
    /// Bytes came on a link, if it is there; until when it is not to be read, if it sends too fast.
    pub(super) fn hear(&mut self, ctx: &Ctx<'_>, id: LinkId, bytes: usize) -> Option<Option<Time>> {
        let member = self.table.get_mut(&id)?;
        Some(member.hear(bytes, ctx.limits(), ctx.now.at))
    }

    /// What a link has begun to send and not finished.
    #[cfg(feature = "compat")]
    pub(super) fn begun(&self, id: LinkId) -> &[u8] {
        let member = self.table.get(&id);
        member.map_or(&[], |member| member.inbox.begun())
    }

    /// Takes a link's inbox, with what the link has begun to send and not finished.
    pub(super) fn take_inbox(&mut self, id: LinkId) -> Inbox {
        let member = self.table.get_mut(&id);
        member.map_or(Inbox::default(), |m| std::mem::take(&mut m.inbox))
    }

    /// Gives a link its inbox back. A frame that has begun there must be finished in time.
    pub(super) fn give_inbox(&mut self, ctx: &mut Ctx<'_>, id: LinkId, inbox: Inbox) {
        if let Some(since) = inbox.unfinished() {
            ctx.look_by(since + ctx.limits().frame);
        }
        if let Some(member) = self.table.get_mut(&id) {
            member.inbox = inbox;
            recount(&mut self.budget, member);
        }
    }
}

/// What goes out.
impl Members {
    /// Appends to what waits for a link.
    pub(super) fn append(
        &mut self,
        ctx: &mut Ctx<'_>,
        to: LinkId,
        of: LinkId,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Room {
        match self.table.get_mut(&to) {
            Some(member) => {
                lend_buffer(&mut self.spare, member);
                append(&mut self.budget, ctx, member, to, of, |_, out| write(out))
            }
            None => Room::Within,
        }
    }

    /// Tells a link a word of the relay's, if it is of a network.
    pub(super) fn tell(&mut self, ctx: &mut Ctx<'_>, to: LinkId, word: &FromRelay) -> Room {
        let Some(member) = self.table.get_mut(&to) else {
            return Room::Within;
        };
        if member.stage.network().is_none() {
            return Room::Within;
        }
        lend_buffer(&mut self.spare, member);
        append(&mut self.budget, ctx, member, to, to, |stage, out| {
            stage.say(word, out);
        })
    }
}

/// What has gone out, and what follows it.
impl Members {
    /// Has the bytes that wait for a link written, if there are any; whether the link took some.
    pub(super) fn transmit(
        &mut self,
        ctx: &Ctx<'_>,
        id: LinkId,
        write: &mut LinkWriter<'_>,
    ) -> bool {
        let member = self.table.get_mut(&id);
        let Some(member) = member.filter(|member| !member.outbox.is_empty()) else {
            return false;
        };
        let taken = write(member.outbox.pending());
        if taken == 0 {
            return false;
        }
        let drained = &mut self.drained;
        member.outbox.sent(taken, ctx.now.at, |segment| {
            if segment.of != id {
                drained.push_back(segment);
            }
        });
        true
    }

    /// The next bytes of other senders that left the relay with [`Members::transmit`].
    pub(super) fn next_drained(&mut self) -> Option<Segment> {
        self.drained.pop_front()
    }

    /// Whether a link lacks adverts or frames that wait behind its output.
    pub(super) fn is_behind(&self, id: LinkId) -> bool {
        self.table.get(&id).is_some_and(|member| {
            let missing = member.membership().and_then(|m| m.adverts.first_missing());
            missing.is_some() || !member.outbox.has_no_lanes()
        })
    }

    /// Whether nothing waits in a link's output.
    pub(super) fn is_idle(&self, id: LinkId) -> bool {
        self.table.get(&id).is_some_and(|m| m.outbox.is_empty())
    }

    /// Moves to a link's output what waits behind it, one turn; false if there is no room or no
    /// more.
    pub(super) fn take_turn(&mut self, ctx: &Ctx<'_>, id: LinkId) -> bool {
        let Some(member) = self.table.get_mut(&id) else {
            return false;
        };
        let Member { stage, outbox, .. } = &mut **member;
        outbox.take_turn(id, ctx.now.at, |route, out| {
            stage.say(&FromRelay::Gone(route), out);
        })
    }

    /// Something may have moved to a link's output from behind it.
    pub(super) fn refilled(&mut self, ctx: &mut Ctx<'_>, id: LinkId, was_empty: bool) {
        let Some(member) = self.table.get_mut(&id) else {
            return;
        };
        recount(&mut self.budget, member);
        if was_empty && !member.outbox.is_empty() {
            ctx.look_by(ctx.now.at + ctx.limits().stalled);
            ctx.outputs.push_back(Output::Writable(id));
        }
    }

    /// A link's output may have become empty: its buffer is for the next that has something to
    /// send.
    pub(super) fn set_aside(&mut self, id: LinkId) {
        let Some(member) = self.table.get_mut(&id) else {
            return;
        };
        if let Some(buffer) = member.outbox.take_buffer()
            && self.spare.len() < SPARE
        {
            self.spare.push(buffer);
        }
        recount(&mut self.budget, member);
    }

    /// Takes what waits in a link's output: the link is closed.
    pub(super) fn take_output(&mut self, id: LinkId) -> Option<Vec<u8>> {
        self.table.get_mut(&id).map(|member| member.outbox.take())
    }

    /// A request counts as having moved on now.
    #[cfg(feature = "compat")]
    pub(super) fn restart(&mut self, id: LinkId, now: Time) {
        if let Some(member) = self.table.get_mut(&id) {
            member.outbox.restart(now);
        }
    }
}

/// Adverts, and members that leave.
impl Members {
    /// Hands a member an advert of another, unless it lacks some before it or is too busy, so that
    /// it is handed this one later.
    pub(super) fn hand(
        &mut self,
        ctx: &mut Ctx<'_>,
        to: LinkId,
        version: u64,
        advert: &[u8],
    ) -> Room {
        let Some(member) = self.table.get_mut(&to) else {
            return Room::Within;
        };
        let is_busy = member.outbox.is_busy();
        let Some(membership) = member.membership_mut() else {
            return Room::Within;
        };
        if membership.adverts != Adverts::All {
            return Room::Within;
        }
        if is_busy {
            membership.adverts = Adverts::Behind(version);
            return Room::Within;
        }
        ctx.stats.adverts_handed += 1;
        self.append(ctx, to, to, |out| out.extend_from_slice(advert))
    }

    /// Bytes of a member's output up to which adverts that it lacks are handed to it now.
    pub(super) fn adverts_end(&self, id: LinkId) -> usize {
        self.table.get(&id).map_or(0, |m| m.outbox.adverts_end())
    }

    /// The number of the first advert that a member lacks, if its output is below that end.
    pub(super) fn first_missing(&self, id: LinkId, end: usize) -> Option<u64> {
        let member = self.table.get(&id).filter(|m| m.outbox.is_below(end))?;
        member.membership()?.adverts.first_missing()
    }

    /// A member is handed adverts in order: it has all before this number.
    pub(super) fn advance(&mut self, id: LinkId, to: u64) {
        let member = self.table.get_mut(&id);
        if let Some(membership) = member.and_then(|m| m.membership_mut()) {
            membership.adverts.advance(to);
        }
    }

    /// A member has all adverts. If it is new, it is told that it has joined.
    pub(super) fn complete(&mut self, ctx: &mut Ctx<'_>, id: LinkId) -> Room {
        let member = self.table.get_mut(&id);
        let Some(membership) = member.and_then(|m| m.membership_mut()) else {
            return Room::Within;
        };
        let route = membership.route;
        match membership.adverts.complete() {
            true => self.tell(ctx, id, &FromRelay::Joined(route)),
            false => Room::Within,
        }
    }

    /// Another member of a link's network is gone.
    pub(super) fn forget(&mut self, to: LinkId, gone: LinkId) {
        let member = self.table.get_mut(&to);
        if let Some(membership) = member.and_then(|m| m.membership_mut()) {
            membership.flows.remove(gone);
            membership.blocked.remove(gone);
        }
    }

    /// Tells a member that another is gone: after what that has sent, which may be an answer,
    /// because nothing comes from a route that is gone.
    pub(super) fn tell_gone(&mut self, ctx: &mut Ctx<'_>, to: LinkId, gone: &Gone<'_>) -> Room {
        let Some(member) = self.table.get_mut(&to) else {
            return Room::Within;
        };
        let waits_behind = member.outbox.end_with_gone(gone.id, gone.route);
        let missing = member.membership().and_then(|m| m.adverts.first_missing());
        let lacks_advert = gone.version > 0 && missing.is_some_and(|next| next <= gone.version);
        // Nothing holds the advert any more. A member that is far behind learns from the word alone
        // that the route leads nowhere, or else members that come and go would fill its output.
        let is_far_behind = member.outbox.waiting() >= ctx.limits().queue / 2;
        if lacks_advert && !is_far_behind {
            ctx.stats.adverts_handed += 1;
            let room = self.append(ctx, to, to, |out| out.extend_from_slice(gone.advert));
            if room == Room::Exceeded {
                return room;
            }
        }
        if !waits_behind {
            return self.tell(ctx, to, &FromRelay::Gone(gone.route));
        }
        if let Some(member) = self.table.get_mut(&to) {
            recount(&mut self.budget, member);
        }
        Room::Within
    }
}

/// Counts a link's memory anew.
#[inline]
fn recount(budget: &mut Budget, member: &mut Member) {
    if let Some(before) = member.recount() {
        budget.change(member.origin().site, before, member.counted());
    }
}

fn lend_buffer(spare: &mut Vec<Buffer>, member: &mut Member) {
    if member.outbox.has_no_buffer()
        && let Some(buffer) = spare.pop()
    {
        member.outbox.give_buffer(buffer);
    }
}

/// Appends to a link's output what `write` appends, which is handed the link's stage.
fn append(
    budget: &mut Budget,
    ctx: &mut Ctx<'_>,
    member: &mut Member,
    to: LinkId,
    of: LinkId,
    write: impl FnOnce(&mut Stage, &mut Vec<u8>),
) -> Room {
    let was_empty = member.outbox.is_empty();
    let Member { stage, outbox, .. } = member;
    outbox.append(of, ctx.now.at, |out| write(stage, out));
    recount(budget, member);
    if was_empty {
        ctx.look_by(ctx.now.at + ctx.limits().stalled);
        ctx.outputs.push_back(Output::Writable(to));
        return Room::Within;
    }
    match member.outbox.exceeds(ctx.limits().queue) {
        true => Room::Exceeded,
        false => Room::Within,
    }
}

#[cfg(test)]
mod tests;
