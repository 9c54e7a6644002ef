//! What follows from the seeds of `tests/vectors/identity.json`, which were computed by another
//! implementation.

use super::{Fingerprint, Identity, PublicKey};
use crate::unhex::array;
use curve25519_dalek::MontgomeryPoint;
use serde_json::Value;

#[test]
fn identities_are_those_of_the_vectors() {
    let file = include_str!("../../tests/vectors/identity.json");
    let vectors: Value = serde_json::from_str(file).unwrap();
    let vectors = vectors["identities"].as_array().unwrap();
    assert_eq!(vectors.len(), 3);
    for wanted in vectors {
        let identity = Identity::from_seed(array(&wanted["seed"]));
        let key = identity.public_key();
        assert_eq!(*identity.to_text(), wanted["identity"]);
        assert_eq!(key.to_text(), wanted["public_key"]);
        assert_eq!(key.fingerprint().to_string(), wanted["fingerprint"]);
        let secret = identity.static_secret();
        assert_eq!(*secret, array(&wanted["x25519_private_key"]));
        let public = MontgomeryPoint::mul_base_clamped(*secret).to_bytes();
        assert_eq!(public, array(&wanted["x25519_public_key"]));
        let message: [u8; 50] = array(&wanted["message"]);
        assert_eq!(identity.sign(&message), array(&wanted["signature"]));
        assert!(key.verify(&message, &array(&wanted["signature"])));

        let text = |member: &str| wanted[member].as_str().unwrap();
        assert_eq!(Identity::parse(text("identity")).unwrap().public_key(), key);
        assert_eq!(PublicKey::parse(text("public_key")), Ok(key));
        assert_eq!(
            Fingerprint::parse(text("fingerprint")),
            Ok(key.fingerprint())
        );
    }
}
