//! What every part of the engine works with: the time, the configuration, chance, and where outputs
//! and counts go.

use super::{Config, Output};
use crate::entropy::Entropy;
use crate::protocol::Now;
use std::collections::VecDeque;

/// What the engine keeps for all of its parts, none of which owns it.
pub(super) struct Core {
    pub(super) config: Config,
    pub(super) entropy: Box<dyn Entropy>,
    /// What the driver has not taken yet.
    pub(super) outputs: VecDeque<Output>,
    /// Requests and adverts that were turned away.
    pub(super) refused: u64,
    /// Where tokens are opened.
    opened: Vec<u8>,
}

impl Core {
    pub(super) fn new(config: Config, entropy: Box<dyn Entropy>) -> Core {
        Core {
            config,
            entropy,
            outputs: VecDeque::new(),
            refused: 0,
            opened: Vec::new(),
        }
    }

    /// What a part is handed with each call.
    #[inline]
    pub(super) fn at(&mut self, now: Now) -> Ctx<'_> {
        Ctx {
            now,
            config: &self.config,
            entropy: &mut *self.entropy,
            outputs: &mut self.outputs,
            refused: &mut self.refused,
            opened: &mut self.opened,
        }
    }
}

/// What a part is handed with each call: no other part.
pub(super) struct Ctx<'a> {
    pub(super) now: Now,
    pub(super) config: &'a Config,
    pub(super) entropy: &'a mut dyn Entropy,
    pub(super) outputs: &'a mut VecDeque<Output>,
    /// Requests and adverts that were turned away.
    pub(super) refused: &'a mut u64,
    /// Where a token may be opened.
    pub(super) opened: &'a mut Vec<u8>,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::entropy::Counting;
    use crate::fernet::{Key, Keyring};
    use crate::limits::Limits;
    use crate::name::{NetworkName, NodeName};
    use crate::protocol::Time;
    use crate::rules::Rules;
    use std::time::Duration;

    pub(in super::super) fn name(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    /// What a part of the node `alpha` is tested with.
    pub(in super::super) fn core(limits: Limits) -> Core {
        let config = Config {
            network: NetworkName::new("plant").unwrap(),
            name: name("alpha"),
            keys: Keyring::new(vec![Key::from_bytes([7; 32])]).unwrap(),
            port: 1_000,
            address: None,
            loopback: false,
            relays: Vec::new(),
            max_remotes: 3,
            tick: Duration::from_millis(250),
            limits,
            rules: Rules::default(),
        };
        Core::new(config, Box::new(Counting(0)))
    }

    /// So many milliseconds after the start.
    pub(in super::super) fn at(ms: u64) -> Now {
        Now {
            at: Time(Duration::from_millis(ms)),
            unix: 1_700_000_000 + ms / 1_000,
        }
    }

    #[test]
    fn what_parts_put_out_and_count_is_kept_for_the_engine() {
        let mut core = core(Limits::default());
        let ctx = core.at(at(1));
        ctx.outputs.push_back(Output::Advertise);
        *ctx.refused += 1;
        assert!(matches!(core.outputs.pop_front(), Some(Output::Advertise)));
        assert_eq!(core.refused, 1);
    }
}
