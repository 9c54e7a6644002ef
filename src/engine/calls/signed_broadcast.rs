//! A message for every node, and its origin's signature.

use crate::handshake::Credentials;
use crate::identity::{Identity, PublicKey};
use crate::limits::BROADCAST_HOPS;
use crate::name::{NetworkName, NodeName};
use crate::wire::Instance;
use crate::wire::broadcast::{BroadcastRef, signed_bytes};
use std::sync::Arc;

/// What the origin of a message shows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Proof {
    key: PublicKey,
    start: [u8; 16],
    signature: [u8; 64],
    certificate: Vec<u8>,
    extensions: Vec<u8>,
}

/// A message for every node, on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// The instance that said it first.
    pub(crate) origin: Instance,
    /// Counted by the origin, from 0.
    pub(crate) number: u64,
    /// How many more nodes may hand it on, one after the other.
    pub(crate) hops: u8,
    /// The name of the origin.
    pub(crate) sender: NodeName,
    pub(crate) data: Arc<[u8]>,
    proof: Arc<Proof>,
}

impl Broadcast {
    /// A message of a node with this identity, which signs it.
    pub(crate) fn sign(
        (network, sender): (&NetworkName, &NodeName),
        (identity, credentials): (&Identity, &Credentials),
        number: u64,
        data: &[u8],
    ) -> Broadcast {
        let mut proof = Proof {
            key: identity.public_key(),
            start: *credentials.start(),
            signature: [0; 64],
            certificate: credentials.certificate().to_vec(),
            extensions: Vec::new(),
        };
        let mut broadcast = Broadcast {
            origin: credentials.instance(),
            number,
            hops: BROADCAST_HOPS,
            sender: sender.clone(),
            data: data.into(),
            proof: Arc::new(proof.clone()),
        };
        let signed = signed_bytes(network, broadcast.origin, &broadcast.as_wire());
        proof.signature = identity.sign(&signed);
        broadcast.proof = Arc::new(proof);
        broadcast
    }

    pub(crate) fn as_wire(&self) -> BroadcastRef<'_> {
        BroadcastRef {
            number: self.number,
            hops: self.hops,
            sender: self.sender.as_str(),
            key: self.proof.key.as_bytes(),
            start: &self.proof.start,
            signature: &self.proof.signature,
            certificate: &self.proof.certificate,
            extensions: &self.proof.extensions,
            data: &self.data,
        }
    }

    /// `None` if the sender's name is no name, or its key is none.
    pub(crate) fn read(wire: &BroadcastRef<'_>) -> Option<Broadcast> {
        let (key, origin) = wire.origin()?;
        let proof = Proof {
            key,
            start: *wire.start,
            signature: *wire.signature,
            certificate: wire.certificate.to_vec(),
            extensions: wire.extensions.to_vec(),
        };
        Some(Broadcast {
            origin,
            number: wire.number,
            hops: wire.hops,
            sender: NodeName::new(wire.sender).ok()?,
            data: wire.data.into(),
            proof: Arc::new(proof),
        })
    }

    /// Whether the origin that it shows has said it, in this network.
    pub(crate) fn is_signed(&self, network: &NetworkName) -> bool {
        let signed = signed_bytes(network, self.origin, &self.as_wire());
        self.proof.key.verify(&signed, &self.proof.signature)
    }

    /// The public key of the origin.
    pub(crate) fn key(&self) -> &PublicKey {
        &self.proof.key
    }

    /// The certificate that the origin shows; empty if it has none.
    pub(crate) fn certificate(&self) -> &[u8] {
        &self.proof.certificate
    }
}

/// A message for every node, as the program of one is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The name of the node that said it.
    pub sender: NodeName,
    /// The public key by which that node has signed it.
    pub key: PublicKey,
    /// What was said.
    pub data: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::config;
    use crate::unhex::unhex;
    use crate::wire::ask::{AskKind, AskRef};
    use serde_json::Value;

    #[test]
    fn a_message_is_its_origins_and_nothing_in_it_can_be_another() {
        let config = config();
        let credentials = &Credentials::new(&config.identity, true, [7; 16]);
        let names = (&config.network, &config.name);
        let said = Broadcast::sign(names, (&config.identity, credentials), 7, b"hello");
        let read = Broadcast::read(&said.as_wire()).unwrap();
        assert!(read == said && read.is_signed(&config.network));
        assert_eq!(read.key(), &config.identity.public_key());
        let field = NetworkName::new("field").unwrap();
        assert!(!read.is_signed(&field), "another network's");
        let altered = |change: &dyn Fn(&mut BroadcastRef<'_>)| {
            let mut wire = said.as_wire();
            change(&mut wire);
            let read = Broadcast::read(&wire);
            read.is_some_and(|read| read.is_signed(&config.network))
        };
        assert!(altered(&|b| b.hops -= 1), "the hops change on the way");
        let other = Identity::from_seed([9; 32]).public_key();
        assert!(!altered(&|b| b.number += 1));
        assert!(!altered(&|b| b.sender = "them"));
        assert!(!altered(&|b| b.data = b"hellO"));
        assert!(!altered(&|b| b.start = &[9; 16]));
        assert!(!altered(&|b| b.signature = &[9; 64]));
        assert!(!altered(&|b| b.extensions = &[0, 9, 0, 0]));
        let key = *other.as_bytes();
        let mut wire = said.as_wire();
        wire.key = &key;
        assert!(!Broadcast::read(&wire).unwrap().is_signed(&config.network));
    }

    #[test]
    fn messages_are_those_of_the_vectors() {
        let file = include_str!("../../../tests/vectors/broadcast.json");
        let vectors: Value = serde_json::from_str(file).unwrap();
        for wanted in vectors["broadcasts"].as_array().unwrap() {
            let text = |field: &str| wanted[field].as_str().unwrap();
            let bytes = |field| unhex(text(field));
            let identity = Identity::from_seed(bytes("seed").try_into().unwrap());
            let start = bytes("start").try_into().unwrap();
            let ask = bytes("ask");
            let Ok(AskRef::Broadcast(wire)) = AskRef::decode(AskKind::Broadcast, &ask) else {
                panic!("it does not decode");
            };
            let read = Broadcast::read(&wire).unwrap();
            let network = NetworkName::new(text("network")).unwrap();
            assert!(read.is_signed(&network));
            assert_eq!(
                (*read.key(), &read.data[..]),
                (identity.public_key(), &bytes("data")[..])
            );
            let mut again = Vec::new();
            AskRef::Broadcast(read.as_wire()).encode(&mut again);
            assert_eq!(again, ask);
            if wire.extensions.is_empty() && wire.certificate.is_empty() {
                let credentials = Credentials::new(&identity, true, start);
                let who = (&identity, &credentials);
                let made = Broadcast::sign((&network, &read.sender), who, read.number, &read.data);
                assert_eq!(made.as_wire().signature, wire.signature);
            }
        }
    }
}
