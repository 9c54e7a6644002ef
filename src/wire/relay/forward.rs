//! Frames that a relay forwards.

use super::route::{ROUTE, Route};
use crate::frame::{self, FrameType};
use crate::wire::Malformed;

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
        out.extend_from_slice(route.as_bytes());
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

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
            let _ = Forward::decode(&bytes);
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
}
