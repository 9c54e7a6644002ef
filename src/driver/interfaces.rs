//! Where broadcasts go: every interface that is up and has a broadcast address, and the loopback.

use super::Settings;
use crate::protocol::Time;
use if_addrs::{IfAddr, get_if_addrs};
use std::net::Ipv4Addr;
use std::time::Duration;

/// The loopback's own broadcast address: nodes of one host meet here, also when nothing else is up.
pub(super) const LOOPBACK_BROADCAST: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 255);

#[derive(Debug)]
pub(super) struct Interfaces {
    /// Whether they are read at all.
    fixed: bool,
    every: Duration,
    next: Time,
    targets: Vec<Ipv4Addr>,
}

impl Interfaces {
    pub(super) fn new(settings: &Settings, every: Duration) -> Interfaces {
        let mut interfaces = Interfaces {
            fixed: settings.loopback || !settings.lan,
            every,
            next: Time::default(),
            targets: vec![LOOPBACK_BROADCAST],
        };
        interfaces.refresh(Time::default());
        interfaces
    }

    pub(super) fn targets(&self) -> &[Ipv4Addr] {
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
        let mut targets = vec![LOOPBACK_BROADCAST];
        match get_if_addrs() {
            Ok(list) => {
                for interface in list {
                    if let IfAddr::V4(v4) = interface.addr
                        && let Some(broadcast) = v4.broadcast
                        && !v4.ip.is_loopback()
                        && !targets.contains(&broadcast)
                    {
                        targets.push(broadcast);
                    }
                }
            }
            // Out of descriptors, say: what was there before may still be.
            Err(e) => {
                log::debug!("reading the interfaces: {e}");
                return false;
            }
        }
        let news = targets.iter().any(|t| !self.targets.contains(t));
        self.targets = targets;
        news
    }
}
