//! Models of how threads wait for each other: small programs, of which loom runs every order that
//! their threads and the memory between them allow, up to a bound on how often a thread is
//! interrupted. A wake-up that is lost is a deadlock, which loom reports; each model asserts the
//! rest.
//!
//! The files under test are compiled into this program as they are; `sync` and `engine` take the
//! place of the library's modules of these names. A crate of its own, so that neither the library
//! nor its tests depend on loom.

#[allow(dead_code)] // the library uses all of it
#[path = "../../src/node/turns/event.rs"]
mod event;
mod events;
#[path = "../../src/node/turns/slot.rs"]
mod slot;
mod slots;
#[path = "../../src/spinning.rs"]
mod spinning;
mod sync;

mod engine {
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub enum Event {
        Happened(u32),
        Missed(u64),
    }
}

use loom::model::Builder;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How often a thread is interrupted where it need not be: most faults show after two.
const PREEMPTIONS: usize = 3;

type Model = (&'static str, fn());

fn main() {
    for (name, model) in slots::MODELS.iter().chain(events::MODELS) {
        // Printed before, so that a model that fails is known.
        println!("{name}");
        let orders = Arc::new(AtomicUsize::new(0));
        let count = orders.clone();
        let mut builder = Builder::new();
        builder.preemption_bound = Some(PREEMPTIONS);
        builder.check(move || {
            count.fetch_add(1, Ordering::Relaxed);
            model();
        });
        println!("  holds in {} orders", orders.load(Ordering::Relaxed));
    }
}
