//! Models of how the threads of a node take turns (`src/node/turns/`): small programs, of which
//! shuttle runs many orders of their threads, drawn at random. A thread that is never woken is a
//! deadlock, which shuttle reports; each model asserts the rest.
//!
//! The files under test are compiled into this program as they are. The modules beside this file
//! take the place of the library's modules of these names: `sync` and `logging` with types of
//! shuttle's, `driver` and `engine` with a network of one peer that answers every call. A wait that
//! has an end may end at any time, so no model can rely on a timeout to cover for a lost wake-up of
//! a wait that has none.

mod driver;
mod engine;
mod error;
mod logging;
mod name;
mod sync;

#[allow(dead_code)] // the library uses all of it
#[path = "../../../src/protocol.rs"]
mod protocol;
#[allow(dead_code)] // the library uses all of it
#[path = "../../../src/spinning.rs"]
mod spinning;
#[allow(dead_code)] // the library uses all of it
#[path = "../../../src/table.rs"]
mod table;

mod node {
    #[allow(dead_code, unused_imports)] // the library uses all of it
    #[path = "../../../../src/node/turns/mod.rs"]
    pub mod turns;

    pub mod models;
}

mod fork {
    /// No model forks.
    pub fn count() -> u32 {
        0
    }
}

mod limits {
    /// The bounds that matter here.
    pub struct Limits {
        pub waiting_bytes: usize,
        pub events: usize,
    }
}

mod wire {
    pub mod record {
        pub enum Status {
            Overloaded,
        }
    }
}

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// Orders that each model is run in, by each of the two ways to draw them.
const ORDERS: usize = 2_000;
/// How often a thread is interrupted where it need not be, in those orders that are drawn to have
/// few such places.
const DEPTH: usize = 3;
/// Bytes of each thread's stack.
const STACK: usize = 256 * 1024;
/// Steps of the longest order.
const STEPS: usize = 200_000;

fn main() {
    let only = std::env::args().nth(1);
    for (name, model) in node::models::MODELS {
        if only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        // Printed before, so that a model that fails is known.
        println!("{name}");
        let mut config = Config::new();
        config.stack_size = STACK;
        config.silence_warnings = true;
        config.max_steps = shuttle::MaxSteps::FailAfter(STEPS);
        Runner::new(RandomScheduler::new(ORDERS), config.clone()).run(model);
        Runner::new(PctScheduler::new(DEPTH, ORDERS), config).run(model);
        println!("  holds in {} orders", 2 * ORDERS);
    }
}
