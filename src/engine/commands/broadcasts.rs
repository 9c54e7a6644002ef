//! Messages for every node: each goes to every peer as a call.

use super::{CallNumber, Commands, Ctx, Network, Output, Phase};
use crate::engine::calls::ask::{Ask, Broadcast, Terms};
use crate::engine::calls::broadcast::{Parent, RoundOver};
use crate::engine::calls::outgoing::Owner;
use crate::error::Error;
use crate::name::NodeName;
use crate::wire::record::Status;
use std::time::Duration;

impl Commands {
    /// Whether the program has so much to do that broadcasts of others are turned away.
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
        let number = self.calls.take_number();
        let broadcast = self.broadcasts.say(ctx, data);
        self.hand_on(ctx, network, Parent::Own(number), broadcast, timeout);
        Ok(number)
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
        let from = match parent {
            Parent::Own(_) => None,
            Parent::Peer(id) => Some(id.caller),
        };
        let others = network
            .joined_peers()
            .filter(|(peer, _)| Some(*peer) != from && *peer != broadcast.origin);
        let peers: Vec<NodeName> = others.map(|(_, name)| name.clone()).collect();
        let round = self.broadcasts.begin_round(parent);
        if let Some(hops) = broadcast.hops.checked_sub(1) {
            broadcast.hops = hops;
            let terms = Terms {
                timeout: timeout * 9 / 10,
                wait: false,
                streams: false,
            };
            for peer in peers {
                self.broadcasts.asks(round);
                let (owner, ask) = (Owner::Round(round), Ask::Broadcast(broadcast.clone()));
                if let Err(why) = self.begin_call(ctx, network, owner, &peer, ask, terms) {
                    let over = self.broadcasts.ended(round, peer, &Err(why));
                    self.round_over(ctx, network, over);
                }
            }
        } else if !peers.is_empty() {
            self.broadcasts.cut(round);
        }
        let over = self.broadcasts.asked_all(round);
        self.round_over(ctx, network, over);
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
            Parent::Own(number) => ctx.outputs.push_back(Output::Ended(number, Ok(report))),
            Parent::Peer(id) => self.reply(ctx, network, id, Status::Value, report),
        }
    }
}
