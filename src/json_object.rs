//! JSON that is written piece by piece: an object member by member, a list item by item. Not a
//! `Value`, whose numbers would bring 20 KiB of tables into a C program that has no use for them.

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

    /// Adds what is JSON as it is: a whole number, a boolean, or a text that was written as JSON.
    pub(crate) fn plain(&mut self, name: &str, value: impl Display) {
        self.member(name, &value);
    }

    fn member(&mut self, name: &str, value: &dyn Display) {
        let comma = if self.0.len() > 1 { "," } else { "" };
        // Writing to a String does not fail.
        let _ = write!(self.0, "{comma}{}:{value}", quoted(name));
    }

    /// Its text.
    pub(crate) fn into_text(mut self) -> String {
        self.0.push('}');
        self.0
    }

    /// Its text, as bytes.
    pub(crate) fn end(self) -> Vec<u8> {
        self.into_text().into_bytes()
    }
}

/// The list of these items, each a JSON text.
pub(crate) fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    format!("[{}]", items.join(","))
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
        object.plain("list", list([1, 2].iter().map(i32::to_string)));
        object.plain("none", list(std::iter::empty()));
        let text = object.end();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let expected = serde_json::json!({
            "a \"name\"": "line\n", "n": u64::MAX, "yes": true, "list": [1, 2], "none": [],
        });
        assert_eq!(value, expected);
    }
}
