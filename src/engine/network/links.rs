//! Links: what goes out on them, and what the end of one means to others.

use crate::engine::links::{Ended, Outlet, Refuse, Room, Session};
use crate::engine::relays::Lost;
use crate::engine::{Engine, LinkId, Now, RelayFault};
use crate::frame::FrameType;
use crate::protocol::LinkWriter;
use crate::wire::Instance;
use crate::wire::record::CloseReason;
use sha2::Sha256;

impl Engine {
    /// Bytes that wait to be written to a link.
    pub fn pending(&self, link: LinkId) -> &[u8] {
        self.links.pending(link)
    }

    /// Sends one record on an open session; `encode` is given its sequence number.
    #[inline]
    pub(in crate::engine) fn send_record(
        &mut self,
        now: Now,
        id: LinkId,
        encode: impl FnOnce(u64, &mut Vec<u8>),
    ) {
        let ctx = &mut self.core.at(now);
        self.links.send_record(ctx, &mut self.plain, id, encode);
    }

    /// Seals and sends the record that was put together; with a digest that what begins at an
    /// offset in it is to be added to.
    pub(in crate::engine) fn send_plain_record(
        &mut self,
        now: Now,
        id: LinkId,
        kind: FrameType,
        digest: Option<(usize, &mut Sha256)>,
    ) {
        let ctx = &mut self.core.at(now);
        self.links
            .send_plain_record(ctx, id, kind, &self.plain, digest);
    }

    pub(in crate::engine) fn send_ping(&mut self, now: Now, id: LinkId) {
        self.links.send_ping(&mut self.core.at(now), id);
    }

    /// Has the bytes that wait for a link written, and sends what waited for room there. Returns
    /// whether bytes wait for the link after that.
    pub(in crate::engine) fn transmit(
        &mut self,
        now: Now,
        id: LinkId,
        write: &mut LinkWriter<'_>,
    ) -> bool {
        let room = self.links.transmit(&mut self.core.at(now), id, write);
        self.use_room(now, id, room);
        !self.links.pending(id).is_empty()
    }

    fn use_room(&mut self, now: Now, id: LinkId, room: Room) {
        match room {
            Room::None => return,
            Room::Session => self.pump(now, id),
            Room::Relay { waited } => {
                for id in waited {
                    self.pump(now, id);
                }
            }
        }
        self.streams_go_on(now);
    }

    /// A session's link takes more: sends what waits for it.
    pub(super) fn pump(&mut self, now: Now, id: LinkId) {
        let Some(session) = self.links.resume(&mut self.core.at(now), id) else {
            return;
        };
        let (peer, name) = (session.peer, session.name.clone());
        if self.serving.has_backlog_for(peer) {
            self.pump_replies(now, peer);
        }
        if self.calls.waits_for(&name) {
            self.pump_calls(now, &name);
        }
    }

    /// Where something for `peer` goes: the direct path before relays, of relays the one with the
    /// shortest round trip.
    pub(in crate::engine) fn path_to(&self, peer: Instance) -> Outlet {
        match self.best_session(peer) {
            Some(id) if self.takes_more(id) => Outlet::Ready(id),
            Some(_) => Outlet::Full,
            None => Outlet::None,
        }
    }

    pub(in crate::engine) fn best_session(&self, peer: Instance) -> Option<LinkId> {
        self.links.best(self.directory.sessions(&peer))
    }

    /// Where the session with a peer comes from, if there is one.
    #[cfg(feature = "files")]
    pub(crate) fn source_of_peer(&self, peer: Instance) -> Option<crate::engine::Source> {
        self.links.source(self.best_session(peer)?)
    }

    pub(in crate::engine) fn waits_on(&self, id: LinkId) -> usize {
        self.links.waits_on(id)
    }

    /// Whether a link takes whatever comes next.
    pub(in crate::engine) fn takes_more(&self, id: LinkId) -> bool {
        self.links.takes_more(&self.core.config, id)
    }

    /// The session on a link, if it is open.
    pub(in crate::engine) fn session(&mut self, id: LinkId) -> Option<&mut Session> {
        self.links.session(id)
    }

    /// Ends links that are late or silent, and gives the others signs of life.
    pub(in crate::engine) fn tick_links(&mut self, now: Now) {
        let overdue = self.links.take_due(&self.core.config, now.at);
        for id in &overdue.late {
            self.core.stats.timed_out_handshake += 1;
            self.close_quietly(now, *id, Vec::new());
        }
        for id in &overdue.silent {
            self.core.stats.timed_out_silent += 1;
            self.give_up_relay(now, *id, RelayFault::Silent);
        }
        self.links.beat(&mut self.core.at(now), &overdue);
    }

    /// Ends a session and says why.
    pub(in crate::engine) fn close_session(&mut self, now: Now, id: LinkId, reason: CloseReason) {
        let ctx = &mut self.core.at(now);
        let ended = self.links.close_session(ctx, &mut self.plain, id, reason);
        self.after_end(now, id, ended);
    }

    /// Ends a link without a word, after what is already pending.
    pub(in crate::engine) fn cut(&mut self, now: Now, id: LinkId) {
        let ended = self.links.cut(&mut self.core.at(now), id);
        self.after_end(now, id, ended);
    }

    pub(super) fn close_quietly(&mut self, now: Now, id: LinkId, last: Vec<u8>) {
        let ended = self.links.close(&mut self.core.at(now), id, last);
        self.after_end(now, id, ended);
    }

    pub(in crate::engine) fn close_all(&mut self, now: Now) {
        for id in self.links.all() {
            self.close_session(now, id, CloseReason::Leaving);
        }
    }

    pub(super) fn refuse(&mut self, now: Now, id: LinkId, why: Refuse) {
        self.spoil(now, id);
        self.links.say_refused(&mut self.core.at(now), id, why);
        let Some((carrier, route)) = self.links.way(id) else {
            return self.cut(now, id);
        };
        self.ended(now, id);
        if self
            .links
            .route_fault(&mut self.core.at(now), carrier, route)
        {
            self.route_gone(now, carrier, route);
        }
    }

    /// What came over a link was not what was sent, if it goes through a relay.
    pub(super) fn spoil(&mut self, now: Now, id: LinkId) {
        if let Some((peer, carrier)) = self.links.peer_through_relay(id) {
            self.directory.spoil(now.at, &peer, carrier);
        }
    }

    /// A link is over, whichever side ended it.
    pub(in crate::engine) fn ended(&mut self, now: Now, id: LinkId) {
        let ended = self.links.remove(&mut self.core.at(now), id);
        self.after_end(now, id, ended);
    }

    fn after_end(&mut self, now: Now, id: LinkId, ended: Option<Ended>) {
        match ended {
            None | Some(Ended::Unproved) => {}
            Some(Ended::Dial { target, relayed }) => {
                self.directory.wake_at(now.at);
                match target {
                    Some(target) => self.dial_failed(now, id, &target, relayed),
                    None => self.mesh.seed_failed(&mut self.core.at(now), id),
                }
            }
            Some(Ended::Session(peer)) => self.session_down(now, id, peer),
            Some(Ended::Relay { up_for, fault }) => {
                self.relay_lost(now, id, Lost { up_for, fault });
            }
        }
    }
}
