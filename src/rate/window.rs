//! Counts within windows of one second: [`Rate`] of one thing; [`Shares`] for many sources, each of
//! which that is known has a share of its own.

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

/// A bound on how often several sources do something in a second. A part of the room is kept for
/// what each of them does first, so that one that does it again and again leaves that part to
/// others.
#[derive(Debug)]
pub(crate) struct Fair<K> {
    all: Rate,
    since: Time,
    sources: Table<K, u32>,
}

impl<K> Default for Fair<K> {
    fn default() -> Fair<K> {
        Fair {
            all: Rate::default(),
            since: Time::default(),
            sources: Table::default(),
        }
    }
}

impl<K: Ord> Fair<K> {
    /// Whether a source may do it once more, which is then counted. Of `per_second`, so many are
    /// `kept` for those that each source does first, of which there are `of_one`.
    pub(crate) fn take(
        &mut self,
        now: Time,
        source: K,
        (per_second, kept, of_one): (u32, u32, u32),
    ) -> bool {
        if now - self.since >= WINDOW {
            (self.since, self.sources) = (now, Table::default());
        }
        let done = self.sources.or_insert_with(source, || 0);
        *done = done.saturating_add(1);
        let room = match *done <= of_one {
            true => per_second,
            false => per_second - kept,
        };
        self.all.take(now, room)
    }
}

/// A bound on how often anybody does something, a quarter of which is kept for those who are known,
/// each of them alike. Where a source can be forged, strangers then cost each other their turns,
/// and somebody who forges the source of one that is known costs no more than that one.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    common: Rate,
    /// What those who are known have of what is kept for them.
    kept: Rate,
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
        // Where fewer are kept than sources are known, those that come first have one each.
        let share = (kept / self.known.len().max(1) as u32).max(1);
        if let Some(known) = self.known.get_mut(&source.to_canonical()) {
            known.heard = now;
            if known.used.take(now, share) && self.kept.take(now, kept) {
                return true;
            }
        }
        self.common.take(now, per_second - kept)
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
    fn what_is_kept_is_there_however_many_are_known_and_is_no_more_than_that() {
        let at = Time(Duration::from_millis(10));
        let ip = |d: u8| IpAddr::from([10, 0, 0, d]);
        let mut shares = Shares::default();
        for d in 0..=255 {
            shares.know(at, ip(d));
        }
        let stranger = IpAddr::from([10, 9, 9, 9]);
        let strangers = (0..1_000).filter(|_| shares.take(at, stranger, 80));
        assert_eq!(strangers.count(), 60);
        let known = (0..=255).filter(|d| shares.take(at, ip(*d), 80) | shares.take(at, ip(*d), 80));
        assert_eq!(known.count(), 20, "a quarter, and each has one");
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
}
