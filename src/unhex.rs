//! Hexadecimal text, in which test vectors are written.

use serde_json::Value;

/// The bytes of a text.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// The bytes of a text in a JSON file.
pub(crate) fn of(value: &Value) -> Vec<u8> {
    unhex(value.as_str().unwrap())
}

/// So many bytes of a text in a JSON file.
pub(crate) fn array<const N: usize>(value: &Value) -> [u8; N] {
    of(value).try_into().unwrap()
}
