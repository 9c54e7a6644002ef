//! Bounds on how often something happens, and on how many bytes go.
//!
//! [`Rate`] counts within a window of one second; [`Shares`] does so for many sources, each of
//! which that is known has a share of its own. [`Allowance`] and [`Throttle`] are token buckets: so
//! many at once, and then so many a second, of things and of bytes.

use crate::protocol::Time;
use crate::table::Table;
use std::net::IpAddr;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(1);
/// Sources with a share of their own: as many as a node has sessions.
const KNOWN_MAX: usize = 256;
/// How long a source that is not heard keeps its share.
const KNOWN_FOR: Duration = Duration::from_secs(600);

/// Counts within a window of one second.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    since: Time,
    used: u32,
}

impl Rate {
    /// Whether it may happen once more, which is then counted.
    pub(crate) fn take(&mut self, now: Time, per_second: u32) -> bool {
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

/// A bound on how often anybody does something, a quarter of which is kept for those who are known,
/// each of them alike. Where a source can be forged, strangers then cost each other their turns,
/// and somebody who forges the source of one that is known costs no more than that one.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    common: Rate,
    known: Table<IpAddr, Known>,
}

#[derive(Debug)]
struct Known {
    used: Rate,
    heard: Time,
}

impl Shares {
    /// Somebody has proved to be at this source.
    pub(crate) fn know(&mut self, now: Time, source: IpAddr) {
        let source = source.to_canonical();
        if let Some(known) = self.known.get_mut(&source) {
            known.heard = now;
            return;
        }
        self.known.retain(|_, k| now - k.heard < KNOWN_FOR);
        if self.known.len() >= KNOWN_MAX {
            let oldest = self.known.iter().min_by_key(|(_, k)| k.heard);
            if let Some(oldest) = oldest.map(|(ip, _)| *ip) {
                self.known.remove(&oldest);
            }
        }
        let used = Rate::default();
        self.known.insert(source, Known { used, heard: now });
    }

    /// Whether it may happen once more, which is then counted.
    pub(crate) fn take(&mut self, now: Time, source: IpAddr, per_second: u32) -> bool {
        let kept = per_second / 4;
        let share = kept / self.known.len().max(1) as u32;
        if let Some(known) = self.known.get_mut(&source.to_canonical()) {
            known.heard = now;
            if known.used.take(now, share) {
                return true;
            }
        }
        self.common.take(now, per_second - kept)
    }
}

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
    fn who_is_known_keeps_a_share_whatever_strangers_do() {
        let at = |ms| Time(Duration::from_millis(ms));
        let ip = |d| IpAddr::from([10, 0, 0, d]);
        let mut shares = Shares::default();
        shares.know(at(0), ip(1));
        shares.know(at(0), ip(2));
        let mut took = |source, times| {
            let took = (0..times).filter(|_| shares.take(at(10), source, 80));
            took.count()
        };
        assert_eq!(took(ip(9), 1_000), 60, "strangers get what is not kept");
        assert_eq!(took(ip(1), 1_000), 10, "one forged source costs itself");
        assert_eq!(took(ip(2), 10), 10);
        assert_eq!(took(ip(8), 1_000), 0);
    }

    #[test]
    fn the_known_are_bounded_and_forgotten_when_they_fall_silent() {
        let at = |s| Time(Duration::from_secs(s));
        let mut shares = Shares::default();
        for i in 0..5_000u32 {
            let ip = IpAddr::from(i.to_be_bytes());
            shares.know(at(u64::from(i) / 100), ip);
            assert!(shares.known.len() <= KNOWN_MAX);
        }
        shares.know(at(10_000), IpAddr::from([1, 1, 1, 1]));
        assert_eq!(shares.known.len(), 1);
    }

    #[test]
    fn a_second_later_it_may_happen_again() {
        let at = |ms| Time(Duration::from_millis(ms));
        let mut rate = Rate::default();
        assert_eq!((0..5).filter(|_| rate.take(at(10), 3)).count(), 3);
        assert!(!rate.take(at(999), 3));
        assert!(rate.take(at(1_010), 3));
    }

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
