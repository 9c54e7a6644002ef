//! The numbers of links in the poller's tokens.
//!
//! A token is a `usize`, which has 32 bits on many a gateway, and links are numbered with 64: at a
//! few hundred a second they would outrun the tokens within months. So each link has a number of
//! its own here, which may be drawn again when the link is gone.

use crate::protocol::LinkId;
use crate::table::Table;

/// Numbers there are: far more than links that can be open, and few enough for 32 bits.
const NUMBERS: usize = 1 << 24;
/// Entries of closed links that are kept, beyond one for each open link.
const GONE: usize = 64;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    links: Table<usize, LinkId>,
    next: usize,
    /// At this many entries, those of closed links are removed.
    full: usize,
}

impl Tokens {
    /// A number for a link that is new. It is the number of no other link that is open.
    pub(super) fn draw(&mut self, id: LinkId, is_open: impl Fn(LinkId) -> bool) -> usize {
        if self.links.len() >= self.full {
            self.links.retain(|_, id| is_open(*id));
            self.full = 2 * self.links.len() + GONE;
        }
        loop {
            let number = self.next;
            self.next = (self.next + 1) % NUMBERS;
            if self.links.get(&number).is_none_or(|other| !is_open(*other)) {
                self.links.insert(number, id);
                return number;
            }
        }
    }

    /// The link of a number; it may be gone.
    pub(super) fn link(&self, number: usize) -> Option<LinkId> {
        self.links.get(&number).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_anew_and_are_of_no_other_link_that_is_open() {
        let mut tokens = Tokens::default();
        // A link that stays open for long, and one that is gone soon.
        let is_open = |id| id != LinkId(1);
        assert_eq!(tokens.draw(LinkId(0), is_open), 0);
        assert_eq!(tokens.draw(LinkId(1), is_open), 1);
        tokens.next = NUMBERS - 1;
        let later = [1 << 40, (1 << 40) + 1, (1 << 40) + 2].map(LinkId);
        let numbers = later.map(|id| tokens.draw(id, is_open));
        assert_eq!(numbers, [NUMBERS - 1, 1, 2]);
        assert_eq!(tokens.link(0), Some(LinkId(0)));
        assert_eq!(numbers.map(|number| tokens.link(number)), later.map(Some));
        assert_eq!(tokens.link(3), None);
    }

    #[test]
    fn links_that_are_gone_do_not_pile_up() {
        let mut tokens = Tokens::default();
        for n in 0..10_000 {
            // Ten are open at a time.
            tokens.draw(LinkId(n), |id| id.0 + 10 > n);
            assert!(tokens.links.len() <= 2 * 10 + GONE);
        }
    }
}
