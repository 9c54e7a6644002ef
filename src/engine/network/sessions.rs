//! Sessions: what a new one changes, and what the end of one does.

use super::mesh::is_guest;
use crate::engine::links::{Met, Refuse};
use crate::engine::peers::{Admission, Made, Standing};
use crate::engine::{Engine, Event, LinkId, Now, Path, Phase};
use crate::name::NodeName;
use crate::wire::Instance;
use crate::wire::record::CloseReason;

impl Engine {
    pub(super) fn is_probing(&self) -> bool {
        matches!(self.phase, Phase::Probing { .. })
    }

    /// The side that asked has proved itself with its first record.
    pub(super) fn session_opened(&mut self, now: Now, id: LinkId) {
        self.session_up(now, id);
        if self.links.is_open(id) {
            // The side that asked has measured the way by now.
            self.send_ping(now, id);
        }
    }

    /// A session is proved from both sides.
    pub(super) fn session_up(&mut self, now: Now, id: LinkId) {
        let Some(met) = self.links.met(id) else {
            return;
        };
        if let Some(address) = met.address {
            self.presence.know(now.at, address.ip());
        }
        self.core.stats.sessions += 1;
        let is_ours = self.is_own_name(&met.name);
        if is_ours {
            self.same_name(now, met.instance, met.probing);
        }
        let admission = self.directory.admits(&met.instance, &met.name);
        if is_ours || admission != Admission::Welcome {
            // A seed whose session is closed at once is dialled again.
            self.mesh.seed_failed(&mut self.core.at(now), id);
        }
        match admission {
            _ if is_ours => self.close_session(now, id, CloseReason::NameConflict),
            Admission::Welcome => self.welcome(now, id, &met),
            Admission::OtherName => self.refuse(now, id, Refuse::Hello),
            Admission::HasLeft => self.cut(now, id),
        }
    }

    /// A peer is in a session from now on.
    fn welcome(&mut self, now: Now, id: LinkId, met: &Met) {
        let (instance, name) = (met.instance, &met.name);
        if let Some(other) = self.directory.meet(&self.core.at(now), instance, name) {
            self.drop_peer(now, other);
        }
        self.evict_session(now, id);
        let made = Made {
            link: id,
            dialled: met.dialled,
            address: met.address,
        };
        let ctx = &self.core.at(now);
        let Some(joined) = self.directory.session_up(ctx, &instance, made) else {
            return;
        };
        for link in joined.needless {
            self.cut(now, link);
        }
        let restarted = self.supersede(now, instance, name);
        let told = self.met_natively(name);
        if restarted {
            self.event(Event::PeerRestarted(name.clone()));
        } else if joined.is_news && !told {
            self.event(Event::PeerJoined(name.clone()));
        }
        if let Some(other) = joined.other {
            let prefers_new = self.links.prefers_new(&self.core.at(now), other, met);
            let loser = if prefers_new { other } else { id };
            self.close_session(now, loser, CloseReason::Duplicate);
        }
        self.update_path(now, instance);
        self.directory.plan_direct(&mut self.core.at(now), instance);
        self.plan_comparison(now, instance);
        let peer = self.directory.get(&instance);
        let is_guest = peer.is_some_and(|peer| is_guest(&self.links, peer));
        self.mesh.session_up(now.at, id, instance, is_guest);
        self.answers_go_on(now, instance);
        self.pump_calls(now, name);
    }

    /// Closes the session that was unused for the longest if there are more than the limit.
    fn evict_session(&mut self, now: Now, newest: LinkId) {
        let most = self.core.config.limits.sessions;
        if let Some(id) = self.links.session_to_evict(most, newest) {
            self.core.stats.sessions_evicted += 1;
            self.close_session(now, id, CloseReason::Idle);
        }
    }

    /// Other instances of the name give way, or are asked to show that they live. Whether a program
    /// knew one of them.
    fn supersede(&mut self, now: Now, instance: Instance, name: &NodeName) -> bool {
        let mut known = false;
        for other in self.directory.instances(name).to_vec() {
            if other == instance {
                continue;
            }
            if self.directory.sessions(&other).is_empty() {
                known |= self.drop_replaced(now, other);
            } else {
                known |= self.directory.doubt(&other);
                self.challenge(now, other);
            }
        }
        known
    }

    /// Has a peer show that it lives, or else its sessions are closed.
    pub(super) fn challenge(&mut self, now: Now, instance: Instance) {
        let sessions = self.directory.sessions(&instance);
        self.links.challenge(&mut self.core.at(now), sessions);
    }

    /// An instance whose place another of its name has taken; whether a program knew it.
    fn drop_replaced(&mut self, now: Now, instance: Instance) -> bool {
        let Some(peer) = self.directory.remove(&instance) else {
            return false;
        };
        self.fail_bound_calls(now, instance, peer.name(), true);
        self.fail_streams_of(now, instance);
        peer.is_joined()
    }

    /// A peer is gone: it said so, was not heard for too long, or another instance took its place.
    pub(super) fn drop_peer(&mut self, now: Now, instance: Instance) {
        let Some(peer) = self.directory.remove(&instance) else {
            return;
        };
        for link in peer.links() {
            self.cut(now, link);
        }
        let name = peer.name();
        let restarted = self.directory.resolve(name).is_some();
        self.fail_bound_calls(now, instance, name, restarted);
        self.fail_streams_of(now, instance);
        if self.compat.has(name) {
            // It was only heard natively, and never met: calls need not wait for that any longer.
            self.pump_calls(now, name);
        }
        if peer.is_joined() {
            self.event(Event::PeerLeft(name.clone()));
        }
    }

    pub(super) fn session_down(&mut self, now: Now, id: LinkId, instance: Instance) {
        if self.phase == Phase::Stopped {
            return;
        }
        self.streams.unlink(id);
        self.mesh.unlink(id);
        if self.directory.session_down(&instance, id) {
            self.answers_cut_off(now, id, instance);
        }
        match self.directory.standing(&instance) {
            Some(Standing::Replaced) => {
                self.drop_replaced(now, instance);
                return;
            }
            Some(Standing::Left) => self.depart(now, instance),
            Some(Standing::Stays) => {
                self.directory.plan_redial(&mut self.core.at(now), instance);
                self.update_path(now, instance);
            }
            None => {}
        }
        self.mesh.session_down(&self.core.at(now), instance);
        self.requeue_calls(now, id, instance);
    }

    /// Looks again how a peer is reached.
    fn update_path(&mut self, now: Now, instance: Instance) {
        let path = self.best_session(instance);
        let path = path.and_then(|id| match self.links.way(id) {
            Some((carrier, _)) => self.relays.address(carrier).cloned().map(Path::Relay),
            None => Some(Path::Direct),
        });
        let ctx = &mut self.core.at(now);
        self.directory.set_path(ctx, &instance, path);
    }
}
