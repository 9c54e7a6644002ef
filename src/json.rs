//! JSON as calls carry it: read strictly, because it comes from others.
//!
//! RFC 8259 leaves repeated keys to the reader; here they are an error, so that no two readers of
//! one call can see different arguments. Lists and objects may be nested 127 deep, which is `serde_json`'s own bound.
//!
//! A text is checked first, in one pass that allocates nothing for the values in it, and made into a
//! [`Value`] only for a program that asks for one: a text of a few MiB can become a `Value` of hundreds.

use crate::error::Error;
use crate::logging::record;
use serde_json::{Map, Value};
use std::cmp::Ordering;

/// How deep lists and objects may be nested; at one more, `serde_json` gives up.
const DEPTH_MAX: usize = 127;

/// What the keys begin with by which `serde_json` knows values that are no objects. With its features
/// `raw_value` and `arbitrary_precision`, which any crate of a program may turn on, it reads such an object
/// as another value, of which nothing was checked.
const RESERVED: &str = "$serde_json::private::";

/// A number shorter than this, and without an exponent, is in the range of `f64`.
const SURELY_FINITE: usize = 300;

/// Checks that a text is JSON; how many values it holds, where the key of a member counts as one.
pub(crate) fn check(text: &[u8]) -> Result<usize, Error> {
    // What most calls carry.
    if let b"[]" | b"{}" = text {
        return Ok(1);
    }
    check_text(utf8(text)?)
}

fn utf8(text: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(text).map_err(|_| Error::Utf8("JSON"))
}

fn check_text(text: &str) -> Result<usize, Error> {
    let text = text.as_bytes();
    if u32::try_from(text.len()).is_err() {
        return Err(Error::Json("more than 4 GiB".into()));
    }
    let mut scanner = Scanner {
        text,
        at: 0,
        depth: 0,
        values: 0,
        keys: Vec::new(),
    };
    let whole = scanner.value().and_then(|()| scanner.end());
    whole.map_err(|why| Error::Json(format!("{why} at byte {}", scanner.at)))?;
    Ok(scanner.values)
}

/// Checks the args of a call: a JSON array. How many values they hold.
pub(crate) fn check_args(text: &[u8]) -> Result<usize, Error> {
    check_begins_with(text, b'[', "args must be an array")
}

/// Checks the kwargs of a call: a JSON object. How many values they hold.
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

/// Reads one JSON text that holds at most so many values.
pub(crate) fn parse(text: &[u8], max_values: usize) -> Result<Value, Error> {
    let text = utf8(text)?;
    if check_text(text)? > max_values {
        return Err(Error::TooManyValues(max_values as u64));
    }
    serde_json::from_str(text).map_err(|e| Error::Json(e.to_string()))
}

/// The values of args that were checked.
pub(crate) fn args_of(checked: &[u8]) -> Vec<Value> {
    match checked {
        b"[]" => Vec::new(),
        text => made(serde_json::from_slice(text)),
    }
}

/// The values of kwargs that were checked.
pub(crate) fn kwargs_of(checked: &[u8]) -> Map<String, Value> {
    match checked {
        b"{}" => Map::new(),
        text => made(serde_json::from_slice(text)),
    }
}

/// `serde_json` reads all that passes the check, as the tests below show.
fn made<T: Default>(read: Result<T, serde_json::Error>) -> T {
    read.unwrap_or_else(|e| {
        record!(Error, "JSON that was checked cannot be read: {e}");
        T::default()
    })
}

/// A text as JSON writes it. Not through a [`Value`], whose numbers would bring 20 KiB of tables into a C
/// program that has no use for them.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

fn is_control(byte: u8) -> bool {
    byte < 0x20
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\r')
}

/// Why a text is no JSON.
type Fault = &'static str;

/// Goes through a text once. What it holds besides its place is where the keys of the objects that are open
/// begin: 4 bytes for each, while a member takes at least 8 bytes of text once there are thousands of them.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    values: usize,
    keys: Vec<u32>,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The next byte that is no space.
    fn next_token(&mut self) -> Option<u8> {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
        self.peek()
    }

    fn take(&mut self, byte: u8, otherwise: Fault) -> Result<(), Fault> {
        if self.next_token() != Some(byte) {
            return Err(otherwise);
        }
        self.at += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        match self.next_token() {
            None => Ok(()),
            Some(_) => Err("trailing characters"),
        }
    }

    fn value(&mut self) -> Result<(), Fault> {
        self.values += 1;
        match self.next_token().ok_or("unexpected end")? {
            b'"' => self.string(),
            b'[' => self.nested(Self::list),
            b'{' => self.nested(Self::object),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => Err("expected a value"),
        }
    }

    fn nested(&mut self, inside: fn(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("recursion limit exceeded");
        }
        self.at += 1;
        inside(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn list(&mut self) -> Result<(), Fault> {
        if self.next_token() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value()?;
            if self.next_token() != Some(b',') {
                return self.take(b']', "expected `,` or `]`");
            }
            self.at += 1;
        }
    }

    fn object(&mut self) -> Result<(), Fault> {
        if self.next_token() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let first = self.keys.len();
        loop {
            self.key()?;
            self.take(b':', "expected `:`")?;
            self.value()?;
            if self.next_token() != Some(b',') {
                break;
            }
            self.at += 1;
        }
        self.take(b'}', "expected `,` or `}`")?;
        self.check_keys(first)
    }

    fn key(&mut self) -> Result<(), Fault> {
        if self.next_token() != Some(b'"') {
            return Err("expected a key");
        }
        self.values += 1;
        if self.keys.len() == self.keys.capacity() {
            // Not doubled: what others send should cost little more than its text.
            self.keys.reserve_exact(64.max(self.keys.len() / 4));
        }
        let begin = self.at as u32 + 1;
        self.keys.push(begin);
        self.string()?;
        let reserved = RESERVED.bytes();
        if Letters::at(self.text, begin)
            .take(reserved.len())
            .eq(reserved)
        {
            return Err("reserved key");
        }
        Ok(())
    }

    /// Checks that no key of an object is repeated. Sorted, so that an object of a hundred thousand keys does
    /// not take a hundred thousand comparisons for each.
    fn check_keys(&mut self, first: usize) -> Result<(), Fault> {
        let text = self.text;
        let order = |a: &u32, b: &u32| Letters::at(text, *a).cmp(Letters::at(text, *b));
        let keys = &mut self.keys[first..];
        keys.sort_unstable_by(order);
        if keys
            .windows(2)
            .any(|w| order(&w[0], &w[1]) == Ordering::Equal)
        {
            return Err("repeated key");
        }
        self.keys.truncate(first);
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Fault> {
        if !self.text[self.at..].starts_with(word) {
            return Err("expected a value");
        }
        self.at += word.len();
        Ok(())
    }

    fn string(&mut self) -> Result<(), Fault> {
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            // All of them are looked at, which the compiler does many at a time.
            if rest[..plain]
                .iter()
                .fold(false, |any, b| any | is_control(*b))
            {
                self.at += rest.iter().position(|b| is_control(*b)).unwrap_or(0);
                return Err("control character in a string");
            }
            self.at += plain;
            match self.peek().ok_or("unexpected end in a string")? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => {
                    let (_, length) = escape(&self.text[self.at..]).ok_or("invalid escape")?;
                    self.at += length;
                }
            }
        }
    }

    fn number(&mut self) -> Result<(), Fault> {
        let begin = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        let exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if exponent {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let number = &self.text[begin..self.at];
        let surely = !exponent && number.len() < SURELY_FINITE;
        // Just below the largest number, only who reads it can say whether it is out of range.
        if !surely && serde_json::from_slice::<f64>(number).is_err() {
            return Err("number out of range");
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let begin = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        match self.at > begin {
            true => Ok(()),
            false => Err("invalid number"),
        }
    }
}

/// The character of an escape that `text` begins with, and the bytes it takes.
fn escape(text: &[u8]) -> Option<(char, usize)> {
    let simple = match text.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\x08',
        b'f' => '\x0c',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(text),
        _ => return None,
    };
    Some((simple, 2))
}

/// As [`escape`], for `\u`: what does not fit 16 bits is written as two of them.
fn unicode(text: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |sum, digit| {
            Some(sum * 16 + char::from(*digit).to_digit(16)?)
        })
    };
    let high = unit(0)?;
    if !(0xd800..0xdc00).contains(&high) {
        // A low half alone is no character.
        return Some((char::from_u32(high)?, 6));
    }
    let low = unit(6).filter(|low| (0xdc00..0xe000).contains(low))?;
    let both = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    Some((char::from_u32(both)?, 12))
}

/// The bytes of a string that was checked, as they are without escapes.
struct Letters<'a> {
    rest: &'a [u8],
    escaped: [u8; 4],
    waiting: std::ops::Range<usize>,
}

impl<'a> Letters<'a> {
    /// Of the string whose first letter is at `at`.
    fn at(text: &'a [u8], at: u32) -> Letters<'a> {
        Letters {
            rest: &text[at as usize..],
            escaped: [0; 4],
            waiting: 0..0,
        }
    }
}

impl Iterator for Letters<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let Some(at) = self.waiting.next() {
            return Some(self.escaped[at]);
        }
        match *self.rest.first()? {
            b'"' => None,
            b'\\' => {
                let (letter, length) = escape(self.rest)?;
                self.rest = &self.rest[length..];
                self.waiting = 0..letter.encode_utf8(&mut self.escaped).len();
                self.next()
            }
            letter => {
                self.rest = &self.rest[1..];
                Some(letter)
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
}
