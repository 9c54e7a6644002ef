//! How a call ended: what the callee says in its reply, as an error for the caller's program.

use crate::error::Error;
use crate::wire::record::Status;

/// The callee's outcome as the result of the call: `path` is the command's, and `size` counts the
/// bytes that were asked.
pub(super) fn outcome(
    status: Status,
    body: &[u8],
    path: &str,
    size: usize,
) -> Result<Vec<u8>, Error> {
    let text = || String::from_utf8_lossy(body).into_owned();
    let number = || body.try_into().map_or(0, u64::from_be_bytes);
    match status {
        Status::Value | Status::Data => Ok(body.to_vec()),
        Status::NotFound => Err(Error::CommandNotFound(path.to_owned())),
        Status::Failed => Err(Error::CommandFailed(text())),
        Status::Overloaded => Err(Error::Overloaded("at the peer")),
        Status::Refused => Err(Error::Refused(text())),
        Status::TooLarge => {
            let limit = usize::try_from(number()).unwrap_or(usize::MAX);
            Err(Error::TooLarge { size, limit })
        }
        Status::TooManyValues => Err(Error::TooManyValues(number())),
        Status::NotAllowed => Err(Error::NotAllowed(path.to_owned())),
        Status::AnswerLost => Err(Error::AnswerLost("the peer had no room to keep it")),
        Status::Large | Status::LargeData => {
            Err(Error::Internal("a large value without its stream"))
        }
    }
}

/// Why what a command streamed has broken off, in words for the program that reads the stream: how
/// the command ended.
pub(crate) fn reason(status: Status, body: &[u8]) -> String {
    match outcome(status, body, "", 0) {
        Err(e @ (Error::CommandFailed(_) | Error::Refused(_))) if !body.is_empty() => e.to_string(),
        Err(e) => e.code().name().to_owned(),
        Ok(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_told_in_words_how_the_command_ended() {
        assert_eq!(reason(Status::Failed, b"no ink"), {
            Error::CommandFailed("no ink".into()).to_string()
        });
        let unnamed = Error::CommandFailed(String::new()).code().name();
        assert_eq!(reason(Status::Failed, b""), unnamed);
        assert_eq!(reason(Status::Value, b"7"), "");
    }

    #[test]
    fn a_call_that_a_rule_forbids_says_which_path_it_is_about() {
        let result = outcome(Status::NotAllowed, b"", "valve.open", 9);
        assert_eq!(result, Err(Error::NotAllowed("valve.open".into())));
    }

    #[test]
    fn the_callees_limit_is_part_of_the_error() {
        let limit = 7u64.to_be_bytes();
        let result = outcome(Status::TooLarge, &limit, "x", 9);
        assert_eq!(result, Err(Error::TooLarge { size: 9, limit: 7 }));
        let result = outcome(Status::TooManyValues, b"short", "x", 9);
        assert_eq!(
            result,
            Err(Error::TooManyValues(0)),
            "a limit cut short is none"
        );
    }
}
