//! Who a node is: a key pair of its own, whatever its name and wherever it is.
//!
//! An [`Identity`] is the secret half, which a node keeps in a file; a [`PublicKey`] is what others
//! know of it, and a [`Fingerprint`] what people compare. All of it follows from a seed of 32
//! bytes:
//!
//! ```text
//! seed ──────────▶ Ed25519 key, which signs ──▶ PublicKey ──▶ Fingerprint
//!   └──HKDF──────▶ X25519 key, which agrees on the keys of a session
//! ```
//!
//! This module knows nothing of networks, names and sessions.

mod fingerprint;
mod public_key;
#[cfg(test)]
pub(crate) mod vectors;

pub use fingerprint::Fingerprint;
pub use public_key::PublicKey;

use crate::base64url;
use crate::entropy::Entropy;
use crate::error::Error;
use crate::hkdf::hkdf;
use crate::secret_file;
use crate::signature::Signer;
use std::fmt;
use std::path::Path;
use zeroize::Zeroizing;

/// The beginning of the text form.
const PREFIX: &str = "identity-";

/// The secret identity of one node: an Ed25519 key (RFC 8032), made of a seed of 32 bytes. It is
/// wiped when dropped.
///
/// Whoever has the secret can pass for the node, so it stays on the node's host, and no two nodes
/// share one. The [public key](Identity::public_key) is no secret.
///
/// # The file
///
/// An identity file has one line: `identity-` and 44 characters of base64url, which are the seed.
/// Empty lines, and lines that begin with `#`, do not count. Its mode is 0600, and it has at most
/// 4 096 bytes. `peerbase identity new FILE` makes one.
///
/// ```
/// use peerbase::{Identity, OsEntropy};
///
/// let file = std::env::temp_dir().join(format!("sensor-{}.identity", std::process::id()));
/// let mut entropy = OsEntropy::new()?;
/// let first = Identity::load_or_create(&file, &mut entropy)?;
/// let again = Identity::load_or_create(&file, &mut entropy)?;
/// assert_eq!(again.public_key(), first.public_key());
/// println!("{}", first.public_key().fingerprint());
/// # std::fs::remove_file(&file).unwrap();
/// # Ok::<(), peerbase::Error>(())
/// ```
#[derive(Clone)]
pub struct Identity(Signer);

impl Identity {
    /// A new identity.
    pub fn generate(entropy: &mut impl Entropy) -> Identity {
        Identity(Signer::generate(entropy))
    }

    /// The identity of a seed. The seed must be secret and unpredictable: 32 bytes of a good source
    /// of randomness, and never a password or a serial number.
    pub fn from_seed(seed: [u8; 32]) -> Identity {
        Identity(Signer::from_seed(&Zeroizing::new(seed)))
    }

    /// Reads the text of an identity file. [`Error::Key`] if it is none.
    pub fn parse(text: &str) -> Result<Identity, Error> {
        let seed = secret_file::secret(text, PREFIX).ok_or(Error::Key(
            "an identity is one line, identity- and 44 characters of base64url",
        ))?;
        Ok(Identity(Signer::from_seed(&seed)))
    }

    /// The text form, which is the secret itself: write it to identity files, and never to logs.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(base64url::text(PREFIX, self.0.seed()))
    }

    /// Reads an identity file, or makes one with a new identity if there is none. Of several
    /// processes that do this at once, one makes the file, and all have its identity.
    ///
    /// Fails as [`Identity::load`] and [`Identity::create`] do. A file that is there is never
    /// changed.
    pub fn load_or_create(
        path: impl AsRef<Path>,
        entropy: &mut impl Entropy,
    ) -> Result<Identity, Error> {
        let path = path.as_ref();
        if let Some(identity) = find(path)? {
            return Ok(identity);
        }
        let fresh = Identity::generate(entropy);
        if fresh.write(path, entropy)? {
            return Ok(fresh);
        }
        Identity::load(path)
    }

    /// Reads an identity file.
    ///
    /// [`Error::Refused`] if others than its owner may read or write it; [`Error::Damaged`] if it
    /// is no identity file, or larger than 4 096 bytes; [`Error::Io`] if it cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Identity, Error> {
        let path = path.as_ref();
        find(path)?.ok_or_else(|| secret_file::missing(path))
    }

    /// Makes a new identity and an identity file of it, with mode 0600. After a power cut the file
    /// is there as a whole or not at all.
    ///
    /// [`Error::Io`] if there is a file of this name, or the file cannot be written. The file
    /// system must have hard links and modes.
    pub fn create(path: impl AsRef<Path>, entropy: &mut impl Entropy) -> Result<Identity, Error> {
        let path = path.as_ref();
        let fresh = Identity::generate(entropy);
        match fresh.write(path, entropy)? {
            true => Ok(fresh),
            false => Err(secret_file::exists(path)),
        }
    }

    /// Makes a file of this identity; whether it was made, and not there already.
    fn write(&self, path: &Path, entropy: &mut impl Entropy) -> Result<bool, Error> {
        let key = self.public_key();
        let text = Zeroizing::new(format!(
            "# A node's identity, which is secret. Its public key and fingerprint:\n\
             # {}\n# {}\n{}\n",
            key.to_text(),
            key.fingerprint(),
            *self.to_text()
        ));
        secret_file::create(path, &text, entropy)
    }

    /// The public key.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::of(self.0.verifier())
    }

    /// The X25519 private key, with which sessions are made: HKDF-SHA256 of the seed.
    pub(crate) fn static_secret(&self) -> Zeroizing<[u8; 32]> {
        let mut secret = Zeroizing::new([0; 32]);
        hkdf(
            &[],
            self.0.seed(),
            b"peerbase x25519",
            secret.as_mut_slice(),
        );
        secret
    }

    /// Signs a message with the Ed25519 key (RFC 8032). What is signed must begin with words that
    /// say what it is, so that no signature is good for anything else; the library's own begin
    /// with `peerbase`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

/// The identity in a file; none if there is no file.
fn find(path: &Path) -> Result<Option<Identity>, Error> {
    let Some(text) = secret_file::read(path)? else {
        return Ok(None);
    };
    let identity = Identity::parse(&text).map_err(|e| secret_file::wrong(path, &e))?;
    Ok(Some(identity))
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Counting, OsEntropy};
    use crate::secret_file::tests::Folder;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
    use std::sync::Barrier;

    #[test]
    fn an_identity_is_made_once_and_kept() {
        let folder = Folder::new("identity-kept");
        let path = folder.0.join("identity");
        let mut entropy = OsEntropy::new().unwrap();
        let made = Identity::load_or_create(&path, &mut entropy).unwrap();
        let written = fs::read_to_string(&path).unwrap();
        assert!(written.contains(made.public_key().to_text().as_str()));
        assert!(written.contains(&made.public_key().fingerprint().to_string()));
        for again in [
            Identity::load_or_create(&path, &mut entropy),
            Identity::load(&path),
            Identity::parse(&written),
            Identity::parse(&made.to_text()),
        ] {
            assert_eq!(again.unwrap().public_key(), made.public_key());
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let taken = Identity::create(&path, &mut entropy).unwrap_err();
        assert!(matches!(taken, Error::Io { .. }), "{taken}");
        assert_eq!(fs::read_to_string(&path).unwrap(), written);
    }

    #[test]
    fn all_who_make_one_file_at_once_have_its_identity() {
        let folder = Folder::new("identity-raced");
        let (path, barrier) = (folder.0.join("identity"), Barrier::new(8));
        let race = || {
            let mut entropy = OsEntropy::new().unwrap();
            barrier.wait();
            Identity::load_or_create(&path, &mut entropy)
        };
        let keys: Vec<PublicKey> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8).map(|_| scope.spawn(race)).collect();
            let ended = racers.into_iter().map(|racer| racer.join().unwrap());
            ended
                .map(|identity| identity.unwrap().public_key())
                .collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        assert_eq!(folder.names(), ["identity"]);
    }

    #[test]
    fn a_file_that_is_none_is_told_and_not_replaced() {
        let folder = Folder::new("identity-wrong");
        let path = folder.0.join("identity");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).mode(0o600);
        options.open(&path).unwrap();
        let secret = Identity::from_seed([7; 32]).to_text();
        for bad in [
            "",
            &secret[9..],
            &secret[..40],
            &format!("{}\n{0}\n", *secret),
        ] {
            fs::write(&path, bad).unwrap();
            let told = Identity::load_or_create(&path, &mut Counting(0)).unwrap_err();
            let words = told.to_string();
            assert!(matches!(told, Error::Damaged(_)), "{words}");
            assert!(words.contains(path.to_str().unwrap()), "{words}");
            assert!(!words.contains(&secret[9..40]), "a secret is not repeated");
            assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        }
        let missing = Identity::load(folder.0.join("none")).unwrap_err();
        assert!(matches!(missing, Error::Io { .. }), "{missing}");
        let link = folder.0.join("link");
        symlink("none", &link).unwrap();
        let dangling = Identity::load_or_create(&link, &mut Counting(0)).unwrap_err();
        assert!(matches!(dangling, Error::Io { .. }), "{dangling}");
    }

    #[test]
    fn the_secret_never_shows_in_debug() {
        assert_eq!(
            format!("{:?}", Identity::from_seed([7; 32])),
            "Identity(..)"
        );
    }

    #[test]
    fn what_an_identity_signs_its_public_key_verifies() {
        let identity = Identity::from_seed([7; 32]);
        let signature = identity.sign(b"static");
        assert!(identity.public_key().verify(b"static", &signature));
        assert!(!identity.public_key().verify(b"other", &signature));
        let other = Identity::from_seed([8; 32]).public_key();
        assert!(!other.verify(b"static", &signature));
    }
}
