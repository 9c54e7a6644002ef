//! The fields behind a word, with which a newer version may say more.
//!
//! A field is `.NAME=VALUE`. One that a receiver must know or refuse the link has `!` before its
//! name. The names of a word's fields ascend, so that each is there once.

use super::WordError;
use crate::limits::FIELD_NAME_MAX;
use crate::wire::Malformed;

/// The fields behind a word. This version knows none: those that may be ignored are kept, so that
/// what decodes encodes back to the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Box<[u8]>);

impl Fields {
    /// Reads them, each with the dot before it.
    pub(super) fn read(text: &[u8]) -> Result<Fields, WordError> {
        let mut before: &[u8] = &[];
        let mut is_critical = false;
        for part in text.split(|b| *b == b'.').skip(1) {
            let name = name_of(part).ok_or(Malformed)?;
            if name <= before {
                return Err(WordError::Malformed);
            }
            before = name;
            is_critical |= part[0] == b'!';
        }
        match is_critical {
            true => Err(WordError::Version),
            false => Ok(Fields(text.into())),
        }
    }

    /// The fields as they are on the wire, each with the dot before it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Whether a part of a payload is a field. No argument looks like one: before its first `=`, if it
/// has one, it is longer than a name.
pub(super) fn is_field(part: &[u8]) -> bool {
    name_of(part).is_some()
}

/// The name of a field, if it is one.
fn name_of(part: &[u8]) -> Option<&[u8]> {
    let part = part.strip_prefix(b"!").unwrap_or(part);
    let end = memchr::memchr(b'=', part)?;
    let (name, value) = (&part[..end], &part[end + 1..]);
    let fits = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    let is_name = (1..=FIELD_NAME_MAX).contains(&name.len()) && name.iter().all(fits);
    (is_name && is_text(value)).then_some(name)
}

/// Whether this is a part of a payload: not empty, and without the marks between parts.
pub(super) fn is_text(part: &[u8]) -> bool {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'=');
    !part.is_empty() && part.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_may_be_ignored_are_kept_and_others_refused() {
        for good in [&b""[..], b".a=1", b".a=1.b=x==.c-2=-_"] {
            assert_eq!(Fields::read(good).unwrap().as_bytes(), good);
        }
        for newer in [&b".!a=1"[..], b".a=1.!b=2"] {
            assert_eq!(Fields::read(newer), Err(WordError::Version));
        }
        let long = [b".", &[b'n'; FIELD_NAME_MAX + 1][..], b"=1"].concat();
        for bad in [
            &b".a"[..],
            b".a=",
            b".=1",
            b".A=1",
            b".a=1.a=2",
            b".b=1.a=2",
            b".a=1.!a=2",
            b".!a",
            b".a=!",
            &long,
        ] {
            let read = Fields::read(bad);
            assert_eq!(read, Err(WordError::Malformed), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn no_argument_looks_like_a_field() {
        let long = [&[b'a'; 43][..], b"="].concat();
        let short = [&[b'a'; 22][..], b"=="].concat();
        for argument in [&long[..], &short, b"abcdefgh-_012345", b"7", b"full"] {
            assert!(!is_field(argument));
        }
    }
}
