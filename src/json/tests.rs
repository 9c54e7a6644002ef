//! Tests of the check, which must agree with `serde_json` about every text.

use super::*;
use proptest::prelude::*;
use serde_core::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    for bad in [
        &b"{\"a\":1,\"a\":2}"[..],
        b"{\"a\":1,\"b\":0,\"\\u0061\":2}",
        b"{\"\xf0\x9f\x98\x80\":1,\"\\ud83d\\ude00\":2}",
        b"{\"x\":[{\"a\":1,\"a\":2}]}",
        b"[NaN]",
        b"[Infinity]",
        b"[1e999]",
        b"[\"\\ud83d\"]",
        b"\"\xff\"",
        b"[1,]",
        b"[01]",
        b"",
        b"1 2",
        b"{'a':1}",
    ] {
        assert!(check(bad).is_err(), "{}", bad.escape_ascii());
    }
    assert_eq!(check(b"{\"a\":{\"a\":[]},\"ab\":{}}"), Ok(7));
    assert!(matches!(check_args(b"{}"), Err(Error::Json(_))));
    assert!(matches!(check_kwargs(b"[]"), Err(Error::Json(_))));
    assert_eq!(check_args(b" [1]"), Ok(2));
}

#[test]
fn an_object_that_serde_json_takes_for_another_value_is_refused() {
    for bad in [
        r#"{"$serde_json::private::RawValue":"[0,0,0,0]"}"#,
        r#"[{"a":{"\u0024serde_json::private::Number":"1"}}]"#,
    ] {
        assert!(check(bad.as_bytes()).is_err(), "{bad}");
    }
    assert_eq!(check(br#"{"$serde_json":0,"$":1}"#), Ok(5));
}

#[test]
fn a_hundred_thousand_brackets_are_an_error_and_not_a_stack_overflow() {
    for open in [&b"["[..], b"{\"a\":"] {
        assert!(
            matches!(check(&open.repeat(100_000)), Err(Error::Json(why)) if why.contains("recursion"))
        );
    }
    for depth in [127, 128] {
        let text = [b"[".repeat(depth), b"]".repeat(depth)].concat();
        assert_eq!(check(&text).is_ok(), depth == 127);
        assert_eq!(check(&text).is_ok(), reference(&text));
    }
}

#[test]
fn more_values_than_are_taken_are_not_made() {
    let text = b"[{\"a\":0},{\"a\":0}]";
    assert_eq!(check(text), Ok(7));
    assert_eq!(parse(text, 6), Err(Error::TooManyValues(6)));
    assert!(parse(text, 7).is_ok());
}

#[test]
fn what_is_wrong_with_a_text_is_said_whether_it_has_an_object_or_not() {
    for bad in ["[1,]", "[{},]", "\"a", "{\"a", "[1e999]", "[{},1e999]"] {
        let said = parse(bad.as_bytes(), 100);
        assert_eq!(said, Err(check(bad.as_bytes()).unwrap_err()), "{bad}");
    }
    assert_eq!(parse(b"[1,2,3,4]", 5), Ok(serde_json::json!([1, 2, 3, 4])));
    assert_eq!(parse(b"[1,2,3,4]", 4), Err(Error::TooManyValues(4)));
}

/// What `serde_json` makes of a text where repeated keys are an error.
fn reference(text: &[u8]) -> bool {
    serde_json::from_slice::<Strict>(text).is_ok()
}

struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Strict)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Strict, A::Error> {
        while seq.next_element::<Strict>()?.is_some() {}
        Ok(Strict)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Strict, A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            entries.next_value::<Strict>()?;
            if !keys.insert(key) {
                return Err(A::Error::custom("repeated key"));
            }
        }
        Ok(Strict)
    }
}

/// Texts that are JSON, but for a few: strings hold what has to be escaped, and keys are few.
fn texts() -> impl Strategy<Value = String> {
    let string = prop::sample::select(vec![
        r#""""#,
        r#""a""#,
        r#""\u0061""#,
        r#""b""#,
        r#""\n""#,
        r#""😀""#,
        r#""\uD83D\uDE00""#,
        r#""é""#,
        r#""\u00e9""#,
        r#""\ud83d""#,
        r#""\udc00""#,
        r#""\x""#,
    ]);
    let number = prop::sample::select(vec![
        "0",
        "-0",
        "12",
        "-1.50",
        "1e308",
        "1.7976931348623157e308",
        "1.7976931348623159e+308",
        "1E-999",
        "1e309",
        "18446744073709551616",
        "01",
        "-",
        "1.",
        ".5",
    ]);
    let word = prop::sample::select(vec!["true", "false", "null", "nul"]);
    let leaf = prop_oneof![string.clone(), number, word].prop_map(str::to_owned);
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let member = (string.clone(), inner.clone()).prop_map(|(k, v)| format!("{k}:{v}"));
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(|l| format!("[{}]", l.join(","))),
            prop::collection::vec(member, 0..5).prop_map(|l| format!("{{{}}}", l.join(" , "))),
        ]
    })
}

proptest! {
    #[test]
    fn a_number_is_the_same_after_it_was_written_and_read(bits in any::<u64>()) {
        let number = f64::from_bits(bits);
        if number.is_finite() {
            let text = serde_json::to_vec(&Value::from(number)).unwrap();
            let read = parse(&text, 1).unwrap().as_f64().unwrap();
            prop_assert_eq!(read.to_bits(), bits, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn what_reads_writes_back_to_the_same_value(text in "[\\[\\]{}\",:0-9a.e-]{0,40}") {
        prop_assert_eq!(check(text.as_bytes()).is_ok(), reference(text.as_bytes()));
        if let Ok(value) = parse(text.as_bytes(), 100) {
            let again = serde_json::to_vec(&value).unwrap();
            prop_assert_eq!(parse(&again, 100).unwrap(), value);
        }
    }

    #[test]
    fn what_passes_the_check_is_what_serde_json_reads(text in texts(), at in any::<prop::sample::Index>(), byte in any::<u8>(), mutate in any::<bool>()) {
        let mut text = text.into_bytes();
        if mutate {
            let at = at.index(text.len());
            text[at] = byte;
        }
        prop_assert_eq!(check(&text).is_ok(), reference(&text), "{}", text.escape_ascii());
        prop_assert_eq!(parse(&text, usize::MAX).is_ok(), check(&text).is_ok());
    }
}
