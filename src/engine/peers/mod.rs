//! The peers: which there are, where, and how they are found.
//!
//! ```text
//! peer: known (an advert, or a peer's word) --> reachable (a session is open) --> known --> gone
//! ```
//!
//! The parts: `advertiser` says that we are there; `presence` opens the adverts of others;
//! `directory` is the table of peers; `dialler` bounds dials; `mesh` finds peers without
//! advertising. In the directory each entry is a `peer`; `heard` is what adverts change there,
//! `hearsay` what other peers tell, `sessions` what sessions do, and `dialling` when a peer is to
//! be dialled, and how.

mod advertiser;
mod dialler;
mod dialling;
mod directory;
mod heard;
mod hearsay;
mod mesh;
mod peer;
mod presence;
mod sessions;

pub(crate) use advertiser::{Advertiser, BURST_GAP};
pub(crate) use dialler::Dialler;
pub(crate) use dialling::{COMPARE, SLOT_WAIT};
pub(crate) use directory::Directory;
pub use directory::{Path, PeerInfo, Ping};
pub(crate) use heard::{Farewell, Leaver, News, Origin, place_of};
pub(crate) use mesh::Mesh;
pub(crate) use peer::Peer;
pub(crate) use presence::Presence;
pub(crate) use sessions::{Admission, Made, Standing};

use super::context::Ctx;
use super::{CallNumber, Event, LinkId, Output, Phase, Time};
