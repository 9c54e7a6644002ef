//! Calls of one node, and messages: what comes back, and every way to fail.

use crate::common::{Lan, PATIENCE, join, next, secs, until};
use peerbase::{Call, CommandTree, Error, Event, Key, Node, Reply};
use serde_json::{Value, json};
use std::sync::mpsc::{self, channel};
use std::time::Duration;

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

/// Commands that give no value, each in its own way.
fn failing() -> CommandTree {
    CommandTree::new()
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
        .unwrap()
}

#[test]
fn every_way_a_call_can_fail_has_its_own_error() {
    let lan = Lan::new();
    let a = lan.builder("a").commands("x", failing()).start().unwrap();
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

/// Commands that answer with what they were called with, as bytes or as a JSON value.
fn bytes_and_json(call: Call) {
    let data = call.data().map(<[u8]>::to_vec);
    let path = call.path().as_str().to_owned();
    match (data, path.as_str()) {
        (Some(data), "x.same") => call.reply_data(data),
        (Some(data), _) => call.reply(data.len()),
        (None, "x.same") => {
            let args = call.args().len();
            call.reply(args)
        }
        (None, _) => call.reply_data(*b"\0none"),
    }
    .unwrap();
}

#[test]
fn arguments_and_values_are_json_or_bytes_and_each_side_is_told_which() {
    let lan = Lan::new();
    let tree = CommandTree::new().command("same", bytes_and_json).unwrap();
    let tree = tree.command("other", bytes_and_json).unwrap();
    let a = lan.builder("a").commands("x", tree).start().unwrap();
    let b = lan.builder("b").start().unwrap();
    let call = |path: &str| b.call(path).to("a").timeout(secs(60));
    for size in [0, 1, 48_641, 3_000_000] {
        let data: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let same = call("x.same").data(data.clone());
        assert_eq!(same.send_reply(), Ok(Reply::Data(data.clone())), "{size}");
        let other = call("x.other").data(data);
        assert_eq!(other.send_reply(), Ok(Reply::Json(json!(size))));
    }
    let same = call("x.same").arg(1).arg(2);
    assert_eq!(same.send_reply(), Ok(Reply::Json(json!(2))));
    let none = Reply::Data(b"\0none".to_vec());
    assert_eq!(call("x.other").send_reply(), Ok(none.clone()));
    let (done, wait) = channel();
    let told = call("x.other").send_reply_async(move |reply| done.send(reply).unwrap());
    told.unwrap();
    assert_eq!(next(&wait, "the answer"), Ok(none.clone()));

    // A caller that takes JSON alone is told, and so are those that take neither.
    let bytes = Err(Error::Json(
        "the command has run, and answered with bytes".into(),
    ));
    assert_eq!(call("x.other").send(), bytes);
    assert_eq!(call("x.other").send_all().unwrap()[0].result, bytes);
    assert_eq!(call("x.other").stream().unwrap().value(), bytes);
    assert_eq!(call("x.other").stream().unwrap().reply(), Ok(none));
    let both = call("x.same").data(*b"a").arg(1).send_reply();
    assert!(matches!(both, Err(Error::Argument(_))), "{both:?}");
    let own = call("__echo__").data(*b"a").send_reply();
    assert!(matches!(own, Err(Error::Refused(_))), "{own:?}");
    let missing = call("x.none").data(*b"a").send_reply();
    assert_eq!(missing, Err(Error::CommandNotFound("x.none".into())));
    // A node calls itself in the same way.
    let own = a.call("x.same").data(*b"a").to("a").send_reply();
    assert_eq!(own, Ok(Reply::Data(b"a".to_vec())));
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
        Err(Error::CommandNotFound("__message__".into()))
    );
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
