//! Who a node is: what it shows of itself in a handshake, and what it learns of the other side.

use super::Refused;
use crate::authority::Certificate;
use crate::identity::{Identity, PublicKey};
use crate::name::{NetworkName, NodeName, Role};
use crate::network_keys::NetworkKeys;
use crate::noise::KeyPair;
use crate::wire::extensions::Extensions;
use crate::wire::handshake::Card;
use crate::wire::{Instance, instance};
use std::fmt;
use std::sync::Arc;

/// What the signature over a static key begins with.
const SIGNED: &[u8] = b"peerbase static 2";

/// What one start of a node proves itself with. It is made once, so a handshake signs nothing.
#[derive(Clone)]
pub struct Credentials {
    static_key: Arc<KeyPair>,
    key: PublicKey,
    kept: bool,
    start: [u8; 16],
    signature: [u8; 64],
    certificate: Vec<u8>,
    roles: Arc<[Role]>,
}

impl Credentials {
    /// Those of a node that starts with this identity and 16 fresh random bytes. `kept` is whether
    /// it has the same identity after its next start.
    pub fn new(identity: &Identity, kept: bool, start: [u8; 16]) -> Credentials {
        let static_key = Arc::new(KeyPair::new(&identity.static_secret()));
        let signed = signed(kept, static_key.public());
        Credentials {
            static_key,
            key: identity.public_key(),
            kept,
            start,
            signature: identity.sign(&signed),
            certificate: Vec::new(),
            roles: Arc::default(),
        }
    }

    /// Shows this certificate from now on.
    pub fn set_certificate(&mut self, certificate: &Certificate) {
        self.certificate = certificate.to_text().into_bytes();
        self.roles = certificate.roles().iter().cloned().collect();
    }

    /// Random bytes of this start, from which the instance follows with the key.
    pub(crate) fn start(&self) -> &[u8; 16] {
        &self.start
    }

    /// The certificate that is shown, a text; empty if there is none.
    pub(crate) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The roles that the certificate says; none without one.
    pub fn roles(&self) -> &Arc<[Role]> {
        &self.roles
    }

    /// The public key of the identity.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// This start of the node.
    pub fn instance(&self) -> Instance {
        instance(&self.key, &self.start)
    }

    pub(super) fn static_key(&self) -> &Arc<KeyPair> {
        &self.static_key
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

fn signed(kept: bool, static_key: &[u8; 32]) -> Vec<u8> {
    let flags = if kept { 2 } else { 0 };
    [SIGNED, &[flags], static_key].concat()
}

/// What a node says of itself in a handshake.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// The network.
    pub network: &'a NetworkName,
    /// The keys of the network.
    pub keys: &'a NetworkKeys,
    /// What proves who this node is.
    pub credentials: &'a Credentials,
    /// This node's name.
    pub name: &'a NodeName,
    /// The TCP port on which it listens.
    pub port: u16,
    /// Whether it still asks whether its name is taken.
    pub probing: bool,
    /// The version of the revocation list that it has; 0 if it has none.
    pub list: u64,
}

impl Own<'_> {
    pub(super) fn card(&self) -> Card {
        let credentials = self.credentials;
        Card {
            probing: self.probing,
            kept: credentials.kept,
            port: self.port,
            name: self.name.clone(),
            start: credentials.start,
            key: *credentials.key.as_bytes(),
            signature: credentials.signature,
            certificate: credentials.certificate.clone(),
            list: self.list,
            extensions: Extensions::default(),
        }
    }
}

/// What a node shows for its claim to its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Whether it keeps its identity over its starts.
    pub kept: bool,
    /// Its certificate, which nobody has looked at yet; empty if it shows none.
    pub certificate: Vec<u8>,
    /// The version of the revocation list that it says it has; 0 if it has none.
    pub list: u64,
}

/// The other side of a handshake, as it has proved itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// This start of it, which belongs to its key.
    pub instance: Instance,
    /// Its public key.
    pub key: PublicKey,
    /// What it shows for its name.
    pub shown: Shown,
    /// The name that it goes by.
    pub name: NodeName,
    /// The TCP port on which it listens.
    pub port: u16,
    /// Whether it still asks whether its name is taken.
    pub probing: bool,
}

impl Party {
    /// Checks what the holder of a static key shows.
    pub(super) fn check(card: Card, static_key: &[u8; 32]) -> Result<Party, Refused> {
        let key = PublicKey::from_bytes(&card.key).map_err(|_| Refused::Malformed)?;
        let signed = signed(card.kept, static_key);
        if !key.verify(&signed, &card.signature) {
            return Err(Refused::Malformed);
        }
        Ok(Party {
            instance: instance(&key, &card.start),
            key,
            shown: Shown {
                kept: card.kept,
                certificate: card.certificate,
                list: card.list,
            },
            name: card.name,
            port: card.port,
            probing: card.probing,
        })
    }
}
