//! The relays that this node knows, and what can be wrong with one. How a link to a relay speaks is
//! in `links`.

mod fault;
mod known;

pub use fault::RelayFault;
pub(crate) use known::{Lost, Relays};

use super::context::Ctx;
use super::{Config, Event, LinkId, Time};
