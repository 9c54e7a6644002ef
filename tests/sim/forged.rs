//! What a program that has the network's key can say without a node: frames, hellos and adverts,
//! sealed as nodes seal them.

use crate::world::{PORT, key, name};
use peerbase::fernet::Sealer;
use peerbase::frame::{Frame, FrameType, Parsed, encode, parse};
use peerbase::limits::FRAME_MAX;
use peerbase::wire::Instance;
use peerbase::wire::advert::{Advert, Phase};
use peerbase::wire::hello::{Hello, Role};

/// A token of these bytes under the network's key.
pub(crate) fn sealed(plain: &[u8]) -> Vec<u8> {
    sealed_by(&Sealer::new(&key()), plain)
}

pub(crate) fn sealed_by(sealer: &Sealer, plain: &[u8]) -> Vec<u8> {
    let mut token = Vec::new();
    sealer.seal(plain, 1, &[3; 16], &mut token);
    token
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

/// A hello by which an instance under the name `own` asks for a session with the one it means.
pub(crate) fn hello(instance: Instance, own: &str, meant: &str) -> Hello {
    Hello {
        role: Role::Ask,
        probing: false,
        instance,
        nonce: [instance.0[0]; 32],
        port: PORT,
        name: name(own),
        meant: Some(name(meant)),
    }
}

pub(crate) fn plain_hello(hello: &Hello) -> Vec<u8> {
    let mut plain = Vec::new();
    hello.encode(&mut plain);
    plain
}

pub(crate) fn hello_frame(hello: &Hello) -> Vec<u8> {
    frame(FrameType::HELLO, &sealed(&plain_hello(hello)))
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
    }
}

pub(crate) fn sealed_advert(advert: &Advert) -> Vec<u8> {
    let mut plain = Vec::new();
    advert.encode(&mut plain);
    sealed(&plain)
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
