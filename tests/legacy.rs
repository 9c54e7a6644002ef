//! The real PeerBase 0.7.1 and ours in one network: who calls, who is called, and over what.

mod common;

use common::cc::{Link, compile, source};
use common::python::{Hosts, Python};
use common::{Deadline, Lan, Tool, until};
use serde_json::{Value, json};

/// A console call of ours, and its value.
fn call(tool: &mut Tool, line: &str) -> Value {
    tool.say(&format!("call {line}"));
    serde_json::from_str(&tool.hear()).unwrap()
}

fn said(tool: &mut Tool, line: &str) -> Value {
    tool.say(line);
    serde_json::from_str(&tool.hear()).unwrap()
}

/// What a Python node calls at a Python one and at ours.
fn python_calls(python: &mut Python, target: &str) {
    let (echo, printed) = python.command(
        target,
        "__echo__",
        json!([1, 2.5, "é", null]),
        json!({"k": [true]}),
    );
    let text = echo.as_str().unwrap_or_else(|| panic!("{echo}: {printed}"));
    assert!(
        text.starts_with("Echoed args [1, 2.5, 'é', None] and kwargs {'k': [True]} at time ["),
        "{text}"
    );
    let question = json!({"ask": "get_commands", "target": target, "timeout": 20});
    let (commands, printed) = python.insist(&question);
    let known = commands.as_array();
    assert!(
        known.is_some_and(|list| list.contains(&json!("__peers__"))),
        "{commands}: {printed}"
    );
}

/// More than fits one frame, or one segment, there and back.
fn large(python: &mut Python, ours: &mut Tool, of_ours: &str, of_theirs: &str) {
    let text = "x".repeat(300_000);
    let (echo, printed) = python.command(of_ours, "__echo__", json!([text]), json!({}));
    assert!(
        echo.as_str().is_some_and(|echo| echo.contains(&text)),
        "{printed}"
    );
    let value = call(ours, &format!("{of_theirs} sensor.read \"{text}\""));
    assert_eq!(value["args"], json!([text]));
}

/// What ours calls at a Python node.
fn ours_calls_python(tool: &mut Tool, target: &str) {
    let value = call(tool, &format!("{target} sensor.read 1 2.5 \"é\" k=[true]"));
    assert_eq!(
        value,
        json!({"args": [1, 2.5, "é"], "kwargs": {"k": [true]}})
    );
    let commands = said(tool, &format!("commands {target}"));
    assert!(
        commands.as_array().unwrap().contains(&json!("sensor.read")),
        "{commands}"
    );
    tool.say(&format!("call {target} nope"));
    tool.wait_for("command not found: nope");
    tool.say(&format!("call {target} sensor.fail"));
    // With its traceback.
    tool.wait_for("ValueError: no such sensor");
}

/// Calls each of the others, once it is there.
fn python_calls_each(node: &mut Python, others: [&str; 3]) {
    for other in others {
        node.wait_for_peer(other);
        python_calls(node, other);
    }
}

/// A list of ours, and everyone.
fn python_calls_several(node: &mut Python, others: [&str; 3]) {
    let both = node.command_all(json!(["o0", "o1"]), "__echo__", &["o0", "o1"]);
    assert_eq!(both.as_object().unwrap().len(), 2);
    assert!(both["o0"].is_string() && both["o1"].is_string());
    let all = node.command_all(json!("*"), "__list_commands__", &others);
    assert!(others.iter().all(|other| all[other].is_array()), "{all}");
}

/// Errors are in the words of the other protocol, and have its numbers.
fn python_reads_errors(node: &mut Python) {
    let (value, printed) = node.command("o0", "no.such", json!([]), json!({}));
    assert_eq!(
        (value, printed.as_str()),
        (
            Value::Null,
            "Encountered error with status 404:\nCMD \"no.such\" NOT FOUND\n"
        )
    );
    let (_, printed) = node.command("o0", "__echo__", json!("no list"), json!({}));
    assert!(
        printed
            .starts_with("Encountered error with status 500:\ninvalid JSON: args must be an array"),
        "{printed}"
    );
}

fn gateway_in_c(hosts: &Hosts, lan: &Lan, python: &mut Python) {
    let gateway = compile(&source("examples-c/legacy.c"), Link::Shared);
    let mut command = hosts.command(0, gateway.to_str().unwrap());
    command.args([
        "gate",
        "test",
        &lan.key.to_text(),
        &hosts.ports[1].to_string(),
    ]);
    command.env_remove("LD_LIBRARY_PATH");
    let (mut gateway, _) = Tool::start_saying(command);
    python.wait_for_peer("gate");
    let (value, _) = python.command("gate", "gateway.read", json!([3]), json!({}));
    assert_eq!(value, json!({"celsius": 21.5}));
    gateway.wait_for("p1 reads, with [3]");
    let knows: Vec<String> = (0..4).map(|_| gateway.hear()).collect();
    assert!(
        knows
            .iter()
            .any(|line| line.starts_with("p1 knows [\"sensor.read\"")),
        "{knows:?}"
    );
    assert!(gateway.signal("TERM").success());
}

#[test]
fn on_the_lan_python_nodes_take_ours_for_theirs_and_each_calls_each() {
    let Some(hosts) = Hosts::new("l") else { return };
    let lan = Lan::new();
    let mut python = [
        hosts.python(0, "p0", &lan, json!({})),
        hosts.python(1, "p1", &lan, json!({})),
    ];
    let mut ours = [
        hosts.node(0, "o0", &lan, &[]),
        hosts.node(1, "o1", &lan, &[]),
    ];
    for (node, others) in python
        .iter_mut()
        .zip([["p1", "o0", "o1"], ["p0", "o0", "o1"]])
    {
        python_calls_each(node, others);
        python_calls_several(node, others);
        python_reads_errors(node);
        // Where the others are, as they know it.
        let there = json!([common::python::address(1), hosts.ports[0]]);
        until("o0 to have heard p1", || {
            let (peers, _) = node.command("o0", "__peers__", json!([]), json!({}));
            peers["p1"] == there
        });
    }
    for tool in &mut ours {
        ours_calls_python(tool, "p0");
        ours_calls_python(tool, "p1");
    }
    assert_eq!(call(&mut ours[0], "o1 __echo__ 7")["args"], json!([7]));
    tool_call_to_everyone(&mut ours[0]);

    large(&mut python[0], &mut ours[0], "o1", "p1");

    // What is no JSON, though Python writes it.
    let question = json!({"ask": "infinity", "target": "o1"});
    let (_, printed) = python[0].insist(&question);
    assert!(
        printed.contains("status 500") && printed.contains("Infinity"),
        "{printed}"
    );

    // In time, and out of it; also where one of ours does not answer.
    let slow = |seconds: &str, timeout: &str| {
        hosts.call(1, &lan, &["p0", "slow", seconds, "--timeout", timeout])
    };
    let in_time = slow("0.2", "20");
    assert_eq!(String::from_utf8_lossy(&in_time.stdout).trim(), "\"late\"");
    let late = slow("5", "2");
    assert!(
        String::from_utf8_lossy(&late.stderr).contains("timeout"),
        "{late:?}"
    );
    let question = json!({
        "ask": "command", "command_path": "__echo__", "target": "o1", "timeout": 0.5, "raise_errors": true
    });
    let mut said = json!({"error": "LookupError"});
    // Unless the Python node has just forgotten it.
    let deadline = Deadline::new("a call that is out of time");
    while said["error"] == "LookupError" {
        deadline.pause();
        python[0].wait_for_peer("o1");
        ours[1].send_signal("STOP");
        said = python[0].ask(&question).0;
        ours[1].send_signal("CONT");
    }
    assert_eq!(said["error"], "TimeoutError");

    gateway_in_c(&hosts, &lan, &mut python[1]);

    // Who leaves without a word is missed.
    drop(python);
    ours[0].wait_for("p0 left");
    ours[1].wait_for("p0 left");
}

fn tool_call_to_everyone(tool: &mut Tool) {
    tool.say("call * __list_commands__");
    let mut names: Vec<String> = (0..3)
        .map(|_| {
            let line: Value = serde_json::from_str(&tool.hear()).unwrap();
            line["node"].as_str().unwrap().to_owned()
        })
        .collect();
    names.sort();
    assert_eq!(names, ["o1", "p0", "p1"]);
}

/// The same through a relay, theirs or ours: the nodes are on one network, but look for nobody
/// there.
fn through_a_relay(hosts: &Hosts, relay: &str, ours_too: bool) {
    let lan = Lan::new();
    let options = if ours_too {
        ["--no-lan", "--relay", relay]
    } else {
        ["--no-lan", "--compat-relay", relay]
    };
    let settings = json!({"local": false, "servers": [relay]});
    let mut python = [
        hosts.python(0, "p0", &lan, settings.clone()),
        hosts.python(1, "p1", &lan, settings),
    ];
    let mut ours = [
        hosts.node(0, "o0", &lan, &options),
        hosts.node(1, "o1", &lan, &options),
    ];
    for tool in &mut ours {
        tool.wait_for(&format!("relay {relay} is up"));
    }
    for (node, others) in python
        .iter_mut()
        .zip([["p1", "o0", "o1"], ["p0", "o0", "o1"]])
    {
        python_calls_each(node, others);
    }
    for tool in &mut ours {
        ours_calls_python(tool, "p0");
        ours_calls_python(tool, "p1");
    }
    large(&mut python[0], &mut ours[0], "o1", "p1");
    // Ours call ours natively, if the relay is ours; through a relay of theirs as Python nodes do.
    let echo = call(&mut ours[0], "o1 __echo__ 7");
    match ours_too {
        true => assert_eq!(echo, json!({"args": [7], "kwargs": {}})),
        false => assert!(
            echo.as_str()
                .unwrap()
                .starts_with("Echoed args [7] and kwargs {} at time"),
            "{echo}"
        ),
    }
    drop(python);
    ours[0].wait_for("p1 left");
}

#[test]
fn through_the_relay_of_the_package_each_calls_each() {
    let Some(hosts) = Hosts::new("r") else { return };
    let (_relay, at) = hosts.python_relay();
    through_a_relay(&hosts, &at, false);
}

#[test]
fn through_our_relay_in_its_place_each_calls_each() {
    let Some(hosts) = Hosts::new("o") else { return };
    let (_relay, at) = hosts.relay();
    through_a_relay(&hosts, &at, true);
}

#[test]
fn a_relay_that_another_tells_of_is_used_and_one_that_dies_is_passed_over() {
    let Some(hosts) = Hosts::new("s") else { return };
    let lan = Lan::new();
    let (first, at) = hosts.python_relay();
    let (_second, other) = hosts.python_relay();
    let mut ours = hosts.node(0, "o0", &lan, &["--no-lan", "--compat-relay", &at]);
    ours.wait_for(&format!("relay {at} is up"));
    // It knows both, and the first learns of the second from it, and ours from the first.
    let mut python = hosts.python(
        1,
        "p1",
        &lan,
        json!({"local": false, "servers": [at, other]}),
    );
    ours.wait_for(&format!("relay {other} is up"));
    python.wait_for_peer("o0");
    ours_calls_python(&mut ours, "p1");
    drop(first);
    ours.wait_for(&format!("relay {at} is down"));
    ours_calls_python(&mut ours, "p1");
}
