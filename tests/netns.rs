//! What crosses a network: hosts in network namespaces of their own, joined by a virtual cable.

mod common;

use common::{Lan, Tool, ip, until};
use std::process::Command;

const TOOL: &str = env!("CARGO_BIN_EXE_peerbase");

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
            common::take_down(host);
        }
    }
}

/// A host without a cable; taken down when dropped.
struct Host(String);

impl Host {
    fn new(test: &str) -> Host {
        let host = Host(format!("pb{}{test}", std::process::id()));
        ip(&format!("netns add {}", host.0));
        ip(&format!("-n {} link set lo up", host.0));
        host
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        common::take_down(&self.0);
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
    let twin = || {
        let mut twin = Command::new("ip");
        twin.args(["netns", "exec", &hosts.right, TOOL, "node", "one"])
            .args(&args);
        let mut twin = Tool::spawn(twin);
        // For the case that it becomes a node after all.
        twin.say("exit");
        twin.output()
    };
    // A node asks for its name for a quarter of a second, which may be too short for an answer on a
    // busy machine.
    until("the name to be taken", || {
        let output = twin();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() || said.contains("name-taken"),
            "{output:?}"
        );
        output.status.code() == Some(1)
    });
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

/// A file that a host sees in place of its own in /etc; taken away when dropped.
struct Etc(std::path::PathBuf);

impl Etc {
    fn new(host: &str, file: &str, text: &str) -> Etc {
        let folder = std::path::Path::new("/etc/netns").join(host);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(file), text).unwrap();
        Etc(folder)
    }
}

impl Drop for Etc {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        // Only if nobody else needs it.
        let _ = std::fs::remove_dir("/etc/netns");
    }
}

/// A node on a host that is given a relay.
fn node_with_relay(host: &str, name: &str, lan: &Lan, relay: &str) -> Tool {
    let mut args: Vec<String> = lan
        .args()
        .into_iter()
        .filter(|a| a != "--loopback")
        .collect();
    args.extend(["--relay".into(), relay.into()]);
    Tool::with_args("ip", &["netns", "exec", host, TOOL], name, &args)
}

#[test]
fn two_lans_that_cannot_see_each_other_are_joined_by_a_relay_that_both_can_reach() {
    let Some(near) = Hosts::new("e") else { return };
    let far = Host::new("f");
    // The relay's host has a cable to each LAN, and passes nothing on by itself.
    near.address(&near.left, "10.77.1.2/24");
    near.address(&near.right, "10.77.1.1/24");
    ip(&format!(
        "-n {} link add second type veth peer name cable netns {}",
        near.right, far.0
    ));
    ip(&format!(
        "-n {} addr add 10.77.2.1/24 brd + dev second",
        near.right
    ));
    ip(&format!("-n {} link set second up", near.right));
    let relay_host = near.right.clone();
    // One LAN knows the relay by name.
    let _hosts = Etc::new(&near.left, "hosts", "10.77.1.1 relay.test\n");
    let lan = Lan::new();
    let network = peerbase::NetworkName::new("test").unwrap();
    let key = peerbase::RelayKey::derive(&lan.key, &network);
    let args = [
        "--listen",
        "0.0.0.0:0",
        "--network",
        "test",
        "--relay-key",
        &key.to_text(),
    ];
    let before = ["netns", "exec", &relay_host, TOOL];
    let (mut relay, at) = Tool::relay("ip", &before, &args);
    let port = at.rsplit(':').next().unwrap();
    let (by_name, by_address) = (format!("relay.test:{port}"), format!("10.77.2.1:{port}"));

    ip(&format!(
        "-n {} addr add 10.77.2.2/24 brd + dev cable",
        far.0
    ));
    ip(&format!("-n {} link set cable up", far.0));
    let mut one = node_with_relay(&near.left, "one", &lan, &by_name);
    one.wait_for(&format!("relay {by_name} is up"));
    let mut beside = node(&near.left, "beside", &lan);
    one.wait_for("beside joined");
    let mut other = node_with_relay(&far.0, "other", &lan, &by_address);
    one.wait_for("other joined");
    call_works(&mut one, "other");
    call_works(&mut other, "one");
    one.say("call one __peers__");
    assert_eq!(
        one.hear(),
        format!(r#"{{"beside":"direct","other":"relay {by_name}"}}"#)
    );
    // On its LAN only, and told of no relay that it may use.
    beside.say("call other __echo__ 1");
    beside.wait_for("unreachable");

    relay.kill();
    one.wait_for(&format!("relay {by_name} is down"));
    one.wait_for("other left");
    call_works(&mut one, "beside");
    let listen = format!("0.0.0.0:{port}");
    let args = [&["--listen", &listen], &args[2..]].concat();
    let (_again, _) = Tool::relay("ip", &before, &args);
    one.wait_for("other joined");
    call_works(&mut other, "one");
    assert!(other.signal("TERM").success());
    one.wait_for("other left");
}

#[test]
fn a_relay_whose_name_takes_for_ever_to_resolve_holds_up_nothing_else() {
    let Some(hosts) = Hosts::new("g") else { return };
    hosts.address(&hosts.left, "10.77.0.1/24");
    hosts.address(&hosts.right, "10.77.0.2/24");
    // Nobody has this address: questions are asked, and asked again, and never answered.
    let _dns = Etc::new(
        &hosts.left,
        "resolv.conf",
        "nameserver 10.77.0.99\noptions timeout:30\n",
    );
    let lan = Lan::new();
    let mut waits = node_with_relay(&hosts.left, "waits", &lan, "slow.test:7700");
    let mut right = node(&hosts.right, "right", &lan);
    waits.wait_for("right joined");
    call_works(&mut waits, "right");
    call_works(&mut right, "waits");
    waits.wait_for("relay slow.test:7700 is down");
    call_works(&mut waits, "right");
    assert!(
        waits.signal("TERM").success(),
        "it ends while the question is open"
    );
}
