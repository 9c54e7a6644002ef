//! The peers that speak the protocol of PeerBase 0.7.1, as the calls of this engine see them: names
//! that another engine reaches.
//!
//! Calls to them are kept with all other calls and end exactly once, but are handed out as
//! [`Output::CompatCall`]. What these peers ask comes in by
//! [`Engine::compat_request`](crate::engine::Engine::compat_request), and is answered with
//! [`Engine::reply`](crate::engine::Engine::reply). A name that a native peer has had is not handed
//! to one of these, however loudly it is claimed, since what they say is not proven. Of native
//! peers that have gone the names are remembered as long as there is room. A name that is new is
//! given a moment to be met natively, too.

use super::ask::{Ask, Request};
use crate::address::RelayAddress;
use crate::engine::context::Ctx;
use crate::engine::{Config, Event, Output, Path, PeerInfo, RelayFault, RequestId, Time};
use crate::name::NodeName;
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::record::Status;
use std::net::SocketAddr;
use std::sync::Arc;

/// Stands for the caller of what such peers ask. No node has this instance, since instances are
/// hashes; and it stays the same when this node takes another identity.
const PYTHON: Instance = Instance([0; 16]);

/// Where a peer is that speaks the protocol of PeerBase 0.7.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompatPlace {
    /// Its address, if it is reached straight.
    pub address: Option<SocketAddr>,
    /// Or else the relay it is at.
    pub relay: Option<RelayAddress>,
}

#[derive(Debug)]
struct Known {
    place: CompatPlace,
    /// When calls may go to it: until then the same name may be met natively.
    usable: Time,
}

/// All peers of the protocol of PeerBase 0.7.1, and what they ask.
#[derive(Debug, Default)]
pub(crate) struct CompatPeers {
    peers: Table<NodeName, Known>,
    /// Names that native peers have had: which of them was met last, counted from 0.
    native: Table<NodeName, u64>,
    /// How often a native peer was met.
    met: u64,
    /// The tickets of requests that the program has not answered, and whether their callers still
    /// wait.
    served: Table<u64, bool>,
    /// Whether there may be any such peers.
    is_expected: bool,
    /// When the next peer becomes usable.
    due: Option<Time>,
}

/// Whether a request was made by such a peer.
pub(crate) fn is_request(id: RequestId) -> bool {
    id.caller == PYTHON
}

/// The peers.
impl CompatPeers {
    /// There may be such peers.
    pub(crate) fn expect(&mut self) {
        self.is_expected = true;
    }

    /// Whether calls to a name that is not known natively go to such a peer, now or soon.
    pub(crate) fn has(&self, name: &NodeName) -> bool {
        self.peers.contains_key(name) && !self.native.contains_key(name)
    }

    /// Whether they go there now.
    pub(crate) fn is_usable(&self, now: Time, name: &NodeName) -> bool {
        self.has(name) && self.peers.get(name).is_some_and(|p| now >= p.usable)
    }

    /// When calls to another peer may go.
    pub(crate) fn due(&self) -> Time {
        self.due.unwrap_or(Time::NEVER)
    }

    /// The peers, except those whose names native peers have had.
    pub(crate) fn infos(&self) -> impl Iterator<Item = PeerInfo> {
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
            key: None,
        })
    }

    /// A native peer has proved to have this name, which stays native: at most `most` names do, of
    /// which those that `is_there` says yes to are never forgotten. Says whether the program knows
    /// already that a node of this name is there.
    pub(crate) fn met_natively(
        &mut self,
        most: usize,
        name: &NodeName,
        is_there: impl Fn(&NodeName) -> bool,
    ) -> bool {
        let told = self.has(name);
        let is_known = self.native.contains_key(name);
        if self.is_expected && !is_known && self.native.len() >= most {
            self.forget_natives(is_there);
        }
        if self.is_expected && (is_known || self.native.len() < most) {
            self.native.insert(name.clone(), self.met);
            self.met += 1;
        }
        told
    }

    /// Forgets half of the native names, those that were met the longest ago, unless they are
    /// there. A program that runs for one call has a name of its own, so there may be any number.
    fn forget_natives(&mut self, is_there: impl Fn(&NodeName) -> bool) {
        let mut met: Vec<u64> = self.native.values().copied().collect();
        met.sort_unstable();
        let median = met.get(met.len() / 2).copied().unwrap_or(0);
        self.native
            .retain(|name, met| *met >= median || is_there(name));
    }

    /// A peer is at this place now, or is gone.
    pub(crate) fn peer(&mut self, ctx: &mut Ctx<'_>, name: NodeName, place: Option<CompatPlace>) {
        let is_native = self.native.contains_key(&name);
        let Some(place) = place else {
            if self.peers.remove(&name).is_some() && !is_native {
                ctx.event(Event::PeerLeft(name));
            }
            return;
        };
        if let Some(known) = self.peers.get_mut(&name) {
            known.place = place;
            return;
        }
        let usable = ctx.now.at + ctx.config.limits.compat_grace;
        self.due = Some(self.due().min(usable));
        self.peers.insert(name.clone(), Known { place, usable });
        if !is_native {
            ctx.event(Event::PeerJoined(name));
        }
    }

    /// The peers that have become usable by now.
    pub(crate) fn usable_now(&mut self, now: Time) -> Vec<NodeName> {
        let later = self.peers.values().map(|p| p.usable);
        let next = later.filter(|usable| *usable > now).min();
        let since = std::mem::replace(&mut self.due, next).unwrap_or(now);
        let is_fresh = |known: &Known| known.usable >= since && known.usable <= now;
        let fresh = self.peers.iter().filter(|(_, known)| is_fresh(known));
        fresh.map(|(name, _)| name.clone()).collect()
    }
}

/// What the program is told when a relay that such peers are at answers, or does not. A relay of
/// this node speaks for itself.
pub(crate) fn relay_event(
    config: &Config,
    relay: RelayAddress,
    state: Result<(), RelayFault>,
) -> Option<Event> {
    if config.relays.contains(&relay) {
        return None;
    }
    Some(match state {
        Ok(()) => Event::RelayUp(relay),
        Err(why) => Event::RelayDown { relay, why },
    })
}

/// What these peers ask.
impl CompatPeers {
    /// How many requests the program has not answered.
    pub(crate) fn requests(&self) -> usize {
        self.served.len()
    }

    /// A peer calls a command of this node.
    pub(crate) fn request(&mut self, ctx: &mut Ctx<'_>, ticket: u64, caller: NodeName, ask: Ask) {
        self.served.insert(ticket, true);
        ctx.stats.served += 1;
        ctx.outputs.push_back(Output::Request(Request {
            id: RequestId {
                caller: PYTHON,
                number: ticket,
            },
            caller,
            key: None,
            roles: Arc::default(),
            ask,
            streams: false,
            deadline: ctx.now.at + ctx.config.limits.call_timeout,
        }));
    }

    /// The caller does not wait any more. The program still has the request, which counts until it
    /// is answered.
    pub(crate) fn withdrawn(&mut self, ticket: u64) {
        if let Some(is_wanted) = self.served.get_mut(&ticket) {
            *is_wanted = false;
        }
    }

    /// Whether the caller waits for the answer to a request.
    pub(crate) fn is_wanted(&self, id: RequestId) -> bool {
        self.served.get(&id.number) == Some(&true)
    }

    /// The program's answer to a request. The other engine is told of it even if no caller waits,
    /// because it counts the request until then; it gets no body in that case.
    pub(crate) fn reply(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: RequestId,
        status: Status,
        body: Vec<u8>,
    ) {
        let ticket = id.number;
        let is_wanted = self.served.remove(&ticket);
        if is_wanted != Some(true) {
            ctx.stats.replies_late += 1;
        }
        if let Some(is_wanted) = is_wanted {
            let body = if is_wanted { body } else { Vec::new() };
            let reply = Output::CompatReply(ticket, status, body);
            ctx.outputs.push_back(reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Now;
    use crate::engine::fixture::core;

    fn name(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    fn place() -> Option<CompatPlace> {
        Some(CompatPlace {
            address: None,
            relay: None,
        })
    }

    #[test]
    fn a_new_peer_is_usable_after_a_moment_and_a_native_name_never_is() {
        let (mut core, mut peers) = (core(), CompatPeers::default());
        peers.expect();
        assert!(!peers.met_natively(8, &name("native"), |_| true));
        let mut now = Now::default();
        for each in ["old", "native"] {
            peers.peer(&mut core.at(now), name(each), place());
        }
        assert!(peers.has(&name("old")) && !peers.is_usable(now.at, &name("old")));
        assert!(!peers.has(&name("native")));
        now.at = peers.due();
        assert!(peers.usable_now(now.at).contains(&name("old")));
        assert!(peers.is_usable(now.at, &name("old")));
        assert_eq!(peers.due(), Time::NEVER);
        assert!(peers.infos().map(|info| info.name).eq([name("old")]));
        let told: Vec<_> = core.outputs.iter().collect();
        assert!(
            matches!(&told[..], [Output::Event(Event::PeerJoined(who))] if *who == name("old")),
            "{told:?}"
        );
    }

    #[test]
    fn native_names_are_bounded_and_the_older_ones_give_way_unless_they_are_there() {
        let mut peers = CompatPeers::default();
        peers.expect();
        let there = name("n1");
        for n in 0..100 {
            peers.met_natively(8, &name(&format!("n{n}")), |name| *name == there);
            assert!(peers.native.len() <= 8);
            assert!(peers.native.contains_key(&name(&format!("n{n}"))));
        }
        assert!(peers.native.contains_key(&there));
        assert!(!peers.native.contains_key(&name("n0")));
        peers.met_natively(8, &name("n97"), |_| true);
        assert_eq!(peers.native.get(&name("n97")), Some(&100), "met again");
    }

    #[test]
    fn a_request_is_answered_once_and_counts_until_then_even_after_it_was_withdrawn() {
        let (mut core, mut peers) = (core(), CompatPeers::default());
        let mut ctx = core.at(Now::default());
        for ticket in 0..2 {
            peers.request(&mut ctx, ticket, name("old"), Ask::Message(Vec::new()));
        }
        let id = |ticket| RequestId {
            caller: PYTHON,
            number: ticket,
        };
        peers.withdrawn(1);
        assert!(peers.is_wanted(id(0)) && !peers.is_wanted(id(1)));
        assert_eq!(peers.requests(), 2, "the program still has both");
        for ticket in [0, 0, 1] {
            peers.reply(&mut ctx, id(ticket), Status::Value, b"7".to_vec());
        }
        assert_eq!((ctx.stats.served, ctx.stats.replies_late), (2, 2));
        assert_eq!(peers.requests(), 0);
        let replies = core.outputs.iter().filter_map(|output| match output {
            Output::CompatReply(ticket, _, body) => Some((*ticket, &body[..])),
            _ => None,
        });
        assert!(replies.eq([(0, &b"7"[..]), (1, b"")]));
    }
}
