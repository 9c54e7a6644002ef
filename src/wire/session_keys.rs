//! The keys of a session, which follow from the network key and the two hellos.

use super::hello::Hello;
use super::put_text;
use crate::fernet::Key;
use crate::hkdf::hkdf;
use zeroize::Zeroize;

/// The keys of the session that these two hellos make: one for what the asker sends, and one for
/// what the answerer sends.
///
/// They are HKDF-SHA256 (RFC 5869) of the network key. The salt is both nonces, and the info both
/// instances and names, so that neither a side nor a third node can make one session be mistaken
/// for another.
pub fn session_keys(network: &Key, ask: &Hello, answer: &Hello) -> (Key, Key) {
    let mut salt = [0u8; 64];
    salt[..32].copy_from_slice(&ask.nonce);
    salt[32..].copy_from_slice(&answer.nonce);
    let mut info = b"peerbase session 1".to_vec();
    for hello in [ask, answer] {
        info.extend_from_slice(&hello.instance.0);
        put_text(hello.name.as_str(), &mut info);
    }
    let mut okm = [0u8; 64];
    hkdf(&salt, network.as_bytes(), &info, &mut okm);
    let mut halves = [[0u8; 32]; 2];
    halves[0].copy_from_slice(&okm[..32]);
    halves[1].copy_from_slice(&okm[32..]);
    let keys = (Key::from_bytes(halves[0]), Key::from_bytes(halves[1]));
    okm.zeroize();
    halves.zeroize();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::NodeName;
    use crate::wire::Instance;
    use crate::wire::hello::Role;

    fn hello(role: Role, number: u8, name: &str) -> Hello {
        Hello {
            role,
            probing: false,
            instance: Instance([number; 16]),
            nonce: [number; 32],
            port: 7,
            name: NodeName::new(name).unwrap(),
            meant: None,
        }
    }

    #[test]
    fn every_ingredient_changes_both_keys() {
        let network = Key::from_bytes([1; 32]);
        let (ask, answer) = (
            hello(Role::Ask, 1, "a"),
            hello(Role::Answer([1; 32]), 2, "b"),
        );
        let base = session_keys(&network, &ask, &answer);
        assert_ne!(base.0, base.1);
        let mut others = vec![session_keys(&Key::from_bytes([2; 32]), &ask, &answer)];
        for change in [
            |h: &mut Hello| h.nonce[31] ^= 1,
            |h: &mut Hello| h.instance.0[15] ^= 1,
            |h: &mut Hello| h.name = NodeName::new("c").unwrap(),
        ] {
            let (mut a, mut b) = (ask.clone(), answer.clone());
            change(&mut a);
            change(&mut b);
            others.push(session_keys(&network, &a, &answer));
            others.push(session_keys(&network, &ask, &b));
        }
        for other in others {
            assert!(other.0 != base.0 && other.1 != base.1);
        }
    }
}
