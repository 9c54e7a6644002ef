//! Names that belong to keys in an open network: each to the first kept identity that was met under
//! it.

use crate::identity::PublicKey;
use crate::limits::PINS_MAX;
use crate::name::NodeName;
use crate::table::Table;

/// What became of a pin that was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pinned {
    /// The name has this key already.
    Before,
    /// It has it now.
    Now,
    /// There is no room.
    Full,
}

/// The pins of a node. Boxed, because the table moves its entries.
#[derive(Debug, Default)]
pub(super) struct Pins(Table<NodeName, Box<PublicKey>>);

impl Pins {
    /// Those that are known; of more than [`PINS_MAX`], the first.
    pub(super) fn new(known: &[(NodeName, PublicKey)]) -> Pins {
        let mut pins = Pins::default();
        for (name, key) in known {
            pins.set(name, key);
        }
        pins
    }

    /// Whether a name may go with a key: it is pinned to it, or to none.
    pub(super) fn allow(&self, name: &NodeName, key: &PublicKey) -> bool {
        self.0.get(name).is_none_or(|pinned| **pinned == *key)
    }

    /// Pins a name to a key, whatever it was pinned to. None is dropped for it.
    pub(super) fn set(&mut self, name: &NodeName, key: &PublicKey) -> Pinned {
        let is_full = self.0.len() >= PINS_MAX;
        match self.0.get_mut(name) {
            Some(pinned) if **pinned == *key => Pinned::Before,
            Some(pinned) => {
                **pinned = *key;
                Pinned::Now
            }
            None if is_full => Pinned::Full,
            None => {
                self.0.insert(name.clone(), Box::new(*key));
                Pinned::Now
            }
        }
    }

    /// All of them, in the order of the names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeName, &PublicKey)> {
        self.0.iter().map(|(name, key)| (name, &**key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::name;
    use crate::identity::Identity;

    #[test]
    fn a_pinned_name_goes_with_its_key_alone() {
        let key = |n| Identity::from_seed([n; 32]).public_key();
        let mut pins = Pins::default();
        assert!(pins.allow(&name("a"), &key(1)));
        assert_eq!(pins.set(&name("a"), &key(1)), Pinned::Now);
        assert_eq!(pins.set(&name("a"), &key(1)), Pinned::Before);
        assert!(pins.allow(&name("a"), &key(1)) && !pins.allow(&name("a"), &key(2)));
        assert!(pins.allow(&name("b"), &key(2)));
        assert_eq!(pins.set(&name("a"), &key(2)), Pinned::Now);
        assert!(pins.allow(&name("a"), &key(2)) && !pins.allow(&name("a"), &key(1)));
    }

    #[test]
    fn when_there_is_no_room_none_is_made_and_none_is_dropped() {
        let key = Identity::from_seed([1; 32]).public_key();
        let other = Identity::from_seed([2; 32]).public_key();
        let known: Vec<_> = (0..PINS_MAX)
            .map(|n| (name(&format!("n{n}")), key))
            .collect();
        let mut pins = Pins::new(&known);
        assert_eq!(pins.set(&name("more"), &key), Pinned::Full);
        assert_eq!(pins.iter().count(), PINS_MAX);
        assert_eq!(pins.set(&name("n7"), &other), Pinned::Now);
        assert!(!pins.allow(&name("n0"), &other));
    }
}
