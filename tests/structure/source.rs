//! What the rules look at: the modules of a folder of Rust files, and what each of them imports.
//!
//! The files are read as text and cut into tokens; nothing is compiled. What stands under
//! `#[cfg(test)]` is left out, since tests may build whatever they need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The name of the module at the root of the library, `src/lib.rs`.
pub(crate) const ROOT: &str = "crate";
/// The name of the module at the root of the tool, `src/bin/peerbase/main.rs`.
pub(crate) const TOOL: &str = "bin";

/// A path as it is written after `use` or in the middle of code, cut at its colons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    path: Vec<String>,
    /// The name that a `use` gives to it in this module; none for a path in the middle of code.
    name: Option<String>,
}

/// One file.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// Where it is, below the folder that was read.
    pub file: String,
    pub lines: usize,
    pub imports: Vec<Import>,
    /// The types for which it has an `impl` of their own, rather than of a trait.
    pub impls: BTreeSet<String>,
    /// The modules that it declares for tests only.
    for_tests: BTreeSet<String>,
}

/// All files, by the paths of their modules: `crate::engine::calls`, `bin::console`.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub modules: BTreeMap<String, Module>,
}

impl Tree {
    /// Reads `src` in this folder.
    pub(crate) fn read(folder: &Path) -> Tree {
        let files = list(&folder.join("src"), &[".rs"]);
        let files = files.iter().map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let below = path.strip_prefix(folder).unwrap();
            (below.to_str().unwrap().to_owned(), text)
        });
        Tree::of(files)
    }

    /// The tree of these files, each a path such as `src/engine/mod.rs` and a text.
    pub(crate) fn of(files: impl IntoIterator<Item = (String, String)>) -> Tree {
        let mut tree = Tree::default();
        for (file, text) in files {
            let mut module = Module {
                lines: text.lines().count(),
                ..Module::default()
            };
            let path = module_of(&file);
            module.file = file;
            Reader::new(&path, &text).read(&mut module);
            tree.modules.insert(path, module);
        }
        tree.drop_tests();
        tree
    }

    /// Forgets the files that are declared under `#[cfg(test)]`, and those below them.
    fn drop_tests(&mut self) {
        let for_tests: Vec<String> = self
            .modules
            .iter()
            .flat_map(|(path, m)| m.for_tests.iter().map(move |name| child(path, name)))
            .collect();
        self.modules
            .retain(|path, _| !for_tests.iter().any(|test| is_within(path, test)));
    }

    /// The module that defines what a module imports; none if it is of another crate.
    pub(crate) fn resolve(&self, from: &str, import: &Import) -> Option<String> {
        self.follow(from, &import.path, 8)
    }

    fn follow(&self, from: &str, path: &[String], most: usize) -> Option<String> {
        let (first, mut rest) = path.split_first()?;
        let root = from.split("::").next().unwrap_or(from);
        let mut at = match first.as_str() {
            "crate" => root.to_owned(),
            "peerbase" if root == TOOL => ROOT.to_owned(),
            "self" => from.to_owned(),
            "super" => parent(from).to_owned(),
            name if self.modules.contains_key(&child(from, name)) => child(from, name),
            _ => return None,
        };
        while let Some((name, more)) = rest.split_first() {
            let below = child(&at, name);
            if name == "super" {
                at = parent(&at).to_owned();
            } else if self.modules.contains_key(&below) {
                at = below;
            } else {
                return Some(self.exporter(&at, name, more, most).unwrap_or(at));
            }
            rest = more;
        }
        Some(at)
    }

    /// Where a name comes from that a module has imported itself.
    fn exporter(&self, module: &str, name: &str, more: &[String], most: usize) -> Option<String> {
        let imports = &self.modules.get(module)?.imports;
        let import = imports.iter().find(|i| i.name.as_deref() == Some(name))?;
        let path: Vec<String> = import.path.iter().chain(more).cloned().collect();
        self.follow(module, &path, most.checked_sub(1)?)
    }

    /// Every import of one module of the tree by another, once.
    pub(crate) fn edges(&self) -> BTreeSet<(&str, String)> {
        let mut edges = BTreeSet::new();
        for (from, module) in &self.modules {
            let to = module.imports.iter().filter_map(|i| self.resolve(from, i));
            edges.extend(to.filter(|to| to != from).map(|to| (from.as_str(), to)));
        }
        edges
    }
}

/// The files in a folder and those below it, in order, whose names end so.
pub(crate) fn list(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut entries: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        if path.is_dir() {
            files.extend(list(&path, endings));
        } else if endings.iter().any(|e| path.to_str().unwrap().ends_with(e)) {
            files.push(path);
        }
    }
    files
}

/// The path of the module in a file: `src/relay/hub.rs` and `src/relay/hub/mod.rs` are one.
fn module_of(file: &str) -> String {
    let path = file.strip_prefix("src/").unwrap_or(file);
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let (root, path) = match path.strip_prefix("bin/peerbase/") {
        Some(path) => (TOOL, path),
        None => (ROOT, path),
    };
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" || path == "main" {
        return root.to_owned();
    }
    format!("{root}::{}", path.replace('/', "::"))
}

pub(crate) fn child(module: &str, name: &str) -> String {
    format!("{module}::{name}")
}

pub(crate) fn parent(module: &str) -> &str {
    module
        .rsplit_once("::")
        .map_or(module, |(parent, _)| parent)
}

/// Whether a module is this one or somewhere below it.
pub(crate) fn is_within(module: &str, outer: &str) -> bool {
    let rest = module.strip_prefix(outer);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Goes through the tokens of a file.
struct Reader<'a> {
    tokens: Vec<&'a str>,
    at: usize,
    /// How deep in braces the current token is.
    depth: usize,
    /// The modules around the current token, and how deep in braces each began; the first is the
    /// file.
    inside: Vec<(String, usize)>,
}

impl<'a> Reader<'a> {
    fn new(module: &str, text: &'a str) -> Reader<'a> {
        Reader {
            tokens: tokens(text),
            at: 0,
            depth: 0,
            inside: vec![(module.to_owned(), 0)],
        }
    }

    fn token(&self, ahead: usize) -> &'a str {
        self.tokens.get(self.at + ahead).copied().unwrap_or("")
    }

    fn sees(&self, wanted: &[&str]) -> bool {
        self.tokens[self.at.min(self.tokens.len())..].starts_with(wanted)
    }

    fn read(mut self, module: &mut Module) {
        while self.at < self.tokens.len() {
            let begins_path = self.at == 0 || self.tokens[self.at - 1] != "::";
            match self.token(0) {
                "#" if self.sees(&["#", "[", "cfg", "(", "test", ")", "]"]) => {
                    self.at += 7;
                    self.skip_item(module);
                }
                "mod" if self.token(2) == "{" => {
                    let path = child(&self.inside[self.inside.len() - 1].0, self.token(1));
                    self.inside.push((path, self.depth));
                    self.depth += 1;
                    self.at += 3;
                }
                // A path that says how far an item is seen imports nothing.
                "pub" if self.sees(&["pub", "(", "in"]) => {
                    while !matches!(self.token(0), ")" | "") {
                        self.at += 1;
                    }
                }
                "use" => {
                    self.at += 1;
                    self.tree(&[], true, module);
                }
                "impl" => {
                    self.at += 1;
                    module.impls.extend(self.implemented().map(str::to_owned));
                }
                "crate" | "super" | "self" | "peerbase" if begins_path && self.token(1) == "::" => {
                    self.tree(&[], false, module);
                }
                token => {
                    self.at += 1;
                    self.brace(token);
                }
            }
        }
    }

    fn brace(&mut self, token: &str) {
        if token == "{" {
            self.depth += 1;
        } else if token == "}" {
            self.depth = self.depth.saturating_sub(1);
            if self.inside.len() > 1 && self.inside[self.inside.len() - 1].1 == self.depth {
                self.inside.pop();
            }
        }
    }

    /// Goes past what `#[cfg(test)]` stands before: an item, a field or a statement.
    fn skip_item(&mut self, module: &mut Module) {
        if self.sees(&["mod"]) && self.token(2) == ";" {
            module.for_tests.insert(self.token(1).to_owned());
        }
        let mut open = 0usize;
        while self.at < self.tokens.len() {
            let token = self.token(0);
            self.at += 1;
            match token {
                "(" | "[" | "{" => open += 1,
                ")" | "]" => open = open.saturating_sub(1),
                // The end of a block in which it was the last one.
                "}" if open == 0 => return self.brace(token),
                "}" if open == 1 => return,
                "}" => open -= 1,
                ";" | "," if open == 0 => return,
                _ => {}
            }
        }
    }

    /// The type of an `impl` that is not of a trait.
    fn implemented(&mut self) -> Option<&'a str> {
        let rest = &self.tokens[self.at..];
        let head = &rest[..rest.iter().position(|t| *t == "{")?];
        let mut generic = 0;
        let mut names = head.iter().filter(|token| {
            generic += i32::from(**token == "<");
            let named = generic == 0;
            generic -= i32::from(**token == ">");
            named
        });
        let name = names.next()?;
        (!head.contains(&"for")).then_some(*name)
    }

    /// A path, or what a `use` names in braces; all that it leads to is noted.
    fn tree(&mut self, before: &[String], used: bool, module: &mut Module) {
        let mut path = before.to_vec();
        loop {
            match self.token(0) {
                "{" => {
                    self.at += 1;
                    while !matches!(self.token(0), "}" | "") {
                        self.tree(&path, used, module);
                        self.at += usize::from(self.token(0) == ",");
                    }
                    self.at += 1;
                    return;
                }
                // `use a::{self, b}` names `a`.
                "self" if !path.is_empty() => {}
                segment => path.push(segment.to_owned()),
            }
            self.at += 1;
            if self.token(0) != "::" || !(used || is_word(self.token(1))) {
                break;
            }
            self.at += 1;
        }
        let mut name = path.last().cloned();
        if self.token(0) == "as" {
            name = Some(self.token(1).to_owned());
            self.at += 2;
        }
        let path = self.as_at_the_top(path);
        let name = name.filter(|_| used && self.inside.len() == 1);
        module.imports.push(Import { path, name });
    }

    /// The path as it would be written at the top of the file, where it was inside `mod x { … }`.
    fn as_at_the_top(&self, path: Vec<String>) -> Vec<String> {
        let inner = self.inside.len() - 1;
        if inner == 0 || path[0] == "crate" {
            return path;
        }
        let up = path
            .iter()
            .take_while(|segment| *segment == "super")
            .count();
        if up < inner {
            return vec!["self".to_owned()];
        }
        let rest = path.into_iter().skip(inner);
        std::iter::once("self".to_owned()).chain(rest).collect()
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The words and signs of a text, without its comments, strings and characters.
fn tokens(text: &str) -> Vec<&str> {
    let mut list = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if let Some(length) = unread(rest) {
            rest = &rest[length..];
            continue;
        } else if is_word(rest) {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            end.unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        list.push(&rest[..length]);
        rest = &rest[length..];
    }
    list
}

/// How much of the beginning of a text is a space, a comment, a string, a character or a lifetime.
fn unread(text: &str) -> Option<usize> {
    let blank = text.len() - text.trim_start().len();
    if blank > 0 {
        return Some(blank);
    }
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(text.find("*/").map_or(text.len(), |end| end + 2));
    }
    let string = text.trim_start_matches(['b', 'c']);
    let raw = string.strip_prefix('r').map(|t| t.trim_start_matches('#'));
    if let Some(inner) = raw.filter(|t| t.starts_with('"')) {
        let begin = text.len() - inner.len() + 1;
        let fence = "#".repeat(text[..begin].matches('#').count());
        let end = text[begin..].find(&format!("\"{fence}"));
        return Some(end.map_or(text.len(), |end| begin + end + 1 + fence.len()));
    }
    if text.len() - string.len() <= 1 && string.starts_with(['"', '\'']) {
        return Some(text.len() - string.len() + quoted(string));
    }
    None
}

/// How long the string, character or lifetime is that a text begins with.
fn quoted(text: &str) -> usize {
    let mark = &text[..1];
    let mut after = text[1..].char_indices();
    let is_lifetime = {
        let mut ahead = text[1..].chars();
        mark == "'" && ahead.next() != Some('\\') && ahead.next() != Some('\'')
    };
    if is_lifetime {
        return 1;
    }
    while let Some((at, c)) = after.next() {
        if c == '\\' {
            after.next();
        } else if text[1..][at..].starts_with(mark) {
            return at + 2;
        }
    }
    text.len()
}
