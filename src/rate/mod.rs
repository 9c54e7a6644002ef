//! Bounds on how often something happens, and on how many bytes go.

#[cfg(feature = "relay-server")]
mod bucket;
mod window;

#[cfg(feature = "relay-server")]
pub(crate) use bucket::{Allowance, Throttle};
pub(crate) use window::{Fair, Rate, Shares};
