//! Who may go by which name: pins, certificates, revocation, and keys that are replaced.

mod certified;
mod pins;
mod renewal;
mod revocation;

use crate::world::{World, name, secs};
use peerbase::engine::{Certified, Mode};
use peerbase::name::NetworkName;
use peerbase::{
    Authority, Certificate, CertificateHash, Distrust, Event, Identity, RevocationList, Role,
};

fn identity(n: u8) -> Identity {
    Identity::from_seed([n; 32])
}

fn authority() -> Authority {
    Authority::from_seed([9; 32])
}

fn network() -> NetworkName {
    NetworkName::new("sim").unwrap()
}

/// The certificate of the node of this name with the `n`th identity, signed when the newest list
/// had the version `list`.
fn certificate(of: &str, n: u8, list: u64) -> Certificate {
    let roles = [Role::new("reader").unwrap()];
    let key = identity(n).public_key();
    authority()
        .sign(&network(), &name(of), &key, &roles, list)
        .unwrap()
}

/// The list of this version, which names these certificates.
fn list(version: u64, revoked: &[CertificateHash]) -> RevocationList {
    let mut list = authority().revoke(&network(), None, revoked).unwrap();
    while list.version() < version {
        list = authority().revoke(&network(), Some(&list), &[]).unwrap();
    }
    list
}

/// What a node has that shows this certificate.
fn mode(certificate: Certificate, list: Option<RevocationList>) -> Mode {
    Mode::Certified(Box::new(Certified {
        authorities: vec![authority().key()],
        certificate,
        list,
    }))
}

/// Adds a node of a certified network with the `n`th identity.
fn add(w: &mut World, of: &str, n: u8, known: Option<RevocationList>) -> usize {
    let signed_at = known.as_ref().map_or(0, RevocationList::version);
    let mode = mode(certificate(of, n, signed_at), known);
    w.kept.insert(of.into(), (identity(n), mode));
    w.add(of)
}

/// Whether a call of one node to another is answered.
fn answers(w: &mut World, caller: usize, callee: &str) -> bool {
    let call = w.call(caller, callee, secs(3)).unwrap();
    w.run(secs(4));
    w.result(caller, call).unwrap().is_ok()
}

/// The reasons for which a node has told its program that it does not trust a peer.
fn distrusts(w: &World, node: usize, other: &str) -> Vec<Distrust> {
    let events = w.nodes[node].events.iter();
    let why = events.filter_map(|event| match event {
        Event::Distrusted { peer, why, .. } if peer.as_str() == other => Some(*why),
        _ => None,
    });
    why.collect()
}

/// The reasons that a peer has given this node for not trusting it.
fn distrusted_by(w: &World, node: usize, other: &str) -> Vec<Distrust> {
    let events = w.nodes[node].events.iter();
    let why = events.filter_map(|event| match event {
        Event::DistrustedBy { peer, why } if peer.as_str() == other => Some(*why),
        _ => None,
    });
    why.collect()
}
