//! What is told of events: subscriptions, and the program's event handler.

use super::event::Subscription;
use crate::engine::Event;
use std::sync::{Arc, Weak};

/// The program's event handler.
pub(crate) type EventHandler = Arc<dyn Fn(&Event) + Send + Sync>;

/// See the module's documentation.
pub(super) struct Watchers {
    subscriptions: Vec<Weak<Subscription>>,
    handler: Option<EventHandler>,
    /// Events from the start on, until the program first asks for events.
    early: Option<Arc<Subscription>>,
    /// Events that wait for a subscriber at most.
    limit: usize,
}

impl Watchers {
    /// With the handler that the program has set before the start, if there is one: it is told of
    /// everything.
    pub(super) fn new(handler: Option<EventHandler>, limit: usize) -> Watchers {
        let early = handler
            .is_none()
            .then(|| Arc::new(Subscription::new(limit)));
        Watchers {
            subscriptions: Vec::new(),
            handler,
            early,
            limit,
        }
    }

    /// Tells the subscriptions of an event; the handler to run with it, if it is to be told as
    /// well.
    pub(super) fn publish(&mut self, event: Event) -> Option<(&EventHandler, Event)> {
        self.subscriptions.retain(|s| match s.upgrade() {
            Some(s) => {
                s.push(event.clone());
                true
            }
            None => false,
        });
        match &self.early {
            Some(early) => {
                early.push(event);
                None
            }
            None => self.handler.as_ref().map(|handler| (handler, event)),
        }
    }

    /// Events from now on; for the first that asks, those from the start on.
    pub(super) fn subscribe(&mut self) -> Arc<Subscription> {
        let limit = self.limit;
        let early = self.early.take();
        let subscription = early.unwrap_or_else(|| Arc::new(Subscription::new(limit)));
        self.subscriptions.retain(|s| s.strong_count() > 0);
        self.subscriptions.push(Arc::downgrade(&subscription));
        subscription
    }

    /// Events that came before the program first asked, which it does now.
    pub(super) fn take_early(&mut self) -> Vec<Event> {
        self.early.take().map_or(Vec::new(), |early| early.drain())
    }

    /// Sets the handler; the one that was set before, to be dropped outside the lock.
    #[must_use]
    pub(super) fn replace_handler(
        &mut self,
        handler: Option<EventHandler>,
    ) -> Option<EventHandler> {
        std::mem::replace(&mut self.handler, handler)
    }

    /// No more events come.
    pub(super) fn close(&mut self) {
        for subscription in std::mem::take(&mut self.subscriptions) {
            if let Some(subscription) = subscription.upgrade() {
                subscription.close();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::NodeName;
    use crate::node::turns::event::Events;

    fn joined(name: &str) -> Event {
        Event::PeerJoined(NodeName::new(name).unwrap())
    }

    #[test]
    fn the_first_to_ask_has_the_events_since_the_start_and_the_next_has_not() {
        let mut watchers = Watchers::new(None, 8);
        assert!(watchers.publish(joined("a")).is_none());
        let (first, second) = (watchers.subscribe(), watchers.subscribe());
        assert!(watchers.publish(joined("b")).is_none());
        watchers.close();
        let of = |s| Events(s).collect::<Vec<_>>();
        assert_eq!(of(first), [joined("a"), joined("b")]);
        assert_eq!(of(second), [joined("b")]);
        assert_eq!(watchers.take_early(), []);
    }

    #[test]
    fn a_handler_from_the_start_on_misses_nothing_and_a_later_one_takes_what_came_before() {
        let handler: EventHandler = Arc::new(|_| {});
        let mut watchers = Watchers::new(Some(handler.clone()), 8);
        let told = watchers.publish(joined("a"));
        assert!(told.is_some_and(|(to, event)| Arc::ptr_eq(to, &handler) && event == joined("a")));
        let mut watchers = Watchers::new(None, 8);
        assert!(watchers.publish(joined("a")).is_none());
        assert_eq!(watchers.take_early(), [joined("a")]);
        assert!(watchers.replace_handler(Some(handler)).is_none());
        assert!(watchers.publish(joined("b")).is_some());
        assert!(watchers.replace_handler(None).is_some());
        assert!(watchers.publish(joined("c")).is_none());
    }

    #[test]
    fn a_subscription_that_was_dropped_is_forgotten() {
        let mut watchers = Watchers::new(None, 8);
        drop(watchers.subscribe());
        assert!(watchers.publish(joined("a")).is_none());
        assert!(watchers.subscriptions.is_empty());
    }
}
