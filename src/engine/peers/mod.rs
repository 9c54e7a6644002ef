//! The peers: which there are, where, and how they are found.
//!
//! ```text
//! peer: known (an advert, or a peer's word) --> reachable (a session is open) --> known --> gone
//! ```
//!
//! `advertiser` says that we are there. `presence` takes in the adverts of others, `directory` is
//! the table of peers, each of which is a `peer`; `sessions` is what a session changes there,
//! `dialling` when a peer is to be dialled, and how. `mesh` finds peers without advertising.

mod advertiser;
mod dialling;
mod directory;
mod mesh;
mod peer;
mod presence;
mod sessions;

pub(crate) use advertiser::{Advertiser, BURST_GAP};
pub(crate) use dialling::{COMPARE, Dialler, SLOT_WAIT};
pub(crate) use directory::Directory;
pub use directory::{Path, PeerInfo, Ping};
pub(crate) use mesh::Mesh;
pub(crate) use peer::Peer;
pub(crate) use presence::{Farewell, Leaver, News, Origin, Presence, place_of};
pub(crate) use sessions::{Admission, Made, Standing};

use super::context::Ctx;
use super::{CallNumber, Event, LinkId, Output, Phase, Time};
