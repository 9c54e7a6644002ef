//! How callers share something of which there is only so much, so that none of them takes all of
//! it.

/// How many times as much as it leaves to others of its source one caller may take: it has most of
/// the share while it is alone.
const TIMES_WHAT_IS_LEFT: usize = 4;

/// What is taken of something that callers share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// By all callers together.
    pub(super) all: usize,
    /// By the callers of one source, of which the caller in question is one.
    pub(super) source: usize,
    /// By the caller itself.
    pub(super) caller: usize,
}

impl Taken {
    /// Whether the caller may take `more` of `whole`. All callers of a source together have at most
    /// as much as they leave free. Of that, a caller that has something already must leave a part
    /// to the others, so that the first small call of another one always finds room.
    pub(super) fn leaves_room(self, more: usize, whole: usize) -> bool {
        let free = whole.saturating_sub(self.all).saturating_sub(self.source);
        // What is taken is free no more, and as much again must be left to other sources.
        let left = free.saturating_sub(more).saturating_sub(more);
        more <= free
            && (self.caller == 0 || (self.caller + more).div_ceil(TIMES_WHAT_IS_LEFT) <= left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_one_caller_takes_another_of_its_source_finds_room_and_so_does_another_source() {
        let whole = 16_000;
        for size in [1, 7, 10, 100, 999, 1_000, 2_000, 3_000, 3_999, 4_000] {
            let mut taken = 0;
            let of = |caller, source| Taken {
                all: source,
                source,
                caller,
            };
            while of(taken, taken).leaves_room(size, whole) {
                taken += size;
            }
            let small = whole / 16;
            assert!(of(0, taken).leaves_room(small, whole), "{taken} by {size}");
            let elsewhere = Taken {
                source: 0,
                ..of(0, taken)
            };
            assert!(elsewhere.leaves_room(whole / 2, whole), "{taken} by {size}");
            assert!(taken >= whole / 5, "{taken} by {size}");
        }
    }
}
