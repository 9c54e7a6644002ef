//! The map that this library uses: a sorted vector.
//!
//! Its order is the same in every run, which replaying a seed needs. It holds nothing but its
//! entries. Its code is a tenth of that of a tree, of which the library would otherwise carry a
//! copy for each kind of table.
//!
//! It is made for up to thousands of entries that come in ascending order. Inserting and removing
//! move the entries behind, so large values belong in a box: an entry larger than [`ENTRY_MAX`]
//! does not compile.

use std::borrow::Borrow;

/// Bytes of one entry at most. Inserting one among 4 096 moves some 200 KiB on average, which takes
/// microseconds.
const ENTRY_MAX: usize = 128;
/// Entries for which memory is kept once it was allocated: to give that little back is not worth a
/// call.
const KEPT: usize = 16;

#[derive(Clone, Debug)]
pub(crate) struct Table<K, V>(Vec<(K, V)>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Table<K, V> {
        Table(Vec::new())
    }
}

impl<K: Ord, V> Table<K, V> {
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(k, _)| k.borrow().cmp(key))
    }

    /// Bytes of memory that the entries take, without what they point to.
    #[cfg(feature = "relay-server")]
    pub(crate) fn memory(&self) -> usize {
        self.0.capacity() * size_of::<(K, V)>()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.find(key).ok().map(|at| &self.0[at].1)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.find(key).ok().map(|at| &mut self.0[at].1)
    }

    /// The values of two keys, if they are two and both are there.
    pub(crate) fn pair_mut(&mut self, a: &K, b: &K) -> Option<(&mut V, &mut V)> {
        let (a, b) = (self.find(a).ok()?, self.find(b).ok()?);
        let [(_, a), (_, b)] = self.0.get_disjoint_mut([a, b]).ok()?;
        Some((a, b))
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    fn insert_at(&mut self, at: usize, key: K, value: V) {
        const { assert!(size_of::<(K, V)>() <= ENTRY_MAX, "put the value in a box") }
        self.0.insert(at, (key, value));
    }

    /// Gives memory back when most of it is unused, so that one flood does not keep it for ever.
    /// The threshold is a quarter and the new size a half, so that entries that are removed and
    /// added in turn do not move the table each time.
    fn give_back(&mut self) {
        if self.0.capacity() > KEPT && self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to(KEPT.max(self.0.len() * 2));
        }
    }

    /// Sets the value of a key.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        match self.find(&key) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.insert_at(at, key, value),
        }
    }

    /// The value of a key. If the key has none, `make` makes it first.
    pub(crate) fn or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let at = match self.find(&key) {
            Ok(at) => at,
            Err(at) => {
                self.insert_at(at, key, make());
                at
            }
        };
        &mut self.0[at].1
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.find(key).ok()?;
        let (_, value) = self.0.remove(at);
        self.give_back();
        Some(value)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.0.retain(|(k, v)| keep(k, v));
        self.give_back();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(k, v)| (k, v))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(k, v)| (&*k, v))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(k, _)| k)
    }

    /// The entries whose keys are `key` or greater.
    pub(crate) fn from(&self, key: &K) -> impl Iterator<Item = (&K, &V)> {
        let at = self.find(key).unwrap_or_else(|at| at);
        self.0[at..].iter().map(|(k, v)| (k, v))
    }

    /// The number of entries before the first one whose key is not `before`. Nothing after that one
    /// may be.
    pub(crate) fn count(&self, before: impl Fn(&K) -> bool) -> usize {
        self.0.partition_point(|(key, _)| before(key))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, v)| v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_the_map_that_the_standard_library_has(steps in prop::collection::vec((0u8..4, 0u8..20, any::<u16>()), 0..200)) {
            let (mut table, mut map) = (Table::default(), BTreeMap::new());
            for (step, key, value) in steps {
                match step {
                    0 => {
                        table.insert(key, value);
                        map.insert(key, value);
                    }
                    1 => prop_assert_eq!(table.remove(&key), map.remove(&key)),
                    2 => prop_assert_eq!(*table.or_insert_with(key, || value), *map.entry(key).or_insert(value)),
                    _ => {
                        table.retain(|k, _| k % 7 != key % 7);
                        map.retain(|k, _| k % 7 != key % 7);
                    }
                }
                prop_assert_eq!(table.get(&key), map.get(&key));
                prop_assert!(table.iter().eq(map.iter()));
                prop_assert_eq!(table.len(), map.len());
                prop_assert_eq!(table.count(|k| *k < key), map.range(..key).count());
            }
        }
    }

    #[test]
    fn two_values_can_be_changed_at_once_if_they_are_two() {
        let mut table = Table::default();
        table.insert(1, "a");
        table.insert(2, "b");
        let (one, two) = table.pair_mut(&2, &1).unwrap();
        std::mem::swap(one, two);
        assert_eq!((table.get(&1), table.get(&2)), (Some(&"b"), Some(&"a")));
        assert!(table.pair_mut(&1, &1).is_none());
        assert!(table.pair_mut(&1, &3).is_none());
    }

    #[test]
    fn a_table_that_was_full_once_gives_its_memory_back() {
        let mut table = Table::default();
        for key in 0..4_096u32 {
            table.insert(key, key);
        }
        for key in 0..4_090 {
            assert_eq!(table.remove(&key), Some(key));
            let (len, capacity) = (table.len(), table.0.capacity());
            assert!(capacity <= KEPT.max(len * 4 + 4), "{capacity} for {len}");
        }
        assert!(table.keys().copied().eq(4_090..4_096));
        for key in 0..4_096u32 {
            table.insert(key, key);
        }
        table.retain(|key, _| *key == 7);
        assert!(table.0.capacity() <= KEPT);
    }
}
