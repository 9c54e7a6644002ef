//! Entries by the time at which each is due.
//!
//! Nearly all entries end before they are due, and most were added in the order of their times. So
//! this is a heap, to which the latest is added at once, and an entry that has ended stays until it
//! comes to the front or until such entries are the most.

use crate::protocol::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Entries more than there need be that are worth removing.
const ENDED_MIN: usize = 64;

#[derive(Debug)]
pub(crate) struct Due<K>(BinaryHeap<Reverse<(Time, K)>>);

impl<K: Ord> Default for Due<K> {
    fn default() -> Due<K> {
        Due(BinaryHeap::new())
    }
}

impl<K: Ord + Copy> Due<K> {
    /// When the first entry is due, which has not ended.
    pub(crate) fn first(&self) -> Time {
        let first = self.0.peek();
        first.map_or(Time::NEVER, |Reverse((at, _))| *at)
    }

    pub(crate) fn insert(&mut self, at: Time, key: K) {
        self.0.push(Reverse((at, key)));
    }

    /// To be called when an entry has ended: `live` have not, and `is_live` says of any whether it
    /// has not.
    pub(crate) fn ended(&mut self, live: usize, is_live: impl Fn(Time, K) -> bool) {
        self.drop_ended_first(&is_live);
        if self.0.len() > 2 * live + ENDED_MIN {
            self.0.retain(|Reverse((at, key))| is_live(*at, *key));
            self.0.shrink_to(2 * live + ENDED_MIN);
        }
    }

    /// Removes the first entry if it is due by now.
    pub(crate) fn next(&mut self, now: Time, is_live: impl Fn(Time, K) -> bool) -> Option<K> {
        if self.first() > now {
            return None;
        }
        let Reverse((_, key)) = self.0.pop()?;
        self.drop_ended_first(&is_live);
        Some(key)
    }

    fn drop_ended_first(&mut self, is_live: &impl Fn(Time, K) -> bool) {
        while let Some(Reverse((at, key))) = self.0.peek()
            && !is_live(*at, *key)
        {
            self.0.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    fn at(ms: u64) -> Time {
        Time(Duration::from_millis(ms))
    }

    proptest! {
        /// Whatever is added, ends and becomes due, it is as if all were kept sorted; and what has
        /// ended does not pile up.
        #[test]
        fn entries_come_in_their_order(
            steps in proptest::collection::vec((0..3u8, 0..200u64), 1..2_000),
        ) {
            let (mut due, mut sorted) = (Due::default(), BTreeSet::new());
            let mut live = BTreeMap::new();
            for (key, (step, n)) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => {
                        due.insert(at(n), key);
                        sorted.insert((at(n), key));
                        live.insert(key, at(n));
                    }
                    _ if n < 150 => {
                        let count = live.len().max(1);
                        let Some(key) = live.keys().nth(n as usize % count).copied() else {
                            continue;
                        };
                        let was = live.remove(&key).unwrap();
                        sorted.remove(&(was, key));
                        due.ended(live.len(), |at, key| live.get(&key) == Some(&at));
                    }
                    _ => {
                        let now = at(n - 150);
                        let expected = sorted.first().copied().filter(|(at, _)| *at <= now);
                        if let Some((at, key)) = expected {
                            sorted.remove(&(at, key));
                            live.remove(&key);
                        }
                        let got = due.next(now, |at, key| live.get(&key) == Some(&at));
                        prop_assert_eq!(got, expected.map(|(_, key)| key));
                    }
                }
                let first = sorted.first().map_or(Time::NEVER, |(at, _)| *at);
                prop_assert_eq!(due.first(), first);
                prop_assert!(due.0.len() <= 2 * sorted.len() + ENDED_MIN);
            }
        }
    }
}
