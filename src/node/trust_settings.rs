//! What a program says before the start of who may go by which name.

use crate::authority::{AuthorityKey, Certificate, RevocationList};
use crate::driver::state_folder::{Kept, StateFolder};
use crate::engine::{Certified, Mode};
use crate::error::Error;
use crate::identity::PublicKey;
use crate::limits::AUTHORITIES_MAX;
use crate::logging::record;
use crate::name::{NetworkName, NodeName};
use std::path::PathBuf;

/// What was set before the start.
#[derive(Clone, Debug, Default)]
pub(super) struct TrustSettings {
    pub(super) authorities: Vec<AuthorityKey>,
    pub(super) certificate: Option<Certificate>,
    pub(super) list: Option<RevocationList>,
    pub(super) state_dir: Option<PathBuf>,
}

impl TrustSettings {
    /// Whether the network is a certified one.
    #[cfg(feature = "compat")]
    pub(super) fn is_certified(&self) -> bool {
        !self.authorities.is_empty()
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if self.authorities.len() > AUTHORITIES_MAX {
            return Err(Error::Argument("a node knows at most two authorities"));
        }
        Ok(())
    }

    /// Opens the folder of the state, and puts together how the node knows whom to trust.
    pub(super) fn open(
        self,
        network: &NetworkName,
        name: &NodeName,
        key: &PublicKey,
    ) -> Result<(Option<StateFolder>, Mode), Error> {
        let opened = self.state_dir.map(|dir| StateFolder::open(&dir, network));
        let (folder, kept) = match opened.transpose()? {
            Some((folder, kept)) => (Some(folder), kept),
            None => (None, Kept::default()),
        };
        if self.authorities.is_empty() {
            if self.certificate.is_some() || self.list.is_some() {
                return Err(Error::Argument(
                    "a certificate or a revocation list needs the key of its authority",
                ));
            }
            return Ok((folder, Mode::Open { pins: kept.pins }));
        }
        let certificate = self.certificate.ok_or(Error::Argument(
            "a node that knows an authority needs a certificate",
        ))?;
        let known = kept.list.filter(|list| {
            let verified = list.verify(&self.authorities, network);
            if let Err(e) = &verified {
                record!(Warn, "the kept revocation list does not count: {e}");
            }
            verified.is_ok()
        });
        let newest = |a: RevocationList, b: RevocationList| match a.version() >= b.version() {
            true => a,
            false => b,
        };
        let certified = Certified {
            authorities: self.authorities,
            certificate,
            list: self.list.into_iter().chain(known).reduce(newest),
        };
        certified.check(network, name, key)?;
        Ok((folder, Mode::Certified(Box::new(certified))))
    }
}
