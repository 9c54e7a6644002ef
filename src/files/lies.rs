//! What others who lie about their files can do here: nothing.

use super::{FileHash, INFO, READ};
use crate::entropy::OsEntropy;
use crate::error::Error;
use crate::fernet::Key;
use crate::node::{Builder, Call, Node};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::net::UdpSocket;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// A network of its own, on a port that is kept for it.
struct Lan {
    key: Key,
    held: UdpSocket,
}

impl Lan {
    fn new() -> Lan {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None);
        let socket = socket.unwrap();
        socket.set_reuse_address(true).unwrap();
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).unwrap();
        Lan {
            key: Key::generate(&mut OsEntropy::new().unwrap()),
            held: socket.into(),
        }
    }

    fn builder(&self, name: &str) -> Builder {
        Node::builder(name, "files", self.key.clone())
            .loopback(true)
            .advertise_port(self.held.local_addr().unwrap().port())
    }
}

/// A folder of this test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("peerbase-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn names(&self) -> Vec<String> {
        let name = |e: std::io::Result<fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
        fs::read_dir(&self.0).unwrap().map(name).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn data(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 7 % 251) as u8).collect()
}

fn hash(data: &[u8]) -> String {
    FileHash(Sha256::digest(data).into()).to_string()
}

fn fetch(node: &Node, hash: &str) -> Result<PathBuf, Error> {
    let patience = Duration::from_secs(20);
    node.request_file(hash, patience, |_| {}).map(|f| f.path)
}

fn with(folder: &Path, builder: Builder) -> Node {
    let node = builder.start().unwrap();
    node.set_file_dir(folder).unwrap();
    node
}

fn meet(node: &Node, count: usize) {
    let start = Instant::now();
    while node.peers().iter().filter(|p| p.reachable).count() < count {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "they do not meet"
        );
        thread::yield_now();
    }
}

/// A node that offers whatever it likes.
fn liar(lan: &Lan, name: &str, size: u64, offered: &str, sends: Vec<u8>) -> Node {
    let info = json!({"size": size, "name": offered});
    let sends = Arc::new(sends);
    let node = lan.builder(name).start().unwrap();
    node.set_reserved(
        INFO,
        Arc::new(move |call: Call| call.reply(info.clone()).unwrap()),
    );
    node.set_reserved(
        READ,
        Arc::new(move |call: Call| {
            let (_, mut writer) = call.streams().unwrap();
            let (offset, length) = (call.args()[1].as_u64(), call.args()[2].as_u64());
            let sends = sends.clone();
            thread::spawn(move || {
                let from = sends.len().min(offset.unwrap() as usize);
                let to = sends.len().min(from + length.unwrap() as usize);
                let _ = writer.write_all(&sends[from..to]);
                writer.finish();
                let _ = call.reply(true);
            });
        }),
    );
    node
}

#[test]
fn a_name_never_leaves_the_folder_and_takes_nothings_place() {
    let lan = Lan::new();
    let names = [
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        "a/b",
        "a\\b",
        "nul",
        "x\0y",
        ".profile",
        &"x".repeat(4_096),
        "mine",
        "trap",
    ];
    let outside = Folder::new("outside");
    for (i, name) in names.iter().enumerate() {
        let here = Folder::new("names");
        fs::write(here.0.join("mine"), b"mine").unwrap();
        symlink(outside.0.join("stolen"), here.0.join("trap")).unwrap();
        let data = format!("file {i}").into_bytes();
        let _liar = liar(
            &lan,
            &format!("liar{i}"),
            data.len() as u64,
            name,
            data.clone(),
        );
        let node = with(&here.0, lan.builder(&format!("node{i}")));
        meet(&node, 1);
        let path = fetch(&node, &hash(&data)).unwrap();
        assert_eq!(
            path.parent().unwrap(),
            fs::canonicalize(&here.0).unwrap(),
            "{name}"
        );
        let is_file = fs::symlink_metadata(&path).unwrap().is_file();
        assert!(is_file && fs::read(&path).unwrap() == data);
        assert_eq!(here.names().len(), 3, "{:?}", here.names());
        assert_eq!(fs::read(here.0.join("mine")).unwrap(), b"mine");
        assert!(outside.names().is_empty());
    }
}

#[test]
fn lies_about_contents_and_size_leave_nothing_and_an_honest_holder_is_found() {
    let lan = Lan::new();
    let here = Folder::new("lies");
    let right = data(9_000_000);
    let mut wrong = right.clone();
    wrong[8_999_999] ^= 1;
    let size = right.len() as u64;
    let _liars = [
        liar(&lan, "changes", size, "f", wrong),
        liar(&lan, "short", size, "f", right[..1_000].to_vec()),
        liar(&lan, "small", 5, "f", b"12345".to_vec()),
        liar(&lan, "huge", u64::MAX, "f", Vec::new()),
    ];
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 4);
    let e = fetch(&node, &hash(&right));
    assert!(
        matches!(
            e,
            Err(Error::Damaged(_) | Error::Broken { .. } | Error::TooLarge { .. })
        ),
        "{e:?}"
    );
    assert!(
        here.names().iter().all(|n| n.starts_with('.')),
        "{:?}",
        here.names()
    );
    let there = Folder::new("honest");
    let honest = lan.builder("honest").start().unwrap();
    let path = there.0.join("f");
    fs::write(&path, &right).unwrap();
    honest.add_file(path).unwrap();
    meet(&node, 5);
    let path = fetch(&node, &hash(&right)).unwrap();
    assert!(fs::read(path).unwrap() == right);
    assert_eq!(here.names(), ["f"]);
}
