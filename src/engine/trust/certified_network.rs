//! A certified network: what the certificates of its members say, and which were revoked.

use super::mode::Certified;
use crate::authority::{Certificate, CertificateHash, RevocationList};
use crate::engine::context::Ctx;
use crate::engine::distrust::Distrust;
use crate::error::Error;
use crate::handshake::Shown;
use crate::identity::PublicKey;
use crate::name::{NetworkName, NodeName, Role};
use std::sync::Arc;

/// What a good certificate says.
#[derive(Clone, Debug)]
pub(super) struct Vouched {
    pub(super) certificate: CertificateHash,
    pub(super) roles: Arc<[Role]>,
    /// The version of the revocation list that this node must have before it takes anything of the
    /// member.
    pub(super) needs: u64,
}

/// What this node knows of its certified network.
#[derive(Debug)]
pub(super) struct CertifiedNetwork {
    network: NetworkName,
    known: Certified,
    /// The newest list, as it is handed on.
    bytes: Arc<[u8]>,
}

impl CertifiedNetwork {
    pub(super) fn new(network: &NetworkName, known: &Certified) -> CertifiedNetwork {
        CertifiedNetwork {
            network: network.clone(),
            bytes: encoded(known.list.as_ref()),
            known: known.clone(),
        }
    }

    /// The version of the newest list; 0 if there is none.
    pub(super) fn version(&self) -> u64 {
        self.known.list.as_ref().map_or(0, RevocationList::version)
    }

    /// The newest list, as it is handed on; empty if there is none.
    pub(super) fn list(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// Whether a certificate was revoked, as far as this node knows.
    pub(super) fn is_revoked(&self, certificate: &CertificateHash) -> bool {
        let list = self.known.list.as_ref();
        list.is_some_and(|list| list.contains(certificate))
    }

    /// Whether this node's own certificate was revoked.
    pub(super) fn am_revoked(&self) -> bool {
        self.is_revoked(&self.known.certificate.hash())
    }

    /// Looks at what a node shows for its name. `Shown::list` is its own word, so it can only make
    /// this node wait for a list.
    pub(super) fn judge(
        &self,
        name: &NodeName,
        key: &PublicKey,
        shown: &Shown,
    ) -> Result<Vouched, Distrust> {
        let certificate = self.certificate(name, key, &shown.certificate)?;
        let hash = certificate.hash();
        if self.is_revoked(&hash) {
            return Err(Distrust::Revoked);
        }
        let least = self.known.certificate.list().max(certificate.list());
        if least > self.version().max(shown.list) {
            return Err(Distrust::OldList);
        }
        Ok(Vouched {
            certificate: hash,
            roles: certificate.roles().iter().cloned().collect(),
            needs: least.max(shown.list),
        })
    }

    /// Reads a certificate, and checks that it is that of this name and key. Its revocation is
    /// another question.
    pub(super) fn certificate(
        &self,
        name: &NodeName,
        key: &PublicKey,
        text: &[u8],
    ) -> Result<Certificate, Distrust> {
        if text.is_empty() {
            return Err(Distrust::NoCertificate);
        }
        let text = std::str::from_utf8(text).ok();
        let read = text.and_then(|text| Certificate::parse(text).ok());
        let certificate = read.ok_or(Distrust::WrongCertificate)?;
        let authorities = &self.known.authorities;
        let is_good = certificate.name() == name
            && certificate.key() == key
            && certificate.verify(authorities, &self.network).is_ok();
        match is_good {
            true => Ok(certificate),
            false => Err(Distrust::WrongCertificate),
        }
    }

    /// Takes a list, if it is newer than what this node has. `Err` if no known authority has signed
    /// it for this network.
    pub(super) fn take(&mut self, list: RevocationList) -> Result<bool, Error> {
        if list.version() <= self.version() {
            return Ok(false);
        }
        list.verify(&self.known.authorities, &self.network)?;
        self.bytes = encoded(Some(&list));
        self.known.list = Some(list);
        Ok(true)
    }

    /// Reads a list that a member hands on. `None` if it is none.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<RevocationList> {
        RevocationList::from_bytes(&self.network, bytes)
    }

    /// This node shows another certificate from now on, if it is that of its name and `key`.
    pub(super) fn set_certificate(
        &mut self,
        ctx: &Ctx<'_>,
        key: &PublicKey,
        certificate: Certificate,
    ) -> Result<(), Error> {
        let known = Certified {
            certificate,
            ..self.known.clone()
        };
        known.check(&self.network, &ctx.config.name, key)?;
        self.known = known;
        Ok(())
    }
}

fn encoded(list: Option<&RevocationList>) -> Arc<[u8]> {
    list.map_or_else(Arc::default, |list| list.to_bytes().into())
}
