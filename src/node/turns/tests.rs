//! How a whole node stops, fails and forks.

use super::Completion;
use super::state::PANICKED;
use crate::engine::{Ask, Event, Terms};
use crate::error::Error;
use crate::fernet::Key;
use crate::name::NodeName;
use crate::node::{Builder, CommandTree, Node};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A node that nobody else can meet, and that takes silence for a reason to wait.
fn builder() -> Builder {
    Node::builder("a", "test", Key::from_bytes([7; 32]))
        .loopback(true)
        .lan(false)
}

fn patiently(node: &Node) -> Result<serde_json::Value, Error> {
    let call = node.call("x").to("nobody");
    call.timeout(Duration::from_secs(600)).send()
}

/// The engine panics at its next input.
fn sabotage(node: &Node) {
    let done = node
        .0
        .shared
        .turns
        .with(|engine, _| engine.sabotaged = true);
    done.unwrap();
    node.0.shared.turns.wake();
}

/// Waits until so many calls are under way.
fn until_calling(node: &Node, calls: u64) {
    let start = Instant::now();
    while node.stats().calls_open < calls {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "no {calls} calls"
        );
        std::thread::yield_now();
    }
}

/// Tells when it is dropped.
struct Dropped(mpsc::Sender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn a_handler_that_is_set_while_the_node_ends_is_dropped_though_a_request_keeps_the_node() {
    let node = builder().open().unwrap();
    let (kept, registry) = (node.0.shared.clone(), node.0.registry.clone());
    let (tell, told) = mpsc::channel();
    let dropped = || Dropped(tell.clone());
    node.stop();
    // As a thread does that has found the node working, just before.
    let (command, message, event) = (dropped(), dropped(), dropped());
    let tree = CommandTree::new().command("late", move |_| {
        let _held = &command;
    });
    assert_eq!(registry.add(tree.unwrap()), Err(Error::Stopped));
    let message = move |_| {
        let _held = &message;
    };
    let set = registry.set_message_handler(Some(Arc::new(message)));
    assert_eq!(set, Err(Error::Stopped));
    let event = move |_: &Event| {
        let _held = &event;
    };
    let set = kept.turns.set_event_handler(Some(Arc::new(event)));
    assert_eq!(set, Err(Error::Stopped));
    assert_eq!(told.try_iter().count(), 3);
}

#[test]
fn in_a_child_of_a_fork_events_end_at_once_and_wait_for_no_lock() {
    let mut parts = builder().open_parts().unwrap();
    parts.opened.forks += 1;
    let node = Node::of(parts);
    // As by a thread that is not in the child.
    let held = node.0.shared.turns.lock();
    let (tell, told) = mpsc::channel();
    let child = node.clone();
    let waits = std::thread::spawn(move || tell.send(child.events().next()));
    let first = told.recv_timeout(Duration::from_secs(60));
    assert_eq!(first, Ok(None));
    waits.join().unwrap().unwrap();
    drop(held);
}

#[test]
fn a_panic_in_the_engine_stops_the_node_and_ends_every_call() {
    let node = builder().start().unwrap();
    let events = node.events();
    let (tell, told) = mpsc::channel();
    let call = node
        .call("y")
        .to("nobody")
        .timeout(Duration::from_secs(600));
    call.send_async(move |outcome| tell.send(outcome).unwrap())
        .unwrap();
    std::thread::scope(|s| {
        let waits = s.spawn(|| patiently(&node));
        let waits_for_all = s.spawn(|| {
            let call = node.call("z").to_each(["nobody", "no-one"]);
            call.timeout(Duration::from_secs(600)).send_all()
        });
        until_calling(&node, 4);
        sabotage(&node);
        assert_eq!(waits.join().unwrap(), Err(PANICKED));
        let all = waits_for_all.join().unwrap().unwrap();
        assert!(all.iter().all(|answer| answer.result == Err(PANICKED)));
    });
    let told = told.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(told, Err(PANICKED));
    assert_eq!(events.clone().next(), None, "events end");
    assert_eq!(
        patiently(&node),
        Err(PANICKED),
        "and so does what comes later"
    );
    assert!(node.peers().is_empty());
    node.stop();
}

#[test]
fn a_panic_in_a_foreign_loop_ends_the_calls_that_drive_it() {
    let node = builder().open().unwrap();
    std::thread::scope(|s| {
        let waits = s.spawn(|| patiently(&node));
        until_calling(&node, 1);
        sabotage(&node);
        assert_eq!(waits.join().unwrap(), Err(PANICKED));
    });
    assert_eq!(node.process(None), Err(PANICKED));
}

#[test]
fn a_node_that_is_run_says_that_a_panic_ended_it() {
    let node = builder().open().unwrap();
    std::thread::scope(|s| {
        let runs = s.spawn(|| node.run());
        let waits = s.spawn(|| patiently(&node));
        until_calling(&node, 1);
        sabotage(&node);
        assert_eq!(waits.join().unwrap(), Err(PANICKED));
        assert_eq!(runs.join().unwrap(), Err(PANICKED));
    });
}

#[test]
fn a_stop_waits_for_the_end_of_a_call_of_several_that_another_thread_works_on() {
    let node = builder().start().unwrap();
    let shared = node.0.shared.clone();
    let (tell, told) = mpsc::channel();
    let (begun, begins) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let chore = Completion::Continuation(Box::new(move |_| {
        begun.send(()).unwrap();
        goes_on.recv_timeout(Duration::from_secs(60)).unwrap();
        let done = move || tell.send(thread_name()).unwrap();
        shared.turns.defer(Box::new(done));
    }));
    let ask = Ask::Message(Vec::new());
    let terms = Terms {
        timeout: Duration::from_secs(600),
        wait: true,
        streams: false,
    };
    let target = NodeName::new("nobody").unwrap();
    node.0
        .shared
        .turns
        .begin(&target, ask, terms, chore)
        .unwrap();
    std::thread::scope(|s| {
        s.spawn(|| node.stop());
        begins.recv_timeout(Duration::from_secs(60)).unwrap();
        // Wakes the node's thread, which the one above has not come to.
        node.stop();
        let start = Instant::now();
        let has_come_to_it = || {
            let state = node.0.shared.turns.lock();
            let finishes = state.stage.has_begun_last_work() && state.followers > 0;
            state.stage.is_finished() || finishes
        };
        while !has_come_to_it() {
            assert!(start.elapsed() < Duration::from_secs(60), "no end");
            std::thread::yield_now();
        }
        go_on.send(()).unwrap();
    });
    node.0.close();
    assert_eq!(told.try_recv(), Ok(Some("peerbase".to_owned())));
}

fn thread_name() -> Option<String> {
    std::thread::current().name().map(str::to_owned)
}

#[test]
fn a_panic_on_the_callers_thread_ends_the_node_as_well() {
    let node = builder().start().unwrap();
    std::thread::scope(|s| {
        let waits = s.spawn(|| patiently(&node));
        until_calling(&node, 1);
        let here = node.0.shared.turns.with(|_, _| panic!("sabotage"));
        assert_eq!(here, Err::<(), _>(PANICKED));
        assert_eq!(waits.join().unwrap(), Err(PANICKED));
    });
}
