//! Strangers: nodes that advertise under this network's name, and whose adverts this node cannot
//! read. The program is told of them, since a wrong key would otherwise be silent.

use super::{Ctx, Event, Time};
use crate::limits::STRANGERS_MAX;
use crate::wire::advert::MARK;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

/// The time between two events of one kind. A source can be forged, so whoever floods the network
/// must not flood the program.
const PAUSE: Duration = Duration::from_secs(60);

/// What is wrong with an advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    OtherKey,
    OtherVersion,
}

/// The strangers that the program was told of.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    /// Those told of last, the latest at the end.
    told: VecDeque<(Kind, IpAddr)>,
    /// When the program was last told of one with another key, and of one of another version.
    last: [Option<Time>; 2],
}

impl Strangers {
    /// An advert of our network from this address does not open.
    pub(crate) fn heard(&mut self, ctx: &mut Ctx<'_>, from: IpAddr, payload: &[u8]) {
        let kind = match payload.first() {
            Some(&MARK) => Kind::OtherKey,
            _ => Kind::OtherVersion,
        };
        let (now, from) = (ctx.now.at, from.to_canonical());
        let last = &mut self.last[kind as usize];
        let is_pausing = last.is_some_and(|last| now - last < PAUSE);
        if is_pausing || self.told.contains(&(kind, from)) {
            return;
        }
        *last = Some(now);
        if self.told.len() >= STRANGERS_MAX {
            self.told.pop_front();
        }
        self.told.push_back((kind, from));
        ctx.event(match kind {
            Kind::OtherKey => Event::OtherKey(from),
            Kind::OtherVersion => Event::OtherVersion(from),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{Fixture, address, at};

    #[test]
    fn each_stranger_is_told_once_and_one_in_a_minute() {
        let (mut fixture, mut strangers) = (Fixture::default(), Strangers::default());
        let mut heard = |fixture: &mut Fixture, ms, n: u8, payload: &[u8]| {
            fixture.now = at(ms);
            strangers.heard(&mut fixture.ctx(), address(n).ip(), payload);
            fixture.events()
        };
        let first = address(1).ip();
        let told = heard(&mut fixture, 1, 1, b"2gAAA");
        assert_eq!(told, [Event::OtherKey(first)]);
        assert_eq!(heard(&mut fixture, 2, 2, b"2gAAA"), [], "within a minute");
        let told = heard(&mut fixture, 3, 1, b"gAAAA");
        assert_eq!(told, [Event::OtherVersion(first)], "of another kind");
        assert_eq!(heard(&mut fixture, 70_000, 1, b"2gAAA"), [], "told before");
        let second = address(2).ip();
        let told = heard(&mut fixture, 70_000, 2, b"2gAAA");
        assert_eq!(told, [Event::OtherKey(second)]);
    }

    #[test]
    fn so_many_strangers_are_remembered() {
        let (mut fixture, mut strangers) = (Fixture::default(), Strangers::default());
        for n in 0..=STRANGERS_MAX as u8 {
            fixture.now = at(60_000 * (u64::from(n) + 1));
            strangers.heard(&mut fixture.ctx(), address(n).ip(), b"2gAAA");
        }
        assert_eq!(fixture.events().len(), STRANGERS_MAX + 1);
        assert_eq!(strangers.told.len(), STRANGERS_MAX);
    }
}
