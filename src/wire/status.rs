//! How calls end at the callee: one byte of a reply.

use super::Malformed;

/// How a call ended at the callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The body is the value: JSON of a command, bytes of a message.
    Value,
    /// There is no such command.
    NotFound,
    /// The command failed; the body is its message.
    Failed,
    /// Too much is in flight; the command did not run.
    Overloaded,
    /// The callee refused the call; the body is the reason.
    Refused,
    /// What was asked is larger than the callee accepts; the body is its limit, u64.
    TooLarge,
    /// The value comes on a channel of its own, and is what [`Status::Value`] says; the body is its
    /// length, u64.
    Large,
    /// The command ran, but its answer could not be kept.
    AnswerLost,
    /// What was asked holds more values than the callee accepts; the body is its limit, u64.
    TooManyValues,
    /// The callee's rules do not let the caller call this; the command did not run.
    NotAllowed,
    /// The body is the value, bytes.
    Data,
    /// The value, bytes, comes on a channel of its own; the body is its length, u64.
    LargeData,
}

impl Status {
    /// Whether the command has answered with a value, which may come on a channel of its own.
    pub fn is_value(self) -> bool {
        self.is_whole_value() || self.is_large()
    }

    /// Whether the body is the value.
    pub fn is_whole_value(self) -> bool {
        matches!(self, Status::Value | Status::Data)
    }

    /// Whether the value comes on a channel of its own.
    pub fn is_large(self) -> bool {
        matches!(self, Status::Large | Status::LargeData)
    }

    /// Whether the value is marked as bytes.
    pub fn is_data(self) -> bool {
        matches!(self, Status::Data | Status::LargeData)
    }

    /// The status of a value if the value is set apart, to come on a channel of its own.
    pub fn set_apart(self) -> Status {
        match self {
            Status::Data => Status::LargeData,
            _ => Status::Large,
        }
    }

    pub(super) fn from_u8(byte: u8) -> Result<Status, Malformed> {
        Ok(match byte {
            0 => Status::Value,
            1 => Status::NotFound,
            2 => Status::Failed,
            3 => Status::Overloaded,
            4 => Status::Refused,
            5 => Status::TooLarge,
            6 => Status::Large,
            7 => Status::AnswerLost,
            8 => Status::TooManyValues,
            9 => Status::NotAllowed,
            10 => Status::Data,
            11 => Status::LargeData,
            _ => return Err(Malformed),
        })
    }

    pub(super) fn to_u8(self) -> u8 {
        match self {
            Status::Value => 0,
            Status::NotFound => 1,
            Status::Failed => 2,
            Status::Overloaded => 3,
            Status::Refused => 4,
            Status::TooLarge => 5,
            Status::Large => 6,
            Status::AnswerLost => 7,
            Status::TooManyValues => 8,
            Status::NotAllowed => 9,
            Status::Data => 10,
            Status::LargeData => 11,
        }
    }
}
