//! Rules: which callers a node lets call which paths.

#[cfg(feature = "files")]
use crate::common::Folder;
use crate::common::{Lan, PATIENCE, secs, until};
use peerbase::{
    Authority, Builder, Call, Error, Identity, NetworkName, Node, NodeName, OsEntropy, Role,
};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// More than one record holds, of args or of a message.
const LARGE: usize = 300_000;

fn identity() -> Identity {
    Identity::generate(&mut OsEntropy::new().unwrap())
}

/// Counts the handlers that ran.
type Ran = Arc<AtomicUsize>;

/// A node that answers each kind of call.
fn server(builder: Builder, ran: &Ran) -> Builder {
    let count = || {
        let ran = ran.clone();
        move || ran.fetch_add(1, Ordering::SeqCst)
    };
    let (opened, flowed, heard) = (count(), count(), count());
    builder
        .command("valve.open", move |call| {
            opened();
            call.reply(true)
        })
        .command("valve.flow", move |call: Call| {
            flowed();
            std::thread::spawn(move || {
                let (mut reader, _) = call.streams().unwrap();
                let streamed = reader.read_to_end(&mut Vec::new());
                call.reply(streamed.unwrap())
            });
        })
        .on_message(move |message| {
            heard();
            message.reply(b"heard")
        })
}

fn stream(node: &Node) -> Result<Value, Error> {
    let call = node.call("valve.flow").to("server").timeout(secs(60));
    let mut stream = call.stream()?;
    // A stream that breaks says less than the end of its call.
    let _ = stream.write_all(&[b'x'; LARGE]);
    stream.finish();
    stream.value()
}

/// Calls each kind of path of the server.
fn call_each(node: &Node) -> Vec<(&'static str, Result<Value, Error>)> {
    let call = |path: &str, arg: Value| {
        let call = node.call(path).arg(arg).to("server");
        call.timeout(secs(60)).send()
    };
    let message = |data: &[u8]| {
        let answer = node.send_message("server", data, secs(60))?;
        Ok(json!(String::from_utf8(answer).unwrap()))
    };
    vec![
        ("valve.open", call("valve.open", json!(1))),
        ("valve.open", call("valve.open", json!("x".repeat(LARGE)))),
        ("valve.flow", stream(node)),
        ("__message__", message(b"x")),
        ("__message__", message(&[b'x'; LARGE])),
        ("__echo__", call("__echo__", json!(1))),
        ("__echo__", call("__echo__", json!("x".repeat(LARGE)))),
        ("__list_commands__", call("__list_commands__", json!(1))),
        ("__peers__", call("__peers__", json!(1))),
    ]
}

fn allowed(node: &Node, path: &str) -> bool {
    match node.call(path).to("server").timeout(PATIENCE).send() {
        Ok(_) => true,
        Err(Error::NotAllowed(which)) if which == path => false,
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn whom_no_rule_names_calls_nothing_of_what_they_cover_and_no_handler_runs() {
    let (lan, ran) = (Lan::new(), Ran::default());
    let operator = identity();
    let fingerprint = operator.public_key().fingerprint();
    let server = server(lan.builder("server"), &ran).allow("**", &format!("key:{fingerprint}"));
    let server = server.start().unwrap();
    let stranger = lan.builder("stranger").start().unwrap();
    let ends = call_each(&stranger);
    for (path, end) in &ends {
        assert_eq!(*end, Err(Error::NotAllowed((*path).into())), "{path}");
    }
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    assert!(server.stats().calls_denied >= ends.len() as u64);

    let operator = lan.builder("operator").identity(operator).start().unwrap();
    for (path, end) in call_each(&operator) {
        assert!(end.is_ok(), "{path}: {end:?}");
    }
    assert_eq!(ran.load(Ordering::SeqCst), 5);
}

#[cfg(feature = "files")]
#[test]
fn whom_no_rule_names_is_sent_no_file() {
    let (lan, operator) = (Lan::new(), identity());
    let fingerprint = operator.public_key().fingerprint();
    let server = lan.builder("server");
    let server = server.allow("**", &format!("key:{fingerprint}"));
    let server = server.start().unwrap();
    let (there, here) = (Folder::new("rules-there"), Folder::new("rules-here"));
    let file = server.add_file(there.write("f", b"contents")).unwrap();
    // Only peers that are known are asked for a file.
    let fetch = |node: &Node, peers| {
        meet(node, peers);
        node.set_file_dir(&here.0).unwrap();
        node.request_file(&file, secs(60), |_| {}).map(|_| ())
    };
    let stranger = lan.builder("stranger").start().unwrap();
    assert_eq!(fetch(&stranger, 1), Err(Error::FileUnknown(file.clone())));
    assert!(server.stats().calls_denied > 0);
    let operator = lan.builder("operator").identity(operator).start().unwrap();
    assert_eq!(fetch(&operator, 2), Ok(()));
}

#[test]
fn each_kind_of_callers_is_let_in_where_a_rule_names_it() {
    let lan = Lan::new();
    let operator = identity();
    let key = operator.public_key();
    let names = ["open", "by.name", "by.key", "by.fingerprint", "by.role"];
    let mut server = lan
        .builder("server")
        .allow("by.name", "name:operator-*")
        .allow("by.key", &format!("key:{}", key.to_text()))
        .allow("by.fingerprint", &format!("key:{}", key.fingerprint()))
        .allow("by.*", "name:nobody")
        .allow("by.role", "role:operator");
    for name in names {
        server = server.command(name, |call| call.reply(true));
    }
    let server = server.start().unwrap();
    let caller = |name: &str| lan.builder(name).start().unwrap();
    let all = |node: &Node| names.map(|name| allowed(node, name));
    // Nobody has a role in an open network.
    assert_eq!(
        all(&caller("operator-7")),
        [true, true, false, false, false]
    );
    assert_eq!(all(&caller("somebody")), [true, false, false, false, false]);
    let known = lan.builder("known").identity(operator).start().unwrap();
    assert_eq!(all(&known), [true, false, true, true, false]);
    // Rules are for others.
    assert_eq!(all(&server), [true; 5]);
}

#[test]
fn a_role_is_what_the_certificate_says() {
    let (lan, authority) = (Lan::new(), Authority::from_seed([9; 32]));
    let network = NetworkName::new("test").unwrap();
    // A node with a certificate for these roles.
    let certified = |name: &str, roles: &[&str]| {
        let identity = identity();
        let roles: Vec<Role> = roles.iter().map(|r| Role::new(r).unwrap()).collect();
        let (own, key) = (NodeName::new(name).unwrap(), identity.public_key());
        let certificate = authority.sign(&network, &own, &key, &roles, 0).unwrap();
        let builder = lan.builder(name).identity(identity);
        builder.authority(authority.key()).certificate(certificate)
    };
    let server = certified("server", &[]).command("open", |call: Call| {
        let length = call.args()[0].as_str().map(str::len);
        call.reply(length)
    });
    let server = server.allow("open", "role:operator").start().unwrap();
    let operator = certified("a", &["operator", "reader"]).start().unwrap();
    let reader = certified("b", &["reader"]).start().unwrap();
    for length in [1, LARGE] {
        let call = |node: &Node| {
            let call = node.call("open").arg("x".repeat(length)).to("server");
            call.timeout(secs(60)).send()
        };
        assert_eq!(call(&operator), Ok(json!(length)));
        assert_eq!(call(&reader), Err(Error::NotAllowed("open".into())));
    }
    drop(server);
}

/// Waits until a node has sessions with so many others.
fn meet(node: &Node, count: usize) {
    until("all to have met", || {
        node.peers().iter().filter(|p| p.reachable).count() == count
    });
}

#[test]
fn a_call_of_everyone_leaves_out_who_does_not_allow_it_and_a_list_does_not() {
    let (lan, ran) = (Lan::new(), Ran::default());
    let open = server(lan.builder("server"), &ran).start().unwrap();
    let closed = server(lan.builder("closed"), &ran).allow("valve.**", "name:nobody");
    let closed = closed.start().unwrap();
    let caller = lan.builder("caller").start().unwrap();
    meet(&caller, 2);
    let of = |results: Vec<peerbase::TargetResult>| -> Vec<_> {
        let ends = results.into_iter().map(|r| (r.node.to_string(), r.result));
        ends.collect()
    };
    let not_allowed = |path: &str| Error::NotAllowed(path.into());
    let call = || caller.call("valve.open").timeout(secs(60));
    let opened = ("server".to_owned(), Ok(json!(true)));
    // A refusal that is left out does not end the call of the others, either.
    for raise in [false, true] {
        let results = call().to_all().raise_errors(raise).send_all().unwrap();
        assert_eq!(of(results), from_ref(&opened));
    }
    let both = call().to_each(["server", "closed"]);
    let refused = ("closed".to_owned(), Err(not_allowed("valve.open")));
    assert_eq!(of(both.send_all().unwrap()), [opened, refused]);
    let both = call().to_each(["server", "closed"]).raise_errors(true);
    assert_eq!(both.send_all(), Err(not_allowed("valve.open")));

    let call = || caller.call("valve.flow").timeout(secs(60));
    let flowed = ("server".to_owned(), Ok(json!(LARGE)));
    let mut fan_out = call().to_all().stream_to_all().unwrap();
    fan_out.write_all(&[b'x'; LARGE]).unwrap();
    assert_eq!(of(fan_out.values().unwrap()), from_ref(&flowed));
    let both = call().to_each(["server", "closed"]);
    let mut fan_out = both.stream_to_all().unwrap();
    fan_out.write_all(&[b'x'; LARGE]).unwrap();
    let refused = ("closed".to_owned(), Err(not_allowed("valve.flow")));
    assert_eq!(of(fan_out.values().unwrap()), [flowed, refused]);
    drop((open, closed));
}

#[test]
fn a_rule_that_is_none_is_an_error_at_the_start() {
    let lan = Lan::new();
    let start = |pattern: &str, callers: &str| {
        let builder = lan.builder("a").allow(pattern, callers);
        builder.start().map(|_| ()).unwrap_err()
    };
    assert!(matches!(start("a.**.b", "name:b"), Error::Path(_)));
    assert!(matches!(start("a", "b"), Error::Argument(_)));
    assert!(matches!(start("a", "name:b.c"), Error::Name(_)));
    assert!(matches!(start("a", "key:k7qp"), Error::Key(_)));
    assert!(matches!(start("a", "role:Chief"), Error::Argument(_)));
    let many = (0..=256).fold(lan.builder("a"), |b, _| b.allow("a", "name:b"));
    assert!(matches!(many.start(), Err(Error::Argument(_))));
}
