//! What every part of the engine works with: the time, who this node is, chance, and where outputs
//! and counts go.

use super::{Config, Event, Output, Stats};
use crate::entropy::Entropy;
use crate::protocol::Now;
use crate::wire::Instance;
use crate::wire::advert::Advert;
use std::collections::VecDeque;

/// What the engine keeps for all of its parts, none of which owns it.
pub(super) struct Core {
    pub(super) config: Config,
    /// This start of the node.
    pub(super) instance: Instance,
    pub(super) entropy: Box<dyn Entropy>,
    /// What the driver has not taken yet.
    pub(super) outputs: VecDeque<Output>,
    pub(super) stats: Stats,
}

impl Core {
    /// What a part is handed with each call.
    #[inline]
    pub(super) fn at(&mut self, now: Now) -> Ctx<'_> {
        Ctx {
            now,
            config: &self.config,
            instance: self.instance,
            entropy: &mut *self.entropy,
            outputs: &mut self.outputs,
            stats: &mut self.stats,
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

/// What a part is handed with each call: no other part.
pub(super) struct Ctx<'a> {
    pub(super) now: Now,
    pub(super) config: &'a Config,
    /// This start of the node.
    pub(super) instance: Instance,
    pub(super) entropy: &'a mut dyn Entropy,
    /// What the driver has to do.
    pub(super) outputs: &'a mut VecDeque<Output>,
    pub(super) stats: &'a mut Stats,
}

impl Ctx<'_> {
    /// Opens a sealed advert, wherever it came from. `opened` is where its plaintext goes.
    pub(super) fn open_advert(&mut self, token: &[u8], opened: &mut Vec<u8>) -> Option<Advert> {
        let Ok((plain, _)) = self.config.keys.open(token, opened) else {
            self.stats.adverts_refused += 1;
            return None;
        };
        let advert = Advert::decode(plain).ok();
        self.stats.adverts_malformed += u64::from(advert.is_none());
        advert
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}
