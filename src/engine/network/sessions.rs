//! Sessions: what a new one changes, and what the end of one does.

use super::mesh::is_guest;
use super::{Ctx, LinkId, Network, NodeName};
use crate::engine::links::Met;
use crate::engine::peers::{Admission, Made, NewSession, Peer, Standing};
use crate::engine::{Distrust, Path};
use crate::wire::Instance;

/// What a session leads to that was just proved from both sides.
#[derive(Debug)]
pub(crate) enum Proved {
    /// Its peer goes by our name and keeps it, so this node cannot take part.
    NameTaken,
    /// Its peer goes by our name as well: the session is to end.
    Namesake,
    /// Its peer is known under another name: the link is to be refused.
    OtherName,
    /// Its peer has left meanwhile: the link is to end.
    HasLeft,
    /// Its peer may not go by its name: the session is to end, and [`Network::rest`] to follow.
    Distrusted(Instance, Distrust),
    /// It is good. [`Network::meet`] and [`Network::add_session`] are to follow.
    Welcome(Met),
}

/// What becomes of another instance of a name when one has proved to have it.
#[derive(Debug)]
pub(crate) enum Rival {
    /// It is in a session, and has to show that it lives. `was_announced` says whether the program
    /// was told that it is there.
    Doubted { was_announced: bool },
    /// It is not in a session, and is forgotten.
    Gone(Box<Peer>),
}

/// How a session comes up.
impl Network {
    /// The session on a link is proved from both sides.
    pub(crate) fn proved(&mut self, ctx: &mut Ctx<'_>, id: LinkId) -> Option<Proved> {
        let met = self.links.met(id)?;
        let (who, what) = ((&met.name, &met.key), (&met.shown, met.probing));
        if let Err(why) = self.trust.admit(ctx, id, who, what) {
            self.mesh.seed_failed(ctx, id);
            return Some(Proved::Distrusted(met.instance, why));
        }
        self.links.prove_way(id);
        self.hand_on_list(ctx, id);
        if ctx.is_own_name(&met.name) && self.trust.waits_for_list(id) {
            // The list may say that this one was revoked, and has lost the name.
            self.mesh.seed_failed(ctx, id);
            return Some(Proved::Distrusted(met.instance, Distrust::OldList));
        }
        if let Some(address) = met.address {
            self.presence.know(ctx.now.at, address.ip());
            self.strangers.met(address.ip());
        }
        ctx.stats.sessions += 1;
        let proved = if ctx.is_own_name(&met.name) {
            self.met_namesake(ctx, &met)
        } else {
            match self.directory.admits(&met.instance, &met.name) {
                Admission::Welcome => Proved::Welcome(met),
                Admission::OtherName => Proved::OtherName,
                Admission::HasLeft => Proved::HasLeft,
            }
        };
        if !matches!(proved, Proved::Welcome(_) | Proved::NameTaken) {
            // A seed whose session is closed at once is dialled again.
            self.mesh.seed_failed(ctx, id);
        }
        Some(proved)
    }

    /// Makes a peer known that has proved itself. The peer is returned that is to be dropped for
    /// it, if the directory is full.
    pub(crate) fn meet(&mut self, ctx: &Ctx<'_>, met: &Met) -> Option<Instance> {
        self.directory.meet(ctx, met.instance, &met.name)
    }

    /// The session that has to end for the new one on this link, if there are more than the limit.
    pub(crate) fn session_to_evict(&mut self, ctx: &mut Ctx<'_>, id: LinkId) -> Option<LinkId> {
        let evicted = self.links.session_to_evict(ctx.config.limits.sessions, id);
        ctx.stats.sessions_evicted += u64::from(evicted.is_some());
        evicted
    }

    /// A known peer is in a session on this link from now on. Once others have acted on what that
    /// leads to, [`Network::plan_for_session`] is to follow.
    pub(crate) fn add_session(
        &mut self,
        ctx: &Ctx<'_>,
        id: LinkId,
        met: &Met,
    ) -> Option<NewSession> {
        let made = Made {
            link: id,
            key: met.key,
            dialled: met.dialled,
            address: met.address,
        };
        self.directory.session_up(ctx, &met.instance, made)
    }

    /// The program is told of a peer, unless it was already. Says whether it was not.
    pub(crate) fn announce(&mut self, instance: &Instance) -> bool {
        self.directory.announce(instance)
    }

    /// Whether the program was told of a peer.
    pub(crate) fn is_announced(&self, instance: &Instance) -> bool {
        let peer = self.directory.get(instance);
        peer.is_some_and(Peer::is_announced)
    }

    /// The other instances that go by a name.
    pub(crate) fn rivals(&self, instance: Instance, name: &NodeName) -> Vec<Instance> {
        let all = self.directory.instances(name).iter().copied();
        all.filter(|other| *other != instance).collect()
    }

    /// Another instance has proved to go by the name of this one, which gives way, or is asked to
    /// show that it lives. `None` if it is not known.
    pub(crate) fn supersede(&mut self, ctx: &mut Ctx<'_>, other: Instance) -> Option<Rival> {
        if self.directory.sessions(&other).is_empty() {
            return Some(Rival::Gone(self.directory.remove(&other)?));
        }
        let was_announced = self.directory.doubt(&other);
        self.challenge(ctx, other);
        Some(Rival::Doubted { was_announced })
    }

    /// Which of two sessions with one peer is to end.
    pub(crate) fn loser(&self, ctx: &Ctx<'_>, old: LinkId, new: LinkId, met: &Met) -> LinkId {
        match self.links.prefers_new(ctx, old, met) {
            true => old,
            false => new,
        }
    }

    /// Plans what a new session changes: how its peer is reached, which dials are still wanted, and
    /// which peers are told of it.
    pub(crate) fn plan_for_session(&mut self, ctx: &mut Ctx<'_>, id: LinkId, instance: Instance) {
        self.update_path(ctx, instance);
        self.directory.plan_direct(ctx, instance);
        self.plan_comparison(ctx, instance);
        let peer = self.directory.get(&instance);
        let is_guest = peer.is_some_and(|peer| is_guest(&self.links, peer));
        if let Some(name) = peer.map(Peer::name) {
            let met = (instance, name);
            self.mesh.session_up(ctx.now.at, id, met, is_guest);
        }
    }

    /// Has a peer show that it lives, or else its sessions are closed.
    pub(crate) fn challenge(&mut self, ctx: &mut Ctx<'_>, instance: Instance) {
        let sessions = self.directory.sessions(&instance);
        self.links.challenge(ctx, sessions);
    }

    /// A peer that was challenged has shown that it lives.
    pub(crate) fn note_alive(&mut self, peer: &Instance) {
        self.directory.note_alive(peer);
    }

    /// Looks again how a peer is reached.
    fn update_path(&mut self, ctx: &mut Ctx<'_>, instance: Instance) {
        let path = self.best_session(instance);
        let path = path.and_then(|id| match self.links.way(id) {
            Some((carrier, _)) => self.relays.address(carrier).cloned().map(Path::Relay),
            None => Some(Path::Direct),
        });
        self.directory.set_path(ctx, &instance, path);
    }
}

/// How a session ends, and peers with it.
impl Network {
    /// The session on a link has ended. Says whether its peer is known.
    pub(crate) fn session_ended(&mut self, id: LinkId, peer: &Instance) -> bool {
        self.mesh.unlink(id);
        self.trust.session_ended(id);
        self.directory.session_down(peer, id)
    }

    /// What becomes of a peer after a session with it has ended, if it is known. One that stays is
    /// dialled again. Once others have acted on this, [`Network::redial_seed`] is to follow.
    pub(crate) fn standing(&mut self, ctx: &mut Ctx<'_>, peer: Instance) -> Option<Standing> {
        let standing = self.directory.standing(&peer);
        if standing == Some(Standing::Stays) {
            self.directory.plan_redial(ctx, peer);
            self.update_path(ctx, peer);
        }
        standing
    }

    /// A session with a peer has ended, and it is known what becomes of the peer: if the peer was
    /// at a seed, that is dialled again.
    pub(crate) fn redial_seed(&mut self, ctx: &mut Ctx<'_>, peer: Instance) {
        if self.directory.reached(&peer).is_none() {
            self.mesh.peer_lost(ctx, peer);
        }
        self.mesh.session_down(ctx.now.at);
    }

    /// The other side closes a session because it has more than it may have.
    pub(crate) fn evicted_by(&mut self, peer: Instance) {
        self.mesh.evicted_by(peer);
    }

    /// A peer says goodbye in a session.
    pub(crate) fn note_goodbye(&mut self, peer: &Instance) {
        self.directory.note_goodbye(peer);
    }

    /// The other side has closed a session because it has no use for it.
    pub(crate) fn rest(&mut self, peer: &Instance) {
        self.directory.rest(peer);
    }

    /// Forgets a peer. Its links are to end.
    pub(crate) fn remove_peer(&mut self, peer: &Instance) -> Option<Box<Peer>> {
        self.directory.remove(peer)
    }
}

/// Which peers there are.
impl Network {
    /// Whether any peer of this name is known.
    pub(crate) fn is_there(&self, name: &NodeName) -> bool {
        !self.directory.instances(name).is_empty()
    }

    /// The one instance that a name means, if any is there.
    pub(crate) fn resolve(&self, name: &NodeName) -> Option<Instance> {
        self.directory.resolve(name)
    }

    /// The name of a peer, if that is known.
    pub(crate) fn name_of(&self, peer: &Instance) -> Option<&NodeName> {
        self.directory.get(peer).map(Peer::name)
    }

    /// The links on which sessions with a peer are open.
    pub(crate) fn sessions(&self, peer: &Instance) -> &[LinkId] {
        self.directory.sessions(peer)
    }

    /// Whether a peer is known that is in no session and has not said goodbye, so that it may come
    /// back.
    pub(crate) fn may_come_back(&self, peer: &Instance) -> bool {
        let peer = self.directory.get(peer);
        peer.is_some_and(|peer| peer.sessions().is_empty() && !peer.has_left())
    }

    /// The peers that the program was told of.
    pub(crate) fn announced_peers(&self) -> impl Iterator<Item = (Instance, &NodeName)> {
        let announced = self
            .directory
            .iter()
            .filter(|(_, peer)| peer.is_announced());
        announced.map(|(instance, peer)| (*instance, peer.name()))
    }
}
