//! Signs of life: asking for them, giving them, and finding links that are late, silent, or do not
//! read.

use super::{Config, Ctx, KEPT_CAPACITY, Link, LinkId, Links, State, Time, Via};
use crate::frame::FrameType;
use crate::wire::record::{encode_ping, encode_pong};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use std::time::Duration;

/// Bytes of a keepalive's nonce, as text; longer ones are nobody's.
const PING_TEXT: usize = 16;
/// Of those, the ones that all nonces which a node makes for one link have in common.
const PING_OWN: usize = 8;
/// How many of the nonces that were echoed last a link remembers.
const ECHOED: usize = 4;
/// How long a measured round trip is taken for the present one.
const MEASURED: Duration = Duration::from_secs(30);
/// The time between two echoes on a link. A peer waits for one at a time, so more are of nonces
/// that a stranger on the way has made up, which the two nodes might echo to each other for ever.
const ECHO_GAP: Duration = Duration::from_millis(100);
/// While a call waits for its answer through a relay, and nothing comes, a sign of life is asked
/// for after so many round trips, but not before [`QUIET_MIN`]. If none comes for as long again,
/// the way is doubted.
const QUIET_ROUND_TRIPS: u32 = 4;
const QUIET_MIN: Duration = Duration::from_secs(1);
/// How long an instance has to show that it lives when another has proved to go by its name.
const CHALLENGE: Duration = Duration::from_secs(1);
/// Joining a relay takes at most as long as so many of the largest frames. With the default limits
/// it hands over the adverts of 4 096 members in this time at 2 KB a second.
const JOIN_FRAMES: u32 = 10;

/// What a keepalive says, as text.
pub(super) type Nonce = [u8; PING_TEXT];

/// A keepalive that was not echoed yet.
#[derive(Clone, Copy, Debug)]
struct Asked {
    nonce: Nonce,
    at: Time,
}

/// The signs of life on one link.
#[derive(Debug)]
pub(super) struct Pulse {
    asked: Option<Asked>,
    /// The round trip, as keepalives measure it.
    round_trip: Option<Duration>,
    /// When it was measured last.
    measured_at: Time,
    /// A keepalive to be echoed once there is room, and not before `echo_after`.
    owed: Option<Nonce>,
    echo_after: Time,
    /// What all nonces of this node's own keepalives begin with, once there was one.
    own: Option<[u8; PING_OWN]>,
    /// Those that were echoed last, the newest first.
    echoed: [Option<Nonce>; ECHOED],
    /// When the keepalive that is not echoed has last made the link doubtful.
    doubted: Option<Time>,
}

/// What a keepalive that came is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The echo of ours.
    Echo,
    /// One to be echoed.
    Ask,
    /// One of those that two nodes would echo to each other for ever.
    Stray,
    /// None.
    Nonsense,
}

impl Pulse {
    /// Of a link that was begun at `opened`.
    pub(super) fn new(opened: Time) -> Pulse {
        Pulse {
            asked: None,
            round_trip: None,
            measured_at: opened,
            owed: None,
            echo_after: opened,
            own: None,
            echoed: [None; ECHOED],
            doubted: None,
        }
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    pub(super) fn measured_at(&self) -> Time {
        self.measured_at
    }

    /// When the last keepalive was sent, or echoed; at first, when the link was begun.
    fn last_asked(&self) -> Time {
        self.asked.map_or(self.measured_at, |asked| asked.at)
    }

    /// After which silence a sign of life is missed while a call waits.
    fn quiet(&self) -> Duration {
        (self.round_trip.unwrap_or_default() * QUIET_ROUND_TRIPS).max(QUIET_MIN)
    }

    pub(super) fn awaits_echo(&self) -> bool {
        self.asked.is_some()
    }

    /// The round trip, or for how long an echo is awaited if that is longer by now.
    pub(super) fn at_least(&self, now: Time) -> Duration {
        let waited = self.asked.map_or(Duration::ZERO, |asked| now - asked.at);
        self.round_trip.unwrap_or_default().max(waited)
    }

    /// Takes a measured round trip in.
    pub(super) fn measured(&mut self, now: Time, round_trip: Duration) {
        self.measured_at = now;
        self.round_trip = Some(match self.round_trip {
            // There are few measurements, and one may be off.
            Some(before) => (before + round_trip) / 2,
            None => round_trip,
        });
    }

    /// Makes a keepalive of a nonce that was drawn.
    fn ask(&mut self, now: Time, mut nonce: Nonce) -> Nonce {
        let (own, _) = nonce.split_at_mut(PING_OWN);
        match &self.own {
            Some(before) => own.copy_from_slice(before),
            None => self.own = own.try_into().ok(),
        }
        self.asked = Some(Asked { nonce, at: now });
        nonce
    }

    /// Takes in the echo of a nonce. Says whether it is the one that is awaited.
    pub(super) fn echoes(&mut self, now: Time, nonce: &[u8]) -> bool {
        let Some(asked) = self.asked.filter(|asked| asked.nonce == nonce) else {
            return false;
        };
        self.asked = None;
        self.doubted = None;
        self.measured(now, now - asked.at);
        true
    }

    /// This nonce is to be echoed. Of several that come while none can be, the newest is enough.
    pub(super) fn owe(&mut self, nonce: Nonce) {
        self.owed = Some(nonce);
    }

    /// Takes in a keepalive of a relay.
    pub(super) fn hear(&mut self, now: Time, payload: &[u8]) -> Heard {
        if self.echoes(now, payload) {
            return Heard::Echo;
        }
        if self.own.is_some_and(|own| payload.starts_with(&own))
            || self.echoed.iter().flatten().any(|e| e == payload)
        {
            // The two sides would echo an echo that neither waits for any more for ever: the echo
            // of a keepalive that a later one has replaced, or a nonce that a stranger on the way
            // has made up.
            return Heard::Stray;
        }
        let Ok(nonce) = payload.try_into() else {
            return Heard::Nonsense;
        };
        self.owe(nonce);
        Heard::Ask
    }

    /// The echo that is owed, if its time has come.
    fn take_echo(&mut self, now: Time) -> Option<Nonce> {
        if now < self.echo_after {
            return None;
        }
        let nonce = self.owed.take()?;
        self.echo_after = now + ECHO_GAP;
        self.echoed.rotate_right(1);
        self.echoed[0] = Some(nonce);
        Some(nonce)
    }

    /// When the echo that is owed may be sent, if there is one.
    fn owes_at(&self) -> Option<Time> {
        self.owed.map(|_| self.echo_after)
    }
}

/// The links that need attention.
#[derive(Debug, Default)]
pub(crate) struct Overdue {
    /// Their handshake takes too long.
    pub(crate) late: Vec<LinkId>,
    /// Nothing is heard of them, or they do not read.
    pub(crate) silent: Vec<LinkId>,
    /// They are held for too long.
    pub(crate) held: Vec<LinkId>,
    /// They go through a relay that may drop what they carry: a call waits, and no sign of life has
    /// come for a while. Each is told again and again, as another way may be there by then.
    pub(crate) doubtful: Vec<LinkId>,
    /// They are owed an echo.
    echo: Vec<LinkId>,
    /// They are to be asked for a sign of life.
    ask: Vec<LinkId>,
}

impl Links {
    /// Asks the other side of a link for a sign of life.
    pub(crate) fn send_ping(&mut self, ctx: &mut Ctx<'_>, id: LinkId) {
        let mut drawn = [0; PING_TEXT / 4 * 3];
        ctx.entropy.fill(&mut drawn);
        let mut nonce = [0; PING_TEXT];
        if URL_SAFE.encode_slice(drawn, &mut nonce) != Ok(PING_TEXT) {
            return;
        }
        let pulse = self.table.get_mut(&id).and_then(|l| l.pulse_mut());
        if let Some(nonce) = pulse.map(|pulse| pulse.ask(ctx.now.at, nonce)) {
            self.send_nonce(ctx, id, &nonce, encode_ping);
        }
    }

    /// Sends a nonce: in a session as the record that `encode` makes, to a relay in clear.
    fn send_nonce(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        nonce: &Nonce,
        encode: fn(u64, &Nonce, &mut Vec<u8>),
    ) {
        if self.is_to_relay(id) {
            return self.emit(ctx, id, FrameType::PING, &mut |_, out| {
                out.extend_from_slice(nonce);
            });
        }
        self.send_record(ctx, &mut Vec::new(), id, |sequence, out| {
            encode(sequence, nonce, out);
        });
    }

    /// Echoes the newest keepalive that is not echoed yet, if any: now, or once the time for that
    /// has come.
    pub(super) fn echo_owed(&mut self, ctx: &mut Ctx<'_>, id: LinkId) {
        let Some(pulse) = self.table.get_mut(&id).and_then(|l| l.pulse_mut()) else {
            return;
        };
        let Some(at) = pulse.owes_at() else {
            return;
        };
        match pulse.take_echo(ctx.now.at) {
            Some(nonce) => self.send_nonce(ctx, id, &nonce, encode_pong),
            None => self.wake_at(at),
        }
    }

    /// Has the peer of these sessions show that it lives, or else they count as silent.
    pub(crate) fn challenge(&mut self, ctx: &mut Ctx<'_>, sessions: &[LinkId]) {
        let until = ctx.now.at + CHALLENGE;
        for id in sessions {
            self.send_ping(ctx, *id);
            if let Some(State::Open { challenge, .. }) =
                self.table.get_mut(id).map(|l| &mut l.state)
            {
                *challenge = Some(until);
            }
        }
        self.wake_at(until);
    }

    /// Looks at every link. Those that are late or silent are to be ended; [`Links::beat`] is for
    /// the others.
    pub(crate) fn take_due(&mut self, config: &Config, now: Time) -> Overdue {
        let mut overdue = Overdue::default();
        let mut due = Time::NEVER;
        for (id, link) in self.table.iter() {
            let (limit, over) = match link.is_up() {
                true => (link.silent_at(config), &mut overdue.silent),
                false => (link.late_at(config), &mut overdue.late),
            };
            if now >= limit {
                over.push(*id);
                continue;
            }
            due = due.min(limit);
            match link.held_until() {
                Some(until) if now >= until => {
                    overdue.held.push(*id);
                    continue;
                }
                Some(until) => due = due.min(until),
                None => {}
            }
            let Some(pulse) = link.pulse() else {
                continue;
            };
            match pulse.owes_at() {
                Some(at) if now < at => due = due.min(at),
                Some(_) if self.takes_echo(config, *id) => overdue.echo.push(*id),
                _ => {}
            }
            match self.doubted_at(link) {
                Some(at) if now >= at => overdue.doubtful.push(*id),
                Some(at) => due = due.min(at),
                None => {}
            }
            match link.ask_at(config) {
                Some(when) if now >= when => overdue.ask.push(*id),
                Some(when) => due = due.min(when),
                None => {}
            }
        }
        for id in &overdue.doubtful {
            if let Some(pulse) = self.table.get_mut(id).and_then(|l| l.pulse_mut()) {
                pulse.doubted = Some(now);
                due = due.min(now + pulse.quiet());
            }
        }
        self.due = due;
        overdue
    }

    /// When a session is doubtful, if a call waits there for a sign of life that was asked for. A
    /// frame that has begun to come may be one, or be before it.
    fn doubted_at(&self, link: &Link) -> Option<Time> {
        let (Via::Relay(carrier, _), State::Open { session, pulse, .. }) = (link.via, &link.state)
        else {
            return None;
        };
        let asked = pulse.asked.filter(|_| session.has_waiting_calls())?;
        let over = self.table.get(&carrier)?;
        let since = over.inbox.unfinished().map_or(asked.at, |_| over.heard);
        let since = since.max(asked.at).max(session.heard_at());
        Some(since.max(pulse.doubted.unwrap_or_default()) + pulse.quiet())
    }

    /// A call was sent in a session, and waits for its answer there.
    pub(crate) fn call_sent(&mut self, now: Time, id: LinkId) {
        let Some(link) = self.table.get_mut(&id) else {
            return;
        };
        let State::Open { session, pulse, .. } = &mut link.state else {
            return;
        };
        if session.call_sent() && matches!(link.via, Via::Relay(..)) {
            let at = now + pulse.quiet();
            self.wake_at(at);
        }
    }

    /// A call that was sent in a session has ended.
    pub(crate) fn call_ended(&mut self, id: LinkId) {
        if let Some(session) = self.session(id) {
            session.call_ended();
        }
    }

    /// Gives the signs of life that are owed, and asks for those that are missed.
    pub(crate) fn beat(&mut self, ctx: &mut Ctx<'_>, overdue: &Overdue) {
        for id in &overdue.echo {
            self.echo_owed(ctx, *id);
        }
        for id in &overdue.ask {
            if let Some(link) = self.table.get_mut(id) {
                link.rest();
            }
            self.send_ping(ctx, *id);
            let doubted_at = self.table.get(id).and_then(|link| self.doubted_at(link));
            self.wake_at(doubted_at.unwrap_or(Time::NEVER));
        }
    }
}

impl Link {
    /// Whether it is past its handshake.
    fn is_up(&self) -> bool {
        match &self.state {
            State::Open { .. } => true,
            State::Relay { carrier, .. } => carrier.is_up(),
            _ => false,
        }
    }

    /// After which silence a sign of life is asked for, and after which one the link is dead.
    fn patience(&self, config: &Config) -> (Duration, Duration) {
        match self.is_relayed() {
            true => (config.relay_keepalive, config.relay_keepalive * 3),
            false => (config.limits.keepalive, config.limits.dead),
        }
    }

    /// When it is late, if it does not come past its handshake. A relay hands over the adverts of
    /// all members before it says that we are joined: it has longer, as long as something comes.
    fn late_at(&self, config: &Config) -> Time {
        let limits = &config.limits;
        match &self.state {
            State::Relay { .. } => {
                let longest = (limits.frame * JOIN_FRAMES).max(limits.handshake);
                (self.heard + limits.handshake).min(self.opened + longest)
            }
            _ => self.opened + limits.handshake,
        }
    }

    /// When to ask for a sign of life, if that is not asked for already.
    fn ask_at(&self, config: &Config) -> Option<Time> {
        let (keepalive, _) = self.patience(config);
        match &self.state {
            // A relay that hands over adverts wants signs of our life meanwhile, and echoes ours
            // behind the adverts.
            State::Relay { carrier, pulse } if !carrier.is_up() => {
                carrier.hands_over().then(|| pulse.last_asked() + keepalive)
            }
            State::Open { session, pulse, .. }
                if session.has_waiting_calls()
                    && !pulse.awaits_echo()
                    && matches!(self.via, Via::Relay(..)) =>
            {
                Some(session.heard_at() + pulse.quiet().min(keepalive))
            }
            State::Relay { pulse, .. } | State::Open { pulse, .. } => (!pulse.awaits_echo())
                // A link that is busy is measured as well, now and then.
                .then(|| (self.heard + keepalive).min(pulse.measured_at + MEASURED)),
            _ => None,
        }
    }

    /// When it counts as silent, or as one that does not read.
    fn silent_at(&self, config: &Config) -> Time {
        let (_, dead) = self.patience(config);
        let mut limit = self.heard + dead;
        if !self.output.is_empty() {
            limit = limit.min(self.progress + dead);
        }
        if let Some(since) = self.inbox.unfinished() {
            limit = limit.min(since + config.limits.frame);
        }
        if let State::Open {
            session, challenge, ..
        } = &self.state
        {
            // Anybody on the way can send bytes, which are no sign of life of the peer for longer
            // than a frame takes.
            let longest = dead.max(config.limits.frame);
            limit = limit.min(session.heard_at() + longest);
            limit = challenge.map_or(limit, |challenge| limit.min(challenge));
        }
        limit
    }

    /// Gives back the room that it needed while it was busy.
    pub(super) fn rest(&mut self) {
        self.output.consume(0, KEPT_CAPACITY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::at;

    #[test]
    fn an_echo_measures_the_round_trip_and_comes_once() {
        let mut pulse = Pulse::new(at(0));
        let nonce = pulse.ask(at(100), *b"0123456789abcdef");
        assert!(pulse.awaits_echo());
        assert_eq!(pulse.at_least(at(150)), Duration::from_millis(50));
        assert_eq!(pulse.hear(at(140), &nonce), Heard::Echo);
        assert_eq!(pulse.round_trip(), Some(Duration::from_millis(40)));
        assert_eq!(pulse.hear(at(141), &nonce), Heard::Stray, "not for ever");
        let next = pulse.ask(at(200), *b"xxxxxxxxyyyyyyyy");
        assert_eq!(&next, b"01234567yyyyyyyy", "ours begin alike");
        assert_eq!(pulse.hear(at(280), &next), Heard::Echo);
        assert_eq!(pulse.round_trip(), Some(Duration::from_millis(60)));
    }

    #[test]
    fn of_many_keepalives_the_newest_is_echoed_and_not_too_often() {
        let mut pulse = Pulse::new(at(0));
        assert_eq!(pulse.hear(at(0), b"aaaaaaaaaaaaaaaa"), Heard::Ask);
        assert_eq!(pulse.hear(at(0), b"bbbbbbbbbbbbbbbb"), Heard::Ask);
        assert_eq!(pulse.take_echo(at(1)), Some(*b"bbbbbbbbbbbbbbbb"));
        assert_eq!(pulse.hear(at(2), b"bbbbbbbbbbbbbbbb"), Heard::Stray);
        assert_eq!(pulse.hear(at(3), b"cccccccccccccccc"), Heard::Ask);
        assert_eq!(pulse.take_echo(at(100)), None);
        assert_eq!(pulse.owes_at(), Some(at(101)));
        assert_eq!(pulse.take_echo(at(101)), Some(*b"cccccccccccccccc"));
        assert_eq!(pulse.hear(at(102), b"too short"), Heard::Nonsense);
    }
}
