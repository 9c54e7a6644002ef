//! Nodes on loopback with real sockets and threads.

mod calls;
#[path = "../common/mod.rs"]
mod common;
mod fan_out;
mod handlers;
mod identities;
mod loops;
mod rules;
mod starting;
mod trust;
