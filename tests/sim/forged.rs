//! What a program that has the network's key can say without a node: frames, questions and adverts,
//! sealed as nodes seal them.

use crate::world::{PORT, Rng, key, name};
use peerbase::Identity;
use peerbase::fernet::{Keyring, Sealer};
use peerbase::frame::{Frame, FrameType, Parsed, encode, parse};
use peerbase::handshake::{Credentials, Initiator, NetworkKeys, Own};
use peerbase::limits::FRAME_MAX;
use peerbase::name::{NetworkName, NodeName};
use peerbase::wire::Instance;
use peerbase::wire::advert::{Advert, MARK, Phase};
use peerbase::wire::broadcast::{BroadcastRef, signed_bytes};
use peerbase::wire::extensions::Extensions;
use peerbase::wire::handshake::Envelope;

pub(crate) fn sealed_by(sealer: &Sealer, plain: &[u8]) -> Vec<u8> {
    let mut token = Vec::new();
    sealer.seal(plain, 1, &[3; 16], &mut token);
    token
}

pub(crate) fn network_keys() -> NetworkKeys {
    keys_of("sim", Keyring::from(key()))
}

pub(crate) fn keys_of(network: &str, keys: Keyring) -> NetworkKeys {
    NetworkKeys::new(&keys, &NetworkName::new(network).unwrap())
}

/// What is drawn at the start of each member gone bad.
const START: [u8; 16] = [7; 16];

/// The identity of the `n`th member gone bad.
fn identity(n: u64) -> Identity {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&n.to_be_bytes());
    Identity::from_seed(seed)
}

/// The identity of the `n`th member gone bad, and one start of it.
pub(crate) fn credentials(n: u64) -> Credentials {
    Credentials::new(&identity(n), false, START)
}

/// The instance of the `n`th member gone bad.
pub(crate) fn instance(n: u64) -> Instance {
    credentials(n).instance()
}

/// Somebody who takes part in handshakes.
pub(crate) struct Actor {
    network: NetworkName,
    pub(crate) keys: NetworkKeys,
    pub(crate) credentials: Credentials,
    name: NodeName,
    /// The version of the revocation list that it says it has.
    pub(crate) list: u64,
    pub(crate) rng: Rng,
}

impl Actor {
    /// The `n`th member gone bad, under this name.
    pub(crate) fn new(n: u64, own: &str) -> Actor {
        Actor::within("sim", network_keys(), n, own)
    }

    pub(crate) fn within(network: &str, keys: NetworkKeys, n: u64, own: &str) -> Actor {
        Actor {
            network: NetworkName::new(network).unwrap(),
            keys,
            credentials: credentials(n),
            name: name(own),
            list: 0,
            rng: Rng(n + 1),
        }
    }

    pub(crate) fn with<R>(&mut self, f: impl FnOnce(Own<'_>, &mut Rng) -> R) -> R {
        let own = Own {
            network: &self.network,
            keys: &self.keys,
            credentials: &self.credentials,
            name: &self.name,
            port: PORT,
            probing: false,
            list: self.list,
        };
        f(own, &mut self.rng)
    }

    /// Begins a handshake. Also gives the payload of its first message.
    pub(crate) fn ask(&mut self) -> (Initiator, Vec<u8>) {
        let (initiator, first) = self.with(|own, rng| Initiator::begin(own, rng));
        (initiator, payload(&first))
    }
}

/// Says something to all, in the name and with the keys of the `n`th member gone bad.
pub(crate) fn said<R>(
    (n, sender): (u64, &str),
    (number, hops): (u64, u8),
    data: &[u8],
    f: impl FnOnce(BroadcastRef<'_>) -> R,
) -> R {
    let (identity, start) = (identity(n), START);
    let key = identity.public_key();
    let mut broadcast = BroadcastRef {
        number,
        hops,
        sender,
        key: key.as_bytes(),
        start: &start,
        signature: &[0; 64],
        certificate: &[],
        extensions: &[],
        data,
    };
    let network = NetworkName::new("sim").unwrap();
    let signed = signed_bytes(&network, instance(n), &broadcast);
    let signature = identity.sign(&signed);
    broadcast.signature = &signature;
    f(broadcast)
}

/// The payload of a `hel` frame.
pub(crate) fn payload(envelope: &Envelope) -> Vec<u8> {
    let mut payload = Vec::new();
    envelope.encode(&mut payload);
    payload
}

/// The frame by which the `n`th member gone bad asks for a session.
pub(crate) fn question_frame(n: u64) -> Vec<u8> {
    let (_, question) = Actor::new(n, "x").ask();
    frame(FrameType::HELLO, &question)
}

/// A frame of the world's network.
pub(crate) fn frame(kind: FrameType, payload: &[u8]) -> Vec<u8> {
    frame_of("sim", kind, payload)
}

pub(crate) fn frame_of(net: &str, kind: FrameType, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&Frame { net, kind, payload }, &mut out);
    out
}

/// What an instance under this name tells of itself, with nothing in it that could be left out.
pub(crate) fn advert(own: &str, instance: Instance) -> Advert {
    Advert {
        phase: Phase::Present,
        instance,
        sequence: 1,
        interval_ms: 1_000,
        port: 9,
        name: name(own),
        address: None,
        relays: Vec::new(),
        vouched: 0,
        extensions: Extensions::default(),
    }
}

pub(crate) fn sealed_advert(advert: &Advert) -> Vec<u8> {
    let mut plain = Vec::new();
    advert.encode(&mut plain);
    let keys = network_keys();
    let sealer = keys.adverts().sealer(keys.adverts().first());
    [vec![MARK], sealed_by(sealer, &plain)].concat()
}

pub(crate) fn advert_frame(advert: &Advert) -> Vec<u8> {
    frame(FrameType::ADVERT, &sealed_advert(advert))
}

/// The whole frames in these bytes from `read` on, which moves behind them.
pub(crate) fn frames_from(bytes: &[u8], read: &mut usize) -> Vec<(FrameType, Vec<u8>)> {
    let mut list = Vec::new();
    while let Ok(Parsed::Complete(frame, used)) = parse(&bytes[*read..], FRAME_MAX) {
        list.push((frame.kind, frame.payload.to_vec()));
        *read += used;
    }
    list
}

/// The frames at the beginning of these bytes.
pub(crate) fn frames(bytes: &[u8]) -> Vec<(FrameType, Vec<u8>)> {
    frames_from(bytes, &mut 0)
}
