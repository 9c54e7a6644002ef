//! Peers of another kind: reached by something else than this engine, which knows their names and no more.
//!
//! Calls to them are kept here like any other, and end exactly once, but are handed out as
//! [`Output::ForeignCall`]; what they ask comes in by [`Engine::foreign_request`], and is answered with
//! [`Engine::reply`]. A name that a native peer has ever had is never handed to one of these, however
//! loudly it is claimed: what they say is not proven. One that is new is given a moment to be met natively, too.

use super::{
    Ask, CallNumber, Engine, Event, Now, Output, Path, PeerInfo, Phase, RelayFault, Request,
    RequestId, Time,
};
use crate::address::RelayAddress;
use crate::error::Error;
use crate::name::{CommandPath, NodeName};
use crate::table::Table;
use crate::wire::record::Status;
use std::net::SocketAddr;

/// Set in the number of a foreign request: our own calls to ourselves count up from 1.
const FOREIGN: u64 = 1 << 63;

/// Where a foreign peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignPlace {
    /// Its address, if it is reached straight.
    pub address: Option<SocketAddr>,
    /// Or else the relay it is at.
    pub relay: Option<RelayAddress>,
}

#[derive(Debug)]
struct Known {
    place: ForeignPlace,
    /// When it is taken for what it says to be: until then the same name may be met natively.
    usable: Time,
}

#[derive(Debug, Default)]
pub(super) struct Foreign {
    peers: Table<NodeName, Known>,
    /// Names that native peers have had.
    native: Table<NodeName, ()>,
    /// Requests that are being answered.
    served: Table<u64, ()>,
    /// Whether there may be any.
    on: bool,
    /// The next that becomes usable.
    due: Option<Time>,
}

impl Foreign {
    /// Whether calls to a name that is not known natively go to a foreign peer, now or soon.
    pub(super) fn has(&self, name: &NodeName) -> bool {
        self.peers.contains_key(name) && !self.native.contains_key(name)
    }

    /// Whether they go there now.
    pub(super) fn is_usable(&self, now: Time, name: &NodeName) -> bool {
        self.has(name) && self.peers.get(name).is_some_and(|p| now >= p.usable)
    }

    /// When calls to another foreign peer may go.
    pub(super) fn due(&self) -> Time {
        self.due.unwrap_or(Time::NEVER)
    }

    pub(super) fn len(&self) -> usize {
        self.served.len()
    }

    pub(super) fn infos(&self) -> impl Iterator<Item = PeerInfo> {
        let theirs = self
            .peers
            .iter()
            .filter(|(name, _)| !self.native.contains_key(name));
        theirs.map(|(name, known)| PeerInfo {
            name: name.clone(),
            address: known.place.address,
            reachable: false,
            path: Some(Path::Compat(known.place.relay.clone())),
            ping: None,
        })
    }
}

impl Engine {
    /// Whether a request is a foreign one. Peers number their calls as they like, but not in our name.
    pub(super) fn is_foreign(&self, id: RequestId) -> bool {
        id.caller == self.core.instance && id.number & FOREIGN != 0
    }

    /// There may be foreign peers.
    pub fn expect_foreign(&mut self) {
        self.foreign.on = true;
    }

    /// A native peer has proved to have this name: it stays native. Whether the program knows already that
    /// somebody of this name is there.
    pub(super) fn met_natively(&mut self, name: &NodeName) -> bool {
        let told = self.foreign.has(name);
        if self.foreign.on && self.foreign.native.len() < self.core.config.limits.peers {
            self.foreign.native.insert(name.clone(), ());
        }
        told
    }

    /// Where a foreign peer is now, or that it is gone.
    pub fn foreign_peer(&mut self, now: Now, name: NodeName, place: Option<ForeignPlace>) {
        let native = self.foreign.native.contains_key(&name);
        let Some(place) = place else {
            if self.foreign.peers.remove(&name).is_some() && !native {
                self.event(Event::PeerLeft(name));
            }
            return;
        };
        let usable = now.at + self.core.config.limits.compat_grace;
        let known = self.foreign.peers.get(&name).map(|known| known.usable);
        let (new, usable) = (known.is_none(), known.unwrap_or(usable));
        self.foreign
            .peers
            .insert(name.clone(), Known { place, usable });
        if new {
            let due = self.foreign.due().min(usable);
            self.foreign.due = Some(due);
        }
        if new && !native {
            self.event(Event::PeerJoined(name));
        }
    }

    /// Some foreign peers have become usable.
    pub(super) fn tick_foreign(&mut self, now: Now) {
        let waiting = self.foreign.peers.values().map(|p| p.usable);
        let next = waiting.filter(|usable| *usable > now.at).min();
        let since = std::mem::replace(&mut self.foreign.due, next).unwrap_or(now.at);
        let fresh = |known: &Known| known.usable >= since && known.usable <= now.at;
        let ready = self.foreign.peers.iter().filter(|(_, known)| fresh(known));
        for name in ready.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.pump_calls(now, &name);
        }
    }

    /// A relay that foreign peers are at answers, or does not. One that is ours, too, speaks for itself.
    pub fn foreign_relay(&mut self, relay: RelayAddress, state: Result<(), RelayFault>) {
        if !self.core.config.relays.contains(&relay) {
            self.event(match state {
                Ok(()) => Event::RelayUp(relay),
                Err(why) => Event::RelayDown { relay, why },
            });
        }
    }

    /// A foreign peer calls one of our commands. `ticket` is of its kind's counting, from 0.
    pub fn foreign_request(&mut self, now: Now, ticket: u64, caller: NodeName, ask: Ask) {
        if self.phase != Phase::Running {
            let refused = Output::ForeignReply(ticket, Status::Refused, b"not running".to_vec());
            return self.core.outputs.push_back(refused);
        }
        self.foreign.served.insert(ticket, ());
        self.core.stats.served += 1;
        self.core.outputs.push_back(Output::Request(Request {
            id: RequestId {
                caller: self.core.instance,
                number: ticket | FOREIGN,
            },
            caller,
            ask,
            streams: false,
            deadline: now.at + self.core.config.limits.call_timeout,
        }));
    }

    /// The caller does not wait any more.
    pub fn foreign_withdrawn(&mut self, ticket: u64) {
        self.foreign.served.remove(&ticket);
    }

    /// A call that was handed out has ended.
    pub fn foreign_answered(
        &mut self,
        now: Now,
        number: CallNumber,
        result: Result<Vec<u8>, Error>,
    ) {
        self.end_call(now, number, result);
    }

    pub(super) fn is_foreign_wanted(&self, id: RequestId) -> bool {
        self.foreign.served.contains_key(&(id.number & !FOREIGN))
    }

    /// Our answer to a foreign request.
    pub(super) fn reply_foreign(&mut self, id: RequestId, status: Status, body: Vec<u8>) {
        let ticket = id.number & !FOREIGN;
        match self.foreign.served.remove(&ticket) {
            Some(()) => self
                .core
                .outputs
                .push_back(Output::ForeignReply(ticket, status, body)),
            None => self.core.stats.replies_late += 1,
        }
    }

    /// Hands a call out, if it is for a command and does not stream.
    pub(super) fn call_foreign(
        &mut self,
        now: Now,
        number: CallNumber,
        target: NodeName,
        command: Option<(CommandPath, Vec<u8>, Vec<u8>)>,
    ) {
        let Some((path, args, kwargs)) = command else {
            let why = format!("{target} speaks an older protocol, which has commands only");
            return self.end_call(now, number, Err(Error::Refused(why)));
        };
        self.core.outputs.push_back(Output::ForeignCall {
            number,
            target,
            path,
            args,
            kwargs,
        });
    }
}
