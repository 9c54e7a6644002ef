//! Networks without advertising: addresses that are dialled, and peers that are told of others.

use crate::engine::links::Links;
use crate::engine::peers::Peer;
use crate::engine::{CallNumber, Engine, LinkId, Now, Phase};
use crate::error::Error;
use crate::reach::Word;
use crate::wire::Instance;
use crate::wire::peers::{self, Acquaintance, PEERS_TOLD_MAX};
use crate::wire::record::encode_peers;
use std::net::SocketAddr;
use std::time::Duration;

impl Engine {
    /// Dials an address, to reach whichever node is there. Its end comes as
    /// [`Output::Ended`](crate::engine::Output::Ended), with the name of the node that answered; from
    /// then on the address is dialled again whenever the link is lost.
    pub fn connect(
        &mut self,
        now: Now,
        address: SocketAddr,
        timeout: Duration,
    ) -> Result<CallNumber, Error> {
        self.check_room_for_call(0)?;
        let seed = self.seed(now, address)?;
        let number = self.calls.take_number();
        let until = now.at + timeout.min(self.core.config.limits.call_timeout);
        self.mesh.wait(now.at, seed, number, until);
        self.tick_mesh(now);
        Ok(number)
    }

    /// An address to be linked to, for as long as this node runs.
    pub fn add_seed(&mut self, now: Now, address: SocketAddr) -> Result<(), Error> {
        let seed = self.seed(now, address)?;
        self.mesh.keep(now.at, seed);
        Ok(())
    }

    fn seed(&mut self, now: Now, address: SocketAddr) -> Result<usize, Error> {
        if self.phase == Phase::Stopped {
            return Err(Error::Stopped);
        }
        self.mesh.seed(now.at, address)
    }

    /// Where this node's peers are, of those that are reached straight.
    pub fn acquaintances(&self) -> Vec<Acquaintance> {
        let peers = self.directory.iter();
        let straight = peers.filter(|(_, peer)| self.links.any_straight(peer.sessions()));
        let direct = straight.filter_map(|(instance, peer)| {
            Some(Acquaintance {
                instance: *instance,
                name: peer.name().clone(),
                address: peer.address()?,
            })
        });
        direct.collect()
    }

    pub(in crate::engine) fn tick_mesh(&mut self, now: Now) {
        let directory = &self.directory;
        self.mesh
            .end_waits(&mut self.core.at(now), |peer| directory.reached(peer));
        if self.phase == Phase::Running {
            self.dial_seeds(now);
        }
        let (directory, links) = (&self.directory, &self.links);
        let has_guest = || directory.iter().any(|(_, peer)| is_guest(links, peer));
        if let Some(all) = self.mesh.take_news(&mut self.core.at(now), has_guest) {
            self.tell_of_peers(now, all);
        }
    }

    fn dial_seeds(&mut self, now: Now) {
        let directory = &self.directory;
        let undialled = self
            .mesh
            .undialled(|peer| directory.reached(peer).is_some());
        for seed in undialled {
            let link = (now.at >= seed.at && self.may_dial(now))
                .then(|| self.links.dial(&mut self.core.at(now), None, seed.address));
            self.mesh.dials(now.at, seed, link);
        }
    }

    /// Tells every peer of all others, or of those that are new, as far as they can be of use
    /// there.
    fn tell_of_peers(&mut self, now: Now, all: bool) {
        let known = self.acquaintances();
        // Also those that nobody can dial.
        let peers: Vec<Instance> = self.directory.iter().map(|(i, _)| *i).collect();
        for to in peers {
            let Some(link) = self.best_session(to) else {
                continue;
            };
            let Some(place) = self.links.address(link) else {
                continue;
            };
            let untold = self.mesh.untold(link, (to, place), &known, all);
            for some in untold.chunks(PEERS_TOLD_MAX) {
                if !self.takes_more(link) {
                    break;
                }
                let mut body = Vec::new();
                peers::encode(some, &mut body);
                self.send_record(now, link, |sequence, out| {
                    encode_peers(sequence, &body, out)
                });
                self.mesh.were_told(link, some);
            }
        }
    }

    /// A peer tells of others.
    pub(super) fn told_of_peers(&mut self, now: Now, link: LinkId, body: &[u8]) {
        let Ok(told) = peers::decode(body) else {
            return self.violation(now, link);
        };
        let Some(from) = self.session(link).map(|s| s.peer) else {
            return;
        };
        let place = self.links.address(link);
        let word = place.map_or(Word::Anyone, |place| Word::From(place.ip()));
        self.mesh.activate(now.at);
        let is_full = self.links.open_sessions() >= self.core.config.limits.max_peers;
        for other in told {
            let ctx = &mut self.core.at(now);
            self.directory.told_of(ctx, from, word, other, is_full);
        }
    }

    /// Calls that wait for an address wait in vain: the node is stopped.
    pub(in crate::engine) fn end_connects(&mut self, why: &Error) {
        self.mesh.end_all_waits(&mut self.core.outputs, why);
    }
}

/// Whether a peer is reached straight that was not found by advertising: it does not find others so
/// either, and must be told of them, and they of it.
pub(super) fn is_guest(links: &Links, peer: &Peer) -> bool {
    !peer.advertises() && links.any_straight(peer.sessions())
}
