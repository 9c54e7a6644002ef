//! Nodes in the program's own event loop, or on the thread that runs them.

use crate::common::{Deadline, Lan, join, next};
use peerbase::Error;
use serde_json::json;
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn in_a_foreign_loop_the_descriptor_and_the_timeout_drive_everything() {
    let lan = Lan::new();
    let a = lan.builder("a").command("twice", |c| {
        let n = c.args()[0].as_i64().unwrap();
        c.reply(n * 2)
    });
    let a = a.open().unwrap();
    let b = lan.builder("b").start().unwrap();
    let (done, result) = mpsc::channel();
    b.call("twice")
        .arg(4)
        .to("a")
        .send_async(move |r| done.send(r).unwrap())
        .unwrap();
    // Nothing but the descriptor and the timeout tells when to process.
    let mut poll = mio::Poll::new().unwrap();
    let mut events = mio::Events::with_capacity(4);
    poll.registry()
        .register(
            &mut mio::unix::SourceFd(&a.fd()),
            mio::Token(0),
            mio::Interest::READABLE,
        )
        .unwrap();
    let deadline = Deadline::new("the answer");
    let answer = loop {
        if let Ok(answer) = result.try_recv() {
            break answer;
        }
        let left = deadline.left();
        let most = a.timeout().map_or(left, |timeout| timeout.min(left));
        poll.poll(&mut events, Some(most)).unwrap();
        a.process(Some(Duration::ZERO)).unwrap();
    };
    assert_eq!(answer, Ok(json!(8)));
    // A blocking call drives the loop itself.
    assert!(a.call("__echo__").to("b").send().is_ok());
    assert!(
        a.call("__echo__")
            .to_all()
            .send_all()
            .unwrap()
            .iter()
            .all(|r| r.result.is_ok())
    );
    assert_eq!(
        b.process(None),
        Err(Error::Argument("the node runs on a thread of its own"))
    );
}

#[test]
fn many_threads_share_a_foreign_loop() {
    let lan = Lan::new();
    let a = lan.builder("a").open().unwrap();
    let _b = lan.builder("b").start().unwrap();
    let threads = (0..8).map(|i| {
        let a = a.clone();
        std::thread::spawn(move || {
            for j in 0..50 {
                assert_eq!(
                    a.call("__echo__").arg(i * j).to("b").send().unwrap()["args"],
                    json!([i * j])
                );
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        join(thread, "a thread that calls");
    }
}

#[test]
fn run_serves_until_it_is_stopped() {
    let lan = Lan::new();
    let builder = lan.builder("a");
    let (give, node) = mpsc::channel();
    let running = std::thread::spawn(move || builder.run(|n| give.send(n.clone()).unwrap()));
    let a = next(&node, "the node to run");
    let b = lan.builder("b").start().unwrap();
    assert!(b.call("__echo__").to("a").send().is_ok());
    assert!(a.call("__echo__").to("b").send().is_ok());
    a.stop();
    assert_eq!(join(running, "the node to end"), Ok(()));
}
