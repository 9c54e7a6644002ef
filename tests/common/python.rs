//! The real PeerBase 0.7.1, in network namespaces of its own: it binds to what its host's name means.

use super::{Lan, Tool, have, ip, secs};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};

const TOOL: &str = env!("CARGO_BIN_EXE_peerbase");

/// The UDP port of the network's Python nodes, and their TCP port; each host has an address of its own.
pub const PORTS: [u16; 2] = [5001, 5002];

/// The interpreter that has the package: of a virtual environment, say.
pub fn interpreter() -> String {
    std::env::var("PEERBASE_PYTHON").unwrap_or("python3".into())
}

/// Two hosts and a cable between them, each with a name that means its address; taken down when dropped.
pub struct Hosts {
    names: [String; 2],
    hosts_file: PathBuf,
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
        Some(Hosts { names, hosts_file })
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
        command.args(["node", name]).args(ours(lan)).args(more);
        Tool::start(command).0
    }

    /// The tool's `call` of a node, with its end.
    pub fn call(&self, host: usize, lan: &Lan, args: &[&str]) -> std::process::Output {
        let mut command = self.command(host, TOOL);
        command
            .arg("call")
            .args(args)
            .args(ours(lan))
            .output()
            .unwrap()
    }

    /// A `peerbase relay` on the second host; where it is.
    pub fn relay(&self) -> (Tool, String) {
        let at = format!("{}:7000", address(1));
        let mut command = self.command(1, TOOL);
        command.args(["relay", "--listen", &at]);
        (Tool::start(command).0, at)
    }

    /// A `relay.py` on the second host; where it is.
    pub fn python_relay(&self, port: u16) -> (PythonRelay, String) {
        let find = "import peerbase, os; print(os.path.dirname(peerbase.__file__))";
        let found = Command::new(interpreter())
            .args(["-c", find])
            .output()
            .unwrap();
        let folder = String::from_utf8(found.stdout).unwrap();
        let mut command = self.command(1, &interpreter());
        // It looks for itself by the name of its module.
        command.current_dir(folder.trim());
        command.args(["relay.py", "--port", &port.to_string()]);
        command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .stdin(Stdio::null());
        let mut relay = PythonRelay(command.spawn().unwrap());
        let mut log = BufReader::new(relay.0.stderr.take().unwrap()).lines();
        let ready = log.any(|line| line.unwrap().contains("Uvicorn running"));
        assert!(ready, "relay.py ended");
        // What it says is read, so that it never waits for that.
        std::thread::spawn(move || log.for_each(drop));
        (relay, format!("{}:{port}", address(1)))
    }

    /// A Python node.
    pub fn python(&self, host: usize, name: &str, lan: &Lan, more: Value) -> Python {
        let mut settings =
            json!({"name": name, "network": "test", "key": &*lan.key.to_text(), "ports": PORTS});
        let given = more.as_object().unwrap().clone();
        settings.as_object_mut().unwrap().extend(given);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/legacy.py");
        let mut command = self.command(host, &interpreter());
        command.args([script, &settings.to_string()]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (give, answers) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if give.send(line).is_err() {
                    return;
                }
            }
        });
        let python = Python { child, answers };
        assert_eq!(python.hear(), "ready");
        python
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
        let _ = std::fs::remove_file(&self.hosts_file);
    }
}

/// The options of one of our nodes.
fn ours(lan: &Lan) -> Vec<String> {
    let all = lan.args().into_iter();
    let mut args: Vec<String> = all.filter(|a| a != "--loopback").collect();
    args.extend([
        "--compat".into(),
        "--compat-port".into(),
        PORTS[1].to_string(),
    ]);
    args
}

/// A `relay.py`, ended by its own id when dropped.
pub struct PythonRelay(Child);

impl Drop for PythonRelay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Python node with a console, ended by its own id when dropped.
pub struct Python {
    child: Child,
    answers: Receiver<String>,
}

impl Python {
    fn hear(&self) -> String {
        self.answers
            .recv_timeout(secs(60))
            .expect("the Python node answers")
    }

    /// What the node answers, and what it printed meanwhile.
    pub fn ask(&mut self, question: &Value) -> (Value, String) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{question}").unwrap();
        let mut answer: Value = serde_json::from_str(&self.hear()).unwrap();
        let printed = answer["printed"].as_str().unwrap().to_owned();
        let value = match answer.get("value") {
            Some(_) => answer["value"].take(),
            None => answer,
        };
        (value, printed)
    }

    pub fn command(
        &mut self,
        target: Value,
        path: &str,
        args: Value,
        kwargs: Value,
    ) -> (Value, String) {
        self.ask(&json!({"ask": "command", "command_path": path, "args": args, "kwargs": kwargs, "target": target}))
    }

    /// Waits until it knows a peer, on the LAN or at a relay.
    pub fn wait_for_peer(&mut self, name: &str) {
        super::until("a peer", || {
            let (peers, _) = self.ask(&json!({"ask": "peers"}));
            peers
                .as_array()
                .unwrap()
                .iter()
                .any(|list| list.as_array().unwrap().contains(&json!(name)))
        });
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
