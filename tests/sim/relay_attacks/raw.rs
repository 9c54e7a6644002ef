//! A link to a hub.

use crate::forged::{frame_of, frames_from};
use crate::world::World;
use peerbase::Refusal;
use peerbase::frame::FrameType;
use peerbase::wire::relay::{Forward, FromRelay, Route, ToRelay, encode_forward};
use peerbase::wire::relay_key::WordMacs;

pub(crate) const CHALLENGE: [u8; 32] = [7; 32];

/// A link to a hub with nobody's engine behind it.
pub(crate) struct Raw {
    pub(crate) wire: usize,
    pub(crate) net: &'static str,
    pub(crate) read: usize,
    /// The MACs of words, once the relay key is proved.
    pub(crate) macs: Option<WordMacs>,
}

impl Raw {
    pub(crate) fn connect(w: &mut World, hub: usize, from: [u8; 4]) -> Raw {
        let wire = w.raw_to_hub(hub, from);
        Raw {
            wire,
            net: "sim",
            read: 0,
            macs: None,
        }
    }

    /// Connects and joins; the route, if the hub lets it in.
    pub(crate) fn join(w: &mut World, hub: usize, from: [u8; 4]) -> (Raw, Option<Route>) {
        let mut raw = Raw::connect(w, hub, from);
        raw.say(w, &ToRelay::Join(CHALLENGE));
        w.settle();
        let route = raw.words(w).into_iter().find_map(|word| match word {
            FromRelay::Joined(route) => Some(route),
            _ => None,
        });
        (raw, route)
    }

    pub(crate) fn send(&self, w: &mut World, kind: FrameType, payload: &[u8]) {
        w.raw_send(self.wire, &frame_of(self.net, kind, payload));
    }

    pub(crate) fn say(&self, w: &mut World, word: &ToRelay) {
        let mut payload = Vec::new();
        word.encode(&mut payload);
        self.send(w, FrameType::REGISTER, &payload);
    }

    /// Says a word with its number and MAC.
    pub(crate) fn say_sealed(&mut self, w: &mut World, word: &ToRelay) {
        let mut payload = Vec::new();
        word.encode(&mut payload);
        self.macs.as_mut().unwrap().append(0, &mut payload);
        self.send(w, FrameType::REGISTER, &payload);
    }

    pub(crate) fn forward(&self, w: &mut World, to: Route, kind: FrameType, token: &[u8]) {
        let mut bytes = Vec::new();
        encode_forward(self.net, &to, kind, &mut bytes, |out| {
            out.extend_from_slice(token)
        });
        w.raw_send(self.wire, &bytes);
    }

    /// What has come since the last time.
    pub(crate) fn frames(&mut self, w: &World) -> Vec<(FrameType, Vec<u8>)> {
        frames_from(&w.raw[&self.wire], &mut self.read)
    }

    pub(crate) fn words(&mut self, w: &World) -> Vec<FromRelay> {
        let words = self.frames(w).into_iter();
        let words = words.filter(|(kind, _)| *kind == FrameType::REGISTER);
        let read = |(_, payload): (FrameType, Vec<u8>)| {
            let payload = match &mut self.macs {
                Some(macs) => macs.check(&payload).unwrap(),
                None => &payload,
            };
            FromRelay::decode(payload).unwrap().word
        };
        words.map(read).collect()
    }

    /// Where the others are, as the hub has told so far.
    pub(crate) fn routes(&mut self, w: &World) -> Vec<Route> {
        self.read = 0;
        let frames = self.frames(w).into_iter();
        frames
            .filter_map(|(_, p)| Some(Forward::decode(&p).ok()?.route))
            .collect()
    }

    /// Why the hub has ended the link, if it has.
    pub(crate) fn refused(&mut self, w: &World) -> Option<Refusal> {
        let err = self
            .frames(w)
            .into_iter()
            .find(|(kind, _)| *kind == FrameType::ERROR);
        let why = err.map(|(_, word)| Refusal::parse(&word).unwrap());
        assert_eq!(
            why.is_some(),
            w.closed_raw.contains(&self.wire),
            "told, and closed"
        );
        why
    }
}

pub(crate) fn address(n: usize) -> [u8; 4] {
    let [a, b] = (n as u16).to_be_bytes();
    [10, 5, a, b]
}
