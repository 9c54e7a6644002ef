//! The structure of the project, checked as text: how long files are, where the routing of an
//! engine stands, what imports what, and how wide lines are.
//!
//! `rules.rs` states the rules, `source.rs` reads the files, and `known.rs` lists what breaks a
//! rule today. That list may only become shorter.

#[path = "structure/known.rs"]
mod known;
#[path = "structure/made_up.rs"]
mod made_up;
#[path = "structure/rules.rs"]
mod rules;
#[path = "structure/source.rs"]
mod source;

use source::Tree;
use std::collections::BTreeSet;
use std::path::Path;

/// What breaks a rule in the project whose folder this is.
fn broken(folder: &Path) -> BTreeSet<String> {
    let tree = Tree::read(folder);
    let mut broken = rules::long_files(&tree);
    broken.extend(rules::scattered_engines(&tree));
    broken.extend(rules::parts_that_see_parts(&tree));
    broken.extend(rules::circles(&tree));
    broken.extend(rules::climbing_imports(&tree));
    broken.extend(rules::wide_files(folder));
    broken
}

/// The difference between what breaks a rule and what is known to; none if there is none.
fn difference(broken: &BTreeSet<String>, known: &[&str]) -> Option<String> {
    let known: BTreeSet<String> = known.iter().map(|line| line.to_string()).collect();
    let lines = |of: Vec<&String>| {
        of.iter()
            .map(|l| format!("    {l:?},\n"))
            .collect::<String>()
    };
    let new = lines(broken.difference(&known).collect());
    let mended = lines(known.difference(broken).collect());
    let says = [
        ("These break a rule of tests/structure/rules.rs:\n", new),
        (
            "These are mended; take them out of tests/structure/known.rs:\n",
            mended,
        ),
    ];
    let says = says.into_iter().filter(|(_, lines)| !lines.is_empty());
    let says: Vec<String> = says.map(|(what, lines)| what.to_owned() + &lines).collect();
    (!says.is_empty()).then(|| says.concat())
}

#[test]
fn no_rule_is_broken_that_was_kept_before() {
    let broken = broken(Path::new(env!("CARGO_MANIFEST_DIR")));
    if let Some(difference) = difference(&broken, &known::BROKEN) {
        panic!("{difference}");
    }
}

#[test]
fn what_is_new_and_what_is_mended_are_both_told() {
    let broken = BTreeSet::from(["lines: src/a.rs".to_owned(), "lines: src/b.rs".to_owned()]);
    assert_eq!(
        difference(&broken, &["lines: src/a.rs", "lines: src/b.rs"]),
        None
    );
    let told = difference(&broken, &["lines: src/b.rs", "lines: src/c.rs"]).unwrap();
    let (new, mended) = told.split_once("mended").unwrap();
    assert!(
        new.contains("src/a.rs") && !new.contains("src/b.rs"),
        "{told}"
    );
    assert!(
        mended.contains("src/c.rs") && !mended.contains("src/b.rs"),
        "{told}"
    );
}
