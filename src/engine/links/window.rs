//! How much is under way to one route of a relay, and how much may be.

use crate::wire::relay::ROUTE_WINDOW;

/// What we count of our bytes to a route, together with the relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// Bytes under way: sent, and not said by the relay to be no more.
    used: u64,
    /// The last total that the relay told, since the route was opened.
    total: u64,
    /// Bytes that the relay grants besides what each route has.
    granted: u64,
}

impl Window {
    pub(super) fn spend(&mut self, bytes: usize) {
        self.used = self.used.saturating_add(bytes as u64);
    }

    /// Whether so many bytes may still be sent.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let most = u64::from(ROUTE_WINDOW).saturating_add(self.granted);
        self.used.saturating_add(bytes as u64) <= most
    }

    /// The relay told a total. Totals only grow, around 2^64: one that is older than the last says
    /// nothing, and one that comes twice says nothing more.
    pub(super) fn credit(&mut self, total: u64) {
        let more = total.wrapping_sub(self.total);
        if more <= u64::MAX / 2 {
            self.used = self.used.saturating_sub(more);
            self.total = total;
        }
    }

    /// The relay told a total for the last time: it has closed the route, and counts what comes
    /// after that anew.
    pub(super) fn settle(&mut self, total: u64) {
        self.credit(total);
        self.total = 0;
    }

    /// The relay allows so many bytes to be under way. While more are, nothing may be sent.
    pub(super) fn set(&mut self, bytes: u64) {
        self.granted = bytes.saturating_sub(ROUTE_WINDOW.into());
    }

    /// Whether it is as that of a route that was never used.
    pub(super) fn is_new(&self) -> bool {
        *self == Window::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WHOLE: usize = ROUTE_WINDOW as usize;

    /// A window of which this much is under way.
    fn with(used: usize) -> Window {
        let mut window = Window::default();
        window.spend(used);
        window
    }

    #[test]
    fn what_is_under_way_is_bounded_by_what_the_relay_says_is_no_more() {
        let mut window = with(WHOLE);
        assert!(!window.has_room(1));
        window.credit(1_000);
        assert!(window.has_room(1_000) && !window.has_room(1_001));
    }

    proptest! {
        #[test]
        fn words_that_are_lost_come_twice_or_late_make_it_neither_wider_nor_narrower(
            start in any::<u64>(),
            steps in prop::collection::vec((0usize..1_000, any::<bool>(), 0usize..3), 1..30),
        ) {
            let mut window = Window { total: start, ..Window::default() };
            let (mut sent, mut totals) = (0u64, vec![start]);
            for (bytes, is_lost, again) in steps {
                window.spend(bytes);
                sent += bytes as u64;
                totals.push(start.wrapping_add(sent));
                if !is_lost {
                    window.credit(start.wrapping_add(sent));
                    // What came before, once more.
                    for total in totals.iter().rev().take(again) {
                        window.credit(*total);
                    }
                }
            }
            window.credit(start.wrapping_add(sent));
            prop_assert!(window.has_room(WHOLE) && !window.has_room(WHOLE + 1));
        }
    }

    #[test]
    fn a_total_that_counts_more_than_was_sent_frees_no_more_than_was_sent() {
        let mut window = with(10);
        window.credit(1 << 40);
        assert!(window.has_room(WHOLE) && !window.has_room(WHOLE + 1));
    }

    #[test]
    fn a_settled_route_counts_anew_and_what_is_on_its_way_stays_under_way() {
        let mut window = with(700);
        // 200 bytes are not at the relay yet.
        window.settle(500);
        assert!(window.has_room(WHOLE - 200) && !window.has_room(WHOLE - 199));
        window.credit(200);
        assert!(window.has_room(WHOLE));
        window.settle(200);
        assert!(window.is_new());
    }

    #[test]
    fn a_relay_may_grant_more_and_less_again() {
        let mut window = with(WHOLE);
        window.set(2 * u64::from(ROUTE_WINDOW));
        assert!(window.has_room(WHOLE) && !window.has_room(WHOLE + 1));
        window.spend(WHOLE);
        window.set(ROUTE_WINDOW.into());
        assert!(!window.has_room(0), "more is under way than may be");
        window.credit(ROUTE_WINDOW.into());
        assert!(window.has_room(0) && !window.has_room(1));
        window.set(u64::MAX);
        assert!(window.has_room(1 << 40));
    }
}
