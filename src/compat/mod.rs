//! The protocol of PeerBase 0.7.1, spoken with unmodified Python nodes and relays.
//!
//! Off unless asked for ([`Builder::compat`](crate::Builder::compat)), because compat cannot give
//! what a native network has:
//!
//! * Names, networks and addresses are in clear, on the LAN and at relays, and no node proves its
//!   own: any program on the LAN can advertise any name, any that reaches a relay can take any
//!   mailbox. Both see no more than sealed calls and answers.
//! * A program that recorded a call can have it run again; one that recorded an answer can give it
//!   to another call. Make commands that Python nodes may call harmless when repeated.
//! * Through a relay a Python node repeats a call that failed, or whose value is null, for as long
//!   as the peer is there. Nothing tells that from new calls.
//! * A call that was lost after it was sent may or may not have run. It is not sent again.
//! * No streams, files, messages or broadcasts; all of a call is held in memory at each end.
//! * A relay is polled, so through one every step takes a Python node up to its `keepalive_tick`.
//!
//! It does not weaken the native protocol beside it: a name that was ever met natively is called
//! natively only, and nothing that is known through compat counts as reachable.
//!
//! `http` is how far HTTP is spoken, `advert` the datagram, `message` what is sealed, `post` what
//! nodes and relays say to each other, `status` how the end of a call is told, and `python_text`
//! what a Python node would print; `engine` is a node's part, `mailbox` a relay's. None of them
//! does IO.

pub mod advert;
pub mod engine;
mod fields;
pub mod http;
#[cfg(feature = "relay-server")]
pub(crate) mod mailbox;
pub mod message;
pub mod post;
mod python_text;
mod status;
