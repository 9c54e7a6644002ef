//! How much of something all sources have together, and each of them: names cost nothing, so those
//! that ask through the old protocol are counted by where they come from.

use crate::table::Table;

/// A number of things, and bytes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

impl Amount {
    /// One thing of so many bytes.
    pub(crate) fn one(bytes: usize) -> Amount {
        Amount { count: 1, bytes }
    }
}

/// What all sources have, and each of those that have anything.
#[derive(Debug)]
pub(crate) struct Shares<S> {
    all: Amount,
    sources: Table<S, Amount>,
}

impl<S> Default for Shares<S> {
    fn default() -> Shares<S> {
        Shares {
            all: Amount::default(),
            sources: Table::default(),
        }
    }
}

impl<S: Ord> Shares<S> {
    pub(crate) fn all(&self) -> Amount {
        self.all
    }

    pub(crate) fn of(&self, source: &S) -> Amount {
        self.sources.get(source).copied().unwrap_or_default()
    }

    /// How many sources have anything.
    #[cfg(test)]
    pub(crate) fn sources(&self) -> usize {
        self.sources.len()
    }

    pub(crate) fn add(&mut self, source: S, more: Amount) {
        let own = self.sources.or_insert_with(source, Amount::default);
        for amount in [own, &mut self.all] {
            amount.count += more.count;
            amount.bytes += more.bytes;
        }
    }

    /// Takes back what was added for a source. One that has nothing left is forgotten.
    pub(crate) fn remove(&mut self, source: &S, less: Amount) {
        let Some(own) = self.sources.get_mut(source) else {
            return;
        };
        for amount in [&mut *own, &mut self.all] {
            amount.count -= less.count;
            amount.bytes -= less.bytes;
        }
        if *own == Amount::default() {
            self.sources.remove(source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_taken_back_and_a_source_with_nothing_is_forgotten() {
        let mut shares = Shares::default();
        shares.add("a", Amount::one(5));
        let bytes = Amount { count: 0, bytes: 7 };
        shares.add("b", bytes);
        assert_eq!(shares.of(&"a"), Amount::one(5));
        assert_eq!(shares.all(), Amount::one(12));
        shares.remove(&"c", Amount::one(5));
        shares.remove(&"a", Amount::one(5));
        assert_eq!((shares.all(), shares.sources()), (bytes, 1));
    }
}
