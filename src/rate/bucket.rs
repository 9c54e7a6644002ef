//! Token buckets: so many at once, and then so many a second, of things and of bytes.

use crate::protocol::Time;
use std::time::Duration;

/// So many things at once, and then so many a second.
#[derive(Debug)]
pub(crate) struct Allowance {
    per_second: u32,
    most: u32,
    left: u32,
    /// Until when what was gained is in `left`.
    since: Time,
}

impl Allowance {
    pub(crate) fn new(per_second: u32, most: u32, now: Time) -> Allowance {
        Allowance {
            per_second,
            most,
            left: most,
            since: now,
        }
    }

    fn gained(&self, now: Time) -> u32 {
        let gained = (now - self.since).as_micros() * u128::from(self.per_second) / 1_000_000;
        u32::try_from(gained).unwrap_or(u32::MAX)
    }

    /// Whether one more may be, which is then counted.
    pub(crate) fn take(&mut self, now: Time) -> bool {
        let gained = self.gained(now);
        if gained > 0 {
            self.left = self.left.saturating_add(gained).min(self.most);
            // What makes no whole one yet goes on counting.
            let counted = u64::from(gained) * 1_000_000 / u64::from(self.per_second);
            self.since = if self.left == self.most {
                now
            } else {
                self.since + Duration::from_micros(counted)
            };
        }
        let free = self.left > 0;
        self.left -= u32::from(free);
        free
    }

    /// Whether as many may be at once as at the beginning.
    pub(crate) fn is_full(&self, now: Time) -> bool {
        self.left.saturating_add(self.gained(now)) >= self.most
    }
}

/// So many bytes at once, and then so many a second; a few more may go than are left.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// Bytes that may go; less than none while it must wait.
    left: i64,
    /// Until when what was gained is in `left`.
    since: Time,
}

impl Throttle {
    pub(crate) fn new(burst: u32, now: Time) -> Throttle {
        Throttle {
            left: burst.into(),
            since: now,
        }
    }

    /// Charges `n` bytes; until when more must wait, if it must.
    pub(crate) fn charge(
        &mut self,
        n: usize,
        per_second: u32,
        burst: u32,
        now: Time,
    ) -> Option<Time> {
        let idle = now - self.since;
        let gained = idle.as_nanos() * u128::from(per_second) / 1_000_000_000;
        if gained > 0 {
            self.since = now;
        }
        let gained = i64::try_from(gained).unwrap_or(i64::MAX);
        self.left = self.left.saturating_add(gained).min(burst.into()) - n as i64;
        let owed = u64::try_from(-self.left).unwrap_or(0);
        (owed > 0).then(|| {
            let wait = u128::from(owed) * 1_000_000_000 / u128::from(per_second.max(1));
            now + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_then_so_many_a_second() {
        let at = |ms| Time(Duration::from_millis(ms));
        let mut a = Allowance::new(4, 10, at(0));
        assert_eq!((0..50).filter(|_| a.take(at(1))).count(), 10);
        assert!(!a.is_full(at(2_000)));
        // However often it is asked for meanwhile.
        assert_eq!((0..1_000).filter(|i| a.take(at(2 + i))).count(), 4);
        assert!(a.is_full(at(4_000)));
        assert_eq!(
            (0..50).filter(|_| a.take(at(9_000))).count(),
            10,
            "no more are saved up"
        );
    }
}
