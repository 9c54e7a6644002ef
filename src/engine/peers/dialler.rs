//! How many dials may be under way, and how fast they may begin.

use super::Ctx;
use crate::rate::Rate;

/// How fast dials may begin, of addresses and through relays together.
#[derive(Debug, Default)]
pub(crate) struct Dialler {
    rate: Rate,
}

impl Dialler {
    /// Takes a slot for a dial that begins now, besides those under way. Says whether there was
    /// one.
    pub(crate) fn take_slot(&mut self, ctx: &Ctx<'_>, under_way: usize) -> bool {
        let limits = &ctx.config.limits;
        under_way < limits.dials && self.rate.take(ctx.now.at, limits.dials_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::Fixture;

    #[test]
    fn dials_are_bounded_in_number_and_in_rate() {
        let mut fixture = Fixture::default();
        fixture.core.config.limits.dials = 2;
        fixture.core.config.limits.dials_per_second = 3;
        let mut dialler = Dialler::default();
        assert!(!dialler.take_slot(&fixture.ctx(), 2));
        let allowed = (0..9).filter(|_| dialler.take_slot(&fixture.ctx(), 1));
        assert_eq!(allowed.count(), 3);
    }
}
