//! The C interface as C programs see it: compiled, linked both ways, run; and run under valgrind.

mod common;

use common::cc::{Link, compile, libraries, source};
use common::{Lan, Tool, have};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// How a program is run: as it is, or watched.
#[derive(Clone, Copy)]
enum Under {
    Nothing,
    Valgrind,
}

fn command(program: &Path, under: Under) -> Command {
    let mut command = match under {
        Under::Nothing => Command::new(program),
        Under::Valgrind => {
            let mut c = Command::new("valgrind");
            c.args(["--quiet", "--error-exitcode=99", "--leak-check=full"]);
            c.arg("--errors-for-leak-kinds=definite,possible");
            c.arg("--show-leak-kinds=definite,possible").arg(program);
            c
        }
    };
    // cargo points it at whatever was built last by `cargo build`, which may be another library.
    command.env_remove("LD_LIBRARY_PATH");
    command
}

fn have_valgrind() -> bool {
    have(
        "valgrind",
        &["--version"],
        "running the C programs under valgrind",
    )
}

fn check(what: &str, output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{what}: {}\n{out}\n{err}",
        output.status
    );
    out.into_owned()
}

/// A program that is ended, by its own id, when the test is over.
struct Running(Child, String);

impl Running {
    /// Starts it and waits for its first line.
    fn start(mut command: Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.contains("ready"), "{line:?}");
        Running(child, line)
    }

    /// Asks it to end, and wants it to end well.
    fn stop(mut self) {
        let pid = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn examples(link: Link, under: Under) {
    let lan = Lan::new();
    let (key, port) = (lan.key.to_text().to_string(), lan.port.to_string());
    let args = ["roof", "plant", &key, &port];
    let mut sensor = command(&compile(&source("examples-c/sensor.c"), link), under);
    sensor.args(args);
    let sensor = Running::start(sensor);

    let reader = compile(&source("examples-c/reader.c"), link);
    let said = check(
        "reader",
        &command(&reader, under).args(args).output().unwrap(),
    );
    let lines = [
        r#"roof: {"you":"reader","args":[1, "two"]}"#,
        r#"roof: {"celsius":21.5}"#,
        "roof failed: command failed: no reference attached",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), lines);

    let looper = compile(&source("examples-c/epoll_loop.c"), link);
    let said = check(
        "epoll_loop",
        &command(&looper, under).args(args).output().unwrap(),
    );
    assert_eq!(
        said.lines()
            .filter(|l| *l == r#"roof: {"celsius":21.5}"#)
            .count(),
        10
    );
    assert!(said.contains("roof is there"));
    sensor.stop();

    let args = ["--listen", "127.0.0.1:0", "--network", "plant"];
    let (_relay, at) = Tool::relay(env!("CARGO_BIN_EXE_peerbase"), &[], &args);
    let relayed = compile(&source("examples-c/relayed.c"), link);
    let mut far = command(&relayed, under);
    far.args(["far", "plant", &key, &at]);
    let far = Running::start(far);
    let mut near = command(&relayed, under);
    near.args(["near", "plant", &key, &at, "far"]);
    let said = check("relayed", &near.output().unwrap());
    let by_relay = format!("far: \"hello, near\"\nfar: {{\"relay\":\"{at}\",\"ping_us\":");
    assert!(said.starts_with(&by_relay), "{said}");
    far.stop();

    // As Python nodes do it, and seen as they see each other.
    let legacy = compile(&source("examples-c/legacy.c"), link);
    let gateway = |name: &str| {
        let mut gateway = command(&legacy, under);
        gateway.args([name, "plant", &key, "5002", &at]);
        Running::start(gateway)
    };
    let (old, mut new) = (gateway("old"), gateway("new"));
    let mut line = String::new();
    let mut said = BufReader::new(new.0.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    let knows = r#"old knows ["gateway.read","__echo__","__list_commands__","__peers__"]"#;
    assert_eq!(line.trim(), knows);
    // Told to end, it says who was there.
    new.stop();
    line.clear();
    said.read_to_string(&mut line).unwrap();
    let there = format!("old: {{\"compat\":true,\"relay\":\"{at}\"}}");
    assert_eq!(line.trim(), there);
    old.stop();

    // A relay whose key was derived from another network key says so, and the node serves on.
    let other = peerbase::RelayKey::derive(&peerbase::Key::from_bytes([1; 32])).to_text();
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--network",
        "plant",
        "--relay-key",
        &other,
    ];
    let (_relay, at) = Tool::relay(env!("CARGO_BIN_EXE_peerbase"), &[], &args);
    let mut refused = command(&relayed, under);
    refused
        .args(["far", "plant", &key, &at])
        .stderr(Stdio::piped());
    let mut refused = Running::start(refused);
    let mut line = String::new();
    let mut errors = BufReader::new(refused.0.stderr.take().unwrap());
    errors.read_line(&mut line).unwrap();
    assert!(
        line.contains(&at) && line.contains("network key"),
        "{line:?}"
    );
    refused.stop();
}

/// A folder of this test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = path.join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn streaming_examples(link: Link, under: Under) {
    let lan = Lan::new();
    let (key, port) = (lan.key.to_text().to_string(), lan.port.to_string());
    let stream = compile(&source("examples-c/stream.c"), link);
    let mut server = command(&stream, under);
    server.args(["roof", "plant", &key, &port]);
    let server = Running::start(server);
    let text = "what is streamed comes back in capitals\n".repeat(50_000);
    let mut client = command(&stream, under);
    client.args(["desk", "plant", &key, &port, "roof"]);
    client.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = client.stderr(Stdio::piped()).spawn().unwrap();
    let mut input = client.stdin.take().unwrap();
    let (given, expected) = (text.clone(), text.to_uppercase());
    let writer = std::thread::spawn(move || input.write_all(given.as_bytes()).unwrap());
    let output = client.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(check("stream", &output) == expected);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, format!("{} bytes\n", text.len()));
    server.stop();

    let kind = if link == Link::Shared {
        "shared"
    } else {
        "static"
    };
    let watched = if matches!(under, Under::Valgrind) {
        "watched"
    } else {
        "plain"
    };
    let folder = Folder::new(&format!("fileshare-{kind}-{watched}"));
    let (offered, fetched) = (folder.0.join("a file"), folder.0.join("fetched"));
    std::fs::write(&offered, text.as_bytes()).unwrap();
    let share = compile(&source("examples-c/fileshare.c"), link);
    let mut holder = command(&share, under);
    holder.args(["holder", "plant", &key, &port]).arg(&offered);
    let holder = Running::start(holder);
    let hash = holder.1.trim().rsplit(' ').next().unwrap();
    let mut fetch = command(&share, under);
    fetch.args(["reader", "plant", &key, &port]);
    let output = fetch.arg(&fetched).arg(hash).output().unwrap();
    assert!(check("fileshare", &output).contains("/fetched/a file"));
    assert!(std::fs::read(fetched.join("a file")).unwrap() == text.as_bytes());
    holder.stop();
}

#[test]
fn the_streaming_examples_work_with_both_libraries() {
    streaming_examples(Link::Shared, Under::Nothing);
    streaming_examples(Link::Static, Under::Nothing);
}

#[test]
fn the_streaming_examples_are_clean_under_valgrind() {
    if have_valgrind() {
        streaming_examples(Link::Shared, Under::Valgrind);
    }
}

fn streams(under: Under, folder: &str) {
    let lan = Lan::new();
    let folder = Folder::new(folder);
    let (key, port) = (lan.key.to_text().to_string(), lan.port.to_string());
    let program = compile(&source("tests/c/streams.c"), Link::Shared);
    let mut run = command(&program, under);
    run.args([&key, &port]).arg(&folder.0);
    assert_eq!(check("streams", &run.output().unwrap()), "ok\n");
}

#[test]
fn streams_files_and_messages_work_and_their_misuse_is_a_code() {
    streams(Under::Nothing, "streams");
}

#[test]
fn streams_files_and_messages_are_clean_under_valgrind() {
    if have_valgrind() {
        streams(Under::Valgrind, "streams-watched");
    }
}

#[test]
fn the_examples_work_with_the_shared_library() {
    examples(Link::Shared, Under::Nothing);
}

#[test]
fn the_examples_work_with_the_static_library() {
    examples(Link::Static, Under::Nothing);
}

#[test]
fn the_examples_are_clean_under_valgrind() {
    if have_valgrind() {
        examples(Link::Shared, Under::Valgrind);
    }
}

fn abuse(under: Under) {
    let lan = Lan::new();
    let (key, port) = (lan.key.to_text().to_string(), lan.port.to_string());
    let program = compile(&source("tests/c/abuse.c"), Link::Shared);
    assert_eq!(
        check(
            "abuse",
            &command(&program, under)
                .args([&key, &port])
                .output()
                .unwrap()
        ),
        "ok\n"
    );
}

#[test]
fn whatever_a_program_does_wrong_is_a_code() {
    abuse(Under::Nothing);
}

#[test]
fn whatever_a_program_does_wrong_is_clean_under_valgrind() {
    if have_valgrind() {
        abuse(Under::Valgrind);
    }
}

fn outs(under: Under) {
    let lan = Lan::new();
    let (key, port) = (lan.key.to_text().to_string(), lan.port.to_string());
    let program = compile(&source("tests/c/outs.c"), Link::Shared);
    let output = command(&program, under).args([&key, &port]).output();
    assert_eq!(check("outs", &output.unwrap()), "ok\n");
}

#[test]
fn a_failure_leaves_nothing_where_a_result_was_wanted() {
    outs(Under::Nothing);
}

#[test]
fn a_failure_leaves_nothing_and_is_clean_under_valgrind() {
    if have_valgrind() {
        outs(Under::Valgrind);
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_debug_build_notices_what_is_freed_twice() {
    let key = Lan::new().key.to_text().to_string();
    let program = compile(&source("tests/c/misuse_debug.c"), Link::Shared);
    assert_eq!(
        check(
            "misuse",
            &command(&program, Under::Nothing).arg(key).output().unwrap()
        ),
        "ok\n"
    );
}

#[test]
fn a_forked_child_may_free_and_nothing_else_and_the_parents_calls_end_well() {
    let lan = Lan::new();
    let (key, port) = (lan.key.to_text().to_string(), lan.port.to_string());
    let program = compile(&source("tests/c/fork.c"), Link::Shared);
    assert_eq!(
        check(
            "fork",
            &command(&program, Under::Nothing)
                .args([&key, &port])
                .output()
                .unwrap()
        ),
        "ok\n"
    );
}

#[test]
fn signals_neither_disturb_calls_nor_end_the_program() {
    let lan = Lan::new();
    let (key, port) = (lan.key.to_text().to_string(), lan.port.to_string());
    let program = compile(&source("tests/c/signals.c"), Link::Shared);
    let output = command(&program, Under::Nothing)
        .args([&key, &port])
        .output()
        .unwrap();
    assert_eq!(check("signals", &output), "ok\n");
}

#[test]
fn only_the_libraries_own_names_are_exported() {
    if !have("nm", &["--version"], "listing exported symbols") {
        return;
    }
    let library = libraries().join("libpeerbase.so");
    let out = check(
        "nm",
        &Command::new("nm")
            .args(["-D", "--defined-only"])
            .arg(library)
            .output()
            .unwrap(),
    );
    let names: Vec<_> = out
        .lines()
        .filter_map(|l| l.split_whitespace().last())
        .collect();
    assert!(names.len() > 40, "{names:?}");
    assert!(
        names.iter().all(|n| n.starts_with("peerbase_")),
        "{names:?}"
    );
}

#[test]
fn the_example_of_the_readme_works_as_printed() {
    let readme = std::fs::read_to_string(source("README.md")).unwrap();
    let blocks = readme.split("```c\n").skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split("```").next());
    let code = blocks.next().unwrap();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme.c");
    std::fs::write(&path, code).unwrap();
    let program = compile(&path, Link::Shared);
    let said = check(
        "the README's example",
        &command(&program, Under::Nothing).output().unwrap(),
    );
    let printed = readme
        .split("prints `")
        .nth(1)
        .and_then(|rest| rest.split('`').next())
        .unwrap();
    assert_eq!(said.trim(), printed);
    // The others are lines about a configuration.
    for (i, lines) in blocks.enumerate() {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("readme-{i}.c"));
        let program = format!(
            "#include <peerbase.h>\n#include <stdio.h>\n\
             int main(void) {{ char key[PEERBASE_KEY_LEN]; peerbase_config *config; \
             peerbase_key_generate(key); config = peerbase_config_new(\"a\", \"b\", key);\n{lines}\
             puts(peerbase_last_error()); peerbase_config_free(config); return 0; }}\n"
        );
        std::fs::write(&path, program).unwrap();
        let program = compile(&path, Link::Shared);
        let output = command(&program, Under::Nothing).output().unwrap();
        assert_eq!(check("lines of the README", &output).trim(), "");
    }
}
