//! JSON objects and lists of which a few members matter. Nothing is built of the others: a text of
//! so many bytes never takes many times as much memory as itself, whatever is in it.

use serde_core::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Members of an object that a Python node or relay sent: six are usual.
const MEMBERS_MAX: usize = 32;

/// A member, as it was written.
type Member<'a> = (String, &'a RawValue);

/// The members of an object.
pub(super) struct Object<'a>(Vec<Member<'a>>);

impl<'a> Object<'a> {
    /// Reads one. A repeated key is an error: readers could differ.
    pub(super) fn read(text: &'a str) -> Option<Object<'a>> {
        let members = members(text, MEMBERS_MAX)?;
        let repeated =
            |(i, (key, _)): (usize, &Member<'_>)| members[..i].iter().any(|(k, _)| k == key);
        match members.iter().enumerate().any(repeated) {
            true => None,
            false => Some(Object(members)),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a RawValue> {
        let member = self.0.iter().find(|(k, _)| k == key);
        member.map(|(_, value)| *value)
    }

    /// A member that is a string.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        string(self.get(key)?)
    }
}

/// All members of an object that has at most so many.
pub(super) fn members(text: &str, most: usize) -> Option<Vec<Member<'_>>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = deserializer.deserialize_map(Members(most)).ok()?;
    deserializer.end().ok()?;
    Some(read)
}

/// A value that is a string.
pub(super) fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// The first items of a value that is a list.
pub(super) fn list(value: &RawValue, most: usize) -> Option<Vec<&RawValue>> {
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    deserializer.deserialize_seq(Items(most)).ok()
}

struct Members(usize);

impl<'de> Visitor<'de> for Members {
    type Value = Vec<Member<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Self::Value = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if members.len() == self.0 {
                return Err(A::Error::custom("too many members"));
            }
            members.push((key, map.next_value()?));
        }
        Ok(members)
    }
}

struct Items(usize);

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < self.0 {
            match seq.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(items),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_as_they_were_written() {
        let object = Object::read(r#" {"a": [1, 2.50], "b":"\u00e9", "c": null} "#).unwrap();
        assert_eq!(object.get("a").unwrap().get(), "[1, 2.50]");
        assert_eq!(object.text("b").as_deref(), Some("é"));
        assert_eq!((object.text("a"), object.text("x")), (None, None));
        for bad in [
            "",
            "[]",
            "1",
            "{\"a\":1,\"a\":2}",
            "{\"a\":1} x",
            "{\"a\":NaN}",
            "{\"a\":1,}",
        ] {
            assert!(Object::read(bad).is_none(), "{bad}");
        }
        assert!(
            members(r#"{"a":1,"a":2}"#, 2).is_some() && members(r#"{"a":1,"b":2}"#, 1).is_none()
        );
    }

    #[test]
    fn a_list_is_cut_and_a_deep_one_is_no_stack_overflow() {
        let object = Object::read(r#"{"l":[1,[2],"3",4]}"#).unwrap();
        let items = list(object.get("l").unwrap(), 3).unwrap();
        assert_eq!(
            items.iter().map(|i| i.get()).collect::<Vec<_>>(),
            ["1", "[2]", "\"3\""]
        );
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        // However deep: nothing is built of it.
        let object = Object::read(&deep).unwrap();
        assert_eq!(string(object.get("a").unwrap()), None);
    }
}
