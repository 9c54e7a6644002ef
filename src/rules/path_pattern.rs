//! Patterns of paths, as rules name them.

use crate::error::Error;
use crate::limits::PATH_MAX;
use crate::name::CommandPath;

/// Paths that a rule covers. `*` stands for one dotted part. `**` at the end stands for the rest,
/// which may be nothing: `valve.**` covers `valve`, `valve.open` and `valve.open.slowly`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathPattern {
    parts: Vec<String>,
    /// Whether further parts may follow.
    and_rest: bool,
}

impl PathPattern {
    pub(super) fn parse(text: &str) -> Result<PathPattern, Error> {
        if text.len() > PATH_MAX {
            return Err(Error::Path("a pattern of paths is at most 255 bytes"));
        }
        CommandPath::new(text)?;
        let mut parts: Vec<String> = text.split('.').map(str::to_owned).collect();
        let and_rest = parts.last().is_some_and(|part| part == "**");
        if and_rest {
            parts.pop();
        }
        if parts.iter().any(|part| part == "**") {
            return Err(Error::Path("** stands only at the end of a pattern"));
        }
        if parts.iter().any(|part| part != "*" && part.contains('*')) {
            return Err(Error::Path("* stands for a whole part between dots"));
        }
        Ok(PathPattern { parts, and_rest })
    }

    /// Whether it covers a path, which may be any text.
    pub(super) fn covers(&self, path: &str) -> bool {
        let mut given = path.split('.');
        let begins = self.parts.iter().all(|part| {
            let given = given.next();
            given.is_some_and(|given| part == "*" || part == given)
        });
        begins && (self.and_rest || given.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn covers(pattern: &str, path: &str) -> bool {
        PathPattern::parse(pattern).unwrap().covers(path)
    }

    #[test]
    fn a_star_is_one_part_and_two_are_the_rest() {
        for (pattern, path, is_covered) in [
            ("valve.open", "valve.open", true),
            ("valve.open", "valve.open.slowly", false),
            ("valve.*", "valve.open", true),
            ("valve.*", "valve", false),
            ("valve.*", "valve.open.slowly", false),
            ("*.open", "valve.open", true),
            ("valve.**", "valve", true),
            ("valve.**", "valve.open.slowly", true),
            ("valve.**", "valves.open", false),
            ("**", "__peers__", true),
            ("*", "__peers__", true),
        ] {
            assert_eq!(covers(pattern, path), is_covered, "{pattern} {path}");
        }
    }

    #[test]
    fn a_bad_pattern_is_an_error() {
        for bad in [
            "",
            "a..b",
            "**.a",
            "a.**.b",
            "val*",
            "a.***",
            &"a".repeat(256),
        ] {
            let parsed = PathPattern::parse(bad);
            assert!(matches!(parsed, Err(Error::Path(_))), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_path_covers_itself_and_is_covered_by_its_stars(path in "[ab]{1,2}(\\.[ab]{1,2}){0,4}") {
            prop_assert!(covers(&path, &path));
            let parts = path.split('.').count();
            prop_assert!(covers(&vec!["*"; parts].join("."), &path));
            prop_assert!(!covers(&vec!["*"; parts + 1].join("."), &path));
        }
    }
}
