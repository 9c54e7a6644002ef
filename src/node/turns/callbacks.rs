//! What waits to be run on the loop's thread, in order, and how much of it may wait: a handler may
//! take as long as it likes, and meanwhile others must not make the queue grow without bound.

use super::calls::Ended;
use super::signal::Signal;
use super::watchers::EventHandler;
use crate::engine::{Event, Request, Said};
use crate::limits::Limits;
use crate::sync::AtomicUsize;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What an entry costs besides the bytes it carries.
const ENTRY: usize = 512;
/// Entries for which an empty queue keeps room.
const KEPT_ENTRIES: usize = 256;

/// What is run without the lock.
pub(super) enum Callback {
    /// A handler of a command or of messages.
    Request(Request),
    /// The message handler, for a message to everyone.
    Message(Said),
    /// A stream can be read or written again.
    Ready(Arc<Signal>),
    /// The end of an asynchronous call.
    Ended(Ended),
    /// The event handler.
    Event(EventHandler, Event),
    /// Work of the library's own.
    Do(Box<dyn FnOnce() + Send>),
}

impl Callback {
    /// Bytes that others made us hold.
    fn cost(&self) -> usize {
        let body = match self {
            Callback::Request(request) => request.ask.size(),
            Callback::Message(said) => said.data.len(),
            _ => return 0,
        };
        body + ENTRY
    }

    /// Whether the program, or a thread, waits for it even when the node has stopped.
    fn is_owed(&self) -> bool {
        matches!(self, Callback::Ended(_) | Callback::Do(_))
    }
}

/// What a message to everyone takes while a handler has it. Nobody waits for its answer, so nothing
/// but this counts those that a handler keeps.
pub(in crate::node) struct Kept {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The queue.
pub(super) struct Callbacks {
    queue: VecDeque<Callback>,
    bytes: usize,
    /// Bytes of messages to everyone that handlers have.
    kept: Arc<AtomicUsize>,
    bytes_max: usize,
    events: usize,
    events_max: usize,
    events_missed: u64,
    /// Messages to everyone that were dropped because too much waited for a handler.
    messages_dropped: u64,
}

impl Callbacks {
    pub(super) fn new(limits: &Limits) -> Callbacks {
        Callbacks {
            queue: VecDeque::new(),
            bytes: 0,
            kept: Arc::default(),
            bytes_max: limits.waiting_bytes,
            events: 0,
            events_max: limits.events,
            events_missed: 0,
            messages_dropped: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether there may soon be no room for a message to everyone.
    pub(super) fn is_half_full(&self) -> bool {
        self.taken_for_messages() > self.bytes_max / 2
    }

    /// Bytes that count against a message to everyone. What handlers keep limits only further
    /// messages to everyone.
    fn taken_for_messages(&self) -> usize {
        self.bytes + self.kept.load(Ordering::Relaxed)
    }

    /// Adds what others asked for or said, unless too much waits; whether it did. A single one
    /// always fits.
    #[must_use]
    pub(super) fn offer(&mut self, callback: Callback) -> bool {
        let cost = callback.cost();
        let taken = match &callback {
            Callback::Message(..) => self.taken_for_messages(),
            _ => self.bytes,
        };
        let fits = taken == 0 || taken + cost <= self.bytes_max;
        if fits {
            self.bytes += cost;
            self.queue.push_back(callback);
        }
        fits
    }

    /// Adds a message to everyone; one for which there is no room is dropped and counted.
    pub(super) fn offer_message(&mut self, said: Said) {
        let fits = self.offer(Callback::Message(said));
        self.messages_dropped += u64::from(!fits);
    }

    pub(super) fn messages_dropped(&self) -> u64 {
        self.messages_dropped
    }

    /// Adds an event; when too many wait, the handler is told how many it missed.
    pub(super) fn add_event(&mut self, handler: &EventHandler, event: Event) {
        if self.events >= self.events_max {
            self.events_missed += 1;
            return;
        }
        self.events += 1;
        let event = Callback::Event(handler.clone(), event);
        self.queue.push_back(event);
    }

    /// Adds what this program itself has begun, which its own limits bound.
    pub(super) fn add(&mut self, callback: Callback) {
        self.queue.push_back(callback);
    }

    /// Counts a message to everyone of so many bytes until what this gives is dropped.
    pub(super) fn keep(&self, len: usize) -> Kept {
        let (all, bytes) = (self.kept.clone(), len + ENTRY);
        all.fetch_add(bytes, Ordering::Relaxed);
        Kept { all, bytes }
    }

    pub(super) fn pop(&mut self) -> Option<Callback> {
        let next = self.queue.pop_front()?;
        self.bytes -= next.cost();
        if let Callback::Event(handler, _) = &next {
            self.events -= 1;
            if self.events == 0 && self.events_missed > 0 {
                let missed = std::mem::take(&mut self.events_missed);
                self.add_event(&handler.clone(), Event::Missed(missed));
            }
        }
        if self.queue.is_empty() {
            self.queue.shrink_to(KEPT_ENTRIES);
        }
        Some(next)
    }

    /// Keeps only what is still owed when the node has stopped; the rest, to be dropped outside the
    /// lock.
    pub(super) fn keep_owed(&mut self) -> VecDeque<Callback> {
        let (owed, rest) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition(Callback::is_owed);
        self.queue = owed;
        (self.bytes, self.events, self.events_missed) = (0, 0, 0);
        // A handler's drop may call the node.
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Payload;
    use crate::identity::Identity;
    use crate::name::NodeName;
    use std::sync::Arc;

    fn message(bytes: usize) -> Callback {
        Callback::Message(Said {
            sender: NodeName::new("n").unwrap(),
            key: Identity::from_seed([1; 32]).public_key(),
            data: vec![0; bytes],
        })
    }

    fn queue(waiting_bytes: usize, events: usize) -> Callbacks {
        Callbacks::new(&Limits {
            waiting_bytes,
            events,
            ..Limits::default()
        })
    }

    #[test]
    fn what_others_send_is_bounded_in_bytes_and_room_comes_back() {
        let mut callbacks = queue(10_000, 4);
        assert!(callbacks.offer(message(50_000)), "one always fits");
        assert!(!callbacks.offer(message(1)));
        callbacks.pop();
        for _ in 0..10_000 / (ENTRY + 100) {
            assert!(callbacks.offer(message(100)));
        }
        assert!(!callbacks.offer(message(100)));
        while callbacks.pop().is_some() {}
        assert_eq!((callbacks.bytes, callbacks.events), (0, 0));
        assert!(callbacks.queue.capacity() <= KEPT_ENTRIES);
    }

    #[test]
    fn messages_that_a_handler_keeps_count_until_they_are_dropped() {
        let mut callbacks = queue(10_000, 4);
        let mut kept = Vec::new();
        while kept.len() < 100 && callbacks.offer(message(1_000)) {
            assert!(matches!(callbacks.pop(), Some(Callback::Message(..))));
            kept.push(callbacks.keep(1_000));
        }
        assert_eq!(kept.len(), 10_000 / (ENTRY + 1_000));
        assert!(callbacks.is_half_full(), "others are to keep theirs");
        kept.pop();
        assert!(callbacks.offer(message(1_000)), "one was dropped");
        callbacks.pop();
        kept.clear();
        assert!(!callbacks.is_half_full());
        assert!(callbacks.offer(message(50_000)), "one always fits");
    }

    #[test]
    fn a_handler_that_is_too_slow_for_its_events_is_told_how_many_it_missed() {
        let mut callbacks = queue(0, 2);
        let handler: EventHandler = Arc::new(|_| {});
        let event = || Event::PeerJoined(NodeName::new("n").unwrap());
        (0..5).for_each(|_| callbacks.add_event(&handler, event()));
        let mut told = Vec::new();
        while let Some(Callback::Event(_, event)) = callbacks.pop() {
            told.push(event);
        }
        assert_eq!(told, [event(), event(), Event::Missed(3)]);
    }

    #[test]
    fn after_the_stop_only_what_is_owed_is_kept() {
        let mut callbacks = queue(1_000, 2);
        assert!(callbacks.offer(message(1)));
        callbacks.add(Callback::Ended(Ended {
            on_end: Box::new(|_| {}),
            outcome: Ok(Payload::Data(Vec::new())),
        }));
        assert_eq!(callbacks.keep_owed().len(), 1);
        assert!(matches!(callbacks.pop(), Some(Callback::Ended(_))));
        assert!(callbacks.is_empty());
    }
}
