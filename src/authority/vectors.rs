//! The certificates and lists of `tests/vectors/authority.json`, which were signed by another
//! implementation.

use super::{Authority, AuthorityKey, Certificate, CertificateHash, RevocationList};
use crate::identity::PublicKey;
use crate::name::{NetworkName, NodeName, Role};
use serde_json::Value;

fn vectors() -> (Value, Authority) {
    let file = include_str!("../../tests/vectors/authority.json");
    let vectors: Value = serde_json::from_str(file).unwrap();
    let authority = Authority::parse(text(&vectors["secret"])).unwrap();
    (vectors, authority)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn network(vector: &Value) -> NetworkName {
    NetworkName::new(text(&vector["network"])).unwrap()
}

#[test]
fn the_authority_is_that_of_the_vectors() {
    let (vectors, authority) = vectors();
    let seed = crate::unhex::array(&vectors["seed"]);
    assert_eq!(*Authority::from_seed(seed).to_text(), vectors["secret"]);
    assert_eq!(authority.key().to_text(), vectors["key"]);
    assert_eq!(
        AuthorityKey::parse(text(&vectors["key"])),
        Ok(authority.key())
    );
}

#[test]
fn certificates_are_those_of_the_vectors() {
    let (vectors, authority) = vectors();
    let vectors = vectors["certificates"].as_array().unwrap();
    assert_eq!(vectors.len(), 3);
    for wanted in vectors {
        let name = NodeName::new(text(&wanted["name"])).unwrap();
        let key = PublicKey::parse(text(&wanted["key"])).unwrap();
        let roles = wanted["roles"].as_array().unwrap().iter();
        let roles: Vec<Role> = roles.map(|role| Role::new(text(role)).unwrap()).collect();
        let list = wanted["list"].as_u64().unwrap();
        let signed = authority.sign(&network(wanted), &name, &key, &roles, list);
        let signed = signed.unwrap();
        assert_eq!(signed.to_text(), wanted["text"]);
        assert_eq!(signed.hash().to_text(), wanted["hash"]);
        let read = Certificate::parse(text(&wanted["text"])).unwrap();
        assert_eq!(read.verify(&[authority.key()], &network(wanted)), Ok(()));
        assert_eq!(read, signed);
    }
}

#[test]
fn lists_are_those_of_the_vectors() {
    let (vectors, authority) = vectors();
    let vectors = vectors["lists"].as_array().unwrap();
    for wanted in vectors {
        let list = RevocationList::parse(text(&wanted["text"])).unwrap();
        let bytes: String = list.to_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(bytes, wanted["bytes"]);
    }
    assert_eq!(vectors.len(), 3);
    let mut before = None;
    for wanted in vectors {
        let revoked = wanted["revoked"].as_array().unwrap().iter();
        let revoked: Vec<CertificateHash> = revoked
            .map(|hash| CertificateHash::parse(text(hash)).unwrap())
            .collect();
        let signed = authority.revoke(&network(wanted), before.as_ref(), &revoked);
        let signed = signed.unwrap();
        assert_eq!(signed.to_text(), wanted["text"]);
        assert_eq!(signed.version(), wanted["version"]);
        let read = RevocationList::parse(text(&wanted["text"])).unwrap();
        assert_eq!(read.verify(&[authority.key()], &network(wanted)), Ok(()));
        assert_eq!(read, signed);
        before = Some(signed);
    }
}
