//! The C interface as C programs see it: compiled, linked both ways, run; and run under valgrind.

mod common;

use common::cc::{Link, compile, libraries, source};
use common::{Folder, Lan, Tool, assert_shouted, check, have};
use peerbase::{Authority, Identity, NetworkName, NodeName};
use std::path::Path;
use std::process::Command;

/// How a program is run: as it is, or watched.
#[derive(Clone, Copy)]
enum Under {
    Nothing,
    Valgrind,
}

fn with(program: &Path, under: Under, args: &[&str]) -> Command {
    let mut command = match under {
        Under::Nothing => Command::new(program),
        Under::Valgrind => {
            let mut c = Command::new("valgrind");
            c.args(["--quiet", "--error-exitcode=99", "--leak-check=full"]);
            c.arg("--errors-for-leak-kinds=definite,possible");
            c.arg("--show-leak-kinds=definite,possible");
            c.arg(format!(
                "--suppressions={}",
                source("tests/c/valgrind.supp").display()
            ));
            c.arg(program);
            c
        }
    };
    // cargo points it at whatever was built last by `cargo build`, which may be another library.
    command.env_remove("LD_LIBRARY_PATH").args(args);
    command
}

fn have_valgrind() -> bool {
    have(
        "valgrind",
        &["--version"],
        "running the C programs under valgrind",
    )
}

fn examples(link: Link, under: Under) {
    lan_examples(link, under);
    relay_examples(link, under);
    wrong_relay_key_example(link, under);
}

/// The examples that find each other without a relay.
fn lan_examples(link: Link, under: Under) {
    let lan = Lan::new();
    let (key, port) = (lan.key.to_text().to_string(), lan.port.to_string());
    let args = ["roof", "plant", &key, &port];
    let sensor = compile(&source("examples-c/sensor.c"), link);
    let sensor = with(&sensor, under, &args);
    let (sensor, _) = Tool::start_saying(sensor);

    let reader = compile(&source("examples-c/reader.c"), link);
    let said = check(with(&reader, under, &args));
    let lines = [
        r#"roof: {"you":"reader","args":[1, "two"]}"#,
        r#"roof: {"celsius":21.5}"#,
        "roof failed: command failed: no reference attached",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), lines);

    let looper = compile(&source("examples-c/epoll_loop.c"), link);
    let said = check(with(&looper, under, &args));
    assert_eq!(
        said.lines()
            .filter(|l| *l == r#"roof: {"celsius":21.5}"#)
            .count(),
        10
    );
    assert!(said.contains("roof is there"));
    sensor.stop();
}

/// The examples that reach others through a relay.
fn relay_examples(link: Link, under: Under) {
    let lan = Lan::new();
    let (key, port) = (lan.key.to_text().to_string(), lan.port.to_string());
    let args = ["--listen", "127.0.0.1:0", "--network", "plant"];
    let (_relay, at) = Tool::relay(env!("CARGO_BIN_EXE_peerbase"), &[], &args);
    let relayed = compile(&source("examples-c/relayed.c"), link);
    let far = with(&relayed, under, &["far", "plant", &key, &at]);
    let (far, _) = Tool::start_saying(far);
    // What a name may hold, and JSON not as it is.
    let near = [r#"ne"a\r"#, "plant", &key, &at, "far"];
    let said = check(with(&relayed, under, &near));
    let by_relay =
        format!("far: {{\"hello\":\"ne\\\"a\\\\r\"}}\nfar: {{\"relay\":\"{at}\",\"ping_us\":");
    assert!(said.starts_with(&by_relay), "{said}");
    far.stop();

    // As Python nodes do it, and seen as they see each other.
    let legacy = compile(&source("examples-c/legacy.c"), link);
    let gateway = |name: &str| {
        let args = [name, "plant", &key, &port, &at];
        Tool::start_saying(with(&legacy, under, &args)).0
    };
    let (old, mut new) = (gateway("old"), gateway("new"));
    let knows = r#"old knows ["gateway.read","__echo__","__list_commands__","__peers__"]"#;
    assert_eq!(new.hear(), knows);
    // Told to end, it says who was there.
    new.send_signal("TERM");
    let there = format!("old: {{\"compat\":true,\"relay\":\"{at}\"}}");
    let output = new.output();
    let said = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<_> = said.lines().collect();
    // On a busy machine the other one may count as gone for a while, and comes again.
    lines.dedup();
    assert_eq!(lines, ["new is ready", knows, &there]);
    assert!(output.status.success(), "{}", output.status);
    old.stop();
}

/// A relay whose key was derived from another network key says so, and the node serves on.
fn wrong_relay_key_example(link: Link, under: Under) {
    let key = Lan::new().key.to_text().to_string();
    let relayed = compile(&source("examples-c/relayed.c"), link);
    let plant = peerbase::NetworkName::new("plant").unwrap();
    let other = peerbase::Key::from_bytes([1; 32]);
    let other = peerbase::RelayKey::derive(&other, &plant).to_text();
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--network",
        "plant",
        "--relay-key",
        &other,
    ];
    let (_relay, at) = Tool::relay(env!("CARGO_BIN_EXE_peerbase"), &[], &args);
    let refused = with(&relayed, under, &["far", "plant", &key, &at]);
    let (mut refused, _) = Tool::start_saying(refused);
    let line = refused.wait_for("network key");
    assert!(line.contains(&at), "{line:?}");
    refused.stop();
}

fn streaming_examples(link: Link, under: Under) {
    let lan = Lan::new();
    let (key, port) = (lan.key.to_text().to_string(), lan.port.to_string());
    let stream = compile(&source("examples-c/stream.c"), link);
    let server = with(&stream, under, &["roof", "plant", &key, &port]);
    let (server, _) = Tool::start_saying(server);
    let client = ["desk", "plant", &key, &port, "roof"];
    let text = assert_shouted(with(&stream, under, &client));
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
    let mut holder = with(&share, under, &["holder", "plant", &key, &port]);
    holder.arg(&offered);
    let (holder, ready) = Tool::start_saying(holder);
    let hash = ready.rsplit(' ').next().unwrap();
    let mut fetch = with(&share, under, &["reader", "plant", &key, &port]);
    fetch.arg(&fetched).arg(hash);
    assert!(check(fetch).contains("/fetched/a file"));
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
    let mut run = with(&program, under, &[&key, &port]);
    run.arg(&folder.0);
    assert_eq!(check(run), "ok\n");
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
    assert_eq!(check(with(&program, under, &[&key, &port])), "ok\n");
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

fn rules(under: Under) {
    let lan = Lan::new();
    let (key, port) = (lan.key.to_text().to_string(), lan.port.to_string());
    let program = compile(&source("tests/c/rules.c"), Link::Shared);
    assert_eq!(check(with(&program, under, &[&key, &port])), "ok\n");
}

#[test]
fn a_call_that_a_rule_forbids_is_a_code() {
    rules(Under::Nothing);
}

#[test]
fn rules_are_clean_under_valgrind() {
    if have_valgrind() {
        rules(Under::Valgrind);
    }
}

fn outs(under: Under) {
    let lan = Lan::new();
    let (key, port) = (lan.key.to_text().to_string(), lan.port.to_string());
    let program = compile(&source("tests/c/outs.c"), Link::Shared);
    assert_eq!(check(with(&program, under, &[&key, &port])), "ok\n");
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

fn trust(under: Under, folder: &str) {
    let (lan, folder) = (Lan::new(), Folder::new(folder));
    let (key, port) = (lan.key.to_text().to_string(), lan.port.to_string());
    let authority = Authority::from_seed([9; 32]);
    let network = NetworkName::new("test").unwrap();
    let member = |name: &str, n: u8| {
        let identity = Identity::from_seed([n; 32]);
        let (name, public) = (NodeName::new(name).unwrap(), identity.public_key());
        let certificate = authority.sign(&network, &name, &public, &[], 0);
        (identity.to_text().to_string(), certificate.unwrap())
    };
    let (a, b) = (member("A", 1), member("B", 2));
    let list = authority.revoke(&network, None, &[b.1.hash()]).unwrap();
    let program = compile(&source("tests/c/trust.c"), Link::Shared);
    let mut run = with(&program, under, &[&key, &port]);
    run.arg(&folder.0).arg(authority.key().to_text());
    run.args([&a.0, &a.1.to_text(), &b.0, &b.1.to_text(), &list.to_text()]);
    assert_eq!(check(run), "ok\n");
    assert_eq!(folder.names(), ["revocations"]);
}

#[test]
fn certificates_pins_and_new_keys_work_from_c() {
    trust(Under::Nothing, "c-trust");
}

#[test]
fn certificates_pins_and_new_keys_are_clean_under_valgrind() {
    if have_valgrind() {
        trust(Under::Valgrind, "c-trust-watched");
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_debug_build_notices_what_is_freed_twice() {
    let key = Lan::new().key.to_text().to_string();
    let program = compile(&source("tests/c/misuse_debug.c"), Link::Shared);
    assert_eq!(check(with(&program, Under::Nothing, &[&key])), "ok\n");
}

#[test]
fn a_forked_child_may_free_and_nothing_else_and_the_parents_calls_end_well() {
    let lan = Lan::new();
    let (key, port) = (lan.key.to_text().to_string(), lan.port.to_string());
    let program = compile(&source("tests/c/fork.c"), Link::Shared);
    let run = with(&program, Under::Nothing, &[&key, &port]);
    assert_eq!(check(run), "ok\n");
}

#[test]
fn signals_neither_disturb_calls_nor_end_the_program() {
    let lan = Lan::new();
    let (key, port) = (lan.key.to_text().to_string(), lan.port.to_string());
    let program = compile(&source("tests/c/signals.c"), Link::Shared);
    let run = with(&program, Under::Nothing, &[&key, &port]);
    assert_eq!(check(run), "ok\n");
}

#[test]
fn only_the_libraries_own_names_are_exported() {
    if !have("nm", &["--version"], "listing exported symbols") {
        return;
    }
    let library = libraries().join("libpeerbase.so");
    let mut nm = Command::new("nm");
    nm.args(["-D", "--defined-only"]).arg(library);
    let out = check(nm);
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
    let folder = Folder::new("readme");
    let path = folder.0.join("readme.c");
    std::fs::write(&path, code).unwrap();
    let program = compile(&path, Link::Shared);
    let said = check(with(&program, Under::Nothing, &[]));
    let printed = readme
        .split("prints `")
        .nth(1)
        .and_then(|rest| rest.split('`').next())
        .unwrap();
    assert_eq!(said.trim(), printed);
    // The others are lines about a configuration.
    for (i, lines) in blocks.enumerate() {
        let path = folder.0.join(format!("readme-{i}.c"));
        let program = format!(
            "#include <peerbase.h>\n#include <stdio.h>\n\
             int main(void) {{ char key[PEERBASE_KEY_LEN]; peerbase_config *config; \
             peerbase_key_generate(key); config = peerbase_config_new(\"a\", \"b\", key);\n{lines}\
             puts(peerbase_last_error()); peerbase_config_free(config); return 0; }}\n"
        );
        std::fs::write(&path, program).unwrap();
        let program = compile(&path, Link::Shared);
        let said = check(with(&program, Under::Nothing, &[]));
        assert_eq!(said.trim(), "");
    }
}
