//! Threads that take no signals: those are for the program that uses the library.
//!
//! A signal sent to the process is delivered to any thread that does not block it. A program that blocks
//! SIGTERM in its own threads, to take it with `sigwait` or a signalfd, would be killed by it as long as one
//! thread of the library did not.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use std::io;
use std::thread::{self, JoinHandle};

/// Raised by what a thread itself does wrong. Blocked, they would end the process without the program's
/// crash handler being asked, and nobody else's thread could take them anyway.
const FAULTS: [Signal; 6] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGSYS,
];

/// Starts a thread that has every signal blocked, except those of its own faults.
///
/// A thread begins with the mask of the one that makes it. So the mask is set here, before, and put back
/// after: if the new thread did it itself, a signal could come before it had.
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
        // In a thread of its own, whose mask may be changed.
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
                // The kernel lets nobody block these.
                let never = matches!(signal, Signal::SIGKILL | Signal::SIGSTOP);
                let blocked = !never && !FAULTS.contains(&signal);
                assert_eq!(mask.contains(signal), blocked, "{signal}");
            }
            assert_eq!(SigSet::thread_get_mask().unwrap(), own);
        });
        test.join().unwrap();
    }
}
