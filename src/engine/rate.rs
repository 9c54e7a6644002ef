//! A bound on how often something happens.

use super::Time;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(1);

/// Counts within a window of one second.
#[derive(Debug, Default)]
pub(super) struct Rate {
    since: Time,
    used: u32,
}

impl Rate {
    /// Whether it may happen once more, which is then counted.
    pub(super) fn take(&mut self, now: Time, per_second: u32) -> bool {
        if now - self.since >= WINDOW {
            *self = Rate {
                since: now,
                used: 0,
            };
        }
        let free = self.used < per_second;
        self.used += u32::from(free);
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_later_it_may_happen_again() {
        let at = |ms| Time(Duration::from_millis(ms));
        let mut rate = Rate::default();
        assert_eq!((0..5).filter(|_| rate.take(at(10), 3)).count(), 3);
        assert!(!rate.take(at(999), 3));
        assert!(rate.take(at(1_010), 3));
    }
}
