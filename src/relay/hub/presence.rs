//! The members of each network: their routes, their sealed adverts, held and handed on, and their
//! leaving.
//!
//! A relay is a LAN that is far away, but one that loses nothing: an advert is handed on when it is
//! new, not again and again.
//!
//! A network's adverts are numbered as they are handed on. A member that is too slow for one, or
//! new, is handed from its number on what is the latest then, as it takes it: what waits for it
//! does not grow, however much the others have to tell.

use super::context::Ctx;
use super::waits::Waits;
use crate::frame::FrameType;
use crate::limits::{DATAGRAM_MAX, RelayLimits};
use crate::name::NetworkName;
use crate::protocol::{LinkId, Time};
use crate::rate::Throttle;
use crate::site_share::is_within_share;
use crate::table::Table;
use crate::wire::relay::{Refusal, Route, encode_forward};
use std::net::IpAddr;

/// One member, as the others know it.
#[derive(Debug)]
struct Present {
    network: NetworkName,
    route: Route,
    site: IpAddr,
    /// The frame of its latest advert; empty before it has sent one.
    advert: Box<[u8]>,
    /// The number of the advert that was handed on last; 0 before one was.
    version: u64,
    /// When that was.
    handed: Option<Time>,
}

/// The members of a network, and the numbers of their adverts.
#[derive(Debug)]
struct Network {
    members: Table<LinkId, ()>,
    /// The member of each number.
    adverts: Table<u64, LinkId>,
    /// The latest number.
    version: u64,
    /// How fast adverts are handed on.
    speed: Throttle,
    /// The site of its first member.
    site: IpAddr,
}

impl Network {
    fn new(limits: &RelayLimits, site: IpAddr, now: Time) -> Network {
        Network {
            members: Table::default(),
            adverts: Table::default(),
            version: 0,
            speed: Throttle::new(advert_burst(limits), now),
            site,
        }
    }
}

fn advert_burst(limits: &RelayLimits) -> u32 {
    limits.advert_bytes_per_second.saturating_mul(2)
}

/// The first of a network's adverts from some number on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Numbered<'a> {
    pub(super) version: u64,
    pub(super) of: LinkId,
    /// A whole frame.
    pub(super) advert: &'a [u8],
}

/// A member that is gone, for the others to be told.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) route: Route,
    /// The number of its last advert; 0 if none was handed on.
    pub(super) version: u64,
    /// The frame of that.
    pub(super) advert: Box<[u8]>,
    pub(super) others: Vec<LinkId>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Presence {
    members: Table<LinkId, Box<Present>>,
    networks: Table<NetworkName, Network>,
    routes: Table<Route, LinkId>,
    /// Members whose newest advert waits to be handed on.
    waits: Waits,
}

impl Presence {
    /// When the first advert that waits may be handed on.
    pub(super) fn due(&self) -> Time {
        self.waits.due()
    }

    /// Members of all networks.
    pub(super) fn members(&self) -> usize {
        self.members.len()
    }

    pub(super) fn networks(&self) -> usize {
        self.networks.len()
    }

    #[cfg(feature = "compat")]
    pub(super) fn has_network(&self, name: &NetworkName) -> bool {
        self.networks.contains_key(name)
    }

    pub(super) fn link_of(&self, route: &Route) -> Option<LinkId> {
        self.routes.get(route).copied()
    }

    pub(super) fn site(&self, id: LinkId) -> Option<IpAddr> {
        self.members.get(&id).map(|member| member.site)
    }

    /// Makes a link a member of a network; its route, or why it may not join.
    pub(super) fn join(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        name: &NetworkName,
        site: IpAddr,
    ) -> Result<Route, Refusal> {
        self.check_room(ctx.limits(), name, site)?;
        let route = Route::draw(ctx.entropy);
        self.routes.insert(route, id);
        let (limits, now) = (ctx.limits(), ctx.now.at);
        self.networks
            .or_insert_with(name.clone(), || Network::new(limits, site, now))
            .members
            .insert(id, ());
        let present = Present {
            network: name.clone(),
            route,
            site,
            advert: Box::default(),
            version: 0,
            handed: None,
        };
        self.members.insert(id, Box::new(present));
        Ok(route)
    }

    fn check_room(
        &self,
        limits: &RelayLimits,
        name: &NetworkName,
        site: IpAddr,
    ) -> Result<(), Refusal> {
        if let Some(network) = self.networks.get(name) {
            let all = network.members.len();
            let has_room = all < limits.members
                && is_within_share(all + 1, self.members_of(network, site), limits.members);
            return match has_room {
                true => Ok(()),
                false => Err(Refusal::Full),
            };
        }
        let of_site = self.networks.values().filter(|n| n.site == site).count();
        let all = self.networks.len();
        match all < limits.networks && is_within_share(all + 1, of_site, limits.networks) {
            true => Ok(()),
            false => Err(Refusal::Networks),
        }
    }

    /// The members of a network that joined from a site.
    fn members_of(&self, network: &Network, site: IpAddr) -> usize {
        let members = network.members.keys().filter_map(|id| self.members.get(id));
        members.filter(|member| member.site == site).count()
    }

    /// Takes in what a member tells of itself; whether it was not waiting before, so that it may be
    /// due.
    pub(super) fn advertise(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        payload: &[u8],
    ) -> Result<bool, Refusal> {
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(false);
        };
        if payload.len() > DATAGRAM_MAX || payload.contains(&b'.') {
            return Err(Refusal::Frame);
        }
        ctx.stats.adverts += 1;
        let mut frame = Vec::with_capacity(payload.len() + 128);
        let network = member.network.as_str();
        encode_forward(
            network,
            &member.route,
            FrameType::ADVERT,
            &mut frame,
            |out| {
                out.extend_from_slice(payload);
            },
        );
        member.advert = frame.into_boxed_slice();
        let is_new = !self.waits.contains(id);
        if is_new {
            let interval = ctx.limits().advert_interval;
            let next = member.handed.map_or(ctx.now.at, |at| at + interval);
            self.waits.insert(id, next);
        }
        Ok(is_new)
    }

    /// Whether an advert of a member waits.
    pub(super) fn waits(&self, id: LinkId) -> bool {
        self.waits.contains(id)
    }

    /// Takes out the members whose time to have an advert handed on has come. First those of the
    /// site that had one handed on the longest ago, so that many of one site do not keep others
    /// waiting.
    pub(super) fn take_due(
        &mut self,
        now: Time,
        site_handed: impl Fn(IpAddr) -> Option<Time>,
    ) -> Vec<LinkId> {
        let mut due = self.waits.take_due(now);
        due.sort_by_cached_key(|id| {
            let member = self.members.get(id)?;
            // Of one site, too, the one that has waited longest.
            Some((site_handed(member.site)?, member.handed))
        });
        due
    }

    /// An advert waits on until then. The latest of its member waits, and is not lost.
    pub(super) fn postpone(&mut self, id: LinkId, until: Time) {
        self.waits.insert(id, until);
    }

    fn network_of(&mut self, id: LinkId) -> Option<(&Present, &mut Network)> {
        let member = self.members.get(&id)?;
        let network = self.networks.get_mut(&member.network)?;
        Some((member, network))
    }

    /// Until when a member's advert must wait, because its network has too much to tell.
    pub(super) fn busy_until(&mut self, ctx: &Ctx<'_>, id: LinkId) -> Option<Time> {
        let limits = ctx.limits();
        let (rate, burst) = (limits.advert_bytes_per_second, advert_burst(limits));
        let (_, network) = self.network_of(id)?;
        network.speed.charge(0, rate, burst, ctx.now.at)
    }

    /// Counts the bytes of a member's advert for each member of its network.
    pub(super) fn charge(&mut self, ctx: &Ctx<'_>, id: LinkId) {
        let limits = ctx.limits();
        let (rate, burst) = (limits.advert_bytes_per_second, advert_burst(limits));
        if let Some((member, network)) = self.network_of(id) {
            let bytes = member.advert.len() * network.members.len();
            network.speed.charge(bytes, rate, burst, ctx.now.at);
        }
    }

    /// Gives a member's advert its number, with which it is handed on.
    pub(super) fn number(&mut self, id: LinkId, now: Time) -> Option<u64> {
        let member = self.members.get_mut(&id)?;
        member.handed = Some(now);
        let network = self.networks.get_mut(&member.network)?;
        network.version += 1;
        network.adverts.remove(&member.version);
        network.adverts.insert(network.version, id);
        member.version = network.version;
        Some(network.version)
    }

    /// The frame of a member's latest advert.
    pub(super) fn advert(&self, id: LinkId) -> &[u8] {
        self.members.get(&id).map_or(&[], |member| &member.advert)
    }

    /// All other members of its network.
    pub(super) fn others(&self, id: LinkId) -> impl Iterator<Item = LinkId> {
        let member = self.members.get(&id);
        let network = member.and_then(|member| self.networks.get(&member.network));
        let members = network.into_iter().flat_map(|n| n.members.keys()).copied();
        members.filter(move |other| *other != id)
    }

    /// The first advert of a member's network from this number on.
    pub(super) fn next(&self, id: LinkId, from: u64) -> Option<Numbered<'_>> {
        let member = self.members.get(&id)?;
        let adverts = &self.networks.get(&member.network)?.adverts;
        let (version, of) = adverts.from(&from).next()?;
        Some(Numbered {
            version: *version,
            of: *of,
            advert: self.advert(*of),
        })
    }

    /// A link is gone: if it was a member, its route leads nowhere any more.
    pub(super) fn leave(&mut self, id: LinkId) -> Option<Left> {
        let others = self.others(id).collect();
        let member = self.members.remove(&id)?;
        self.waits.remove(id);
        self.routes.remove(&member.route);
        if let Some(network) = self.networks.get_mut(&member.network) {
            network.members.remove(&id);
            network.adverts.remove(&member.version);
            if network.members.is_empty() {
                self.networks.remove(&member.network);
            }
        }
        Some(Left {
            route: member.route,
            version: member.version,
            advert: member.advert,
            others,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::Core;
    use super::super::context::tests::{at, core};
    use super::*;

    fn net(text: &str) -> NetworkName {
        NetworkName::new(text).unwrap()
    }

    fn site(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn join(
        core: &mut Core,
        presence: &mut Presence,
        id: u64,
        name: &str,
    ) -> Result<Route, Refusal> {
        presence.join(&mut core.at(at(1)), LinkId(id), &net(name), site(id as u8))
    }

    fn plant(members: u64) -> (Core, Presence) {
        let limits = RelayLimits {
            members: 4,
            networks: 4,
            advert_bytes_per_second: 1_000,
            ..RelayLimits::default()
        };
        let (mut core, mut presence) = (core(limits), Presence::default());
        for id in 1..=members {
            join(&mut core, &mut presence, id, "plant").unwrap();
        }
        (core, presence)
    }

    #[test]
    fn each_member_has_a_route_until_it_leaves() {
        let (mut core, mut presence) = plant(1);
        let route = join(&mut core, &mut presence, 2, "plant").unwrap();
        assert_eq!(presence.link_of(&route), Some(LinkId(2)));
        let left = presence.leave(LinkId(2)).unwrap();
        assert_eq!((left.route, left.others), (route, vec![LinkId(1)]));
        assert_eq!(presence.link_of(&route), None);
        assert!(presence.leave(LinkId(2)).is_none());
        presence.leave(LinkId(1));
        assert_eq!((presence.networks(), presence.members()), (0, 0));
    }

    #[test]
    fn a_network_has_its_members_at_most_and_a_site_its_share_of_networks() {
        let (mut core, mut presence) = plant(4);
        let full = join(&mut core, &mut presence, 5, "plant");
        assert_eq!(full, Err(Refusal::Full));
        let mut begin = |id: u64, from| {
            let name = net(&format!("n{id}"));
            presence.join(&mut core.at(at(1)), LinkId(id), &name, site(from))
        };
        assert!(begin(6, 9).is_ok() && begin(7, 9).is_ok());
        assert_eq!(
            begin(8, 9),
            Err(Refusal::Networks),
            "it leaves one for others"
        );
        assert!(begin(9, 8).is_ok());
        assert_eq!(begin(10, 7), Err(Refusal::Networks));
    }

    #[test]
    fn a_site_has_its_share_of_a_networks_members_and_leaves_places_for_others() {
        let (mut core, mut presence) = plant(0);
        let mut join = |id, from| {
            let (ctx, name) = (&mut core.at(at(1)), net("plant"));
            presence.join(ctx, LinkId(id), &name, site(from)).is_ok()
        };
        let joined = (1..=20).filter(|id| join(*id, 9));
        assert_eq!(joined.count(), 2, "half, as long as it is alone");
        assert!(join(30, 8) && join(31, 7));
        assert!(!join(32, 6), "it is full");
    }

    #[test]
    fn an_advert_is_handed_on_at_once_and_the_next_after_the_interval() {
        let (mut core, mut presence) = plant(3);
        let id = LinkId(1);
        let mut advertise = |presence: &mut Presence, seconds, payload: &[u8]| {
            presence.advertise(&mut core.at(at(seconds)), id, payload)
        };
        assert_eq!(advertise(&mut presence, 1, b"gA"), Ok(true));
        assert_eq!(presence.take_due(at(1).at, |_| None), [id]);
        assert_eq!(presence.number(id, at(1).at), Some(1));
        assert_eq!(advertise(&mut presence, 1, b"gB"), Ok(true));
        assert_eq!(
            advertise(&mut presence, 1, b"gC"),
            Ok(false),
            "the latest waits"
        );
        assert!(presence.take_due(at(1).at, |_| None).is_empty());
        assert_eq!(presence.due(), at(2).at);
        assert_eq!(presence.take_due(at(2).at, |_| None), [id]);
        let others: Vec<u64> = presence.others(id).map(|id| id.0).collect();
        assert_eq!(others, [2, 3]);
        assert!(presence.advert(id).windows(2).any(|w| w == b"gC"));
        assert_eq!(advertise(&mut presence, 2, b"g.A"), Err(Refusal::Frame));
        let long = vec![b'A'; DATAGRAM_MAX + 1];
        assert_eq!(advertise(&mut presence, 2, &long), Err(Refusal::Frame));
    }

    #[test]
    fn the_site_that_was_handed_on_the_longest_ago_comes_first() {
        let (mut core, mut presence) = plant(3);
        for id in 1..=3 {
            presence
                .advertise(&mut core.at(at(1)), LinkId(id), b"gA")
                .unwrap();
        }
        let handed = |ip: IpAddr| Some(at(if ip == site(1) { 9 } else { 5 }).at);
        let due = presence.take_due(at(1).at, handed);
        assert_eq!(due, [LinkId(2), LinkId(3), LinkId(1)]);
    }

    #[test]
    fn a_network_that_tells_too_much_is_busy_for_a_while() {
        let (mut core, mut presence) = plant(4);
        let id = LinkId(1);
        let ctx = &mut core.at(at(1));
        presence.advertise(ctx, id, &[b'A'; 1_000]).unwrap();
        assert_eq!(presence.busy_until(ctx, id), None);
        presence.charge(ctx, id);
        let until = presence.busy_until(ctx, id).unwrap();
        assert!(
            until > at(3).at,
            "four times 1 000 bytes, of which 2 000 may go at once"
        );
        assert_eq!(presence.busy_until(&core.at(at(9)), id), None);
    }

    #[test]
    fn a_member_that_lacks_adverts_finds_them_by_number_and_each_at_its_latest() {
        let (mut core, mut presence) = plant(3);
        for (id, payload) in [(1, b"gA"), (2, b"gB"), (1, b"gC")] {
            presence
                .advertise(&mut core.at(at(1)), LinkId(id), payload)
                .unwrap();
            presence.number(LinkId(id), at(1).at);
        }
        let next = |presence: &Presence, from| {
            let next = presence.next(LinkId(3), from);
            next.map(|next| (next.version, next.of.0))
        };
        assert_eq!(
            next(&presence, 0),
            Some((2, 2)),
            "the first of 1 has another number now"
        );
        assert_eq!(next(&presence, 3), Some((3, 1)));
        assert_eq!(next(&presence, 4), None);
        let left = presence.leave(LinkId(1)).unwrap();
        assert_eq!(left.version, 3);
        assert_eq!(next(&presence, 3), None);
    }
}
