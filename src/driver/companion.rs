//! A second protocol on the same loop, as the loop sees it.
//!
//! A companion has an engine and sockets of its own, on the poller's second lane. The driver gives it a turn
//! wherever the native engine has one, and lends it that engine: what a companion learns goes to the native
//! engine, and what the native engine asks of the companion's peers comes back through
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

/// What opens a companion's sockets, on its lane of the poller. Nothing is said before the node's name is its own.
pub(crate) type OpenCompanion<'a> = dyn FnOnce(&Settings, &Config, Registry, Lane, Arc<Waker>) -> Result<Box<dyn Companion>, Error>
    + 'a;

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
