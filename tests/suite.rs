//! The suite itself: its waits end, and every test that tests/README.md names exists.

mod common;

use common::{Deadline, Tool};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::Duration;

#[test]
fn a_wait_that_takes_too_long_says_what_it_waited_for() {
    let late = Deadline::within(Duration::ZERO, "the moon");
    let said = catch_unwind(|| late.pause()).unwrap_err();
    let said = said.downcast_ref::<String>().unwrap();
    assert_eq!(said, "waited too long for the moon");
}

#[test]
fn a_program_that_hangs_is_ended_and_what_it_said_is_shown() {
    let mut command = Command::new("sh");
    command.args(["-c", "echo begun; echo worried >&2; exec sleep 1000"]);
    let mut tool = Tool::spawn(command);
    assert_eq!(tool.hear(), "begun");
    tool.wait_for("worried");
    let failed = catch_unwind(AssertUnwindSafe(|| tool.fail("a miracle")));
    let said = failed.unwrap_err();
    let said = said.downcast_ref::<String>().unwrap();
    let shown = "waited for: a miracle; it was still running\n\
                 standard output:\nbegun\n\nstandard error:\nworried\n";
    assert!(said.ends_with(shown), "{said}");
    assert!(!tool.wait("to have been ended").success());
}

/// The words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_test_that_the_readme_names_exists() {
    let root = env!("CARGO_MANIFEST_DIR");
    let read = |file: &str| {
        let path = format!("{root}/{file}");
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
    };
    let readme = read("tests/README.md");
    let (_, table) = readme.split_once("| row |").expect("the table");
    let mut rows = 0;
    for line in table.lines().skip(2) {
        rows += 1;
        assert!(
            line.starts_with(&format!("| {rows} | ")),
            "row {rows}: {line}"
        );
        let mut source = String::new();
        for word in quoted(line) {
            if word.contains('/') {
                source = read(word);
            } else {
                // A function in C has its type before its name.
                let exists = [format!("fn {word}("), format!(" {word}(")];
                let exists = exists.iter().any(|with| source.contains(with.as_str()));
                assert!(exists, "row {rows}: there is no {word}");
            }
        }
    }
    assert_eq!(rows, 68, "every attack has its row");
}
