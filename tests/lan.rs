//! Nodes on loopback with real sockets and threads.

mod common;

use common::{Deadline, Lan, PATIENCE, join, next, secs, until};
use peerbase::{CommandTree, Error, Event, Key, Node};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

fn joined(node: &Node, name: &str) {
    until(name, || {
        node.peers()
            .iter()
            .any(|p| p.name.as_str() == name && p.reachable)
    });
}

#[test]
fn two_nodes_find_each_other_and_call() {
    let lan = Lan::new();
    let a = lan.builder("a").command("add", |call| {
        let sum: i64 = call.args().iter().filter_map(Value::as_i64).sum();
        let scale = call
            .kwargs()
            .get("scale")
            .and_then(Value::as_i64)
            .unwrap_or(1);
        assert_eq!(call.caller().as_str(), "b");
        call.reply(sum * scale)
    });
    let a = a.start().unwrap();
    let b = lan.builder("b").start().unwrap();
    assert_eq!(
        b.call("add")
            .arg(2)
            .arg(3)
            .kwarg("scale", 10)
            .to("a")
            .send()
            .unwrap(),
        50
    );
    assert_eq!(
        a.call("__echo__").arg("x").to("b").send().unwrap(),
        json!({"args": ["x"], "kwargs": {}})
    );
    let mut commands = b.get_commands("a", secs(5)).unwrap();
    commands.sort();
    assert_eq!(
        commands,
        ["__echo__", "__list_commands__", "__peers__", "add"]
    );
    assert_eq!(
        b.call("__peers__").to("a").send().unwrap(),
        json!({"b": "direct"})
    );
}

#[test]
fn every_way_a_call_can_fail_has_its_own_error() {
    let lan = Lan::new();
    let tree = CommandTree::new()
        .command("fail", |call| call.fail("no coffee"))
        .unwrap()
        .command("refuse", |call| call.refuse("not for you"))
        .unwrap()
        .command("panic", |_| -> () { panic!("a test of panics") })
        .unwrap()
        .command("drop", drop)
        .unwrap()
        .command("keep", std::mem::forget)
        .unwrap()
        .command("large", |call| {
            assert!(matches!(
                call.reply("x".repeat(5_000_000)),
                Err(Error::TooLarge { .. })
            ));
        })
        .unwrap();
    let a = lan.builder("a").commands("x", tree).start().unwrap();
    let b = lan.builder("b").start().unwrap();
    let call = |path: &str| b.call(path).to("a").timeout(secs(5)).send();
    assert_eq!(
        call("x.fail"),
        Err(Error::CommandFailed("no coffee".into()))
    );
    assert_eq!(call("x.refuse"), Err(Error::Refused("not for you".into())));
    assert_eq!(
        call("x.panic"),
        Err(Error::CommandFailed("the command panicked".into()))
    );
    assert_eq!(
        call("x.drop"),
        Err(Error::CommandFailed("the command gave no answer".into()))
    );
    assert_eq!(call("x.none"), Err(Error::CommandNotFound("x.none".into())));
    assert_eq!(
        call("__none__"),
        Err(Error::CommandNotFound("__none__".into()))
    );
    assert!(matches!(call("x.large"), Err(Error::CommandFailed(why)) if why.contains("5000002")));
    assert!(matches!(call("x..y"), Err(Error::Path(_))));
    assert_eq!(
        b.call("x.keep")
            .to("a")
            .timeout(Duration::from_millis(50))
            .send(),
        Err(Error::Timeout)
    );
    assert_eq!(
        b.call("x")
            .to("nobody")
            .timeout(Duration::from_millis(50))
            .send(),
        Err(Error::Unreachable("nobody".into()))
    );
    assert_eq!(
        b.call("x").to("nobody").wait(false).send(),
        Err(Error::Unreachable("nobody".into()))
    );
    assert!(matches!(
        b.call("x").to("no|body").send(),
        Err(Error::Name(_))
    ));
    assert!(matches!(
        b.call("x").arg("y".repeat(5_000_000)).to("a").send(),
        Err(Error::TooLarge { .. })
    ));
    a.stop();
    assert_eq!(a.call("x").to("b").send(), Err(Error::Stopped));
    until("goodbye", || b.peers().is_empty());
}

#[test]
fn a_fan_out_has_a_result_for_each_or_the_first_failure_for_all() {
    let lan = Lan::new();
    let nodes: Vec<Node> = (0..5)
        .map(|i| {
            lan.builder(&format!("n{i}"))
                .command("square", move |call| {
                    if i == 3 {
                        call.fail("three")
                    } else {
                        call.reply(i * i)
                    }
                })
                .start()
                .unwrap()
        })
        .collect();
    let asker = lan.builder("asker").start().unwrap();
    (0..5).for_each(|i| joined(&asker, &format!("n{i}")));
    let mut all = asker
        .call("square")
        .to_all()
        .max_in_flight(2)
        .send_all()
        .unwrap();
    all.sort_by(|a, b| a.node.cmp(&b.node));
    let got: Vec<_> = all
        .iter()
        .map(|r| (r.node.as_str(), r.result.clone()))
        .collect();
    let three = Err(Error::CommandFailed("three".into()));
    assert_eq!(
        got,
        [
            ("n0", Ok(json!(0))),
            ("n1", Ok(json!(1))),
            ("n2", Ok(json!(4))),
            ("n3", three),
            ("n4", Ok(json!(16)))
        ]
    );
    let raised = asker
        .call("square")
        .to_each(["n1", "n3", "n4"])
        .raise_errors(true)
        .send_all();
    assert_eq!(raised, Err(Error::CommandFailed("three".into())));
    let some = asker
        .call("square")
        .to_each(["n4", "n2"])
        .raise_errors(true)
        .send_all()
        .unwrap();
    assert_eq!(some.len(), 2);
    assert!(matches!(
        asker.call("square").to_all().max_in_flight(0).send_all(),
        Err(Error::Argument(_))
    ));
    assert!(matches!(
        asker.call("square").to_all().send(),
        Err(Error::Argument(_))
    ));
    drop(nodes);
}

#[test]
fn max_in_flight_is_never_passed() {
    let lan = Lan::new();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (keep, kept) = mpsc::channel();
    let (n, m) = (now.clone(), most.clone());
    let handler = move |call| {
        m.fetch_max(n.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        keep.send(call).unwrap();
    };
    let _a = lan.builder("a").command("slow", handler).start().unwrap();
    let b = lan.builder("b").start().unwrap();
    let answering = std::thread::spawn(move || {
        for _ in 0..20 {
            let call: peerbase::Call = next(&kept, "a call");
            now.fetch_sub(1, Ordering::SeqCst);
            call.reply(1).unwrap();
        }
    });
    let results = b
        .call("slow")
        .to_each(vec!["a"; 20])
        .max_in_flight(3)
        .send_all()
        .unwrap();
    assert!(results.len() == 20 && results.iter().all(|r| r.result.is_ok()));
    join(answering, "all to be answered");
    assert!(most.load(Ordering::SeqCst) <= 3);
}

#[test]
fn a_handler_may_answer_later_from_another_thread_and_see_that_nobody_waits() {
    let lan = Lan::new();
    let (keep, kept) = mpsc::channel();
    let _a = lan
        .builder("a")
        .command("later", move |call| keep.send(call).unwrap())
        .start()
        .unwrap();
    let b = lan.builder("b").start().unwrap();
    let (done, result) = mpsc::channel();
    let ask = || {
        let done = done.clone();
        b.call("later")
            .to("a")
            .send_async(move |r| done.send(r).unwrap())
            .unwrap()
    };
    ask();
    let call: peerbase::Call = next(&kept, "the first call");
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
    let (keep, kept) = mpsc::channel();
    let a = lan
        .builder("a")
        .command("later", move |call| keep.send(call).unwrap())
        .start()
        .unwrap();
    let b = lan.builder("b").start().unwrap();
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

#[test]
fn messages_are_bytes_both_ways() {
    let lan = Lan::new();
    let _a = lan.builder("a").on_message(|m| {
        let mut data = m.data().to_vec();
        data.reverse();
        m.reply(&data)
    });
    let _a = _a.start().unwrap();
    let b = lan.builder("b").start().unwrap();
    assert_eq!(
        b.send_message("a", b"\0\x01\xff", secs(5)).unwrap(),
        b"\xff\x01\0"
    );
    assert_eq!(b.send_message("a", b"", secs(5)).unwrap(), b"");
    assert_eq!(
        b.send_message("b", b"", secs(5)),
        Err(Error::CommandNotFound("message".into()))
    );
}

#[test]
fn events_tell_of_joining_and_leaving() {
    let lan = Lan::new();
    let a = lan.builder("a").start().unwrap();
    let events = a.events();
    let b = lan.builder("b").start().unwrap();
    let name = b.name().clone();
    assert_eq!(
        events.next_timeout(PATIENCE),
        Some(Event::PeerJoined(name.clone()))
    );
    drop(b);
    assert_eq!(events.next_timeout(PATIENCE), Some(Event::PeerLeft(name)));
    drop(a);
    assert_eq!(events.next_timeout(PATIENCE), None, "nothing more");
}

#[test]
fn a_taken_name_fails_to_start() {
    let lan = Lan::new();
    let _a = lan.builder("a").start().unwrap();
    assert_eq!(
        lan.builder("a").start().unwrap_err(),
        Error::NameTaken("a".into())
    );
}

#[test]
fn a_port_in_use_says_which() {
    let lan = Lan::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    assert_eq!(
        lan.builder("a").listen(address).start().unwrap_err(),
        Error::PortInUse(address)
    );
    // Somebody who does not share.
    let greedy = std::net::UdpSocket::bind("127.255.255.255:0").unwrap();
    let port = greedy.local_addr().unwrap().port();
    let e = lan.builder("a").advertise_port(port).start().unwrap_err();
    assert!(matches!(e, Error::PortInUse(a) if a.port() == port), "{e}");
}

#[test]
fn bad_settings_are_named() {
    let lan = Lan::new();
    assert!(matches!(lan.builder("a|b").start(), Err(Error::Name(_))));
    assert!(matches!(
        Node::builder("a", "", lan.key.clone()).start(),
        Err(Error::Network(_))
    ));
    assert!(matches!(
        lan.builder("a").advertise_port(0).start(),
        Err(Error::Argument(_))
    ));
    assert!(matches!(
        lan.builder("a").advertise_interval(secs(0)).start(),
        Err(Error::Argument(_))
    ));
    assert!(matches!(
        lan.builder("a").command("a..b", |c| c.reply(1)).start(),
        Err(Error::Path(_))
    ));
    assert!(matches!(
        lan.builder("a")
            .listen("10.0.0.1:0".parse().unwrap())
            .start(),
        Err(Error::Argument(_))
    ));
}

#[test]
fn links_work_over_ipv6() {
    let lan = Lan::new();
    // Both hear each other over 127.255.255.255; the address they tell is IPv6.
    let address = "[::1]:0".parse().unwrap();
    let node = |name: &str| {
        lan.builder(name)
            .listen(address)
            .advertise_address(address)
            .start()
            .unwrap()
    };
    let (a, b) = (node("a"), node("b"));
    assert_eq!(
        a.call("__echo__").to("b").send().unwrap()["args"],
        json!([])
    );
    assert!(b.peers()[0].address.unwrap().is_ipv6() || a.peers()[0].address.unwrap().is_ipv6());
}

#[test]
fn a_key_is_rotated_without_stopping_the_network() {
    let lan = Lan::new();
    let (old, new) = (lan.key.clone(), Key::from_bytes([9; 32]));
    let start = |name: &str, keys: [&Key; 2]| {
        Node::builder(name, "test", keys[0].clone())
            .also_key(keys[1].clone())
            .loopback(true)
            .advertise_port(lan.port)
            .start()
            .unwrap()
    };
    let first = start("first", [&old, &new]);
    let second = start("second", [&new, &old]);
    assert!(first.call("__echo__").to("second").send().is_ok());
    assert!(second.call("__echo__").to("first").send().is_ok());
    let stranger = Node::builder("x", "test", Key::from_bytes([8; 32]))
        .loopback(true)
        .advertise_port(lan.port)
        .start()
        .unwrap();
    assert!(
        stranger
            .call("__echo__")
            .to("first")
            .timeout(Duration::from_millis(300))
            .send()
            .is_err()
    );
    until("both to refuse what the other says", || {
        stranger.stats().adverts_refused > 0 && first.stats().adverts_refused > 0
    });
}

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

#[test]
fn sixteen_threads_call_at_once_and_a_stop_ends_them_all() {
    let lan = Lan::new();
    let (keep, kept) = mpsc::channel();
    let _a = lan
        .builder("a")
        .command("hang", move |call| keep.send(call).unwrap())
        .start()
        .unwrap();
    let b = lan.builder("b").start().unwrap();
    let threads: Vec<_> = (0..16)
        .map(|i| {
            let b = b.clone();
            std::thread::spawn(move || {
                for j in 0..100 {
                    assert_eq!(
                        b.call("__echo__").arg(i * j).to("a").send().unwrap()["args"],
                        json!([i * j])
                    );
                }
                b.call("hang").to("a").send()
            })
        })
        .collect();
    let _held: Vec<_> = (0..16).map(|_| next(&kept, "a call that hangs")).collect();
    b.stop();
    for thread in threads {
        assert_eq!(join(thread, "a call to end"), Err(Error::Stopped));
    }
}
