//! Threads that take no signals: those are for the program that uses the library.
//!
//! The kernel delivers a signal that is sent to the process to any thread that does not block it. A
//! program may block SIGTERM in its own threads, to take it with `sigwait` or a signalfd. If a
//! single thread of the library did not block it, the signal would kill that program.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use std::io;
use std::thread::{self, JoinHandle};

/// Signals that a thread raises by its own faults. If they were blocked, they would end the process
/// without a call of the program's crash handler, and no other thread could take them anyway.
const FAULTS: [Signal; 6] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGSYS,
];

/// Starts a thread with every signal blocked, except those of its own faults.
///
/// A thread begins with the signal mask of the thread that makes it. So the mask is set here
/// before, and put back after. If the new thread set it itself, a signal could arrive before that.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let mut blocked = SigSet::all();
    for fault in FAULTS {
        blocked.remove(fault);
    }
    let before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    before.thread_set_mask()?;
    thread
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_thread_has_every_signal_blocked_and_the_one_that_made_it_keeps_its_mask() {
        // The test runs in a thread of its own, whose mask it may change.
        let test = thread::spawn(|| {
            let mut own = SigSet::empty();
            own.add(Signal::SIGUSR2);
            own.thread_set_mask().unwrap();
            let (tell, told) = mpsc::channel();
            let thread = spawn("quiet", move || {
                let name = thread::current().name().map(str::to_owned);
                tell.send((name, SigSet::thread_get_mask().unwrap()))
                    .unwrap();
            });
            thread.unwrap().join().unwrap();
            let (name, mask) = told.recv().unwrap();
            assert_eq!(name.as_deref(), Some("quiet"));
            for signal in Signal::iterator() {
                // The kernel does not let a thread block these.
                let never = matches!(signal, Signal::SIGKILL | Signal::SIGSTOP);
                let blocked = !never && !FAULTS.contains(&signal);
                assert_eq!(mask.contains(signal), blocked, "{signal}");
            }
            assert_eq!(SigSet::thread_get_mask().unwrap(), own);
        });
        test.join().unwrap();
    }
}
