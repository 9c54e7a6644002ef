//! Being asked to end, or to tell.

use crate::Outcome;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

/// Runs `then` when SIGINT or SIGTERM comes.
pub(crate) fn on_stop(then: impl Fn() + Send + 'static) -> Outcome {
    on(&[SIGINT, SIGTERM], then)
}

/// Runs `then` when SIGUSR1 comes.
pub(crate) fn on_request(then: impl Fn() + Send + 'static) -> Outcome {
    on(&[SIGUSR1], then)
}

fn on(which: &[i32], then: impl Fn() + Send + 'static) -> Outcome {
    let mut signals = Signals::new(which)?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            then();
        }
    });
    Ok(())
}
