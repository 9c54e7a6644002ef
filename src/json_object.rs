//! A JSON object that is written member by member. Not a `Value`, whose numbers would bring 20 KiB
//! of tables into a C program that has no use for them.

use crate::json::quoted;
use std::fmt::{Display, Write};

/// An object in the making. Each name is to be given once.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Object {
        Object("{".to_owned())
    }

    /// Adds a text, which is escaped.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.member(name, &quoted(value));
    }

    /// Adds a whole number or a boolean, whose words are JSON as they are.
    pub(crate) fn plain(&mut self, name: &str, value: impl Display) {
        self.member(name, &value);
    }

    fn member(&mut self, name: &str, value: &dyn Display) {
        let comma = if self.0.len() > 1 { "," } else { "" };
        // Writing to a String does not fail.
        let _ = write!(self.0, "{comma}{}:{value}", quoted(name));
    }

    /// Its text.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.push('}');
        self.0.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_as_it_was_written() {
        assert_eq!(Object::new().end(), b"{}");
        let mut object = Object::new();
        object.text("a \"name\"", "line\n");
        object.plain("n", u64::MAX);
        object.plain("yes", true);
        let text = object.end();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let expected = serde_json::json!({"a \"name\"": "line\n", "n": u64::MAX, "yes": true});
        assert_eq!(value, expected);
    }
}
