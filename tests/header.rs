//! The committed header is the one that the sources give, and it compiles alone.

mod common;

use std::path::Path;
use std::process::Command;

const HEADER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/include/peerbase.h");

fn generated() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let mut text = Vec::new();
    cbindgen::generate_with_config(root, config)
        .unwrap()
        .write(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn the_committed_header_is_the_generated_one() {
    let fresh = generated();
    if std::env::var_os("UPDATE_HEADER").is_some() {
        std::fs::write(HEADER, &fresh).unwrap();
    }
    let committed = std::fs::read_to_string(HEADER).unwrap();
    assert!(
        committed == fresh,
        "include/peerbase.h is stale: run UPDATE_HEADER=1 cargo test --test header"
    );
}

#[test]
fn the_header_names_nothing_outside_its_prefix() {
    for line in generated().lines() {
        if let Some(rest) = line.strip_prefix("#define ") {
            assert!(rest.starts_with("PEERBASE_"), "{line}");
        }
        if let Some(rest) = line.strip_prefix("typedef struct ") {
            assert!(rest.starts_with("peerbase_"), "{line}");
        }
    }
}

#[test]
fn the_version_macros_are_those_of_the_crate() {
    let text = generated();
    for (name, value) in [
        ("MAJOR", env!("CARGO_PKG_VERSION_MAJOR")),
        ("MINOR", env!("CARGO_PKG_VERSION_MINOR")),
        ("PATCH", env!("CARGO_PKG_VERSION_PATCH")),
    ] {
        assert!(
            text.contains(&format!("#define PEERBASE_VERSION_{name} {value}\n")),
            "{name}"
        );
    }
}

#[test]
fn a_limit_has_the_name_in_c_that_it_has_at_a_command_line() {
    let text = generated();
    for limit in peerbase::Limit::ALL {
        let name = limit.name().to_uppercase();
        let line = format!("PEERBASE_LIMIT_{name} = {},\n", limit as i32);
        assert!(text.contains(&line), "{line}");
    }
}

#[test]
fn every_exported_function_is_documented_in_the_header() {
    let text = generated();
    let mut before = "";
    for line in text.lines() {
        let starts = line.contains(" peerbase_")
            && line.contains('(')
            && !line.starts_with([' ', '/', '*', '#', 't']);
        if starts {
            assert!(before.trim_end().ends_with("*/"), "{line}");
        }
        before = line;
    }
}

/// The declarations of functions, each on one line.
fn functions(header: &str) -> Vec<String> {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let code = header
        .lines()
        .filter(|l| !l.trim_start().starts_with(['/', '*', '#']));
    let code = code.collect::<Vec<_>>().join("\n");
    let all = code.split(';').map(words);
    all.filter(|d| d.contains(" peerbase_") && d.contains('(') && !d.contains("typedef"))
        .map(|d| d.rsplit('}').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn every_function_that_gives_something_through_a_pointer_is_walked_by_the_test_of_that() {
    let walked = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/outs.c"));
    let walked = walked.unwrap();
    let gives = [
        "** out",
        "**out",
        "size_t *",
        "uint64_t *",
        "char *out",
        "char *hash",
    ];
    let mut count = 0;
    for declaration in functions(&generated()) {
        let (head, arguments) = declaration.split_once('(').unwrap();
        let name = head.rsplit([' ', '*']).next().unwrap();
        let out = arguments
            .split(',')
            .find(|a| !a.contains("const char *") && gives.iter().any(|g| a.contains(g)));
        if out.is_some() {
            count += 1;
            assert!(walked.contains(&format!("{name}(")), "{declaration}");
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn the_header_compiles_alone_as_c99_and_cpp11() {
    for (compiler, language, standard) in [("cc", "c", "-std=c99"), ("c++", "c++", "-std=c++11")] {
        if !common::have(compiler, &["--version"], "compiling the header") {
            continue;
        }
        let flags = [
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-fsyntax-only",
            standard,
            "-x",
            language,
            HEADER,
        ];
        let mut command = Command::new(compiler);
        command.args(flags);
        common::check(command);
    }
}
