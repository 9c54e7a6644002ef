//! What a node and a relay say to each other: the payloads of `reg` and `fwd`, and the words of
//! `err`.
//!
//! ```text
//! reg, to the relay     join.VERSION.CHALLENGE | proof.PROOF *( "." PROOF ) | block.ROUTE
//! reg, from the relay   prove.CHALLENGE | joined.ROUTE | gone.ROUTE | busy.ROUTE.BYTES
//!                       | credit.ROUTE.BYTES
//! fwd                   ROUTE.TYPE.TOKEN
//!                       ROUTE is the receiver's on the way to the relay, the sender's from it
//! CHALLENGE, PROOF      32 bytes as padded base64url
//! ROUTE                 12 bytes as base64url, drawn by the relay for one link
//! BYTES                 decimal, without leading zeros
//! ```
//!
//! A node asks to join. A relay with a relay key asks it for a proof. The relay then hands over the
//! adverts that it holds as `fwd` frames of type `adv`, and last says `joined`, so that a node that
//! has joined knows the members that are there.
//!
//! `gone` says that a route leads nowhere any more. `busy` says that a frame for a route was
//! dropped because too much waits there, and gives its bytes back. A node has at most
//! [`ROUTE_WINDOW`] bytes of `fwd` frames under way to one route; `credit` gives back the bytes
//! that have left the relay. A node that gets nonsense from a route asks the relay to block that
//! route.
//!
//! These are pure functions over bytes. Which side may say what, and when, is decided in `relay`
//! and `engine`.

use super::Malformed;
use super::membership::{Challenge, Proof};
use crate::entropy::Entropy;
use crate::frame::{self, FrameType};
use crate::limits::KEYS_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use std::fmt;

pub use crate::limits::ROUTE_WINDOW;

const VERSION: &[u8] = b"1";
/// Characters of a route.
const ROUTE: usize = 16;
/// Characters of 32 bytes.
const TEXT: usize = 44;

/// The address of one link at a relay, drawn at random. It is kept as the text that is on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route([u8; ROUTE]);

impl Default for Route {
    /// A route that no relay draws, but by a chance of one in 2^96.
    fn default() -> Route {
        Route([b'A'; ROUTE])
    }
}

impl Route {
    /// Draws a new route.
    pub fn draw(entropy: &mut dyn Entropy) -> Route {
        let mut bytes = [0; ROUTE / 4 * 3];
        entropy.fill(&mut bytes);
        let mut text = [b'A'; ROUTE];
        let encoded = URL_SAFE.encode_slice(bytes, &mut text);
        debug_assert_eq!(encoded, Ok(ROUTE));
        Route(text)
    }

    fn parse(text: &[u8]) -> Result<Route, Malformed> {
        let text: [u8; ROUTE] = text.try_into().map_err(|_| Malformed)?;
        let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if text.iter().all(fits) {
            Ok(Route(text))
        } else {
            Err(Malformed)
        }
    }

    /// The route as text.
    pub fn as_bytes(&self) -> &[u8; ROUTE] {
        &self.0
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].escape_ascii().fmt(f)
    }
}

/// The reason why a relay closes a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The bytes were not a frame, or the frame was out of place.
    Frame,
    /// The relay does not serve this network.
    Network,
    /// The relay already serves as many networks as it may.
    Networks,
    /// The proof is wrong: the node has another network key.
    Key,
    /// The network already has as many members at the relay as it may.
    Full,
    /// There are too many links, or too many joins, from one address.
    Address,
    /// The node did not join in time.
    Late,
    /// The node was silent for too long.
    Idle,
    /// The node does not read what it is sent.
    Slow,
    /// The node sent more to a route than its window.
    Flood,
    /// The relay is being stopped.
    Stopping,
}

impl Refusal {
    /// Every refusal.
    ///
    /// cbindgen:ignore
    pub const ALL: [Refusal; 11] = [
        Refusal::Frame,
        Refusal::Network,
        Refusal::Networks,
        Refusal::Key,
        Refusal::Full,
        Refusal::Address,
        Refusal::Late,
        Refusal::Idle,
        Refusal::Slow,
        Refusal::Flood,
        Refusal::Stopping,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Frame => "frame",
            Refusal::Network => "network",
            Refusal::Networks => "networks",
            Refusal::Key => "key",
            Refusal::Full => "full",
            Refusal::Address => "address",
            Refusal::Late => "late",
            Refusal::Idle => "idle",
            Refusal::Slow => "slow",
            Refusal::Flood => "flood",
            Refusal::Stopping => "stopping",
        }
    }

    /// Reads the word.
    pub fn parse(word: &[u8]) -> Option<Refusal> {
        Refusal::ALL
            .into_iter()
            .find(|r| r.as_str().as_bytes() == word)
    }
}

/// What a node says to a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToRelay {
    /// The node asks to join.
    Join(Challenge),
    /// The node proves its keys: one proof for each, 1 to [`KEYS_MAX`].
    Prove(Vec<Proof>),
    /// The node wants nothing more from a route.
    Block(Route),
}

/// What a relay says to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromRelay {
    /// The relay asks for a proof.
    Prove(Challenge),
    /// The node has joined, and this is its own route.
    Joined(Route),
    /// The route leads to no member any more.
    Gone(Route),
    /// A frame for the route, of so many bytes, was dropped.
    Busy(Route, u32),
    /// So many more bytes may be sent to the route.
    Credit(Route, u32),
}

fn bytes32(text: &[u8]) -> Result<[u8; 32], Malformed> {
    let mut bytes = [0; 33];
    match URL_SAFE.decode_slice(text, &mut bytes) {
        Ok(32) if text.len() == TEXT => Ok(*bytes.first_chunk().ok_or(Malformed)?),
        _ => Err(Malformed),
    }
}

fn put32(bytes: &[u8; 32], out: &mut Vec<u8>) {
    let mut text = [b'A'; TEXT];
    let encoded = URL_SAFE.encode_slice(bytes, &mut text);
    debug_assert_eq!(encoded, Ok(TEXT));
    out.extend_from_slice(&text);
}

fn number(text: &[u8]) -> Result<u32, Malformed> {
    if text.is_empty() || text[0] == b'0' || !text.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    text.parse().map_err(|_| Malformed)
}

/// The verb of a `reg` payload and what follows it.
fn verb(payload: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let dot = memchr::memchr(b'.', payload).ok_or(Malformed)?;
    Ok((&payload[..dot], &payload[dot + 1..]))
}

impl ToRelay {
    /// Reads the payload of a `reg` frame.
    pub fn decode(payload: &[u8]) -> Result<ToRelay, Malformed> {
        match verb(payload)? {
            (b"join", rest) => {
                let (version, challenge) = verb(rest)?;
                if version != VERSION {
                    return Err(Malformed);
                }
                Ok(ToRelay::Join(bytes32(challenge)?))
            }
            (b"proof", rest) => {
                let proofs: Vec<Proof> = rest
                    .split(|b| *b == b'.')
                    .take(KEYS_MAX + 1)
                    .map(bytes32)
                    .collect::<Result<_, _>>()?;
                if proofs.len() > KEYS_MAX {
                    return Err(Malformed);
                }
                Ok(ToRelay::Prove(proofs))
            }
            (b"block", rest) => Ok(ToRelay::Block(Route::parse(rest)?)),
            _ => Err(Malformed),
        }
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            ToRelay::Join(challenge) => {
                out.extend_from_slice(b"join.");
                out.extend_from_slice(VERSION);
                out.push(b'.');
                put32(challenge, out);
            }
            ToRelay::Prove(proofs) => {
                out.extend_from_slice(b"proof");
                for proof in proofs {
                    out.push(b'.');
                    put32(proof, out);
                }
            }
            ToRelay::Block(route) => {
                out.extend_from_slice(b"block.");
                out.extend_from_slice(&route.0);
            }
        }
    }
}

impl FromRelay {
    /// Reads the payload of a `reg` frame.
    pub fn decode(payload: &[u8]) -> Result<FromRelay, Malformed> {
        Ok(match verb(payload)? {
            (b"prove", rest) => FromRelay::Prove(bytes32(rest)?),
            (b"joined", rest) => FromRelay::Joined(Route::parse(rest)?),
            (b"gone", rest) => FromRelay::Gone(Route::parse(rest)?),
            (word @ (b"busy" | b"credit"), rest) => {
                let (route, bytes) = verb(rest)?;
                let (route, bytes) = (Route::parse(route)?, number(bytes)?);
                if word == b"busy" {
                    FromRelay::Busy(route, bytes)
                } else {
                    FromRelay::Credit(route, bytes)
                }
            }
            _ => return Err(Malformed),
        })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (word, route, bytes) = match self {
            FromRelay::Prove(challenge) => {
                out.extend_from_slice(b"prove.");
                return put32(challenge, out);
            }
            FromRelay::Joined(route) => ("joined.", route, None),
            FromRelay::Gone(route) => ("gone.", route, None),
            FromRelay::Busy(route, bytes) => ("busy.", route, Some(bytes)),
            FromRelay::Credit(route, bytes) => ("credit.", route, Some(bytes)),
        };
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(&route.0);
        if let Some(bytes) = bytes {
            out.push(b'.');
            out.extend_from_slice(bytes.to_string().as_bytes());
        }
    }
}

/// A frame that a relay forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward<'a> {
    /// The receiver's route on the way to the relay, and the sender's on the way from it.
    pub route: Route,
    /// The type of the inner frame.
    pub kind: FrameType,
    /// Its payload.
    pub payload: &'a [u8],
}

impl<'a> Forward<'a> {
    /// Reads the payload of a `fwd` frame.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Forward<'a>, Malformed> {
        let (route, rest) = payload.split_at_checked(ROUTE).ok_or(Malformed)?;
        let [b'.', a, b, c, b'.', inner @ ..] = rest else {
            return Err(Malformed);
        };
        if inner.is_empty() || memchr::memchr(b'.', inner).is_some() {
            return Err(Malformed);
        }
        Ok(Forward {
            route: Route::parse(route)?,
            kind: FrameType::new([*a, *b, *c]).ok_or(Malformed)?,
            payload: inner,
        })
    }
}

/// Appends a `fwd` frame, whose inner payload `write` appends.
pub fn encode_forward(
    net: &str,
    route: &Route,
    kind: FrameType,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
) {
    frame::encode_with(net, FrameType::FORWARD, out, |out| {
        out.extend_from_slice(&route.0);
        out.push(b'.');
        out.extend_from_slice(&kind.letters());
        out.push(b'.');
        write(out);
    });
}

/// Where the route stands in a `fwd` frame of network `net`. All routes have one length, so a relay
/// can replace it in place.
pub fn route_range(net: &str) -> std::ops::Range<usize> {
    let at = net.len() + "|fwd|".len();
    at..at + ROUTE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Parsed, parse};
    use crate::limits::FRAME_MAX;
    use proptest::prelude::*;

    fn routes() -> impl Strategy<Value = Route> {
        "[A-Za-z0-9_-]{16}".prop_map(|s| Route::parse(s.as_bytes()).unwrap())
    }

    proptest! {
        #[test]
        fn words_round_trip(a in any::<[u8; 32]>(), proofs in prop::collection::vec(any::<[u8; 32]>(), 1..=KEYS_MAX), route in routes(), n in 1u32..) {
            for word in [ToRelay::Join(a), ToRelay::Prove(proofs), ToRelay::Block(route)] {
                let mut bytes = Vec::new();
                word.encode(&mut bytes);
                prop_assert_eq!(ToRelay::decode(&bytes), Ok(word));
                for cut in 0..bytes.len() {
                    // A cut between two proofs leaves fewer proofs; no other cut leaves anything.
                    let part = ToRelay::decode(&bytes[..cut]);
                    prop_assert!(part.is_err() || matches!(part, Ok(ToRelay::Prove(_)) if bytes[cut] == b'.'));
                }
            }
            for word in [FromRelay::Prove(a), FromRelay::Joined(route), FromRelay::Gone(route), FromRelay::Busy(route, n), FromRelay::Credit(route, n)] {
                let mut bytes = Vec::new();
                word.encode(&mut bytes);
                prop_assert_eq!(FromRelay::decode(&bytes), Ok(word));
            }
        }

        #[test]
        fn what_decodes_encodes_back(bytes in "(join|proof|block|prove|joined|gone|busy|credit)(\\.[A-Za-z0-9=_-]{0,3}|\\.[A-Za-z0-9_-]{16}|\\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]=){0,6}") {
            let bytes = bytes.as_bytes();
            let mut again = Vec::new();
            if let Ok(word) = ToRelay::decode(bytes) {
                word.encode(&mut again);
                prop_assert_eq!(&again, bytes);
            }
            if let Ok(word) = FromRelay::decode(bytes) {
                word.encode(&mut again);
                prop_assert_eq!(&again, bytes);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
            let _ = (ToRelay::decode(&bytes), FromRelay::decode(&bytes), Forward::decode(&bytes));
        }
    }

    #[test]
    fn a_forward_is_a_frame_whose_route_can_be_replaced_in_place() {
        let from = Route::parse(b"AAAAAAAAAAAAAAAA").unwrap();
        let to = Route::parse(b"abcdefgh-_012345").unwrap();
        let mut bytes = Vec::new();
        encode_forward("plant", &to, FrameType::MESSAGE, &mut bytes, |out| {
            out.extend_from_slice(b"gAAAtoken==");
        });
        let inner = |bytes: &[u8]| {
            let Ok(Parsed::Complete(frame, _)) = parse(bytes, FRAME_MAX) else {
                panic!()
            };
            assert_eq!(frame.kind, FrameType::FORWARD);
            let f = Forward::decode(frame.payload).unwrap();
            (f.route, f.kind, f.payload.to_vec())
        };
        let token = b"gAAAtoken==".to_vec();
        assert_eq!(inner(&bytes), (to, FrameType::MESSAGE, token.clone()));
        bytes[route_range("plant")].copy_from_slice(from.as_bytes());
        assert_eq!(inner(&bytes), (from, FrameType::MESSAGE, token));
    }

    #[test]
    fn what_is_not_quite_a_forward_is_malformed() {
        for bad in [
            &b"abcdefgh-_012345.msg"[..],
            b"abcdefgh-_012345.msg.",
            b"abcdefgh-_012345.MSG.x",
            b"abcdefgh-_012345.msg.x.y",
            b"abcdefgh-_01234.msg.x",
            b"abcdefgh-_0123=5.msg.x",
            b"abcdefgh-_01234.5msg.x",
            b"",
        ] {
            assert_eq!(
                Forward::decode(bad),
                Err(Malformed),
                "{}",
                bad.escape_ascii()
            );
        }
    }

    #[test]
    fn every_refusal_has_its_own_word() {
        for r in Refusal::ALL {
            assert_eq!(Refusal::parse(r.as_str().as_bytes()), Some(r));
        }
        assert_eq!(Refusal::parse(b"nonsense"), None);
    }
}
