//! The names everyone uses, parsed once and trusted from then on.
//!
//! A value of these types has passed its rule; no other layer checks again.

use crate::error::Error;
use crate::limits::{NAME_MAX, PATH_MAX};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why `text` is no name, if it is none. The rule of networks and nodes alike.
pub(crate) fn name_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("must not be empty");
    }
    if text.len() > NAME_MAX {
        return Some("must be at most 64 bytes");
    }
    if text.chars().any(char::is_control) {
        return Some("must not hold control characters");
    }
    // These separate a name from its neighbours on the wire and in what people type.
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
    if text.chars().any(char::is_control) {
        return Some("must not hold control characters");
    }
    if text.split('.').any(str::is_empty) {
        return Some("must not hold an empty part between dots");
    }
    None
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
    /// A network's name: 1 to 64 bytes of UTF-8 without control characters and without `| . : @`.
    NetworkName,
    Network,
    name_fault
);
name_type!(
    /// A node's name: the rule of [`NetworkName`], and not `*`, which means everyone.
    NodeName,
    Name,
    |text: &str| if text == "*" { Some("must not be *, which means every node") } else { name_fault(text) }
);
name_type!(
    /// A command's path: parts joined by dots, none empty, no control characters, at most 255 bytes.
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
