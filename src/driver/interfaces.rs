//! Where broadcasts go: every interface that is up and has a broadcast address, and the loopback.

use super::Settings;
use crate::logging::record;
use crate::protocol::Time;
use if_addrs::{IfAddr, get_if_addrs};
use std::net::Ipv4Addr;
use std::time::Duration;

/// The loopback's own broadcast address: nodes of one host meet here, also when nothing else is up.
pub(super) const LOOPBACK_BROADCAST: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 255);

#[derive(Debug)]
pub(crate) struct Interfaces {
    /// Whether they are read at all.
    fixed: bool,
    every: Duration,
    next: Time,
    targets: Vec<Target>,
}

/// An interface's own address, and the one that all on its network hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// A companion's adverts may say where they come from.
    pub(crate) own: Ipv4Addr,
    pub(crate) broadcast: Ipv4Addr,
}

const LOOPBACK: Target = Target {
    own: Ipv4Addr::LOCALHOST,
    broadcast: LOOPBACK_BROADCAST,
};

impl Interfaces {
    pub(super) fn new(settings: &Settings, every: Duration) -> Interfaces {
        let mut interfaces = Interfaces {
            fixed: settings.loopback || !settings.lan,
            every,
            next: Time::default(),
            targets: vec![LOOPBACK],
        };
        interfaces.refresh(Time::default());
        interfaces
    }

    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }

    pub(super) fn due(&self) -> Option<Time> {
        (!self.fixed).then_some(self.next)
    }

    /// Reads the interfaces again if it is time; whether one has come that was not there.
    pub(super) fn refresh(&mut self, now: Time) -> bool {
        if self.fixed || now < self.next {
            return false;
        }
        self.next = now + self.every;
        let mut targets = vec![LOOPBACK];
        match get_if_addrs() {
            Ok(list) => {
                for interface in list {
                    if let IfAddr::V4(v4) = interface.addr
                        && let Some(broadcast) = v4.broadcast
                        && !v4.ip.is_loopback()
                        && !targets.iter().any(|t| t.broadcast == broadcast)
                    {
                        targets.push(Target {
                            own: v4.ip,
                            broadcast,
                        });
                    }
                }
            }
            // Out of descriptors, say: what was there before may still be.
            Err(e) => {
                record!(Debug, "reading the interfaces: {e}");
                return false;
            }
        }
        let news = targets.iter().any(|t| !self.targets.contains(t));
        self.targets = targets;
        news
    }
}
