//! The certificates that count no more.

use super::signed::{Lines, exactly, number, put_signature, verify};
use super::{AuthorityKey, CertificateHash};
use crate::error::Error;
use crate::limits::{REVOCATION_LIST_MAX, REVOCATIONS_MAX};
use crate::name::NetworkName;
use crate::signature::{Signature, Signer};
use std::fmt;
use std::str::FromStr;

const WHAT: &str = "a revocation list";
const HEAD: &str = "peerbase revocations 2";

/// The certificates of a network that count no more, in a version that is newer than another. An
/// [`Authority`](crate::Authority) has signed it, if [`verify`](RevocationList::verify) says so; a
/// list that was only read says nothing yet.
///
/// It is a text, and no secret:
///
/// ```text
/// peerbase revocations 2
/// network: plant
/// version: 4
/// revoked: …
/// signature: …
/// ```
///
/// Each of at most 4 096 lines `revoked:` has the [hash](crate::Certificate::hash) of a
/// certificate; the lines are in the order of their bytes, each once. Versions count from 1. The
/// signature (Ed25519) is over all bytes before its line.
#[derive(Clone, PartialEq, Eq)]
pub struct RevocationList {
    network: NetworkName,
    version: u64,
    /// In the order of the hashes, so that one is found soon. Their text forms are in another.
    revoked: Vec<CertificateHash>,
    signature: Signature,
}

impl RevocationList {
    pub(super) fn sign(
        signer: &Signer,
        network: &NetworkName,
        before: Option<&RevocationList>,
        certificates: &[CertificateHash],
    ) -> Result<RevocationList, Error> {
        if before.is_some_and(|before| before.network != *network) {
            return Err(Error::Argument("the revocation list is another network's"));
        }
        let version = before.map_or(0, |before| before.version).checked_add(1);
        let version = version.ok_or(Error::Argument("this revocation list is the last"))?;
        let mut revoked = before
            .map(|before| before.revoked.clone())
            .unwrap_or_default();
        revoked.extend(certificates);
        revoked.sort_unstable();
        revoked.dedup();
        if revoked.len() > REVOCATIONS_MAX {
            return Err(too_many());
        }
        let mut list = RevocationList {
            network: network.clone(),
            version,
            revoked,
            signature: [0; 64],
        };
        list.signature = signer.sign(list.signed_text().as_bytes());
        Ok(list)
    }

    /// Reads the text form, exactly as it is written: what is read is written alike. This does not
    /// check the signature; [`verify`](RevocationList::verify) does. [`Error::Damaged`] if the text
    /// is no revocation list, or has more than 256 KiB.
    pub fn parse(text: &str) -> Result<RevocationList, Error> {
        let mut lines = Lines::of(WHAT, text, REVOCATION_LIST_MAX, HEAD)?;
        let network = lines.field("network", NetworkName::new)?;
        let version = lines.field("version", |text| match number(text)? {
            0 => Err(Error::Argument("versions count from 1")),
            version => Ok(version),
        })?;
        let mut revoked = Vec::new();
        while lines.next_is("revoked") {
            let is_full = revoked.len() == REVOCATIONS_MAX;
            revoked.push(lines.field("revoked", |text| match is_full {
                true => Err(too_many()),
                false => CertificateHash::parse(text),
            })?);
        }
        revoked.sort_unstable();
        revoked.dedup();
        let list = RevocationList {
            network,
            version,
            revoked,
            signature: lines.signature()?,
        };
        exactly(WHAT, text, list, RevocationList::to_text)
    }

    /// The text form.
    pub fn to_text(&self) -> String {
        let mut text = self.signed_text();
        put_signature(&self.signature, &mut text);
        text
    }

    /// The form in which a node hands it to another of its network.
    ///
    /// ```text
    /// version u64 | count u16 | that many hashes [32], ascending | signature [64]
    /// ```
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.version.to_be_bytes().to_vec();
        bytes.extend_from_slice(&(self.revoked.len() as u16).to_be_bytes());
        for hash in &self.revoked {
            bytes.extend_from_slice(&hash.0);
        }
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Reads that form, in the network of whoever reads it. It does not check the signature. `None`
    /// if the bytes are no list.
    pub(crate) fn from_bytes(network: &NetworkName, bytes: &[u8]) -> Option<RevocationList> {
        let (version, rest) = bytes.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let (hashes, signature) = rest.split_last_chunk()?;
        let (hashes, cut) = hashes.as_chunks();
        let revoked: Vec<_> = hashes.iter().copied().map(CertificateHash).collect();
        let count = usize::from(u16::from_be_bytes(*count));
        let version = u64::from_be_bytes(*version);
        let is_whole = cut.is_empty() && revoked.len() == count && count <= REVOCATIONS_MAX;
        let ascends = revoked.is_sorted_by(|a, b| a < b);
        (is_whole && ascends && version > 0).then(|| RevocationList {
            network: network.clone(),
            version,
            revoked,
            signature: *signature,
        })
    }

    /// The lines that are signed.
    fn signed_text(&self) -> String {
        let hashes = self.revoked.iter().map(CertificateHash::to_text);
        let mut lines: Vec<String> = hashes.map(|hash| format!("revoked: {hash}\n")).collect();
        lines.sort_unstable();
        let (network, version) = (&self.network, self.version);
        format!(
            "{HEAD}\nnetwork: {network}\nversion: {version}\n{}",
            lines.concat()
        )
    }

    /// Checks that one of these authorities has signed it, for this network. [`Error::Refused`]
    /// says what is wrong.
    pub fn verify(&self, authorities: &[AuthorityKey], network: &NetworkName) -> Result<(), Error> {
        let (text, networks) = (self.signed_text(), (&self.network, network));
        verify(WHAT, networks, authorities, &text, &self.signature)
    }

    /// The network in which it counts.
    pub fn network(&self) -> &NetworkName {
        &self.network
    }

    /// The version: the list with the greatest counts.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many certificates are in it.
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether no certificate is in it.
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty()
    }

    /// Whether the certificate of this hash is in it.
    pub fn contains(&self, certificate: &CertificateHash) -> bool {
        self.revoked.binary_search(certificate).is_ok()
    }
}

fn too_many() -> Error {
    Error::Argument("a revocation list has at most 4096 certificates")
}

impl FromStr for RevocationList {
    type Err = Error;
    fn from_str(text: &str) -> Result<RevocationList, Error> {
        RevocationList::parse(text)
    }
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RevocationList {
            network, version, ..
        } = self;
        let count = self.len();
        write!(f, "RevocationList({network:?}, version {version}, {count})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority;
    use crate::authority::certificate::tests::{certificate, network};
    use crate::base64url;
    use proptest::prelude::*;

    fn hash(number: u32) -> CertificateHash {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        CertificateHash::parse(&base64url::text("", &bytes)).unwrap()
    }

    #[test]
    fn each_list_has_what_the_one_before_has_and_the_next_version() {
        let authority = Authority::from_seed([1; 32]);
        let plant = network("plant");
        let (a, b) = (
            certificate(&authority, "a", &[]).hash(),
            certificate(&authority, "b", &[]).hash(),
        );
        let first = authority.revoke(&plant, None, &[a, a]).unwrap();
        assert_eq!(
            (first.version(), first.len(), first.is_empty()),
            (1, 1, false)
        );
        assert!(first.contains(&a) && !first.contains(&b));
        let second = authority.revoke(&plant, Some(&first), &[b, a]).unwrap();
        assert_eq!((second.version(), second.len()), (2, 2));
        assert!(second.contains(&a) && second.contains(&b));
        for list in [first, second, authority.revoke(&plant, None, &[]).unwrap()] {
            let read = RevocationList::parse(&list.to_text()).unwrap();
            assert_eq!(read, list);
            assert_eq!(read.verify(&[authority.key()], &plant), Ok(()));
        }
    }

    #[test]
    fn what_is_handed_on_is_the_same_list_and_nothing_else_is_one() {
        let authority = Authority::from_seed([1; 32]);
        let plant = network("plant");
        let hashes: Vec<_> = (0..REVOCATIONS_MAX as u32).map(hash).collect();
        for count in [0, 1, 2, REVOCATIONS_MAX] {
            let list = authority.revoke(&plant, None, &hashes[..count]).unwrap();
            let bytes = list.to_bytes();
            assert!(bytes.len() <= crate::limits::REVOCATION_RECORD_MAX);
            assert_eq!(RevocationList::from_bytes(&plant, &bytes), Some(list));
            for cut in [0, 1, bytes.len() - 32, bytes.len() - 1] {
                assert_eq!(RevocationList::from_bytes(&plant, &bytes[..cut]), None);
            }
            let longer = [&bytes[..], &[0; 32]].concat();
            assert_eq!(RevocationList::from_bytes(&plant, &longer), None);
        }
        let two = authority.revoke(&plant, None, &hashes[..2]).unwrap();
        let mut bytes = two.to_bytes();
        bytes[10..74].rotate_left(32);
        assert_eq!(RevocationList::from_bytes(&plant, &bytes), None, "order");
        let mut bytes = two.to_bytes();
        bytes[..8].fill(0);
        assert_eq!(RevocationList::from_bytes(&plant, &bytes), None, "version");
    }

    #[test]
    fn a_list_counts_with_its_authority_and_in_its_network() {
        let (authority, other) = (Authority::from_seed([1; 32]), Authority::from_seed([2; 32]));
        let plant = network("plant");
        let list = authority.revoke(&plant, None, &[hash(1), hash(2)]).unwrap();
        let keys = [other.key(), authority.key()];
        assert_eq!(list.verify(&keys, &plant), Ok(()));
        for refused in [
            list.verify(&keys[..1], &plant),
            list.verify(&keys, &network("field")),
        ] {
            assert!(matches!(refused, Err(Error::Refused(_))));
        }
        let line = format!("revoked: {}\n", hash(1).to_text());
        for (was, is) in [("version: 1", "version: 2"), (&line, "")] {
            let changed = RevocationList::parse(&list.to_text().replace(was, is)).unwrap();
            assert!(changed.verify(&keys, &plant).is_err(), "{was}");
        }
        // The one that replaces it goes on from there.
        let next = other.revoke(&plant, Some(&list), &[]).unwrap();
        assert_eq!((next.version(), next.len()), (2, 2));
        assert_eq!(next.verify(&keys[..1], &plant), Ok(()));
        let astray = authority.revoke(&network("field"), Some(&list), &[]);
        assert!(matches!(astray, Err(Error::Argument(_))));
    }

    #[test]
    fn a_list_is_read_in_one_form_only() {
        let authority = Authority::from_seed([1; 32]);
        // In the order of texts the second is before the first.
        let (a, dash) = (hash(0), hash(0xf800_0000));
        let list = authority
            .revoke(&network("plant"), None, &[a, dash])
            .unwrap();
        let text = list.to_text();
        let (a, dash) = (a.to_text(), dash.to_text());
        let lines = format!("revoked: {dash}\nrevoked: {a}\n");
        assert!(text.contains(&lines) && dash < a && list.revoked[0].to_text() == a);
        let other_way = format!("revoked: {a}\nrevoked: {dash}\n");
        let twice = format!("revoked: {a}\nrevoked: {a}\n");
        for (was, is, words) in [
            ("revocations 2", "revocations 1", "line 1"),
            ("version: 1", "version: 0", "versions count from 1"),
            ("version: 1", "version: 01", "the one way"),
            (&lines, &other_way, "the one way"),
            (&lines, &twice, "the one way"),
            (&format!("{a}\n"), "short\n", "line 5"),
            ("revoked: ", "revoked:", "line 4"),
            (
                "revoked: ",
                "forgiven: ",
                "line 4: must be a line `signature: …`",
            ),
            ("==\n", "==", "line 6"),
            ("==\n", "==\n\n", "line 7"),
        ] {
            let bad = text.replacen(was, is, 1);
            assert_ne!(bad, text);
            let told = RevocationList::parse(&bad).unwrap_err();
            let told_so = matches!(&told, Error::Damaged(why) if why.contains(words));
            assert!(told_so, "{is}: {told}");
        }
        for end in 0..text.len() {
            assert!(RevocationList::parse(&text[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_list_of_4096_certificates_is_the_longest() {
        let authority = Authority::from_seed([1; 32]);
        let longest = network(&"x".repeat(64));
        let hashes: Vec<CertificateHash> = (0..4_096).map(hash).collect();
        let full = authority.revoke(&longest, None, &hashes).unwrap();
        let text = full.to_text();
        assert!(text.len() < REVOCATION_LIST_MAX);
        assert_eq!(RevocationList::parse(&text).unwrap(), full);
        assert!(hashes.iter().all(|hash| full.contains(hash)));
        let more = authority.revoke(&longest, Some(&full), &[hash(4_096)]);
        assert!(matches!(more, Err(Error::Argument(why)) if why.contains("4096")));
        let same = authority.revoke(&longest, Some(&full), &[hash(4_095)]);
        assert_eq!(same.unwrap().version(), 2);
        let line = format!("revoked: {}\n", hash(u32::MAX).to_text());
        let told = RevocationList::parse(&text.replace("signature", &format!("{line}signature")));
        assert!(matches!(told, Err(Error::Damaged(why)) if why.contains("4096")));
        let long = format!("{text}{}", "x".repeat(REVOCATION_LIST_MAX));
        assert!(matches!(
            RevocationList::parse(&long),
            Err(Error::Damaged(_))
        ));
    }

    #[test]
    fn there_is_a_last_version() {
        let authority = Authority::from_seed([1; 32]);
        let plant = network("plant");
        let first = authority.revoke(&plant, None, &[]).unwrap().to_text();
        let last = first.replace("version: 1", &format!("version: {}", u64::MAX));
        let last = RevocationList::parse(&last).unwrap();
        let next = authority.revoke(&plant, Some(&last), &[]);
        assert!(matches!(next, Err(Error::Argument(_))));
    }

    proptest! {
        #[test]
        fn what_is_signed_is_read_and_verified(
            hashes in prop::collection::vec(prop::array::uniform32(any::<u8>()), 0..20)
        ) {
            let authority = Authority::from_seed([1; 32]);
            let hashes: Vec<CertificateHash> = hashes
                .iter()
                .map(|bytes| CertificateHash::parse(&base64url::text("", bytes)).unwrap())
                .collect();
            let list = authority.revoke(&network("plant"), None, &hashes).unwrap();
            let read = RevocationList::parse(&list.to_text()).unwrap();
            prop_assert_eq!(read.verify(&[authority.key()], &network("plant")), Ok(()));
            prop_assert!(hashes.iter().all(|hash| read.contains(hash)));
            prop_assert_eq!(read, list);
        }

        #[test]
        fn what_is_read_is_written_alike(at in 0..400_usize, with in "[ -~\n]{0,2}") {
            let authority = Authority::from_seed([1; 32]);
            let list = authority.revoke(&network("plant"), None, &[hash(1), hash(2)]);
            let mut text = list.unwrap().to_text();
            let at = at % text.len();
            text.replace_range(at..at + 1, &with);
            if let Ok(read) = RevocationList::parse(&text) {
                prop_assert_eq!(read.to_text(), text);
            }
        }
    }
}
