//! Strangers: nodes that advertise under this network's name, and whose adverts this node cannot
//! read; and whoever closes a link instead of answering a question for a session. The program is
//! told of them, since a wrong key would otherwise be silent.

use super::{Ctx, Event};
use crate::engine::event_throttle::EventThrottle;
use crate::limits::STRANGERS_MAX;
use crate::wire::advert::MARK;
use std::collections::VecDeque;
use std::net::IpAddr;

/// The strangers that the program was told of.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    with_other_key: EventThrottle<IpAddr>,
    of_other_version: EventThrottle<IpAddr>,
    closing: EventThrottle<IpAddr>,
    /// Who has closed a link once. It may just have been ended, or have had too much to do.
    closed_once: VecDeque<IpAddr>,
}

impl Strangers {
    /// An advert of our network from this address does not open.
    pub(crate) fn heard(&mut self, ctx: &mut Ctx<'_>, from: IpAddr, payload: &[u8]) {
        let from = from.to_canonical();
        let has_our_version = payload.first() == Some(&MARK);
        let (told, event) = match has_our_version {
            true => (&mut self.with_other_key, Event::OtherKey(from)),
            false => (&mut self.of_other_version, Event::OtherVersion(from)),
        };
        if told.is_news(ctx.now.at, from, STRANGERS_MAX) {
            ctx.event(event);
        }
    }

    /// Somebody at this address has closed a link on which it was asked for a session.
    pub(crate) fn closed(&mut self, ctx: &mut Ctx<'_>, from: IpAddr) {
        let from = from.to_canonical();
        if self.closed_once.contains(&from) {
            if self.closing.is_news(ctx.now.at, from, STRANGERS_MAX) {
                ctx.event(Event::HandshakeClosed(from));
            }
        } else {
            if self.closed_once.len() >= STRANGERS_MAX {
                self.closed_once.pop_front();
            }
            self.closed_once.push_back(from);
        }
    }

    /// There is a node of this network at this address.
    pub(crate) fn met(&mut self, at: IpAddr) {
        let at = at.to_canonical();
        self.closed_once.retain(|closed| *closed != at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{Fixture, address, at};

    #[test]
    fn the_first_character_of_an_advert_tells_another_version_from_another_key() {
        let (mut fixture, mut strangers) = (Fixture::default(), Strangers::default());
        let mut heard = |fixture: &mut Fixture, ms, payload: &[u8]| {
            fixture.now = at(ms);
            strangers.heard(&mut fixture.ctx(), address(1).ip(), payload);
            fixture.events()
        };
        let from = address(1).ip();
        let told = heard(&mut fixture, 1, b"2gAAA");
        assert_eq!(told, [Event::OtherKey(from)]);
        assert_eq!(heard(&mut fixture, 2, b"2gAAA"), [], "told before");
        let told = heard(&mut fixture, 3, b"gAAAA");
        assert_eq!(told, [Event::OtherVersion(from)], "of another kind");
    }

    #[test]
    fn whoever_closes_one_link_after_the_other_is_told_of_once() {
        let (mut fixture, mut strangers) = (Fixture::default(), Strangers::default());
        let from = address(1).ip();
        strangers.closed(&mut fixture.ctx(), from);
        strangers.met(from);
        strangers.closed(&mut fixture.ctx(), from);
        assert_eq!(fixture.events(), [], "it may just have been ended");
        for _ in 0..3 {
            strangers.closed(&mut fixture.ctx(), from);
        }
        assert_eq!(fixture.events(), [Event::HandshakeClosed(from)]);
        for n in 0..100 {
            strangers.closed(&mut fixture.ctx(), address(n).ip());
        }
        assert_eq!(strangers.closed_once.len(), STRANGERS_MAX);
    }
}
