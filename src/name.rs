//! The names of networks, nodes, roles and commands. They are parsed once and trusted from then on.
//!
//! A value of these types has passed its rule, and no other layer checks it again.

use crate::error::Error;
use crate::limits::{NAME_MAX, PATH_MAX, ROLE_MAX};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Characters that a name must not hold, as ascending ranges. Some of them are invisible, so that
/// two names that look alike could differ; others change the order in which the text beside them is
/// shown.
///
/// The ranges are taken from the Unicode Character Database, version 16:
///
/// * every character with the property Default_Ignorable_Code_Point (DerivedCoreProperties.txt:
///   zero-width and bidirectional controls, variation selectors, tags, Hangul fillers, and code
///   points that are reserved for more of these);
/// * of the general category Cf, the characters without a shape of their own (interlinear
///   annotation, Egyptian format controls);
/// * the separators Zl and Zp, every space but U+0020 (Zs), and the empty Braille pattern.
///
/// Names may hold strong right-to-left letters, which are letters, and the Arabic number signs,
/// which are Cf but visible.
const INVISIBLE: [(char, char); 22] = [
    ('\u{a0}', '\u{a0}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{1680}', '\u{1680}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{2000}', '\u{200f}'),
    ('\u{2028}', '\u{202f}'),
    ('\u{205f}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3000}', '\u{3000}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Whether a character is invisible, or changes the order in which the text beside it is shown.
pub(crate) fn is_invisible(c: char) -> bool {
    INVISIBLE
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&c))
}

/// Whether a text holds a control character. The name of a network is checked with each frame, and
/// nearly every name is printable ASCII, of which a look at each byte tells it.
fn has_control(text: &str) -> bool {
    !text.bytes().all(|b| matches!(b, b' '..=b'~')) && text.chars().any(char::is_control)
}

/// Says why `text` is not a name; none if it is one. The rule is the same for networks and nodes.
pub(crate) fn name_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("must not be empty");
    }
    if text.len() > NAME_MAX {
        return Some("must be at most 64 bytes");
    }
    if has_control(text) {
        return Some("must not hold control characters");
    }
    if !text.is_ascii() && text.chars().any(is_invisible) {
        return Some("must not hold invisible or bidirectional control characters");
    }
    // These characters separate a name from what stands beside it, on the wire and in commands.
    if text.bytes().any(|b| matches!(b, b'|' | b'.' | b':' | b'@')) {
        return Some("must not hold any of | . : @");
    }
    None
}

fn path_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("must not be empty");
    }
    if text.len() > PATH_MAX {
        return Some("must be at most 255 bytes");
    }
    if has_control(text) {
        return Some("must not hold control characters");
    }
    let bytes = text.as_bytes();
    if bytes.starts_with(b".") || bytes.ends_with(b".") || bytes.windows(2).any(|w| w == b"..") {
        return Some("must not hold an empty part between dots");
    }
    None
}

fn role_fault(text: &str) -> Option<&'static str> {
    let mut bytes = text.bytes();
    let is_role = (1..=ROLE_MAX).contains(&text.len())
        && bytes.all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    (!is_role).then_some("a role must be 1 to 32 characters of a-z, 0-9, _ and -")
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $error:ident, $fault:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the rule and keeps the text.
            pub fn new(text: &str) -> Result<Self, Error> {
                match $fault(text) {
                    Some(why) => Err(Error::$error(why)),
                    None => Ok(Self(text.into())),
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// A network's name: 1 to 64 bytes of UTF-8 without control characters, without invisible ones
    /// (such as zero-width and bidirectional controls, variation selectors, spaces other than
    /// U+0020), and without `| . : @`.
    NetworkName,
    Network,
    name_fault
);
name_type!(
    /// A node's name: the rule of [`NetworkName`], and not `*`, which means every node.
    NodeName,
    Name,
    |text: &str| if text == "*" { Some("must not be *, which means every node") } else { name_fault(text) }
);
name_type!(
    /// What a node may do, as its certificate says: 1 to 32 characters of `a-z`, `0-9`, `_` and
    /// `-`. A network chooses its roles itself.
    Role,
    Argument,
    role_fault
);
name_type!(
    /// A command's path: parts joined by dots, none empty, no control characters, at most 255
    /// bytes.
    CommandPath,
    Path,
    path_fault
);

impl CommandPath {
    /// Whether the path is one of the library's own, such as `__echo__`.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with("__")
    }
}

/// Names with any characters that names may hold, for tests of other modules.
#[cfg(test)]
pub(crate) fn some_name() -> impl proptest::strategy::Strategy<Value = NodeName> {
    use proptest::strategy::Strategy;
    "[^|.:@*\\p{Cc}]{1,16}".prop_filter_map("invisible", |text| NodeName::new(&text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_named_when_it_is_broken() {
        for (text, word) in [
            ("", "empty"),
            ("a|b", "| . : @"),
            ("a.b", "| . : @"),
            ("a:b", "| . : @"),
            ("a@b", "| . : @"),
            ("a\0b", "control"),
            ("a\u{85}b", "control"),
            ("a\u{200b}b", "invisible"),
            ("gateway\u{202e}", "invisible"),
            (&"x".repeat(65), "64"),
            ("*", "every node"),
        ] {
            let e = NodeName::new(text).unwrap_err();
            assert!(
                matches!(e, Error::Name(why) if why.contains(word)),
                "{text:?}: {e}"
            );
        }
        assert!(NodeName::new(&"x".repeat(64)).is_ok());
        assert!(NodeName::new("Gerät 7").is_ok());
        assert!(matches!(NetworkName::new("a|b"), Err(Error::Network(_))));
    }

    #[test]
    fn a_control_character_is_found_among_others() {
        for c in '\0'..'\u{3000}' {
            assert_eq!(has_control(&format!("a{c}~")), c.is_control(), "{c:?}");
        }
    }

    #[test]
    fn what_nobody_sees_is_in_no_name() {
        // One of each kind, the first and last of some ranges among them.
        let invisible = [
            0x85, 0xa0, 0xad, 0x34f, 0x61c, 0x115f, 0x1160, 0x1680, 0x17b4, 0x180b, 0x180e, 0x180f,
            0x2000, 0x200a, 0x200b, 0x200d, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202e, 0x202f,
            0x205f, 0x2060, 0x2066, 0x2069, 0x206f, 0x2800, 0x3000, 0x3164, 0xfe00, 0xfe0f, 0xfeff,
            0xffa0, 0xfff9, 0xfffb, 0x13430, 0x1bca0, 0x1d173, 0x1d17a, 0xe0001, 0xe0020, 0xe007f,
            0xe0100, 0xe01ef,
        ];
        for code in invisible {
            let c = char::from_u32(code).unwrap();
            for text in [format!("{c}"), format!("a{c}b")] {
                assert!(NodeName::new(&text).is_err(), "U+{code:04X}");
                assert!(NetworkName::new(&text).is_err(), "U+{code:04X}");
            }
        }
        for visible in [
            "a b",
            "Gerät 7",
            "насос",
            "ポンプ",
            "펌프",
            "بوابة",
            "שער",
            "é",
            "e\u{301}",
            "🚰",
            "a\u{300c}",
        ] {
            assert!(NodeName::new(visible).is_ok(), "{visible}");
            assert!(NetworkName::new(visible).is_ok(), "{visible}");
        }
    }

    #[test]
    fn the_invisible_ranges_are_ascending_and_hold_no_letter() {
        let mut before = '\0';
        for (first, last) in INVISIBLE {
            assert!(before < first && first <= last, "{first:?}");
            before = last;
        }
        // The fillers and the inherent vowels have the property Alphabetic, but are blank.
        let blank = [
            '\u{115f}', '\u{1160}', '\u{17b4}', '\u{17b5}', '\u{3164}', '\u{ffa0}',
        ];
        let letters = ('\0'..=char::MAX).filter(|c| c.is_alphanumeric() && is_invisible(*c));
        assert!(letters.into_iter().all(|c| blank.contains(&c)));
        let spaces = ('\0'..=char::MAX).filter(|c| c.is_whitespace() && *c != ' ');
        assert!(
            spaces
                .into_iter()
                .all(|c| c.is_control() || is_invisible(c))
        );
    }

    #[test]
    fn a_role_is_a_short_word_in_lower_case() {
        for good in ["reader", "a", "0", "_-", &"x".repeat(32)] {
            assert!(Role::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "Reader",
            "a,b",
            "a b",
            "a.b",
            "gerät",
            "a\n",
            &"x".repeat(33),
        ] {
            assert!(matches!(Role::new(bad), Err(Error::Argument(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_path_has_no_empty_part() {
        for bad in ["", ".", "a.", ".a", "a..b", "a\nb", &"p".repeat(256)] {
            assert!(
                matches!(CommandPath::new(bad), Err(Error::Path(_))),
                "{bad:?}"
            );
        }
        assert!(CommandPath::new("sensor.read").is_ok());
        assert!(CommandPath::new("__echo__").unwrap().is_reserved());
    }
}
