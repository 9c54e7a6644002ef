//! What tests of one part need: a [`Core`] without an engine around it.

use super::context::Core;
use super::{Config, Stats};
use crate::entropy::OsEntropy;
use crate::fernet::{Key, Keyring};
use crate::limits::Limits;
use crate::name::{NetworkName, NodeName};
use crate::wire::Instance;
use std::collections::VecDeque;
use std::time::Duration;

/// The core of a node named `a`, whose instance is 1 throughout.
pub(super) fn core() -> Core {
    Core {
        config: Config {
            network: NetworkName::new("n").unwrap(),
            name: NodeName::new("a").unwrap(),
            keys: Keyring::from(Key::from_bytes([1; 32])),
            port: 7,
            address: None,
            interval: Duration::from_secs(1),
            lan: false,
            relays: Vec::new(),
            max_remotes: 0,
            relay_keepalive: Duration::from_secs(10),
            limits: Limits::default(),
        },
        instance: Instance([1; 16]),
        entropy: Box::new(OsEntropy::new().unwrap()),
        outputs: VecDeque::new(),
        stats: Stats::default(),
    }
}
