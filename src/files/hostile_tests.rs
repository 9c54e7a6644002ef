//! Tests with nodes that lie about their files, and with disks that hang: neither harms this node.

use super::share::{Place, upload_on};
use super::{FileHash, INFO, READ};
use crate::engine::Source;
use crate::entropy::OsEntropy;
use crate::error::Error;
use crate::fernet::Key;
use crate::name::NodeName;
use crate::node::{Builder, Call, Node};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// While a test holds this lock the disk hangs: a look for a file of the name below waits.
static DISK: Mutex<()> = Mutex::new(());
const HANGS: &str = "on a disk that hangs";

fn disk() -> MutexGuard<'static, ()> {
    DISK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Called when the disk is asked for a file.
pub(super) fn the_disk_is_asked(path: &Path) {
    if path.file_name().is_some_and(|name| name == HANGS) {
        drop(disk());
    }
}

/// A network of its own, on a port that is reserved for it.
pub(super) struct Lan {
    key: Key,
    held: UdpSocket,
}

impl Lan {
    pub(super) fn new() -> Lan {
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

    pub(super) fn builder(&self, name: &str) -> Builder {
        Node::builder(name, "files", self.key.clone())
            .loopback(true)
            .advertise_port(self.held.local_addr().unwrap().port())
    }
}

/// A folder of one test, which is removed at its end.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("peerbase-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(super) fn names(&self) -> Vec<String> {
        let name = |e: std::io::Result<fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
        fs::read_dir(&self.0).unwrap().map(name).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn data(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 7 % 251) as u8).collect()
}

pub(super) fn hash(data: &[u8]) -> String {
    FileHash(Sha256::digest(data).into()).to_string()
}

fn fetch(node: &Node, hash: &str) -> Result<PathBuf, Error> {
    let patience = Duration::from_secs(20);
    node.request_file(hash, patience, |_| {}).map(|f| f.path)
}

pub(super) fn with(folder: &Path, builder: Builder) -> Node {
    let node = builder.start().unwrap();
    node.set_file_dir(folder).unwrap();
    node
}

pub(super) fn meet(node: &Node, count: usize) {
    let start = Instant::now();
    while node.peers().iter().filter(|p| p.reachable).count() < count {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "they do not meet"
        );
        thread::yield_now();
    }
}

/// A node that offers a size, a name and contents that need not fit together.
pub(super) fn liar(lan: &Lan, name: &str, size: u64, offered: &str, sends: Vec<u8>) -> Node {
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

/// A node that offers one file.
pub(super) fn holder(lan: &Lan, there: &Folder, name: &str, data: &[u8]) -> Node {
    let path = there.0.join(name);
    fs::write(&path, data).unwrap();
    let node = lan.builder("holder").start().unwrap();
    node.add_file(path).unwrap();
    node
}

#[test]
fn a_disk_that_hangs_does_not_keep_a_node_from_answering() {
    let (lan, there) = (Lan::new(), Folder::new("hangs"));
    let holder = holder(&lan, &there, HANGS, b"data");
    let node = lan.builder("node").start().unwrap();
    meet(&node, 1);
    let hangs = disk();
    let (tell, told) = mpsc::channel();
    for path in [INFO, READ] {
        let tell = tell.clone();
        let call = node.call(path).arg(hash(b"data")).arg(0).arg(4);
        let call = call.to("holder").timeout(Duration::from_secs(60));
        call.send_async(move |answer| tell.send(answer).unwrap())
            .unwrap();
    }
    // It is answered, although both questions were asked before it.
    let echo = node
        .call("__echo__")
        .to("holder")
        .timeout(Duration::from_secs(60));
    echo.send().unwrap();
    assert!(told.try_recv().is_err(), "nobody has looked yet");
    drop(hangs);
    let hear = || told.recv_timeout(Duration::from_secs(60)).unwrap();
    let mut answers = [hear(), hear()];
    answers.sort_by_key(Result::is_err);
    assert_eq!(answers[0], Ok(json!({"size": 4, "name": HANGS})));
    assert!(answers[1].is_err(), "it does not stream");
    drop(holder);
}

#[test]
fn a_place_is_given_back_when_there_is_no_thread_and_when_the_sender_panics() {
    let (lan, there, here) = (Lan::new(), Folder::new("places"), Folder::new("placed"));
    let holder = holder(&lan, &there, "f", b"data");
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 1);
    let share = holder.share().unwrap();
    for panics in [false, true] {
        let share = share.clone();
        holder.set_reserved(
            READ,
            Arc::new(move |call| {
                upload_on(&share, call, |body| match panics {
                    false => Err(std::io::ErrorKind::OutOfMemory.into()),
                    true => {
                        let sender = thread::spawn(move || {
                            let _body = body;
                            panic!("in the sender");
                        });
                        assert!(sender.join().is_err());
                        Ok(())
                    }
                })
            }),
        );
        let e = fetch(&node, &hash(b"data"));
        assert!(matches!(e, Err(Error::Broken { .. })), "{e:?}");
        // A failed piece is asked for again, so more than one place was lost before.
        assert!(holder.share().unwrap().uploads().is_empty());
    }
}

#[test]
fn a_link_that_takes_the_place_of_an_offered_file_is_not_followed() {
    let (lan, there) = (Lan::new(), Folder::new("place"));
    let outside = Folder::new("secrets");
    let (open, secret) = (there.0.join("open"), outside.0.join("secret"));
    fs::write(&open, b"open to all").unwrap();
    fs::write(&secret, b"not for you").unwrap();
    let holder = with(&there.0, lan.builder("holder"));
    assert_eq!(holder.refresh().unwrap().added, 1);
    // It is as old and as long as the file whose place it takes.
    let modified = fs::metadata(&open).unwrap().modified().unwrap();
    let file = fs::OpenOptions::new().write(true).open(&secret).unwrap();
    file.set_modified(modified).unwrap();
    fs::remove_file(&open).unwrap();
    symlink(&secret, &open).unwrap();
    let node = lan.builder("node").start().unwrap();
    meet(&node, 1);
    let call = node.call(READ).arg(hash(b"open to all")).arg(0).arg(11);
    let mut stream = call.to("holder").stream().unwrap();
    stream.finish();
    let mut got = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut got);
    assert_eq!(String::from_utf8_lossy(&got), "");
    assert!(matches!(stream.value(), Err(Error::Refused(_))));
    assert_eq!(holder.refresh().unwrap().added, 0);
}

#[test]
fn a_named_pipe_is_no_file_and_is_not_waited_for() {
    let (lan, there) = (Lan::new(), Folder::new("pipe"));
    let pipe = there.0.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let node = lan.builder("node").start().unwrap();
    let (tell, told) = mpsc::channel();
    let waits = thread::spawn(move || tell.send(node.add_file(&pipe)));
    let outcome = told.recv_timeout(Duration::from_secs(30));
    assert!(
        matches!(outcome, Ok(Err(Error::Argument(_)))),
        "{outcome:?}"
    );
    waits.join().unwrap().unwrap();
}

#[test]
fn a_size_that_no_disk_takes_does_not_keep_a_file_from_being_fetched() {
    let (lan, there, here) = (Lan::new(), Folder::new("fits"), Folder::new("fitted"));
    let _liars = ["l1", "l2"].map(|name| liar(&lan, name, 1 << 62, "f", Vec::new()));
    let node = with(&here.0, lan.builder("node").file_limits(u64::MAX, 8, 0));
    meet(&node, 2);
    let e = fetch(&node, &hash(b"data"));
    assert!(matches!(e, Err(Error::TooLarge { .. })), "{e:?}");
    assert!(here.names().is_empty());
    let _holder = holder(&lan, &there, "f", b"data");
    meet(&node, 3);
    let path = fetch(&node, &hash(b"data")).unwrap();
    assert_eq!(fs::read(path).unwrap(), b"data");
    assert_eq!(here.names(), ["f"]);
}

#[test]
fn what_panics_in_a_programs_progress_ends_the_fetch_and_leaves_it_possible() {
    let (lan, there, here) = (Lan::new(), Folder::new("whole"), Folder::new("again"));
    let _holder = holder(&lan, &there, "f", b"data");
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 1);
    let (asks, wanted) = (node.clone(), hash(b"data"));
    let panics = thread::spawn(move || {
        let patience = Duration::from_secs(20);
        asks.request_file(&wanted, patience, |_| panic!("in progress"))
    });
    assert!(panics.join().is_err());
    assert!(fetch(&node, &hash(b"data")).is_ok());
}

#[test]
fn invented_names_take_no_more_places_than_one_address_may_have() {
    let lan = Lan::new();
    let node = lan.builder("node").start().unwrap();
    let share = node.share().unwrap();
    let at = |n| Source::Address(IpAddr::from([10, 0, 0, n]));
    let take = |name: &str, source| Place::take(&share, &NodeName::new(name).unwrap(), source);
    let invented: Vec<Place> = (0..20)
        .filter_map(|i| take(&format!("n{i}"), at(1)))
        .collect();
    assert_eq!(invented.len(), 4, "of eight");
    let others: Vec<Place> = (0..5).filter_map(|_| take("other", at(2))).collect();
    assert_eq!(others.len(), 2);
    drop(invented);
    drop(others);
    let own: Vec<Place> = (0..20).filter_map(|_| take("one", at(1))).collect();
    assert_eq!(own.len(), 3);
    assert!(take("next to it", at(1)).is_some());
    drop(own);
    assert!(share.uploads().is_empty());
}

#[test]
fn one_peer_leaves_places_to_others_at_its_address() {
    let (lan, there) = (Lan::new(), Folder::new("share"));
    let path = there.0.join("f");
    fs::write(&path, data(4_000_000)).unwrap();
    let holder = lan.builder("holder").file_limits(1 << 30, 8, 0);
    let holder = holder.start().unwrap();
    let hash = holder.add_file(path).unwrap();
    let share = holder.share().unwrap();
    // Each sends more than a window, and nothing is read, so that each keeps its place.
    let begin = |node: &Node| {
        let call = node.call(READ).arg(hash.clone()).arg(0).arg(4_000_000);
        let call = call.to("holder").timeout(Duration::from_secs(60));
        let mut stream = call.stream().unwrap();
        stream.finish();
        let mut first = [0];
        let is_served = std::io::Read::read(&mut stream, &mut first).is_ok_and(|n| n == 1);
        (stream, is_served)
    };
    let [greedy, other] = ["greedy", "other"].map(|name| lan.builder(name).start().unwrap());
    meet(&greedy, 2);
    meet(&other, 2);
    let taken = [&greedy, &greedy, &greedy, &greedy, &other, &other].map(&begin);
    let served: Vec<bool> = taken.iter().map(|(_, is_served)| *is_served).collect();
    assert_eq!(served, [true, true, true, false, true, false]);
    assert_eq!(share.uploads().len(), 4);
    drop(taken);
}
