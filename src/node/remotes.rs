//! How many relays a node is linked to, by either of its protocols.

/// Relays a node that was given some is linked to at most, those it learns included, unless another
/// number is set.
pub const MAX_REMOTES: usize = 3;

/// The most relays that a node is linked to: `set`, if the program set that; otherwise
/// [`MAX_REMOTES`], or as many as it was given if those are more, and none if it was given none.
pub(super) fn most(set: Option<usize>, given: usize) -> usize {
    set.unwrap_or(match given {
        0 => 0,
        given => MAX_REMOTES.max(given),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unless_set_there_is_room_for_all_that_were_given_and_for_none_if_none_was() {
        assert_eq!(most(None, 0), 0);
        assert_eq!(most(None, 1), MAX_REMOTES);
        assert_eq!(most(None, MAX_REMOTES + 2), MAX_REMOTES + 2);
        assert_eq!(most(Some(1), 1), 1);
        assert_eq!(most(Some(2), 0), 2);
    }
}
