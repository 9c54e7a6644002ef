//! The checker itself: each rule finds what breaks it in a small made-up tree, and nothing else.

use crate::rules;
use crate::source::Tree;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn tree(files: &[(&str, &str)]) -> Tree {
    let owned = files
        .iter()
        .map(|(file, text)| (file.to_string(), text.to_string()));
    Tree::of(owned)
}

fn assert_broken(broken: BTreeSet<String>, wanted: &[&str]) {
    assert_eq!(
        broken.iter().map(String::as_str).collect::<Vec<_>>(),
        wanted
    );
}

#[test]
fn a_file_of_more_than_600_lines_is_too_long() {
    let (most, more) = ("\n".repeat(600), "\n".repeat(601));
    let tree = tree(&[("src/most.rs", &most), ("src/more.rs", &more)]);
    assert_broken(rules::long_files(&tree), &["lines: src/more.rs"]);
}

#[test]
fn the_routing_of_an_engine_stands_in_three_files_at_most() {
    let mut files = vec![
        ("src/engine/mod.rs", "impl Engine {}"),
        ("src/engine/commands.rs", "impl Engine {}"),
        ("src/engine/network.rs", "impl Engine {}"),
        // Neither another type, nor a trait, nor a test, nor words about it.
        (
            "src/engine/calls.rs",
            "impl<T> Calls<T> {}\nimpl Debug for Engine {}",
        ),
        (
            "src/engine/links.rs",
            "#[cfg(test)]\nmod tests { impl Engine {} }",
        ),
        (
            "src/engine/streams.rs",
            "// impl Engine {}\nconst S: &str = \"impl Engine {}\";",
        ),
        ("src/compat/engine/mod.rs", "impl Engine {}"),
    ];
    assert_broken(rules::scattered_engines(&tree(&files)), &[]);
    files.push(("src/engine/peers/mesh.rs", "impl Engine {}"));
    let wanted = [
        "impl Engine: src/engine/commands.rs",
        "impl Engine: src/engine/network.rs",
        "impl Engine: src/engine/peers/mesh.rs",
    ];
    assert_broken(rules::scattered_engines(&tree(&files)), &wanted);
}

#[test]
fn a_part_imports_no_other_part() {
    let files = [
        (
            "src/engine/mod.rs",
            "pub struct Config; use calls::outgoing::Calls; impl Engine {}",
        ),
        (
            "src/engine/commands/mod.rs",
            "use super::links::Links; impl Engine {}",
        ),
        (
            "src/engine/commands/streams.rs",
            "use super::super::streams::End; impl Engine {}",
        ),
        // Words that parts have in common are below them.
        ("src/engine/context.rs", "use super::links::Links;"),
        // A folder that holds several parts.
        ("src/engine/calls/mod.rs", "mod outgoing; mod serving;"),
        ("src/engine/calls/ask.rs", ""),
        (
            "src/engine/calls/outgoing.rs",
            "use super::{ask::Ask, serving::Serving};",
        ),
        (
            "src/engine/calls/serving.rs",
            "use crate::engine::{Config, context::Ctx, Calls};",
        ),
        (
            "src/engine/links.rs",
            "use super::calls::ask::Ask; use super::commands::streams;",
        ),
        // A folder that is one part.
        ("src/engine/streams/mod.rs", "use ends::End;"),
        (
            "src/engine/streams/ends.rs",
            "use super::{Id, chunk::C}; fn f() { super::super::links::f() }",
        ),
        ("src/engine/streams/chunk.rs", ""),
        (
            "src/engine/rate.rs",
            "#[cfg(test)]\nmod tests { use super::super::links::Links; }",
        ),
    ];
    let wanted = [
        "part: src/engine/calls/outgoing.rs imports engine::calls::serving",
        "part: src/engine/calls/serving.rs imports engine::calls::outgoing",
        "part: src/engine/context.rs imports engine::links",
        "part: src/engine/links.rs imports engine::commands::streams",
        "part: src/engine/streams/ends.rs imports engine::links",
    ];
    assert_broken(rules::parts_that_see_parts(&tree(&files)), &wanted);
}

#[test]
fn what_the_parts_of_one_engine_share_is_a_part_of_another() {
    let files = [
        ("src/relay/hub/mod.rs", "impl Hub {}"),
        ("src/relay/hub/presence.rs", "use super::waits::Waits;"),
        ("src/relay/hub/waits.rs", ""),
        // What is shared is made of other files, and imports no part.
        ("src/relay/hub/sites.rs", "use super::stage::flows::Flows;"),
        ("src/relay/hub/stage/mod.rs", "use flows::Flows;"),
        ("src/relay/hub/stage/flows.rs", "use super::super::sites;"),
        ("src/engine/mod.rs", "impl Engine {}"),
        ("src/engine/links.rs", "use super::waits::Waits;"),
        ("src/engine/waits.rs", ""),
    ];
    let wanted = [
        "part: src/engine/links.rs imports engine::waits",
        "part: src/relay/hub/stage/flows.rs imports relay::hub::sites",
    ];
    assert_broken(rules::parts_that_see_parts(&tree(&files)), &wanted);
}

#[test]
fn routing_in_too_many_places_is_that_of_parts() {
    let mut files = vec![
        ("src/engine/mod.rs", "impl Engine {}"),
        (
            "src/engine/arrivals.rs",
            "use super::links::Links; impl Engine {}",
        ),
        ("src/engine/api.rs", "impl Engine {}"),
        ("src/engine/links.rs", ""),
    ];
    assert_broken(rules::parts_that_see_parts(&tree(&files)), &[]);
    files.push(("src/engine/streams.rs", "impl Engine {}"));
    let wanted = ["part: src/engine/arrivals.rs imports engine::links"];
    assert_broken(rules::parts_that_see_parts(&tree(&files)), &wanted);
}

#[test]
fn a_composite_part_imports_what_it_holds_and_what_stands_below_it() {
    let files = [
        (
            "src/engine/mod.rs",
            "use network::Network; use commands::Commands; impl Engine {}",
        ),
        (
            "src/engine/network/mod.rs",
            "use super::{links::Links, peers::mesh::Mesh, relays::Relays};",
        ),
        (
            "src/engine/network/adverts.rs",
            "use super::Network; use crate::engine::peers::mesh::Seed;",
        ),
        // Neither what stands above it, nor what that holds.
        (
            "src/engine/network/links.rs",
            "use crate::engine::{calls::serving::Serving, commands::Commands};",
        ),
        (
            "src/engine/commands/mod.rs",
            "use super::{calls::serving::Serving, network::Network, streams::Streams};",
        ),
        (
            "src/engine/commands/ends.rs",
            "use crate::engine::links::Outlet;",
        ),
        ("src/engine/calls/mod.rs", "mod serving;"),
        ("src/engine/peers/mod.rs", "mod mesh;"),
        // A part that no composite part holds.
        (
            "src/engine/commands/timers.rs",
            "use super::super::timers::T;",
        ),
        ("src/engine/timers.rs", ""),
        // Parts do not see the one that holds them.
        ("src/engine/links.rs", "use super::network::Network;"),
        (
            "src/engine/calls/serving.rs",
            "use crate::engine::commands::C;",
        ),
        ("src/engine/streams/mod.rs", "use super::links::Links;"),
        (
            "src/engine/peers/mesh.rs",
            "use super::super::relays::Relays;",
        ),
        ("src/engine/relays.rs", ""),
    ];
    let wanted = [
        "part: src/engine/calls/serving.rs imports engine::commands",
        "part: src/engine/commands/timers.rs imports engine::timers",
        "part: src/engine/links.rs imports engine::network",
        "part: src/engine/network/links.rs imports engine::calls::serving",
        "part: src/engine/network/links.rs imports engine::commands",
        "part: src/engine/peers/mesh.rs imports engine::relays",
        "part: src/engine/streams/mod.rs imports engine::links",
    ];
    assert_broken(rules::parts_that_see_parts(&tree(&files)), &wanted);
}

#[test]
fn modules_do_not_import_each_other_in_a_circle() {
    let files = [
        ("src/lib.rs", "pub use a::A;"),
        ("src/a.rs", "use crate::b;"),
        ("src/b.rs", "use crate::c::deep::Deep;"),
        ("src/c/mod.rs", "mod deep; use deep::Deep; pub struct Word;"),
        // Its own folder's words make no circle; what the root gives out does.
        ("src/c/deep.rs", "use super::Word; use crate::A;"),
        (
            "src/d.rs",
            "use crate::a::A; mod inner { use super::super::d; }",
        ),
    ];
    let wanted = ["circle: a", "circle: b", "circle: c"];
    assert_broken(rules::circles(&tree(&files)), &wanted);
}

#[test]
fn a_lower_layer_imports_no_higher_one() {
    let files = [
        ("src/lib.rs", "pub use node::Node; pub mod node;"),
        ("src/name.rs", "use crate::frame::Frame;"),
        ("src/frame.rs", "use crate::name::Name;"),
        ("src/engine/mod.rs", "use crate::{Node, wire};"),
        ("src/wire/mod.rs", ""),
        (
            "src/node/mod.rs",
            "pub struct Node; use crate::engine::Engine;",
        ),
        (
            "src/node/turns/mod.rs",
            "use crate::node::Node; use crate::driver::Driver;",
        ),
        ("src/driver/mod.rs", ""),
        ("src/bin/peerbase/main.rs", "use peerbase::Node;"),
    ];
    let wanted = [
        "layer: src/engine/mod.rs imports node",
        "layer: src/name.rs imports frame",
        "layer: src/node/turns/mod.rs imports node",
    ];
    assert_broken(rules::climbing_imports(&tree(&files)), &wanted);
}

#[test]
fn how_far_an_item_is_seen_is_no_import() {
    let files = [
        ("src/node/mod.rs", "pub struct Node;"),
        (
            "src/node/turns/mod.rs",
            "pub(in crate::node) struct Turns(pub(in super::super) u8); pub(in crate::node) mod a;",
        ),
        (
            "src/node/turns/slot.rs",
            "pub(in crate::node) fn f(_: crate::node::Node) {}",
        ),
    ];
    let wanted = ["layer: src/node/turns/slot.rs imports node"];
    assert_broken(rules::climbing_imports(&tree(&files)), &wanted);
}

#[test]
fn a_file_for_tests_may_import_anything() {
    let files = [
        ("src/files/mod.rs", "#[cfg(test)]\nmod lies;\nmod share;"),
        (
            "src/files/share.rs",
            "fn f() { #[cfg(test)] super::lies::ask(&[1, 2]); }",
        ),
        ("src/files/lies.rs", "use super::share::Share;"),
    ];
    assert_broken(rules::circles(&tree(&files)), &[]);
}

#[test]
fn what_stands_in_quotes_or_comments_is_no_import() {
    let text = r##"
        /* use crate::node; */ // crate::node::f
        const S: &str = "\"use crate::node;"; const R: &str = r#""crate::node::f"#;
        const C: [char; 3] = ['"', '\'', '\\']; fn f<'a>(_: &'a str) { g(b'"', b"crate::node::f") }
        use std::node as other;
    "##;
    let tree = tree(&[("src/name.rs", text), ("src/node/mod.rs", "")]);
    assert_broken(rules::climbing_imports(&tree), &[]);
}

#[test]
fn a_line_of_more_than_100_columns_is_too_wide() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("made-up");
    let _ = fs::remove_dir_all(&folder);
    for inner in rules::FOLDERS {
        fs::create_dir_all(folder.join(inner)).unwrap();
    }
    let comment = |columns: usize| format!("// {}\n", "ü".repeat(columns - 3));
    fs::write(folder.join("src/most.rs"), comment(100)).unwrap();
    fs::write(folder.join("src/more.rs"), comment(101)).unwrap();
    fs::write(
        folder.join("TABLE.md"),
        format!("| {} |\n", "a".repeat(100)),
    )
    .unwrap();
    fs::write(folder.join("PROSE.md"), "a".repeat(101)).unwrap();
    let wanted = ["width: PROSE.md", "width: src/more.rs"];
    assert_broken(rules::wide_files(&folder), &wanted);
    fs::remove_dir_all(&folder).unwrap();
}
