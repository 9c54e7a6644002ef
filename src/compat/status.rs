//! How the end of a call is told in this protocol, by an HTTP status and a JSON text: of ours to a
//! Python node, and of a Python node's to us.

use crate::error::Error;
use crate::json::quoted;
use crate::name::CommandPath;
use crate::wire::record::Status;

/// What a caller is told whose command ran.
const ANSWER_LOST: &str = "the command ran, but there was no room for its answer";

/// What a Python node is told whose call was answered with bytes, which it does not know.
const BYTES: &str = "the command ran, and answered with bytes, which a Python node cannot take";

/// The status and JSON text for a caller whose command ran, but whose answer is lost.
pub(super) fn answer_lost() -> (u16, Vec<u8>) {
    (500, quoted(ANSWER_LOST).into_bytes())
}

/// What a Python node is told: the HTTP status and a JSON text.
pub(super) fn told(status: Status, body: &[u8], command: &str) -> (u16, Vec<u8>) {
    let words = |text: &str| quoted(text).into_bytes();
    let body_text = || words(&String::from_utf8_lossy(body));
    match status {
        Status::Value => (200, body.to_vec()),
        Status::NotFound => (404, words(&format!("CMD \"{command}\" NOT FOUND"))),
        Status::Overloaded => (503, words("too much is in flight here")),
        Status::Refused => (403, body_text()),
        Status::Failed | Status::TooLarge | Status::Large => (500, body_text()),
        Status::Data | Status::LargeData => (500, words(BYTES)),
        Status::NotAllowed => (
            403,
            words(&format!(
                "the rules of this node let no Python node call {command}"
            )),
        ),
        Status::TooManyValues => (403, words("the arguments hold too many values")),
        Status::AnswerLost => answer_lost(),
    }
}

/// What an answer means. `text` is its value, a JSON text.
pub(super) fn outcome(status: u16, text: Vec<u8>, path: &CommandPath) -> Result<Vec<u8>, Error> {
    // A text without its quotes, anything else as it is.
    let words = || match serde_json::from_slice::<String>(&text) {
        Ok(words) => words,
        Err(_) => String::from_utf8_lossy(&text).into_owned(),
    };
    match status {
        200 => Ok(text),
        404 => Err(Error::CommandNotFound(path.to_string())),
        503 => Err(Error::Overloaded("at the peer")),
        403 => Err(Error::Refused(words())),
        _ => Err(Error::CommandFailed(words())),
    }
}
