//! Messages for every node: handed on from node to node, delivered once at each, and reported back.
//!
//! A broadcast goes to every peer as a call, so that it survives the loss of a path. A node that
//! hears it for the first time delivers it and asks its own peers on; a node that has heard it says
//! so at once. Each answers when its own peers have, with how many nodes it has reached, so that
//! the report comes back to the origin along the way that the message went.
//!
//! This part knows no peers and no calls. It says whether a message is new and its origin's own
//! ([`Broadcasts::hear`]), and keeps one round for each message that was handed on, which is over
//! once all calls of it have ended.

use super::signed_broadcast::{Broadcast, Said};
use crate::engine::context::Ctx;
use crate::engine::payload::Payload;
use crate::engine::{CallNumber, Output, RequestId, Time};
use crate::error::Error;
use crate::name::NodeName;
use crate::rate::Fair;
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::report::{self, Report};

/// Origins whose messages are remembered: some 200 bytes each. At the rate that is allowed they
/// last for seconds at the least, which is longer than a message travels; in an honest network, for
/// ever.
const ORIGINS_MAX: usize = 1_024;

/// Numbers of one origin that are remembered singly. Older ones may have been heard, and are turned
/// away.
const WINDOW: u64 = 1_024;

/// The part that is told what became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    /// A program of this node.
    Own(CallNumber),
    /// The peer that the message came from.
    Peer(RequestId),
}

/// Peers that are still to be asked to take a message.
#[derive(Debug)]
pub(crate) struct Unasked {
    /// The next one comes last.
    pub(crate) peers: Vec<NodeName>,
    pub(crate) broadcast: Broadcast,
    /// Whether a program of this node has said the message.
    pub(crate) is_own: bool,
    /// When the calls that ask them have to end.
    pub(crate) deadline: Time,
}

/// A message that was handed on.
#[derive(Debug)]
struct Round {
    parent: Parent,
    /// Calls that have not ended, and one more while peers are still to be asked.
    left: usize,
    report: Report,
    /// Peers for which there was no room while others were asked.
    unasked: Option<Box<Unasked>>,
}

/// A message of which all that it will reach is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RoundOver {
    pub(crate) parent: Parent,
    /// The encoded report.
    pub(crate) report: Vec<u8>,
}

/// What a message is that came from a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It was delivered here before. The encoded report says that it reached no further node.
    Before(Vec<u8>),
    /// There is no room for it now. It was not heard, and may come again, also from another peer.
    TurnedAway,
    /// It is new, and its origin has signed it.
    New,
    /// Its origin has not signed it, so the peer that hands it on breaks a rule: each node checks
    /// that before it does.
    Forged,
}

/// Which messages of one origin were heard.
#[derive(Debug)]
struct Window {
    highest: u64,
    bits: [u64; (WINDOW / 64) as usize],
    last: Time,
    /// The peer that the first of them came from.
    from: Instance,
}

impl Window {
    fn new(number: u64, from: Instance, now: Time) -> Window {
        let mut heard = Window {
            highest: number,
            bits: [0; (WINDOW / 64) as usize],
            last: now,
            from,
        };
        heard.set(number);
        heard
    }

    fn set(&mut self, number: u64) {
        let at = number % WINDOW;
        self.bits[(at / 64) as usize] |= 1 << (at % 64);
    }

    /// Whether a message was heard. `None` if it is so old that this is not known any more.
    fn has(&self, number: u64) -> Option<bool> {
        let at = number % WINDOW;
        match self.highest.checked_sub(number) {
            None => Some(false),
            Some(age) if age >= WINDOW => None,
            Some(_) => Some(self.bits[(at / 64) as usize] & 1 << (at % 64) != 0),
        }
    }

    /// Notes that a message was heard.
    fn note(&mut self, number: u64, now: Time) {
        self.last = now;
        if number > self.highest {
            if number - self.highest >= WINDOW {
                self.bits = [0; (WINDOW / 64) as usize];
            } else {
                for between in self.highest + 1..=number {
                    let at = between % WINDOW;
                    self.bits[(at / 64) as usize] &= !(1 << (at % 64));
                }
            }
            self.highest = number;
        }
        if self.highest - number < WINDOW {
            self.set(number);
        }
    }
}

/// All that this node knows of broadcasts.
#[derive(Debug, Default)]
pub(crate) struct Broadcasts {
    /// Whether too much waits for the program to take another message.
    is_full: bool,
    heard: Table<Instance, Box<Window>>,
    /// The messages whose calls have not all ended.
    rounds: Table<u64, Round>,
    next_round: u64,
    /// How many messages this node has said.
    said: u64,
    /// Those of others, by the peer that has handed them on.
    rate: Fair<Instance>,
}

impl Broadcasts {
    /// Whether the program has so much to do that messages of others are turned away.
    pub(crate) fn hold(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    /// A message that this node says.
    pub(crate) fn say(&mut self, ctx: &mut Ctx<'_>, data: &[u8]) -> Broadcast {
        let number = self.said;
        self.said += 1;
        ctx.stats.broadcasts_said += 1;
        let names = (&ctx.config.network, &ctx.config.name);
        let who = (&ctx.config.identity, &ctx.secrets.credentials);
        let said = Broadcast::sign(names, who, number, data);
        // It may come back when this node has another identity.
        self.note(said.origin, number, said.origin, ctx.now.at);
        said
    }

    /// A message came from the peer `from`. If it is new and signed, [`Broadcasts::deliver`] is to
    /// follow. What costs least is looked at first, and a message that is not good is not noted: it
    /// may still come from its origin.
    pub(crate) fn hear(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Instance,
        broadcast: &Broadcast,
    ) -> Heard {
        let (origin, number) = (broadcast.origin, broadcast.number);
        let heard = self.heard.get(&origin);
        let was_heard = heard.map_or(Some(false), |heard| heard.has(number));
        if origin == ctx.instance || was_heard == Some(true) {
            return Heard::Before(encoded(&Report::default()));
        }
        let per_second = ctx.config.limits.broadcasts_per_second;
        let room = (per_second, per_second / 4, (per_second / 16).max(1));
        // One that may have been heard is not delivered, and is not said to be either.
        if was_heard.is_none() || self.is_full || !self.rate.take(ctx.now.at, from, room) {
            ctx.stats.overloaded += 1;
            return Heard::TurnedAway;
        }
        match broadcast.is_signed(&ctx.config.network) {
            true => Heard::New,
            false => Heard::Forged,
        }
    }

    /// Delivers a message that is new, and came from the peer `from`.
    pub(crate) fn deliver(&mut self, ctx: &mut Ctx<'_>, from: Instance, broadcast: &Broadcast) {
        self.note(broadcast.origin, broadcast.number, from, ctx.now.at);
        ctx.stats.broadcasts_heard += 1;
        ctx.outputs.push_back(Output::Message(Said {
            sender: broadcast.sender.clone(),
            key: *broadcast.key(),
            data: broadcast.data.to_vec(),
        }));
    }

    /// Notes that a message of `origin` was heard, from the peer `from`. A member can make any
    /// number of keys, and be as many origins: when there is no room for another, the peer from
    /// which the most have come loses the one that was not heard for the longest.
    fn note(&mut self, origin: Instance, number: u64, from: Instance, now: Time) {
        if let Some(heard) = self.heard.get_mut(&origin) {
            return heard.note(number, now);
        }
        if self.heard.len() >= ORIGINS_MAX
            && let Some(loser) = self.most_dispensable()
        {
            self.heard.remove(&loser);
        }
        let heard = Window::new(number, from, now);
        self.heard.insert(origin, Box::new(heard));
    }

    fn most_dispensable(&self) -> Option<Instance> {
        let mut counts: Table<Instance, usize> = Table::default();
        for heard in self.heard.values() {
            *counts.or_insert_with(heard.from, || 0) += 1;
        }
        let (from, _) = counts.iter().max_by_key(|(_, count)| **count)?;
        let theirs = self.heard.iter().filter(|(_, h)| h.from == *from);
        theirs.min_by_key(|(_, h)| h.last).map(|(i, _)| *i)
    }
}

/// The rounds.
impl Broadcasts {
    /// Begins to hand a message on. The round is not over before [`Broadcasts::asked_all`].
    pub(crate) fn begin_round(&mut self, parent: Parent) -> u64 {
        let round = self.next_round;
        self.next_round += 1;
        let mut report = Report::default();
        if let Parent::Peer(_) = parent {
            report.delivered = 1;
        }
        let begun = Round {
            parent,
            left: 1,
            report,
            unasked: None,
        };
        self.rounds.insert(round, begun);
        round
    }

    /// One more peer is asked.
    pub(crate) fn asks(&mut self, round: u64) {
        if let Some(round) = self.rounds.get_mut(&round) {
            round.left += 1;
        }
    }

    /// A peer could not be asked for want of room. Whether it can be later: other calls of the
    /// round are under way, and give room when they end. [`Broadcasts::keep`] is to follow then.
    pub(crate) fn put_off(&mut self, round: u64) -> bool {
        let round = self.rounds.get_mut(&round);
        // Besides the call that could not begin, and the one for those that are to be asked.
        let round = round.filter(|round| round.left > 2);
        round.is_some_and(|round| {
            round.left -= 1;
            true
        })
    }

    /// These are to be asked when a call of the round has ended. The message takes no room of its
    /// own until then: another call of the round carries it.
    pub(crate) fn keep(&mut self, round: u64, unasked: Unasked) {
        if let Some(round) = self.rounds.get_mut(&round) {
            round.unasked = Some(Box::new(unasked));
        }
    }

    /// Takes those that may be asked now that a call of the round has ended.
    pub(crate) fn take_unasked(&mut self, round: u64) -> Option<Unasked> {
        let unasked = self.rounds.get_mut(&round)?.unasked.take();
        unasked.map(|unasked| *unasked)
    }

    /// Takes all that wait to be asked, of whatever round.
    pub(crate) fn take_all_unasked(&mut self) -> Vec<(u64, Unasked)> {
        let rounds = self.rounds.iter_mut();
        let unasked = rounds.filter_map(|(number, r)| Some((*number, *r.unasked.take()?)));
        unasked.collect()
    }

    /// The message has come too far to be handed on, though there are peers.
    pub(crate) fn cut(&mut self, round: u64) {
        if let Some(round) = self.rounds.get_mut(&round) {
            round.report.cut = true;
        }
    }

    /// The call that asked a peer has ended.
    pub(crate) fn ended(
        &mut self,
        round: u64,
        peer: NodeName,
        result: &Result<Payload, Error>,
    ) -> Option<RoundOver> {
        let report = &mut self.rounds.get_mut(&round)?.report;
        let its = result.as_ref().ok();
        let its = its.and_then(|b| report::decode(b.bytes()).ok());
        match its {
            Some(its) => report.add(its),
            None => report.add_failed(peer),
        }
        self.one_less(round)
    }

    /// All peers were asked.
    pub(crate) fn asked_all(&mut self, round: u64) -> Option<RoundOver> {
        self.one_less(round)
    }

    fn one_less(&mut self, number: u64) -> Option<RoundOver> {
        let round = self.rounds.get_mut(&number)?;
        round.left -= 1;
        if round.left > 0 {
            return None;
        }
        let round = self.rounds.remove(&number)?;
        Some(RoundOver {
            parent: round.parent,
            report: encoded(&round.report),
        })
    }
}

fn encoded(report: &Report) -> Vec<u8> {
    let mut body = Vec::new();
    report.encode(&mut body);
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Now;
    use crate::engine::fixture::core;
    use crate::handshake::Credentials;
    use crate::identity::Identity;
    use crate::name::NetworkName;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::time::Duration;

    proptest! {
        #[test]
        fn a_number_is_new_once(numbers in prop::collection::vec(0u64..3_000, 1..200)) {
            let (from, now) = (Instance([0; 16]), Time::default());
            let mut heard = Window::new(numbers[0], from, now);
            let (mut set, mut highest) = (HashSet::from([numbers[0]]), numbers[0]);
            for number in numbers {
                highest = highest.max(number);
                let before = heard.has(number);
                heard.note(number, now);
                let recent = highest - number < WINDOW;
                prop_assert_eq!(heard.has(number), recent.then_some(true));
                prop_assert_eq!(before, recent.then_some(!set.insert(number)));
            }
        }
    }

    #[test]
    fn a_peer_that_invents_origins_makes_its_own_forgotten() {
        let mut broadcasts = Broadcasts::default();
        let (honest, bad) = (Instance([1; 16]), Instance([2; 16]));
        let origin = |i: usize| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&i.to_be_bytes());
            Instance(id)
        };
        let at = |s| Time(Duration::from_secs(s));
        let has_heard = |broadcasts: &Broadcasts, origin| {
            let heard = broadcasts.heard.get(&origin);
            heard.is_some_and(|heard| heard.has(0) == Some(true))
        };
        for i in 0..100 {
            broadcasts.note(origin(i), 0, honest, at(0));
        }
        for i in 100..10_000 {
            broadcasts.note(origin(i), 0, bad, at(i as u64 / 200));
            assert!(
                has_heard(&broadcasts, origin(i)),
                "a new one always has room"
            );
            assert!(broadcasts.heard.len() <= ORIGINS_MAX);
        }
        assert!((0..100).all(|i| has_heard(&broadcasts, origin(i))));
        let kept = (100..10_000).filter(|i| has_heard(&broadcasts, origin(*i)));
        assert!(kept.eq(10_000 - (ORIGINS_MAX - 100)..10_000), "the latest");
    }

    #[test]
    fn a_message_that_may_have_been_heard_is_turned_away_and_not_said_to_be_delivered() {
        let (mut broadcasts, mut core) = (Broadcasts::default(), core());
        let mut hear = |number| {
            let ctx = &mut core.at(Now::default());
            let said = message(3, number);
            let heard = broadcasts.hear(ctx, PEER.caller, &said);
            if heard == Heard::New {
                broadcasts.deliver(ctx, PEER.caller, &said);
            }
            heard
        };
        assert_eq!(hear(5_000), Heard::New);
        assert!(matches!(hear(5_000), Heard::Before(_)));
        assert_eq!(hear(5_000 - WINDOW), Heard::TurnedAway);
        assert_eq!(hear(5_001 - WINDOW), Heard::New);
    }

    const PEER: RequestId = RequestId {
        caller: Instance([2; 16]),
        number: 7,
    };

    /// One of the node that has this identity.
    fn message(origin: u8, number: u64) -> Broadcast {
        let identity = Identity::from_seed([origin; 32]);
        let credentials = Credentials::new(&identity, true, [origin; 16]);
        let names = (&NetworkName::new("net").unwrap(), &name("sender"));
        Broadcast::sign(names, (&identity, &credentials), number, b"hello")
    }

    fn name(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    #[test]
    fn a_message_is_delivered_once_and_one_that_is_turned_away_may_come_again() {
        let (mut core, mut broadcasts) = (core(), Broadcasts::default());
        let mut ctx = core.at(Now::default());
        broadcasts.hold(true);
        let turned_away = broadcasts.hear(&mut ctx, PEER.caller, &message(3, 0));
        assert_eq!(turned_away, Heard::TurnedAway);
        broadcasts.hold(false);
        let said = message(3, 0);
        let first = broadcasts.hear(&mut ctx, PEER.caller, &said);
        assert_eq!(first, Heard::New);
        let first = broadcasts.hear(&mut ctx, PEER.caller, &said);
        assert_eq!(first, Heard::New, "until it was delivered");
        broadcasts.deliver(&mut ctx, PEER.caller, &said);
        let again = broadcasts.hear(&mut ctx, PEER.caller, &said);
        assert!(matches!(again, Heard::Before(_)));
        let own = broadcasts.say(&mut ctx, b"x");
        let own = broadcasts.hear(&mut ctx, PEER.caller, &own);
        assert!(matches!(own, Heard::Before(_)), "it came back");
        assert!(matches!(
            core.outputs.make_contiguous(),
            [Output::Message(told)] if told.data == b"hello" && told.key == *said.key()
        ));
    }

    #[test]
    fn what_its_origin_has_not_signed_is_told_apart_and_not_taken_for_heard() {
        let (mut core, mut broadcasts) = (core(), Broadcasts::default());
        let mut ctx = core.at(Now::default());
        let said = message(3, 0);
        let mut forged = said.clone();
        forged.data = b"other"[..].into();
        let heard = broadcasts.hear(&mut ctx, PEER.caller, &forged);
        assert_eq!(heard, Heard::Forged);
        let heard = broadcasts.hear(&mut ctx, PEER.caller, &said);
        assert_eq!(heard, Heard::New);
    }

    #[test]
    fn a_peer_that_hands_on_too_many_leaves_room_to_others() {
        let (mut core, mut broadcasts) = (core(), Broadcasts::default());
        core.config.limits.broadcasts_per_second = 16;
        let mut ctx = core.at(Now::default());
        let mut taken = |from: u8, origin| {
            let new = (0..100).filter(|number| {
                let heard =
                    broadcasts.hear(&mut ctx, Instance([from; 16]), &message(origin, *number));
                heard == Heard::New
            });
            new.count()
        };
        assert_eq!(taken(1, 3), 12);
        assert_eq!(taken(2, 4), 1, "the first of another");
    }

    #[test]
    fn a_round_is_over_once_all_were_asked_and_all_have_answered() {
        let mut broadcasts = Broadcasts::default();
        let round = broadcasts.begin_round(Parent::Peer(PEER));
        for _ in 0..2 {
            broadcasts.asks(round);
        }
        let reached = encoded(&Report {
            delivered: 4,
            ..Report::default()
        });
        assert_eq!(
            broadcasts.ended(round, name("b"), &Ok(Payload::Data(reached))),
            None
        );
        let failed = broadcasts.ended(round, name("c"), &Err(Error::Timeout));
        assert_eq!(failed, None, "there may be more to ask");
        let over = broadcasts.asked_all(round).unwrap();
        let report = report::decode(&over.report).unwrap();
        assert_eq!(over.parent, Parent::Peer(PEER));
        assert_eq!((report.delivered, report.failed), (5, 1));
        assert_eq!(report.names, [name("c")]);
        assert_eq!(broadcasts.asked_all(round), None, "it is over once");
    }

    #[test]
    fn a_peer_for_which_there_is_no_room_is_asked_when_another_call_of_the_round_has_ended() {
        let mut broadcasts = Broadcasts::default();
        let round = broadcasts.begin_round(Parent::Own(CallNumber(1)));
        let report = encoded(&Report {
            delivered: 1,
            ..Report::default()
        });
        broadcasts.asks(round);
        assert!(!broadcasts.put_off(round), "nothing would give room");
        assert_eq!(
            broadcasts.ended(round, name("a"), &Ok(Payload::Data(report.clone()))),
            None
        );
        broadcasts.asks(round);
        broadcasts.asks(round);
        assert!(broadcasts.put_off(round));
        broadcasts.keep(
            round,
            Unasked {
                peers: vec![name("c")],
                broadcast: message(1, 0),
                is_own: true,
                deadline: Time::default(),
            },
        );
        assert_eq!(
            broadcasts.ended(round, name("b"), &Ok(Payload::Data(report.clone()))),
            None
        );
        let unasked = broadcasts.take_unasked(round).unwrap();
        assert_eq!(unasked.peers, [name("c")]);
        assert!(broadcasts.take_unasked(round).is_none());
        broadcasts.asks(round);
        assert_eq!(broadcasts.asked_all(round), None);
        let over = broadcasts
            .ended(round, name("c"), &Ok(Payload::Data(report)))
            .unwrap();
        let report = report::decode(&over.report).unwrap();
        assert_eq!((report.delivered, report.failed), (3, 0));
    }

    #[test]
    fn a_message_that_has_come_too_far_is_reported_as_cut() {
        let mut broadcasts = Broadcasts::default();
        let round = broadcasts.begin_round(Parent::Own(CallNumber(1)));
        broadcasts.cut(round);
        let over = broadcasts.asked_all(round).unwrap();
        let report = report::decode(&over.report).unwrap();
        assert!(report.cut && report.delivered == 0);
    }
}
