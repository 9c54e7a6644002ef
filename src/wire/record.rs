//! The record: what travels in a session, sealed under the session's keys.
//!
//! ```text
//! sequence u64 | kind u8 | channel u32 | body
//! call   (1)  number u64 | timeout u32 ms | form u8 | settled: u8 count, that many u64
//!             | path text | args u32 length, bytes | kwargs, the rest      (a command)
//!             | data, the rest                                             (a message)
//!             form is a sum: 1, a message; 2, sent before
//! reply  (2)  number u64 | status u8 | value or message, the rest
//! cancel (6)  number u64
//! notice (7)  settled: u8 count, that many u64
//! close  (9)  reason u8
//! ```
//!
//! Args and kwargs are JSON texts; this layer carries them unread. Kinds 3, 4, 5 and 8 are those of
//! streams and of meshes, as is a channel other than 0.

use super::{Malformed, Reader, put_text};

/// Bytes before the body.
pub const HEADER: usize = 13;

const MESSAGE: u8 = 1;
const AGAIN: u8 = 2;

/// The most call numbers one list of settled calls can hold: its count is one byte.
pub const SETTLED_MAX: usize = 255;

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// A command: its path, its args as a JSON array, its kwargs as a JSON object.
    Command {
        /// Dotted path; not checked here.
        path: &'a str,
        /// JSON array; not checked here.
        args: &'a [u8],
        /// JSON object; not checked here.
        kwargs: &'a [u8],
    },
    /// Bytes for the peer's message handler, which answers with bytes.
    Message(&'a [u8]),
}

/// How a call ended at the callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The body is the value.
    Value,
    /// No such command.
    NotFound,
    /// The command failed; the body is its message.
    Failed,
    /// Too much in flight.
    Overloaded,
    /// Not wanted; the body is the reason.
    Refused,
}

impl Status {
    fn from_u8(byte: u8) -> Result<Status, Malformed> {
        Ok(match byte {
            0 => Status::Value,
            1 => Status::NotFound,
            2 => Status::Failed,
            3 => Status::Overloaded,
            4 => Status::Refused,
            _ => return Err(Malformed),
        })
    }
}

/// Why a session is being closed by the side that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The sender is leaving the network.
    Leaving,
    /// The two nodes have a second session, which is kept.
    Duplicate,
    /// Nobody used the session and the sender needs the room.
    Idle,
    /// Both have the same name.
    NameConflict,
}

/// A list of call numbers the caller has settled: the callee may forget them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled<'a>(&'a [[u8; 8]]);

impl<'a> Settled<'a> {
    /// The numbers.
    pub fn iter(&self) -> impl Iterator<Item = u64> + 'a {
        self.0.iter().map(|n| u64::from_be_bytes(*n))
    }

    fn decode(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let count = r.u8()?;
        Ok(Settled(r.bytes(usize::from(count) * 8)?.as_chunks().0))
    }
}

fn put_settled(numbers: &[u64], out: &mut Vec<u8>) {
    debug_assert!(numbers.len() <= SETTLED_MAX);
    out.push(numbers.len() as u8);
    for n in numbers {
        out.extend_from_slice(&n.to_be_bytes());
    }
}

/// The contents of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A call.
    Call {
        /// The caller's number for it, used once in the caller's life.
        number: u64,
        /// Milliseconds the caller still waits.
        timeout_ms: u32,
        /// Whether it was sent before, over a path that died.
        again: bool,
        /// Earlier calls the callee may forget.
        settled: Settled<'a>,
        /// What is asked.
        ask: Ask<'a>,
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
    /// Calls the callee may forget; an empty list proves the asker's keys and says nothing else.
    Notice(Settled<'a>),
    /// The last record of a session.
    Close(CloseReason),
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Exactly one more than that of the record before, from 0.
    pub sequence: u64,
    /// Its contents.
    pub body: Body<'a>,
}

impl<'a> Record<'a> {
    /// Reads one.
    pub fn decode(bytes: &'a [u8]) -> Result<Record<'a>, Malformed> {
        let mut r = Reader(bytes);
        let sequence = r.u64()?;
        let kind = r.u8()?;
        if r.u32()? != 0 {
            return Err(Malformed);
        }
        let body = match kind {
            1 => {
                let number = r.u64()?;
                let timeout_ms = r.u32()?;
                let form = r.u8()?;
                let settled = Settled::decode(&mut r)?;
                if form > MESSAGE | AGAIN {
                    return Err(Malformed);
                }
                let again = form & AGAIN != 0;
                let ask = match form & MESSAGE {
                    0 => {
                        let path = r.text()?;
                        let n = r.u32()?;
                        let args = r.bytes(n as usize)?;
                        Ask::Command {
                            path,
                            args,
                            kwargs: r.rest(),
                        }
                    }
                    _ => Ask::Message(r.rest()),
                };
                Body::Call {
                    number,
                    timeout_ms,
                    again,
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
            7 => Body::Notice(Settled::decode(&mut r)?),
            9 => Body::Close(match r.u8()? {
                0 => CloseReason::Leaving,
                1 => CloseReason::Duplicate,
                2 => CloseReason::Idle,
                3 => CloseReason::NameConflict,
                _ => return Err(Malformed),
            }),
            _ => return Err(Malformed),
        };
        r.end()?;
        Ok(Record { sequence, body })
    }
}

fn header(sequence: u64, kind: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&sequence.to_be_bytes());
    out.push(kind);
    out.extend_from_slice(&[0; 4]);
}

/// Appends a call: its number, and whether it was sent before.
pub fn encode_call(
    sequence: u64,
    (number, again): (u64, bool),
    timeout_ms: u32,
    settled: &[u64],
    ask: &Ask<'_>,
    out: &mut Vec<u8>,
) {
    header(sequence, 1, out);
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&timeout_ms.to_be_bytes());
    let message = if matches!(ask, Ask::Message(_)) {
        MESSAGE
    } else {
        0
    };
    out.push(message | if again { AGAIN } else { 0 });
    put_settled(settled, out);
    match ask {
        Ask::Command { path, args, kwargs } => {
            put_text(path, out);
            out.extend_from_slice(&(args.len() as u32).to_be_bytes());
            out.extend_from_slice(args);
            out.extend_from_slice(kwargs);
        }
        Ask::Message(data) => out.extend_from_slice(data),
    }
}

/// Appends a reply.
pub fn encode_reply(sequence: u64, number: u64, status: Status, body: &[u8], out: &mut Vec<u8>) {
    header(sequence, 2, out);
    out.extend_from_slice(&number.to_be_bytes());
    out.push(match status {
        Status::Value => 0,
        Status::NotFound => 1,
        Status::Failed => 2,
        Status::Overloaded => 3,
        Status::Refused => 4,
    });
    out.extend_from_slice(body);
}

/// Appends a cancel.
pub fn encode_cancel(sequence: u64, number: u64, out: &mut Vec<u8>) {
    header(sequence, 6, out);
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends a notice.
pub fn encode_notice(sequence: u64, settled: &[u64], out: &mut Vec<u8>) {
    header(sequence, 7, out);
    put_settled(settled, out);
}

/// Appends a close.
pub fn encode_close(sequence: u64, reason: CloseReason, out: &mut Vec<u8>) {
    header(sequence, 9, out);
    out.push(match reason {
        CloseReason::Leaving => 0,
        CloseReason::Duplicate => 1,
        CloseReason::Idle => 2,
        CloseReason::NameConflict => 3,
    });
}

/// Appends the encoding of a decoded record.
pub fn encode(record: &Record<'_>, out: &mut Vec<u8>) {
    let s = record.sequence;
    match &record.body {
        Body::Call {
            number,
            timeout_ms,
            again,
            settled,
            ask,
        } => {
            encode_call(
                s,
                (*number, *again),
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
        Body::Cancel { number } => encode_cancel(s, *number, out),
        Body::Notice(settled) => encode_notice(s, &settled.iter().collect::<Vec<_>>(), out),
        Body::Close(reason) => encode_close(s, *reason, out),
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
        // BODY_MAX counts path, args and kwargs; the list of settled calls comes on top.
        let plain =
            HEADER + 8 + 4 + 1 + 1 + 8 * crate::engine::SETTLED_WITH_CALL + 1 + 4 + BODY_MAX;
        assert!(NAME_MAX + "|msg||END\n".len() + token_len(plain) <= FRAME_MAX);
    }

    proptest! {
        #[test]
        fn calls_round_trip(s in any::<u64>(), again in any::<bool>(), n in any::<u64>(), t in any::<u32>(), settled in prop::collection::vec(any::<u64>(), 0..=255),
                            path in "[a-z.]{0,40}", args in prop::collection::vec(any::<u8>(), 0..90), kwargs in prop::collection::vec(any::<u8>(), 0..90)) {
            let ask = Ask::Command { path: &path, args: &args, kwargs: &kwargs };
            let mut bytes = Vec::new();
            encode_call(s, (n, again), t, &settled, &ask, &mut bytes);
            let record = Record::decode(&bytes).unwrap();
            prop_assert_eq!(record.sequence, s);
            let Body::Call { number, timeout_ms, again: is_again, settled: got, ask: asked } = record.body else { panic!() };
            prop_assert_eq!((number, timeout_ms, is_again, got.iter().collect::<Vec<_>>(), asked), (n, t, again, settled, ask));
        }

        #[test]
        fn what_decodes_encodes_back(mut bytes in prop::collection::vec(any::<u8>(), 13..80), kind in 0u8..11) {
            bytes[8] = kind;
            bytes[9..13].fill(0);
            if let Some(b) = bytes.get_mut(25) { *b %= 5; }
            if let Some(b) = bytes.get_mut(26) { *b %= 4; }
            if let Ok(record) = Record::decode(&bytes) {
                let mut again = Vec::new();
                encode(&record, &mut again);
                prop_assert_eq!(again, bytes);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
            let _ = Record::decode(&bytes);
        }
    }
}
