//! What a stranger on the LAN, a listener that has recorded everything, and a member gone bad can
//! try. The attacks are sorted by what they are mounted on.

mod adverts;
mod answers;
mod bytes;
mod callers;
mod goodbyes;
mod handshakes;
pub(crate) mod member;
mod rules;
mod sessions;

pub(crate) use member::{FIRST, Member};
