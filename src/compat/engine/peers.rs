//! The peers that are known through compat: from adverts on the LAN, and from what relays say.

use super::context::Ctx;
use super::{Config, Output, Place};
use crate::address::RelayAddress;
use crate::compat::advert::Advert;
use crate::json::quoted;
use crate::logging::record;
use crate::name::NodeName;
use crate::protocol::Time;
use crate::share::is_within_share;
use crate::table::Table;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// A node is gone when it was not heard for this long: three and a half of its intervals.
const EXPIRY: Duration = Duration::from_millis(3_500);

#[derive(Debug)]
struct Heard {
    address: SocketAddrV4,
    expires: Time,
}

/// How many of the peers that the native engine was told of are at relays. No relay has more of
/// them than it leaves for others: what a relay says is not proven.
#[derive(Debug, Default)]
struct AtRelays {
    all: usize,
    each: Table<RelayAddress, usize>,
}

impl AtRelays {
    /// Whether one more peer may be at a relay, if there may be `most` at all relays together.
    fn has_room_at(&self, relay: &RelayAddress, most: usize) -> bool {
        let own = self.each.get(relay).copied().unwrap_or(0);
        is_within_share(self.all + 1, own + 1, most)
    }

    fn add(&mut self, relay: RelayAddress) {
        self.all += 1;
        *self.each.or_insert_with(relay, || 0) += 1;
    }

    fn remove(&mut self, relay: &RelayAddress) {
        if let Some(own) = self.each.get_mut(relay) {
            self.all -= 1;
            *own -= 1;
            if *own == 0 {
                self.each.remove(relay);
            }
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Peers {
    lan: Table<NodeName, Heard>,
    /// Where the native engine was told that they are.
    told: Table<NodeName, Place>,
    at_relays: AtRelays,
    due: Time,
}

impl Default for Peers {
    fn default() -> Peers {
        Peers {
            lan: Table::default(),
            told: Table::default(),
            at_relays: AtRelays::default(),
            due: Time::NEVER,
        }
    }
}

/// Whether calls may be sent to where a node says to be: any program can say so. Not to this host's
/// own services, unless it comes from this host, and to no address that is nobody's or everybody's.
fn is_credible(claim: Ipv4Addr, near: bool, loopback: bool) -> bool {
    match claim.is_loopback() {
        true => near,
        false => {
            !(loopback || claim.is_unspecified() || claim.is_multicast() || claim.is_broadcast())
        }
    }
}

/// The datagram to broadcast from an interface of this address.
pub(super) fn advert(config: &Config, interface: Ipv4Addr) -> Vec<u8> {
    let ip = config.address.unwrap_or(interface);
    Advert {
        network: config.network.clone(),
        name: config.name.clone(),
        address: SocketAddrV4::new(ip, config.port),
    }
    .encode()
}

impl Peers {
    /// When the first is gone if it is not heard.
    pub(super) fn due(&self) -> Time {
        self.due
    }

    pub(super) fn lan_address(&self, name: &NodeName) -> Option<SocketAddrV4> {
        self.lan.get(name).map(|heard| heard.address)
    }

    /// The peers on the LAN and their addresses, as a Python node tells of its own.
    pub(super) fn lan_text(&self) -> String {
        let entry = |(name, place): (&NodeName, &Place)| match place {
            Place::Lan(a) => Some(format!(
                "{}:[\"{}\",{}]",
                quoted(name.as_str()),
                a.ip(),
                a.port()
            )),
            Place::Relay(_) => None,
        };
        let list: Vec<String> = self.told.iter().filter_map(entry).collect();
        format!("{{{}}}", list.join(","))
    }

    /// A datagram came on the advertise port, from this host if `near`; the peer that is new with
    /// it.
    pub(super) fn hear(&mut self, ctx: &mut Ctx<'_>, near: bool, bytes: &[u8]) -> Option<NodeName> {
        let config = ctx.config;
        let Some(advert) = Advert::decode(bytes) else {
            *ctx.refused += 1;
            return None;
        };
        // Our own come back to us.
        if advert.network != config.network || advert.name == config.name {
            return None;
        }
        if !is_credible(*advert.address.ip(), near, config.loopback) {
            record!(Debug, "{} cannot be at {}", advert.name, advert.address);
            *ctx.refused += 1;
            return None;
        }
        let (address, expires) = (advert.address, ctx.now.at + EXPIRY);
        if let Some(heard) = self.lan.get_mut(&advert.name) {
            // The node that has the name keeps it for as long as it is heard there. It may have
            // several addresses.
            if heard.address == address {
                heard.expires = expires;
            }
            return None;
        }
        if self.lan.len() >= config.limits.peers {
            *ctx.refused += 1;
            return None;
        }
        let heard = Heard { address, expires };
        self.lan.insert(advert.name.clone(), heard);
        self.due = self.due.min(expires);
        Some(advert.name)
    }

    /// Forgets those that were not heard for too long, and says which.
    pub(super) fn expire(&mut self, now: Time) -> Vec<NodeName> {
        let over = self.lan.iter().filter(|(_, heard)| now >= heard.expires);
        let over = over.map(|(name, _)| name.clone()).collect();
        self.lan.retain(|_, heard| now < heard.expires);
        let due = self.lan.values().map(|heard| heard.expires).min();
        self.due = due.unwrap_or(Time::NEVER);
        over
    }

    /// Tells where a peer is, if that is news; `relay` is one that has it. A peer for which there
    /// is no room is told to be nowhere.
    pub(super) fn tell(
        &mut self,
        ctx: &mut Ctx<'_>,
        name: &NodeName,
        relay: Option<&RelayAddress>,
    ) {
        let lan = self.lan_address(name).map(Place::Lan);
        let mut place = lan.or_else(|| relay.cloned().map(Place::Relay));
        if self.told.get(name) == place.as_ref() || *name == ctx.config.name {
            return;
        }
        let before = self.told.remove(name);
        if let Some(Place::Relay(relay)) = &before {
            self.at_relays.remove(relay);
        }
        if let Some(Place::Relay(relay)) = &place {
            if self.at_relays.has_room_at(relay, ctx.config.limits.peers) {
                self.at_relays.add(relay.clone());
            } else {
                *ctx.refused += 1;
                place = None;
            }
        }
        if let Some(place) = &place {
            self.told.insert(name.clone(), place.clone());
        }
        if before != place {
            ctx.outputs.push_back(Output::Peer(name.clone(), place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::Core;
    use super::super::context::tests::{at, core, name};
    use super::*;
    use crate::limits::Limits;

    fn alone() -> (Core, Peers) {
        let limits = Limits {
            peers: 2,
            ..Limits::default()
        };
        (core(limits), Peers::default())
    }

    /// Whether an advert made a peer known.
    fn hear(core: &mut Core, peers: &mut Peers, ms: u64, text: &str) -> bool {
        let (ctx, near) = (&mut core.at(at(ms)), false);
        peers.hear(ctx, near, text.as_bytes()).is_some()
    }

    #[test]
    fn a_node_keeps_its_name_and_address_while_it_is_heard() {
        let (mut core, mut peers) = alone();
        assert!(hear(&mut core, &mut peers, 0, "plant.beta|10.0.0.2:5"));
        assert!(!hear(&mut core, &mut peers, 1_000, "plant.beta|10.0.0.9:5"));
        assert_eq!(peers.lan_address(&name("beta")), "10.0.0.2:5".parse().ok());
        assert!(!hear(&mut core, &mut peers, 3_000, "plant.beta|10.0.0.2:5"));
        assert!(peers.expire(at(3_500).at).is_empty(), "it was heard at 3 s");
        assert_eq!(peers.due(), at(6_500).at);
        assert_eq!(peers.expire(at(6_500).at), [name("beta")]);
        assert_eq!((peers.due(), core.refused), (Time::NEVER, 0));
    }

    #[test]
    fn adverts_of_others_our_own_and_incredible_ones_make_no_peer_known() {
        let (mut core, mut peers) = alone();
        assert!(!hear(&mut core, &mut peers, 0, "hall.beta|10.0.0.2:5"));
        assert!(!hear(&mut core, &mut peers, 0, "plant.alpha|10.0.0.2:5"));
        assert_eq!(core.refused, 0, "these are no fault");
        for text in ["noise", "plant.beta|127.0.0.1:5", "plant.beta|224.0.0.1:5"] {
            assert!(!hear(&mut core, &mut peers, 0, text), "{text}");
        }
        assert_eq!(core.refused, 3);
        for other in ["b", "c", "d"] {
            hear(
                &mut core,
                &mut peers,
                0,
                &format!("plant.{other}|10.0.0.2:5"),
            );
        }
        assert_eq!((peers.lan.len(), core.refused), (2, 4), "they are bounded");
        let near = peers.hear(&mut core.at(at(9_000)), true, b"plant.e|127.0.1.1:5");
        assert_eq!(near, None, "still full");
    }

    #[test]
    fn a_peers_place_is_told_when_it_is_news_and_the_lan_comes_first() {
        let (mut core, mut peers) = alone();
        let (beta, relay) = (name("beta"), RelayAddress::new("relay:80").unwrap());
        peers.tell(&mut core.at(at(0)), &beta, Some(&relay));
        peers.tell(&mut core.at(at(0)), &beta, Some(&relay));
        assert_eq!(core.outputs.len(), 1);
        assert_eq!(peers.lan_text(), "{}");
        hear(&mut core, &mut peers, 0, "plant.beta|10.0.0.2:5");
        peers.tell(&mut core.at(at(0)), &beta, Some(&relay));
        assert_eq!(peers.lan_text(), "{\"beta\":[\"10.0.0.2\",5]}");
        peers.expire(at(9_000).at);
        peers.tell(&mut core.at(at(9_000)), &beta, None);
        let told: Vec<Option<Place>> = core
            .outputs
            .drain(..)
            .map(|output| match output {
                Output::Peer(_, place) => place,
                output => panic!("{output:?}"),
            })
            .collect();
        let lan = Place::Lan("10.0.0.2:5".parse().unwrap());
        assert_eq!(told, [Some(Place::Relay(relay)), Some(lan), None]);
    }

    #[test]
    fn a_relay_that_invents_peers_leaves_room_for_those_of_others() {
        let limits = Limits {
            peers: 8,
            ..Limits::default()
        };
        let (mut core, mut peers) = (core(limits), Peers::default());
        let [evil, other] = ["evil:1", "other:1"].map(|text| RelayAddress::new(text).unwrap());
        let mut tell = |peers: &mut Peers, n: u32, relay: Option<&RelayAddress>| {
            let ctx = &mut core.at(at(0));
            let before = ctx.outputs.len();
            peers.tell(ctx, &name(&format!("n{n}")), relay);
            ctx.outputs.len() > before
        };
        let told = (0..100).filter(|n| tell(&mut peers, *n, Some(&evil)));
        assert_eq!(told.count(), 4, "half, while it is alone");
        assert!(tell(&mut peers, 200, Some(&other)) && tell(&mut peers, 201, Some(&other)));
        assert!(!tell(&mut peers, 202, Some(&other)), "as much as is left");
        assert!(tell(&mut peers, 0, None) && tell(&mut peers, 1, None));
        assert!(tell(&mut peers, 202, Some(&other)), "there is room again");
        assert!(tell(&mut peers, 201, Some(&evil)), "it has moved");
        assert_eq!(peers.at_relays.all, 5);
    }
}
