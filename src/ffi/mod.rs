//! The C interface: one file for each C object.
//!
//! A function here turns its arguments into Rust values, calls the node, and turns the result into
//! what C reads: a code, a reply, or JSON. Little more happens in these files: an asynchronous call
//! to `"*"` becomes a call of every peer, a list of peers becomes JSON, and a write with a timeout
//! is repeated until the time is over.
//!
//! What a C programmer must know of a function stands in its comment, which `cbindgen` carries into
//! `include/peerbase.h`: what the function does, which pointers may be NULL, who owns what, which
//! threads may call it, and what it returns.
//!
//! Every function that can fail runs in `error::guard`, so no panic crosses into C, and the reason
//! of a failure is kept for `peerbase_last_error`. The helpers of `handle` turn pointers to
//! objects, strings and bytes into references. Tables (`peerbase_node_register_table`, the list of
//! targets of a call), the buffer of `peerbase_stream_read` and the text of a new key are read or
//! written where they are used.
#![allow(unsafe_code)] // besides `fork`, the one module that may; see [lints] in Cargo.toml
#![allow(non_camel_case_types)] // C's names

mod call;
#[cfg(feature = "compat")]
mod compat;
mod config;
mod error;
mod event;
#[cfg(feature = "files")]
mod file;
mod handle;
mod key;
mod log;
mod mesh;
mod node;
mod reply;
mod request;
mod stream;
mod trust;

pub use call::*;
#[cfg(feature = "compat")]
pub use compat::*;
pub use config::*;
pub use error::*;
pub use event::*;
#[cfg(feature = "files")]
pub use file::*;
pub use key::*;
pub use log::*;
pub use mesh::*;
pub use node::*;
pub use reply::*;
pub use request::*;
pub use stream::*;
pub use trust::*;
