//! Calls: those of this node, those of its peers, and messages for every node, which travel as
//! calls.
//!
//! [`outgoing`] are the calls that this node makes, [`incoming`] those that its peers make. [`ask`]
//! is what a call asks for, and [`said`] a message for every node with its signature.
//! [`broadcast`] hands such messages on, and [`compat`] knows the peers that speak the protocol of
//! PeerBase 0.7.1. None of them knows another: `commands` hands what one returns to the next.

pub(super) mod ask;
pub(super) mod broadcast;
pub(super) mod compat;
pub(super) mod incoming;
pub(super) mod outgoing;
pub(super) mod signed_broadcast;
