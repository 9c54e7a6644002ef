//! Waiting, always up to a deadline: a wait that takes too long fails, and says what it waited for.

use peerbase::{Event, Events};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a wait may take. Nothing that works takes as long on a busy machine, not even under
/// valgrind, so a test that fails here has hung.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// Until when something is waited for, and what that is.
pub struct Deadline {
    at: Instant,
    what: String,
}

impl Deadline {
    pub fn new(what: &str) -> Deadline {
        Deadline::within(PATIENCE, what)
    }

    pub fn within(time: Duration, what: &str) -> Deadline {
        Deadline {
            at: Instant::now() + time,
            what: what.to_owned(),
        }
    }

    /// The time that is left, of which there must be some.
    pub fn left(&self) -> Duration {
        let left = self.at.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "waited too long for {}", self.what);
        left
    }

    /// Lets others run before a condition is looked at again, where nothing tells of a change.
    pub fn pause(&self) {
        std::thread::sleep(self.left().min(Duration::from_millis(1)));
    }
}

/// Waits for a condition that other threads or programs bring about; for where no event tells of
/// it.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Deadline::new(what);
    while !done() {
        deadline.pause();
    }
}

/// The next value of a channel.
pub fn next<T>(from: &Receiver<T>, what: &str) -> T {
    match from.recv_timeout(PATIENCE) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => panic!("waited too long for {what}"),
        Err(RecvTimeoutError::Disconnected) => panic!("{what} cannot come any more"),
    }
}

/// What a thread gives when it ends. Its panic is passed on.
pub fn join<T>(thread: JoinHandle<T>, what: &str) -> T {
    until(what, || thread.is_finished());
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Waits for an event that fits.
pub fn wait_for_event(events: &Events, what: &str, fits: impl Fn(&Event) -> bool) -> Event {
    let deadline = Deadline::new(what);
    loop {
        match events.next_timeout(deadline.left()) {
            Some(event) if fits(&event) => return event,
            Some(_) => {}
            // Stopped, unless the time is over.
            None => panic!("no more events after {:?}: {what}", deadline.left()),
        }
    }
}

/// All events of a node that has been stopped.
pub fn last_events(events: &Events) -> Vec<Event> {
    let deadline = Deadline::new("the last event");
    std::iter::from_fn(|| events.next_timeout(deadline.left())).collect()
}

/// A connection whose every read and write has a deadline.
pub fn connect(to: SocketAddr) -> TcpStream {
    patient(TcpStream::connect_timeout(&to, PATIENCE).unwrap())
}

/// The next connection that comes, whose every read and write has a deadline.
pub fn accept(listener: &TcpListener, what: &str) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut stream = None;
    until(what, || {
        stream = listener.accept().ok();
        stream.is_some()
    });
    let (stream, _) = stream.unwrap();
    stream.set_nonblocking(false).unwrap();
    patient(stream)
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}
