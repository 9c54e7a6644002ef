//! The hot paths allocate nothing once their buffers have grown, and what strangers send no more
//! than they sent.
// An allocator that counts can be written in no other way, and C handlers neither.
#![allow(unsafe_code)]

mod common;

use common::Lan;
use peerbase::compat::post::{Ping, Pong};
use peerbase::error::Error;
use peerbase::fernet::{Key, Sealer};
use peerbase::ffi;
use peerbase::frame::{Frame, FrameType, Parsed, encode, parse};
use peerbase::limits::FRAME_MAX;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
    /// Bytes that this thread has now, and the most it had since [`mark`].
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static BASE: Cell<isize> = const { Cell::new(0) };
}

fn live(change: isize) {
    // A thread that is ending has no count any more.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

/// From now on [`peak`] tells what this thread took at most.
fn mark() {
    BASE.set(LIVE.get());
    PEAK.set(LIVE.get());
}

fn peak() -> usize {
    usize::try_from(PEAK.get() - BASE.get()).unwrap()
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no count any more.
        let _ = COUNT.try_with(|c| c.set(c.get() + 1));
        let _ = BYTES.try_with(|b| b.set(b.get() + layout.size()));
        live(layout.size() as isize);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    /// What is large is moved by its pages, so that it is never there twice.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = COUNT.try_with(|c| c.set(c.get() + 1));
        let _ = BYTES.try_with(|b| b.set(b.get() + size));
        live(size as isize - layout.size() as isize);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        live(-(layout.size() as isize));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(f: impl FnOnce()) -> usize {
    let before = COUNT.get();
    f();
    COUNT.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1u8]))), 1);
}

#[test]
fn parsing_a_frame_allocates_nothing_whatever_it_holds() {
    let mut bytes = Vec::new();
    let payload = [b'A'; 1_000];
    encode(
        &Frame {
            net: "plant",
            kind: FrameType::MESSAGE,
            payload: &payload,
        },
        &mut bytes,
    );
    let count = allocations(|| {
        for cut in 0..=bytes.len() {
            let parsed = parse(&bytes[..cut], FRAME_MAX);
            assert_eq!(
                matches!(parsed, Ok(Parsed::Complete(..))),
                cut == bytes.len()
            );
        }
        assert!(parse(b"no|frame\xff", FRAME_MAX).is_err());
    });
    assert_eq!(count, 0);
}

#[test]
fn sealing_and_opening_allocate_nothing_in_buffers_that_have_grown() {
    let sealer = Sealer::new(&Key::from_bytes([1; 32]));
    let plain = [7; 20_000];
    let (mut token, mut buf) = (Vec::new(), Vec::new());
    let mut once = || {
        token.clear();
        sealer.seal(&plain, 1, &[2; 16], &mut token);
        assert_eq!(sealer.open(&token, &mut buf), Ok(&plain[..]));
    };
    once();
    assert_eq!(allocations(once), 0);
}

#[test]
fn json_of_python_nodes_and_relays_takes_no_more_than_its_text() {
    let many = format!("[{}]", vec!["0"; 500_000].join(","));
    let ping =
        format!(r#"{{"node_name":"a","node_network":"n","x":{many},"known_servers":{many}}}"#);
    let pong = format!(r#"{{"peers":{many},"servers":{many},"buffer":{{"p":{many}}}}}"#);
    let bytes = |f: &mut dyn FnMut()| {
        let before = BYTES.get();
        f();
        BYTES.get() - before
    };
    let taken = bytes(&mut || assert!(Ping::decode(ping.as_bytes()).is_some()));
    assert!(taken < ping.len() / 10, "{taken}");
    let taken = bytes(&mut || assert!(Pong::decode(pong.as_bytes()).is_some()));
    assert!(taken < pong.len() / 2, "{taken}");
}

const LARGE: usize = 4 * 1024 * 1024 - 1024;
const WAIT: Duration = Duration::from_secs(60);

/// As much of `unit`, over and over, as makes a list of the largest message.
fn list_of(unit: &str) -> String {
    let count = (LARGE - 2) / (unit.len() + 1);
    format!("[{}]", vec![unit; count].join(","))
}

/// What a C handler answers, and where it tells what its thread took.
struct Handled {
    answer: CString,
    peaks: Sender<usize>,
}

/// Marks when it is called with nothing; tells the most that its thread took until it is called
/// with something.
unsafe extern "C" fn handle(request: *mut ffi::peerbase_request, user: *mut c_void) {
    // SAFETY: what it was registered with, which lives as long as the test; and a request that is
    // ours.
    unsafe {
        let user = &*user.cast::<Handled>();
        match CStr::from_ptr(ffi::peerbase_request_args(request)).to_bytes() {
            b"[]" => mark(),
            _ => user.peaks.send(peak()).unwrap(),
        }
        ffi::peerbase_request_reply(request, user.answer.as_ptr());
    }
}

/// A node of the C interface.
struct CNode(*mut ffi::peerbase_node);

impl CNode {
    fn start(lan: &Lan, name: &str, handled: Option<&Handled>) -> CNode {
        let (name, key) = (
            CString::new(name).unwrap(),
            CString::new(lan.key.to_text().as_str()).unwrap(),
        );
        let mut node = null_mut();
        // SAFETY: everything lives as long as the node, and the strings are NUL-terminated.
        unsafe {
            let config = ffi::peerbase_config_new(name.as_ptr(), c"test".as_ptr(), key.as_ptr());
            ffi::peerbase_config_set_loopback(config, true);
            ffi::peerbase_config_set_advertise_port(config, lan.port);
            if let Some(handled) = handled {
                let user = std::ptr::from_ref(handled).cast_mut().cast();
                let path = c"x".as_ptr();
                ffi::peerbase_config_register(config, path, Some(handle), user, None);
            }
            assert_eq!(ffi::peerbase_node_start(config, &mut node), 0);
            ffi::peerbase_config_free(config);
        }
        CNode(node)
    }

    /// Calls a command, and gives the code.
    fn call(&self, target: &str, path: &str, args: &str) -> c_int {
        let [target, path, args] = [target, path, args].map(|text| CString::new(text).unwrap());
        let mut reply = null_mut();
        // SAFETY: the strings are NUL-terminated, and the reply is ours.
        unsafe {
            let (kwargs, out) = (std::ptr::null(), &mut reply);
            let (target, path, args) = (target.as_ptr(), path.as_ptr(), args.as_ptr());
            let code = ffi::peerbase_node_call(self.0, target, path, args, kwargs, 60_000, out);
            ffi::peerbase_reply_free(reply);
            code
        }
    }
}

impl Drop for CNode {
    fn drop(&mut self) {
        // SAFETY: it is freed this once.
        unsafe { ffi::peerbase_node_free(self.0) }
    }
}

fn within_a_tenth(peaks: &Receiver<usize>, text: &str) {
    let peak = peaks.recv_timeout(WAIT).unwrap();
    let most = text.len() + text.len() / 10;
    assert!(
        peak > text.len() / 2 && peak <= most,
        "{peak} for {}",
        text.len()
    );
}

#[test]
fn a_large_call_of_a_c_handler_takes_its_text_and_a_tenth() {
    let lan = Lan::new();
    let (peaks, told) = mpsc::channel();
    let answer = c"1".to_owned();
    let handled = Handled { answer, peaks };
    let _callee = CNode::start(&lan, "callee", Some(&handled));
    let caller = CNode::start(&lan, "caller", None);
    for unit in [r#"{"a":0}"#, "0", r#""\u00e9\n""#, "[[]]"] {
        let text = list_of(unit);
        assert_eq!(caller.call("callee", "x", "[]"), 0);
        assert_eq!(caller.call("callee", "x", &text), 0);
        within_a_tenth(&told, &text);
    }
    // Where each key must be compared with all others, more: where each begins.
    let members: Vec<String> = (0..LARGE / 12).map(|i| format!("\"{i:07}\":0")).collect();
    let text = format!("[{{{}}}]", members.join(","));
    assert_eq!(caller.call("callee", "x", "[]"), 0);
    assert_eq!(caller.call("callee", "x", &text), 0);
    let peak = told.recv_timeout(WAIT).unwrap();
    assert!(peak < text.len() * 3 / 2, "{peak} for {}", text.len());
}

#[test]
fn a_rust_handler_makes_values_when_it_asks_for_them_and_of_no_more_than_max_values() {
    let lan = Lan::new();
    let (peaks, told) = mpsc::channel();
    let count = |call: &peerbase::Call| call.args().len();
    let _callee = lan
        .builder("callee")
        .command("mark", |call| {
            mark();
            call.reply(1)
        })
        .command("read", move |call| {
            let before = peak();
            let count = count(&call);
            peaks.send(before).unwrap();
            peaks.send(peak()).unwrap();
            call.reply(count)
        })
        .start()
        .unwrap();
    let caller = CNode::start(&lan, "caller", None);
    // As many as may be: the least that they take, and the most.
    let nested = format!("{}0{}", "{ \"a\" : ".repeat(120), " }".repeat(120));
    let nested = format!("[{}]", vec![&*nested; 262_143 / 241].join(","));
    let numbers = format!("[{}]", vec!["7.5"; 262_144].join(","));
    for (text, each) in [(numbers, 32..96), (nested, 300..340)] {
        assert_eq!(caller.call("callee", "mark", "[]"), 0);
        assert_eq!(caller.call("callee", "read", &text), 0);
        within_a_tenth(&told, &text);
        let with_values = told.recv_timeout(WAIT).unwrap();
        assert!(each.contains(&(with_values / 262_144)), "{with_values}");
    }
    // One more, and the command does not run.
    let text = format!("[{}]", vec!["7"; 262_145].join(","));
    let too_large = peerbase::Code::TooLarge as c_int;
    assert_eq!(caller.call("callee", "read", &text), too_large);
    assert!(told.try_recv().is_err());
}

/// Tells the most that its thread took.
unsafe extern "C" fn answered(reply: *const ffi::peerbase_reply, user: *mut c_void) {
    // SAFETY: a sender that lives as long as the test, and a reply of one entry.
    unsafe {
        assert_eq!(ffi::peerbase_reply_code(reply, 0), 0);
        (*user.cast::<Sender<usize>>()).send(peak()).unwrap();
    }
}

/// Marks on the thread where answers come.
unsafe extern "C" fn marked(_: *const ffi::peerbase_reply, user: *mut c_void) {
    mark();
    // SAFETY: a sender that lives as long as the test.
    unsafe { (*user.cast::<Sender<usize>>()).send(0).unwrap() }
}

#[test]
fn a_large_answer_takes_its_text_and_a_tenth_unless_its_values_are_made() {
    let lan = Lan::new();
    let text = list_of(r#"{"a":0}"#);
    let (ignored, _kept) = mpsc::channel();
    let answer = CString::new(&*text).unwrap();
    let handled = Handled {
        answer,
        peaks: ignored,
    };
    let _callee = CNode::start(&lan, "callee", Some(&handled));
    let caller = CNode::start(&lan, "caller", None);
    let (mut peaks, told) = mpsc::channel();
    let call = |user: &mut Sender<usize>, path: *const c_char, done| {
        let (kwargs, user) = (std::ptr::null(), std::ptr::from_mut(user).cast());
        let (target, args) = (c"callee".as_ptr(), c"[]".as_ptr());
        // SAFETY: the strings are NUL-terminated, and the sender lives as long as the test.
        let code = unsafe {
            ffi::peerbase_node_call_async(
                caller.0,
                target,
                path,
                args,
                kwargs,
                60_000,
                done,
                user,
                None,
                null_mut(),
            )
        };
        assert_eq!(code, 0);
    };
    call(&mut peaks, c"__list_commands__".as_ptr(), Some(marked));
    assert_eq!(told.recv_timeout(WAIT), Ok(0));
    call(&mut peaks, c"x".as_ptr(), Some(answered));
    within_a_tenth(&told, &text);
    // A Rust program gets values of no more than it takes; the command ran all the same.
    let reader = lan.builder("reader").start().unwrap();
    let (peaks, told) = mpsc::channel();
    let call = |path: &str, mark_first: bool| {
        let peaks = peaks.clone();
        let call = reader.call(path).to("callee").timeout(WAIT);
        call.send_async(move |outcome| {
            if mark_first {
                mark();
            }
            peaks.send((peak(), outcome)).unwrap();
        })
        .unwrap();
        told.recv_timeout(WAIT).unwrap()
    };
    assert!(call("__list_commands__", true).1.is_ok());
    let (peak, outcome) = call("x", false);
    assert!(matches!(outcome, Err(Error::AnswerLost(_))), "{outcome:?}");
    assert!(peak <= text.len() + text.len() / 10, "{peak}");
}
