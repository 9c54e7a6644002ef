//! The links of the engine, and how far each has come.
//!
//! ```text
//! Reading --(a call)--> Serving --(an answer)--> Answering --> Lingering   (they connected)
//! Asking --(an answer, or the end)                                         (we did)
//! ```
//!
//! `exchange` is a request of ours and its answer.

pub(super) mod exchange;

use super::Output;
use super::context::Ctx;
use super::errand::{Errand, Held};
use crate::address::RelayAddress;
use crate::compat::http::{Fault, Reader};
use crate::compat::message::body_len;
use crate::protocol::{LinkId, Time};
use crate::site_share::is_within_share;
use crate::table::Table;
use exchange::Exchange;
use std::net::IpAddr;
use std::time::Duration;

/// How long a connection is kept open after its answer for the other side to have read it.
const LINGER: Duration = Duration::from_secs(2);
/// What a call may have besides what is counted in a message.
const CALL_ROOM: usize = 1_024;

/// Bytes of an answer, as far as they are written.
#[derive(Debug, Default)]
pub(super) struct Reply {
    bytes: Vec<u8>,
    written: usize,
}

#[derive(Debug)]
pub(super) enum State {
    /// A request is coming.
    Reading(Reader),
    /// It is being answered.
    Serving(u64),
    /// The answer is being read.
    Answering(Reply),
    /// The whole answer was taken.
    Lingering,
    /// This node asks.
    Asking(Exchange),
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) state: State,
    /// The address that connected; none if this node did.
    from: Option<IpAddr>,
    pub(super) deadline: Time,
}

impl Link {
    /// Bytes that a program which opened it makes us hold. What this node asks is counted apart, so
    /// that relays and their answers are in no caller's way.
    fn held(&self) -> usize {
        match &self.state {
            State::Reading(reader) => reader.held(),
            State::Answering(reply) => reply.bytes.len(),
            State::Serving(_) | State::Lingering | State::Asking(_) => 0,
        }
    }

    fn exchange(&self) -> Option<&Exchange> {
        match &self.state {
            State::Asking(exchange) => Some(exchange),
            _ => None,
        }
    }

    fn pending(&self) -> &[u8] {
        match &self.state {
            State::Answering(reply) => &reply.bytes[reply.written..],
            State::Asking(exchange) => exchange.pending(),
            _ => &[],
        }
    }
}

/// What came of bytes on a link that another node opened.
#[derive(Debug)]
pub(super) enum Read {
    /// More is to come, or nothing is looked at any more.
    Nothing,
    /// A request is whole.
    Request(Reader),
    /// Something follows a request that is being served.
    Followed(u64),
    Fault(Fault),
}

/// All links.
#[derive(Debug)]
pub(super) struct Links {
    table: Table<LinkId, Box<Link>>,
    next: u64,
    /// None can be late before this.
    due: Time,
}

impl Default for Links {
    fn default() -> Links {
        Links {
            table: Table::default(),
            next: 0,
            due: Time::NEVER,
        }
    }
}

impl Links {
    pub(super) fn due(&self) -> Time {
        self.due
    }

    pub(super) fn state(&self, id: LinkId) -> Option<&State> {
        self.table.get(&id).map(|link| &link.state)
    }

    /// The address that opened a link; none if this node did.
    pub(super) fn from(&self, id: LinkId) -> Option<IpAddr> {
        self.table.get(&id)?.from
    }

    pub(super) fn pending(&self, id: LinkId) -> &[u8] {
        self.table.get(&id).map_or(&[], |link| link.pending())
    }

    /// Whether an answer is being written to a caller, or is on its way to a relay.
    pub(super) fn is_answering(&self) -> bool {
        let is_answering = |link: &Link| match &link.state {
            State::Answering(_) => true,
            State::Asking(exchange) => exchange.errand().answers().is_some(),
            _ => false,
        };
        self.table.values().any(|link| is_answering(link))
    }

    /// Bytes that the links which others opened make us hold.
    pub(super) fn held(&self) -> usize {
        self.table.values().map(|link| link.held()).sum()
    }

    fn held_from(&self, from: IpAddr) -> usize {
        let links = self.table.values().filter(|l| l.from == Some(from));
        links.map(|link| link.held()).sum()
    }

    fn add(&mut self, state: State, from: Option<IpAddr>, deadline: Time) -> LinkId {
        let id = LinkId(self.next);
        self.next += 1;
        self.due = self.due.min(deadline);
        let link = Link {
            state,
            from,
            deadline,
        };
        self.table.insert(id, Box::new(link));
        id
    }

    /// Gives a link until then.
    fn extend(&mut self, id: LinkId, deadline: Time) {
        self.due = self.due.min(deadline);
        if let Some(link) = self.table.get_mut(&id) {
            link.deadline = deadline;
        }
    }

    /// Closes a link, if it is there.
    pub(super) fn close(&mut self, ctx: &mut Ctx<'_>, id: LinkId) -> Option<Box<Link>> {
        let link = self.table.remove(&id)?;
        ctx.outputs.push_back(Output::Close(id));
        Some(link)
    }

    /// Forgets all links, and says which there were. No number is used again.
    pub(super) fn clear(&mut self) -> Vec<LinkId> {
        let ids = self.table.keys().copied().collect();
        self.table = Table::default();
        self.due = Time::NEVER;
        ids
    }

    /// The links whose time is over.
    pub(super) fn late(&self, now: Time) -> Vec<LinkId> {
        let late = self.table.iter().filter(|(_, l)| now >= l.deadline);
        late.map(|(id, _)| *id).collect()
    }

    /// Finds out anew when the first link is late.
    pub(super) fn recount_due(&mut self) {
        let deadlines = self.table.values().map(|l| l.deadline);
        self.due = deadlines.min().unwrap_or(Time::NEVER);
    }
}

/// Links that another node opened.
impl Links {
    /// A link that another node opened, or `None` if there is no room for one.
    pub(super) fn accept(&mut self, ctx: &mut Ctx<'_>, from: IpAddr) -> Option<LinkId> {
        let limits = &ctx.config.limits;
        let opened = || self.table.iter().filter(|(_, l)| l.from.is_some());
        let theirs = opened().filter(|(_, l)| l.from == Some(from)).count();
        if theirs >= limits.compat_links_per_address {
            *ctx.refused += 1;
            return None;
        }
        if opened().count() >= limits.compat_links {
            let oldest = |gives_way: fn(&State) -> bool| {
                let mut links = opened().filter(|(_, link)| gives_way(&link.state));
                links.next().map(|(id, _)| *id)
            };
            // First one whose whole answer was taken, then one that has not said what it wants: an
            // honest request takes milliseconds.
            let other = oldest(|state| matches!(state, State::Lingering))
                .or_else(|| oldest(|state| matches!(state, State::Reading(_))))?;
            *ctx.refused += 1;
            self.close(ctx, other);
        }
        let deadline = ctx.now.at + limits.handshake;
        let state = State::Reading(Reader::default());
        Some(self.add(state, Some(from), deadline))
    }

    /// Whether so many more bytes of a request may be taken in. One address makes us hold no more
    /// than it leaves for others.
    fn has_room_for(&self, ctx: &Ctx<'_>, id: LinkId, more: usize) -> bool {
        let Some(link) = self.table.get(&id) else {
            return false;
        };
        let (State::Reading(reader), Some(from)) = (&link.state, link.from) else {
            return false;
        };
        let growth = reader.growth(more);
        let (all, own) = (self.held() + growth, self.held_from(from) + growth);
        is_within_share(all, own, ctx.config.limits.message_bytes)
    }

    /// Takes in bytes of a request.
    pub(super) fn read(&mut self, ctx: &Ctx<'_>, id: LinkId, bytes: &[u8]) -> Read {
        let limits = &ctx.config.limits;
        let is_full = !self.has_room_for(ctx, id, bytes.len());
        let Some(link) = self.table.get_mut(&id) else {
            return Read::Nothing;
        };
        let reader = match &mut link.state {
            State::Reading(reader) => reader,
            State::Serving(ticket) => return Read::Followed(*ticket),
            // What comes too late is not looked at.
            State::Answering(_) | State::Lingering | State::Asking(_) => return Read::Nothing,
        };
        if is_full {
            return Read::Fault(Fault::new(503, "too much is coming in at once"));
        }
        let had_head = reader.head().is_some();
        match reader.take(bytes, body_len(limits.max_message + CALL_ROOM)) {
            Err(fault) => Read::Fault(fault),
            Ok(true) => {
                let reader = std::mem::take(reader);
                // Until it is served or refused, which comes next.
                link.state = State::Answering(Reply::default());
                Read::Request(reader)
            }
            Ok(false) => {
                if !had_head && reader.head().is_some() {
                    // The head came in time; now the body has some.
                    let more = limits.frame.saturating_sub(limits.handshake);
                    let deadline = link.deadline + more;
                    self.extend(id, deadline);
                }
                Read::Nothing
            }
        }
    }

    /// A request is being served: until it is answered. A caller that gives up closes the
    /// connection.
    pub(super) fn serve(&mut self, ctx: &Ctx<'_>, id: LinkId, ticket: u64) {
        if let Some(link) = self.table.get_mut(&id) {
            link.state = State::Serving(ticket);
        }
        self.extend(id, ctx.now.at + ctx.config.limits.call_timeout);
    }

    /// Answers a request.
    pub(super) fn answer(&mut self, ctx: &mut Ctx<'_>, id: LinkId, bytes: Vec<u8>) {
        if let Some(link) = self.table.get_mut(&id) {
            link.state = State::Answering(Reply { bytes, written: 0 });
            ctx.outputs.push_back(Output::Writable(id));
            self.extend(id, ctx.now.at + ctx.config.limits.frame);
        }
    }
}

/// Links that this node opens.
impl Links {
    /// Makes a link for a request, to be dialled.
    pub(super) fn ask(&mut self, exchange: Exchange, deadline: Time) -> LinkId {
        self.add(State::Asking(exchange), None, deadline)
    }

    /// Requests of ours that are under way.
    pub(super) fn asking(&self) -> usize {
        let asking = |link: &Link| matches!(link.state, State::Asking(_));
        self.table.values().filter(|link| asking(link)).count()
    }

    /// Bytes of answers that are on their way to relays, `relay` one of them.
    pub(super) fn answers(&self, relay: &RelayAddress) -> Held {
        let mut held = Held::default();
        for exchange in self.table.values().filter_map(|link| link.exchange()) {
            let bytes = exchange.request_held();
            match exchange.errand().answers() {
                Some(to) if to == relay => {
                    held.all += bytes;
                    held.own += bytes;
                }
                Some(_) => held.all += bytes,
                None => {}
            }
        }
        held
    }

    /// Whether so many more bytes of an answer to this node may be taken in. One relay, or one
    /// peer, has no more of what answers may take than it leaves for others.
    pub(super) fn has_room_for_answer(&self, ctx: &Ctx<'_>, id: LinkId, more: usize) -> bool {
        let Some(exchange) = self.table.get(&id).and_then(|link| link.exchange()) else {
            return false;
        };
        let relay = exchange.errand().relay();
        let growth = exchange.growth(more);
        let (mut all, mut own) = (growth, growth);
        for (other, link) in self.table.iter() {
            let Some(exchange) = link.exchange() else {
                continue;
            };
            all += exchange.held();
            if *other == id || (relay.is_some() && exchange.errand().relay() == relay) {
                own += exchange.held();
            }
        }
        is_within_share(all, own, 2 * ctx.config.limits.message_bytes)
    }

    /// The links of a call's requests.
    pub(super) fn of_call(&self, number: u64) -> Vec<LinkId> {
        let is_its = |link: &Link| match &link.state {
            State::Asking(exchange) => exchange.errand().call() == Some(number),
            _ => false,
        };
        let its = self.table.iter().filter(|(_, link)| is_its(link));
        its.map(|(id, _)| *id).collect()
    }

    pub(super) fn exchange_mut(&mut self, id: LinkId) -> Option<&mut Exchange> {
        match &mut self.table.get_mut(&id)?.state {
            State::Asking(exchange) => Some(exchange),
            _ => None,
        }
    }

    /// A link that was to be dialled is connected.
    pub(super) fn connected(&mut self, ctx: &mut Ctx<'_>, id: LinkId) {
        let Some(link) = self.table.get(&id) else {
            return;
        };
        ctx.outputs.push_back(Output::Writable(id));
        if let State::Asking(exchange) = &link.state
            && let Errand::Call(_) = exchange.errand()
        {
            // From here on the call's own time counts, which the native engine keeps.
            self.extend(id, ctx.now.at + ctx.config.limits.call_timeout);
        }
    }
}

impl Links {
    /// A link took this many of its pending bytes.
    pub(super) fn sent(&mut self, ctx: &mut Ctx<'_>, id: LinkId, n: usize) {
        let now = ctx.now.at;
        let Some(link) = self.table.get_mut(&id) else {
            return;
        };
        match &mut link.state {
            State::Asking(exchange) => exchange.sent(n),
            State::Answering(reply) => {
                reply.written = (reply.written + n).min(reply.bytes.len());
                if reply.written < reply.bytes.len() {
                    return self.extend(id, now + ctx.config.limits.frame);
                }
                link.state = State::Lingering;
                ctx.outputs.push_back(Output::Finish(id));
                self.extend(id, now + LINGER);
            }
            State::Reading(_) | State::Serving(_) | State::Lingering => {}
        }
    }
}

#[cfg(test)]
mod tests;
