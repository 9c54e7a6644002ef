//! The other processes of a benchmark: this program again, told by its environment what to be.

use crate::{Failure, Outcome, options::KEY_VARIABLE};
use peerbase::{Builder, Key, Node, OsEntropy};
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};

/// The network that all of them are in.
pub(super) const NETWORK: &str = "bench";
const PORT_VARIABLE: &str = "PEERBASE_BENCH_PORT";
const NAME_VARIABLE: &str = "PEERBASE_BENCH_PEER";

/// One of them. Ended, by its own id, when dropped.
pub(super) struct Process(Child);

impl Process {
    /// Starts `peerbase bench WHAT`, and gives the first line it says.
    pub(super) fn start(what: &str, settings: &[(&str, &str)]) -> Outcome<(Process, String)> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bench", what])
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.as_mut() {
            BufReader::new(out).read_line(&mut line)?;
        }
        Ok((Process(child), line.trim().to_owned()))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the nodes of a benchmark have in common, in whichever process they are.
pub(super) struct Network {
    pub(super) key: Key,
    /// The advertise port.
    pub(super) port: u16,
}

impl Network {
    /// A new one, with a key and a port of its own.
    pub(super) fn new() -> Outcome<Network> {
        let key = Key::generate(&mut OsEntropy::new()?);
        let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Network { key, port })
    }

    /// That of the process that started this one.
    pub(super) fn of_parent() -> Outcome<Network> {
        let port = setting(PORT_VARIABLE)?.parse();
        let port = port.map_err(|_| Failure::Usage("bad port".into()))?;
        let key = Key::parse(&setting(KEY_VARIABLE)?)?;
        Ok(Network { key, port })
    }

    pub(super) fn builder(&self, name: &str) -> Builder {
        Node::builder(name, NETWORK, self.key.clone())
            .loopback(true)
            .advertise_port(self.port)
    }

    /// Starts `peerbase bench WHAT` with this network, a name, and further settings.
    pub(super) fn start(
        &self,
        what: &str,
        name: &str,
        more: &[(&str, &str)],
    ) -> Outcome<(Process, String)> {
        let (key, port) = (self.key.to_text(), self.port.to_string());
        let settings = [
            (NAME_VARIABLE, name),
            (KEY_VARIABLE, key.as_str()),
            (PORT_VARIABLE, port.as_str()),
        ];
        Process::start(what, &[&settings, more].concat())
    }
}

/// The name that the process that started this one gave it.
pub(super) fn own_name() -> Outcome<String> {
    setting(NAME_VARIABLE)
}

/// What the process that started this one set.
pub(super) fn setting(name: &str) -> Outcome<String> {
    std::env::var(name).map_err(|_| Failure::Usage(format!("{name} is not set")))
}

/// The resident memory of a process, or of this one.
pub(super) fn resident_kib(process: Option<u32>) -> f64 {
    let process = process.map_or("self".into(), |id| id.to_string());
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0.0)
}
