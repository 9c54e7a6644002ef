//! The frame codec: `net|type|payload|END\n` over bytes, and nothing else.
//!
//! [`parse`] is a pure function. It borrows from its input and never allocates. It gives the same
//! answer however the input was cut: each byte is judged by the bytes before it alone, so an error
//! in a prefix is the same error in the whole. A frame has exactly one encoding: [`encode`] writes
//! a parsed frame back byte for byte.
//!
//! ```text
//! frame   = net "|" type "|" payload "|" "END" LF
//! net     = 1*64 bytes of UTF-8, no control or invisible characters, none of "|" "." ":" "@"
//! type    = 3 lower-case ASCII letters
//! payload = field *( "." field )
//! field   = 1*( ALPHA / DIGIT / "-" / "_" / "=" / "!" )
//! ```

use crate::limits::NAME_MAX;
use crate::name::name_fault;
use memchr::memchr;
use std::fmt;

const TERMINATOR: &[u8] = b"END\n";

/// A frame's type: three lower-case letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameType([u8; 3]);

impl FrameType {
    /// The presence of a node, in a datagram.
    pub const ADVERT: FrameType = FrameType(*b"adv");
    /// The handshake of a session.
    pub const HELLO: FrameType = FrameType(*b"hel");
    /// A record from the side that opened the session.
    pub const MESSAGE: FrameType = FrameType(*b"msg");
    /// A record from the side that answered it.
    pub const RESPONSE: FrameType = FrameType(*b"rsp");
    /// The reason why a link is being closed; advisory, and in clear.
    pub const ERROR: FrameType = FrameType(*b"err");
    /// A keepalive, which the receiver echoes.
    pub const PING: FrameType = FrameType(*b"png");
    /// Joining a network at a relay, and what the relay says about it.
    pub const REGISTER: FrameType = FrameType(*b"reg");
    /// A frame that a relay forwards.
    pub const FORWARD: FrameType = FrameType(*b"fwd");

    /// The type of these letters, if they are three lower-case ones.
    pub fn new(letters: [u8; 3]) -> Option<FrameType> {
        letters
            .iter()
            .all(u8::is_ascii_lowercase)
            .then_some(FrameType(letters))
    }

    /// The letters.
    pub fn letters(self) -> [u8; 3] {
        self.0
    }
}

impl fmt::Debug for FrameType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

/// One frame, borrowed from the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The network's name.
    pub net: &'a str,
    /// The type.
    pub kind: FrameType,
    /// The payload, within its alphabet and without empty fields.
    pub payload: &'a [u8],
}

/// What a well-formed input holds so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A frame, and its length in bytes.
    Complete(Frame<'a>, usize),
    /// The beginning of a frame; more bytes are needed.
    Incomplete,
}

/// The reason why an input can never become a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameError {
    /// There is no `|` where the network's name must have ended.
    NetTooLong,
    /// The network's name is not UTF-8.
    NetUtf8,
    /// The network's name breaks a rule of names.
    Net,
    /// The type is not three lower-case letters and a `|`.
    Type,
    /// The payload has a byte outside its alphabet, or an empty field.
    Payload,
    /// The payload is not followed by `END` and a line feed.
    Terminator,
    /// The frame does not end within its limit.
    TooLong,
}

impl FrameError {
    /// The rule that was broken.
    pub fn as_str(self) -> &'static str {
        match self {
            FrameError::NetTooLong => "network name longer than 64 bytes",
            FrameError::NetUtf8 => "network name is not UTF-8",
            FrameError::Net => "network name breaks a rule of names",
            FrameError::Type => "type is not three lower-case letters",
            FrameError::Payload => "payload outside its alphabet or with an empty field",
            FrameError::Terminator => "payload not followed by END and a line feed",
            FrameError::TooLong => "frame longer than its limit",
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for FrameError {}

/// Reads the frame at the start of `input`, which may take at most `max` bytes.
#[inline]
pub fn parse(input: &[u8], max: usize) -> Result<Parsed<'_>, FrameError> {
    let window = &input[..input.len().min(max)];
    let incomplete = if window.len() < max {
        Ok(Parsed::Incomplete)
    } else {
        Err(FrameError::TooLong)
    };

    let head = &window[..window.len().min(NAME_MAX + 1)];
    let Some(net_end) = memchr(b'|', head) else {
        return if head.len() > NAME_MAX {
            Err(FrameError::NetTooLong)
        } else {
            incomplete
        };
    };
    let net = std::str::from_utf8(&window[..net_end]).map_err(|_| FrameError::NetUtf8)?;
    if name_fault(net).is_some() {
        return Err(FrameError::Net);
    }

    let kind_at = net_end + 1;
    let kind_bytes = &window[kind_at..window.len().min(kind_at + 4)];
    for (i, b) in kind_bytes.iter().enumerate() {
        if !(if i < 3 {
            b.is_ascii_lowercase()
        } else {
            *b == b'|'
        }) {
            return Err(FrameError::Type);
        }
    }
    let &[a, b, c, _] = kind_bytes else {
        return incomplete;
    };

    let payload_at = kind_at + 4;
    let Some(len) = memchr(b'|', &window[payload_at..]) else {
        return incomplete;
    };
    let payload = &window[payload_at..payload_at + len];
    if !is_payload(payload) {
        return Err(FrameError::Payload);
    }

    let tail_at = payload_at + len + 1;
    let tail = &window[tail_at..window.len().min(tail_at + TERMINATOR.len())];
    if !TERMINATOR.starts_with(tail) {
        return Err(FrameError::Terminator);
    }
    if tail.len() < TERMINATOR.len() {
        return incomplete;
    }
    let frame = Frame {
        net,
        kind: FrameType([a, b, c]),
        payload,
    };
    Ok(Parsed::Complete(frame, tail_at + TERMINATOR.len()))
}

/// Appends one frame, whose payload `write` appends. Returns what `write` returned.
///
/// `write` must append bytes of the payload's alphabet only. It is called with tokens and nonces,
/// which are base64url by construction.
#[inline]
pub fn encode_with<T>(
    net: &str,
    kind: FrameType,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> T,
) -> T {
    out.extend_from_slice(net.as_bytes());
    out.extend_from_slice(&[b'|', kind.0[0], kind.0[1], kind.0[2], b'|']);
    let from = out.len();
    let result = write(out);
    debug_assert!(is_payload(&out[from..]));
    out.extend_from_slice(b"|END\n");
    result
}

/// Appends one frame.
pub fn encode(frame: &Frame<'_>, out: &mut Vec<u8>) {
    encode_with(frame.net, frame.kind, out, |out| {
        out.extend_from_slice(frame.payload)
    });
}

fn is_payload(payload: &[u8]) -> bool {
    if payload.is_empty() || !in_alphabet(payload) {
        return false;
    }
    // Tokens hold no dot, so this search usually ends without a hit.
    let mut rest = payload;
    while let Some(dot) = memchr(b'.', rest) {
        if dot == 0 || dot + 1 == rest.len() {
            return false;
        }
        rest = &rest[dot + 1..];
    }
    true
}

/// Whether every byte is in `A-Z a-z 0-9 - _ = ! .`. It works in blocks without a branch inside, so
/// that the compiler makes vector code of it.
fn in_alphabet(bytes: &[u8]) -> bool {
    fn bad(b: u8) -> u8 {
        let letter = (b | 0x20).wrapping_sub(b'a') < 26;
        // '-' '.' '/' and the digits are neighbours; only '/' does not belong.
        let low = (b.wrapping_sub(b'-') < 13) & (b != b'/');
        u8::from(!(letter | low | (b == b'=') | (b == b'_') | (b == b'!')))
    }
    let (blocks, rest) = bytes.as_chunks::<64>();
    blocks
        .iter()
        .all(|block| block.iter().fold(0, |acc, &b| acc | bad(b)) == 0)
        && rest.iter().fold(0, |acc, &b| acc | bad(b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FRAME_MAX;
    use crate::name::some_name;
    use proptest::prelude::*;

    fn whole(input: &[u8]) -> Result<Parsed<'_>, FrameError> {
        parse(input, FRAME_MAX)
    }

    #[test]
    fn a_frame_is_read_and_the_rest_left() {
        let input = b"plant|msg|gAAAA_-=.x|END\nnext";
        let Ok(Parsed::Complete(f, used)) = whole(input) else {
            panic!()
        };
        assert_eq!(
            (f.net, f.kind, f.payload, used),
            ("plant", FrameType::MESSAGE, &b"gAAAA_-=.x"[..], 25)
        );
    }

    #[test]
    fn each_fault_is_named() {
        let long = [b'n'; 65];
        for (input, error) in [
            (&long[..], FrameError::NetTooLong),
            (b"|msg|x|END\n", FrameError::Net),
            (b"a.b|msg|x|END\n", FrameError::Net),
            (b"a\0b|msg|x|END\n", FrameError::Net),
            (b"\xff|msg|x|END\n", FrameError::NetUtf8),
            (b"n|MSG|x|END\n", FrameError::Type),
            (b"n|ms|x|END\n", FrameError::Type),
            (b"n|msgs|x|END\n", FrameError::Type),
            (b"n||msg|x|END\n", FrameError::Type),
            (b"n|msg||END\n", FrameError::Payload),
            (b"n|msg|a..b|END\n", FrameError::Payload),
            (b"n|msg|.a|END\n", FrameError::Payload),
            (b"n|msg|a.|END\n", FrameError::Payload),
            (b"n|msg|a b|END\n", FrameError::Payload),
            (b"n|msg|a/b|END\n", FrameError::Payload),
            (b"n|msg|a+b|END\n", FrameError::Payload),
            (b"n|msg|a\0b|END\n", FrameError::Payload),
            (b"n|msg|a\rb|END\n", FrameError::Payload),
            ("n|msg|é|END\n".as_bytes(), FrameError::Payload),
            (b"n|msg|a|END\r\n", FrameError::Terminator),
            (b"n|msg|a|end\n", FrameError::Terminator),
            (b"n|msg|a||END\n", FrameError::Terminator),
            (b"n|msg|a|ENDX", FrameError::Terminator),
        ] {
            assert_eq!(whole(input), Err(error), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn the_word_end_inside_a_name_or_payload_is_just_letters() {
        let input = b"END|msg|END|END\n";
        let Ok(Parsed::Complete(f, 16)) = whole(input) else {
            panic!()
        };
        assert_eq!((f.net, f.payload), ("END", &b"END"[..]));
        // "|END" cannot be inside: the bar ends the payload.
        assert_eq!(whole(b"n|msg|a|ENDb|END\n"), Err(FrameError::Terminator));
    }

    #[test]
    fn an_unfinished_frame_is_refused_at_its_limit_and_not_before() {
        let mut input = b"n|msg|".to_vec();
        input.resize(FRAME_MAX - 1, b'a');
        assert_eq!(whole(&input), Ok(Parsed::Incomplete));
        input.push(b'a');
        assert_eq!(whole(&input), Err(FrameError::TooLong));
        // The same if the terminator stands behind the limit, and is already part of the input.
        input.extend_from_slice(b"|END\n");
        assert_eq!(whole(&input), Err(FrameError::TooLong));
        // A frame that just fits is accepted.
        let mut fits = b"n|msg|".to_vec();
        fits.resize(FRAME_MAX - 5, b'a');
        fits.extend_from_slice(b"|END\n");
        assert!(matches!(whole(&fits), Ok(Parsed::Complete(_, FRAME_MAX))));
    }

    #[test]
    fn the_alphabet_is_exactly_the_documented_one() {
        for b in 0..=255u8 {
            let listed = b.is_ascii_alphanumeric() || b"-_=!.".contains(&b);
            assert_eq!(in_alphabet(&[b]), listed, "{b}");
            assert_eq!(in_alphabet(&[b; 64]), listed, "{b}");
        }
    }

    fn frames() -> impl Strategy<Value = Vec<u8>> {
        (
            some_name(),
            "[a-z]{3}",
            "[A-Za-z0-9_=!-]{1,90}(\\.[A-Za-z0-9_=!-]{1,9}){0,3}",
        )
            .prop_map(|(n, t, p)| format!("{n}|{t}|{p}|END\n").into_bytes())
    }

    proptest! {
        #[test]
        fn what_parses_encodes_back_to_the_same_bytes(bytes in frames()) {
            let Ok(Parsed::Complete(frame, used)) = whole(&bytes) else { panic!() };
            let mut again = Vec::new();
            encode(&frame, &mut again);
            prop_assert_eq!(used, bytes.len());
            prop_assert_eq!(again, bytes);
        }

        #[test]
        fn a_prefix_is_incomplete_or_has_the_answer_of_the_whole(
            mut bytes in frames(), edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3), max in 1usize..140,
        ) {
            for (at, b) in edits {
                let i = at.index(bytes.len());
                bytes[i] = b;
            }
            let answer = parse(&bytes, max);
            for cut in 0..bytes.len() {
                let part = parse(&bytes[..cut], max);
                prop_assert!(part == Ok(Parsed::Incomplete) || part == answer, "cut {}: {:?} / {:?}", cut, part, answer);
            }
        }
    }
}
