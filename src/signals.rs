//! Threads of the library take no signals: those are the program's, which may have blocked them in its own
//! threads after the library had started its.

use nix::sys::signal::{SigSet, SigmaskHow};
use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread of a name, in which all signals are blocked.
///
/// A thread begins with the mask of the one that starts it. So that is set before, and restored after: a
/// signal that comes between is taken by another thread, or waits.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    f: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let thread = Builder::new().name(name.into()).spawn(f);
    before.thread_set_mask()?;
    thread
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;

    #[test]
    fn a_thread_of_ours_blocks_all_signals_and_its_starter_is_as_before() {
        let before = SigSet::thread_get_mask().unwrap();
        let blocked = spawn("peerbase-test", || SigSet::thread_get_mask().unwrap());
        let blocked = blocked.unwrap().join().unwrap();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1] {
            assert!(blocked.contains(signal), "{signal}");
        }
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }
}
