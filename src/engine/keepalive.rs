//! Signs of life: asking for them, giving them, and ending links that are late, silent, or do not read.

use super::links::{PING_OWN, PING_TEXT, Refuse, State};
use super::{Engine, LinkId, Now, RelayFault, Time};
use crate::frame::FrameType;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use std::time::Duration;

/// How long a measured round trip is taken for the present one.
const MEASURED: Duration = Duration::from_secs(30);

/// The time between two echoes on a link. A peer waits for one at a time, so more are of nonces that somebody on
/// the way has made up, which the two nodes might echo to each other for ever.
const ECHO_GAP: Duration = Duration::from_millis(100);

impl Engine {
    pub(super) fn send_ping(&mut self, now: Now, id: LinkId) {
        let mut nonce = [0; PING_TEXT / 4 * 3];
        self.core.entropy.fill(&mut nonce);
        let mut text = [0; PING_TEXT];
        if URL_SAFE.encode_slice(nonce, &mut text) != Ok(PING_TEXT) {
            return;
        }
        if let Some(link) = self.links.get_mut(&id) {
            let (own, _) = text.split_at_mut(PING_OWN);
            match &link.ping_own {
                Some(before) => own.copy_from_slice(before),
                None => link.ping_own = own.try_into().ok(),
            }
            link.ping = Some((text, now.at));
            self.send_plain(now, id, &text);
        }
    }

    fn send_plain(&mut self, now: Now, id: LinkId, payload: &[u8]) {
        self.emit(now, id, FrameType::PING, &mut |_, out| {
            out.extend_from_slice(payload)
        });
    }

    pub(super) fn ping(&mut self, now: Now, id: LinkId, payload: &[u8]) {
        let full = !self.takes_more(id);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let echo = link.ping.filter(|(text, _)| text == payload);
        let peer = match &link.state {
            State::Open(session) => Some(session.peer),
            // It measures us, as we measure it.
            State::Relay(_) => None,
            _ => return self.refuse(now, id, Refuse::Frame),
        };
        if let Some((_, sent)) = echo {
            link.ping = None;
            link.measured(now.at, now.at - sent);
            if link.challenge.take().is_some()
                && let Some(peer) = peer.and_then(|p| self.directory.get_mut(&p))
            {
                // Both instances live: a conflict of names, which `resolve` decides.
                // Or a goodbye that was not its own.
                (peer.suspect, peer.left) = (false, false);
                peer.joined = true;
            }
            self.echo_came(now, id);
        } else if link.ping_own.is_some_and(|own| payload.starts_with(&own))
            || link.echoed.iter().flatten().any(|e| e == payload)
        {
            // The two nodes would echo an echo that neither waits for any more for ever: the echo of a keepalive
            // that a later one has replaced, or a nonce that somebody on the way has made up.
        } else if let Ok(nonce) = payload.try_into() {
            // Of several that came while none could be echoed, the newest is enough.
            link.owed = Some(nonce);
            if !full {
                self.echo_owed(now, id);
            }
        } else {
            self.refuse(now, id, Refuse::Frame);
        }
    }

    /// Echoes the newest keepalive that is not echoed yet, if any: now, or once the time for that has come.
    pub(super) fn echo_owed(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if now.at < link.echo_after {
            if link.owed.is_some() {
                self.links_due = self.links_due.min(link.echo_after);
            }
        } else if let Some(nonce) = link.owed.take() {
            link.echo_after = now.at + ECHO_GAP;
            link.echoed.rotate_right(1);
            link.echoed[0] = Some(nonce);
            self.send_plain(now, id, &nonce);
        }
    }

    /// Looks at every link: who is late, silent, or does not read.
    pub(super) fn tick_links(&mut self, now: Now) {
        self.links_due = Time::NEVER;
        let limits = &self.core.config.limits;
        let (handshake, frame) = (limits.handshake, limits.frame);
        let straight = (limits.keepalive, limits.dead);
        let relayed = (
            self.core.config.relay_keepalive,
            self.core.config.relay_keepalive * 3,
        );
        let (mut late, mut silent, mut ask) = (Vec::new(), Vec::new(), Vec::new());
        let mut echo = Vec::new();
        let mut due = Time::NEVER;
        for (id, link) in self.links.iter() {
            let up = match &link.state {
                State::Open(_) => true,
                State::Relay(carrier) => carrier.is_up(),
                _ => false,
            };
            if !up {
                let limit = link.opened + handshake;
                if now.at >= limit {
                    late.push(*id);
                } else {
                    due = due.min(limit);
                }
                continue;
            }
            let (keepalive, dead) = if link.is_relayed() { relayed } else { straight };
            let mut limit = link.heard + dead;
            if !link.pending().is_empty() {
                limit = limit.min(link.progress + dead);
            }
            if let Some(since) = link.unfinished {
                limit = limit.min(since + frame);
            }
            if let Some(challenge) = link.challenge {
                limit = limit.min(challenge);
            }
            if now.at >= limit {
                silent.push(*id);
                continue;
            }
            due = due.min(limit);
            if link.owed.is_some() && now.at < link.echo_after {
                due = due.min(link.echo_after);
            } else if link.owed.is_some() && self.takes_more(*id) {
                echo.push(*id);
            }
            if link.ping.is_none() {
                // Who is busy is measured as well, now and then.
                let when = (link.heard + keepalive).min(link.measured_at + MEASURED);
                if now.at >= when {
                    ask.push(*id);
                } else {
                    due = due.min(when);
                }
            }
        }
        self.links_due = due;
        for id in late {
            self.core.stats.timed_out_handshake += 1;
            self.close_quietly(now, id, Vec::new());
        }
        for id in silent {
            self.core.stats.timed_out_silent += 1;
            self.give_up_relay(now, id, RelayFault::Silent);
        }
        for id in echo {
            self.echo_owed(now, id);
        }
        for id in ask {
            if let Some(link) = self.links.get_mut(&id) {
                link.rest();
            }
            self.send_ping(now, id);
        }
    }
}
