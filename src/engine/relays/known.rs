//! The relays this node is linked to: those it was given, for ever; those it learnt, while they
//! live.
//!
//! ```text
//! relay: waits --dial--> joining --joined--> up --(lost)--> waits, longer each time
//! ```
//!
//! A relay is told our advert when it has something new to say, and hands us those of others; from
//! then on it is a LAN that is far away. What it says is never believed further than that: an
//! advert is opened under the network's key, a peer proves itself in the handshake.

use super::{Config, Ctx, Event, LinkId, RelayFault, Time};
use crate::address::RelayAddress;
use crate::backoff::{Backoff, STEADY};
use crate::limits::{ADVERT_RELAYS_MAX, PROVED_RELAYS_MAX, REMOTES_MAX};
use crate::rate::Rate;
use crate::table::Table;
use crate::wire::advert::Advert;
use std::time::Duration;

/// What was heard of a relay is good for this long.
const HEARD_GOOD: Duration = Duration::from_secs(24 * 3600);
/// Relays remembered as dead.
const SHUNNED_MAX: usize = 64;
/// How soon to dial another learnt relay when the second's allowance is used up.
const LEARNT_WAIT: Duration = Duration::from_millis(500);

/// Where a relay stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is dialled at this time.
    Waits(Time),
    /// This link to it is being made.
    Joining(LinkId),
    /// This link to it is up.
    Up(LinkId),
}

#[derive(Debug)]
struct Relay {
    address: RelayAddress,
    given: bool,
    stage: Stage,
    failures: u32,
    /// What the program was last told, if it is down.
    down: Option<RelayFault>,
    /// Whether it was joined or in vain at least once.
    tried: bool,
    /// Whether the program was told that it proves nothing.
    is_told_unproven: bool,
}

impl Relay {
    fn new(address: RelayAddress, given: bool, at: Time) -> Relay {
        Relay {
            address,
            given,
            stage: Stage::Waits(at),
            failures: 0,
            down: None,
            tried: false,
            is_told_unproven: false,
        }
    }

    fn link(&self) -> Option<LinkId> {
        match self.stage {
            Stage::Waits(_) => None,
            Stage::Joining(link) | Stage::Up(link) => Some(link),
        }
    }

    fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Up(_))
    }
}

/// A relay that another node told of.
#[derive(Debug)]
struct Heard {
    address: RelayAddress,
    at: Time,
    /// Whether a node that knows it first-hand did.
    vouched: bool,
}

/// How a link to a relay ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lost {
    /// How long it was up, if it was.
    pub(crate) up_for: Option<Duration>,
    /// What is wrong, if that was noted.
    pub(crate) fault: Option<RelayFault>,
}

#[derive(Debug)]
pub(crate) struct Relays {
    list: Vec<Relay>,
    max: usize,
    heard: Vec<Heard>,
    shunned: Table<RelayAddress, Time>,
    /// Those that have proved the relay key at some time. From then on nobody at their address is
    /// believed to have none.
    proved: Table<RelayAddress, ()>,
    learnt_dials: Rate,
    /// The relays that our latest advert names, and how many of them we vouch for.
    named: (Vec<RelayAddress>, u8),
    /// Counts the changes of what we advertise.
    news: u64,
    due: Time,
}

impl Default for Relays {
    fn default() -> Relays {
        Relays {
            list: Vec::new(),
            max: 0,
            heard: Vec::new(),
            shunned: Table::default(),
            proved: Table::default(),
            learnt_dials: Rate::default(),
            named: (Vec::new(), 0),
            news: 1,
            due: Time::NEVER,
        }
    }
}

impl Relays {
    pub(crate) fn new(config: &Config, now: Time) -> Relays {
        let given = |address: &RelayAddress| Relay::new(address.clone(), true, now);
        Relays {
            list: config.relays.iter().map(given).collect(),
            max: config.max_remotes.min(REMOTES_MAX),
            due: now,
            ..Relays::default()
        }
    }

    pub(crate) fn due(&self) -> Time {
        self.due
    }

    /// How many are joined.
    pub(crate) fn joined(&self) -> usize {
        self.list.iter().filter(|r| r.is_up()).count()
    }

    /// Whether some relay that was given has not been asked yet whether our name is taken.
    pub(crate) fn are_untried(&self) -> bool {
        self.list.iter().any(|r| r.given && !r.tried)
    }

    /// The relay that a link goes to.
    pub(crate) fn address(&self, link: LinkId) -> Option<&RelayAddress> {
        let relay = self.list.iter().find(|r| r.link() == Some(link))?;
        Some(&relay.address)
    }

    /// Whether the relay that a link goes to was learnt from others, if it goes to one.
    pub(crate) fn is_learnt(&self, link: LinkId) -> Option<bool> {
        let relay = self.list.iter().find(|r| r.link() == Some(link))?;
        Some(!relay.given)
    }

    fn by_link(&mut self, link: LinkId) -> Option<&mut Relay> {
        self.list.iter_mut().find(|r| r.link() == Some(link))
    }

    fn has(&self, address: &RelayAddress) -> bool {
        self.list.iter().any(|r| r.address == *address)
    }

    /// The relays that our latest advert names, and how many of them we vouch for.
    pub(crate) fn named(&self) -> &(Vec<RelayAddress>, u8) {
        &self.named
    }

    /// Counts the changes of what we advertise.
    pub(crate) fn news(&self) -> u64 {
        self.news
    }

    /// What an advert names: the relays we vouch for, and then those we heard of from nodes that
    /// do. How many of them are the former.
    fn to_tell(&self, now: Time) -> (Vec<RelayAddress>, u8) {
        let ours = self.list.iter().filter(|r| r.given || r.is_up());
        let mut names: Vec<_> = ours
            .take(ADVERT_RELAYS_MAX)
            .map(|r| r.address.clone())
            .collect();
        let vouched = names.len() as u8;
        for heard in &self.heard {
            let good = heard.vouched && now - heard.at < HEARD_GOOD;
            if good && names.len() < ADVERT_RELAYS_MAX && !names.contains(&heard.address) {
                names.push(heard.address.clone());
            }
        }
        (names, vouched)
    }

    /// What we advertise has changed.
    pub(crate) fn note_news(&mut self, now: Time) {
        self.news += 1;
        self.due = self.due.min(now);
    }

    /// Dials every relay that is down without waiting longer.
    pub(crate) fn try_all(&mut self, now: Time) {
        for relay in &mut self.list {
            if let Stage::Waits(at) = &mut relay.stage {
                *at = now;
            }
        }
        self.due = self.due.min(now);
    }

    /// Names in our adverts what is to be named from now on.
    pub(crate) fn rename(&mut self, now: Time) {
        let named = self.to_tell(now);
        if self.named != named {
            self.named = named;
            self.news += 1;
        }
    }

    /// A relay that was learnt and stays dead makes room for another.
    fn drop_learnt(&mut self, address: &RelayAddress, until: Time) {
        self.list.retain(|r| r.address != *address);
        self.heard.retain(|h| h.address != *address);
        if self.shunned.len() >= SHUNNED_MAX {
            let soonest = self.shunned.iter().min_by_key(|(_, until)| **until);
            if let Some(soonest) = soonest.map(|(a, _)| a.clone()) {
                self.shunned.remove(&soonest);
            }
        }
        self.shunned.insert(address.clone(), until);
    }

    /// Takes up learnt relays while there are fewer than there may be.
    fn fill(&mut self, now: Time) {
        self.shunned.retain(|_, until| *until > now);
        while self.list.len() < self.max {
            let next = self.heard.iter().find(|h| {
                now - h.at < HEARD_GOOD
                    && !self.has(&h.address)
                    && !self.shunned.contains_key(&h.address)
            });
            let Some(next) = next else {
                return;
            };
            let relay = Relay::new(next.address.clone(), false, now);
            self.list.push(relay);
        }
    }

    /// The relays that are to be dialled now. [`Relays::note_dial`] is to follow for each of them.
    pub(crate) fn take_due(&mut self, ctx: &Ctx<'_>) -> Vec<RelayAddress> {
        let now = ctx.now.at;
        self.fill(now);
        let per_second = ctx.config.limits.learnt_dials_per_second;
        let mut dials = Vec::new();
        self.due = Time::NEVER;
        for relay in &mut self.list {
            let Stage::Waits(at) = &mut relay.stage else {
                continue;
            };
            if now >= *at {
                if relay.given || self.learnt_dials.take(now, per_second) {
                    dials.push(relay.address.clone());
                    continue;
                }
                *at = now + LEARNT_WAIT;
            }
            self.due = self.due.min(*at);
        }
        dials
    }

    /// A relay is being dialled.
    pub(crate) fn note_dial(&mut self, address: &RelayAddress, link: LinkId) {
        if let Some(relay) = self.list.iter_mut().find(|r| r.address == *address) {
            relay.stage = Stage::Joining(link);
        }
    }

    /// A relay is joined. It has proved that it has the relay key, or else nothing is proven, of
    /// which the program is told once.
    pub(crate) fn up(&mut self, ctx: &mut Ctx<'_>, link: LinkId, is_proven: bool) {
        let Some(relay) = self.by_link(link) else {
            return;
        };
        relay.stage = Stage::Up(link);
        relay.tried = true;
        relay.down = None;
        let (address, is_given) = (relay.address.clone(), relay.given);
        let is_news = !is_proven && !relay.is_told_unproven;
        relay.is_told_unproven |= is_news;
        ctx.event(Event::RelayUp(address.clone()));
        if is_news {
            ctx.event(Event::RelayUnproven(address.clone()));
        }
        if is_proven && (is_given || self.proved.len() < PROVED_RELAYS_MAX) {
            self.proved.insert(address, ());
        }
        self.due = ctx.now.at;
    }

    /// Whether a relay has proved at some time that it has the relay key.
    pub(crate) fn has_proved(&self, address: &RelayAddress) -> bool {
        self.proved.contains_key(address)
    }

    /// The link to a relay has ended.
    pub(crate) fn lost(&mut self, ctx: &mut Ctx<'_>, link: LinkId, lost: Lost) {
        let (now, limits) = (ctx.now.at, &ctx.config.limits);
        let fault = lost.fault.unwrap_or(match lost.up_for {
            Some(_) => RelayFault::Lost,
            None => RelayFault::Unreachable,
        });
        ctx.stats.relay_dials_failed += u64::from(lost.up_for.is_none());
        let Some(relay) = self.by_link(link) else {
            return;
        };
        relay.tried = true;
        relay.failures = match lost.up_for {
            Some(up) if up >= STEADY => 0,
            _ => relay.failures.saturating_add(1),
        };
        let mut pause = Backoff::new(limits.relay_redial).after(relay.failures);
        if fault.lasts() {
            pause = pause.max(limits.relay_refused);
        }
        relay.stage = Stage::Waits(now + ctx.entropy.jitter(pause));
        let is_dead = !relay.given && relay.failures >= limits.relay_attempts;
        let is_news = relay.down.replace(fault) != Some(fault);
        let address = relay.address.clone();
        // What we advertise may have changed, too.
        self.due = now;
        if is_dead {
            ctx.stats.relays_dropped += 1;
            self.drop_learnt(&address, now + limits.relay_shunned);
        }
        if is_news {
            ctx.event(Event::RelayDown {
                relay: address,
                why: fault,
            });
        }
    }

    /// A learnt relay is one that we are linked to already, under another name: we can do without
    /// this one.
    pub(crate) fn drop_alias(&mut self, ctx: &Ctx<'_>, address: &RelayAddress) {
        self.drop_learnt(address, ctx.now.at + ctx.config.limits.relay_shunned);
        self.due = ctx.now.at;
    }

    /// Remembers the relays that another node knows, the newest in place of the oldest.
    pub(crate) fn learn(&mut self, now: Time, advert: &Advert) {
        for (i, address) in advert.relays.iter().enumerate() {
            let vouched = i < usize::from(advert.vouched);
            if let Some(known) = self.heard.iter_mut().find(|h| h.address == *address) {
                known.at = now;
                known.vouched |= vouched;
                continue;
            }
            if self.shunned.get(address).is_some_and(|until| *until > now) {
                continue;
            }
            if self.heard.len() >= ADVERT_RELAYS_MAX {
                let heard = self.heard.iter().enumerate();
                let oldest = heard.min_by_key(|(_, h)| (h.vouched, h.at));
                if let Some((oldest, _)) = oldest {
                    self.heard.swap_remove(oldest);
                }
            }
            self.heard.push(Heard {
                address: address.clone(),
                at: now,
                vouched,
            });
            self.due = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Output;
    use crate::engine::fixture::{Fixture, at, config, name};
    use crate::wire::Instance;
    use crate::wire::advert::Phase;
    use crate::wire::relay::Refusal;

    fn address(n: usize) -> RelayAddress {
        RelayAddress::new(&format!("relay{n}.example:1")).unwrap()
    }

    /// A node that was given one relay.
    fn given() -> (Fixture, Relays) {
        let mut config = config();
        config.relays = vec![address(0)];
        let mut fixture = Fixture::default();
        fixture.core.config = config;
        let relays = Relays::new(&fixture.core.config, at(0));
        (fixture, relays)
    }

    fn tells_of(names: Vec<RelayAddress>, vouched: u8) -> Advert {
        Advert {
            phase: Phase::Present,
            instance: Instance([9; 16]),
            sequence: 1,
            interval_ms: 1_000,
            port: 9,
            name: name("p"),
            address: None,
            relays: names,
            vouched,
            extensions: crate::wire::extensions::Extensions::default(),
        }
    }

    const IN_VAIN: Lost = Lost {
        up_for: None,
        fault: None,
    };

    #[test]
    fn a_given_relay_is_dialled_for_ever_and_later_each_time() {
        let (mut fixture, mut relays) = given();
        assert!(relays.are_untried());
        let mut before = Duration::ZERO;
        for link in 0..4 {
            let due = relays.take_due(&fixture.ctx());
            assert_eq!(due, [address(0)]);
            relays.note_dial(&due[0], LinkId(link));
            assert!(
                relays.take_due(&fixture.ctx()).is_empty(),
                "it is being dialled"
            );
            relays.lost(&mut fixture.ctx(), LinkId(link), IN_VAIN);
            assert!(relays.take_due(&fixture.ctx()).is_empty());
            let pause = relays.due() - fixture.now;
            assert!(pause > before);
            before = pause;
            fixture.now = relays.due();
        }
        assert!(!relays.are_untried());
        let down = Event::RelayDown {
            relay: address(0),
            why: RelayFault::Unreachable,
        };
        assert_eq!(fixture.events(), [down], "once for each reason");
    }

    #[test]
    fn a_relay_that_refuses_us_is_left_alone_for_longer() {
        let (mut fixture, mut relays) = given();
        relays.take_due(&fixture.ctx());
        relays.note_dial(&address(0), LinkId(1));
        for why in [RelayFault::Refused(Refusal::Full), RelayFault::WrongKey] {
            let refused = Lost {
                up_for: None,
                fault: Some(why),
            };
            relays.note_dial(&address(0), LinkId(1));
            relays.lost(&mut fixture.ctx(), LinkId(1), refused);
            relays.take_due(&fixture.ctx());
            let least = fixture.core.config.limits.relay_refused * 9 / 10;
            assert!(relays.due() >= at(0) + least, "{why}");
        }
    }

    /// Joins the `n`th relay, and loses it again.
    fn was_up(fixture: &mut Fixture, relays: &mut Relays, n: usize, is_proven: bool) {
        relays.note_dial(&address(n), LinkId(1));
        relays.up(&mut fixture.ctx(), LinkId(1), is_proven);
        relays.lost(&mut fixture.ctx(), LinkId(1), IN_VAIN);
        fixture.core.outputs.retain(|output| {
            let is_down = |event: &Event| matches!(event, Event::RelayDown { .. });
            !matches!(output, Output::Event(event) if is_down(event))
        });
    }

    #[test]
    fn that_a_relay_proves_nothing_is_told_once() {
        let (mut fixture, mut relays) = given();
        let (up, unproven) = (Event::RelayUp(address(0)), Event::RelayUnproven(address(0)));
        was_up(&mut fixture, &mut relays, 0, false);
        assert_eq!(fixture.events(), [up.clone(), unproven]);
        was_up(&mut fixture, &mut relays, 0, false);
        assert_eq!(fixture.events(), std::slice::from_ref(&up));
        assert!(!relays.has_proved(&address(0)));
        was_up(&mut fixture, &mut relays, 0, true);
        assert_eq!(fixture.events(), [up]);
        assert!(relays.has_proved(&address(0)));
    }

    #[test]
    fn that_a_relay_has_proved_its_key_is_remembered_when_it_is_given_up() {
        let (mut fixture, mut relays) = given();
        fixture.core.config.limits.relay_attempts = 1;
        for n in 1..=PROVED_RELAYS_MAX + 1 {
            relays.learn(at(0), &tells_of(vec![address(n)], 1));
            relays.fill(at(0));
            was_up(&mut fixture, &mut relays, n, true);
        }
        assert_eq!(relays.list.len(), 1, "those that were learnt are given up");
        assert!(relays.has_proved(&address(1)));
        assert!(relays.has_proved(&address(PROVED_RELAYS_MAX)));
        assert!(!relays.has_proved(&address(PROVED_RELAYS_MAX + 1)));
        was_up(&mut fixture, &mut relays, 0, true);
        assert!(relays.has_proved(&address(0)), "it was given");
    }

    #[test]
    fn a_relay_that_was_up_for_a_while_is_dialled_as_soon_as_the_first_time() {
        let (mut fixture, mut relays) = given();
        relays.take_due(&fixture.ctx());
        relays.note_dial(&address(0), LinkId(1));
        relays.up(&mut fixture.ctx(), LinkId(1), true);
        assert_eq!(relays.joined(), 1);
        assert_eq!(fixture.events(), [Event::RelayUp(address(0))]);
        let lost = Lost {
            up_for: Some(STEADY),
            fault: None,
        };
        relays.lost(&mut fixture.ctx(), LinkId(1), lost);
        relays.take_due(&fixture.ctx());
        let (first, _) = fixture.core.config.limits.relay_redial;
        assert!(relays.due() <= at(0) + first * 11 / 10);
        assert_eq!(relays.joined(), 0);
    }

    #[test]
    fn a_learnt_relay_that_stays_dead_makes_room_and_is_shunned_for_a_while() {
        let (mut fixture, mut relays) = given();
        fixture.core.config.limits.relay_attempts = 1;
        relays.take_due(&fixture.ctx());
        relays.note_dial(&address(0), LinkId(0));
        let advert = tells_of(vec![address(1)], 1);
        relays.learn(at(0), &advert);
        assert_eq!(relays.take_due(&fixture.ctx()), [address(1)]);
        relays.note_dial(&address(1), LinkId(1));
        assert_eq!(relays.is_learnt(LinkId(1)), Some(true));
        assert_eq!(relays.is_learnt(LinkId(0)), Some(false));
        relays.lost(&mut fixture.ctx(), LinkId(1), IN_VAIN);
        relays.learn(at(0), &advert);
        assert!(relays.take_due(&fixture.ctx()).is_empty(), "it is shunned");
        fixture.now = at(0) + fixture.core.config.limits.relay_shunned;
        relays.learn(fixture.now, &advert);
        assert_eq!(relays.take_due(&fixture.ctx()), [address(1)]);
    }

    #[test]
    fn an_advert_names_what_we_vouch_for_and_what_others_vouch_for() {
        let (_, mut relays) = given();
        let news = relays.news();
        relays.learn(at(0), &tells_of(vec![address(1), address(2)], 1));
        relays.rename(at(0));
        assert_eq!(*relays.named(), (vec![address(0), address(1)], 1));
        assert_eq!(relays.news(), news + 1);
        relays.rename(at(1));
        assert_eq!(relays.news(), news + 1, "nothing has changed");
    }

    #[test]
    fn as_many_relays_are_heard_of_as_an_advert_can_name() {
        let (_, mut relays) = given();
        for n in 0..1_000 {
            relays.learn(at(n as u64), &tells_of(vec![address(n)], 1));
            assert!(relays.heard.len() <= ADVERT_RELAYS_MAX);
        }
        assert!(relays.heard.iter().any(|h| h.address == address(999)));
        assert!(relays.heard.iter().all(|h| h.address != address(0)));
    }
}
