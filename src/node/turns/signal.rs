//! How streams tell the threads and callbacks that wait for them that something has moved.

use crate::engine::RequestId;
use crate::sync::{AtomicBool, Condvar, Mutex};
use crate::table::Table;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// What runs when a stream can be read or written again.
pub(crate) type Ready = Arc<dyn Fn() + Send + Sync>;

/// Told when something of a call's streams has moved.
#[derive(Default)]
pub(in crate::node) struct Signal {
    /// Threads wait on this with the node's lock.
    pub(super) moved: Condvar,
    ready: Mutex<Option<Ready>>,
    /// Whether the callback waits to be run: it is queued once, however often something moves.
    queued: AtomicBool,
}

impl Signal {
    /// Sets the callback that runs as well.
    pub(in crate::node) fn set_ready(&self, ready: Option<Ready>) {
        let mut place = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *place, ready);
        drop(place);
        // Outside the lock: what is dropped may call the node.
        drop(old);
    }

    fn ready(&self) -> Option<Ready> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.clone()
    }

    /// Runs the callback, on the loop's thread. What moves from now on queues it again.
    pub(super) fn run_ready(&self) {
        self.queued.store(false, Ordering::Release);
        if let Some(ready) = self.ready() {
            ready();
        }
    }
}

/// The signals of all calls that stream.
#[derive(Default)]
pub(super) struct Signals {
    by_call: Table<RequestId, Arc<Signal>>,
    /// Those to be notified once the node's lock is free: a thread that wakes needs it at once.
    moved: Vec<Arc<Signal>>,
}

impl Signals {
    /// The signal of a call, made if there is none yet.
    pub(super) fn of(&mut self, call: RequestId) -> Arc<Signal> {
        let signal = self.by_call.or_insert_with(call, Arc::<Signal>::default);
        signal.clone()
    }

    /// What is given back is to be dropped outside the lock: its callback may be dropped with it.
    #[must_use]
    pub(super) fn remove(&mut self, call: RequestId) -> Option<Arc<Signal>> {
        self.by_call.remove(&call)
    }

    /// A call's streams have moved. Returns the signal if it has a callback that is to be queued.
    pub(super) fn moved(&mut self, call: RequestId) -> Option<Arc<Signal>> {
        let signal = self.by_call.get(&call)?;
        self.moved.push(signal.clone());
        let has_callback = signal.ready().is_some();
        let queue = has_callback && !signal.queued.swap(true, Ordering::AcqRel);
        queue.then(|| signal.clone())
    }

    /// Nothing moves any more, which every thread that waits is to notice.
    pub(super) fn all_moved(&mut self) {
        self.moved.extend(self.by_call.values().cloned());
    }

    /// Those to be notified now.
    pub(super) fn take_moved(&mut self) -> Vec<Arc<Signal>> {
        std::mem::take(&mut self.moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::AtomicUsize;
    use crate::wire::Instance;

    fn call(number: u64) -> RequestId {
        RequestId {
            caller: Instance([1; 16]),
            number,
        }
    }

    #[test]
    fn a_signal_is_given_out_once_after_its_streams_have_moved() {
        let mut signals = Signals::default();
        let signal = signals.of(call(1));
        assert!(signals.moved(call(2)).is_none(), "nothing waits for it");
        assert!(signals.take_moved().is_empty());
        assert!(signals.moved(call(1)).is_none(), "no callback is set");
        signal.set_ready(Some(Arc::new(|| {})));
        assert!(signals.moved(call(1)).is_some());
        let moved = signals.take_moved();
        assert!(moved.iter().all(|m| Arc::ptr_eq(m, &signal)) && moved.len() == 2);
        assert!(signals.take_moved().is_empty());
    }

    #[test]
    fn a_callback_is_queued_once_until_it_runs() {
        let mut signals = Signals::default();
        let signal = signals.of(call(1));
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = runs.clone();
        signal.set_ready(Some(Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        })));
        for round in 1..3 {
            let queued: Vec<_> = (0..1_000).filter_map(|_| signals.moved(call(1))).collect();
            assert_eq!(queued.len(), 1, "round {round}");
            queued[0].run_ready();
            assert_eq!(runs.load(Ordering::Relaxed), round);
        }
    }

    #[test]
    fn at_the_end_every_signal_is_given_out_but_those_that_were_removed() {
        let mut signals = Signals::default();
        let (gone, kept) = (signals.of(call(1)), signals.of(call(2)));
        assert!(Arc::ptr_eq(&signals.remove(call(1)).unwrap(), &gone));
        signals.all_moved();
        let moved = signals.take_moved();
        assert!(moved.len() == 1 && Arc::ptr_eq(&moved[0], &kept));
    }
}
