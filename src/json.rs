//! JSON as calls carry it: read strictly, because it comes from others.
//!
//! RFC 8259 leaves repeated keys to the reader; here they are an error, so that no two readers of
//! one call can see different arguments. Nesting ends at 128, which is `serde_json`'s own bound.

use crate::error::Error;
use serde_core::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Reads one JSON text.
pub(crate) fn parse(text: &[u8]) -> Result<Value, Error> {
    // What most calls carry.
    match text {
        b"[]" => return Ok(Value::Array(Vec::new())),
        b"{}" => return Ok(Value::Object(Map::new())),
        _ => {}
    }
    let text = std::str::from_utf8(text).map_err(|_| Error::Utf8("JSON"))?;
    match serde_json::from_str::<Strict>(text) {
        Ok(Strict(value)) => Ok(value),
        Err(e) => Err(Error::Json(e.to_string())),
    }
}

/// Reads the args of a call: a JSON array.
pub(crate) fn parse_args(text: &[u8]) -> Result<Vec<Value>, Error> {
    match parse(text)? {
        Value::Array(args) => Ok(args),
        _ => Err(Error::Json("args must be an array".into())),
    }
}

/// Reads the kwargs of a call: a JSON object.
pub(crate) fn parse_kwargs(text: &[u8]) -> Result<Map<String, Value>, Error> {
    match parse(text)? {
        Value::Object(kwargs) => Ok(kwargs),
        _ => Err(Error::Json("kwargs must be an object".into())),
    }
}

/// A text as JSON writes it. Not through a [`Value`], whose numbers would bring 20 KiB of tables into a C
/// program that has no use for them.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Number(n.into()))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(Value::Number(n.into()))
    }

    fn visit_f64<E: serde_core::de::Error>(self, n: f64) -> Result<Value, E> {
        Number::from_f64(n)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, s: &str) -> Result<Value, E> {
        Ok(Value::String(s.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let Strict(value) = entries.next_value()?;
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("repeated key"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for bad in [
            &b"{\"a\":1,\"a\":2}"[..],
            b"[NaN]",
            b"[Infinity]",
            b"[1e999]",
            b"\"\xff\"",
            b"[1,]",
            b"",
            b"1 2",
            b"{'a':1}",
        ] {
            assert!(parse(bad).is_err(), "{}", bad.escape_ascii());
        }
        assert!(matches!(parse_args(b"{}"), Err(Error::Json(_))));
        assert!(matches!(parse_kwargs(b"[]"), Err(Error::Json(_))));
    }

    #[test]
    fn a_hundred_thousand_brackets_are_an_error_and_not_a_stack_overflow() {
        for open in [&b"["[..], b"{\"a\":"] {
            assert!(
                matches!(parse(&open.repeat(100_000)), Err(Error::Json(why)) if why.contains("recursion"))
            );
        }
    }

    proptest! {
        #[test]
        fn what_reads_writes_back_to_the_same_value(text in "[\\[\\]{}\",:0-9a.e-]{0,40}") {
            if let Ok(value) = parse(text.as_bytes()) {
                let again = serde_json::to_vec(&value).unwrap();
                prop_assert_eq!(parse(&again).unwrap(), value);
            }
        }
    }
}
