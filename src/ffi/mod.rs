//! The C interface: one file per C object, and no logic of its own.
//!
//! What C must know of each function stands in its comment, which `cbindgen` carries into
//! `include/peerbase.h`: what it does, what may be NULL, who owns what, which thread may call it,
//! and what it returns.
//!
//! Every function that can fail goes through `error::guard`: no panic crosses into C, and the
//! reason of a failure is kept for `peerbase_last_error`. Pointers are turned into references by
//! the helpers of `handle`, and by nothing else.
#![allow(unsafe_code)] // the one module that may; see [lints] in Cargo.toml
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
