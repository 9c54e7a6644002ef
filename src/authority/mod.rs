//! Who may be in a network: certificates for its nodes, and the list of those that were revoked.
//!
//! An [`Authority`] is a secret key, which its owner keeps away from the network. It signs a
//! [`Certificate`] for each node, and a [`RevocationList`]. Nodes have the [`AuthorityKey`], which
//! checks both. Certificates do not expire, because a gateway may not know the time; only the list
//! ends them.
//!
//! Both are texts whose last line signs the lines before it (`signed`). There is one way to write
//! each, and nothing else is read, so the hash of a text stands for what it says. This module
//! knows nothing of sessions, and decides nothing about a peer.

mod certificate;
mod key;
mod revocation;
mod signed;
#[cfg(test)]
mod vectors;

pub use certificate::{Certificate, CertificateHash};
pub use key::AuthorityKey;
pub use revocation::RevocationList;

use crate::base64url;
use crate::entropy::Entropy;
use crate::error::Error;
use crate::identity::PublicKey;
use crate::name::{NetworkName, NodeName, Role};
use crate::secret_file;
use crate::signature::Signer;
use std::fmt;
use std::path::Path;
use zeroize::Zeroizing;

/// The beginning of the text form.
const PREFIX: &str = "authority-secret-";

/// The secret key of an authority: an Ed25519 key (RFC 8032), made of a seed of 32 bytes. It is
/// wiped when dropped.
///
/// Whoever has it decides who is in the network, so it belongs on no node. Its
/// [key](Authority::key) is public, and nodes are given that.
///
/// # The file
///
/// The file of an authority has one line: `authority-secret-` and 44 characters of base64url, which
/// are the seed. Empty lines, and lines that begin with `#`, do not count. Its mode is 0600, and it
/// has at most 4 096 bytes. `peerbase authority new FILE` makes one.
///
/// ```
/// use peerbase::{Authority, Identity, NetworkName, NodeName, OsEntropy, Role};
///
/// let mut entropy = OsEntropy::new()?;
/// let authority = Authority::generate(&mut entropy);
/// let key = Identity::generate(&mut entropy).public_key();
/// let (network, name) = (NetworkName::new("plant")?, NodeName::new("sensor-7")?);
/// let certificate = authority.sign(&network, &name, &key, &[Role::new("reader")?], 0)?;
/// certificate.verify(&[authority.key()], &network)?;
///
/// let list = authority.revoke(&network, None, &[certificate.hash()])?;
/// assert!(list.version() == 1 && list.contains(&certificate.hash()));
/// # Ok::<(), peerbase::Error>(())
/// ```
#[derive(Clone)]
pub struct Authority(Signer);

impl Authority {
    /// A new authority.
    pub fn generate(entropy: &mut impl Entropy) -> Authority {
        Authority(Signer::generate(entropy))
    }

    /// The authority of a seed: 32 bytes of a good source of randomness, and never a password.
    pub fn from_seed(seed: [u8; 32]) -> Authority {
        Authority(Signer::from_seed(&Zeroizing::new(seed)))
    }

    /// Reads the text of an authority's file. [`Error::Key`] if it is none.
    pub fn parse(text: &str) -> Result<Authority, Error> {
        let seed = secret_file::secret(text, PREFIX).ok_or(Error::Key(
            "an authority's secret is one line, authority-secret- and 44 characters of base64url",
        ))?;
        Ok(Authority(Signer::from_seed(&seed)))
    }

    /// The text form, which is the secret itself: never write it to logs.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(base64url::text(PREFIX, self.0.seed()))
    }

    /// Reads an authority's file.
    ///
    /// [`Error::Refused`] if others than its owner may read or write it; [`Error::Damaged`] if it
    /// is no such file, or larger than 4 096 bytes; [`Error::Io`] if it cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Authority, Error> {
        let path = path.as_ref();
        let text = secret_file::read(path)?.ok_or_else(|| secret_file::missing(path))?;
        Authority::parse(&text).map_err(|e| secret_file::wrong(path, &e))
    }

    /// Makes a new authority and a file of it, with mode 0600. After a power cut the file is there
    /// as a whole or not at all.
    ///
    /// [`Error::Io`] if there is a file of this name, or the file cannot be written. The file
    /// system must have hard links and modes.
    pub fn create(path: impl AsRef<Path>, entropy: &mut impl Entropy) -> Result<Authority, Error> {
        let path = path.as_ref();
        let fresh = Authority::generate(entropy);
        let text = Zeroizing::new(format!(
            "# An authority, which is secret. Nodes are given its public key:\n# {}\n{}\n",
            fresh.key().to_text(),
            *fresh.to_text()
        ));
        match secret_file::create(path, &text, entropy)? {
            true => Ok(fresh),
            false => Err(secret_file::exists(path)),
        }
    }

    /// The public key, which nodes are given.
    pub fn key(&self) -> AuthorityKey {
        AuthorityKey::of(self.0.verifier())
    }

    /// Signs that in `network` the node with the public key `key` has this name and these roles.
    /// `list` is the version of the newest revocation list, or 0 if there is none: whoever sees the
    /// certificate takes no older list any more.
    ///
    /// [`Error::Argument`] if there are more than 16 roles. Roles that are given twice count once.
    pub fn sign(
        &self,
        network: &NetworkName,
        name: &NodeName,
        key: &PublicKey,
        roles: &[Role],
        list: u64,
    ) -> Result<Certificate, Error> {
        Certificate::sign(&self.0, network, name, key, roles, list)
    }

    /// Signs the revocation list that comes after `before`, or the first one of the network, and
    /// adds these certificates to it. Those that are in it already count once.
    ///
    /// `before` may be another authority's, which this one replaces: check it with
    /// [`RevocationList::verify`] first, because all that it says is signed again.
    ///
    /// [`Error::Argument`] if `before` is the list of another network, the list would have more
    /// than 4 096 certificates, or there is no further version.
    pub fn revoke(
        &self,
        network: &NetworkName,
        before: Option<&RevocationList>,
        certificates: &[CertificateHash],
    ) -> Result<RevocationList, Error> {
        RevocationList::sign(&self.0, network, before, certificates)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::OsEntropy;
    use crate::secret_file::tests::Folder;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn an_authority_is_made_once_and_read_again() {
        let folder = Folder::new("authority");
        let path = folder.0.join("plant");
        let mut entropy = OsEntropy::new().unwrap();
        let made = Authority::create(&path, &mut entropy).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let written = fs::read_to_string(&path).unwrap();
        assert!(written.contains(&made.key().to_text()));
        assert_eq!(Authority::load(&path).unwrap().key(), made.key());
        assert_eq!(Authority::parse(&made.to_text()).unwrap().key(), made.key());
        let taken = Authority::create(&path, &mut entropy).unwrap_err();
        assert!(matches!(taken, Error::Io { .. }), "{taken}");
        assert_eq!(fs::read_to_string(&path).unwrap(), written);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = Authority::load(&path).unwrap_err();
        assert!(matches!(refused, Error::Refused(_)), "{refused}");
        let missing = Authority::load(folder.0.join("none")).unwrap_err();
        assert!(matches!(missing, Error::Io { .. }), "{missing}");
    }

    #[test]
    fn what_is_no_authority_is_told() {
        let authority = Authority::from_seed([7; 32]);
        for bad in [
            authority.key().to_text().as_str(),
            &authority.to_text()[..60],
            "",
        ] {
            assert!(matches!(Authority::parse(bad), Err(Error::Key(_))), "{bad}");
        }
        assert_eq!(format!("{authority:?}"), "Authority(..)");
    }
}
