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
