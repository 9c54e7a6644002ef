//! What the handlers of commands may do, and how commands come and go.

use crate::common::{Lan, next, until};
use peerbase::{Call, CommandTree, Error, Node};
use serde_json::json;
use std::sync::mpsc::{self, Receiver};

/// A node `a` whose command `later` keeps its calls, another one, and the calls.
fn keeping(lan: &Lan) -> (Node, Node, Receiver<Call>) {
    let (keep, kept) = mpsc::channel();
    let a = lan
        .builder("a")
        .command("later", move |call| keep.send(call).unwrap());
    let a = a.start().unwrap();
    (a, lan.builder("b").start().unwrap(), kept)
}

#[test]
fn a_handler_may_answer_later_from_another_thread_and_see_that_nobody_waits() {
    let lan = Lan::new();
    let (_a, b, kept) = keeping(&lan);
    let (done, result) = mpsc::channel();
    let ask = || {
        let done = done.clone();
        b.call("later")
            .to("a")
            .send_async(move |r| done.send(r).unwrap())
            .unwrap()
    };
    ask();
    let call = next(&kept, "the first call");
    assert!(call.is_wanted());
    call.reply("late").unwrap();
    assert_eq!(next(&result, "the late answer"), Ok(json!("late")));
    let id = ask();
    let call = next(&kept, "the second call");
    b.cancel(id);
    assert_eq!(next(&result, "the cancelled call"), Err(Error::Cancelled));
    until("the cancel to arrive", || !call.is_wanted());
    call.reply(1).unwrap();
}

#[test]
fn an_answer_after_the_node_stopped_is_an_error_and_harmless() {
    let lan = Lan::new();
    let (a, b, kept) = keeping(&lan);
    let (done, result) = mpsc::channel();
    b.call("later")
        .to("a")
        .send_async(move |r| done.send(r).unwrap())
        .unwrap();
    let call = next(&kept, "the call");
    drop(a);
    let ended = next(&result, "the call to end");
    assert!(matches!(ended, Err(Error::Unreachable(_))), "{ended:?}");
    assert!(!call.is_wanted());
    assert_eq!(call.reply(1), Err(Error::Stopped));
}

#[test]
fn a_handler_may_use_the_node_but_not_wait_for_itself() {
    let lan = Lan::new();
    let (told, tell) = mpsc::channel();
    let a = lan.builder("a").command("nested", move |call| {
        let node = call.node().unwrap();
        assert_eq!(
            node.call("__echo__").to("b").send(),
            Err(Error::WouldDeadlock)
        );
        assert_eq!(
            node.call("__echo__").to_all().send_all(),
            Err(Error::WouldDeadlock)
        );
        node.register("more", |call| call.reply("more")).unwrap();
        assert!(!node.peers().is_empty());
        let told = told.clone();
        node.call("__echo__").arg(7).to("b").send_async(move |r| {
            told.send(r).unwrap();
            call.reply("nested").unwrap();
        })
    });
    let a = a.start().unwrap();
    let b = lan.builder("b").start().unwrap();
    assert_eq!(b.call("nested").to("a").send().unwrap(), "nested");
    assert_eq!(next(&tell, "the inner call").unwrap()["args"], json!([7]));
    assert_eq!(b.call("more").to("a").send().unwrap(), "more");
    assert_eq!(a.unregister("more").unwrap(), 1);
    assert_eq!(
        b.call("more").to("a").send(),
        Err(Error::CommandNotFound("more".into()))
    );
    // A node may call itself.
    assert_eq!(
        a.call("__echo__").to("a").send().unwrap(),
        json!({"args": [], "kwargs": {}})
    );
}

#[test]
fn commands_come_and_go_as_trees() {
    let lan = Lan::new();
    let a = lan.builder("a").start().unwrap();
    let b = lan.builder("b").start().unwrap();
    let tree = || {
        CommandTree::new()
            .command("t.read", |c| c.reply(1))
            .unwrap()
            .command("t.write", |c| c.reply(2))
            .unwrap()
    };
    a.register_tree(tree()).unwrap();
    a.register("tt", |c| c.reply(3)).unwrap();
    assert!(matches!(
        a.register_tree(tree()),
        Err(Error::CommandExists(_))
    ));
    assert!(matches!(
        a.register("__mine__", |c| c.reply(3)),
        Err(Error::Path(_))
    ));
    assert_eq!(b.call("t.write").to("a").send().unwrap(), 2);
    assert_eq!(a.unregister("t").unwrap(), 2);
    assert_eq!(
        b.call("t.write").to("a").send(),
        Err(Error::CommandNotFound("t.write".into()))
    );
    assert_eq!(b.call("tt").to("a").send().unwrap(), 3);
}
