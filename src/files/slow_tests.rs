//! Tests with nodes that send a file slowly, or not at all: another one sends it.

use super::hostile_tests::{Folder, Lan, data, hash, holder, meet, with};
use super::interrupted_tests::keep_first_piece;
use super::{INFO, Progress, READ};
use crate::error::Error;
use crate::node::{Call, Node};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Sends the part that is asked for, if the caller accepts it.
fn send(whole: &[u8], call: Call) {
    let at = |i: usize| call.args()[i].as_u64().unwrap() as usize;
    let (from, length) = (at(1), at(2));
    let Ok((_, mut writer)) = call.streams() else {
        return;
    };
    let _ = writer.write_all(&whole[from..from + length]);
    writer.finish();
    let _ = call.reply(true);
}

/// A node that says that it has a file, and runs `read` when it is asked for a part of it.
fn scripted(
    lan: &Lan,
    name: &str,
    size: usize,
    read: impl Fn(Call) + Send + Sync + 'static,
) -> Node {
    let node = lan.builder(name).start().unwrap();
    let info = json!({"size": size, "name": "f"});
    node.set_reserved(
        INFO,
        Arc::new(move |call: Call| call.reply(info.clone()).unwrap()),
    );
    node.set_reserved(READ, Arc::new(read));
    node
}

/// Fetches a file on a thread of its own, so that the test fails if the fetch does not end.
fn fetch_aside(node: &Node, whole: &[u8], timeout: Duration) -> Result<Vec<u8>, Error> {
    let (tell, told) = mpsc::channel();
    let (asks, hash) = (node.clone(), hash(whole));
    let fetches = thread::spawn(move || tell.send(asks.request_file(&hash, timeout, |_| {})));
    let fetched = told.recv_timeout(Duration::from_secs(120)).unwrap();
    fetches.join().unwrap().unwrap();
    fetched.map(|f| fs::read(f.path).unwrap())
}

/// A node that says that it has a file of this size, and sends a byte of it now and then until the
/// other end of `ended` is dropped, so that no call for it times out.
fn trickles(lan: &Lan, name: &str, size: usize, ended: mpsc::Receiver<()>) -> Node {
    let ended = Arc::new(Mutex::new(ended));
    scripted(lan, name, size, move |call| {
        let (_, mut writer) = call.streams().unwrap();
        let ended = ended.clone();
        thread::spawn(move || {
            let _unanswered = call;
            let ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
            let pause = Duration::from_millis(10);
            let over = Err(mpsc::RecvTimeoutError::Disconnected);
            while writer.write_all(b"x").is_ok() && ended.recv_timeout(pause) != over {}
        });
    })
}

#[test]
fn a_holder_that_does_not_say_in_time_that_it_has_a_file_is_asked_again() {
    let (lan, here) = (Lan::new(), Folder::new("asked"));
    let whole = data(1_000);
    let holder = lan.builder("holder").start().unwrap();
    let (info, asked) = (json!({"size": 1_000, "name": "f"}), AtomicUsize::new(0));
    let (keep, unanswered) = mpsc::channel();
    let keep = Mutex::new(keep);
    let says = move |call: Call| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => keep.lock().unwrap().send(call).unwrap(),
        _ => call.reply(info.clone()).unwrap(),
    };
    holder.set_reserved(INFO, Arc::new(says));
    let sends = whole.clone();
    holder.set_reserved(READ, Arc::new(move |call| send(&sends, call)));
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 1);
    assert!(fetch_aside(&node, &whole, Duration::from_secs(60)).unwrap() == whole);
    assert_eq!(unanswered.try_iter().count(), 1, "it was asked before");
}

#[test]
fn a_liar_about_the_size_neither_holds_a_fetch_up_nor_wipes_what_is_kept() {
    let (lan, there, here) = (Lan::new(), Folder::new("sized"), Folder::new("kept"));
    let whole = data(9_000_000);
    let (end, ended) = mpsc::channel::<()>();
    // In tests the smaller size comes first.
    let _liar = trickles(&lan, "liar", 1_000, ended);
    let _holder = holder(&lan, &there, "f", &whole);
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 2);
    let first = keep_first_piece(&here.0, &whole);
    let least = Arc::new(AtomicU64::new(u64::MAX));
    let (asks, hash, seen) = (node.clone(), hash(&whole), least.clone());
    let (tell, told) = mpsc::channel();
    let fetches = thread::spawn(move || {
        let note = |progress: Progress| {
            if progress.size == 9_000_000 {
                seen.fetch_min(progress.received, Ordering::Relaxed);
            }
        };
        tell.send(asks.request_file(&hash, Duration::from_secs(20), note))
    });
    let fetched = told.recv_timeout(Duration::from_secs(120)).unwrap();
    fetches.join().unwrap().unwrap();
    assert!(fs::read(fetched.unwrap().path).unwrap() == whole);
    assert_eq!(
        least.load(Ordering::Relaxed),
        first,
        "what was kept is not fetched again"
    );
    assert_eq!(here.names(), ["f"]);
    drop(end);
}

#[test]
fn a_holder_that_only_trickles_is_given_up_also_if_there_is_no_other() {
    let (lan, here) = (Lan::new(), Folder::new("trickled"));
    let whole = data(1_000_000);
    let (end, ended) = mpsc::channel::<()>();
    let _trickles = trickles(&lan, "trickles", whole.len(), ended);
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 1);
    let e = fetch_aside(&node, &whole, Duration::from_secs(1));
    let is_slow = |why: &str| why == "it is sent too slowly";
    assert!(
        matches!(&e, Err(Error::Broken { why, .. }) if is_slow(why)),
        "{e:?}"
    );
    assert!(here.names().is_empty());
    drop(end);
}

#[test]
fn a_holder_that_joins_while_others_trickle_is_asked_for_the_file() {
    let (lan, there, here) = (Lan::new(), Folder::new("joins"), Folder::new("joined"));
    let whole = data(100_000);
    let (ends, liars): (Vec<_>, Vec<_>) = [1_000, 2_000]
        .map(|size| {
            let (end, ended) = mpsc::channel::<()>();
            (end, trickles(&lan, &format!("l{size}"), size, ended))
        })
        .into_iter()
        .unzip();
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 2);
    let (begin, begun) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let (asks, hash) = (node.clone(), hash(&whole));
    let fetches = thread::spawn(move || {
        let note = |_| begin.send(()).unwrap_or_default();
        tell.send(asks.request_file(&hash, Duration::from_secs(20), note))
    });
    begun.recv_timeout(Duration::from_secs(60)).unwrap();
    let _holder = holder(&lan, &there, "f", &whole);
    let fetched = told.recv_timeout(Duration::from_secs(120)).unwrap();
    fetches.join().unwrap().unwrap();
    assert!(fs::read(fetched.unwrap().path).unwrap() == whole);
    assert_eq!(here.names(), ["f"]);
    drop((ends, liars));
}

#[test]
fn a_piece_that_trickles_in_is_fetched_from_another() {
    let (lan, there, here) = (Lan::new(), Folder::new("steady"), Folder::new("fast"));
    let whole = data(9_000_000);
    let (end, ended) = mpsc::channel::<()>();
    let _trickles = trickles(&lan, "trickles", whole.len(), ended);
    let _holder = holder(&lan, &there, "f", &whole);
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 2);
    assert!(fetch_aside(&node, &whole, Duration::from_secs(20)).unwrap() == whole);
    drop(end);
}

#[test]
fn a_holder_that_ends_its_stream_and_gives_no_value_does_not_hold_a_fetch_up() {
    let (lan, here) = (Lan::new(), Folder::new("valued"));
    let whole = data(9_000_000);
    let (keep, unanswered) = mpsc::channel();
    let (keep, asked) = (Mutex::new(keep), Arc::new(AtomicBool::new(false)));
    let (part, is_asked) = (whole[0], asked.clone());
    let _silent = scripted(&lan, "silent", whole.len(), move |call| {
        let (_, mut writer) = call.streams().unwrap();
        let _ = writer.write_timeout(&[part], Duration::ZERO);
        writer.finish();
        keep.lock().unwrap().send(call).unwrap();
        is_asked.store(true, Ordering::Relaxed);
    });
    let (sends, was_asked) = (whole.clone(), asked.clone());
    let _holder = scripted(&lan, "holder", whole.len(), move |call| {
        let (sends, was_asked) = (sends.clone(), was_asked.clone());
        thread::spawn(move || {
            while !was_asked.load(Ordering::Relaxed) && call.is_wanted() {
                thread::yield_now();
            }
            send(&sends, call);
        });
    });
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 2);
    // Its calls last far longer than the test waits.
    let timeout = Duration::from_secs(3_600);
    assert!(fetch_aside(&node, &whole, timeout).unwrap() == whole);
    let calls: Vec<Call> = unanswered.try_iter().collect();
    for call in calls {
        let start = Instant::now();
        while call.is_wanted() {
            assert!(start.elapsed() < Duration::from_secs(30), "not cancelled");
            thread::yield_now();
        }
    }
}

#[test]
fn a_holder_whose_piece_is_taken_over_again_and_again_has_not_failed() {
    let (lan, here) = (Lan::new(), Folder::new("slow"));
    let whole = data(1_000);
    let taken_over = Arc::new(AtomicUsize::new(0));
    let takes = taken_over.clone();
    let _busy = scripted(&lan, "busy", whole.len(), move |call| {
        takes.fetch_add(1, Ordering::Relaxed);
        call.turn_away().unwrap();
    });
    let sends = whole.clone();
    // It sends nothing until its piece was taken over more often than a node may fail.
    let _slow = scripted(&lan, "slow", whole.len(), move |call| {
        let (sends, taken_over) = (sends.clone(), taken_over.clone());
        thread::spawn(move || {
            while taken_over.load(Ordering::Relaxed) < 5 && call.is_wanted() {
                thread::yield_now();
            }
            send(&sends, call);
        });
    });
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 2);
    let timeout = Duration::from_secs(30);
    assert!(fetch_aside(&node, &whole, timeout).unwrap() == whole);
}

#[test]
fn a_holder_that_is_busy_is_waited_for_as_long_as_nothing_may_come() {
    let (lan, here) = (Lan::new(), Folder::new("waits"));
    let whole = data(1_000);
    let (sends, turned_away) = (whole.clone(), AtomicUsize::new(0));
    // It is busy more often than a node may fail.
    let _busy = scripted(&lan, "busy", whole.len(), move |call| {
        if turned_away.fetch_add(1, Ordering::Relaxed) < 4 {
            return call.turn_away().unwrap();
        }
        let sends = sends.clone();
        thread::spawn(move || send(&sends, call));
    });
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 1);
    let timeout = Duration::from_secs(60);
    assert!(fetch_aside(&node, &whole, timeout).unwrap() == whole);
    // The fetch gives up a node that is always busy.
    let (lan, other) = (Lan::new(), data(2_000));
    let _always = scripted(&lan, "always", 2_000, |call| call.turn_away().unwrap());
    let node = with(&here.0, lan.builder("node"));
    meet(&node, 1);
    let e = fetch_aside(&node, &other, Duration::from_secs(3));
    assert!(matches!(e, Err(Error::Broken { .. })), "{e:?}");
}
