//! The relay: joins nodes on networks that cannot see each other, and cannot read what it carries.
//!
//! [`hub`] is the protocol without IO, `server` puts it on the event loop. A relay knows the names
//! of networks, a route for each link, drawn at random, and counts bytes. It holds its members'
//! adverts, which are sealed, and hands them on; it carries their handshakes and records, which are
//! sealed too. It has no key that opens any of them, keeps nothing across restarts, and logs
//! nothing.
//!
//! If it also serves Python nodes (`RelayBuilder::compat`), it knows these by name, and holds what
//! they are sent, sealed, until they ask for it.

pub mod hub;
mod server;

pub use server::{RelayBuilder, RelayServer};
