//! Tests of what a request leaves for the next one when it is interrupted.

use super::hostile_tests::{Folder, Lan, data, hash, holder, liar, meet, with};
use super::part::Part;
use super::{FileHash, Progress};
use crate::error::Error;
use crate::node::Node;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// Keeps the first piece of a file, as an interrupted request does. Returns its length.
pub(super) fn keep_first_piece(folder: &Path, whole: &[u8]) -> u64 {
    let file = FileHash::parse(&hash(whole)).unwrap();
    let mut part = Part::open(folder, file, whole.len() as u64).unwrap();
    let first = part.missing()[0].1;
    let piece = &whole[..first as usize];
    part.file().unwrap().write_all_at(piece, 0).unwrap();
    part.mark(0).unwrap();
    first
}

fn fetch(node: &Node, whole: &[u8], progress: impl FnMut(Progress)) -> Result<Vec<u8>, Error> {
    let fetched = node.request_file(&hash(whole), Duration::from_secs(20), progress);
    fetched.map(|fetched| fs::read(fetched.path).unwrap())
}

#[test]
fn an_error_of_the_disk_leaves_the_pieces_that_are_there() {
    let (lan, there, here) = (Lan::new(), Folder::new("errs"), Folder::new("erred"));
    let whole = data(9_000_000);
    let _holder = holder(&lan, &there, "f", &whole);
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 1);
    let first = keep_first_piece(&here.0, &whole);
    // The list of the pieces cannot be written any more once the transfer has begun.
    let new_list = format!("{}-9000000.new", hash(&whole));
    let in_the_way = here.0.join(".peerbase-parts").join(new_list);
    let fails = fetch(&node, &whole, |_| {
        let _ = fs::create_dir(&in_the_way);
    });
    assert!(matches!(fails, Err(Error::Io { .. })), "{fails:?}");
    fs::remove_dir(&in_the_way).unwrap();
    let mut received = Vec::new();
    let fetched = fetch(&node, &whole, |progress| received.push(progress.received));
    assert!(fetched.unwrap() == whole);
    assert!(received[0] >= first, "it begins with what was kept");
    assert_eq!(here.names(), ["f"]);
}

#[test]
fn a_request_leaves_no_more_of_the_disk_filled_than_one_file_takes() {
    let (lan, here) = (Lan::new(), Folder::new("filled"));
    let (wanted, junk) = (hash(b"wanted"), data(9_000_000));
    // They say three sizes, and each sends all but the end of the file.
    let _liars = [5_000_000, 6_000_000, 9_000_000].map(|size| {
        let sent = junk[..size - 1].to_vec();
        liar(&lan, &format!("l{size}"), size as u64, "f", sent)
    });
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 3);
    let broken = node.request_file(&wanted, Duration::from_secs(20), |_| {});
    assert!(matches!(broken, Err(Error::Broken { .. })), "{broken:?}");
    let parts = fs::read_dir(here.0.join(".peerbase-parts")).unwrap();
    let mut left: Vec<String> = parts
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let of_best = ["part", "pieces"].map(|ending| format!("{wanted}-9000000.{ending}"));
    assert_eq!(left, of_best);
}

#[test]
fn a_kept_piece_that_is_wrong_does_not_keep_a_file_from_arriving() {
    let (lan, there, here) = (Lan::new(), Folder::new("true"), Folder::new("false"));
    let whole = data(9_000_000);
    let _holder = holder(&lan, &there, "f", &whole);
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 1);
    keep_first_piece(&here.0, &whole);
    let part = format!("{}-9000000.part", hash(&whole));
    let part = here.0.join(".peerbase-parts").join(part);
    let part = fs::OpenOptions::new().write(true).open(part).unwrap();
    part.write_all_at(b"what a liar sent", 0).unwrap();
    assert!(fetch(&node, &whole, |_| {}).unwrap() == whole);
}
