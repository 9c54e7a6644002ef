//! Nodes that find each other by an address, what is said to everyone, and the state kept over a
//! restart.

mod common;

use common::{Lan, Tool, next, secs, until};
use peerbase::{Builder, Error, Message, Node, NodeName};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// A node that does not advertise, and what it is told.
fn quiet(lan: &Lan, name: &str) -> (Node, Receiver<(String, Vec<u8>, bool)>) {
    let (tell, told) = mpsc::channel();
    let node = builder(lan, name)
        .on_message(move |m: Message| {
            let _ = tell.send((m.sender().to_string(), m.data().to_vec(), m.is_private()));
        })
        .start()
        .unwrap();
    (node, told)
}

fn builder(lan: &Lan, name: &str) -> Builder {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    lan.builder(name).lan(false).listen(any)
}

fn address(node: &Node) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], node.port()))
}

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("peerbase-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn reached(node: &Node) -> usize {
    node.peers().iter().filter(|p| p.reachable).count()
}

#[test]
fn one_address_is_enough_and_everyone_is_told_once() {
    let lan = Lan::new();
    let nodes: Vec<_> = (0..5).map(|i| quiet(&lan, &format!("n{i}"))).collect();
    for i in 1..5 {
        let to = address(&nodes[i - 1].0);
        let who = nodes[i].0.connect(to, secs(20)).unwrap();
        assert_eq!(who, NodeName::new(&format!("n{}", i - 1)).unwrap());
    }
    until("all reach all", || {
        nodes.iter().all(|(n, _)| reached(n) == 4)
    });
    // One that nobody can dial is told of the others all the same.
    let leaf = lan.builder("leaf").lan(false).start().unwrap();
    assert_eq!(leaf.port(), 0);
    leaf.connect(address(&nodes[0].0), secs(20)).unwrap();
    until("the leaf reaches all", || reached(&leaf) == 5);
    drop(leaf);
    until("it has left", || nodes.iter().all(|(n, _)| reached(n) == 4));
    for peer in nodes[0].0.peers() {
        let ping = peer.ping;
        assert!(ping.is_none_or(|p| p.round_trip < secs(5)), "{ping:?}");
    }
    let report = nodes[2].0.broadcast(b"hello", secs(20)).unwrap();
    assert_eq!((report.delivered, report.failed), (4, 0));
    nodes[3].0.send_to("n1", b"psst", secs(20)).unwrap();
    nodes[2].0.broadcast(b"bye", secs(20)).unwrap();
    for (i, (_, told)) in nodes.iter().enumerate().filter(|(i, _)| *i != 2) {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|(_, d, _)| d != b"bye") {
            heard.push(next(told, "what was said to all"));
        }
        let said = |data: &[u8]| ("n2".to_owned(), data.to_vec(), false);
        let mut expected = vec![said(b"hello"), said(b"bye")];
        if i == 1 {
            expected.insert(1, ("n3".into(), b"psst".to_vec(), true));
        }
        assert_eq!(heard, expected);
    }
    assert!(nodes[2].1.try_recv().is_err(), "not its own");
}

#[test]
fn nodes_that_connect_to_one_hub_find_each_other() {
    let lan = Lan::new();
    let nodes: Vec<_> = (0..4).map(|i| quiet(&lan, &format!("n{i}")).0).collect();
    for node in &nodes[1..] {
        node.connect(address(&nodes[0]), secs(20)).unwrap();
    }
    until("all reach all", || nodes.iter().all(|n| reached(n) == 3));
    let answer = nodes[1].call("__echo__").to("n2").send();
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(nodes[0].stats().dials, 0, "the hub has only accepted");
}

#[test]
fn nobody_there_a_wrong_key_and_oneself_are_errors() {
    let (lan, other) = (Lan::new(), Lan::new());
    let (a, _) = quiet(&lan, "a");
    let (b, _) = quiet(&other, "b");
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = held.local_addr().unwrap();
    for address in [address(&b), address(&a), silent] {
        let e = a.connect(address, Duration::from_millis(600));
        assert_eq!(e, Err(Error::Unreachable(address.to_string())));
    }
    assert!(matches!(
        a.connect("0.0.0.0:1".parse().unwrap(), secs(1)),
        Err(Error::Address(_))
    ));
    assert_eq!(a.peers(), []);
}

#[test]
fn after_a_restart_the_network_is_found_again_from_the_state() {
    let lan = Lan::new();
    let folder = folder("restart");
    let file = folder.join("state.json");
    let (a, _) = quiet(&lan, "a");
    let (b, _) = quiet(&lan, "b");
    assert_eq!(b.load_state(&file), Ok(0), "there is none");
    b.connect(address(&a), secs(20)).unwrap();
    b.save_state(&file).unwrap();
    drop(b);
    let (b, _) = quiet(&lan, "b");
    assert_eq!(b.load_state(&file), Ok(1));
    until("it is found again", || reached(&b) == 1 && reached(&a) == 1);
    fs::write(&file, b"{\"peerbase_state\":1,\"netw").unwrap();
    assert!(matches!(b.load_state(&file), Err(Error::Damaged(_))));
    assert!(!file.exists() && folder.join("state.json.damaged").exists());
    assert_eq!(b.load_state(&file), Ok(0));
    assert_eq!(reached(&b), 1, "nothing else was lost");
    let other = Lan::new().builder("c").start().unwrap();
    b.save_state(&file).unwrap();
    assert_eq!(
        other.load_state(&file),
        Ok(1),
        "the network's name is the same"
    );
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_node_that_saves_while_it_is_linked_to_none_keeps_what_it_knew() {
    let lan = Lan::new();
    let folder = folder("outage");
    let file = folder.join("state.json");
    let (a, _) = quiet(&lan, "a");
    let (b, _) = quiet(&lan, "b");
    b.connect(address(&a), secs(20)).unwrap();
    b.save_state(&file).unwrap();
    let before = fs::read(&file).unwrap();
    drop((a, b));
    let (b, _) = quiet(&lan, "b");
    assert_eq!(b.load_state(&file), Ok(1));
    b.save_state(&file).unwrap();
    assert_eq!(fs::read(&file).unwrap(), before);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn killed_while_it_saves_a_node_leaves_the_old_state_or_the_new() {
    let lan = Lan::new();
    let folder = folder("kill");
    let file = folder.join("state.json");
    let (a, _) = quiet(&lan, "a");
    let mut args = lan.args();
    args.extend(["--no-lan".into(), "--listen".into(), "127.0.0.1:0".into()]);
    for round in 0..8 {
        let mut tool = Tool::with_args(env!("CARGO_BIN_EXE_peerbase"), &[], "b", &args);
        tool.say(&format!("connect {}", address(&a)));
        assert_eq!(tool.hear(), "{\"connected\":\"a\"}");
        for _ in 0..200 {
            tool.say(&format!("save {}", file.display()));
        }
        for _ in 0..round * 5 {
            tool.hear();
        }
        tool.kill();
        let (c, _) = quiet(&lan, "c");
        let loaded = c.load_state(&file);
        assert!(matches!(loaded, Ok(0 | 1)), "{loaded:?}");
        assert!(round == 0 || loaded == Ok(1));
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_killed_peer_is_noticed_within_its_dead_time_and_not_before() {
    let lan = Lan::new();
    let ping = Duration::from_millis(200);
    let a = builder(&lan, "a").ping(ping, ping * 3).start().unwrap();
    let mut args = lan.args();
    args.extend(["--no-lan".into(), "--listen".into(), "127.0.0.1:0".into()]);
    let mut tool = Tool::with_args(env!("CARGO_BIN_EXE_peerbase"), &[], "b", &args);
    let to = SocketAddr::from(([127, 0, 0, 1], tool.port()));
    a.connect(to, secs(20)).unwrap();
    until("it was pinged", || {
        a.peers()[0].ping.is_some_and(|p| p.ago < ping * 2)
    });
    tool.send_signal("STOP");
    until("it is missed", || reached(&a) == 0);
    tool.send_signal("CONT");
    until("it is found again", || reached(&a) == 1);
    tool.kill();
    until("it is gone", || a.peers().is_empty());
    let too_short = builder(&lan, "c").ping(ping, ping).start();
    assert!(matches!(too_short, Err(Error::Argument(_))));
}
