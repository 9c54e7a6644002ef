//! The callers that a rule names.

use super::Caller;
use crate::error::Error;
use crate::identity::{Fingerprint, PublicKey};
use crate::name::{NodeName, Role};

/// Callers that a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Callers {
    /// Nodes whose name matches; `*` stands for any characters, also none.
    Name(String),
    /// The node that has proved this public key.
    Key(PublicKey),
    /// The node whose public key has this fingerprint.
    Fingerprint(Fingerprint),
    /// Nodes whose certificate gives them this role.
    Role(Role),
}

/// A caller that has proved a key.
pub(super) struct Proved<'a> {
    name: &'a NodeName,
    key: &'a PublicKey,
    fingerprint: Fingerprint,
    roles: &'a [Role],
}

impl<'a> Proved<'a> {
    /// `None` if the caller has proved none.
    pub(super) fn of(caller: &Caller<'a>) -> Option<Proved<'a>> {
        let key = caller.key?;
        Some(Proved {
            name: caller.name,
            key,
            fingerprint: key.fingerprint(),
            roles: caller.roles,
        })
    }
}

impl Callers {
    /// Reads `name:PATTERN`, `key:FINGERPRINT`, `key:PUBLIC-KEY` or `role:NAME`.
    pub(super) fn parse(text: &str) -> Result<Callers, Error> {
        const WRONG: Error = Error::Argument(
            "callers are name:PATTERN, key:FINGERPRINT, key:PUBLIC-KEY or role:NAME",
        );
        match text.split_once(':').ok_or(WRONG)? {
            ("name", name) => Callers::name(name),
            ("key", key) => Fingerprint::parse(key)
                .map(Callers::Fingerprint)
                .or_else(|_| PublicKey::parse(key).map(Callers::Key))
                .map_err(|_| Error::Key("key: stands before a fingerprint or a public key")),
            ("role", role) => Role::new(role).map(Callers::Role),
            _ => Err(WRONG),
        }
    }

    fn name(pattern: &str) -> Result<Callers, Error> {
        // `*` alone is no name, but names every node that has a key.
        if pattern != "*" {
            NodeName::new(pattern)?;
        }
        Ok(Callers::Name(pattern.to_owned()))
    }

    pub(super) fn name_this(&self, caller: &Proved<'_>) -> bool {
        match self {
            Callers::Name(pattern) => matches(pattern.as_bytes(), caller.name.as_str().as_bytes()),
            Callers::Key(wanted) => wanted.as_bytes() == caller.key.as_bytes(),
            Callers::Fingerprint(wanted) => *wanted == caller.fingerprint,
            Callers::Role(wanted) => caller.roles.contains(wanted),
        }
    }
}

/// Whether a name matches a pattern. Only the last `*` is tried again, so the time is bounded by
/// the product of both lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut again: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            again = Some((p, n));
        } else if pattern.get(p) == Some(&name[n]) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((after_star, from)) = again {
            (p, n) = (after_star, from + 1);
            again = Some((p, n));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use proptest::prelude::*;

    #[test]
    fn each_kind_of_callers_names_who_it_says_and_nobody_else() {
        let key = |seed: u8| Identity::from_seed([seed; 32]).public_key();
        let (name, one) = (NodeName::new("operator-7").unwrap(), key(1));
        let roles = [Role::new("operator").unwrap()];
        let caller = Caller {
            name: &name,
            key: Some(&one),
            roles: &roles,
        };
        let proved = Proved::of(&caller).unwrap();
        let (own, other) = (one.fingerprint(), key(2).fingerprint());
        for (callers, is_named) in [
            ("name:operator-7".to_owned(), true),
            ("name:operator-*".to_owned(), true),
            ("name:*".to_owned(), true),
            ("name:operator".to_owned(), false),
            ("name:*-8".to_owned(), false),
            (format!("key:{own}"), true),
            (format!("key:{other}"), false),
            (format!("key:{}", one.to_text()), true),
            (format!("key:{}", key(2).to_text()), false),
            ("role:operator".to_owned(), true),
            ("role:reader".to_owned(), false),
        ] {
            let parsed = Callers::parse(&callers).unwrap();
            assert_eq!(parsed.name_this(&proved), is_named, "{callers}");
        }
        let nobody = Caller {
            key: None,
            ..caller
        };
        assert!(Proved::of(&nobody).is_none());
    }

    #[test]
    fn what_is_no_callers_is_an_error_that_names_the_fault() {
        for (bad, code) in [
            ("", Error::Argument("").code()),
            ("bob", Error::Argument("").code()),
            ("Name:bob", Error::Argument("").code()),
            ("role:Bob", Error::Argument("").code()),
            ("role:", Error::Argument("").code()),
            ("name:", Error::Name("").code()),
            ("name:a.b", Error::Name("").code()),
            ("key:", Error::Key("").code()),
            ("key:abc", Error::Key("").code()),
        ] {
            let error = Callers::parse(bad).unwrap_err();
            assert_eq!(error.code(), code, "{bad}: {error}");
        }
    }

    /// The same as `matches`, written as the definition says.
    fn plainly(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|i| plainly(rest, &name[i..])),
            Some((b, rest)) => name.first() == Some(b) && plainly(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_name_matches_as_defined(pattern in "[ab*]{0,8}", name in "[ab]{0,10}") {
            let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(matches(pattern, name), plainly(pattern, name));
        }
    }
}
