//! Being asked to end, or to tell.

use crate::Outcome;
use peerbase::{Builder, Node};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long the goodbye may take, and whatever the program was doing when it was asked to end.
/// Longer than a node or a relay needs to stop.
const GRACE: Duration = Duration::from_secs(3);

/// SIGINT and SIGTERM, from when this is made: one that comes before [`Ending::with`] is not lost.
pub(crate) struct Ending(Signals);

impl Ending {
    pub(crate) fn watch() -> Outcome<Ending> {
        Ok(Ending(Signals::new([SIGINT, SIGTERM])?))
    }

    /// Says goodbye with `stop`, which makes the program end by itself. If it does not, because it
    /// is busy with something that nothing can interrupt, it is ended with `status`.
    pub(crate) fn with(mut self, status: i32, stop: impl FnOnce() + Send + 'static) {
        thread::spawn(move || {
            if self.0.forever().next().is_some() {
                thread::spawn(stop);
                thread::sleep(GRACE);
                exit(status);
            }
        });
    }
}

/// Runs `then` when SIGUSR1 comes.
pub(crate) fn on_request(then: impl Fn() + Send + 'static) -> Outcome {
    let mut signals = Signals::new([SIGUSR1])?;
    thread::spawn(move || {
        for _ in signals.forever() {
            then();
        }
    });
    Ok(())
}

/// Stops a node when dropped.
struct Stops(Node);

impl Drop for Stops {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Runs a node until `work`, on a thread beside it, has ended, or a signal comes; says goodbye. A
/// signal does not wait for the work: then there is `None`, and the program must end.
pub(crate) fn run_beside<T: Send + 'static>(
    builder: Builder,
    status: i32,
    work: impl FnOnce(&Node) -> Outcome<T> + Send + 'static,
) -> Outcome<Option<T>> {
    let ending = Ending::watch()?;
    let signalled = Arc::new(AtomicBool::new(false));
    let marks = signalled.clone();
    let (tell, done) = mpsc::channel();
    builder.run(|node| {
        let stops = Stops(node.clone());
        ending.with(status, move || {
            marks.store(true, Ordering::SeqCst);
            drop(stops);
        });
        let stops = Stops(node.clone());
        thread::spawn(move || {
            let _ = tell.send(work(&stops.0));
        });
    })?;
    if signalled.load(Ordering::SeqCst) {
        return Ok(None);
    }
    // Nothing was told if the work panicked, which has been shown.
    match done.try_recv() {
        Ok(outcome) => outcome.map(Some),
        Err(_) => exit(1),
    }
}
