//! The routing of calls, broadcasts and streams: which part is told what, and which link carries
//! it.
//!
//! Nothing is decided here that a part can decide. A method asks parts, hands what one of them
//! returns to another, and sends what they have put together. A call of this node goes through
//! `calls` ([`outgoing`]), one of a peer through `serving` ([`incoming`]), and what programs stream
//! along both through `streams`.

mod incoming;
mod outgoing;
mod streams;

pub(super) use incoming::CallRecord;

use super::calls::ask::{Ask, Broadcast, Terms};
use super::calls::broadcast::{Parent, RoundOver, Unasked};
use super::calls::compat::{self, CompatPlace};
use super::calls::outgoing::Owner;
use super::stopping::Stopping;
use super::{CallNumber, Engine, LinkId, Now, Output, Phase, RelayFault};
use crate::address::RelayAddress;
use crate::error::Error;
use crate::frame::FrameType;
use crate::limits::HAND_ON_MAX;
use crate::name::NodeName;
use crate::wire::Instance;
use crate::wire::record::Status;
use std::time::Duration;

/// Records that parts put together.
impl Engine {
    /// Makes room for the next record to a link: its sequence number, and the type of its frame.
    fn begin_record(&mut self, link: LinkId) -> Option<(u64, FrameType)> {
        let session = self.session(link)?;
        let begun = (session.next_sequence(), session.kind());
        self.plain.clear();
        Some(begun)
    }

    /// Something was asked or answered over a session, which is therefore not idle.
    fn mark_used(&mut self, now: Now, link: LinkId) {
        if let Some(session) = self.session(link) {
            session.used = now.at;
        }
    }
}

/// Messages for every node.
impl Engine {
    /// Whether the program has so much to do that broadcasts of others are turned away: they may
    /// come again.
    pub fn hold_broadcasts(&mut self, full: bool) {
        self.broadcasts.hold(full);
    }

    /// Says something to every node that can be reached through any chain of nodes. What became of
    /// it comes as [`Output::Ended`], with a [`Report`](super::Report) as
    /// [`report::decode`](crate::wire::report::decode) reads it.
    pub fn broadcast(
        &mut self,
        now: Now,
        data: &[u8],
        timeout: Duration,
    ) -> Result<CallNumber, Error> {
        let (size, limits) = (data.len(), &self.core.config.limits);
        let (limit, timeout) = (limits.max_message, timeout.min(limits.call_timeout));
        if self.phase == Phase::Stopped {
            return Err(Error::Stopped);
        }
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        let number = self.calls.take_number();
        let broadcast = self.broadcasts.say(&mut self.core.at(now), data);
        self.hand_on(now, Parent::Own(number), broadcast, timeout);
        Ok(number)
    }

    /// Asks every peer but the one it came from, and leaves this node a while to report.
    fn hand_on(&mut self, now: Now, parent: Parent, mut broadcast: Broadcast, timeout: Duration) {
        let (round, timeout) = (self.broadcasts.begin_round(parent), timeout * 9 / 10);
        let (from, timeout) = match parent {
            Parent::Own(_) => (None, timeout),
            Parent::Peer(id) => (Some(id.caller), timeout.min(HAND_ON_MAX)),
        };
        let peers = self.directory.iter();
        let asked = peers
            .filter(|(i, p)| p.is_joined() && Some(**i) != from && **i != broadcast.origin)
            .map(|(_, p)| p.name().clone());
        let mut peers: Vec<NodeName> = asked.collect();
        peers.reverse();
        if let Some(hops) = broadcast.hops.checked_sub(1) {
            broadcast.hops = hops;
        } else {
            if !peers.is_empty() {
                self.broadcasts.cut(round);
            }
            peers.clear();
        }
        let unasked = Unasked {
            peers,
            broadcast,
            is_own: from.is_none(),
            deadline: now.at + timeout,
        };
        self.ask_peers(now, round, unasked);
    }

    /// Asks peers to take a message. If there is no room for more calls, those that are left are
    /// asked when calls of the round have ended.
    pub(super) fn ask_peers(&mut self, now: Now, round: u64, mut unasked: Unasked) {
        while let Some(peer) = unasked.peers.last().cloned() {
            self.broadcasts.asks(round);
            let asked = self.ask_peer(now, round, &peer, &unasked);
            if let Err(Error::Overloaded(_)) = asked
                && self.broadcasts.put_off(round)
            {
                return self.broadcasts.keep(round, unasked);
            }
            unasked.peers.pop();
            if let Err(why) = asked {
                let over = self.broadcasts.ended(round, peer, &Err(why));
                self.round_over(now, over);
            }
        }
        let over = self.broadcasts.asked_all(round);
        self.round_over(now, over);
    }

    fn ask_peer(
        &mut self,
        now: Now,
        round: u64,
        peer: &NodeName,
        unasked: &Unasked,
    ) -> Result<CallNumber, Error> {
        let timeout = unasked.deadline - now.at;
        if self.stopping.is_some() {
            return Err(Error::Stopped);
        }
        if timeout.is_zero() {
            return Err(Error::Timeout);
        }
        let owner = match unasked.is_own {
            true => Owner::Round(round),
            false => Owner::Forward(round),
        };
        let terms = Terms {
            timeout,
            wait: false,
            streams: false,
        };
        let ask = Ask::Broadcast(unasked.broadcast.clone());
        self.begin_call(now, owner, peer, ask, terms)
    }

    /// Tells what became of a message, once that is known.
    fn round_over(&mut self, now: Now, over: Option<RoundOver>) {
        let Some(RoundOver { parent, report }) = over else {
            return;
        };
        match parent {
            Parent::Own(number) => {
                let ended = Output::Ended(number, Ok(report));
                self.core.outputs.push_back(ended);
            }
            Parent::Peer(id) => self.reply(now, id, Status::Value, report),
        }
    }
}

/// The peers that speak the protocol of PeerBase 0.7.1.
impl Engine {
    /// There may be such peers.
    pub fn expect_compat(&mut self) {
        self.compat.expect();
    }

    /// A native peer has proved to have this name. Says whether the program knows already that a
    /// node of this name is there.
    pub(super) fn met_natively(&mut self, name: &NodeName) -> bool {
        let (most, directory) = (self.core.config.limits.peers, &self.directory);
        let is_there = |name: &NodeName| !directory.instances(name).is_empty();
        self.compat.met_natively(most, name, is_there)
    }

    /// Such a peer is at this place now, or is gone.
    pub fn compat_peer(&mut self, now: Now, name: NodeName, place: Option<CompatPlace>) {
        self.compat.peer(&mut self.core.at(now), name, place);
    }

    /// Calls go to the peers that have become usable.
    pub(super) fn tick_compat(&mut self, now: Now) {
        for name in self.compat.usable_now(now.at) {
            self.pump_calls(now, &name);
        }
    }

    /// A relay that such peers are at answers, or does not.
    pub fn compat_relay(&mut self, relay: RelayAddress, state: Result<(), RelayFault>) {
        if let Some(event) = compat::relay_event(&self.core.config, relay, state) {
            self.event(event);
        }
    }

    /// Such a peer calls a command of this node. The engine of its protocol counts `ticket` from 0.
    /// A call that comes while the node stops is refused, because its caller would hear no goodbye.
    pub fn compat_request(&mut self, now: Now, ticket: u64, caller: NodeName, ask: Ask) {
        let ctx = &mut self.core.at(now);
        if self.phase == Phase::Running && self.stopping.is_none() {
            self.compat.request(ctx, ticket, caller, ask);
        } else {
            let why = b"not running".to_vec();
            ctx.outputs
                .push_back(Output::CompatReply(ticket, Status::Refused, why));
        }
    }

    /// The caller does not wait any more.
    pub fn compat_withdrawn(&mut self, ticket: u64) {
        self.compat.withdrawn(ticket);
    }

    /// A call that was handed out has ended.
    pub fn compat_answered(
        &mut self,
        now: Now,
        number: CallNumber,
        result: Result<Vec<u8>, Error>,
    ) {
        self.end_call(now, number, result);
    }
}

/// How the engine stops: the file `stopping.rs` tells the whole of it.
impl Engine {
    /// Ends the calls of this node and takes no more calls of others. Idempotent.
    pub fn begin_stop(&mut self, now: Now) {
        if self.phase == Phase::Stopped || self.stopping.is_some() {
            return;
        }
        self.stopping = Some(Stopping::default());
        self.end_own_calls(now, &Error::Stopped);
        for caller in self.serving.unconfirmed() {
            self.await_echoes(now, caller);
            if self.best_session(caller).is_none() && self.links.is_meeting(caller) {
                self.await_session(caller);
            }
        }
    }

    fn await_session(&mut self, peer: Instance) {
        if let Some(stopping) = &mut self.stopping {
            stopping.await_session(peer);
        }
    }

    /// Whether all that was answered has arrived, as far as its callers can be reached.
    pub fn is_flushed(&self) -> bool {
        self.phase == Phase::Stopped
            || self.links.are_drained()
                && self.stopping.as_ref().is_none_or(Stopping::is_over)
                && !self.serving.has_backlog()
                && !self.has_unsent_answers()
    }

    /// Whether the end of a stream that answers a call waits to be sent to a peer that can be
    /// reached.
    fn has_unsent_answers(&self) -> bool {
        self.streams
            .unfinished_answers(self.core.instance)
            .any(|peer| self.best_session(peer).is_some())
    }

    fn await_echoes(&mut self, now: Now, peer: Instance) {
        for link in self.directory.sessions(&peer).to_vec() {
            self.await_echo(now, link);
        }
    }

    /// While the node stops: asks whether what was written to a link has arrived.
    fn await_echo(&mut self, now: Now, link: LinkId) {
        let Some(stopping) = &mut self.stopping else {
            return;
        };
        let is_early = self.links.awaits_echo(link);
        stopping.await_echo(link, is_early);
        if !is_early {
            self.send_ping(now, link);
        }
    }

    /// A ping was echoed.
    pub(super) fn echo_came(&mut self, now: Now, link: LinkId) {
        let stopping = self.stopping.as_mut();
        if stopping.is_some_and(|s| s.echo_came(link)) {
            self.await_echo(now, link);
        }
    }

    /// A session with a peer has ended. What it held unread the peer asks for again, over another
    /// one.
    pub(super) fn answers_cut_off(&mut self, now: Now, link: LinkId, peer: Instance) {
        let stopping = self.stopping.as_mut();
        if !stopping.is_some_and(|s| s.lost(link)) {
            return;
        }
        match self.directory.get(&peer) {
            Some(known) if known.sessions().is_empty() && !known.has_left() => {
                self.await_session(peer)
            }
            _ => self.await_echoes(now, peer),
        }
    }

    /// A session with a peer is open.
    pub(super) fn answers_go_on(&mut self, now: Now, peer: Instance) {
        let stopping = self.stopping.as_mut();
        if stopping.is_some_and(|s| s.session_came(peer)) {
            self.await_echoes(now, peer);
        }
    }
}
