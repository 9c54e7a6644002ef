//! What a call asks for, and on what terms.

use super::Broadcast;
use crate::name::CommandPath;
use crate::wire::ask::{self, AskKind};
use std::time::Duration;

/// What a call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A command.
    Command {
        /// Its path.
        path: CommandPath,
        /// A JSON array.
        args: Vec<u8>,
        /// A JSON object.
        kwargs: Vec<u8>,
    },
    /// Bytes for the peer's message handler.
    Message(Vec<u8>),
    /// Bytes for everyone's message handler.
    Broadcast(Broadcast),
}

/// Why what came cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// There can be no command of this path.
    Path,
    Malformed,
}

impl Ask {
    /// What came in a record, which is read again and again: the bytes are copied.
    pub(super) fn copied(ask: ask::Ask<'_>) -> Result<Ask, Unreadable> {
        Ok(match ask {
            ask::Ask::Message(data) => Ask::Message(data.to_vec()),
            ask::Ask::Command { path, args, kwargs } => Ask::Command {
                path: CommandPath::new(path).map_err(|_| Unreadable::Path)?,
                args: args.to_vec(),
                kwargs: kwargs.to_vec(),
            },
            ask::Ask::Broadcast(b) => {
                Ask::Broadcast(Broadcast::read(&b).ok_or(Unreadable::Malformed)?)
            }
            ask::Ask::Large { .. } => return Err(Unreadable::Malformed),
        })
    }

    /// What came on a channel of its own: it is large, so the bytes stay where they are.
    pub(super) fn read(kind: AskKind, bytes: Vec<u8>) -> Result<Ask, Unreadable> {
        match ask::Ask::decode(kind, &bytes).map_err(|_| Unreadable::Malformed)? {
            ask::Ask::Message(_) => Ok(Ask::Message(bytes)),
            ask::Ask::Command { path, args, kwargs } => {
                let path = CommandPath::new(path).map_err(|_| Unreadable::Path)?;
                let kwargs_at = bytes.len() - kwargs.len();
                let args_at = kwargs_at - args.len();
                let (args, kwargs) = split(bytes, args_at, kwargs_at);
                Ok(Ask::Command { path, args, kwargs })
            }
            other => Ask::copied(other),
        }
    }

    pub(crate) fn size(&self) -> usize {
        match self {
            Ask::Command { path, args, kwargs } => path.as_str().len() + args.len() + kwargs.len(),
            Ask::Message(data) => data.len(),
            // With what stands before the data.
            Ask::Broadcast(b) => b.data.len() + 26 + b.sender.as_str().len(),
        }
    }

    /// The path of a command, or a word for what it is.
    pub fn path(&self) -> &str {
        match self {
            Ask::Command { path, .. } => path.as_str(),
            Ask::Message(_) | Ask::Broadcast(_) => "message",
        }
    }

    pub(super) fn as_wire(&self) -> ask::Ask<'_> {
        match self {
            Ask::Command { path, args, kwargs } => ask::Ask::Command {
                path: path.as_str(),
                args,
                kwargs,
            },
            Ask::Message(data) => ask::Ask::Message(data),
            Ask::Broadcast(b) => ask::Ask::Broadcast(b.as_wire()),
        }
    }
}

/// Takes two neighbours out of what has them at its end. The larger keeps the room that it is in.
fn split(mut bytes: Vec<u8>, first: usize, second: usize) -> (Vec<u8>, Vec<u8>) {
    let first_is_larger = second - first >= bytes.len() - second;
    let smaller = match first_is_larger {
        true => bytes.split_off(second),
        false => bytes[first..second].to_vec(),
    };
    bytes.drain(..if first_is_larger { first } else { second });
    // One byte more than it has is what C needs.
    bytes.shrink_to((bytes.len() + bytes.len() / 10).max(bytes.len() + 1));
    match first_is_larger {
        true => (bytes, smaller),
        false => (smaller, bytes),
    }
}

/// How a call is to be carried out.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long to wait for its end; with streams, for anything of it to move.
    pub timeout: Duration,
    /// Whether to wait for a target that is not known yet; otherwise it is an error at once.
    pub wait: bool,
    /// Whether it may stream both ways.
    pub streams: bool,
}

/// What a call carries in its record.
#[derive(Debug)]
pub(super) enum Carried {
    Whole(Ask),
    /// All of it goes on a channel of its own; the path is kept for what may be wrong with it.
    Apart {
        kind: AskKind,
        length: u64,
        path: String,
    },
}

impl Carried {
    pub(super) fn path(&self) -> &str {
        match self {
            Carried::Whole(ask) => ask.path(),
            Carried::Apart { path, .. } => path,
        }
    }

    pub(super) fn as_wire(&self) -> ask::Ask<'_> {
        match self {
            Carried::Whole(ask) => ask.as_wire(),
            Carried::Apart { kind, length, .. } => ask::Ask::Large {
                kind: *kind,
                length: *length,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_command_is_read_where_it_is_whichever_part_is_large() {
        for (args, kwargs) in [(100_000, 2), (2, 100_000), (0, 0), (50_000, 50_000)] {
            let (args, kwargs) = (vec![b'a'; args], vec![b'k'; kwargs]);
            let command = ask::Ask::Command {
                path: "x.y",
                args: &args,
                kwargs: &kwargs,
            };
            let mut bytes = Vec::new();
            command.encode(&mut bytes);
            let whole = bytes.len();
            let Ok(Ask::Command {
                path,
                args: its_args,
                kwargs: its_kwargs,
            }) = Ask::read(AskKind::Command, bytes)
            else {
                panic!("it is well-formed")
            };
            assert_eq!(
                (path.as_str(), &its_args, &its_kwargs),
                ("x.y", &args, &kwargs)
            );
            let room = its_args.capacity() + its_kwargs.capacity();
            assert!(room <= whole + whole / 10, "{room} for {whole}");
        }
        let cut = Ask::read(AskKind::Command, vec![3, b'x']);
        assert_eq!(cut, Err(Unreadable::Malformed));
    }
}
