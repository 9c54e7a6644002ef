//! The relays that this node knows. How a link to a relay speaks is in `links`.

mod known;

pub(crate) use known::{Lost, Relays};

use super::context::Ctx;
use super::{Config, Event, LinkId, RelayFault, Time};
