//! The network: how this node finds other nodes, and the sessions through which it reaches them.
//!
//! ```text
//! advert --> directory --> dial --> link --> hello --> session
//!               ^                     |
//!               +---- its end --------+
//! ```
//!
//! [`Network`] owns the parts that do this, and hands what one of them returns to the next. It
//! knows nothing of commands and answers. What others must act on it returns as a value: [`Came`]
//! is what came on a link, [`LinkEnd`] a link that has ended, [`AdvertOutcome`] what an advert
//! leads to, [`Greeted`] what a hello leads to, and [`Proved`] what a session leads to that was
//! just proved. The caller acts on such a value before it hands in anything else, so that all that
//! happens has one order.
//!
//! `adverts` fill the directory, and `dialling` makes links of what it plans. `name_probe` asks
//! whether this node's name is taken. `handshake` answers hellos, `sessions` begin and end, `links`
//! is what goes out and how a link ends. `relays` are joined, `mesh` finds peers without
//! advertising, and `trust` is who may go by which name.

mod adverts;
mod dialling;
mod handshake;
mod links;
mod mesh;
mod name_probe;
mod relays;
mod sessions;
#[cfg(test)]
mod tests;
mod trust;

pub(crate) use adverts::AdvertOutcome;
pub(crate) use handshake::Greeted;
pub(crate) use links::LinkEnd;
pub(crate) use sessions::{Proved, Rival};

use super::context::{Ctx, Phase};
use super::links::{Came, Links};
use super::peers::{Advertiser, Dialler, Directory, Mesh, NameClaims, Presence, Strangers};
use super::relays::Relays;
use super::trust::Trust;
use super::{Config, LinkId, PeerInfo, Ping, Stats, Time};
use crate::name::NodeName;

/// Says of a name whether a call waits for a peer that has it. Such a peer is dialled sooner.
pub(crate) type Wanted<'a> = &'a dyn Fn(&NodeName) -> bool;

/// The parts that find and reach other nodes.
pub(crate) struct Network {
    advertiser: Advertiser,
    presence: Presence,
    strangers: Strangers,
    name_claims: NameClaims,
    directory: Directory,
    dialler: Dialler,
    mesh: Mesh,
    links: Links,
    relays: Relays,
    trust: Trust,
    /// Where the plaintexts of adverts, hellos and the network's own records are put together.
    plain: Vec<u8>,
}

/// When each part of the network has something to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NetworkTimers {
    pub(crate) adverts: Time,
    pub(crate) relays: Time,
    pub(crate) links: Time,
    pub(crate) peers: Time,
    pub(crate) mesh: Time,
}

impl Network {
    pub(crate) fn new(config: &Config, now: Time) -> Network {
        let trust = Trust::new(config);
        let mut links = Links::default();
        links.note_list(trust.list_version());
        Network {
            advertiser: Advertiser::new(now),
            presence: Presence::default(),
            strangers: Strangers::default(),
            name_claims: NameClaims::default(),
            directory: Directory::default(),
            dialler: Dialler::default(),
            mesh: Mesh::default(),
            links,
            relays: Relays::new(config, now),
            trust,
            plain: Vec::new(),
        }
    }

    #[inline]
    pub(crate) fn timers(&self) -> NetworkTimers {
        NetworkTimers {
            adverts: self.advertiser.due(),
            relays: self.relays.due(),
            links: self.links.due(),
            peers: self.directory.due(),
            mesh: self.mesh.due(),
        }
    }

    /// Takes in the next frame of what was kept of a link and `bytes`, which loses what is taken of
    /// it. What came, and on which link; it may lie in `opened`, where tokens are opened. `None`
    /// when more bytes are needed, or the link is no more.
    #[inline]
    pub(crate) fn next<'o>(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        bytes: &mut &[u8],
        opened: &'o mut Vec<u8>,
    ) -> Option<(LinkId, Came<'o>)> {
        self.links.next(ctx, id, bytes, opened)
    }

    /// The node has stopped, and every link is closed: forgets which relays and peers there are.
    pub(crate) fn forget_all(&mut self) {
        self.relays = Relays::default();
        self.directory = Directory::default();
        self.mesh = Mesh::default();
        self.trust.forget_sessions();
    }

    /// The peers that are there, one entry for each name.
    pub(crate) fn infos(&self, now: Time) -> impl Iterator<Item = PeerInfo> {
        self.directory
            .infos()
            .into_iter()
            .map(move |(instance, mut info)| {
                let best = self.best_session(instance);
                let measured = best.and_then(|id| self.links.round_trip(now, id));
                info.ping = measured.map(|(round_trip, ago)| Ping { round_trip, ago });
                info
            })
    }

    /// Whether a peer of this name is one of [`Network::infos`].
    pub(crate) fn lists(&self, name: &NodeName) -> bool {
        self.directory.lists(name)
    }

    /// Fills in how much of everything there is now.
    pub(crate) fn count(&self, stats: &mut Stats) {
        stats.peers = self.directory.count() as u64;
        stats.links = self.links.len() as u64;
        stats.relays_up = self.relays.joined() as u64;
        stats.routes = self.links.routes() as u64;
    }
}
