//! A second protocol on the same loop, as the loop sees it.
//!
//! A companion has an engine and sockets of its own, on the poller's second lane. The driver gives
//! it a turn wherever the native engine has one, and lends it that engine: what a companion learns
//! goes to the native engine, and what the native engine asks of the companion's peers comes back
//! through
//! [`Companion::take`]. The driver knows nothing else of it.

use super::Settings;
use super::interfaces::Interfaces;
use super::poller::{Lane, Poller};
use crate::engine::{Config, Engine, Output, Stats};
use crate::error::Error;
use crate::protocol::{Now, Time};
use mio::{Registry, Waker};
use std::fmt;
use std::sync::Arc;

/// What opens a companion's sockets, on its lane of the poller. Nothing is said before the node's
/// name is its own.
pub(crate) type OpenCompanion<'a> =
    dyn FnOnce(&Settings, &Config, Registry, Lane, Arc<Waker>) -> OpenedCompanion + 'a;

/// The companion, or why its sockets cannot be opened.
pub(crate) type OpenedCompanion = Result<Box<dyn Companion>, Error>;

/// See the module's documentation.
pub(crate) trait Companion: fmt::Debug + Send {
    /// Does what one of the native engine's outputs asks of the companion.
    fn take(&mut self, native: &mut Engine, interfaces: &Interfaces, now: Now, output: Output);

    /// The name is the node's own: from now on the companion takes part.
    fn start(&mut self, native: &mut Engine, interfaces: &Interfaces, now: Now);

    /// Takes in what the poller found, and the time.
    fn process(&mut self, native: &mut Engine, poller: &Poller, interfaces: &Interfaces, now: Now);

    /// Writes what waits for links, as far as they take it; whether something came of it.
    fn flush(&mut self, native: &mut Engine, interfaces: &Interfaces, now: Now) -> bool;

    /// The node begins to stop: nothing new is fetched, and what was answered is still written.
    fn begin_stop(&mut self, native: &mut Engine, interfaces: &Interfaces, now: Now);

    /// Ends everything.
    fn stop(&mut self, native: &mut Engine, interfaces: &Interfaces, now: Now);

    /// Whether all that was answered has been written.
    fn is_flushed(&self) -> bool;

    /// When the companion must be given a turn at the latest, if no event comes.
    fn deadline(&self) -> Option<Time>;

    /// Whether input was left for the next round.
    fn has_unread(&self) -> bool;

    /// Adds what the companion has counted so far.
    fn count(&self, stats: &mut Stats);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{Driver, Notice};
    use crate::fernet::{Key, Keyring};
    use crate::identity::Identity;
    use crate::limits::Limits;
    use crate::name::{NetworkName, NodeName};
    use crate::rules::Rules;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    /// What a companion was asked to do, how often.
    #[derive(Debug, Default)]
    struct Turns {
        started: AtomicU64,
        processed: AtomicU64,
        flushed: AtomicU64,
        stopping: AtomicU64,
        stopped: AtomicU64,
    }

    fn count(turns: &AtomicU64) {
        turns.fetch_add(1, Ordering::Relaxed);
    }

    /// A companion that counts its turns and has an answer to write until it is stopped.
    #[derive(Debug)]
    struct Counting(Arc<Turns>);

    impl Companion for Counting {
        fn take(&mut self, _: &mut Engine, _: &Interfaces, _: Now, output: Output) {
            panic!("nothing was asked of its peers: {output:?}");
        }

        fn start(&mut self, _: &mut Engine, _: &Interfaces, _: Now) {
            count(&self.0.started);
        }

        fn process(&mut self, _: &mut Engine, _: &Poller, _: &Interfaces, _: Now) {
            count(&self.0.processed);
        }

        fn flush(&mut self, _: &mut Engine, _: &Interfaces, _: Now) -> bool {
            count(&self.0.flushed);
            false
        }

        fn begin_stop(&mut self, _: &mut Engine, _: &Interfaces, _: Now) {
            count(&self.0.stopping);
        }

        fn stop(&mut self, _: &mut Engine, _: &Interfaces, _: Now) {
            count(&self.0.stopped);
        }

        fn is_flushed(&self) -> bool {
            self.0.stopped.load(Ordering::Relaxed) > 0
        }

        fn deadline(&self) -> Option<Time> {
            Some(Time::default())
        }

        fn has_unread(&self) -> bool {
            false
        }

        fn count(&self, stats: &mut Stats) {
            stats.compat_refused = 7;
        }
    }

    fn config(port: u16) -> Config {
        Config {
            network: NetworkName::new("test").unwrap(),
            name: NodeName::new("a").unwrap(),
            keys: Keyring::new(vec![Key::from_bytes([7; 32])]).unwrap(),
            identity: Identity::from_seed([7; 32]),
            keeps_identity: false,
            mode: Default::default(),
            port,
            address: None,
            interval: Duration::from_secs(1),
            lan: false,
            relays: Vec::new(),
            max_remotes: 0,
            relay_keepalive: Duration::from_secs(10),
            limits: Limits::default(),
            rules: Rules::default(),
        }
    }

    #[test]
    fn a_companion_has_a_turn_wherever_the_engine_has_one() {
        let settings = Settings {
            listen: None,
            lan: false,
            advertised: false,
            advertise_port: 1,
            loopback: true,
        };
        let turns = Arc::new(Turns::default());
        let companion = Counting(turns.clone());
        let open = move |_: &Settings, _: &Config, _, lane, _| -> OpenedCompanion {
            assert_ne!(lane, Lane::NATIVE);
            Ok(Box::new(companion))
        };
        let (mut driver, mut poller, _waker) =
            Driver::open(&settings, config, Some(Box::new(open))).unwrap();
        let began = Instant::now();
        let mut runs = false;
        while !runs {
            assert!(began.elapsed() < Duration::from_secs(60), "it never runs");
            assert_eq!(
                turns.started.load(Ordering::Relaxed),
                0,
                "not before the name is ours"
            );
            poller.wait(Some(Duration::from_millis(10))).unwrap();
            let now = driver.now();
            let mut notice = |notice| runs |= matches!(notice, Notice::Running);
            driver.process(now, &poller, &mut notice);
        }
        assert_eq!(
            driver.protocol_deadline(),
            Some(Time::default()),
            "the sooner"
        );
        assert_eq!(driver.stats().compat_refused, 7);
        driver.begin_stop(driver.now());
        assert!(!driver.is_flushed());
        driver.stop(driver.now());
        assert!(driver.is_flushed());
        let [started, processed, flushed, stopping, stopped] = [
            &turns.started,
            &turns.processed,
            &turns.flushed,
            &turns.stopping,
            &turns.stopped,
        ]
        .map(|n| n.load(Ordering::Relaxed));
        assert_eq!((started, stopping, stopped), (1, 1, 1));
        assert!(processed > 0 && flushed >= processed);
        driver.abandon();
        assert_eq!(
            Arc::strong_count(&turns),
            1,
            "it is dropped with the sockets"
        );
    }
}
