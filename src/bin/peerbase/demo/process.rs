//! The processes that the demo starts. They end with it, however it ends.

use super::data;
use crate::options::KEY_VARIABLE;
use crate::signals::Ending;
use crate::{Failure, Outcome};
use peerbase::RelayKey;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The other processes, as long as they run.
static STARTED: Mutex<Vec<Arc<Mutex<Child>>>> = Mutex::new(Vec::new());

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets a signal that ends the demo end what it has started as well.
pub(super) fn end_all_on_signal() -> Outcome {
    Ending::watch()?.with(1, || {
        // Kept locked, so that nothing is started any more.
        let started = lock(&STARTED);
        for child in started.iter() {
            let _ = lock(child).kill();
        }
        let _ = std::fs::remove_dir_all(data::folder());
        eprintln!("peerbase: ended by a signal");
        std::process::exit(1);
    });
    Ok(())
}

/// One of the other processes. Ended, by its own id, when dropped.
pub(super) struct Process {
    child: Arc<Mutex<Child>>,
    /// What it writes goes somewhere as long as it runs.
    _output: Option<Box<dyn Read>>,
}

impl Process {
    fn spawn(command: &mut Command) -> Outcome<Process> {
        let mut started = lock(&STARTED);
        let child = Arc::new(Mutex::new(command.spawn()?));
        started.push(child.clone());
        Ok(Process {
            child,
            _output: None,
        })
    }

    fn first_line(&mut self, output: impl Read + 'static) -> Outcome<String> {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line)?;
        self._output = Some(Box::new(output));
        Ok(line)
    }

    /// Starts one, and waits until it is ready.
    pub(super) fn start(name: &str, key: &str, args: &[&str]) -> Outcome<Process> {
        let mut process = Process::spawn(
            Command::new(std::env::current_exe()?)
                .args(["demo", "--serve", name, "--loopback"])
                .args(args)
                .env(KEY_VARIABLE, key)
                .stdout(Stdio::piped()),
        )?;
        let output = lock(&process.child).stdout.take();
        match output
            .map(|output| process.first_line(output))
            .transpose()?
        {
            Some(line) if line.trim() == "ready" => Ok(process),
            _ => Err(Failure::Failed(format!("{name} did not start"))),
        }
    }

    /// Starts a relay, and gives where it listens.
    pub(super) fn relay(network: &str, key: &RelayKey) -> Outcome<(Process, String)> {
        let mut process = Process::spawn(
            Command::new(std::env::current_exe()?)
                .args(["relay", "--listen", "127.0.0.1:0", "--network", network])
                .args(["--relay-key", &key.to_text()])
                .stderr(Stdio::piped()),
        )?;
        let output = lock(&process.child).stderr.take();
        let line = output
            .map(|output| process.first_line(output))
            .transpose()?;
        let line = line.unwrap_or_default();
        match line.trim().rsplit_once("listening on ") {
            Some((_, address)) => Ok((process, address.to_owned())),
            None => Err(Failure::Failed("a relay did not start".into())),
        }
    }

    pub(super) fn id(&self) -> Option<u64> {
        Some(u64::from(lock(&self.child).id()))
    }

    /// As a power cut would.
    pub(super) fn kill(&self) -> Outcome {
        let mut child = lock(&self.child);
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
