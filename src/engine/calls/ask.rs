//! What a call asks for and on what terms, and the request that a program of the callee is handed.

pub use super::signed_broadcast::Broadcast;
use crate::engine::{RequestId, Time};
use crate::identity::PublicKey;
use crate::limits::BODY_MAX;
use crate::name::{CommandPath, NodeName, Role};
use crate::wire::ask::{AskKind, AskRef, MESSAGE_PATH};
use std::sync::Arc;
use std::time::Duration;

/// What a caller is told of a call that asks for nothing that can be read.
pub(crate) const MALFORMED: &str = "what was asked is malformed";

/// What a call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A command, with JSON.
    Command {
        /// Its path.
        path: CommandPath,
        /// A JSON array.
        args: Vec<u8>,
        /// A JSON object.
        kwargs: Vec<u8>,
    },
    /// A command, with bytes.
    Data {
        /// Its path.
        path: CommandPath,
        /// What it is called with.
        data: Vec<u8>,
    },
    /// Bytes for the peer's message handler.
    Message(Vec<u8>),
    /// Bytes for the message handler of every node.
    Broadcast(Broadcast),
}

/// Why something that was asked cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// There can be no command of this path.
    Path,
    Malformed,
}

impl Ask {
    /// What came in a record. Its bytes are copied, since the buffer of the record is used again.
    pub(crate) fn copied(ask: AskRef<'_>) -> Result<Ask, Unreadable> {
        Ok(match ask {
            AskRef::Message(data) => Ask::Message(data.to_vec()),
            AskRef::Command { path, args, kwargs } => Ask::Command {
                path: CommandPath::new(path).map_err(|_| Unreadable::Path)?,
                args: args.to_vec(),
                kwargs: kwargs.to_vec(),
            },
            AskRef::Data { path, data } => Ask::Data {
                path: CommandPath::new(path).map_err(|_| Unreadable::Path)?,
                data: data.to_vec(),
            },
            AskRef::Broadcast(b) => {
                Ask::Broadcast(Broadcast::read(&b).ok_or(Unreadable::Malformed)?)
            }
            AskRef::Large { .. } => return Err(Unreadable::Malformed),
        })
    }

    /// What came on a stream of its own. It is large, so the bytes stay where they are.
    pub(crate) fn read(kind: AskKind, mut bytes: Vec<u8>) -> Result<Ask, Unreadable> {
        match AskRef::decode(kind, &bytes).map_err(|_| Unreadable::Malformed)? {
            AskRef::Message(_) => Ok(Ask::Message(bytes)),
            AskRef::Command { path, args, kwargs } => {
                let path = CommandPath::new(path).map_err(|_| Unreadable::Path)?;
                let kwargs_at = bytes.len() - kwargs.len();
                let args_at = kwargs_at - args.len();
                let (args, kwargs) = split(bytes, args_at, kwargs_at);
                Ok(Ask::Command { path, args, kwargs })
            }
            AskRef::Data { path, data } => {
                let path = CommandPath::new(path).map_err(|_| Unreadable::Path)?;
                bytes.drain(..bytes.len() - data.len());
                Ok(Ask::Data { path, data: bytes })
            }
            other => Ask::copied(other),
        }
    }

    /// Bytes of what is asked, which count against the limits.
    pub(crate) fn size(&self) -> usize {
        match self {
            Ask::Command { path, args, kwargs } => path.as_str().len() + args.len() + kwargs.len(),
            Ask::Data { path, data } => path.as_str().len() + data.len(),
            Ask::Message(data) => data.len(),
            // With what stands before the data.
            Ask::Broadcast(b) => b.as_wire().head() + b.data.len(),
        }
    }

    /// The path of a command, or what stands for one where a message is asked.
    pub fn path(&self) -> &str {
        match self {
            Ask::Command { path, .. } | Ask::Data { path, .. } => path.as_str(),
            Ask::Message(_) | Ask::Broadcast(_) => MESSAGE_PATH,
        }
    }

    pub(crate) fn as_wire(&self) -> AskRef<'_> {
        match self {
            Ask::Command { path, args, kwargs } => AskRef::Command {
                path: path.as_str(),
                args,
                kwargs,
            },
            Ask::Data { path, data } => AskRef::Data {
                path: path.as_str(),
                data,
            },
            Ask::Message(data) => AskRef::Message(data),
            Ask::Broadcast(b) => AskRef::Broadcast(b.as_wire()),
        }
    }
}

/// A command that is called at a peer of the protocol of PeerBase 0.7.1.
pub(crate) struct Command {
    pub(crate) path: CommandPath,
    pub(crate) args: Vec<u8>,
    pub(crate) kwargs: Vec<u8>,
}

impl Command {
    /// `None` if something else is asked, or the path is no path.
    pub(crate) fn copied(ask: AskRef<'_>) -> Option<Command> {
        match ask {
            AskRef::Command { path, args, kwargs } => Some(Command {
                path: CommandPath::new(path).ok()?,
                args: args.to_vec(),
                kwargs: kwargs.to_vec(),
            }),
            _ => None,
        }
    }
}

/// Takes two neighbours out of the bytes that end with them. The larger one keeps its allocation.
fn split(mut bytes: Vec<u8>, first: usize, second: usize) -> (Vec<u8>, Vec<u8>) {
    let first_is_larger = second - first >= bytes.len() - second;
    let smaller = match first_is_larger {
        true => bytes.split_off(second),
        false => bytes[first..second].to_vec(),
    };
    bytes.drain(..if first_is_larger { first } else { second });
    // The C interface appends one byte, a zero, to what it hands to programs.
    bytes.shrink_to((bytes.len() + bytes.len() / 10).max(bytes.len() + 1));
    match first_is_larger {
        true => (bytes, smaller),
        false => (smaller, bytes),
    }
}

/// A call to be answered with [`Engine::reply`](crate::engine::Engine::reply), also when the answer
/// is late, since what is asked counts against the limits until then.
#[derive(Debug)]
pub struct Request {
    /// The call.
    pub id: RequestId,
    /// The caller's name.
    pub caller: NodeName,
    /// The caller's public key; none for a peer that speaks the protocol of PeerBase 0.7.1, which
    /// proves nothing.
    pub key: Option<PublicKey>,
    /// The caller's roles, as its certificate says; none in an open network.
    pub roles: Arc<[Role]>,
    /// What is asked.
    pub ask: Ask,
    /// Whether the caller streams, and takes a stream: see
    /// [`Engine::accept_streams`](crate::engine::Engine::accept_streams).
    pub streams: bool,
    /// After this time the caller waits no more; where there are streams, unless something moves.
    pub deadline: Time,
}

/// How a call is to be carried out.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long to wait for the end of the call; with streams, for anything of it to move.
    pub timeout: Duration,
    /// Whether to wait for a target that is not known yet; otherwise it is an error at once.
    pub wait: bool,
    /// Whether it may stream both ways.
    pub streams: bool,
}

/// What a call carries in its record.
#[derive(Debug)]
pub(crate) enum Carried {
    Whole(Ask),
    /// All of it goes on a stream of its own. The path is kept for the error that may come.
    Apart {
        kind: AskKind,
        length: u64,
        path: String,
    },
}

impl Carried {
    /// If what is asked is too large for the call's record, takes it out. Its encoding is then to
    /// go on a stream of its own.
    pub(crate) fn set_apart(&mut self) -> Option<Vec<u8>> {
        let Carried::Whole(ask) = self else {
            return None;
        };
        if ask.size() <= BODY_MAX {
            return None;
        }
        let mut bytes = Vec::with_capacity(ask.size() + 64);
        ask.as_wire().encode(&mut bytes);
        // What was asked is freed here, before the encoding is cut into pieces.
        *self = Carried::Apart {
            kind: ask.as_wire().kind(),
            length: bytes.len() as u64,
            path: ask.path().to_owned(),
        };
        Some(bytes)
    }

    pub(crate) fn path(&self) -> &str {
        match self {
            Carried::Whole(ask) => ask.path(),
            Carried::Apart { path, .. } => path,
        }
    }

    /// Whether it is a command, and not a message.
    pub(crate) fn is_command(&self) -> bool {
        match self {
            Carried::Whole(ask) => matches!(ask, Ask::Command { .. } | Ask::Data { .. }),
            Carried::Apart { kind, .. } => kind.is_command(),
        }
    }

    pub(crate) fn as_wire(&self) -> AskRef<'_> {
        match self {
            Carried::Whole(ask) => ask.as_wire(),
            Carried::Apart { kind, length, .. } => AskRef::Large {
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
    fn only_what_is_too_large_for_a_record_is_set_apart_and_it_comes_out_the_same() {
        let mut small = Carried::Whole(Ask::Message(vec![1; BODY_MAX]));
        assert_eq!(small.set_apart(), None);
        let ask = Ask::Message(vec![1; BODY_MAX + 1]);
        let mut large = Carried::Whole(ask.clone());
        let bytes = large.set_apart().unwrap();
        assert_eq!(large.as_wire().size(), bytes.len() as u64);
        assert_eq!(Ask::read(large.as_wire().kind(), bytes), Ok(ask));
        assert_eq!(large.set_apart(), None, "it is apart already");
    }

    #[test]
    fn a_large_command_is_read_where_it_is_whichever_part_is_large() {
        for (args, kwargs) in [(100_000, 2), (2, 100_000), (0, 0), (50_000, 50_000)] {
            let (args, kwargs) = (vec![b'a'; args], vec![b'k'; kwargs]);
            let command = AskRef::Command {
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
