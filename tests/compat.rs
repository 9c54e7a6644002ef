//! The protocol of PeerBase 0.7.1 over real sockets, spoken by hand: what a Python node would see
//! and do.

mod common;

use common::{Deadline, Lan, accept, connect, join, next, secs, wait_for_event};
use peerbase::compat::{http, message};
use peerbase::fernet::Keyring;
use peerbase::{Compat, Error, Event, Key, Node, OsEntropy, Path, RelayServer};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The UDP port of Python nodes, of this test's own: it hears their adverts.
struct Adverts {
    socket: UdpSocket,
    port: u16,
}

impl Adverts {
    fn new() -> Adverts {
        let (socket, port) = common::shared_port([127, 255, 255, 255], 0);
        Adverts { socket, port }
    }

    fn compat(&self) -> Compat {
        Compat::new().advertise_port(self.port)
    }

    /// Where a node of this name says to be.
    fn find(&self, name: &str) -> SocketAddrV4 {
        let wanted = format!("test.{name}|");
        let deadline = Deadline::new(&wanted);
        loop {
            let mut buf = [0; 2_000];
            let time = Some(deadline.left());
            self.socket.set_read_timeout(time).unwrap();
            let n = self.socket.recv(&mut buf).expect(&wanted);
            let text = std::str::from_utf8(&buf[..n]).unwrap();
            if let Some(place) = text.strip_prefix(&wanted) {
                return place.parse().unwrap();
            }
        }
    }
}

fn seal(key: &Key, text: &str) -> Vec<u8> {
    let keys = Keyring::from(key.clone());
    message::seal(text.as_bytes(), &keys, 0, &mut OsEntropy::new().unwrap())
}

fn open(key: &Key, body: &[u8]) -> Value {
    let mut buf = Vec::new();
    let text = message::open(body, &Keyring::from(key.clone()), &mut buf).expect("sealed");
    serde_json::from_str(text).unwrap()
}

/// Posts, reads to the end of the connection, and gives the status and the body.
fn post(to: SocketAddr, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = connect(to);
    let mut request = Vec::new();
    http::write_post("host", path, body, None, &mut request);
    stream.write_all(&request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = http::answer(&answer, 1 << 30).unwrap().expect("a head");
    (head.status, answer[head.size..].to_vec())
}

#[test]
fn a_node_advertises_in_clear_and_answers_what_is_posted() {
    let (lan, adverts) = (Lan::new(), Adverts::new());
    let node = lan
        .builder("ours")
        .compat(adverts.compat())
        .command("later", |call| {
            // From another thread, as a slow sensor would.
            std::thread::spawn(move || {
                let value = json!({"from": call.caller().as_str(), "args": call.args()});
                call.reply(value)
            });
        })
        .command("fail", |call| call.fail("no \"such\" thing"))
        .start()
        .unwrap();
    let at = adverts.find("ours");
    assert!(at.ip().is_loopback() && at.port() != node.port());
    let call = |command: &str| {
        let text = json!({"timestamp": 1.5, "command": command, "args": [1], "kwargs": {}, "initiator": "test.py"});
        let (status, body) = post(at.into(), "/", &seal(&lan.key, &text.to_string()));
        assert_eq!(body.last(), Some(&b'\n'));
        (status, open(&lan.key, &body)["response"].take())
    };
    assert_eq!(call("later"), (200, json!({"from": "py", "args": [1]})));
    assert_eq!(call("fail"), (500, json!("no \"such\" thing")));
    assert_eq!(call("none"), (404, json!("CMD \"none\" NOT FOUND")));
    let (status, commands) = call("__list_commands__");
    assert!(status == 200 && commands.as_array().unwrap().contains(&json!("later")));
    assert_eq!(post(at.into(), "/", b"no token").0, 400);
    // Too much, all at once: what is wrong is heard, although it was not all read.
    let flood = vec![b'A'; 20_000_000];
    let mut stream = connect(at.into());
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        flood.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.0 413"));
    assert_eq!(node.stats().compat_refused, 2);
    // The native port knows nothing of it.
    let mut stream = connect((Ipv4Addr::LOCALHOST, node.port()).into());
    let text = format!("POST / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(70));
    stream.write_all(text.as_bytes()).unwrap();
    answer.clear();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{}", answer.escape_ascii());
}

#[test]
fn no_rule_names_a_python_node() {
    let (lan, adverts) = (Lan::new(), Adverts::new());
    let node = lan
        .builder("ours")
        .compat(adverts.compat())
        .command("open", |call| call.reply(true))
        .command("valve.open", |call| call.reply(true))
        .allow("valve.**", "name:*")
        .allow("__echo__", "name:py")
        .allow("__peers__", "name:py")
        .start()
        .unwrap();
    let at = adverts.find("ours");
    let call = |command: &str| {
        let text = json!({"timestamp": 1.5, "command": command, "args": [], "kwargs": {}, "initiator": "test.py"});
        let (status, body) = post(at.into(), "/", &seal(&lan.key, &text.to_string()));
        (status, open(&lan.key, &body)["response"].take())
    };
    assert_eq!(call("open"), (200, json!(true)));
    for closed in ["valve.open", "__echo__", "__peers__"] {
        let why = format!("the rules of this node let no Python node call {closed}");
        assert_eq!(call(closed), (403, json!(why)));
    }
    assert_eq!((node.stats().calls_denied, node.stats().served), (3, 1));
}

#[test]
fn a_command_learns_that_its_python_caller_has_gone() {
    let (lan, adverts) = (Lan::new(), Adverts::new());
    let (tell, told) = std::sync::mpsc::channel();
    let node = lan
        .builder("ours")
        .compat(adverts.compat())
        .command("slow", move |call| {
            let _ = tell.send(call);
        })
        .start()
        .unwrap();
    let at = adverts.find("ours");
    let text = r#"{"command":"slow","args":[],"kwargs":{},"initiator":"test.py"}"#;
    let mut request = Vec::new();
    http::write_post("a", "/", &seal(&lan.key, text), None, &mut request);
    let mut stream = connect(at.into());
    stream.write_all(&request).unwrap();
    let call = next(&told, "the call");
    assert!(call.is_wanted());
    assert_eq!(node.stats().serving, 1);
    drop(stream);
    common::until("the caller is missed", || !call.is_wanted());
    assert_eq!(node.stats().serving, 1, "the program still has it");
    // Nobody hears it; nothing breaks.
    call.reply("too late").unwrap();
    assert_eq!(node.stats().serving, 0);
    assert_eq!(post(at.into(), "/", b"x").0, 400);
}

/// A Python node, as far as ours can tell.
struct Python {
    on: Arc<AtomicBool>,
    advertiser: JoinHandle<()>,
    listener: TcpListener,
}

impl Python {
    fn new(name: &str, adverts: &Adverts) -> Python {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let advert = format!("test.{name}|{}", listener.local_addr().unwrap());
        let on = Arc::new(AtomicBool::new(true));
        let (goes_on, port) = (on.clone(), adverts.port);
        let socket = adverts.socket.try_clone().unwrap();
        let advertiser = std::thread::spawn(move || {
            while goes_on.load(Ordering::Relaxed) {
                let sent = socket.send_to(advert.as_bytes(), ("127.255.255.255", port));
                assert_eq!(sent.unwrap(), advert.len());
                std::thread::park_timeout(Duration::from_secs(1));
            }
        });
        Python {
            on,
            advertiser,
            listener,
        }
    }

    /// Takes the next call: what is asked, and the connection.
    fn called(&self, key: &Key) -> (Value, TcpStream) {
        let mut stream = accept(&self.listener, "a call of the Python node");
        let mut reader = http::Reader::default();
        let mut buf = [0; 4_096];
        loop {
            let n = stream.read(&mut buf).unwrap();
            assert!(n > 0, "a whole request");
            if reader.take(&buf[..n], 1 << 24).unwrap() {
                return (open(key, reader.body()), stream);
            }
        }
    }

    /// Answers the next call, in the words of Python's `http.server`.
    fn answer(&self, key: &Key, status: &str, response: &Value) -> Value {
        let (asked, mut stream) = self.called(key);
        let text = json!({"timestamp": 1.5, "response": response}).to_string();
        let head = format!("HTTP/1.0 {status}\r\nServer: BaseHTTP/0.6 Python/3.11\r\n\r\n");
        let body = [head.as_bytes(), &seal(key, &text), b"\n"].concat();
        stream.write_all(&body).unwrap();
        asked
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.on.store(false, Ordering::Relaxed);
        self.advertiser.thread().unpark();
    }
}

fn out_of_time_its_connection_ends(node: &Node, python: &Python, key: &Key) {
    let (done, ended) = std::sync::mpsc::channel();
    node.call("x")
        .to("py")
        .timeout(secs(2))
        .send_async(move |result| done.send(result).unwrap())
        .unwrap();
    let (_, mut stream) = python.called(key);
    let result = next(&ended, "the call to be out of time");
    assert_eq!(result, Err(Error::Timeout));
    assert_eq!(stream.read(&mut [0; 10]).unwrap_or(0), 0);
}

fn only_native_nodes_stream(node: &Node) {
    let stream = node.call("x").to("py").timeout(secs(5)).stream();
    let refused = stream.and_then(|s| s.value());
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
}

#[test]
fn a_node_finds_calls_and_misses_a_python_one() {
    let (lan, adverts) = (Lan::new(), Adverts::new());
    let ours = lan.builder("ours").compat(adverts.compat());
    let node = ours.start().unwrap();
    let events = node.events();
    let python = Python::new("py", &adverts);
    wait_for_event(
        &events,
        "py",
        |e| matches!(e, Event::PeerJoined(n) if n.as_str() == "py"),
    );
    let peers = node.peers();
    assert_eq!(peers[0].path, Some(Path::Compat(None)));
    assert!(!peers[0].reachable);

    let call = |path: &str| {
        let node = node.clone();
        let path = path.to_owned();
        std::thread::spawn(move || {
            node.call(&path)
                .arg(1)
                .kwarg("k", 2)
                .to("py")
                .timeout(secs(30))
                .send()
        })
    };
    let waits = call("a.b");
    let asked = python.answer(&lan.key, "200 OK", &json!({"x": [1.5, null]}));
    assert_eq!(
        join(waits, "the call to end"),
        Ok(json!({"x": [1.5, null]}))
    );
    assert_eq!(asked["command"], "a.b");
    assert_eq!(
        (&asked["args"], &asked["kwargs"]),
        (&json!([1]), &json!({"k": 2}))
    );
    assert_eq!(asked["initiator"], "test.ours");
    assert!(asked["timestamp"].is_f64());

    let waits = call("none");
    python.answer(&lan.key, "404 Not Found", &json!("CMD \"none\" NOT FOUND"));
    assert_eq!(
        join(waits, "the call to end"),
        Err(Error::CommandNotFound("none".into()))
    );
    let waits = call("bad");
    python.answer(
        &lan.key,
        "500 Internal Server Error",
        &json!("Traceback: é"),
    );
    assert_eq!(
        join(waits, "the call to end"),
        Err(Error::CommandFailed("Traceback: é".into()))
    );
    // A node of another key ends the connection.
    let waits = call("x");
    drop(python.called(&lan.key));
    assert!(matches!(
        join(waits, "the call to end"),
        Err(Error::Damaged(_))
    ));
    out_of_time_its_connection_ends(&node, &python, &lan.key);
    only_native_nodes_stream(&node);
    drop(python);
    wait_for_event(
        &events,
        "py gone",
        |e| matches!(e, Event::PeerLeft(n) if n.as_str() == "py"),
    );
}

#[test]
fn one_port_of_a_relay_serves_both_kinds() {
    let lan = Lan::new();
    let relay = RelayServer::builder()
        .compat(true)
        .start("127.0.0.1:0".parse().unwrap())
        .unwrap();
    let at = relay.address().to_string();
    // One that looks its name up, which may mean an address where nobody listens, too.
    let by_name = format!("localhost:{}", relay.address().port());
    let node = |name: &str, compat: bool| {
        let mut builder = lan.builder(name).lan(false).relay(&at);
        if compat {
            let at = if name == "also" { &by_name } else { &at };
            builder = builder.compat(Compat::new().relay(at));
        }
        builder.start().unwrap()
    };
    let both = node("both", true);
    let events = both.events();
    let (also, native) = (node("also", true), node("native", false));
    for name in ["also", "native"] {
        let value = both
            .call("__echo__")
            .arg(1)
            .to(name)
            .timeout(secs(30))
            .send();
        assert_eq!(value, Ok(json!({"args": [1], "kwargs": {}})), "natively");
    }
    // A Python node sees those that speak its protocol.
    let ping = br#"{"node_name":"py","node_network":"test","known_servers":[]}"#;
    let pong = || -> Value {
        let (status, body) = post(relay.address(), "/ping/", ping);
        assert_eq!(status, 200);
        serde_json::from_slice(&body).unwrap()
    };
    common::until("both", || pong()["peers"] == json!(["also", "both", "py"]));
    // And calls them.
    let call = json!({"timestamp": 1, "command": "__list_commands__", "args": [], "kwargs": {}, "initiator": "test.py"});
    let data = String::from_utf8(seal(&lan.key, &call.to_string())).unwrap();
    let packet = json!({"target": "also", "data": data, "packet_id": "p1", "originator": "py", "r_type": "request", "remote_addr": at});
    let (status, body) = post(relay.address(), "/send/", packet.to_string().as_bytes());
    assert_eq!((status, &body[..]), (200, &br#"{"pid":"p1"}"#[..]));
    let mut answer = Value::Null;
    common::until("an answer", || {
        answer = pong()["buffer"]["p1"].take();
        answer.is_object()
    });
    assert_eq!(
        (&answer["type"], &answer["originator"]),
        (&json!("response"), &json!("also"))
    );
    let result = open(&lan.key, answer["data"].as_str().unwrap().as_bytes());
    assert_eq!(result["status"], 200);
    assert!(
        result["result"]
            .as_array()
            .unwrap()
            .contains(&json!("__echo__"))
    );
    let stats = relay.stats();
    assert!(
        stats.mailboxes == 3 && stats.members == 3 && stats.http_refused == 0,
        "{stats:?}"
    );
    // One relay, whatever it speaks.
    drop((also, native));
    both.stop();
    let up = |e: &Event| matches!(e, Event::RelayUp(r) if r.as_str() == at);
    assert_eq!(events.filter(up).count(), 1);
}

#[test]
fn what_cannot_be_is_said_before_anything_is_opened() {
    let key = Key::from_bytes([1; 32]);
    let start = |compat: Compat| {
        let builder = Node::builder("a", "test", key.clone()).loopback(true);
        builder.max_remotes(1).compat(compat).start().map(drop)
    };
    let relays = ["a:1", "b:2"].iter().fold(Compat::new(), |c, r| c.relay(r));
    for bad in [
        Compat::new().advertise_port(0),
        Compat::new().tick(Duration::ZERO),
        Compat::new().tick(secs(61)),
        Compat::new().listen("10.0.0.1:1".parse().unwrap()),
        relays,
    ] {
        assert!(
            matches!(start(bad.clone()), Err(Error::Argument(_))),
            "{bad:?}"
        );
    }
    assert!(matches!(
        start(Compat::new().relay("no port")),
        Err(Error::Address(_))
    ));
}
