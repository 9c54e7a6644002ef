//! What crosses a network: hosts in network namespaces of their own, joined by a virtual cable.

mod common;

use common::{Lan, Tool};
use std::process::Command;

const TOOL: &str = env!("CARGO_BIN_EXE_peerbase");

fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(
        output.status.success(),
        "ip {line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Two hosts and a cable; taken down when dropped.
struct Hosts {
    left: String,
    right: String,
}

impl Hosts {
    /// `None` where this machine does not let us make any.
    fn new(test: &str) -> Option<Hosts> {
        let id = std::process::id();
        let hosts = Hosts {
            left: format!("pb{id}{test}l"),
            right: format!("pb{id}{test}r"),
        };
        let probe = format!("pb{id}{test}p");
        // Made and taken away again, to see whether it can be done.
        let works = common::have(
            "ip",
            &["netns", "add", &probe],
            "tests in network namespaces",
        );
        if !works {
            return None;
        }
        ip(&format!("netns del {probe}"));
        for host in [&hosts.left, &hosts.right] {
            ip(&format!("netns add {host}"));
            ip(&format!("-n {host} link set lo up"));
        }
        ip(&format!(
            "-n {} link add cable type veth peer name cable netns {}",
            hosts.left, hosts.right
        ));
        Some(hosts)
    }

    fn address(&self, host: &str, address: &str) {
        ip(&format!("-n {host} addr add {address} brd + dev cable"));
        ip(&format!("-n {host} link set cable up"));
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in [&self.left, &self.right] {
            let _ = Command::new("ip").args(["netns", "del", host]).status();
        }
    }
}

/// A node on a host, on every interface it has.
fn node(host: &str, name: &str, lan: &Lan) -> Tool {
    let args: Vec<String> = lan
        .args()
        .into_iter()
        .filter(|a| a != "--loopback")
        .collect();
    Tool::with_args("ip", &["netns", "exec", host, TOOL], name, &args)
}

fn call_works(from: &mut Tool, to: &str) {
    from.say(&format!("call {to} __echo__ 7"));
    assert_eq!(from.hear(), r#"{"args":[7],"kwargs":{}}"#);
}

#[test]
fn nodes_on_two_hosts_meet_by_broadcast_and_again_after_the_cable_and_the_address_changed() {
    let Some(hosts) = Hosts::new("a") else { return };
    hosts.address(&hosts.left, "10.77.0.1/24");
    hosts.address(&hosts.right, "10.77.0.2/24");
    // A second interface that leads nowhere, as a container bridge does; and no default route.
    ip(&format!(
        "-n {} link add idle type veth peer name idle2",
        hosts.left
    ));
    ip(&format!(
        "-n {} addr add 10.78.0.1/24 brd + dev idle",
        hosts.left
    ));
    ip(&format!("-n {} link set idle up", hosts.left));
    let lan = Lan::new();
    let mut left = node(&hosts.left, "left", &lan);
    let mut right = node(&hosts.right, "right", &lan);
    left.wait_for("right joined");
    call_works(&mut left, "right");
    call_works(&mut right, "left");

    ip(&format!("-n {} link set cable down", hosts.right));
    left.wait_for("right left");
    ip(&format!("-n {} addr flush dev cable", hosts.right));
    hosts.address(&hosts.right, "10.77.0.9/24");
    left.wait_for("right joined");
    call_works(&mut left, "right");
    call_works(&mut right, "left");
    assert!(left.signal("TERM").success());
    right.wait_for("left left");
}

#[test]
fn a_node_starts_without_any_interface_and_takes_the_one_that_comes() {
    let Some(hosts) = Hosts::new("b") else { return };
    let lan = Lan::new();
    // Nothing but the loopback: two on one host meet.
    let mut first = node(&hosts.left, "first", &lan);
    let _second = node(&hosts.left, "second", &lan);
    first.wait_for("second joined");
    call_works(&mut first, "second");
    hosts.address(&hosts.right, "10.77.0.2/24");
    let mut far = node(&hosts.right, "far", &lan);
    hosts.address(&hosts.left, "10.77.0.1/24");
    far.wait_for("first joined");
    call_works(&mut far, "second");
}

#[test]
fn a_name_taken_on_another_host_is_taken() {
    let Some(hosts) = Hosts::new("c") else { return };
    hosts.address(&hosts.left, "10.77.0.1/24");
    hosts.address(&hosts.right, "10.77.0.2/24");
    let lan = Lan::new();
    let _one = node(&hosts.left, "one", &lan);
    let args: Vec<String> = lan
        .args()
        .into_iter()
        .filter(|a| a != "--loopback")
        .collect();
    let mut twin = Command::new("ip");
    twin.args(["netns", "exec", &hosts.right, TOOL, "node", "one"])
        .args(args);
    let output = twin.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("name-taken"));
}

#[test]
fn nodes_of_a_host_whose_network_is_ipv6_only_meet_all_the_same() {
    let Some(hosts) = Hosts::new("d") else { return };
    for (host, address) in [(&hosts.left, "fd77::1/64"), (&hosts.right, "fd77::2/64")] {
        ip(&format!("-n {host} addr add {address} dev cable nodad"));
        ip(&format!("-n {host} link set cable up"));
    }
    // Adverts are IPv4; two nodes of one host meet, whatever the cable speaks.
    let lan = Lan::new();
    let mut first = node(&hosts.left, "first", &lan);
    let _second = node(&hosts.left, "second", &lan);
    first.wait_for("second joined");
    call_works(&mut first, "second");
}
