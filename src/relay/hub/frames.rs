//! What the frames of a link do: joining, adverts, and carrying from one member to another.

use super::members::{Gone, Parcel, Room, Way, is_carried};
use super::presence::Left;
use super::stage::{Membership, Stage};
use super::{Hub, joining};
use crate::frame::{Frame, FrameType};
use crate::name::NetworkName;
use crate::protocol::{LinkId, Now, Time};
use crate::wire::relay::{Forward, FromRelay, Refusal, Route, ToRelay};
use crate::wire::relay_key::WordMacs;

/// Bytes of a keepalive's nonce; no node sends a longer one.
const PING_MAX: usize = 64;

/// From bytes to frames.
impl Hub {
    /// Takes in the bytes of a link that speaks in frames.
    pub(super) fn take_frames(&mut self, now: Now, id: LinkId, mut bytes: &[u8]) {
        // A frame may lie in the inbox and end any link: the inbox stands beside the table
        // meanwhile.
        let mut inbox = self.members.take_inbox(id);
        let begun = inbox.unfinished();
        loop {
            match inbox.next(now.at, &mut bytes) {
                Ok(Some(whole)) => self.frame(now, id, whole.frame, whole.raw),
                Ok(None) => break,
                Err(_) => return self.refuse(now, id, Refusal::Frame),
            }
            if !self.members.contains(id) {
                return;
            }
        }
        if inbox.unfinished() != begun {
            // A relay has many links: none keeps the room that a frame took which was finished.
            inbox.shrink_to(0);
        }
        let mut ctx = self.core.at(now);
        self.members.give_inbox(&mut ctx, id, inbox);
    }

    /// A frame came, of a member or of a link that has not joined.
    fn frame(&mut self, now: Now, id: LinkId, frame: Frame<'_>, raw: &[u8]) {
        let Some(network) = self.members.network(id) else {
            return self.first_frame(now, id, frame);
        };
        if frame.net != network.as_str() {
            return self.refuse(now, id, Refusal::Frame);
        }
        match frame.kind {
            FrameType::FORWARD => self.forward(now, id, frame, raw),
            FrameType::PING if frame.payload.len() <= PING_MAX => self.echo(now, id, raw),
            FrameType::ADVERT => self.advert(now, id, frame),
            FrameType::REGISTER => self.word(now, id, frame),
            // Advisory: the member closes the link itself.
            FrameType::ERROR => {}
            _ => self.refuse(now, id, Refusal::Frame),
        }
    }

    /// A member asks whether the relay is there.
    fn echo(&mut self, now: Now, id: LinkId, raw: &[u8]) {
        let mut ctx = self.core.at(now);
        let write = |out: &mut Vec<u8>| out.extend_from_slice(raw);
        let room = self.members.append(&mut ctx, id, id, write);
        self.check(now, id, room);
    }

    /// Tells a link a word of the relay's.
    fn tell(&mut self, now: Now, id: LinkId, word: &FromRelay) {
        let room = self.members.tell(&mut self.core.at(now), id, word);
        self.check(now, id, room);
    }

    /// Refuses a link for which more waits than may.
    fn check(&mut self, now: Now, id: LinkId, room: Room) {
        if room == Room::Exceeded {
            self.refuse(now, id, Refusal::Slow);
        }
    }
}

/// Joining and leaving.
impl Hub {
    /// A frame came of a link that has not joined.
    fn first_frame(&mut self, now: Now, id: LinkId, frame: Frame<'_>) {
        let word = match frame.kind {
            FrameType::REGISTER => ToRelay::decode(frame.payload).map_err(Refusal::from),
            _ => Err(Refusal::Frame),
        };
        let network = NetworkName::new(frame.net).map_err(|_| Refusal::Frame);
        let (word, network) = match word.and_then(|word| Ok((word, network?))) {
            Ok(known) => known,
            Err(why) => return self.refuse(now, id, why),
        };
        let Some(stage) = self.members.stage_mut(id) else {
            return;
        };
        match joining::step(&mut self.core.at(now), stage, &network, &word) {
            joining::Step::Ask(word) => self.tell(now, id, &word),
            joining::Step::Join(macs) => {
                if self.join(now, id, network, Some(macs)) {
                    self.catch_up(now, id);
                }
            }
            joining::Step::Enter(word) => {
                if self.join(now, id, network, None) {
                    self.tell(now, id, &word);
                    self.catch_up(now, id);
                }
            }
            joining::Step::Refuse(why) => self.refuse(now, id, why),
        }
    }

    /// Makes a link a member, which has no adverts yet; whether it may be one.
    fn join(&mut self, now: Now, id: LinkId, network: NetworkName, macs: Option<WordMacs>) -> bool {
        let Some(origin) = self.members.origin(id) else {
            return false;
        };
        let mut ctx = self.core.at(now);
        let joined = match self.sites.take_join(origin.site, now.at) {
            true => self.presence.join(&mut ctx, id, &network, origin.site),
            false => Err(Refusal::Address),
        };
        let route = match joined {
            Ok(route) => route,
            Err(why) => {
                self.refuse(now, id, why);
                return false;
            }
        };
        ctx.stats.joined += 1;
        ctx.look_by(now.at + ctx.limits().idle);
        if let Some(stage) = self.members.stage_mut(id) {
            *stage = Stage::Joined(Box::new(Membership::new(network, route, macs)));
        }
        self.newcomers.remove(id);
        true
    }

    /// A member is gone: the others are told.
    pub(super) fn leave(&mut self, now: Now, id: LinkId, left: &Left) {
        self.core.stats.left += 1;
        let gone = Gone {
            id,
            route: left.route,
            version: left.version,
            advert: &left.advert,
        };
        for other in left.others.iter().copied() {
            self.members.forget(other, id);
            // When all are told to go, none need be told of another.
            if self.stopped {
                continue;
            }
            let room = self.members.tell_gone(&mut self.core.at(now), other, &gone);
            self.check(now, other, room);
        }
    }
}

/// Adverts.
impl Hub {
    /// A member tells of itself.
    fn advert(&mut self, now: Now, id: LinkId, frame: Frame<'_>) {
        let mut ctx = self.core.at(now);
        match self.presence.advertise(&mut ctx, id, frame.payload) {
            Ok(true) => self.hand_on_due(now),
            Ok(false) => {}
            Err(why) => self.refuse(now, id, why),
        }
    }

    /// Hands on the adverts whose time has come.
    pub(super) fn hand_on_due(&mut self, now: Now) {
        let sites = &self.sites;
        for id in self.presence.take_due(now.at, |site| sites.handed(site)) {
            match self.charge_advert(now, id) {
                Some(later) => self.presence.postpone(id, later),
                None => self.hand_on(now, id),
            }
        }
    }

    /// Counts a member's advert against what its network and its site may tell. If that is too
    /// much, nothing is counted, and the advert must wait until the time that is returned.
    pub(super) fn charge_advert(&mut self, now: Now, id: LinkId) -> Option<Time> {
        let site = self.presence.site(id)?;
        let ctx = self.core.at(now);
        let busy = self.presence.busy_until(&ctx, id);
        let later = busy.or_else(|| self.sites.take_advert(&ctx, site));
        if later.is_none() {
            self.presence.charge(&ctx, id);
        }
        later
    }

    /// Hands a member's advert to all that are not behind.
    pub(super) fn hand_on(&mut self, now: Now, id: LinkId) {
        let Some(version) = self.presence.number(id, now.at) else {
            return;
        };
        let mut ctx = self.core.at(now);
        let advert = self.presence.advert(id);
        let mut too_slow = Vec::new();
        for other in self.presence.others(id) {
            if self.members.hand(&mut ctx, other, version, advert) == Room::Exceeded {
                too_slow.push(other);
            }
        }
        for other in too_slow {
            self.refuse(now, other, Refusal::Slow);
        }
    }

    /// A member's output has room: hands it adverts that it lacks, and what others have sent it, in
    /// turns.
    pub(super) fn refill(&mut self, now: Now, id: LinkId) {
        if !self.members.is_behind(id) {
            return;
        }
        let was_empty = self.members.is_idle(id);
        loop {
            self.catch_up(now, id);
            if !self.members.take_turn(&self.core.at(now), id) {
                break;
            }
        }
        self.members.refilled(&mut self.core.at(now), id, was_empty);
    }

    /// Hands a member the adverts that it lacks, as far as there is room; and a new one, when it
    /// has them all, that it has joined.
    fn catch_up(&mut self, now: Now, id: LinkId) {
        let end = self.members.adverts_end(id);
        while let Some(missing) = self.members.first_missing(id, end) {
            let mut ctx = self.core.at(now);
            let Some(next) = self.presence.next(id, missing) else {
                let room = self.members.complete(&mut ctx, id);
                return self.check(now, id, room);
            };
            self.members.advance(id, next.version + 1);
            if next.of == id {
                continue;
            }
            ctx.stats.adverts_handed += 1;
            let write = |out: &mut Vec<u8>| out.extend_from_slice(next.advert);
            let room = self.members.append(&mut ctx, id, id, write);
            self.check(now, id, room);
        }
    }
}

/// Carrying.
impl Hub {
    /// A member sends something to another. `raw` is the whole frame.
    fn forward(&mut self, now: Now, id: LinkId, frame: Frame<'_>, raw: &[u8]) {
        let inner = Forward::decode(frame.payload).ok();
        let Some(inner) = inner.filter(|inner| is_carried(inner.kind)) else {
            return self.refuse(now, id, Refusal::Frame);
        };
        let Some(to) = self.presence.link_of(&inner.route) else {
            return self.turn_away_gone(now, id, inner.route);
        };
        let parcel = Parcel {
            from: id,
            to,
            network: frame.net,
            raw,
        };
        match self.members.way(&self.core.config.limits, &parcel) {
            Way::Gone => self.turn_away_gone(now, id, inner.route),
            Way::Blocked => {
                self.core.stats.forwards_blocked += 1;
                self.members.close_flow(id, to);
                self.tell(now, id, &FromRelay::Gone(inner.route));
            }
            way => self.pass(now, &parcel, inner.route, way),
        }
    }

    /// Carries a frame to a member that is there, or turns it away because too much waits.
    fn pass(&mut self, now: Now, parcel: &Parcel<'_>, route: Route, way: Way) {
        let Parcel { from, to, raw, .. } = *parcel;
        let has_room = self.make_flow_room(now, from, to);
        if has_room && way != Way::Busy {
            return self.carry(now, parcel, way);
        }
        self.core.stats.forwards_busy += 1;
        if has_room {
            let total = self.members.turn_away(from, to, raw.len());
            return self.tell(now, from, &FromRelay::Busy(route, total));
        }
        // The relay cannot count on from here: the route is closed again at once.
        let total = raw.len() as u64;
        self.tell(now, from, &FromRelay::Busy(route, total));
        self.tell(now, from, &FromRelay::Settled(route, total));
    }

    /// A frame is for a route that leads nowhere.
    fn turn_away_gone(&mut self, now: Now, id: LinkId, route: Route) {
        self.core.stats.forwards_gone += 1;
        // It may have been told so already, after the last that came from there.
        if !self.members.tells_gone(id, &route) {
            self.tell(now, id, &FromRelay::Gone(route));
        }
    }

    /// Makes room for bytes of a member that wait for one more member. Others for which none wait
    /// give way: the routes to them are closed. Says whether there is room now.
    fn make_flow_room(&mut self, now: Now, id: LinkId, to: LinkId) -> bool {
        let limits = &self.core.config.limits;
        let Some(room) = self.members.make_flow_room(limits, id, to) else {
            return false;
        };
        for credit in room.settled {
            let room = self
                .members
                .tell_settled(&mut self.core.at(now), id, credit);
            self.check(now, id, room);
        }
        room.is_free && self.members.contains(id)
    }

    fn carry(&mut self, now: Now, parcel: &Parcel<'_>, way: Way) {
        let Parcel { from, to, raw, .. } = *parcel;
        let Some(route) = self.members.charge(from, to, raw.len()) else {
            return self.refuse(now, from, Refusal::Flood);
        };
        let mut ctx = self.core.at(now);
        let room = self.members.carry(&mut ctx, parcel, &route, way);
        self.check(now, to, room);
    }

    /// Bytes of `of` for `to` have left the relay.
    pub(super) fn give_credit(&mut self, now: Now, of: LinkId, to: LinkId, bytes: u32) {
        let mut ctx = self.core.at(now);
        let room = self.members.give_credit(&mut ctx, of, to, bytes);
        self.check(now, of, room);
    }

    /// A member says something to the relay.
    fn word(&mut self, now: Now, id: LinkId, frame: Frame<'_>) {
        let stage = self.members.stage_mut(id);
        let Some(membership) = stage.and_then(Stage::membership_mut) else {
            return;
        };
        let word = match membership.open(frame.payload) {
            Ok(payload) => ToRelay::decode(payload).map_err(Refusal::from),
            Err(_) => Err(Refusal::Frame),
        };
        match word.map(|said| said.word) {
            Ok(ToRelay::Block(route)) => self.block(now, id, &route),
            Ok(word @ (ToRelay::Tags(_) | ToRelay::Newer(_))) => {
                self.tell(now, id, &FromRelay::Unknown(word.verb().into()));
            }
            Ok(ToRelay::Join(_) | ToRelay::Proof(_)) => self.refuse(now, id, Refusal::Frame),
            Err(why) => self.refuse(now, id, why),
        }
    }

    /// A member wants nothing more from a route.
    fn block(&mut self, now: Now, id: LinkId, route: &Route) {
        if let Some(from) = self.presence.link_of(route) {
            self.members.block(&self.core.at(now), id, from);
        }
    }
}
