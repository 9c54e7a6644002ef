//! The real PeerBase 0.7.1, in network namespaces of its own: it binds to what its host's name
//! means.

use super::{Deadline, Lan, Tool, check, have, ip, output};
use serde_json::{Value, json};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;

const TOOL: &str = match option_env!("CARGO_BIN_EXE_peerbase") {
    Some(tool) => tool,
    None => "", // built without the tool, which no test of such a build runs
};

/// The interpreter that has the package: of a virtual environment, say.
pub fn interpreter() -> String {
    std::env::var("PEERBASE_PYTHON").unwrap_or("python3".into())
}

/// Two hosts and a cable between them, each with a name that means its address; taken down when
/// dropped.
pub struct Hosts {
    names: [String; 2],
    hosts_file: PathBuf,
    /// The TCP port of the network's Python nodes, and the UDP port that they advertise on; each
    /// host has an address of its own.
    pub ports: [u16; 2],
    _held: [UdpSocket; 2],
}

/// A port whose number is nobody else's while it is held. Not one of those that the kernel gives to
/// connections, since in a namespace of its own a program asks for it by its number.
fn hold_port() -> (UdpSocket, u16) {
    let first = 10_000 + (std::process::id() % 10_000) as u16;
    let mut ports = (first..32_000).map(|port| (UdpSocket::bind(("127.0.0.1", port)), port));
    let held = ports.find_map(|(held, port)| Some((held.ok()?, port)));
    held.expect("a free port")
}

/// Where a host is.
pub fn address(host: usize) -> String {
    format!("10.79.0.{}", host + 1)
}

impl Hosts {
    /// `None` where this machine has not got what it takes.
    pub fn new(test: &str) -> Option<Hosts> {
        let needs = "import peerbase, fastapi, uvicorn";
        let what = "networks of the real PeerBase 0.7.1";
        if !have(&interpreter(), &["-c", needs], what) {
            return None;
        }
        let id = std::process::id();
        let names = [0, 1].map(|host| format!("pb{id}{test}{host}"));
        let probe = format!("pb{id}{test}p");
        if !have("ip", &["netns", "add", &probe], what) {
            return None;
        }
        ip(&format!("netns del {probe}"));
        let hosts_file =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("hosts-{id}-{test}"));
        let line = |host: usize| format!("{} {}\n", address(host), names[host]);
        let text = format!("127.0.0.1 localhost\n{}{}", line(0), line(1));
        std::fs::write(&hosts_file, text).unwrap();
        for name in &names {
            ip(&format!("netns add {name}"));
            ip(&format!("-n {name} link set lo up"));
        }
        let [left, right] = &names;
        ip(&format!(
            "-n {left} link add cable type veth peer name cable netns {right}"
        ));
        for (host, name) in names.iter().enumerate() {
            ip(&format!(
                "-n {name} addr add {}/24 brd + dev cable",
                address(host)
            ));
            ip(&format!("-n {name} link set cable up"));
            // It broadcasts to 255.255.255.255, which goes the default way.
            ip(&format!("-n {name} route add default dev cable"));
        }
        let [(tcp, first), (udp, second)] = [hold_port(), hold_port()];
        Some(Hosts {
            names,
            hosts_file,
            ports: [first, second],
            _held: [tcp, udp],
        })
    }

    /// A command on a host, where its name means its address.
    pub fn command(&self, host: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        let script = "mount --bind \"$1\" /etc/hosts && hostname \"$2\" && shift 2 && exec \"$@\"";
        command
            .args([
                "netns",
                "exec",
                &self.names[host],
                "unshare",
                "--mount",
                "--uts",
            ])
            .args(["sh", "-c", script, "sh"])
            .arg(&self.hosts_file)
            .args([&self.names[host], program]);
        command
    }

    /// One of our nodes.
    pub fn node(&self, host: usize, name: &str, lan: &Lan, more: &[&str]) -> Tool {
        let mut command = self.command(host, TOOL);
        command.args(["node", name]).args(self.ours(lan)).args(more);
        Tool::start(command).0
    }

    /// The tool's `call` of a node, with its end.
    pub fn call(&self, host: usize, lan: &Lan, args: &[&str]) -> std::process::Output {
        let mut command = self.command(host, TOOL);
        command.arg("call").args(args).args(self.ours(lan));
        output(command)
    }

    /// A `peerbase relay` on the second host; where it is.
    pub fn relay(&self) -> (Tool, String) {
        let mut command = self.command(1, TOOL);
        command.args(["relay", "--listen", &format!("{}:0", address(1))]);
        let (relay, ready) = Tool::start(command);
        (relay, ready.rsplit(' ').next().unwrap().to_owned())
    }

    /// A `relay.py` on the second host; where it is.
    pub fn python_relay(&self) -> (PythonRelay, String) {
        let mut find = Command::new(interpreter());
        find.args([
            "-c",
            "import peerbase, os; print(os.path.dirname(peerbase.__file__))",
        ]);
        let folder = check(find);
        let (held, port) = hold_port();
        let mut command = self.command(1, &interpreter());
        // It looks for itself by the name of its module.
        command.current_dir(folder.trim());
        // Nodes that are slow to ask stay its members; half a second is too little on a busy
        // machine.
        command.args(["relay.py", "--timeout", "10", "--port", &port.to_string()]);
        let mut program = Tool::spawn(command);
        program.wait_for("Uvicorn running");
        let relay = PythonRelay {
            program,
            _held: held,
        };
        (relay, format!("{}:{port}", address(1)))
    }

    /// A Python node.
    pub fn python(&self, host: usize, name: &str, lan: &Lan, more: Value) -> Python {
        let mut settings = json!({"name": name, "network": "test", "key": &*lan.key.to_text(), "ports": self.ports});
        let given = more.as_object().unwrap().clone();
        settings.as_object_mut().unwrap().extend(given);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/legacy.py");
        let mut command = self.command(host, &interpreter());
        command.args([script, &settings.to_string()]);
        Python(Tool::start_saying(command).0)
    }

    /// The options of one of our nodes.
    fn ours(&self, lan: &Lan) -> Vec<String> {
        let all = lan.args().into_iter();
        let mut args: Vec<String> = all.filter(|a| a != "--loopback").collect();
        args.extend([
            "--compat".into(),
            "--compat-port".into(),
            self.ports[1].to_string(),
        ]);
        args
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.names.iter().for_each(|name| super::take_down(name));
        let _ = std::fs::remove_file(&self.hosts_file);
    }
}

/// A `relay.py`, ended when dropped.
pub struct PythonRelay {
    program: Tool,
    _held: UdpSocket,
}

/// A Python node with a console, ended when dropped.
pub struct Python(Tool);

impl Python {
    /// What the node answers, and what it printed meanwhile.
    pub fn ask(&mut self, question: &Value) -> (Value, String) {
        self.0.say(&question.to_string());
        let mut answer: Value = serde_json::from_str(&self.0.hear()).unwrap();
        let printed = answer["printed"].as_str().unwrap().to_owned();
        let value = match answer.get("value") {
            Some(_) => answer["value"].take(),
            None => answer,
        };
        (value, printed)
    }

    /// As [`Python::ask`], again while it is null and nothing was printed: a Python node forgets a
    /// peer that it has not heard for a second and a half, or that it could not reach once, and
    /// says nothing.
    pub fn insist(&mut self, question: &Value) -> (Value, String) {
        let deadline = Deadline::new(&format!("an answer to {question}"));
        loop {
            let (value, printed) = self.ask(question);
            if !value.is_null() || !printed.is_empty() {
                return (value, printed);
            }
            deadline.pause();
        }
    }

    pub fn command(
        &mut self,
        target: &str,
        path: &str,
        args: Value,
        kwargs: Value,
    ) -> (Value, String) {
        self.insist(&json!({"ask": "command", "command_path": path, "args": args, "kwargs": kwargs, "target": target, "timeout": 20}))
    }

    /// What each of those answers who are named, or everyone for `*`, once all of `wanted` do.
    pub fn command_all(&mut self, target: Value, path: &str, wanted: &[&str]) -> Value {
        let deadline = Deadline::new(&format!("answers of {wanted:?}"));
        let question =
            json!({"ask": "command", "command_path": path, "target": target, "timeout": 20});
        loop {
            let (all, _) = self.ask(&question);
            if wanted.iter().all(|name| !all[name].is_null()) {
                return all;
            }
            deadline.pause();
        }
    }

    /// Waits until it knows a peer, on the LAN or at a relay.
    pub fn wait_for_peer(&mut self, name: &str) {
        super::until(&format!("the peer {name}"), || {
            let (peers, _) = self.ask(&json!({"ask": "peers"}));
            peers
                .as_array()
                .unwrap()
                .iter()
                .any(|list| list.as_array().unwrap().contains(&json!(name)))
        });
    }
}
