//! What an authority says about one node.

use super::AuthorityKey;
use super::signed::{Lines, exactly, number, put_signature, verify};
use crate::base64url;
use crate::error::Error;
use crate::identity::PublicKey;
use crate::limits::{CERTIFICATE_MAX, ROLES_MAX};
use crate::name::{NetworkName, NodeName, Role};
use crate::signature::{Signature, Signer};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

const WHAT: &str = "a certificate";
const HEAD: &str = "peerbase certificate 2";

/// Says that in a network the node with a public key has a name and roles. An
/// [`Authority`](crate::Authority) has signed it, if [`verify`](Certificate::verify) says so; a
/// certificate that was only read says nothing yet.
///
/// It is a text, and no secret: only the node that has the identity of the key can use it.
///
/// ```text
/// peerbase certificate 2
/// network: plant
/// name: sensor-7
/// key: peer-…
/// roles: reader,writer
/// list: 3
/// signature: …
/// ```
///
/// Roles are in the order of their bytes, each once, with commas between; without any the line is
/// `roles:`. The signature (Ed25519) is over all bytes before its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    network: NetworkName,
    name: NodeName,
    key: PublicKey,
    roles: BTreeSet<Role>,
    list: u64,
    signature: Signature,
}

impl Certificate {
    pub(super) fn sign(
        signer: &Signer,
        network: &NetworkName,
        name: &NodeName,
        key: &PublicKey,
        roles: &[Role],
        list: u64,
    ) -> Result<Certificate, Error> {
        let mut certificate = Certificate {
            network: network.clone(),
            name: name.clone(),
            key: *key,
            roles: roles.iter().cloned().collect(),
            list,
            signature: [0; 64],
        };
        if certificate.roles.len() > ROLES_MAX {
            return Err(Error::Argument("a certificate has at most 16 roles"));
        }
        certificate.signature = signer.sign(certificate.signed_text().as_bytes());
        Ok(certificate)
    }

    /// Reads the text form, exactly as it is written: what is read is written alike. This does not
    /// check the signature; [`verify`](Certificate::verify) does. [`Error::Damaged`] if the text is
    /// no certificate, or has more than 1 024 bytes.
    pub fn parse(text: &str) -> Result<Certificate, Error> {
        let mut lines = Lines::of(WHAT, text, CERTIFICATE_MAX, HEAD)?;
        let certificate = Certificate {
            network: lines.field("network", NetworkName::new)?,
            name: lines.field("name", NodeName::new)?,
            key: lines.field("key", PublicKey::parse)?,
            roles: lines.field("roles", read_roles)?,
            list: lines.field("list", number)?,
            signature: lines.signature()?,
        };
        exactly(WHAT, text, certificate, Certificate::to_text)
    }

    /// The text form.
    pub fn to_text(&self) -> String {
        let mut text = self.signed_text();
        put_signature(&self.signature, &mut text);
        text
    }

    /// The lines that are signed.
    fn signed_text(&self) -> String {
        let roles: Vec<&str> = self.roles.iter().map(Role::as_str).collect();
        let space = if roles.is_empty() { "" } else { " " };
        format!(
            "{HEAD}\nnetwork: {}\nname: {}\nkey: {}\nroles:{space}{}\nlist: {}\n",
            self.network,
            self.name,
            self.key.to_text(),
            roles.join(","),
            self.list
        )
    }

    /// The SHA-256 of the whole text, which a [`RevocationList`](crate::RevocationList) names.
    pub fn hash(&self) -> CertificateHash {
        CertificateHash(Sha256::digest(self.to_text()).into())
    }

    /// Checks that one of these authorities has signed it, for this network. [`Error::Refused`]
    /// says what is wrong. Whether the certificate was revoked is another question:
    /// [`RevocationList::contains`](crate::RevocationList::contains).
    pub fn verify(&self, authorities: &[AuthorityKey], network: &NetworkName) -> Result<(), Error> {
        let (text, networks) = (self.signed_text(), (&self.network, network));
        verify(WHAT, networks, authorities, &text, &self.signature)
    }

    /// The network in which it counts.
    pub fn network(&self) -> &NetworkName {
        &self.network
    }

    /// The name of the node.
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// The public key of the node's identity.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The roles of the node, in order.
    pub fn roles(&self) -> &BTreeSet<Role> {
        &self.roles
    }

    /// The version of the revocation list when it was signed; 0 if there was none.
    pub fn list(&self) -> u64 {
        self.list
    }
}

impl FromStr for Certificate {
    type Err = Error;
    fn from_str(text: &str) -> Result<Certificate, Error> {
        Certificate::parse(text)
    }
}

fn read_roles(text: &str) -> Result<BTreeSet<Role>, Error> {
    if text.is_empty() {
        return Ok(BTreeSet::new());
    }
    if text.split(',').count() > ROLES_MAX {
        return Err(Error::Argument("a certificate has at most 16 roles"));
    }
    text.split(',').map(Role::new).collect()
}

/// The SHA-256 of a certificate's text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateHash(pub(super) [u8; 32]);

impl CertificateHash {
    /// Reads the text form, exactly as it is written. [`Error::Argument`] if it is none.
    pub fn parse(text: &str) -> Result<CertificateHash, Error> {
        let bytes = base64url::bytes(text).ok_or(Error::Argument(
            "a certificate's hash is 44 characters of base64url",
        ))?;
        Ok(CertificateHash(*bytes))
    }

    /// The text form: 44 characters of base64url.
    pub fn to_text(&self) -> String {
        base64url::text("", &self.0)
    }
}

impl fmt::Debug for CertificateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::authority::Authority;
    use crate::identity::Identity;
    use crate::name::some_name;
    use proptest::prelude::*;

    pub(crate) fn network(text: &str) -> NetworkName {
        NetworkName::new(text).unwrap()
    }

    pub(crate) fn certificate(authority: &Authority, name: &str, roles: &[&str]) -> Certificate {
        let key = Identity::from_seed([7; 32]).public_key();
        let roles: Vec<Role> = roles.iter().map(|role| Role::new(role).unwrap()).collect();
        let name = NodeName::new(name).unwrap();
        let signed = authority.sign(&network("plant"), &name, &key, &roles, 3);
        signed.unwrap()
    }

    #[test]
    fn a_certificate_counts_with_its_authority_and_in_its_network() {
        let (authority, other) = (Authority::from_seed([1; 32]), Authority::from_seed([2; 32]));
        let signed = certificate(&authority, "sensor-7", &["writer", "reader", "writer"]);
        let read = Certificate::parse(&signed.to_text()).unwrap();
        assert_eq!(read, signed);
        let roles: Vec<&str> = read.roles().iter().map(Role::as_str).collect();
        assert_eq!((read.name().as_str(), read.list()), ("sensor-7", 3));
        assert_eq!(roles, ["reader", "writer"]);
        assert_eq!(read.verify(&[authority.key()], &network("plant")), Ok(()));
        let either = [other.key(), authority.key()];
        assert_eq!(read.verify(&either, &network("plant")), Ok(()));
        for (keys, name, words) in [
            (
                &either[..],
                "field",
                "of the network plant, and not of field",
            ),
            (&either[..1], "plant", "none of the given authorities"),
            (&[], "plant", "none of the given authorities"),
        ] {
            let refused = read.verify(keys, &network(name)).unwrap_err();
            assert!(
                matches!(&refused, Error::Refused(why) if why.contains(words)),
                "{refused}"
            );
        }
    }

    #[test]
    fn whatever_is_changed_in_a_certificate_no_authority_has_signed() {
        let authority = Authority::from_seed([1; 32]);
        let signed = certificate(&authority, "sensor-7", &["reader"]);
        let text = signed.to_text();
        let other_key = Identity::from_seed([8; 32]).public_key().to_text();
        for (was, is) in [
            ("network: plant", "network: plans"),
            ("sensor-7", "sensor-8"),
            (&signed.key().to_text(), &other_key),
            ("roles: reader", "roles: reader,writer"),
            ("roles: reader", "roles:"),
            ("list: 3", "list: 2"),
        ] {
            let changed = Certificate::parse(&text.replace(was, is)).unwrap();
            assert_ne!(changed.hash(), signed.hash());
            let verified = changed.verify(&[authority.key()], changed.network());
            assert!(matches!(verified, Err(Error::Refused(_))), "{is}");
        }
    }

    #[test]
    fn a_certificate_is_read_in_one_form_only() {
        let authority = Authority::from_seed([1; 32]);
        let text = certificate(&authority, "sensor-7", &["reader", "writer"]).to_text();
        let many: Vec<String> = (0..17).map(|i| format!("r{i:02}")).collect();
        let many = format!("roles: {}", many.join(","));
        for (was, is, words) in [
            (
                "certificate 2",
                "certificate 3",
                "line 1: must be `peerbase certificate 2`",
            ),
            (
                "network: plant",
                "network: a|b",
                "line 2: invalid network name",
            ),
            ("network: ", "network:", "line 2"),
            ("name: ", "node: ", "line 3: must be a line `name: …`"),
            ("key: peer-", "key: ", "line 4: invalid key"),
            ("reader,writer", "writer,reader", "the one way"),
            ("reader,writer", "reader,reader", "the one way"),
            ("reader,writer", "reader, writer", "line 5"),
            ("reader,writer", "", "the one way"),
            ("roles: reader,writer", &many, "at most 16 roles"),
            ("list: 3", "list: 03", "the one way"),
            ("list: 3", "list: +3", "the one way"),
            ("list: 3", "list: -3", "line 6"),
            ("list: 3", "list: 18446744073709551616", "line 6"),
            (
                "list: 3\n",
                "list: 3\nmore: 1\n",
                "line 7: must be a line `signature: …`",
            ),
            ("==\n", "=\n", "line 7"),
            ("==\n", "==", "line 7"),
            ("==\n", "==\n\n", "line 8"),
            ("\n", "\r\n", "line 1"),
        ] {
            let bad = text.replacen(was, is, if was == "\n" { 9 } else { 1 });
            assert_ne!(bad, text);
            let told = Certificate::parse(&bad).unwrap_err();
            let told_so = matches!(&told, Error::Damaged(why) if why.contains(words));
            assert!(told_so, "{is}: {told}");
        }
        for end in 0..text.len() {
            assert!(Certificate::parse(&text[..end]).is_err(), "{end}");
        }
        let long = format!("{text}{}", "x".repeat(CERTIFICATE_MAX));
        assert!(
            Certificate::parse(&long)
                .unwrap_err()
                .to_string()
                .contains("1024 bytes")
        );
    }

    #[test]
    fn the_longest_certificate_can_be_read() {
        let authority = Authority::from_seed([1; 32]);
        let longest = "x".repeat(64);
        let roles: Vec<Role> = (0..16)
            .map(|i| Role::new(&format!("{i:02}-{}", "r".repeat(29))).unwrap())
            .collect();
        let (net, name) = (network(&longest), NodeName::new(&longest).unwrap());
        let key = Identity::from_seed([7; 32]).public_key();
        let sign = |roles: &[Role]| authority.sign(&net, &name, &key, roles, u64::MAX);
        let text = sign(&roles).unwrap().to_text();
        assert_eq!(text.len(), 885);
        assert!(Certificate::parse(&text).is_ok());
        let more = [roles, vec![Role::new("more").unwrap()]].concat();
        assert!(matches!(sign(&more), Err(Error::Argument(_))));
    }

    #[test]
    fn a_hash_has_one_text_form() {
        let hash = certificate(&Authority::from_seed([1; 32]), "a", &[]).hash();
        assert_eq!(CertificateHash::parse(&hash.to_text()), Ok(hash));
        assert!(CertificateHash::parse(&hash.to_text()[1..]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_signed_is_read_and_verified(
            name in some_name(),
            roles in prop::collection::vec("[a-z0-9_-]{1,32}", 0..16),
            list: u64
        ) {
            let authority = Authority::from_seed([1; 32]);
            let key = Identity::from_seed([7; 32]).public_key();
            let roles: Vec<Role> = roles.iter().map(|role| Role::new(role).unwrap()).collect();
            let signed = authority.sign(&network("plant"), &name, &key, &roles, list).unwrap();
            let read = Certificate::parse(&signed.to_text()).unwrap();
            prop_assert_eq!(read.verify(&[authority.key()], &network("plant")), Ok(()));
            prop_assert_eq!(read, signed);
        }

        #[test]
        fn what_is_read_is_written_alike(at in 0..300_usize, with in "[ -~\n]{0,2}") {
            let mut text = certificate(&Authority::from_seed([1; 32]), "a", &["b", "c"]).to_text();
            let at = at % text.len();
            text.replace_range(at..at + 1, &with);
            if let Ok(read) = Certificate::parse(&text) {
                prop_assert_eq!(read.to_text(), text);
            }
        }
    }
}
