//! Texts whose last line is a signature over all bytes before that line:
//!
//! ```text
//! peerbase certificate 2
//! network: plant
//! …
//! signature: BASE64URL
//! ```
//!
//! Each line ends with `\n`, also the last.

use super::AuthorityKey;
use crate::base64url;
use crate::error::Error;
use crate::name::NetworkName;
use crate::signature::Signature;

/// Takes lines from the front of a text. Each error says which line is wrong.
pub(super) struct Lines<'a> {
    /// What the text should be, with its article.
    what: &'static str,
    left: &'a str,
    /// The number of the line that was taken last.
    number: usize,
}

impl<'a> Lines<'a> {
    /// The lines of a text of at most `limit` bytes that begins with the line `head`.
    pub(super) fn of(
        what: &'static str,
        text: &'a str,
        limit: usize,
        head: &str,
    ) -> Result<Lines<'a>, Error> {
        if text.len() > limit {
            return Err(Error::Damaged(format!("{what} has at most {limit} bytes")));
        }
        let mut lines = Lines {
            what,
            left: text,
            number: 0,
        };
        match lines.line() {
            Some(line) if line == head => Ok(lines),
            _ => Err(lines.wrong(&format!("must be `{head}`"))),
        }
    }

    fn line(&mut self) -> Option<&'a str> {
        self.number += 1;
        let (line, left) = self.left.split_once('\n')?;
        self.left = left;
        Some(line)
    }

    /// Whether the next line is the field `name`.
    pub(super) fn next_is(&self, name: &str) -> bool {
        let rest = self.left.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(':'))
    }

    /// The value of the next line, which must be the field `name`. A field without a value ends
    /// with its colon.
    pub(super) fn field<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&'a str) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let line = self.line().and_then(|line| line.strip_prefix(name));
        let value = match line.and_then(|line| line.strip_prefix(':')) {
            Some("") => Some(""),
            value => value.and_then(|value| value.strip_prefix(' ')),
        };
        let value = value.ok_or_else(|| self.wrong(&format!("must be a line `{name}: …`")))?;
        read(value).map_err(|e| self.wrong(&e.to_string()))
    }

    /// The signature in the last line.
    pub(super) fn signature(mut self) -> Result<Signature, Error> {
        let signature = self.field("signature", |value| {
            let bytes = base64url::bytes::<64>(value);
            bytes.ok_or(Error::Argument("a signature is 88 characters of base64url"))
        })?;
        if !self.left.is_empty() {
            self.number += 1;
            return Err(self.wrong("must not be there, because the signature is the last"));
        }
        Ok(*signature)
    }

    fn wrong(&self, why: &str) -> Error {
        Error::Damaged(format!("{}: line {}: {why}", self.what, self.number))
    }
}

/// Reads a whole number. That it is written without a sign and zeros in front is checked when the
/// whole text is compared with what it says.
pub(super) fn number(text: &str) -> Result<u64, Error> {
    text.parse()
        .map_err(|_| Error::Argument("a version is a whole number"))
}

/// What a text says, if that is written as the text is. Otherwise it was put together by hand: with
/// roles in another order, for example.
pub(super) fn exactly<T>(
    what: &'static str,
    text: &str,
    said: T,
    written: impl FnOnce(&T) -> String,
) -> Result<T, Error> {
    if written(&said) == text {
        return Ok(said);
    }
    let why = "it is not written in the one way in which it may be";
    Err(Error::Damaged(format!("{what}: {why}")))
}

/// Adds the last line.
pub(super) fn put_signature(signature: &Signature, text: &mut String) {
    text.push_str(&base64url::text("signature: ", signature));
    text.push('\n');
}

/// Checks whom a text is for, and that one of these authorities has signed it.
pub(super) fn verify(
    what: &'static str,
    (network, wanted): (&NetworkName, &NetworkName),
    authorities: &[AuthorityKey],
    text: &str,
    signature: &Signature,
) -> Result<(), Error> {
    if network != wanted {
        let why = format!("{what} of the network {network}, and not of {wanted}");
        return Err(Error::Refused(why));
    }
    let mut keys = authorities.iter();
    if !keys.any(|key| key.verify(text.as_bytes(), signature)) {
        let why = format!("{what} that none of the given authorities has signed");
        return Err(Error::Refused(why));
    }
    Ok(())
}
