//! What a stranger at a relay, a member of it gone bad, and a relay itself can try. The attacks are
//! sorted by what they are mounted on.

mod accidents;
mod floods;
mod forgeries;
mod keys;
mod limits;
pub(crate) mod raw;
mod stolen_adverts;
