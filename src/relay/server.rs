//! A relay on the event loop: the hub's sockets, on a thread of its own.

use super::hub::{Config, Hub, Output, RelayStats};
use crate::driver::{Clock, Lane, Links, Poller};
use crate::entropy::OsEntropy;
use crate::error::Error;
use crate::limits::RelayLimits;
use crate::name::NetworkName;
use crate::signals;
use crate::wire::membership::RelayKey;
use mio::Waker;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A relay to be.
///
/// ```
/// use peerbase::RelayServer;
///
/// let relay = RelayServer::builder().network("plant", None).start("127.0.0.1:0".parse().unwrap())?;
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
    /// Serves this network, besides those named before; any network unless one is named. With a key,
    /// members prove that they have the network's key; without, whoever knows the name may join, and
    /// can still read nothing.
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

    /// Whether to serve Python nodes, too: takes the place of the `relay.py` of PeerBase 0.7.1 at the same
    /// address, in networks that have no relay key. Not unless asked for. Their names it sees in clear, and
    /// holds what they are sent until they ask for it; open it cannot. They are reached by nodes that speak
    /// their protocol (`Builder::compat`), not by others.
    #[cfg(feature = "compat")]
    #[must_use]
    pub fn compat(mut self, on: bool) -> Self {
        self.compat = on;
        self
    }

    /// Listens at `address`, on a thread named `peerbase-relay`. Fails if a network's name breaks a rule
    /// or is given twice, or if the address cannot be had.
    pub fn start(self, address: SocketAddr) -> Result<RelayServer, Error> {
        let mut networks: Vec<(NetworkName, Option<RelayKey>)> = Vec::new();
        for (name, key) in self.networks {
            let name = name?;
            if networks.iter().any(|(n, _)| *n == name) {
                return Err(Error::Network("is given twice"));
            }
            networks.push((name, key));
        }
        let (poller, waker, registry) = Poller::open()?;
        let mut links = Links::new(registry, Lane::NATIVE);
        let address = links.listen(&[address])?;
        let config = Config {
            networks,
            limits: self.limits,
            #[cfg(feature = "compat")]
            compat: self.compat,
        };
        let shared = Arc::new(Shared {
            core: Mutex::new(Core {
                hub: Hub::new(config, Box::new(OsEntropy::new()?)),
                links,
                clock: Clock::start(),
                stopped: false,
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
    links: Links,
    clock: Clock,
    stopped: bool,
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

    /// Waits until the relay has been stopped, or its event loop has failed.
    pub fn wait(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if thread.is_some_and(|t| t.join().is_err()) {
            log::error!("the relay's thread panicked");
        }
    }
}

impl Drop for RelayServer {
    fn drop(&mut self) {
        self.stop();
        self.wait();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.lock().stopped = true;
        if let Err(e) = self.waker.wake() {
            log::error!("waking the relay: {e}");
        }
    }

    fn run(&self, mut poller: Poller) {
        let mut timeout = None;
        let mut looking = Looking::default();
        loop {
            if let Err(e) = looking.wait(&mut poller, timeout) {
                log::error!("the relay's event loop: {e}");
                return;
            }
            let mut core = self.lock();
            if core.stopped {
                return core.stop();
            }
            core.process(&poller);
            timeout = core.timeout();
        }
    }
}

/// How long to look for the next event before sleeping: about what being woken costs. What is carried
/// is often answered by then, and both ways wait for the relay.
const LOOK: Duration = Duration::from_micros(60);
/// After looking in vain ever longer pauses, up to 2 to the power of this many waits: between far networks,
/// or with nobody there, looking would only burn.
const MISSES_MAX: u32 = 10;

/// Whether to look before sleeping, as long as that is found to pay.
#[derive(Default)]
struct Looking {
    /// Times in a row that looking was in vain.
    misses: u32,
    /// Waits to let pass before looking again.
    skip: u32,
}

impl Looking {
    fn wait(&mut self, poller: &mut Poller, timeout: Option<Duration>) -> Result<(), Error> {
        if self.skip > 0 || timeout == Some(Duration::ZERO) {
            self.skip = self.skip.saturating_sub(1);
        } else if poller.look(LOOK)? {
            self.misses = 0;
            return Ok(());
        } else {
            self.misses = (self.misses + 1).min(MISSES_MAX);
            self.skip = 1 << self.misses;
        }
        poller.wait(timeout)
    }
}

impl Core {
    fn process(&mut self, poller: &Poller) {
        let now = self.clock.now();
        self.links.take(poller, &mut self.hub, now);
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
