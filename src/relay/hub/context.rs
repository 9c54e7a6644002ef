//! What every part of the hub works with: the time, the configuration, chance, and where outputs
//! and counts go.

use super::{Config, Output, RelayStats};
use crate::entropy::Entropy;
use crate::limits::RelayLimits;
use crate::protocol::{Now, Time};
use std::collections::VecDeque;

/// What the hub keeps for all of its parts, none of which owns it.
pub(super) struct Core {
    pub(super) config: Config,
    pub(super) entropy: Box<dyn Entropy>,
    /// What the program has not taken yet.
    pub(super) outputs: VecDeque<Output>,
    pub(super) stats: RelayStats,
    /// No link can be late, idle or stalled before this.
    pub(super) links_due: Time,
}

impl Core {
    pub(super) fn new(config: Config, entropy: Box<dyn Entropy>) -> Core {
        Core {
            config,
            entropy,
            outputs: VecDeque::new(),
            stats: RelayStats::default(),
            links_due: Time::NEVER,
        }
    }

    /// What a part is handed with each call.
    #[inline]
    pub(super) fn at(&mut self, now: Now) -> Ctx<'_> {
        Ctx {
            now,
            config: &self.config,
            entropy: &mut *self.entropy,
            outputs: &mut self.outputs,
            stats: &mut self.stats,
            links_due: &mut self.links_due,
        }
    }
}

/// What a part is handed with each call: no other part.
pub(super) struct Ctx<'a> {
    pub(super) now: Now,
    pub(super) config: &'a Config,
    pub(super) entropy: &'a mut dyn Entropy,
    pub(super) outputs: &'a mut VecDeque<Output>,
    pub(super) stats: &'a mut RelayStats,
    links_due: &'a mut Time,
}

impl<'a> Ctx<'a> {
    #[inline]
    pub(super) fn limits(&self) -> &'a RelayLimits {
        &self.config.limits
    }

    /// A link may be over at this time, so all of them are looked at by then.
    #[inline]
    pub(super) fn look_by(&mut self, at: Time) {
        *self.links_due = (*self.links_due).min(at);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::entropy::Counting;
    use std::time::Duration;

    /// What a part is tested with.
    pub(in super::super) fn core(limits: RelayLimits) -> Core {
        let config = Config {
            limits,
            ..Config::default()
        };
        Core::new(config, Box::new(Counting(0)))
    }

    /// So many seconds after the start.
    pub(in super::super) fn at(seconds: u64) -> Now {
        Now {
            at: Time(Duration::from_secs(seconds)),
            unix: seconds,
        }
    }

    #[test]
    fn links_are_looked_at_by_the_earliest_time_that_a_part_named() {
        let mut core = core(RelayLimits::default());
        core.at(at(1)).look_by(at(9).at);
        core.at(at(1)).look_by(at(5).at);
        core.at(at(1)).look_by(at(7).at);
        assert_eq!(core.links_due, at(5).at);
    }
}
