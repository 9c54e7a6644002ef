//! The command line program, as a person or another program uses it.

mod common;

use common::{Lan, PATIENCE, Tool, connect, next, output, secs, until, wait_for_event};
use peerbase::{Event, Key, NetworkName, RelayKey};
use std::io::{Read, Write};
use std::process::{Command, Output};
use std::sync::mpsc::{self, Receiver};

const TOOL: &str = env!("CARGO_BIN_EXE_peerbase");

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(TOOL);
    command.args(args).env_remove("PEERBASE_KEY");
    output(command)
}

#[test]
fn keygen_gives_a_new_key_each_time() {
    let key = || {
        String::from_utf8(run(&["keygen"]).stdout)
            .unwrap()
            .trim()
            .to_owned()
    };
    let (a, b) = (key(), key());
    assert!(Key::parse(&a).is_ok() && Key::parse(&b).is_ok() && a != b);
}

#[test]
fn a_relay_key_comes_from_the_network_key_and_cannot_be_taken_for_it() {
    let network = Key::from_bytes([5; 32]);
    let text = network.to_text();
    let derived = run(&["keygen", "--relay-from", &text, "--network", "n"]);
    let text = String::from_utf8(derived.stdout).unwrap();
    let name = NetworkName::new("n").unwrap();
    assert_eq!(text.trim(), *RelayKey::derive(&network, &name).to_text());
    let relay = |args: &[&str]| {
        let output = run(&[&["relay", "--listen", "127.0.0.1:0"], args].concat());
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, words) = relay(&["--network", "n", "--relay-key", &network.to_text()]);
    assert!(
        code == Some(1) && words.contains("never give a relay"),
        "{words}"
    );
    assert!(
        !words.contains(&*network.to_text()),
        "a key is not repeated"
    );
    let (code, _) = relay(&["--relay-key", text.trim()]);
    assert_eq!(code, Some(2), "which network is it for?");
    let (code, _) = relay(&["--network", "a|b"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        run(&["keygen", "--relay-from", text.trim(), "--network", "n"])
            .status
            .code(),
        Some(1)
    );
}

#[test]
fn a_wrong_command_line_is_status_2_and_a_failure_1() {
    for args in [
        &["fly"][..],
        &[],
        &["keygen", "x"],
        &["node"],
        &["node", "a"],
        &["node", "a", "--network", "n"],
        &["call", "a"],
        &["call", "a", "p", "not json", "--network", "n"],
        &["bench", "nothing"],
        &["relay", "--listen", "nowhere"],
        &["relay", "x"],
        &["keygen", "--relay-from"],
        &["keygen", "--relay-from", "k"],
        &["keygen", "--network", "n"],
    ] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
    for limit in ["peers", "peers=0", "peers=many", "plumbers=1"] {
        let output = run(&["node", "a", "--network", "n", "--limit", limit]);
        assert_eq!(output.status.code(), Some(2), "{limit}");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(words.contains(&format!("--limit {limit}: ")), "{words}");
    }
    let bad_key = run(&[
        "node",
        "a",
        "--network",
        "n",
        "--key",
        "short",
        "--loopback",
    ]);
    assert_eq!(bad_key.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&bad_key.stderr).contains("44 characters"));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}

#[test]
fn a_limit_of_the_command_line_is_the_nodes() {
    let lan = Lan::new();
    let caller = lan.builder("caller").start().unwrap();
    let mut args = lan.args();
    args.extend(["--limit", "max_message=2048", "--limit", "served=16"].map(str::to_owned));
    let node = Tool::with_args(TOOL, &[], "small", &args);
    let echo = |bytes: usize| {
        let call = caller.call("__echo__").arg("x".repeat(bytes));
        call.to("small").timeout(PATIENCE).send()
    };
    assert!(echo(1_000).is_ok());
    assert!(matches!(echo(3_000), Err(peerbase::Error::TooLarge { .. })));
    node.stop();
}

#[test]
fn a_console_lists_and_calls_and_a_signal_says_goodbye() {
    let lan = Lan::new();
    let watcher = lan
        .builder("watcher")
        .command("add", |c| {
            let count = c.args().len();
            c.reply(count)
        })
        .start()
        .unwrap();
    let events = watcher.events();
    let mut node = Tool::node(TOOL, &[], "console", &lan);
    let name = peerbase::NodeName::new("console").unwrap();
    assert_eq!(
        events.next_timeout(PATIENCE),
        Some(Event::PeerJoined(name.clone()))
    );
    node.say("call watcher add 1 \"two words\" {\"three\": 3}");
    assert_eq!(node.hear(), "3");
    node.say("call watcher,watcher __echo__ k=1");
    let echo = r#"{"node":"watcher","value":{"args":[],"kwargs":{"k":1}}}"#;
    assert_eq!((node.hear(), node.hear()), (echo.into(), echo.into()));
    node.say("peers");
    let peer: serde_json::Value = serde_json::from_str(&node.hear()).unwrap();
    assert_eq!(
        (&peer["name"], &peer["path"]),
        (&"watcher".into(), &"direct".into())
    );
    assert_eq!(peer["reachable"], true);
    node.say("call watcher none");
    node.wait_for("command not found");
    node.say("nonsense");
    node.wait_for("no such command");
    // It goes on serving when nothing is typed any more.
    node.close_input();
    assert!(watcher.call("__echo__").to("console").send().is_ok());
    assert!(node.signal("INT").success());
    assert_eq!(events.next_timeout(PATIENCE), Some(Event::PeerLeft(name)));
}

/// A node whose command never answers; what was called is told.
fn holder(lan: &Lan) -> (peerbase::Node, Receiver<peerbase::Call>) {
    let (give, held) = mpsc::channel();
    let hold = move |call| give.send(call).unwrap();
    (
        lan.builder("holder").command("hold", hold).start().unwrap(),
        held,
    )
}

#[test]
fn a_signal_does_not_wait_for_what_was_typed_and_says_goodbye() {
    let lan = Lan::new();
    let (holder, held) = holder(&lan);
    let events = holder.events();
    for signal in ["TERM", "INT"] {
        let mut node = Tool::node(TOOL, &[], signal, &lan);
        // Ten seconds each: together longer than anything here is waited for.
        for _ in 0..60 {
            node.say("call holder hold");
        }
        let _unanswered = next(&held, "the first of the calls");
        assert_eq!(node.signal(signal).code(), Some(0));
        let left = |e: &Event| matches!(e, Event::PeerLeft(name) if name.as_str() == signal);
        wait_for_event(&events, "the goodbye", left);
    }
}

#[test]
fn a_signal_ends_a_call_that_waits() {
    let lan = Lan::new();
    let (holder, held) = holder(&lan);
    let events = holder.events();
    let mut command = Command::new(TOOL);
    command
        .args(["call", "holder", "hold", "--timeout", "600"])
        .args(lan.args());
    let mut waits = Tool::spawn(command);
    let _unanswered = next(&held, "the call");
    waits.send_signal("INT");
    waits.wait_for("ended by a signal");
    assert_eq!(waits.wait("to end by SIGINT").code(), Some(1));
    let left = |e: &Event| matches!(e, Event::PeerLeft(_));
    wait_for_event(&events, "the goodbye", left);
}

/// The processes that one has started, which are still running.
fn children_of(parent: u32) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap();
    let ids = all.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_child = |id: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let after = stat.rsplit(") ").next().unwrap_or_default();
        after.split(' ').nth(1) == Some(&parent.to_string())
    };
    ids.filter(is_child).collect()
}

#[test]
fn a_signal_ends_the_demo_and_what_it_started() {
    let mut command = Command::new(TOOL);
    command.arg("demo");
    let mut demo = Tool::spawn(command);
    demo.wait_for("discovery");
    let children = children_of(demo.id());
    assert!(children.len() >= 2, "{children:?}");
    assert_eq!(demo.signal("TERM").code(), Some(1));
    let runs = |id: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.contains("peerbase) ") && !stat.contains(") Z ")
    };
    until("its processes to end", || !children.iter().any(runs));
}

#[test]
fn exit_ends_the_console() {
    let lan = Lan::new();
    let mut node = Tool::node(TOOL, &[], "console", &lan);
    node.say("exit");
    assert!(node.wait("to end when told to exit").success());
}

#[test]
fn call_prints_one_line_for_each_result() {
    let lan = Lan::new();
    let _a = lan.builder("a").start().unwrap();
    let _b = lan.builder("b").start().unwrap();
    let call = |args: &[&str]| {
        let all: Vec<String> = args
            .iter()
            .map(|a| (*a).to_owned())
            .chain(lan.args())
            .collect();
        let mut command = Command::new(TOOL);
        command.arg("call").args(all);
        output(command)
    };
    let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let one = call(&["a", "__echo__", "1", "--kw", "k=[2]", "--timeout", "60"]);
    assert_eq!(
        said(&one),
        "{\"args\":[1],\"kwargs\":{\"k\":[2]}}\n",
        "{one:?}"
    );
    assert_eq!(one.status.code(), Some(0));
    // It calls those of whom it has heard within an interval.
    until("both to be heard and to answer", || {
        let all = call(&["*", "__echo__", "--timeout", "60"]);
        assert_eq!(all.status.code(), Some(0), "{all:?}");
        said(&all).lines().count() == 2
    });
    let code = |args: &[&str]| call(args).status.code();
    assert_eq!(code(&["a", "none", "--timeout", "60"]), Some(1));
    assert_eq!(code(&["nobody", "x", "--timeout", "0.2"]), Some(1));
}

#[test]
fn a_node_is_given_rules_and_a_caller_is_told_which_one_it_misses() {
    let lan = Lan::new();
    let mut args = lan.args();
    for rule in ["__peers__=name:nobody", "__echo__=name:call-*"] {
        args.extend(["--allow".to_owned(), rule.to_owned()]);
    }
    // A pattern that is none is said before anything starts.
    let refused = run(&["node", "n", "--allow", "__list_*=name:nobody"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{words}");
    assert!(words.contains("--allow __list_*=name:nobody: "), "{words}");
    let refused = run(&["node", "n", "--allow", "name:nobody"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{words}");
    assert!(words.contains("PATTERN=CALLERS is asked for"), "{words}");

    let _node = Tool::with_args(TOOL, &[], "n", &args);
    let call = |path: &str| {
        let mut command = Command::new(TOOL);
        command.args(["call", "n", path, "--timeout", "60"]);
        command.args(lan.args());
        output(command)
    };
    assert_eq!(call("__echo__").status.code(), Some(0));
    let refused = call("__peers__");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{words}");
    let begin = "peerbase: not allowed: the rules of the peer do not let this node call __peers__";
    assert!(words.starts_with(begin), "{words}");
}

#[test]
fn a_killed_process_is_noticed_at_once_where_its_kernel_says_so() {
    let lan = Lan::new();
    let watcher = lan.builder("watcher").start().unwrap();
    let events = watcher.events();
    let node = Tool::node(TOOL, &[], "victim", &lan);
    let name = peerbase::NodeName::new("victim").unwrap();
    assert_eq!(
        events.next_timeout(PATIENCE),
        Some(Event::PeerJoined(name.clone()))
    );
    drop(node);
    // Its adverts stop; three and a half intervals later it is gone.
    assert_eq!(events.next_timeout(PATIENCE), Some(Event::PeerLeft(name)));
}

#[test]
fn a_node_out_of_descriptors_recovers_when_there_are_some_again() {
    let lan = Lan::new();
    let node = Tool::node(
        "sh",
        &["-c", "ulimit -n 24; exec \"$0\" \"$@\"", TOOL],
        "poor",
        &lan,
    );
    let port = node.port();
    let flood: Vec<_> = (0..100)
        .map(|_| connect(([127, 0, 0, 1], port).into()))
        .collect();
    // While it can accept nothing, it still hears and says that it is there.
    let other = lan.builder("other").start().unwrap();
    until("adverts", || {
        other.peers().iter().any(|p| p.name.as_str() == "poor")
    });
    drop(flood);
    assert!(
        other
            .call("__echo__")
            .to("poor")
            .timeout(secs(30))
            .send()
            .is_ok()
    );
}

#[test]
fn the_demo_shows_every_path_and_succeeds() {
    let output = run(&["demo"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.lines().filter(|l| l.starts_with("  ok")).count() >= 10,
        "{said}"
    );
}

/// What is wrong with a line is said in words.
fn bad_lines_are_told(tool: &mut Tool) {
    for (bad, words) in [
        ("fly", "no such command: fly"),
        ("tell", "tell what?"),
        ("connect nowhere", "invalid address"),
        ("req 12", "64 digits"),
        ("load /", "loading the state"),
        ("commands nobody", "unreachable"),
    ] {
        tool.say(bad);
        tool.wait_for(words);
    }
}

#[test]
fn everything_at_the_console_is_answered_with_json_that_a_program_can_read() {
    let lan = Lan::new();
    let folder = std::env::temp_dir().join(format!("peerbase-console-{}", std::process::id()));
    let (offered, fetched) = (folder.join("offered"), folder.join("fetched"));
    std::fs::create_dir_all(&offered).unwrap();
    std::fs::write(offered.join("first"), b"first").unwrap();
    let with = |name: &str, more: &[&str]| {
        let mut args = lan.args();
        args.extend(["--no-lan", "--listen", "127.0.0.1:0", "--files"].map(str::to_owned));
        args.extend(more.iter().map(|m| m.to_string()));
        Tool::with_args(TOOL, &[], name, &args)
    };
    let mut a = with("a", &[offered.to_str().unwrap()]);
    let to = format!("127.0.0.1:{}", a.port());
    let mut b = with("b", &[fetched.to_str().unwrap(), "--connect", &to]);
    let ask = |tool: &mut Tool, line: &str| -> serde_json::Value {
        tool.say(line);
        serde_json::from_str(&tool.hear()).unwrap()
    };
    assert_eq!(ask(&mut b, &format!("connect {to}"))["connected"], "a");
    let peer = ask(&mut b, "peers");
    assert_eq!(
        (&peer["name"], &peer["path"]),
        (&"a".into(), &"direct".into())
    );
    assert!(peer["ping"]["us"].as_u64().is_some());
    assert_eq!(peer["fingerprint"].as_str().map(str::len), Some(24));
    let commands = ask(&mut b, "commands a");
    assert!(commands.as_array().unwrap().contains(&"__peers__".into()));
    assert_eq!(ask(&mut b, "call a __echo__ 1")["args"][0], 1);
    assert_eq!(ask(&mut b, "msg hello, all of you")["delivered"], 1);
    let heard: serde_json::Value = serde_json::from_str(&a.hear()).unwrap();
    let said = serde_json::json!({"from": "b", "message": "hello, all of you", "private": false});
    assert_eq!(heard, said);
    assert_eq!(ask(&mut b, "tell a psst")["told"], "a");
    let heard: serde_json::Value = serde_json::from_str(&a.hear()).unwrap();
    assert_eq!(
        (&heard["message"], &heard["private"]),
        (&"psst".into(), &true.into())
    );
    let second = offered.join("second one");
    std::fs::write(&second, b"second").unwrap();
    assert_eq!(ask(&mut a, "refresh")["added"], 1);
    let added = ask(&mut a, &format!("add {}", second.display()));
    let got = ask(&mut b, &format!("req {}", added["hash"].as_str().unwrap()));
    assert_eq!(got["size"], 6);
    assert_eq!(
        std::fs::read(got["path"].as_str().unwrap()).unwrap(),
        b"second"
    );
    let state = folder.join("state").display().to_string();
    assert_eq!(ask(&mut b, &format!("save {state}"))["saved"], state);
    assert_eq!(ask(&mut b, &format!("load {state}"))["loaded"], 1);
    assert_eq!(ask(&mut b, "debug")["debug"], true);
    b.say("call a __echo__");
    b.wait_for("debug: ");
    b.hear();
    assert_eq!(ask(&mut b, "debug")["debug"], false);
    b.say("help");
    b.wait_for("connect IP:PORT");
    bad_lines_are_told(&mut b);
    b.say("exit");
    assert!(b.wait("to end when told to exit").success());
    std::fs::remove_dir_all(folder).unwrap();
}

/// Posts to a relay as a Python node does; what is answered.
fn ping_as_python(relay: &str) -> String {
    let body = br#"{"node_name":"py","node_network":"test","known_servers":[]}"#;
    let mut request = Vec::new();
    peerbase::compat::http::write_post(relay, "/ping/", body, None, &mut request);
    let mut stream = connect(relay.parse().unwrap());
    stream.write_all(&request).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn a_relay_serves_python_nodes_unless_told_not_to_and_a_node_only_if_told_to() {
    let lan = Lan::new();
    let (_relay, at) = Tool::relay(TOOL, &[], &["--listen", "127.0.0.1:0"]);
    let node = |name: &str, options: &[&str]| {
        let more = options.iter().map(|o| (*o).to_owned());
        let args: Vec<String> = lan.args().into_iter().chain(more).collect();
        Tool::with_args(TOOL, &[], name, &args)
    };
    let _silent = node("silent", &["--relay", &at, "--no-lan"]);
    let mut speaks = node("speaks", &["--relay", &at, "--no-lan", "--compat"]);
    let mut other = node("other", &["--compat-relay", &at, "--no-lan"]);
    until("all who speak it", || {
        ping_as_python(&at).contains(r#""peers":["other","py","speaks"]"#)
    });
    speaks.say("call other __echo__ 1");
    assert!(
        speaks
            .hear()
            .starts_with("\"Echoed args [1] and kwargs {} at time ")
    );
    other.say("peers");
    let line = other.hear();
    assert!(
        line.contains(&format!("\"path\":\"compat relay {at}\"")),
        "{line}"
    );
    assert!(other.signal("TERM").success());

    let (_relay, at) = Tool::relay(TOOL, &[], &["--listen", "127.0.0.1:0", "--no-compat"]);
    assert!(!ping_as_python(&at).starts_with("HTTP"));
}
