//! A second implementation of the protocol, in Python and written from docs/PROTOCOL.md alone,
//! against this one: `tests/python/peer/`. All traffic stays on 127.0.0.0/8.

mod common;

use common::python::interpreter;
use common::{Lan, Tool, check, have, next, secs, until, wait_for_event};
use peerbase::{
    Builder, Call, Error, Event, Key, Message, NetworkName, Node, RelayKey, RelayServer, Reply,
};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::process::Command;
use std::sync::mpsc::channel;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python");

fn needs() -> bool {
    let needs = ["-c", "import cryptography, noise"];
    have(&interpreter(), &needs, "the second implementation")
}

fn python(args: &[&str]) -> Command {
    let mut command = Command::new(interpreter());
    // What it compiles would lie in the source.
    command.arg("-B").args(args).current_dir(FOLDER);
    command
}

/// A node in Python, in a process of its own. Ended when dropped.
struct Peer {
    tool: Tool,
    port: u16,
}

impl Peer {
    /// Starts one on this network, and waits until it takes part. `None` where this machine has
    /// not got what it takes.
    fn start(lan: &Lan, more: Value) -> Option<Peer> {
        if !needs() {
            return None;
        }
        let (tool, ready) = Tool::start_saying(Peer::command(lan, more));
        let port = ready.rsplit(' ').next().unwrap().parse().unwrap();
        Some(Peer { tool, port })
    }

    fn command(lan: &Lan, more: Value) -> Command {
        let mut settings =
            json!({"name": "py", "network": "test", "key": &*lan.key.to_text(), "port": lan.port});
        let given = more.as_object().unwrap().clone();
        settings.as_object_mut().unwrap().extend(given);
        python(&["-m", "peer", &settings.to_string()])
    }

    fn ask(&mut self, question: Value) -> Value {
        self.tool.say(&question.to_string());
        serde_json::from_str(&self.tool.hear()).unwrap()
    }

    /// Calls a command of ours: the status and the body of the reply.
    fn call(&mut self, path: &str, args: Value, kwargs: Value) -> (u64, String) {
        let asked = json!({
            "ask": "call", "name": "ours", "path": path, "args": args, "kwargs": kwargs,
        });
        let answer = self.ask(asked);
        let status = answer["status"].as_u64();
        let status = status.unwrap_or_else(|| panic!("no reply: {answer}"));
        (status, answer["body"].as_str().unwrap().to_owned())
    }

    /// How it reaches us, once it does.
    fn meet(&mut self) -> Value {
        self.ask(json!({"ask": "met", "name": "ours"}))["ours"].clone()
    }

    /// Says goodbye, as it does at the end of its input.
    fn leave(mut self) {
        self.tool.close_input();
        assert!(self.tool.wait("to leave").success());
    }
}

/// One of our nodes, with what the tests call.
fn ours(builder: Builder) -> Node {
    builder
        .command("sum", |call| {
            let (a, b) = (call.args()[0].as_f64(), call.args()[1].as_f64());
            call.reply(a.unwrap() + b.unwrap())
        })
        .command("fail", |call| call.fail("no such sensor"))
        .command("blob", |call| {
            let size = call.args()[0].as_u64().unwrap();
            call.reply("x".repeat(usize::try_from(size).unwrap()))
        })
        .command("closed", |call| call.reply(true))
        .command("same", |call: Call| {
            let data = call.data().map(<[u8]>::to_vec);
            match data {
                Some(data) => call.reply_data(data),
                None => call.reply_data(*b"\xff"),
            }
        })
        .allow("closed", "name:nobody")
        .on_message(|message| {
            let mut data = message.data().to_vec();
            data.reverse();
            message.reply(&data)
        })
        .start()
        .unwrap()
}

/// Calls and messages both ways, small and large.
fn both_call(node: &Node, python: &mut Peer) {
    let call = |path| node.call(path).to("py").timeout(secs(60));
    let value = call("add").arg(20).arg(1.5).kwarg("a", "ü").send().unwrap();
    let expected = json!({"sum": 21.5, "kwargs": {"a": "ü"}, "caller": "ours"});
    assert_eq!(value, expected);
    let failed = Error::CommandFailed("no such sensor".into());
    assert_eq!(call("fail").send(), Err(failed));
    let refused = Error::Refused("not for you".into());
    assert_eq!(call("refuse").send(), Err(refused));
    let unknown = Error::CommandNotFound("nothing".into());
    assert_eq!(call("nothing").send(), Err(unknown));
    let large = "y".repeat(1_000_000);
    assert_eq!(call("length").arg(&*large).send(), Ok(json!(large.len())));
    let blob = call("blob").arg(1_000_000).send().unwrap();
    assert_eq!(blob.as_str().unwrap().len(), 1_000_000);
    let answer = node.send_message("py", b"hello", secs(60));
    assert_eq!(answer.unwrap(), b"got hello");

    let (status, body) = python.call("sum", json!([20, 1.5]), json!({}));
    assert_eq!((status, &*body), (0, "21.5"));
    let (status, body) = python.call("fail", json!([]), json!({}));
    assert_eq!((status, &*body), (2, "no such sensor"));
    assert_eq!(python.call("nothing", json!([]), json!({})).0, 1);
    assert_eq!(python.call("a..b", json!([]), json!({})).0, 1);
    for size in [1, 1_000_000] {
        let (status, body) = python.call("closed", json!(["y".repeat(size)]), json!({}));
        assert_eq!((status, &*body), (9, ""), "{size}");
    }
    let (_, echo) = python.call("__echo__", json!([1, "ü"]), json!({"a": null}));
    assert_eq!(echo, r#"{"args":[1,"ü"],"kwargs":{"a":null}}"#);
    let sized = json!({"ask": "size", "name": "ours", "path": "blob", "args": [1_000_000]});
    let quotes = 2;
    let expected = json!({"status": 0, "size": 1_000_000 + quotes});
    assert_eq!(python.ask(sized), expected);
    both_call_with_bytes(node, python);
    let message = json!({"ask": "message", "name": "ours", "data": "abc"});
    let expected = json!({"status": 0, "body": "cba"});
    assert_eq!(python.ask(message), expected);
    let messages = python.ask(json!({"ask": "messages"}));
    assert_eq!(messages, json!([["ours", "hello"]]));
    assert_eq!(
        python.ask(json!({"ask": "ping", "name": "ours"})),
        json!(true)
    );
}

/// Calls with bytes and values of bytes both ways, small and large.
fn both_call_with_bytes(node: &Node, python: &mut Peer) {
    let call = |path| node.call(path).to("py").timeout(secs(60));
    for size in [0, 3, 1_000_000] {
        let data: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let same = call("same").data(data.clone()).send_reply();
        assert_eq!(same, Ok(Reply::Data(data)), "{size}");
        let asked = json!({"ask": "bytes", "name": "ours", "path": "same", "size": size});
        let answer = python.ask(asked);
        assert_eq!(
            (&answer["status"], &answer["same"]),
            (&json!(10), &json!(true))
        );
    }
    // Commands that take JSON alone say so.
    let refused = call("add").data(*b"1").send_reply();
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    let asked = json!({"ask": "bytes", "name": "ours", "path": "__echo__", "size": 1});
    assert_eq!(python.ask(asked)["status"], 4);
    assert_eq!(python.call("same", json!([]), json!({})).0, 10);
}

#[test]
fn the_second_implementation_passes_its_own_tests() {
    if needs() {
        let tests = ["-m", "unittest", "discover", "-t", ".", "-s", "peer/tests"];
        check(python(&tests));
    }
}

#[test]
fn both_find_each_other_by_adverts_and_call() {
    let lan = Lan::new();
    let node = ours(lan.builder("ours"));
    let events = node.events();
    let Some(mut python) = Peer::start(&lan, json!({})) else {
        return;
    };
    assert_eq!(python.meet(), "direct");
    both_call(&node, &mut python);
    let peers = node.peers();
    let key = peers[0].key.expect("the key of a peer that was met");
    let identity = python.ask(json!({"ask": "identity"}));
    assert_eq!(&*key.to_text(), identity.as_str().unwrap());
    assert_eq!(
        python.call("__peers__", json!([]), json!({})).1,
        r#"{"py":"direct"}"#
    );
    python.leave();
    let left = |event: &Event| matches!(event, Event::PeerLeft(name) if name.as_str() == "py");
    wait_for_event(&events, "its goodbye", left);
}

/// Two nodes in Python and one of ours: each calls each, they stream both ways, and what one says
/// to all reaches both others.
#[test]
fn two_of_the_second_implementation_and_one_of_ours_are_a_network_of_three() {
    let lan = Lan::new();
    let Some(mut py) = Peer::start(&lan, json!({})) else {
        return;
    };
    let mut other = Peer::start(&lan, json!({"name": "other"})).unwrap();
    let (said, heard) = channel();
    let node = ours(lan.builder("ours").command("shout", shout));
    let handler = move |message: Message| {
        let data = String::from_utf8(message.data().to_vec()).unwrap();
        said.send((message.sender().to_string(), data)).unwrap();
    };
    node.on_message(handler).unwrap();
    until("all to have met", || {
        node.peers().iter().filter(|p| p.reachable).count() == 2
    });
    for (one, met) in [(&mut py, ["ours", "other"]), (&mut other, ["ours", "py"])] {
        for name in met {
            let met = one.ask(json!({"ask": "met", "name": name}));
            assert_eq!(met[name], "direct");
            let (path, args) = ("__echo__", json!([name]));
            let call = json!({"ask": "call", "name": name, "path": path, "args": args});
            assert_eq!(one.ask(call)["status"], 0, "{name}");
        }
    }
    for name in ["py", "other"] {
        assert!(node.call("__echo__").to(name).send().is_ok(), "{name}");
        streams_to(&node, name);
    }
    for (one, to) in [(&mut py, "ours"), (&mut other, "py")] {
        for times in [0, 1, 100_000] {
            let asked = json!({"ask": "stream", "name": to, "path": "shout", "times": times});
            let value = ("said is heard ".len() * times).to_string();
            let expected = json!({"status": 0, "body": value, "same": true});
            assert_eq!(one.ask(asked), expected, "{to}");
        }
    }

    let report = node.broadcast(b"from ours", secs(60)).unwrap();
    assert!(report.delivered == 2 && report.is_complete(), "{report:?}");
    for (one, name) in [(&mut py, "py"), (&mut other, "other")] {
        let data = format!("from {name}");
        let report = one.ask(json!({"ask": "broadcast", "data": data}));
        assert_eq!(report, json!([2, 0, []]), "{name}");
        assert_eq!(next(&heard, "the message"), (name.to_owned(), data));
    }
    let to_py = json!([["ours", "from ours"], ["other", "from other"]]);
    let to_other = json!([["ours", "from ours"], ["py", "from py"]]);
    for (one, expected) in [(&mut py, to_py), (&mut other, to_other)] {
        assert_eq!(one.ask(json!({"ask": "heard", "count": 2})), expected);
    }
    py.leave();
    other.leave();
}

/// Streams back what is streamed to it, in capitals.
fn shout(call: Call) {
    std::thread::spawn(move || {
        let (mut reader, mut writer) = call.streams().unwrap();
        let mut said = Vec::new();
        reader.read_to_end(&mut said).unwrap();
        writer.write_all(&said.to_ascii_uppercase()).unwrap();
        writer.finish();
        call.reply(said.len()).unwrap();
    });
}

/// One of ours streams to a command in Python, which streams back.
fn streams_to(node: &Node, name: &str) {
    for times in [0, 1, 100_000] {
        let said = b"what is said ".repeat(times);
        let call = node.call("shout").to(name).timeout(secs(60));
        let (mut reader, mut writer, value) = call.stream().unwrap().split();
        writer.write_all(&said).unwrap();
        writer.finish();
        let mut heard = Vec::new();
        reader.read_to_end(&mut heard).unwrap();
        assert!(heard == said.to_ascii_uppercase(), "{name} {times}");
        assert_eq!(value.wait(), Ok(json!(said.len())), "{name} {times}");
    }
}

#[test]
fn our_goodbye_is_understood() {
    let lan = Lan::new();
    let node = ours(lan.builder("ours"));
    let Some(mut python) = Peer::start(&lan, json!({})) else {
        return;
    };
    python.meet();
    node.stop();
    assert_eq!(
        python.ask(json!({"ask": "gone", "name": "ours"})),
        json!(true)
    );
}

#[test]
fn each_dials_the_other_by_its_address() {
    let lan = Lan::new();
    let quiet = || json!({"lan": false, "listen": true});
    let listening = lan
        .builder("ours")
        .lan(false)
        .listen("127.0.0.1:0".parse().unwrap());
    let node = ours(listening);
    let Some(mut python) = Peer::start(&lan, quiet()) else {
        return;
    };
    let found = node.connect(([127, 0, 0, 1], python.port).into(), secs(60));
    assert_eq!(found.unwrap().as_str(), "py");
    both_call(&node, &mut python);
    python.leave();
    let mut python = Peer::start(&lan, quiet()).unwrap();
    let name = python.ask(json!({"ask": "connect", "port": node.port()}));
    assert_eq!(name, "ours");
    both_call(&node, &mut python);
}

#[test]
fn calls_go_on_while_the_keys_of_its_records_are_renewed() {
    let lan = Lan::new();
    let node = ours(lan.builder("ours"));
    let Some(mut python) = Peer::start(&lan, json!({"records_max": 3})) else {
        return;
    };
    python.meet();
    both_call(&node, &mut python);
    for i in 0..50 {
        let (status, body) = python.call("sum", json!([i, 0.5]), json!({}));
        assert_eq!((status, body), (0, format!("{i}.5")));
    }
    let renewals = python.ask(json!({"ask": "renewals", "name": "ours"}));
    assert!(
        renewals.as_u64().unwrap() > 0,
        "in this session: {renewals}"
    );
}

#[test]
fn a_name_is_taken_whoever_has_it() {
    let lan = Lan::new();
    let Some(mut python) = Peer::start(&lan, json!({})) else {
        return;
    };
    let taken = lan.builder("py").start().unwrap_err();
    assert_eq!(taken, Error::NameTaken("py".into()));
    let node = ours(lan.builder("ours"));
    let mut second = Tool::spawn(Peer::command(&lan, json!({"name": "ours"})));
    assert_eq!(second.hear(), "taken: ours");
    assert_eq!(python.meet(), "direct");
    drop(node);
}

#[test]
fn a_node_with_another_key_is_nobody_to_the_other() {
    let lan = Lan::new();
    let node = ours(lan.builder("ours"));
    let events = node.events();
    let other = Key::from_bytes([9; 32]);
    let Some(mut python) = Peer::start(&lan, json!({"key": &*other.to_text()})) else {
        return;
    };
    wait_for_event(&events, "its adverts", |e| matches!(e, Event::OtherKey(_)));
    let heard = python.ask(json!({"ask": "ignored", "adverts": 1}));
    assert_eq!(heard, json!(true));
    let dialled = python.ask(json!({"ask": "connect", "port": node.port()}));
    assert_eq!(dialled, "they said refused");
    assert!(node.peers().is_empty());
    assert_eq!(python.ask(json!({"ask": "peers"})), json!({}));
}

/// A relay of the test's network, with this relay key or none.
fn relay(key: Option<&Key>) -> RelayServer {
    let network = NetworkName::new("test").unwrap();
    let builder = match key {
        Some(key) => RelayServer::builder().network("test", Some(RelayKey::derive(key, &network))),
        None => RelayServer::builder(),
    };
    builder.start("127.0.0.1:0".parse().unwrap()).unwrap()
}

#[test]
fn both_call_through_a_relay_with_and_without_a_relay_key() {
    let lan = Lan::new();
    for proven in [true, false] {
        let relay = relay(proven.then_some(&lan.key));
        let at = relay.address().to_string();
        let node = ours(lan.builder("ours").lan(false).relay(&at));
        let Some(mut python) = Peer::start(&lan, json!({"lan": false, "relays": [at]})) else {
            return;
        };
        assert_eq!(python.meet(), format!("relay {at}"));
        let joined = python.ask(json!({"ask": "relay"}));
        assert_eq!(joined, json!([["joined", proven]]));
        both_call(&node, &mut python);
        let peers = python.call("__peers__", json!([]), json!({})).1;
        assert_eq!(peers, json!({"py": format!("relay {at}")}).to_string());
        python.leave();
        until("its goodbye at the relay", || relay.stats().members == 1);
        until("its goodbye", || node.peers().is_empty());
    }
}

#[test]
fn it_does_not_join_a_relay_of_another_key() {
    let lan = Lan::new();
    let relay = relay(Some(&Key::from_bytes([9; 32])));
    let at = relay.address().to_string();
    let Some(mut python) = Peer::start(&lan, json!({"lan": false, "relays": [at]})) else {
        return;
    };
    let told = python.ask(json!({"ask": "told", "of": "wrong relay key"}));
    assert!(told.is_array(), "{told}");
    assert_eq!(relay.stats().joined, 0);
}
