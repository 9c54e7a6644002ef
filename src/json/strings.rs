//! What a JSON string says, once its escapes are read.

/// The character of the escape with which `text` begins, and the length of the escape in bytes.
pub(super) fn escape(text: &[u8]) -> Option<(char, usize)> {
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

/// As [`escape`], for `\u`. A character that does not fit into 16 bits is written as two such
/// escapes.
fn unicode(text: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |sum, digit| {
            Some(sum * 16 + char::from(*digit).to_digit(16)?)
        })
    };
    let high = unit(0)?;
    if !(0xd800..0xdc00).contains(&high) {
        // A low surrogate alone is not a character, so `from_u32` gives none.
        return Some((char::from_u32(high)?, 6));
    }
    let low = unit(6).filter(|low| (0xdc00..0xe000).contains(low))?;
    let both = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    Some((char::from_u32(both)?, 12))
}

/// The bytes of a string that was checked, with its escapes replaced.
pub(super) struct Unescaped<'a> {
    rest: &'a [u8],
    escaped: [u8; 4],
    waiting: std::ops::Range<usize>,
}

impl<'a> Unescaped<'a> {
    /// The bytes of the string whose first letter is at `at`.
    pub(super) fn at(text: &'a [u8], at: u32) -> Unescaped<'a> {
        Unescaped {
            rest: &text[at as usize..],
            escaped: [0; 4],
            waiting: 0..0,
        }
    }
}

impl Iterator for Unescaped<'_> {
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
