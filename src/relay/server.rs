//! A relay on the event loop: the hub's sockets, on a thread of its own.
//!
//! However that thread ends, every socket is closed with it: members must notice at once that
//! nobody serves them any more.

use super::hub::{Config, Hub, Output, RelayStats};
use crate::driver::{Clock, Lane, Poller, Tcp};
use crate::entropy::{Entropy, OsEntropy};
use crate::error::Error;
use crate::limits::RelayLimits;
use crate::logging::{self, Locked, record};
use crate::name::NetworkName;
use crate::signals;
use crate::spinning::{SPIN, Spinning};
use crate::wire::relay_key::RelayKey;
use mio::Waker;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A relay to be.
///
/// ```
/// use peerbase::RelayServer;
///
/// let address = "127.0.0.1:0".parse().unwrap();
/// let relay = RelayServer::builder().network("plant", None).start(address)?;
/// println!("nodes join with .relay(\"{}\")", relay.address());
/// # Ok::<(), peerbase::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RelayBuilder {
    networks: Vec<(Result<NetworkName, Error>, Option<RelayKey>)>,
    limits: RelayLimits,
    #[cfg(feature = "compat")]
    compat: bool,
}

impl RelayBuilder {
    /// Serves this network, besides those named before; any network unless one is named. With a
    /// key, members prove that they have the network's key; without, any node that knows the
    /// name may join, and can still read nothing.
    #[must_use]
    pub fn network(mut self, name: &str, key: Option<RelayKey>) -> Self {
        self.networks.push((NetworkName::new(name), key));
        self
    }

    /// Other bounds than the defaults.
    #[must_use]
    pub fn limits(mut self, limits: RelayLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether to serve Python nodes as well, in place of the `relay.py` of PeerBase 0.7.1 at the
    /// same address, in networks that have no relay key; off by default. The relay sees the names
    /// of Python nodes in clear, and holds the packets for them, which it cannot decrypt, until
    /// they fetch them. Only nodes with `Builder::compat` can call Python nodes through the relay.
    #[cfg(feature = "compat")]
    #[must_use]
    pub fn compat(mut self, on: bool) -> Self {
        self.compat = on;
        self
    }

    /// Listens at `address`, on a thread named `peerbase-relay`. Fails if a network's name breaks a
    /// rule or is given twice, or if the address cannot be had.
    ///
    /// The soft limit of descriptors of the process (`RLIMIT_NOFILE`) is raised, as far as it may
    /// be, if there are too few for [`RelayLimits::links`]; where that is not enough fewer links
    /// are served, and a warning is logged.
    pub fn start(self, address: SocketAddr) -> Result<RelayServer, Error> {
        self.start_with(address, Box::new(OsEntropy::new()?))
    }

    fn start_with(
        self,
        address: SocketAddr,
        entropy: Box<dyn Entropy>,
    ) -> Result<RelayServer, Error> {
        let mut networks: Vec<(NetworkName, Option<RelayKey>)> = Vec::new();
        for (name, key) in self.networks {
            let name = name?;
            if networks.iter().any(|(n, _)| *n == name) {
                return Err(Error::Network("is given twice"));
            }
            networks.push((name, key));
        }
        let (poller, waker, registry) = Poller::open()?;
        let mut links = Tcp::new(registry, Lane::NATIVE);
        let address = links.listen(&[address])?;
        let config = Config {
            networks,
            limits: within_descriptors(self.limits),
            #[cfg(feature = "compat")]
            compat: self.compat,
        };
        let shared = Arc::new(Shared {
            core: Mutex::new(Core {
                hub: Hub::new(config, entropy),
                links,
                clock: Clock::start(),
                stopped: false,
                failure: None,
            }),
            waker,
        });
        let of_loop = shared.clone();
        let thread = signals::spawn("peerbase-relay", move || of_loop.run(poller))
            .map_err(|e| Error::io("starting the relay's thread", &e))?;
        Ok(RelayServer {
            shared,
            address,
            thread: Mutex::new(Some(thread)),
        })
    }
}

/// A relay that runs. When it is dropped it tells its members, and stops.
pub struct RelayServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for RelayServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

struct Shared {
    core: Mutex<Core>,
    waker: Arc<Waker>,
}

struct Core {
    hub: Hub,
    links: Tcp,
    clock: Clock,
    stopped: bool,
    /// Why it ended, unless it was stopped.
    failure: Option<Error>,
}

impl RelayServer {
    /// A relay to be.
    pub fn builder() -> RelayBuilder {
        RelayBuilder::default()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has counted so far.
    pub fn stats(&self) -> RelayStats {
        self.shared.lock().hub.stats()
    }

    /// Tells the members, and ends. At once: [`RelayServer::wait`] waits until it is done.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Waits until the relay has ended. An error if it was not stopped but failed: its event loop,
    /// or by a bug. Its links are closed then, and the address is free.
    pub fn wait(&self) -> Result<(), Error> {
        // Whoever else waits, waits for the lock.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.take().is_some_and(|t| t.join().is_err()) {
            return Err(PANICKED);
        }
        self.shared.lock().failure.clone().map_or(Ok(()), Err)
    }
}

impl Drop for RelayServer {
    fn drop(&mut self) {
        self.stop();
        // What failed was logged.
        let _ = self.wait();
    }
}

impl Shared {
    fn lock(&self) -> Locked<'_, Core> {
        logging::lock(&self.core)
    }

    fn stop(&self) {
        self.lock().stopped = true;
        if let Err(e) = self.waker.wake() {
            record!(Error, "waking the relay: {e}");
        }
    }

    /// Serves until it is stopped or fails, and closes everything. After a panic the hub may be in
    /// any state, so it is left as it is, and not even told to say goodbye.
    fn run(&self, poller: Poller) {
        let served = catch_unwind(AssertUnwindSafe(|| self.serve(poller)));
        let failure = served.unwrap_or(Err(PANICKED)).err();
        if let Some(e) = &failure {
            record!(Error, "the relay has ended: {e}");
        }
        let mut core = self.lock();
        core.links.close_all();
        core.failure = failure;
    }

    fn serve(&self, mut poller: Poller) -> Result<(), Error> {
        let mut timeout = None;
        let spinning = Spinning::default();
        loop {
            wait(&mut poller, timeout, &spinning)?;
            let mut core = self.lock();
            if core.stopped {
                core.stop();
                return Ok(());
            }
            core.process(&poller);
            timeout = core.timeout();
        }
    }
}

const PANICKED: Error = Error::Internal("the relay's thread panicked");

/// Descriptors that are left for whatever else the process does, if it may have so many.
const RESERVE: usize = 64;

/// Raises how many descriptors this process may open to what the links need, and lowers the links
/// to what it may.
fn within_descriptors(mut limits: RelayLimits) -> RelayLimits {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return limits;
    };
    // Where that cannot be read, the reserve must do.
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let needed = limits.links.saturating_add(open + RESERVE) as u64;
    let raised = needed.min(hard);
    let may = if raised > soft && setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok() {
        raised
    } else {
        soft
    };
    let links = links_within(usize::try_from(may).unwrap_or(usize::MAX), open);
    if links < limits.links {
        let wanted = std::mem::replace(&mut limits.links, links);
        record!(
            Warn,
            "the process may open {may} descriptors: the relay serves {links} links, not {wanted}"
        );
    }
    limits
}

/// Links that a process can serve which may have so many descriptors and has some open.
fn links_within(descriptors: usize, open: usize) -> usize {
    let reserve = RESERVE.min(descriptors / 4);
    descriptors.saturating_sub(open + reserve).max(1)
}

/// Waits for events, at most `timeout`; looks for them for a while first, as long as that is found
/// to pay: what is carried is often answered by then, and both ways wait for the relay.
fn wait(poller: &mut Poller, timeout: Option<Duration>, spinning: &Spinning) -> Result<(), Error> {
    let may_last = timeout != Some(Duration::ZERO);
    if !spinning.look(may_last, || look(poller))? {
        poller.wait(timeout)?;
    }
    Ok(())
}

/// Looks for events for a while, without sleeping, but leaving the processor to any other thread
/// that wants it; whether there were any.
fn look(poller: &mut Poller) -> Result<bool, Error> {
    let until = Instant::now() + SPIN;
    loop {
        let found = poller.wait(Some(Duration::ZERO))?;
        if found || Instant::now() > until {
            return Ok(found);
        }
        std::thread::yield_now();
    }
}

impl Core {
    fn process(&mut self, poller: &Poller) {
        let now = self.clock.now();
        self.links.take_events(poller, &mut self.hub, now);
        while let Some(id) = self.links.next_unread() {
            self.links.read(id, &mut self.hub, now);
            self.perform();
        }
        if self.hub.deadline().is_some_and(|at| now.at >= at) {
            self.hub.tick(now);
        }
        self.perform();
        while self.links.flush(&mut self.hub, now) {
            self.perform();
        }
    }

    fn perform(&mut self) {
        while let Some(output) = self.hub.poll() {
            match output {
                Output::Writable(id) => self.links.mark_writable(id),
                Output::Close(id, last) => self.links.close(id, &last),
                Output::Hold(id) => self.links.hold(id, true),
                Output::Resume(id) => self.links.hold(id, false),
                #[cfg(feature = "compat")]
                Output::Finish(id) => self.links.finish(id),
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if self.links.has_unread() {
            return Some(Duration::ZERO);
        }
        let deadlines = [self.hub.deadline(), self.links.retry_at()];
        let next = deadlines.into_iter().flatten().min()?;
        let left = next - self.clock.now().at;
        // The kernel counts in milliseconds; a wait cut short would spin through the last one.
        Some(left + Duration::from_micros(999))
    }

    fn stop(&mut self) {
        self.hub.stop(self.clock.now());
        self.perform();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, FrameType, encode};
    use crate::wire::relay::ToRelay;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    /// Panics when it is asked for a route, as a bug in the hub might.
    struct Broken;

    impl Entropy for Broken {
        fn fill(&mut self, _: &mut [u8]) {
            panic!("injected by a test");
        }
    }

    #[test]
    fn a_panic_in_the_hub_closes_every_link_and_is_said_to_who_waits() {
        let local = "127.0.0.1:0".parse().unwrap();
        let relay = RelayServer::builder()
            .start_with(local, Box::new(Broken))
            .unwrap();
        let connect = || {
            let link = TcpStream::connect(relay.address()).unwrap();
            let patience = Some(Duration::from_secs(20));
            link.set_read_timeout(patience).unwrap();
            link
        };
        let (mut other, mut joins) = (connect(), connect());
        let mut word = Vec::new();
        ToRelay::Join([7; 32]).encode(&mut word);
        let mut bytes = Vec::new();
        let join = Frame {
            net: "plant",
            kind: FrameType::REGISTER,
            payload: &word,
        };
        encode(&join, &mut bytes);
        joins.write_all(&bytes).unwrap();
        for link in [&mut other, &mut joins] {
            // Closed or reset, but not silent.
            match link.read(&mut [0; 64]) {
                Ok(n) => assert_eq!(n, 0),
                Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset),
            }
        }
        assert_eq!(relay.wait(), Err(PANICKED));
        assert_eq!(relay.wait(), Err(PANICKED), "to whoever waits");
        assert!(TcpStream::connect(relay.address()).is_err());
        assert_eq!(relay.stats().members, 0);
    }

    #[test]
    fn descriptors_are_kept_in_reserve() {
        assert_eq!(links_within(1_024, 10), 1_024 - 10 - RESERVE);
        assert_eq!(links_within(128, 8), 128 - 8 - 32);
        assert_eq!(links_within(4, 8), 1);
    }
}
