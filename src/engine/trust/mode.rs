//! The two modes of a network: what makes a name belong to a key.

use crate::authority::{AuthorityKey, Certificate, RevocationList};
use crate::error::Error;
use crate::identity::PublicKey;
use crate::limits::AUTHORITIES_MAX;
use crate::name::{NetworkName, NodeName};

/// What makes a name belong to a key. All nodes of a network have the same mode; nothing on the
/// wire says which.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Whoever has the network key is a member. A name belongs to the first kept identity that goes
    /// by it.
    Open {
        /// The names that are known to belong to these keys.
        pins: Vec<(NodeName, PublicKey)>,
    },
    /// An authority says which name belongs to which key.
    Certified(Box<Certified>),
}

impl Default for Mode {
    fn default() -> Mode {
        Mode::Open { pins: Vec::new() }
    }
}

/// What a node of a certified network has.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The authorities whose word counts: one, or two while one is replaced.
    pub authorities: Vec<AuthorityKey>,
    /// What this node shows.
    pub certificate: Certificate,
    /// The newest revocation list that this node has.
    pub list: Option<RevocationList>,
}

impl Certified {
    /// Checks that the certificate is this node's, that the list is the network's, and that an
    /// authority has signed both. [`Error::Refused`] says what is wrong, also if the certificate
    /// was revoked; [`Error::Argument`], if there is no authority or more than two.
    pub fn check(
        &self,
        network: &NetworkName,
        name: &NodeName,
        key: &PublicKey,
    ) -> Result<(), Error> {
        if self.authorities.is_empty() || self.authorities.len() > AUTHORITIES_MAX {
            return Err(Error::Argument("a node knows one authority, or two"));
        }
        let certificate = &self.certificate;
        certificate.verify(&self.authorities, network)?;
        if certificate.name() != name {
            return Err(Error::Refused(format!(
                "the certificate is that of the node {}, and this is {name}",
                certificate.name()
            )));
        }
        if certificate.key() != key {
            return Err(Error::Refused(format!(
                "the certificate is that of the key {}, and this node has {}",
                certificate.key().fingerprint(),
                key.fingerprint()
            )));
        }
        if let Some(list) = &self.list {
            list.verify(&self.authorities, network)?;
            if list.contains(&certificate.hash()) {
                return Err(Error::Refused(
                    "this node's certificate was revoked; it needs a new one".into(),
                ));
            }
        }
        Ok(())
    }
}
