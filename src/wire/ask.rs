//! What a call asks for: a command, a message to one node, or a message to all nodes.
//!
//! ```text
//! command    path text | args u32 length, bytes | kwargs, the rest
//! message    data, the rest
//! broadcast  origin [16] | number u64 | hops u8 | sender text | data, the rest
//! ```
//!
//! It stands in the call's own record. If it is too large for one record, it comes on the call's
//! channel [`Channel::Ask`]. Args and kwargs are JSON texts, which this layer carries unread.
//!
//! [`Channel::Ask`]: super::record::Channel::Ask

use super::{Instance, Malformed, Reader, put_text};

/// The kind of what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskKind {
    /// A command.
    Command,
    /// Bytes for the peer's message handler, which answers with bytes.
    Message,
    /// Bytes for the message handlers of all nodes.
    Broadcast,
}

/// Bytes for all nodes, on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BroadcastRef<'a> {
    /// The node that sent the broadcast first.
    pub origin: Instance,
    /// The number of the broadcast, counted by the origin from 0.
    pub number: u64,
    /// How many more nodes may forward it, one after the other.
    pub hops: u8,
    /// The origin's name; not checked here.
    pub sender: &'a str,
    /// The bytes of the broadcast.
    pub data: &'a [u8],
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
            AskRef::Message(_) => AskKind::Message,
            AskRef::Broadcast(_) => AskKind::Broadcast,
            AskRef::Large { kind, .. } => *kind,
        }
    }

    /// Bytes of what is asked for; of a large one, the bytes that it will have.
    pub fn size(&self) -> u64 {
        let bytes = match self {
            AskRef::Command { path, args, kwargs } => path.len() + args.len() + kwargs.len(),
            AskRef::Message(data) => data.len(),
            AskRef::Broadcast(b) => b.sender.len() + b.data.len(),
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
            AskKind::Message => AskRef::Message(r.rest()),
            AskKind::Broadcast => AskRef::Broadcast(BroadcastRef {
                origin: Instance(r.array()?),
                number: r.u64()?,
                hops: r.u8()?,
                sender: r.text()?,
                data: r.rest(),
            }),
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
            AskRef::Message(data) => out.extend_from_slice(data),
            AskRef::Broadcast(b) => {
                out.extend_from_slice(&b.origin.0);
                out.extend_from_slice(&b.number.to_be_bytes());
                out.push(b.hops);
                put_text(b.sender, out);
                out.extend_from_slice(b.data);
            }
            AskRef::Large { length, .. } => out.extend_from_slice(&length.to_be_bytes()),
        }
    }
}
