//! The other processes of a benchmark: this program again, told by its environment what to be.

use crate::{Failure, Outcome};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

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
