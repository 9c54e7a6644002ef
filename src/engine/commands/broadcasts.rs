//! Messages for every node: each goes to every peer as a call.

use super::{CallNumber, Commands, Ctx, Network, Output, Phase, RequestId};
use crate::engine::calls::ask::{Ask, Broadcast, Terms};
use crate::engine::calls::broadcast::{Heard, Parent, RoundOver, Unasked};
use crate::engine::calls::outgoing::Owner;
use crate::engine::payload::Payload;
use crate::error::Error;
use crate::limits::HAND_ON_MAX;
use crate::name::NodeName;
use crate::wire::record::Status;
use std::time::Duration;

impl Commands {
    /// While `full`, refuses broadcasts of other nodes.
    pub(crate) fn hold_broadcasts(&mut self, full: bool) {
        self.broadcasts.hold(full);
    }

    /// Says something to every node.
    pub(crate) fn broadcast(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        data: &[u8],
        timeout: Duration,
    ) -> Result<CallNumber, Error> {
        let (size, limits) = (data.len(), &ctx.config.limits);
        let (limit, timeout) = (limits.max_message, timeout.min(limits.call_timeout));
        if ctx.phase == Phase::Stopped {
            return Err(Error::Stopped);
        }
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        let broadcast = self.broadcasts.say(ctx, data);
        // With what its origin shows, which travels along.
        let limit = limit.saturating_sub(broadcast.as_wire().head());
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        let number = self.calls.take_number();
        self.hand_on(ctx, network, Parent::Own(number), broadcast, timeout);
        Ok(number)
    }

    /// A peer hands on a message for every node.
    pub(super) fn hear_broadcast(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        id: RequestId,
        broadcast: Broadcast,
    ) {
        let (name, key) = (&broadcast.sender, broadcast.key());
        match self.broadcasts.hear(ctx, id.caller, &broadcast) {
            Heard::Before(report) => self.reply(ctx, network, id, Status::Value, report),
            Heard::TurnedAway => self.reply(ctx, network, id, Status::Overloaded, Vec::new()),
            Heard::Forged => {
                let over = self.serving.forget(id, None);
                self.end_streams(ctx, over);
                for link in network.sessions(&id.caller).to_vec() {
                    self.violation(ctx, network, link);
                }
            }
            Heard::New if network.vouches_for(name, key, broadcast.certificate()) => {
                self.broadcasts.deliver(ctx, id.caller, &broadcast);
                let left = self.serving.time_left(ctx.now.at, id);
                self.hand_on(ctx, network, Parent::Peer(id), broadcast, left);
            }
            Heard::New => {
                ctx.stats.distrusted += 1;
                let why = b"its sender is not trusted with its name".to_vec();
                self.reply(ctx, network, id, Status::Refused, why);
            }
        }
    }

    /// Asks every peer but the one it came from, and leaves this node a while to report.
    pub(super) fn hand_on(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        parent: Parent,
        mut broadcast: Broadcast,
        timeout: Duration,
    ) {
        let (round, timeout) = (self.broadcasts.begin_round(parent), timeout / 10 * 9);
        let (from, timeout) = match parent {
            Parent::Own(_) => (None, timeout),
            Parent::Peer(id) => (Some(id.caller), timeout.min(HAND_ON_MAX)),
        };
        let others = network
            .announced_peers()
            .filter(|(peer, _)| Some(*peer) != from && *peer != broadcast.origin);
        let mut peers: Vec<NodeName> = others.map(|(_, name)| name.clone()).collect();
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
            deadline: ctx.now.at + timeout,
        };
        self.ask_peers(ctx, network, round, unasked);
    }

    /// Asks peers to take a message. If there is no room for more calls, those that are left are
    /// asked when calls of the round have ended.
    pub(super) fn ask_peers(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        round: u64,
        mut unasked: Unasked,
    ) {
        while let Some(peer) = unasked.peers.last().cloned() {
            self.broadcasts.asks(round);
            let asked = self.ask_peer(ctx, network, round, &peer, &unasked);
            if let Err(Error::Overloaded(_)) = asked
                && self.broadcasts.put_off(round)
            {
                return self.broadcasts.keep(round, unasked);
            }
            unasked.peers.pop();
            if let Err(why) = asked {
                let over = self.broadcasts.ended(round, peer, &Err(why));
                self.round_over(ctx, network, over);
            }
        }
        let over = self.broadcasts.asked_all(round);
        self.round_over(ctx, network, over);
    }

    /// Asks no more peers for which there was no room: this node begins no call any more, or is to
    /// go on as another instance.
    pub(super) fn give_up_unasked(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        why: &Error,
    ) {
        for (round, unasked) in self.broadcasts.take_all_unasked() {
            for peer in unasked.peers {
                self.broadcasts.asks(round);
                let over = self.broadcasts.ended(round, peer, &Err(why.clone()));
                self.round_over(ctx, network, over);
            }
            let over = self.broadcasts.asked_all(round);
            self.round_over(ctx, network, over);
        }
    }

    fn ask_peer(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        round: u64,
        peer: &NodeName,
        unasked: &Unasked,
    ) -> Result<CallNumber, Error> {
        let timeout = unasked.deadline - ctx.now.at;
        if self.is_stopping() {
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
        self.begin_call(ctx, network, owner, peer, ask, terms)
    }

    /// Tells what became of a message, once that is known.
    pub(super) fn round_over(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        over: Option<RoundOver>,
    ) {
        let Some(RoundOver { parent, report }) = over else {
            return;
        };
        match parent {
            Parent::Own(number) => {
                let ended = Output::Ended(number, Ok(Payload::Data(report)));
                ctx.outputs.push_back(ended);
            }
            Parent::Peer(id) => self.reply(ctx, network, id, Status::Value, report),
        }
    }
}
