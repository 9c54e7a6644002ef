//! The error type that Rust programs match on, and the codes that C programs compare with.
//!
//! The two are one list: [`Error::code`] is the only map between them.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// The codes of outcomes in the C interface: 0 is success, and every failure is negative.
///
/// Codes are never renumbered: new ones are appended.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Success.
    Ok = 0,
    /// An argument is NULL, negative or outside its range.
    Argument = -1,
    /// A node name breaks a rule.
    Name = -2,
    /// A network name breaks a rule.
    Network = -3,
    /// A key is not written as keys of its kind are; a network key is 44 characters of base64url
    /// that hold 32 bytes.
    Key = -4,
    /// A command path breaks a rule.
    Path = -5,
    /// Text that should be JSON is not, or is nested too deep, or repeats a key.
    Json = -6,
    /// An address is not IP:PORT (for a relay, HOST:PORT).
    Address = -7,
    /// A string is not UTF-8.
    Utf8 = -8,
    /// A body (arguments, value, message or file) is larger than its limit, or holds more JSON
    /// values than are accepted. As the outcome of a call: the command did not run.
    TooLarge = -9,
    /// Another node of the network has this name.
    NameTaken = -10,
    /// A port is in use by another program.
    PortInUse = -11,
    /// The operating system refused something.
    Io = -12,
    /// The peer has no command of that path.
    CommandNotFound = -13,
    /// The command ran and failed; the message says why.
    CommandFailed = -14,
    /// No answer came in time.
    Timeout = -15,
    /// The peer is not known, or no path leads to it any more. If the peer had the call, it is
    /// unknown whether the command ran.
    Unreachable = -16,
    /// The peer restarted while it had the call. It is unknown whether the command ran.
    PeerRestarted = -17,
    /// The caller cancelled the call.
    Cancelled = -18,
    /// Too much is in flight, at this node or at the peer. The command did not run.
    Overloaded = -19,
    /// The peer refused the call or message, or something else was refused; the message says why.
    Refused = -20,
    /// A function that waits was called in a callback, where it would wait for itself.
    WouldDeadlock = -21,
    /// The node has been stopped.
    Stopped = -22,
    /// The process was forked after the node was started. A child process may only free the handle.
    Forked = -23,
    /// A command is already registered at this path.
    CommandExists = -24,
    /// A bug in the library. The call was abandoned, and the process lives on.
    Internal = -25,
    /// The operation could not make progress without waiting, or within its timeout. Try again
    /// later.
    WouldBlock = -26,
    /// A stream ended before it was whole; the message says how much arrived.
    Broken = -27,
    /// No node that can be asked has a file of this hash.
    FileUnknown = -28,
    /// What was read or received is not what it should be.
    Damaged = -29,
    /// The command ran, but its answer was lost: there was no room to keep it, or it is larger than
    /// this node accepts.
    AnswerLost = -30,
    /// The peer's rules do not let this node call that path. The command did not run.
    NotAllowed = -31,
}

impl Code {
    /// Every code, for tables and tests.
    ///
    /// cbindgen:ignore
    pub const ALL: [Code; 32] = [
        Code::Ok,
        Code::Argument,
        Code::Name,
        Code::Network,
        Code::Key,
        Code::Path,
        Code::Json,
        Code::Address,
        Code::Utf8,
        Code::TooLarge,
        Code::NameTaken,
        Code::PortInUse,
        Code::Io,
        Code::CommandNotFound,
        Code::CommandFailed,
        Code::Timeout,
        Code::Unreachable,
        Code::PeerRestarted,
        Code::Cancelled,
        Code::Overloaded,
        Code::Refused,
        Code::WouldDeadlock,
        Code::Stopped,
        Code::Forked,
        Code::CommandExists,
        Code::Internal,
        Code::WouldBlock,
        Code::Broken,
        Code::FileUnknown,
        Code::Damaged,
        Code::AnswerLost,
        Code::NotAllowed,
    ];

    /// The code's short name, as `peerbase_strerror` gives it. It is NUL-terminated, so that C can
    /// have it without a copy.
    pub const fn c_name(self) -> &'static std::ffi::CStr {
        match self {
            Code::Ok => c"ok",
            Code::Argument => c"invalid argument",
            Code::Name => c"invalid node name",
            Code::Network => c"invalid network name",
            Code::Key => c"invalid key",
            Code::Path => c"invalid command path",
            Code::Json => c"invalid JSON",
            Code::Address => c"invalid address",
            Code::Utf8 => c"invalid UTF-8",
            Code::TooLarge => c"too large",
            Code::NameTaken => c"name-taken",
            Code::PortInUse => c"port in use",
            Code::Io => c"operating system error",
            Code::CommandNotFound => c"command not found",
            Code::CommandFailed => c"command failed",
            Code::Timeout => c"timeout",
            Code::Unreachable => c"unreachable",
            Code::PeerRestarted => c"peer restarted",
            Code::Cancelled => c"cancelled",
            Code::Overloaded => c"overloaded",
            Code::Refused => c"refused",
            Code::WouldDeadlock => c"would deadlock",
            Code::Stopped => c"node stopped",
            Code::Forked => c"forked after start",
            Code::CommandExists => c"command exists",
            Code::Internal => c"internal error",
            Code::WouldBlock => c"would block",
            Code::Broken => c"stream broken",
            Code::FileUnknown => c"file unknown",
            Code::Damaged => c"damaged",
            Code::AnswerLost => c"answer lost",
            Code::NotAllowed => c"not allowed",
        }
    }

    /// The code's short name.
    pub fn name(self) -> &'static str {
        // The names above are ASCII; the test that goes through ALL would find one that is not.
        self.c_name().to_str().unwrap_or("")
    }
}

/// The reason why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// An argument is outside its range; the text says which argument, and what is wrong with it.
    Argument(&'static str),
    /// A node name breaks the named rule. `*` is no node name:
    /// [`CallBuilder::to_all`](crate::CallBuilder::to_all) calls every node.
    Name(&'static str),
    /// A network name breaks the named rule.
    Network(&'static str),
    /// A key breaks the named rule: a network key, a relay key, or a key of a node or an authority.
    Key(&'static str),
    /// A command path breaks the named rule.
    Path(&'static str),
    /// Not JSON; the text says where and what.
    Json(String),
    /// Not an address of the form IP:PORT; the text is what was given.
    Address(String),
    /// The named string is not UTF-8.
    Utf8(&'static str),
    /// A body of `size` bytes where `limit` fit. As the outcome of a call: the arguments are larger
    /// than the [`max_message`](crate::Limits::max_message) of this node or of the peer, and the
    /// command did not run.
    TooLarge {
        /// Bytes given.
        size: usize,
        /// Bytes that fit.
        limit: usize,
    },
    /// Arguments with more than this many values: see
    /// [`Limits::max_values`](crate::Limits::max_values). The command did not run.
    TooManyValues(u64),
    /// Another node of the network has this name; the text is the name.
    NameTaken(String),
    /// Another program has this port.
    PortInUse(SocketAddr),
    /// The operating system refused something; the text says what.
    Io {
        /// What was being done.
        doing: &'static str,
        /// What kind of refusal.
        kind: io::ErrorKind,
        /// The system's own words.
        text: String,
    },
    /// The peer has no such command.
    CommandNotFound(String),
    /// The command failed. The text is what its handler gave to
    /// [`Call::fail`](crate::Call::fail). If the handler dropped the call without an answer, the
    /// text is `the command gave no answer`; if the handler panicked, `the command panicked`.
    CommandFailed(String),
    /// The peer had the call and did not answer in time. The command may have run, and may still be
    /// running. A call that found no peer to be sent to ends as [`Error::Unreachable`].
    Timeout,
    /// No path leads to the peer; the text is its name. A call ends with this when its timeout is
    /// over and it was never sent; at once if its target is not known and
    /// [`CallBuilder::wait`](crate::CallBuilder::wait) is off; and when the peer that had it left.
    /// If the peer had the call, it is unknown whether the command ran.
    Unreachable(String),
    /// The peer restarted while it had the call. It is unknown whether the command ran.
    PeerRestarted,
    /// The caller cancelled the call.
    Cancelled,
    /// Too much is in flight; the text says of what, and is `at the peer` if it is a limit of the
    /// peer and not of this node. The command did not run, so the call may be made again later.
    Overloaded(&'static str),
    /// The peer refused the call or message, or something else was refused; the text is the reason.
    Refused(String),
    /// A function that waits was called in a [callback](crate#callbacks), where it would wait for
    /// itself.
    WouldDeadlock,
    /// The node has been stopped, by [`Node::stop`](crate::Node::stop) or because its last clone
    /// was dropped.
    Stopped,
    /// The node was used in a child of the process that started it.
    Forked,
    /// A command is already registered at this path.
    CommandExists(String),
    /// A bug in the library.
    Internal(&'static str),
    /// The operation could not make progress without waiting, or within its timeout.
    WouldBlock,
    /// A stream, or the transfer of a file, ended before it was whole.
    Broken {
        /// Bytes that arrived before it did. For a file that was fetched, only the bytes of whole
        /// pieces count (4 MiB each), since only these are kept.
        arrived: u64,
        /// The reason why it ended.
        why: String,
    },
    /// No node that can be asked has a file of this hash.
    FileUnknown(String),
    /// What was read or received is not what it should be; the text says what.
    Damaged(String),
    /// The command ran, but its answer was lost; the text says why. If the call is made again, the
    /// command runs again.
    AnswerLost(&'static str),
    /// The peer's [rules](crate::Builder::allow) do not let this node call this path; the text is
    /// the path, `__message__` of a message to one node. The command did not run.
    NotAllowed(String),
}

impl Error {
    /// The C code of this error.
    pub fn code(&self) -> Code {
        match self {
            Error::Argument(_) => Code::Argument,
            Error::Name(_) => Code::Name,
            Error::Network(_) => Code::Network,
            Error::Key(_) => Code::Key,
            Error::Path(_) => Code::Path,
            Error::Json(_) => Code::Json,
            Error::Address(_) => Code::Address,
            Error::Utf8(_) => Code::Utf8,
            Error::TooLarge { .. } | Error::TooManyValues(_) => Code::TooLarge,
            Error::NameTaken(_) => Code::NameTaken,
            Error::PortInUse(_) => Code::PortInUse,
            Error::Io { .. } => Code::Io,
            Error::CommandNotFound(_) => Code::CommandNotFound,
            Error::CommandFailed(_) => Code::CommandFailed,
            Error::Timeout => Code::Timeout,
            Error::Unreachable(_) => Code::Unreachable,
            Error::PeerRestarted => Code::PeerRestarted,
            Error::Cancelled => Code::Cancelled,
            Error::Overloaded(_) => Code::Overloaded,
            Error::Refused(_) => Code::Refused,
            Error::WouldDeadlock => Code::WouldDeadlock,
            Error::Stopped => Code::Stopped,
            Error::Forked => Code::Forked,
            Error::CommandExists(_) => Code::CommandExists,
            Error::Internal(_) => Code::Internal,
            Error::WouldBlock => Code::WouldBlock,
            Error::Broken { .. } => Code::Broken,
            Error::FileUnknown(_) => Code::FileUnknown,
            Error::Damaged(_) => Code::Damaged,
            Error::AnswerLost(_) => Code::AnswerLost,
            Error::NotAllowed(_) => Code::NotAllowed,
        }
    }

    /// An error of the operating system, with what the library was doing.
    pub fn io(doing: &'static str, error: &io::Error) -> Error {
        Error::Io {
            doing,
            kind: error.kind(),
            text: error.to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.code().name();
        match self {
            Error::Argument(why)
            | Error::Name(why)
            | Error::Network(why)
            | Error::Key(why)
            | Error::Path(why)
            | Error::Utf8(why)
            | Error::Overloaded(why)
            | Error::AnswerLost(why)
            | Error::Internal(why) => write!(f, "{name}: {why}"),
            Error::Json(text)
            | Error::Address(text)
            | Error::NameTaken(text)
            | Error::CommandNotFound(text)
            | Error::CommandFailed(text)
            | Error::Unreachable(text)
            | Error::Refused(text)
            | Error::CommandExists(text)
            | Error::FileUnknown(text)
            | Error::Damaged(text) => write!(f, "{name}: {text}"),
            Error::NotAllowed(path) => write!(
                f,
                "{name}: the rules of the peer do not let this node call {path}; to change that, \
                 give the peer one more rule for this path, which names this node"
            ),
            Error::Broken { arrived: 0, why } => write!(f, "{name}: {why}"),
            Error::Broken { arrived, why } => {
                write!(f, "{name}: {why}, after {arrived} bytes had arrived")
            }
            Error::TooLarge { size, limit } => {
                write!(f, "{name}: {size} bytes, the limit is {limit}")
            }
            Error::TooManyValues(limit) => write!(f, "{name}: more than {limit} values"),
            Error::PortInUse(addr) => write!(f, "{name}: port {} ({addr})", addr.port()),
            Error::Io { doing, text, .. } => write!(f, "{doing}: {text}"),
            Error::Timeout
            | Error::PeerRestarted
            | Error::Cancelled
            | Error::WouldDeadlock
            | Error::Stopped
            | Error::WouldBlock
            | Error::Forked => f.write_str(name),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_count_down_without_gaps_and_each_has_its_own_name() {
        let mut names = std::collections::HashSet::new();
        for (i, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as i32, -(i as i32));
            assert!(!code.name().is_empty() && names.insert(code.name()));
        }
    }

    #[test]
    fn a_port_in_use_says_which() {
        let e = Error::PortInUse("127.0.0.1:3334".parse().unwrap());
        assert!(e.to_string().contains("3334"));
    }
}
