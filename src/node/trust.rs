//! Who may go by which name: what a program says of it before the start and while the node runs.

use super::{Builder, Node};
use crate::authority::{AuthorityKey, Certificate, RevocationList};
use crate::error::Error;
use crate::fernet::{Key, Keyring};
use crate::identity::{Identity, PublicKey};
use crate::name::NodeName;
use std::path::Path;

/// Before the start.
impl Builder {
    /// The public key of an authority, whose certificates count from then on: the network is
    /// *certified*, and a peer must show a certificate for its name. A second key counts as well,
    /// while one authority is replaced by another. All nodes of a network must be given the same.
    ///
    /// Without this the network is *open*: whoever has the network's key is a member, and a name
    /// belongs to the first node with a kept identity ([`Builder::identity`]) that was met under
    /// it. So whoever comes first can take a name that it should not have.
    ///
    /// A node that knows an authority needs [`Builder::certificate`] and [`Builder::identity`]. It
    /// does not speak to Python nodes ([`Builder::compat`] is refused at the start), which cannot
    /// prove anything.
    #[must_use]
    pub fn authority(mut self, key: AuthorityKey) -> Self {
        self.trust.authorities.push(key);
        self
    }

    /// The certificate that this node shows to others. An authority has signed it for the network,
    /// the name and the identity of this node; otherwise the node does not start.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.trust.certificate = Some(certificate);
        self
    }

    /// A revocation list that this node has from the start on; see [`Node::revoke`]. Of this one
    /// and the one in [`Builder::state_dir`], the newer counts.
    #[must_use]
    pub fn revocation_list(mut self, list: RevocationList) -> Self {
        self.trust.list = Some(list);
        self
    }

    /// A folder in which the node keeps what it must not forget: which names belong to which keys
    /// (in an open network), and the newest revocation list (in a certified one). It is made if it
    /// is not there, and belongs to one node. Each file in it is replaced as a whole, at most once
    /// a minute, and what is left is written when the node is dropped.
    ///
    /// Without a folder an open network's names are pinned until the node ends. In a certified
    /// network the node learns the list again from the first peer that it meets: its own
    /// certificate says how old that list may be.
    #[must_use]
    pub fn state_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.trust.state_dir = Some(folder.as_ref().to_owned());
        self
    }
}

/// While the node runs.
impl Node {
    /// From now on a name belongs to this key, in an open network: what is to be done after
    /// [`Event::Distrusted`](crate::Event::Distrusted) with
    /// [`Distrust::OtherKey`](crate::Distrust::OtherKey), if the node that has the name was given a
    /// new identity. Compare the key's [fingerprint](PublicKey::fingerprint) with that of the node
    /// first. Sessions with nodes of the name that have another key are closed.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] in a certified network; [`Error::Overloaded`] if 4 096 other names are
    /// pinned.
    pub fn accept_key(&self, name: &str, key: &PublicKey) -> Result<(), Error> {
        let name = NodeName::new(name)?;
        self.0.shared.turns.check()?;
        self.0
            .shared
            .turns
            .with(|engine, now| engine.accept_key(now, &name, key))?
    }

    /// The names that belong to a key, in the order of the names; none in a certified network.
    pub fn pins(&self) -> Result<Vec<(NodeName, PublicKey)>, Error> {
        self.0.shared.turns.check()?;
        self.0.shared.turns.with(|engine, _| engine.pins())
    }

    /// Gives a node of a certified network a revocation list. If the list is newer than the one
    /// that the node has, it closes the sessions of those that the list names at once, and hands it
    /// on to every other node that it meets, which does the same. Returns whether the list is
    /// newer.
    ///
    /// A node that is cut off from all that have the list cannot know it. A device that was revoked
    /// still has the network's key, with which it can read adverts and join relays, until the key
    /// is rotated.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if no authority that the node knows has signed the list, or it is another
    /// network's; [`Error::Argument`] in an open network.
    pub fn revoke(&self, list: &RevocationList) -> Result<bool, Error> {
        self.0.shared.turns.check()?;
        let list = list.clone();
        self.0
            .shared
            .turns
            .with(|engine, now| engine.take_list(now, list))?
    }

    /// Sets the keys of the network, in place of all that were set before: the first seals, and the
    /// others are understood. Sessions go on, since each has keys of its own. To replace a key
    /// without interrupting the network, give every node the new one as its second key, then as its
    /// first, and then take the old one away.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for no key, or more than four.
    pub fn set_keys(&self, keys: &[Key]) -> Result<(), Error> {
        let keys = Keyring::new(keys.to_vec())?;
        self.0.shared.turns.check()?;
        self.0
            .shared
            .turns
            .with(|engine, now| engine.set_keys(now, keys))
    }

    /// Shows another certificate from now on, which an authority has signed for the network, the
    /// name and the identity of this node. Peers see it with their next session; sessions that are
    /// open go on.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] says what is wrong with the certificate; [`Error::Argument`] in an open
    /// network.
    pub fn set_certificate(&self, certificate: &Certificate) -> Result<(), Error> {
        self.0.shared.turns.check()?;
        let certificate = certificate.clone();
        self.0
            .shared
            .turns
            .with(|engine, now| engine.set_certificate(now, certificate))?
    }

    /// Gives this node another identity, and in a certified network the certificate for it. To the
    /// other nodes it leaves, and joins again under its name. Calls of this node that are under way
    /// end as [`Error::Cancelled`], and it is not known whether their commands ran; calls of others
    /// to this node end as if it had restarted. In an open network, other nodes have pinned the
    /// name to the old key: each has to [accept](Node::accept_key) the new one.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] says what is wrong with the certificate; [`Error::Argument`], if an open
    /// network is given one.
    pub fn set_identity(
        &self,
        identity: &Identity,
        certificate: Option<&Certificate>,
    ) -> Result<(), Error> {
        self.0.shared.turns.check()?;
        let (identity, certificate) = (identity.clone(), certificate.cloned());
        self.0
            .shared
            .turns
            .with(|engine, now| engine.set_identity(now, identity, certificate))?
    }
}
