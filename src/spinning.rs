//! Whether a thread that has to wait looks for a while before it sleeps, as long as that is found
//! to pay.
//!
//! To wake a thread that sleeps costs tens of microseconds, which many answers take less than. But
//! over a network, or on one processor, looking only burns: after it was in vain, ever more waits
//! go by before the next look.

use crate::sync::{AtomicBool, AtomicU32};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a thread looks for what it waits for before it sleeps: about what being woken costs.
pub(crate) const SPIN: Duration = Duration::from_micros(60);
/// After looking in vain ever longer pauses, up to 2 to the power of this many waits.
const MISSES_MAX: u32 = 10;

/// Decides for each wait whether to look first. Of threads that share one of these, one looks at a
/// time.
#[derive(Debug, Default)]
pub(crate) struct Spinning {
    busy: AtomicBool,
    /// Times in a row that looking was in vain.
    misses: AtomicU32,
    /// Waits to let pass before looking again.
    skip: AtomicU32,
}

impl Spinning {
    /// Before a wait: runs `look`, which looks for at most [`SPIN`], if that is worth it; whether
    /// it found something. A wait that cannot last is not worth it, and counts as one that went by.
    // Relaxed: a count that is off by one costs a few microseconds and nothing else.
    pub(crate) fn look<E>(
        &self,
        may_last: bool,
        look: impl FnOnce() -> Result<bool, E>,
    ) -> Result<bool, E> {
        let skip = self.skip.load(Ordering::Relaxed);
        if skip > 0 {
            self.skip.store(skip - 1, Ordering::Relaxed);
            return Ok(false);
        }
        if !may_last || self.busy.swap(true, Ordering::Relaxed) {
            return Ok(false);
        }
        let found = look();
        if let Ok(found) = found {
            self.learn(found);
        }
        self.busy.store(false, Ordering::Relaxed);
        found
    }

    fn learn(&self, found: bool) {
        if found {
            self.misses.store(0, Ordering::Relaxed);
            return;
        }
        let misses = (self.misses.load(Ordering::Relaxed) + 1).min(MISSES_MAX);
        self.misses.store(misses, Ordering::Relaxed);
        self.skip.store(1 << misses, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Whether the next wait looks.
    fn looks(spinning: &Spinning, finds: bool) -> bool {
        let mut looked = false;
        let found = spinning.look::<Infallible>(true, || {
            looked = true;
            Ok(finds)
        });
        assert_eq!(found, Ok(looked && finds));
        looked
    }

    #[test]
    fn looking_in_vain_is_left_out_ever_longer_and_success_ends_that() {
        let spinning = Spinning::default();
        assert!(looks(&spinning, true) && looks(&spinning, false));
        for pause in [2, 4, 8] {
            let skipped = (0..).take_while(|_| !looks(&spinning, false)).count();
            assert_eq!(skipped, pause);
        }
        while !looks(&spinning, true) {}
        assert!(looks(&spinning, true), "it pays again");
    }

    #[test]
    fn the_pause_between_looks_is_bounded() {
        let spinning = Spinning::default();
        let mut longest = 0;
        for _ in 0..2 * MISSES_MAX {
            let skipped = (0..).take_while(|_| !looks(&spinning, false)).count();
            longest = longest.max(skipped);
        }
        assert_eq!(longest, 1 << MISSES_MAX);
    }

    #[test]
    fn a_wait_that_cannot_last_does_not_look_but_is_one_that_goes_by() {
        let spinning = Spinning::default();
        looks(&spinning, false);
        for _ in 0..2 {
            let found = spinning.look::<Infallible>(false, || unreachable!());
            assert_eq!(found, Ok(false));
        }
        assert!(looks(&spinning, true), "both waits of the pause went by");
    }

    #[test]
    fn of_two_threads_one_looks_at_a_time() {
        let spinning = Spinning::default();
        let found = spinning.look::<Infallible>(true, || {
            assert!(!looks(&spinning, true), "the other looks");
            Ok(true)
        });
        assert_eq!(found, Ok(true));
    }
}
