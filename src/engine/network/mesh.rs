//! Networks without advertising: addresses that are dialled, and peers that are told of others.

use super::{Ctx, LinkId, Network, Phase};
use crate::engine::CallNumber;
use crate::engine::links::Links;
use crate::engine::peers::Peer;
use crate::error::Error;
use crate::reach::Word;
use crate::wire::peers::{self, Acquaintance, PEERS_TOLD_MAX};
use crate::wire::record::encode_peers;
use crate::wire::{Instance, Malformed};
use std::net::SocketAddr;
use std::time::Duration;

/// What programs ask for.
impl Network {
    /// How many calls wait for an address to be linked to.
    pub(crate) fn connects(&self) -> usize {
        self.mesh.waiting()
    }

    /// An address to be linked to, which [`Network::keep_seed`] or [`Network::connect`] is to be
    /// told of.
    pub(crate) fn seed(&mut self, ctx: &Ctx<'_>, address: SocketAddr) -> Result<usize, Error> {
        if ctx.phase == Phase::Stopped {
            return Err(Error::Stopped);
        }
        self.mesh.seed(ctx.now.at, address)
    }

    /// Keeps a seed for as long as this node runs.
    pub(crate) fn keep_seed(&mut self, ctx: &Ctx<'_>, seed: usize) {
        self.mesh.keep(ctx.now.at, seed);
    }

    /// Has a call wait for a seed to be linked to.
    pub(crate) fn connect(
        &mut self,
        ctx: &mut Ctx<'_>,
        seed: usize,
        number: CallNumber,
        timeout: Duration,
    ) {
        let until = ctx.now.at + timeout.min(ctx.config.limits.call_timeout);
        self.mesh.wait(ctx.now.at, seed, number, until);
        self.tick_mesh(ctx);
    }

    /// Calls that wait for an address wait in vain: the node is stopped.
    pub(crate) fn end_connects(&mut self, ctx: &mut Ctx<'_>, why: &Error) {
        self.mesh.end_all_waits(ctx.outputs, why);
    }

    /// Where this node's peers are, of those that are reached straight.
    pub(crate) fn acquaintances(&self) -> Vec<Acquaintance> {
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
}

/// What this node does for it.
impl Network {
    pub(crate) fn tick_mesh(&mut self, ctx: &mut Ctx<'_>) {
        let directory = &self.directory;
        self.mesh.end_waits(ctx, |peer| directory.reached(peer));
        if ctx.phase == Phase::Running {
            self.dial_seeds(ctx);
        }
        let (directory, links) = (&self.directory, &self.links);
        let has_guest = || directory.iter().any(|(_, peer)| is_guest(links, peer));
        if let Some(all) = self.mesh.take_news(ctx, has_guest) {
            self.tell_of_peers(ctx, all);
        }
    }

    /// Dials the seeds whose time has come. At the limit of sessions only those that a call waits
    /// for are dialled: each further session would end another one, also with a seed, which would
    /// be dialled again for that.
    fn dial_seeds(&mut self, ctx: &mut Ctx<'_>) {
        let directory = &self.directory;
        let undialled = self
            .mesh
            .undialled(|peer| directory.reached(peer).is_some());
        let taken = self.links.open_sessions() + self.mesh.dialling();
        let mut room = ctx.config.limits.sessions.saturating_sub(taken);
        for seed in undialled {
            let is_due = ctx.now.at >= seed.at;
            if is_due && room == 0 && !seed.is_wanted {
                // The end of a session, or of a dial, has the seeds looked at again.
                continue;
            }
            let link = (is_due && self.take_dial_slot(ctx))
                .then(|| self.links.dial(ctx, None, seed.address));
            room = room.saturating_sub(usize::from(link.is_some()));
            self.mesh.note_dial(ctx.now.at, seed, link);
        }
    }

    /// Tells every peer of all others, or of those that are new, as far as they can be of use
    /// there.
    fn tell_of_peers(&mut self, ctx: &mut Ctx<'_>, all: bool) {
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
                if !self.takes_more(ctx.config, link) {
                    break;
                }
                let mut body = Vec::new();
                peers::encode(some, &mut body);
                self.send_record(ctx, link, |sequence, out| {
                    encode_peers(sequence, &body, out)
                });
                self.mesh.note_told(link, some);
            }
        }
    }

    /// A peer tells of others.
    pub(crate) fn told_of_peers(
        &mut self,
        ctx: &mut Ctx<'_>,
        link: LinkId,
        body: &[u8],
    ) -> Result<(), Malformed> {
        let told = peers::decode(body)?;
        let Some(from) = self.session(link).map(|s| s.peer) else {
            return Ok(());
        };
        let place = self.links.address(link);
        let word = place.map_or(Word::Anyone, |place| Word::From(place.ip()));
        self.mesh.activate(ctx.now.at);
        let is_full = self.links.open_sessions() >= ctx.config.limits.max_peers;
        for other in told {
            self.directory.told_of(ctx, from, word, other, is_full);
        }
        Ok(())
    }
}

/// Whether a peer is reached straight that was not found by advertising: it does not find others
/// so either, and must be told of them, and they of it.
pub(super) fn is_guest(links: &Links, peer: &Peer) -> bool {
    !peer.advertises() && links.any_straight(peer.sessions())
}
