//! Files fetched by their hash, from one and from several, honest and not.

mod common;

use common::{Folder, Lan, Tool, have, secs, until};
use peerbase::{Builder, Error, Limits, Node};
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

fn data(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 7 % 251) as u8).collect()
}

fn hash(data: &[u8]) -> String {
    Sha256::digest(data)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

fn fetch(node: &Node, hash: &str) -> Result<PathBuf, Error> {
    node.request_file(hash, secs(20), |_| {}).map(|f| f.path)
}

fn with(folder: &Path, builder: Builder) -> Node {
    let node = builder.start().unwrap();
    node.set_file_dir(folder).unwrap();
    node
}

/// Waits until so many others are reached.
fn meet(node: &Node, count: usize) {
    until("they have met", || {
        node.peers().iter().filter(|p| p.reachable).count() >= count
    });
}

#[test]
fn a_file_is_fetched_from_several_at_once_and_then_offered_on() {
    let lan = Lan::new();
    let (there, here, again) = (
        Folder::new("files-there"),
        Folder::new("files-here"),
        Folder::new("files-again"),
    );
    let data = data(21_000_000);
    let path = there.write("big one.bin", &data);
    let holders: Vec<_> = (0..3)
        .map(|i| lan.builder(&format!("h{i}")).start().unwrap())
        .collect();
    for holder in &holders {
        assert_eq!(holder.add_file(&path), Ok(hash(&data)));
    }
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 3);
    let mut seen = Vec::new();
    let got = node
        .request_file(&hash(&data), secs(20), |p| seen.push(p))
        .unwrap();
    assert_eq!(
        got.path,
        fs::canonicalize(&here.0).unwrap().join("big one.bin")
    );
    assert!(fs::read(&got.path).unwrap() == data);
    assert_eq!(here.names(), ["big one.bin"]);
    let last = seen.last().unwrap();
    assert_eq!((last.received, last.size), (21_000_000, 21_000_000));
    assert!(
        seen.iter()
            .any(|p| p.received > 0 && p.received < p.size && p.holders == 3)
    );
    let served: Vec<u64> = holders.iter().map(|h| h.stats().stream_bytes_out).collect();
    assert!(served.iter().all(|n| *n > 0), "each gave some: {served:?}");
    assert_eq!(
        fetch(&node, &hash(&data)),
        Ok(got.path),
        "it is there already"
    );
    drop(holders);
    let other = with(&again.0, lan.builder("other"));
    meet(&other, 1);
    fetch(&other, &hash(&data)).unwrap();
    let unknown = hash(b"nobody has this");
    assert_eq!(fetch(&other, &unknown), Err(Error::FileUnknown(unknown)));
    assert!(matches!(fetch(&other, "12"), Err(Error::Argument(_))));
}

#[test]
fn interrupted_it_goes_on_with_what_is_there() {
    let lan = Lan::new();
    let (there, here) = (Folder::new("files-from"), Folder::new("files-resumed"));
    let data = data(20_000_000);
    let path = there.write("f", &data);
    let slow = Limits {
        upload_bytes_per_second: 12_000_000,
        ..Limits::default()
    };
    let holder = lan.builder("holder").limits(slow).start().unwrap();
    holder.add_file(&path).unwrap();
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 1);
    let stops = holder.clone();
    let broken = node.request_file(&hash(&data), secs(20), move |p| {
        if p.received > 9_000_000 {
            stops.stop();
        }
    });
    assert!(
        matches!(broken, Err(Error::Broken { arrived, .. }) if arrived >= 8 << 20),
        "{broken:?}"
    );
    assert_eq!(here.names(), [".peerbase-parts"]);
    drop(holder);
    let holder = lan.builder("holder-2").start().unwrap();
    holder.add_file(&path).unwrap();
    meet(&node, 1);
    let mut first = None;
    let got = node.request_file(&hash(&data), secs(20), |p| {
        first.get_or_insert(p.received);
    });
    assert!(fs::read(got.unwrap().path).unwrap() == data);
    assert!(first.unwrap() >= 8 << 20);
    assert!(
        holder.stats().stream_bytes_out < 13_000_000,
        "only the rest"
    );
    assert_eq!(here.names(), ["f"]);
}

#[test]
fn changed_and_removed_files_are_noticed() {
    let lan = Lan::new();
    let (there, here) = (Folder::new("files-changing"), Folder::new("files-watching"));
    let [one, two, three] = ["one", "two", "three"].map(|n| there.write(n, n.as_bytes()));
    there.write(".hidden", b"hidden");
    symlink("/etc/passwd", there.0.join("link")).unwrap();
    let holder = with(&there.0, lan.builder("holder"));
    let found = holder.refresh().unwrap();
    assert_eq!((found.added, found.changed, found.removed), (3, 0, 0));
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 1);
    fetch(&node, &hash(b"one")).unwrap();
    fs::write(&two, b"two, changed").unwrap();
    fs::remove_file(&three).unwrap();
    for gone in [&b"two"[..], b"three", b"hidden"] {
        let e = fetch(&node, &hash(gone));
        assert!(matches!(e, Err(Error::FileUnknown(_))), "{e:?}");
    }
    let passwd = fs::read("/etc/passwd").unwrap();
    assert!(
        fetch(&node, &hash(&passwd)).is_err(),
        "links are not followed"
    );
    fs::write(&one, b"one, changed").unwrap();
    there.write("four", b"four");
    let found = holder.refresh().unwrap();
    assert_eq!((found.added, found.changed, found.removed), (2, 1, 0));
    for now in [&b"one, changed"[..], b"two, changed", b"four"] {
        fetch(&node, &hash(now)).unwrap();
    }
    assert!(matches!(holder.add_file(&three), Err(Error::Io { .. })));
    assert!(matches!(
        holder.add_file(&there.0),
        Err(Error::Argument(_) | Error::Io { .. })
    ));
}

#[test]
fn sizes_uploads_and_offers_are_bounded() {
    let lan = Lan::new();
    let (there, here) = (Folder::new("files-bounds"), Folder::new("files-bounded"));
    let path = there.write("f", &data(100_000));
    let limits = Limits {
        uploads: 0,
        files: 1,
        ..Limits::default()
    };
    let holder = lan.builder("holder").limits(limits).start().unwrap();
    holder.add_file(&path).unwrap();
    let second = holder.add_file(there.write("g", b"g"));
    assert!(matches!(second, Err(Error::Overloaded(_))));
    let small = Limits {
        file_bytes: 99_999,
        ..Limits::default()
    };
    let node = with(&here.0, lan.builder("node").limits(small));
    meet(&node, 1);
    let hash = hash(&data(100_000));
    let e = fetch(&node, &hash);
    assert!(
        matches!(
            e,
            Err(Error::TooLarge {
                size: 100_000,
                limit: 99_999
            })
        ),
        "{e:?}"
    );
    assert!(here.names().is_empty());
    let other = with(&here.0, lan.builder("other"));
    meet(&other, 2);
    let e = fetch(&other, &hash);
    assert!(
        matches!(&e, Err(Error::Broken { why, .. }) if why.contains("uploads no files")),
        "{e:?}"
    );
    let unset = lan.builder("unset").start().unwrap();
    assert!(matches!(fetch(&unset, &hash), Err(Error::Argument(_))));
    let asked = AtomicUsize::new(0);
    let none = node.request_file(&hash, secs(1), |_| {
        asked.fetch_add(1, Ordering::Relaxed);
    });
    assert!(none.is_err() && asked.into_inner() == 0);
}

#[test]
fn a_disk_that_is_full_at_any_write_is_an_error_and_leaves_only_whole_pieces() {
    if !have("unshare", &["-m", "true"], "mounting a small disk") {
        return;
    }
    let lan = Lan::new();
    let (there, here) = (Folder::new("files-source"), Folder::new("files-disk"));
    let data = data(9_000_000);
    let holder = lan.builder("holder").start().unwrap();
    let hash = holder.add_file(there.write("f", &data)).unwrap();
    let mut failed = 0;
    // Sizes at which the folder, the part, its pieces, and the list of these no longer fit.
    for (i, kib) in [4, 8, 16, 500, 4_096, 4_108, 8_200, 8_780, 8_800, 20_000]
        .iter()
        .enumerate()
    {
        let folder = here.0.display();
        let mount = format!("mount -t tmpfs -o size={kib}k none {folder} && exec \"$@\"");
        let tool = env!("CARGO_BIN_EXE_peerbase");
        let before = ["-m", "sh", "-c", &mount, "sh", tool];
        let mut args = lan.args();
        args.extend(["--files".into(), folder.to_string()]);
        let mut node = Tool::with_args("unshare", &before, &format!("small{i}"), &args);
        // As soon as it knows the holder.
        node.say("call holder __echo__");
        node.hear();
        node.say(&format!("req {hash}"));
        node.say("call holder __echo__ \"after\"");
        let seen = PathBuf::from(format!("/proc/{}/root{folder}", node.id()));
        let names = |path: &Path| -> Vec<_> {
            fs::read_dir(path)
                .unwrap()
                .map(|e| e.unwrap().file_name())
                .collect()
        };
        let first = node.hear();
        if first.contains("\"path\"") {
            assert!(fs::read(seen.join("f")).unwrap() == data);
            assert_eq!(names(&seen), ["f"]);
            node.hear();
        } else {
            failed += 1;
            assert!(first.contains("after"), "{first}");
            node.wait_for("No space left");
            // A piece that is whole takes 4 MiB.
            let kept = names(&seen);
            match *kib < 4_096 {
                true => assert!(kept.is_empty(), "{kib}: {kept:?}"),
                false => assert!(kept.iter().all(|n| n == ".peerbase-parts"), "{kept:?}"),
            }
        }
    }
    assert!(
        (5..10).contains(&failed),
        "{failed} of ten disks were too small"
    );
}

#[test]
fn in_a_foreign_loop_handlers_run_while_a_file_is_fetched() {
    let lan = Lan::new();
    let (there, here) = (Folder::new("files-slow"), Folder::new("files-loop"));
    let data = data(9_000_000);
    // It takes a minute and a half, if nobody ends it.
    let slow = Limits {
        upload_bytes_per_second: 100_000,
        ..Limits::default()
    };
    let holder = lan.builder("holder").limits(slow).start().unwrap();
    holder.add_file(there.write("f", &data)).unwrap();
    let node = lan.builder("node").command("where", |call| {
        let thread = std::thread::current();
        call.reply(format!("{:?}", thread.id()))
    });
    let node = node.open().unwrap();
    node.set_file_dir(&here.0).unwrap();
    assert!(node.call("__echo__").to("holder").send().is_ok());
    std::thread::scope(|s| {
        let calls = s.spawn(|| {
            until("some of the file to be sent", || {
                holder.stats().stream_bytes_out > 0
            });
            let answer = holder.call("where").to("node").timeout(secs(30)).send();
            holder.stop();
            answer
        });
        let fetched = node.request_file(&hash(&data), secs(60), |_| {});
        assert!(fetched.is_err(), "the call was answered before its end");
        let here = format!("{:?}", std::thread::current().id());
        assert_eq!(calls.join().unwrap(), Ok(here.into()));
    });
}
