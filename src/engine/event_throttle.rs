//! Events that anybody can cause, and that a program is therefore told of now and then only.

use crate::limits::EVENT_PAUSE;
use crate::protocol::Time;
use std::collections::VecDeque;

/// What events of one kind were about.
#[derive(Debug)]
pub(crate) struct EventThrottle<T> {
    /// Those of the latest events, the last one at the end.
    about: VecDeque<T>,
    /// When the last one was told.
    last: Option<Time>,
}

impl<T> Default for EventThrottle<T> {
    fn default() -> EventThrottle<T> {
        EventThrottle {
            about: VecDeque::new(),
            last: None,
        }
    }
}

impl<T: PartialEq> EventThrottle<T> {
    /// Whether the program is to be told of this now: not if it is one of the `most` things that it
    /// was told of last, and not soon after any of them. If so, this is noted as told.
    pub(crate) fn is_news(&mut self, now: Time, about: T, most: usize) -> bool {
        let is_pausing = self.last.is_some_and(|last| now - last < EVENT_PAUSE);
        if is_pausing || self.about.contains(&about) {
            return false;
        }
        self.last = Some(now);
        if self.about.len() >= most {
            self.about.pop_front();
        }
        self.about.push_back(about);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::at;

    #[test]
    fn each_thing_is_told_once_and_one_in_a_minute() {
        let mut told = EventThrottle::default();
        assert!(told.is_news(at(1), 'a', 4));
        assert!(!told.is_news(at(2), 'b', 4), "within a minute");
        assert!(!told.is_news(at(70_000), 'a', 4), "told before");
        assert!(told.is_news(at(70_000), 'b', 4));
    }

    #[test]
    fn so_many_things_are_remembered() {
        let mut told = EventThrottle::default();
        for n in 1..=5 {
            assert!(told.is_news(at(60_000 * n), n, 4));
        }
        assert_eq!(told.about, [2, 3, 4, 5]);
        assert!(told.is_news(at(360_000), 1, 4), "it was forgotten");
    }
}
