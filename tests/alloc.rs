//! The hot paths allocate nothing once their buffers have grown, and what strangers send no more than they sent.
#![allow(unsafe_code)] // an allocator that counts can be written in no other way

use peerbase::compat::post::{Ping, Pong};
use peerbase::fernet::{Key, Sealer};
use peerbase::frame::{Frame, FrameType, Parsed, encode, parse};
use peerbase::limits::FRAME_MAX;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no count any more.
        let _ = COUNT.try_with(|c| c.set(c.get() + 1));
        let _ = BYTES.try_with(|b| b.set(b.get() + layout.size()));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
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
