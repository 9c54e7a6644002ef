//! What it means for calls and streams that sessions and peers come and go.

use super::incoming::LOST;
use super::{Commands, Ctx, LinkId, Network, NodeName};
use crate::engine::ids::CallOver;
use crate::engine::links::{Met, Refuse};
use crate::engine::network::{AdvertOutcome, Proved, Rival};
use crate::engine::peers::{Leaver, Standing};
use crate::engine::{Distrust, Event};
use crate::wire::Instance;
use crate::wire::record::{CloseReason, Status};

/// Another node has our name and keeps it, so this node cannot take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameTaken;

/// Sessions that come up.
impl Commands {
    /// The side that asked has proved itself.
    pub(crate) fn session_opened(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
    ) -> Result<(), NameTaken> {
        self.session_up(ctx, network, link)?;
        if network.is_open(link) {
            // The side that asked has measured the way by now.
            network.send_ping(ctx, link);
        }
        Ok(())
    }

    /// A session is proved from both sides.
    pub(crate) fn session_up(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
    ) -> Result<(), NameTaken> {
        match network.proved(ctx, link) {
            None => {}
            Some(Proved::NameTaken) => return Err(NameTaken),
            Some(Proved::Namesake) => {
                self.close_session(ctx, network, link, CloseReason::NameConflict);
            }
            Some(Proved::Distrusted(peer, why)) => {
                self.close_session(ctx, network, link, why.close_reason());
                network.rest(&peer);
            }
            Some(Proved::OtherName) => self.refuse(ctx, network, link, Refuse::Hello),
            Some(Proved::HasLeft) => self.cut(ctx, network, link),
            Some(Proved::Welcome(met)) => self.welcome(ctx, network, link, &met),
        }
        Ok(())
    }

    /// A peer is in a session from now on.
    fn welcome(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, link: LinkId, met: &Met) {
        let (instance, name) = (met.instance, &met.name);
        if let Some(other) = network.meet(ctx, met) {
            self.drop_peer(ctx, network, other);
        }
        if let Some(idle) = network.session_to_evict(ctx, link) {
            self.close_session(ctx, network, idle, CloseReason::Idle);
        }
        let Some(new) = network.add_session(ctx, link, met) else {
            return;
        };
        for needless in new.needless {
            self.cut(ctx, network, needless);
        }
        // While a list is awaited that may revoke it, it is nobody to the program.
        if !network.waits_for_list(link) {
            self.take_place(ctx, network, instance, name);
        }
        if let Some(other) = new.other {
            let loser = network.loser(ctx, other, link, met);
            self.close_session(ctx, network, loser, CloseReason::Duplicate);
        }
        network.plan_for_session(ctx, link, instance);
        self.answers_go_on(ctx, network, instance);
        self.pump_calls(ctx, network, name);
    }

    /// A list that was awaited has come. If the peer of the session has stood it, the program is
    /// told of it, where it was not before.
    pub(super) fn list_has_come(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, link: LinkId) {
        if network.waits_for_list(link) {
            return;
        }
        if let Some(session) = network.session(link) {
            let (peer, name) = (session.peer, session.name.clone());
            if !network.is_announced(&peer) {
                self.take_place(ctx, network, peer, &name);
            }
        }
        self.pump(ctx, network, link);
    }

    /// A peer takes the place of its name, and the program is told.
    fn take_place(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        instance: Instance,
        name: &NodeName,
    ) {
        let restarted = self.supersede(ctx, network, instance, name);
        let is_news = network.announce(&instance);
        self.announce(ctx, network, name, is_news, restarted);
    }

    /// Other instances of the name give way, or are asked to show that they live. Whether a program
    /// knew one of them.
    fn supersede(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        instance: Instance,
        name: &NodeName,
    ) -> bool {
        let mut known = false;
        for other in network.rivals(instance, name) {
            known |= match network.supersede(ctx, other) {
                None => false,
                Some(Rival::Doubted { was_announced }) => was_announced,
                Some(Rival::Gone(peer)) => {
                    self.fail_calls(ctx, network, other, peer.name(), true);
                    peer.is_announced()
                }
            };
        }
        known
    }

    /// Tells the program that a peer is there: unless it knows, also from the older protocol.
    fn announce(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &Network,
        name: &NodeName,
        is_news: bool,
        restarted: bool,
    ) {
        let is_there = |name: &NodeName| network.is_there(name);
        let most = ctx.config.limits.peers;
        let told = self.compat.met_natively(most, name, is_there);
        if restarted {
            ctx.event(Event::PeerRestarted(name.clone()));
        } else if is_news && !told {
            ctx.event(Event::PeerJoined(name.clone()));
        }
    }
}

/// Sessions that end.
impl Commands {
    /// A session with a peer has ended: what it carried waits for another one.
    pub(super) fn session_ended(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        peer: Instance,
    ) {
        self.streams.unlink(link);
        if network.session_ended(link, &peer) {
            self.answers_cut_off(ctx, network, link, peer);
        }
        let standing = network.standing(ctx, peer);
        network.redial_seed(ctx, peer);
        match standing {
            Some(Standing::Replaced) => {
                if let Some(known) = network.remove_peer(&peer) {
                    self.fail_calls(ctx, network, peer, known.name(), true);
                }
            }
            Some(Standing::Left) => {
                if let Some(leaver) = network.leaver(&peer) {
                    self.peer_left(ctx, network, peer, leaver);
                }
            }
            Some(Standing::Stays) | None => {}
        }
        self.requeue_calls(ctx, network, link, peer);
    }

    /// The other side has closed a session, and says why.
    pub(super) fn closed_by_peer(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        reason: CloseReason,
    ) {
        let Some(peer) = network.session(link).map(|s| s.peer) else {
            return;
        };
        if reason == CloseReason::Leaving {
            network.note_goodbye(&peer);
            // It has left when the last of its sessions has ended: another one may still hold an
            // answer.
            self.close_at_once(ctx, network, link);
            network.challenge(ctx, peer);
        } else {
            if reason == CloseReason::Idle {
                network.evicted_by(peer);
            }
            if let Some(why) = Distrust::told_by(reason) {
                network.distrusted_by(ctx, link, why);
            }
            self.close_at_once(ctx, network, link);
            network.rest(&peer);
        }
        let name = network.name_of(&peer);
        if name.is_some_and(|name| self.calls.waits_for(name)) {
            network.want_dial(ctx, peer);
        }
    }
}

/// Peers that are gone.
impl Commands {
    /// Acts on what an advert leads to.
    pub(crate) fn act_on_advert(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        outcome: AdvertOutcome,
    ) {
        match outcome {
            AdvertOutcome::Left { instance, leaver } => {
                self.peer_left(ctx, network, instance, leaver);
            }
            AdvertOutcome::Alias { link, address } => {
                self.close_at_once(ctx, network, link);
                network.drop_alias(ctx, &address);
            }
        }
    }

    /// A peer has said goodbye, and is in no session any more.
    fn peer_left(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        instance: Instance,
        leaver: Leaver,
    ) {
        self.drop_peer(ctx, network, instance);
        self.withdraw_all(ctx, network, instance);
        network.remember_left(ctx, instance, leaver);
    }

    /// A peer is gone: it said so, or was not heard for too long.
    pub(crate) fn drop_peer(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        instance: Instance,
    ) {
        let Some(peer) = network.remove_peer(&instance) else {
            return;
        };
        for link in peer.links() {
            self.cut(ctx, network, link);
        }
        let name = peer.name();
        let restarted = network.resolve(name).is_some();
        self.fail_calls(ctx, network, instance, name, restarted);
        if self.compat.has(name) {
            // It was only heard natively, and never met: calls need not wait for that any longer.
            self.pump_calls(ctx, network, name);
        }
        if peer.is_announced() {
            ctx.event(Event::PeerLeft(name.clone()));
        }
    }

    /// An instance is gone for good, and with it the calls that it may have and their streams.
    /// `restarted` says whether another instance has taken its place.
    fn fail_calls(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        instance: Instance,
        name: &NodeName,
        restarted: bool,
    ) {
        self.fail_bound_calls(ctx, network, instance, name, restarted);
        self.fail_streams_of(ctx, network, instance);
    }

    /// The streams of the calls of a peer that is gone go no further. A large answer stays for as
    /// long as it is kept: the peer asks for it if it comes back, since the goodbye may be forged.
    fn fail_streams_of(&mut self, ctx: &mut Ctx<'_>, network: &mut Network, peer: Instance) {
        for call in self.streams.calls_of(peer) {
            if self.serving.owes_answer_only(call) {
                continue;
            }
            let over = CallOver {
                call,
                why: Some("the caller is gone"),
                reads: self.serving.reads(call),
            };
            self.end_streams(ctx, over);
            self.stop_collecting(ctx, network, call, Status::Refused, LOST);
        }
    }
}
