//! What takes the place of the library's `src/driver`: a network of one peer, and a poller that is
//! woken when something comes from it.

use crate::engine::{
    CallNumber, Engine, Event, Now, Payload, Request, Said, Stats, StreamId, Time,
};
use crate::error::Error;
use crate::sync::{Condvar, Instant, Mutex, yield_now};
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

#[derive(Debug)]
#[allow(dead_code)] // some happen in no model
pub(crate) enum Notice {
    Request(Request),
    Message(Said),
    Stream(StreamId),
    Ended(CallNumber, Result<Payload, Error>),
    Running,
    Failed(Error),
    Event(Event),
}

/// What comes from the network.
pub(crate) enum Arrival {
    Answer(CallNumber),
    Request(Request),
    Streamed(StreamId),
}

#[derive(Default)]
struct Traffic {
    /// Calls that the peer has not answered.
    sent: VecDeque<CallNumber>,
    /// Calls that were sent so far.
    calls: u64,
    arrived: VecDeque<Arrival>,
    woken: bool,
}

/// The network, and what wakes the poller.
#[derive(Default)]
pub(crate) struct Network {
    traffic: Mutex<Traffic>,
    changed: Condvar,
}

pub(crate) type Waker = Network;

impl Network {
    fn lock(&self) -> crate::sync::MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn send(&self, number: CallNumber) {
        let mut traffic = self.lock();
        traffic.sent.push_back(number);
        traffic.calls += 1;
        self.changed.notify_all();
    }

    pub(crate) fn wake(&self) -> Result<(), Error> {
        self.lock().woken = true;
        self.changed.notify_all();
        Ok(())
    }

    /// Something comes.
    pub(crate) fn arrive(&self, what: Arrival) {
        self.lock().arrived.push_back(what);
        self.changed.notify_all();
    }

    /// The peer: answers so many calls, as soon as each is sent.
    pub(crate) fn answer(&self, calls: usize) {
        for _ in 0..calls {
            let mut traffic = self.lock();
            let number = loop {
                match traffic.sent.pop_front() {
                    Some(number) => break number,
                    None => {
                        let waited = self.changed.wait(traffic);
                        traffic = waited.unwrap_or_else(PoisonError::into_inner);
                    }
                }
            };
            traffic.arrived.push_back(Arrival::Answer(number));
            drop(traffic);
            self.changed.notify_all();
        }
    }
}

/// Waits for the network.
pub(crate) struct Poller(Arc<Network>);

impl Poller {
    pub(crate) fn fd(&self) -> i32 {
        0
    }

    /// A wait that has an end is over as soon as others have had a turn.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> Result<bool, Error> {
        if timeout.is_some() {
            yield_now();
        }
        let mut traffic = self.0.lock();
        while timeout.is_none() && !traffic.woken && traffic.arrived.is_empty() {
            let waited = self.0.changed.wait(traffic);
            traffic = waited.unwrap_or_else(PoisonError::into_inner);
        }
        traffic.woken = false;
        Ok(!traffic.arrived.is_empty())
    }
}

pub(crate) struct Driver {
    pub(crate) engine: Engine,
    network: Arc<Network>,
    start: Instant,
}

impl Driver {
    pub(crate) fn open(network: &Arc<Network>) -> (Driver, Poller, Arc<Waker>) {
        let driver = Driver {
            engine: Engine::new(network.clone()),
            network: network.clone(),
            start: Instant::now(),
        };
        (driver, Poller(network.clone()), network.clone())
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            at: Time(self.start.elapsed()),
            unix: 0,
        }
    }

    pub(crate) fn left_until(&self, at: Time) -> Duration {
        at - self.now().at
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.engine.deadline()
    }

    pub(crate) fn protocol_deadline(&self) -> Option<Time> {
        self.engine.deadline()
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats::default()
    }

    pub(crate) fn has_unread(&self) -> bool {
        false
    }

    pub(crate) fn begin_stop(&mut self, _: Now) {}

    pub(crate) fn is_flushed(&self) -> bool {
        true
    }

    /// The peer never closes its links: what waits for that must end by time.
    pub(crate) fn is_lingering(&self) -> bool {
        true
    }

    pub(crate) fn abandon(&mut self) {}

    pub(crate) fn stop(&mut self, _: Now) {
        self.engine.stop();
    }

    pub(crate) fn process(&mut self, now: Now, _: &Poller, notices: &mut dyn FnMut(Notice)) {
        let arrived = std::mem::take(&mut self.network.lock().arrived);
        for what in arrived {
            match what {
                Arrival::Answer(number) => self.engine.answered(number),
                Arrival::Request(request) => {
                    self.engine.outputs.push_back(Notice::Request(request));
                }
                Arrival::Streamed(id) => {
                    self.engine.streamed += 1;
                    self.engine.outputs.push_back(Notice::Stream(id));
                }
            }
        }
        self.tick(now);
        self.perform(now, notices);
    }

    pub(crate) fn tick(&mut self, now: Now) {
        self.engine.tick(now);
    }

    pub(crate) fn perform(&mut self, _: Now, notices: &mut dyn FnMut(Notice)) {
        while let Some(notice) = self.engine.outputs.pop_front() {
            notices(notice);
        }
    }

    pub(crate) fn flush(&mut self, _: Now, _: &mut dyn FnMut(Notice)) {}
}
