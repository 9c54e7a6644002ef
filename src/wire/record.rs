//! The record: what travels in a session, sealed under the session's keys.
//!
//! ```text
//! sequence u64 | kind u8 | channel u32 | body
//!             128 is added to the kind if extension fields stand between the header and the body:
//!             u16 length, at least 1, and so many bytes
//! call   (1)  number u64 | timeout u32 ms | form u8 | settled: u8 count, that many u64
//!             | what is asked, the rest; or its length u64, if that is large
//!             form is a sum: 1 message, 2 sent before, 4 with streams, 8 large, 16 broadcast,
//!             32 a command with bytes
//! reply  (2)  number u64 | status u8
//!             | value or message, the rest; or the value's length u64, if that is large
//! data   (3)  number u64 | offset u64 | bytes, the rest
//! end    (4)  number u64 | length u64 | 0 u8; or 1 u8, why, the rest
//! credit (5)  number u64 | received u64 | limit u64
//! cancel (6)  number u64; on a channel, also why, the rest
//! notice (7)  settled: u8 count, that many u64
//! peers  (8)  see `peers`
//! close  (9)  reason u8
//! ping  (10)  nonce [16]
//! pong  (11)  nonce [16]
//! renew (12)  nothing: the sender's next record is sealed under its next key
//! list  (13)  see `revocations`
//! ```
//!
//! The channel says which of a call's streams a record is about, and is 0 if the record is about no
//! stream: see [`Channel`]. Offsets and limits count from the beginning of the stream, so that a
//! stream can be resumed over another session.

use super::ask::{AskKind, AskRef};
pub use super::close_reason::CloseReason;
pub use super::header::HEADER;
use super::header::header;
use super::revocations::{self, encode_piece};
use super::settled::put_settled;
pub use super::settled::{SETTLED_MAX, Settled};
pub use super::status::Status;
use super::{Malformed, Reader, extensions};

/// The bit of a kind which says that extension fields follow the header.
const EXTENDED: u8 = 128;

const MESSAGE: u8 = 1;
const AGAIN: u8 = 2;
const STREAMS: u8 = 4;
const LARGE: u8 = 8;
const BROADCAST: u8 = 16;
const DATA: u8 = 32;

/// One of the streams of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// What the caller's program streams to the command.
    Request,
    /// What the command streams to the caller's program.
    Response,
    /// What is asked, if it is too large for the call's record.
    Ask,
    /// The value, if it is too large for the reply's record.
    Value,
}

impl Channel {
    fn from_u32(number: u32) -> Result<Channel, Malformed> {
        Ok(match number {
            1 => Channel::Request,
            2 => Channel::Response,
            3 => Channel::Ask,
            4 => Channel::Value,
            _ => return Err(Malformed),
        })
    }

    fn to_u32(self) -> u32 {
        match self {
            Channel::Request => 1,
            Channel::Response => 2,
            Channel::Ask => 3,
            Channel::Value => 4,
        }
    }

    /// Whether the caller sends on it.
    pub fn is_callers(self) -> bool {
        matches!(self, Channel::Request | Channel::Ask)
    }
}

/// How a stream ended, as its sender says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The stream is whole. Each piece was authenticated and stands at its offset.
    Whole,
    /// The stream was broken off; this text says why.
    Broken(&'a [u8]),
}

/// A stream: its channel, and the number of its call.
pub type Of = (Channel, u64);

/// The contents of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A call.
    Call {
        /// The caller's number for the call, used once in the caller's life.
        number: u64,
        /// Milliseconds for which the caller still waits.
        timeout_ms: u32,
        /// Whether the call was sent before, over a path that was lost.
        again: bool,
        /// Whether the programs on both sides may stream to each other.
        streams: bool,
        /// Earlier calls that the callee may forget.
        settled: Settled<'a>,
        /// What is asked.
        ask: AskRef<'a>,
    },
    /// The answer to a call.
    Reply {
        /// The number of the call.
        number: u64,
        /// How it ended.
        status: Status,
        /// The value or message.
        body: &'a [u8],
    },
    /// The caller no longer waits.
    Cancel {
        /// The number of the call.
        number: u64,
    },
    /// A piece of a stream.
    Data {
        /// The stream that this is about.
        of: Of,
        /// Bytes of the stream before this piece.
        offset: u64,
        /// The piece.
        bytes: &'a [u8],
    },
    /// A stream's end.
    End {
        /// The stream that this is about.
        of: Of,
        /// Bytes that the stream had.
        length: u64,
        /// How it ended.
        outcome: Outcome<'a>,
    },
    /// How far the sender of a stream may send it now, over this session.
    Credit {
        /// The stream that this is about.
        of: Of,
        /// Bytes that have arrived, which the sender may forget.
        received: u64,
        /// Bytes up to which the sender may send.
        limit: u64,
    },
    /// The receiver of a stream takes no more of it.
    Stop {
        /// The stream that this is about.
        of: Of,
        /// The reason, in words.
        why: &'a [u8],
    },
    /// Others the sender is in a session with, as `peers` decodes them.
    Peers(&'a [u8]),
    /// Calls the callee may forget; an empty list proves the asker's keys and says nothing else.
    Notice(Settled<'a>),
    /// The last record of a session.
    Close(CloseReason),
    /// The sender asks for a sign of life.
    Ping(&'a [u8; 16]),
    /// The sign of life that a ping with this nonce asked for.
    Pong(&'a [u8; 16]),
    /// The sender's next record is sealed under its next key.
    Renew,
    /// A piece of the newest revocation list.
    List {
        /// Bytes of the list before this piece.
        offset: u32,
        /// Bytes of the whole list.
        length: u32,
        /// The piece.
        bytes: &'a [u8],
    },
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Exactly one more than that of the record before; the first is 0.
    pub sequence: u64,
    /// What later versions have added; empty if nothing.
    pub extensions: &'a [u8],
    /// Its contents.
    pub body: Body<'a>,
}

impl<'a> Record<'a> {
    /// Reads a record that takes all of `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Record<'a>, Malformed> {
        let mut r = Reader(bytes);
        let sequence = r.u64()?;
        let kind = r.u8()?;
        let channel = r.u32()?;
        let extensions = match kind & EXTENDED {
            0 => &[][..],
            _ => {
                let length = r.u16()?;
                // A record without fields has one encoding.
                r.bytes(usize::from(length))
                    .and_then(|fields| match fields {
                        [] => Err(Malformed),
                        fields => Ok(fields),
                    })?
            }
        };
        extensions::check(extensions)?;
        let kind = kind & !EXTENDED;
        let body = if channel == 0 {
            Body::decode(kind, &mut r)?
        } else {
            Body::decode_on(Channel::from_u32(channel)?, kind, &mut r)?
        };
        r.end()?;
        Ok(Record {
            sequence,
            extensions,
            body,
        })
    }
}

impl<'a> Body<'a> {
    /// Reads a body that is about no stream.
    fn decode(kind: u8, r: &mut Reader<'a>) -> Result<Body<'a>, Malformed> {
        Ok(match kind {
            1 => {
                let number = r.u64()?;
                let timeout_ms = r.u32()?;
                let form = r.u8()?;
                let settled = Settled::decode(r)?;
                if form > MESSAGE | AGAIN | STREAMS | LARGE | BROADCAST | DATA {
                    return Err(Malformed);
                }
                let kind = match form & (MESSAGE | BROADCAST | DATA) {
                    0 => AskKind::Command,
                    DATA => AskKind::Data,
                    MESSAGE => AskKind::Message,
                    BROADCAST => AskKind::Broadcast,
                    _ => return Err(Malformed),
                };
                let ask = if form & LARGE == 0 {
                    AskRef::decode(kind, r.rest())?
                } else {
                    let length = r.u64()?;
                    AskRef::Large { kind, length }
                };
                Body::Call {
                    number,
                    timeout_ms,
                    again: form & AGAIN != 0,
                    streams: form & STREAMS != 0,
                    settled,
                    ask,
                }
            }
            2 => Body::Reply {
                number: r.u64()?,
                status: Status::from_u8(r.u8()?)?,
                body: r.rest(),
            },
            6 => Body::Cancel { number: r.u64()? },
            7 => Body::Notice(Settled::decode(r)?),
            8 => Body::Peers(r.rest()),
            9 => Body::Close(CloseReason::from_u8(r.u8()?)?),
            10 => Body::Ping(r.take()?),
            11 => Body::Pong(r.take()?),
            12 => Body::Renew,
            revocations::LIST => Body::List {
                offset: r.u32()?,
                length: r.u32()?,
                bytes: r.rest(),
            },
            _ => return Err(Malformed),
        })
    }

    /// Reads a body that is about a stream.
    fn decode_on(channel: Channel, kind: u8, r: &mut Reader<'a>) -> Result<Body<'a>, Malformed> {
        let of = (channel, r.u64()?);
        Ok(match kind {
            3 => Body::Data {
                of,
                offset: r.u64()?,
                bytes: r.rest(),
            },
            4 => Body::End {
                of,
                length: r.u64()?,
                outcome: match r.u8()? {
                    0 => Outcome::Whole,
                    1 => Outcome::Broken(r.rest()),
                    _ => return Err(Malformed),
                },
            },
            5 => Body::Credit {
                of,
                received: r.u64()?,
                limit: r.u64()?,
            },
            6 => Body::Stop { of, why: r.rest() },
            _ => return Err(Malformed),
        })
    }
}

/// How a call is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Whether the call was sent before.
    pub again: bool,
    /// Whether the programs may stream to each other.
    pub streams: bool,
}

/// Appends a call: its number, and how it is sent.
pub fn encode_call(
    sequence: u64,
    (number, form): (u64, Form),
    timeout_ms: u32,
    settled: &[u64],
    ask: &AskRef<'_>,
    out: &mut Vec<u8>,
) {
    header(sequence, 1, 0, out);
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&timeout_ms.to_be_bytes());
    let kind = match ask.kind() {
        AskKind::Command => 0,
        AskKind::Data => DATA,
        AskKind::Message => MESSAGE,
        AskKind::Broadcast => BROADCAST,
    };
    let flag = |on, bit| if on { bit } else { 0 };
    let large = matches!(ask, AskRef::Large { .. });
    out.push(kind | flag(form.again, AGAIN) | flag(form.streams, STREAMS) | flag(large, LARGE));
    put_settled(settled, out);
    ask.encode(out);
}

/// Appends a reply.
pub fn encode_reply(sequence: u64, number: u64, status: Status, body: &[u8], out: &mut Vec<u8>) {
    header(sequence, 2, 0, out);
    out.extend_from_slice(&number.to_be_bytes());
    out.push(status.to_u8());
    out.extend_from_slice(body);
}

fn stream_header(sequence: u64, kind: u8, (channel, number): Of, out: &mut Vec<u8>) {
    header(sequence, kind, channel.to_u32(), out);
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends a piece of a stream.
pub fn encode_data(sequence: u64, of: Of, offset: u64, bytes: &[u8], out: &mut Vec<u8>) {
    stream_header(sequence, 3, of, out);
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a stream's end.
pub fn encode_end(sequence: u64, of: Of, length: u64, outcome: &Outcome<'_>, out: &mut Vec<u8>) {
    stream_header(sequence, 4, of, out);
    out.extend_from_slice(&length.to_be_bytes());
    match outcome {
        Outcome::Whole => out.push(0),
        Outcome::Broken(why) => {
            out.push(1);
            out.extend_from_slice(why);
        }
    }
}

/// Appends a stream's credit.
pub fn encode_credit(sequence: u64, of: Of, received: u64, limit: u64, out: &mut Vec<u8>) {
    stream_header(sequence, 5, of, out);
    out.extend_from_slice(&received.to_be_bytes());
    out.extend_from_slice(&limit.to_be_bytes());
}

/// Appends that the receiver accepts no more of a stream.
pub fn encode_stop(sequence: u64, of: Of, why: &[u8], out: &mut Vec<u8>) {
    stream_header(sequence, 6, of, out);
    out.extend_from_slice(why);
}

/// Appends peers that [`peers`](super::peers) has encoded.
pub fn encode_peers(sequence: u64, peers: &[u8], out: &mut Vec<u8>) {
    header(sequence, 8, 0, out);
    out.extend_from_slice(peers);
}

/// Appends a cancel.
pub fn encode_cancel(sequence: u64, number: u64, out: &mut Vec<u8>) {
    header(sequence, 6, 0, out);
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends a notice.
pub fn encode_notice(sequence: u64, settled: &[u64], out: &mut Vec<u8>) {
    header(sequence, 7, 0, out);
    put_settled(settled, out);
}

/// Appends a close.
pub fn encode_close(sequence: u64, reason: CloseReason, out: &mut Vec<u8>) {
    header(sequence, 9, 0, out);
    out.push(reason.to_u8());
}

/// Appends a ping.
pub fn encode_ping(sequence: u64, nonce: &[u8; 16], out: &mut Vec<u8>) {
    header(sequence, 10, 0, out);
    out.extend_from_slice(nonce);
}

/// Appends the answer to a ping.
pub fn encode_pong(sequence: u64, nonce: &[u8; 16], out: &mut Vec<u8>) {
    header(sequence, 11, 0, out);
    out.extend_from_slice(nonce);
}

/// Appends that the next record is sealed under the next key.
pub fn encode_renew(sequence: u64, out: &mut Vec<u8>) {
    header(sequence, 12, 0, out);
}

/// Appends the encoding of a decoded record.
pub fn encode(record: &Record<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    let s = record.sequence;
    match &record.body {
        Body::Call {
            number,
            timeout_ms,
            again,
            streams,
            settled,
            ask,
        } => {
            let form = Form {
                again: *again,
                streams: *streams,
            };
            encode_call(
                s,
                (*number, form),
                *timeout_ms,
                &settled.iter().collect::<Vec<_>>(),
                ask,
                out,
            );
        }
        Body::Reply {
            number,
            status,
            body,
        } => encode_reply(s, *number, *status, body, out),
        Body::Data { of, offset, bytes } => encode_data(s, *of, *offset, bytes, out),
        Body::End {
            of,
            length,
            outcome,
        } => encode_end(s, *of, *length, outcome, out),
        Body::Credit {
            of,
            received,
            limit,
        } => encode_credit(s, *of, *received, *limit, out),
        Body::Stop { of, why } => encode_stop(s, *of, why, out),
        Body::Peers(peers) => encode_peers(s, peers, out),
        Body::Cancel { number } => encode_cancel(s, *number, out),
        Body::Notice(settled) => encode_notice(s, &settled.iter().collect::<Vec<_>>(), out),
        Body::Close(reason) => encode_close(s, *reason, out),
        Body::Ping(nonce) => encode_ping(s, nonce, out),
        Body::Pong(nonce) => encode_pong(s, nonce, out),
        Body::Renew => encode_renew(s, out),
        Body::List {
            offset,
            length,
            bytes,
        } => encode_piece(s, (*offset, *length), bytes, out),
    }
    if !record.extensions.is_empty() {
        out[start + 8] |= EXTENDED;
        let length = (record.extensions.len() as u16).to_be_bytes();
        let fields = length.iter().chain(record.extensions).copied();
        out.splice(start + HEADER..start + HEADER, fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fernet::token_len;
    use crate::limits::{BODY_MAX, FRAME_MAX, NAME_MAX};
    use proptest::prelude::*;

    #[test]
    fn the_largest_body_fits_the_largest_frame() {
        // BODY_MAX counts path, args and kwargs; the list of settled calls is added to it.
        let plain =
            HEADER + 8 + 4 + 1 + 1 + 8 * crate::engine::SETTLED_WITH_CALL + 1 + 4 + BODY_MAX;
        assert!(NAME_MAX + "|msg||END\n".len() + token_len(plain) <= FRAME_MAX);
    }

    proptest! {
        #[test]
        fn calls_round_trip(s in any::<u64>(), again in any::<bool>(), streams in any::<bool>(), n in any::<u64>(), t in any::<u32>(), settled in prop::collection::vec(any::<u64>(), 0..=255),
                            path in "[a-z.]{0,40}", args in prop::collection::vec(any::<u8>(), 0..90), kwargs in prop::collection::vec(any::<u8>(), 0..90)) {
            let ask = AskRef::Command { path: &path, args: &args, kwargs: &kwargs };
            let mut bytes = Vec::new();
            encode_call(s, (n, Form { again, streams }), t, &settled, &ask, &mut bytes);
            let record = Record::decode(&bytes).unwrap();
            prop_assert_eq!(record.sequence, s);
            let Body::Call { number, timeout_ms, again: is_again, streams: has_streams, settled: got, ask: asked } = record.body else { panic!() };
            prop_assert_eq!(has_streams, streams);
            prop_assert_eq!((number, timeout_ms, is_again, got.iter().collect::<Vec<_>>(), asked), (n, t, again, settled, ask));
        }

        #[test]
        fn what_decodes_encodes_back(mut bytes in prop::collection::vec(any::<u8>(), 13..90), kind in 0u8..14, channel in 0u8..6) {
            bytes[8] = kind;
            bytes[9..12].fill(0);
            bytes[12] = channel;
            if let Some(b) = bytes.get_mut(25) { *b %= 64; }
            if let Some(b) = bytes.get_mut(26) { *b %= 4; }
            if kind == 4 && let Some(b) = bytes.get_mut(29) { *b %= 2; }
            if let Ok(record) = Record::decode(&bytes) {
                let mut again = Vec::new();
                encode(&record, &mut again);
                prop_assert_eq!(again, bytes);
            }
        }

        #[test]
        fn what_later_versions_add_is_kept(value in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut bytes = Vec::new();
            encode_cancel(3, 5, &mut bytes);
            let plain = Record::decode(&bytes).unwrap().body;
            let mut extended = bytes.clone();
            extended[8] |= EXTENDED;
            let length = value.len() as u8;
            let fields = [&[0, length + 4, 0, 1, 0, length], &value[..]].concat();
            extended.splice(HEADER..HEADER, fields);
            let record = Record::decode(&extended).unwrap();
            prop_assert_eq!(record.body, plain);
            let mut again = Vec::new();
            encode(&record, &mut again);
            prop_assert_eq!(&again, &extended);
            // A field that must not be left out is not known.
            extended[HEADER + 2] |= 128;
            prop_assert_eq!(Record::decode(&extended), Err(Malformed));
            bytes[8] |= EXTENDED;
            bytes.splice(HEADER..HEADER, [0, 0]);
            prop_assert_eq!(Record::decode(&bytes), Err(Malformed), "no fields");
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
            let _ = Record::decode(&bytes);
        }
    }
}
