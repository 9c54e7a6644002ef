//! The rules. Each gives what breaks it, one short line for each file or import.

use crate::source::{ROOT, Tree, child, is_within, list, parent};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The most lines that a file of `src/` may have, so that it can be read from top to bottom.
const LINES: usize = 600;
/// The most columns that a line may have: as many as two files side by side leave room for.
const COLUMNS: usize = 100;
/// The folders whose Rust and Markdown is measured, beside the Markdown of the project's own
/// folder.
pub(crate) const FOLDERS: [&str; 6] = [
    "src",
    "tests",
    "benches",
    "examples",
    "fuzz/fuzz_targets",
    "models/src",
];
/// The most files in which the routing of an engine may stand. More of them, and what happens next
/// is decided everywhere.
const ROUTERS: usize = 3;

/// The engines: a module, and the type that holds its parts and routes between them.
const ENGINES: [(&str, &str); 3] = [
    ("crate::engine", "Engine"),
    ("crate::compat::engine", "Engine"),
    ("crate::relay::hub", "Hub"),
];

/// Folders of an engine that hold several parts. Any other folder is one part.
const SHELVES: [&str; 3] = ["calls", "peers", "relays"];

/// Composite parts, from the bottom to the top: each is a folder of an engine whose type holds the
/// parts that stand in the folders named with it. Its files may import these, and the composite
/// parts below it with what those hold. A part may import no composite part.
const COMPOSITES: [(&str, &[&str]); 2] = [
    (
        "crate::engine::network",
        &["links", "peers", "relays", "trust"],
    ),
    ("crate::engine::commands", &["calls", "stopping", "streams"]),
];

/// Modules of each engine that hold what its parts have in common, and no part: words, and lists
/// that do not know what they are for. A part may import them; they may import no part.
const SHARED: [(&str, &[&str]); 3] = [
    (
        "crate::engine",
        &[
            "ask",
            "context",
            "distrust",
            "event",
            "event_throttle",
            "fair_share",
            "ids",
            "payload",
            "peer_info",
            "relay_fault",
            "signed_broadcast",
            "source",
            "stats",
        ],
    ),
    ("crate::compat::engine", &["api", "context", "errand"]),
    (
        "crate::relay::hub",
        &["api", "context", "origin", "stage", "stats", "waits"],
    ),
];

/// The layers above the words that every module uses, from the bottom to the top. A module belongs
/// to the layer that names it, or else that of its parent. A module that no layer names is a word.
const LAYERS: [(&str, &[&str]); 9] = [
    ("codecs", &["frame", "fernet", "inbox"]),
    ("wire", &["wire", "compat"]),
    ("handshake", &["handshake", "network_keys"]),
    ("engines", &["engine", "compat::engine", "relay::hub"]),
    ("driver", &["driver"]),
    ("turns", &["node::turns"]),
    ("node", &["node", "relay"]),
    ("files", &["files"]),
    ("ffi", &["ffi"]),
];

/// Files of `src/` that are too long.
pub(crate) fn long_files(tree: &Tree) -> BTreeSet<String> {
    let long = tree.modules.values().filter(|m| m.lines > LINES);
    long.map(|m| format!("lines: {}", m.file)).collect()
}

/// Files in which the routing of an engine stands, where it stands in too many: all of them but
/// the engine's own.
pub(crate) fn scattered_engines(tree: &Tree) -> BTreeSet<String> {
    let mut broken = BTreeSet::new();
    for (engine, name) in ENGINES {
        let routers = implementations(tree, engine, name);
        if routers.len() > ROUTERS {
            let others = routers.iter().filter(|module| **module != engine);
            broken.extend(others.map(|m| format!("impl {name}: {}", tree.modules[*m].file)));
        }
    }
    broken
}

fn implementations<'a>(tree: &'a Tree, engine: &str, name: &str) -> BTreeSet<&'a str> {
    let inside = tree
        .modules
        .iter()
        .filter(|(path, _)| is_within(path, engine));
    let with_impl = inside.filter(|(_, module)| module.impls.contains(name));
    with_impl.map(|(path, _)| path.as_str()).collect()
}

/// Imports of one part of an engine by another. The files in which the engine's routing stands may
/// import any part, and those of a composite part the parts that it holds. Any other file may
/// import what is above it (the words that it has in common with its siblings), what it is made of,
/// the other files of its part, and the shared modules.
pub(crate) fn parts_that_see_parts(tree: &Tree) -> BTreeSet<String> {
    let edges = tree.edges();
    let mut broken = BTreeSet::new();
    for (engine, name) in ENGINES {
        let routers = routers(tree, engine, name);
        let inside = edges.iter().filter(|(from, to)| {
            is_within(from, engine) && is_within(to, engine) && !routers.contains(from)
        });
        let apart = inside.filter(|(from, to)| {
            let above_or_below = is_within(from, to) || is_within(to, from);
            !above_or_below && part(from, engine) != part(to, engine)
        });
        let unknown = apart.filter(|(_, to)| !is_shared(to, engine));
        for (from, to) in unknown.filter(|(from, to)| !is_held(from, to)) {
            let from = &tree.modules[*from].file;
            broken.insert(format!("part: {from} imports {}", short(to)));
        }
    }
    broken
}

/// The files in which the routing of an engine stands: its own file, and where `impl` stands in two
/// places beside it at most, each a file or a folder, those as well.
fn routers<'a>(tree: &'a Tree, engine: &'a str, name: &str) -> BTreeSet<&'a str> {
    let mut routers = implementations(tree, engine, name);
    let beside = routers.iter().filter(|module| **module != engine);
    let places: BTreeSet<&str> = beside.map(|module| branch(module, engine)).collect();
    if places.len() >= ROUTERS {
        routers.clear();
    }
    routers.insert(engine);
    routers
}

/// The part of an engine that a module belongs to: a file or a folder in the engine's own folder,
/// or in one of the folders that hold several parts.
fn part<'a>(module: &'a str, engine: &'a str) -> &'a str {
    let outer = branch(module, engine);
    let holds_parts = SHELVES.iter().any(|shelf| child(engine, shelf) == outer);
    if holds_parts && outer != module {
        return branch(module, outer);
    }
    outer
}

/// Whether a module is a file of a composite part, and another belongs to what that part holds or
/// stands above.
fn is_held(from: &str, to: &str) -> bool {
    let height = COMPOSITES.iter().position(|(c, _)| is_within(from, c));
    let below = &COMPOSITES[..height.map_or(0, |height| height + 1)];
    below.iter().any(|(composite, parts)| {
        let mut held = parts.iter().map(|part| child(parent(composite), part));
        is_within(to, composite) || held.any(|part| is_within(to, &part))
    })
}

fn is_shared(module: &str, engine: &str) -> bool {
    let inside = module.strip_prefix(engine).unwrap_or("");
    let mut shared = SHARED.iter().filter(|(of, _)| *of == engine);
    shared.any(|(_, names)| inside.split("::").any(|word| names.contains(&word)))
}

/// Modules that import each other in a circle. In each folder its files and folders are looked at,
/// a folder as one; that a file uses the words of the folder that it stands in makes no circle.
pub(crate) fn circles(tree: &Tree) -> BTreeSet<String> {
    let mut siblings: BTreeMap<&str, BTreeSet<(&str, &str)>> = BTreeMap::new();
    let edges = tree.edges();
    for (from, to) in &edges {
        if let Some((folder, from, to)) = branches(from, to) {
            siblings.entry(folder).or_default().insert((from, to));
        }
    }
    let mut broken = BTreeSet::new();
    for edges in siblings.values() {
        let in_circle = edges.iter().filter(|(from, _)| leads_to(edges, from, from));
        broken.extend(in_circle.map(|(from, _)| format!("circle: {}", short(from))));
    }
    broken
}

/// The innermost folder that two modules stand in, and the branch of it that each is on; none if
/// one of them is above the other.
fn branches<'a>(one: &'a str, other: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
    if is_within(one, other) || is_within(other, one) {
        return None;
    }
    let mut folder = parent(one);
    while !is_within(other, folder) && folder != parent(folder) {
        folder = parent(folder);
    }
    is_within(other, folder).then(|| (folder, branch(one, folder), branch(other, folder)))
}

/// The file or folder right inside `folder` in which a module below it is; the folder's own file is
/// the folder.
fn branch<'a>(module: &'a str, folder: &str) -> &'a str {
    let below = module.get(folder.len() + 2..).unwrap_or("");
    let end = below.find("::").unwrap_or(below.len());
    &module[..module.len() - below.len() + end]
}

/// Whether a module is reached from another over one import or more.
fn leads_to(edges: &BTreeSet<(&str, &str)>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        for (_, next) in edges.iter().filter(|(from, _)| *from == at) {
            if *next == to {
                return true;
            }
            if seen.insert(*next) {
                open.push(next);
            }
        }
    }
    false
}

/// Imports of a higher layer by a lower one. The root of the library, which gives out what all
/// layers have, and the tool, which stands above all, are not looked at.
pub(crate) fn climbing_imports(tree: &Tree) -> BTreeSet<String> {
    let edges = tree.edges();
    let inside = edges
        .iter()
        .filter(|(from, to)| *from != ROOT && to != ROOT);
    let climbing = inside.filter(|(from, to)| layer(from) < layer(to));
    climbing
        .map(|(from, to)| format!("layer: {} imports {}", tree.modules[*from].file, short(to)))
        .collect()
}

/// How high a module stands: 0 is a word, and the tool is above all layers.
fn layer(module: &str) -> usize {
    let Some(path) = module.strip_prefix("crate::") else {
        return LAYERS.len() + 1;
    };
    let named = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(height, (_, modules))| {
            let inner = modules.iter().filter(|m| is_within(path, m));
            inner.map(move |m| (m.len(), height + 1))
        });
    named.max().map_or(0, |(_, height)| height)
}

/// Files of the project with comments or Markdown that are too wide. Code is left to rustfmt, and
/// a row of a table in Markdown cannot be broken.
pub(crate) fn wide_files(folder: &Path) -> BTreeSet<String> {
    let inner = FOLDERS.iter().map(|inner| folder.join(inner));
    let mut files: Vec<PathBuf> = inner.flat_map(|f| list(&f, &[".rs", ".md"])).collect();
    let beside = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path());
    files.extend(beside.filter(|path| path.extension().is_some_and(|e| e == "md")));
    let wide = files.iter().filter(|path| {
        let is_markdown = path.extension().is_some_and(|e| e == "md");
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines = text.lines().filter(|l| l.chars().count() > COLUMNS);
        lines.any(|l| {
            if is_markdown {
                !l.starts_with("| ")
            } else {
                has_comment(l)
            }
        })
    });
    let name = |path: &Path| path.strip_prefix(folder).unwrap().display().to_string();
    wide.map(|path| format!("width: {}", name(path))).collect()
}

fn has_comment(line: &str) -> bool {
    line.trim_start().starts_with("//") || line.contains(" // ")
}

/// A module as it is named inside the library.
fn short(module: &str) -> &str {
    module.strip_prefix("crate::").unwrap_or(module)
}
