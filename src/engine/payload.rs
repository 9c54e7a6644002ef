//! What a call is answered with, and whether that is JSON or bytes.

use crate::error::Error;

/// The value of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A JSON text, which nobody has read yet.
    Json(Vec<u8>),
    /// Bytes: the value of a message, or of a command that answered with bytes.
    Data(Vec<u8>),
}

impl Payload {
    /// A value, marked as bytes or not.
    pub(crate) fn new(is_data: bool, bytes: Vec<u8>) -> Payload {
        match is_data {
            true => Payload::Data(bytes),
            false => Payload::Json(bytes),
        }
    }

    /// The bytes of the value, whatever they are.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Payload::Json(bytes) | Payload::Data(bytes) => bytes,
        }
    }

    /// The same, taken out.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Payload::Json(bytes) | Payload::Data(bytes) => bytes,
        }
    }

    /// The JSON text. An error if the command, which has run, answered with bytes.
    pub fn into_json(self) -> Result<Vec<u8>, Error> {
        match self {
            Payload::Json(text) => Ok(text),
            Payload::Data(_) => Err(Error::Json(
                "the command has run, and answered with bytes".into(),
            )),
        }
    }
}
