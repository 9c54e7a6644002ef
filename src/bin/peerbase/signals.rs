//! Being asked to end.

use crate::Outcome;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Runs `then` when SIGINT or SIGTERM comes.
pub(crate) fn on_stop(then: impl Fn() + Send + 'static) -> Outcome {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            then();
        }
    });
    Ok(())
}
