//! The peers: which there are, where, and how they are found.
//!
//! ```text
//! peer: known (an advert, or a peer's word) --> reachable (a session is open) --> known --> gone
//! ```
//!
//! The parts: `advertiser` says that we are there; `presence` bounds which adverts of others are
//! opened, and `strangers` tells of those that do not open; `name_claims` bounds which claims to
//! our name are looked into; `directory` is the table of peers, and plans the dials; `dialler`
//! bounds dials; `mesh` finds peers without advertising.

mod advertiser;
mod dialler;
mod directory;
mod mesh;
mod name_claims;
mod presence;
mod strangers;

pub(crate) use advertiser::{Advertiser, BURST_GAP};
pub(crate) use dialler::Dialler;
pub(crate) use directory::{
    Admission, COMPARE, Directory, Due, Goodbye, Leaver, Made, NewSession, News, Origin, Peer,
    SLOT_WAIT, Standing, place_of,
};
pub(crate) use mesh::Mesh;
pub(crate) use name_claims::NameClaims;
pub(crate) use presence::Presence;
pub(crate) use strangers::Strangers;

use super::context::Ctx;
use super::{CallNumber, Event, LinkId, Output, Path, PeerInfo, Phase, Time};
