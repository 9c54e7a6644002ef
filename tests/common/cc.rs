//! C programs, compiled against the library of this build.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");
pub const STRICT: [&str; 5] = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"];
/// What rustc says a static library needs on Linux.
pub const STATIC_NEEDS: [&str; 6] = ["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl"];

/// Where this build's libraries are: beside this test.
pub fn libraries() -> PathBuf {
    std::env::current_exe()
        .unwrap()
        .parent()
        .unwrap()
        .to_owned()
}

#[derive(Clone, Copy, PartialEq)]
pub enum Link {
    Shared,
    Static,
}

/// What this process has compiled. Locked while a program is written, so that no other test runs it
/// half written.
static COMPILED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The program made from `source`, which is compiled once.
pub fn compile(source: &Path, link: Link) -> PathBuf {
    let kind = if link == Link::Shared {
        "shared"
    } else {
        "static"
    };
    let name = format!(
        "{}-{kind}-{}",
        source.file_stem().unwrap().to_str().unwrap(),
        std::process::id()
    );
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if compiled.contains(&out) {
        return out;
    }
    let dir = libraries();
    let mut cc = Command::new("cc");
    cc.args(STRICT)
        .arg("-g")
        .arg("-I")
        .arg(format!("{ROOT}/include"))
        .arg(source)
        .arg("-o")
        .arg(&out);
    match link {
        Link::Shared => {
            cc.arg("-L").arg(&dir).arg("-lpeerbase").arg("-lpthread");
            cc.arg(format!("-Wl,-rpath,{}", dir.display()));
        }
        Link::Static => {
            cc.arg(dir.join("libpeerbase.a")).args(STATIC_NEEDS);
        }
    }
    super::check(cc);
    compiled.insert(out.clone());
    out
}

pub fn source(path: &str) -> PathBuf {
    Path::new(ROOT).join(path)
}
