//! Rules say which callers may call which paths of a node.
//!
//! A path that no rule covers is open to every member of the network. A path that rules cover
//! admits only the callers that one of these rules names. A caller that has proved no public key,
//! which is a node of PeerBase 0.7.1, is named by no rule.

mod callers;
mod path_pattern;

use crate::error::Error;
use crate::identity::PublicKey;
use crate::limits::RULES_MAX;
use crate::name::{NodeName, Role};
use callers::{Callers, Proved};
use path_pattern::PathPattern;

/// Who calls, as far as its session has proved it.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Its name.
    pub name: &'a NodeName,
    /// Its public key; none for a node of PeerBase 0.7.1, which proves nothing.
    pub key: Option<&'a PublicKey>,
    /// The roles that its certificate gives it; none in an open network.
    pub roles: &'a [Role],
}

/// The rules of a node about who may call what.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<(PathPattern, Callers)>);

impl Rules {
    /// Lets these callers call the paths of this pattern, besides those that may already: see
    /// [`Builder::allow`](crate::Builder::allow) for what both may be.
    ///
    /// # Errors
    ///
    /// [`Error::Path`] if the pattern is none; [`Error::Argument`], [`Error::Name`] or
    /// [`Error::Key`] if the callers are none; [`Error::Argument`] if there are 256 rules already.
    pub fn allow(&mut self, pattern: &str, callers: &str) -> Result<(), Error> {
        if self.0.len() == RULES_MAX {
            return Err(Error::Argument("a node has at most 256 rules"));
        }
        let rule = (PathPattern::parse(pattern)?, Callers::parse(callers)?);
        self.0.push(rule);
        Ok(())
    }

    /// Whether a caller may call a path.
    pub(crate) fn admit(&self, path: &str, caller: &Caller<'_>) -> bool {
        if !self.cover(path) {
            return true;
        }
        let Some(caller) = Proved::of(caller) else {
            return false;
        };
        let mut callers = self.callers_of(path);
        callers.any(|callers| callers.name_this(&caller))
    }

    /// Whether a rule covers a path.
    pub(crate) fn cover(&self, path: &str) -> bool {
        self.callers_of(path).next().is_some()
    }

    /// The callers that each rule names which covers a path.
    fn callers_of(&self, path: &str) -> impl Iterator<Item = &Callers> {
        let covering = self
            .0
            .iter()
            .filter(move |(pattern, _)| pattern.covers(path));
        covering.map(|(_, callers)| callers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    #[test]
    fn only_callers_that_a_covering_rule_names_are_admitted() {
        let key = |seed: u8| Identity::from_seed([seed; 32]).public_key();
        let name = |text| NodeName::new(text).unwrap();
        let (one, other) = (key(1), key(2));
        let (bob, operator) = (name("bob"), name("operator-7"));
        let fitter = [Role::new("fitter").unwrap()];
        let mut rules = Rules::default();
        for (pattern, callers) in [
            ("valve.**", "name:operator-*".to_owned()),
            ("valve.open", format!("key:{}", one.fingerprint())),
            ("valve.*", "role:fitter".to_owned()),
        ] {
            rules.allow(pattern, &callers).unwrap();
        }
        for (path, name, key, roles, is_admitted) in [
            ("sensor.read", &bob, None, &[][..], true),
            ("valve.open", &operator, Some(&other), &[], true),
            ("valve.open", &bob, Some(&one), &[], true),
            ("valve.close", &bob, Some(&one), &[], false),
            ("valve.close", &bob, Some(&other), &fitter, true),
            ("valve.open.slowly", &bob, Some(&other), &fitter, false),
            ("valve.open", &bob, Some(&other), &[], false),
            // What has proved no key is not named, whatever it calls itself.
            ("valve.open", &operator, None, &fitter, false),
        ] {
            let caller = Caller { name, key, roles };
            assert_eq!(rules.admit(path, &caller), is_admitted, "{path} {caller:?}");
        }
        assert!(rules.cover("valve") && !rules.cover("sensor.read"));
    }

    #[test]
    fn rules_are_bounded() {
        let mut rules = Rules::default();
        for _ in 0..RULES_MAX {
            rules.allow("a", "name:*").unwrap();
        }
        let one_more = rules.allow("a", "name:*");
        assert!(matches!(one_more, Err(Error::Argument(_))));
    }
}
