//! JSON as calls carry it: read strictly, because it comes from others.
//!
//! RFC 8259 leaves repeated keys to the reader; here they are an error, so that no two readers of
//! one call can see different arguments. Lists and objects may be nested 127 deep, the bound of
//! `serde_json` itself.
//!
//! `scanner` first checks a text in one pass that allocates nothing for the values in it. A
//! [`Value`] is made only for a program that asks for one, because a text of a few MiB can become
//! a `Value` of hundreds. `strings` reads what a string says, without its escapes.

mod scanner;
mod strings;
#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::logging::record;
use serde_json::{Map, Value};

/// Checks that a text is JSON. Returns how many values it holds, where the key of a member counts
/// as one.
pub(crate) fn check(text: &[u8]) -> Result<usize, Error> {
    // Most calls carry these.
    if let b"[]" | b"{}" = text {
        return Ok(1);
    }
    check_text(utf8(text)?)
}

fn utf8(text: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(text).map_err(|_| Error::Utf8("JSON"))
}

fn check_text(text: &str) -> Result<usize, Error> {
    if u32::try_from(text.len()).is_err() {
        return Err(Error::Json("more than 4 GiB".into()));
    }
    scanner::count_values(text.as_bytes()).map_err(Error::Json)
}

/// Checks the args of a call, which must be a JSON array. Returns how many values they hold.
pub(crate) fn check_args(text: &[u8]) -> Result<usize, Error> {
    check_begins_with(text, b'[', "args must be an array")
}

/// Checks the kwargs of a call, which must be a JSON object. Returns how many values they hold.
pub(crate) fn check_kwargs(text: &[u8]) -> Result<usize, Error> {
    check_begins_with(text, b'{', "kwargs must be an object")
}

fn check_begins_with(text: &[u8], first: u8, otherwise: &str) -> Result<usize, Error> {
    let values = check(text)?;
    match text.iter().find(|b| !is_space(**b)) == Some(&first) {
        true => Ok(values),
        false => Err(Error::Json(otherwise.into())),
    }
}

/// Reads a JSON text that holds at most `max_values` values.
pub(crate) fn parse(text: &[u8], max_values: usize) -> Result<Value, Error> {
    let text = utf8(text)?;
    // Without an object no key is repeated, and there are no more values than bytes: `serde_json`
    // itself refuses all else that the check does. What is wrong, the check says better.
    let needs_no_check =
        text.len() <= max_values && memchr::memchr(b'{', text.as_bytes()).is_none();
    if needs_no_check && let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    if check_text(text)? > max_values {
        return Err(Error::TooManyValues(max_values as u64));
    }
    serde_json::from_str(text).map_err(|e| Error::Json(e.to_string()))
}

/// The value of a text that was checked before.
pub(crate) fn value_of(checked: &[u8]) -> Value {
    made(serde_json::from_slice(checked))
}

/// The values of args that were checked before.
pub(crate) fn args_of(checked: &[u8]) -> Vec<Value> {
    match checked {
        b"[]" => Vec::new(),
        text => made(serde_json::from_slice(text)),
    }
}

/// The values of kwargs that were checked before.
pub(crate) fn kwargs_of(checked: &[u8]) -> Map<String, Value> {
    match checked {
        b"{}" => Map::new(),
        text => made(serde_json::from_slice(text)),
    }
}

/// The values that `serde_json` has read. It reads every text that passes the check, as the tests
/// show.
fn made<T: Default>(read: Result<T, serde_json::Error>) -> T {
    read.unwrap_or_else(|e| {
        record!(Error, "JSON that was checked cannot be read: {e}");
        T::default()
    })
}

/// A text as a JSON string. It is not written through a [`Value`], whose numbers would bring 20 KiB
/// of tables into a C program that has no use for them.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\r')
}
