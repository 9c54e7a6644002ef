//! What happens, told to those who ask: a queue for each subscriber, bounded.

use crate::engine::Event;
use crate::sync::{Condvar, Instant, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    missed: u64,
    closed: bool,
}

#[derive(Debug)]
pub(crate) struct Subscription {
    queue: Mutex<Queue>,
    changed: Condvar,
    limit: usize,
}

impl Subscription {
    pub(crate) fn new(limit: usize) -> Subscription {
        Subscription {
            queue: Mutex::default(),
            changed: Condvar::new(),
            limit,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, event: Event) {
        let mut queue = self.lock();
        if queue.events.len() < self.limit {
            queue.events.push_back(event);
        } else {
            queue.missed += 1;
        }
        self.changed.notify_all();
    }

    /// Takes all that waits.
    pub(crate) fn drain(&self) -> Vec<Event> {
        let mut queue = self.lock();
        let mut events = Vec::from(std::mem::take(&mut queue.events));
        if queue.missed > 0 {
            events.push(Event::Missed(std::mem::take(&mut queue.missed)));
        }
        events
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

/// The events of a node from when this was made; for the first, with those of its start. As an
/// iterator it waits for the next, and ends when the node is stopped. A subscriber too slow for its
/// bounded queue is told how many events it missed ([`Event::Missed`]).
///
/// A clone shares the queue: each event goes to one of the clones. For a second queue, which gets
/// every event, call [`Node::events`](crate::Node::events) again.
///
/// Waiting for events does not drive the node. In a program's own loop
/// ([`Builder::open`](crate::Builder::open)) another thread has to wait, or the loop takes what is
/// there with [`Events::next_timeout`] and a timeout of zero. The iterator also waits in a
/// [callback](crate#callbacks), where no other callback runs meanwhile.
#[derive(Clone, Debug)]
pub struct Events(pub(crate) Arc<Subscription>);

impl Events {
    /// The next event. Waits for it at most `timeout`, which may be [`Duration::MAX`]. Returns
    /// `None` if none came in time, or if the node was stopped; with [`Duration::MAX`] only if it
    /// was stopped. Most functions of a stopped node return
    /// [`Error::Stopped`](crate::Error::Stopped), which tells the two apart.
    pub fn next_timeout(&self, timeout: Duration) -> Option<Event> {
        // A time that the clock cannot express does not come.
        self.wait(Instant::now().checked_add(timeout))
    }

    fn wait(&self, until: Option<Instant>) -> Option<Event> {
        let mut queue = self.0.lock();
        loop {
            if let Some(event) = queue.events.pop_front() {
                return Some(event);
            }
            if queue.missed > 0 {
                return Some(Event::Missed(std::mem::take(&mut queue.missed)));
            }
            if queue.closed {
                return None;
            }
            queue = match until {
                None => self
                    .0
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.checked_duration_since(Instant::now())?;
                    let waited = self.0.changed.wait_timeout(queue, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Iterator for Events {
    type Item = Event;
    fn next(&mut self) -> Option<Event> {
        self.wait(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::NodeName;

    #[test]
    fn a_slow_subscriber_is_told_what_it_missed_and_keeps_what_it_had() {
        let s = Arc::new(Subscription::new(2));
        let event = || Event::PeerJoined(NodeName::new("n").unwrap());
        (0..5).for_each(|_| s.push(event()));
        s.close();
        let got: Vec<_> = Events(s).collect();
        assert_eq!(got, [event(), event(), Event::Missed(3)]);
    }

    #[test]
    fn the_longest_timeout_is_one_that_never_ends() {
        let s = Arc::new(Subscription::new(2));
        s.push(Event::Missed(1));
        s.close();
        let events = Events(s);
        assert_eq!(events.next_timeout(Duration::MAX), Some(Event::Missed(1)));
        assert_eq!(events.next_timeout(Duration::MAX), None);
    }
}
