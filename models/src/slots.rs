//! Models of `src/node/turns/slot.rs`, with `src/spinning.rs`.

use crate::Model;
use crate::slot::Slot;
use crate::spinning::Spinning;
use crate::sync;
use loom::thread;
use std::sync::Arc;

pub(crate) const MODELS: &[Model] = &[
    ("a result comes to the thread that waits for it", one_waits),
    (
        "results come to a thread that waits for one after the other",
        one_waits_twice,
    ),
    (
        "results come to each of the threads that wait, of which one spins at a time",
        two_wait,
    ),
    ("a result is taken once, and not lost", one_takes),
];

fn one_waits() {
    sync::begin();
    let slot = Slot::new();
    let filled = slot.clone();
    let fills = thread::spawn(move || filled.fill(7));
    assert_eq!(slot.wait(&Spinning::default()), 7);
    fills.join().unwrap();
    assert_eq!(slot.take(), None, "it is there once");
}

/// After a spin in vain the next waits sleep at once.
fn one_waits_twice() {
    sync::begin();
    let slots = [Slot::new(), Slot::new()];
    let filled = slots.clone();
    let fills = thread::spawn(move || {
        for (value, slot) in filled.iter().enumerate() {
            slot.fill(value);
        }
    });
    let spinning = Spinning::default();
    for (value, slot) in slots.iter().enumerate() {
        assert_eq!(slot.wait(&spinning), value);
    }
    fills.join().unwrap();
    let (spins, misses) = sync::spins();
    assert_eq!(
        spins,
        2 - misses,
        "each wait spins, but not after a spin in vain"
    );
}

fn two_wait() {
    sync::begin();
    let spinning = Arc::new(Spinning::default());
    let slots = [Slot::new(), Slot::new()];
    let waits = [0, 1].map(|value| {
        let (spinning, slot) = (spinning.clone(), slots[value].clone());
        thread::spawn(move || assert_eq!(slot.wait(&spinning), value))
    });
    for (value, slot) in slots.iter().enumerate() {
        slot.fill(value);
    }
    for wait in waits {
        wait.join().unwrap();
    }
    assert_ne!(sync::spins().0, 0, "the first of them spins");
}

fn one_takes() {
    let slot = Slot::new();
    let filled = slot.clone();
    let fills = thread::spawn(move || filled.fill(7));
    let taken = slot.take();
    fills.join().unwrap();
    let left = slot.take();
    assert!(
        matches!((taken, left), (Some(7), None) | (None, Some(7))),
        "{taken:?} and then {left:?}"
    );
}
