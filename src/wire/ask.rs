//! What a call asks for: a command, with JSON or with bytes; a message to one node; or a message to
//! all nodes.
//!
//! ```text
//! command    path text | args u32 length, bytes | kwargs, the rest
//! data       path text | data, the rest
//! message    data, the rest
//! broadcast  see `broadcast`
//! ```
//!
//! It stands in the call's own record. If it is too large for one record, it comes on the call's
//! channel [`Channel::Ask`]. Args and kwargs are JSON texts, which this layer carries unread.
//!
//! [`Channel::Ask`]: super::record::Channel::Ask

pub use super::broadcast::BroadcastRef;
use super::{Malformed, Reader, put_text};

/// The path under which rules and errors speak of messages to one node.
pub const MESSAGE_PATH: &str = "__message__";

/// The kind of what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskKind {
    /// A command that is called with JSON.
    Command,
    /// A command that is called with bytes.
    Data,
    /// Bytes for the peer's message handler, which answers with bytes.
    Message,
    /// Bytes for the message handlers of all nodes.
    Broadcast,
}

impl AskKind {
    /// Whether what is asked for begins with the path of a command.
    pub fn is_command(self) -> bool {
        matches!(self, AskKind::Command | AskKind::Data)
    }
}

/// What a call asks for, borrowed from the bytes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskRef<'a> {
    /// A command: its path, its args as a JSON array, its kwargs as a JSON object.
    Command {
        /// Dotted path; not checked here.
        path: &'a str,
        /// JSON array; not checked here.
        args: &'a [u8],
        /// JSON object; not checked here.
        kwargs: &'a [u8],
    },
    /// A command that is called with bytes.
    Data {
        /// Dotted path; not checked here.
        path: &'a str,
        /// What it is called with.
        data: &'a [u8],
    },
    /// Bytes for the peer's message handler, which answers with bytes.
    Message(&'a [u8]),
    /// Bytes for the message handlers of all nodes.
    Broadcast(BroadcastRef<'a>),
    /// What is asked comes on a channel of its own.
    Large {
        /// What it will be.
        kind: AskKind,
        /// Its bytes.
        length: u64,
    },
}

impl<'a> AskRef<'a> {
    /// The kind of what is asked for; of a large one, the kind that it will have.
    pub fn kind(&self) -> AskKind {
        match self {
            AskRef::Command { .. } => AskKind::Command,
            AskRef::Data { .. } => AskKind::Data,
            AskRef::Message(_) => AskKind::Message,
            AskRef::Broadcast(_) => AskKind::Broadcast,
            AskRef::Large { kind, .. } => *kind,
        }
    }

    /// The path of what is asked for: of a large command it comes later, and a message to all nodes
    /// has none. It is not checked.
    pub fn path(&self) -> Option<&'a str> {
        match (self, self.kind()) {
            (AskRef::Command { path, .. } | AskRef::Data { path, .. }, _) => Some(path),
            (_, AskKind::Message) => Some(MESSAGE_PATH),
            (_, AskKind::Command | AskKind::Data | AskKind::Broadcast) => None,
        }
    }

    /// The path of a command of which this has come so far; `None` if not all of the path has.
    pub fn path_of_begun(so_far: &'a [u8]) -> Option<Result<&'a str, Malformed>> {
        let (length, rest) = so_far.split_first()?;
        (rest.len() >= usize::from(*length)).then(|| Reader(so_far).text())
    }

    /// Bytes of what is asked for; of a large one, the bytes that it will have.
    pub fn size(&self) -> u64 {
        let bytes = match self {
            AskRef::Command { path, args, kwargs } => path.len() + args.len() + kwargs.len(),
            AskRef::Data { path, data } => path.len() + data.len(),
            AskRef::Message(data) => data.len(),
            AskRef::Broadcast(b) => b.head() + b.data.len(),
            AskRef::Large { length, .. } => return *length,
        };
        bytes as u64
    }

    /// Reads what is asked for, which takes all of `bytes`.
    pub fn decode(kind: AskKind, bytes: &'a [u8]) -> Result<AskRef<'a>, Malformed> {
        let mut r = Reader(bytes);
        Ok(match kind {
            AskKind::Command => {
                let path = r.text()?;
                let n = r.u32()?;
                let args = r.bytes(n as usize)?;
                let kwargs = r.rest();
                AskRef::Command { path, args, kwargs }
            }
            AskKind::Data => AskRef::Data {
                path: r.text()?,
                data: r.rest(),
            },
            AskKind::Message => AskRef::Message(r.rest()),
            AskKind::Broadcast => AskRef::Broadcast(BroadcastRef::decode(&mut r)?),
        })
    }

    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            AskRef::Command { path, args, kwargs } => {
                put_text(path, out);
                out.extend_from_slice(&(args.len() as u32).to_be_bytes());
                out.extend_from_slice(args);
                out.extend_from_slice(kwargs);
            }
            AskRef::Data { path, data } => {
                put_text(path, out);
                out.extend_from_slice(data);
            }
            AskRef::Message(data) => out.extend_from_slice(data),
            AskRef::Broadcast(b) => b.encode(out),
            AskRef::Large { length, .. } => out.extend_from_slice(&length.to_be_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_path_of_a_command_is_read_as_soon_as_all_of_it_is_there(path in "\\PC{0,60}") {
            let command = AskRef::Command {
                path: &path,
                args: b"[1]",
                kwargs: b"{}",
            };
            for ask in [command, AskRef::Data { path: &path, data: b"\0\xff" }] {
                let mut whole = Vec::new();
                ask.encode(&mut whole);
                for n in 0..=whole.len() {
                    let there = (n > path.len()).then_some(Ok(&path[..]));
                    prop_assert_eq!(AskRef::path_of_begun(&whole[..n]), there);
                }
                prop_assert_eq!(AskRef::decode(ask.kind(), &whole), Ok(ask));
            }
        }
    }

    #[test]
    fn a_message_has_a_path_of_its_own_and_a_large_command_has_none_yet() {
        let large = |kind| AskRef::Large { kind, length: 9 };
        assert_eq!(large(AskKind::Command).path(), None);
        assert_eq!(large(AskKind::Data).path(), None);
        assert_eq!(large(AskKind::Broadcast).path(), None);
        assert_eq!(large(AskKind::Message).path(), Some(MESSAGE_PATH));
        assert_eq!(AskRef::Message(b"").path(), Some(MESSAGE_PATH));
        assert_eq!(AskRef::path_of_begun(b"\x01\xff"), Some(Err(Malformed)));
    }
}
