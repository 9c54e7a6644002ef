//! A logger is the program's own code: it may use the node that logs.

mod common;

use common::{Lan, secs};
use log::{LevelFilter, Log, Metadata, Record};
use peerbase::Node;
use serde_json::json;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// The nodes it uses whenever something is logged.
static NODES: Mutex<Vec<Node>> = Mutex::new(Vec::new());
static RECORDS: AtomicUsize = AtomicUsize::new(0);
/// Whether the logger panics.
static PANICS: AtomicBool = AtomicBool::new(false);

thread_local!(static INSIDE: Cell<bool> = const { Cell::new(false) });

struct Curious;

impl Log for Curious {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        look_at_all();
        true
    }

    fn log(&self, record: &Record<'_>) {
        assert!(!record.args().to_string().is_empty());
        RECORDS.fetch_add(1, Ordering::Relaxed);
        assert!(!PANICS.load(Ordering::Relaxed), "a logger that panics");
        look_at_all();
    }

    fn flush(&self) {}
}

fn look_at_all() {
    // What it does may be logged as well.
    if INSIDE.replace(true) {
        return;
    }
    let nodes = NODES.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for node in nodes {
        assert!(node.peers().len() < 10);
        assert!(node.stats().adverts_sent < u64::MAX);
        assert!(node.timeout().is_none_or(|timeout| timeout < secs(3600)));
    }
    INSIDE.set(false);
}

/// The one logger of this process, for one test at a time.
fn logger() -> MutexGuard<'static, ()> {
    static SET: Once = Once::new();
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    SET.call_once(|| log::set_logger(&Curious).unwrap());
    log::set_max_level(LevelFilter::Debug);
    one
}

#[test]
fn a_logger_that_panics_ends_no_thread_of_a_node() {
    let _one = logger();
    let lan = Lan::new();
    let a = lan.builder("a").command("fail", |_| panic!("a handler"));
    let a = a.start().unwrap();
    let b = lan.builder("b").start().unwrap();
    PANICS.store(true, Ordering::Relaxed);
    let before = RECORDS.load(Ordering::Relaxed);
    for i in 0..3 {
        // The panic of the handler is recorded on the thread that leads.
        assert!(b.call("fail").to("a").timeout(secs(30)).send().is_err());
        let echo = b.call("__echo__").arg(i).to("a").timeout(secs(30)).send();
        assert_eq!(echo.unwrap()["args"], json!([i]));
    }
    // Each waits for the threads of its node.
    drop((a, b));
    PANICS.store(false, Ordering::Relaxed);
    assert!(RECORDS.load(Ordering::Relaxed) > before);
}

#[test]
fn a_logger_may_call_back_into_the_node_that_logs() {
    let _one = logger();
    let lan = Lan::new();
    let a = lan.builder("a").start().unwrap();
    let b = lan.builder("b").open().unwrap();
    *NODES.lock().unwrap() = vec![a.clone(), b.clone()];
    for i in 0..20 {
        let echo = b.call("__echo__").arg(i).to("a").timeout(secs(30)).send();
        assert_eq!(echo.unwrap()["args"], json!([i]));
    }
    let relay = peerbase::RelayServer::builder();
    let relay = relay.start("127.0.0.1:0".parse().unwrap()).unwrap();
    let c = lan
        .builder("c")
        .lan(false)
        .relay(&relay.address().to_string());
    let c = c.start().unwrap();
    NODES.lock().unwrap().push(c.clone());
    a.stop();
    b.stop();
    c.stop();
    NODES.lock().unwrap().clear();
    assert!(RECORDS.load(Ordering::Relaxed) > 40);
}
