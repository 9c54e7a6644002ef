//! The peers that are known through compat: from adverts on the LAN, and from what relays say.

use super::context::Ctx;
use super::{Config, Output, Place};
use crate::address::RelayAddress;
use crate::compat::advert::Advert;
use crate::json::quoted;
use crate::logging::record;
use crate::name::NodeName;
use crate::protocol::Time;
use crate::rate::Rate;
use crate::reach::{Word, may_dial};
use crate::shares::{Amount, Shares};
use crate::site_share::is_within_share;
use crate::table::Table;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// A node is gone when it was not heard for this long: three and a half of its intervals.
const EXPIRY: Duration = Duration::from_millis(3_500);

#[derive(Debug)]
struct Heard {
    address: SocketAddrV4,
    /// The address that the advert came from.
    source: IpAddr,
    expires: Time,
}

/// Whether there may be one more peer on the word of a source, if there may be `most` of all. No
/// source has more of them than it leaves for others, because what it says is not proven.
fn has_room<S: Ord>(shares: &Shares<S>, source: &S, most: usize) -> bool {
    let all = shares.all().count;
    all < most && is_within_share(all + 1, shares.of(source).count, most)
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Peers {
    lan: Table<NodeName, Heard>,
    /// Adverts of peers that are not known yet which are taken in.
    adverts: Rate,
    /// How many peers are heard from each address.
    heard: Shares<IpAddr>,
    /// Where the native engine was told that they are.
    told: Table<NodeName, Place>,
    /// How many of those are at each relay.
    at_relays: Shares<RelayAddress>,
    due: Time,
}

impl Default for Peers {
    fn default() -> Peers {
        Peers {
            lan: Table::default(),
            adverts: Rate::default(),
            heard: Shares::default(),
            told: Table::default(),
            at_relays: Shares::default(),
            due: Time::NEVER,
        }
    }
}

/// Whether calls may be sent to where a node says to be: any program can say so. `near` is whether
/// the advert came from this host, by whatever interface.
fn is_credible(claim: SocketAddrV4, source: IpAddr, near: bool, loopback: bool) -> bool {
    let source = match near {
        true => Ipv4Addr::LOCALHOST.into(),
        false => source,
    };
    may_dial(claim.into(), Word::From(source)) && (!loopback || claim.ip().is_loopback())
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
    pub(super) fn hear(
        &mut self,
        ctx: &mut Ctx<'_>,
        source: IpAddr,
        near: bool,
        bytes: &[u8],
    ) -> Option<NodeName> {
        let (config, source) = (ctx.config, source.to_canonical());
        let Some(advert) = Advert::decode(bytes) else {
            *ctx.refused += 1;
            return None;
        };
        // Our own come back to us.
        if advert.network != config.network || advert.name == config.name {
            return None;
        }
        let (address, expires) = (advert.address, ctx.now.at + EXPIRY);
        if let Some(heard) = self.lan.get_mut(&advert.name) {
            // The node that has the name keeps it for as long as it is heard there, however many
            // others there are. It may have several addresses.
            if heard.address == address {
                heard.expires = expires;
            }
            return None;
        }
        let per_second = config.limits.adverts_per_second;
        if !self.adverts.take(ctx.now.at, per_second) {
            *ctx.refused += 1;
            return None;
        }
        if !is_credible(address, source, near, config.loopback) {
            record!(Debug, "{} cannot be at {address}", advert.name);
            *ctx.refused += 1;
            return None;
        }
        if !has_room(&self.heard, &source, config.limits.peers) {
            *ctx.refused += 1;
            return None;
        }
        self.heard.add(source, Amount::one(0));
        let heard = Heard {
            address,
            source,
            expires,
        };
        self.lan.insert(advert.name.clone(), heard);
        self.due = self.due.min(expires);
        Some(advert.name)
    }

    /// Forgets those that were not heard for too long, and says which.
    pub(super) fn expire(&mut self, now: Time) -> Vec<NodeName> {
        let mut over = Vec::new();
        for (name, heard) in self.lan.iter().filter(|(_, heard)| now >= heard.expires) {
            self.heard.remove(&heard.source, Amount::one(0));
            over.push(name.clone());
        }
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
            self.at_relays.remove(relay, Amount::one(0));
        }
        if let Some(Place::Relay(relay)) = &place {
            if has_room(&self.at_relays, relay, ctx.config.limits.peers) {
                self.at_relays.add(relay.clone(), Amount::one(0));
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

    /// Whether an advert made a peer known, which came from where it says.
    fn hear(core: &mut Core, peers: &mut Peers, ms: u64, text: &str) -> bool {
        let address = text.split_once('|').and_then(|(_, at)| at.parse().ok());
        let source = address.map_or(IpAddr::from([10, 0, 0, 9]), |at: SocketAddrV4| {
            (*at.ip()).into()
        });
        hear_from(core, peers, ms, source, text)
    }

    fn hear_from(core: &mut Core, peers: &mut Peers, ms: u64, source: IpAddr, text: &str) -> bool {
        let (ctx, near) = (&mut core.at(at(ms)), false);
        peers.hear(ctx, source, near, text.as_bytes()).is_some()
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
        let from = IpAddr::from([10, 0, 0, 9]);
        for text in ["noise", "plant.beta|127.0.0.1:5", "plant.beta|224.0.0.1:5"] {
            assert!(!hear_from(&mut core, &mut peers, 0, from, text), "{text}");
        }
        assert_eq!(core.refused, 3);
        for (last, other) in [(2, "b"), (3, "c"), (4, "d")] {
            let text = format!("plant.{other}|10.0.0.{last}:5");
            hear(&mut core, &mut peers, 0, &text);
        }
        assert_eq!((peers.lan.len(), core.refused), (2, 4), "they are bounded");
        let ctx = &mut core.at(at(9_000));
        let near = peers.hear(ctx, from, true, b"plant.e|127.0.1.1:5");
        assert_eq!(near, None, "still full");
    }

    #[test]
    fn a_link_local_address_is_believed_from_a_neighbour_only() {
        let (mut core, mut peers) = alone();
        let text = "plant.beta|169.254.169.254:80";
        let mut hears = |from: [u8; 4]| hear_from(&mut core, &mut peers, 0, from.into(), text);
        assert!(!hears([10, 0, 0, 9]));
        assert!(hears([169, 254, 1, 1]));
    }

    #[test]
    fn an_address_that_invents_peers_leaves_room_for_those_of_others() {
        let (mut core, mut peers) = alone();
        core.config.limits.peers = 8;
        let mut hears = |peers: &mut Peers, ms, name: u32, last: u8| {
            let (source, text) = ([10, 0, 0, last], format!("plant.n{name}|10.0.0.2:5"));
            hear_from(&mut core, peers, ms, source.into(), &text)
        };
        let heard = (0..100).filter(|name| hears(&mut peers, 0, *name, 9));
        assert_eq!(heard.count(), 4, "half, while it is alone");
        assert!(hears(&mut peers, 0, 200, 8) && hears(&mut peers, 0, 201, 7));
        assert_eq!(peers.expire(at(3_500).at).len(), 6);
        assert_eq!((peers.heard.all().count, peers.heard.sources()), (0, 0));
        assert!(hears(&mut peers, 3_500, 0, 9));
    }

    #[test]
    fn so_many_adverts_of_unknown_peers_are_taken_in_each_second() {
        let (mut core, mut peers) = alone();
        core.config.limits.adverts_per_second = 1;
        assert!(hear(&mut core, &mut peers, 0, "plant.beta|10.0.0.2:5"));
        assert!(!hear(&mut core, &mut peers, 0, "plant.gamma|10.0.0.3:5"));
        assert_eq!(core.refused, 1);
        assert!(hear(&mut core, &mut peers, 1_000, "plant.gamma|10.0.0.3:5"));
    }

    #[test]
    fn a_peer_that_is_known_stays_whatever_a_flood_of_adverts_takes_up() {
        let (mut core, mut peers) = alone();
        core.config.limits.adverts_per_second = 10;
        assert!(hear(&mut core, &mut peers, 0, "plant.beta|10.0.0.2:5"));
        for second in 1..10 {
            for n in 0..100 {
                let flood = format!("plant.n{n}|127.0.0.1:5");
                let from = IpAddr::from([10, 0, 0, 9]);
                hear_from(&mut core, &mut peers, second * 1_000, from, &flood);
            }
            hear(
                &mut core,
                &mut peers,
                second * 1_000,
                "plant.beta|10.0.0.2:5",
            );
            assert_eq!(peers.expire(at(second * 1_000).at), []);
        }
        assert_eq!(core.refused, 900, "none of the flood");
        assert!(peers.lan_address(&name("beta")).is_some());
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
        assert_eq!(peers.at_relays.all().count, 5);
    }
}
