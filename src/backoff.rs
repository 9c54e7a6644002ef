//! How long to wait before something that failed is tried again.

use std::time::Duration;

/// How much longer than the lower instance the higher one of two nodes waits before it dials, so
/// that usually only one of the two does, and each does where only one hears the other.
pub(crate) const YIELD: Duration = Duration::from_secs(1);

/// What was up this long was good: after its end the next dial is as soon as the first.
pub(crate) const STEADY: Duration = Duration::from_secs(10);

/// Doublings beyond this change nothing: every pause has reached its longest by then.
const DOUBLINGS_MAX: u32 = 16;

/// The pause after failures: the first one, doubled with each failure, up to the longest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn new((first, longest): (Duration, Duration)) -> Backoff {
        Backoff { first, longest }
    }

    /// The pause after so many failures. Jitter is for the caller to add, so that nodes that failed
    /// together do not come back together.
    pub(crate) fn after(self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.min(DOUBLINGS_MAX));
        doubled.min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_with_each_failure_until_it_is_the_longest() {
        let ms = Duration::from_millis;
        let backoff = Backoff::new((ms(50), ms(10_000)));
        assert_eq!(backoff.after(0), ms(50));
        assert_eq!(backoff.after(1), ms(100));
        assert_eq!(backoff.after(7), ms(6_400));
        assert_eq!(backoff.after(8), ms(10_000));
        assert_eq!(backoff.after(u32::MAX), ms(10_000), "it does not overflow");
    }
}
