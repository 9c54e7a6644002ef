//! Who is known by the old protocol: from adverts on the LAN, and from what relays say.

use super::super::advert::Advert;
use super::{Engine, Output};
use crate::address::RelayAddress;
use crate::logging::record;
use crate::name::NodeName;
use crate::protocol::{Now, Time};
use crate::table::Table;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// A node is gone when it was not heard for this long: three and a half of its intervals.
const EXPIRY: Duration = Duration::from_millis(3_500);

/// Where a peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the LAN.
    Lan(SocketAddrV4),
    /// At this relay.
    Relay(RelayAddress),
}

#[derive(Debug)]
struct Heard {
    address: SocketAddrV4,
    expires: Time,
}

#[derive(Debug)]
pub(super) struct Peers {
    lan: Table<NodeName, Heard>,
    /// Where the native engine was told that they are.
    told: Table<NodeName, Place>,
    due: Time,
}

impl Default for Peers {
    fn default() -> Peers {
        Peers {
            lan: Table::default(),
            told: Table::default(),
            due: Time::NEVER,
        }
    }
}

impl Peers {
    pub(super) fn due(&self) -> Time {
        self.due
    }

    /// Everybody, and where.
    pub(super) fn told(&self) -> impl Iterator<Item = (&NodeName, &Place)> {
        self.told.iter()
    }

    pub(super) fn lan_address(&self, name: &NodeName) -> Option<SocketAddrV4> {
        self.lan.get(name).map(|heard| heard.address)
    }
}

/// Whether calls may be sent to where somebody says to be: the protocol has it from anybody. Not to this
/// host's own services, unless it comes from this host, and to nobody in general.
fn is_credible(claim: Ipv4Addr, near: bool, loopback: bool) -> bool {
    match claim.is_loopback() {
        true => near,
        false => {
            !(loopback || claim.is_unspecified() || claim.is_multicast() || claim.is_broadcast())
        }
    }
}

impl Engine {
    /// The datagram to broadcast from an interface of this address.
    pub fn advert(&self, interface: Ipv4Addr) -> Vec<u8> {
        let ip = self.config.address.unwrap_or(interface);
        Advert {
            network: self.config.network.clone(),
            name: self.config.name.clone(),
            address: SocketAddrV4::new(ip, self.config.port),
        }
        .encode()
    }

    /// A datagram came on the advertise port; `near` if from this host, by whatever interface: there a host's
    /// name often means 127.0.1.1.
    pub fn datagram(&mut self, now: Now, near: bool, bytes: &[u8]) {
        if !self.running {
            return;
        }
        let Some(advert) = Advert::decode(bytes) else {
            self.refused += 1;
            return;
        };
        // Our own come back to us.
        if advert.network != self.config.network || advert.name == self.config.name {
            return;
        }
        if !is_credible(*advert.address.ip(), near, self.config.loopback) {
            record!(Debug, "{} cannot be at {}", advert.name, advert.address);
            self.refused += 1;
            return;
        }
        let expires = now.at + EXPIRY;
        let full = self.peers.lan.len() >= self.config.limits.peers;
        match self.peers.lan.get_mut(&advert.name) {
            Some(heard) if heard.address == advert.address => heard.expires = expires,
            // Whoever has the name keeps it for as long as it is heard there. It may have several addresses.
            Some(_) => {}
            None if full => self.refused += 1,
            None => {
                let address = advert.address;
                let heard = Heard { address, expires };
                self.peers.lan.insert(advert.name.clone(), heard);
                self.peers.due = self.peers.due.min(expires);
                self.tell_place(&advert.name);
            }
        }
    }

    pub(super) fn expire_peers(&mut self, now: Now) {
        let lan = &mut self.peers.lan;
        let over = lan.iter().filter(|(_, heard)| now.at >= heard.expires);
        let over: Vec<NodeName> = over.map(|(name, _)| name.clone()).collect();
        lan.retain(|_, heard| now.at < heard.expires);
        let due = lan.values().map(|heard| heard.expires).min();
        self.peers.due = due.unwrap_or(Time::NEVER);
        for name in over {
            self.tell_place(&name);
        }
    }

    /// Tells where a peer is, if that is news.
    pub(super) fn tell_place(&mut self, name: &NodeName) {
        let relayed = || {
            self.relays
                .of(name)
                .next()
                .map(|r| Place::Relay(r.address.clone()))
        };
        let lan = self.peers.lan_address(name).map(Place::Lan);
        let place = lan.or_else(relayed);
        if self.peers.told.get(name) == place.as_ref() || *name == self.config.name {
            return;
        }
        match &place {
            Some(place) => self.peers.told.insert(name.clone(), place.clone()),
            None => drop(self.peers.told.remove(name)),
        }
        self.outputs.push_back(Output::Peer(name.clone(), place));
    }
}
