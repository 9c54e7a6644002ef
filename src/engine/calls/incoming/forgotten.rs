//! Which calls may have run although nothing of them is remembered.
//!
//! What was forgotten at its deadline must not run again, even if the caller's clock stood still
//! meanwhile, as that of a suspended machine does. So the highest number that was forgotten
//! unconfirmed is kept as a mark of its caller. A caller whose mark there is no room for is kept in
//! a set that may take others for it: their calls are refused needlessly, if they were sent before.
//! The set keeps a caller for a month at least, since one whose clock stood still may come back. A
//! caller that leaves confirms its answers first, so few callers come in here in honest networks.

use super::evicted::Evicted;
use crate::engine::{RequestId, Time};
use crate::entropy::Entropy;
use crate::table::Table;
use crate::wire::Instance;

/// Callers whose marks are kept: 40 bytes each, and only of those that left calls unconfirmed.
const MARKS_MAX: usize = 1_024;

#[derive(Debug)]
struct Mark {
    /// The highest number that was forgotten.
    number: u64,
    /// When the last one was.
    at: Time,
}

/// The callers of which calls were forgotten unconfirmed.
#[derive(Debug, Default)]
pub(crate) struct Forgotten {
    marks: Table<Instance, Mark>,
    /// Callers whose marks there was no room for.
    evicted: Option<Box<Evicted>>,
}

impl Forgotten {
    /// A call was forgotten unconfirmed.
    pub(crate) fn mark(&mut self, now: Time, id: RequestId, entropy: &mut dyn Entropy) {
        if self.marks.len() >= MARKS_MAX && !self.marks.contains_key(&id.caller) {
            self.evict_oldest(now, entropy);
        }
        let mark = self.marks.or_insert_with(id.caller, || Mark {
            number: id.number,
            at: now,
        });
        mark.number = mark.number.max(id.number);
        mark.at = now;
    }

    fn evict_oldest(&mut self, now: Time, entropy: &mut dyn Entropy) {
        let oldest = self.marks.iter().min_by_key(|(_, mark)| mark.at);
        let Some(oldest) = oldest.map(|(caller, _)| *caller) else {
            return;
        };
        self.marks.remove(&oldest);
        self.evicted
            .get_or_insert_with(|| Box::new(Evicted::new(now, entropy)))
            .insert(now, oldest);
    }

    /// Whether a call that is not remembered may have run, if it was sent before.
    pub(crate) fn may_have_run(&self, id: RequestId) -> bool {
        let mark = self.marks.get(&id.caller);
        mark.is_some_and(|mark| id.number <= mark.number)
            || self.evicted.as_ref().is_some_and(|e| e.may_hold(id.caller))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::OsEntropy;
    use std::time::Duration;

    fn id(caller: u64, number: u64) -> RequestId {
        let mut instance = [0; 16];
        instance[..8].copy_from_slice(&caller.to_be_bytes());
        RequestId {
            caller: Instance(instance),
            number,
        }
    }

    #[test]
    fn what_was_forgotten_may_have_run_and_so_may_all_that_came_before() {
        let (mut forgotten, mut entropy) = (Forgotten::default(), OsEntropy::new().unwrap());
        assert!(!forgotten.may_have_run(id(1, 1)));
        forgotten.mark(Time::default(), id(1, 5), &mut entropy);
        forgotten.mark(Time::default(), id(1, 3), &mut entropy);
        assert!(forgotten.may_have_run(id(1, 5)) && forgotten.may_have_run(id(1, 1)));
        assert!(!forgotten.may_have_run(id(1, 6)) && !forgotten.may_have_run(id(2, 1)));
    }

    #[test]
    fn no_caller_that_left_calls_unconfirmed_is_ever_thought_not_to_have() {
        let (mut forgotten, mut entropy) = (Forgotten::default(), OsEntropy::new().unwrap());
        for caller in 0..5_000 {
            let at = Time(Duration::from_millis(caller));
            forgotten.mark(at, id(caller, 1), &mut entropy);
            assert!(forgotten.marks.len() <= MARKS_MAX);
        }
        assert!((0..5_000).all(|caller| forgotten.may_have_run(id(caller, 1))));
    }
}
