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

impl Ask {
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
