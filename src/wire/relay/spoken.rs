//! A payload, taken apart into its verb, its arguments and its fields.

use super::WordError;
use super::fields::{Fields, is_field, is_text};
use crate::limits::WORD_MAX;
use crate::wire::Malformed;

/// Characters of a verb at most.
const VERB_MAX: usize = 16;

/// A payload whose arguments are taken from the front.
pub(super) struct Spoken<'a> {
    /// The verb, with `!` before it if a receiver must know it.
    pub(super) verb: &'a [u8],
    /// What follows it, up to the fields; each part with the dot before it.
    rest: &'a [u8],
    /// All but the fields.
    head: &'a [u8],
}

impl<'a> Spoken<'a> {
    /// Takes a payload apart.
    pub(super) fn read(payload: &'a [u8]) -> Result<(Spoken<'a>, Fields), WordError> {
        if payload.len() > WORD_MAX {
            return Err(WordError::Malformed);
        }
        let (head, fields) = payload.split_at(arguments_end(payload));
        let verb = head.split(|b| *b == b'.').next().unwrap_or_default();
        let rest = &head[verb.len()..];
        if !is_verb(verb) || !rest.split(|b| *b == b'.').skip(1).all(is_text) {
            return Err(WordError::Malformed);
        }
        let spoken = Spoken { verb, rest, head };
        Ok((spoken, Fields::read(fields)?))
    }

    /// The next argument, if there is one more.
    pub(super) fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.strip_prefix(b".")?;
        let end = memchr::memchr(b'.', rest).unwrap_or(rest.len());
        self.rest = &rest[end..];
        Some(&rest[..end])
    }

    /// The next argument.
    pub(super) fn argument(&mut self) -> Result<&'a [u8], Malformed> {
        self.next().ok_or(Malformed)
    }

    /// There are no more arguments.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        match self.rest.is_empty() {
            true => Ok(()),
            false => Err(Malformed),
        }
    }

    /// The verb is one of a newer version: all but the fields, if it may be ignored.
    pub(super) fn newer(&mut self) -> Result<Box<[u8]>, WordError> {
        self.rest = &[];
        match self.verb.first() {
            Some(b'!') => Err(WordError::Version),
            _ => Ok(self.head.into()),
        }
    }
}

/// Where the arguments of a payload end and its fields begin.
fn arguments_end(payload: &[u8]) -> usize {
    let mut end = 0;
    for part in payload.split(|b| *b == b'.') {
        if end > 0 && is_field(part) {
            return end - 1;
        }
        end += part.len() + 1;
    }
    payload.len()
}

/// Whether this is a verb: letters, after a `!` or not.
pub(super) fn is_verb(text: &[u8]) -> bool {
    let letters = text.strip_prefix(b"!").unwrap_or(text);
    (1..=VERB_MAX).contains(&letters.len()) && letters.iter().all(u8::is_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_taken_apart() {
        let (mut spoken, fields) = Spoken::read(b"verb.one.two.a=1.b=2").unwrap();
        assert_eq!(spoken.verb, b"verb");
        assert_eq!(spoken.argument(), Ok(&b"one"[..]));
        assert_eq!(spoken.end(), Err(Malformed));
        assert_eq!(spoken.next(), Some(&b"two"[..]));
        assert_eq!((spoken.next(), spoken.end()), (None, Ok(())));
        assert_eq!(fields.as_bytes(), b".a=1.b=2");
        assert_eq!(spoken.newer().as_deref(), Ok(&b"verb.one.two"[..]));
    }

    #[test]
    fn nothing_else_is_a_payload() {
        let long = [b"verb.", &[b'a'; WORD_MAX - 4][..]].concat();
        for bad in [
            &b""[..],
            b".a",
            b"verb.",
            b"verb..a",
            b"Verb",
            b"verb.!a",
            b"verb.a=1.argument",
            b"averbthatistoolong",
            &long,
        ] {
            let read = Spoken::read(bad).map(|_| ());
            assert_eq!(read, Err(WordError::Malformed), "{}", bad.escape_ascii());
        }
        assert!(Spoken::read(&long[..WORD_MAX]).is_ok());
    }
}
