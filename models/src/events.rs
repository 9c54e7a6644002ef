//! Models of `src/node/turns/event.rs`.

use crate::Model;
use crate::engine::Event::{self, Happened, Missed};
use crate::event::{Events, Subscription};
use loom::thread;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const MODELS: &[Model] = &[
    (
        "a subscriber has each event or is told that it missed it, and ends",
        one_subscriber,
    ),
    (
        "events of two threads are counted and wake the subscriber",
        two_publishers,
    ),
    (
        "two that share a subscription have each event once between them, and both end",
        two_readers,
    ),
    ("what is drained is not given again, nor lost", one_drains),
];

/// More than loom needs for all orders: there no wait ends by itself.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// What one thread was given.
#[derive(Default)]
struct Tally {
    happened: Vec<u32>,
    missed: u64,
}

impl Tally {
    fn add(&mut self, event: Event) {
        match event {
            Happened(n) => self.happened.push(n),
            Missed(0) => panic!("told that it missed nothing"),
            Missed(n) => self.missed += n,
        }
    }

    fn of(events: impl IntoIterator<Item = Event>) -> Tally {
        let mut tally = Tally::default();
        events.into_iter().for_each(|event| tally.add(event));
        tally
    }

    fn count(&self) -> u64 {
        self.happened.len() as u64 + self.missed
    }

    /// Events that one thread published come in order, and not twice.
    fn assert_in_order(&self, whose: impl Fn(u32) -> bool) {
        let of_one: Vec<u32> = self
            .happened
            .iter()
            .copied()
            .filter(|n| whose(*n))
            .collect();
        let in_order = of_one.is_sorted_by(|a, b| a < b);
        assert!(in_order, "{:?}", self.happened);
    }
}

/// Publishes so many events from a thread of its own, and closes.
fn publish(to: &Arc<Subscription>, events: u32) -> thread::JoinHandle<()> {
    let to = to.clone();
    thread::spawn(move || {
        (0..events).for_each(|n| to.push(Happened(n)));
        to.close();
    })
}

fn one_subscriber() {
    let subscription = Arc::new(Subscription::new(2));
    let publishes = publish(&subscription, 4);
    let tally = Tally::of(Events(subscription));
    publishes.join().unwrap();
    assert_eq!(tally.count(), 4);
    tally.assert_in_order(|_| true);
}

fn two_publishers() {
    let subscription = Arc::new(Subscription::new(1));
    let publishes = [0, 2].map(|first| {
        let to = subscription.clone();
        thread::spawn(move || (first..first + 2).for_each(|n| to.push(Happened(n))))
    });
    let mut events = Events(subscription.clone());
    let mut tally = Tally::default();
    // Nobody closes it: an event that wakes nobody leaves this thread asleep.
    while tally.count() < 4 {
        tally.add(events.next().expect("it is open"));
    }
    for thread in publishes {
        thread.join().unwrap();
    }
    assert_eq!(tally.count(), 4);
    assert_eq!(subscription.drain(), [], "nothing is left");
    tally.assert_in_order(|n| n < 2);
    tally.assert_in_order(|n| n >= 2);
}

fn two_readers() {
    let subscription = Arc::new(Subscription::new(1));
    let publishes = publish(&subscription, 2);
    let here = Events(subscription);
    let there = here.clone();
    let reads = thread::spawn(move || {
        let events = std::iter::from_fn(|| there.next_timeout(LONG));
        Tally::of(events)
    });
    let here = Tally::of(here);
    let there = reads.join().unwrap();
    publishes.join().unwrap();
    assert_eq!(here.count() + there.count(), 2);
    for tally in [&here, &there] {
        tally.assert_in_order(|_| true);
    }
    let twice = here.happened.iter().any(|n| there.happened.contains(n));
    assert!(!twice, "{:?} and {:?}", here.happened, there.happened);
}

fn one_drains() {
    let subscription = Arc::new(Subscription::new(1));
    let publishes = publish(&subscription, 3);
    let drained = subscription.clone();
    let drains = thread::spawn(move || Tally::of(drained.drain()));
    let here = Tally::of(Events(subscription));
    let there = drains.join().unwrap();
    publishes.join().unwrap();
    assert_eq!(here.count() + there.count(), 3);
    for tally in [&here, &there] {
        tally.assert_in_order(|_| true);
    }
    let twice = here.happened.iter().any(|n| there.happened.contains(n));
    assert!(!twice, "{:?} and {:?}", here.happened, there.happened);
}
