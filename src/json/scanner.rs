//! The check of a JSON text: one pass that counts the values and makes none of them.

use super::is_space;
use super::strings::{Unescaped, escape};
use std::cmp::Ordering;

/// How deep lists and objects may be nested; `serde_json` gives up at one more.
const DEPTH_MAX: usize = 127;

/// The beginning of the keys by which `serde_json` marks values that are not objects. With its
/// features `raw_value` and `arbitrary_precision`, which any crate of a program may turn on, it
/// reads an object with such a key as another value, which was never checked.
const RESERVED: &str = "$serde_json::private::";

/// A number that is shorter than this, and has no exponent, is in the range of `f64`.
const SURELY_FINITE: usize = 300;

/// The reason why a text is not JSON.
type Fault = &'static str;

/// Checks that a text of at most 4 GiB is JSON. Returns how many values it holds, or what is wrong
/// and at which byte.
pub(super) fn count_values(text: &[u8]) -> Result<usize, String> {
    let mut scanner = Scanner {
        text,
        at: 0,
        depth: 0,
        values: 0,
        keys: Vec::new(),
    };
    let whole = scanner.value().and_then(|()| scanner.end());
    whole.map_err(|why| format!("{why} at byte {}", scanner.at))?;
    Ok(scanner.values)
}

/// Goes through a text once. Besides its place it holds where the keys of the open objects begin: 4
/// bytes for each, while a member takes at least 8 bytes of text once there are thousands of them.
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

    /// Skips spaces. Returns the next byte.
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
            // The capacity is not doubled, so that a peer's text costs little more memory than its
            // length.
            self.keys.reserve_exact(64.max(self.keys.len() / 4));
        }
        let begin = self.at as u32 + 1;
        self.keys.push(begin);
        self.string()?;
        let reserved = RESERVED.bytes();
        if Unescaped::at(self.text, begin)
            .take(reserved.len())
            .eq(reserved)
        {
            return Err("reserved key");
        }
        Ok(())
    }

    /// Checks that no key of an object is repeated. The keys are sorted, so that an object of a
    /// hundred thousand keys does not take a hundred thousand comparisons for each.
    fn check_keys(&mut self, first: usize) -> Result<(), Fault> {
        let text = self.text;
        let order = |a: &u32, b: &u32| Unescaped::at(text, *a).cmp(Unescaped::at(text, *b));
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
            // The fold looks at every byte, so that the compiler can look at many of them at a
            // time.
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
        // Just below the largest number, only the conversion shows whether it is out of range.
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

fn is_control(byte: u8) -> bool {
    byte < 0x20
}
