//! What every part of the engine works with: the time, which node this is and how far it has come,
//! chance, and where outputs and counts go.

use super::{Config, Event, Keep, Output, Stats};
use crate::entropy::Entropy;
use crate::handshake::{Credentials, Own};
use crate::name::NodeName;
use crate::network_keys::NetworkKeys;
use crate::protocol::{Now, Time};
use crate::wire::Instance;
use crate::wire::advert::{Advert, MARK};
use std::collections::VecDeque;

/// How far this node has come. Only the engine sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Others are asked whether they have the name. It is looked at `until` this moment, and at the
    /// `last` one it is ours if nobody has said that it is taken.
    Probing {
        until: Time,
        last: Time,
    },
    Running,
    Stopped,
}

impl Phase {
    pub(super) fn is_probing(self) -> bool {
        matches!(self, Phase::Probing { .. })
    }
}

/// What this node proves itself with, and what it seals with.
#[derive(Debug)]
pub(super) struct Secrets {
    pub(super) keys: NetworkKeys,
    pub(super) credentials: Credentials,
}

/// What the engine keeps for all of its parts, none of which owns it.
pub(super) struct Core {
    pub(super) config: Config,
    pub(super) secrets: Secrets,
    /// This start of the node.
    pub(super) instance: Instance,
    pub(super) phase: Phase,
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
            secrets: &self.secrets,
            instance: self.instance,
            phase: self.phase,
            entropy: &mut *self.entropy,
            outputs: &mut self.outputs,
            stats: &mut self.stats,
        }
    }
}

/// What a part is handed with each call: no other part.
pub(super) struct Ctx<'a> {
    pub(super) now: Now,
    pub(super) config: &'a Config,
    pub(super) secrets: &'a Secrets,
    /// This start of the node.
    pub(super) instance: Instance,
    pub(super) phase: Phase,
    pub(super) entropy: &'a mut dyn Entropy,
    /// What the driver has to do.
    pub(super) outputs: &'a mut VecDeque<Output>,
    pub(super) stats: &'a mut Stats,
}

impl<'a> Ctx<'a> {
    /// What this node says of itself in a handshake.
    /// `list` is the version of the revocation list that it has.
    pub(super) fn own(&self, list: u64) -> Own<'a> {
        Own {
            network: &self.config.network,
            keys: &self.secrets.keys,
            credentials: &self.secrets.credentials,
            name: &self.config.name,
            port: self.config.port,
            probing: self.phase.is_probing(),
            list,
        }
    }

    /// Opens a sealed advert, wherever it came from. `opened` is where its plaintext goes.
    pub(super) fn open_advert<'o>(
        &mut self,
        payload: &[u8],
        opened: &'o mut Vec<u8>,
    ) -> Option<&'o [u8]> {
        let token = payload.strip_prefix(&[MARK]);
        let plain = token.and_then(|token| self.secrets.keys.adverts().open(token, opened).ok());
        self.stats.adverts_refused += u64::from(plain.is_none());
        plain.map(|(plain, _)| plain)
    }

    /// Reads an advert that was opened.
    pub(super) fn decode_advert(&mut self, plain: &[u8]) -> Option<Advert> {
        let advert = Advert::decode(plain).ok();
        self.stats.adverts_malformed += u64::from(advert.is_none());
        advert
    }

    /// Tells the program what it may want to know.
    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Has the driver keep something for the next start.
    pub(super) fn keep(&mut self, what: Keep) {
        self.outputs.push_back(Output::Keep(what));
    }

    /// Whether a name is that of this node.
    pub(super) fn is_own_name(&self, name: &NodeName) -> bool {
        *name == self.config.name
    }
}
