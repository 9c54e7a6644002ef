//! The JSON of calls. What the library reads is what serde_json reads. What the library refuses,
//! serde_json refuses too, or reads in a way that loses a repeated key. Depth and memory are
//! bounded.
#![no_main]

mod heap;
#[allow(dead_code, unreachable_pub)]
#[path = "../../src/json/mod.rs"]
mod json;
mod logging;

use libfuzzer_sys::fuzz_target;
// The library's own file uses this module by its name in the library.
use peerbase::error;
use serde_core::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// The deepest nesting that is read: a thread with a small stack can still walk it.
const DEPTH: usize = 128;
/// Bytes of memory for each byte of text. An object of one entry takes 632 bytes, and as text
/// seven.
const EXPANSION: usize = 256;

/// The number of entries of all objects of a text. A repeated key counts each time.
struct Entries(usize);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entries, D::Error> {
        deserializer.deserialize_any(EntriesVisitor).map(Entries)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_bool<E>(self, _: bool) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_i64<E>(self, _: i64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_u64<E>(self, _: u64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_f64<E>(self, _: f64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_str<E>(self, _: &str) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<usize, A::Error> {
        let mut sum = 0;
        while let Some(Entries(n)) = seq.next_element()? {
            sum += n;
        }
        Ok(sum)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<usize, A::Error> {
        let mut sum = 0;
        while entries.next_key::<IgnoredAny>()?.is_some() {
            let Entries(n) = entries.next_value()?;
            sum += n + 1;
        }
        Ok(sum)
    }
}

fn entries(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.iter().map(entries).sum(),
        Value::Object(map) => map.values().map(|v| entries(v) + 1).sum(),
        _ => 0,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Whether two values are the same but for the last digits of their numbers, which serde_json reads
/// to within one unit of the last place.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(0.0));
            a.to_bits().abs_diff(b.to_bits()) <= 1
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let same = |((k, a), (l, b)): ((&String, &Value), (&String, &Value))| k == l && alike(a, b);
            a.len() == b.len() && a.iter().zip(b).all(same)
        }
        _ => a == b,
    }
}

fuzz_target!(|data: &[u8]| {
    let (ours, peak) = heap::peak(|| json::parse(data, usize::MAX));
    assert!(peak <= EXPANSION * data.len() + 4_096, "{peak} bytes for {}", data.len());
    let theirs = serde_json::from_slice::<Value>(data);
    match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
        (Err(_), Err(_)) => {}
        (Ok(_), Err(e)) => panic!("read what serde_json refuses: {e}"),
        (Err(why), Ok(theirs)) => {
            let Entries(said) = serde_json::from_slice(data).expect("it was read before");
            let reserved = why.to_string().contains("reserved key");
            assert!(reserved || said > entries(theirs), "refused without a repeated key: {why}");
        }
    }
    let list = ours.as_ref().is_ok_and(Value::is_array);
    let object = ours.as_ref().is_ok_and(Value::is_object);
    assert_eq!(json::check_args(data).is_ok(), list);
    assert_eq!(json::check_kwargs(data).is_ok(), object);
    // A text that passes the check can be read, and the check takes no memory for each value.
    let (checked, peak) = heap::peak(|| json::check(data));
    assert_eq!(checked.is_ok(), ours.is_ok());
    assert!(peak <= 2 * data.len() + 4_096, "{peak} bytes to check {}", data.len());
    match &ours {
        Ok(Value::Array(list)) => assert_eq!(json::args_of(data), *list),
        Ok(Value::Object(object)) => assert_eq!(json::kwargs_of(data), *object),
        _ => {}
    }
    if let Ok(value) = ours {
        assert!(depth(&value) <= DEPTH);
        let text = serde_json::to_vec(&value).expect("a value can be written");
        assert!(alike(&json::parse(&text, usize::MAX).expect("and read"), &value));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let quoted = json::quoted(text);
        assert_eq!(json::parse(quoted.as_bytes(), usize::MAX).expect("a string"), text);
    }
});
