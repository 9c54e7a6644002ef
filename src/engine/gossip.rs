//! Messages for everyone: handed on from node to node, delivered once at each, and reported back.
//!
//! A broadcast goes to every peer as a call, so that it survives the loss of a path. Who hears it for the
//! first time delivers it and asks its own peers on; who has heard it says so at once. Each answers when
//! its own have, with how many it has reached, so that the report comes back to the origin along the way
//! the message went.

use super::ask::Ask;
use super::{CallNumber, Engine, Now, Output, Phase, RequestId, Terms, Time};
use crate::error::Error;
use crate::limits::BROADCAST_HOPS;
use crate::name::NodeName;
use crate::rate::Rate;
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::ask;
use crate::wire::record::Status;
use crate::wire::report;
use std::sync::Arc;
use std::time::Duration;

pub use crate::wire::report::Report;

/// Origins whose messages are remembered: some 200 bytes each. At the rate that is allowed they last for
/// seconds at the least, which is longer than a message travels; in an honest network, for ever.
const ORIGINS_MAX: usize = 1_024;
/// Numbers of one origin that are remembered singly; older ones count as heard.
const WINDOW: u64 = 1_024;

/// A message for everyone, on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    pub(super) origin: Instance,
    pub(super) number: u64,
    pub(super) hops: u8,
    pub(super) sender: NodeName,
    pub(super) data: Arc<[u8]>,
}

impl Broadcast {
    pub(super) fn as_wire(&self) -> ask::Broadcast<'_> {
        ask::Broadcast {
            origin: self.origin,
            number: self.number,
            hops: self.hops,
            sender: self.sender.as_str(),
            data: &self.data,
        }
    }

    /// `None` if the sender's name is none.
    pub(super) fn read(wire: &ask::Broadcast<'_>) -> Option<Broadcast> {
        Some(Broadcast {
            origin: wire.origin,
            number: wire.number,
            hops: wire.hops,
            sender: NodeName::new(wire.sender).ok()?,
            data: wire.data.into(),
        })
    }
}

/// Which messages of one origin were heard.
#[derive(Debug)]
struct Heard {
    highest: u64,
    bits: [u64; (WINDOW / 64) as usize],
    last: Time,
    /// The peer that the first of them came from.
    from: Instance,
}

impl Heard {
    fn new(number: u64, from: Instance, now: Time) -> Heard {
        let mut heard = Heard {
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

    /// Whether a message was heard, or is so old that it counts as heard.
    fn has(&self, number: u64) -> bool {
        let at = number % WINDOW;
        match self.highest.checked_sub(number) {
            None => false,
            Some(age) => age >= WINDOW || self.bits[(at / 64) as usize] & 1 << (at % 64) != 0,
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

/// Who is to be told what became of a message.
#[derive(Clone, Copy, Debug)]
enum Parent {
    /// A program here.
    Own(CallNumber),
    /// The peer it came from.
    Peer(RequestId),
}

/// A message that was handed on.
#[derive(Debug)]
struct Round {
    parent: Parent,
    left: usize,
    report: Report,
}

#[derive(Debug, Default)]
pub(super) struct Gossip {
    /// Whether too much waits for the program to take another message.
    full: bool,
    heard: Table<Instance, Box<Heard>>,
    /// Those whose own peers have not all answered.
    rounds: Table<u64, Round>,
    next_round: u64,
    /// The calls that hand messages on, and to whom.
    calls: Table<u64, (u64, NodeName)>,
    said: u64,
    rate: Rate,
}

impl Gossip {
    fn has_heard(&self, origin: Instance, number: u64) -> bool {
        self.heard.get(&origin).is_some_and(|h| h.has(number))
    }

    /// Notes that a message of `origin` was heard, from the peer `from`. Nobody proves to be an origin, so
    /// that a member can invent any number of them: when there is no room for another, the peer from which
    /// the most have come loses the one that was not heard for the longest.
    fn note(&mut self, origin: Instance, number: u64, from: Instance, now: Time) {
        if let Some(heard) = self.heard.get_mut(&origin) {
            return heard.note(number, now);
        }
        if self.heard.len() >= ORIGINS_MAX
            && let Some(loser) = self.most_dispensable()
        {
            self.heard.remove(&loser);
        }
        let heard = Heard::new(number, from, now);
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

impl Engine {
    /// Whether the program has so much to do that broadcasts of others are turned away: they may come again.
    pub fn hold_broadcasts(&mut self, full: bool) {
        self.gossip.full = full;
    }

    /// Says something to every node that can be reached through any chain of nodes. What became of it comes
    /// as [`Output::Ended`], with a [`Report`] as [`report::decode`] reads it.
    pub fn broadcast(
        &mut self,
        now: Now,
        data: &[u8],
        timeout: Duration,
    ) -> Result<CallNumber, Error> {
        let (size, limit) = (data.len(), self.core.config.limits.max_message);
        if self.phase == Phase::Stopped {
            return Err(Error::Stopped);
        }
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        let number = self.calls.take_number();
        let broadcast = Broadcast {
            origin: self.core.instance,
            number: self.gossip.said,
            hops: BROADCAST_HOPS,
            sender: self.core.config.name.clone(),
            data: data.into(),
        };
        self.gossip.said += 1;
        self.core.stats.broadcasts_said += 1;
        let timeout = timeout.min(self.core.config.limits.call_timeout);
        self.hand_on(now, Parent::Own(number), None, broadcast, timeout);
        Ok(number)
    }

    /// A peer says something to everyone.
    pub(super) fn heard_broadcast(&mut self, now: Now, id: RequestId, broadcast: Broadcast) {
        let (origin, number) = (broadcast.origin, broadcast.number);
        if origin == self.core.instance || self.gossip.has_heard(origin, number) {
            let known = reply_of(&Report::default());
            return self.reply(now, id, Status::Value, known);
        }
        // One that is turned away was not heard: it may come again, or from somebody else.
        let per_second = self.core.config.limits.broadcasts_per_second;
        if self.gossip.full || !self.gossip.rate.take(now.at, per_second) {
            self.core.stats.overloaded += 1;
            return self.reply(now, id, Status::Overloaded, Vec::new());
        }
        self.gossip.note(origin, number, id.caller, now.at);
        self.core.stats.broadcasts_heard += 1;
        let message = Output::Message(broadcast.sender.clone(), broadcast.data.to_vec());
        self.core.outputs.push_back(message);
        let left = self.serving.time_left(now.at, id);
        self.hand_on(now, Parent::Peer(id), Some(id.caller), broadcast, left);
    }

    /// Asks every peer but the one it came from, and leaves itself a while to report.
    fn hand_on(
        &mut self,
        now: Now,
        parent: Parent,
        from: Option<Instance>,
        mut broadcast: Broadcast,
        timeout: Duration,
    ) {
        let peers: Vec<NodeName> = self
            .directory
            .iter()
            .filter(|(i, p)| p.is_joined() && Some(**i) != from && **i != broadcast.origin)
            .map(|(_, p)| p.name().clone())
            .collect();
        let round = self.gossip.next_round;
        self.gossip.next_round += 1;
        let mut report = Report::default();
        if let Parent::Peer(_) = parent {
            report.delivered = 1;
        }
        let mut calls = Vec::new();
        if let Some(hops) = broadcast.hops.checked_sub(1) {
            broadcast.hops = hops;
            let terms = Terms {
                timeout: timeout * 9 / 10,
                wait: false,
                streams: false,
            };
            for name in peers {
                match self.call(now, &name, Ask::Broadcast(broadcast.clone()), terms) {
                    Ok(number) => calls.push((number.0, name)),
                    Err(_) => report.add_failed(name),
                }
            }
        } else {
            report.cut = !peers.is_empty();
        }
        let left = calls.len();
        let over = Round {
            parent,
            left,
            report,
        };
        self.gossip.rounds.insert(round, over);
        for (number, name) in calls {
            self.gossip.calls.insert(number, (round, name));
        }
        if left == 0 {
            self.round_over(now, round);
        }
    }

    /// A call has ended: if it handed a message on, its outcome goes into the report, and to nobody else.
    pub(super) fn handed_on(
        &mut self,
        now: Now,
        number: u64,
        result: &Result<Vec<u8>, Error>,
    ) -> bool {
        let Some((id, name)) = self.gossip.calls.remove(&number) else {
            return false;
        };
        if let Some(round) = self.gossip.rounds.get_mut(&id) {
            let report = result.as_ref().ok().and_then(|b| report::decode(b).ok());
            match report {
                Some(report) => round.report.add(report),
                None => round.report.add_failed(name),
            }
            round.left -= 1;
            if round.left == 0 {
                self.round_over(now, id);
            }
        }
        true
    }

    fn round_over(&mut self, now: Now, id: u64) {
        let Some(round) = self.gossip.rounds.remove(&id) else {
            return;
        };
        let body = reply_of(&round.report);
        match round.parent {
            Parent::Own(number) => self.core.outputs.push_back(Output::Ended(number, Ok(body))),
            Parent::Peer(id) => self.reply(now, id, Status::Value, body),
        }
    }
}

fn reply_of(report: &Report) -> Vec<u8> {
    let mut body = Vec::new();
    report.encode(&mut body);
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn a_number_is_new_once(numbers in prop::collection::vec(0u64..3_000, 1..200)) {
            let (from, now) = (Instance([0; 16]), Time::default());
            let mut heard = Heard::new(numbers[0], from, now);
            let (mut set, mut highest) = (HashSet::from([numbers[0]]), numbers[0]);
            for number in numbers {
                highest = highest.max(number);
                let first = !heard.has(number);
                heard.note(number, now);
                prop_assert!(heard.has(number));
                let recent = highest - number < WINDOW;
                prop_assert_eq!(first, set.insert(number) && recent);
            }
        }
    }

    #[test]
    fn a_peer_that_invents_origins_makes_its_own_forgotten() {
        let mut gossip = Gossip::default();
        let (honest, bad) = (Instance([1; 16]), Instance([2; 16]));
        let origin = |i: usize| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&i.to_be_bytes());
            Instance(id)
        };
        let at = |s| Time(Duration::from_secs(s));
        for i in 0..100 {
            gossip.note(origin(i), 0, honest, at(0));
        }
        for i in 100..10_000 {
            gossip.note(origin(i), 0, bad, at(i as u64 / 200));
            assert!(gossip.has_heard(origin(i), 0), "a new one always has room");
            assert!(gossip.heard.len() <= ORIGINS_MAX);
        }
        assert!((0..100).all(|i| gossip.has_heard(origin(i), 0)));
        let kept = (100..10_000).filter(|i| gossip.has_heard(origin(*i), 0));
        assert!(kept.eq(10_000 - (ORIGINS_MAX - 100)..10_000), "the latest");
    }
}
