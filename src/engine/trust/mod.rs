//! Trust: which nodes that hold the network key may go by the names that they say.
//!
//! In an open network a name is pinned to the first kept identity that is met under it (`pins`). In
//! a certified network an authority signs a certificate for each name, and a revocation list names
//! the certificates that count no more (`certified_network`); nodes hand the newest list on to each
//! other. `mode` defines the two modes.
//!
//! This part knows no links: it is told which sessions there are, and says which of them are to
//! end, to wait, or to be handed the list.

mod certified_network;
mod mode;
mod pins;
#[cfg(test)]
mod tests;

pub use mode::{Certified, Mode};

use super::context::Ctx;
use super::distrust::Distrust;
use super::event_throttle::EventThrottle;
use super::{Config, Event, Keep, LinkId};
use crate::authority::{Certificate, RevocationList};
use crate::error::Error;
use crate::handshake::Shown;
use crate::identity::PublicKey;
use crate::limits::{DISTRUSTED_MAX, REVOCATION_RECORD_MAX};
use crate::name::{NodeName, Role};
use crate::table::Table;
use certified_network::{CertifiedNetwork, Vouched};
use pins::{Pinned, Pins};
use std::sync::Arc;

#[derive(Debug)]
enum State {
    Open(Pins),
    Certified(Box<CertifiedNetwork>),
}

/// A member in a session.
#[derive(Debug)]
struct Member {
    vouched: Vouched,
    /// The version of the list that it has, as far as this node knows.
    has: u64,
    /// The version of which it was handed a part, and how many bytes that has.
    handed: (u64, usize),
    /// What has come of a list.
    coming: Vec<u8>,
}

/// A member sent something that is no piece of a list, or not the next one, or a list that no
/// authority has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadList;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Trust {
    state: State,
    /// Those in sessions, in a certified network.
    members: Table<LinkId, Box<Member>>,
    distrusted: [EventThrottle<(NodeName, PublicKey)>; Distrust::ALL.len()],
    distrusted_by: [EventThrottle<NodeName>; Distrust::ALL.len()],
    told_of_full: bool,
}

impl Trust {
    pub(crate) fn new(config: &Config) -> Trust {
        Trust {
            state: match &config.mode {
                Mode::Open { pins } => State::Open(Pins::new(pins)),
                Mode::Certified(known) => {
                    State::Certified(Box::new(CertifiedNetwork::new(&config.network, known)))
                }
            },
            members: Table::default(),
            distrusted: Default::default(),
            distrusted_by: Default::default(),
            told_of_full: false,
        }
    }

    /// The version of the revocation list that this node has; 0 if it has none.
    pub(crate) fn list_version(&self) -> u64 {
        match &self.state {
            State::Open(_) => 0,
            State::Certified(network) => network.version(),
        }
    }
}

/// Nodes that show who they are.
impl Trust {
    /// Whether a node may go by a name with what it shows. If not, the program is told.
    pub(crate) fn check(
        &mut self,
        ctx: &mut Ctx<'_>,
        name: &NodeName,
        key: &PublicKey,
        shown: &Shown,
    ) -> Result<(), Distrust> {
        self.judge(ctx, name, key, shown).map(|_| ())
    }

    /// A session was made with such a node. It is let in, and its name pinned, if it may go by it.
    pub(crate) fn admit(
        &mut self,
        ctx: &mut Ctx<'_>,
        link: LinkId,
        (name, key): (&NodeName, &PublicKey),
        (shown, is_probing): (&Shown, bool),
    ) -> Result<(), Distrust> {
        let vouched = self.judge(ctx, name, key, shown)?;
        if let Some(vouched) = vouched {
            let member = Member {
                vouched,
                has: shown.list,
                handed: (0, 0),
                coming: Vec::new(),
            };
            self.members.insert(link, Box::new(member));
        } else if shown.kept && !is_probing {
            self.pin(ctx, name, key);
        }
        Ok(())
    }

    /// The name of this node is its own from now on, and pinned like any other.
    pub(crate) fn pin_own(&mut self, ctx: &mut Ctx<'_>) {
        if ctx.config.keeps_identity {
            let (name, key) = (&ctx.config.name, ctx.secrets.credentials.key());
            self.pin(ctx, name, key);
        }
    }

    fn judge(
        &mut self,
        ctx: &mut Ctx<'_>,
        name: &NodeName,
        key: &PublicKey,
        shown: &Shown,
    ) -> Result<Option<Vouched>, Distrust> {
        let judged = match &self.state {
            State::Open(pins) if pins.allow(name, key) => Ok(None),
            State::Open(_) => Err(Distrust::OtherKey),
            State::Certified(network) => network.judge(name, key, shown).map(Some),
        };
        judged.inspect_err(|why| {
            ctx.stats.distrusted += 1;
            let told = &mut self.distrusted[*why as usize];
            if told.is_news(ctx.now.at, (name.clone(), *key), DISTRUSTED_MAX) {
                let (peer, key, why) = (name.clone(), *key, *why);
                ctx.event(Event::Distrusted { peer, key, why });
            }
        })
    }

    /// Another node does not trust this one.
    pub(crate) fn distrusted_by(&mut self, ctx: &mut Ctx<'_>, peer: &NodeName, why: Distrust) {
        let told = &mut self.distrusted_by[why as usize];
        if told.is_news(ctx.now.at, peer.clone(), DISTRUSTED_MAX) {
            let peer = peer.clone();
            ctx.event(Event::DistrustedBy { peer, why });
        }
    }
}

/// Pins.
impl Trust {
    fn pin(&mut self, ctx: &mut Ctx<'_>, name: &NodeName, key: &PublicKey) {
        let State::Open(pins) = &mut self.state else {
            return;
        };
        // Another key was refused before this.
        if !pins.allow(name, key) {
            return;
        }
        match pins.set(name, key) {
            Pinned::Before => {}
            Pinned::Now => ctx.keep(Keep::Pin(name.clone(), *key)),
            Pinned::Full => {
                if !std::mem::replace(&mut self.told_of_full, true) {
                    ctx.event(Event::PinsFull);
                }
            }
        }
    }

    /// From now on a name belongs to this key, whatever it was pinned to.
    pub(crate) fn accept(
        &mut self,
        ctx: &mut Ctx<'_>,
        name: &NodeName,
        key: &PublicKey,
    ) -> Result<(), Error> {
        let State::Open(pins) = &mut self.state else {
            return Err(Error::Argument(
                "in a certified network the authority says which key a name has",
            ));
        };
        match pins.set(name, key) {
            Pinned::Before => {}
            Pinned::Now => ctx.keep(Keep::Pin(name.clone(), *key)),
            Pinned::Full => return Err(Error::Overloaded("too many pinned names")),
        }
        Ok(())
    }

    /// The names that are pinned, and their keys.
    pub(crate) fn pins(&self) -> Vec<(NodeName, PublicKey)> {
        match &self.state {
            State::Open(pins) => pins.iter().map(|(n, k)| (n.clone(), *k)).collect(),
            State::Certified(_) => Vec::new(),
        }
    }
}

/// Members in sessions.
impl Trust {
    /// Every session has ended.
    pub(crate) fn forget_sessions(&mut self) {
        self.members = Table::default();
    }

    /// A session has ended.
    pub(crate) fn session_ended(&mut self, link: LinkId) {
        self.members.remove(&link);
    }

    /// The roles of the member in a session; none in an open network.
    pub(crate) fn roles(&self, link: LinkId) -> Arc<[Role]> {
        let member = self.members.get(&link);
        member.map_or_else(Arc::default, |member| member.vouched.roles.clone())
    }

    /// Whether a member has to hand this node a list before anything else.
    pub(crate) fn waits_for_list(&self, link: LinkId) -> bool {
        let member = self.members.get(&link);
        member.is_some_and(|member| member.vouched.needs > self.list_version())
    }

    /// The list that the member in a session is to be handed, if it has none that is as new, and
    /// how many bytes of it the member was handed already.
    pub(crate) fn list_for(&self, link: LinkId) -> Option<(Arc<[u8]>, usize)> {
        let State::Certified(network) = &self.state else {
            return None;
        };
        let member = self.members.get(&link)?;
        if network.version() <= member.has {
            return None;
        }
        let handed = match member.handed {
            (version, handed) if version == network.version() => handed,
            // A newer one begins anew.
            _ => 0,
        };
        Some((network.list().clone(), handed))
    }

    /// The member in a session was handed so many bytes of the newest list.
    pub(crate) fn list_handed(&mut self, link: LinkId, handed: usize) {
        let State::Certified(network) = &self.state else {
            return;
        };
        if let Some(member) = self.members.get_mut(&link) {
            member.handed = (network.version(), handed);
            if handed >= network.list().len() {
                member.has = network.version();
            }
        }
    }

    /// The sessions of members, in which the newest list may have to be handed on.
    pub(crate) fn sessions(&self) -> Vec<LinkId> {
        self.members.iter().map(|(link, _)| *link).collect()
    }

    /// The sessions of members that were revoked.
    pub(crate) fn revoked(&self) -> Vec<LinkId> {
        let State::Certified(network) = &self.state else {
            return Vec::new();
        };
        let revoked = self
            .members
            .iter()
            .filter(|(_, member)| network.is_revoked(&member.vouched.certificate));
        revoked.map(|(link, _)| *link).collect()
    }
}

/// The certificate of this node.
impl Trust {
    /// This node shows another certificate from now on, which must be that of its name and `key`.
    pub(crate) fn set_certificate(
        &mut self,
        ctx: &Ctx<'_>,
        key: &PublicKey,
        certificate: Certificate,
    ) -> Result<(), Error> {
        match &mut self.state {
            State::Open(_) => Err(Error::Argument(
                "a node of an open network shows no certificate",
            )),
            State::Certified(network) => network.set_certificate(ctx, key, certificate),
        }
    }
}

/// Nodes that are in no session with this one.
impl Trust {
    /// Whether a node may speak under its name with what it shows: the origin of a message that
    /// others have handed on.
    pub(crate) fn vouches_for(&self, name: &NodeName, key: &PublicKey, certificate: &[u8]) -> bool {
        match &self.state {
            State::Open(pins) => pins.allow(name, key),
            State::Certified(network) => {
                let certificate = network.certificate(name, key, certificate);
                certificate.is_ok_and(|certificate| !network.is_revoked(&certificate.hash()))
            }
        }
    }
}

/// Lists that come.
impl Trust {
    /// A member hands on a piece of a list. Says whether this node has a newer list with it.
    pub(crate) fn piece(
        &mut self,
        ctx: &mut Ctx<'_>,
        link: LinkId,
        (offset, length): (u32, u32),
        bytes: &[u8],
    ) -> Result<bool, BadList> {
        let (State::Certified(network), Some(member)) =
            (&mut self.state, self.members.get_mut(&link))
        else {
            // What nodes of a certified network tell each other means nothing here.
            return Ok(false);
        };
        let (offset, length) = (offset as usize, length as usize);
        let end = offset + bytes.len();
        let follows = offset == member.coming.len() || offset == 0;
        if !follows || bytes.is_empty() || end > length || length > REVOCATION_RECORD_MAX {
            return Err(BadList);
        }
        member.coming.truncate(offset);
        member.coming.extend_from_slice(bytes);
        if end < length {
            return Ok(false);
        }
        let whole = std::mem::take(&mut member.coming);
        let list = network.read(&whole).ok_or(BadList)?;
        member.has = member.has.max(list.version());
        self.take(ctx, list).map_err(|_| BadList)
    }

    /// Takes a list if it is newer than the one that this node has, and says whether it is.
    /// Sessions of members that it names are to end, and it is to be handed on.
    pub(crate) fn take(&mut self, ctx: &mut Ctx<'_>, list: RevocationList) -> Result<bool, Error> {
        let State::Certified(network) = &mut self.state else {
            return Err(Error::Argument("an open network has no revocation list"));
        };
        let (version, kept) = (list.version(), list.clone());
        if !network.take(list)? {
            return Ok(false);
        }
        ctx.keep(Keep::List(kept));
        let is_own = network.am_revoked();
        ctx.event(Event::ListTaken { version, is_own });
        Ok(true)
    }
}
